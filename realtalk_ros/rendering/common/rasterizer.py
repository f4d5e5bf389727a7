# SPDX-License-Identifier: Apache-2.0
"""Rasterises triangles (NumPy): a few thousand small ones in less than a millisecond.

What is nearest is seen, pixel by pixel. All work is done on arrays with one entry for each
triangle, then for each row of pixels of a triangle (a span), then for each pixel. These are short:
what it takes is decided by how many calls of NumPy there are.
"""

from __future__ import annotations

import numpy as np

NEXT = np.array([1, 2, 0])  # of a triangle's corners


def draw(
    points: np.ndarray,
    faces: np.ndarray,
    values: np.ndarray,
    factors: np.ndarray,
    out: np.ndarray,
    *,
    shown: np.ndarray | None = None,
    bounds: np.ndarray | None = None,
) -> None:
    """Fills the pixels whose centres lie in a triangle that faces the viewer.

    points: (P, 3) float32, x, y in pixels (integers at the pixels' centres) and nearness.
    faces: (3, F) indices of points, counter-clockwise as seen with y up.
    values: (P,) float32, interpolated linearly over each triangle.
    factors: (F,), by which a triangle's values are multiplied.
    out: (H, W), takes the values, rounded down to its type, times the factors.
    shown: (H, W) float32, nearness of what is in `out` already and hides what is farther; takes
        that of the pixels that are filled.
    bounds: (2, H) int32, first and last column to be filled of each row.
    """
    height, width = out.shape
    px, py, nearness = np.ascontiguousarray(points.T)
    x, y = px.take(faces), py.take(faces)
    chosen, area, top, bottom = _seen(x, y, width, height)
    faces, x, y = (array.take(chosen, 1) for array in (faces, x, y))
    triangle, before = _groups(bottom - top + 1)
    row = (top - before).take(triangle) + np.arange(len(triangle))
    # NumPy takes long for numbers of two types: int32 times float32 is float64, so all are.
    start, stop = _spans(x, y, triangle, row.astype(np.float64), width)
    if bounds is not None:
        np.maximum(start, bounds[0].take(row), out=start)
        np.minimum(stop, bounds[1].take(row), out=stop)
    filled = np.flatnonzero(stop >= start)
    if not filled.size:
        return
    triangle, row, start, stop = (a.take(filled) for a in (triangle, row, start, stop))
    span, before = _groups(stop - start + 1)
    # A pixel's number grows along a span as its column does.
    pixel = np.arange(len(span))
    place = (row * width + start - before).take(span) + pixel
    both = np.stack([nearness.take(faces), values.take(faces)], 1)
    by_x, by_y, at_zero = (of.take(triangle, 1) for of in _gradients(both, x, y, area))
    slope = by_x.astype(np.float64)
    begin = at_zero + by_y * row.astype(np.float64) + slope * (start - before)
    pixel = pixel.astype(np.float64)
    depth = begin[0].take(span) + slope[0].take(span) * pixel
    if shown is not None:
        nearer = np.flatnonzero(depth > shown.ravel().take(place))
        if not nearer.size:
            return
        place, depth, span, pixel = (a.take(nearer) for a in (place, depth, span, pixel))
    found = (begin[1].take(span) + slope[1].take(span) * pixel).astype(out.dtype)
    found *= factors.take(chosen.take(triangle)).take(span)
    order = _far_to_near(depth)
    place = place.take(order)
    out.ravel()[place] = found.take(order)
    if shown is not None:
        shown.ravel()[place] = depth.take(order)


def _seen(
    x: np.ndarray, y: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of triangles whose corners are at x, y (3, F), those that face the viewer and are not beside
    the picture: their numbers, twice their areas, first and last rows, each (N,)."""
    dx, dy = x[1:] - x[0], y[1:] - y[0]
    area = dx[0] * dy[1] - dx[1] * dy[0]
    top = np.maximum(np.ceil(y.min(0)), 0).astype(np.int32)
    bottom = np.minimum(np.floor(y.max(0)), height - 1).astype(np.int32)
    beside = (x.max(0) < 0) | (x.min(0) > width - 1)
    chosen = np.flatnonzero((area < -1e-6) & (top <= bottom) & ~beside)
    return chosen, area.take(chosen), top.take(chosen), bottom.take(chosen)


def _groups(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For `counts` of items in groups: the group of each item, and how many items are before each
    group."""
    return np.repeat(np.arange(len(counts)), counts), np.cumsum(counts) - counts


def _far_to_near(depth: np.ndarray) -> np.ndarray:
    """Indices that sort (N,), N > 0, by depth, to 1/65535 of its range."""
    # NumPy sorts 16-bit numbers by their digits, which is fast.
    low, high = float(depth.min()), float(depth.max())
    levels = (depth - low) * (65535 / max(high - low, 1e-6))
    return np.argsort(levels.astype(np.uint16), kind="stable")


def _gradients(
    value: np.ndarray, x: np.ndarray, y: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How V values (3, V, F) of the corners change along x and y, and those at (0, 0), each (V, F);
    `area` is twice the triangles' area."""
    dx, dy, change = x[1:] - x[0], y[1:] - y[0], value[1:] - value[0]
    by_x = (change[0] * dy[1] - change[1] * dy[0]) / area
    by_y = (change[1] * dx[0] - change[0] * dx[1]) / area
    return by_x, by_y, value[0] - by_x * x[0] - by_y * y[0]


def _spans(
    x: np.ndarray, y: np.ndarray, triangle: np.ndarray, row: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """First and last column of each span, given its triangle and row, (S,)."""
    # Where the lines of the edges, each from a corner to the next, cut a row. An edge that goes
    # down the picture is a border on the left, one that goes up is one on the right.
    next_x, next_y = x.take(NEXT, 0) - x, y.take(NEXT, 0) - y
    down, up = next_y > 0, next_y < 0
    slope = next_x / np.where(next_y == 0, np.float32(1), next_y)
    cut = x - slope * y

    def borders(edges: np.ndarray, otherwise: float) -> np.ndarray:
        at_zero = np.where(edges, cut, otherwise).astype(np.float64).take(triangle, 1)
        return at_zero + np.where(edges, slope, 0.0).astype(np.float64).take(triangle, 1) * row

    start, stop = borders(down, 0).max(0), borders(up, width - 1).min(0)
    first = np.ceil(np.minimum(start, width)).astype(np.int32)
    return first, np.floor(np.maximum(stop, -1)).astype(np.int32)
