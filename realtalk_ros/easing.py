# SPDX-License-Identifier: Apache-2.0
"""Smooth ways from one value to another."""

from __future__ import annotations

import math
from typing import Generic, TypeVar, overload

import numpy as np

# What is as near as this to its target (a weight, rad) has arrived. Nobody sees the rest, but while
# anything moves, networks run for each frame.
ARRIVED = 1e-4
Value = TypeVar("Value", float, np.ndarray)


@overload
def smoothstep(x: float, start: float = 0.0, end: float = 1.0) -> float: ...
@overload
def smoothstep(x: np.ndarray, start: float = 0.0, end: float = 1.0) -> np.ndarray: ...
def smoothstep(x: np.ndarray | float, start: float = 0.0, end: float = 1.0) -> np.ndarray | float:
    """0 up to `start`, 1 from `end` on, 3 t² - 2 t³ in between (`end` may be the lesser)."""
    t = (x - start) / (end - start)
    # NumPy takes ten times as long for one number as Python does.
    t = min(max(t, 0.0), 1.0) if isinstance(t, float) else np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def approached(value: Value, target: Value, step: float, time_constant: float) -> Value:
    """Where `value` is `step` seconds later on its exponential way to `target`, s both."""
    left = (value - target) * math.exp(-step / time_constant)
    farthest = abs(left) if isinstance(left, float) else np.abs(left).max()
    return target + left * (farthest > ARRIVED)


class Spring(Generic[Value]):
    """A value that follows a target as a critically damped spring does: it neither sets off nor
    stops at once, and is never beyond what its targets were."""

    def __init__(self, value: Value, time_constant: float):
        """A fourth of the way is done after one `time_constant`, s, 0.6 after two, 0.9 after
        four."""
        self.value: Value = value
        self._speed: Value = 0 * value  # a second
        self._time_constant = time_constant

    def follow(self, target: Value, step: float) -> Value:
        """The value `step` seconds later."""
        constant, left = self._time_constant, math.exp(-step / self._time_constant)
        way = self.value - target
        rise = (self._speed + way / constant) * step
        self.value = target + (way + rise) * left
        self._speed = (self._speed - rise / constant) * left
        farthest = np.abs([self.value - target, self._speed * constant]).max()
        if farthest <= ARRIVED:
            self.value, self._speed = 1 * target, 0 * target
        return self.value
