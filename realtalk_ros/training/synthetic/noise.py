# SPDX-License-Identifier: Apache-2.0
"""Noise, of which textures and shapes are made."""

from __future__ import annotations

import cv2
import numpy as np


def value_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth tileable noise, mean 0.5, about `cells` bumps across; (h, w) float32."""
    small = rng.random((cells, cells)).astype(np.float32)
    small = np.pad(small, 2, mode="wrap")
    h, w = shape
    big = cv2.resize(
        small, (w * (cells + 4) // cells, h * (cells + 4) // cells), interpolation=cv2.INTER_CUBIC
    )
    y, x = 2 * h // cells, 2 * w // cells
    return big[y : y + h, x : x + w]
