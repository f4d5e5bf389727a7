# SPDX-License-Identifier: Apache-2.0
"""The pixels around eyes, in coordinates along them (NumPy and OpenCV)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.eyes.moved_eye import MovedEye

# In iris radii: what is nearer moves with the iris, beyond it the movement fades out over FADE.
RIGID, FADE = 1.1, 0.8
# How far a lid that closes came down, between which it is painted more and more (eyelids.py): where
# the lower lid narrows the eye, as in a smile, it keeps its own skin.
PAINTED = 0.05, 0.3
# Pixels by which a lid that opens wider has moved, and a gaze, between which the whole eyeball
# (eyeballs.py) takes the place of the template's pixels. A smaller glance shows hardly any more of
# it, and would cost each frame of a head that moves as much as a tenth of its time.
OPENED, TURNED = (0.05, 1.0), (1.0, 2.0)


def whole_share(eye: MovedEye) -> float:
    """How far the whole eyeball is shown, 0..1."""
    if not eye.found:
        return 0.0
    opened, turned = smoothstep(eye.opened, *OPENED), smoothstep(eye.turned, *TURNED)
    return float(max(opened, turned))


class EyePixels:
    """The pixels of some eyes' patches side by side, (H, W). What is a number for an eye, is (W,)
    here."""

    def __init__(self, eyes: Sequence[MovedEye]):
        self.eyes = eyes
        widths = [eye.columns.stop - eye.columns.start for eye in eyes]
        heights = [eye.rows.stop - eye.rows.start for eye in eyes]
        ends = np.cumsum(widths).tolist()
        self.parts = [
            (slice(height), slice(end - width, end))
            for height, width, end in zip(heights, widths, ends, strict=True)
        ]
        self._widths = widths
        numbers = [
            (
                eye.axes.width,  # 0
                eye.columns.start - (end - width),  # 1
                eye.rows.start,  # 2
                *eye.axes.target_corner,  # 3, 4
                *eye.axes.template_corner,  # 5, 6
                *eye.axes.directions.ravel(),  # 7 to 10
                *eye.iris,  # 11 to 13
                *eye.movement,  # 14, 15
                max(FADE * eye.iris[2], 1.4 * math.hypot(*eye.movement)),  # 16
                k,  # 17
                float(smoothstep(eye.lowered, *PAINTED)),  # 18
                whole_share(eye),  # 19
            )
            for k, (eye, width, end) in enumerate(zip(eyes, widths, ends, strict=True))
        ]
        table = self.spread(numbers)
        self.width, first, top, corner_x, corner_y = table[:5]
        self._corner, (u_x, u_y, v_x, v_y) = table[5:7], table[7:11]
        self._directions = (u_x, v_x), (u_y, v_y)
        self._iris, self.movement = table[11:14], table[14:16]
        self._fade, self.number, self.painted, self.whole = table[16:]
        x = np.arange(ends[-1], dtype=np.float32) + first - corner_x
        y = np.arange(max(heights), dtype=np.float32)[:, None] + top - corner_y
        self.places = u_x * x + u_y * y, v_x * x + v_y * y  # u and v, see `EyeAxes`

    def spread(self, numbers: Sequence[Sequence[float]]) -> np.ndarray:
        """(n, W) float32, of n numbers for each eye."""
        return np.repeat(np.array(numbers, np.float32).T, self._widths, axis=1)

    def iris_weight(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(H, W) 0..1: how far pixels at u and v share the iris's movement."""
        at_u, at_v, radius = self._iris
        return np.clip(1 + (RIGID * radius - cv2.magnitude(u - at_u, v - at_v)) / self._fade, 0, 1)

    def in_template(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(2, H, W) float32: x and y in the template of u and v (H, W)."""
        found = np.empty((2, *u.shape), np.float32)
        for out, (by_u, by_v), corner in zip(found, self._directions, self._corner, strict=True):
            np.multiply(by_u, u, out=out)
            out += by_v * v
            out += corner
        return found
