# SPDX-License-Identifier: Apache-2.0
"""Strands of a portrait: the hair of the head, brows and lashes, as curves in space (cm).

Hair is traced twice: some thousand guides run through a field of directions above the skin, then
every hair follows the guides around its root, gathers with them into locks, and differs a little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits.hairline import scalp
from realtalk_ros.training.portraits.people import Hair

GUIDES, GUIDE_POINTS, STEP = 2600, 44, 0.72  # cm between points of a guide
POINTS = 26  # of a hair
LONGER = 2.0  # cm by which guides reach below the line on which hair is cut
AXIS_Z = -1.0  # of the vertical axis about which hair frames the face
# Where hair that frames the face may begin: y, and the angle from the front, degrees.
FRAME = np.array([[-16, 60], [-10, 55], [-6, 48], [-2, 43], [2, 41], [5, 36], [7, 28], [8.6, 19],
                  [9.6, 10], [10.6, 0]], float)  # fmt: skip


@dataclass(frozen=True)
class Strands:
    """N curves of K points, and how thick they are at root and tip, cm."""

    points: np.ndarray  # (N, K, 3) float32
    root: np.ndarray  # (N,) radius
    tip: np.ndarray  # (N,) radius
    white: np.ndarray | None = None  # (N,) 0..1
    taper: float = 1.5  # exponent of the way from root to tip: the larger, the later it thins


@dataclass(frozen=True)
class Roots:
    points: np.ndarray  # (N, 3) on this head
    normals: np.ndarray  # (N, 3)
    on_mean: np.ndarray  # (N, 3) the same places on the mean head


class Surroundings:
    """The surfaces that hair may not enter: points (S, 3) with normals (S, 3)."""

    def __init__(self, points: np.ndarray, normals: np.ndarray):
        from scipy.spatial import cKDTree

        self.points, self.normals, self._tree = points, normals, cKDTree(points)

    def height(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) how far points are above the surface, and (N, 3) its normals."""
        near = self._tree.query(points, k=3, workers=1)[1]
        normal = self.normals[near].mean(1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return np.einsum("ij,ij->i", points - self.points[near].mean(1), normal), normal


def surroundings(kit: FaceKit, head: np.ndarray, body: tuple[np.ndarray, np.ndarray]
                 ) -> Surroundings:  # fmt: skip
    """Skin of the head (V, 3) and `body`, the clothes' (points, normals)."""
    stop = kit.parts["head_neck"].stop
    points, normals = head[:stop], kit.normals(head)[:stop]
    # The lips' and lids' inner sides point inwards.
    outside = (kit.mean[:stop, 1] > -16) & (np.abs(kit.mean[:stop, 0]) < 9.6)
    return Surroundings(np.vstack([points[outside], body[0]]),
                        np.vstack([normals[outside], body[1]]))  # fmt: skip


def sample_roots(
    kit: FaceKit, head: np.ndarray, count: int, density: np.ndarray, rng: np.random.Generator
) -> Roots:
    """`count` roots on face and head with `density` (T,) a square centimetre of each triangle: for
    a seed on the same places of any head, and in any expression."""
    corner = kit.mean[kit.triangles]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]),
                          axis=1)  # fmt: skip
    inside = (kit.triangles < kit.parts["head_neck"].stop).all(1)
    chance = area * density * inside
    pick = rng.choice(len(chance), count, p=chance / chance.sum())
    weights = rng.dirichlet([1, 1, 1], count)
    normals = kit.normals(head)
    points, on_mean, normal = (
        np.einsum("ni,nij->nj", weights, values[kit.triangles[pick]])
        for values in (head, kit.mean, normals)
    )
    return Roots(points, normal / np.linalg.norm(normal, axis=1, keepdims=True), on_mean)


