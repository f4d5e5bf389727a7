"""Life when nobody speaks: blinks, glances, breath and slow head motion.

Everything is a pure function of time, so any frame can be computed alone, a clock that jumps does
no harm, and one seed always gives the same life. Time is cut into windows; what happens in a window
is drawn from its number.
"""

from __future__ import annotations

import math

import numpy as np

from realtalk_ros.face_model import arkit

# Adults blink some 15 times a minute (Bentivoglio et al. 1997); a lid closes faster than it opens.
BLINK_EVERY = 4.0  # s, mean
BLINK_CLOSE, BLINK_HOLD, BLINK_OPEN = 0.08, 0.04, 0.16  # s
DOUBLE_BLINK = 0.12  # probability
GLANCE_EVERY = 1.9  # s
SACCADE = 0.05  # s
GLANCE_AWAY = 0.35  # probability that a glance leaves the centre
GLANCE_SIZE = 0.16  # largest eyeLook weight
HEAD_PERIOD = 11.0  # s, there and back over the avatar's template frames
BREATH = 4.2  # s, a breath of an adult at rest (12 to 20 a minute)
BREATH_TURN = 0.007  # rad by which the head rises and sinks with it
SWAY = 0.012  # rad, slow drift of the head's yaw and roll


class Idle:
    """Idle behaviour of one face."""

    def __init__(self, seed: int = 0):
        self.seed = seed

    def weights(self, t: float, glances: float = 1.0) -> np.ndarray:
        """ARKit weights (52,) at time `t` in seconds; only the eyes are not zero. `glances` says
        how far they go; it leaves the blinks as they are."""
        weights = np.zeros(len(arkit.NAMES), np.float32)
        blink = max(self._blink(t, int(t // BLINK_EVERY) + k) for k in (-1, 0))
        weights[_BLINK] = blink
        right, up = (glances * value for value in self._gaze(t))
        weights[_RIGHTWARD if right > 0 else _LEFTWARD] = abs(right)
        weights[_UPWARD if up > 0 else _DOWNWARD] = abs(up)
        return weights

    def rotation(self, t: float) -> np.ndarray:
        """Head rotation (3,) rad, pitch (down), yaw, roll, at time `t` in seconds."""
        turns = 2 * math.pi * (t / BREATH + 0.05 * math.sin(2 * math.pi * t / 23.0))
        phase = 2 * math.pi * self.seed * 0.618
        yaw = math.sin(2 * math.pi * t / 13.7 + phase) + 0.6 * math.sin(2 * math.pi * t / 5.9)
        roll = math.sin(2 * math.pi * t / 17.3 + 2 * phase)
        return np.array(
            [-BREATH_TURN * math.sin(turns), SWAY * yaw / 1.6, 0.6 * SWAY * roll], np.float32
        )

    def template(self, t: float, count: int) -> int:
        """Which of `count` template frames to show: a slow way there and back that never jumps."""
        phase = 2 * math.pi * t / HEAD_PERIOD + 0.8 * math.sin(2 * math.pi * t / 37.0)
        return round((count - 1) * (0.5 - 0.5 * math.cos(phase)))

    def _draw(self, kind: int, window: int, count: int) -> np.ndarray:
        return np.random.default_rng([self.seed, kind, window % 2**32]).random(count)

    def _blink(self, t: float, window: int) -> float:
        where, twice = self._draw(0, window, 2)
        start = (window + 0.9 * where) * BLINK_EVERY
        closed = _lid(t - start)
        if twice < DOUBLE_BLINK:
            closed = max(closed, _lid(t - start - 0.35))
        return closed

    def _target(self, window: int) -> tuple[float, float]:
        away, angle, size = self._draw(1, window, 3)
        if away > GLANCE_AWAY:
            return 0.0, 0.0
        size = GLANCE_SIZE * (0.4 + 0.6 * size)
        return size * math.cos(2 * math.pi * angle), 0.6 * size * math.sin(2 * math.pi * angle)

    def _gaze(self, t: float) -> tuple[float, float]:
        window = int(t // GLANCE_EVERY)
        start = (window + 0.5 * self._draw(2, window, 1)[0]) * GLANCE_EVERY
        share = _smooth((t - start) / SACCADE)
        before, after = self._target(window - 1), self._target(window)
        return tuple(b + share * (a - b) for b, a in zip(before, after, strict=True))


def _indices(*names: str) -> list[int]:
    return [arkit.INDEX[name] for name in names]


_BLINK = _indices("eyeBlinkLeft", "eyeBlinkRight")
_RIGHTWARD = _indices("eyeLookInLeft", "eyeLookOutRight")
_LEFTWARD = _indices("eyeLookOutLeft", "eyeLookInRight")
_UPWARD = _indices("eyeLookUpLeft", "eyeLookUpRight")
_DOWNWARD = _indices("eyeLookDownLeft", "eyeLookDownRight")


def _smooth(x: float) -> float:
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)


def _lid(t: float) -> float:
    """How far the lid is closed `t` seconds after a blink began."""
    if t < BLINK_CLOSE + BLINK_HOLD:
        return _smooth(t / BLINK_CLOSE)
    return 1 - _smooth((t - BLINK_CLOSE - BLINK_HOLD) / BLINK_OPEN)
