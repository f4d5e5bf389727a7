# SPDX-License-Identifier: Apache-2.0
"""Surfaces of a portrait as Blender takes them: polygons with texture coordinates and attributes.

NumPy only. Coordinates are the face model's: cm, +x the person's left, +y up, +z out of the face.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.face_model.landmarks import EYE_LEFT, EYE_RIGHT
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits.hairline import scalp
from realtalk_ros.training.portraits.people import Sitter
from realtalk_ros.training.synthetic import head_mesh, mesh_rings
from realtalk_ros.training.synthetic.facekit_eyes import EDGE, HALF

SKIN, BACK, SOCKET = range(3)  # slots of the skin's materials
BAND_DEPTH = 0.24  # cm from the teeth's front back to the band behind them
EYE_RINGS, EYE_TURNS = 48, 96  # of an eyeball's surfaces
# An eyeball of the face model: a sphere, and how far the cornea stands out of it, cm.
EYE_RADIUS, CORNEA, CORNEA_RADIUS = 1.53, 0.115, 0.74
LID_REACH = (0.55, 0.30)  # cm, of the shade of the upper and of the lower lid
IRIS_RADIUS, IRIS_DEPTH = 0.63, 1.33  # cm, z of the iris from the eyeball's middle


@dataclass
class Surface:
    """N points, polygons of 3 or 4 corners."""

    points: np.ndarray  # (N, 3)
    polygons: list[tuple[int, ...]]
    uv: np.ndarray | None = None  # (corners, 2), polygon after polygon
    slots: np.ndarray | None = None  # (polygons,) of the material
    attributes: dict[str, np.ndarray] = field(default_factory=dict)  # (N,) each


def polygons_of(kit: FaceKit, keep: np.ndarray) -> tuple[list, np.ndarray, np.ndarray]:
    """Polygons of the triangles in the mask `keep`, whose quads the face model cuts along a corner:
    (tuples of vertices, uv of the corners (C, 2), the first triangle of each)."""
    tris, uvs = kit.triangles, kit.triangle_uvs
    polygons, corners, first, i = [], [], [], 0
    chosen = np.flatnonzero(keep)
    while i < len(chosen):
        a, b = tris[chosen[i]], tris[chosen[i + 1]] if i + 1 < len(chosen) else None
        first.append(chosen[i])
        u = uvs[chosen[i]]
        if b is not None and chosen[i + 1] == chosen[i] + 1 and a[0] == b[0] and a[2] == b[1]:
            polygons.append((*a.tolist(), int(b[2])))
            corners += [*u, uvs[chosen[i + 1]][2]]
            i += 2
        else:
            polygons.append(tuple(a.tolist()))
            corners += list(u)
            i += 1
    return polygons, kit.uvs[np.array(corners)], np.array(first)


def texels(kit: FaceKit, size: int) -> np.ndarray:
    """(size * size, 3) the place on the mean head of each texel of its front's texture."""
    from scipy.interpolate import CloughTocher2DInterpolator

    front = (kit.triangles < kit.parts["face"].stop).all(1)
    vertices = kit.triangles[front].ravel()
    uv, first = np.unique(kit.uvs[kit.triangle_uvs[front].ravel()], axis=0, return_index=True)
    surface = CloughTocher2DInterpolator(uv, kit.mean[vertices[first]], fill_value=0.0)
    at = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(at, 1 - at)
    return surface(np.stack([u.ravel(), v.ravel()], 1)).astype(np.float32)


def compact(points: np.ndarray, polygons: list) -> tuple[np.ndarray, list, np.ndarray]:
    """Without unused points: (points, polygons, the used ones' rows)."""
    used = np.unique(np.concatenate([np.array(p) for p in polygons]))
    row = np.full(len(points), -1)
    row[used] = np.arange(len(used))
    return points[used], [tuple(row[list(p)].tolist()) for p in polygons], used


def slimmed(points: np.ndarray, share: float) -> np.ndarray:
    """Points (N, 3) with a neck narrower by that share; the face keeps its shape."""
    below = smoothstep(points[:, 1], -5.2, -8.5) * smoothstep(points[:, 1], -13.0, -10.5)
    behind = smoothstep(points[:, 2], 8.5, 6.0)
    out = points.copy()
    out[:, 0] *= 1 - share * below * behind
    return out


