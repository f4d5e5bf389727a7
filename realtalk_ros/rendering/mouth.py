# SPDX-License-Identifier: Apache-2.0
"""What the 3D face model shows of the mouth's interior (NumPy and OpenCV).

A picture of a closed mouth does not show where its teeth are, but the face model has them: they
follow from identity, weights and camera. The renderer gets a map of them, uint8 with 3 channels:

    0   how far the lips are open there (255: open)
    1   lightness of the enamel there, 0 where there is none
    2   lightness of gums or tongue

Colours are not in it: the network paints them, with those of the reference where it shows teeth and
flesh (merge_mouth_colours in avatar_encoding.py).

Lips are 7 rings of vertices of the face model, from the inside out. What lies above the upper half
of any ring, or below its lower half, is covered, however the lips are pursed or pressed. The
interior is a mesh of triangles with a lightness at each vertex, that of the rendered training
pictures (training/synthetic/facekit_mouth.py), where no shadow falls into the mouth. On a photo
that looks painted, so there are other looks of it (`Look`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE, mouth_crop
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering import gum_line, human_teeth, rasterizer
from realtalk_ros.rendering.boxes import bounding_box, is_empty
from realtalk_ros.rendering.camera import Cameras
from realtalk_ros.rendering.lip_outline import FRACTION_BITS, fixed_point, lip_polygons

FILE = Path(__file__).parents[1] / "data" / "mouth.npz"
OPEN = 128  # level of the map's first channel from which a pixel counts as in the mouth
EDGE = 4 / 256  # share of the picture, within the mouth crop's border: beyond it no mouth opens
SUPERSAMPLING = 3  # of the interior, for smooth borders
# The face model's teeth stand apart; people's touch. The widest gap that is filled, in supersampled
# pixels, and its light, a share of that of the teeth.
TOOTH_GAP, GAP_LIGHT = np.ones((1, 9), np.uint8), 0.55
BESIDE = 3  # pixels of the map beside the lips' opening from which such a gap may be filled
GAP_LEVELS = (np.arange(256) * np.float32(GAP_LIGHT)).astype(np.uint8)
STILL = 1e-4  # cm: what the weights move less does not move
JAW_OPEN, TONGUE_OUT = arkit.INDEX["jawOpen"], arkit.INDEX["tongueOut"]
# Shading: of the lower teeth, by eye on two photos; and the distance from the middle (cm) at which
# teeth are 1/e as light, measured on the upper teeth of 46 people (those of enamel_colour.py).
LOWER_TEETH, UPPER_SHADE_WIDTH, LOWER_SHADE_WIDTH = 0.7, 3.6, 1.6
# People's have 0.78 to 1.05 of the upper ones' green in 6 films, 0.84 to 0.88 with this; those
# behind the canines, by |x| - z, are not drawn.
LIFELIKE_LOWER_TEETH, BEHIND_CANINES = 1.0, -7.48
# People's mouths: behind tongue and teeth are the cheeks, of this level in the map. The tongue
# falls to it at its sides, over this distance from the middle (cm). Set by eye.
CHEEKS, TONGUE_WIDTH = 48, 1.9
# The edge of the upper teeth, cm: x, y, z = z0 - z2 x², by the mean face's.
ARCH_WIDTH, ARCH_Y, ARCH_Z = 3.0, -3.0, (10.75, 0.27)
FRONT_TEETH, ARCH_ROWS = 0.7, (ARCH_Y, ARCH_Y + 0.9)  # of its width those that smiles show; cm


@dataclass(frozen=True)
class Surface:
    """Some of the triangles of the mouth's interior."""

    vertices: np.ndarray  # (K,) of the interior's
    faces: np.ndarray  # (3, F) int32, indices of `vertices`
    channels: np.ndarray  # (F,) uint16, see MouthModel

    @classmethod
    def of(cls, faces: np.ndarray, channels: np.ndarray) -> Surface:
        """Of `faces` (F, 3), indices of all vertices."""
        vertices, numbers = np.unique(faces, return_inverse=True)
        numbers = numbers.reshape(faces.shape)
        return cls(vertices, np.ascontiguousarray(numbers.T, np.int32), channels)


@dataclass(frozen=True)
class Look:
    """How the mouth's interior is drawn."""

    skull: Surface  # its triangles that no weight moves
    jaw: Surface  # all others
    places: np.ndarray  # (V, 3) float32, cm
    light: np.ndarray  # (V,) float32 0..255, with the tongue in
    fading: np.ndarray | None = None  # (V,) float32: light that rounded lips take
    behind: int = 0  # level of gums or tongue where nothing else is
    teeth_touch: bool = True


