# SPDX-License-Identifier: Apache-2.0
"""What the synthetic people wear: a round-necked top, caps, glasses."""

from __future__ import annotations

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import EYE_LEFT, EYE_RIGHT
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic.scene import LABELS, Mesh
from realtalk_ros.training.synthetic.traits import Traits

# Rings of a round-necked top from the collar down, cm: half-width, z of front and back, y of side,
# front and back.
TOP_RINGS = np.array([
    [8.0, 3.3, -8.0, -11.2, -14.6, -9.9],
    [8.5, 4.3, -8.9, -10.4, -13.9, -9.1],
    [8.9, 5.1, -9.4, -10.5, -14.1, -9.2],
    [9.3, 5.3, -9.7, -11.1, -15.0, -10.0],
    [11.2, 6.3, -10.3, -12.0, -16.6, -12.0],
    [14.0, 7.8, -11.0, -13.3, -18.8, -14.0],
    [17.2, 9.2, -11.5, -15.0, -21.5, -16.0],
    [19.6, 10.2, -11.8, -17.4, -25.0, -19.0],
    [21.0, 10.9, -12.0, -21.0, -30.0, -24.0],
    [21.6, 11.2, -12.0, -30.0, -40.0, -34.0],
    [21.8, 11.2, -12.0, -44.0, -55.0, -48.0],
])  # fmt: skip
ROWS, COLUMNS = 120, 192  # vertices of the top, down and around
COLLAR_ROWS, SEAM_ROWS = slice(28), slice(27, 30)


def shoulders(
    traits: Traits,
    broad: float,
    kit: FaceKit,
    neutral: np.ndarray,
    fine: bool = True,
    *,
    rings: np.ndarray = TOP_RINGS,
) -> Mesh:
    """A plain round-necked top: `rings` from the collar down, fitted to the neck of `neutral`
    (V, 3); `broad` is a factor of the shoulders' width.

    Without `fine` only what a face crop sees: collar and front, in larger triangles.
    """
    from scipy.interpolate import PchipInterpolator

    rings = fitted_rings(kit, neutral, rings)
    rings[4:, 0] = rings[4, 0] + (rings[4:, 0] - rings[4, 0]) * broad
    rows = np.linspace(0, len(rings) - 1, ROWS)
    points = _ring_points(PchipInterpolator(np.arange(len(rings)), rings)(rows))
    points += _grid_normals(points) * _folds(points, traits)[..., None]
    normals = _grid_normals(points)
    colours = np.broadcast_to(traits.cloth, points.shape).copy()
    ribs = 0.92 + 0.08 * np.cos(np.arange(COLUMNS) * np.pi)
    colours[COLLAR_ROWS] *= (1.0 + 0.5 * (traits.collar - 0.5)) * ribs[None, :, None]
    colours[SEAM_ROWS] *= 0.6
    points, normals, colours = (v.reshape(-1, 3) for v in (points, normals, colours))
    if fine:
        return Mesh(points, normals, colours, _grid_triangles(ROWS - 1, 1))
    tris = _grid_triangles(76, 4)  # every fourth vertex, as far down as a face crop reaches
    return Mesh(points, normals, colours, tris[(points[tris, 2] > -4).any(1)])


