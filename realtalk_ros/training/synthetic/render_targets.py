# SPDX-License-Identifier: Apache-2.0
"""The textures and framebuffers that a HeadRenderer draws into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import moderngl


class RenderTargets:
    """Of images of `size` x `size` pixels and shadow maps of `shadow_size` x `shadow_size`.

    geometry        normals and texture coordinates of the skin
    image           the finished image; shares its depth with `geometry`
    layer           what stays while only the expression changes: background, clothes, hair
    shadow          shadow map of the key light
    layer_shadow    that of the hair alone
    """

    def __init__(self, gl: moderngl.Context, size: int, shadow_size: int):
        shape, shadow_shape = (size, size), (shadow_size, shadow_size)
        self.geometry_textures = [gl.texture(shape, 4, dtype="f4") for _ in range(2)]
        depth = gl.depth_renderbuffer(shape)
        self.geometry = gl.framebuffer(self.geometry_textures, depth)
        self.image = gl.framebuffer(gl.renderbuffer(shape, 4), depth)
        self.layer_textures = (gl.texture(shape, 4), gl.depth_texture(shape))
        self.layer = gl.framebuffer(*self.layer_textures)
        self.layer_shadow_texture = gl.depth_texture(shadow_shape)
        self.layer_shadow = gl.framebuffer(depth_attachment=self.layer_shadow_texture)
        for texture in (self.layer_textures[1], self.layer_shadow_texture):
            texture.compare_func = ""  # read as numbers
        read_by_pixel = *self.layer_textures, self.layer_shadow_texture, *self.geometry_textures
        for texture in read_by_pixel:
            texture.filter = (gl.NEAREST, gl.NEAREST)
        self.shadow_texture = gl.depth_texture(shadow_shape)
        self.shadow_texture.compare_func = "<="
        self.shadow_texture.repeat_x = self.shadow_texture.repeat_y = False
        self.shadow = gl.framebuffer(depth_attachment=self.shadow_texture)
        self._pixels = np.empty((size, size, 4), np.uint8)

    def read_image(self) -> np.ndarray:
        """(size, size, 4) uint8, rows from the bottom; overwritten by the next call."""
        self.image.read_into(self._pixels, components=4, alignment=1)
        return self._pixels
