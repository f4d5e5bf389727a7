# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have: whose face is shown, how, and by what."""

from __future__ import annotations

import argparse

from realtalk_ros import contracts


def add_avatar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--avatar",
        metavar="NAME_OR_DIR",
        default="default",
        help="whose face: a bundled avatar's name (`realtalk avatars list`), or an avatar folder; "
        "without it, the bundled avatar named default",
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    fps, size = contracts.FPS_RANGE, contracts.SIZE_RANGE
    parser.add_argument(
        "--fps", type=float, default=25.0, help=f"frames a second, {fps[0]:g} to {fps[1]:g}"
    )
    parser.add_argument(
        "--size", type=int, default=512, help=f"height in pixels, {size[0]} to {size[1]}"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=contracts.DEVICES, default="cpu", help="where the networks run"
    )


def add_look_ahead(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--look-ahead",
        metavar="S",
        type=float,
        default=contracts.LOOK_AHEAD,
        help="how much of the sound after a frame the network waits for, s: 0.16, 0.1 or 0.06",
    )
