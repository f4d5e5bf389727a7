# SPDX-License-Identifier: Apache-2.0
"""Exponential moving average of a network's weights: what is evaluated and exported."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def update(average: Iterable[Tensor], now: Iterable[Tensor], step: int, decay: float) -> None:
    """Moves `average` to `now`. In the first steps it goes faster than by `decay` a step, so that
    it forgets the random start."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average, now, strict=True):
        mean.lerp_(value, 1 - decay)


class WeightAverage:
    """The average as a network of its own."""

    def __init__(self, model: nn.Module, decay: float = 0.998):
        self.decay = decay
        self.model = copy.deepcopy(model)

    def update(self, model: nn.Module, step: int) -> None:
        update(self.model.parameters(), model.parameters(), step, self.decay)
