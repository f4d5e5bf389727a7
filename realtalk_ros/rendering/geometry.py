# SPDX-License-Identifier: Apache-2.0
"""What the 3D face model predicts of a picture: where the weights move a template's landmarks, the
eyes (eyes.py) and what is visible of the mouth's interior (mouth.py).

Every template has a camera of its own, fitted to its 68 landmarks and the person's 3D shape.
Coordinates are normalised: (0, 0) is the upper left corner of the face crop, (1, 1) the lower right
one.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.camera import Cameras
from realtalk_ros.rendering.eyes import EyePatch, Eyes, eye_patches
from realtalk_ros.rendering.mouth import Mouth
from realtalk_ros.rendering.moved_eye import ProjectedEyes

STILL = 0.05  # pixels of the crop: eyes that moved by less since they were drawn are not drawn anew


def frontal_landmarks(identity: np.ndarray) -> np.ndarray:
    """(68, 2): the landmarks of a resting face that looks straight ahead, in its own crop."""
    shape = landmarks.load().points(np.zeros(arkit.COUNT, np.float32), identity)
    x, y, side = landmarks.face_square(shape[:, :2])
    return (shape[:, :2] - (x, y)) / (side, -side) + 0.5


def template_landmarks(avatar: Avatar) -> np.ndarray:
    """(T, 68, 2) float32: the landmarks of an avatar's templates.

    An avatar without `landmarks` is taken to look straight ahead. The head's small idle motion
    keeps that within 2 pixels or so of the truth.
    """
    x, y, side = avatar.crop
    if avatar.landmarks is None:
        found = np.repeat(frontal_landmarks(avatar.identity)[None], len(avatar.templates), 0)
    else:
        found = (avatar.landmarks - (x, y)) / side
    return found.astype(np.float32)


class WarpedEyes(NamedTuple):
    """What `Geometry.warp_eyes` makes, beside what it changes."""

    shown_grid: np.ndarray  # (2, S, S): of what is shown, in which all above a closing lid stays
    lids: np.ndarray | None  # (S, S, 2) uint8: `ClosingLid.layers`; None where nothing is painted
    rows: slice  # those of the sampling grid that it changed


class Geometry:
    """One person in some template images.

    identity: (100,).
    template_landmarks: (T, 68, 2), of the templates. Where they differ from what identity and
        camera predict, the difference (the residual) is added to every prediction.
    template_weights: (T, 52), the expressions of the templates; None if they are at rest.
    resting_weights: (52,), the weights of the face model at which this person is at rest; all other
        weights are added to them.
    look, longer: of the mouth's inside and the upper teeth, see `Mouth`.
    """

    def __init__(
        self,
        identity: np.ndarray,
        template_landmarks: np.ndarray,
        template_weights: np.ndarray | None = None,
        resting_weights: np.ndarray | None = None,
        look: str = "plain",
        longer: float = 0.0,
    ):
        self._model = landmarks.load()
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
        self._last_eyes: tuple[int, int, ProjectedEyes, list[EyePatch]] | None = None
        self.template_eyes = [self.project_eyes(w, t) for t, w in enumerate(template_weights)]

    def target_landmarks(self, weights: np.ndarray, template: int) -> np.ndarray:
        """(68, 2): where weights (52,) move the landmarks of a template."""
        moved = self._neutral + self._model.move(weights)
        return self._cameras.project(moved, template)[:, :2] + self._residuals[template]

    def project_eyes(self, weights: np.ndarray, template: int) -> ProjectedEyes:
        """The eyes at weights (52,), seen by a template's camera."""
        return self._eyes.project(weights + self._resting_weights, template)

    def warp_eyes(
        self,
        weights: np.ndarray,
        template: int,
        sampling_grid: np.ndarray,
        mouth_interior: np.ndarray,
    ) -> WarpedEyes:
        """Corrects, around the eyes, where in the template the pixels of the picture lie:
        `sampling_grid` (2, S, S), x and y, for weights (52,). Also draws the eyes into the map
        `mouth_interior` (S, S, 3) uint8. Both are changed in place."""
        size = len(mouth_interior)
        patches = self._eye_patches(weights, template, size)
        painted = any(p.closing and p.closing.layers is not None for p in patches)
        shown_grid = sampling_grid.copy()
        layers = np.zeros((size, size, 2), np.uint8) if painted else None
        for patch in patches:
            place = patch.rows, patch.columns
            seen, shown = (g[:, patch.rows, patch.columns] for g in (sampling_grid, shown_grid))
            change(seen, patch.sampling_grid, patch.blend)
            # OpenCV copies channels in a quarter of NumPy's time.
            cv2.mixChannels([patch.visibility], [mouth_interior[place]], [0, 1, 1, 2])
            if patch.closing is None:
                shown[:] = seen
                continue
            change(shown, patch.closing.sampling_grid, patch.closing.blend)
            if layers is not None and patch.closing.layers is not None:
                layers[place] = np.maximum(layers[place], patch.closing.layers)
        rows = [patch.rows for patch in patches]
        first, end = min((r.start for r in rows), default=0), max((r.stop for r in rows), default=0)
        return WarpedEyes(shown_grid, layers, slice(first, end))

    def _eye_patches(self, weights: np.ndarray, template: int, size: int) -> list[EyePatch]:
        """The last ones, which took a millisecond each, where the eyes have hardly moved since."""
        target, last = self.project_eyes(weights, template), self._last_eyes
        if last is not None and last[:2] == (template, size):
            movement = max(
                cv2.norm(now.ravel(), before.ravel(), cv2.NORM_INF)
                for now, before in ((target.lids, last[2].lids), (target.irises, last[2].irises))
            )
            if movement * size < STILL:
                return last[3]
        patches = eye_patches(self.template_eyes[template], target, size)
        self._last_eyes = template, size, target, patches
        return patches

    def draw_mouth(
        self, weights: np.ndarray, template: int, mouth_interior: np.ndarray
    ) -> np.ndarray:
        """Draws mouth.py's map, for weights (52,) over a template, into `mouth_interior`
        (S, S, 3) uint8. Returns it."""
        return self.mouth.draw(weights + self._resting_weights, template, mouth_interior)


def reference_geometry(avatar: Avatar, look: str = "plain") -> Geometry | None:
    """That of an avatar's references, as templates that show their weights; None where their
    landmarks are unknown."""
    if avatar.reference_landmarks is None or avatar.reference_weights is None:
        return None
    landmarks = avatar.reference_landmarks / CROP_SIZE
    return Geometry(
        avatar.identity, landmarks, avatar.reference_weights, avatar.resting_weights, look
    )


def change(grid: np.ndarray, wanted: np.ndarray, weight: np.ndarray) -> None:
    """Moves a sampling grid (2, H, W) in place towards the one `wanted`, by `weight` (H, W)."""
    grid += weight * (wanted - grid)
