# SPDX-License-Identifier: Apache-2.0
"""The background behind a person who moves: it stays, and is continued where it is bared.

An image in which everything was moved by the head's field is blended with the template by a soft
mask of the person that was moved by the same field. Where the person was and is no longer, the
background goes on as that beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.common.channels import NO_MAP
from realtalk_ros.rendering.common.extrapolation import extrapolated
from realtalk_ros.rendering.head.moving_person import MovingPerson

# cm: how far outside of the person's outline the mask ends, and over which length it does.
OUTSIDE, SOFT = 0.45, 0.35
# By the mask's level: how far the background is continued; below OUTLINE it is the template's own.
OUTLINE = 64
HIDES = np.clip(np.arange(-OUTLINE, 256 - OUTLINE) * (255 / (255 - OUTLINE)), 0, 255).astype("u1")
REACHES = (5.0, 2.0, 0.8, 0.4)  # cm, over which means of the background are taken to continue it


class StillPerson(NamedTuple):
    """Where a person is in an image who moves before a background that does not."""

    share: np.ndarray  # (height, width) uint8: how far the person hides the background
    beside: np.ndarray  # (height, width) uint8: 255 where nothing of the person is, else 0
    # The pixels of its outline and of what it bared, (N,) numbers in ascending order; and there
    # the background, (N,) BGR and 255 as one uint32, and `share`.
    outline: np.ndarray
    behind: np.ndarray
    level: np.ndarray

    def restore_background(self, image: np.ndarray, source: np.ndarray, rows: slice) -> None:
        """Puts the background of a template `source` into some rows of an image, around the person.
        Both are (height, width, 4) uint8."""
        cv2.copyTo(source[rows], self.beside[rows], image[rows])
        width = image.shape[1]
        first, end = np.searchsorted(self.outline, (rows.start * width, rows.stop * width))
        if first == end:
            return
        where, seen = self.outline[first:end], pixels(image)
        seen[where] = blend(seen.take(where), self.behind[first:end], self.level[first:end])


class StillBackground:
    """Of one person in images of `size` (width, height) pixels. `single`: who has one template."""

    def __init__(self, person: MovingPerson, size: tuple[int, int], single: bool):
        self._person, self._size, self._single = person, size, single
        self._template = -1  # to which `_mask` and `_hides` belong
        self._behind: np.ndarray | None = None  # of a single template: all of the background
        rows, columns = person.mask.shape
        grid = np.meshgrid(np.arange(columns), np.arange(rows))
        self._cells = np.stack(grid, -1).astype(np.float32)
        self._own_cells = cv2.split(self._cells)
        # Cells in a pixel.
        self._scale = np.array([columns / size[0], rows / size[1]], np.float32)
        cm = person.depth.pixels_per_cm * rows / person.size[1]  # cells in a centimetre
        self._key_mask = _soft(person.mask, OUTSIDE * cm, SOFT * cm)
        small = cv2.resize(person.picture, (columns, rows), interpolation=cv2.INTER_AREA)
        reaches = [reach * cm for reach in REACHES]
        even = _continued(small.astype(np.float32), self._key_mask == 0, reaches)
        even = np.clip(np.rint(even), 0, 255).astype(np.uint8)
        even = cv2.resize(even, size, interpolation=cv2.INTER_LINEAR)
        self._even = cv2.cvtColor(even, cv2.COLOR_BGR2BGRA)

    def person(self, motion: np.ndarray, template: int, source: np.ndarray) -> StillPerson:
        """The person of a template, `source` (height, width, 4) uint8, when it is moved by `motion`
        (rows, columns, 2), pixels of the image (see `MovingPerson.motion`)."""
        if self._template != template:
            self._mask = self._mask_of(template)
            self._hides = cv2.LUT(cv2.resize(self._mask, self._size), HIDES)
            self._template = template
        x, y = (
            cv2.add(cv2.resize(plane, self._mask.shape[::-1]), own)
            for plane, own in zip(cv2.split(motion * self._scale), self._own_cells, strict=True)
        )
        moved = cv2.remap(self._mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        share = cv2.resize(moved, self._size)
        beside = cv2.inRange(share, 0, 0)
        # What is left, the outline and what it bared, is little: it is blended pixel by pixel.
        left = cv2.min(cv2.bitwise_not(share), cv2.max(share, self._hides))
        outline = np.flatnonzero(left.view(bool))
        behind = self._background_at(outline, source)
        return StillPerson(share, beside, outline, behind, share.take(outline))

    def _background_at(self, outline: np.ndarray, source: np.ndarray) -> np.ndarray:
        """The background (n,) uint32 at the pixels `outline` (n,) of a template."""
        if not self._single:
            own, even = (pixels(array).take(outline) for array in (source, self._even))
            return blend(even, own, self._hides.take(outline)) if outline.size else own
        if self._behind is None:  # once for all frames
            hides = self._hides.astype(np.float32)
            self._behind = pixels(cv2.blendLinear(self._even, source, hides, 255 - hides))
        return self._behind.take(outline)

    def _mask_of(self, template: int) -> np.ndarray:
        """The person's mask, moved from its template to another one as the head's landmarks are."""
        person, cameras = self._person, self._person.depth.cameras
        if template == person.key:
            return self._key_mask
        rows, columns = person.mask.shape
        side = person.crop[2] * columns / person.size[0]
        corner = np.array(person.crop[:2], np.float32) * columns / person.size[0]
        centre = cameras.image_centre * side + corner
        size = cameras.scale[person.key] / cameras.scale[template]
        back = (self._cells - centre[template]) * size + centre[person.key] - self._cells
        attached = cv2.resize(person.attached(template), (columns, rows))[..., None]
        places = self._cells + attached * back.astype(np.float32)
        return cv2.remap(
            self._key_mask, places, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


def _continued(picture: np.ndarray, known: np.ndarray, reaches: Sequence[float]) -> np.ndarray:
    """As `extrapolated`, of what a picture (rows, columns, 3) differs by from a quadratic function
    of the place: light falls off on a wall, and means alone would leave a line round the person."""
    if not known.any():
        return picture
    rows, columns = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    smooth = terms @ np.linalg.lstsq(terms[known], picture[known], rcond=None)[0]
    smooth = np.clip(smooth, picture[known].min(0), picture[known].max(0)).astype(np.float32)
    return smooth + extrapolated(picture - smooth, known, reaches)


def _soft(mask: np.ndarray, outside: float, length: float) -> np.ndarray:
    """A mask (rows, columns) uint8, 0 or 255, as one that ends softly, `outside` cells beyond its
    outline and over `length` cells."""
    within = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    beyond = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5)
    distance = cv2.GaussianBlur(beyond - within, (0, 0), 1.0)
    return np.rint(255 * smoothstep(outside - distance, 0, length)).astype(np.uint8)


def pixels(image: np.ndarray) -> np.ndarray:
    """An image (height, width, 4) uint8 as (height * width,) uint32, whose memory it shares."""
    return image.view(np.uint32).ravel()


def blend(over: np.ndarray, under: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Pixels (n,) uint32: `over` where the level (n,) uint8 is 255, `under` where it is 0."""
    over, under = (colours.view(np.uint8).reshape(1, -1, 4) for colours in (over, under))
    share = level[None].astype(np.float32)
    return cv2.blendLinear(over, under, share, 255 - share).view(np.uint32).ravel()