class MouthModel:
    """Lips and interior of the mean face's mouth, and what moves them.

    Lips, P vertices: lips (P, 3) cm, lips_expressions (52, P, 3), lips_modes (100, P, 3); rings
    (R, 2, N) indices of vertices, upper and lower half.
    Interior, V vertices: inside (V, 3) cm, inside_moving (M,) the weights that move it,
    inside_expressions (M, V, 3), inside_modes (100, V, 3); faces (F, 3) indices of vertices, enamel
    (F,) bool; light (2, V) 0..255, with the tongue in and out.
    training/synthetic/facekit_mouth.py makes them.

    Its looks: `plain`, as in the rendered training pictures; `shaded`, as on photographs, where
    lips and cheeks throw their shadow on the teeth, and teeth touch; `lifelike`, of people: behind
    them is the inside of the cheeks, and not a hollow.
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        try:
            self.lips, lips_expressions, self.lips_modes, inside, moves, self.inside_modes = (
                np.asarray(arrays[name], np.float32)
                for name in ("lips", "lips_expressions", "lips_modes",
                             "inside", "inside_expressions", "inside_modes")
            )  # fmt: skip
            self.rings, self.moving, faces, enamel, light = (
                arrays[name] for name in ("rings", "inside_moving", "faces", "enamel", "light")
            )
        except KeyError as error:
            raise RealTalkError(
                f"the mouth's model lacks {error}: reinstall realtalk_ros"
            ) from error
        # x, y, z of the vertices, each in one piece
        self.lips_expressions = lips_expressions.swapaxes(1, 2).reshape(arkit.COUNT, -1)
        self.inside, self.inside_expressions = inside, moves
        self.tongue_light = light[1].astype(np.float32) - light[0]
        self._add_gum()
        self._find_looks(faces, enamel, light[0].astype(np.float32))
        # How the landmarks' residuals are interpolated to the vertices, see `Mouth`.
        self.interpolation = landmarks.interpolation_weights(self.lips, landmarks.LIPS)

    def _add_gum(self) -> None:
        """Adds the vertices of a strip of gum, which move with those that are nearest to them."""
        places, self._gum_faces = gum_line.strip()
        self._gum_faces += len(self.inside)
        like = [human_teeth.nearest(self.inside, place) for place in places]
        still = np.zeros((len(self.moving), *places.shape), np.float32)
        self.inside = np.concatenate([self.inside, places])
        self.inside_modes = np.concatenate([self.inside_modes, self.inside_modes[:, like]], 1)
        self.inside_expressions = np.concatenate([self.inside_expressions, still], 1)
        self.tongue_light = np.append(self.tongue_light, still[0, :, 0])

    def _find_looks(self, faces: np.ndarray, enamel: np.ndarray, light: np.ndarray) -> None:
        """By triangles (F, 3), which are enamel (F,), and lightness of all but the strip's."""
        light = np.append(light, np.repeat(gum_line.LIGHT, len(self.inside) - len(light)))
        moves, across = self.inside_expressions, self.inside[:, 0]
        jaw = np.abs(moves[list(self.moving).index(JAW_OPEN)]).max(-1) > 0.1  # cm
        moved = (np.abs(moves).max((0, 2)) > STILL) | (self.tongue_light != 0)
        teeth = np.zeros(len(light), bool)
        teeth[faces[enamel]] = True
        upper, lower = teeth & ~jaw, teeth & jaw
        self.outer_teeth = human_teeth.outer_surface(self.inside, upper)

        def shade(front: float) -> np.ndarray:
            on_upper = np.where(upper, np.exp(-np.square(across / UPPER_SHADE_WIDTH)), 1)
            on_lower = front * np.exp(-np.square(across / LOWER_SHADE_WIDTH))
            return np.where(lower, on_lower, on_upper).astype(np.float32)

        surfaces = split(faces, enamel, moved)
        self.plain = Look(*surfaces, self.inside, light, teeth_touch=False)
        self.shaded = Look(*surfaces, self.inside, light * shade(LOWER_TEETH))
        tongue = np.exp(-np.square(across / TONGUE_WIDTH)) * (light - CHEEKS) + CHEEKS
        levels = np.where(jaw & ~teeth, tongue, light * shade(LIFELIKE_LOWER_TEETH))
        levels = np.asarray(levels, np.float32)
        hidden = lower & (np.abs(across) - self.inside[:, 2] > BEHIND_CANINES)
        hidden |= upper & (self.inside[:, 1] > gum_line.ROOTS)
        gums = ~teeth & ~jaw
        gums[self._gum_faces] = False
        places = gum_line.raised(human_teeth.placed(self.inside, upper, lower, gums), gums)
        seen = ~hidden[faces].all(1)
        enamel = np.append(enamel[seen], [False] * len(self._gum_faces))
        faces = np.concatenate([faces[seen], self._gum_faces])
        self.lifelike = Look(*split(faces, enamel, moved), places, levels, levels * lower, CHEEKS)


