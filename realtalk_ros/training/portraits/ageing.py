# SPDX-License-Identifier: Apache-2.0
"""What age does to a face of the face model: folds in its shape, wrinkles and spots in its skin.

Places are x and y of the mean head's front, cm, on the person's left; the other side mirrors them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import EYES_AND_LIPS
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic.brows import spline


@dataclass(frozen=True)
class Crease:
    """A curve through `points`, half of its width in cm, and how deep it is, 0..1."""

    points: tuple[tuple[float, float], ...]
    width: float
    depth: float
    mirrored: bool = True

    def curves(self) -> list[np.ndarray]:
        """(60, 2) each, of both sides."""
        curve = spline(np.array(self.points), 60)
        return [curve, curve * [-1, 1]] if self.mirrored else [curve]


WRINKLES = (
    # Crow's feet
    Crease(((4.95, 3.75), (5.6, 4.15), (6.2, 4.75)), 0.07, 0.55),
    Crease(((5.0, 3.45), (5.8, 3.55), (6.5, 3.8)), 0.07, 0.65),
    Crease(((4.95, 3.1), (5.7, 2.8), (6.4, 2.55)), 0.07, 0.60),
    Crease(((4.75, 2.75), (5.4, 2.2), (5.9, 1.6)), 0.07, 0.45),
    # Below the eyes
    Crease(((2.0, 2.75), (2.9, 2.25), (3.9, 2.25), (4.7, 2.75)), 0.07, 0.5),
    Crease(((1.75, 2.6), (2.5, 1.75), (3.6, 1.45), (4.7, 1.8)), 0.10, 0.55),
    Crease(((2.6, 2.35), (3.4, 2.1), (4.2, 2.3)), 0.04, 0.35),
    # From the nose to beside the mouth, and from there down
    Crease(((1.75, -0.1), (2.35, -1.1), (3.0, -2.3), (3.35, -3.6)), 0.14, 0.95),
    Crease(((3.7, -1.6), (4.05, -2.9), (3.9, -4.1)), 0.16, 0.22),
    Crease(((2.6, -3.5), (2.8, -4.1), (3.15, -4.8), (3.35, -5.3)), 0.2, 0.24),
    # Forehead, and between the brows
    Crease(((-3.6, 7.55), (-1.8, 7.75), (0.0, 7.6), (1.8, 7.75), (3.5, 7.5)), 0.07, 0.34, False),
    Crease(((-3.9, 8.35), (-1.6, 8.6), (0.2, 8.4), (2.0, 8.6), (4.0, 8.2)), 0.07, 0.36, False),
    Crease(((-2.6, 9.15), (-0.8, 9.3), (0.9, 9.15), (2.9, 9.25)), 0.07, 0.2, False),
    Crease(((0.62, 5.1), (0.55, 5.7), (0.68, 6.5)), 0.11, 0.22),
    # Above the upper lip
    Crease(((0.55, -1.75), (0.6, -2.3)), 0.03, 0.35),
    Crease(((1.0, -1.8), (1.12, -2.4)), 0.03, 0.35),
    Crease(((1.45, -2.0), (1.65, -2.6)), 0.03, 0.35),
    # Neck
    Crease(((-4.2, -9.6), (-1.5, -10.3), (1.5, -10.3), (4.2, -9.6)), 0.14, 0.22, False),
    Crease(((-4.4, -11.2), (-1.4, -12.0), (1.6, -12.0), (4.4, -11.2)), 0.14, 0.22, False),
)
# Of the shape: (x, y, radius, cm outwards)
BULGES = ((4.7, -5.3, 1.5, 0.26), (3.3, 2.15, 0.9, 0.07), (4.0, -0.6, 1.4, 0.10))
FOLDS = (Crease(((1.9, -0.2), (2.5, -1.1), (3.15, -2.3), (3.45, -3.5)), 0.34, 0.20),
         Crease(((2.7, -3.8), (3.05, -4.5), (3.3, -5.2), (3.3, -5.9)), 0.30, 0.12))  # fmt: skip
RIDGE = 0.12  # of a wrinkle's depth: how high the skin beside it is
CREPE = (5.5, 0.9)  # how many fine lines there are a cm across them, and along
SPOTS = 90  # of age


def aged(kit: FaceKit, head: np.ndarray, age: float) -> np.ndarray:
    """The head (V, 3) with jowls, bags below the eyes and folds of an age of 0..1."""
    mean = kit.mean
    out = np.zeros(len(mean))
    for x, y, radius, height in BULGES:
        away = np.hypot(np.abs(mean[:, 0]) - x, mean[:, 1] - y) / radius
        out += height * np.exp(-(away**2))
    for fold in FOLDS:
        for curve in fold.curves():
            distance, along = near(curve, mean[:, :2])
            out -= fold.depth * np.exp(-((distance / fold.width) ** 2)) * tapered(along)
    moving = mean[kit.landmarks[EYES_AND_LIPS]]
    from scipy.spatial import cKDTree

    out *= smoothstep(cKDTree(moving).query(mean)[0], 0.35, 0.9) * (mean[:, 2] > 2)
    out[kit.parts["face"].stop :] = 0
    return (head + kit.normals(head) * (age * out)[:, None]).astype(np.float32)


def near(curve: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) distance of points (N, 2) from a curve (60, 2), and where along it, 0..1."""
    from scipy.spatial import cKDTree

    distance, row = cKDTree(curve).query(points)
    return distance, row / (len(curve) - 1)


