# SPDX-License-Identifier: Apache-2.0
"""How a synthetic head is seen: its pose, the camera and the crop.

Coordinates: head space of `facekit` (cm). The camera sits on +z at `distance` from the origin and
looks down -z. A crop is a square in the plane z = 0 as seen from the camera, (x, y, side, roll) in
cm and rad, so that a crop of any size is rendered directly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.face_model.rotations import rotation_matrix

# The head turns about a point in the upper neck; the skin between neck base and skull bends.
PIVOT = np.array([0.0, -5.0, -1.0], np.float32)
REACH = 24.0  # cm, half the side of what a shadow map holds


@dataclass
class View:
    """Pose of the head (rad as of face_model/rotations.py, shift in cm), camera and crop."""

    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    breath: float = 0.0  # cm that chest and shoulders rise
    distance: float = 70.0
    crop: tuple[float, float, float, float] = (0.0, -2.0, 30.0, 0.0)

    def pose(self) -> np.ndarray:
        """(4, 4) head to world."""
        matrix = np.eye(4, dtype=np.float32)
        matrix[:3, :3] = rotation_matrix(self.pitch, self.yaw, self.roll)
        matrix[:3, 3] = PIVOT - matrix[:3, :3] @ PIVOT + np.asarray(self.shift, np.float32)
        return matrix

    def projection(self) -> np.ndarray:
        """(4, 4) world to clip space of the crop."""
        cx, cy, side, roll = self.crop
        near, far, d = self.distance - 25.0, self.distance + 60.0, self.distance
        k = 2.0 / side
        matrix = np.zeros((4, 4), np.float32)
        matrix[0] = [k * d, 0, k * cx, -k * cx * d]
        matrix[1] = [0, k * d, k * cy, -k * cy * d]
        # depth: z_eye = d - z in [near, far]
        a, b = (far + near) / (far - near), -2 * far * near / (far - near)
        matrix[2] = [0, 0, -a, a * d + b]
        matrix[3] = [0, 0, -1, d]
        turn = np.eye(4, dtype=np.float32)
        c, s = np.cos(roll), np.sin(roll)
        turn[:2, :2] = [[c, s], [-s, c]]
        return turn @ matrix

    def pixels(self, points: np.ndarray, size: int) -> np.ndarray:
        """(n, 2) x right, y down of head-space points (n, 3) that turn rigidly with the head."""
        clip = np.c_[self._in_world(points), np.ones(len(points))] @ self.projection().T
        ndc = clip[:, :2] / clip[:, 3:4]
        return np.stack([(ndc[:, 0] + 1) / 2, (1 - ndc[:, 1]) / 2], 1) * size

    def plane(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) cm: where head-space points appear in the crop plane (z = 0)."""
        world = self._in_world(points)
        return world[:, :2] * (self.distance / (self.distance - world[:, 2:3]))

    def _in_world(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) of head-space points (n, 3)."""
        pose = self.pose()
        return points @ pose[:3, :3].T + pose[:3, 3]


def light_matrix(direction: np.ndarray) -> np.ndarray:
    """(4, 4) orthographic world-to-clip matrix looking at the head from `direction`, as a shadow
    map needs it."""
    z = np.asarray(direction, np.float64)
    z = z / np.linalg.norm(z)
    up = np.array([0.0, 1, 0]) if abs(z[1]) < 0.95 else np.array([1.0, 0, 0])
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    matrix = np.eye(4)
    matrix[0, :3], matrix[1, :3], matrix[2, :3] = x / REACH, y / REACH, -z / REACH
    matrix[:3, 3] = -matrix[:3, :3] @ np.array([0.0, -1.0, 2.0])
    return matrix.astype(np.float32)
