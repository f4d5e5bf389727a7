# SPDX-License-Identifier: Apache-2.0
"""Rasterises triangles (NumPy): a few thousand small ones in less than a millisecond.

What is nearest is seen, pixel by pixel. All work is done on arrays with one entry for each
triangle, then for each row of pixels of a triangle (a span), then for each pixel.
"""

from __future__ import annotations

import numpy as np


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
    y = py.take(faces)
    top, bottom = _extremes(y)
    chosen = np.flatnonzero((bottom >= 0) & (top <= height - 1))
    faces, y = faces.take(chosen, 1), y.take(chosen, 1)
    x = px.take(faces)
    dx, dy = x[1:] - x[0], y[1:] - y[0]
    area = dx[0] * dy[1] - dx[1] * dy[0]
    left, right = _extremes(x)
    visible = np.flatnonzero((area < -1e-6) & (right >= 0) & (left <= width - 1))
    chosen = chosen[visible]
    if not chosen.size:
        return
    faces, x, y = (array.take(visible, 1) for array in (faces, x, y))
    top = np.maximum(np.ceil(top.take(chosen)), 0).astype(np.int32)
    bottom = np.minimum(np.floor(bottom.take(chosen)), height - 1).astype(np.int32)
    triangle, row = _expand(np.maximum(bottom - top + 1, 0))
    row += top.take(triangle)
    start, stop = _spans(x, y, triangle, row, width)
    if bounds is not None:
        start = np.maximum(start, bounds[0].take(row))
        stop = np.minimum(stop, bounds[1].take(row))
    span, column = _expand(np.maximum(stop - start + 1, 0))
    column += start.take(span)
    if not column.size:
        return
    gradients = (_gradients(of.take(faces), x, y, area.take(visible)) for of in (values, nearness))
    found, depth = (_interpolate(by, triangle, row, span, column) for by in gradients)
    found = found.astype(out.dtype) * factors.take(chosen.take(triangle)).take(span)
    place = (row * width).take(span) + column
    if shown is not None:
        nearer = np.flatnonzero(depth > shown.ravel().take(place))
        place, found, depth = place.take(nearer), found.take(nearer), depth.take(nearer)
    order = _far_to_near(depth)
    place = place.take(order)
    out.ravel()[place] = found.take(order)
    if shown is not None:
        shown.ravel()[place] = depth.take(order)


def _far_to_near(depth: np.ndarray) -> np.ndarray:
    """Indices that sort (N,) by depth, to 1/65535 of its range."""
    # NumPy sorts 16-bit numbers by their digits, which is fast.
    low, high = (float(f(depth, initial=0)) for f in (np.min, np.max))
    levels = (depth - low) * (65535 / max(high - low, 1e-6))
    return np.argsort(levels.astype(np.uint16), kind="stable")


def _interpolate(
    gradients: tuple[np.ndarray, np.ndarray, np.ndarray],
    triangle: np.ndarray,
    row: np.ndarray,
    span: np.ndarray,
    column: np.ndarray,
) -> np.ndarray:
    """The values of all pixels, by the triangle and the row of each span, and each pixel's span and
    column."""
    by_x, by_y, at_zero = gradients
    begin = at_zero.take(triangle) + by_y.take(triangle) * row
    return begin.take(span) + by_x.take(triangle).take(span) * column


def _gradients(
    value: np.ndarray, x: np.ndarray, y: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How the values (3, F) of the corners change along x and y, and the value at (0, 0), (F,);
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
    next_x, next_y = x[[1, 2, 0]] - x, y[[1, 2, 0]] - y
    slope = next_x / np.where(next_y == 0, np.float32(1), next_y)
    cut = x - slope * y
    edges = cut.take(triangle, 1) + slope.take(triangle, 1) * row
    direction = next_y.take(triangle, 1)
    _, start = _extremes(np.where(direction > 0, edges, np.float32(0)))
    stop, _ = _extremes(np.where(direction < 0, edges, np.float32(width - 1)))
    first = np.ceil(np.minimum(start, width)).astype(np.int32)
    return first, np.floor(np.maximum(stop, -1)).astype(np.int32)


def _extremes(three: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest of the rows of (3, N)."""
    a, b, c = three
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _expand(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For `counts` of items in groups: the group of each item, and its number in the group."""
    group = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    before = (np.cumsum(counts) - counts).astype(np.int32)
    return group, np.arange(len(group), dtype=np.int32) - before.take(group)
