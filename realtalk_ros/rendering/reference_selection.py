# SPDX-License-Identifier: Apache-2.0
"""Which of an avatar's reference images textures a frame: the one with the most similar mouth.

The encoder's features are kept for each pair of reference and template, so that a frame only says
which of them to use. A choice costs two small matrix products.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtalk_ros.face_model import arkit, landmarks

# Another reference is chosen when its distance is less than this share of the present one's.
# Without such hysteresis, a face between two references would flicker.
SWITCH_RATIO = 0.6
MIN_DISTANCE = 1.0  # cm over all lip landmarks: references closer than this are alike


def mouth_shape(weights: np.ndarray) -> np.ndarray:
    """(..., 52) -> (..., 60): how the lips' landmarks move from rest, cm."""
    return np.asarray(weights, np.float32) @ _movements()


@lru_cache(maxsize=1)
def _movements() -> np.ndarray:
    return landmarks.load().expressions[:, landmarks.LIPS].reshape(arkit.COUNT, -1)


class ReferenceSelector:
    """Chooses the nearest of K references, given their weights (K, 52). Remembers its choice."""

    def __init__(self, weights: np.ndarray):
        self._shapes = mouth_shape(weights)
        self._current = 0

    def choose(self, weights: np.ndarray) -> int:
        """The index of the reference for weights (52,)."""
        if len(self._shapes) > 1:
            distances = np.linalg.norm(self._shapes - mouth_shape(weights), axis=1)
            nearest = int(distances.argmin())
            if distances[nearest] < SWITCH_RATIO * distances[self._current]:
                self._current = nearest
        return self._current


def farthest_mouths(weights: np.ndarray, count: int, first: int) -> list[int]:
    """Up to `count` rows of weights (N, 52) whose mouths differ most, beginning with row `first`:
    each next one is the farthest from those chosen (Gonzalez 1985)."""
    shapes, chosen = mouth_shape(weights), [first]
    distances = np.linalg.norm(shapes - shapes[first], axis=1)
    while len(chosen) < min(count, len(shapes)) and distances.max() > MIN_DISTANCE:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(shapes - shapes[chosen[-1]], axis=1))
    return chosen
