# SPDX-License-Identifier: Apache-2.0
"""Rings of vertices around the mouth's or an eye's border of the face's mesh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from realtalk_ros.training.common.facekit import FaceKit

NEAR = 3.0  # cm from the landmarks' middle, as far as the border reaches


def around(
    kit: FaceKit, marks: slice, shape: np.ndarray, numbers: Sequence[int], half: int
) -> np.ndarray:
    """(R, 2, half) vertices: rings by their numbers, counted outwards from the border (0) that lies
    at these landmarks; each from the person's right corner to the left one, upper and lower half as
    they are in `shape` (V, 3)."""
    part, tris = kit.parts["face"], kit.triangles
    tris = tris[((tris >= part.start) & (tris < part.stop)).all(1)]
    edges = np.sort(np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]]), 1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    beside: dict[int, list[int]] = defaultdict(list)
    for a, b in edges.tolist():
        beside[a].append(b)
        beside[b].append(a)
    border = edges[count == 1]
    middle = kit.mean[kit.landmarks[marks]].mean(0)
    here = (np.linalg.norm(kit.mean[border] - middle, axis=-1) < NEAR).all(1)
    ring = set(border[here].ravel().tolist())
    seen, found = set(ring), []
    for number in range(max(numbers) + 1):
        if number in numbers:
            found.append(halves(ring, beside, shape, half))
        ring = {w for v in ring for w in beside[v]} - seen
        seen |= ring
    return np.stack(found)


def halves(
    ring: set[int], beside: dict[int, list[int]], shape: np.ndarray, count: int
) -> np.ndarray:
    """(2, count) of a closed ring."""
    order = [min(ring, key=lambda v: shape[v, 0])]
    while len(order) < len(ring):
        before = order[-2:]
        order.append(next(w for w in sorted(beside[order[-1]]) if w in ring and w not in before))
    corner = int(np.argmax(shape[order, 0]))
    two = np.array(order[: corner + 1]), np.array([*order[corner:], order[0]])[::-1]
    upper, lower = sorted(two, key=lambda half: -shape[half, 1].mean())
    return np.stack(
        [half[np.rint(np.linspace(0, len(half) - 1, count)).astype(int)] for half in (upper, lower)]
    )
