# SPDX-License-Identifier: Apache-2.0
"""A template and the networks' picture of the face to one image.

The template, at the image's own resolution, is sampled once: a pixel's position in it comes from
the head's rotation and from the face's own movement (lips, chin, irises) together. Lids that close
show the template's eyes as they are when shut (eyelids.py). The generator adds what no movement of
the template's pixels can show. In the mouth its picture takes their place. Elsewhere only what is
coarse in its change is added (light, folds), so that fine detail stays as it is in the template.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import COARSE_SIZE, CROP_SIZE, MOUTH_CROP, mouth_crop
from realtalk_ros.rendering.eyelids import ShutEyes
from realtalk_ros.rendering.generator import GeneratedFace
from realtalk_ros.rendering.head_warp import HeadWarp
from realtalk_ros.rendering.moving_person import MovingPerson

FEATHER = 0.04  # share of the crop's side over which its border fades out, so that no seam shows
# In pixels of the networks' crop:
MOUTH_MARGIN = np.ones((5, 5), np.uint8)  # around the mouth's interior, that the network draws, too
LID_MARGIN = np.ones((9, 9), np.uint8)  # around closing lids, of which it would draw the lashes
FADE = (7, 7)  # box filter of the borders of both
INSIDE_FADE = (3, 3)  # of the mouth's interior, where nothing of the template is to be seen
COARSE_BLUR = (3, 3)  # two box filters of this on half of the mouth crop: what is finer is left out
MOUTH_FADE = 0.06  # share of the mouth crop's side over which its border fades out
# In pixels of the image:
STEP = 8  # between the places at which the head's movement is looked at
STILL = 0.1  # movement that does not show
ROWS = 64  # that are made at a time: what they take stays in the processor's cache

WHOLE, COARSE = (CROP_SIZE, CROP_SIZE), (COARSE_SIZE, COARSE_SIZE)
MOUTH = mouth_crop()
Box = tuple[slice, slice]  # rows, columns


class Compositor:
    """Of one avatar, in images of `size` (width, height) pixels. `person` is the avatar's, and may
    be shared with compositors of other sizes."""

    def __init__(self, avatar: Avatar, size: tuple[int, int], person: MovingPerson):
        scale = size[1] / avatar.size[1]
        x, y, side = (round(value * scale) for value in avatar.crop)
        self.crop = x, y, side
        self._head_warp = HeadWarp(person, size)
        self._feather = border(CROP_SIZE, FEATHER)
        self._mouth_feather = border(MOUTH_CROP[2], MOUTH_FADE)[..., None]
        if avatar.region is not None:
            self._feather *= cv2.resize(avatar.region, WHOLE)
        self._coarse_feather = cv2.resize(self._feather, COARSE, interpolation=cv2.INTER_AREA)
        axis = np.arange(CROP_SIZE, dtype=np.float32)
        self._unmoved = np.stack(np.meshgrid(axis, axis), -1)
        self._memory = _Memory(size)
        self._places = np.mgrid[: size[1] : STEP, : size[0] : STEP].astype(np.float32)

    def compose(
        self,
        template: np.ndarray,
        face: GeneratedFace,
        number: int = 0,
        rotation: np.ndarray | None = None,
        breath: float = 0.0,
        shut: ShutEyes | None = None,
    ) -> np.ndarray:
        """A new image (height, width, 3) uint8: `template`, of the image's size and the avatar's
        `number`-th, with the face, and with the head rotated by `rotation` (3,) rad and the
        shoulders raised by `breath`, -1..1. Lids that close show what `shut` does."""
        grid = self._head_warp.sampling_grid(rotation, breath, number)
        moving, near = self._boxes(*grid)
        image = template.copy()
        with_alpha = cv2.cvtColor(template, cv2.COLOR_BGR2BGRA, dst=self._memory.template)
        for beside in around(moving, near):
            for part in self._head_warp.moving(beside):
                turned = cv2.remap(
                    with_alpha,
                    grid[0][part],
                    grid[1][part],
                    cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE,
                )
                cv2.cvtColor(turned, cv2.COLOR_BGRA2BGR, dst=image[part])
        self._draw_layers(face)
        lids = face.lids if shut else None
        for part in strips(near):
            in_part = (grid[0][part], grid[1][part])
            upright = (in_part[0].copy(), in_part[1].copy()) if lids is not None else None
            seen = self._draw_template(template, in_part, image[part].shape)
            if shut and upright and lids is not None:
                shut.paint(seen.warped, lids, (seen.crop_x, seen.crop_y), upright)
            self._add_layers(seen, image[part])
        self._head_warp.restore_background(image, template)
        return image

    def _boxes(self, x: np.ndarray, y: np.ndarray) -> tuple[Box, Box]:
        """Two parts of the image whose pixels lie at x and y in the picture of the upright head:
        what moves with the head, and where the face's crop may be seen."""
        movement = np.abs(y[::STEP, ::STEP] - self._places[0])
        np.maximum(movement, np.abs(x[::STEP, ::STEP] - self._places[1]), out=movement)
        rows, columns = bounding_box((movement > STILL).astype(np.uint8))
        height, width = x.shape
        moving = (
            slice(STEP * max(rows.start - 1, 0), min(STEP * rows.stop, height)),
            slice(STEP * max(columns.start - 1, 0), min(STEP * columns.stop, width)),
        )
        left, top, side = self.crop
        reach = ceil(movement.max())
        face = (
            slice(max(top - reach, 0), min(top + side + reach, height)),
            slice(max(left - reach, 0), min(left + side + reach, width)),
        )
        return moving, face

    def _draw_template(
        self, template: np.ndarray, grid: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...]
    ) -> _Seen:
        """What is seen in a part of the image, (height, width, 3), whose pixels lie at `grid`, x
        and y, in the picture of the upright head: the template with the face's own movement, to
        which `grid` is changed."""
        seen = self._memory.part(*shape[:2])
        *corner, side = self.crop
        scale = CROP_SIZE / side
        places = seen.crop_x, seen.crop_y
        for position, start, place in zip(grid, corner, places, strict=True):
            cv2.addWeighted(position, scale, position, 0, (0.5 - start) * scale - 0.5, dst=place)
        for position, movement in zip(grid, self._memory.movement, strict=True):
            cv2.scaleAdd(seen.turned(movement, seen.movement), 1 / scale, position, dst=position)
        # Bicubic keeps the detail, and costs three times as much: the face is looked at. Floats are
        # sampled faster than bytes.
        low, high, _, _ = cv2.minMaxLoc(grid[1])
        top = int(np.clip(low - 1, 0, len(template) - 1))
        source = self._memory.floats(template[top : max(ceil(high) + 3, top + 1)])
        np.subtract(grid[1], np.float32(top), out=grid[1])
        cv2.remap(source, *grid, cv2.INTER_CUBIC, dst=seen.warped, borderMode=cv2.BORDER_REPLICATE)
        return seen

    def _add_layers(self, seen: _Seen, out: np.ndarray) -> None:
        """What is seen in a part of the image, with what the network adds to it."""
        added = seen.turned(self._memory.added, seen.added)
        if self._memory.open:
            box = bounding_box((added[..., 3] > 0).astype(np.uint8))
            seen.warped[box] *= 1 - added[box][..., 3:]
        cv2.cvtColor(added, cv2.COLOR_BGRA2BGR, dst=seen.colours)
        cv2.add(seen.warped, seen.colours, dst=out, dtype=cv2.CV_8U)

    def _draw_layers(self, face: GeneratedFace) -> None:
        """Of the upright face's crop, into the memory: `movement`, that of the template's pixels,
        and `added`, what is added to them, with the share of them that it replaces."""
        memory = self._memory
        mask = cv2.resize(face.mask, WHOLE, dst=memory.mask)
        mask = cv2.multiply(mask, self._feather, dst=mask)
        cv2.subtract(face.sampling_grid, self._unmoved, dst=memory.both)
        for movement in cv2.split(memory.both, memory.movement):
            cv2.multiply(movement, mask, dst=movement)
        layers = self._add_change(face)
        if face.lids is not None:
            box, weight = soft(cv2.extractChannel(face.lids, 0), LID_MARGIN)
            layers[box][..., :3] *= 1 - weight
        layers = layers[MOUTH]
        within = mask[MOUTH][..., None] * self._mouth_feather
        added = layers[..., :3]
        added += within * coarse_difference(face.mouth, face.warped_mouth) - (
            self._mouth_feather * added
        )
        interior = cv2.extractChannel(face.mouth_interior[MOUTH], 0)
        box, weight = soft(interior, MOUTH_MARGIN)
        memory.open = bool(weight.size)
        if memory.open:
            within, added = within[box], added[box]
            drawn = face.mouth[box].astype(np.float32)
            added += weight * (within * (drawn - face.warped_mouth[box]) - added)
            inside = within * share(cv2.blur(interior, INSIDE_FADE)[box])
            layers[box][..., 3:] = inside
            added += inside * (drawn - added)

    def _add_change(self, face: GeneratedFace) -> np.ndarray:
        """(256, 256, 4) float32: what the generator adds to the template, and 0."""
        mask = face.mask * self._coarse_feather
        change = cv2.cvtColor(face.change, cv2.COLOR_BGR2BGRA)
        change[..., 3] = 0
        return cv2.resize(change * mask[..., None], WHOLE, dst=self._memory.added)


