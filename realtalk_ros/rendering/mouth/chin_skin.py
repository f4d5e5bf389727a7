# SPDX-License-Identifier: Apache-2.0
"""The skin below a lower lip that rises, as in p, b, m and f.

The aligner moves the lip, and lets the movement end within a few pixels below it. The skin there
was stretched without bounds, and its pores and stubble became upright strokes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from realtalk_ros.contracts import COARSE_SIZE, CROP_SIZE
from realtalk_ros.easing import smoothstep

LOWER_EDGE = [48, 59, 58, 57, 56, 55, 54]  # landmarks of the lower lip's outer edge, by x
STRETCHED = 1.6  # skin is shown at most that many times as high as in the template
ENDS = 0.15  # share of the lip's width over which that begins at its corners
# By how much less a row of the movement may rise than the one above it, pixels of the crop; and by
# how much less those of the lip count for each row that they lie above its edge.
STEP = (1 - 1 / STRETCHED) * CROP_SIZE / COARSE_SIZE
OF_LIP = 8.0
LITTLE = 1.0  # pixels: a lip that rises by less stretches nothing


def spread_stretch(movements: Iterable[np.ndarray], landmarks: Iterable[np.ndarray]) -> None:
    """Lets each of the aligner's movements (64, 64, 2) end farther below the lower lip, where it
    would stretch the skin too much. Changes them in place. landmarks (68, 2) each, where they are
    moved to, in normalised coordinates."""
    for movement, points in zip(movements, landmarks, strict=True):
        if movement[..., 1].max() < LITTLE:
            continue
        x, edge = points[LOWER_EDGE].T * COARSE_SIZE - 0.5
        columns = slice(max(int(x[0]), 0), min(int(x[-1]) + 2, COARSE_SIZE))
        rows = slice(max(int(edge.min()) - 1, 0), COARSE_SIZE)
        up = movement[rows, columns, 1]
        if up.size:
            up += missing(up, np.arange(columns.start, columns.stop), rows.start, x, edge)


def missing(
    up: np.ndarray, columns: np.ndarray, top: int, x: np.ndarray, edge: np.ndarray
) -> np.ndarray:
    """(H, W): by how much more a part of the movement, `up` (H, W), is to rise. It is in `columns`
    (W,) and begins in row `top`; the lip's edge lies at (x, edge)."""
    rows = np.arange(top, top + len(up), dtype=np.float32)[:, None]
    below = rows - np.interp(columns, x, edge).astype(np.float32)
    slope = STEP * rows
    least = np.maximum.accumulate(up + slope + OF_LIP * np.minimum(below, 0), 0) - slope
    along = (columns - x[0]) / max(float(x[-1] - x[0]), 1)
    share = smoothstep(np.minimum(along, 1 - along), 0, ENDS) * np.clip(below + 1, 0, 1)
    return np.asarray(np.maximum(least - up, 0) * share, np.float32)
