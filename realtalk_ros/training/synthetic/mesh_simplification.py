# SPDX-License-Identifier: Apache-2.0
"""Mesh simplification: half-edge collapses after Garland and Heckbert 1997 (quadrics).

Only vertices go; the ones that stay keep their place, so that morph targets, texture coordinates
and normals of the full mesh still belong to them. Many independent collapses at once.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

AT_ONCE = 0.45  # share of the vertices that could go


def simplify(
    triangles: np.ndarray, shapes: list[np.ndarray], importance: np.ndarray, keep: float
) -> np.ndarray:
    """(M, 3) triangles over the vertices of `shapes` that are left of (T, 3) `triangles`.

    shapes: poses of the same mesh, (V, 3) each, that must all stay as they are; importance (V,):
    factor of a vertex' error; keep: share of the triangles to keep. Borders (edges of one triangle)
    stay whole.
    """
    tris, count = np.asarray(triangles, np.int64), len(shapes[0])
    goal = int(len(tris) * keep)
    edges = np.sort(np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]]), 1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    locked = np.zeros(count, bool)
    locked[edges[uses == 1].ravel()] = True
    quadrics = [_quadrics(tris, p) for p in shapes]
    while len(tris) > goal:
        pairs = np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]])
        pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
        cost = _costs(pairs, shapes, quadrics) * importance[pairs[:, 0]]
        cost[locked[pairs[:, 0]]] = np.inf
        target, price = _cheapest(pairs, cost, count)
        for p in shapes:
            price[_flipping(tris, p, target)] = np.inf
        going = _independent(pairs, price)[: (len(tris) - goal + 1) // 2]
        if len(going) == 0:
            break
        for q in quadrics:
            np.add.at(q, target[going], q[going])
        moved = np.arange(count)
        moved[going] = target[going]
        tris = moved[tris]
        whole = (tris[:, 0] != tris[:, 1]) & (tris[:, 1] != tris[:, 2]) & (tris[:, 2] != tris[:, 0])
        tris = tris[whole]
    return tris.astype(np.int32)


def _costs(pairs: np.ndarray, shapes: list[np.ndarray], quadrics: list[np.ndarray]) -> np.ndarray:
    """(P,) error of moving the first vertex of each pair (P, 2) to the second."""
    v, u = pairs.T
    cost = np.zeros(len(pairs))
    for q, p in zip(quadrics, shapes, strict=True):
        h = np.c_[p, np.ones(len(p))]
        cost = np.maximum(cost, np.einsum("ni,nij,nj->n", h[u], q[v], h[u]))
    step = shapes[0][v] - shapes[0][u]
    return cost + 1e-4 * np.einsum("ij,ij->i", step, step)


def _cheapest(pairs: np.ndarray, cost: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of `count` vertices where it would best go (-1: nowhere), and what that costs."""
    v, u = pairs.T
    adjacent = sparse.csr_matrix((np.ones(len(pairs)), (v, u)), (count, count))
    common = np.asarray((adjacent @ adjacent)[v, u]).ravel()
    cost[common != 2] = np.inf  # would fold the surface
    order = np.lexsort((cost, v))
    first = order[np.r_[True, np.diff(v[order]) > 0]]
    first = first[np.isfinite(cost[first])]
    target, price = np.full(count, -1), np.full(count, np.inf)
    target[v[first]] = u[first]
    price[v[first]] = cost[first]
    return target, price


def _independent(pairs: np.ndarray, price: np.ndarray) -> np.ndarray:
    """Vertices that can go at the same time, the cheapest first: of the cheapest AT_ONCE those
    whose whole ring of neighbours stays."""
    (v, u), count = pairs.T, len(price)
    rank = np.full(count, count, np.int64)
    cheap = np.argsort(price)[: np.isfinite(price).sum()]
    cheap = cheap[: max(1, int(AT_ONCE * len(cheap)))]
    rank[cheap] = np.arange(len(cheap))
    claim = rank.copy()
    np.minimum.at(claim, u, rank[v])
    least = claim.copy()
    np.minimum.at(least, v, claim[u])
    going = np.flatnonzero((rank < count) & (least == rank))
    return going[np.argsort(rank[going])]


def _normals(tris: np.ndarray, points: np.ndarray) -> np.ndarray:
    a, b, c = (points[tris[:, k]].astype(np.float64) for k in range(3))
    return np.cross(b - a, c - a)


def _quadrics(tris: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(V, 4, 4): sums of squared distances to the planes of a vertex' triangles, by area."""
    n = _normals(tris, points)
    area = np.linalg.norm(n, axis=1, keepdims=True)
    n = n / np.maximum(area, 1e-12)
    plane = np.c_[n, -np.einsum("ij,ij->i", n, points[tris[:, 0]])]
    each = np.einsum("ni,nj->nij", plane, plane) * area[:, :, None]
    out = np.zeros((len(points), 4, 4))
    for k in range(3):
        np.add.at(out, tris[:, k], each)
    return out


def _flipping(tris: np.ndarray, points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Vertices whose move to `target` (-1: none) would turn a triangle over."""
    before = _normals(tris, points)
    bad = []
    for k in range(3):
        v = tris[:, k]
        to = target[v]
        other = tris[:, [(k + 1) % 3, (k + 2) % 3]]
        moves = (to >= 0) & (to[:, None] != other).all(1)
        after_tris = tris[moves].copy()
        after_tris[:, k] = to[moves]
        after, was = _normals(after_tris, points), before[moves]
        cosine = np.einsum("ij,ij->i", after, was) / np.maximum(
            np.linalg.norm(after, axis=1) * np.linalg.norm(was, axis=1), 1e-12
        )
        bad.append(v[moves][cosine < 0.3])
    return np.concatenate(bad)
