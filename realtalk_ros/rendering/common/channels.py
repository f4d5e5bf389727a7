# SPDX-License-Identifier: Apache-2.0
"""Channels of images, and of the maps by which OpenCV samples them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Positions = tuple[np.ndarray, np.ndarray]  # x and y of pixels, each (H, W) float32
NO_MAP: Any = None  # for the y of maps in two arrays; OpenCV's type stubs do not allow None


def spread(plane: np.ndarray, channels: int = 3) -> np.ndarray:
    """(H, W) -> (H, W, channels). (NumPy takes four to ten times as long to multiply several
    channels by one.)"""
    return cv2.merge([plane] * channels) if plane.size else np.zeros((*plane.shape, channels))


def space_to_depth(image: np.ndarray, out: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) as the generator takes it, (12, S/2, S/2): each plane is one pixel of
    every square of four, in one colour. Written to `out`, which is returned.

    (In the network's graph, ONNX Runtime takes ten times as long for it.)
    """
    half = out.shape[-1]
    squares = image.reshape(half, 2, half, 2, 3).transpose(4, 1, 3, 0, 2)
    out.reshape(squares.shape)[:] = squares
    return out


def depth_to_space(planes: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The inverse of `space_to_depth`: (12, S/2, S/2) -> `out` (S, S, 3), which is returned."""
    half = planes.shape[-1]
    squares = planes.reshape(3, 2, 2, half, half)
    for row in (0, 1):  # merged, two pixels side by side are six channels
        pairs = cv2.merge([squares[k, row, column] for column in (0, 1) for k in range(3)])
        out[row::2] = pairs.reshape(half, 2 * half, 3)
    return out
