# SPDX-License-Identifier: Apache-2.0
"""Learning rates over a training whose budget is time: factors of the peak, 0 to 1."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def warm_up(step: int, steps: int) -> float:
    """Rises from 0 over the first `steps`."""
    return min(1, (step + 1) / steps)


def cosine(progress: float, final: float = 0.0) -> float:
    """Falls to `final`; `progress` is the share of the time that has passed."""
    return final + (1 - final) * (0.5 * (1 + math.cos(math.pi * progress)))


def linear(progress: float, final: float = 0.0) -> float:
    """Falls evenly, down to `final`."""
    return max(final, 1 - progress)


def set_rate(rate: float, *optimizers: Optimizer) -> None:
    """The learning rate of the next step. (A plain float: it is saved.)"""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
