# SPDX-License-Identifier: Apache-2.0
"""Settings of a training of the renderer, with their defaults. (Factors of the losses: losses.py,
of the adversarial one: discriminator.py; what the network is made of: `Dimensions` in model.py.)"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    data: Path
    extra: Path | None = None
    extra_share: float = 0.3  # of the samples
    real: Path | None = None  # groups of people, see real_people.py
    real_share: float = 0.4  # of the steps; --extra-share is of the others' samples
    avatar: str | None = None
    start: Path | None = None
    width: tuple[int, ...] | None = None  # the generator's channels, by scale; None: as usual
    generator_only: bool = False  # the encoder and the aligner keep their weights
    perceptual_net: Path | None = None  # None: without the perceptual loss
    lpips: bool = False  # the mouth's, see lpips.py
    # Step from which it counts (discriminator.py); -1: none, as usual with `real` or `avatar`.
    discriminator_from: int = 8000
    without: tuple[str, ...] = ()  # of ABLATIONS
    minutes: float = 90
    pause: float | None = None  # stop after these minutes
    learning_rate: float = 3e-4  # its peak; over time: `fit` in train.py
    warm_up_steps: int = 200
    groups: int = 3  # templates a step
    targets: int = 4  # expressions a template
    device: str = "cpu"
    compile: bool = False
    threads: int = 1
    export: Path | None = None
    report_interval: float = 240  # s between evaluations
    seed: int = 0

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, name: str | None = None) -> TrainingConfig:
        """Of the command's arguments; `name` is that of the avatar, where there is one."""
        fine_tuning = bool(args.avatar)
        perceptual_net = None if args.no_perceptual_net else args.perceptual_net
        if fine_tuning and perceptual_net == PERCEPTUAL_NET and not PERCEPTUAL_NET.exists():
            perceptual_net = None
        given = {"discriminator_from": args.discriminator_from, "learning_rate": args.lr}
        special = {
            **(FINE_TUNING if fine_tuning else WITH_PEOPLE if args.real else {}),
            **{name: value for name, value in given.items() if value is not None},
        }
        folder = f"renderer_{name}" if name else "renderer"
        return cls(
            out=args.out or Path("runs") / folder,
            data=args.data,
            extra=args.extra,
            extra_share=args.extra_share,
            real=args.real,
            real_share=args.real_share,
            avatar=args.avatar,
            start=args.start,
            width=tuple(args.width) if args.width else None,
            generator_only=args.generator_only or fine_tuning,
            perceptual_net=perceptual_net,
            lpips=args.lpips,
            without=tuple(args.without),
            minutes=args.minutes,
            pause=args.pause,
            groups=args.groups,
            targets=args.targets,
            device=args.device,
            compile=args.compile,
            threads=args.threads,
            export=args.export,
            report_interval=args.report,
            seed=args.seed,
            **special,
        )

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
