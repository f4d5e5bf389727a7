# SPDX-License-Identifier: Apache-2.0
"""Pretraining of the prior's encoder: it learns to predict how somebody moves. (train.py trains it
further and exports it as expression_prior.onnx.)

From a face's shape and two seconds of its expressions it predicts the parameters of the style,
which the coarticulation model knows. That needs no audio, so minutes show it more people than hours
of training with speech would. Every token must predict all of them: whichever token the audio
attends to, it finds all that is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.expression import speaking_style
from realtalk_ros.training.expression.trainer import MetricLog, Schedule, Trainer

if TYPE_CHECKING:
    from realtalk_ros.training.expression.model import ExpressionNet
    from realtalk_ros.training.expression.sampler import Sampler

# Which of identity and reference are given, each combination as often.
CONDITION_MASKS = ((1, 1), (0, 1), (1, 0))


@dataclass(frozen=True)
class PriorPretraining:
    """Settings of `pretrain_prior`."""

    minutes: float  # over all resumptions
    learning_rate: float = 2e-3
    warm_up_steps: int = 100
    batch_size: int = 128  # people


class StylePredictor(nn.Module):
    """The part of a network that handles the prior, with its head for the style."""

    def __init__(self, net: ExpressionNet):
        super().__init__()
        self._prior_tokens = net.prior_tokens
        self.style_head = net.style_head
        concatenates = net.dims.conditioning == "concatenation"
        self.encoder = net.prior_proj if concatenates else net.prior_encoder

    def forward(self, identity: Tensor, reference: Tensor, condition_mask: Tensor) -> Tensor:
        """-> (B, P, STYLE_SIZE): the style by each token."""
        return self.style_head(self._prior_tokens(identity, reference, condition_mask))


def draw_people(sampler: Sampler, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Identity (count, 100), reference window (count, 50, 52) and style (count, STYLE_SIZE)."""
    people = []
    for _ in range(count):
        identity, style = speaking_style.random_speaker(sampler.rng)
        reference = sampler.draw_reference(style, sampler.draw_emotion())
        people.append((identity, reference, style.latent))
    return tuple(torch.from_numpy(np.stack(column)) for column in zip(*people, strict=True))


def pretrain_prior(
    sampler: Sampler,
    net: ExpressionNet,
    path: Path,
    settings: PriorPretraining,
    *,
    hidden_part: int | None = None,
) -> None:
    """Trains the part of `net` that handles the prior, and keeps it in the checkpoint `path`.

    hidden_part: the column of `condition_mask` that is always 0 (an ablation).
    """
    schedule = Schedule(settings.minutes, settings.learning_rate, settings.warm_up_steps)
    trainer = Trainer(StylePredictor(net), path, schedule)
    if trainer.step:
        sampler.restart(trainer.step)
    masks = torch.tensor(CONDITION_MASKS).float()
    log = MetricLog("prior", trainer, every=200)
    size = settings.batch_size
    for identity, reference, style in trainer.batches(lambda: draw_people(sampler, size)):
        condition_mask = masks[torch.randint(len(masks), (size,))]
        if hidden_part is not None:
            condition_mask[:, hidden_part] = 0
        with mixed_precision():
            predicted = trainer.net(identity, reference, condition_mask)
        loss = (predicted.float() - style.unsqueeze(1)).square().mean()
        trainer.learn(loss)
        log.add(error=loss)
    trainer.net.load_state_dict(trainer.ema)
