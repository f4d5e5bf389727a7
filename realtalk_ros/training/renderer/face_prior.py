# SPDX-License-Identifier: Apache-2.0
"""What the 3D face model predicts of the images of a group, as it does at run time
(rendering/geometry.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realtalk_ros.rendering.eyes import eyes
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.mouth.mouth_model import LookName
from realtalk_ros.training.renderer import augment
from realtalk_ros.training.renderer.dataset import Group
from realtalk_ros.training.renderer.run_time_light import run_time_light

MOVE_NOISE = 0.02  # of how far the weights move the landmarks (standard deviation, relative)


@dataclass(frozen=True)
class FacePrior:
    """What the 3D face model predicts of a template and K targets; landmarks in normalised
    coordinates."""

    template_landmarks: np.ndarray  # (1, 68, 2)
    target_landmarks: np.ndarray  # (K, 68, 2): where the targets' weights move those
    mouth_interior: np.ndarray  # (K, S, S, 3) uint8: mouth/mouth.py's maps, with the eyes'
    eye_grid: np.ndarray  # (K, S, S, 3): sampling grid around the eyes, and how far it counts
    light: np.ndarray | None  # (K, M, M, 4), of people: run_time_light.py


def predict_face(
    group: Group,
    template: int,
    targets: Sequence[int],
    rng: np.random.Generator | None = None,
    drift: float = 0.0,
) -> FacePrior:
    """The prior's prediction for these images of a group. In a video the head's turn between
    template and targets counts, too: a network that is not given it learns to blur what lies
    elsewhere. With `rng` the landmarks are as wrong as a fitted face's. The template lies `drift`
    to the right, normalised coordinates."""
    landmarks = group.landmarks.cpu().float().numpy() / group.size
    weights = group.weights.cpu().float().numpy()
    chosen, offset, gain = [template, *targets], np.array([drift, 0.0]), 1.0
    at_rest, shown, wanted = landmarks[[template]], weights[[template]], weights[list(targets)]
    if rng:
        offset = augment.landmark_noise(at_rest.shape[1], rng)
        gain = 1 + MOVE_NOISE * rng.standard_normal()
    look: LookName = "lifelike" if group.real else "plain"
    if group.from_video:
        fitted = geometry_of(group, landmarks[chosen], weights[chosen]).projected_landmarks
        moved = at_rest + gain * (fitted[1:] - fitted[:1]) + offset
        (resting_eyes,) = geometry_of(group, at_rest + offset, shown).template_eyes
        geometry, rows = geometry_of(group, moved, wanted, look), range(len(targets))
    else:
        geometry, rows = geometry_of(group, at_rest + offset, shown, look), [0] * len(targets)
        wanted = shown + gain * (wanted - shown)
        moved = np.stack([geometry.target_landmarks(w, 0) for w in wanted])
        (resting_eyes,) = geometry.template_eyes
    drawn = [
        map_target(geometry, w, row, resting_eyes, group.size)
        for w, row in zip(wanted, rows, strict=True)
    ]
    interior, eye_grid = map(np.stack, zip(*drawn, strict=True))
    light = None
    if group.real:
        openings = [
            geometry.mouth_opening(points, row) for points, row in zip(moved, rows, strict=True)
        ]
        lower = [geometry.lower_teeth(w, row) for w, row in zip(wanted, rows, strict=True)]
        light = run_time_light(interior, geometry, len(set(rows)), openings, lower)
    return FacePrior(np.float32(at_rest + offset), np.float32(moved), interior, eye_grid, light)


def map_target(
    geometry: Geometry, weights: np.ndarray, row: int, resting_eyes: eyes.ProjectedEyes, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """A target's `mouth_interior` and `eye_grid`, see FacePrior."""
    interior = geometry.draw_mouth(weights, row, np.empty((size, size, 3), np.uint8))
    patches = eyes.eye_patches(resting_eyes, geometry.project_eyes(weights, row), size)
    eyes.draw_visibility(patches, interior)
    eye_grid = np.zeros(interior.shape, np.float32)
    for patch in patches:
        eye_grid[patch.rows, patch.columns] = np.stack([*patch.sampling_grid, patch.blend], -1)
    return interior, eye_grid


def map_mouth(group: Group, number: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """(S, S, 3) uint8: rendering/mouth/mouth.py's map of an image of a group, with `rng` as wrong
    as a fit's."""
    landmarks = group.landmarks[[number]].cpu().float().numpy() / group.size
    if rng:
        landmarks = landmarks + augment.landmark_noise(landmarks.shape[1], rng)
    weights = group.weights[[number]].cpu().float().numpy()
    geometry = geometry_of(group, landmarks, weights, "shaded" if group.real else "plain")
    return geometry.draw_mouth(weights[0], 0, np.empty((group.size, group.size, 3), np.uint8))


def geometry_of(
    group: Group, landmarks: np.ndarray, weights: np.ndarray, look: LookName = "plain"
) -> Geometry:
    resting = group.resting_weights
    resting = None if resting is None else resting.cpu().numpy()
    identity = group.identity.cpu().numpy()
    return Geometry(identity, np.float32(landmarks), weights, resting, look)
