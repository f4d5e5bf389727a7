# SPDX-License-Identifier: Apache-2.0
"""Where the texels of the face model's skin texture lie on the mean head (OpenGL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic.head_mesh import SKIN, SOCKET

if TYPE_CHECKING:
    import moderngl

VERTEX = """
#version 330
in vec2 in_uv; in vec3 in_pos; out vec3 v_pos;
void main() { v_pos = in_pos; gl_Position = vec4(in_uv.x - 1.0, in_uv.y * 2.0 - 1.0, 0, 1); }
"""
FRAGMENT = "#version 330\nin vec3 v_pos; out vec4 colour; void main() { colour = vec4(v_pos, 1); }"


def position_map(gl: moderngl.Context, kit: FaceKit, kinds: np.ndarray, height: int) -> np.ndarray:
    """(height, 2 * height, 3) float32 cm, row 0 is v = 0. Texels beside the islands take the
    nearest position, so that filtering meets no seam; `kinds` are those of the vertices."""
    program = gl.program(VERTEX, FRAGMENT)
    skin = np.isin(kinds[kit.triangles[:, 0]], (SKIN, SOCKET))
    corners, uvs = kit.triangles[skin].ravel(), kit.triangle_uvs[skin].ravel()
    data = np.hstack([kit.uvs[uvs], kit.mean[corners]]).astype(np.float32)
    array = gl.vertex_array(program, [(gl.buffer(data.tobytes()), "2f 3f", "in_uv", "in_pos")])
    target = gl.framebuffer(gl.texture((2 * height, height), 4, dtype="f4"))
    target.clear(0, 0, 0, 0)
    target.use()
    gl.disable(gl.DEPTH_TEST)
    array.render()
    image = np.frombuffer(target.read(components=4, dtype="f4"), np.float32)
    image = image.reshape(height, 2 * height, 4)
    valid = image[..., 3] > 0.5
    nearest = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    lookup = np.zeros((nearest.max() + 1, 3), np.float32)
    lookup[nearest[valid]] = image[..., :3][valid]
    return lookup[nearest]
