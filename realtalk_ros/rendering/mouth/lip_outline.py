# SPDX-License-Identifier: Apache-2.0
"""The lips' outlines, as OpenCV draws them (mouth.py)."""

from __future__ import annotations

import numpy as np

OUTLINE = 0.75  # pixels by which OpenCV draws an antialiased polygon too large
FRACTION_BITS = 4  # of the pixel coordinates that OpenCV draws
FAR = 512.0  # pixels by which the cover of a lip reaches beyond the mouth


def lip_polygons(rings: np.ndarray) -> np.ndarray:
    """(2 R, N + 4, 2): the polygons that upper and lower lip cover, for rings (R, 2, N, 2) in
    pixels, from the person's right corner of the mouth to the left one."""
    across = rings[..., -1, :] - rings[..., 0, :]  # (R, 2, 2)
    length = np.hypot(across[..., :1], across[..., 1:])
    across *= FAR / np.maximum(length, 1e-6)
    away = np.stack([-across[..., 1], across[..., 0]], -1) * np.array([-1, 1])[:, None]
    rings = rings + (OUTLINE / FAR) * away[..., None, :]
    first, last = rings[..., 0, :] - across, rings[..., -1, :] + across
    ends = np.stack([last, last + away, first + away, first], -2)  # (R, 2, 4, 2)
    return np.concatenate([rings, ends], -2).reshape(-1, rings.shape[2] + 4, 2)


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as OpenCV's integers with FRACTION_BITS binary digits of fraction."""
    return np.rint(points * 2**FRACTION_BITS).astype(np.int32)
