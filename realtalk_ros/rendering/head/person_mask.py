# SPDX-License-Identifier: Apache-2.0
"""Where in an avatar's pictures the person is, and what lies behind.

The head's model says where the head is for certain, and where nothing of it can be; between, hair
and shoulders are told from the background by colour (GrabCut: Rother, Kolmogorov, Blake 2004).
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.rendering.common.extrapolation import extrapolated
from realtalk_ros.rendering.head.head_depth import HeadDepth

ROWS = 192  # of the picture in which colours are compared
ITERATIONS = 2
SEED = 1  # GrabCut draws at random
# cm around the head's model: hair is likely up to the first; up to the second it is possible, and
# so are shoulders that are raised.
HAIR, MAX_HAIR = 2.0, 11.0
INSIDE = 0.8  # cm within the model's outline the picture shows the head for certain
# cm below the chin, where shoulders begin, and half the widths there and a centimetre lower.
SHOULDERS, NECK, SLOPE = 5.0, 6.0, 2.5
MAX_SHOULDERS = 3.0  # cm above the likely shoulders, where they are possible
BITE = 9  # pixels: narrower bites into the outline are hair of the background's colour
# Loose hair: levels by which it differs from an even background; reach of its means, pixels.
LOOSE, LOOSE_REACHES = 12, (30.0, 10.0)
TOUCH = 5  # pixels along which furniture touches where no person can be
MAX_HOLE = 400  # pixels: smaller holes are gleams on hair or clothes
# cm below the likely shoulders, and half the width there, of what is body for certain.
TRUNK, TRUNK_WIDTH = 2.0, 12.0


def person_mask(picture: np.ndarray, head: HeadDepth, template: int) -> np.ndarray:
    """(ROWS, columns) uint8 0 or 255 of a template's picture (height, width, 3)."""
    columns = round(ROWS * picture.shape[1] / picture.shape[0])
    small = cv2.resize(picture, (columns, ROWS), interpolation=cv2.INTER_AREA)
    guess = _guess(head, template, (ROWS, columns))
    cv2.setRNGSeed(SEED)
    labels = guess.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(
            small, labels, (0, 0, 0, 0), *models, iterCount=ITERATIONS, mode=cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:  # it is all person, or all background
        labels = guess
    mask = np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    mask = _whole(_without_furniture(mask, guess), guess == cv2.GC_FGD)
    loose = _loose_hair(small, mask, guess != cv2.GC_BGD)
    return _whole(cv2.bitwise_or(mask, loose), mask > 0)


def _without_furniture(mask: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """The mask without what has the person's colours and goes on where no person can be: a wooden
    door beside brown hair."""
    doubtful = cv2.bitwise_and(mask, np.where(guess == cv2.GC_PR_BGD, 255, 0).astype(np.uint8))
    count, parts = cv2.connectedComponents(doubtful)
    rim = cv2.dilate((guess == cv2.GC_BGD).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    touching = np.bincount(np.asarray(parts[rim & (parts > 0)], np.intp), minlength=count)
    return np.where(np.isin(parts, np.flatnonzero(touching > TOUCH)), 0, mask).astype(np.uint8)


def _loose_hair(picture: np.ndarray, mask: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """uint8 0 or 255: what differs from the background, where that is even."""
    background = cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
    even = extrapolated(picture.astype(np.float32), background, LOOSE_REACHES)
    differs = np.abs(picture - even).max(-1)
    usual = np.median(differs[background]) if background.any() else np.inf
    return np.where(possible & (differs > max(LOOSE, 6 * usual)), 255, 0).astype(np.uint8)


def _guess(head: HeadDepth, template: int, shape: tuple[int, int]) -> np.ndarray:
    """What a cell is by the head's model alone: cv2.GC_..., uint8 of `shape`."""
    cm = head.pixels_per_cm * shape[0] / head.size[1]  # cells of a centimetre
    _, inside = head.visible(template, shape)
    outside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) / cm
    deep = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5) / cm
    flat = np.zeros(shape, np.float32)
    x, y, _ = np.moveaxis(head.in_space(template, flat), -1, 0)
    below = head.chin - SHOULDERS - y  # cm below where the shoulders begin
    # Shoulders: a slope from the neck outwards, which no photograph leaves out.
    height = below - (np.abs(x) - NECK) / SLOPE
    guess = np.full(shape, cv2.GC_BGD, np.uint8)
    guess[(outside < MAX_HAIR) | (height > -MAX_SHOULDERS)] = cv2.GC_PR_BGD
    guess[(outside < HAIR) | ((height > 0) & (below > 0))] = cv2.GC_PR_FGD
    trunk = (height > TRUNK) & (np.abs(x) < TRUNK_WIDTH)
    guess[((deep > INSIDE) & (below < 0)) | ((below > TRUNK) & trunk)] = cv2.GC_FGD
    return guess


def _whole(mask: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """The mask's part that is connected with `certain`, without small holes."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BITE, BITE))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    _, parts = cv2.connectedComponents(mask)
    kept = np.setdiff1d(np.unique(parts[certain]), [0])
    mask = np.where(np.isin(parts, kept), 255, 0).astype(np.uint8)
    _, holes, sizes, _ = cv2.connectedComponentsWithStats(255 - mask)
    small = np.flatnonzero(sizes[:, cv2.CC_STAT_AREA] < MAX_HOLE)
    mask[np.isin(holes, small) & (mask == 0)] = 255
    return mask