def skin(kit: FaceKit, vertices: np.ndarray, sitter: Sitter) -> Surface:
    """Face, neck, sockets of eyes and mouth of the head `vertices` (V, 3) in one piece."""
    stop = kit.parts["eye_socket_right"].stop
    keep = (kit.triangles < stop).all(1)
    polygons, uv, first = polygons_of(kit, keep)
    socket = kit.parts["mouth_socket"]
    corner = kit.triangles[first, 0]
    slots = np.where(kit.triangle_materials[first] == kit.materials.index("M_Face"), SKIN, BACK)
    slots[(corner >= socket.start) & (corner < socket.stop)] = SOCKET
    hairy = scalp(kit.mean[:stop], sitter.hair)
    wet = np.zeros(len(kit.mean), np.float32)
    for marks in (EYE_RIGHT, EYE_LEFT):
        rings = mesh_rings.around(kit, marks, kit.mean, range(3), 20)
        for ring, amount in zip(rings, (1.0, 1.0, 0.6), strict=True):
            wet[ring.ravel()] = amount
    points, polygons, used = compact(slimmed(vertices, sitter.slim_neck), polygons)
    x, y, z = kit.mean.T
    lobes = smoothstep(np.abs(x), 6.3, 6.9) * smoothstep(y, 0.8, -0.4) * (y > -3.2) * (z < 2.5)
    shell = smoothstep(np.abs(x), 7.6, 8.2) * smoothstep(y, -3.5, -2.5) * smoothstep(y, 5.5, 4.5)
    marked = {"scalp": hairy, "wet": wet, "lobe": lobes, "ear": np.maximum(lobes, shell)}
    marked = {name: values[used] for name, values in marked.items()}
    return Surface(points, polygons, uv, slots, marked)


def ears(kit: FaceKit) -> np.ndarray:
    """(V,) which vertices are an ear's, or of the skin around it."""
    x, y, z = kit.mean.T
    return (np.abs(x) > 6.8) & (np.abs(y - 0.4) < 4.6) & (z < 3.2) & (z > -4.8)


def part(kit: FaceKit, vertices: np.ndarray, name: str) -> Surface:
    """A part of the face model."""
    span = kit.parts[name]
    keep = ((kit.triangles >= span.start) & (kit.triangles < span.stop)).all(1)
    polygons, uv, _ = polygons_of(kit, keep)
    points, polygons, used = compact(vertices, polygons)
    surface = Surface(points, polygons, uv)
    if name == "gums_tongue":
        surface.attributes["tongue"] = head_mesh.tongue_mask(kit)[used - span.start]
    if name == "teeth":
        own = head_mesh.part_coordinates(
            kit, head_mesh.vertex_kinds(kit), head_mesh.tongue_mask(kit)
        )
        surface.points = closed_row(surface.points, own[used])
        surface.attributes |= {"edge": own[used, 1], "tooth": own[used, 2]}
    return surface


