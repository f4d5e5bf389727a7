# SPDX-License-Identifier: Apache-2.0
"""Extracts from ICT-FaceKit what rendering/mouth/mouth.py draws (needs SciPy and OpenGL).

`realtalk data facekit CLONE --mouth realtalk_ros/data/mouth.npz` writes it. Around the lips' inner
border the face's mesh has rings of as many vertices each. Of teeth, gums and tongue it takes the
triangles that HeadRenderer draws and that can be seen, and how light each vertex looks to a viewer:
the renderer's shading (head_shaders.MOUTH_FRAGMENT) without lamps, gamma encoded.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import INNER_LIPS
from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.rendering.common import rasterizer
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import mesh_rings
from realtalk_ros.training.synthetic.head_mesh import GUMS, TEETH
from realtalk_ros.training.synthetic.head_renderer import HeadRenderer
from realtalk_ros.training.synthetic.morph_targets import tongue_out

RINGS = (3, 5, 6, 7, 8, 9, 10)  # counted outwards from the mouth socket's; the red begins at 8
HALF = 20  # vertices of a ring's upper or lower half
MOVING = ("jawOpen", "jawForward", "jawLeft", "jawRight", "tongueOut")  # what moves the inside
VIEWS = [(pitch, yaw) for yaw in (-0.5, -0.25, 0, 0.25, 0.5) for pitch in (-0.35, -0.1, 0.15, 0.35)]
POSES = ((0, 0, 0, 0, 0), (0.3, 0, 0, 0, 0), (0.8, 0, 0, 0, 0), (0.35, 0, 0, 0, 1),
         (0.3, 1, 0, 0, 0), (0.3, 0, 1, 0, 0.5), (0.3, 0, 0, 1, 0))  # fmt: skip
GAMMA = 0.45


def arrays(kit: FaceKit) -> dict[str, np.ndarray]:
    """What `mouth_model.MouthModel` reads."""
    lips = lip_rings(kit)
    used, row = np.unique(lips, return_inverse=True)
    renderer = HeadRenderer(kit, 64, 1.0, 0.2)
    mesh = renderer.mesh
    in_mouth = np.isin(mesh.face_kinds, (TEETH, GUMS))
    faces, kinds = mesh.triangles[in_mouth], mesh.face_kinds[in_mouth]
    expressions = kit.expressions.reshape(arkit.COUNT, -1, 3).copy()
    gums = kit.parts["gums_tongue"]
    expressions[arkit.INDEX["tongueOut"], gums] = tongue_out(kit, mesh.tongue)
    moving = np.array(arkit.indices(*MOVING))
    seen = visible(kit.mean, expressions[moving], faces)
    inside, corner = np.unique(faces[seen], return_inverse=True)
    light = lightness(renderer)[:, inside]

    def of(modes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return modes.reshape(len(modes), -1, 3)[:, rows].astype(np.float16)

    return {
        "lips": kit.mean[used].astype(np.float32),
        "lips_expressions": of(kit.expressions, used),
        "lips_modes": of(kit.identity_modes, used),
        "rings": row.reshape(lips.shape).astype(np.int16),
        "inside": kit.mean[inside].astype(np.float32),
        "inside_expressions": of(expressions[moving], inside),
        "inside_moving": moving.astype(np.uint8),
        "inside_modes": of(kit.identity_modes, inside),
        "faces": corner.reshape(-1, 3).astype(np.int16),
        "enamel": kinds[seen] == TEETH,
        "light": np.rint(255 * light).astype(np.uint8),
    }


def lightness(renderer: HeadRenderer) -> np.ndarray:
    """(2, V) in 0..1: how light the vertices of teeth, gums and tongue look, with the tongue in and
    with it out."""
    kit, coordinates = renderer.kit, renderer.mesh.coordinates
    across, down, deep = np.abs(coordinates[:, 0]), coordinates[:, 1], coordinates[:, 3]
    # Enamel: darker where teeth meet and at their roots.
    begin = 0.78 + 0.06 * down
    gap = smoothstep(np.clip((across - begin) / (1.02 - begin), 0, 1), 0, 1)
    enamel = (1 - 0.6 * gap) * (1 - 0.12 * across**2) * (0.85 + 0.15 * smoothstep(down, 0, 0.55))
    enamel = enamel * np.exp(-0.42 * deep)
    share = coordinates[:, 0]  # of the tongue: paler than gums, with a groove in the middle
    flesh = (1 - 0.22 * share * np.exp(-18 * down**2)) * (1 + 0.3 * share) / 1.4
    facing = kit.normals(kit.mean) @ (np.array([0, 0.3, 1]) / np.hypot(0.3, 1))
    shade = (0.55 + 0.45 * renderer.occlusion) * (0.6 + 0.4 * np.clip((facing + 0.4) / 1.4, 0, 1))
    teeth, both = renderer.kinds == TEETH, []
    for out in (0, 1):
        reach = np.exp(-0.55 * np.maximum(deep - 3 * out * share, 0) * (1 - 0.35 * share))
        both.append(np.where(teeth, enamel, flesh * reach) * shade)
    return np.clip(both, 0, 1) ** GAMMA


def visible(mean: np.ndarray, expressions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) which of these faces show from some side in some pose of jaw and tongue."""
    seen = np.zeros(len(faces) + 1, bool)
    numbers, ones = np.arange(1, len(faces) + 1, dtype=np.int32), np.ones(len(mean), np.float32)
    for turn in VIEWS:
        for pose in POSES:
            points = (mean + np.tensordot(pose, expressions, 1)) @ rotation_matrix(*turn).T
            points = (points + (8, -6, 0)) * (20, -20, 1)
            picture = np.zeros((400, 320), np.int32)
            rasterizer.draw(points.astype(np.float32), faces.T, ones, numbers, picture)
            seen[picture] = True
    return seen[1:]


def lip_rings(kit: FaceKit) -> np.ndarray:
    """(R, 2, HALF) vertices, from the person's right corner to the left, upper and lower half."""
    wide = arkit.weights(jawOpen=0.6)  # closed lips would not tell the upper one
    return mesh_rings.around(kit, INNER_LIPS, kit.deform(kit.mean, wide), RINGS, HALF)
