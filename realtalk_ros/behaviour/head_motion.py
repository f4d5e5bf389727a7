"""Small head motion, by moving the pixels of the picture around the face.

A head that turns by an angle moves what lies a head's radius in front of its axis by the sine of
it, and what is farther out by less. So the pixels move most at the middle of the face and not at
all beyond the head, which leaves the picture's border, and any background there, where it is.
"""

from __future__ import annotations

import cv2
import numpy as np

RADIUS = 0.5  # of the head, in sides of the face crop
REACH = 0.95  # half the side of the square whose pixels move, in sides of the face crop
STILL = 0.0015  # rad, smaller turns move nothing
LIMIT = 0.2  # rad, a picture is not bent further


class HeadMotion:
    """For pictures of one size: (height, width) and the face's square (x, y, side) in pixels."""

    def __init__(self, size: tuple[int, int], crop: tuple[int, int, int]):
        height, width = size
        x, y, side = crop
        middle_x, middle_y, reach = x + side / 2, y + side / 2, REACH * side
        top, left = max(0, int(middle_y - reach)), max(0, int(middle_x - reach))
        bottom, right = min(height, int(middle_y + reach)), min(width, int(middle_x + reach))
        self._roi = (slice(top, bottom), slice(left, right))
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        # Zero at the square's border, or the seam would show.
        edge = min(middle_x - left, right - middle_x, middle_y - top, bottom - middle_y)
        far = np.hypot(columns - middle_x, rows - middle_y) / edge
        amount = (0.5 + 0.5 * np.cos(np.pi * np.clip(far, 0, 1))).astype(np.float32)
        self._x, self._y = columns - left, rows - top
        self._turn = RADIUS * side * amount  # pixels for a turn of 1 rad
        self._roll_x = amount * (rows - (middle_y + 0.6 * side))  # about the neck
        self._roll_y = -amount * (columns - middle_x)
        self._to = np.empty_like(columns), np.empty_like(columns)  # written for each picture
        self._moved = np.empty((*columns.shape, 3), np.uint8)

    def apply(self, image: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Turns the head in `image` (height, width, 3), in place; `rotation` (3,) is pitch (down),
        yaw (to the person's left, which is the picture's right) and roll (to that side), rad."""
        pitch, yaw, roll = (float(v) for v in np.clip(rotation, -LIMIT, LIMIT))
        if max(abs(pitch), abs(yaw), abs(roll)) < STILL:
            return image
        region = image[self._roi]
        for still, angle, rolled, to in zip(
            (self._x, self._y), (yaw, pitch), (self._roll_x, self._roll_y), self._to, strict=True
        ):
            cv2.addWeighted(self._turn, -angle, rolled, roll, 0, to)
            cv2.add(to, still, to)
        border = cv2.BORDER_REPLICATE
        cv2.remap(region, *self._to, cv2.INTER_LINEAR, self._moved, borderMode=border)
        image[self._roi] = self._moved
        return image
