# SPDX-License-Identifier: Apache-2.0
"""What great age adds to ageing.py: tissue that has sunk, broad folds, coarse and blotchy skin.

NumPy and OpenCV only. Places are x and y of the mean head's front, cm, on the person's left; the
other side mirrors them.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import EYES_AND_LIPS
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits.ageing import Crease, near, tapered

# Of the shape: (x, y), half of its width and height, cm outwards, cm down.
SUNK = (
    ((4.3, 4.75), (1.1, 0.50), 0.15, 0.10),  # skin above the lid
    ((6.7, 5.6), (1.2, 1.9), -0.22, 0.0),  # temple
    ((3.2, 2.1), (1.0, 0.40), 0.09, 0.02),  # bag below the eye,
    ((2.7, 1.3), (0.9, 0.40), -0.12, 0.0),  # and the groove below it
    ((4.9, 1.0), (1.2, 0.90), -0.12, 0.0),  # cheekbone's fat
    ((3.75, -1.3), (0.8, 1.30), 0.22, 0.18),  # has sunk to the fold
    ((5.5, -2.3), (1.1, 1.50), -0.26, 0.0),  # hollow cheek
    ((3.8, -5.2), (0.8, 0.85), 0.23, 0.36),  # jowl
    ((5.2, -5.2), (1.0, 1.00), -0.18, 0.0),  # behind it,
    ((2.3, -6.5), (0.6, 0.60), -0.24, 0.0),  # and before it
    ((2.95, -4.1), (0.4, 0.80), -0.08, 0.0),  # beside the mouth
    ((3.65, -3.9), (0.5, 0.80), 0.12, 0.08),  # pouch beside the fold there
    ((0.0, -8.4), (1.8, 1.10), 0.24, 0.26),  # below the chin
)
STILL = (0.35, 0.9)  # cm from the landmarks of eyes and mouth, where nothing and all of it is moved
# Of the shape, too: bands of the throat's muscle stand out, and skin folds across beside them.
BANDS = (
    Crease(((0.9, -8.7), (1.3, -10.2), (1.5, -12.0), (1.3, -14.0)), 0.26, 0.42),
    Crease(((2.9, -8.6), (3.3, -10.2), (3.2, -12.4)), 0.30, 0.26),
    Crease(((-3.8, -9.7), (-1.5, -10.6), (1.5, -10.6), (3.8, -9.7)), 0.22, -0.10, False),
    Crease(((-4.0, -11.4), (-1.4, -12.3), (1.6, -12.2), (4.0, -11.4)), 0.22, -0.10, False),
)
FURROWS = (
    # Forehead, between the brows, nose root
    Crease(((-4.2, 7.2), (-2.0, 7.45), (0.0, 7.2), (2.1, 7.4), (4.2, 7.1)), 0.13, 0.45, False),
    Crease(((-4.4, 8.0), (-1.7, 8.3), (0.2, 8.1), (1.9, 8.3), (4.4, 7.9)), 0.14, 0.50, False),
    Crease(((-3.6, 8.9), (-1.2, 9.1), (0.8, 8.95), (3.4, 8.9)), 0.13, 0.35, False),
    Crease(((0.72, 4.8), (0.70, 5.6), (0.90, 6.6)), 0.12, 0.45),
    Crease(((-0.9, 4.35), (0.0, 4.15), (0.9, 4.35)), 0.10, 0.40, False),
    # Above, beside and below the eye
    Crease(((3.2, 4.85), (4.3, 4.55), (5.3, 3.85)), 0.10, 0.50),
    Crease(((5.1, 4.0), (5.8, 4.55), (6.5, 5.4)), 0.09, 0.40),
    Crease(((5.1, 3.3), (6.0, 3.2), (6.9, 3.05)), 0.10, 0.50),
    Crease(((4.9, 2.8), (5.7, 2.2), (6.5, 1.4)), 0.10, 0.50),
    Crease(((1.9, 2.45), (2.6, 1.55), (3.6, 1.2), (4.7, 1.7)), 0.14, 0.50),
    Crease(((2.3, 1.2), (3.2, 0.55), (4.4, 0.65)), 0.14, 0.28),
    # Cheeks: from the fold at the nose, and loose skin that hangs in arcs beside the mouth
    Crease(((1.6, 0.1), (2.3, -1.0), (3.0, -2.3), (3.35, -3.5)), 0.24, 0.75),
    Crease(((3.1, -1.5), (3.65, -2.6), (3.8, -3.8), (3.65, -4.8)), 0.18, 0.20),
    Crease(((3.6, -0.8), (4.3, -2.2), (4.55, -3.7), (4.35, -4.9)), 0.18, 0.16),
    Crease(((4.6, -0.4), (5.15, -1.8), (5.25, -3.5)), 0.17, 0.15),
    # Mouth and chin
    Crease(((2.45, -3.25), (2.55, -3.65), (2.85, -4.2), (3.25, -4.75)), 0.24, 0.34, False),
    Crease(((2.95, -4.15), (3.4, -4.7), (3.6, -5.4)), 0.22, 0.26, False),
    Crease(((-2.5, -3.2), (-2.7, -3.75), (-2.85, -4.3), (-3.4, -5.2)), 0.26, 0.36, False),
    Crease(((-2.2, -4.4), (-2.45, -4.8), (-2.9, -5.2)), 0.2, 0.2, False),
    Crease(((-1.5, -5.25), (0.0, -4.95), (1.5, -5.25)), 0.20, 0.45, False),
    *(Crease(((x, low), (1.07 * x, -2.0 - 0.1 * x), (1.16 * x, -2.55 - 0.15 * x)), 0.05, depth)
      for x, low, depth in ((0.25, -1.5, 0.3), (0.58, -1.75, 0.42), (0.95, -1.45, 0.34),
                            (1.25, -1.9, 0.4), (1.65, -1.7, 0.44), (2.1, -2.0, 0.36))),
    *(Crease(((1.03 * x, -3.7 + 0.12 * x), (1.1 * x, low)), 0.05, depth)
      for x, low, depth in ((0.3, -4.5, 0.26), (0.72, -4.75, 0.34), (1.15, -4.5, 0.3),
                            (1.55, -4.7, 0.34), (1.95, -4.4, 0.3))),
    # Neck
    *(Crease(((-3.9, y + 0.8), (-1.8, y - 0.1), (0.3, y + 0.15), (2.0, y - 0.1), (3.8, y + 0.7)),
             0.13, depth, False)
      for y, depth in ((-9.5, 0.3), (-10.3, 0.55), (-11.1, 0.3), (-12.1, 0.5), (-13.0, 0.3))),
    *(Crease(((x, -8.8), (1.15 * x, -10.4), (1.1 * x, -12.6)), 0.2, 0.12) for x in (0.7, 2.1)),
)  # fmt: skip
FURROW = np.array([0.62, 0.47, 0.42], np.float32)  # what a furrow leaves of the skin's colour
RED = np.array([0.98, 0.82, 0.82], np.float32)  # what a blotch leaves of red, green and blue
BROWN = np.array([0.74, 0.60, 0.48], np.float32)
SHADOW = np.array([0.80, 0.66, 0.66], np.float32)  # below the eyes
NOISE = 256  # texels a side of noise, which repeats


def sunk(kit: FaceKit, head: np.ndarray, amount: float) -> np.ndarray:
    """The head (V, 3) whose fat and skin have sunk by an amount of 0..1."""
    from scipy.spatial import cKDTree

    mean = kit.mean
    out, down = np.zeros(len(mean)), np.zeros(len(mean))
    for (x, y), (wide, high), outwards, downwards in SUNK:
        away = np.hypot((np.abs(mean[:, 0]) - x) / wide, (mean[:, 1] - y) / high)
        share = np.exp(-(away**2))
        out += outwards * share
        down += downwards * share
    moving = cKDTree(mean[kit.landmarks[EYES_AND_LIPS]])
    for band in BANDS:
        for curve in band.curves():
            distance, along = near(curve, mean[:, :2])
            out += band.depth * np.exp(-((distance / band.width) ** 2)) * tapered(along)
    free = amount * smoothstep(moving.query(mean)[0], *STILL) * smoothstep(mean[:, 2], 1.0, 3.0)
    free[kit.parts["face"].stop :] = 0
    moved = kit.normals(head) * out[:, None]
    moved[:, 1] -= down
    return (head + moved * free[:, None]).astype(np.float32)


def noise(places: np.ndarray, per_cm: tuple[float, float], turn: float,
          rng: np.random.Generator) -> np.ndarray:  # fmt: skip
    """(H, W) smooth random values of deviation 1 at `places` (H, W, 3), so many a cm along two axes
    that are turned by `turn` radians."""
    grid = cv2.GaussianBlur(rng.normal(0, 1, (NOISE, NOISE)).astype(np.float32), (0, 0), 0.8)
    grid /= grid.std()
    x, y = places[..., 0], places[..., 1]
    u = (x * np.cos(turn) + y * np.sin(turn)) * per_cm[0] % NOISE
    v = (y * np.cos(turn) - x * np.sin(turn)) * per_cm[1] % NOISE
    return cv2.remap(grid, u.astype(np.float32), v.astype(np.float32), cv2.INTER_CUBIC,
                     borderMode=cv2.BORDER_WRAP)  # fmt: skip


def relief(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) 0 and below: lines that cross, as on skin that has lost its elastic fibres."""
    out = np.zeros(places.shape[:2], np.float32)
    for turn, per_cm in ((0.5, (5.0, 1.6)), (-0.6, (5.0, 1.6)), (1.5, (6.0, 2.0))):
        out -= np.clip(1 - np.abs(noise(places, per_cm, turn, rng)) / 0.35, 0, 1)
    neck = smoothstep(places[..., 1], -7.0, -9.0)
    return 0.08 * (1 + neck) * cv2.GaussianBlur(out, (0, 0), 1.0)


