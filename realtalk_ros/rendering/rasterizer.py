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
    chosen = _inside(px, py, faces, width, height)
    faces = faces.take(chosen, 1)
    x, y = px.take(faces), py.take(faces)
    dx, dy = x[1:] - x[0], y[1:] - y[0]
    area = dx[0] * dy[1] - dx[1] * dy[0]
    visible = np.flatnonzero(area < -1e-6)
    chosen, area = chosen.take(visible), area.take(visible)
    faces, x, y = (array.take(visible, 1) for array in (faces, x, y))
    triangle, row = _rows(y, height)
    # NumPy takes long for numbers of two types: int32 times float32 is float64, so all are.
    start, stop = _spans(x, y, triangle, row.astype(np.float64), width)
    if bounds is not None:
        np.maximum(start, bounds[0].take(row), out=start)
        np.minimum(stop, bounds[1].take(row), out=stop)
    filled = np.flatnonzero(stop >= start)
    if not filled.size:
        return
    triangle, row, start, stop = (a.take(filled) for a in (triangle, row, start, stop))
    span, column = _expand(stop - start + 1)
    column += start.take(span)
    rows, columns = row.astype(np.float64), column.astype(np.float64)
    place = (row * width).take(span) + column
    both = np.stack([nearness.take(faces), values.take(faces)], 1)
    begin, slope = _lines(_gradients(both, x, y, area), triangle, rows)
    depth = begin[0].take(span) + slope[0].take(span) * columns
    if shown is not None:
        nearer = np.flatnonzero(depth > shown.ravel().take(place))
        place, depth = place.take(nearer), depth.take(nearer)
        span, columns = span.take(nearer), columns.take(nearer)
    found = (begin[1].take(span) + slope[1].take(span) * columns).astype(out.dtype)
    found *= factors.take(chosen.take(triangle)).take(span)
    order = _far_to_near(depth)
    place = place.take(order)
    out.ravel()[place] = found.take(order)
    if shown is not None:
        shown.ravel()[place] = depth.take(order)


def _inside(
    px: np.ndarray, py: np.ndarray, faces: np.ndarray, width: int, height: int
) -> np.ndarray:
    """Numbers of the triangles (3, F) that are not all on one side of the picture, by the places
    (P,) of the points."""
    sides = (py < 0).view(np.uint8)
    for bit, beside in ((2, py > height - 1), (4, px < 0), (8, px > width - 1)):
        sides |= beside.view(np.uint8) * np.uint8(bit)
    first, second, third = sides.take(faces)
    return np.flatnonzero(first & second & third == 0)


def _far_to_near(depth: np.ndarray) -> np.ndarray:
    """Indices that sort (N,) by depth, to 1/65535 of its range."""
    # NumPy sorts 16-bit numbers by their digits, which is fast.
    low, high = (float(f(depth, initial=0)) for f in (np.min, np.max))
    levels = (depth - low) * (65535 / max(high - low, 1e-6))
    return np.argsort(levels.astype(np.uint16), kind="stable")


def _lines(
    gradients: tuple[np.ndarray, np.ndarray, np.ndarray], triangle: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of spans, by their triangles and rows: the values at column 0, and how they change by column,
    each (V, S)."""
    by_x, by_y, at_zero = (of.astype(np.float64).take(triangle, 1) for of in gradients)
    return at_zero + by_y * row, by_x


def _gradients(
    value: np.ndarray, x: np.ndarray, y: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How V values (3, V, F) of the corners change along x and y, and those at (0, 0), each (V, F);
    `area` is twice the triangles' area."""
    dx, dy, change = x[1:] - x[0], y[1:] - y[0], value[1:] - value[0]
    by_x = (change[0] * dy[1] - change[1] * dy[0]) / area
    by_y = (change[1] * dx[0] - change[0] * dx[1]) / area
    return by_x, by_y, value[0] - by_x * x[0] - by_y * y[0]


def _rows(y: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangle and row of each span, (S,), of triangles whose corners are at y (3, F)."""
    top, bottom = _extremes(y)
    top = np.maximum(np.ceil(top), 0).astype(np.int32)
    bottom = np.minimum(np.floor(bottom), height - 1).astype(np.int32)
    triangle, row = _expand(np.maximum(bottom - top + 1, 0))
    row += top.take(triangle)
    return triangle, row


def _spans(
    x: np.ndarray, y: np.ndarray, triangle: np.ndarray, row: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """First and last column of each span, given its triangle and row, (S,)."""
    # Where the lines of the edges, each from a corner to the next, cut a row. An edge that goes
    # down the picture is a border on the left, one that goes up is one on the right.
    next_x, next_y = x[[1, 2, 0]] - x, y[[1, 2, 0]] - y
    slope = next_x / np.where(next_y == 0, np.float32(1), next_y)
    cut = (x - slope * y).astype(np.float64)
    edges = cut.take(triangle, 1) + slope.astype(np.float64).take(triangle, 1) * row
    down, up = (next_y > 0).take(triangle, 1), (next_y < 0).take(triangle, 1)
    start = np.where(down, edges, 0.0).max(0)
    stop = np.where(up, edges, width - 1.0).min(0)
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
