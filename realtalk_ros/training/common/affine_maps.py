# SPDX-License-Identifier: Apache-2.0
"""Affine maps of pictures, as (2, 3) matrices of pixels."""

from __future__ import annotations

import numpy as np

from realtalk_ros.contracts import CROP_SIZE

SHIFT, STRETCH = 0.02, 0.04  # of the square, at random: as if the detection were a little off


def random_crop(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) affine map of a face's square, at random a little off, to CROP_SIZE pixels.

    square: middle x, y and side in pixels.
    """
    x, y, side = square
    x, y = np.array([x, y]) + rng.uniform(-SHIFT, SHIFT, 2) * side
    scale = CROP_SIZE / (side * rng.uniform(1 - STRETCH, 1 + STRETCH))
    return np.array([[scale, 0, CROP_SIZE / 2 - scale * x], [0, scale, CROP_SIZE / 2 - scale * y]])


def similarity_transform(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(2, 3): the least-squares shift, scale and rotation of points (n, 2) (Umeyama 1991)."""
    a, b = points - points.mean(0), onto - onto.mean(0)
    variance = max(float((a**2).sum()), 1e-9)
    c = (a * b).sum() / variance
    s = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / variance
    rotation = np.array([[c, -s], [s, c]])
    return np.column_stack([rotation, onto.mean(0) - rotation @ points.mean(0)])


def compose(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(2, 3): first `before`, then `after`."""
    return (np.vstack([after, [0, 0, 1]]) @ np.vstack([before, [0, 0, 1]]))[:2]


def from_middles(affine: np.ndarray) -> np.ndarray:
    """(2, 3) of pixels that are counted from the middle of the first one, as OpenCV does, for a map
    of pixels that are counted from its corner, as landmarks are."""
    return np.column_stack([affine[:, :2], affine[:, 2] + affine[:, :2] @ (0.5, 0.5) - 0.5])


def transform(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Points (n, 2) under an affine map (2, 3)."""
    return points @ affine[:, :2].T + affine[:, 2]
