# SPDX-License-Identifier: Apache-2.0
"""What a portrait's people wear: jumpers, a shirt, a sweatshirt, a jacket, over body.py.

NumPy only. Cloth lies where rays from the body's middle leave it. Places are cm on the mean head's
body, on the person's left; the other side mirrors them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import anatomy
from realtalk_ros.training.portraits.anatomy import Surface
from realtalk_ros.training.portraits.body import MIDDLE, Body
from realtalk_ros.training.portraits.collar import collar, tucked
from realtalk_ros.training.portraits.people import JACKET, ROUND, SHIRT, SWEATSHIRT, Sitter
from realtalk_ros.training.portraits.strands import unit

ROWS, COLUMNS = 200, 288  # of a piece of cloth, down from its neckline and around
SMOOTH = 2.5  # rows and columns of a jumper
LOWEST = 150.0  # degrees from the vertical, of its last row
JUMPER_ABOVE, SHIRT_ABOVE = 0.80, 0.35  # cm above the body
SLEEVE = 16.4  # cm, x of the seam of a sleeve
STITCHES = (2.6, 3.2)  # a cm, across and down
SLEEVE_TURN = np.radians(22)  # of a sleeve's stitches


def seen(angles: list[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """Points that are seen from the body's middle at angles from the front and from the vertical,
    degrees."""
    around, down = np.radians(np.array(angles)).T
    ways = np.stack([np.sin(down) * np.sin(around), np.cos(down), np.sin(down) * np.cos(around)], 1)
    return [tuple(point) for point in (MIDDLE + 12.0 * ways).tolist()]


# Necklines from the front to the back. The chin hides the throat from the body's middle: none can
# be higher than some 8 cm below it.
NECKLINES = {
    ROUND: seen([(0, 34), (20, 32.5), (40, 28.5), (60, 24.5), (80, 22.5), (110, 19), (145, 17),
                 (180, 15.5)]),
    "top": seen([(0, 35), (20, 33), (40, 28.5), (60, 24.5), (80, 23.5), (110, 20), (145, 17),
                 (180, 15.5)]),
    JACKET: seen([(0, 70), (16, 50), (34, 38), (60, 27.5), (80, 26.5), (110, 22), (145, 19),
                  (180, 17)]),
    SHIRT: [(0, -20.2, 7.2), (1.9, -17.6, 6.8), (3.8, -15.0, 6.3), (5.6, -12.9, 4.2),
            (7.3, -10.9, -0.5), (7.0, -10.2, -3.5), (4.5, -9.5, -7.5), (0, -9.3, -8.6)],
    SWEATSHIRT: [(0, -11.75, 5.8), (2.4, -11.75, 5.5), (4.6, -11.5, 4.0), (6.2, -10.5, 0.0),
                 (6.3, -9.9, -3.5), (4.2, -9.4, -7.5), (0, -9.2, -8.6)],
    "collar": [(0, -16.0, 6.0), (1.6, -14.4, 5.6), (3.2, -12.9, 5.0), (5.2, -11.6, 3.0),
               (6.7, -10.4, -0.5), (6.4, -9.9, -3.5), (4.0, -9.3, -7.0), (0, -9.1, -8.2)],
}  # fmt: skip
BUTTONS = (-17.9,)  # y
PLACKET = -0.75  # x where a shirt's left front lies over its right one
BUTTON = 0.52  # cm, radius
# Of pearls.
STRING = [(0, -14.0, 3.2), (2.4, -13.2, 2.4), (3.9, -11.6, 0.8), (4.8, -10.2, -1.4),
          (4.6, -9.5, -3.8), (3.2, -8.9, -6.6), (0, -8.6, -7.6)]  # fmt: skip
PEARL = 0.36  # cm, radius
LOBE = np.array([8.0, -1.25, 0.7])  # of the ear, on the mean head


@dataclass(frozen=True)
class Piece:
    """A part of the clothes."""

    name: str
    surface: Surface
    material: str  # "knit", "jersey", "linen", "button" or "pearl"
    thick: float  # cm


@dataclass(frozen=True)
class Cut:
    """How a garment with sleeves is made; lengths are cm."""

    material: str
    above: float  # the body
    border: float  # of its ribbed border
    ribs: float  # of the border, around
    smooth: tuple[float, float] = (SMOOTH, SMOOTH)  # rows and columns
    seam: tuple[float, float] = (0.16, 0.16)  # depth and half the width of the sleeve's
    thick: float = 0.22
    folded: float = 1.0  # factor of its folds


OVER = {JACKET: 0.9, SHIRT: 1.05}  # cm above the body, beside a neck, of what is worn over others
JUMPER = Cut("knit", above=JUMPER_ABOVE, border=1.9, ribs=52.0)
CUTS = {
    ROUND: Cut("jersey", above=1.0, border=1.0, ribs=0.0, smooth=(5.0, 6.0), thick=0.2),
    SHIRT: JUMPER,
    SWEATSHIRT: Cut(
        "jersey", above=1.05, border=1.7, ribs=130.0, smooth=(6.0, 7.0), seam=(0.22, 0.30),
        thick=0.16, folded=1.3,
    ),
    JACKET: Cut(
        "jersey", above=1.0, border=0.7, ribs=0.0, smooth=(5.0, 5.0), seam=(0.2, 0.2),
        thick=0.3, folded=0.8,
    ),
}  # fmt: skip


def cloth(
    body: Body, neckline: list, above: float, smooth: tuple[float, float] = (SMOOTH, SMOOTH)
) -> tuple[np.ndarray, np.ndarray]:
    """(ROWS, COLUMNS, 3) of cloth below a neckline, made smooth over so many rows and columns,
    and (ROWS, COLUMNS) cm from it."""
    from scipy.interpolate import PchipInterpolator
    from scipy.ndimage import gaussian_filter

    away = body.placed(np.array(neckline, float)) - body.middle
    turn = np.arctan2(away[:, 0], away[:, 2])
    first = np.arccos(away[:, 1] / np.linalg.norm(away, axis=1))
    theta = np.arange(COLUMNS) / COLUMNS * 2 * np.pi
    start = PchipInterpolator(turn, first)(np.minimum(theta, 2 * np.pi - theta))
    phi = start + (np.radians(LOWEST) - start) * np.linspace(0, 1, ROWS)[:, None]
    directions = np.stack([np.sin(phi) * np.sin(theta), np.cos(phi), np.sin(phi) * np.cos(theta)],
                          -1).reshape(-1, 3)  # fmt: skip
    points = body.cast(directions)
    points = (points + body.slope(points) * above).reshape(ROWS, COLUMNS, 3)
    # The face model's bust has few vertices.
    points = gaussian_filter(points, (*smooth, 0), mode=("nearest", "wrap", "nearest"))
    steps = np.linalg.norm(np.diff(points, axis=0), axis=2)
    return points, np.concatenate([np.zeros((1, COLUMNS)), np.cumsum(steps, 0)])


def folds(points: np.ndarray, shift: np.ndarray, broad: float, seed: int) -> np.ndarray:
    """(N,) cm: of cloth (N, 3), from the armpits across chest and sleeves."""
    rng = np.random.default_rng(seed)
    out = np.zeros(len(points))
    for side in (-1, 1):
        x = side * points[:, 0] - 15.0 * broad
        y = points[:, 1] - shift[1] + 27.0
        turn, away = np.arctan2(y, -x), np.hypot(x, y)
        front = smoothstep(points[:, 2], -2.0, 3.0)
        for waves in (5, 9):
            phase = rng.uniform(0, 2 * np.pi) + 0.5 * np.sin(away * 0.4 + rng.uniform(0, 6))
            swell = np.sin(waves * turn + phase) * smoothstep(away, 1.0, 4.0)
            out += front * swell * np.exp(-((away / 8.0) ** 2)) * 1.6 / waves
    return out


def knitted(body: Body, sitter: Sitter) -> Piece:
    """A jumper or sweatshirt: a ribbed border, set-in sleeves."""
    from scipy.ndimage import gaussian_filter

    cut = CUTS[sitter.garment]
    points, below = cloth(body, NECKLINES[sitter.garment], cut.above, cut.smooth)
    if sitter.garment in OVER:
        points = off_neck(body, points, below, OVER[sitter.garment])
    flat = points.reshape(-1, 3)
    # Where the face model's bust ends the body's slope leaps: such dents showed in the light.
    normals = body.slope(flat).reshape(points.shape)
    normals = gaussian_filter(normals, (10, 8, 0), mode=("nearest", "wrap", "nearest"))
    normals = unit(normals.reshape(-1, 3))
    from_edge = below.ravel()
    place = flat - body.shift
    seam = np.abs(place[:, 0]) - body.broad * (SLEEVE + 0.08 * np.minimum(place[:, 1] + 15.0, 0))
    seam = np.where(place[:, 1] > -32, seam, -9.0)
    border = smoothstep(from_edge, cut.border + 0.06, cut.border - 0.06)
    wrinkled = cut.folded * smoothstep(from_edge, 2.0, 6.0)
    height = folds(flat, body.shift, body.broad, sitter.seed) * wrinkled
    height += 0.73 * cut.thick * border * smoothstep(from_edge, -0.05, 0.35)
    if sitter.garment not in (SHIRT, JACKET):  # lies close to the neck
        height -= 0.5 * smoothstep(from_edge, cut.border, 0.2)
    height -= 0.10 * np.exp(-(((from_edge - cut.border) / 0.14) ** 2))
    deep, half = cut.seam
    height += deep * (smoothstep(seam, -0.1, 1.2) - np.exp(-((seam / half) ** 2)))
    flat = flat + normals * height[:, None]
    around = np.tile(np.arange(COLUMNS) / COLUMNS * cut.ribs, ROWS)  # ribs of the border
    surface = grid(flat, SLEEVE_TURN * np.sign(place[:, 0]) * (seam > 0))
    surface.attributes |= {"border": border, "ribs": np.minimum(around, cut.ribs - around)}
    return Piece("jumper", surface, cut.material, cut.thick)


def off_neck(body: Body, points: np.ndarray, below: np.ndarray, above: float) -> np.ndarray:
    """Cloth (ROWS, COLUMNS, 3), `below` cm from its neckline, that was made smooth and so lies in
    the neck where that begins: `above` cm above it there."""
    from scipy.ndimage import gaussian_filter

    lifted = above - 9.0 * smoothstep(below.ravel(), 3.0, 6.0)
    out = body.outside(points.reshape(-1, 3), lifted).reshape(points.shape)
    out = gaussian_filter(out, (2.0, 4.0, 0), mode=("nearest", "wrap", "nearest"))
    # Sleeves are left alone: made smooth again, they would shrink.
    return points + smoothstep(below, 8.0, 5.0)[..., None] * (out - points)


def grid(points: np.ndarray, turn: np.ndarray | None = None) -> Surface:
    """Cloth of rows (N * COLUMNS, 3), whose texture is seen from the front, in stitches; `turn`
    (N * COLUMNS,) are radians by which it is turned."""
    polygons = anatomy.around(len(points) // COLUMNS, COLUMNS)
    corners = np.array(polygons)
    angle = np.zeros((len(corners), 1)) if turn is None else turn[corners[:, :1]]  # one a polygon
    x, y = points[corners, 0], points[corners, 1]
    u, v = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    return Surface(points, polygons, (np.stack([u, v], -1) * STITCHES).reshape(-1, 2))


def shirt(body: Body, jumper: np.ndarray) -> list[Piece]:
    """A shirt whose upper button is open, below a jumper (N, 3): cloth with a strip down its
    middle, a collar, buttons."""
    points, _ = cloth(body, NECKLINES["collar"], SHIRT_ABOVE)
    flat = points.reshape(-1, 3)
    x, front = flat[:, 0], flat[:, 2] > body.middle[2]
    over = smoothstep(x, PLACKET - 0.15, PLACKET + 0.15) * smoothstep(x, 6.0, 2.0) * front
    flat = flat + body.slope(flat) * (0.16 * over)[:, None]
    whole = grid(flat)
    whole.attributes["placket"] = x - PLACKET + 1
    made = [Piece("shirt", whole, "linen", 0.08)]
    made.append(Piece("collar", collar(body, jumper), "linen", 0.17))
    disc = pill(BUTTON, 0.10)
    for number, y in enumerate(BUTTONS):
        at = np.array([[0.1, y + body.shift[1], body.middle[2]]])
        ray = unit(at + [[0, 0, 8.5]] - body.middle)
        place = body.cast(ray)
        z = body.slope(place)[0]
        across = unit(np.cross([0, 1.0, 0], z))
        turn = np.stack([across, np.cross(z, across), z], 1)
        points = disc.points @ turn.T + place[0] + z * (SHIRT_ABOVE + 0.24)
        made.append(Piece(f"button{number}", Surface(points, disc.polygons), "button", 0.0))
    return made


def top(body: Body, jacket: np.ndarray) -> Piece:
    """A blouse without a collar below a jacket (N, 3), whose neckline is a narrow band."""
    from scipy.ndimage import gaussian_filter

    points, below = cloth(body, NECKLINES["top"], SHIRT_ABOVE, (6.0, 10.0))
    flat, from_edge = off_neck(body, points, below, 0.5).reshape(-1, 3), below.ravel()
    normals = body.slope(flat).reshape(points.shape)
    normals = gaussian_filter(normals, (6.0, 8.0, 0), mode=("nearest", "wrap", "nearest"))
    raised = 0.07 * smoothstep(from_edge, 0.75, 0.65) - 0.05 * smoothstep(from_edge, 0.4, 0.0)
    raised = raised[:, None] * unit(normals.reshape(-1, 3))
    flat = tucked(flat + raised, jacket, body.middle)
    return Piece("top", grid(flat), "linen", 0.10)


def pill(radius: float, half: float) -> Surface:
    """A flattened ball about the z axis, `half` cm thick to either side."""
    turns = np.linspace(0, np.pi, 24)
    return anatomy.lathe(radius * np.sin(turns), half * np.cos(turns))


def copies(one: Surface, middles: np.ndarray) -> Surface:
    """A surface once at each of the places (N, 3), all in one."""
    points = (middles[:, None] + one.points).reshape(-1, 3)
    polygons = [tuple(corner + number * len(one.points) for corner in polygon)
                for number in range(len(middles)) for polygon in one.polygons]  # fmt: skip
    return Surface(points, polygons)


def pearls(body: Body) -> Piece:
    """A string of pearls around the neck, all in one."""
    from scipy.interpolate import CubicSpline
    from scipy.ndimage import gaussian_filter1d

    half = body.placed(np.array(STRING, float))
    whole = np.concatenate([half[:0:-1] * [-1, 1, 1], half])
    turns = np.linspace(0, len(whole) - 1, 400)
    string = body.outside(CubicSpline(np.arange(len(whole)), whole)(turns), PEARL)
    string = gaussian_filter1d(string, 12.0, axis=0, mode="nearest")  # it hangs, and does not cling
    string = gaussian_filter1d(body.outside(string, PEARL), 5.0, axis=0, mode="nearest")
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(string, axis=0), axis=1))])
    at = np.arange(0, length[-1] - PEARL, 2 * PEARL)
    middles = np.stack([np.interp(at, length, string[:, k]) for k in range(3)], 1)
    return Piece("pearls", copies(pill(PEARL, PEARL), middles), "pearl", 0.0)


def studs(kit: FaceKit, head: np.ndarray) -> Piece:
    """A pearl in each ear lobe."""
    normals, middles = kit.normals(head), []
    for side in (-1, 1):
        near = np.linalg.norm(kit.mean - LOBE * [side, 1, 1], axis=1).argmin()
        middles.append(head[near] + 0.5 * PEARL * normals[near] * [1, 0, 1])
    ball = pill(1.15 * PEARL, 1.15 * PEARL)
    return Piece("studs", copies(ball, np.stack(middles)), "pearl", 0.0)


def clothes(kit: FaceKit, head: np.ndarray, sitter: Sitter) -> list[Piece]:
    """All that a sitter with that head (V, 3) wears."""
    body = Body(kit, head, sitter)
    made = [knitted(body, sitter)]
    if sitter.garment == SHIRT:
        made += shirt(body, made[0].surface.points)
    if sitter.garment == JACKET:
        made.append(top(body, made[0].surface.points))
    return made + ([pearls(body), studs(kit, head)] if sitter.pearls else [])


def outside(worn: list[Piece]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) of the outermost cloth and its normals (N, 3): what hair may not enter."""
    points = worn[0].surface.points.reshape(ROWS, COLUMNS, 3)
    across = np.roll(points, -1, 1) - np.roll(points, 1, 1)
    normals = unit(np.cross(np.gradient(points, axis=0), across))
    return points.reshape(-1, 3)[::6], normals.reshape(-1, 3)[::6]
