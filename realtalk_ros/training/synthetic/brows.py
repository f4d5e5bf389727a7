# SPDX-License-Identifier: Apache-2.0
"""Paints eyebrows into the face model's texture: hair strokes along the brows' landmarks."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.training.synthetic.traits import Traits

OVERSAMPLE = 2  # they are drawn that much larger
SAMPLES = 60  # of a brow's curve
# Each brow from its head to its tail, and the side to which its hairs turn.
BROWS = (([21, 20, 19, 18, 17], -1.0), ([22, 23, 24, 25, 26], 1.0))


def spline(points: np.ndarray, count: int = 40) -> np.ndarray:
    """(count, 2) points of a smooth curve through `points` (n, 2)."""
    from scipy.interpolate import CubicSpline

    t = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    return CubicSpline(t, points)(np.linspace(0, t[-1], count))


class BrowPainter:
    """For a texture of `height` x 2 `height` texels with the landmarks at `uv` (68, 2); `mean`
    (68, 3), cm, are those of the mean head."""

    def __init__(self, uv: np.ndarray, mean: np.ndarray, height: int):
        self._uv, self._height = uv, height
        # Texture coordinates a centimetre.
        self._cm = np.linalg.norm(uv[17] - uv[21]) / np.linalg.norm(mean[17] - mean[21])

    def paint(self, traits: Traits, rng: np.random.Generator) -> np.ndarray:
        """(height, 2 height) float32, 0..1."""
        h = self._height
        canvas = np.zeros((h * OVERSAMPLE, h * OVERSAMPLE), np.uint8)
        thickness = (0.35 + 0.75 * traits.brow_thickness) * self._cm
        for rows, side in BROWS:
            points = self._uv[rows] + np.array([0.0, (traits.brow_lift + 0.05) * self._cm])
            curve = spline(points, SAMPLES)
            self._draw_hairs(canvas, curve, thickness, side, traits, rng=rng)
            body = self._body(curve, thickness)
            shown = (body * (0.22 + 0.42 * traits.brow_density)).astype(np.uint8)
            canvas = np.maximum(canvas, shown)
        small = cv2.resize(canvas, (h, h), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        full = np.zeros((h, 2 * h), np.float32)
        full[:, :h] = small
        return full

    def _draw_hairs(
        self,
        canvas: np.ndarray,
        curve: np.ndarray,
        thickness: float,
        side: float,
        traits: Traits,
        *,
        rng: np.random.Generator,
    ) -> None:
        count = int(110 + 330 * traits.brow_density)
        t = rng.random(count) ** 0.9 * 0.97
        i = (t * (SAMPLES - 1)).astype(int)
        # Full at the head of the brow, tapering to the tail.
        width = thickness * np.interp(t, [0, 0.12, 0.45, 0.75, 1], [0.45, 0.9, 0.95, 0.65, 0.3])
        across = rng.uniform(-0.5, 0.5, count)
        root = curve[i] + np.stack([np.zeros(count), across * width], 1)
        rise = np.interp(t, [0, 0.25, 0.6, 1], [1.0, 0.5, 0.12, -0.1]) - across * 0.7
        angle = rise + rng.normal(0, 0.16, count)
        along = np.gradient(curve, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        x, y = along[i].T
        c, s = np.cos(angle), np.sin(angle) * side
        direction = np.c_[x * c - y * s, x * s + y * c]
        length = self._cm * rng.uniform(0.35, 0.7, count)
        length = length * np.interp(t, [0, 0.3, 1], [0.7, 1, 0.75])
        tip = root + direction * length[:, None]
        scale = self._height * OVERSAMPLE * 16  # sixteenths of a pixel
        ends = (root * scale).astype(int), (tip * scale).astype(int)
        for a, b, level in zip(*ends, rng.integers(110, 235, count), strict=True):
            cv2.line(
                canvas, tuple(a), tuple(b), int(level),
                thickness=max(1, self._height // 700), lineType=cv2.LINE_AA, shift=4,
            )  # fmt: skip

    def _body(self, curve: np.ndarray, thickness: float) -> np.ndarray:
        """The soft stroke below the hairs."""
        scale = self._height * OVERSAMPLE
        body = np.zeros((scale, scale), np.uint8)
        line = (curve[2:52] * scale * 16).astype(np.int32)
        cv2.polylines(
            body, [line], False, 255,
            thickness=max(2, int(thickness * scale * 0.62)), lineType=cv2.LINE_AA, shift=4,
        )  # fmt: skip
        return cv2.GaussianBlur(body, (0, 0), thickness * scale * 0.28)
