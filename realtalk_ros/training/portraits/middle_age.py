# SPDX-License-Identifier: Apache-2.0
"""What the skin of a man of some fifty years has: clear lines, open pores, the shadow of a beard.

NumPy and OpenCV only. Places are x and y of the mean head's front, cm, on the person's left; the
other side mirrors them.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.training.portraits.ageing import Crease
from realtalk_ros.training.synthetic.hair_regions import beard_masks

LINES = (
    # Forehead
    Crease(((-3.9, 7.45), (-1.8, 7.75), (0.0, 7.55), (1.8, 7.75), (3.7, 7.4)), 0.13, 0.85, False),
    Crease(((-4.2, 8.3), (-1.6, 8.6), (0.2, 8.4), (2.0, 8.6), (4.3, 8.15)), 0.13, 0.9, False),
    Crease(((-2.8, 9.15), (-0.8, 9.35), (0.9, 9.15), (3.2, 9.2)), 0.12, 0.6, False),
    Crease(((1.6, 6.95), (2.8, 7.1), (4.0, 6.75)), 0.10, 0.38),
    # Between the brows, and on the nose's root
    Crease(((0.78, 4.75), (0.64, 5.5), (0.86, 6.5)), 0.13, 0.62),
    Crease(((-0.24, 5.0), (-0.18, 5.9)), 0.09, 0.28, False),
    Crease(((-0.8, 4.4), (0.0, 4.22), (0.8, 4.4)), 0.10, 0.35, False),
    # Bags below the eyes, and the hollow below those
    Crease(((1.75, 2.65), (2.5, 1.82), (3.5, 1.55), (4.6, 1.9)), 0.16, 0.55),
    Crease(((1.55, 2.4), (2.15, 1.45), (3.0, 0.8), (3.9, 0.4)), 0.22, 0.36),
    # From the nose to beside the mouth, from there down, and the cheek's own
    Crease(((1.75, 0.0), (2.4, -1.05), (3.05, -2.3), (3.5, -3.75)), 0.25, 0.80),
    Crease(((2.85, -3.95), (3.05, -4.8), (2.95, -5.9)), 0.27, 0.50),
    Crease(((4.1, -1.4), (4.5, -2.8), (4.35, -4.2)), 0.16, 0.25),
    # Below the lip, and across the throat
    Crease(((-1.4, -5.35), (0.0, -5.05), (1.4, -5.35)), 0.20, 0.30, False),
    Crease(((-5.2, -9.5), (-3.0, -10.2), (-0.4, -10.5)), 0.30, 0.17, False),
    Crease(((-1.6, -10.15), (1.5, -10.25), (5.0, -9.4)), 0.28, 0.15, False),
    Crease(((-4.6, -11.5), (-1.2, -12.2), (3.4, -11.6)), 0.32, 0.15, False),
)  # fmt: skip
SHAVED = np.array([0.50, 0.57, 0.66], np.float32)  # what a shaved beard leaves of the skin's colour
HAIR = np.array([0.30, 0.31, 0.34], np.float32)  # what a hair's stub leaves
HAIRS, PORES = 0.050, 0.012  # a texel of 2048, where they are dense


def dots(density: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) 0..1: dots of a radius of so many texels, `density` (H, W) of them a texel."""
    made = (rng.random(density.shape) < density) * rng.uniform(0.4, 1.0, density.shape)
    made = cv2.GaussianBlur(made.astype(np.float32), (0, 0), radius)
    return np.clip(made * (2 * np.pi * radius**2), 0, 1)


def shaved(places: np.ndarray) -> np.ndarray:
    """(H, W) 0..1 of texels at `places` (H, W, 3) on the mean head: how dense a beard would be."""
    jaw, moustache = beard_masks(places)
    ax, y = np.abs(places[..., 0]), places[..., 1]
    chin = np.exp(-((ax / 2.6) ** 2) - ((y + 6.6) / 2.2) ** 2)
    jaw = jaw * (0.6 + 0.4 * chin)
    x = places[..., 0]
    ends = y + 0.5 * np.sin(1.1 * x + 0.5) + 0.3 * np.sin(2.7 * x)  # uneven, on the throat
    jaw = jaw * smoothstep(ends, -12.0, -7.5)
    wide = 0.25 * len(places) / 32.0  # texels; the front's texture is some 32 cm high
    return cv2.GaussianBlur(np.maximum(jaw, moustache).astype(np.float32), (0, 0), wide)


def stubble(density: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) factor of the skin's colour where a beard of `density` (H, W), 0..1, is shaved: a
    grey shadow, and hairs."""
    single = dots(HAIRS * density, 0.7, rng)
    shadow = 1 - (1 - SHAVED) * density[..., None]
    return (shadow * (1 - (1 - HAIR) * 0.5 * single[..., None])).astype(np.float32)


def pores(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) 0..1: open pores of nose and cheeks, of texels at `places` (H, W, 3)."""
    ax, y = np.abs(places[..., 0]), places[..., 1]
    nose = np.exp(-((ax / 1.5) ** 2) - ((y - 0.6) / 1.8) ** 2)
    cheek = np.exp(-(((ax - 3.3) / 1.7) ** 2) - ((y + 0.3) / 1.6) ** 2)
    forehead = 0.3 * np.exp(-((ax / 3.0) ** 2) - ((y - 7.0) / 2.0) ** 2)
    where = np.clip(nose + 0.8 * cheek + forehead, 0, 1) * smoothstep(places[..., 2], 3.0, 6.0)
    return dots(PORES * where, 1.2, rng)
