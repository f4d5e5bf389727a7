# SPDX-License-Identifier: Apache-2.0
"""The colour of teeth that no picture shows: by the whites of the eyes, which lie in the same
light."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.face_model.landmarks import EYES

# How much lighter enamel in full light is than the whites of the eyes, blue, green, red: medians of
# the 46 people of the Face Research Lab London Set whose smile shows their upper teeth.
LIGHTER = np.array([1.64, 1.70, 1.65], np.float32)
# Teeth are all but white, however yellow the eyes of a painting are: the least share of the
# greatest channel that another one has; the greatest of red that green has.
PALEST, GREENEST = 0.7, 1.02
BRIGHTEST = 80  # percentile of an eye's pixels from which on they are its white


def expected_enamel(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(3,) BGR, in which 1 is white, of a face crop (H, W, 3) uint8 with landmarks (68, 2) in
    pixels. The eyes are open. It may be more than 1, and is yet to be made `plausible`."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for eye in np.split(points[EYES], 2):
        cv2.fillPoly(mask, [np.rint(eye).astype(np.int32)], (1,))
    seen = image[mask > 0].astype(np.float32)
    if not len(seen):
        return np.ones(3, np.float32)
    light = seen.mean(1)
    white = seen[light >= np.percentile(light, BRIGHTEST)].mean(0)
    return LIGHTER * white / 255


def plausible(enamel: np.ndarray) -> np.ndarray:
    """The colour (3,) BGR that is nearest to one found, (3,), and may be that of teeth."""
    blue, green, red = np.maximum(enamel, PALEST * enamel.max())
    return np.array([blue, min(green, GREENEST * red), red], np.float32)
