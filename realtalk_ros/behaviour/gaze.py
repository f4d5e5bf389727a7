# SPDX-License-Identifier: Apache-2.0
"""Looking at a point: the eyes move first, the head follows part of the way."""

from __future__ import annotations

import math

import numpy as np

from realtalk_ros.easing import Spring, approached
from realtalk_ros.face_model.eye_rotation import EYE_PITCH, EYE_YAW, gaze_weights

HEAD_SHARE = 0.3  # of the angle, which the head takes (Freedman & Sparks 1997: eyes do most of it)
MAX_HEAD_ANGLE = 0.12  # rad: a picture of a head cannot be turned farther
MAX_STEP = 0.5  # s from one update to the next; a longer pause counts as this
EYE_TIME, HEAD_TIME = 0.04, 0.12  # s, time constants; the head's of a spring
HOLD = 5.0  # s for which a point is looked at after it was given last
MAX_HOLD = 60.0  # s; where more seems to be left, the clock was set back


def direction_angles(point: tuple[float, float, float]) -> tuple[float, float]:
    """(pitch, yaw), rad, as face_model/rotations.py has them, of a point in the face's frame
    (REP 103: x out of the face, y to its left, z up; metres). Raises ValueError where there is no
    direction."""
    x, y, z = point
    if not all(map(math.isfinite, point)) or math.hypot(x, y, z) < 1e-6:
        raise ValueError("a point to look at needs a finite direction")
    return -math.atan2(z, math.hypot(x, y)), math.atan2(y, x)


class Gaze:
    """The movement of eyes and head towards a point over time."""

    def __init__(self) -> None:
        self._target = (0.0, 0.0)
        self._until = -math.inf
        self._eyes = np.zeros(2)  # pitch and yaw in the world, rad
        self._head = Spring(np.zeros(2), HEAD_TIME)
        self.attention = 0.0  # how far the eyes are fixed on a point: 0 not at all, 1 entirely
        self._calm = Spring(0.0, HEAD_TIME)
        self._time: float | None = None

    @property
    def head_attention(self) -> float:
        """As `attention`, as slowly as a head comes to rest."""
        return self._calm.value

    def look_at(self, point: tuple[float, float, float], time: float, hold: float = HOLD) -> None:
        """Looks at `point` (as `direction_angles` takes it) from `time` on for `hold` s. Raises
        ValueError."""
        self._target, self._until = direction_angles(point), time + hold

    def update(self, time: float, head_gain: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Eye weights (52,) to add and head rotation (3,) rad, as of face_model/rotations.py.
        `head_gain` scales what the head takes of the way; the eyes take the rest."""
        step = 0.0 if self._time is None else min(MAX_STEP, max(0.0, time - self._time))
        self._time = time
        looking = self._until - MAX_HOLD < time < self._until
        target = np.array(self._target if looking else (0.0, 0.0))
        self.attention = approached(self.attention, float(looking), step, EYE_TIME)
        head = head_gain * np.clip(HEAD_SHARE * target, -MAX_HEAD_ANGLE, MAX_HEAD_ANGLE)
        turned = self._head.follow(head, step)
        self._calm.follow(float(looking), step)
        self._eyes = approached(self._eyes, target, step, EYE_TIME)
        # The eyes take what the head has not turned yet (the vestibulo-ocular reflex).
        in_head = (self._eyes - turned) / (EYE_PITCH, EYE_YAW)
        down, left = np.clip(in_head, -1, 1) * self.attention
        return gaze_weights(left, -down), np.array([*turned, 0.0], np.float32)
