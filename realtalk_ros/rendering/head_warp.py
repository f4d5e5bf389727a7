# SPDX-License-Identifier: Apache-2.0
"""The motion of a person (moving_person.py) in images of one size; the background stays."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.rendering.moving_person import MAX_HAIR_TRAVEL, MovingPerson
from realtalk_ros.rendering.still_background import StillBackground

Part = tuple[slice, slice]  # rows and columns of an image
BAND = 48  # rows that are looked at together


class HeadWarp:
    """Of one person in images of `size` (width, height) pixels."""

    def __init__(self, person: MovingPerson, size: tuple[int, int]):
        self._person, self._background = person, StillBackground(person, size)
        width, height = size
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        self._at = columns, rows
        self._scale = width / person.size[0]
        self._reach = self._background.reach(MAX_HAIR_TRAVEL * person.crop[2] * self._scale)
        self._grid = np.empty_like(columns), np.empty_like(columns)  # overwritten for each image
        self._motion: np.ndarray | None = None  # of the last image
        self._template = 0

    def sampling_grid(
        self, rotation: np.ndarray | None, breath: float = 0.0, template: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where in a template of an upright head an image's pixels lie when it is rotated by
        `rotation` (3,) rad (face_model/rotations.py), and breathes (`MovingPerson.motion`): x and
        y, float32 pixels of the image. None: it is upright. The next call overwrites both."""
        self._template, self._motion = template, None
        if (rotation is None or not np.any(rotation)) and not breath:
            for position, out in zip(self._at, self._grid, strict=True):
                out[:] = position
            return self._grid
        rotation = np.zeros(3, np.float32) if rotation is None else rotation
        self._motion = self._person.motion(rotation, breath, template) * np.float32(self._scale)
        for axis, (position, out) in enumerate(zip(self._at, self._grid, strict=True)):
            plane = cv2.extractChannel(self._motion, axis)
            cv2.resize(plane, position.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
            cv2.add(out, position, dst=out)
        return self._grid

    def moving(self, part: Part) -> list[Part]:
        """Rectangles of a part of the image (rows, columns) that contain all of it that moves."""
        height, width = self._reach.shape
        (top, bottom, _), (first, _, _) = part[0].indices(height), part[1].indices(width)
        found = []
        for row in range(top, bottom, BAND):
            rows = slice(row, min(row + BAND, bottom))
            x, _, length, _ = cv2.boundingRect(self._reach[rows, part[1]])
            if length:
                found.append((rows, slice(first + x, first + x + length)))
        return found

    def restore_background(self, image: np.ndarray, source: np.ndarray) -> None:
        """Puts the background of the template `source`, (height, width, 3) uint8, into `image`,
        which was sampled from it at the last sampling grid."""
        if self._motion is not None:
            self._background.restore(image, source, self._motion, self._template)
