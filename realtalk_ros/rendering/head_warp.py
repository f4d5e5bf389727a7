# SPDX-License-Identifier: Apache-2.0
"""The motion of a person (moving_person.py) in images of one size; the background stays."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import cv2
import numpy as np

from realtalk_ros.rendering.moving_person import MovingPerson
from realtalk_ros.rendering.still_background import StillBackground

Part = tuple[slice, slice]  # rows and columns of an image
ROWS = 128  # that are made at a time: what they take stays in the processor's cache


class HeadWarp:
    """Of one person in images of the size of `templates` (T, height, width, 3) uint8, the person's;
    or (T, height, width, 4), where they are cut out (cutout.py).

    An image takes a call of `sampling_grid`, one of `begin` and one of `finish`. In between, what
    is seen of the face is drawn, in the parts of its box that `parts` names.
    """

    def __init__(self, person: MovingPerson, templates: np.ndarray):
        height, width = templates.shape[1:3]
        self._person, self._background = person, StillBackground(person, (width, height))
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        self._at = columns, rows
        self._scale = width / person.size[0]
        # Overwritten for each image.
        self._grid = np.empty_like(columns), np.empty_like(columns)
        self._source, self._image = (np.zeros((height, width, 4), np.uint8) for _ in range(2))
        self._templates, self._template = templates, -1  # the latter is in `_source`
        self._cut_out = templates.shape[3] == 4
        self._seen: np.ndarray | None = None  # where the person is; None if it is upright
        self.reach = 0  # pixels, by which anything moves at most

    def sampling_grid(
        self, rotation: np.ndarray | None, breath: float = 0.0, template: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where in a template of an upright head an image's pixels lie when it is rotated by
        `rotation` (3,) rad (face_model/rotations.py), and breathes (`MovingPerson.motion`): x and
        y, float32 pixels of the image, not to be changed; the next call overwrites both. None: it
        is upright."""
        if (rotation is None or not np.any(rotation)) and not breath:
            self._seen, self.reach = None, 0
            return self._at
        rotation = np.zeros(3, np.float32) if rotation is None else rotation
        motion = self._person.motion(rotation, breath, template) * np.float32(self._scale)
        self.reach = ceil(np.abs(motion).max())
        for plane, position, out in zip(cv2.split(motion), self._at, self._grid, strict=True):
            cv2.resize(plane, position.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
            cv2.add(out, position, dst=out)
        self._seen = self._background.person(motion, template)
        return self._grid

    def parts(self, box: Part) -> Iterator[Part]:
        """Rectangles of at most ROWS rows that contain all of the person in a box of the image, at
        the last sampling grid; of one who is upright or cut out, all of the box."""
        rows, columns = box
        for start in range(rows.start, rows.stop, ROWS):
            part = slice(start, min(start + ROWS, rows.stop))
            if self._seen is None or self._cut_out:
                yield part, columns
                continue
            x, _, width, _ = cv2.boundingRect(self._seen[part, columns])
            if width:
                yield part, slice(columns.start + x, columns.start + x + width)

    def begin(self, template: int, face: Part) -> np.ndarray:
        """A template, by its number, as it is seen at the last sampling grid, without what is seen
        in the box `face`: (height, width, 4) uint8, which the next call overwrites."""
        # OpenCV samples images of four channels twice as fast as those of three.
        if self._template != template:
            if self._cut_out:
                self._source[:] = self._templates[template]
            else:
                cv2.cvtColor(self._templates[template], cv2.COLOR_BGR2BGRA, dst=self._source)
            self._template = template
        if self._seen is None:
            self._image[:] = self._source
            return self._image
        (x, y), linear, border = self._grid, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        for beside in around(face, self._image.shape):
            for part in self.parts(beside):
                to = self._image[part]
                cv2.remap(self._source, x[part], y[part], linear, dst=to, borderMode=border)
        return self._image

    def finish(self) -> np.ndarray:
        """The image that was begun, before its background: a new (height, width, 3) uint8; of a
        person who is cut out (height, width, 4), which the next call overwrites."""
        if self._cut_out:
            return self._image
        if self._seen is not None:
            self._background.restore(self._image, self._source, self._seen)
        return cv2.cvtColor(self._image, cv2.COLOR_BGRA2BGR)


def around(box: Part, shape: tuple[int, ...]) -> Iterator[Part]:
    """The parts of an image of `shape` beside a box: above, below, left and right of it."""
    (rows, columns), (height, width) = box, shape[:2]
    for part in (
        (slice(0, rows.start), slice(0, width)),
        (slice(rows.stop, height), slice(0, width)),
        (rows, slice(0, columns.start)),
        (rows, slice(columns.stop, width)),
    ):
        if all(side.start < side.stop for side in part):
            yield part