class _Memory:
    """Arrays that every image overwrites: to allocate them anew takes as long as to fill them.

    All are float32. Some are of the networks' crop; `seen` are of an image of `size` (width,
    height). OpenCV samples arrays of one or four channels twice as fast as those of
    two or three.
    """

    def __init__(self, size: tuple[int, int]):
        def floats(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32)

        crop = CROP_SIZE, CROP_SIZE
        self.mask, self.movement = floats(*crop), [floats(*crop), floats(*crop)]
        self.both, self.added = (floats(*crop, n) for n in (2, 4))
        self._seen = [floats(ROWS, size[0], *more) for more in ((), (), (), (4,), (3,), (3,))]
        self._source = floats(0)
        self.template = np.zeros((size[1], size[0], 4), np.uint8)
        self.open = False  # whether the mouth's interior is seen

    def part(self, height: int, width: int) -> _Seen:
        """Arrays for a part of the region."""
        return _Seen(*(array[:height, :width] for array in self._seen))

    def floats(self, image: np.ndarray) -> np.ndarray:
        """The image as float32."""
        if len(self._source) < len(image) or self._source.shape[1:] != image.shape[1:]:
            self._source = np.zeros(image.shape, np.float32)
        source = self._source[: len(image)]
        source[:] = image
        return source


