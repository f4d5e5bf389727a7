# SPDX-License-Identifier: Apache-2.0
"""What the pixels of a face show: which way its parts went, how far the lips are open.

Both are read off a picture of the same face at rest, mostly by the optical flow, so they hold for
any face whose landmarks (Multi-PIE's 68) in that picture are known, whatever it looks like.
"""

from __future__ import annotations

import cv2
import numpy as np

AROUND = 0.012  # sides of the face crop: half the window in which the flow is averaged
MARGIN = 0.3  # sides of the face crop around the points: what the flow is computed of
BLUR = 0.023  # sides of the face crop, of the pictures in which lips are followed
IRIS = 0.02  # sides of the face crop: half the side of a square within an iris
UPPER_LIP, LOWER_LIP = 51, 57  # outer edges in the middle: these are seen with the mouth open, too


def moves(rest: np.ndarray, image: np.ndarray, points: np.ndarray, side: float) -> np.ndarray:
    """(n, 2) float: where what lies at `points` (n, 2) of `rest` (height, width, 3) BGR went in
    `image`, right and down, in sides of the face crop, which is `side` pixels."""
    low = np.maximum(np.floor(points.min(0) - MARGIN * side), 0).astype(int)
    high = np.ceil(points.max(0) + MARGIN * side).astype(int)
    before, after = (
        cv2.cvtColor(picture[low[1] : high[1], low[0] : high[0]], cv2.COLOR_BGR2GRAY)
        for picture in (rest, image)
    )
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow, reach = finder.calc(before, after, None), max(1, round(AROUND * side))
    return np.array([
        flow[y - reach : y + reach + 1, x - reach : x + reach + 1].mean((0, 1))
        for x, y in np.rint(points - low).astype(int)
    ]) / side  # fmt: skip


def slid(rest: np.ndarray, image: np.ndarray, point: np.ndarray, way, side: float) -> float:
    """How far what lies at `point` (2,) of `rest` slid along `way` (right, down) in `image`, sides
    of the face crop. For irises: the flow goes with the lids that move before them."""
    x, y = np.rint(point).astype(int)
    half, reach = round(IRIS * side), round(2 * IRIS * side)

    def patch(picture, by):
        left, top = x + by * way[0] - half, y + by * way[1] - half
        part = picture[top : top + 2 * half + 1, left : left + 2 * half + 1].astype(float)
        part -= part.mean((0, 1))
        return part.ravel() / np.linalg.norm(part)

    alike = [patch(rest, 0) @ patch(image, by) for by in range(-reach, reach + 1)]
    return float(np.argmax(alike) - reach) / side


def opening(rest: np.ndarray, image: np.ndarray, marks: np.ndarray, side: float) -> float:
    """How much farther apart the lips are in `image` than in `rest`, in shares of `side`; `marks`
    (68, 2) are the landmarks in `rest`."""
    # Sharp, the flow loses dark lips that part far: it takes the dark hollow for the lip.
    before, after = (cv2.GaussianBlur(picture, (0, 0), BLUR * side) for picture in (rest, image))
    upper, lower = moves(before, after, marks[[UPPER_LIP, LOWER_LIP]], side)
    return float(lower[1] - upper[1])


# When the bundled clip closes the lips and when it opens the mouth wide: (begin, end), s, of its p,
# b and m and of its long open vowels, as pocketsphinx aligns the words to the recording.
CLOSURES = (
    (0.69, 0.73), (4.31, 4.42), (4.84, 4.94), (5.11, 5.16), (5.26, 5.37), (6.07, 6.12),
    (7.05, 7.11), (9.53, 9.60), (10.15, 10.29), (11.99, 12.05), (15.27, 15.33), (15.85, 15.91),
    (17.57, 17.66), (18.06, 18.15), (18.64, 18.73), (18.85, 18.93), (19.26, 19.33),
    (19.74, 19.85), (20.22, 20.27), (20.39, 20.49), (21.10, 21.15), (21.51, 21.58),
    (21.81, 21.87),
)  # fmt: skip
VOWELS = (
    (0.52, 0.63), (1.09, 1.23), (1.39, 1.54), (1.99, 2.08), (2.21, 2.33), (3.87, 4.27),
    (4.94, 5.03), (6.12, 6.22), (6.81, 6.89), (8.47, 8.73), (10.29, 10.49), (13.11, 13.21),
    (13.77, 13.87), (17.36, 17.44), (18.15, 18.34), (19.85, 19.98), (21.15, 21.24),
    (21.58, 21.67), (22.34, 22.58),
)  # fmt: skip
