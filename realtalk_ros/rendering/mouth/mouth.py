# SPDX-License-Identifier: Apache-2.0
"""What the 3D face model shows of the mouth's interior (NumPy and OpenCV).

A picture of a closed mouth does not show where its teeth are, but the face model has them: they
follow from identity, weights and camera. The renderer gets a map of them, uint8 with 3 channels:

    0   how far the lips are open there (255: open)
    1   lightness of the enamel there, 0 where there is none
    2   lightness of gums or tongue

Colours are not in it: the network paints them, with those of the reference where it shows teeth and
flesh (merge_mouth_colours in avatar_encoding.py).

The lips of the model (mouth_model.py) are rings of vertices. What lies above the upper half of any
ring, or below its lower half, is covered, however the lips are pursed or pressed. Behind them the
triangles of the interior are drawn with the lightness of their vertices.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE, mouth_crop
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.common import rasterizer
from realtalk_ros.rendering.common.boxes import bounding_box, is_empty
from realtalk_ros.rendering.common.camera import Cameras
from realtalk_ros.rendering.mouth import human_teeth
from realtalk_ros.rendering.mouth.lip_outline import FRACTION_BITS, fixed_point, lip_polygons
from realtalk_ros.rendering.mouth.mouth_model import Look, LookName, load

OPEN = 128  # level of the map's first channel from which a pixel counts as in the mouth
EDGE = 4 / 256  # share of the picture, within the mouth crop's border: beyond it no mouth opens
SUPERSAMPLING = 3  # of the interior, for smooth borders
# The face model's teeth stand apart; people's touch. The widest gap that is filled, in supersampled
# pixels, and its light, a share of that of the teeth.
TOOTH_GAP, GAP_LIGHT = np.ones((1, 9), np.uint8), 0.55
BESIDE = 3  # pixels of the map beside the lips' opening from which such a gap may be filled
GAP_LEVELS = (np.arange(256) * np.float32(GAP_LIGHT)).astype(np.uint8)
TONGUE_OUT = arkit.INDEX["tongueOut"]
# The edge of the upper teeth, cm: x, y, z = z0 - z2 x², by the mean face's.
ARCH_WIDTH, ARCH_Y, ARCH_Z = 3.0, -3.0, (10.75, 0.27)
FRONT_TEETH, ARCH_ROWS = 0.7, (ARCH_Y, ARCH_Y + 0.9)  # of its width those that smiles show; cm


class Mouth:
    """One person's mouth, seen by the cameras of some templates.

    identity: (100,).
    residuals: (T, 68, 2), template landmarks minus their projections. The rings are moved by the
        residuals of the lips' landmarks.
    look: of `MouthModel.looks`.
    longer: cm by which the upper teeth reach farther down than the face model's.
    """

    def __init__(
        self,
        identity: np.ndarray,
        cameras: Cameras,
        residuals: np.ndarray,
        look: LookName = "plain",
        longer: float = 0.0,
    ):
        model = self._model = load()
        self.interior = Interior(identity, cameras, model.looks[look], longer)
        self._cameras = cameras
        teeth = model.outer_teeth
        self._outer_teeth = model.inside[teeth] + np.tensordot(
            identity, model.inside_modes[:, teeth], 1
        ).astype(np.float32)
        self._outer_teeth[:, 1] -= longer
        self._lower_teeth = LowerTeeth(identity, cameras)
        lips = model.lips + np.tensordot(identity, model.lips_modes, 1).astype(np.float32)
        self._lips = np.ascontiguousarray(lips.T)  # x, y, z
        lips = residuals[:, landmarks.LIPS].astype(np.float32)
        # (T, 2, P)
        self._residuals = np.ascontiguousarray((model.interpolation @ lips).swapaxes(1, 2))

    def upper_arch(self, template: int) -> np.ndarray:
        """(P, 2), normalised: points of the upper teeth, at their edge and at the gums."""
        x = np.linspace(-ARCH_WIDTH, ARCH_WIDTH, 13, dtype=np.float32) * FRONT_TEETH
        depth, bend = ARCH_Z
        rows = [np.stack([x, np.full_like(x, y), depth - bend * x * x], -1) for y in ARCH_ROWS]
        return self._cameras.project(np.concatenate(rows), template)[:, :2]

    def pixels_per_cm(self, template: int) -> float:
        """Of the networks' crop, at the upper incisors."""
        places = self._cameras.project(
            np.array([(-1, ARCH_Y, ARCH_Z[0]), (1, ARCH_Y, ARCH_Z[0])]), template
        )
        return float(np.hypot(*(places[1] - places[0])[:2])) * CROP_SIZE / 2

    def teeth_mask(self, template: int, size: int) -> np.ndarray:
        """(S, S) uint8: where in a template's crop of S pixels the upper teeth are, between lips or
        behind them."""
        image = np.zeros((size, size), np.uint8)
        image[mouth_crop(size)] = self.interior.teeth_mask(template, size)
        return image

    def across_teeth(self, template: int) -> np.ndarray:
        """(S,): how far from the middle, cm, the upper teeth are that a template's map has in each
        column of the mouth crop."""
        x = np.linspace(-ARCH_WIDTH, ARCH_WIDTH, 25, dtype=np.float32)
        depth, bend = ARCH_Z
        arch = np.stack([x, np.full_like(x, ARCH_Y), depth - bend * x * x], -1)
        places = self._cameras.project(arch, template)[:, 0] * CROP_SIZE - 0.5
        columns = mouth_crop()[1]
        return np.asarray(
            np.interp(np.arange(columns.start, columns.stop), np.maximum.accumulate(places), x)
        )

    def upper_teeth(self, template: int) -> tuple[np.ndarray, np.ndarray]:
        """Points on the outer surface of the upper teeth: where a template shows them, (N, 2)
        pixels of the mouth crop, and where they are on the mean face's, (N, 2): x and y, cm."""
        seen = self._cameras.project(self._outer_teeth, template)[:, :2] * CROP_SIZE - 0.5
        return seen - mouth_corner(CROP_SIZE), self._model.inside[self._model.outer_teeth, :2]

    def lower_teeth(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(5,): how far from the middle, cm, the lower teeth are at a pixel x, y of the mouth crop,
        as coefficients of 1, x, y, x², x y; at weights (52,) over a template."""
        return self._lower_teeth.across(weights, template)

    def _rings(self, weights: np.ndarray, template: int, lower: float) -> np.ndarray:
        """(2, R, 2, N), x and y in normalised coordinates."""
        movement = np.reshape(weights @ self._model.lips_expressions, (3, -1))
        movement[1] -= lower
        projected = self._cameras.project_planes(self._lips + movement, template)[:2]
        return (projected + self._residuals[template]).take(self._model.rings, 1)

    def draw(
        self, weights: np.ndarray, template: int, image: np.ndarray, lower: float = 0.0
    ) -> np.ndarray:
        """Draws the map, for weights (52,) over a template, into `image` (S, S, 3) uint8. Returns
        it. The lips are `lower`, cm, than the weights say."""
        size = len(image)
        image[:] = 0
        rings = self._rings(weights, template, lower) * size - 0.5
        rows, columns = mouth_crop(size)
        edge = round(EDGE * size)
        first = columns.start + edge, rows.start + edge
        end = columns.stop - edge, rows.stop - edge
        left, top = (
            min(max(math.floor(along.min()) - 2, begin), stop)
            for along, begin, stop in zip(rings, first, end, strict=True)
        )
        right, bottom = (
            min(max(math.ceil(along.max()) + 3, begin), stop)
            for along, begin, stop in zip(rings, first, end, strict=True)
        )
        if right <= left or bottom <= top:  # the mouth is outside what is drawn
            return image
        low, opened = np.array([left, top]), np.full((bottom - top, right - left), 255, np.uint8)
        for polygon in fixed_point(lip_polygons(np.stack([rings[0] - left, rings[1] - top], -1))):
            cv2.fillPoly(opened, [polygon], (0,), cv2.LINE_AA, FRACTION_BITS)
        box = bounding_box(opened)
        if is_empty(box):
            return image
        opened, low = opened[box], low + (box[1].start, box[0].start)
        height, width = opened.shape
        part = image[low[1] : low[1] + height, low[0] : low[0] + width]
        part[..., 0] = opened
        part[..., 1:] = self.interior.draw(weights, template, size, low, opened)
        part[opened == 0] = 0
        return image


class LowerTeeth:
    """Where the outer surface of one person's lower teeth is, which follow the jaw. Arguments as of
    `Mouth`."""

    def __init__(self, identity: np.ndarray, cameras: Cameras):
        model, self._cameras = load(), cameras
        teeth = model.outer_lower_teeth
        self._on_mean_face = model.inside[teeth, 0]
        self._places = model.inside[teeth] + np.tensordot(identity, model.inside_modes[:, teeth], 1)
        self._places[:, 1] += human_teeth.LOWER_HIGHER
        self._moving = model.moving
        self._moves = model.inside_expressions[:, teeth].reshape(len(model.moving), -1)

    def across(self, weights: np.ndarray, template: int) -> np.ndarray:
        """See `Mouth.lower_teeth`."""
        moved = self._places + np.reshape(weights[self._moving] @ self._moves, (-1, 3))
        seen = self._cameras.project(moved.astype(np.float32), template)[:, :2] * CROP_SIZE - 0.5
        x, y = (seen - mouth_corner(CROP_SIZE)).T
        terms = np.column_stack([np.ones_like(x), x, y, x * x, x * y])
        return np.linalg.lstsq(terms, self._on_mean_face, rcond=None)[0]


class Interior:
    """One person's teeth, gums and tongue. Arguments as of `Mouth`."""

    def __init__(self, identity: np.ndarray, cameras: Cameras, look: Look, longer: float = 0.0):
        model, self._cameras, self._look = load(), cameras, look
        places = look.places + np.tensordot(identity, model.inside_modes, 1).astype(np.float32)
        skull, jaw = look.skull.vertices, look.jaw.vertices
        places[skull, 1] -= longer  # what of the jaw is attached to them, too
        self._behind = 256 * look.behind  # as a pixel of both channels
        places = np.ascontiguousarray(places.T)  # x, y, z
        self._skull, self._skull_light = places[:, skull], look.light[skull]
        self._jaw, self._jaw_light = places[:, jaw], look.light[jaw]
        moves = model.inside_expressions[:, jaw].swapaxes(1, 2)
        self._expressions = moves.reshape(len(model.moving), -1)
        self._fading = 0.0 if look.fading is None else look.fading[jaw]
        self._tongue_light = model.tongue_light[jaw]
        self._model = model
        self._drawn: tuple[int, int, np.ndarray, np.ndarray] | None = None

    def draw(
        self, weights: np.ndarray, template: int, size: int, low: np.ndarray, opened: np.ndarray
    ) -> np.ndarray:
        """(height, width, 2) uint8: enamel and flesh behind lips that are `opened` (height, width)
        uint8 at `low` (x, y) of a map of `size` pixels. Where they are shut it is undefined."""
        values, nearness = self.draw_skull(template, size)
        (left, top), (height, width) = low - mouth_corner(size), opened.shape
        box = tuple(
            slice(first * SUPERSAMPLING, (first + length) * SUPERSAMPLING)
            for first, length in ((top, height), (left, width))
        )
        large, nearness = values[box].copy(), nearness[box].copy()
        movement = np.reshape(weights[self._model.moving] @ self._expressions, (3, -1))
        points = self._place(self._jaw + movement, template, size, low)
        light = self._jaw_light - human_teeth.behind_rounded_lips(weights) * self._fading
        surface = self._look.jaw
        if weights[TONGUE_OUT]:
            light = light + weights[TONGUE_OUT] * self._tongue_light
        rasterizer.draw(
            points, surface.faces, light, surface.channels, large,
            shown=nearness, bounds=opened_columns(opened),
        )  # fmt: skip
        if self._look.teeth_touch:
            enamel = cv2.extractChannel(channels_of(large), 0)
            filled = cv2.LUT(cv2.morphologyEx(enamel, cv2.MORPH_CLOSE, TOOTH_GAP), GAP_LEVELS)
            np.copyto(large, filled, where=(large == self._behind) & (filled > 0))
        return cv2.resize(channels_of(large), (width, height), interpolation=cv2.INTER_AREA)

    def teeth_mask(self, template: int, size: int) -> np.ndarray:
        """(height, width) uint8 of the mouth crop: 255 where the upper teeth are."""
        values, _ = self.draw_skull(template, size)
        enamel = cv2.extractChannel(channels_of(values), 0)
        filled = cv2.morphologyEx(
            np.where(enamel > 0, 255, 0).astype(np.uint8), cv2.MORPH_CLOSE, TOOTH_GAP
        )
        side = len(values) // SUPERSAMPLING
        return cv2.resize(filled, (side, side), interpolation=cv2.INTER_AREA)

    def draw_skull(self, template: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """What no weight moves, in the mouth crop of a map of `size` pixels: values and nearness
        as the rasterizer draws them. The last ones are kept."""
        if self._drawn is None or self._drawn[:2] != (template, size):
            shape = tuple(SUPERSAMPLING * (side.stop - side.start) for side in mouth_crop(size))
            values = np.full(shape, self._behind, np.uint16)
            nearness = np.full(shape, -np.inf, np.float32)
            points = self._place(self._skull, template, size, mouth_corner(size))
            light, surface = self._skull_light, self._look.skull
            rasterizer.draw(points, surface.faces, light, surface.channels, values, shown=nearness)
            self._drawn = template, size, values, nearness
        return self._drawn[2:]

    def _place(self, points: np.ndarray, template: int, size: int, low: np.ndarray) -> np.ndarray:
        """Points (3, K), cm, in supersampled pixels from `low` (x, y), and their nearness: (K, 3),
        in memory x, y and nearness are each in one piece."""
        placed = self._cameras.project_planes(points, template)
        for axis, start in zip(placed[:2], low.tolist(), strict=True):
            axis *= SUPERSAMPLING * size
            axis -= SUPERSAMPLING * start + 0.5
        return placed.T


def channels_of(values: np.ndarray) -> np.ndarray:
    """What the rasterizer drew, (H, W) uint16, as enamel and flesh, (H, W, 2) uint8."""
    return values.view(np.uint8).reshape(*values.shape, 2)


def mouth_corner(size: int) -> np.ndarray:
    """X, y of the first pixel of the mouth crop in a map of `size` pixels."""
    rows, columns = mouth_crop(size)
    return np.array([columns.start, rows.start])


def opened_columns(opened: np.ndarray) -> np.ndarray:
    """(2, SUPERSAMPLING H) int32: first and last supersampled column of each row that is seen
    between lips `opened` (H, W) uint8, or that a gap between teeth may need."""
    seen, width = opened > 0, opened.shape[1]
    first = np.where(seen.any(1), seen.argmax(1), width)  # a row without any has none
    last = width - seen[:, ::-1].argmax(1)
    bounds = np.empty((2, len(opened), SUPERSAMPLING), np.int32)
    bounds[0] = ((first - BESIDE) * SUPERSAMPLING)[:, None]
    bounds[1] = ((last + BESIDE) * SUPERSAMPLING - 1)[:, None]
    return bounds.reshape(2, -1)
