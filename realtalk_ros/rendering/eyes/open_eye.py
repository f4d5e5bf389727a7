# SPDX-License-Identifier: Apache-2.0
"""Coordinates around an open eye of a template, in which glasses.py and lid_skin.py look for rims
and clean skin (NumPy and OpenCV)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.rendering.eyes.lid_curves import POSITIONS, RestingLids
from realtalk_ros.rendering.eyes.moved_eye import EyeAxes

# In eye widths:
COLUMNS = np.linspace(-0.5, 1.5, 81, dtype=np.float32)  # along the eye
MARGIN = 0.65  # around the eye


@dataclass(frozen=True)
class OpenEye:
    """An eye of a template, in its pixels, and heights along it at COLUMNS in eye widths."""

    axes: EyeAxes
    upper: np.ndarray  # (81,), of the upper lid's edge
    lower: np.ndarray
    brow: np.ndarray
    outer: int  # 0 if its outer corner is the first, else 1

    @classmethod
    def of(cls, rest: np.ndarray, residuals: np.ndarray, brow: np.ndarray, outer: int) -> OpenEye:
        """Of lids (2, N, 2), residuals (2, N, 2) and the brow's landmarks (5, 2)."""
        axes = EyeAxes.of(rest, residuals)
        relative = (rest - axes.template_corner) @ axes.directions.T
        lids = RestingLids.of(relative, residuals @ axes.directions.T, axes.width, outer=outer)
        curves = lids.curves(relative)
        upper, lower = (np.interp(COLUMNS, POSITIONS, c / axes.width) for c in curves[2:4])
        u, v = ((brow - axes.template_corner) @ axes.directions.T / axes.width).T
        order = np.argsort(u)
        return cls(axes, upper, lower, np.interp(COLUMNS, u[order], v[order]), outer)

    def box(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The first (x, y) of the pixels around the eye, and the last plus 1."""
        width = self.axes.width
        corners = self.axes.to_template(
            np.array([[-MARGIN, 1 + MARGIN]] * 2) * width,
            np.array([[self.lower.min() - 0.35] * 2, [self.upper.max() + 0.6] * 2]) * width,
        ).reshape(2, -1)
        low = np.clip(np.floor(corners.min(1)), 0, size).astype(int)
        return low, np.clip(np.ceil(corners.max(1)) + 1, 0, size).astype(int)

    def strip(self, image: np.ndarray, edge: np.ndarray, away: np.ndarray) -> np.ndarray:
        """(len(away), 81, 3) float32: the image at distances `away` from an edge (81,)."""
        return self.sample(image, *np.broadcast_arrays(COLUMNS, edge + away[:, None]))

    def sample(self, image: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32: the image at (u, v), each (H, W), in eye widths."""
        x, y = self.axes.to_template(u * self.axes.width, v * self.axes.width)
        return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(
            np.float32
        )


def smooth(values: np.ndarray, count: int) -> np.ndarray:
    """(81, ...) float32, each the mean of `count` neighbours, twice."""
    values = values.reshape(len(values), -1).astype(np.float32)
    for _ in range(2):
        values = cv2.blur(values, (1, count), borderType=cv2.BORDER_REPLICATE)
    return values.squeeze()
