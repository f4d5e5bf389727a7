# SPDX-License-Identifier: Apache-2.0
"""What the GPU holds of one person besides the head's shape: textures, hair, what is worn."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from realtalk_ros.training.synthetic.gl_context import Programs
from realtalk_ros.training.synthetic.scene import Appearance, Mesh, Strands

if TYPE_CHECKING:
    import moderngl

STRAND_TIPS = 0.85, 0.55, 0.1  # widths of a strand's last points
Resource = TypeVar("Resource")


class PersonBuffers:
    """Uploads an Appearance; `release` before the next person."""

    def __init__(self, gl: moderngl.Context, programs: Programs, appearance: Appearance):
        self._gl, self._programs = gl, programs
        self._resources: list = []
        h, w = appearance.albedo.shape[:2]
        self.albedo, self.detail = (
            self._keep(gl.texture((w, h), channels, np.ascontiguousarray(values).tobytes()))
            for values, channels in ((appearance.albedo, 4), (appearance.detail, 2))
        )
        for texture in (self.albedo, self.detail):
            texture.build_mipmaps()
        image = np.ascontiguousarray(appearance.background)
        self.background = self._keep(
            gl.texture(image.shape[1::-1], 3, image.tobytes(), alignment=1)
        )
        self.background.repeat_x = self.background.repeat_y = False
        self.strands = self.strands_depth = None
        self.strand_width = 0.0
        if appearance.hair is not None and len(appearance.hair.points):
            self._upload_strands(appearance.hair)
        worn = (appearance.body, *appearance.worn)
        self.meshes = [(mesh, self._upload_mesh(mesh)) for mesh in worn]

    def release(self) -> None:
        for resource in self._resources:
            resource.release()

    def _upload_strands(self, hair: Strands) -> None:
        """Ribbons of two vertices a point, which the shader turns towards the camera."""
        count, k = hair.points.shape[:2]
        tangent = np.gradient(hair.points, axis=1)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-6)
        data = np.zeros((count, k, 2, 11), np.float32)
        data[..., 0:3] = hair.points[:, :, None]
        data[..., 3:6] = tangent[:, :, None]
        data[..., 6:9] = hair.colours[:, None, None]
        data[..., 9] = hair.shade[:, :, None]
        taper = np.ones(k, np.float32)
        taper[-len(STRAND_TIPS) :] = STRAND_TIPS
        data[..., 10] = np.array([-1.0, 1.0]) * taper[:, None]
        base = (np.arange(count)[:, None] * k + np.arange(k - 1)[None]) * 2
        corners = base, base + 1, base + 2, base + 2, base + 1, base + 3
        quads = np.stack(corners, -1).astype(np.int32)
        vertices, index = self._buffer(data), self._buffer(quads)
        self.strand_width = hair.width
        layout = "3f 3f 4f 1f", "in_pos", "in_tangent", "in_colour", "in_side"
        self.strands = self._keep(
            self._gl.vertex_array(self._programs.strands, [(vertices, *layout)], index)
        )
        layout = "3f 3f 4x4 1f", "in_pos", "in_tangent", "in_side"
        self.strands_depth = self._keep(
            self._gl.vertex_array(self._programs.strands_depth, [(vertices, *layout)], index)
        )

    def _upload_mesh(self, mesh: Mesh) -> moderngl.VertexArray:
        data = np.hstack([mesh.points, mesh.normals, mesh.colours]).astype(np.float32)
        content = self._buffer(data), "3f 3f 3f", "in_pos", "in_normal", "in_colour"
        index = self._buffer(mesh.triangles.astype(np.int32))
        return self._keep(self._gl.vertex_array(self._programs.mesh, [content], index))

    def _buffer(self, data: np.ndarray) -> moderngl.Buffer:
        return self._keep(self._gl.buffer(data.tobytes()))

    def _keep(self, resource: Resource) -> Resource:
        """Remembers what has to be released."""
        self._resources.append(resource)
        return resource
