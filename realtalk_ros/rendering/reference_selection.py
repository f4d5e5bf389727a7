"""Several pictures of one person as texture references: the mouth's shape decides which to use.

The renderer's encoder sees one reference at a time, so its features are kept for each reference and
template; a frame only says which rows to take. A choice costs two small matrix products.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit, landmarks

# The next reference must be this much nearer than the present one, or faces between two flicker.
KEEP = 0.6
DIFFERENT = 1.0  # cm over all lip landmarks, from where on a mouth is another one


def mouth(weights: np.ndarray) -> np.ndarray:
    """(..., 52) -> (..., 60): how the lips' landmarks move, cm."""
    moves = landmarks.load().expressions[:, landmarks.LIPS].reshape(arkit.COUNT, -1)
    return np.asarray(weights, np.float32) @ moves


class ReferenceSelector:
    """The nearest of K references, with a memory of the last choice. Weights (K, 52)."""

    def __init__(self, weights: np.ndarray):
        self._shapes = mouth(weights)
        self._now = 0

    def choose(self, weights: np.ndarray) -> int:
        """Number of the reference for weights (52,)."""
        if len(self._shapes) > 1:
            away = np.linalg.norm(self._shapes - mouth(weights), axis=1)
            nearest = int(away.argmin())
            if away[nearest] < KEEP * away[self._now]:
                self._now = nearest
        return self._now


def spread(weights: np.ndarray, count: int, first: int) -> list[int]:
    """Up to `count` rows of weights (N, 52) whose mouths differ most, beginning with row `first`:
    each next one is the farthest from those taken (Gonzalez 1985)."""
    shapes, taken = mouth(weights), [first]
    away = np.linalg.norm(shapes - shapes[first], axis=1)
    while len(taken) < min(count, len(shapes)) and away.max() > DIFFERENT:
        taken.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(shapes - shapes[taken[-1]], axis=1))
    return taken
