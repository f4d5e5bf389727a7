# SPDX-License-Identifier: Apache-2.0
"""Brows and lashes as strands; they move with the face's expression."""

from __future__ import annotations

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import EYE_LEFT, EYE_RIGHT
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits.people import Sitter
from realtalk_ros.training.portraits.strands import Strands, unit
from realtalk_ros.training.synthetic import head_mesh, mesh_rings
from realtalk_ros.training.synthetic.brows import BROWS, spline
from realtalk_ros.training.synthetic.facekit_eyes import EDGE, HALF

BROW_HAIRS, BROW_POINTS = 1300, 7
UPPER_LASHES, LOWER_LASHES, LASH_POINTS = 150, 70, 9
SKIN_SAMPLES = 60  # of each triangle of the skin below brows
BROW_LIFT = 0.12  # cm above the brows' landmarks, which lie at their lower border
FLAT = 0.2  # share by which brows are straighter than the landmarks' arch,
TAIL = 0.35  # and by which they fall less from its top to their tails, which hooked down
BEND = 30  # of a brow's 60 points, from which its tail may run on straight


def brows(kit: FaceKit, head: np.ndarray, sitter: Sitter, rng: np.random.Generator) -> Strands:
    """Of the face `head` (V, 3): hairs that lie along the brows, upwards at their heads."""
    parts, thick = [], []
    count = int(BROW_HAIRS * sitter.brow_density)
    for rows, _ in BROWS:
        line = brow_line(kit.mean[kit.landmarks[rows]], sitter.brow_tail)
        t = rng.random(count) ** 0.9 * (0.98 - 0.1 * sitter.brow_tail)
        at = (t * 59).astype(int)
        along = unit(np.gradient(line, axis=0))[at]
        width = sitter.brow_thickness * np.interp(
            t, [0, 0.06, 0.45, 0.75, 1], [0.70, 1.0, 1.05, 1.0, 0.60]
        )
        width = width * (1 - 0.6 * sitter.brow_tail * smoothstep(t, 0.5, 0.92))
        across = rng.uniform(-0.42, 0.42, count) + rng.normal(0, 0.07, count)
        up = np.array([0, 1.0, 0])
        root = line[at] + up * (BROW_LIFT + across * width)[:, None]
        rise = np.interp(t, [0, 0.2, 0.55, 1], [1.25, 0.65, 0.15, -0.15])
        rise = rise - across * np.interp(t, [0, 0.5, 1], [0.7, 0.35, 0.1])
        rise = rise + rng.normal(0, 0.18, count)
        direction = along * np.cos(rise)[:, None] + up * np.sin(rise)[:, None]
        length = rng.uniform(0.34, 0.62, count) * np.interp(t, [0, 0.25, 1], [0.75, 1, 0.6])
        s = np.linspace(0, 1, BROW_POINTS)[None, :, None]
        path = direction[:, None] * s - up * 0.08 * s**2 * np.sign(across)[:, None, None]
        lying = rng.uniform(0.4, 1.0, (count, 1, 1))
        height = -0.02 + lying * (0.10 * s - 0.05 * s**2)
        hairs = on_skin(kit, head, root[:, None] + path * length[:, None, None], height)
        full = 1 - sitter.brow_soft * (1 - fullness(t, across))
        full *= 1 - 0.6 * sitter.brow_tail * smoothstep(t, 0.55, 0.9)
        kept = rng.random(count) < full if sitter.brow_soft else np.ones(count, bool)
        parts.append(hairs[kept])
        thick.append(0.5 + 0.5 * full[kept])
    points = np.concatenate(parts)
    root = rng.uniform(0.0045, 0.0075, len(points)) * np.concatenate(thick)
    return Strands(points.astype(np.float32), root, root * 0.3)


