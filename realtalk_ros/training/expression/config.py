# SPDX-License-Identifier: Apache-2.0
"""Every setting of a training of the expression network. (Factors of the loss: losses.py; shares of
the data: sampler_settings.py; sizes of the network and its look-ahead: `Dims` in dims.py.)"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from realtalk_ros.training.common.settings import option
from realtalk_ros.training.expression.losses import LossSettings
from realtalk_ros.training.expression.sampler_settings import SamplerSettings

# Parts of the prior, in the order of the network's input `condition_mask`.
PRIOR_PARTS = ("identity", "reference")
# What a network can be trained without, to measure what it is worth.
ABLATIONS = (*PRIOR_PARTS, "attention")


@dataclass(frozen=True)
class TrainingConfig:
    """What `realtalk train expression` trains, on what and for how long."""

    data: Path = option(Path("runs/speech"), "training shards of `realtalk data speech`")
    work: Path = option(
        Path("runs/expression"), "where checkpoint, settings, log and export are kept"
    )
    videos: Path | None = option(
        None,
        "learn from these, too, which `realtalk data videos` made; with --installed, no other data "
        "is needed",
        type=Path,
        metavar="DIR",
    )
    minutes: float = option(90.0, "of training, all resumptions")  # without the pretraining
    batch_size: int = option(24, "sequences a step", "--batch")
    learning_rate: float = option(1e-3, "peak learning rate", "--rate")
    warm_up_steps: int = 200
    video_warm_up_steps: int = 20  # where there are only videos: these trainings are short
    seed: int = option(0, "of all that is random")
    log_every: int = 50  # steps
    ablation: str | None = option(None, "train an ablation instead", "--without", choices=ABLATIONS)
    # A checkpoint from which a new run takes all but what handles the prior. So networks with
    # different priors can be compared at equal skill in recognising speech.
    start: Path | None = None
    fine_tune: bool = False  # a new run begins with the installed network
    average: bool = True  # with `fine_tune`: export the mean of the installed network and the new
    only_window: bool = option(
        False,
        "with --installed and --videos: learn nothing but to read windows of expressions; of "
        "people without one all stays as it was",
    )
    # Without speech they always stay as they were: minutes of one voice would spoil them.
    freeze_acoustic_encoder: bool = option(
        False,
        "after pretraining the convolutions learn no more: steps are 1.6 times as fast",
        "--freeze-encoder",
    )
    phone_pretraining_minutes: float = option(  # pretrain_phones.py; not with `start`
        0.0,
        "of pretraining before, on phones (40; none with --installed or --start)",
        "--phone-minutes",
        default=None,
        metavar="M",
    )
    prior_pretraining_minutes: float = option(  # pretrain_prior.py
        0.0,
        "of pretraining before, on how people move",
        "--prior-minutes",
        default=5.0,
        metavar="M",
    )
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    loss: LossSettings = field(default_factory=LossSettings)

    @property
    def checkpoint(self) -> Path:
        return self.work / "expression.pt"

    @property
    def hidden_part(self) -> int | None:
        """The column of `condition_mask` that an ablation never gets."""
        return PRIOR_PARTS.index(self.ablation) if self.ablation in PRIOR_PARTS else None

    def save(self, folder: Path) -> Path:
        """Writes expression.json into `folder`, beside the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "expression.json"
        path.write_text(json.dumps(asdict(self), indent=1, default=str) + "\n")
        return path
