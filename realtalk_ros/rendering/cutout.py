# SPDX-License-Identifier: Apache-2.0
"""The person of a template without the wall behind, by the matte that comes with the avatar.

A template shows F a + B (1 - a): at the person's edges and between the hairs the wall B shines
through by what the matte a leaves. B is continued from where nothing of the person is, and taken
out, so that no rim of the old wall is left before another background.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.rendering.common.extrapolation import extrapolated

ROWS = 192  # of the picture in which the wall is continued
REACHES = (30.0, 10.0, 4.0, 2.0)  # pixels of that, of the means that continue it
NEAR = np.ones((3, 3), np.uint8)  # around the person nothing is taken for the wall


def cut_out(template: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """(height, width, 4) uint8, BGR of premultiplied alpha: of a template (height, width, 3) and
    its matte (height, width), both uint8, what the matte keeps."""
    height, width = matte.shape
    size = round(ROWS * width / height), ROWS
    small = cv2.resize(template, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    person = cv2.dilate(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), NEAR)
    wall = cv2.resize(extrapolated(small, person == 0, REACHES), (width, height))
    share = matte[..., None].astype(np.float32)
    own = np.clip(template - (1 - share / 255) * wall, 0, share)
    return np.dstack([np.uint8(own + 0.5), matte])
