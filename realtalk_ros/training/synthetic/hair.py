"""Hair of the studio's people: strands combed into a style over the scalp."""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model.facekit import FaceKit
from realtalk_ros.training.synthetic.head_renderer import Strands, smoothstep
from realtalk_ros.training.synthetic.skin_texture import Traits, scalp_mask


def grow_hair(
    kit: FaceKit, neutral: np.ndarray, traits: Traits, rng: np.random.Generator, fine: bool = True
) -> Strands | None:
    """Strands over the scalp: they start along the normal and bend into a style's direction.

    Without `fine` there is only what a face crop sees: nothing from the back of the head.
    """
    if traits.hair in ("bald", "shaved"):
        return None
    from scipy.spatial import cKDTree

    vertices = np.r_[np.arange(*_bounds(kit, "face")), np.arange(*_bounds(kit, "head_neck"))]
    in_skin = np.zeros(len(kit.mean), bool)
    in_skin[vertices] = True
    tris = kit.triangles[in_skin[kit.triangles].all(1)]
    mask = scalp_mask(kit.mean[tris].mean(1), traits.hairline)
    corner = neutral[tris]
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    chance = area * mask
    total = chance.sum()
    if not fine:
        chance = chance * (kit.mean[tris].mean(1)[:, 2] > -3.5)
    strands = int(traits.hair_strands * chance.sum() / total)
    pick = rng.choice(len(tris), strands, p=chance / chance.sum())
    bary = rng.dirichlet([1, 1, 1], len(pick)).astype(np.float32)
    root = np.einsum("ni,nij->nj", bary, corner[pick])
    rest = np.einsum("ni,nij->nj", bary, kit.mean[tris][pick])
    normals = kit.normals(neutral)
    normal = np.einsum("ni,nij->nj", bary, normals[tris][pick])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    tree = cKDTree(neutral[vertices])
    skin_points, skin_normals = neutral[vertices], normals[vertices]

    style, k, first, base = traits.hair, 9, np.zeros((1, 3)), 0.0
    x, y, z = rest.T
    side = traits.part_side
    top = smoothstep(7.5, 11.5, y)
    front = smoothstep(-2.0, 6.0, z)
    azimuth = np.arctan2(x, z + 1.0)
    around = np.stack([np.sin(azimuth), np.zeros_like(x), np.cos(azimuth)], 1)
    down = np.array([0, -1.0, 0]) + 0.35 * around
    back = np.stack([0.25 * np.sign(x), -0.15 - 0.5 * (1 - top), -np.ones_like(x)], 1)
    sweep = np.stack([-side * np.ones_like(x), -0.15 * np.ones_like(x), -0.35 * np.ones_like(x)], 1)
    past_part = smoothstep(2.2, 3.2, side * x)  # the smaller side of the parting falls down
    if style == "side":
        comb = (
            sweep * (top * (1 - past_part))[:, None] + down * (1 - top * (1 - past_part))[:, None]
        )
        comb += back * (0.7 * (1 - front) + 0.35)[:, None]
        # hair above the forehead goes up and back, not over the eyes
        quiff = smoothstep(3.0, 6.0, z) * smoothstep(7.0, 9.5, y)
        comb += quiff[:, None] * np.stack([-0.3 * side + 0 * x, 0.9 + 0 * x, -0.8 + 0 * x], 1)
        length = 2.0 + 5.5 * top * (0.6 + 0.4 * front)
        lift, volume = 0.9, 0.5 + 1.15 * top
    elif style == "fringe":
        forward = np.stack(
            [0.25 * side * np.ones_like(x), -0.55 * np.ones_like(x), np.ones_like(x)], 1
        )
        comb = forward * (top * front)[:, None] + down * (1 - top * front)[:, None]
        length = 3.0 + 3.0 * top
        lift, volume = 0.6, 0.6 + 0.6 * top
    elif style in ("long", "bob"):
        part = np.where(side * x - 1.6 > 0, 1.0, -1.0) * side
        fall = smoothstep(9.0, 4.0, y)[:, None]
        aside = np.stack([part, -0.25 + 0 * x, -0.35 - 0.35 * front], 1)
        first = np.stack([0.3 * part, 0.5 + 0 * x, -1.2 + 0 * x], 1) * (front * top)[:, None]
        comb = aside * (1 - fall) + (down + np.stack([0 * x, 0 * x, -0.45 * front], 1)) * fall
        length = 12.0 + 9.0 * top + 3.0 * rng.random(len(x))
        lift = 0.35 + 0.7 * np.exp(-(((side * x - 1.6) / 1.4) ** 2))[:, None] * top[:, None]
        volume = 0.65 + 0.45 * top
        # brushed over the parting, so that it is no groove
        base = (0.5 * rng.random(len(x)) * np.exp(-(((side * x - 1.6) / 0.8) ** 2)) * top)[:, None]
        k = 16
    elif style == "tied":  # back into a bun
        knot = np.array([0.0, 7.0, -11.5])
        comb = knot - rest
        far = np.linalg.norm(comb, axis=1)
        comb = comb / far[:, None] + 0.35 * back + np.stack([0 * x, 0.35 * top + 0.1, 0 * x], 1)
        length = far * 1.12
        lift, volume = 0.25, 0.25 + 0.75 * top * (0.3 + 0.7 * smoothstep(7, -1, z))
        k = 14
    elif style == "curly":
        comb = around * 0.5 + down * 0.15 + np.array([0, 0.35, 0]) * top[:, None]
        length = 3.5 + 2.0 * top
        lift, volume = 1.2, 1.2 + 1.3 * top
        k = 12
    else:  # short
        comb = back * top[:, None] + down * (1 - top)[:, None] + np.array([0.25 * side, 0.25, 0.2])
        length = 1.2 + 1.9 * top
        lift, volume = 0.9, 0.3 + 0.6 * top
    # `first` bends only the beginning: front hair goes back before it falls aside
    length = length * traits.hair_length * rng.uniform(0.75, 1.1, len(x))
    layer = rng.random(len(x)) ** 0.7  # height of the strand within the hair's volume
    wild = rng.normal(0, {"curly": 0.45, "tied": 0.04, "bob": 0.05}.get(style, 0.10), (len(x), 3))
    clump = _clumps(rest, rng, {"long": 0.06, "bob": 0.04, "tied": 0.035}.get(style, 0.16))
    comb = comb / np.linalg.norm(comb, axis=1, keepdims=True) + wild + clump
    phase = rng.random((len(x), 2)) * 6.28
    curl = {"curly": 0.75, "long": 0.08, "bob": 0.03, "tied": 0.015}.get(style, 0.05)
    cut = -6.0 - 1.2 * rng.random(len(x)) - 1.0 * smoothstep(2, -6, z)
    points = np.empty((len(x), k, 3), np.float32)
    points[:, 0] = p = root + normal * (base - 0.05)
    step = (length / (k - 1))[:, None]
    gravity = np.array([0, -0.22 if style in ("long", "bob") else -0.08, 0])
    direction = normal * lift + comb * 0.35 + first
    for i in range(1, k):
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        direction = direction * 0.55 + comb * 0.5 + first * max(0.0, 1 - i / 4) + gravity * i * 0.6
        if curl:
            turn = phase + i * (1.9 if style == "curly" else 0.8)
            direction[:, 0] += curl * np.cos(turn[:, 0])
            direction[:, 2] += curl * np.sin(turn[:, 1])
            direction[:, 1] += curl * 0.6 * np.sin(turn[:, 0])
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        p = p + direction * step
        # keep every point at its layer's height above the skin
        _, near = tree.query(p, workers=1)
        n = skin_normals[near]
        above = np.einsum("ij,ij->i", p - skin_points[near], n)
        rise = np.minimum(i / 3.0, 1.0)
        want = (0.10 + layer * volume) * rise
        ceiling = want * 1.25 + 0.3 + (3.0 if style == "curly" else 0.0)
        p = (
            p
            + n
            * (np.maximum(want - above, 0) * 0.8 - np.maximum(above - ceiling, 0) * 0.55)[:, None]
        )
        if style in ("long", "bob"):
            p = _off_the_face(p, layer)
            if style == "bob":  # cut at the chin, turned in a little at the ends
                over = np.maximum(cut - p[:, 1], 0)[:, None]
                p = p + np.array([0.0, 1.0, 0.0]) * over
        direction = p - points[:, i - 1]
        points[:, i] = p
    if not fine:  # above a face crop
        seen = points[:, :, 1].min(1) < 9.5
        points, layer, clump = points[seen], layer[seen], clump[seen]
        x = points[:, 0, 0]
    shade = np.clip(0.42 + 0.58 * layer[:, None] * np.linspace(0.35, 1, k), 0.3, 1).astype(
        np.float32
    )
    tint = rng.normal(1, 0.16, (len(x), 1)) * (1 + rng.normal(0, 0.04, (len(x), 3)))
    colours = np.clip(traits.hair_colour * tint * (1 + 1.6 * clump[:, :1]), 0.003, 0.95)
    return Strands(points, colours.astype(np.float32), shade, traits.hair_width)


def _off_the_face(p: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Turn points that hang before the face about the head's axis until they frame it."""
    x, y, z = p[:, 0], p[:, 1], p[:, 2] + 1.0
    azimuth, radius = np.arctan2(np.abs(x), z), np.hypot(x, z)
    edge = np.interp(y, [-8, -3, 2, 6, 9, 10.5], [55, 55, 53, 46, 31, 0]) + 9.0 * (1 - layer)
    turned = np.maximum(azimuth, np.radians(edge))
    radius = radius * (1 - 0.018 * np.maximum(1.0 - y, 0))  # falls inwards below the ears
    return np.stack([np.sign(x) * radius * np.sin(turned), y, radius * np.cos(turned) - 1.0], 1)


def _bounds(kit: FaceKit, part: str) -> tuple[int, int]:
    return kit.parts[part].start, kit.parts[part].stop


def _clumps(p: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """(n, 3) smooth random directions, alike for neighbouring roots: locks of hair."""
    out = np.zeros((len(p), 3))
    for scale in (0.6, 1.4, 2.6):
        k = rng.normal(0, scale, (3, 3))
        out += np.sin(p @ k + rng.random(3) * 6.28) / (0.8 + scale * 0.5)
    return out * amount
