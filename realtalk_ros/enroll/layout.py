# SPDX-License-Identifier: Apache-2.0
"""How a picture is sampled for an avatar's frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np

MIN_EXCESS = 1.5  # pixels of a picture for one of the frame, to which it is reduced at most


@dataclass(frozen=True)
class Layout:
    """How a picture becomes a frame."""

    matrix: np.ndarray  # (2, 3), pixels of the picture to pixels of the frame
    size: tuple[int, int]  # width, height
    crop: tuple[int, int, int]  # x, y, side

    @property
    def scale(self) -> float:
        """Pixels of the frame for one of the picture."""
        return float(np.hypot(*self.matrix[0, :2]))

    def positions(self) -> np.ndarray:
        """(height, width, 2) float32: where in the picture the frame's pixels lie."""
        columns, rows = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in self.size))
        back = np.linalg.inv(self.matrix[:, :2])
        found = np.stack([columns, rows], -1) @ back.T - back @ self.matrix[:, 2]
        return found.astype(np.float32)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        picture, layout = self.reduced(picture)
        return sample(picture, layout.positions(), 1 / layout.scale)

    def reduced(self, picture: np.ndarray) -> tuple[np.ndarray, Layout]:
        """The picture at the least size that has the frame's detail, and its layout."""
        factor = int(1 / self.scale / MIN_EXCESS)
        if factor <= 1:
            return picture, self
        height, width = (max(1, round(n / factor)) for n in picture.shape[:2])
        smaller = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        # A pixel's place is that of its middle, half a pixel from its corner.
        factors = np.array([picture.shape[1] / width, picture.shape[0] / height])
        matrix = np.column_stack(
            [
                self.matrix[:, :2] * factors,
                self.matrix[:, 2] + self.matrix[:, :2] @ (factors / 2 - 0.5),
            ]
        )
        return smaller, replace(self, matrix=matrix)

    def points(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) in the picture to the frame."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]


def sample(picture: np.ndarray, positions: np.ndarray, spacing: float) -> np.ndarray:
    """The picture at positions (height, width, 2), bicubic. Where they lie more than a pixel apart,
    `spacing`, a mean over the area of each: single samples would turn fine detail into noise."""
    height, width = positions.shape[:2]
    count = max(1, ceil(spacing - 0.2))
    if count > 1:
        positions = cv2.resize(positions, (count * width, count * height))  # bilinear
    found = cv2.remap(
        picture,
        positions,
        np.empty(0),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if count > 1:
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA)
    return found
