# SPDX-License-Identifier: Apache-2.0
"""Hair of the synthetic people: strands over the scalp that bend into the direction of a style.

`grow_hair` samples roots on the scalp, asks a style how its strands run from there (STYLES), varies
that at random, and traces each strand point by point above the skin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic.hair_regions import scalp_mask
from realtalk_ros.training.synthetic.scene import Strands
from realtalk_ros.training.synthetic.traits import Traits

BACK = -3.5  # z, cm: behind it a face crop shows no root
CROP_TOP = 9.5  # y, cm: a strand that stays above is not seen in a face crop
# How much a strand's own direction, and that of its lock, differ from the style's; how much it
# curls. By style; the default is under "".
WILD = {"curly": 0.45, "tied": 0.04, "bob": 0.05, "": 0.10}
CLUMPED = {"long": 0.06, "bob": 0.04, "tied": 0.035, "": 0.16}
CURL = {"curly": 0.75, "long": 0.08, "bob": 0.03, "tied": 0.015, "": 0.05}
HANGING = ("long", "bob")  # styles that fall beside the face


@dataclass(frozen=True)
class Roots:
    """Where N strands begin."""

    points: np.ndarray  # (N, 3) cm, on this person
    normals: np.ndarray  # (N, 3) there
    on_mean: np.ndarray  # (N, 3) the same places on the mean head


@dataclass(frozen=True)
class Skin:
    """The surface above which strands lie; S points of a person."""

    points: np.ndarray  # (S, 3)
    normals: np.ndarray  # (S, 3)


@dataclass(frozen=True)
class Hairstyle:
    """How N strands run."""

    direction: np.ndarray  # (N, 3) into which they bend
    length: np.ndarray  # (N,) cm
    lift: float | np.ndarray  # share of the skin's normal in the first direction; (N, 1) or one
    volume: float | np.ndarray  # cm that the outermost lie above the skin; (N,) or one
    points: int = 9  # a strand
    root_bend: float | np.ndarray = 0.0  # (N, 3) direction that bends only the beginning
    root_height: float | np.ndarray = 0.0  # (N, 1) cm above the skin


@dataclass(frozen=True)
class Variation:
    """What differs at random between N strands of one style."""

    direction: np.ndarray  # (N, 3) the style's, with a lock's and a strand's own
    length: np.ndarray  # (N,) cm
    layer: np.ndarray  # (N,) 0..1: height within the hair's volume
    clump: np.ndarray  # (N, 3) of the lock
    phase: np.ndarray  # (N, 2) of the curls, rad
    cut: np.ndarray  # (N,) y, cm: where a bob is cut off


def grow_hair(
    kit: FaceKit, neutral: np.ndarray, traits: Traits, rng: np.random.Generator, fine: bool = True
) -> Strands | None:
    """Strands over the scalp of the head `neutral` (V, 3); None for bald and shaved ones.

    Without `fine` there is only what a face crop sees: nothing from the back of the head.
    """
    if traits.hair in ("bald", "shaved"):
        return None
    roots, skin = sample_roots(kit, neutral, traits, rng, fine)
    style = STYLES[traits.hair](Scalp(roots.on_mean, traits.part_side), rng)
    variation = vary(style, roots, traits, rng)
    points = trace(roots, skin, style, variation, traits.hair)
    layer, clump = variation.layer, variation.clump
    if not fine:
        seen = points[:, :, 1].min(1) < CROP_TOP
        points, layer, clump = points[seen], layer[seen], clump[seen]
    shade = 0.42 + 0.58 * layer[:, None] * np.linspace(0.35, 1, style.points)
    shade = np.clip(shade, 0.3, 1).astype(np.float32)
    count = len(points)
    tint = rng.normal(1, 0.16, (count, 1)) * (1 + rng.normal(0, 0.04, (count, 3)))
    colours = np.clip(traits.hair_colour * tint * (1 + 1.6 * clump[:, :1]), 0.003, 0.95)
    return Strands(points, colours.astype(np.float32), shade, traits.hair_width)


def sample_roots(
    kit: FaceKit, neutral: np.ndarray, traits: Traits, rng: np.random.Generator, fine: bool
) -> tuple[Roots, Skin]:
    """Roots evenly over the scalp, and the skin of the whole head."""
    parts = (kit.parts[name] for name in ("face", "head_neck"))
    vertices = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    in_skin = np.zeros(len(kit.mean), bool)
    in_skin[vertices] = True
    tris = kit.triangles[in_skin[kit.triangles].all(1)]
    centres, corner = kit.mean[tris].mean(1), neutral[tris]
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    chance = area * scalp_mask(centres, traits.hairline)
    total = chance.sum()
    if not fine:
        chance = chance * (centres[:, 2] > BACK)
    count = int(traits.hair_strands * chance.sum() / total)
    pick = rng.choice(len(tris), count, p=chance / chance.sum())
    weights = rng.dirichlet([1, 1, 1], len(pick)).astype(np.float32)  # barycentric
    normals = kit.normals(neutral)
    points, on_mean, normal = (
        np.einsum("ni,nij->nj", weights, values[pick])
        for values in (corner, kit.mean[tris], normals[tris])
    )
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return Roots(points, normal, on_mean), Skin(neutral[vertices], normals[vertices])


class Scalp:
    """Roots (N, 3) on the mean head, and directions (N, 3) from there that styles are made of."""

    def __init__(self, roots: np.ndarray, part_side: float):
        self.roots, self.side = roots, part_side
        self.x, self.y, self.z = x, _, z = roots.T
        self.top = smoothstep(self.y, 7.5, 11.5)
        self.front = smoothstep(z, -2.0, 6.0)
        azimuth = np.arctan2(x, z + 1.0)
        self.around = np.stack([np.sin(azimuth), np.zeros_like(x), np.cos(azimuth)], 1)
        self.down = np.array([0, -1.0, 0]) + 0.35 * self.around
        self.back = self.stack(0.25 * np.sign(x), -0.15 - 0.5 * (1 - self.top), -1.0)

    def stack(self, *columns: np.ndarray | float) -> np.ndarray:
        """(N, 3) of three columns, each (N,) or the same for all."""
        return np.stack([np.full_like(self.x, c) if np.isscalar(c) else c for c in columns], 1)


def short(scalp: Scalp, rng: np.random.Generator) -> Hairstyle:
    top = scalp.top
    direction = scalp.back * top[:, None] + scalp.down * (1 - top)[:, None]
    direction = direction + np.array([0.25 * scalp.side, 0.25, 0.2])
    return Hairstyle(direction, length=1.2 + 1.9 * top, lift=0.9, volume=0.3 + 0.6 * top)


def side_parted(scalp: Scalp, rng: np.random.Generator) -> Hairstyle:
    """Combed over the top; the smaller side of the parting falls down."""
    top, front, side = scalp.top, scalp.front, scalp.side
    past_part = smoothstep(side * scalp.x, 2.2, 3.2)
    over = top * (1 - past_part)
    sweep = scalp.stack(-side, -0.15, -0.35)
    direction = sweep * over[:, None] + scalp.down * (1 - over)[:, None]
    direction += scalp.back * (0.7 * (1 - front) + 0.35)[:, None]
    # Hair above the forehead goes up and back, not over the eyes.
    quiff = smoothstep(scalp.z, 3.0, 6.0) * smoothstep(scalp.y, 7.0, 9.5)
    direction += quiff[:, None] * scalp.stack(-0.3 * side, 0.9, -0.8)
    length = 2.0 + 5.5 * top * (0.6 + 0.4 * front)
    return Hairstyle(direction, length, lift=0.9, volume=0.5 + 1.15 * top)


def fringe(scalp: Scalp, rng: np.random.Generator) -> Hairstyle:
    forward, over = scalp.stack(0.25 * scalp.side, -0.55, 1.0), scalp.top * scalp.front
    direction = forward * over[:, None] + scalp.down * (1 - over)[:, None]
    return Hairstyle(
        direction, length=3.0 + 3.0 * scalp.top, lift=0.6, volume=0.6 + 0.6 * scalp.top
    )


def hanging(scalp: Scalp, rng: np.random.Generator) -> Hairstyle:
    """Long hair with a parting; front hair goes back before it falls aside."""
    top, front, side, count = scalp.top, scalp.front, scalp.side, len(scalp.x)
    from_part = side * scalp.x - 1.6
    part = np.where(from_part > 0, 1.0, -1.0) * side
    fall = smoothstep(scalp.y, 9.0, 4.0)[:, None]
    aside = scalp.stack(part, -0.25, -0.35 - 0.35 * front)
    direction = aside * (1 - fall) + (scalp.down + scalp.stack(0, 0, -0.45 * front)) * fall
    length = 12.0 + 9.0 * top + 3.0 * rng.random(count)
    at_part = np.exp(-((from_part / 1.4) ** 2))
    # Brushed over the parting, so that it is no groove.
    height = 0.5 * rng.random(count) * np.exp(-((from_part / 0.8) ** 2)) * top
    return Hairstyle(
        direction,
        length,
        lift=0.35 + 0.7 * at_part[:, None] * top[:, None],
        volume=0.65 + 0.45 * top,
        points=16,
        root_bend=scalp.stack(0.3 * part, 0.5, -1.2) * (front * top)[:, None],
        root_height=height[:, None],
    )


def tied(scalp: Scalp, rng: np.random.Generator) -> Hairstyle:
    """Back into a bun."""
    to_knot = np.array([0.0, 7.0, -11.5]) - scalp.roots
    distance = np.linalg.norm(to_knot, axis=1)
    direction = to_knot / distance[:, None] + 0.35 * scalp.back
    direction = direction + scalp.stack(0, 0.35 * scalp.top + 0.1, 0)
    volume = 0.25 + 0.75 * scalp.top * (0.3 + 0.7 * smoothstep(scalp.z, 7, -1))
    return Hairstyle(direction, distance * 1.12, lift=0.25, volume=volume, points=14)


def curly(scalp: Scalp, rng: np.random.Generator) -> Hairstyle:
    top = scalp.top
    direction = scalp.around * 0.5 + scalp.down * 0.15 + np.array([0, 0.35, 0]) * top[:, None]
    return Hairstyle(direction, length=3.5 + 2.0 * top, lift=1.2, volume=1.2 + 1.3 * top, points=12)


STYLES: dict[str, Callable[[Scalp, np.random.Generator], Hairstyle]] = {
    "short": short, "side": side_parted, "fringe": fringe, "long": hanging, "bob": hanging,
    "curly": curly, "tied": tied,
}  # fmt: skip


def vary(style: Hairstyle, roots: Roots, traits: Traits, rng: np.random.Generator) -> Variation:
    name, count = traits.hair, len(roots.points)
    length = style.length * traits.hair_length * rng.uniform(0.75, 1.1, count)
    layer = rng.random(count) ** 0.7
    wild = rng.normal(0, WILD.get(name, WILD[""]), (count, 3))
    clump = clumps(roots.on_mean, rng, CLUMPED.get(name, CLUMPED[""]))
    direction = style.direction / np.linalg.norm(style.direction, axis=1, keepdims=True)
    phase = rng.random((count, 2)) * 6.28
    cut = -6.0 - 1.2 * rng.random(count) - 1.0 * smoothstep(roots.on_mean[:, 2], 2, -6)
    direction = direction + wild + clump
    return Variation(direction, length, layer, clump=clump, phase=phase, cut=cut)


def clumps(points: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """(N, 3) smooth random directions, alike for neighbouring roots (N, 3): locks of hair."""
    out = np.zeros((len(points), 3))
    for scale in (0.6, 1.4, 2.6):
        k = rng.normal(0, scale, (3, 3))
        out += np.sin(points @ k + rng.random(3) * 6.28) / (0.8 + scale * 0.5)
    return out * amount


def trace(
    roots: Roots, skin: Skin, style: Hairstyle, variation: Variation, name: str
) -> np.ndarray:
    """(N, K, 3) float32: the strands' points, of the style of that name."""
    from scipy.spatial import cKDTree

    tree, strands = cKDTree(skin.points), variation
    points = np.empty((len(roots.points), style.points, 3), np.float32)
    points[:, 0] = p = roots.points + roots.normals * (style.root_height - 0.05)
    step = (strands.length / (style.points - 1))[:, None]
    gravity = np.array([0, -0.22 if name in HANGING else -0.08, 0])
    ceiling_slack = 0.3 + (3.0 if name == "curly" else 0.0)
    direction = roots.normals * style.lift + strands.direction * 0.35 + style.root_bend
    for i in range(1, style.points):
        direction = _unit(direction) * 0.55 + strands.direction * 0.5
        direction = direction + style.root_bend * max(0.0, 1 - i / 4) + gravity * i * 0.6
        direction = _unit(_curled(direction, strands.phase, i, name))
        p = p + direction * step
        height = (0.10 + strands.layer * style.volume) * np.minimum(i / 3.0, 1.0)
        p = _above_skin(p, skin, tree.query(p, workers=1)[1], height, ceiling_slack)
        if name in HANGING:
            p = beside_face(p, strands.layer)
        if name == "bob":  # cut at the chin, turned in a little at the ends
            p = p + np.array([0.0, 1.0, 0.0]) * np.maximum(strands.cut - p[:, 1], 0)[:, None]
        direction = p - points[:, i - 1]
        points[:, i] = p
    return points


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _curled(direction: np.ndarray, phase: np.ndarray, point: int, name: str) -> np.ndarray:
    """Directions (N, 3) of the strands at their point of that number, turned as they curl."""
    curl = CURL.get(name, CURL[""])
    turn = phase + point * (1.9 if name == "curly" else 0.8)
    direction[:, 0] += curl * np.cos(turn[:, 0])
    direction[:, 2] += curl * np.sin(turn[:, 1])
    direction[:, 1] += curl * 0.6 * np.sin(turn[:, 0])
    return direction


def _above_skin(
    points: np.ndarray, skin: Skin, nearest: np.ndarray, height: np.ndarray, slack: float
) -> np.ndarray:
    """Points (N, 3) drawn towards their `height` (N,) above the skin point that is nearest."""
    normal = skin.normals[nearest]
    above = np.einsum("ij,ij->i", points - skin.points[nearest], normal)
    too_low = np.maximum(height - above, 0)
    too_high = np.maximum(above - (height * 1.25 + slack), 0)
    return points + normal * (too_low * 0.8 - too_high * 0.55)[:, None]


def beside_face(points: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Turns points (N, 3) that hang before the face about the head's axis until they frame it."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2] + 1.0
    azimuth, radius = np.arctan2(np.abs(x), z), np.hypot(x, z)
    edge = np.interp(y, [-8, -3, 2, 6, 9, 10.5], [55, 55, 53, 46, 31, 0]) + 9.0 * (1 - layer)
    turned = np.maximum(azimuth, np.radians(edge))
    radius = radius * (1 - 0.018 * np.maximum(1.0 - y, 0))  # falls inwards below the ears
    return np.stack([np.sign(x) * radius * np.sin(turned), y, radius * np.cos(turned) - 1.0], 1)