def finer(curve: np.ndarray) -> np.ndarray:
    """(4 n - 3, 2) of a curve (n, 2): from the middle of a long crease to its next point it may be
    farther than the crease is wide."""
    at = np.linspace(0, len(curve) - 1, 4 * len(curve) - 3)
    return np.stack([np.interp(at, np.arange(len(curve)), xy) for xy in curve.T], 1)


def tapered(along: np.ndarray) -> np.ndarray:
    return np.clip(np.minimum(along, 1 - along) / 0.25, 0, 1) ** 0.7


def wrinkles(
    places: np.ndarray, rng: np.random.Generator, creases: Sequence[Crease] = WRINKLES
) -> np.ndarray:
    """(H, W) -1..1 of texels at `places` (H, W, 3) on the mean head: below 0 in a wrinkle, above
    beside it."""
    xy, front = places[..., :2], places[..., 2] > 1
    out = np.zeros(places.shape[:2], np.float32)
    for crease in creases:
        for curve in crease.curves():
            curve = curve + np.cumsum(rng.normal(0, 0.006, curve.shape), 0)
            curve = finer(curve)
            reach = 4 * crease.width
            low, high = curve.min(0) - reach, curve.max(0) + reach
            here = front & ((xy > low) & (xy < high)).all(-1)
            distance, along = near(curve, xy[here])
            d = distance / crease.width
            groove = -np.exp(-(d**2)) + RIDGE * np.exp(-(((d - 2.0) / 0.9) ** 2))
            out[here] += crease.depth * groove * tapered(along)
    return np.clip(out, -1, 1)


def crepe(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) about 0: the fine lines of old skin, which run around eyes and mouth."""
    size = places.shape[0]
    x, y = np.abs(places[..., 0]), places[..., 1]
    out = np.zeros((size, size), np.float32)
    centres = ((3.3, 3.4), (0.0, -3.4))
    for cx, cy in centres:
        turn = np.arctan2(y - cy, x - cx) * 3.0
        radius = np.hypot(x - cx, y - cy)
        fine = rng.normal(0, 1, (256, 256)).astype(np.float32)
        across, along = turn * CREPE[0] * 2 % 256, radius * CREPE[1] * 2 % 256
        noise = cv2.remap(fine, across.astype(np.float32), along.astype(np.float32),
                          cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)  # fmt: skip
        out += noise * np.exp(-((radius / 3.2) ** 2)) * smoothstep(radius, 0.6, 1.6)
    calm = smoothstep(y, 3.4, 4.2) * smoothstep(x, 5.2, 4.6)  # upper lids
    return out * 0.06 * (1 - 0.8 * calm)


def spots(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) 0..1: brown spots on temples, cheeks and forehead."""
    out = np.zeros(places.shape[:2], np.float32)
    xy, front = places[..., :2], places[..., 2] > 0
    for _ in range(SPOTS):
        side = rng.choice([-1, 1])
        x, y = side * rng.uniform(2.2, 7.0), rng.uniform(-4.5, 9.5)
        radius = rng.uniform(0.05, 0.20)
        if abs(x) < 5.0 and 2.0 < y < 6.8:  # not on the lids
            continue
        distance = np.hypot(*np.moveaxis(xy - [x, y], -1, 0)) / radius
        out = np.maximum(out, smoothstep(distance, 1.2, 0.6) * front * rng.uniform(0.15, 0.6))
    return out
