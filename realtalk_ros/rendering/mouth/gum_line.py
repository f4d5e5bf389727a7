# SPDX-License-Identifier: Apache-2.0
"""The gum over a person's upper front teeth (NumPy).

The face model's ends in steps: over some teeth it hangs low, between them in broad flaps. In people
it is an arch over each tooth, with a narrow point between two. So a strip of gum with such a border
is laid in front of the roots, and what hangs lower is raised.

On the mean face, lengths are centimetres; x is 0 in the middle, y points up, z to the front.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.rendering.mouth.human_teeth import OUTER_X, OUTER_Z
from realtalk_ros.rendering.mouth.tooth_relief import EDGE_X, EDGE_Y, MEET

# How far above its edge a tooth meets the gum, from the first to the fourth, and how much lower the
# gum's points on both of its sides are: crowns of incisors are some 10 mm high, of the second ones
# 1 mm less, of canines nearly as high, and points fill 0.4 of that (text-book averages).
HEIGHTS, POINTS = np.array([1.03, 0.93, 0.96, 0.84]), 0.48
ROUND = 2.6  # exponent of the arches: 2 is an ellipse, more is flatter
STEPS = (0.0, 0.4, 0.7, 0.9)  # of half a tooth, from its middle: columns of the strip
TOP, BEFORE = -2.2, 0.05  # y of the strip's upper border; how far before the teeth it lies
ROOTS = -2.0  # y from which on teeth are hidden
RAISED = 0.12  # what else is gum ends so far above the line
LIGHT = 145.0  # the level of the strip, as of the face model's gum there
ENDS = np.array(MEET)
MIDDLES, HALVES = (ENDS[:-1] + ENDS[1:]) / 2, np.diff(ENDS) / 2  # of the teeth


def gum_line(x: np.ndarray) -> np.ndarray:
    """The y of the gum's border at x, which is at most as far aside as the last of MEET."""
    aside = np.minimum(np.abs(x), ENDS[-1])
    tooth = np.clip(np.searchsorted(ENDS, aside, side="right") - 1, 0, len(MIDDLES) - 1)
    tops = np.interp(MIDDLES, EDGE_X, EDGE_Y) + HEIGHTS
    low = np.concatenate([tops[:1], (tops[1:] + tops[:-1]) / 2, tops[-1:]]) - POINTS
    point, off = np.interp(aside, ENDS, low), np.abs(aside - MIDDLES[tooth]) / HALVES[tooth]
    return np.asarray(point + (tops[tooth] - point) * np.sqrt(np.maximum(1 - off**ROUND, 0)))


def strip() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (K, 3) float32 and triangles (F, 3) of the strip."""
    steps = np.array([-step for step in STEPS[:0:-1]] + list(STEPS))
    right = np.sort(np.concatenate([(MIDDLES + HALVES * steps[:, None]).ravel(), ENDS]))
    x = np.concatenate([-right[:0:-1], right])
    z = np.interp(np.abs(x), OUTER_X, OUTER_Z) + BEFORE
    rows = np.stack([np.stack([x, y, z], -1) for y in (gum_line(x), np.full_like(x, TOP))])
    left = np.arange(len(x) - 1)
    low, top = left, left + len(x)
    faces = np.concatenate(
        [np.stack([low, low + 1, top], -1), np.stack([low + 1, top + 1, top], -1)]
    )
    return rows.reshape(-1, 3).astype(np.float32), faces


def raised(places: np.ndarray, gums: np.ndarray) -> np.ndarray:
    """The interior (V, 3) with those of its vertices that are gum over the front teeth, of `gums`
    (V,), no lower than the strip's border."""
    (x, y, z), places = places.T, places.copy()
    outer = np.interp(np.abs(x), OUTER_X, OUTER_Z)
    front = gums & (np.abs(x) < ENDS[-1]) & (z > outer - 1)
    places[front, 1] = np.maximum(y, gum_line(x) + RAISED)[front]
    return places
