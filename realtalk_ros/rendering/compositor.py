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

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import COARSE_SIZE, CROP_SIZE, MOUTH_CROP, mouth_crop
from realtalk_ros.rendering.channels import spread
from realtalk_ros.rendering.eyelids import Lids, Positions, ShutEyes
from realtalk_ros.rendering.fine_templates import FACTOR, FineTemplate, FineTemplates
from realtalk_ros.rendering.generator import GeneratedFace, unmoved
from realtalk_ros.rendering.head_warp import HeadView, HeadWarp, Part, parts
from realtalk_ros.rendering.helper import HELPER, share
from realtalk_ros.rendering.moving_person import MovingPerson

FEATHER = 0.04  # share of the crop's side over which its border fades out, so that no seam shows
# In pixels of the networks' crop:
# Around where the network may draw, that moves with the face: the corners of a smiling mouth come
# to lie at the border of that, and would be held back there.
MOVING_MARGIN, MOVING_FADE = np.ones((21, 21), np.uint8), (9, 9)
MOUTH_MARGIN = np.ones((5, 5), np.uint8)  # around the mouth's interior, that the network draws, too
LID_MARGIN = np.ones((9, 9), np.uint8)  # around closing lids, of which it would draw the lashes
FADE = (7, 7)  # box filter of the borders of both
INSIDE_FADE = (3, 3)  # of the mouth's interior, where nothing of the template is to be seen
# What is finer is left out: box filter of the change, and twice of half of the mouth crop.
COARSE_BLUR = (3, 3)
MOUTH_FADE = 0.06  # share of the mouth crop's side over which its border fades out
OUTLINE = np.ones((5, 5), np.uint8)  # pixels of the networks' crop: a drawn line around the chin
CHIN_GAP = np.ones((7, 3), np.uint8)  # pixels of the generator's mask: smaller gaps are closed

WHOLE, COARSE = (CROP_SIZE, CROP_SIZE), (COARSE_SIZE, COARSE_SIZE)
MOUTH = mouth_crop()