def scalp_density(kit: FaceKit, hair: Hair) -> np.ndarray:
    """(T,) of hair: it thins out towards the hairline over more than a centimetre."""
    middle = kit.mean[kit.triangles].mean(1)
    return scalp(middle, hair) ** 1.5


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def waves(points: np.ndarray, rng: np.random.Generator, scales: tuple[float, ...]) -> np.ndarray:
    """(N, 3) smooth random vectors, alike for neighbouring points (N, 3)."""
    out = np.zeros((len(points), 3))
    for scale in scales:
        turn = rng.normal(0, scale, (3, 3))
        out += np.sin(points @ turn + rng.random(3) * 2 * np.pi)
    return out / len(scales) ** 0.5


def side_of(roots: Roots, hair: Hair, rng: np.random.Generator) -> np.ndarray:
    """(N,) -1 or 1: on which side of the parting hairs fall; no parting is a clean line."""
    x, _, z = roots.on_mean.T
    part = hair.part * (1 - smoothstep(z, -2.0, -5.0))
    unsure = 0.12 + 1.6 * smoothstep(z, 4.0, -1.0)  # no parting behind the crown
    return np.where(x + rng.normal(0, 1, len(x)) * unsure > part, 1.0, -1.0)


class Shoulder:
    """Hair with a parting that falls beside the face to the shoulders."""

    def __init__(self, roots: Roots, hair: Hair, rng: np.random.Generator):
        x, _, z = roots.on_mean.T
        self.hair, self.roots = hair, roots
        behind = smoothstep(z, -2.0, -5.0)
        part = hair.part * (1 - behind)
        self.side = side_of(roots, hair, rng)
        self.from_part = np.abs(x - part)
        self.layer = rng.random(len(x)) ** 0.8
        self.front = smoothstep(z, 1.0, 6.5)
        self.own = waves(roots.on_mean, rng, (0.8, 1.6)) * 0.10 + rng.normal(0, 0.03, (len(x), 3))
        self.phase = waves(roots.on_mean, rng, (0.25, 0.5))[:, 0] * 3.0
        self.cut = np.full(len(x), hair.cut)

    def first(self) -> np.ndarray:
        """(N, 3) direction at the root: up at the parting, back at the hairline."""
        lift = 0.45 + 0.5 * np.exp(-((self.from_part / 2.0) ** 2))
        back = np.array([0, 0.25, -1.0]) * (0.30 * self.front)[:, None]
        return unit(self.roots.normals * lift[:, None] + 0.7 * self.flow(self.roots.points) + back)

    def flow(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) where hair runs at points."""
        _, y, z = points.T
        top = smoothstep(y, 6.0, 11.5)
        aside = self.side * (0.15 + 1.0 * top)
        back = -(0.08 + 0.22 * top * smoothstep(z, -1, 5) + 0.08 * smoothstep(z, 2, 7))
        down = -(1.1 - 0.75 * top)
        back = np.where(y < 1.0, -0.02, back)
        return unit(np.stack([aside, down, back], 1)) + self.own

    def height(self, points: np.ndarray, step: int) -> np.ndarray:
        """(N,) cm above the skin that hair keeps there."""
        y = points[:, 1]
        volume = self.hair.volume * (0.55 + 0.45 * smoothstep(y, 2.0, 10.0))
        volume = volume * (1 - 0.55 * self.front * smoothstep(step, 8, 0))
        # Little and at once at the parting, which would be a groove.
        at_part = np.exp(-((self.from_part / 1.6) ** 2)) * smoothstep(step, 9, 2)
        volume = volume * (1 - 0.45 * at_part)
        return (0.08 + self.layer * volume) * np.minimum(1.0, 0.10 + 0.5 * at_part + step / 5)


def trace(style: Shoulder, around: Surroundings) -> np.ndarray:
    """(N, GUIDE_POINTS, 3): the guides."""
    p = style.roots.points - style.roots.normals * 0.05
    points, direction = [p], style.first()
    for step in range(1, GUIDE_POINTS):
        share = min(1.0, 0.16 + 0.03 * step)
        gravity = np.array([0, -0.25 * smoothstep(step, 4, 16), 0])
        direction = unit(direction * (1 - share) + style.flow(p) * share + gravity)
        p = p + direction * STEP
        height, normal = around.height(p)
        wanted = style.height(p, step)
        on_head = smoothstep(p[:, 1], -3.0, 3.5)
        # The undermost hair hangs closest to the neck.
        on_head = np.maximum(on_head, 0.4 * smoothstep(style.layer, 0.5, 0.0))
        low = np.maximum(wanted - height, 0) * 0.75
        high = np.maximum(height - wanted * 1.15 - 0.15, 0) * 0.4 * on_head
        p = p + normal * (low - high)[:, None]
        p = framed(p, style.layer)
        p = hung(p, style)
        direction = unit(p - points[-1])
        points.append(p)
    return np.stack(points, 1)


def framed(points: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Turns points (N, 3) that lie before the face about the head's axis until they frame it."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2] - AXIS_Z
    azimuth, radius = np.arctan2(np.abs(x), z), np.hypot(x, z)
    # The undermost hair lies farther back beside the face, and before the neck again.
    behind = 10.0 * smoothstep(y, 10, 6) - 16.0 * smoothstep(y, 0, -4)
    edge = np.radians(np.interp(y, *FRAME.T) + behind * (1 - layer))
    turned = azimuth + np.maximum(edge - azimuth, 0) * 0.6
    x = np.where(x < 0, -1, 1) * radius * np.sin(turned)
    return np.stack([x, y, radius * np.cos(turned) + AXIS_Z], 1)


def hung(points: np.ndarray, style: Shoulder) -> np.ndarray:
    """Waves, and ends that turn in, of points (N, 3) that hang free."""
    free = smoothstep(points[:, 1], 5.0, -6.0)
    angle = points[:, 1] * 0.95 + style.phase
    radial = unit(points * [1, 0, 1] - [0, 0, AXIS_Z])
    swing = style.hair.wave * 0.35 * np.sin(angle) * free
    inward = -0.10 * smoothstep(points[:, 1], style.hair.cut + 6.6, style.hair.cut - 0.4)
    return points + radial * (swing + inward)[:, None]


def cut_off(points: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Curves (N, K, 3) that end where they first fall below `level` (N,), of as many points."""
    k, y, rows = points.shape[1], points[:, :, 1], np.arange(len(points))
    below = y < level[:, None]
    last = np.where(below.any(1), np.maximum(below.argmax(1), 1), k - 1)
    above, under = y[rows, last - 1], y[rows, last]
    over = np.where(below.any(1), (level - under) / np.maximum(above - under, 1e-6), 0.0)
    return resampled(points, (last - np.clip(over, 0, 1)) / (k - 1), k)


