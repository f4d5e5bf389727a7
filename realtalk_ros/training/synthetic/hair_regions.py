# SPDX-License-Identifier: Apache-2.0
"""Where hair grows on the mean head."""

from __future__ import annotations

import numpy as np

from realtalk_ros.easing import smoothstep


def scalp_mask(points: np.ndarray, lower: float) -> np.ndarray:
    """0..1 over positions (..., 3) on the mean head: the scalp; `lower` moves the line above the
    forehead down, cm."""
    azimuth = np.degrees(np.arctan2(np.abs(points[..., 0]), points[..., 2] + 1.0))  # 0 front
    line = np.interp(azimuth, [0, 20, 32, 45, 58, 68, 82, 95, 108, 120, 150, 180],
                     [10.6, 10.7, 10.4, 8.6, 6.2, 3.4, 4.6, 5.6, 3.0, -0.5, -5.0, -6.2]
                     )  # fmt: skip
    line = line - lower * np.interp(azimuth, [0, 45, 70], [1, 1, 0])
    return smoothstep(points[..., 1] - line, -0.35, 0.65)


def beard_masks(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0..1 over positions (..., 3) on the mean head: (jaw and chin, moustache), lips included."""
    ax, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    # The beard's upper border rises from beside the chin to the sideburn.
    border = np.interp(
        ax, [0, 1.0, 2.3, 3.4, 5.0, 6.4, 7.2], [-5.0, -5.2, -4.6, -3.4, -2.3, -0.6, 1.5]
    )
    jaw = smoothstep(y - border, 0.25, -0.9) * smoothstep(ax, 7.8, 7.1)
    sideburn = smoothstep(ax, 6.0, 6.6) * smoothstep(ax, 7.9, 7.3) * smoothstep(y, 5, 3)
    jaw = np.maximum(jaw, sideburn * smoothstep(z, 2.0, 3.0))
    jaw *= smoothstep(y, -12.5, -9.5) * smoothstep(z, -1.0, 1.5)
    moustache = smoothstep(y + 1.3 + 0.13 * ax**1.6, 0.35, -0.35) * smoothstep(ax, 3.4, 2.5)
    moustache *= smoothstep(y + 0.25 * np.maximum(ax - 2.2, 0), -4.6, -3.2)
    moustache *= smoothstep(z, 9.2, 9.8)
    return jaw, moustache
