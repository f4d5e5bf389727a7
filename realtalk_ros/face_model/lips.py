# SPDX-License-Identifier: Apache-2.0
"""How far ARKit weights part the lips and how wide they make the mouth, on the mean face."""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.landmarks import (
    EYE_CORNERS,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    MOUTH_LEFT,
    MOUTH_RIGHT,
)

_FACE = landmarks.load()
# (52,) gap between the middles of the inner lips, and the mouth's width, cm per unit
# of ARKit weight; lips that meet may be pressed together further. REST_...: the resting face's.
GAP = _FACE.expressions[:, INNER_UPPER_LIP, 1] - _FACE.expressions[:, INNER_LOWER_LIP, 1]
WIDTH = _FACE.expressions[:, MOUTH_LEFT, 0] - _FACE.expressions[:, MOUTH_RIGHT, 0]
REST_WIDTH = float(_FACE.mean[MOUTH_LEFT, 0] - _FACE.mean[MOUTH_RIGHT, 0])
REST_GAP = float(_FACE.mean[INNER_UPPER_LIP, 1] - _FACE.mean[INNER_LOWER_LIP, 1])

EYES_CM = float(np.subtract(*_FACE.mean[EYE_CORNERS[::-1], 0]))  # cm between the outer corners

# What opens the lips, and the share of the gap that each takes: as the articulation table has it
# for open vowels.
OPENING = {
    "jawOpen": 0.62, "mouthLowerDownLeft": 0.12, "mouthLowerDownRight": 0.12,
    "mouthUpperUpLeft": 0.07, "mouthUpperUpRight": 0.07,
}  # fmt: skip
OPENING_WEIGHTS = arkit.indices(*OPENING)
OPENING_STEP = np.array(list(OPENING.values()), np.float32) / GAP[OPENING_WEIGHTS]  # of 1 cm more


def gap_of(weights: np.ndarray) -> np.ndarray:
    """ARKit weights (..., 52) -> cm between the lips (...), 0 where they meet or press."""
    return np.maximum(np.asarray(weights @ GAP) + REST_GAP, 0)


def aperture_of(weights: np.ndarray) -> np.ndarray:
    """ARKit weights (..., 52) -> that gap over the distance of the outer corners of the eyes."""
    return np.asarray(gap_of(weights) / EYES_CM)
