# SPDX-License-Identifier: Apache-2.0
"""Where 68 landmarks of the face are in 3D, from identity and ARKit weights (NumPy only).

The model is linear: mean + identity @ identity_modes + weights @ expressions. It is ICT-FaceKit's
(MIT, USC ICT Vision and Graphics Lab) at its Multi-PIE landmark vertices. Lengths are centimetres;
+x is the subject's left, +y up, +z out of the face.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, bundled_arrays

COUNT = 68  # Multi-PIE, in the order of iBUG 300-W. Right and left are the subject's own.
JAW, CHIN = slice(0, 17), 8  # from the right ear to the left one
BROW_RIGHT, BROW_LEFT, BROWS = slice(17, 22), slice(22, 27), slice(17, 27)
NOSE_BRIDGE, NOSE_BASE, NOSE = slice(27, 31), slice(31, 36), slice(27, 36)
EYE_RIGHT, EYE_LEFT, EYES = slice(36, 42), slice(42, 48), slice(36, 48)
OUTER_LIPS, INNER_LIPS, LIPS = slice(48, 60), slice(60, 68), slice(48, 68)
EYES_AND_LIPS = slice(36, 68)
EYE_CORNERS = [36, 45]  # the outer ones
MOUTH_RIGHT, MOUTH_LEFT = 48, 54  # corners
INNER_UPPER_LIP, INNER_LOWER_LIP = 62, 66  # their middles
INNER_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))  # upper and lower that face each other
IDENTITY_SIZE = 100
NEAR = 0.5  # cm


class Landmarks:
    """mean (68, 3), expressions (52, 68, 3), identity_modes (100, 68, 3), float32, cm."""

    def __init__(self, mean: np.ndarray, expressions: np.ndarray, identity_modes: np.ndarray):
        self.mean, self.expressions, self.identity_modes = (
            np.asarray(a, np.float32) for a in (mean, expressions, identity_modes)
        )
        shapes = self.mean.shape, self.expressions.shape, self.identity_modes.shape
        if shapes != ((COUNT, 3), (arkit.COUNT, COUNT, 3), (IDENTITY_SIZE, COUNT, 3)):
            raise RealTalkError(f"the landmark model has shapes {shapes}: reinstall realtalk_ros")

    def move(self, weights: np.ndarray) -> np.ndarray:
        """(..., 52) ARKit weights -> (..., 68, 3) displacement from rest."""
        moved = weights @ self.expressions.reshape(len(self.expressions), -1)
        return moved.reshape(*weights.shape[:-1], COUNT, 3)

    def points(self, weights: np.ndarray, identity: np.ndarray | None = None) -> np.ndarray:
        """(..., 52) -> (..., 68, 3); identity (100,), sd 1, or None for the mean face."""
        rest = self.mean
        if identity is not None:
            rest = rest + np.tensordot(identity, self.identity_modes, 1)
        return rest + self.move(weights)


def face_square(points: np.ndarray) -> tuple[float, float, float]:
    """(x, y, side) of the face crop from 68 projected neutral landmarks (68, 2).

    E is the middle of the eyes, M of the mouth: side 2.8 |M - E|, centre E + 0.7 (M - E), which
    holds raised brows and the open jaw. Works in pixels and in cm alike; axis-aligned.
    """
    centre, side = _square(points[EYES], points[LIPS])
    return float(centre[0]), float(centre[1]), float(side)


def level_square(eyes: np.ndarray, mouth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (..., 2), side (...) and direction (..., 2) of the upper edge, of length 1, of the
    same square turned so that the eyes are level, by points (..., n, 2) of eyes and mouth."""
    centre, side = _square(eyes, mouth)
    across = np.linalg.svd(eyes - eyes.mean(-2, keepdims=True), full_matrices=False)[2][..., 0, :]
    return centre, side, across * np.where(across[..., :1] < 0, -1.0, 1.0)


def _square(eyes: np.ndarray, mouth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle: np.ndarray = np.asarray(eyes.mean(-2))
    down: np.ndarray = np.asarray(mouth.mean(-2) - middle)
    return np.asarray(middle + 0.7 * down), np.asarray(2.8 * np.linalg.norm(down, axis=-1))


def interpolation_weights(points: np.ndarray, part: slice) -> np.ndarray:
    """(..., 3), cm -> (..., n) float32: by which movements of the n landmarks of a part are
    interpolated to points near them (Gaussians of width NEAR; the sum of a point's is 1)."""
    distances = np.linalg.norm(points[..., None, :] - load().mean[part], axis=-1)
    weights = np.exp(-0.5 * (distances / NEAR) ** 2) + 1e-9
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def load() -> Landmarks:
    """The model that comes with the package."""
    names = "mean", "expressions", "identity_modes"
    return Landmarks(*bundled_arrays.read("landmarks", names))
