# SPDX-License-Identifier: Apache-2.0
"""Continues what is known of a picture over what is not, by normalised convolution.

The mean of the known values around a pixel is their Gaussian blur, divided by that of where they
are known (Knutsson and Westin, "Normalized and Differential Convolution", 1993).
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np


def extrapolated(values: np.ndarray, known: np.ndarray, reaches: Iterable[float]) -> np.ndarray:
    """float32 as `values` (rows, columns) or (rows, columns, C), of which `known` (rows, columns)
    bool is used: smooth means of what is near, over each of `reaches` (sd, pixels) from wide to
    narrow, as far as there is anything. They replace the known values, too."""
    weight = known.astype(np.float32)
    channels = (slice(None),) * 2 + (None,) * (values.ndim - 2)
    weighted = values * weight[channels]
    start = values[known].mean(0) if known.any() else 0.0
    out: np.ndarray = np.broadcast_to(np.asarray(start, np.float32), values.shape)
    for reach in reaches:
        near = cv2.GaussianBlur(weight, (0, 0), reach)[channels]
        mean = cv2.GaussianBlur(weighted, (0, 0), reach) / np.maximum(near, 1e-6)
        out = out + np.clip(4 * near, 0, 1) * (mean - out)
    return out
