# SPDX-License-Identifier: Apache-2.0
"""Short hair of the head, and beards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import OUTER_LIPS
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import anatomy
from realtalk_ros.training.portraits.hairline import scalp
from realtalk_ros.training.portraits.people import Hair
from realtalk_ros.training.portraits.strands import (
    Roots,
    Strands,
    Surroundings,
    frizz,
    gathered,
    locks,
    pulled,
    resampled,
    sample_roots,
    scalp_density,
    thickness,
    unit,
    waves,
)
from realtalk_ros.training.synthetic.hair_regions import beard_masks

SHORT_POINTS = 10  # of a hair
BEARD = 18000  # hairs
COMBED_POINTS = 16
SIDES = 1.0  # cm, length of combed hair beside the ears
PARTING = 1.8  # cm over which combed hair turns to either side
GREYING = 0.2  # of the share of white hairs at the temples: that at the crown
WAVED_POINTS = 22
WAVE = 3.4  # cm, length of a wave of waved hair
LOCK = 90  # hairs of it, of 60000
KINK = 0.75  # cosine of the angle between its steps that is too sharp
FIRM = 0.2  # density of the outermost ones: no single hairs lie on the forehead
CROWN = np.array([0.0, 3.0, -1.0])  # cm, in the middle of the head


def cropped(kit: FaceKit, head: np.ndarray, hair: Hair, rng: np.random.Generator) -> Strands:
    """Hair of some millimetres, shorter at the sides, that stands and curls."""
    roots = sample_roots(kit, head, hair.strands, scalp_density(kit, hair), rng)
    _, y, z = roots.on_mean.T
    top = smoothstep(y, 4.0, 11.0)
    grain = np.stack([0 * y, -(1.1 - top), 0.8 * top * smoothstep(z, -6, 3)], 1)
    grain = grain + waves(roots.on_mean, rng, (0.6, 1.5)) * 0.25
    # Shaved to a shadow beside the ears and at the nape; shorter towards the hairline.
    sides = 0.16 + 0.84 * smoothstep(y, 3.0, 10.0)
    front = 0.45 + 0.55 * scalp(roots.on_mean, hair)
    length = hair.length * sides * front * rng.uniform(0.7, 1.1, len(y))
    points = short_strands(roots, grain, length, hair.wave, rng)
    return Strands(points, *thickness(len(points), rng))


def combed(kit: FaceKit, head: np.ndarray, hair: Hair, rng: np.random.Generator) -> Strands:
    """Hair of some centimetres that is combed up, back and to either side of a parting, over short
    sides."""
    roots = sample_roots(kit, head, hair.strands, scalp_density(kit, hair), rng)
    stop = kit.parts["head_neck"].stop
    skin = Surroundings(head[:stop], kit.normals(head)[:stop])
    x, y, z = roots.on_mean.T
    count = len(x)
    # No line of bare skin: at the parting hair runs straight back.
    side = np.tanh((x - hair.part) / PARTING + rng.normal(0, 0.3, count))
    layer = rng.random(count)
    top = smoothstep(y, 4.5, 10.5)
    edge = 0.25 + 0.75 * scalp(roots.on_mean, hair)
    length = (SIDES + (hair.length - SIDES) * top) * edge * rng.uniform(0.6, 1.1, count)
    length = length * (0.5 + 0.5 * smoothstep(y, 0.5, 4.0))
    own = waves(roots.on_mean, rng, (0.7, 1.5)) * 0.22 * hair.wave + rng.normal(0, 0.08, (count, 3))
    p = roots.points - roots.normals * 0.05
    lift = (0.3 + 0.9 * top)[:, None]
    direction = unit(roots.normals * lift + 0.7 * grain(p, side, COMBED) + 0.5 * own)

    def wanted(p: np.ndarray, number: int) -> np.ndarray:
        high = smoothstep(p[:, 1], 3.5, 11.5)
        volume = (0.16 + (hair.volume - 0.16) * high) * (0.15 + 0.85 * layer)
        return volume * min(1.0, 0.15 + number / 8) + 0.04

    points = laid(
        skin, p, direction, length, COMBED_POINTS,
        way=lambda p: grain(p, side, COMBED) + own, turn=0.24, wanted=wanted, pull=(0.2, 0.35),
    )  # fmt: skip
    points = gathered(points, np.column_stack([roots.points, 6 * side]), 30, rng)
    azimuth = np.degrees(np.arctan2(np.abs(x), z + 1.0))
    temple = smoothstep(azimuth, 30, 60) * smoothstep(y, 10.5, 6.0)
    white = rng.random(count) < hair.temples * (GREYING + (1 - GREYING) * temple)
    root, tip = thickness(count, rng)
    return Strands(points.astype(np.float32), root, tip, white.astype(np.float32))


def laid(
    skin: Surroundings, p: np.ndarray, direction: np.ndarray, length: np.ndarray, count: int, *,
    way: Callable[[np.ndarray], np.ndarray], turn: float,
    wanted: Callable[[np.ndarray, int], np.ndarray], pull: tuple[float, float],
) -> np.ndarray:  # fmt: skip
    """(N, count, 3): hair of `length` (N,) that grows from p (N, 3) into `direction` (N, 3).

    At each point it turns by the share `turn` to the `way` there, (N, 3). `wanted` is the height
    above the skin (N,) at points, by their number; it is pulled there by these shares of what it
    lacks, and of what it has too much."""
    path, step = [p], (length / (count - 1))[:, None]
    for number in range(1, count):
        direction = unit(direction * (1 - turn) + way(p) * turn)
        p = p + direction * step
        height, normal = skin.height(p)
        above = wanted(p, number)
        low, high = np.maximum(above - height, 0), np.maximum(height - above, 0)
        p = p + normal * (low * pull[0] - high * pull[1])[:, None]
        direction = unit(p - path[-1])
        path.append(p)
    return np.stack(path, 1)


def before_kinks(points: np.ndarray) -> np.ndarray:
    """Curves (N, K, 3) that end where they first turn sharply, as at a border of the skin."""
    way = unit(np.diff(points, axis=1))
    sharp = (way[:, 1:] * way[:, :-1]).sum(-1) < KINK
    last = points.shape[1] - 1
    end = np.where(sharp.any(1), sharp.argmax(1) + 1, last)
    return resampled(points, end / last, last + 1)


@dataclass(frozen=True)
class Lay:
    """Where hair runs from a parting: shares that change with the height on the head."""

    top: tuple[float, float]  # y, cm, from which it begins to be the top, and is all of it
    aside: float
    level: float  # how much less it falls on the top
    back: tuple[float, float]  # everywhere, and more on the front of the top


COMBED = Lay(top=(6.5, 11.5), aside=0.6, level=0.85, back=(0.3, 0.6))
WAVED = Lay(top=(7.0, 12.0), aside=0.85, level=0.8, back=(0.25, 0.45))


def grain(points: np.ndarray, side: np.ndarray, lay: Lay) -> np.ndarray:
    """(N, 3) where hair runs at points (N, 3): from the parting to its side, down, and back."""
    _, y, z = points.T
    top, front = smoothstep(y, *lay.top), smoothstep(z, -1.0, 6.0)
    return unit(np.stack([side * (0.1 + lay.aside * top), -(1.0 - lay.level * top),
                          -lay.back[0] - lay.back[1] * top * front], 1))  # fmt: skip


def beard(kit: FaceKit, head: np.ndarray, length: float, rng: np.random.Generator) -> Strands:
    """A trimmed beard on the face (V, 3); it moves with the expression."""
    middle = kit.mean[kit.triangles].mean(1)
    jaw, moustache = beard_masks(middle)
    lips = kit.mean[kit.landmarks[OUTER_LIPS]]
    above_lips = np.min(np.linalg.norm(middle[:, None] - lips, axis=2), 1) > 0.28
    density = np.maximum(jaw, moustache) * above_lips
    roots = sample_roots(kit, head, BEARD, density, rng)
    grain = np.array([0.0, -1.0, 0.15]) + waves(roots.on_mean, rng, (0.8, 2.0)) * 0.2
    length = length * rng.uniform(0.5, 1.2, BEARD)
    points = short_strands(roots, grain, length, 0.25, rng)
    root, tip = thickness(BEARD, rng)
    return Strands(points, root * 0.8, tip)


def short_strands(
    roots: Roots, grain: np.ndarray, length: np.ndarray, curl: float, rng: np.random.Generator
) -> np.ndarray:
    """(N, SHORT_POINTS, 3) float32: from the skin into the direction `grain` (N, 3), curled."""
    count = len(roots.points)
    along = unit(unit(grain) * 0.9 + roots.normals * 0.8 + rng.normal(0, 0.15, (count, 3)))
    across = unit(np.cross(along, roots.normals + 1e-3))
    up = np.cross(across, along)
    t = np.linspace(0, 1, SHORT_POINTS)[None, :, None]
    turn = 2 * np.pi * (rng.random((count, 1, 1)) + t * length[:, None, None] * 1.6)
    radius = 0.09 * curl * smoothstep(t, 0, 0.5)
    coil = (across[:, None] * np.cos(turn) + up[:, None] * np.sin(turn)) * radius
    path = along[:, None] * t * length[:, None, None] - roots.normals[:, None] * 0.03
    return (roots.points[:, None] + path + coil).astype(np.float32)


def waved(kit: FaceKit, head: np.ndarray, hair: Hair, rng: np.random.Generator) -> Strands:
    """Hair of a hand's breadth that waves in locks: up from the forehead, to either side of a
    parting, over the ears, where it turns in; short at the nape."""
    ears = anatomy.ears(kit)  # over which hair is set as if there were none
    density = scalp_density(kit, hair) * ~ears[kit.triangles].any(1)
    density = np.where(density > FIRM, density, 0)
    roots = sample_roots(kit, head, hair.strands, density, rng)
    stop = kit.parts["head_neck"].stop
    smooth = ~ears[:stop]
    skin = Surroundings(head[:stop][smooth], kit.normals(head)[:stop][smooth])
    x, y, z = roots.on_mean.T
    count = len(x)
    side = np.tanh((x - hair.part) / 1.5 + rng.normal(0, 0.5, count))  # no line of bare skin
    # A lock lies above or below the next as a whole, and waves a little apart from it.
    lock = locks(np.column_stack([roots.points, 6 * side]), LOCK, rng)
    layer = 0.55 * rng.random(count)[lock] + 0.45 * rng.random(count)
    top = smoothstep(y, 3.0, 10.0)
    fringe = smoothstep(z, 3.0, 7.0) * np.exp(-((x / 5.0) ** 4))
    sweep = fringe[:, None] * np.stack([0.75 * side, 0.6 + 0 * y, 0 * y], 1)
    length = hair.length * (0.72 + 0.28 * top) * (0.4 + 0.6 * scalp(roots.on_mean, hair))
    length = length * rng.uniform(0.7, 1.05, count) * (1 - 0.8 * smoothstep(y, 2.0, -2.0))
    volume = hair.volume * (1.0 - 0.35 * top) * (0.1 + 0.9 * layer) * (1 - 0.35 * fringe)
    volume = volume * (1 - 0.8 * smoothstep(y, 2.0, -2.5))  # close to the neck
    own = waves(roots.on_mean, rng, (0.5, 1.1)) * 0.25 * hair.wave
    own = own + rng.normal(0, 0.07, (count, 3))
    phase = waves(roots.on_mean, rng, (0.15, 0.35))[:, 0] * 1.8
    phase = phase + rng.normal(0, 0.4, count)[lock]
    number = np.arange(WAVED_POINTS)
    bulge = np.minimum(1.0, 0.25 + number / 6) * (1 - 0.85 * smoothstep(number, 13, 21))
    p = roots.points - roots.normals * 0.05
    direction = unit(
        roots.normals * (0.7 + 0.6 * top)[:, None] + 0.6 * grain(p, side, WAVED) + sweep
    )
    points = laid(
        skin, p, direction, length, WAVED_POINTS,
        way=lambda p: grain(p, side, WAVED) + own + sweep, turn=0.26,
        wanted=lambda _, number: volume * bulge[number] + 0.04, pull=(0.35, 0.30),
    )  # fmt: skip
    points = before_kinks(points)
    along = np.linspace(0, 1, WAVED_POINTS)[None] * length[:, None]
    turn = 2 * np.pi * along / WAVE + phase[:, None]
    wide = hair.wave * smoothstep(along, 0.3, 2.5)
    out = unit(points - CROWN)
    across = unit(np.cross(np.gradient(points, axis=1), out))
    points = points + 0.24 * out * (wide * np.sin(turn))[..., None]
    points = points + 0.34 * across * (wide * np.cos(turn))[..., None]
    points = pulled(points, lock, rng)
    points = points + 0.5 * frizz(count, np.linspace(0, 1, WAVED_POINTS), rng)
    share = hair.temples + 0.1 * rng.uniform(-1, 1, count)[lock]
    white = (rng.random(count) < share).astype(np.float32)
    return Strands(points.astype(np.float32), *thickness(count, rng), white)


STYLES = {"cropped": cropped, "combed": combed, "waved": waved}
