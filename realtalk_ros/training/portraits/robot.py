# SPDX-License-Identifier: Apache-2.0
"""The shell of a robot around the face model's lips, lids and eyes: NumPy only, lengths in cm.

The face model stays what it is where the face moves. Around that it is made simpler (no nostrils,
no ears), and each of its points knows how far it is inside of the parts that a product designer
would draw: a face plate, a dark visor before eyes and brows, bars for brows, lips of silicone. Pods
at the ears, a bellows for a neck and a bust are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import EYE_LEFT, EYE_RIGHT, OUTER_LIPS
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import anatomy, fine_hair
from realtalk_ros.training.portraits.anatomy import Surface
from realtalk_ros.training.portraits.fine_hair import BROW_LIFT
from realtalk_ros.training.synthetic.brows import BROWS, spline

# The border of the face plate around the middle of the face: degrees of azimuth from the front,
# and y, from the forehead clockwise to the chin.
PLATE = np.array([[0, 10.7], [16, 10.5], [31, 9.7], [44, 7.9], [52, 5.0], [55, 2.0], [54, -1.0],
                  [50, -3.8], [43, -6.2], [32, -8.1], [17, -9.0], [0, -9.2]])  # fmt: skip
MIDDLE = 1.0  # y about which it is drawn
CM_PER_DEGREE = 0.145  # of azimuth, on the face
STEP = 0.30  # cm from the face plate down to the skull
JAW_Z = 8.4  # z of the border below the chin
NECK_Y = -6.5  # cm: skin below is chin or neck
VISOR = (6.1, 2.95, 2.35)  # half axes and exponent of the visor around both eyes
VISOR_Y = 4.35  # of its middle
VISOR_ENDS = 0.15  # cm by which its ends are lower
NOTCH = (0.35, 1.6)  # height and half width of the notch of its lower border above the nose
NOSE = (0.0, -0.4, 11.4)  # about which the nose is made simpler
NOSTRIL = (0.78, -0.1, 1.3)  # x, y and radius of where they are
NOSTRIL_RIM = 4  # vertices around them
PLATE_REACH = 1.2  # cm around them that the surface continues which fills them
EAR = (-0.2, 1.6, 3.15)  # z, y and radius of a pod
RINGS, TURNS = 96, 128  # of surfaces of revolution
MAP = 4096  # texels a side


def designed(kit: FaceKit, head: np.ndarray) -> np.ndarray:
    """The head (V, 3) without nostrils and ears; lips and lids as they were."""
    out = head.astype(np.float64).copy()
    mean, skin = kit.mean, slice(0, kit.parts["head_neck"].stop)
    ear = ear_share(mean)
    limit = 7.0 + 0.06 * (np.abs(out[:, 0]) - 7.0)
    flat = np.where(np.abs(out[:, 0]) > 7.0, np.sign(out[:, 0]) * limit, out[:, 0])
    out[:, 0] += ear * (flat - out[:, 0])
    hole = nostrils(kit, skin)
    out = filled(kit, out, hole, skin)
    free = free_share(kit)
    plain = smoothed(kit, out, np.maximum(ear, 0.95 * nose_share(mean)) * free, skin, 200)
    plain = filled(kit, plain, hole, skin)
    out = plain.copy()  # the visor's border and the brows lie where vertices are: its z only
    out[:, 2] = smoothed(kit, plain, 0.9 * visor_share(mean) * free, skin, 200)[:, 2]
    return out.astype(np.float32)


def smoothed(
    kit: FaceKit, points: np.ndarray, amount: np.ndarray, part: slice, rounds: int
) -> np.ndarray:
    """Points (V, 3), of which those of the `part` went towards their neighbours, `rounds` times by
    the share `amount` (V,)."""
    graph, degree = neighbours(kit, part)
    share = np.where(degree[:, 0] > 1, amount, 0)[:, None]
    for _ in range(rounds):
        points = points + share * (graph @ points / degree - points)
    return points


def neighbours(kit: FaceKit, part: slice) -> tuple[Any, np.ndarray]:
    """((V, V) sparse matrix with 1 where vertices of the `part` share an edge, (V, 1) the number of
    a vertex's neighbours, at least 1)."""
    from scipy import sparse

    tris = kit.triangles[((kit.triangles >= part.start) & (kit.triangles < part.stop)).all(1)]
    pairs = np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    count = len(kit.mean)
    graph = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count)).tocsr()
    graph.data[:] = 1
    return graph, np.maximum(np.asarray(graph.sum(1)), 1)


