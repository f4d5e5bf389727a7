# SPDX-License-Identifier: Apache-2.0
"""The face model's mesh as a GPU draws it: simplified, split at texture seams, without what no
camera sees, and with the numbers per vertex that the shaders of eyes, teeth and tongue need.

NumPy and SciPy only; nothing here depends on the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import EYES_AND_LIPS
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic.mesh_simplification import simplify

# Kinds of surface: by these the shaders tell the parts of the head apart.
SKIN, EYE, TEETH, GUMS, SOCKET, LACRIMAL, OCCLUSION, LASH = range(8)
PART_KINDS = {
    "face": SKIN, "head_neck": SKIN, "mouth_socket": SOCKET, "eye_socket_left": SKIN,
    "eye_socket_right": SKIN, "gums_tongue": GUMS, "teeth": TEETH, "eyeball_left": EYE,
    "eyeball_right": EYE, "lacrimal_left": LACRIMAL, "lacrimal_right": LACRIMAL,
    "eye_occlusion_left": OCCLUSION, "eye_occlusion_right": OCCLUSION,
    "eyelashes_left": LASH, "eyelashes_right": LASH,
}  # fmt: skip
# The neck bends between these heights (y + slope * z, cm): below is the chest, above the skull.
NECK, NECK_SLOPE = (-14.5, -6.5), 0.3


@dataclass(frozen=True)
class HeadMesh:
    """N vertices and T triangles of a face model of V vertices; see `build`."""

    tongue: np.ndarray  # (V_gums,) 0..1: how far a vertex of gums_tongue is tongue
    coordinates: np.ndarray  # (V, 4): see `part_coordinates`
    vertex_of: np.ndarray  # (N,) int32 into V
    faces: np.ndarray  # (T, 3) int32 into N
    face_kinds: np.ndarray  # (T,)
    # (N, 10) float32: uv; kind, occlusion, 0, share of the pose; coordinates
    attributes: np.ndarray

    @property
    def triangles(self) -> np.ndarray:
        """(T, 3) vertices of the face model."""
        return self.vertex_of[self.faces]


def vertex_kinds(kit: FaceKit) -> np.ndarray:
    """(V,) int32 kind of surface of each vertex; -1 for what is not drawn."""
    kinds = np.full(len(kit.mean), -1, np.int32)
    for name, kind in PART_KINDS.items():
        kinds[kit.parts[name]] = kind
    return kinds


def build(kit: FaceKit, kinds: np.ndarray, occlusion: np.ndarray, detail: float) -> HeadMesh:
    """The mesh with about `detail` (0..1) of its triangles; lips, lids and borders keep theirs.

    `kinds` (V,) are those of `vertex_kinds`, `occlusion` (V,) is the ambient occlusion.
    """
    keep = visible_triangles(kit, kinds)
    face_kinds = kinds[kit.triangles[:, 0]][keep]
    vertex_of, uv, faces = split_at_seams(kit, keep)
    if detail < 1:
        faces, face_kinds = _simplified(kit, faces, face_kinds, vertex_of, detail)
        used, faces = np.unique(faces, return_inverse=True)
        faces = faces.reshape(-1, 3).astype(np.int32)
        vertex_of, uv = vertex_of[used], uv[used]
    tongue = tongue_mask(kit)
    coordinates = part_coordinates(kit, kinds, tongue)
    own = coordinates[vertex_of]
    _fill_lid_coordinates(own, kit, kinds, vertex_of, uv)
    mean = kit.mean[vertex_of]
    pose_share = smoothstep(mean[:, 1] + NECK_SLOPE * mean[:, 2], *NECK)
    shading = np.stack([kinds[vertex_of], occlusion[vertex_of], uv[:, 0] * 0, pose_share], 1)
    attributes = np.hstack([uv, shading, own]).astype(np.float32)
    return HeadMesh(
        tongue=tongue,
        coordinates=coordinates,
        vertex_of=vertex_of,
        faces=faces,
        face_kinds=face_kinds,
        attributes=attributes,
    )


def visible_triangles(kit: FaceKit, kinds: np.ndarray) -> np.ndarray:
    """(T,) bool: triangles that some view within 30 degrees of the front shows, half of them."""
    mean, kind = kit.mean, kinds[kit.triangles[:, 0]]
    iris_layer = [i for i, m in enumerate(kit.materials) if m.startswith("M_Iris")]
    middle, facing = mean[kit.triangles].mean(1), kit.normals(mean)[kit.triangles].mean(1)[:, 2]
    hidden = (kind == SKIN) & ((facing < -0.55) | ((middle[:, 2] < -2) & (facing < -0.2)))
    hidden |= np.isin(kind, (TEETH, GUMS)) & (middle[:, 2] < 4.5)
    # The bust ends in shoulders of its own, which clothes cover.
    hidden |= (kind == SKIN) & (np.abs(middle[:, 0]) > 8.4) & (middle[:, 1] < -9.0)
    hidden |= (kind == EYE) & (middle[:, 2] < 8.2)
    return (kind >= 0) & ~np.isin(kit.triangle_materials, iris_layer) & ~hidden


def split_at_seams(kit: FaceKit, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A vertex for each pair of position and texture coordinate that the kept triangles use:
    the face model's vertex (N,) int32, uv (N, 2), triangles (T, 3) int32."""
    tris, uvs = kit.triangles[keep], kit.triangle_uvs[keep]
    pairs = tris.ravel().astype(np.int64) * len(kit.uvs) + uvs.ravel()
    unique, inverse = np.unique(pairs, return_inverse=True)
    vertex_of = (unique // len(kit.uvs)).astype(np.int32)
    return vertex_of, kit.uvs[unique % len(kit.uvs)], inverse.reshape(-1, 3).astype(np.int32)


def _simplified(
    kit: FaceKit,
    faces: np.ndarray,
    face_kinds: np.ndarray,
    vertex_of: np.ndarray,
    detail: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(faces, kinds) with about `detail` of each kind's triangles."""
    from scipy.spatial import cKDTree

    wide = arkit.weights(jawOpen=0.6, mouthFunnel=0.6, eyeBlink=1.0, mouthSmileLeft=1.0)
    shapes = [kit.mean[vertex_of], kit.deform(kit.mean, wide)[vertex_of]]
    eyes_and_lips = kit.mean[kit.landmarks[EYES_AND_LIPS]]
    near = cKDTree(eyes_and_lips).query(shapes[0])[0]
    importance = 1 + 400 * np.exp(-((near / 1.1) ** 2))
    # The jaw line and the back matter less than the front.
    importance *= np.where(shapes[0][:, 2] > 2, 1.0, 0.3)
    kept, kinds = [], []
    for kind in np.unique(face_kinds):
        part = faces[face_kinds == kind]
        factor = importance if kind == SKIN else np.ones_like(near)
        share = max(detail, 0.5) if kind == TEETH else detail  # few triangles a tooth
        part = simplify(part, shapes, factor, share)
        kept.append(part)
        kinds.append(np.full(len(part), kind))
    return np.concatenate(kept), np.concatenate(kinds)


def tongue_mask(kit: FaceKit) -> np.ndarray:
    """0..1 per vertex of gums_tongue: 1 on the tongue, far from teeth and below the palate."""
    from scipy.spatial import cKDTree

    points = kit.mean[kit.parts["gums_tongue"]]
    distance = cKDTree(kit.mean[kit.parts["teeth"]]).query(points)[0]
    inside = smoothstep(distance, 0.30, 0.75) * smoothstep(points[:, 1], -2.2, -2.9)
    # Gums lie before and beside the teeth.
    arch = np.hypot(points[:, 0] / 2.2, np.maximum(points[:, 2] - 4.0, 0) / 5.6)
    return (inside * smoothstep(arch, 1.0, 0.85)).astype(np.float32)


def part_coordinates(kit: FaceKit, kinds: np.ndarray, tongue: np.ndarray) -> np.ndarray:
    """(V, 4) float32 where a vertex lies in its part of the mean head:

    - eyeball: position relative to its centre, cm
    - teeth: across -1..1 along the arch, root to edge 0..1, a shade of the tooth's own
    - gums and tongue: how far it is tongue, x and z of the mean head
    - last one, of all of the mouth: depth behind the front teeth
    """
    mean = kit.mean
    found = np.zeros((len(mean), 4), np.float32)
    for side in ("left", "right"):
        ball = kit.parts[f"eyeball_{side}"]
        found[ball, :3] = mean[ball] - bounds_centre(mean[ball])
    front = mean[kit.parts["teeth"], 2].max()
    mouth = np.isin(kinds, (TEETH, GUMS, SOCKET))
    found[mouth, 3] = np.maximum(front - mean[mouth, 2] - 0.3, 0) * 0.8
    gums = kit.parts["gums_tongue"]
    found[gums, 0] = tongue
    found[gums, 1:3] = mean[gums][:, [0, 2]]
    _fill_tooth_coordinates(found, kit)
    return found


def _fill_tooth_coordinates(coordinates: np.ndarray, kit: FaceKit) -> None:
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    part, tris = kit.parts["teeth"], kit.triangles
    tris = tris[((tris >= part.start) & (tris < part.stop)).all(1)] - part.start
    pairs = sparse.coo_matrix(
        (np.ones(2 * len(tris)), (tris[:, :2].T.ravel(), tris[:, 1:].T.ravel())),
        (part.stop - part.start,) * 2,
    )
    count, tooth = connected_components(pairs, directed=False)
    rng = np.random.default_rng(3)
    points = kit.mean[part]
    middle_y = points[:, 1].mean()
    for i in range(count):
        mine = points[tooth == i]
        centre = bounds_centre(mine)
        # Along the arch, an ellipse about (0, 5): across is its tangent.
        tangent = np.array([centre[2] - 4.0, -centre[0] * 1.6])
        tangent /= np.linalg.norm(tangent)
        across = (mine - centre)[:, [0, 2]] @ tangent
        down = (mine[:, 1] - mine[:, 1].min()) / np.ptp(mine[:, 1])
        where = np.flatnonzero(tooth == i) + part.start
        coordinates[where, 0] = across / np.abs(across).max()
        coordinates[where, 1] = 1 - down if centre[1] > middle_y else down
        coordinates[where, 2] = rng.normal(0, 0.35)


def _fill_lid_coordinates(
    coordinates: np.ndarray,
    kit: FaceKit,
    kinds: np.ndarray,
    vertex_of: np.ndarray,
    uv: np.ndarray,
) -> None:
    """Writes those of the drawn vertices (N, 4) of lashes (along the lid, 1 on the lower lid, -,
    root to tip) and of the lids' shadow on the eye (-, -, -, strength)."""
    kind, mean = kinds[vertex_of], kit.mean[vertex_of]
    # In the texture u runs along the lid; v below 0.5 is the lower lid.
    lashes, along, v = kind == LASH, uv[:, 0] % 0.5 * 2, uv[:, 1]
    coordinates[lashes, 0] = along[lashes]
    coordinates[lashes, 1] = v[lashes] < 0.5
    for side, name in ((1, "eyeball_left"), (-1, "eyeball_right")):
        eye = bounds_centre(kit.mean[kit.parts[name]])
        for low in (True, False):
            lid = lashes & (mean[:, 0] * side > 0) & ((v < 0.5) == low)
            distance = np.linalg.norm(mean[lid] - eye, axis=1)
            coordinates[lid, 3] = _within_bins(along[lid], distance)
        shade = (kind == OCCLUSION) & (mean[:, 0] * side > 0)
        y = mean[shade][:, 1]
        low, high = y.min(), y.max()
        # Darkest at the edges of the lids.
        off_middle = np.abs(y - (low + high) / 2) / ((high - low) / 2)
        coordinates[shade, 3] = smoothstep(off_middle, 0.45, 1.0)


def _within_bins(along: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` scaled to 0..1 between the least and the greatest of their neighbours in `along`."""
    bins = 12
    centres = np.linspace(along.min(), along.max(), bins)
    near = [np.abs(along - c) < 1.2 / bins * np.ptp(along) for c in centres]
    low = np.interp(along, centres, [values[n].min() for n in near])
    high = np.interp(along, centres, [values[n].max() for n in near])
    return np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1)


def bounds_centre(points: np.ndarray) -> np.ndarray:
    """(3,) centre of the bounding box of points (n, 3)."""
    return (points.min(0) + points.max(0)) / 2
