# SPDX-License-Identifier: Apache-2.0
"""How soft a picture of a face is. A small or compressed one has no fine detail, and a mouth that
is drawn into it as sharply as into a photograph looks pasted in."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.face_model.landmarks import EYES

# Lids, lashes and irises have edges in every face. In their boxes the detail that a Gaussian of the
# first of these takes is compared with what the second takes of the rest (sd, pixels of 256).
FINE, COARSE = 1.0, 2.0
MARGIN = 4  # pixels around an eye
# What that ratio of standard deviations is, medians of 68 photographs of the Face Research Lab
# London Set, blurred by so much: 1.11 as they are, 5 % of all below 0.95.
RATIO = (0.46, 0.53, 0.65, 0.79, 0.94, 1.0)
BLUR = (2.0, 1.5, 1.0, 0.7, 0.5, 0.0)  # sd, pixels
SOME = 8  # templates of a film that are enough


def softness(faces: Sequence[np.ndarray], landmarks: np.ndarray) -> float:
    """Of face crops (256, 256, C) uint8 with landmarks (T, 68, 2) in normalised coordinates: the
    median of `blur_of` some."""
    some = slice(None, None, len(faces) // SOME + 1)
    pairs = zip(faces[some], landmarks[some] * CROP_SIZE, strict=True)
    return float(np.median([blur_of(face, points) for face, points in pairs]))


def blur_of(face: np.ndarray, points: np.ndarray) -> float:
    """The sd, pixels, of the blur that makes a sharp face crop as soft as `face` (256, 256, 3)
    uint8 with landmarks (68, 2) in pixels; at most 2, 0 for a sharp one."""
    green = face[..., 1].astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(green, (0, 0), sd) for sd in (FINE, COARSE))
    eyes = np.zeros(green.shape, bool)
    for eye in np.split(points[EYES], 2):
        left, top = np.maximum(eye.min(0) - MARGIN, 0).astype(int)
        right, bottom = (eye.max(0) + MARGIN).astype(int) + 1
        eyes[top:bottom, left:right] = True
    left_out = float((fine - coarse)[eyes].std()) if eyes.any() else 0.0
    if not left_out:
        return 0.0
    return float(np.interp((green - fine)[eyes].std() / left_out, RATIO, BLUR))
