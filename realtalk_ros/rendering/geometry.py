"""What the 3D face prior tells the renderer: where the landmarks of a template frame lie, where the
weights move them, and what shows of the mouth's inside (mouth.py).

Every frame is seen by a camera of its own, fitted to its 68 landmarks and the person's 3D shape.
Places are shares of the face crop, (0, 0) its upper left corner, (1, 1) its lower right one.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.camera import Cameras
from realtalk_ros.rendering.eyes import Eyes, Seen, patches
from realtalk_ros.rendering.mouth import Mouth


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
    """Some template frames of one person.

    identity (100,); rest (T, 68, 2), the frames' landmarks; weights (T, 52) that they show, none if
    None; base (52,), what of the face model's weights this person's resting face shows, to which
    all others are added; shaded: see Mouth. What the landmarks are off by, beside what identity and
    camera say, they stay.
    """

    def __init__(
        self,
        identity: np.ndarray,
        rest: np.ndarray,
        weights: np.ndarray | None = None,
        base: np.ndarray | None = None,
        shaded: bool = False,
    ):
        self._model = landmarks.load()
        self._base = np.zeros(arkit.COUNT, np.float32) if base is None else np.float32(base)
        if weights is None:
            weights = np.zeros((len(rest), arkit.COUNT), np.float32)
        shapes = self._model.points(weights + self._base, identity)
        self.rest, self._cameras = rest, Cameras(rest, shapes)
        seen = [self._cameras.project(shape, t)[:, :2] for t, shape in enumerate(shapes)]
        self.fitted = np.stack(seen)  # (T, 68, 2), where the cameras see the landmarks
        self._off = np.float32(rest - self.fitted)
        self._neutral = self._model.points(self._base, identity)
        self._mouth = Mouth(identity, self._cameras, self._off, shaded)
        self._eyes = Eyes(identity, self._cameras, self._off)
        self.resting_eyes = [self.eyes(w, t) for t, w in enumerate(weights)]

    def points(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(68, 2): where the landmarks of a template come to lie by weights (52,)."""
        moved = self._neutral + self._model.move(weights)
        return self._cameras.project(moved, template)[:, :2] + self._off[template]

    def eyes(self, weights: np.ndarray, template: int) -> Seen:
        """The eyes by weights (52,) before a template's camera."""
        return self._eyes.seen(weights + self._base, template)

    def lay_eyes(
        self, weights: np.ndarray, template: int, places: np.ndarray, image: np.ndarray
    ) -> None:
        """Puts right, by weights (52,), where in a template the pixels of the picture to be lie,
        (S, S, 2) pixels: around the eyes they are eyes.py's. Draws the eyes into the map `inside`
        drew, too."""
        wanted = self.eyes(weights, template)
        for patch in patches(self.resting_eyes[template], wanted, len(places)):
            part = places[patch.rows, patch.columns]
            part += patch.share * (patch.places - part)
            image[patch.rows, patch.columns, 1:] = patch.shown

    def inside(self, weights: np.ndarray, template: int, image: np.ndarray) -> np.ndarray:
        """Draws mouth.py's map by weights (52,) over a template into `image` (S, S, 3) uint8;
        returns it."""
        return self._mouth.draw(weights + self._base, template, image)
