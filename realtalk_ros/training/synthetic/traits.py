# SPDX-License-Identifier: Apache-2.0
"""What decides how a synthetic person looks, and the colours of which there are only some."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Skin under white light from very light to very dark, sRGB (after the Fitzpatrick and Monk scales);
# the first and the last lie beyond tone 0 and 1.
SKIN_TONES = np.array(
    [[255, 234, 222], [247, 218, 201], [238, 200, 176], [226, 182, 152], [205, 156, 122],
     [176, 125, 91], [139, 94, 66], [104, 69, 49], [74, 49, 37], [44, 29, 24]],
    np.float32) / 255  # fmt: skip
HAIR_COLOURS = np.array(  # linear rgb
    [[0.012, 0.009, 0.008], [0.03, 0.017, 0.01], [0.07, 0.035, 0.018], [0.13, 0.065, 0.03],
     [0.28, 0.165, 0.075], [0.45, 0.32, 0.17], [0.26, 0.075, 0.025], [0.36, 0.35, 0.34],
     [0.65, 0.64, 0.62]])  # fmt: skip
IRIS_COLOURS = np.array(
    [[0.05, 0.02, 0.008], [0.09, 0.04, 0.015], [0.13, 0.075, 0.025], [0.12, 0.12, 0.045],
     [0.07, 0.12, 0.08], [0.07, 0.14, 0.24], [0.14, 0.2, 0.27], [0.17, 0.19, 0.2]])  # fmt: skip


@dataclass
class Traits:
    """What decides a look. Amounts are 0..1 unless said otherwise."""

    tone: float = 0.3  # 0 light .. 1 dark
    undertone: float = 0.0  # -1 rosy .. 1 olive
    redness: float = 0.5
    mottle: float = 0.5
    freckles: float = 0.0
    moles: int = 2
    pores: float = 0.5
    age: float = 0.0  # folds of forehead, eyes and mouth, spots
    body_paint: float = 0.0  # in colours of no human kind, over the skin
    shine: float = 1.0  # factor of gloss
    lip_hue: np.ndarray = field(default_factory=lambda: np.array([0.78, 0.36, 0.36]))  # sRGB
    lip_strength: float = 0.55
    hair_colour: np.ndarray = field(default_factory=lambda: HAIR_COLOURS[2])
    brow_thickness: float = 0.5
    brow_density: float = 0.7
    brow_lift: float = 0.0  # cm
    stubble: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    eyeshadow: float = 0.0
    eyeshadow_colour: np.ndarray = field(default_factory=lambda: np.array([0.35, 0.22, 0.25]))
    eyeliner: float = 0.0
    blush: float = 0.0
    dark_circles: float = 0.3  # under the eyes
    iris: np.ndarray = field(default_factory=lambda: IRIS_COLOURS[1])
    lashes: float = 0.5
    hair: str = "short"  # "bald", "shaved" or one of hair.STYLES
    hair_strands: int = 2600
    hair_width: float = 0.13  # cm
    hair_length: float = 1.0  # factor
    part_side: float = 1.0  # -1 or 1
    hairline: float = 0.0  # cm lower on the forehead than usual
    cloth: np.ndarray = field(default_factory=lambda: np.array([0.10, 0.13, 0.20]))
    collar: float = 0.5
    glasses: float = 0.0  # above 0: thickness of the frame, 1 is thick
    cap: bool = False
