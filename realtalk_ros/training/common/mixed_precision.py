# SPDX-License-Identifier: Apache-2.0
"""Half precision (bfloat16) in a training's forward pass, where it is faster."""

from __future__ import annotations

import torch


def mixed_precision(device: torch.device | str = "cpu") -> torch.autocast:
    """Autocast to bfloat16, off on processors that do not compute in it: emulated it takes five to
    ten times as long."""
    kind = torch.device(device).type
    enabled = kind != "cpu" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(kind, torch.bfloat16, enabled=enabled)
