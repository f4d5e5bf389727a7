# SPDX-License-Identifier: Apache-2.0
"""The colour of teeth that no picture shows: by the whites of the eyes, which lie in the same
light."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from realtalk_ros.face_model.landmarks import EYES

# How much lighter enamel in full light is than the whites of the eyes, in green: median of the 46
# people of the Face Research Lab London Set whose smile shows their upper teeth.
LIGHTER = 1.70
# Blue and red over green of enamel and of the whites of the eyes: medians of 41 of them, none held
# out. These were photographed in one light, and there the whites do not predict the enamel (r 0.17
# in red over green, -0.08 in blue over green): what they tell is the light. In 60 other portraits
# the skin shares all of the variance of the whites' blue over green, and 0.63 of that of red over
# green (logarithms): this part is the light, and BELIEVED.
ENAMEL, WHITES, BELIEVED = np.array([[0.96, 1.06], [0.995, 1.072], [1.0, 0.6]])
# Teeth are all but white, however yellow the eyes of a painting are: the least share of the
# greatest channel that another one has, unless the skin says that the light is coloured: its least
# channel has less than NEUTRAL of its greatest. The greatest share of red that green has, as in
# those smiles.
PALEST, NEUTRAL, GREENEST = 0.7, 0.45, 0.99
# Landmarks of both cheeks' middles: below the eye, beside the nose's wing.
CHEEKS = [36, 39, 31, 2], [45, 42, 35, 14]
BRIGHTEST = 80  # percentile of an eye's pixels from which on they are its white


def expected_enamel(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(3,) BGR, in which 1 is white, of a face crop (H, W, 3) uint8 with landmarks (68, 2) in
    pixels. The eyes are open. It may be more than 1, and greener than teeth (`plausible`)."""
    seen = pixels_in(image, np.split(points[EYES], 2))
    if not len(seen):
        return np.ones(3, np.float32)
    light = seen.mean(1)
    white = seen[light >= np.percentile(light, BRIGHTEST)].mean(0)
    blue, green, red = np.maximum(white, 1)
    blue, red = ENAMEL * (np.array([blue, red]) / green / WHITES) ** BELIEVED
    enamel = np.array([blue, 1, red], np.float32) * (LIGHTER * green / 255)
    skin = pixels_in(image, [points[cheek] for cheek in CHEEKS])
    neutral = 1.0
    if len(skin):
        colour = np.maximum(np.median(skin, 0), 1)
        neutral = min(colour.min() / colour.max() / NEUTRAL, 1.0)
    return np.maximum(enamel, PALEST * neutral * enamel.max())


def pixels_in(image: np.ndarray, outlines: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 3) float32: the pixels of an image (H, W, 3) in outlines (M, 2)."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], (1,))
    return image[mask > 0].astype(np.float32)


def plausible(enamel: np.ndarray) -> np.ndarray:
    """The colour (3,) BGR that is nearest to one found, (3,), and may be that of teeth."""
    blue, green, red = enamel
    return np.array([blue, min(green, GREENEST * red), red], np.float32)
