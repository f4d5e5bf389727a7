# SPDX-License-Identifier: Apache-2.0
"""The background behind a person who moves: it stays, and is continued where it is bared.

An image in which everything was moved by the head's field is blended with the template by a soft
mask of the person that was moved by the same field. Where the person was and is no longer, the
background is a mean of that beside it.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.generator import NO_MAP
from realtalk_ros.rendering.moving_person import MovingPerson
from realtalk_ros.rendering.person_mask import continued

# cm: how far outside of the person's outline the mask ends, and over which length it does.
OUTSIDE, SOFT = 0.45, 0.35
# By the mask's level: how far the background is continued; below OUTLINE it is the template's own.
OUTLINE = 64
HIDES = np.clip(np.arange(-OUTLINE, 256 - OUTLINE) * (255 / (255 - OUTLINE)), 0, 255).astype("u1")
REACHES = (5.0, 2.0, 0.8, 0.4)  # cm, over which means of the background are taken to continue it


class StillBackground:
    """Of one person in images of `size` (width, height) pixels."""

    def __init__(self, person: MovingPerson, size: tuple[int, int]):
        self._person, (width, height) = person, size
        self._template = -1  # to which mask and continued background belong
        rows, columns = person.mask.shape
        grid = np.meshgrid(np.arange(columns), np.arange(rows))
        self._cells = np.stack(grid, -1).astype(np.float32)
        self._scale = np.array([columns / width, rows / height], np.float32)  # cells in a pixel
        cm = person.depth.pixels_per_cm * rows / person.size[1]  # cells in a centimetre
        self._key_mask = _soft(person.mask, OUTSIDE * cm, SOFT * cm)
        small = cv2.resize(person.picture, (columns, rows), interpolation=cv2.INTER_AREA)
        reaches = [reach * cm for reach in REACHES]
        even = continued(small.astype(np.float32), self._key_mask == 0, reaches)
        even = np.clip(np.rint(even), 0, 255).astype(np.uint8)
        self._even = cv2.resize(even, size, interpolation=cv2.INTER_LINEAR)
        self._mask, self._filled = self._key_mask, self._even
        # Overwritten for each image.
        self._seen = np.zeros((height, width), np.uint8)
        self._memory = np.zeros((2, height, width, 3), np.uint8)

    def restore(
        self, image: np.ndarray, source: np.ndarray, motion: np.ndarray, template: int
    ) -> None:
        """Puts the background of the template `source` (height, width, 3) uint8, whose number is
        `template`, into `image`, which was made of it by `motion` (rows, columns, 2), pixels of
        the image (see `MovingPerson.motion`)."""
        if self._template != template:
            self._prepare(source, template)
        rows, columns = self._mask.shape
        places = cv2.resize(motion * self._scale, (columns, rows))
        cv2.add(places, self._cells, dst=places)
        moved = cv2.remap(
            self._mask, places, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        self._blend(moved, image, self._filled)

    def reach(self, distance: float) -> np.ndarray:
        """(height, width) uint8, 0 where the person is not within `distance` pixels."""
        size = 2 * np.ceil(distance * self._scale).astype(int) + 1
        kernel = np.ones(size[::-1], np.uint8)
        near = cv2.dilate((self._key_mask > 0).astype(np.uint8), kernel)
        return cv2.resize(near, self._seen.shape[::-1], interpolation=cv2.INTER_NEAREST)

    def _blend(self, mask: np.ndarray, image: np.ndarray, behind: np.ndarray) -> None:
        """`image` where the mask (rows, columns) is 255, `behind` where it is 0; into `image`.
        (cv2.blendLinear takes twice as long.)"""
        seen, memory = self._seen, self._memory
        cv2.resize(mask, seen.shape[::-1], dst=seen, interpolation=cv2.INTER_LINEAR)
        share = cv2.merge([seen] * 3, memory[0])
        cv2.multiply(image, share, dst=image, scale=1 / 255)
        cv2.bitwise_not(share, dst=share)
        cv2.multiply(behind, share, dst=memory[1], scale=1 / 255)
        cv2.add(image, memory[1], dst=image)

    def _prepare(self, source: np.ndarray, template: int) -> None:
        """Mask and continued background of another template."""
        self._mask = self._mask_of(template)
        filled = self._even.copy()
        self._blend(cv2.LUT(self._mask, HIDES), filled, source)
        self._filled, self._template = filled, template

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


def _soft(mask: np.ndarray, outside: float, length: float) -> np.ndarray:
    """A mask (rows, columns) uint8, 0 or 255, as one that ends softly, `outside` cells beyond its
    outline and over `length` cells."""
    within = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    beyond = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5)
    distance = cv2.GaussianBlur(beyond - within, (0, 0), 1.0)
    return np.rint(255 * smoothstep(outside - distance, 0, length)).astype(np.uint8)
