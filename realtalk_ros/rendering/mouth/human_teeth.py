# SPDX-License-Identifier: Apache-2.0
"""The upper front teeth of the mean face and their gum, as people have them (NumPy).

The face model's first incisors are twice as high as their neighbours, its gum has two vertices
astray and hangs low between the teeth, and its teeth stand apart. Here vertices of mouth.py's
interior are moved, once; lengths are centimetres, y points up, z to the front.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit

# Two vertices of the gum over the upper incisors are not where those of the other side are, and
# cover half a tooth and leave a hole: where they are, and where they belong.
GUM_PLACES = (
    ((-0.21, -2.51, 10.72), (0.0, -2.45, 10.6)),
    ((-0.18, -2.74, 10.37), (-0.57, -2.716, 10.305)),
)
# The points of the gum between the teeth: what hangs lower than this keeps this share of it; what
# is farther back is the palate.
GUM_LINE, GUM_POINTS, GUM_FRONT = -2.6, 0.7, 8.0
# The roots of the first incisors stand out of the gum. Vertices that are nearer to the middle and
# higher than this are set back so far; so that the tooth remains wide at the gum, two are moved
# aside, here and on the other side.
INCISOR, ROOTS, SET_BACK = 0.9, -2.2, 0.6
NECK = (((0.27, -2.5, 10.72), (0.2, -2.51, 10.72)), ((0.59, -2.47, 10.63), (0.68, -2.51, 10.57)))
FRONT_TEETH = 9.0  # what is farther back is no incisor
# In 27 films of people a mouth that is open by 0.17 of the distance of the eyes' outer corners
# shows 0.020 of it of the lower teeth and 0.022 of the upper ones, if the jaw is down (means of
# people's medians; half of the people show lower ones). Drawn faces showed 0.001 of lower teeth,
# and show 0.018 with them raised by this.
LOWER_HIGHER = 0.35
# Lower teeth right below the upper ones look like a second row. Rounded lips throw their shadow on
# them while the jaw is up: what they take of their light, and from where to where of jawOpen less
# of it. By eye. (Those of smiles are left in the light: LPIPS of 41 is 0.0005 worse without.)
IN_SHADOW, JAW_DOWN = 0.85, (0.08, 0.35)
ROUNDED, JAW_OPEN = [arkit.INDEX["mouthPucker"], arkit.INDEX["mouthFunnel"]], arkit.INDEX["jawOpen"]
# Between the first incisors people are as light as beside it (45 smiles, mean within 0.08 cm of the
# middle: 0.99 of the incisors' light); the model is 0.73. Vertices so near to the middle are drawn
# to this share of it: a thin line is left, else two teeth look like one.
SLIT, CLOSED = 0.12, 0.5
# The outer surface of the upper teeth: z at x, and by how much less it may be; above this y it
# bends back.
OUTER_X, OUTER_Z = (0.0, 0.87, 1.4, 2.0, 2.4, 2.65), (10.7, 10.5, 10.2, 9.75, 8.9, 8.2)
OUTER_DEPTH, OUTER_Y = 0.3, -2.4
# Likewise of the lower ones, below which y they bend back.
LOWER_X, LOWER_Z, LOWER_Y = (0.0, 0.77, 1.4, 1.8, 2.2), (10.58, 10.4, 10.2, 9.8, 9.2), -4.4


def placed(
    inside: np.ndarray, upper: np.ndarray, lower: np.ndarray, gums: np.ndarray
) -> np.ndarray:
    """The interior (V, 3) with gums and teeth as people have them; `upper` and `lower` (V,) are the
    teeth, `gums` (V,) what else does not move with the jaw."""
    (x, y, z), places = inside.T, inside.copy()
    aside, front = np.abs(x), upper & (z > FRONT_TEETH)
    for wrong, right in GUM_PLACES:
        places[nearest(inside, wrong)] = right
    points = gums & (y < GUM_LINE) & (z > GUM_FRONT)
    places[points, 1] = GUM_LINE + GUM_POINTS * (places[points, 1] - GUM_LINE)
    places[front & (aside < INCISOR) & (y > ROOTS), 2] -= SET_BACK
    teeth = np.where(upper[:, None], inside, np.inf)
    for narrow, wide in NECK:
        for side in ((1, 1, 1), (-1, 1, 1)):
            places[nearest(teeth, np.multiply(narrow, side))] = np.multiply(wide, side)
    places[upper & (aside < SLIT), 0] *= CLOSED
    places[lower, 1] += LOWER_HIGHER
    return places


def behind_rounded_lips(weights: np.ndarray) -> float:
    """What share of the lower teeth's light is lost, for weights (52,)."""
    jaw_up = 1 - smoothstep(float(weights[JAW_OPEN]), *JAW_DOWN)
    return IN_SHADOW * jaw_up * min(1.0, float(weights[ROUNDED].sum()))


def outer_surface(inside: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """(N,): those of the vertices (V, 3) that are on the outer surface of the upper teeth, which
    are `upper` (V,), as far as it is seen."""
    (x, y, z), last = inside.T, OUTER_X[-1]
    outer = np.interp(np.abs(x), OUTER_X, OUTER_Z) - OUTER_DEPTH
    return np.flatnonzero(upper & (y < OUTER_Y) & (np.abs(x) < last) & (z > outer))


def outer_lower_surface(inside: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """As `outer_surface`, of the lower teeth."""
    (x, y, z), last = inside.T, LOWER_X[-1]
    outer = np.interp(np.abs(x), LOWER_X, LOWER_Z) - OUTER_DEPTH
    return np.flatnonzero(lower & (y > LOWER_Y) & (np.abs(x) < last) & (z > outer))


def nearest(points: np.ndarray, to: Sequence[float] | np.ndarray) -> int:
    """The number of the point, of (V, 3), that is nearest to (3,)."""
    return int(np.square(points - np.asarray(to)).sum(-1).argmin())
