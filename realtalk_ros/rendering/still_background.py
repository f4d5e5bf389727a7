# SPDX-License-Identifier: Apache-2.0
"""The background behind a person who moves: it stays, and is continued where it is bared.

An image in which everything was moved by the head's field is blended with the template by a soft
mask of the person that was moved by the same field. Where the person was and is no longer, the
background is that beside it, mirrored at the person's outline.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.rendering.moving_person import MovingPerson

# cm: how far outside of the person's outline the mask ends, and over which length it does.
OUTSIDE, SOFT = 0.45, 0.35
OUTLINE = 0.25  # of the mask: what has less shows the background alone
FILLED = 2.5  # cm within the outline to which the background is continued
TILE = 64  # pixels: squares of the image are person, background, or blended


class StillBackground:
    """Of one person in images of `size` (width, height) pixels."""

    def __init__(self, person: MovingPerson, size: tuple[int, int]):
        self._person, (self._width, self._height) = person, size
        self._template = -1  # to which mask and continued background belong
        self._filled = np.zeros((0, 0, 3), np.uint8)
        rows, columns = person.mask.shape
        grid = np.meshgrid(np.arange(columns), np.arange(rows))
        self._cells = np.stack(grid, -1).astype(np.float32)
        self._scale = np.float32([columns / size[0], rows / size[1]])  # cells in a pixel
        self._cm = person.depth.pixels_per_cm * rows / person.size[1]  # cells in a centimetre
        self._mask = np.zeros((rows, columns), np.float32)
        shape = self._height, self._width
        self._seen, self._hidden = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def restore(
        self, image: np.ndarray, source: np.ndarray, motion: np.ndarray, template: int
    ) -> None:
        """Puts the background of the template `source` (height, width, 3) uint8, whose number is
        `template`, into `image`, which was made of it by `motion` (rows, columns, 2), pixels of
        the image (see `MovingPerson.motion`)."""
        if self._template != template:
            self._prepare(source, template)
        rows, columns = self._mask.shape
        places = cv2.resize(motion, (columns, rows)) * self._scale + self._cells
        moved = cv2.remap(
            self._mask, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        seen, hidden = self._seen, self._hidden
        cv2.resize(moved, (self._width, self._height), dst=seen, interpolation=cv2.INTER_LINEAR)
        cv2.subtract(1.0, seen, dst=hidden)
        for tile, least, most in self._tiles(moved):
            if most == 0:
                image[tile] = self._filled[tile]
            elif least < 1:
                part = image[tile]
                cv2.blendLinear(part, self._filled[tile], seen[tile], hidden[tile], dst=part)

    def _tiles(self, mask: np.ndarray):
        """The tiles of the image, each with the least and the most of the mask in it."""
        tops, lefts = range(0, self._height, TILE), range(0, self._width, TILE)
        row = [max(0, int(top * self._scale[1]) - 1) for top in tops]
        column = [max(0, int(left * self._scale[0]) - 1) for left in lefts]
        # Neighbouring cells have a share in a tile's pixels, too.
        low = np.minimum.reduceat(np.minimum.reduceat(cv2.erode(mask, None), row), column, axis=1)
        high = np.maximum.reduceat(np.maximum.reduceat(cv2.dilate(mask, None), row), column, axis=1)
        for i, top in enumerate(tops):
            for k, left in enumerate(lefts):
                yield (
                    (slice(top, top + TILE), slice(left, left + TILE)),
                    low[i, k],
                    high[i, k],
                )

    def _prepare(self, source: np.ndarray, template: int) -> None:
        """Mask and continued background of another template."""
        inside = self._mask_of(template)
        within = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
        outside = cv2.distanceTransform(255 - inside, cv2.DIST_L2, 5)
        distance = cv2.GaussianBlur(outside - within, (0, 0), 1.0)
        ramp = np.clip((OUTSIDE * self._cm - distance) / (SOFT * self._cm), 0, 1)
        self._mask = ramp * ramp * (3 - 2 * ramp)
        push = self._mirrored((self._mask >= OUTLINE).astype(np.uint8))
        self._filled = source.copy()
        bare = (distance < OUTSIDE * self._cm) & (distance > -FILLED * self._cm)
        for tile, _, most in self._tiles(bare.astype(np.float32)):
            if most:
                self._fill(source, push, tile)
        self._template = template

    def _fill(self, source: np.ndarray, push: np.ndarray, tile: tuple[slice, slice]) -> None:
        rows, columns = tile
        places = np.mgrid[rows, columns][:, : source.shape[0], : source.shape[1]]
        y, x = (p[: self._height - rows.start, : self._width - columns.start] for p in places)
        x, y = x.astype(np.float32), y.astype(np.float32)
        cells = (x + 0.5) * self._scale[0] - 0.5, (y + 0.5) * self._scale[1] - 0.5
        pushed = cv2.remap(push, *cells, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        self._filled[tile] = cv2.remap(
            source,
            x + pushed[..., 0] / self._scale[0],
            y + pushed[..., 1] / self._scale[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    def _mirrored(self, inside: np.ndarray) -> np.ndarray:
        """(rows, columns, 2) float32 cells: from each cell inside to its mirror image outside."""
        if inside.all() or not inside.any():
            return np.zeros((*inside.shape, 2), np.float32)
        _, labels = cv2.distanceTransformWithLabels(
            inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        rows, columns = np.nonzero(inside == 0)
        nearest = np.zeros((labels.max() + 1, 2), np.float32)
        nearest[labels[rows, columns]] = np.stack([columns, rows], -1)
        return cv2.GaussianBlur(2 * (nearest[labels] - self._cells), (0, 0), 1.5)

    def _mask_of(self, template: int) -> np.ndarray:
        """The person's mask, (rows, columns) uint8, moved from its template to another one as the
        landmarks of the head are."""
        person, cameras = self._person, self._person.depth.cameras
        if template == person.key:
            return person.mask
        rows, columns = person.mask.shape
        side = person.crop[2] * columns / person.size[0]
        corner = np.float32(person.crop[:2]) * columns / person.size[0]
        centre = cameras.image_centre * side + corner
        size = cameras.scale[person.key] / cameras.scale[template]
        back = (self._cells - centre[template]) * size + centre[person.key] - self._cells
        attached = cv2.resize(person.attached(template), (columns, rows))[..., None]
        places = self._cells + attached * back.astype(np.float32)
        return cv2.remap(
            person.mask, places, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
