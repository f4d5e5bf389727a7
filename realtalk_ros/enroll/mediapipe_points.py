# SPDX-License-Identifier: Apache-2.0
"""Parts of MediaPipe's face mesh, and which vertex of ICT-FaceKit each landmark shows, how surely.

The vertices were found by 400 pictures of 80 synthetic people, whose vertices are known in the
picture (training/synthetic/head_renderer.py): a landmark's vertex is the one that lies nearest to
it on average. The numbers in front are what remained of that distance, in sides of the face crop
(about 20 cm); half of it at the eyes, so that lids are followed.
"""

from __future__ import annotations

import cv2
import numpy as np

POINTS = 478  # 468 of the face, then 5 of the right iris and 5 of the left, centre first
SIDE = 19.85  # cm, the face crop's side on the mean head (landmarks.face_square)
# part: (sigma, {landmark of the mesh: vertex})
PARTS: dict[str, tuple[float, dict[int, int]]] = {
    "lips": (0.008, {
        0: 0, 13: 5527, 14: 5517, 17: 5518, 37: 2081, 39: 5719, 40: 5634, 61: 5651, 78: 5596,
        80: 5604, 81: 5683, 82: 6024, 84: 6004, 87: 6009, 88: 5848, 91: 5807, 95: 5821, 146:
        5891, 178: 5966, 181: 5870, 185: 5601, 191: 5611, 267: 4275, 269: 6224, 270: 6139, 291:
        6156, 308: 6205, 310: 6109, 311: 6188, 312: 6528, 314: 6508, 317: 6513, 318: 6353, 321:
        6312, 324: 6326, 375: 6396, 402: 6470, 405: 6375, 409: 6106, 415: 6116,
    }),
    "eyes": (0.0035, {
        249: 2812, 263: 2811, 362: 2872, 373: 3766, 374: 3729, 380: 3732, 381: 3596, 382: 3740,
        384: 2899, 385: 3787, 386: 4161, 387: 3791, 388: 3758, 390: 3724, 398: 2870, 466: 3200,
        7: 1508, 33: 568, 133: 888, 144: 1552, 145: 1515, 153: 1518, 154: 1381, 155: 623, 157:
        1621, 158: 1573, 159: 1961, 160: 1577, 161: 1544, 163: 1510, 173: 1370, 246: 980,
    }),
    "brows": (0.02, {
        276: 4147, 282: 3251, 283: 2736, 285: 4202, 293: 3227, 295: 3630, 296: 3633, 300: 2673,
        334: 3249, 336: 4246, 46: 993, 52: 483, 53: 1010, 55: 2002, 63: 1007, 65: 1416, 66:
        1418, 70: 432, 105: 480, 107: 2050,
    }),
    "nose": (0.011, {
        1: 4553, 2: 4920, 4: 4857, 5: 4839, 6: 4511, 19: 4554, 45: 5505, 48: 4763, 64: 4757, 94:
        4949, 97: 2088, 98: 4870, 115: 4864, 168: 977, 195: 4948, 197: 1348, 220: 5016, 275:
        5317, 278: 5228, 294: 5222, 326: 4282, 327: 5328, 344: 5322, 440: 5470,
    }),
    "oval": (0.023, {
        10: 973, 21: 1875, 54: 1956, 58: 1899, 67: 1423, 93: 1240, 103: 1985, 109: 318, 127:
        1223, 132: 377, 136: 770, 148: 1497, 149: 2199, 150: 1673, 152: 966, 162: 1879, 172:
        1719, 176: 801, 234: 1888, 251: 4075, 284: 4155, 288: 2611, 297: 3637, 323: 3458, 332:
        4184, 338: 3642, 356: 3441, 361: 2618, 365: 3011, 377: 3711, 378: 4390, 379: 3880, 389:
        4079, 397: 3924, 400: 3042, 454: 3456,
    }),
    "irises": (0.009, {
        468: 23028, 473: 21458,
    }),
}  # fmt: skip
LANDMARK = np.array([m for _, vertices in PARTS.values() for m in vertices])  # (154,)
VERTEX = np.array([v for _, vertices in PARTS.values() for v in vertices.values()])  # (154,)
SIGMA = SIDE * np.array([s for s, vertices in PARTS.values() for _ in vertices], np.float32)  # cm
# Landmarks of the mesh, not all of them with a vertex. The lips' edges go from the person's right
# corner of the mouth to the left one.
UPPER_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LOWER_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
OUTER_LIPS, INNER_LIPS = UPPER_OUTER + LOWER_OUTER[-2:0:-1], UPPER_INNER + LOWER_INNER[-2:0:-1]
LIP_MIDDLES = (13, 14)  # of the inner lips, upper and lower
MOUTH_CORNERS, EYE_CORNERS = (61, 291), (33, 263)  # the person's right one first; eyes: outer ones
NOSE_TIP, NOSE_BASE = 4, 2
# The ends of a face: the forehead's upper edge, the chin, and beside the ears, the right one first.
FOREHEAD, CHIN, FACE_SIDES = 10, 152, (234, 454)
# From the outer corner of each eye along its lower lid to the inner one, and back; right eye first.
EYE_OUTLINES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
# The skin below them, down to the bone; together with the lower lids.
UNDER_EYES = (
    (31, 228, 229, 230, 231, 232, 233, 112, *EYE_OUTLINES[0][:9]),
    (261, 448, 449, 450, 451, 452, 453, 341, *EYE_OUTLINES[1][:9]),
)
CHIN_SKIN = (18, 83, 313, 182, 406, 194, 418, 32, 262, 140, 369, 171, 396, 175)
# Rows of LANDMARK.
LIPS, EYES = (np.flatnonzero(np.isin(LANDMARK, list(PARTS[p][1]))) for p in ("lips", "eyes"))


def distance(points: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """Between two of the points (..., 478, 2): (...)."""
    first, second = pair
    return np.asarray(np.linalg.norm(points[..., first, :] - points[..., second, :], axis=-1))


def nose_off_middle(points: np.ndarray) -> float:
    """By how much of the eyes' distance the nose of a face (478, 2) is off their middle: 0 where it
    looks straight ahead."""
    right, left = points[list(EYE_CORNERS)]
    across = left - right
    off = (points[NOSE_TIP] - (left + right) / 2) @ across
    return abs(float(off)) / max(float(across @ across), 1e-6)


def hull_mask(points: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(height, width) bool: the convex hull of points (n, 2); at least one pixel."""
    mask = np.zeros(size[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    if not mask.any():
        mask[:1, :1] = 1
    return mask.astype(bool)