def closed_row(points: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Teeth (N, 3), wider where they taper, so that neighbours touch but for their corners; `own`
    (N, 4) are head_mesh.part_coordinates."""
    out = points.copy()
    levels = np.linspace(0, 1, 9)
    for tooth in np.unique(own[:, 2]):
        mine = own[:, 2] == tooth
        across, down = own[mine, 0], own[mine, 1]
        # Half of the tooth's width at each level, of its greatest.
        half = [np.abs(across[np.abs(down - level) < 0.12]).max(initial=0.5) for level in levels]
        wider = np.clip(1.05 / np.interp(down, levels, half), 1.0, 1.7) - 1
        wider *= np.interp(down, [0.75, 1.0], [1.0, 0.45])
        centred = points[mine] - points[mine].mean(0)
        axis = across @ centred / (across @ across)  # cm of one unit across
        axis[1] = 0.0
        out[mine] += (across * wider)[:, None] * axis
    return out


def behind_teeth(kit: FaceKit, vertices: np.ndarray) -> list[Surface]:
    """A smooth band behind each row of teeth of the head `vertices` (V, 3): between neighbours one
    sees the next tooth's side, not the mouth's dark."""
    span = kit.parts["teeth"]
    moved = kit.expressions[arkit.INDEX["jawOpen"]].reshape(-1, 3)[span]
    lower = np.linalg.norm(moved, axis=1) > 0.5
    across, places = np.linspace(-2.6, 2.6, 41), np.linspace(-2.6, 2.6, 11)
    turn = np.arange(24) / 24 * 2 * np.pi
    cos, sin = (np.sign(v) * np.abs(v) ** 0.5 for v in (np.cos(turn), np.sin(turn)))
    bands = []
    for row in (~lower, lower):
        x, here = kit.mean[span][row, 0], vertices[span][row]
        ends = []
        for place in places:
            near = here[np.abs(x - place) < 0.45]
            ends.append([np.percentile(near[:, 2], 85), *np.percentile(near[:, 1], [12, 88])])
        z, low, high = (np.polyval(np.polyfit(places, e, 4), across) for e in np.array(ends).T)
        y = ((low + high) / 2)[:, None] + np.outer((high - low) / 2, sin)
        depth = z[:, None] - BAND_DEPTH + 0.08 * cos
        wide = np.repeat(across[:, None], len(turn), 1) + here[:, 0].mean()
        points = np.stack([wide, y, depth], -1).reshape(-1, 3)
        bands.append(Surface(points, around(len(across), len(turn))))
    return bands


def around(rows: int, columns: int) -> list[tuple[int, ...]]:
    """Polygons of a grid that closes in its second axis."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    k = (j + 1) % columns
    corners = [i * columns + j, i * columns + k, (i + 1) * columns + k, (i + 1) * columns + j]
    return [tuple(p) for p in np.stack(corners, -1).reshape(-1, 4).tolist()]


def gaze(
    kit: FaceKit, head: np.ndarray, side: str, weights: np.ndarray, distance: float
) -> tuple[float, float]:
    """Pitch and yaw of the eye `side` ("left", "right"), which looks into the camera where ARKit
    `weights` (52,) do not turn it."""
    middle = head[kit.parts[f"eyeball_{side}"]].mean(0)
    pitch, yaw = gaze_angles(weights, side.capitalize())
    return pitch, yaw - np.arctan2(middle[0], distance - middle[2])


def eye(kit: FaceKit, vertices: np.ndarray, side: str, turn: np.ndarray) -> dict[str, Surface]:
    """An eyeball ("left" or "right"), turned by the rotation `turn` (3, 3): its white, iris and
    cornea. Their attribute `rho` is the distance from its axis in radii of the iris, `lid` 0..1 how
    much a lid is near."""
    span = kit.parts[f"eyeball_{side}"]
    scale = np.ptp(vertices[span][:, 0]) / np.ptp(kit.mean[span][:, 0])
    middle = head_mesh.bounds_centre(vertices[span])
    ends = {"white": (0.53, 1.5), "cornea": (0.0, CORNEA_RADIUS), "iris": (0.0, IRIS_RADIUS + 0.05)}
    made = {}
    for name, (low, high) in ends.items():
        rho = np.linspace(low, high, EYE_RINGS)
        if name == "iris":
            z = IRIS_DEPTH - 0.05 * (rho / IRIS_RADIUS) ** 2
        else:
            bulge = np.clip(1 - (rho / CORNEA_RADIUS) ** 2, 0, 1) ** 1.6
            z = np.sqrt(EYE_RADIUS**2 - rho**2) + CORNEA * bulge
            z += 0.004 if name == "cornea" else 0.0
        made[name] = lathe(rho, z)
        made[name].points = (made[name].points * scale) @ turn.T + middle
        made[name].attributes["rho"] = np.repeat(rho / IRIS_RADIUS, EYE_TURNS)
        made[name].attributes["lid"] = near_lids(kit, vertices, side, made[name].points)
    return made


def near_lids(kit: FaceKit, vertices: np.ndarray, side: str, points: np.ndarray) -> np.ndarray:
    """(N,) 0..1 of an eyeball's points (N, 3): 1 at the upper lid's border, less at the lower's."""
    marks = EYE_RIGHT if side == "right" else EYE_LEFT
    lids = mesh_rings.around(kit, marks, kit.mean, [EDGE], HALF)[0]
    shade = np.zeros(len(points))
    for lid, reach, amount in zip(lids, LID_REACH, (1.0, 0.6), strict=True):
        line = vertices[lid]
        at = np.linspace(0, len(line) - 1, 120)
        line = np.stack([np.interp(at, np.arange(len(line)), line[:, k]) for k in range(3)], 1)
        away = np.linalg.norm(points[:, None] - line, axis=2).min(1)
        shade = np.maximum(shade, amount * (1 - smoothstep(away, 0.0, reach)))
    return shade


def lathe(radius: np.ndarray, z: np.ndarray) -> Surface:
    """Rings (n,) about the z axis; uv: turns about it, ring 0..1."""
    theta = np.arange(EYE_TURNS) / EYE_TURNS * 2 * np.pi
    points = np.stack([np.outer(radius, np.cos(theta)), np.outer(radius, np.sin(theta)),
                       np.repeat(z[:, None], EYE_TURNS, 1)], -1).reshape(-1, 3)  # fmt: skip
    polygons = [(first, *others[::-1]) for first, *others in around(len(radius), EYE_TURNS)]
    turn, ring = (np.arange(n + 1) / n for n in (EYE_TURNS, len(radius) - 1))
    uv = np.stack(np.meshgrid(turn, ring), -1)
    uv = np.stack([uv[:-1, :-1], uv[1:, :-1], uv[1:, 1:], uv[:-1, 1:]], 2)
    return Surface(points, polygons, uv.reshape(-1, 2))
