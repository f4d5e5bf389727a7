# SPDX-License-Identifier: Apache-2.0
"""One avatar's person as it moves: the head turned in space, and shoulders that breathe.

Each cell of a coarse grid over the template is a point in space (head_depth.py). The head's
rotation moves these points about a joint in the neck, and the template's camera says how far each
goes in the picture: the nose far, ears and hair little. From the chin to the shoulders the motion
fades out; shoulders follow a little, and rise with the breath. What is behind the person stays
(still_background.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.rendering.common.channels import NO_MAP, spread
from realtalk_ros.rendering.head.head_depth import HeadDepth
from realtalk_ros.rendering.head.person_mask import person_mask

MAX_ANGLE = 0.2  # rad, larger ones are drawn as this: a picture shows no sides of a head
CELLS = 32  # of the grid, in the side of the face crop
# cm, in the head's frame, the joint: in the middle between the skull's on the uppermost vertebra
# (nods) and the neck's on the back (the head leans).
JOINT = np.array([0.0, -8.0, 0.5], np.float32)
CROWN = np.array([0.0, 4.0, 0.5], np.float32)  # cm, middle of the skull: the trunk leans with it
NECK = 8.5  # cm below the chin over which the head's motion fades out
FOLLOW = 0.12  # share of the skull's motion that the shoulders make
BREATH = 0.06  # cm by which shoulders rise from the middle of a breath to its top
BREATH_HEAD = 0.4  # share of it by which the head rises
BORDER = 0.2  # sides of the face crop: what is nearer to the picture's border moves less
INVERSIONS = 2  # steps of the fixed-point iteration that inverts the motion


@dataclass(frozen=True)
class _Grid:
    """The cells of one template: (rows, columns, ...) float32."""

    points: np.ndarray  # (..., 3) cm, from the joint
    rest: np.ndarray  # (..., 2) where the camera sees them, sides of the face crop
    # (..., 2) how far they move with the head, and with the trunk, 0..1, less near the border
    follows: np.ndarray


class MovingPerson:
    """What of an avatar's motion does not depend on the size of images."""

    def __init__(self, avatar: Avatar):
        self.depth = HeadDepth(avatar)
        self.size, self.crop = avatar.size, avatar.crop
        self._side = avatar.crop[2]
        cell = avatar.crop[2] / CELLS
        columns, rows = (max(2, round(length / cell)) for length in avatar.size)
        self.shape = rows, columns
        self._cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype("f4")
        # Cells to a side of the face crop.
        self._scale = self._side * np.array(
            [columns / avatar.size[0], rows / avatar.size[1]], np.float32
        )
        self._grids: dict[int, _Grid] = {}
        # The template in which the person is told from the background.
        self.key = len(avatar.templates) // 2
        self.picture = avatar.templates[self.key]
        self.mask = person_mask(self.picture, self.depth, self.key)

    def attached(self, template: int) -> np.ndarray:
        """(rows, columns) float32: how far a template's cells move with the head, 0..1."""
        return cv2.extractChannel(self._grid(template).follows, 0)

    def motion(self, template: int, rotation: np.ndarray, breath: float) -> np.ndarray:
        """(rows, columns, 2) float32, pixels of the avatar's templates: what is to be added to a
        pixel's position for where in the template it lies, when the head is rotated by `rotation`
        (3,) rad (face_model/rotations.py) and the breath is at `breath`, -1..1."""
        grid = self._grid(template)
        pitch, yaw, roll = np.clip(rotation, -MAX_ANGLE, MAX_ANGLE)
        turn = rotation_matrix(pitch, yaw, roll)
        moved = self._project(grid.points, turn, template) - grid.rest
        moved *= spread(cv2.extractChannel(grid.follows, 0), 2)
        cameras = self.depth.cameras
        lean = (turn @ (CROWN - JOINT) - (CROWN - JOINT)) @ cameras.rotation[template].T
        lift = BREATH * breath
        scale = cameras.scale[template]
        trunk = scale * np.array([FOLLOW * lean[0], -FOLLOW * lean[1] - lift], np.float32)
        head = scale * np.array([0, -BREATH_HEAD * lift], np.float32)
        moved += cv2.transform(grid.follows, np.column_stack([head, trunk]))
        moved = cv2.transform(moved, np.diag(self._scale))
        back = -moved
        for _ in range(INVERSIONS):
            source = self._cells + back
            back = -cv2.remap(
                moved, source, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        return cv2.transform(back, np.diag(self._side / self._scale))

    def _grid(self, template: int) -> _Grid:
        if template not in self._grids:
            self._grids[template] = self._make_grid(template)
        return self._grids[template]

    def _make_grid(self, template: int) -> _Grid:
        depth, (rows, columns) = self.depth, self.shape
        points = depth.in_space(template, depth.nearness(template, self.shape))
        attached = 1 - smoothstep(depth.chin - points[..., 1], 0, NECK)
        row, column = np.mgrid[:rows, :columns] + 0.5
        edge = np.minimum(
            np.minimum(column, columns - column) / self._scale[0],
            np.minimum(row, rows - row) / self._scale[1],
        )
        fade = smoothstep(edge, 0, BORDER)
        points = (points - JOINT).astype(np.float32)
        return _Grid(
            points,
            self._project(points, np.eye(3, dtype=np.float32), template),
            np.stack([attached * fade, (1 - attached) * fade], -1).astype(np.float32),
        )

    def _project(self, points: np.ndarray, turn: np.ndarray, template: int) -> np.ndarray:
        """Points (rows, columns, 3) from the joint, turned about it -> (rows, columns, 2)."""
        cameras = self.depth.cameras
        view = cameras.rotation[template]
        matrix = np.column_stack([view @ turn, view @ (JOINT - cameras.centre[template])])
        x, y, z = cv2.split(cv2.transform(points, matrix.astype(np.float32)))
        scale = cameras.scale[template] / (1 - cameras.inverse_distance[template] * z)
        return cv2.merge([x * scale, -y * scale])
