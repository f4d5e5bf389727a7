# SPDX-License-Identifier: Apache-2.0
"""The shade between a person's teeth, which makes them single ones.

Teeth are round, and meet at their sides: there they are darker, most at their lower corners, which
leave a notch. The generator draws them as even as the map of the mouth (mouth.py) has them, so this
shade is laid over its picture (oral_cavity.py). Upper teeth stay with the skull, so it is computed
once for each template. That between lower teeth, which follow the jaw, is looked up in each frame.

On the mean face's teeth, lengths are centimetres; x is 0 in the middle, y points up.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtalk_ros.contracts import MOUTH_CROP

# Where teeth meet, from the middle: the darkest places between the upper teeth of 40 smiles of the
# Face Research Lab London Set are at -0.04, 0.82, 1.38, 1.93 and 2.39 (medians), the mean face's
# teeth meet at 0, 0.87, 1.43, 1.95 and 2.38.
MEET = (0.0, 0.86, 1.42, 1.94, 2.38)
# How much darker it is there, along the whole tooth and, on top of that, at its edge. The mean of
# these smiles is darker than that of drawn ones by 0.02, 0.06, 0.15 and 0.21 at the last four
# places, in the lower third by 0.1, 0.16, 0.15 and 0.05; the first line the generator draws itself.
# A single smile's lines are deeper than this mean, as theirs lie at slightly different places.
# LPIPS is best about here (docs/experiments.md, "Single teeth").
LINE, NOTCH = (0.0, 0.07, 0.12, 0.17, 0.19), (0.12, 0.48, 0.42, 0.18, 0.06)
LINE_WIDTH, NOTCH_WIDTH, NOTCH_HEIGHT = 0.075, 0.09, 0.14  # standard deviations; 1/e of the depth
# The teeth's edge: y at x. What is lower by more than this is no upper tooth.
EDGE_X, EDGE_Y = (0.0, 0.7, 1.0, 1.4, 1.75, 2.2, 2.6), (-3.53, -3.49, -3.45, -3.45, -3.4, -3.36,
                                                        -3.33)  # fmt: skip
BELOW = 0.1
# What is lower is a lower tooth, behind them and in their shadow: how much darker at the edge, and
# cm below it at 1/e of that. By eye, on the two rows of people who say "ee".
SHADOW, SHADOW_DEPTH = 0.55, 0.13
SAMPLES = 3  # of a pixel, along each side
# Where the mean face's lower teeth meet, and how much darker it is there, by eye. (Twice as much
# is no nearer to people, see docs/experiments.md.)
LOWER_MEET, LOWER_LINE = (0.0, 0.67, 1.22, 1.62, 2.05), (0.12, 0.16, 0.16, 0.13, 0.1)
LOWER_WIDTH, PIXEL = 0.07, 0.1  # standard deviation; a pixel of the crop is some 0.1 wide
STEPS = 64  # of a centimetre, of the table that holds it


def tooth_relief(seen: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(S, S) uint8, 255: as light as before, of the mouth crop, where points `places` (N, 2) of the
    upper teeth, cm on the mean face's, are seen at pixels `seen` (N, 2)."""
    side = MOUTH_CROP[2]
    relief = np.full((side, side), 255, np.uint8)
    low = np.clip(np.floor(seen.min(0)) - 2, 0, side).astype(int)
    high = np.clip(np.ceil(seen.max(0)) + 3, 0, side).astype(int)
    if not (high > low).all():
        return relief
    width, height = high - low
    x, y = (
        (np.arange(SAMPLES * count, dtype=np.float32) + 0.5) / SAMPLES - 0.5 + first
        for count, first in zip((width, height), low, strict=True)
    )
    x, y = np.meshgrid(x, y)
    centre, scale = seen.mean(0), seen.std(0).max()
    known = _terms(*((seen - centre) / scale).T)
    found = np.linalg.lstsq(known.T, places, rcond=None)[0].astype(np.float32)
    at = np.tensordot(found.T, _terms((x - centre[0]) / scale, (y - centre[1]) / scale), 1)
    blocks = light_between(*at).reshape(height, SAMPLES, width, SAMPLES)
    part = slice(low[1], high[1]), slice(low[0], high[0])
    relief[part] = np.rint(255 * blocks.mean((1, 3)))
    return relief


def light_between_lower(across: np.ndarray) -> np.ndarray:
    """The light on lower teeth, float32, as far from the middle as `across`, cm."""
    table = _lower_table()
    # Of a face of few pixels what lies beside it may be too far away for whole numbers, or NaN.
    index = np.fmin(np.abs(across) * STEPS, len(table) - 1)
    return np.asarray(table[index.astype(np.int32)])


@lru_cache(maxsize=1)
def _lower_table() -> np.ndarray:
    """From the middle to where the last of the lower teeth meet, and on, by pixels."""
    middles = (np.arange(STEPS * (LOWER_MEET[-1] + 1)) + 0.5) / STEPS
    x = middles[:, None] + PIXEL * (np.arange(SAMPLES) / SAMPLES - 0.5 + 0.5 / SAMPLES)
    light = np.ones_like(x)
    for place, line in zip(LOWER_MEET, LOWER_LINE, strict=True):
        beside = np.square((np.abs(x) - place) / LOWER_WIDTH) / -2
        light = np.minimum(light, 1 - line * np.exp(beside))
    return light.mean(1).astype(np.float32)


def _terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(7, ...): a polynomial's terms. The rows of teeth are curved, and look so from aside."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, x**3, x * x * y]).astype(np.float32)


def light_between(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The light on the mean face's upper teeth at (x, y) cm, beside that on the middle of each."""
    aside = np.abs(x)
    above = y - np.interp(aside, EDGE_X, EDGE_Y).astype(np.float32)
    edge = np.exp(-np.maximum(above, 0) / NOTCH_HEIGHT)
    shade = np.zeros_like(x)
    for place, line, notch in zip(MEET, LINE, NOTCH, strict=True):
        beside = np.square(aside - place) / -2
        joint = line * np.exp(beside / LINE_WIDTH**2)
        shade = np.maximum(shade, joint + notch * edge * np.exp(beside / NOTCH_WIDTH**2))
    upper = np.clip(1 + above / BELOW, 0, 1)
    shadow = SHADOW * np.exp(np.minimum(above + BELOW, 0) / SHADOW_DEPTH)
    return 1 - shade * upper - shadow * (1 - upper)
