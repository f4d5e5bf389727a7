# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras fitted to landmarks."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.common.camera import Cameras

ARRAYS = ("centre", "image_centre", "rotation", "scale", "inverse_distance")


def pinhole(points: np.ndarray, distance: float, rotation: Rotation) -> np.ndarray:
    """In normalised coordinates of a picture that the face fills."""
    rotated = rotation.apply(points.reshape(-1, 3)).reshape(points.shape)
    projected = rotated[..., :2] / (distance - rotated[..., 2:]) * distance
    return projected * (0.05, -0.05) + (0.5, 0.4)


@pytest.mark.parametrize("distance", [60, 80, 150])
@pytest.mark.parametrize("angles", [(0, 0, 0), (0.3, 0.5, -0.1), (-0.3, -0.9, 0.3)])
def test_a_camera_is_found_by_the_landmarks_of_a_resting_face(distance, angles):
    rotation = Rotation.from_euler("xyz", angles)
    weights = np.zeros((2, arkit.COUNT), np.float32)
    weights[1, arkit.INDEX["jawOpen"]] = 0.7
    rest, wide = landmarks.load().points(weights)
    camera = Cameras(pinhole(rest, distance, rotation)[None], rest[None])
    for shape in (rest, wide):
        error = camera.project(shape, 0)[:, :2] - pinhole(shape, distance, rotation)
        error = np.linalg.norm(error, axis=-1) * 256
        assert error.mean() < 0.5 and error.max() < 2
    # A point on the nose is nearer than one on an ear.
    assert camera.project(rest, 0)[30, 2] > camera.project(rest, 0)[[0, 16], 2].min()


def test_many_cameras_are_found_at_once():
    rest = landmarks.load().points(np.zeros(arkit.COUNT, np.float32))
    rotations = [Rotation.from_euler("xyz", (0, yaw, 0)) for yaw in (-0.4, 0, 0.4)]
    images = np.stack([pinhole(rest, 60, rotation) for rotation in rotations])
    together = Cameras(images, np.stack([rest] * 3))
    for k, image in enumerate(images):
        alone = Cameras(image[None], rest[None])
        assert np.allclose(alone.project(rest, 0), together.project(rest, k), atol=1e-5)


def test_landmarks_of_no_face_give_a_camera_of_finite_numbers():
    rest = landmarks.load().points(np.zeros(arkit.COUNT, np.float32))
    rng = np.random.default_rng(0)
    for points in (np.zeros((68, 2)), np.linspace((0, 0), (1, 1), 68), rng.uniform(0, 1, (68, 2)),
                   rng.normal(0, 1e4, (68, 2)), rest[:, :2] * (0.05, 0.05)):  # fmt: skip
        for shape in (rest, rest * (1, 1, 0)):
            camera = Cameras(points[None], shape[None])
            assert all(np.isfinite(getattr(camera, name)).all() for name in ARRAYS)
            assert np.isfinite(camera.project(rest, 0)).all()


def test_points_in_planes_are_projected_as_others():
    rest = landmarks.load().points(np.zeros(arkit.COUNT, np.float32))
    rotation = Rotation.from_euler("xyz", (0.3, -0.4, 0.1))
    images = np.stack([pinhole(rest, 70, rotation), pinhole(rest, 90, rotation.inv())])
    cameras = Cameras(images, np.stack([rest] * 2))
    points = (rest * (1.1, 0.8, 1.3)).astype(np.float32)
    for template in (0, 1):
        planes = cameras.project_planes(np.ascontiguousarray(points.T), template)
        np.testing.assert_allclose(planes.T, cameras.project(points, template), atol=1e-5)
