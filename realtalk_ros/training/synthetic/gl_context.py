# SPDX-License-Identifier: Apache-2.0
"""An off-screen OpenGL context, the programs of the shaders and their uniforms."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from realtalk_ros.errors import RealTalkError, one_line
from realtalk_ros.training.synthetic import head_shaders, layer_shaders, shaders

if TYPE_CHECKING:
    import moderngl

# Texture units. The samplers of the first seven are named in every program that uses them.
SAMPLERS = ("albedo_map", "detail_map", "noise_map", "shadow_map", "background",
            "normal_map", "uv_map")  # fmt: skip
LAYER_COLOUR, LAYER_DEPTH, LAYER_SHADOW, MORPHS = 8, 9, 10, 11


def create_context() -> moderngl.Context:
    """EGL, hardware or software (llvmpipe). Raises RealTalkError, with what to install."""
    os.environ.setdefault("EGL_PLATFORM", "surfaceless")
    try:
        import moderngl

        return moderngl.create_standalone_context(backend="egl")
    except Exception as error:  # moderngl raises plain Exception when there is no EGL
        raise RealTalkError(
            f"no off-screen OpenGL ({one_line(error)}): install moderngl and, on Debian or Ubuntu, "
            "libegl1 and libgl1-mesa-dri"
        ) from error


class Programs:
    """The compiled shaders, one program a pass, and full-screen quads for those that need one."""

    def __init__(self, gl: moderngl.Context):
        self.skin_geometry = gl.program(head_shaders.HEAD_VERTEX, head_shaders.SKIN_GEOMETRY)
        self.skin = gl.program(shaders.SCREEN_VERTEX, head_shaders.SKIN_FRAGMENT)
        self.background = gl.program(shaders.SCREEN_VERTEX, layer_shaders.BACKGROUND_FRAGMENT)
        self.eyes = gl.program(head_shaders.HEAD_VERTEX, head_shaders.EYE_FRAGMENT)
        self.mouth = gl.program(head_shaders.HEAD_VERTEX, head_shaders.MOUTH_FRAGMENT)
        self.transparent = gl.program(head_shaders.HEAD_VERTEX, head_shaders.ALPHA_FRAGMENT)
        self.head_depth = gl.program(head_shaders.HEAD_VERTEX, shaders.DEPTH_FRAGMENT)
        self.strands = gl.program(layer_shaders.STRAND_VERTEX, layer_shaders.STRAND_FRAGMENT)
        self.strands_depth = gl.program(layer_shaders.STRAND_DEPTH, shaders.DEPTH_FRAGMENT)
        self.mesh = gl.program(layer_shaders.MESH_VERTEX, layer_shaders.MESH_FRAGMENT)
        layer = gl.program(layer_shaders.LAYER_VERTEX, layer_shaders.LAYER_FRAGMENT)
        layer["layer_colour"].value, layer["layer_depth"].value = LAYER_COLOUR, LAYER_DEPTH
        layer_depth = gl.program(layer_shaders.LAYER_VERTEX, layer_shaders.LAYER_DEPTH_FRAGMENT)
        layer_depth["layer_depth"].value = LAYER_SHADOW
        quad = gl.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self.skin_quad, self.background_quad, self.layer_quad, self.layer_depth_quad = (
            gl.vertex_array(program, [(quad, "2f", "in_pos")])
            for program in (self.skin, self.background, layer, layer_depth)
        )


class Uniforms:
    """Writes the uniforms that a program has (a compiler drops, and shortens, unused ones)."""

    def __init__(self) -> None:
        self._of: dict[moderngl.Program, dict[str, tuple[moderngl.Uniform, int]]] = {}

    def write(self, program: moderngl.Program, values: dict[str, bytes]) -> None:
        import moderngl

        if program not in self._of:
            self._of[program] = {
                name: (program[name], 4 * program[name].array_length * program[name].dimension)
                for name in program
                if isinstance(program[name], moderngl.Uniform)
            }
        for name, (uniform, length) in self._of[program].items():
            if name in values:
                uniform.write(values[name][:length])
