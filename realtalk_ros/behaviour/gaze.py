"""Looking at a point: eyes first, the head follows a part of the way."""

from __future__ import annotations

import math

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.facekit import EYE_PITCH, EYE_YAW

HEAD_SHARE = 0.3  # of the angle that the head takes (Freedman & Sparks 1997: eyes do most of it)
HEAD_LIMIT = 0.12  # rad, as far as a picture of a head can be turned
EYE_TIME, HEAD_TIME = 0.04, 0.25  # s, time constants
HOLD = 5.0  # s for which a point is looked at after it was named last
_RIGHTWARD = [arkit.INDEX[name] for name in ("eyeLookInLeft", "eyeLookOutRight")]
_LEFTWARD = [arkit.INDEX[name] for name in ("eyeLookOutLeft", "eyeLookInRight")]
_UPWARD = [arkit.INDEX[name] for name in ("eyeLookUpLeft", "eyeLookUpRight")]
_DOWNWARD = [arkit.INDEX[name] for name in ("eyeLookDownLeft", "eyeLookDownRight")]


def angles(point: tuple[float, float, float]) -> tuple[float, float]:
    """(yaw to the face's left, pitch up), rad, of a point in the face's frame (REP 103: x out of
    the face, y to its left, z up; metres). Raises ValueError where there is no direction."""
    x, y, z = point
    if not all(map(math.isfinite, point)) or math.hypot(x, y, z) < 1e-6:
        raise ValueError("a point to look at needs a finite direction")
    return math.atan2(y, x), math.atan2(z, math.hypot(x, y))


class Gaze:
    """Where the eyes and the head turn to, as time goes on."""

    def __init__(self) -> None:
        self._target = (0.0, 0.0)
        self._until = -math.inf
        self._eyes = np.zeros(2)  # rad in the world, yaw left and pitch up
        self._head = np.zeros(2)
        self._share = 0.0  # 0 nobody is looked at, 1 somebody is
        self._time: float | None = None

    def look(self, point: tuple[float, float, float], time: float, hold: float = HOLD) -> None:
        """Looks at `point` (as `angles` takes it) from `time` on. Raises ValueError."""
        self._target, self._until = angles(point), time + hold

    @property
    def attentive(self) -> float:
        """How much the eyes are bound to a point, 0 to 1."""
        return self._share

    def update(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Eye weights (52,) to add and head rotation (3,) rad pitch down, yaw left, roll."""
        step = 0.0 if self._time is None else min(0.5, max(0.0, time - self._time))
        self._time = time
        looking = self._until - 60 < time < self._until  # a clock that went back ends it, too
        target = np.array(self._target if looking else (0.0, 0.0))
        self._share += ease(step, EYE_TIME) * (looking - self._share)
        self._head += ease(step, HEAD_TIME) * (
            np.clip(HEAD_SHARE * target, -HEAD_LIMIT, HEAD_LIMIT) - self._head
        )
        self._eyes += ease(step, EYE_TIME) * (target - self._eyes)
        # What the head has not turned yet, the eyes do (the vestibulo-ocular reflex).
        turn = (self._eyes - self._head) / (EYE_YAW, EYE_PITCH)
        left, up = np.clip(turn, -1, 1) * self._share
        weights = np.zeros(arkit.COUNT, np.float32)
        weights[_LEFTWARD if left > 0 else _RIGHTWARD] = abs(left)
        weights[_UPWARD if up > 0 else _DOWNWARD] = abs(up)
        return weights, np.array([-self._head[1], self._head[0], 0.0], np.float32)


def ease(step: float, time_constant: float) -> float:
    """Share of the way to a target that is gone in `step` seconds."""
    return 1 - math.exp(-step / time_constant)
