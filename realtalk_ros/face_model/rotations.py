# SPDX-License-Identifier: Apache-2.0
"""Rotations of heads and eyeballs: one order and one sign everywhere in the package.

A rotation is (..., 3) rad:

    pitch   positive: down
    yaw     positive: to the person's left, which is to the right in a picture
    roll    positive: the head falls towards the person's left shoulder

Files of face tracks and of training data have had another order and another sign since they were
first written. The functions below convert where such files are read and written; each is its own
inverse.
"""

from __future__ import annotations

import math

import numpy as np


def rotation_matrix(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """(3, 3) float32 R_y(yaw) R_x(pitch) R_z(-roll), rad, in the face model's axes: x to the
    person's left, y up, z out of the face."""
    (cp, cy, cr), (sp, sy, sr) = np.cos([pitch, yaw, -roll]), np.sin([pitch, yaw, -roll])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_y @ about_x @ about_z).astype(np.float32)


def forward(pitch: float, yaw: float) -> tuple[float, float, float]:
    """Where the face's z goes by `rotation_matrix`, its third column, whatever the roll."""
    return (
        math.sin(yaw) * math.cos(pitch),
        -math.sin(pitch),
        math.cos(yaw) * math.cos(pitch),
    )


def flip_roll(rotation: np.ndarray) -> np.ndarray:
    """(..., 3) to or from pitch, yaw, roll towards the right shoulder, as the training data of
    speech in videos have it."""
    return rotation * np.array([1, 1, -1], np.float32)


def swap_track_order(rotation: np.ndarray) -> np.ndarray:
    """(..., 3) to or from yaw, pitch, roll towards the right shoulder, as files of face tracks and
    training groups have it."""
    return flip_roll(rotation[..., [1, 0, 2]])