BegunImage = Future[HeadView]  # of `Compositor.begin`, for one call of `Compositor.compose`


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
        self._head_warp = HeadWarp(person, templates)
        self._feather = faded_border(CROP_SIZE, FEATHER)
        self._moving_feather = self._feather
        self._mouth_feather = faded_border(MOUTH_CROP[2], MOUTH_FADE)
        self._beside_mouth = spread(1 - self._mouth_feather)
        if avatar.region is not None:
            region = cv2.resize(avatar.region, WHOLE)
            self._moving_feather = self._feather * cv2.blur(
                cv2.dilate(region, MOVING_MARGIN), MOVING_FADE
            )
            self._feather = self._feather * region
        self._within_mouth = self._feather[MOUTH] * self._mouth_feather
        self._coarse_feather = cv2.resize(self._feather, COARSE, interpolation=cv2.INTER_AREA)
        self._memory = _Memory()

    def begin(
        self, template: int, rotation: np.ndarray | None = None, breath: float = 0.0
    ) -> BegunImage:
        """Begins an image in the helper's thread, by what needs no generated face: that of a
        template, by its number, with the head rotated by `rotation` (3,) rad and the shoulders
        raised by `breath`, -1..1."""
        return HELPER.submit(self._view, rotation, breath, template)

    def _view(self, rotation: np.ndarray | None, breath: float, template: int) -> HeadView:
        """The template as it is seen, drawn but for the face's box."""
        view = self._head_warp.view(rotation, breath, template)
        self._head_warp.draw(view, self._face_box(view.reach))
        return view

    def compose(
        self, face: GeneratedFace, template: int, begun: BegunImage, shut: ShutEyes | None = None
    ) -> np.ndarray:
        """A new image (height, width, 3) uint8: the template of which it was begun, with the face.
        Lids that close show what `shut` does. Of a person who is cut out it is (height, width, 4),
        of premultiplied alpha."""
        self._draw_layers(face)
        view = begun.result()
        rows, columns = self._face_box(view.reach)
        # Pixels of the face's box go as far as the reach, too.
        source = self._fine.part(template, 2 * view.reach)
        width, height = self._size
        image = np.empty((height, width, 4 if self._cut_out else 3), np.uint8)

        def draw(band: slice) -> None:
            here = slice(max(rows.start, band.start), min(rows.stop, band.stop))
            for part in parts((here, columns)):
                if seen := self._head_warp.person(view, part):
                    self._draw_face(source, view, seen, (face.lids, shut))
            self._head_warp.finish(view, band, image)

        # To paint lids takes as long as to draw a fifth of the face.
        upper = 0.5 if face.lids is None else 0.4
        middle = rows.start + round(upper * (rows.stop - rows.start))
        share(draw, (slice(0, middle), slice(middle, height)))
        self._head_warp.give_back(view)
        return image

    def _draw_face(
        self,
        source: FineTemplate,
        view: HeadView,
        part: Part,
        lids: tuple[Lids | None, ShutEyes | None],
    ) -> None:
        """Draws what is seen of the face in a part of the image; `lids`: as of GeneratedFace, and
        what they show where they close."""
        x, y = view.positions
        upright, seen = (x[part], y[part]), view.image[part]
        in_crop = self._in_crop(upright)
        self._draw_template(source, upright, in_crop, seen)
        closing, shut = lids
        if shut and closing is not None:
            rows, columns = self._around_lids(closing, part, view.reach)
            if rows.start < rows.stop and columns.start < columns.stop:
                at = tuple((x[rows, columns], y[rows, columns]) for x, y in (in_crop, upright))
                shut.paint(seen[rows, columns], closing, *at)
        self._add_layers(in_crop, seen)

    def _around_lids(self, lids: Lids, part: Part, reach: int) -> Part:
        """Rows and columns of a part of the image in which lids may be seen, from its corner."""
        left, top, side = self.crop
        scale = side / CROP_SIZE

        def around(box: slice, corner: int, within: slice) -> slice:
            first = corner + floor((box.start - 0.5) * scale - 0.5) - reach - within.start
            end = corner + ceil((box.stop + 0.5) * scale - 0.5) + reach + 1 - within.start
            return slice(max(first, 0), min(end, within.stop - within.start))

        return around(lids.rows, top, part[0]), around(lids.columns, left, part[1])

    def _face_box(self, reach: int) -> Part:
        """The face's crop with what is up to `reach` pixels beside it."""
        (width, height), (left, top, side) = self._size, self.crop
        return (
            slice(max(top - reach, 0), min(top + side + reach, height)),
            slice(max(left - reach, 0), min(left + side + reach, width)),
        )

    def _in_crop(self, upright: Positions) -> Positions:
        """Where in the networks' crop the pixels at `upright` in the template lie."""
        *corner, side = self.crop
        scale = CROP_SIZE / side
        return shifted(upright, scale, [(0.5 - start) * scale - 0.5 for start in corner])

    def _draw_template(
        self, source: FineTemplate, upright: Positions, in_crop: Positions, out: np.ndarray
    ) -> None:
        """Draws what is seen in a part of the image, whose pixels lie at `upright` in the picture
        of the upright head: the template with the face's own movement."""
        scale = FACTOR * self.crop[2] / CROP_SIZE
        x, y = (
            cv2.addWeighted(position, FACTOR, sample(layer, in_crop), scale, -FACTOR * start)
            for position, layer, start in zip(
                upright, self._memory.movement, source.corner, strict=True
            )
        )
        linear, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        cv2.remap(source.image, x, y, linear, dst=out, borderMode=border)

    def _add_layers(self, in_crop: Positions, seen: np.ndarray) -> None:
        """Adds what the network adds to a part of the image, `seen` (h, w, 4) uint8."""
        added = sample(self._memory.added, in_crop)
        if self._memory.open:
            replaced = cv2.extractChannel(added, 3)
            box = bounding_box((replaced > 0).view(np.uint8))
            if replaced[box].size:
                added[box] -= seen[box] * spread(replaced[box], 4)
        if self._cut_out:
            added[..., 3] = 0  # alpha stays
        cv2.add(seen, added, dst=seen, dtype=cv2.CV_8U)

    def _draw_layers(self, face: GeneratedFace) -> None:
        """Of the upright face's crop, into the memory: `movement`, that of the template's pixels,
        and `added`, what is added to them, with the share of them that it replaces."""
        mask = cv2.resize(joined(face.mask), WHOLE, dst=self._memory.mask)
        share(lambda draw: draw(face, mask), (self._draw_movement, self._draw_added))

    def _draw_movement(self, face: GeneratedFace, mask: np.ndarray) -> None:
        """Of the generator's `mask` (256, 256)."""
        moving = cv2.multiply(with_swept(mask, face.sampling_grid), self._moving_feather)
        for position, own, movement in zip(
            face.sampling_grid, unmoved(CROP_SIZE), self._memory.movement, strict=True
        ):
            cv2.multiply(cv2.subtract(position, own, dst=movement), moving, dst=movement)

    def _draw_added(self, face: GeneratedFace, mask: np.ndarray) -> None:
        """Of the generator's `mask` (256, 256)."""
        layers = self._add_change(face)
        if face.lids is not None:
            box, weight = soft(cv2.extractChannel(face.lids.layers, 0), LID_MARGIN)
            layers[box] *= spread(1 - weight, 4)
        self._draw_mouth(face, layers[MOUTH], mask[MOUTH] * self._within_mouth)

    def _draw_mouth(self, face: GeneratedFace, layers: np.ndarray, within: np.ndarray) -> None:
        """Of the mouth crop, into its part of `added`, (128, 128, 4): around the interior what is
        coarse in the generator's picture, inside all of it. `within` (128, 128) 0..1."""
        added = cv2.multiply(cv2.cvtColor(layers, cv2.COLOR_BGRA2BGR), self._beside_mouth)
        added += spread(within) * coarse_difference(face.mouth, face.warped_mouth)
        interior = cv2.extractChannel(face.mouth_interior[MOUTH], 0)
        box, weight = soft(interior, MOUTH_MARGIN)
        self._memory.open = bool(weight.size)
        if weight.size:
            here, drawn = added[box], face.mouth[box].astype(np.float32)
            change = spread(within[box]) * (drawn - face.warped_mouth[box])
            here += spread(weight) * (change - here)
            inside = within[box] * levels_to_share(cv2.blur(interior, INSIDE_FADE)[box])
            layers[box][..., 3] = inside
            here += spread(inside) * (drawn - here)
        cv2.mixChannels([added], [layers], [0, 0, 1, 1, 2, 2])

    def _add_change(self, face: GeneratedFace) -> np.ndarray:
        """(256, 256, 4) float32: what the generator adds to the template, and 0."""
        mask = face.mask * self._coarse_feather
        change = cv2.cvtColor(cv2.blur(face.change, COARSE_BLUR), cv2.COLOR_BGR2BGRA)
        change[..., 3] = 0
        faded = cv2.multiply(change, spread(mask, 4))
        return cv2.resize(faded, WHOLE, dst=self._memory.added)


