# SPDX-License-Identifier: Apache-2.0
"""A canvas for flat drawings: smooth shapes, strokes that swell and taper, several samples a pixel.

Lengths are centimetres of the plane in which View sees the head; colours are sRGB of 255.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from realtalk_ros.training.synthetic.view import View

SAMPLES = 4  # of a pixel, both ways
SUBPIXEL = 4  # bits of a position
POINTS = 24  # of a curve between two of its corners
Colour = tuple[int, int, int]


class Canvas:
    """Of `size` pixels a side, which sees the crop of `view`."""

    def __init__(self, view: View, size: int):
        self.view, self.size = view, size
        side = size * SAMPLES
        self.pixels = np.zeros((side, side, 3), np.uint8)
        self.drawn = np.zeros((side, side), np.uint8)  # 255 where something is drawn

    def places(self, points: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """(N, 2) plane of head-space points (N, 3), or (N, 2) at z = `depth`."""
        points = np.asarray(points, np.float64)
        if points.shape[1] == 2:
            points = np.column_stack([points, np.full(len(points), depth)])
        return self.view.plane(points)

    def fill(self, outline: np.ndarray, colour: Colour, within: np.ndarray | None = None) -> None:
        """The closed polygon (N, 2); only `within`, a mask from `mask`, if given."""
        self._paint(self.mask(outline), colour, within)

    def mask(self, outline: np.ndarray) -> np.ndarray:
        """(S, S) bool: inside of the closed polygon (N, 2)."""
        mask = np.zeros(self.drawn.shape, np.uint8)
        cv2.fillPoly(mask, [self._fixed(outline)], (1,), cv2.LINE_8, SUBPIXEL)
        return mask.astype(bool)

    def stroke(
        self,
        path: np.ndarray,
        width: float | Sequence[float],
        colour: Colour,
        within: np.ndarray | None = None,
    ) -> None:
        """A line along path (N, 2) that is `width` cm wide, or as wide as the widths say at equal
        steps along it; its ends are round."""
        widths = np.atleast_1d(np.asarray(width, float))
        radius = np.interp(
            np.linspace(0, 1, len(path)), np.linspace(0, 1, max(len(widths), 2)),
            widths if len(widths) > 1 else np.repeat(widths, 2),
        ) / 2  # fmt: skip
        along = np.gradient(path, axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        across = along[:, ::-1] * [-1, 1] * radius[:, None]
        mask = np.zeros(self.drawn.shape, np.uint8)
        body = np.vstack([path + across, (path - across)[::-1]])
        cv2.fillPoly(mask, [self._fixed(body)], (1,), cv2.LINE_8, SUBPIXEL)
        scale = self.size * SAMPLES / self.view.crop[2] * 2**SUBPIXEL
        for end in range(len(path)):
            centre = tuple(int(v) for v in self._fixed(path[end : end + 1])[0])
            size = int(radius[end] * scale)
            cv2.circle(mask, centre, size, (1,), thickness=-1, shift=SUBPIXEL)
        self._paint(mask.astype(bool), colour, within)

    def _paint(self, mask: np.ndarray, colour: Colour, within: np.ndarray | None) -> None:
        if within is not None:
            mask = mask & within
        self.pixels[mask] = colour[::-1]
        self.drawn[mask] = 255

    def picture(self) -> np.ndarray:
        """(size, size, 4) float32: premultiplied sRGB 0..1, red first, and alpha."""
        both = np.dstack([self.pixels[..., ::-1], self.drawn]).astype(np.float32) / 255
        return cv2.resize(both, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) int32: sample positions as OpenCV takes them with SUBPIXEL bits."""
        cx, cy, side, _ = self.view.crop
        share = (points - [cx, cy]) / side * [1, -1] + 0.5
        return np.round((share * self.size * SAMPLES - 0.5) * 2**SUBPIXEL).astype(np.int32)


def curve(corners: Sequence[Sequence[float]] | np.ndarray, closed: bool = False) -> np.ndarray:
    """(N, D) through corners (n, D): a centripetal Catmull-Rom spline."""
    p = np.asarray(corners, float)
    ends = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    p = np.vstack([ends[0], p, ends[1]])
    out = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        knots = np.cumsum([0.0, *(max(np.linalg.norm(v - u), 1e-6) ** 0.5
                                  for u, v in ((a, b), (b, c), (c, d)))])  # fmt: skip
        t = np.linspace(knots[1], knots[2], POINTS, endpoint=False)[:, None]
        t0, t1, t2, t3 = knots

        def between(u: np.ndarray, v: np.ndarray, low: float, high: float, t=t) -> np.ndarray:
            return ((high - t) * u + (t - low) * v) / (high - low)

        ab, bc, cd = between(a, b, t0, t1), between(b, c, t1, t2), between(c, d, t2, t3)
        out.append(between(between(ab, bc, t0, t2), between(bc, cd, t1, t3), t1, t2))
    if not closed:
        out.append(p[-2:-1])
    return np.concatenate(out)


def mirrored(points: np.ndarray) -> np.ndarray:
    return np.asarray(points, float) * ([-1, 1, 1] if np.shape(points)[1] == 3 else [-1, 1])
