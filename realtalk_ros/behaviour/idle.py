# SPDX-License-Identifier: Apache-2.0
"""Idle motion: blinks, glances, breath, head motion, and which template is shown.

Everything is a pure function of time and seed. So any frame can be computed alone, a clock that
jumps does no harm, and one seed always gives the same motion. Time is divided into windows; what
happens in a window is drawn at random, seeded with the window's number. The constants are those of
the usual temperament (avatar/temperament.py), by whose share others differ.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from realtalk_ros.avatar.temperament import USUAL, Temperament
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.eye_rotation import EYE_PITCH, EYE_YAW, gaze_weights

# A lid closes faster than it opens.
BLINK_CLOSE, BLINK_HOLD, BLINK_OPEN = 0.08, 0.04, 0.16  # s
DOUBLE_BLINK, DOUBLE_BLINK_AFTER = 0.12, 0.35  # probability, s
SACCADE = 0.05  # s, from one glance to the next
GLANCE_AWAY = 0.35  # probability that a glance leaves the centre
MAX_GLANCE = 0.16  # eyeLook weight: the usual saccade_size
TEMPLATE_PERIOD = 11.0  # s, forth and back through the avatar's templates
BREATH = 4.2  # s, a breath at the usual breath_rate
BREATH_ANGLE = 0.007  # rad by which the head nods with it
# Slow drift of the head, rad: of its yaw while it is silent, and what is added while it speaks, of
# pitch, yaw and roll. Together the tip of the nose travels a tenth of the face's width in 20 s.
SWAY = 0.022
SPOKEN_PERIODS = (6.1, 3.7), (5.3, 3.1), (7.9, 4.3)  # s, two of each angle
SPOKEN_SWAY = np.array([0.01, 0.026, 0.02], np.float32)
# And faster, as heads do whatever is said: a curve through random angles, one each so many seconds,
# and the largest of them, rad.
SHIFT_TIME = 0.22
SPOKEN_SHIFTS = np.array([0.08, 0.05, 0.045], np.float32)
_BLINK = arkit.indices("eyeBlink")


class Idle:
    """Idle motion of one face. `temperament` may be replaced at any time."""

    def __init__(self, seed: int = 0, temperament: Temperament = USUAL):
        self.seed, self.temperament = seed, temperament

    def weights(
        self, t: float, glance_gain: float = 1.0, turned: tuple[float, float] = (0.0, 0.0)
    ) -> np.ndarray:
        """ARKit weights (52,) at time `t`, s; only those of the eyes are not zero. `glance_gain`
        scales the glances, not the blinks. `turned`: pitch and yaw of the head, rad, by which the
        eyes turn back, so that they stay on what they see (the vestibulo-ocular reflex)."""
        right, up = (glance_gain * value for value in self._glance(t))
        weights = gaze_weights(-right - turned[1] / EYE_YAW, up + turned[0] / EYE_PITCH)
        weights[_BLINK] = self._blink(t)
        return weights

    def rotation(self, t: float) -> np.ndarray:
        """Head rotation (3,) rad, as of face_model/rotations.py, at time `t`, s."""
        breath, phase = self.breath(t), 2 * math.pi * self.seed * 0.618
        t *= self.temperament.head_tempo
        yaw = math.sin(2 * math.pi * t / 13.7 + phase) + 0.6 * math.sin(2 * math.pi * t / 5.9)
        roll = math.sin(2 * math.pi * t / 17.3 + 2 * phase)
        sway = SWAY * self.temperament.head_motion
        return np.array([-BREATH_ANGLE * breath, sway * yaw / 1.6, 0.6 * sway * roll], np.float32)

    def spoken_rotation(self, t: float) -> np.ndarray:
        """Head rotation (3,) rad that a speaker adds to the above at time `t`, s: livelier, and
        free of the words. Nods that follow the words come from the expression network."""
        phase = 2 * math.pi * self.seed * 0.618
        t *= self.temperament.head_tempo
        waves = [
            math.sin(2 * math.pi * t / slow + k * phase) + 0.5 * math.sin(2 * math.pi * t / fast)
            for k, (slow, fast) in enumerate(SPOKEN_PERIODS, 1)
        ]
        turned = SPOKEN_SWAY * np.array(waves, np.float32) / np.float32(1.5)
        turned += SPOKEN_SHIFTS * self._shifted(t / SHIFT_TIME)
        return turned * np.float32(self.temperament.head_motion)

    def _shifted(self, position: float) -> np.ndarray:
        """(3,) -1 to 1: a uniform cubic B-spline of random numbers, one at each whole position."""
        window = math.floor(position)
        u = position - window
        shares = (1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, 1 + 3 * (u + u**2 - u**3), u**3
        return np.array(shares, np.float32) @ _shifts(self.seed, window % 2**32)

    def breath(self, t: float) -> float:
        """Where in a breath the shoulders are at time `t`, s: of a usual breath -1 breathed out, 1
        breathed in."""
        t *= self.temperament.breath_rate / USUAL.breath_rate
        phase = 2 * math.pi * (t / BREATH + 0.05 * math.sin(2 * math.pi * t / 23.0))
        return self.temperament.breath_depth * math.sin(phase)

    def template(self, t: float, count: int, gain: float = 1.0) -> int:
        """Which of `count` templates to show: slowly forth and back, without jumps. `gain` up to 1
        scales how far; at 0 it is the one in the middle."""
        phase = 2 * math.pi * t / TEMPLATE_PERIOD + 0.8 * math.sin(2 * math.pi * t / 37.0)
        return round((count - 1) * (0.5 - 0.5 * min(gain, 1.0) * math.cos(phase)))

    def _random(self, kind: int, window: int, count: int) -> tuple[float, ...]:
        """`count` numbers in 0..1 that depend on the seed, a kind of event and a window."""
        return _random_numbers(self.seed, kind, window % 2**32, count)

    def _blink(self, t: float) -> float:
        """How far the lids are shut at time `t`, 0..1."""
        if self.temperament.blink_rate <= 0:
            return 0.0
        every = 60 / self.temperament.blink_rate
        return max(self._blink_of(t, every, int(t // every) + k) for k in (-1, 0))

    def _blink_of(self, t: float, every: float, window: int) -> float:
        """The same by the blink of a window of `every` s."""
        where, twice = self._random(0, window, 2)
        uneven = 1 - self.temperament.regularity
        start = (window + 0.9 * uneven * where) * every
        closure = _lid_closure(t - start)
        if twice < DOUBLE_BLINK * uneven:
            closure = max(closure, _lid_closure(t - start - DOUBLE_BLINK_AFTER))
        return closure

    def _glance_target(self, window: int) -> tuple[float, float]:
        """Where the eyes look in a window: right and up, eyeLook weights."""
        away, angle, size = self._random(1, window, 3)
        if away > GLANCE_AWAY:
            return 0.0, 0.0
        largest = MAX_GLANCE * (self.temperament.saccade_size / USUAL.saccade_size)
        size = largest * (0.4 + 0.6 * size)
        return size * math.cos(2 * math.pi * angle), 0.6 * size * math.sin(2 * math.pi * angle)

    def _glance(self, t: float) -> tuple[float, float]:
        """Where the eyes look at time `t`: right and up, eyeLook weights."""
        every, uneven = self.temperament.fixation, 1 - self.temperament.regularity
        window = int(t // every)
        start = (window + 0.5 * uneven * self._random(2, window, 1)[0]) * every
        progress = float(smoothstep((t - start) / SACCADE))
        (x, y), (to_x, to_y) = self._glance_target(window - 1), self._glance_target(window)
        return x + progress * (to_x - x), y + progress * (to_y - y)


# Of the windows around now, as a generator takes longer to seed than to run.
@lru_cache(maxsize=128)
def _random_numbers(seed: int, kind: int, window: int, count: int) -> tuple[float, ...]:
    return tuple(np.random.default_rng([seed, kind, window]).random(count).tolist())


@lru_cache(maxsize=16)
def _shifts(seed: int, window: int) -> np.ndarray:
    """(4, 3): sixths of the random numbers of `Idle._shifted` around a window."""
    numbers = [_random_numbers(seed, 3, (window + k) % 2**32, 3) for k in range(4)]
    points = 2 * np.array(numbers, np.float32) - 1
    return points * np.abs(points) / 6  # squares: many small shifts, few large ones


def _lid_closure(t: float) -> float:
    """How far the lids are shut `t` seconds after a blink began, 0..1."""
    if t < BLINK_CLOSE + BLINK_HOLD:
        return float(smoothstep(t / BLINK_CLOSE))
    return 1 - float(smoothstep((t - BLINK_CLOSE - BLINK_HOLD) / BLINK_OPEN))