def resampled(points: np.ndarray, share: np.ndarray, count: int) -> np.ndarray:
    """(N, count, 3): the first `share` (N,) of curves (N, K, 3)."""
    at = np.linspace(0, 1, count)[None] * share[:, None] * (points.shape[1] - 1)
    low = np.minimum(at.astype(int), points.shape[1] - 2)
    rows = np.arange(len(points))[:, None]
    part = (at - low)[..., None]
    return points[rows, low] * (1 - part) + points[rows, low + 1] * part


def grow(
    kit: FaceKit, head: np.ndarray, hair: Hair, around: Surroundings, rng: np.random.Generator
) -> Strands:
    """Hair to the shoulders on the head (V, 3)."""
    density = scalp_density(kit, hair)
    roots = sample_roots(kit, head, GUIDES, density, rng)
    style = Shoulder(roots, hair, rng)
    guides = cut_off(trace(style, around), style.cut - LONGER)
    own = sample_roots(kit, head, hair.strands, density, rng)
    points = follow(guides, style, own, side_of(own, hair, rng), rng)
    points = cut_off(points, cut_level(own, hair, rng))
    root, _ = thickness(len(points), rng)
    return Strands(points.astype(np.float32), root, root * 0.12, taper=5.0)


def cut_level(roots: Roots, hair: Hair, rng: np.random.Generator) -> np.ndarray:
    """(N,) y where hairs end: on a line that is soft, and higher for those of the crown."""
    y = roots.on_mean[:, 1]
    layers = hair.layered * rng.random(len(y)) ** 0.8 * smoothstep(y, 4, 11)
    uneven = 0.15 * waves(roots.on_mean, rng, (0.4, 0.9))[:, 1]
    return hair.cut + layers + uneven + rng.exponential(0.4, len(y))


