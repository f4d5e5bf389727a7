"""What the 3D face prior shows of the mouth's inside: a map that tells the renderer, pixel by
pixel, where the lips part and which teeth, gums and tongue show behind them (NumPy and OpenCV).

No picture of a closed mouth tells where its teeth are, the face model does: they follow from
identity, weights and camera. The map has three channels, uint8:

    0   how far the lips are open there (255: open)
    1   how light enamel looks there; 0 where there is none
    2   how light gums or tongue look

Lips are 7 rings of vertices of the face model from inside out: what lies above any ring's upper
half, or below its lower half, is covered, however the lips are pursed or pressed. The inside are
triangles with a lightness at each corner, see training/synthetic/mouth_model.py: the studio's,
which throws no shadow into the mouth. On a photo that looks painted, so `shaded` darkens what lips
and cheeks shade.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering import rasterizer
from realtalk_ros.rendering.camera import Cameras

FILE = Path(__file__).parents[1] / "data" / "mouth.npz"
LINE = 0.75  # pixels by which OpenCV draws a polygon with a smooth border too large
SHIFT = 4  # binary digits of a fraction of a pixel that are drawn
ABROAD = 512.0  # pixels that a lip's cover reaches beyond the mouth
FINE = 3  # the inside is drawn that much larger, for smooth borders
JAW_OPEN, TONGUE_OUT = arkit.INDEX["jawOpen"], arkit.INDEX["tongueOut"]
LOWER = 0.7  # how light teeth of the lower jaw are in the upper lip's shadow, by eye on two photos
CORNER = 2.2  # cm from the middle at which teeth are 1/e as light, by eye, too


class MouthModel:
    """The lips' vertices P and the inside's V, where M weights move them, see
    training/synthetic/mouth_model.py.

    lips (P, 3) cm, lips_expressions (52, P, 3), lips_modes (100, P, 3), rings (R, 2, N) rows of
    them; inside (V, 3), inside_expressions (M, V, 3), inside_moving (M,) numbers of weights,
    inside_modes (100, V, 3), faces (F, 3) rows of it, enamel (F,), light (2, V) 0..255 with the
    tongue in and out.
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
        self.codes = np.where(enamel, np.uint16(1), np.uint16(256))
        self.light, self.tongue_light = np.float32(light[0]), np.float32(light[1]) - light[0]
        teeth = np.zeros(len(inside), bool)
        teeth[faces[enamel]] = True
        of_jaw = np.abs(moves[list(self.moving).index(JAW_OPEN)]).max(-1) > 0.1  # cm
        shadow = np.where(of_jaw, LOWER, 1) * np.exp(-np.square(inside[:, 0] / CORNER))
        self.shadow = np.float32(np.where(teeth, shadow, 1))
        # By which lip landmarks a vertex is put right, see Mouth.
        self.righted = landmarks.shares(self.lips, landmarks.LIPS)


@lru_cache(maxsize=1)
def load() -> MouthModel:
    """The model that comes with the package."""
    with np.load(FILE, allow_pickle=False) as data:
        return MouthModel({name: data[name] for name in data})


class Mouth:
    """One person's mouth before the cameras of some templates.

    identity (100,); off (T, 68, 2), by how much the templates' landmarks lie beside what identity
    and camera say, in shares of the crop: where the lips' do, the rings follow; shaded: whether
    lips and cheeks throw their shadow on the teeth.
    """

    def __init__(
        self, identity: np.ndarray, cameras: Cameras, off: np.ndarray, shaded: bool = False
    ):
        model = self._model = load()
        self._light = model.light * model.shadow if shaded else model.light
        self._cameras = cameras
        self._lips = model.lips + np.float32(np.tensordot(identity, model.lips_modes, 1))
        self._inside = model.inside + np.float32(np.tensordot(identity, model.inside_modes, 1))
        self._off = model.righted @ np.float32(off[:, landmarks.LIPS])

    def _rings(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(R, 2, N, 2) in shares of the crop."""
        move = np.reshape(weights @ self._model.lips_expressions, (-1, 3))
        seen = self._cameras.project(self._lips + move, template)[:, :2] + self._off[template]
        return seen[self._model.rings]

    def draw(self, weights: np.ndarray, template: int, image: np.ndarray) -> np.ndarray:
        """Draws the map by weights (52,) over a template into `image` (S, S, 3) uint8; returns
        it."""
        size = len(image)
        image[:] = 0
        rings = self._rings(weights, template) * size - 0.5
        low = np.clip(np.floor(rings.min((0, 1, 2))) - 2, 0, size).astype(int)
        high = np.clip(np.ceil(rings.max((0, 1, 2))) + 3, 0, size).astype(int)
        if not (high > low).all():  # nothing shows beyond the lips
            return image
        opened = np.full(high[::-1] - low[::-1], 255, np.uint8)
        for cover in drawable(covers(rings - low)):
            cv2.fillPoly(opened, [cover], 0, cv2.LINE_AA, SHIFT)
        x, y, width, height = cv2.boundingRect(opened)
        if not width:
            return image
        opened, low = opened[y : y + height, x : x + width], low + (x, y)
        part = image[low[1] : low[1] + height, low[0] : low[0] + width]
        part[..., 0] = opened
        part[..., 1:] = self._behind(weights, template, low, size, (width, height))
        part[opened == 0] = 0
        return image

    def _behind(
        self, weights: np.ndarray, template: int, low: np.ndarray, size: int, box: tuple[int, int]
    ) -> np.ndarray:
        """(height, width, 2) uint8: enamel and flesh behind a box of the map, lips or no lips."""
        model = self._model
        move = np.reshape(weights[model.moving] @ model.inside_expressions, (-1, 3))
        points = self._cameras.project(self._inside + move, template)
        points[:, :2] = (points[:, :2] * size - low) * FINE - 0.5
        light = self._light + weights[TONGUE_OUT] * model.tongue_light
        fine = np.zeros((box[1] * FINE, box[0] * FINE), np.uint16)
        rasterizer.draw(points, model.faces, light, model.codes, fine)
        both = fine.view(np.uint8).reshape(*fine.shape, 2)
        return cv2.resize(both, box, interpolation=cv2.INTER_AREA)


def covers(rings: np.ndarray) -> np.ndarray:
    """Polygons (2 R, N + 4, 2) of what the lips cover, of rings (R, 2, N, 2), in pixels, from the
    person's right corner to the left one, upper and lower half."""
    across = rings[..., -1, :] - rings[..., 0, :]  # (R, 2, 2)
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6) * ABROAD
    down = np.stack([-across[..., 1], across[..., 0]], -1) * np.array([-1, 1])[:, None]
    rings = rings + (LINE / ABROAD) * down[..., None, :]
    first, last = rings[..., 0, :] - across, rings[..., -1, :] + across
    ends = np.stack([last, last + down, first + down, first], -2)  # (R, 2, 4, 2)
    return np.concatenate([rings, ends], -2).reshape(-1, rings.shape[2] + 4, 2)


def drawable(points: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's integers with SHIFT binary digits."""
    return np.rint(points * 2**SHIFT).astype(np.int32)
