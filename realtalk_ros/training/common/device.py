# SPDX-License-Identifier: Apache-2.0
"""Where trainings run."""

from __future__ import annotations

import argparse

import torch


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device: a GPU where there is one."""
    gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if gpu else "cpu", help="PyTorch's device")