def blotchy(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) factor of the skin's colour: uneven red, brown spots of irregular outline, the dark
    below the eyes."""
    x, y = np.abs(places[..., 0]), places[..., 1]
    red = 0.5 * noise(places, (0.5, 0.5), 0.3, rng) + 0.5 * noise(places, (1.8, 1.8), 0.9, rng)
    red = np.clip(0.35 + 0.4 * red, 0, 1)
    cheek = np.exp(-(((x - 4.4) / 1.8) ** 2) - ((y + 0.2) / 1.8) ** 2)
    nose = np.exp(-((x / 1.3) ** 2) - ((y - 0.2) / 1.2) ** 2)
    brown = noise(places, (1.3, 1.3), 0.0, rng) + 0.4 * noise(places, (6.0, 6.0), 0.7, rng)
    side = smoothstep(x, 3.2, 5.2) + smoothstep(y, 6.4, 7.4)
    eye = smoothstep(np.hypot((x - 3.3) / 2.2, (y - 3.8) / 2.0), 0.9, 1.2)
    eye = eye * smoothstep(y, 8.0, 7.0)  # nor at the hairline
    brown = smoothstep(brown, 1.3, 3.0) * np.clip(side, 0, 1) * eye * smoothstep(y, -6.5, -5.0)
    below = np.exp(-(((x - 2.9) / 1.5) ** 2) - ((y - 2.35) / 0.55) ** 2)
    out = np.ones((*places.shape[:2], 3), np.float32)
    for colour, share in ((RED, red * (0.35 + 0.6 * np.clip(cheek + nose, 0, 1))),
                          (BROWN, 0.9 * brown), (SHADOW, 0.55 * below)):  # fmt: skip
        out *= 1 - (1 - colour) * share[..., None]
    return out.astype(np.float32)