def fullness(t: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(N,) 0..1: share of a soft brow's hairs at `t` (N,) from its head to its tail, and `across`
    (N,) in thicknesses from its middle."""
    head = 0.1 + 0.9 * smoothstep(t, -0.04, 0.26)
    return head * (1 - 0.75 * smoothstep(t, 0.65, 1.0)) * np.exp(-((across / 0.5) ** 2))


def brow_line(points: np.ndarray, tail: float = 0.0) -> np.ndarray:
    """(60, ...) of a brow's landmarks (5, ...) from its head to its tail, arched less; a share
    `tail` of its end runs on straight."""
    line = spline(points, 60)
    chord = np.linspace(0, 1, 60)[:, None] * (line[-1] - line[0]) + line[0]
    rise = (line - chord)[:, 1] * FLAT
    line[:, 1] -= rise - rise.mean()
    if tail:
        slope = line[BEND, 1] - line[BEND - 1, 1]
        straight = line[BEND, 1] + slope * np.arange(60 - BEND)
        line[BEND:, 1] += tail * (straight - line[BEND:, 1])
    else:
        top = line[:, 1].argmax()
        line[top:, 1] += TAIL * (line[top, 1] - line[top:, 1])
    return line


def on_skin(kit: FaceKit, head: np.ndarray, points: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Points (N, K, 3) beside the mean face, carried to the face `head` (V, 3), at `height`
    (N, K, 1) above its skin."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(0)
    flat = points.reshape(-1, 3)
    tris = kit.triangles[(kit.triangles < kit.parts["face"].stop).all(1)]
    middle = kit.mean[tris].mean(1)
    tris = tris[cKDTree(flat[::7]).query(middle)[0] < 0.7]
    pick = np.repeat(np.arange(len(tris)), SKIN_SAMPLES)
    weight = rng.dirichlet([1, 1, 1], len(pick))
    normals = kit.normals(head)
    mean, here, normal = (
        np.einsum("ni,nij->nj", weight, values[tris[pick]]) for values in (kit.mean, head, normals)
    )
    near = cKDTree(mean).query(flat, k=4)[1]
    here, normal = (values[near].mean(1).reshape(points.shape) for values in (here, normal))
    return here + unit(normal) * height


def lashes(kit: FaceKit, head: np.ndarray, sitter: Sitter, rng: np.random.Generator) -> Strands:
    """Of the face `head` (V, 3): from the borders of the lids, in small groups, curled upwards."""
    parts, thick = [], []
    for marks, side in ((EYE_RIGHT, "right"), (EYE_LEFT, "left")):
        rings = mesh_rings.around(kit, marks, kit.mean, [EDGE], HALF)[0]
        middle = head_mesh.bounds_centre(head[kit.parts[f"eyeball_{side}"]])
        outer = -1.0 if side == "right" else 1.0
        for half, count, upper in ((rings[0], UPPER_LASHES, 1), (rings[1], LOWER_LASHES, 0)):
            edge = head[half]  # from the person's right corner to the left one
            if side == "right":
                edge = edge[::-1]  # from the nose outwards
            points = lid_lashes(
                edge, middle, outer, count, upper=bool(upper), spread=sitter.lash_spread, rng=rng
            )
            parts.append(points)
            thick.append(rng.uniform(0.0055, 0.0085, count) * (1.0 if upper else 0.6))
    root = np.concatenate(thick)
    points = np.concatenate(parts)
    points = points[:, :1] + (points - points[:, :1]) * sitter.lashes
    return Strands(points.astype(np.float32), root, root * 0.2)


def lid_lashes(
    edge: np.ndarray,
    middle: np.ndarray,
    outer: float,
    count: int,
    upper: bool,
    spread: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """(count, LASH_POINTS, 3) along the lid's border `edge` (n, 3) from the nose outwards; `outer`
    is the sign of x there, `middle` (3,) the eyeball's, `spread` a factor of how they differ."""
    line = spline(edge, 80)
    t = np.sort(rng.uniform(0.14, 0.985, count))
    root = line[(t * 79).astype(int)] + rng.normal(0, 0.012 * spread, (count, 3))
    forward = unit(root - middle)
    # Roots in groups of three, whose tips meet.
    group = np.repeat(rng.normal(0, 0.16 * spread, -(-count // 3)), 3)[:count]
    splay = np.interp(t, [0, 0.35, 0.65, 1], [-0.45, -0.10, 0.30, 0.85])
    splay = splay + group + rng.normal(0, 0.06 * spread, count)
    length = np.interp(t, [0, 0.3, 0.75, 1], [0.45, 0.80, 1.0, 0.80]) if upper else \
        np.interp(t, [0, 0.3, 0.75, 1], [0.22, 0.34, 0.42, 0.32])  # fmt: skip
    length = length * rng.uniform(0.72, 1.05, count)
    side = np.array([outer, 0, 0])
    sign = 1.0 if upper else -1.0
    start = unit(forward * 0.9 + side * splay[:, None] * 0.6 + np.array([0, -0.12 * sign, 0.55]))
    curl = np.array([0, 1.0 if upper else -0.65, 0])
    s = np.linspace(0, 1, LASH_POINTS)[None, :, None]
    shape = start[:, None] * (s - 0.22 * s**2) + curl * 0.62 * s**2
    return root[:, None] + shape * length[:, None, None]
