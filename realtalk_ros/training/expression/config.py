# SPDX-License-Identifier: Apache-2.0
"""Every setting of a training of the expression network. (Factors of the loss: losses.py; shares of
the data: sampler.py; sizes of the network and its look-ahead: `Dims` in dims.py.)"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from realtalk_ros.training.expression.losses import LossSettings
from realtalk_ros.training.expression.sampler import SamplerSettings

# Parts of the prior, in the order of the network's input `condition_mask`.
PRIOR_PARTS = ("identity", "reference")
# What a network can be trained without, to measure what it is worth.
ABLATIONS = (*PRIOR_PARTS, "attention")


@dataclass(frozen=True)
class TrainingConfig:
    """What `realtalk train expression` trains, on what and for how long."""

    data: Path = Path("runs/speech")  # folder of train_<kind>*.npz
    work: Path = Path("runs/expression")  # folder of checkpoints and logs
    videos: Path | None = None  # folder of `realtalk data videos`, to learn from as well
    minutes: float = 90.0  # over all resumptions, without the pretraining
    batch_size: int = 24  # sequences
    learning_rate: float = 1e-3  # at its peak
    warm_up_steps: int = 200
    video_warm_up_steps: int = 20  # where there are only videos: these trainings are short
    seed: int = 0
    log_every: int = 50  # steps
    ablation: str | None = None  # what to train without: one of ABLATIONS
    # A checkpoint from which a new run takes all but what handles the prior. So networks with
    # different priors can be compared at equal skill in recognising speech.
    start: Path | None = None
    fine_tune: bool = False  # a new run begins with the installed network
    average: bool = True  # with `fine_tune`: export the mean of the installed network and the new
    only_window: bool = False  # nothing is learned but to read windows of expressions
    # The convolutions stay as they were after pretraining. Without speech they always do: minutes
    # of one voice would spoil them.
    freeze_acoustic_encoder: bool = False
    phone_pretraining_minutes: float = 0.0  # pretrain_phones.py; not with `start`
    prior_pretraining_minutes: float = 0.0  # pretrain_prior.py
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
