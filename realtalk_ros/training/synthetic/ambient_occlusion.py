# SPDX-License-Identifier: Apache-2.0
"""Ambient occlusion of the mean head, from depth maps of many directions (OpenGL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import shaders
from realtalk_ros.training.synthetic.head_mesh import SKIN
from realtalk_ros.training.synthetic.view import light_matrix

if TYPE_CHECKING:
    import moderngl

DIRECTIONS = 64  # of the sky
SIZE = 256  # of a depth map, texels
OFFSET, BIAS = 0.08, 0.004  # of the points along their normals, cm; of depths, share of their range
DEPTH_VERTEX = """
#version 330
uniform mat4 matrix; in vec3 in_pos;
void main() { gl_Position = matrix * vec4(in_pos, 1.0); }
"""


def ambient_occlusion(gl: moderngl.Context, kit: FaceKit, kinds: np.ndarray) -> np.ndarray:
    """(V,) float32: share of the sky that a vertex of the mean head sees, its mouth a little open.

    `kinds` (V,) are those of `head_mesh.vertex_kinds`.
    """
    vertices = kit.deform(kit.mean, arkit.weights(jawOpen=0.25))
    normals = kit.normals(vertices)
    program = gl.program(DEPTH_VERTEX, shaders.DEPTH_FRAGMENT)
    skin = kit.triangles[kinds[kit.triangles[:, 0]] == SKIN].astype(np.int32)
    array = gl.vertex_array(
        program, [(gl.buffer(vertices.tobytes()), "3f", "in_pos")], gl.buffer(skin.tobytes())
    )
    texture = gl.depth_texture((SIZE, SIZE))
    target = gl.framebuffer(depth_attachment=texture)
    total, seen = np.full(len(normals), 1e-6), np.full(len(normals), 1e-6)
    points = np.c_[vertices + normals * OFFSET, np.ones(len(normals))].astype(np.float32)
    gl.enable(gl.DEPTH_TEST)
    for direction in sphere(DIRECTIONS):
        matrix = light_matrix(direction)
        program["matrix"].write(np.ascontiguousarray(matrix.T).tobytes())
        target.clear(depth=1.0)
        target.use()
        array.render()
        depth = np.frombuffer(texture.read(alignment=1), np.float32).reshape(SIZE, SIZE)
        s = (points @ matrix.T)[:, :3] * 0.5 + 0.5
        column = np.clip((s[:, 0] * SIZE).astype(int), 0, SIZE - 1)
        row = np.clip((s[:, 1] * SIZE).astype(int), 0, SIZE - 1)
        cosine = np.maximum(normals @ direction, 0)
        total += cosine
        seen += cosine * (s[:, 2] - BIAS <= depth[row, column])
    target.release()
    texture.release()
    return np.clip(smoothed(kit, seen / total, 2) * 1.05, 0.05, 1).astype(np.float32)


def sphere(count: int) -> np.ndarray:
    """(count, 3) float32 unit vectors, evenly spread (a Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    phi = np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.cos(phi), y, radius * np.sin(phi)], 1).astype(np.float32)


def smoothed(kit: FaceKit, values: np.ndarray, rounds: int) -> np.ndarray:
    """`values` (V,) as the mean with those of the neighbours, `rounds` times."""
    from scipy import sparse

    t, count = kit.triangles, len(kit.mean)
    rows = np.concatenate([t[:, 0], t[:, 1], t[:, 2], np.arange(count)])
    columns = np.concatenate([t[:, 1], t[:, 2], t[:, 0], np.arange(count)])
    neighbours = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (count, count))
    neighbours = neighbours + neighbours.T
    neighbours = sparse.diags(1 / np.asarray(neighbours.sum(1)).ravel()) @ neighbours
    for _ in range(rounds):
        values = neighbours @ values
    return values