def filled(kit: FaceKit, points: np.ndarray, hole: np.ndarray, part: slice) -> np.ndarray:
    """Points (V, 3), of which those of the mask `hole` (V,) lie on a plain surface: their x and y
    spread evenly between their surroundings', their z is a thin plate's through these."""
    from scipy import sparse
    from scipy.interpolate import RBFInterpolator
    from scipy.sparse.linalg import spsolve
    from scipy.spatial import cKDTree

    graph, degree = neighbours(kit, part)
    steps = (sparse.diags(1 / degree[:, 0]) @ graph - sparse.identity(len(points))).tocsr()
    rows = np.flatnonzero(hole)
    known = np.where(hole[:, None], 0, points)
    out = points.copy()
    out[rows] = spsolve(steps[rows][:, rows].tocsc(), -(steps @ known)[rows])
    apart = cKDTree(points[rows]).query(points)[0]
    around = np.flatnonzero(~hole & (apart < PLATE_REACH) & (kit.mean[:, 2] > 8))
    around = around[around < part.stop]
    plate = RBFInterpolator(points[around, :2], points[around, 2], smoothing=1e-3)
    out[rows, 2] = plate(out[rows, :2])
    return out


def nostrils(kit: FaceKit, part: slice) -> np.ndarray:
    """(V,) bool: their inside, which other skin lies before, and their rims."""
    from scipy.spatial import cKDTree

    mean, (x, y, radius) = kit.mean, NOSTRIL
    near = np.hypot(np.abs(mean[:, 0]) - x, mean[:, 1] - y) < radius
    rows = np.flatnonzero(near[part] & (mean[part, 2] > 8))
    beside = cKDTree(mean[rows, :2]).query_ball_point(mean[rows, :2], 0.15)
    hidden = [mean[rows[b], 2].max() - mean[r, 2] > 0.4 for r, b in zip(rows, beside, strict=True)]
    mask = np.zeros(len(mean))
    mask[rows[np.array(hidden)]] = 1
    graph, _ = neighbours(kit, part)
    for _ in range(NOSTRIL_RIM):
        mask = np.minimum(mask + graph @ mask, 1)
    return mask > 0


def nose_share(mean: np.ndarray) -> np.ndarray:
    """(V,) 0..1 about the nose's tip and wings."""
    away = (mean - NOSE) / [2.4, 2.2, 3.2]
    return smoothstep(np.linalg.norm(away, axis=1), 1.0, 0.55)


def visor_share(mean: np.ndarray) -> np.ndarray:
    """(V,) 0..1 inside of the visor, the relief of which is made flatter."""
    return smoothstep(visor_depth(mean), -0.5, 0.4)


def ear_share(mean: np.ndarray) -> np.ndarray:
    x, y, z = np.abs(mean[:, 0]), mean[:, 1], mean[:, 2]
    return smoothstep(x, 6.9, 7.3) * smoothstep(z, 3.6, 2.6) * (y > -4.5) * (y < 6.5)


def free_share(kit: FaceKit) -> np.ndarray:
    """(V,) 0 at lips and lids, 1 a centimetre away from them."""
    from scipy.spatial import cKDTree

    marks = kit.mean[kit.landmarks]
    rings = [spline(np.vstack([marks[part], marks[part][:1]]), 100)
             for part in (EYE_RIGHT, EYE_LEFT, OUTER_LIPS)]  # fmt: skip
    return smoothstep(cKDTree(np.concatenate(rings)).query(kit.mean)[0], 0.2, 1.2)


def plate_depth(points: np.ndarray) -> np.ndarray:
    """(N,) cm inside of the face plate's border, of places (N, 3) on the mean head."""
    x, y, z = points.T
    azimuth = np.degrees(np.arctan2(np.abs(x), z + 1.0)) * CM_PER_DEGREE
    border = np.column_stack([PLATE[:, 0] * CM_PER_DEGREE, PLATE[:, 1] - MIDDLE])
    fine = spline(border, 200)
    turn = np.arctan2(fine[:, 0], fine[:, 1])
    radius = np.interp(np.arctan2(azimuth, y - MIDDLE), turn, np.linalg.norm(fine, axis=1))
    # Below the chin, where the skin faces down, the border is near the jaw's edge.
    below = 0.8 * np.clip(JAW_Z - z, 0, None) * smoothstep(y, -4.0, -6.5)
    return np.where(z < 0, -5.0, radius - np.hypot(azimuth, y - MIDDLE) - below)