def follow(
    guides: np.ndarray, style: Shoulder, roots: Roots, side: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(N, POINTS, 3): hairs from `roots` along the guides of their side of the parting."""
    from scipy.spatial import cKDTree

    count = len(roots.points)
    key = np.column_stack([style.roots.points, 6 * style.side])
    distance, near = cKDTree(key).query(np.column_stack([roots.points, 6 * side]), k=3)
    weight = 1 / (distance + 0.05)
    weight /= weight.sum(1, keepdims=True)
    path = np.zeros((count, guides.shape[1], 3))
    for k in range(3):
        path += weight[:, k, None, None] * (guides[near[:, k]] - guides[near[:, k], :1])
    path += (roots.points - roots.normals * 0.05)[:, None]
    path = resampled(path, rng.uniform(0.93, 1.0, count), POINTS)
    t = np.linspace(0, 1, POINTS)
    path = gathered(path, np.column_stack([roots.points, 6 * side]), 45, rng)
    path += frizz(count, t, rng)
    return shortened(path, roots, style.hair, rng)


def gathered(
    path: np.ndarray, key: np.ndarray, together: int, rng: np.random.Generator
) -> np.ndarray:
    """Hairs (N, K, 3) in locks of some `together`, as `locks` makes them of their `key` (N, 4)."""
    return pulled(path, locks(key, together, rng), rng)


def locks(key: np.ndarray, together: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) the row of the hair that leads each: that whose key (N, 4) is nearest, one of some
    `together`."""
    from scipy.spatial import cKDTree

    count = len(key)
    leaders = rng.choice(count, max(1, count // together), replace=False)
    return leaders[cKDTree(key[leaders]).query(key)[1]]


def pulled(path: np.ndarray, lock: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hairs (N, K, 3) of which what hangs gathers about the hair in row `lock` (N,)."""
    count, t = len(path), np.linspace(0, 1, path.shape[1])
    pull = (0.62 * smoothstep(t, 0.15, 1.0))[None, :, None] * rng.uniform(0.3, 1, (count, 1, 1))
    offset = path - path[lock]
    near_enough = np.exp(-((np.linalg.norm(offset, axis=2, keepdims=True) / 1.6) ** 2))
    return path - offset * pull * near_enough


def frizz(count: int, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, K, 3) cm: what makes each hair differ; a few fly away."""
    amount = 0.035 + 0.05 * rng.random((count, 1, 1)) ** 2
    amount = np.where(rng.random((count, 1, 1)) < 0.012, amount * 3, amount)
    out = np.zeros((count, len(t), 3))
    for cycles in (0.7, 1.6, 3.1):
        phase = rng.random((count, 1, 3)) * 2 * np.pi
        direction = rng.normal(0, 1, (count, 1, 3)) / cycles**0.5
        out += direction * (np.sin(2 * np.pi * cycles * t[None, :, None] + phase) - np.sin(phase))
    return out * amount * smoothstep(t, 0, 0.4)[None, :, None]


def shortened(path: np.ndarray, roots: Roots, hair: Hair, rng: np.random.Generator) -> np.ndarray:
    """Hairs at the hairline are short and fine; some hairs anywhere are young."""
    front = scalp(roots.on_mean, hair) < 0.6
    share = np.where(rng.random(len(path)) < 0.05, rng.uniform(0.3, 0.9, len(path)), 1.0)
    baby = front & (roots.on_mean[:, 1] > 1) & (rng.random(len(path)) < 0.45)
    share = np.where(baby, rng.uniform(0.05, 0.30, len(path)), share)
    return resampled(path, share, POINTS)


def thickness(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    root = rng.uniform(0.006, 0.009, count)
    return root, root * 0.5
