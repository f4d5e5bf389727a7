# SPDX-License-Identifier: Apache-2.0
"""What the 3D face model predicts of a picture: where the weights move a template's landmarks, the
eyes (eyes.py) and what is visible of the mouth's interior (mouth.py).

Every template has a camera of its own, fitted to its 68 landmarks and the person's 3D shape.
Coordinates are normalised: (0, 0) is the upper left corner of the face crop, (1, 1) the lower right
one.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.common.camera import Cameras
from realtalk_ros.rendering.eyes.eyes import EyePatch, Eyes, eye_patches
from realtalk_ros.rendering.eyes.moved_eye import ProjectedEyes
from realtalk_ros.rendering.mouth import puckered_mouth
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening, width_at_rest
from realtalk_ros.rendering.mouth.mouth import Mouth
from realtalk_ros.rendering.mouth.mouth_model import LookName

# Pixels of the crop. Eyes that moved by less since they were drawn are not drawn anew. Lids that
# moved by less are drawn while the network runs, which knows them as they were: it draws the same,
# but for a grey level in up to 24 pixels, and up to 4 in one (by OpenCV's version).
STILL, SLIGHT = 0.05, 1.5


class FrameEyes:
    """The eyes of a frame, `moved` from where a template has them (`resting`), in a picture of
    `size` x `size` pixels. They are drawn when their patches are first asked for."""

    def __init__(self, template: int, resting: ProjectedEyes, moved: ProjectedEyes, size: int):
        self.template, self.size = template, size
        self._resting, self._moved = resting, moved

    @cached_property
    def patches(self) -> list[EyePatch]:
        return eye_patches(self._resting, self._moved, self.size)

    def distances(self, eyes: ProjectedEyes) -> tuple[float, float]:
        """How far lids and irises are from those of `eyes`, pixels."""
        lids, irises = (
            cv2.norm(now.ravel(), before.ravel(), cv2.NORM_INF) * self.size
            for now, before in ((eyes.lids, self._moved.lids), (eyes.irises, self._moved.irises))
        )
        return lids, irises


class Geometry:
    """One person in some template images.

    identity: (100,).
    template_landmarks: (T, 68, 2), of the templates. Where they differ from what identity and
        camera predict, the difference (the residual) is added to every prediction.
    template_weights: (T, 52), the expressions of the templates; None if they are at rest.
    resting_weights: (52,), the weights of the face model at which this person is at rest; all other
        weights are added to them.
    look, longer: of the mouth's inside and the upper teeth, see `Mouth`.
    as_people: whether this is a person, and no drawing or machine: a puckered mouth goes down as
        people's do (mouth/puckered_mouth.py), and not as the face model's.
    """

    def __init__(
        self,
        identity: np.ndarray,
        template_landmarks: np.ndarray,
        template_weights: np.ndarray | None = None,
        resting_weights: np.ndarray | None = None,
        look: LookName = "plain",
        longer: float = 0.0,
        *,
        as_people: bool = False,
    ):
        self._model = landmarks.load()
        self.as_people = as_people
        if resting_weights is None:
            resting_weights = np.zeros(arkit.COUNT)
        self._resting_weights = resting_weights.astype(np.float32)
        if template_weights is None:
            template_weights = np.zeros((len(template_landmarks), arkit.COUNT), np.float32)
        shapes = self._model.points(template_weights + self._resting_weights, identity)
        self.template_landmarks = template_landmarks
        self._cameras = Cameras(template_landmarks, shapes)
        projected = [self._cameras.project(shape, t)[:, :2] for t, shape in enumerate(shapes)]
        self.projected_landmarks = np.stack(projected)  # (T, 68, 2), by identity and camera alone
        self._residuals = (template_landmarks - self.projected_landmarks).astype(np.float32)
        self._neutral = self._model.points(self._resting_weights, identity)
        self.mouth = Mouth(identity, self._cameras, self._residuals, look, longer)
        self._eyes = Eyes(identity, self._cameras, self._residuals, self._resting_weights)
        self._template_weights, self._looked_at = template_weights, set[int]()
        self._last_eyes: FrameEyes | None = None
        rest = arkit.weights()
        at_rest = [self.target_landmarks(rest, t) for t in range(len(template_landmarks))]
        self._widths_at_rest = [width_at_rest(points) for points in at_rest]
        self.template_eyes = [self.project_eyes(w, t) for t, w in enumerate(template_weights)]

    def target_landmarks(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(68, 2): where weights (52,) move the landmarks of a template."""
        moved = self._neutral + self._model.move(weights)
        if self.as_people:
            moved[:, 1] -= puckered_mouth.lowered(weights) * puckered_mouth.SHARE
        return self._cameras.project(moved, template)[:, :2] + self._residuals[template]

    def look_at(self, template: int, picture: np.ndarray) -> None:
        """Finds the irises in a template's crop (S, S, 4) uint8 BGR, the first time."""
        if template not in self._looked_at:
            self._looked_at.add(template)
            self._eyes.look_at(template, picture, self.template_eyes[template])
            weights = self._template_weights[template]
            self.template_eyes[template] = self.project_eyes(weights, template)

    def mouth_opening(self, points: np.ndarray, template: int) -> MouthOpening:
        """How far the mouth is open where landmarks of a template are at `points` (68, 2)."""
        return MouthOpening.of(points, self._widths_at_rest[template])

    def lower_teeth(self, weights: np.ndarray, template: int) -> np.ndarray:
        """As of `Mouth.lower_teeth`, at weights (52,) over a template."""
        return self.mouth.lower_teeth(weights + self._resting_weights, template)

    def project_eyes(self, weights: np.ndarray, template: int) -> ProjectedEyes:
        """The eyes at weights (52,), seen by a template's camera."""
        return self._eyes.project(weights + self._resting_weights, template)

    def eyes(
        self, weights: np.ndarray, template: int, size: int
    ) -> tuple[FrameEyes, list[EyePatch]]:
        """The eyes at weights (52,) over a template; and their patches as the network is to know
        them, perhaps those of the frame before."""
        moved, last = self.project_eyes(weights, template), self._last_eyes
        eyes = FrameEyes(template, self.template_eyes[template], moved, size)
        if last is None or (last.template, last.size) != (template, size):
            self._last_eyes = eyes
            return eyes, eyes.patches
        lids, irises = last.distances(moved)
        if max(lids, irises) < STILL:
            return last, last.patches
        self._last_eyes = eyes
        return eyes, last.patches if lids < SLIGHT else eyes.patches

    def draw_mouth(
        self, weights: np.ndarray, template: int, mouth_interior: np.ndarray
    ) -> np.ndarray:
        """Draws mouth.py's map, for weights (52,) over a template, into `mouth_interior`
        (S, S, 3) uint8. Returns it."""
        lower = puckered_mouth.lowered(weights) if self.as_people else 0.0
        return self.mouth.draw(weights + self._resting_weights, template, mouth_interior, lower)


def reference_geometry(avatar: Avatar, look: LookName = "plain") -> Geometry | None:
    """That of an avatar's references, as templates that show their weights; None where their
    landmarks are unknown."""
    if avatar.reference_landmarks is None or avatar.reference_weights is None:
        return None
    landmarks = avatar.reference_landmarks / CROP_SIZE
    return Geometry(
        avatar.identity, landmarks, avatar.reference_weights, avatar.resting_weights, look
    )