@dataclass(frozen=True)
class _Seen:
    crop_x: np.ndarray  # where in the crop a pixel lies
    crop_y: np.ndarray
    movement: np.ndarray
    added: np.ndarray  # (height, width, 4), with the share of `warped` that it replaces
    colours: np.ndarray  # (height, width, 3)
    warped: np.ndarray  # (height, width, 3)

    def turned(self, layer: np.ndarray, to: np.ndarray) -> np.ndarray:
        """A layer of the crop, as it is seen here."""
        places, border = (self.crop_x, self.crop_y), cv2.BORDER_CONSTANT
        return cv2.remap(layer, *places, cv2.INTER_LINEAR, dst=to, borderMode=border)


def strips(box: Box) -> Iterator[Box]:
    """The box in parts of at most ROWS rows."""
    rows, columns = box
    for start in range(rows.start, rows.stop, ROWS):
        yield slice(start, min(start + ROWS, rows.stop)), columns


def around(outer: Box, inner: Box) -> Iterator[Box]:
    """The parts of a box beside another one: above, below, left and right of it."""
    (top, bottom), (left, right) = ((part.start, part.stop) for part in outer)
    rows, columns = (
        (min(max(part.start, low), high), min(max(part.stop, low), high))
        for part, low, high in zip(inner, (top, left), (bottom, right), strict=True)
    )
    for part in (
        (slice(top, rows[0]), slice(left, right)),
        (slice(rows[1], bottom), slice(left, right)),
        (slice(*rows), slice(left, columns[0])),
        (slice(*rows), slice(columns[1], right)),
    ):
        if all(side.start < side.stop for side in part):
            yield part


def coarse_difference(drawn: np.ndarray, warped: np.ndarray) -> np.ndarray:
    """(S, S, 3) float32: what a picture has that another has not, both (S, S, 3) uint8, less what
    is fine in it."""
    size = drawn.shape[1::-1]
    half = size[0] // 2, size[1] // 2
    smaller = (cv2.resize(image, half, interpolation=cv2.INTER_AREA) for image in (drawn, warped))
    difference = cv2.subtract(*smaller, dtype=cv2.CV_32F)
    for _ in range(2):
        difference = cv2.blur(difference, COARSE_BLUR)
    return cv2.resize(difference, size)


def border(side: int, width: float) -> np.ndarray:
    """(side, side) float32: 1, falling to 0 over `width`, a share of the side, at the border."""
    ramp = np.arange(side, dtype=np.float32) + 0.5
    ramp = np.clip(np.minimum(ramp, ramp[::-1]) / (width * side), 0, 1)
    return np.minimum(ramp[:, None], ramp[None, :])


def bounding_box(levels: np.ndarray) -> Box:
    """Rows and columns of what is not 0."""
    x, y, width, height = cv2.boundingRect(levels)
    return slice(y, y + height), slice(x, x + width)


def soft(levels: np.ndarray, margin: np.ndarray) -> tuple[Box, np.ndarray]:
    """What is not 0 in `levels` (H, W) uint8, with a margin (a kernel of OpenCV's `dilate`) and a
    soft border: its box, and in this (h, w, 1) float32 0..1."""
    rows, columns = bounding_box(levels)
    if rows.start == rows.stop:
        return (rows, columns), np.zeros((0, 0, 1), np.float32)
    more = len(margin) // 2 + FADE[0] // 2
    box = (
        slice(max(rows.start - more, 0), rows.stop + more),
        slice(max(columns.start - more, 0), columns.stop + more),
    )
    return box, share(cv2.blur(cv2.dilate(levels[box], margin), FADE))


def share(levels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> (H, W, 1) float32 0..1."""
    return levels[..., None] * np.float32(1 / 255)