def split(faces: np.ndarray, enamel: np.ndarray, moved: np.ndarray) -> tuple[Surface, Surface]:
    """Of triangles (F, 3), which of them are enamel (F,), and which vertices a weight moves (V,):
    those that none moves, and all others."""
    # A 16-bit pixel holds two channels: enamel in the low byte, gums, tongue in the high.
    channels = np.where(enamel, np.uint16(1), np.uint16(256))
    moves = moved[faces].any(1)
    skull, jaw = (Surface.of(faces[of], channels[of]) for of in (~moves, moves))
    return skull, jaw


@lru_cache(maxsize=1)
def load() -> MouthModel:
    """The model that comes with the package."""
    with np.load(FILE, allow_pickle=False) as data:
        return MouthModel({name: data[name] for name in data})


class Mouth:
    """One person's mouth, seen by the cameras of some templates.

    identity: (100,).
    residuals: (T, 68, 2), template landmarks minus their projections. The rings are moved by the
        residuals of the lips' landmarks.
    look: of `MouthModel`, by name.
    longer: cm by which the upper teeth reach farther down than the face model's.
    """

    def __init__(
        self,
        identity: np.ndarray,
        cameras: Cameras,
        residuals: np.ndarray,
        look: str = "plain",
        longer: float = 0.0,
    ):
        model = self._model = load()
        self._interior = Interior(identity, cameras, getattr(model, look), longer)
        self._cameras = cameras
        teeth = model.outer_teeth
        self._outer_teeth = model.inside[teeth] + np.tensordot(
            identity, model.inside_modes[:, teeth], 1
        ).astype(np.float32)
        self._outer_teeth[:, 1] -= longer
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
        image[mouth_crop(size)] = self._interior.teeth_mask(template, size)
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

    def _rings(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(2, R, 2, N), x and y in normalised coordinates."""
        movement = np.reshape(weights @ self._model.lips_expressions, (3, -1))
        projected = self._cameras.project_planes(self._lips + movement, template)[:2]
        return (projected + self._residuals[template]).take(self._model.rings, 1)

    def draw(self, weights: np.ndarray, template: int, image: np.ndarray) -> np.ndarray:
        """Draws the map, for weights (52,) over a template, into `image` (S, S, 3) uint8. Returns
        it."""
        size = len(image)
        image[:] = 0
        rings = self._rings(weights, template) * size - 0.5
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
        part[..., 1:] = self._interior.draw(weights, template, size, low, opened)
        part[opened == 0] = 0
        return image


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
        values, nearness = self._draw_skull(template, size)
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
            enamel = cv2.extractChannel(large.view(np.uint8).reshape(*large.shape, 2), 0)
            filled = cv2.LUT(cv2.morphologyEx(enamel, cv2.MORPH_CLOSE, TOOTH_GAP), GAP_LEVELS)
            np.copyto(large, filled, where=(large == self._behind) & (filled > 0))
        channels = large.view(np.uint8).reshape(*large.shape, 2)
        return cv2.resize(channels, (width, height), interpolation=cv2.INTER_AREA)

    def teeth_mask(self, template: int, size: int) -> np.ndarray:
        """(height, width) uint8 of the mouth crop: 255 where the upper teeth are."""
        values, _ = self._draw_skull(template, size)
        enamel = cv2.extractChannel(values.view(np.uint8).reshape(*values.shape, 2), 0)
        filled = cv2.morphologyEx(
            np.where(enamel > 0, 255, 0).astype(np.uint8), cv2.MORPH_CLOSE, TOOTH_GAP
        )
        side = len(values) // SUPERSAMPLING
        return cv2.resize(filled, (side, side), interpolation=cv2.INTER_AREA)

    def _draw_skull(self, template: int, size: int) -> tuple[np.ndarray, np.ndarray]:
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
