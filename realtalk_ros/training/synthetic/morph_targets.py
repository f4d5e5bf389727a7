# SPDX-License-Identifier: Apache-2.0
"""The head's blendshapes on the GPU: a person's vertices and normals with an expression applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import head_shaders
from realtalk_ros.training.synthetic.gl_context import MORPHS
from realtalk_ros.training.synthetic.head_mesh import HeadMesh, bounds_centre

if TYPE_CHECKING:
    import moderngl

LID_CLEARANCE = 0.25  # cm that a closed eye's ball gives way: some lids would lie behind the cornea


def tongue_out(kit: FaceKit, tongue: np.ndarray) -> np.ndarray:
    """(n, 3) cm: how tongueOut, which the face model lacks, moves the vertices of gums_tongue;
    `tongue` (n,) is head_mesh.tongue_mask."""
    forward = tongue * smoothstep(kit.mean[kit.parts["gums_tongue"], 2], 3.0, 9.5)
    return forward[:, None] * np.array([0.0, 0.55, 3.6])


def blendshape_deltas(kit: FaceKit, tongue: np.ndarray) -> np.ndarray:
    """(52, V, 3) cm: how each ARKit weight moves the head's vertices."""
    deltas = kit.expressions.reshape(arkit.COUNT, -1, 3).copy()
    deltas[arkit.INDEX["tongueOut"], kit.parts["gums_tongue"]] = tongue_out(kit, tongue)
    for side in ("Left", "Right"):
        ball = kit.parts[f"eyeball_{side.lower()}"]
        deltas[arkit.INDEX[f"eyeBlink{side}"], ball, 2] -= LID_CLEARANCE
    return deltas


class MorphTargets:
    """Transform feedback over the N vertices of a HeadMesh. `deformed` is the result's buffer,
    (N, 6) float32: position, normal.

    Normals are linear in the weights, with the mean head's derivatives.
    """

    def __init__(self, gl: moderngl.Context, kit: FaceKit, mesh: HeadMesh):
        self._gl, self._kit, self._vertex_of = gl, kit, mesh.vertex_of
        count = len(mesh.vertex_of)
        self._program = gl.program(head_shaders.MORPH_VERTEX, varyings=["out_pos", "out_normal"])
        ball = np.zeros(len(kit.mean), np.float32)
        ball[kit.parts["eyeball_left"]], ball[kit.parts["eyeball_right"]] = 1, 2
        which_ball = gl.buffer(ball[mesh.vertex_of].tobytes())
        self._neutral = gl.buffer(reserve=count * 24)
        self.deformed = gl.buffer(reserve=count * 24)
        self._array = gl.vertex_array(
            self._program,
            [(self._neutral, "3f 3f", "in_pos", "in_normal"), (which_ball, "1f", "in_ball")],
        )
        deltas = blendshape_deltas(kit, mesh.tongue)
        self.landmark_deltas = deltas[:, kit.landmarks]  # (52, 68, 3)
        self._rows = -(-count // head_shaders.MORPH_WIDTH)
        self._texture = self._upload(deltas)

    def _upload(self, deltas: np.ndarray) -> moderngl.Texture:
        """The texture of deltas of positions and normals; see head_shaders.MORPH_VERTEX."""
        kit, v, width = self._kit, self._vertex_of, head_shaders.MORPH_WIDTH
        mean_normals = kit.normals(kit.mean)
        data = np.zeros((arkit.COUNT, 2, self._rows * width, 3), np.float32)
        for i, delta in enumerate(deltas):
            if delta.any():
                data[i, 0, : len(v)] = delta[v]
                data[i, 1, : len(v)] = (kit.normals(kit.mean + delta) - mean_normals)[v]
        size = width, arkit.COUNT * 2 * self._rows
        texture = self._gl.texture(size, 3, data.tobytes(), dtype="f4")
        texture.filter = (self._gl.NEAREST, self._gl.NEAREST)
        return texture

    def set_neutral(self, neutral: np.ndarray) -> None:
        """Chooses the head (V, 3) that is deformed."""
        both = np.hstack([neutral, self._kit.normals(neutral)]).astype(np.float32)
        self._neutral.write(both.take(self._vertex_of, axis=0).tobytes())
        parts = (self._kit.parts[f"eyeball_{side}"] for side in ("left", "right"))
        centres = np.array([bounds_centre(neutral[part]) for part in parts])
        self._program["ball"].write(centres.astype("f4").tobytes())

    def apply(self, weights: np.ndarray) -> None:
        """Writes `deformed` for ARKit `weights` (52,)."""
        program, active = self._program, np.flatnonzero(weights)
        shapes = np.zeros((arkit.COUNT, 2), np.float32)
        shapes[: len(active)] = np.stack([active, weights[active]], 1)
        turns = np.stack([rotation_matrix(*gaze_angles(weights, s)).T for s in ("Left", "Right")])
        program["active_shapes"].write(shapes.tobytes())
        program["count"].value, program["rows"].value = len(active), self._rows
        program["gaze"].write(np.ascontiguousarray(turns, np.float32).tobytes())
        program["morphs"].value = MORPHS
        self._texture.use(MORPHS)
        self._array.transform(self.deformed, self._gl.POINTS, len(self._vertex_of))
