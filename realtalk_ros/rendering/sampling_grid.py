# SPDX-License-Identifier: Apache-2.0
"""Where in a template the pixels of a picture of the moved face lie."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from realtalk_ros.contracts import COARSE_SIZE, CROP_SIZE


def sampling_grid(movement: np.ndarray) -> np.ndarray:
    """Where in the template the pixels of the warped one lie, x and y, (2, 256, 256) float32, by
    the aligner's movement (64, 64, 2) of it."""
    size = len(movement) * CROP_SIZE // COARSE_SIZE
    grid = np.empty((2, size, size), np.float32)
    for coarse, plane in zip(cv2.split(movement), grid, strict=True):
        cv2.resize(coarse, (size, size), dst=plane)
    flat = grid.reshape(2 * size, size)
    cv2.add(flat, unmoved(size).reshape(flat.shape), dst=flat)
    return grid


@lru_cache(maxsize=2)
def unmoved(size: int) -> np.ndarray:
    """(2, size, size) float32: every pixel's own position, x and y."""
    axis = np.arange(size, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis))


def warp(
    template: np.ndarray, sampling_grid: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """A template's crop (S, S, channels) uint8 sampled at `sampling_grid` (2, S, S) float32, x and
    y. Written to `out` if that is given. OpenCV samples four channels faster than three."""
    (x, y), linear, border = sampling_grid, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    return cv2.remap(template, x, y, linear, dst=out, borderMode=border)
