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
that looks painted, so `shaded` darkens what lips and cheeks shade.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.contracts import mouth_crop
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering import rasterizer
from realtalk_ros.rendering.camera import Cameras

FILE = Path(__file__).parents[1] / "data" / "mouth.npz"
OUTLINE = 0.75  # pixels by which OpenCV draws an antialiased polygon too large
FRACTION_BITS = 4  # of the pixel coordinates that OpenCV draws
FAR = 512.0  # pixels by which the cover of a lip reaches beyond the mouth
EDGE = 4 / 256  # share of the picture, within the mouth crop's border: beyond it no mouth opens
SUPERSAMPLING = 3  # of the interior, for smooth borders
# The face model's teeth stand apart; people's touch. The widest gap that is filled, in supersampled
# pixels, and its light, a share of that of the teeth.
TOOTH_GAP, GAP_LIGHT = np.ones((1, 9), np.uint8), 0.55
JAW_OPEN, TONGUE_OUT = arkit.INDEX["jawOpen"], arkit.INDEX["tongueOut"]
# Shading: of the lower teeth, in the upper lip's shadow, set by eye on two photos; and the distance
# from the middle (cm) at which teeth are 1/e as light, measured on the upper teeth of 46 people
# (those of enamel_colour.py). The cheeks and the lower lip hide the lower molars: set by eye on
# four portraits that look to a side.
LOWER_TEETH, UPPER_SHADE_WIDTH, LOWER_SHADE_WIDTH = 0.7, 3.6, 1.6


class MouthModel:
    """Lips and interior of the mean face's mouth, and what moves them.

    Lips, P vertices: lips (P, 3) cm, lips_expressions (52, P, 3), lips_modes (100, P, 3); rings
    (R, 2, N) indices of vertices, upper and lower half.
    Interior, V vertices: inside (V, 3) cm, inside_moving (M,) the weights that move it,
    inside_expressions (M, V, 3), inside_modes (100, V, 3); faces (F, 3) indices of vertices, enamel
    (F,) bool; light (2, V) 0..255, with the tongue in and out.
    training/synthetic/facekit_mouth.py makes them.
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
        self.lips_expressions = lips_expressions.reshape(arkit.COUNT, -1)
        self.inside, self.inside_expressions = inside, moves.reshape(len(moves), -1)
        self.faces = np.ascontiguousarray(faces.T, np.int32)
        # A 16-bit pixel holds two channels: enamel in the low byte, gums and tongue in the high.
        self.channels = np.where(enamel, np.uint16(1), np.uint16(256))
        self.light = light[0].astype(np.float32)
        self.tongue_light = light[1].astype(np.float32) - light[0]
        teeth = np.zeros(len(inside), bool)
        teeth[faces[enamel]] = True
        moved_by_jaw = np.abs(moves[list(self.moving).index(JAW_OPEN)]).max(-1) > 0.1  # cm
        width = np.where(moved_by_jaw, LOWER_SHADE_WIDTH, UPPER_SHADE_WIDTH)
        shade = np.where(moved_by_jaw, LOWER_TEETH, 1) * np.exp(-np.square(inside[:, 0] / width))
        self.shade = np.where(teeth, shade, 1).astype(np.float32)
        # How the landmarks' residuals are interpolated to the vertices, see `Mouth`.
        self.interpolation = landmarks.interpolation_weights(self.lips, landmarks.LIPS)


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
    shaded: as on photographs: lips and cheeks throw their shadow on the teeth, and teeth touch.
        Not so in the rendered training pictures.
    """

    def __init__(
        self, identity: np.ndarray, cameras: Cameras, residuals: np.ndarray, shaded: bool = False
    ):
        model = self._model = load()
        self._light = model.light * model.shade if shaded else model.light
        self._teeth_touch = shaded
        self._cameras = cameras
        self._lips = model.lips + np.tensordot(identity, model.lips_modes, 1).astype(np.float32)
        inside = np.tensordot(identity, model.inside_modes, 1).astype(np.float32)
        self._inside = model.inside + inside
        lips = residuals[:, landmarks.LIPS].astype(np.float32)
        self._residuals = model.interpolation @ lips

    def _rings(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(R, 2, N, 2) in normalised coordinates."""
        movement = np.reshape(weights @ self._model.lips_expressions, (-1, 3))
        projected = self._cameras.project(self._lips + movement, template)[:, :2]
        return (projected + self._residuals[template])[self._model.rings]

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
        low = np.clip(np.floor(rings.min((0, 1, 2))) - 2, first, end).astype(int)
        high = np.clip(np.ceil(rings.max((0, 1, 2))) + 3, first, end).astype(int)
        if not (high > low).all():  # the mouth is outside what is drawn
            return image
        opened = np.full(high[::-1] - low[::-1], 255, np.uint8)
        for polygon in fixed_point(lip_polygons(rings - low)):
            cv2.fillPoly(opened, [polygon], (0,), cv2.LINE_AA, FRACTION_BITS)
        x, y, width, height = cv2.boundingRect(opened)
        if not width:
            return image
        opened, low = opened[y : y + height, x : x + width], low + (x, y)
        part = image[low[1] : low[1] + height, low[0] : low[0] + width]
        part[..., 0] = opened
        part[..., 1:] = self._interior(weights, template, low, size, (width, height))
        part[opened == 0] = 0
        return image

    def _interior(
        self, weights: np.ndarray, template: int, low: np.ndarray, size: int, box: tuple[int, int]
    ) -> np.ndarray:
        """(height, width, 2) uint8: enamel and flesh in the `box` (width, height) that begins at
        `low` of a map of `size` pixels, as if there were no lips."""
        model = self._model
        movement = np.reshape(weights[model.moving] @ model.inside_expressions, (-1, 3))
        points = self._cameras.project(self._inside + movement, template)
        points[:, :2] = (points[:, :2] * size - low) * SUPERSAMPLING - 0.5
        light = self._light + weights[TONGUE_OUT] * model.tongue_light
        width, height = box
        large = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint16)
        rasterizer.draw(points, model.faces, light, model.channels, large)
        channels = large.view(np.uint8).reshape(*large.shape, 2)
        if self._teeth_touch:
            enamel = cv2.extractChannel(channels, 0)
            filled = cv2.morphologyEx(enamel, cv2.MORPH_CLOSE, TOOTH_GAP) * np.float32(GAP_LIGHT)
            channels[..., 0] = np.where(large == 0, filled, enamel)
        return cv2.resize(channels, box, interpolation=cv2.INTER_AREA)


def lip_polygons(rings: np.ndarray) -> np.ndarray:
    """(2 R, N + 4, 2): the polygons that upper and lower lip cover, for rings (R, 2, N, 2) in
    pixels, from the person's right corner of the mouth to the left one."""
    across = rings[..., -1, :] - rings[..., 0, :]  # (R, 2, 2)
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6) * FAR
    away = np.stack([-across[..., 1], across[..., 0]], -1) * np.array([-1, 1])[:, None]
    rings = rings + (OUTLINE / FAR) * away[..., None, :]
    first, last = rings[..., 0, :] - across, rings[..., -1, :] + across
    ends = np.stack([last, last + away, first + away, first], -2)  # (R, 2, 4, 2)
    return np.concatenate([rings, ends], -2).reshape(-1, rings.shape[2] + 4, 2)


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Pixel coordinates as OpenCV's integers with FRACTION_BITS binary digits of fraction."""
    return np.rint(points * 2**FRACTION_BITS).astype(np.int32)
