# SPDX-License-Identifier: Apache-2.0
"""How deep the pixels of an avatar's head lie in space, by the 3D face model's coarse head.

The model (data/head.npz) is the skin of face, skull and neck. A template's camera (camera.py) sees
it; hair, ears that stand off and shoulders, which it lacks, get the depth of its nearest parts.
Lengths in space are centimetres; grids have `shape` (rows, columns) cells over the whole template.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import bundled_arrays, landmarks
from realtalk_ros.rendering.common import rasterizer
from realtalk_ros.rendering.common.camera import Cameras
from realtalk_ros.rendering.common.extrapolation import extrapolated
from realtalk_ros.rendering.common.template_landmarks import template_landmarks

# cm, standard deviation of the filter of depths: the slopes beside the nose and below the chin
# would else fold the picture.
SMOOTH = 0.45
# cm, standard deviations of the filters that carry depth out of the head, wide to narrow
REACHES = (14.0, 7.0, 3.5, 1.75, 0.9)


class HeadModel:
    """mean (P, 3) and modes (100, P, 3), cm; triangles (3, F) int32, counter-clockwise from
    outside. training/synthetic/facekit_head.py makes them. Raises RealTalkError."""

    def __init__(self) -> None:
        mean, modes, triangles = bundled_arrays.read("head", ("mean", "modes", "triangles"))
        self.mean, self.modes = np.asarray(mean, np.float32), np.asarray(modes, np.float32)
        self.triangles = np.ascontiguousarray(triangles.T, np.int32)


@lru_cache(maxsize=1)
def load() -> HeadModel:
    """The model that comes with the package. Raises RealTalkError for a damaged file."""
    return HeadModel()


class HeadDepth:
    """One avatar's head before the cameras of its templates."""

    def __init__(self, avatar: Avatar):
        model = load()
        shape = landmarks.load().points(avatar.resting_weights, avatar.identity)
        found = template_landmarks(avatar)
        self.size, self._crop = avatar.size, avatar.crop
        self.cameras = Cameras(found, np.repeat(shape[None], len(found), 0))
        self.chin = float(shape[landmarks.CHIN, 1])  # cm, of the model's y
        self._vertices = model.mean + np.tensordot(avatar.identity, model.modes, 1)
        self._triangles = model.triangles
        # One centimetre at the face, in pixels of the template.
        self.pixels_per_cm = float(self.cameras.scale.mean()) * avatar.crop[2]

    def project(self, points: np.ndarray, template: int, shape: tuple[int, int]) -> np.ndarray:
        """Points of space (..., 3) in the head's frame -> (..., 3) float32: column and row in a
        grid of `shape`, integers at the cells' centres, and nearness, cm from the face's centre."""
        x, y, side = self._crop
        seen = self.cameras.project(points, template)
        for axis, (begin, length, count) in enumerate(
            ((x, self.size[0], shape[1]), (y, self.size[1], shape[0]))
        ):
            seen[..., axis] = (begin + side * seen[..., axis]) * (count / length) - 0.5
        return seen

    def visible(self, template: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The head's model as a template shows it: nearness, cm, and where it is, bool; both of
        `shape`."""
        points = self.project(self._vertices, template, shape).astype(np.float32)
        nearness = np.full(shape, np.nan, np.float32)
        factors = np.ones(self._triangles.shape[1], np.float32)
        rasterizer.draw(points, self._triangles, points[:, 2], factors, nearness)
        inside = np.isfinite(nearness)
        return np.where(inside, nearness, 0), inside

    def nearness(self, template: int, shape: tuple[int, int]) -> np.ndarray:
        """float32 of `shape`, cm from the face's centre towards the camera: smooth, and without a
        border where the head ends."""
        seen, inside = self.visible(template, shape)
        cells = self.pixels_per_cm * shape[0] / self.size[1]  # of a centimetre
        out = extrapolated(seen, inside, [reach * cells for reach in REACHES])
        out = np.where(inside, seen, out)
        return cv2.GaussianBlur(out, (0, 0), SMOOTH * cells)

    def in_space(self, template: int, nearness: np.ndarray) -> np.ndarray:
        """(rows, columns, 3) float32: the points, in the head's frame, of a grid's cells that lie
        as near as `nearness` (rows, columns) says."""
        (x, y, side), cameras, (rows, columns) = self._crop, self.cameras, nearness.shape
        row, column = np.mgrid[:rows, :columns].astype(np.float32) + 0.5
        scale = (1 - cameras.inverse_distance[template] * nearness) / cameras.scale[template]
        centre = cameras.image_centre[template]
        across = ((column * (self.size[0] / columns) - x) / side - centre[0]) * scale
        up = -((row * (self.size[1] / rows) - y) / side - centre[1]) * scale
        points = np.stack([across, up, nearness], -1).astype(np.float32)
        return points @ cameras.rotation[template] + cameras.centre[template]
