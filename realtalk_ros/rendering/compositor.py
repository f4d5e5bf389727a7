# SPDX-License-Identifier: Apache-2.0
"""A template and the networks' picture of the face to one image.

The template, at the image's own resolution, is sampled once (fine_templates.py): a pixel's position
in it comes from the head's rotation and from the face's own movement (lips, chin, irises) together.
Lids that close show the template's eyes as they are when shut (eyelids.py). The generator adds what
no movement of the template's pixels can show. In the mouth its picture takes their place. Elsewhere
only what is coarse in its change is added (light, folds), so that fine detail stays as it is in the
template.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from math import ceil, floor
from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.rendering.added_layer import FEATHER, AddedLayer, faded_border
from realtalk_ros.rendering.common.boxes import Box, bands, is_empty, nested
from realtalk_ros.rendering.common.channels import Positions, spread
from realtalk_ros.rendering.common.enlarging import FACTOR
from realtalk_ros.rendering.common.generated_face import GeneratedFace, Lids, SeenEyeball
from realtalk_ros.rendering.eyes.eyeballs import Eyeball
from realtalk_ros.rendering.eyes.eyelids import ShutEyes
from realtalk_ros.rendering.fine_templates import FineTemplate, FineTemplates
from realtalk_ros.rendering.head.head_warp import HeadView, HeadWarp
from realtalk_ros.rendering.head.moving_person import MovingPerson
from realtalk_ros.rendering.helper import HELPER, share
from realtalk_ros.rendering.sampling_grid import unmoved

# Pixels of the networks' crop. What moves with the face reaches this far beyond where the network
# may draw, with a soft border: the corners of a smile, which come to lie there, would be held back.
MOVING_MARGIN, MOVING_FADE = np.ones((21, 21), np.uint8), (9, 9)
OUTLINE = np.ones((5, 5), np.uint8)  # likewise: a drawn line around the chin
CHIN_GAP = np.ones((7, 3), np.uint8)  # pixels of the generator's mask: smaller gaps are closed

WHOLE = CROP_SIZE, CROP_SIZE
WHOLE_CROP: Box = (slice(0, CROP_SIZE), slice(0, CROP_SIZE))


class BegunImage(NamedTuple):
    """Of `Compositor.begin`, for one call of `Compositor.compose`."""

    template: int  # its index
    view: Future[HeadView]
    beside: Future[None]  # done when what is beside the face's box is drawn in the view


class EyeLayers(NamedTuple):
    """What is painted over the eyes of a frame."""

    lids: Lids | None  # as of GeneratedFace
    shut: ShutEyes | None  # what they show where they close
    seen: Sequence[SeenEyeball]
    eyeballs: Sequence[Eyeball]  # of which that is seen: the right one, the left one; or none


class Compositor:
    """Of one avatar, in images of the size of `templates` (T, height, width, 3) uint8, which are
    the avatar's own at that size, or (T, height, width, 4), cut out (cutout.py). `person` is the
    avatar's, and may be shared with compositors of other sizes."""

    def __init__(self, avatar: Avatar, templates: np.ndarray, person: MovingPerson):
        self._size = templates.shape[2], templates.shape[1]
        self._cut_out = templates.shape[3] == 4
        scale = self._size[1] / avatar.size[1]
        x, y, side = (round(value * scale) for value in avatar.crop)
        self.crop = x, y, side
        self._fine = FineTemplates(templates, self.crop)
        whole = self._fine.whole
        self._head_warp = HeadWarp(person, templates, whole.image if whole else None)
        feather = self._moving_feather = faded_border(CROP_SIZE, FEATHER)
        if avatar.region is not None:
            region = cv2.resize(avatar.region, WHOLE)
            around = cv2.blur(cv2.dilate(region, MOVING_MARGIN), MOVING_FADE)
            self._moving_feather = feather * around
            feather = feather * region
        self._added = AddedLayer(feather)
        # To allocate what every image overwrites takes as long as to fill it.
        self._mask = np.zeros(WHOLE, np.float32)
        self._movement = np.zeros(WHOLE, np.float32), np.zeros(WHOLE, np.float32)

    def begin(
        self, template: int, rotation: np.ndarray | None = None, breath: float = 0.0
    ) -> BegunImage:
        """Begins an image in the helper's thread, by what needs no generated face: that of a
        template, by its index, with the head rotated by `rotation` (3,) rad and the shoulders
        raised by `breath`, -1..1."""
        view = HELPER.submit(self._head_warp.view, template, rotation, breath)
        return BegunImage(template, view, HELPER.submit(self._draw_beside, view))

    def _draw_beside(self, begun: Future[HeadView]) -> None:
        """Draws the template as it is seen, but for the face's box."""
        view = begun.result()
        self._head_warp.draw(view, self._face_box(view.reach))

    def compose(
        self,
        face: GeneratedFace,
        begun: BegunImage,
        shut: ShutEyes | None = None,
        eyeballs: Sequence[Eyeball] = (),
    ) -> np.ndarray:
        """A new image (height, width, 3) uint8: the template of which it was begun, with the face.
        Lids that close show what `shut` does, eyes that turn `eyeballs`. Of a person who is cut out
        it is (height, width, 4), of premultiplied alpha."""
        self._draw_layers(face)
        layers = EyeLayers(face.lids, shut, face.eyeballs, eyeballs)
        view = begun.view.result()
        rows, columns = self._face_box(view.reach)
        # Pixels of the face's box go as far as the reach, too.
        source = self._fine.part(begun.template, 2 * view.reach)
        width, height = self._size
        image = np.empty((height, width, 4 if self._cut_out else 3), np.uint8)

        def draw(band: slice) -> None:
            here = slice(max(rows.start, band.start), min(rows.stop, band.stop))
            for part in bands((here, columns)):
                if box := self._head_warp.person_box(view, part):
                    self._draw_face(source, view, box, layers)
            begun.beside.result()  # the helper has done it before it takes up a band
            self._head_warp.finish(view, band, image)

        # The mouth takes longer than the brows, and the helper, which has the lower part, begins
        # later. To paint lids takes as long as to draw a fifth of the face.
        upper = 0.64 if face.lids is None else 0.54
        middle = rows.start + round(upper * (rows.stop - rows.start))
        share(draw, (slice(0, middle), slice(middle, height)))
        self._head_warp.give_back(view)
        return image

    def _draw_face(
        self,
        source: FineTemplate,
        view: HeadView,
        part: Box,
        eyes: EyeLayers,
    ) -> None:
        """Draws what is seen of the face in a part of the image."""
        in_crop, seen = self._in_crop(view, part), view.image[part]
        self._draw_template(source, in_crop, seen)
        lids = eyes.lids
        for ball in eyes.seen if eyes.eyeballs else ():
            box = self._where_seen((ball.rows, ball.columns), part, view.reach)
            if not is_empty(box):
                at = in_crop[0][box], in_crop[1][box]
                eyes.eyeballs[ball.side].paint(seen[box], ball, at)
        if eyes.shut and lids is not None:
            box = self._where_seen((lids.rows, lids.columns), part, view.reach)
            if not is_empty(box):
                at = in_crop[0][box], in_crop[1][box]
                eyes.shut.paint(seen[box], lids, at, view.positions(nested(part, box)))
        box = self._where_seen(self._added.box, part, view.reach)
        if not is_empty(box):
            self._add(view, nested(part, box))

    def _add(self, view: HeadView, part: Box) -> None:
        """Adds what the network adds to a part of the image."""
        layer, seen = self._added, view.image[part]
        added = sample(layer.image, self._in_crop(view, part, layer.box))
        if layer.opening is not None:
            box = self._where_seen(layer.opening, part, view.reach)
            if not is_empty(box):
                added[box] -= seen[box] * spread(cv2.extractChannel(added[box], 3), 4)
        if self._cut_out:
            added[..., 3] = 0  # alpha stays
        cv2.add(seen, added, dst=seen, dtype=cv2.CV_8U)

    def _in_crop(self, view: HeadView, part: Box, box: Box = WHOLE_CROP) -> Positions:
        """Where in the networks' crop, from a box's corner, the pixels of a part of the image
        lie."""
        left, top, side = self.crop
        scale = CROP_SIZE / side
        first_row, first_column = (along.start for along in box)
        shifts = (0.5 - left) * scale - 0.5 - first_column, (0.5 - top) * scale - 0.5 - first_row
        return view.positions(part, scale, shifts)

    def _where_seen(self, box: Box, part: Box, reach: int) -> Box:
        """Rows and columns of a part of the image, from its corner, in which a box of the networks'
        crop may be seen."""
        left, top, side = self.crop
        scale = side / CROP_SIZE

        def along(box: slice, corner: int, within: slice) -> slice:
            first = corner + floor((box.start - 0.5) * scale - 0.5) - reach - within.start
            end = corner + ceil((box.stop + 0.5) * scale - 0.5) + reach + 1 - within.start
            return slice(max(first, 0), min(end, within.stop - within.start))

        return along(box[0], top, part[0]), along(box[1], left, part[1])

    def _face_box(self, reach: int) -> Box:
        """The face's crop with what is up to `reach` pixels beside it."""
        (width, height), (left, top, side) = self._size, self.crop
        return (
            slice(max(top - reach, 0), min(top + side + reach, height)),
            slice(max(left - reach, 0), min(left + side + reach, width)),
        )

    def _draw_template(self, source: FineTemplate, in_crop: Positions, out: np.ndarray) -> None:
        """Draws what is seen in a part of the image, whose pixels lie at `in_crop` in the networks'
        crop of the upright head: the template with the face's own movement."""
        *corner, side = self.crop
        scale = FACTOR * side / CROP_SIZE
        x, y = (
            cv2.addWeighted(
                at, scale, sample(layer, in_crop), scale,
                scale / 2 + FACTOR * (crop - 0.5 - start),
            )
            for at, layer, crop, start in zip(
                in_crop, self._movement, corner, source.corner, strict=True
            )
        )  # fmt: skip
        linear, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        cv2.remap(source.image, x, y, linear, dst=out, borderMode=border)

    def _draw_layers(self, face: GeneratedFace) -> None:
        """Of the upright face's crop: the movement of the template's pixels, and what is added to
        them. (In two threads, whose short calls wait for each other, it takes longer.)"""
        mask = cv2.resize(joined(face.mask), WHOLE, dst=self._mask)
        moving = cv2.multiply(with_swept(mask, face.sampling_grid), self._moving_feather)
        for position, own, movement in zip(
            face.sampling_grid, unmoved(CROP_SIZE), self._movement, strict=True
        ):
            cv2.multiply(cv2.subtract(position, own, dst=movement), moving, dst=movement)
        for cheek, source, _ in face.cheeks:
            for movement, shift in zip(self._movement, source, strict=True):
                here = movement[cheek.box]
                cv2.scaleAdd(cheek.share, shift, here, dst=here)
        self._added.draw(face, mask)


def sample(layer: np.ndarray, at: Positions) -> np.ndarray:
    """A layer of the crop; 0 beside the crop."""
    return cv2.remap(layer, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def joined(mask: np.ndarray) -> np.ndarray:
    """The generator's mask (64, 64) without gaps between chin and neck: a chin that moves would
    fold at them. Strong edges, such as a drawing's lines, make them."""
    lower = len(mask) // 2
    closed = cv2.morphologyEx(mask[lower:], cv2.MORPH_CLOSE, CHIN_GAP)
    return np.concatenate([mask[:lower], closed])


def with_swept(mask: np.ndarray, sampling_grid: np.ndarray) -> np.ndarray:
    """A mask (S, S) with what the moving chin comes to lie over, such as hair: the generator's mask
    ends at the chin, and would cut steps into that. `sampling_grid` (2, S, S): x, y, pixels."""
    lower = len(mask) // 2
    x, y = sampling_grid[:, lower:]
    swept = cv2.remap(cv2.dilate(mask, OUTLINE), x, y, cv2.INTER_LINEAR)
    return np.concatenate([mask[:lower], cv2.max(mask[lower:], swept)])
