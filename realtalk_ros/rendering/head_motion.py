# SPDX-License-Identifier: Apache-2.0
"""Small head motion, as a warp of the picture around the face.

When a head rotates by an angle, what lies a head's radius in front of the axis moves by the radius
times the sine of the angle, and what is farther out by less. So pixels move most in the middle of
the face, and not at all beyond the head: the picture's border and the background stay.
"""

from __future__ import annotations

import cv2
import numpy as np

RADIUS = 0.5  # of the head, in sides of the face crop
REACH = 0.95  # half the side of the square in which pixels move, in sides of the face crop
NECK = 0.6  # from the middle of the face down to the axis of roll, in sides of the face crop
MAX_ANGLE = 0.2  # rad, larger ones would distort the picture


class HeadMotion:
    """For images of one size: (height, width) and the face's square (x, y, side) in pixels."""

    def __init__(self, size: tuple[int, int], crop: tuple[int, int, int]):
        height, width = size
        x, y, side = crop
        middle_x, middle_y, reach = x + side / 2, y + side / 2, REACH * side
        top, left = max(0, int(middle_y - reach)), max(0, int(middle_x - reach))
        bottom, right = min(height, int(middle_y + reach)), min(width, int(middle_x + reach))
        self.region = (slice(top, bottom), slice(left, right))  # outside of it nothing moves
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        # The movement is zero at the square's border, or a seam would show.
        edge = min(middle_x - left, right - middle_x, middle_y - top, bottom - middle_y)
        distance = np.hypot(columns - middle_x, rows - middle_y) / max(edge, 1)
        falloff = (0.5 + 0.5 * np.cos(np.pi * np.clip(distance, 0, 1))).astype(np.float32)
        self._x, self._y = columns, rows
        # Pixels by which the picture moves for 1 rad: right by yaw, down by pitch, and by roll.
        self._shift = RADIUS * side * falloff
        self._roll_x = falloff * (rows - (middle_y + NECK * side))
        self._roll_y = -falloff * (columns - middle_x)
        # Overwritten for each image.
        self._grid = np.empty_like(columns), np.empty_like(columns)

    def sampling_grid(self, rotation: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Where in the picture of an upright head the pixels of `region` lie when it is rotated by
        `rotation` (3,) rad (face_model/rotations.py): x and y, float32 pixels of the picture. None:
        it is upright. The next call overwrites both."""
        pitch, yaw, roll = np.zeros(3) if rotation is None else rotation
        for position, turn, by_roll, out in zip(
            (self._x, self._y), (yaw, pitch), (self._roll_x, self._roll_y), self._grid, strict=True
        ):
            angle, tilt = (float(np.clip(a, -MAX_ANGLE, MAX_ANGLE)) for a in (turn, roll))
            cv2.addWeighted(self._shift, -angle, by_roll, tilt, gamma=0, dst=out)
            cv2.add(out, position, out)
        return self._grid
