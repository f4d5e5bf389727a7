"""Which vertices of ICT-FaceKit tell what the mouth's inside shows (training side; needs scipy).

`realtalk data facekit CLONE --mouth realtalk_ros/data/mouth.npz` writes them, with what moves them,
for mouth.py. Around the lips' inner border the mesh has rings of as many vertices each; teeth are
parts of their own; teeth, gums and tongue are taken by the corners of their outlines, as seen from
some directions.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy.spatial import ConvexHull

from realtalk_ros import arkit
from realtalk_ros.facekit import FaceKit, rotation
from realtalk_ros.renderer.studio import each_tooth, tongue

RINGS = (3, 5, 6, 7, 8, 9, 10)  # counted outwards from the mouth socket's; the red begins at 8
HALF = 20  # vertices of a ring's upper or lower half
TEETH, CORNERS, FLESH_CORNERS = 14, 12, 20  # teeth of a jaw, the foremost; corners of an outline
VIEWS = [(yaw, pitch) for yaw in (-0.35, 0, 0.35) for pitch in (-0.25, 0, 0.25)]  # rad


def arrays(kit: FaceKit) -> dict[str, np.ndarray]:
    """What `mouth.MouthModel` takes."""
    lips = rings(kit)
    enamel, depth = teeth(kit)
    flesh = outlines(kit)
    kinds = np.repeat(np.arange(len(flesh)), [len(rows) for rows in flesh])
    used, row = np.unique(
        np.concatenate([lips.ravel(), enamel.ravel(), *flesh]), return_inverse=True
    )
    row = row.astype(np.int16)
    ends = lips.size, lips.size + enamel.size

    def at(modes: np.ndarray) -> np.ndarray:
        return modes.reshape(len(modes), -1, 3)[:, used].astype(np.float16)

    return {
        "mean": kit.mean[used].astype(np.float32),
        "expressions": at(kit.expressions),
        "identity_modes": at(kit.identity_modes),
        "rings": row[: ends[0]].reshape(lips.shape),
        "teeth": row[ends[0] : ends[1]].reshape(enamel.shape),
        "depth": depth.astype(np.float32),
        "flesh": row[ends[1] :],
        "flesh_of": kinds.astype(np.uint8),
    }


def rings(kit: FaceKit) -> np.ndarray:
    """(R, 2, HALF) vertices, from the person's right corner to the left, upper and lower half."""
    part, tris = kit.parts["face"], kit.triangles
    tris = tris[((tris >= part.start) & (tris < part.stop)).all(1)]
    edges = np.sort(np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]]), 1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    beside: dict[int, list[int]] = defaultdict(list)
    for a, b in edges.tolist():
        beside[a].append(b)
        beside[b].append(a)
    border = edges[count == 1]
    middle = kit.mean[kit.landmarks[60:68]].mean(0)
    at_mouth = (np.linalg.norm(kit.mean[border] - middle, axis=-1) < 3.0).all(1)
    ring = set(border[at_mouth].ravel().tolist())
    wide = np.zeros(arkit.COUNT, np.float32)
    wide[arkit.INDEX["jawOpen"]] = 0.6  # closed lips would not tell the upper one
    shape, seen, found = kit.deform(kit.mean, wide), set(ring), []
    for number in range(max(RINGS) + 1):
        if number in RINGS:
            found.append(halves(ring, beside, shape))
        ring = {w for v in ring for w in beside[v]} - seen
        seen |= ring
    return np.stack(found)


def halves(ring: set[int], beside: dict[int, list[int]], shape: np.ndarray) -> np.ndarray:
    """(2, HALF) of a closed ring."""
    order = [min(ring, key=lambda v: shape[v, 0])]
    while len(order) < len(ring):
        before = order[-2:]
        order.append(next(w for w in sorted(beside[order[-1]]) if w in ring and w not in before))
    corner = int(np.argmax(shape[order, 0]))
    two = np.array(order[: corner + 1]), np.array([*order[corner:], order[0]])[::-1]
    upper, lower = sorted(two, key=lambda half: -shape[half, 1].mean())
    return np.stack(
        [half[np.rint(np.linspace(0, len(half) - 1, HALF)).astype(int)] for half in (upper, lower)]
    )


def teeth(kit: FaceKit) -> tuple[np.ndarray, np.ndarray]:
    """(T, CORNERS) vertices, in the order in which they are drawn (upper teeth lie before lower
    ones), and how far each lies behind the foremost, cm."""
    part = kit.parts["teeth"]
    number, tooth = each_tooth(kit)
    points = kit.mean[part]
    middles = np.array([points[tooth == i].mean(0) for i in range(number)])
    upper, order = middles[:, 1] > middles[:, 1].mean(), np.argsort(middles[:, 2])
    chosen = [i for jaw in (~upper, upper) for i in order[jaw[order]][-TEETH:]]
    rows = [np.flatnonzero(tooth == i) for i in chosen]
    front = points[:, 2].max()
    depth = np.array([front - points[row, 2].max() for row in rows])
    return np.stack([part.start + row[outline(points[row], CORNERS)] for row in rows]), depth


def outlines(kit: FaceKit) -> list[np.ndarray]:
    """Vertices of palate, upper gums, lower gums and of the tongue from its root, from its middle
    and of its tip."""
    part = kit.parts["gums_tongue"]
    points, middle = kit.mean[part], kit.mean[kit.parts["teeth"], 1].mean()
    above, z = points[:, 1] > middle, points[:, 2]
    part_of_tongue = tongue(kit)
    gums, seen = part_of_tongue < 0.3, z > 4.5
    kinds = (
        gums & above & seen,
        gums & above & (z > 9.2),
        gums & ~above & (z > 9.0),
        *((part_of_tongue > 0.5) & (z > depth) for depth in (4.5, 6.2, 7.6)),
    )
    rows = [np.flatnonzero(kind) for kind in kinds]
    return [part.start + row[outline(points[row], FLESH_CORNERS)] for row in rows]


def outline(points: np.ndarray, count: int) -> np.ndarray:
    """`count` of the points (n, 3) that are corners of the outline in some view, far apart."""
    hulls = [ConvexHull((points @ rotation(*view).T)[:, :2]).vertices for view in VIEWS]
    corners = np.unique(np.concatenate(hulls))
    places = points[corners] * (1, 1, 0.5)
    kept = [int(np.argmax(places[:, 1]))]
    while len(kept) < count:
        away = np.linalg.norm(places[:, None] - places[kept], axis=-1).min(1)
        kept.append(int(away.argmax()))
    return corners[kept]
