"""Triangles to pixels (NumPy): a few thousand small ones in less than a millisecond.

The far ones are drawn first (the painter's algorithm), which is right for triangles that are small
beside their distances. All work is on arrays, one entry for each triangle, then for each row of
pixels in a triangle, then for each pixel.
"""

from __future__ import annotations

import numpy as np


def draw(
    points: np.ndarray, faces: np.ndarray, values: np.ndarray, codes: np.ndarray, out: np.ndarray
) -> None:
    """Fills the pixels whose middles lie in a triangle that faces the viewer.

    points (P, 3) float32: x, y in pixels (a pixel's middle is a whole number) and nearness; faces
    (3, F) rows of it, counter-clockwise as seen with y up; values (P,) float32, which are
    interpolated; codes (F,) by which a triangle's values are multiplied; out (H, W) takes the
    products, as its type rounds them down.
    """
    height, width = out.shape
    px, py, nearness = np.ascontiguousarray(points.T)
    y = py.take(faces)
    first, last = _ends(y)
    chosen = np.flatnonzero((last >= 0) & (first <= height - 1))
    faces, y = faces.take(chosen, 1), y.take(chosen, 1)
    x = px.take(faces)
    dx, dy = x[1:] - x[0], y[1:] - y[0]
    area = dx[0] * dy[1] - dx[1] * dy[0]
    left, right = _ends(x)
    seen = np.flatnonzero((area < -1e-6) & (right >= 0) & (left <= width - 1))
    chosen = chosen[seen]
    if not chosen.size:
        return
    depth = nearness.take(faces.take(seen, 1))
    order = np.argsort(depth[0] + depth[1] + depth[2])
    chosen, seen = chosen[order], seen[order]
    faces, x, y, dx, dy = (of.take(seen, 1) for of in (faces, x, y, dx, dy))
    area = area[seen]
    first = np.maximum(np.ceil(first[chosen]), 0).astype(np.int32)
    last = np.minimum(np.floor(last[chosen]), height - 1).astype(np.int32)
    # Values change evenly over a triangle.
    value = values.take(faces)
    by = value[1:] - value[0]
    by_x = (by[0] * dy[1] - by[1] * dy[0]) / area
    by_y = (by[1] * dx[0] - by[0] * dx[1]) / area
    at_zero = value[0] - by_x * x[0] - by_y * y[0]
    # Where the lines of its edges, each from a corner to the next, cut a row. One that goes down
    # the picture is a border on the left, one that goes up on the right.
    next_x, next_y = x[[1, 2, 0]] - x, y[[1, 2, 0]] - y
    slope = next_x / np.where(next_y == 0, np.float32(1), next_y)
    cut = x - slope * y
    of, row = _spread(np.maximum(last - first + 1, 0))
    row += first[of]
    edges, goes = cut.take(of, 1) + slope.take(of, 1) * row, next_y.take(of, 1)
    _, start = _ends(np.where(goes > 0, edges, np.float32(0)))
    stop, _ = _ends(np.where(goes < 0, edges, np.float32(width - 1)))
    start = np.ceil(np.minimum(start, width)).astype(np.int32)
    stop = np.floor(np.maximum(stop, -1)).astype(np.int32)
    span, column = _spread(np.maximum(stop - start + 1, 0))
    column += start[span]
    code, tilt = codes[chosen[of]], by_x[of]
    begin = at_zero[of] + by_y[of] * row
    found = (begin[span] + tilt[span] * column).astype(out.dtype)
    out.ravel()[(row * width)[span] + column] = found * code[span]


def _ends(three: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest of the rows of (3, N)."""
    a, b, c = three
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _spread(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which entry each of `counts` belongs to, and its number there."""
    of = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    before = (np.cumsum(counts) - counts).astype(np.int32)
    return of, np.arange(len(of), dtype=np.int32) - before[of]
