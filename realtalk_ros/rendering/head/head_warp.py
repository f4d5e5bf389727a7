# SPDX-License-Identifier: Apache-2.0
"""The motion of a person (moving_person.py) in images of one size; the background stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from realtalk_ros.rendering.common.boxes import Box, around, bands
from realtalk_ros.rendering.common.channels import Positions
from realtalk_ros.rendering.head.moving_person import MovingPerson
from realtalk_ros.rendering.head.still_background import StillBackground, StillPerson

# Pixels of a band of what is beside the face: such bands' columns fit the person's outline better.
NARROW = 22_000


@dataclass
class HeadView:
    """A template as it is seen when the head is turned: where its pixels lie, and the image that is
    being made of it. Of a `HeadWarp`, which uses the arrays again."""

    own: Positions  # of the image's pixels, pixels
    motion: Positions  # what is added to them, unless the person is upright
    image: np.ndarray  # (height, width, 4) uint8
    source: np.ndarray  # (height, width, 4) uint8, the template
    person: StillPerson | None = None  # None: upright, as in the template
    reach: int = 0  # pixels, by which anything moves at most

    def positions(
        self, part: Box, scale: float = 1.0, shifts: Sequence[float] = (0, 0)
    ) -> Positions:
        """Where in the template of an upright head the pixels of a part of the image lie: x and y,
        float32 pixels, times `scale`, plus `shifts` of x and y."""
        motion, moves = (self.own, 0.0) if self.person is None else (self.motion, scale)
        x, y = (
            cv2.addWeighted(own[part], scale, by[part], moves, shift)
            for own, by, shift in zip(self.own, motion, shifts, strict=True)
        )
        return x, y


class HeadWarp:
    """Of one person in images of the size of `templates` (T, height, width, 3) uint8, the person's;
    or (T, height, width, 4), where they are cut out (cutout.py).

    An image takes a call of `view`. Then, in any order and in several threads, one of `draw`, and
    the drawing of the face, within `person_box`. After them each band of the image takes a call of
    `finish`. At last the view is given back.
    """

    def __init__(
        self, person: MovingPerson, templates: np.ndarray, enlarged: np.ndarray | None = None
    ):
        """`enlarged`: the only template, n times as large, (n height, n width, 4) uint8."""
        height, width = templates.shape[1:3]
        self._person = person
        self._background = StillBackground(person, (width, height), single=len(templates) == 1)
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        self._at = columns, rows
        self._scale = width / person.size[0]
        self._templates, self._cut_out = templates, templates.shape[3] == 4
        self._enlarged = enlarged
        self._source: tuple[int, np.ndarray] = (-1, templates[0])  # the last template
        self._free: list[HeadView] = []  # a frame may be begun while the one before is composed

    def view(
        self, template: int, rotation: np.ndarray | None = None, breath: float = 0.0
    ) -> HeadView:
        """A template, by its index, as seen when the head is rotated by `rotation` (3,) rad
        (face_model/rotations.py), and breathes (`MovingPerson.motion`). None: it is upright."""
        view = self._free.pop() if self._free else self._new_view()
        view.source = self._four_channels(template)
        if (rotation is None or not np.any(rotation)) and not breath:
            view.person, view.reach = None, 0
            return view
        rotation = np.zeros(3, np.float32) if rotation is None else rotation
        motion = self._person.motion(template, rotation, breath) * np.float32(self._scale)
        view.reach = ceil(np.abs(motion).max())
        for plane, out in zip(cv2.split(motion), view.motion, strict=True):
            cv2.resize(plane, out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
        view.person = self._background.person(motion, template, view.source)
        return view

    def give_back(self, view: HeadView) -> None:
        """The view is not used any more."""
        self._free.append(view)

    def _new_view(self) -> HeadView:
        x, y = (np.empty_like(plane) for plane in self._at)
        image = np.zeros((*x.shape, 4), np.uint8)
        return HeadView(own=self._at, motion=(x, y), image=image, source=image)

    def _four_channels(self, template: int) -> np.ndarray:
        # OpenCV samples images of four channels twice as fast as those of three. A new one, as the
        # last may still be in use.
        if self._source[0] != template:
            image = self._templates[template]
            if not self._cut_out:
                image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
            self._source = template, image
        return self._source[1]

    def draw(self, view: HeadView, face: Box) -> None:
        """Draws the image but for what is in the box `face`."""
        if view.person is None:
            for beside in around(face, view.image.shape):
                view.image[beside] = view.source[beside]
            return
        linear, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        # Of the template itself hair would be now sharp, now soft, as it moves by parts of pixels.
        source = view.source if self._enlarged is None else self._enlarged
        scale = source.shape[1] / view.source.shape[1]
        for beside in around(face, view.image.shape):
            for part in bands(beside, NARROW):
                if box := self.person_box(view, part):
                    to = view.image[box]
                    at = view.positions(box, scale)
                    cv2.remap(source, *at, linear, dst=to, borderMode=border)

    def person_box(self, view: HeadView, part: Box) -> Box | None:
        """A part of the image, narrowed to the columns in which the person is; None if there are
        none. Where the person is upright or cut out, all of it."""
        rows, columns = part
        if view.person is None or self._cut_out:
            return part
        x, _, width, _ = cv2.boundingRect(view.person.share[part])
        start = columns.start + x
        return (rows, slice(start, start + width)) if width else None

    def finish(self, view: HeadView, band: slice, out: np.ndarray) -> None:
        """Writes a band, before its background, to the image `out` (height, width, 3) uint8, or
        (height, width, 4) of a person who is cut out."""
        image = view.image[band]
        if self._cut_out:
            out[band] = image
            return
        if view.person is not None:
            view.person.restore_background(view.image, view.source, band)
        cv2.cvtColor(image, cv2.COLOR_BGRA2BGR, dst=out[band])