def fitted_rings(kit: FaceKit, neutral: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Rings as TOP_RINGS, moved as the bust of `neutral` is from the mean head's."""
    rings = rings.copy()
    bust = np.flatnonzero((kit.mean[:, 1] < -9.0) & (np.abs(kit.mean[:, 0]) > 6.0))
    bust = bust[bust < kit.parts["head_neck"].stop]
    moved = neutral[bust] - kit.mean[bust]
    rings[:, 3:] += np.quantile(moved[:, 1], 0.8)
    rings[:, 1:3] += moved[:, 2].mean()
    rings[:4, 0] *= np.abs(neutral[bust, 0]).mean() / np.abs(kit.mean[bust, 0]).mean()
    return rings


def _ring_points(rings: np.ndarray) -> np.ndarray:
    """(R, COLUMNS, 3) of rings (R, 6) as TOP_RINGS has them: superellipses that sag at the front
    and the back."""
    theta = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    s, c = np.sin(theta), np.cos(theta)
    power = np.linspace(2.0, 2.5, len(rings))[:, None]
    ex = np.sign(s) * np.abs(s) ** (2 / power)
    ez = np.sign(c) * np.abs(c) ** (2 / power)
    half, z_front, z_back, side, front, back = (rings[:, k : k + 1] for k in range(6))
    x = half * ex
    z = (z_front + z_back) / 2 + (z_front - z_back) / 2 * ez
    y = side + np.where(c > 0, (front - side) * np.abs(c) ** 1.4, (back - side) * np.abs(c) ** 1.4)
    return np.stack([x, y, z], -1)


def _folds(points: np.ndarray, traits: Traits) -> np.ndarray:
    """(R, COLUMNS) cm: folds of the cloth, from the shoulders down and inwards."""
    u, v = points[..., 0], points[..., 1]
    rng = np.random.default_rng(int(abs(traits.collar) * 1e6) % 2**31)
    folds = np.zeros_like(u)
    for _ in range(7):
        slope, pitch = rng.normal(0, 0.8), rng.uniform(0.35, 1.0)
        swell = 0.5 + 0.5 * np.sin(
            u * rng.uniform(0.05, 0.2) + v * rng.uniform(0.05, 0.3) + rng.uniform(0, 6)
        )
        folds += (
            swell * np.sin(pitch * (np.abs(u) + slope * v) + rng.uniform(0, 6.28)) / (pitch * 3 + 1)
        )
    depth = 1.1 * smoothstep(np.arange(len(points))[:, None], 40, 75)
    return folds * depth


def _grid_triangles(rows: int, step: int) -> np.ndarray:
    """(M, 3) over a grid of COLUMNS that closes around; of every `step`th vertex both ways, down
    to that row."""
    at = np.arange(0, rows, step), np.arange(0, COLUMNS, step)
    rows_at, columns = np.meshgrid(*at, indexing="ij")
    a = rows_at * COLUMNS + columns
    b = rows_at * COLUMNS + (columns + step) % COLUMNS
    down = step * COLUMNS
    return np.stack([a, b, a + down, a + down, b, b + down], -1).reshape(-1, 3)


def _grid_normals(points: np.ndarray) -> np.ndarray:
    """(R, C, 3) outward unit normals of a grid that closes in its second axis."""
    n = np.cross(np.roll(points, -1, 1) - np.roll(points, 1, 1), np.gradient(points, axis=0))
    n /= np.maximum(np.linalg.norm(n, axis=2, keepdims=True), 1e-9)
    middle = len(points) // 2
    return -n if np.mean(n[middle, :, 0] * points[middle, :, 0]) < 0 else n


RIM_POINTS = 40


def glasses(
    kit: FaceKit, neutral: np.ndarray, thick: float, rng: np.random.Generator
) -> list[Mesh]:
    """[frame, lenses] before the eyes of `neutral`; `thick` 0..1 from wire to horn rims."""
    marks = neutral[kit.landmarks]
    left, right = marks[EYE_LEFT].mean(0), marks[EYE_RIGHT].mean(0)
    half = np.array([rng.uniform(2.15, 2.75), rng.uniform(1.45, 2.2)])
    apart = abs(left[0] - right[0]) / 2
    half[0] = min(half[0], apart + rng.uniform(-0.7, -0.4))
    rim = _rim(half, 2 / rng.choice([2.0, 2.5, 3.5]))
    drop = rng.uniform(-0.35, 0.15)
    front = neutral[kit.parts["face"]]
    near = (np.abs(np.abs(front[:, 0]) - apart) < half[0]) & (
        np.abs(front[:, 1] - left[1] - drop) < half[1]
    )
    depth = front[near, 2].max() + 0.25
    radius = 0.05 + 0.17 * thick
    colour = rng.random(3) ** 2 * 0.8 if rng.random() < 0.5 else np.full(3, rng.uniform(0.01, 0.08))
    tint = rng.random(3) * 0.15
    tubes, lenses = [], []
    corner = np.empty((2, 3))  # where the bridge begins and ends
    for i, (side, eye) in enumerate(((-1, right), (1, left))):
        x, y = side * apart + rim[:, 0], eye[1] + drop + rim[:, 1]
        z = depth - 0.022 * (x - side * 0.9) ** 2
        ring = np.stack([x, y, z], 1)
        tubes.append(_tube(ring, radius, closed=True))
        lenses.append(_lens(ring))
        outer = ring[np.argmax(side * ring[:, 0])]
        corner[i] = ring[np.argmin(side * ring[:, 0])] + [0, 0.25 * half[1], 0]
        ear = np.array([side * 7.6, outer[1] + 0.2, -1.0])
        tubes.append(_tube(np.linspace(outer + [0, 0.25, 0], ear, 8), radius))
    t = np.linspace(0, 1, 8)[:, None]
    bridge = corner[0] + (corner[1] - corner[0]) * t + np.array([0, 0.35, 0.3]) * 4 * t * (1 - t)
    tubes.append(_tube(bridge, radius))
    label = LABELS.index("glasses")
    frame = _joined(tubes, colour, label=label, with_head=True, polish=rng.uniform(0.3, 1.0))
    opacity = float(rng.choice([0.03, 0.08, rng.uniform(0.2, 0.75)], p=[0.6, 0.25, 0.15]))
    lens = _joined(lenses, tint, label=label, with_head=True, polish=1.0, opacity=opacity)
    return [frame, lens]


def _rim(half: np.ndarray, power: float) -> np.ndarray:
    """(RIM_POINTS, 2): a superellipse of those half axes (2,)."""
    turn = np.linspace(0, 2 * np.pi, RIM_POINTS, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([np.sign(c) * np.abs(c) ** power * half[0],
                     np.sign(s) * np.abs(s) ** power * half[1]], 1)  # fmt: skip


def _lens(ring: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(points, normals, triangles) of a curved lens in the rim `ring` (RIM_POINTS, 3)."""
    middle = ring.mean(0) + [0, 0, 0.12]
    inner = middle + (ring - middle) * 0.6 + [0, 0, 0.04]
    points = np.vstack([middle, inner, ring])
    normals = points - [middle[0], middle[1], middle[2] - 9.0]
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    n = np.arange(RIM_POINTS)
    a, b = 1 + n, 1 + (n + 1) % RIM_POINTS
    fan = np.stack([np.zeros(RIM_POINTS, int), a, b], 1)
    outer_a, outer_b = a + RIM_POINTS, b + RIM_POINTS
    band = [np.stack([a, outer_a, b], 1), np.stack([b, outer_a, outer_b], 1)]
    return points, normals, np.concatenate([fan, *band])


def cap(kit: FaceKit, neutral: np.ndarray, rng: np.random.Generator) -> Mesh:
    """A cap with a peak: the scalp, raised, and a curved board before the forehead."""
    skin = slice(kit.parts["face"].start, kit.parts["head_neck"].stop)
    mean, normals = kit.mean, kit.normals(neutral)
    line = np.interp(mean[:, 2], [-8, 0, 8], [1.5, 6.5, 8.6]) + rng.uniform(-0.5, 0.4)
    tris = kit.triangles
    on = ((tris >= skin.start) & (tris < skin.stop)).all(1) & (mean[tris, 1] > line[tris]).all(1)
    tris = tris[on]
    used, tris = np.unique(tris, return_inverse=True)
    shell = (neutral + normals * 0.9)[used]
    parts = [(shell, normals[used], tris.reshape(-1, 3))]
    brow = used[np.abs(mean[used, 1] - line[used]) < 0.8]
    front = neutral[brow][neutral[brow][:, 2] > 4]
    level, edge = front[:, 1].mean() + 0.3, front[:, 2].max() + 0.6
    u, v = np.meshgrid(np.linspace(-1, 1, 25), np.linspace(0, 1, 8))
    x = 6.4 * u
    z = edge - 4.5 * u**2 + rng.uniform(4, 6) * v * (1 - 0.55 * u**2)
    y = level - 1.3 * u**2 - 1.1 * v**1.5
    grid = np.stack([x, y, z], -1)
    n = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0))
    n /= np.linalg.norm(n, axis=2, keepdims=True)
    n *= np.sign(n[..., 1:2].mean())
    a = (np.arange(7)[:, None] * 25 + np.arange(24)).ravel()
    board = np.concatenate([np.stack([a, a + 1, a + 25], 1), np.stack([a + 25, a + 1, a + 26], 1)])
    parts.append((grid.reshape(-1, 3), n.reshape(-1, 3), board))
    return _joined(parts, rng.random(3) ** 2 * 0.7, label=LABELS.index("hair"), with_head=True)


def _tube(path: np.ndarray, radius: float, closed: bool = False) -> tuple:
    """(points, normals, triangles) round `path` (n, 3)."""
    sides = 6
    along = np.gradient(path, axis=0)
    if closed:
        along = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, [0.3, 0.2, 1.0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(along, across)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    normals = across[:, None] * np.cos(turn) + up[:, None] * np.sin(turn)
    points = path[:, None] + radius * normals
    n = len(path)
    rows, cols = np.meshgrid(np.arange(n if closed else n - 1), np.arange(sides), indexing="ij")
    a, b = rows * sides + cols, rows * sides + (cols + 1) % sides
    down = ((rows + 1) % n - rows) * sides
    tris = np.stack([a, b, a + down, a + down, b, b + down], -1).reshape(-1, 3)
    return points.reshape(-1, 3), normals.reshape(-1, 3), tris


def _joined(parts: list[tuple], colour: np.ndarray, **options) -> Mesh:
    """One Mesh of several (points, normals, triangles)."""
    starts = np.cumsum([0] + [len(p) for p, _, _ in parts[:-1]])
    points, normals = (np.concatenate([part[i] for part in parts]) for i in range(2))
    tris = np.concatenate([t + s for (_, _, t), s in zip(parts, starts, strict=True)])
    return Mesh(points, normals, np.broadcast_to(colour, points.shape), tris, **options)
