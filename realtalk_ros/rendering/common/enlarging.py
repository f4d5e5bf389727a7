# SPDX-License-Identifier: Apache-2.0
"""Images enlarged so that bilinear sampling shows them as sharp as they are (NumPy and OpenCV).

By bicubic interpolation, with a kernel that is sharper by as much as the bilinear sampling in
between takes away.
"""

from __future__ import annotations

import cv2
import numpy as np

FACTOR = 2  # times the template's resolution
# Slope at 1 of the kernel (Keys 1981). OpenCV's bicubic sampling has -0.75; this one keeps as much
# detail of photographs (variance of the Laplacian), though less of noise of single pixels.
SLOPE = -1.15


def enlarged(image: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 -> (FACTOR H, FACTOR W, C). The image's pixel x is pixel FACTOR x of it."""
    height, width, channels = image.shape
    source = image.astype(np.float32)
    fine = np.empty((height, FACTOR, width, FACTOR, channels), np.uint8)
    kernels = [bicubic_kernel(k / FACTOR) for k in range(FACTOR)]
    for row, by_y in enumerate(kernels):
        for column, by_x in enumerate(kernels):
            between = cv2.sepFilter2D(source, -1, by_x, by_y, borderType=cv2.BORDER_REPLICATE)
            fine[:, row, :, column] = np.clip(np.rint(between), 0, 255)
    return fine.reshape(height * FACTOR, width * FACTOR, channels)


def bicubic_kernel(at: float) -> np.ndarray:
    """(5,): weights of the pixels at -2 .. 2 for the value at `at`, 0 <= at < 1."""
    distance, a = np.abs(np.arange(-2, 3) - at), SLOPE
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0)).astype(np.float32)
