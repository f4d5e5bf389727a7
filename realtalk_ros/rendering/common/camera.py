# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras of an avatar's templates, each fitted to the 68 landmarks of its template.

A face is near enough to the camera for perspective to matter: an affine camera puts the lips of an
open mouth a quarter of a pixel of 256 beside the truth, and the teeth behind them 0.7 pixels.

Image coordinates are normalised: (0, 0) is the upper left corner of the face crop, (1, 1) the lower
right one. Lengths in space are centimetres.
"""

from __future__ import annotations

import cv2
import numpy as np

# Prior of 1 / distance between camera and face, 1/cm. Its weight is the variance of the landmarks'
# errors (0.0015 of the crop) over the variance of 1 / distance among cameras (a quarter of it).
INVERSE_DISTANCE = 1 / 65
PRIOR_WEIGHT = (0.0015 / (0.25 * INVERSE_DISTANCE)) ** 2
MAX_INVERSE_DISTANCE = 1 / 25
ITERATIONS = 5  # of Gauss-Newton


class Cameras:
    """T pinhole cameras that project T shapes (T, 68, 3) to landmarks (T, 68, 2), each with the
    least squared error (Gauss-Newton).

    Camera t sees a point p, relative to the shape's centre and rotated, at
    image_centre + scale * (x, -y) / (1 - inverse_distance * z).
    """

    def __init__(self, landmarks: np.ndarray, shapes: np.ndarray):
        landmarks, shapes = np.asarray(landmarks, np.float64), np.asarray(shapes, np.float64)
        self.centre = shapes.mean(-2)  # (T, 3) cm
        centred = shapes - self.centre[:, None]
        self.image_centre = landmarks.mean(-2)  # (T, 2)
        self._fit_affine(landmarks - self.image_centre[:, None], centred)
        self.inverse_distance = np.full(len(landmarks), INVERSE_DISTANCE)
        for _ in range(ITERATIONS):
            self._refine(landmarks, centred)
        # Frames are projected in single precision.
        for name in ("centre", "image_centre", "rotation", "scale", "inverse_distance"):
            setattr(self, name, getattr(self, name).astype(np.float32))

    def _fit_affine(self, landmarks: np.ndarray, centred: np.ndarray) -> None:
        """Starts from the camera without perspective: scale, and the rotation that is nearest to
        the affine map of the shape to its centred landmarks."""
        product = np.swapaxes(centred, -1, -2) @ centred + 1e-6 * np.eye(3)  # of a flat shape, too
        affine = np.linalg.solve(product, np.swapaxes(centred, -1, -2) @ landmarks)
        affine = np.swapaxes(affine, -1, -2) * np.array([[1.0], [-1.0]])
        left, sizes, right = np.linalg.svd(affine, full_matrices=False)
        rows = left @ right
        self.rotation = np.concatenate([rows, np.cross(rows[:, :1], rows[:, 1:])], -2)
        self.scale = np.maximum(sizes.mean(-1), 1e-6)

    def _refine(self, landmarks: np.ndarray, centred: np.ndarray) -> None:
        """One Gauss-Newton step of rotation, scale, image centre and inverse distance."""
        rotated = centred @ np.swapaxes(self.rotation, -1, -2)
        x, y, z = np.moveaxis(rotated, -1, 0)
        depth = 1 / (1 - self.inverse_distance[:, None] * z)
        by_xy, by_z = self.scale[:, None] * depth, self.scale[:, None] * depth**2
        by_z_x = by_z * self.inverse_distance[:, None] * x
        by_z_y = by_z * self.inverse_distance[:, None] * y
        zero, one = np.zeros_like(x), np.ones_like(x)
        # Derivatives of the image's x and (upward) y by small rotations about x, y and z, by the
        # scale, the image centre and the inverse distance.
        across = (-by_z_x * -y, by_xy * z - by_z_x * x, -by_xy * y, x * depth, one, zero,
                  by_z * x * z)  # fmt: skip
        up = -by_xy * z + by_z_y * y, -by_z_y * x, by_xy * x, y * depth, zero, one, by_z * y * z
        jacobian = np.concatenate([np.stack(across, -1), np.stack(up, -1)], -2)
        projected = np.stack([x, y], -1) * by_xy[..., None]
        residuals = (landmarks - self.image_centre[:, None]) * (1, -1) - projected
        residuals = np.concatenate([residuals[..., 0], residuals[..., 1]], -1)
        normal = np.swapaxes(jacobian, -1, -2) @ jacobian + 1e-9 * np.eye(7)
        right = (np.swapaxes(jacobian, -1, -2) @ residuals[..., None])[..., 0]
        normal[:, 6, 6] += PRIOR_WEIGHT
        right[:, 6] += PRIOR_WEIGHT * (INVERSE_DISTANCE - self.inverse_distance)
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        turns = np.clip(step[:, :3], -0.5, 0.5)
        self.rotation = np.stack([cv2.Rodrigues(turn)[0] for turn in turns]) @ self.rotation
        self.scale = np.maximum(self.scale + step[:, 3], 1e-6)
        self.image_centre = self.image_centre + step[:, 4:6] * (1, -1)
        self.inverse_distance = np.clip(self.inverse_distance + step[:, 6], 0, MAX_INVERSE_DISTANCE)

    def project(self, points: np.ndarray, template: int) -> np.ndarray:
        """Projects points (..., P, 3), cm, by the camera of one template. Returns (..., P, 3):
        image x and y, and how near to the camera the point is, cm from the face's centre."""
        projected = (points - self.centre[template]) @ self.rotation[template].T
        scale = self.scale[template] / (1 - self.inverse_distance[template] * projected[..., 2])
        projected[..., 0] = self.image_centre[template, 0] + scale * projected[..., 0]
        projected[..., 1] = self.image_centre[template, 1] - scale * projected[..., 1]
        return projected

    def project_planes(self, points: np.ndarray, template: int) -> np.ndarray:
        """As `project`, (3, P) of (3, P): faster, as x, y and z are each in one piece."""
        x, y, z = projected = self.rotation[template] @ (points - self.centre[template][:, None])
        scale = self.scale[template] / (1 - self.inverse_distance[template] * z)
        x *= scale
        x += self.image_centre[template, 0]
        y *= -scale
        y += self.image_centre[template, 1]
        return projected