def visor_depth(points: np.ndarray) -> np.ndarray:
    """(N,) cm inside of the border of the visor, of places (N, 3) on the mean head."""
    half_x, half_y, power = VISOR
    x, y, z = points.T
    across = np.degrees(np.arctan2(np.abs(x), z + 1.0)) * CM_PER_DEGREE
    down = y - VISOR_Y + VISOR_ENDS * (across / half_x) ** 2
    height, half = NOTCH
    low = half_y - height * np.exp(-((across / half) ** 2))
    down = np.abs(down) / np.where(down < 0, low, half_y)
    radius = ((across / half_x) ** power + down**power) ** (1 / power)
    return np.where(z > 0, (1 - radius) * half_y, -5.0)


def brow_depth(points: np.ndarray, kit: FaceKit) -> np.ndarray:
    """(N,) cm inside of the bars that are its brows."""
    from scipy.spatial import cKDTree

    depth = np.full(len(points), -5.0)
    for rows, _ in BROWS:
        line = fine_hair.brow_line(kit.mean[kit.landmarks[rows]])
        line = spline(line[5:48] + [0, BROW_LIFT, 0], 300)[:, :2]
        distance, near = cKDTree(line).query(points[:, :2])
        half = np.interp(near, [0, 110, 299], [0.19, 0.19, 0.14])
        depth = np.maximum(depth, half - distance)
    return np.where(points[:, 2] > 3, depth, -5.0)


def lip_depth(points: np.ndarray, kit: FaceKit) -> np.ndarray:
    """(N,) cm inside of the lips' border."""
    outer = kit.mean[kit.landmarks[OUTER_LIPS]][:, :2]
    closed = spline(np.vstack([outer, outer[:1]]), 120).astype(np.float32)
    near = (np.abs(points[:, :2] - closed.mean(0)) < [3.5, 2.5]).all(1) & (points[:, 2] > 7)
    depth = np.full(len(points), -5.0)
    depth[near] = [cv2.pointPolygonTest(closed, (float(x), float(y)), True)
                   for x, y in points[near, :2]]  # fmt: skip
    return depth


def depth_maps(kit: FaceKit, moved: np.ndarray) -> dict[str, np.ndarray]:
    """By name the depths above over the face model's texture of its front, (MAP, MAP) float32 in
    0..1: 0.5 is a border, 1 is a centimetre inside. Rows from the top. `moved` (V, 3), cm, is how
    far `designed` moved the head's vertices: borders stay plain where it did."""
    side = MAP // 4
    points = anatomy.texels(replace(kit, mean=kit.mean + moved), side)
    depths = {
        "plate": plate_depth(points),
        "visor": visor_depth(points),
        "brow": brow_depth(points, kit),
        "lip": lip_depth(points, kit),
    }
    maps = {}
    for name, depth in depths.items():
        small = np.clip(depth, -2, 2).reshape(side, side).astype(np.float32)
        fine = cv2.resize(small, (MAP, MAP), interpolation=cv2.INTER_CUBIC)
        maps[name] = np.clip(0.5 + fine / 2, 0, 1)
    return maps


def shell(kit: FaceKit, vertices: np.ndarray) -> Surface:
    """Face and skull of the designed head `vertices` (V, 3), which has an expression."""
    stop = kit.parts["eye_socket_right"].stop
    depth = plate_depth(kit.mean)
    # A neck's skin is not there: it would come out of the bellows below the chin.
    skin = np.arange(len(depth)) < kit.parts["head_neck"].stop
    neck = skin & (depth < -0.1) & (kit.mean[:, 1] < NECK_Y)
    shown = (kit.triangles < stop).all(1) & ~neck[kit.triangles].all(1)
    polygons, uv, first = anatomy.polygons_of(kit, shown)
    socket = kit.parts["mouth_socket"]
    corner = kit.triangles[first, 0]
    slots = np.where(kit.triangle_materials[first] == kit.materials.index("M_Face"), 0, 1)
    slots[corner >= socket.start] = 2
    # The skull lies a step lower than the plate.
    lowered = np.where(skin, STEP * smoothstep(depth, 0.15, -0.25), 0)
    points = vertices - kit.normals(vertices) * lowered[:, None]
    points, polygons, used = anatomy.compact(points, polygons)
    return Surface(points, polygons, uv, slots, {"height": kit.mean[used, 1]})


