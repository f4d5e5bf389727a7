# SPDX-License-Identifier: Apache-2.0
"""The landmarks of an avatar's templates, in normalised coordinates: (0, 0) is the upper left
corner of the face crop, (1, 1) the lower right one."""

from __future__ import annotations

import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit, landmarks


def frontal_landmarks(identity: np.ndarray) -> np.ndarray:
    """(68, 2): the landmarks of a resting face that looks straight ahead, in its own crop."""
    shape = landmarks.load().points(arkit.weights(), identity)
    x, y, side = landmarks.face_square(shape[:, :2])
    return (shape[:, :2] - (x, y)) / (side, -side) + 0.5


def template_landmarks(avatar: Avatar) -> np.ndarray:
    """(T, 68, 2) float32: the landmarks of an avatar's templates, in shares of the face crop.

    An avatar without `landmarks` is taken to look straight ahead. The head's small idle motion
    keeps that within 2 pixels or so of the truth.
    """
    x, y, side = avatar.crop
    if avatar.landmarks is None:
        found = np.repeat(frontal_landmarks(avatar.identity)[None], len(avatar.templates), 0)
    else:
        found = (avatar.landmarks - (x, y)) / side
    return found.astype(np.float32)
