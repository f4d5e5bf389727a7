"""What the 3D face prior tells the renderer: where the landmarks of a template frame lie, and where
the weights move them (NumPy only).

Every frame is seen by an affine camera of its own, fitted to its 68 landmarks and the person's 3D
shape, so the movement is linear in the weights: two small products a frame. Places are shares of
the face crop, (0, 0) its upper left corner, (1, 1) its lower right one.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros import arkit, landmarks
from realtalk_ros.avatar import Avatar
from realtalk_ros.renderer.mouth import Mouth


def camera(points: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(..., 2, 3): the affine camera that shows a shape (..., 68, 3), cm, at `points` (..., 68, 2)
    with the least squared error; without its offset, as it is there to move points."""
    centred = shape - shape.mean(-2, keepdims=True)
    flat = points - points.mean(-2, keepdims=True)
    product = np.swapaxes(centred, -1, -2) @ centred + 1e-6 * np.eye(3)  # of a flat shape, too
    return np.swapaxes(np.linalg.solve(product, np.swapaxes(centred, -1, -2) @ flat), -1, -2)


def frontal(identity: np.ndarray) -> np.ndarray:
    """(68, 2): where a resting face that looks straight ahead lies in its own crop."""
    shape = landmarks.load().points(np.zeros(arkit.COUNT, np.float32), identity)
    x, y, side = landmarks.face_square(shape[:, :2])
    return (shape[:, :2] - (x, y)) / (side, -side) + 0.5


def resting(avatar: Avatar) -> np.ndarray:
    """(T, 68, 2) float32: the landmarks of an avatar's templates. One without `landmarks` is taken
    to look straight ahead, which the head's small idle motion keeps within 2 pixels or so of the
    truth."""
    x, y, side = avatar.crop
    if avatar.landmarks is None:
        rest = np.repeat(frontal(avatar.identity)[None], len(avatar.templates), 0)
    else:
        rest = (avatar.landmarks - (x, y)) / side
    return rest.astype(np.float32)


class Geometry:
    """An avatar's landmarks, where the weights move them, and its mouth."""

    def __init__(self, avatar: Avatar):
        self.rest = resting(avatar)
        self.mouth = Mouth(avatar.identity, self.rest)
        self._model = landmarks.load()
        shape = self._model.points(np.zeros(arkit.COUNT, np.float32), avatar.identity)
        shapes = np.broadcast_to(shape, (len(self.rest), *shape.shape))
        self._cameras = np.swapaxes(camera(self.rest, shapes), 1, 2).astype(np.float32)

    def points(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(68, 2): where the landmarks of a template come to lie by weights (52,)."""
        return self.rest[template] + self._model.move(weights) @ self._cameras[template]
