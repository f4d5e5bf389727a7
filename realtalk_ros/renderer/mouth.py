"""What the 3D face prior shows of the mouth's inside: a map that tells the renderer, pixel by
pixel, where the lips part and where teeth, gums and tongue lie behind them (NumPy and OpenCV).

No picture of a closed mouth tells where its teeth are, the face model does: they follow from
identity, weights and camera. The map has three channels, uint8:

    0   how far the lips are open there (255: open)
    1   teeth, 255 at the incisors and less where they lie deeper
    2   tongue 200, less towards its root, gums 120, palate 60

Lips are 7 rings of vertices of the face model from inside out: what lies above any ring's upper
half, or below its lower half, is covered, however the lips are pursed or pressed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros import arkit, landmarks
from realtalk_ros.errors import RealTalkError

FILE = Path(__file__).parents[1] / "data" / "mouth.npz"
ARRAYS = ("mean", "expressions", "identity_modes", "rings", "teeth", "depth", "flesh", "flesh_of")
FLESH = (60, 120, 120, 110, 150, 200)  # palate, upper and lower gums, tongue from root to tip
LINE = 0.75  # pixels by which OpenCV draws a polygon with a smooth border too large
SHIFT = 4  # binary digits of a fraction of a pixel that are drawn
ABROAD = 512.0  # pixels that a lip's cover reaches beyond the mouth
# How much a landmark counts for the camera at the mouth: lips, nose and chin, all others.
NEAR, NOSE_AND_CHIN, ELSEWHERE = 1.0, 0.1, 0.005
BESIDE = np.array([0.8, 1.0])  # the light part of a tooth, across and down
FADE = 0.42 * 0.8  # a centimetre, as the studio's teeth darken


class MouthModel:
    """P vertices: mean (P, 3) cm, expressions (52, P, 3), identity_modes (100, P, 3); rings
    (R, 2, N) and teeth (T, M), rows of them; depth (T,) cm behind the incisors; flesh, rows, and
    flesh_of which of FLESH each belongs to."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        try:
            self.mean, self.expressions, self.identity_modes = (
                np.asarray(arrays[name], np.float32) for name in ARRAYS[:3]
            )
            self.rings, self.teeth, self.depth, self.flesh, flesh_of = (
                arrays[name] for name in ARRAYS[3:]
            )
        except KeyError as error:
            raise RealTalkError(
                f"the mouth's model lacks {error}: reinstall realtalk_ros"
            ) from error
        self.flesh = [self.flesh[flesh_of == kind] for kind in range(len(FLESH))]
        bright = np.rint(255 * np.exp(-FADE * np.maximum(self.depth - 0.3, 0)))
        self.bright = [int(value) for value in bright]
        # By which lip landmarks a ring's vertex is put right, see Mouth.
        lips = landmarks.load().mean[landmarks.LIPS]
        flat = self.rings.ravel()
        away = np.linalg.norm(self.mean[flat][:, None] - lips[None], axis=-1)
        near = np.exp(-0.5 * (away / 0.5) ** 2) + 1e-9
        self.ring_rows, self.righted = flat, near / near.sum(1, keepdims=True)


@lru_cache(maxsize=1)
def load() -> MouthModel:
    """The model that comes with the package."""
    with np.load(FILE, allow_pickle=False) as data:
        return MouthModel({name: data[name] for name in data})


def _importance() -> np.ndarray:
    importance = np.full(landmarks.COUNT, ELSEWHERE)
    importance[landmarks.LIPS] = NEAR
    importance[[6, 7, 8, 9, 10, 31, 32, 33, 34, 35]] = NOSE_AND_CHIN
    return importance


def cameras(points: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Affine cameras (..., 2, 3) and offsets (..., 2) that see shapes (..., 68, 3), cm, at `points`
    (..., 68, 2) with the least squared error about the mouth."""
    weight = _importance()[:, None]
    share = weight / weight.sum()
    centre, middle = (shapes * share).sum(-2), (points * share).sum(-2)
    centred = shapes - centre[..., None, :]
    product = np.swapaxes(weight * centred, -1, -2) @ centred + 1e-6 * np.eye(3)
    flat = points - middle[..., None, :]
    found = np.linalg.solve(product, np.swapaxes(weight * centred, -1, -2) @ flat)
    camera = np.swapaxes(found, -1, -2)
    return camera, middle - (camera @ centre[..., None])[..., 0]


class Mouth:
    """One person's mouth as some template frames see it.

    rest (T, 68, 2): their landmarks in shares of the crop; weights (T, 52) that they show, at rest
    if None. Where the lips' landmarks lie beside what identity and camera say, the rings follow.
    """

    def __init__(self, identity: np.ndarray, rest: np.ndarray, weights: np.ndarray | None = None):
        self._model, face = load(), landmarks.load()
        if weights is None:
            weights = np.zeros((len(rest), arkit.COUNT), np.float32)
        shapes = face.points(weights, identity)
        self._cameras, offsets = cameras(rest, shapes)
        seen = shapes @ np.swapaxes(self._cameras, -1, -2) + offsets[:, None]
        wrong = (rest - seen)[:, landmarks.LIPS]
        model = self._model
        neutral = model.mean + np.tensordot(identity, model.identity_modes, 1)
        self._rest = neutral @ np.swapaxes(self._cameras, -1, -2) + offsets[:, None]
        self._rest[:, model.ring_rows] += model.righted @ wrong

    def points(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(P, 2): the model's vertices in shares of the crop."""
        move = (weights @ self._model.expressions.reshape(arkit.COUNT, -1)).reshape(-1, 3)
        return self._rest[template] + move @ self._cameras[template].T

    def draw(self, weights: np.ndarray, template: int, image: np.ndarray) -> np.ndarray:
        """Draws the map by weights (52,) over a template into `image` (S, S, 3) uint8; returns
        it."""
        size = len(image)
        image[:] = 0
        model, points = self._model, self.points(weights, template) * size - 0.5
        rings = points[model.rings]  # (R, 2, N, 2)
        low = np.clip(np.floor(rings.min((0, 1, 2))) - 2, 0, size).astype(int)
        high = np.clip(np.ceil(rings.max((0, 1, 2))) + 3, 0, size).astype(int)
        part = image[low[1] : high[1], low[0] : high[0]]  # nothing shows beyond the lips
        if not part.size:
            return image
        opened = np.full(part.shape[:2], 255, np.uint8)
        for cover in drawable(covers(rings - low)):
            _fill(opened, cover, 0)
        if not opened.any():
            return image
        points = points - low
        for rows, value in zip(model.flesh, FLESH, strict=True):
            _fill(part, cv2.convexHull(drawable(points[rows])), (0, 0, value))
        teeth = points[model.teeth]
        middles = teeth.mean(1, keepdims=True)
        light = drawable(middles + BESIDE * (teeth - middles))
        for tooth, inner, bright in zip(drawable(teeth), light, model.bright, strict=True):
            _fill(part, cv2.convexHull(tooth), (0, bright // 2, 0))
            _fill(part, cv2.convexHull(inner), (0, bright, 0))
        part[..., 0] = 255
        part[:] = cv2.multiply(part, cv2.cvtColor(opened, cv2.COLOR_GRAY2BGR), scale=1 / 255)
        return image


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


def _fill(image: np.ndarray, polygon: np.ndarray, colour: int | tuple[int, int, int]) -> None:
    cv2.fillPoly(image, [polygon], colour, cv2.LINE_AA, SHIFT)
