# SPDX-License-Identifier: Apache-2.0
"""What the renderer's networks make of one frame (generator.py), for compositor.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from realtalk_ros.rendering.common.boxes import Box


class Lids(NamedTuple):
    """What is painted over the lids of a frame that close, in the networks' crop."""

    layers: np.ndarray  # (S, S, 2) uint8, see `ClosingLid.layers` in eyes.py
    rows: slice  # in which they are not 0
    columns: slice


class SeenEyeball(NamedTuple):
    """What is seen of one eyeball of a frame (eyes/eyeballs.py), in a box of the networks' crop."""

    side: int  # 0: the right one, 1: the left one
    # (h, w, 4) float32: x and y in the template's crop at which it shows the eyeball that is here,
    # and what lies on it at the lids' edges
    places: np.ndarray
    weight: np.ndarray  # (h, w) float32 0..1
    rows: slice
    columns: slice


class Cheek(NamedTuple):
    """One cheek of a template (cheeks.py)."""

    box: Box  # of the networks' crop, in which it moves
    share: np.ndarray  # (h, w) float32 0..1: how far its pixels move
    cells: Box  # of `GeneratedFace.change`
    light: np.ndarray  # (ch, cw, 4) float32 BGR levels that are added there, and 0


class MovedCheek(NamedTuple):
    """What a frame makes of it."""

    cheek: Cheek
    source: tuple[float, float]  # x and y by which a pixel's source lies elsewhere, at a share of 1
    light: float  # share of its light


@dataclass(frozen=True)
class GeneratedFace:
    """In the networks' crop of the face, and in its mouth crop (contracts.py)."""

    change: np.ndarray  # (64, 64, 3) float32 BGR levels, added to the warped template
    mask: np.ndarray  # (64, 64) float32 0..1: how far the template is replaced
    mouth: np.ndarray  # (128, 128, 3) uint8 BGR, what is in the mouth crop
    warped_mouth: np.ndarray  # (128, 128, 3) uint8, the warped template there
    mouth_interior: np.ndarray  # (256, 256, 3) uint8, see mouth.py and eyes.py
    # To show the template's own pixels: where in its crop one lies, x and y, (2, 256, 256) float32;
    # and closing lids over them.
    sampling_grid: np.ndarray
    lids: Lids | None
    eyeballs: Sequence[SeenEyeball]  # none where the template shows them as they are
    cheeks: Sequence[MovedCheek]
