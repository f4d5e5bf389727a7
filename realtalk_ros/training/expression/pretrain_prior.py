"""First lessons of another kind: the encoder of the prior learns to tell how somebody moves.

From his shape and two seconds of his expressions it tells the numbers of his style, which the
teacher knows. No sound is needed for that, so in minutes it gets to know more people than hours of
training with speech would show it. Every token must tell all of it: whatever the audio then asks,
it finds all that is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from realtalk_ros.training.expression import coarticulation
from realtalk_ros.training.expression.trainer import Course, Log

if TYPE_CHECKING:
    from realtalk_ros.training.expression.model import ExpressionNet
    from realtalk_ros.training.expression.train import Sampler

BATCH = 128  # people
TOLD = ((1, 1), (0, 1), (1, 0))  # of a person: identity, reference; each as often


class Prior(torch.nn.Module):
    """What of a network handles the prior alone."""

    def __init__(self, net: ExpressionNet):
        super().__init__()
        self._tokens = net.tokens
        self.style = net.style
        self.encoder = net.plain_prior if net.dims.prior == "concatenation" else net.prior_encoder

    def forward(self, identity: Tensor, reference: Tensor, known: Tensor) -> Tensor:
        """-> (B, P, STYLE_SIZE): what each token tells."""
        return self.style(self._tokens(identity, reference, known))


def people(sampler: Sampler, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Identity (count, 100), reference window (count, 50, 52) and style (count, STYLE_SIZE)."""
    found = []
    for _ in range(count):
        identity, style = coarticulation.random_person(sampler.rng)
        found.append((identity, sampler.window(style, sampler.mood()), style.numbers))
    return tuple(torch.from_numpy(np.stack(column)) for column in zip(*found, strict=True))


def train_acquaintance(
    sampler: Sampler,
    net: ExpressionNet,
    path: Path,
    minutes: float,
    without: int | None = None,
    rate: float = 2e-3,
) -> None:
    """Trains what of `net` handles the prior for `minutes`, over all resumptions, and keeps it in
    `path`. without: the column of `known` that is never told (an ablation)."""
    course = Course(Prior(net), path, minutes, rate, warm_up=100)
    kinds = torch.tensor(TOLD).float()
    log = Log("acquaintance", course, every=200)
    for identity, reference, style in course.batches(lambda: people(sampler, BATCH)):
        known = kinds[torch.randint(len(kinds), (BATCH,))]
        if without is not None:
            known[:, without] = 0
        with torch.autocast("cpu", torch.bfloat16):
            told = course.net(identity, reference, known)
        loss = (told.float() - style.unsqueeze(1)).square().mean()
        course.learn(loss)
        log.add(error=loss)
    course.net.load_state_dict(course.average)
