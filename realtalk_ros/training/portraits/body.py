# SPDX-License-Identifier: Apache-2.0
"""Shoulders, chest and upper arms of a portrait's people, as a signed distance.

NumPy only. Places are cm on the mean head's body, on the person's left; the other side mirrors
them.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import anatomy
from realtalk_ros.training.portraits.people import Sitter
from realtalk_ros.training.portraits.strands import unit

MIDDLE = np.array([0.0, -24.0, -2.5])  # from which all of the body can be seen
CLOSE = 2.5  # cm from the face model's skin, within which it counts
BLEND = 2.6  # cm within which parts of the body merge


class Body:
    """Shoulders, chest and upper arms of a sitter whose head is `head` (V, 3)."""

    def __init__(self, kit: FaceKit, head: np.ndarray, sitter: Sitter):
        from scipy.spatial import cKDTree

        stop = kit.parts["head_neck"].stop
        slim = anatomy.slimmed(head, sitter.slim_neck)[:stop]
        low = (kit.mean[:stop, 1] < -9.0) & (np.abs(kit.mean[:stop, 0]) > 6.0)
        moved = (head[:stop] - kit.mean[:stop])[low]
        self.shift = np.array([0.0, np.quantile(moved[:, 1], 0.8), moved[:, 2].mean()])
        self.middle, self.broad = MIDDLE + self.shift, sitter.broad
        wide = np.abs(head[:stop][low, 0]).mean() / np.abs(kit.mean[:stop][low, 0]).mean()
        self.neck = wide * (1 - 0.6 * sitter.slim_neck)
        bust = (kit.mean[:stop, 1] < -4.0) & (kit.mean[:stop, 2] < 7.0)
        self._skin, self._out = slim[bust], kit.normals(head)[:stop][bust]
        self._tree = cKDTree(self._skin)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """(N,) cm, below 0 inside, of points (N, 3)."""
        b = self.broad
        p = points - self.shift
        p[:, 0] = np.abs(p[:, 0])
        arm = 0.5 + 0.5 * b
        parts = [
            capsule(p, (2.5, -12.6, -3.2), (16.2 * b, -18.4, -2.8), (3.5, 2.9)),
            capsule(p, (18.0 * b, -20.2, -2.6), (21.4 * b, -46.0, -1.0), (4.4 * arm, 4.6 * arm)),
            ellipsoid(p - [0, -31.0, -1.8], np.array([16.5 * b, 16.8, 9.4 * arm])),
        ]
        out = parts[0]
        for part in parts[1:]:
            out = union(out, part, BLEND)
        return union(out, self._near_skin(points), 1.0)

    def _near_skin(self, points: np.ndarray) -> np.ndarray:
        """How far points are above the face model's bust, which must not come through cloth."""
        away, near = self._tree.query(points, distance_upper_bound=CLOSE)
        out = np.full(len(points), CLOSE)
        close = np.isfinite(away)
        near = near[close]
        above = np.einsum("ij,ij->i", points[close] - self._skin[near], self._out[near])
        # Beyond the bust's lower border its surface says nothing.
        out[close] = np.where(np.abs(above) > 0.6 * away[close], above, away[close])
        return out

    def cast(self, directions: np.ndarray) -> np.ndarray:
        """(N, 3) where rays from the middle along unit `directions` (N, 3) leave the body."""
        reach = np.linspace(2.0, 32.0, 61)
        inside = np.stack([self.distance(self.middle + directions * r) < 0 for r in reach])
        last = len(reach) - 1 - inside[::-1].argmax(0)
        low, high = reach[last], reach[np.minimum(last + 1, len(reach) - 1)]
        for _ in range(12):
            half = (low + high) / 2
            within = self.distance(self.middle + directions * half[:, None]) < 0
            low, high = np.where(within, half, low), np.where(within, high, half)
        return self.middle + directions * low[:, None]

    def slope(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) outward normals of the body."""
        step = 0.05
        return unit(np.stack([
            self.distance(points + step * axis) - self.distance(points - step * axis)
            for axis in np.eye(3)
        ], 1))  # fmt: skip

    def outside(self, points: np.ndarray, above: float | np.ndarray) -> np.ndarray:
        """Points (N, 3), pushed out until they are `above` cm above the body."""
        for _ in range(4):
            lack = np.maximum(above - self.distance(points), 0)
            points = points + self.slope(points) * lack[:, None]
        return points

    def placed(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the mean head's body, on this one."""
        return points * [self.neck, 1, 1] + self.shift


def capsule(
    p: np.ndarray, a: tuple[float, ...], b: tuple[float, ...], radius: tuple[float, float]
) -> np.ndarray:
    """(N,) distance of p (N, 3) from a rod from a to b, whose radius changes."""
    start, axis = np.array(a), np.subtract(b, a)
    share = np.clip((p - start) @ axis / (axis @ axis), 0, 1)
    away = np.linalg.norm(p - start - share[:, None] * axis, axis=1)
    return away - (radius[0] + (radius[1] - radius[0]) * share)


def ellipsoid(p: np.ndarray, half: np.ndarray) -> np.ndarray:
    """(N,) roughly the distance of p (N, 3) from an ellipsoid of those half axes (3,)."""
    k = np.linalg.norm(p / half, axis=1)
    return k * (k - 1) / np.maximum(np.linalg.norm(p / half**2, axis=1), 1e-6)


def union(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Of two distances (N,): the nearer one, merged within `blend` cm."""
    h = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return b + (a - b) * h - blend * h * (1 - h)