class _Memory:
    """Arrays that every image overwrites: to allocate them anew takes as long as to fill them.

    OpenCV samples arrays of one or four channels twice as fast as those of two or three.
    """

    def __init__(self) -> None:
        def floats(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32)

        crop = CROP_SIZE, CROP_SIZE
        self.mask, self.movement = floats(*crop), [floats(*crop), floats(*crop)]
        self.added = floats(*crop, 4)
        self.open = False  # whether the mouth's interior is seen


def shifted(positions: Positions, scale: float, shifts: Sequence[float]) -> Positions:
    """Positions, x and y, times `scale`, plus `shifts` of x and y."""
    x, y = (cv2.addWeighted(p, scale, p, 0, s) for p, s in zip(positions, shifts, strict=True))
    return x, y


def sample(layer: np.ndarray, at: Positions) -> np.ndarray:
    """A layer of the crop; 0 beside the crop."""
    return cv2.remap(layer, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def coarse_difference(drawn: np.ndarray, warped: np.ndarray) -> np.ndarray:
    """(S, S, 3) float32: what a picture has that another has not, both (S, S, 3) uint8, less what
    is fine in it."""
    size = drawn.shape[1::-1]
    half = size[0] // 2, size[1] // 2
    small, other = (cv2.resize(i, half, interpolation=cv2.INTER_AREA) for i in (drawn, warped))
    difference = cv2.subtract(small, other, dtype=cv2.CV_32F)
    for _ in range(2):
        difference = cv2.blur(difference, COARSE_BLUR)
    return cv2.resize(difference, size)


def joined(mask: np.ndarray) -> np.ndarray:
    """The generator's mask (64, 64) without gaps between chin and neck: a chin that moves would
    fold at them. Strong edges, such as a drawing's lines, make them."""
    lower = len(mask) // 2
    closed = cv2.morphologyEx(mask[lower:], cv2.MORPH_CLOSE, CHIN_GAP)
    return np.concatenate([mask[:lower], closed])


def with_swept(mask: np.ndarray, sampling_grid: np.ndarray) -> np.ndarray:
    """A mask (S, S) with what the moving chin comes to lie over, where the generator's ends at its
    line: hair beside it, of which it would cut steps. `sampling_grid` (2, S, S): x, y, pixels."""
    lower = len(mask) // 2
    x, y = sampling_grid[:, lower:]
    swept = cv2.remap(cv2.dilate(mask, OUTLINE), x, y, cv2.INTER_LINEAR)
    return np.concatenate([mask[:lower], cv2.max(mask[lower:], swept)])


def faded_border(side: int, width: float) -> np.ndarray:
    """(side, side) float32: 1, falling to 0 over `width`, a share of the side, at the border."""
    ramp = np.arange(side, dtype=np.float32) + 0.5
    ramp = np.clip(np.minimum(ramp, ramp[::-1]) / (width * side), 0, 1)
    return np.minimum(ramp[:, None], ramp[None, :])


def bounding_box(levels: np.ndarray) -> Part:
    """Rows and columns of what is not 0."""
    x, y, width, height = cv2.boundingRect(levels)
    return slice(y, y + height), slice(x, x + width)


def soft(levels: np.ndarray, margin: np.ndarray) -> tuple[Part, np.ndarray]:
    """What is not 0 in `levels` (H, W) uint8, with a margin (a kernel of OpenCV's `dilate`) and a
    soft border: its box, and in this (h, w) float32 0..1."""
    rows, columns = bounding_box(levels)
    if rows.start == rows.stop:
        return (rows, columns), np.zeros((0, 0), np.float32)
    more = len(margin) // 2 + FADE[0] // 2
    box = (
        slice(max(rows.start - more, 0), rows.stop + more),
        slice(max(columns.start - more, 0), columns.stop + more),
    )
    return box, levels_to_share(cv2.blur(cv2.dilate(levels[box], margin), FADE))


def levels_to_share(levels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> float32 0..1."""
    return levels * np.float32(1 / 255)
