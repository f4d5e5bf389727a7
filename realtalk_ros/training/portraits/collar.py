# SPDX-License-Identifier: Apache-2.0
"""The collar of a portrait's shirt.

NumPy only. Places are cm on the mean head's body, on the person's left; the other side mirrors
them.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.training.portraits.anatomy import Surface
from realtalk_ros.training.portraits.body import Body
from realtalk_ros.training.portraits.strands import unit

# The collar's line at the neck, its fold and its edge, from behind to the tip in front.
COLLAR = np.array([
    [(0, -9.4, -7.6), (0, -7.1, -6.9), (0, -10.3, -8.9)],
    [(3.6, -9.5, -6.6), (3.3, -7.3, -6.0), (4.5, -10.5, -7.7)],
    [(6.0, -10.0, -3.6), (5.6, -7.9, -3.3), (7.0, -11.1, -4.2)],
    [(6.7, -10.6, -0.6), (6.2, -8.7, -0.3), (7.5, -12.0, -0.4)],
    [(5.6, -11.6, 2.8), (5.4, -10.1, 3.2), (6.8, -13.5, 3.9)],
    [(3.7, -12.7, 5.0), (3.7, -11.8, 5.4), (5.2, -15.2, 6.2)],
    [(2.1, -14.3, 6.3), (2.0, -13.9, 6.3), (3.6, -17.0, 7.2)],
])  # fmt: skip
LEAF = 0.26  # cm between a collar's two layers at its fold
COLLAR_SEAM = 0.55  # cm from a collar's edge to its stitches
TUCKED = 0.22  # cm that it lies below the jumper, at least
# rad between the ways from the body's middle to two places that lie on each other: hardly, wholly.
SAME = (0.03, 0.012)


def collar(body: Body, jumper: np.ndarray) -> Surface:
    """The collar of a shirt: up the neck, over a fold, down to two tips below a jumper (N, 3)."""
    from scipy.interpolate import CubicSpline, PchipInterpolator
    from scipy.ndimage import gaussian_filter

    half = body.placed(COLLAR)
    # Its foot and its edge lie on the body; the fold keeps its place above the foot.
    foot, edge = (body.cast(unit(half[:, line] - body.middle)) for line in (0, 2))
    half = np.stack([foot, half[:, 1] - half[:, 0] + foot, edge], 1)
    half[0, :, 0] = 0.0
    whole = np.concatenate([half[:0:-1] * [-1, 1, 1], half])
    along = np.unique(np.concatenate([np.linspace(0, 1, 161), np.linspace(0, 0.06, 31),
                                      np.linspace(0.94, 1, 31)]))  # fmt: skip
    lines = CubicSpline(np.linspace(0, 1, len(whole)), whole)(along)  # (C, 3 lines, 3)
    foot, fold, edge = np.moveaxis(lines, 1, 0)
    out = unit(np.cross(np.gradient(fold, axis=0), edge - foot) * [1, 0.3, 1])
    out *= np.sign(np.sum(out * (fold - [0, -9, -1]), 1, keepdims=True))
    section = np.stack([foot, (foot + fold) / 2 + out * 0.05, fold - [0, 0.1, 0],
                        fold + out * LEAF / 2 + [0, 0.10, 0], fold + out * LEAF - [0, 0.12, 0],
                        (fold + edge) / 2 + out * LEAF, edge])  # fmt: skip
    share = [0.0, 0.25, 0.46, 0.5, 0.54, 0.78, 1.0]
    down = np.concatenate([np.linspace(0, 0.44, 10), np.linspace(0.455, 0.545, 9),
                           np.linspace(0.56, 0.84, 12), np.linspace(0.85, 1, 16)])  # fmt: skip
    points = PchipInterpolator(share, section)(down)  # (R, C, 3)
    from_edge = edge_distance(points, down)
    above = np.interp(down, [0, 0.45, 0.55, 1], [0.32, 0.45, 0.52, 0.22])[:, None]
    # Between the seam and the edge, where it is turned in, it is thicker, and round.
    padded = np.exp(-(((from_edge - 0.5 * COLLAR_SEAM) / (0.4 * COLLAR_SEAM)) ** 2))
    above = above + 0.05 * padded - 0.06 * np.exp(-((from_edge / 0.12) ** 2))
    points = body.outside(points.reshape(-1, 3), above.ravel()).reshape(*above.shape, 3)
    # The face model's neck is coarse: cloth shows its facets, but for at its ends.
    calm = gaussian_filter(points, (0.7, 4.0, 0), mode="nearest")
    share = smoothstep(np.minimum(along, 1 - along), 0.03, 0.1)[:, None]
    points = (points + share * (calm - points)).reshape(-1, 3)
    points = tucked(body.outside(points, 0.12), jumper, body.middle)
    i, j = np.meshgrid(np.arange(len(down) - 1), np.arange(len(along) - 1), indexing="ij")
    a, width = (i * len(along) + j).ravel(), len(along)
    polygons = np.stack([a, a + 1, a + width + 1, a + width], 1)
    uv = np.stack([np.tile(along * 44, len(down)), np.repeat(down * 9, len(along))], 1)
    return Surface(
        points, [tuple(p) for p in polygons.tolist()], uv[polygons].reshape(-1, 2),
        attributes={"stitched": from_edge.ravel() / COLLAR_SEAM},
    )  # fmt: skip


def edge_distance(points: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(R, C) cm of a collar's points (R, C, 3) from the edge of its outer layer, which begins at
    `down` (R,) of a half; 9 of the inner layer."""
    rows = np.linalg.norm(np.diff(points, axis=0), axis=2)
    below = np.concatenate([np.cumsum(rows[::-1], 0)[::-1], np.zeros((1, points.shape[1]))])
    columns = np.cumsum(np.linalg.norm(np.diff(points, axis=1), axis=2), 1)
    columns = np.concatenate([np.zeros((len(points), 1)), columns], 1)
    beside = np.minimum(columns, columns[:, -1:] - columns)
    return np.where(down[:, None] > 0.5, np.minimum(below, beside), 9.0)


def tucked(points: np.ndarray, jumper: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Points (N, 3), pulled towards the body's `middle` (3,) where they come through a jumper
    (M, 3)."""
    from scipy.spatial import cKDTree

    away, over = points - middle, jumper - middle
    reach = np.linalg.norm(away, axis=1)
    apart, near = cKDTree(unit(over)).query(unit(away))
    below = np.linalg.norm(over, axis=1)[near] - TUCKED
    reach = reach - smoothstep(apart, *SAME) * np.maximum(reach - below, 0)
    return middle + unit(away) * reach[:, None]
