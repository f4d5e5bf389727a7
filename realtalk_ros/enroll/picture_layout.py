# SPDX-License-Identifier: Apache-2.0
"""How a picture is sampled for an avatar's frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np

MIN_EXCESS = 1.5  # pixels of a picture for one of the frame, to which it is reduced at most
MAX_SPACING = 1.2  # of samples, in pixels of a picture
LOBES = 3  # of Lanczos' filter, on each side


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
    """The picture at positions (height, width, 2), bicubic. Where these lie farther apart than its
    pixels (`spacing` in pixels), single samples would turn fine detail into noise: more of them are
    taken, and filtered."""
    factor = ceil(spacing / MAX_SPACING)
    if factor > 1:
        height, width = positions.shape[:2]
        positions = cv2.resize(positions, (factor * width, factor * height))  # bilinear
    found = cv2.remap(
        picture,
        positions,
        np.empty(0),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return found if factor <= 1 else shrunk(found, factor)


def shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    """An image reduced by a whole factor, by Lanczos' filter."""
    first, reach = (factor - 1) // 2, LOBES * factor
    # Distances of its pixels from the middle of a new one, between two of them if factor is even.
    distance = (np.arange(1 - reach, reach + 1 - factor % 2) + first - (factor - 1) / 2) / factor
    kernel = np.sinc(distance) * np.sinc(distance / LOBES)
    kernel, one = (kernel / kernel.sum()).astype(np.float32), np.ones(1, np.float32)
    rows = cv2.sepFilter2D(image, -1, kernel, one, anchor=(reach - 1, 0))[:, first::factor]
    return cv2.sepFilter2D(rows, -1, one, kernel, anchor=(0, reach - 1))[first::factor]
