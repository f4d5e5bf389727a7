# SPDX-License-Identifier: Apache-2.0
"""Where the hair of portraits begins on the mean head: a soft, uneven line."""

from __future__ import annotations

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.training.portraits.people import Hair

AZIMUTHS = [0, 20, 32, 40, 48, 58, 68, 82, 95, 108, 120, 150, 180]  # degrees from the front
# y of the line there, cm: a woman's is round, a man's has corners above the temples.
LINES = {
    "shoulder": [10.3, 10.1, 9.5, 8.5, 7.1, 5.2, 2.8, 4.4, 5.6, 3.0, -0.5, -5.0, -6.2],
    "waved": [10.5, 10.4, 9.9, 8.9, 7.4, 5.5, 3.0, 4.4, 5.6, 3.0, -0.5, -5.0, -6.2],
    "cropped": [10.7, 10.8, 10.7, 9.9, 8.0, 6.0, 3.4, 4.4, 5.6, 3.0, -0.5, -5.0, -6.2],
    "combed": [10.6, 11.0, 11.3, 10.5, 8.5, 6.0, 1.0, 2.6, 5.2, 3.0, -0.5, -5.0, -6.2],
}
EAR = (7.95, 8.3)  # cm, x beyond which the skin is an ear's, which has no hair
SOFT = 1.0  # cm over which hair thins out, to either side of the line


def scalp(points: np.ndarray, hair: Hair) -> np.ndarray:
    """0..1 over positions (..., 3) on the mean head: how densely hair grows there."""
    azimuth = np.degrees(np.arctan2(points[..., 0], points[..., 2] + 1.0))
    line = np.interp(np.abs(azimuth), AZIMUTHS, LINES[hair.style])
    line = line - hair.hairline * np.interp(np.abs(azimuth), [0, 45, 70], [1, 1, 0])
    line = line + 0.16 * np.sin(0.21 * azimuth + 0.5) + 0.10 * np.sin(0.53 * azimuth + 2.0)
    ear = smoothstep(np.abs(points[..., 0]), *EAR) * smoothstep(points[..., 1], 4.6, 4.1)
    return smoothstep(points[..., 1] - line, -SOFT, SOFT) * (1 - ear)
