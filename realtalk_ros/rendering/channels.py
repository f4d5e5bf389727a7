# SPDX-License-Identifier: Apache-2.0
"""Channels of images, and of the maps by which OpenCV samples them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

NO_MAP: Any = None  # for the y of maps in two arrays; OpenCV's type stubs do not allow None


def spread(plane: np.ndarray, channels: int = 3) -> np.ndarray:
    """(H, W) -> (H, W, channels). (NumPy takes four to ten times as long to multiply several
    channels by one.)"""
    return cv2.merge([plane] * channels) if plane.size else np.zeros((*plane.shape, channels))
