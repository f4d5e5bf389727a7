# SPDX-License-Identifier: Apache-2.0
"""The face as lines in space: landmarks in ROS's axes, how they join, and weights as text."""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.rotations import rotation_matrix

# Landmarks joined by lines: name -> (which, closed).
LINES = {
    "jaw": (landmarks.JAW, False),
    "brow_right": (landmarks.BROW_RIGHT, False),
    "brow_left": (landmarks.BROW_LEFT, False),
    "nose_bridge": (landmarks.NOSE_BRIDGE, False),
    "nose_base": (landmarks.NOSE_BASE, False),
    "eye_right": (landmarks.EYE_RIGHT, True),
    "eye_left": (landmarks.EYE_LEFT, True),
    "lips_outer": (landmarks.OUTER_LIPS, True),
    "lips_inner": (landmarks.INNER_LIPS, True),
}
LEAST = 0.05  # weights below this are left out
MOST = 12  # weights in one text


class FaceLines:
    """A person's landmarks; `identity` (100,) or None for the mean face."""

    def __init__(self, identity: np.ndarray | None = None):
        self._model = landmarks.load()
        self._identity = identity

    def points(self, weights: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """(68, 3) metres: x out of the face, y to the person's left, z up (REP 103); weights (52,)
        in ARKit's order, rotation (3,) rad as of face_model/rotations.py."""
        pitch, yaw, roll = (float(v) for v in rotation)
        # The landmark model has x to the left, y up, z out; its origin is inside of the head.
        turned = self._model.points(weights, self._identity) @ rotation_matrix(pitch, yaw, roll).T
        return turned[:, [2, 0, 1]] * 0.01


def line(points: np.ndarray, name: str) -> np.ndarray:
    """(n, 3): the points of one of LINES, the first one again at the end of a closed one."""
    which, closed = LINES[name]
    part = points[which]
    return np.concatenate([part, part[:1]]) if closed else part


def weights_text(weights: np.ndarray) -> str:
    """The largest weights, one a line; `at rest` if there are none."""
    order = [i for i in np.argsort(-weights, kind="stable")[:MOST] if weights[i] >= LEAST]
    return "\n".join(f"{arkit.NAMES[i]} {weights[i]:.2f}" for i in order) or "at rest"
