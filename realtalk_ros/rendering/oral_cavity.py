# SPDX-License-Identifier: Apache-2.0
"""Light in an open mouth: the tongue's back is dark under the upper teeth, its front lies in the
light over the lower lip.

The generator has learned it from rendered mouths, in which no shadow falls: its tongue is even, and
as dark as their darkest part. `lit` makes it as light, from top to bottom, as in photographs.
"""

from __future__ import annotations

import cv2
import numpy as np

# Lightness of the flesh in open mouths, by how far from the upper (0) to the lower inner lip (1):
# median of 170 frames of 14 people who speak or shout (films of other projects, GRID) over that of
# 79 pictures of 29 avatars, each in shares of the cheeks' lightness; a quarter less, as most films
# are lit from the camera. The end is set by eye: the lower lip throws a shadow on the tongue.
HEIGHT = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], np.float32)
LIGHT = np.array([0.7, 0.8, 0.9, 1.05, 1.2, 1.35, 1.35, 1.2, 0.8], np.float32)
LEVELS = np.interp(np.arange(256) / 255, HEIGHT, LIGHT).astype(np.float32)
OPEN = 128  # level of the map's first channel from which a pixel counts as in the mouth
ENAMEL = 6.0  # by which enamel is taken to be lighter than the map has it: it may lie in the shade
SMOOTH = 9  # pixels over which the borders of the opening are smoothed


def lit(interior: np.ndarray, drawn: np.ndarray) -> None:
    """Lights the flesh of a drawn mouth (S, S, 3) uint8, in place, by the map of its interior
    (S, S, 3) uint8 (mouth.py)."""
    x, y, width, height = cv2.boundingRect(cv2.extractChannel(interior, 0))
    if not width:
        return
    box = slice(y, y + height), slice(x, x + width)
    opened, enamel, _ = cv2.split(interior[box])
    inside = opened >= OPEN
    borders = np.array([inside.argmax(0), height - inside[::-1].argmax(0)], np.float32)
    top, bottom = cv2.blur(borders, (SMOOTH, 1), borderType=cv2.BORDER_REPLICATE)
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    at = (rows - top) * (255 / np.maximum(bottom - top, 1)) + 0.5
    light = cv2.LUT(np.clip(at, 0, 255).astype(np.uint8), LEVELS)
    no_enamel = 255 - cv2.convertScaleAbs(enamel, alpha=ENAMEL)
    flesh = cv2.multiply(opened, no_enamel, scale=1 / 255**2, dtype=cv2.CV_32F)
    factor = 1 + flesh * (light - 1)
    drawn[box] = cv2.multiply(drawn[box], cv2.merge([factor] * 3), dtype=cv2.CV_8U)