def revolved(profile: Sequence[tuple[float, float]]) -> Surface:
    """About the z axis, of corners (radius, z) that are joined by straight lines. The attribute
    `along` is 0 at the first corner, 1 at the second and so on."""
    corners = np.array(profile, float)
    along = np.linspace(0, len(corners) - 1, RINGS)
    along = np.unique(np.concatenate([along, np.arange(len(corners))]))
    radius, z = (np.interp(along, np.arange(len(corners)), corners[:, k]) for k in range(2))
    theta = np.arange(TURNS) / TURNS * 2 * np.pi
    points = np.stack([np.outer(radius, np.cos(theta)), np.outer(radius, np.sin(theta)),
                       np.repeat(z[:, None], TURNS, 1)], -1).reshape(-1, 3)  # fmt: skip
    surface = Surface(points, anatomy.around(len(along), TURNS))
    surface.attributes["along"] = np.repeat(along, TURNS)
    return surface


# A pod at an ear, (radius, cm outwards): its side is a band between two rims, with a lit ring.
POD = [(3.3, -2.2), (3.3, 0.35), (3.22, 0.50), (3.05, 0.56), (3.05, 0.72), (3.18, 0.78),
       (3.2, 0.95), (3.1, 1.25), (2.75, 1.5), (2.1, 1.62), (2.0, 1.5), (0.0, 1.52)]  # fmt: skip


def pods(head: np.ndarray, kit: FaceKit) -> list[Surface]:
    """Of both ears of the designed head (V, 3)."""
    z, y, radius = EAR
    near = (np.abs(kit.mean[:, 1] - y) < 1.5) & (np.abs(kit.mean[:, 2] - z) < 1.5)
    near &= np.arange(len(kit.mean)) < kit.parts["head_neck"].stop
    out = []
    for side in (1.0, -1.0):
        here = near & (np.sign(kit.mean[:, 0]) == side)
        skull = np.abs(head[here, 0]).max()
        moved = (head[here] - kit.mean[here]).mean(0)
        pod = revolved(POD)
        p = pod.points * [radius / 3.2, radius / 3.2, 1.0]
        tilt = np.radians(6.0)  # the skull is narrower in front
        x = side * (skull + p[:, 2] * np.cos(tilt) - 0.1)
        pod.points = np.column_stack([x, y + moved[1] + p[:, 1], z + moved[2] + p[:, 0]])
        out.append(pod)
    return out


def neck(head: np.ndarray, kit: FaceKit) -> Surface:
    """A bellows around the neck of the head (V, 3). Attribute `along`: -1 in a fold, 1 outside."""
    rows = np.linspace(-6.0, -17.0, 260)
    skin = kit.mean[: kit.parts["head_neck"].stop]
    centre, half = [], []
    for y in (-9.0, -10.5, -12.0):
        ring = head[: len(skin)][(np.abs(skin[:, 1] - y) < 0.7) & (np.abs(skin[:, 0]) < 7)]
        ring = ring[ring[:, 2] < 6.0]
        centre.append((ring[:, 2].max() + ring[:, 2].min()) / 2)
        half.append((np.abs(ring[:, 0]).max(), np.ptp(ring[:, 2]) / 2))
    wide, deep = np.mean(half, 0)
    # Plain below the chin, where the face's movement would bend the folds.
    wave = np.sin((rows + 10.4) / 1.05 * 2 * np.pi) * (rows < -10.4)
    fold = 1 + 0.032 * np.sign(wave) * np.abs(wave) ** 0.6
    theta = np.arange(TURNS) / TURNS * 2 * np.pi
    x = np.outer(wide * 0.84 * fold, np.sin(theta))
    z = np.mean(centre) + np.outer(deep * 0.92 * fold, np.cos(theta))
    points = np.stack([x, np.repeat(rows[:, None], TURNS, 1), z], -1).reshape(-1, 3)
    surface = Surface(points, anatomy.around(len(rows), TURNS))
    surface.attributes["along"] = np.repeat(wave, TURNS)
    return surface


# Rings of the bust from the neck outwards, as clothing.TOP_RINGS.
BUST_RINGS = np.array([
    [5.6, 3.6, -6.0, -11.6, -13.4, -10.4],
    [6.0, 4.1, -6.5, -11.1, -13.0, -9.8],
    [6.9, 4.9, -7.2, -11.1, -13.2, -9.8],
    [7.4, 5.3, -7.6, -11.5, -13.8, -10.2],
    [10.4, 6.9, -8.9, -12.4, -16.2, -12.0],
    [14.0, 8.2, -9.9, -13.4, -18.8, -14.0],
    [17.4, 9.2, -10.6, -15.0, -22.0, -16.4],
    [19.4, 9.8, -11.0, -17.8, -25.8, -20.0],
    [20.4, 10.3, -11.4, -22.0, -31.0, -25.0],
    [20.8, 10.6, -11.6, -31.0, -41.0, -35.0],
    [21.0, 10.6, -11.6, -45.0, -56.0, -49.0],
])  # fmt: skip
