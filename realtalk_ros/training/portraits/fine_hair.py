# SPDX-License-Identifier: Apache-2.0
"""Brows and lashes as strands; they move with the face's expression."""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model.facekit import FaceKit
from realtalk_ros.training.portraits.people import Sitter
from realtalk_ros.training.portraits.strands import Strands, unit
from realtalk_ros.training.synthetic import head_mesh, mesh_rings
from realtalk_ros.training.synthetic.brows import BROWS, spline
from realtalk_ros.training.synthetic.facekit_eyes import EDGE, HALF, LEFT, RIGHT

BROW_HAIRS, BROW_POINTS = 620, 6
UPPER_LASHES, LOWER_LASHES, LASH_POINTS = 120, 70, 9
BROW_LIFT = 0.10  # cm above the brows' landmarks, which lie at their lower border


def brows(kit: FaceKit, head: np.ndarray, sitter: Sitter, rng: np.random.Generator) -> Strands:
    """Of the face `head` (V, 3): hairs that lie along the brows, upwards at their heads."""
    from scipy.spatial import cKDTree

    face = kit.parts["face"]
    tree = cKDTree(kit.mean[face])
    normals = kit.normals(head)
    parts = []
    count = int(BROW_HAIRS * sitter.brow_density)
    for rows, _ in BROWS:
        line = spline(kit.mean[kit.landmarks[rows]], 60)
        t = rng.random(count) ** 0.9 * 0.98
        at = (t * 59).astype(int)
        along = unit(np.gradient(line, axis=0))[at]
        width = sitter.brow_thickness * np.interp(
            t, [0, 0.08, 0.45, 0.75, 1], [0.55, 0.95, 1.0, 0.62, 0.2]
        )
        across = np.clip(rng.normal(0, 0.27, count), -0.5, 0.5)
        up = np.array([0, 1.0, 0])
        target = line[at] + up * (BROW_LIFT + across * width)[:, None]
        rise = np.interp(t, [0, 0.2, 0.55, 1], [1.25, 0.65, 0.12, -0.25]) - across * 0.9
        rise = rise + rng.normal(0, 0.13, count)
        direction = along * np.cos(rise)[:, None] + up * np.sin(rise)[:, None]
        length = rng.uniform(0.42, 0.78, count) * np.interp(t, [0, 0.25, 1], [0.75, 1, 0.7])
        near = tree.query(target, k=4)[1]
        gap = np.linalg.norm(kit.mean[face][near] - target[:, None], axis=2)
        weight = 1 / (gap**2 + 1e-3)
        weight /= weight.sum(1, keepdims=True)
        moved = np.einsum("nk,nkj->nj", weight, (head - kit.mean)[face][near])
        normal = unit(normals[face][near].mean(1))
        # Onto the skin: the splines cut through the brow's ridge.
        lift = np.einsum("nk,nkj->nj", weight, kit.mean[face][near]) - target
        root = target + moved + normal * np.einsum("ij,ij->i", lift, normal)[:, None]
        direction = unit(direction - normal * np.einsum("ij,ij->i", direction, normal)[:, None])
        s = np.linspace(0, 1, BROW_POINTS)[None, :, None]
        bend = normal[:, None] * (0.30 * s - 0.30 * s**2) + up * -0.12 * s**2
        lying = rng.uniform(0.5, 1.0, (count, 1, 1))
        parts.append(root[:, None] + length[:, None, None] * (direction[:, None] * s + bend * lying)
                     - normal[:, None] * 0.03)  # fmt: skip
    points = np.concatenate(parts)
    root = rng.uniform(0.006, 0.010, len(points))
    return Strands(points.astype(np.float32), root, root * 0.25)


def lashes(kit: FaceKit, head: np.ndarray, sitter: Sitter, rng: np.random.Generator) -> Strands:
    """Of the face `head` (V, 3): from the borders of the lids, in small groups, curled upwards."""
    parts, thick = [], []
    for marks, side in ((RIGHT, "right"), (LEFT, "left")):
        rings = mesh_rings.around(kit, marks, kit.mean, [EDGE], HALF)[0]
        middle = head_mesh.bounds_centre(head[kit.parts[f"eyeball_{side}"]])
        outer = -1.0 if side == "right" else 1.0
        for half, count, upper in ((rings[0], UPPER_LASHES, 1), (rings[1], LOWER_LASHES, 0)):
            edge = head[half]  # from the person's right corner to the left one
            if side == "right":
                edge = edge[::-1]  # from the nose outwards
            points = lid_lashes(edge, middle, outer, count, bool(upper), rng)
            parts.append(points)
            thick.append(rng.uniform(0.007, 0.010, count) * (1.0 if upper else 0.7))
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
    rng: np.random.Generator,
) -> np.ndarray:
    """(count, LASH_POINTS, 3) along the lid's border `edge` (n, 3) from the nose outwards; `outer`
    is the sign of x there, `middle` (3,) the eyeball's."""
    line = spline(edge, 80)
    t = np.sort(rng.uniform(0.14, 0.985, count))
    root = line[(t * 79).astype(int)] + rng.normal(0, 0.012, (count, 3))
    forward = unit(root - middle)
    # Roots in groups of three, whose tips meet.
    group = np.repeat(rng.normal(0, 0.16, -(-count // 3)), 3)[:count]
    splay = np.interp(t, [0, 0.35, 0.65, 1], [-0.45, -0.10, 0.30, 0.85])
    splay = splay + group + rng.normal(0, 0.06, count)
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
