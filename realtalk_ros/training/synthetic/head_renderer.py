# SPDX-License-Identifier: Apache-2.0
"""Renders synthetic heads: OpenGL, off screen, of what ICT-FaceKit's mesh can show.

`HeadRenderer.render_labelled` draws one head: a person's appearance (painted skin texture, eyes,
hair, clothes), a pose, an expression, lights, a camera crop; and the labels of its pixels. Runs on
software OpenGL (EGL, llvmpipe) as on a GPU; needs moderngl and SciPy (extra `train`). How an image
comes about:

1. `load_person`: the person's neutral vertices and textures go to the GPU, once.
2. A vertex shader adds the active expressions' deltas and turns the eyeballs (morph_targets.py).
3. Shadow map of the key light; then geometry (normals, texture coordinates) of the skin at full
   size, and one pass that shades the skin's pixels once each.
4. Eyes and mouth; the static layer (background, clothes, hair, glasses), kept while only the
   expression changes; lashes, lid shadows, lenses.

Coordinates are those of view.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import head_mesh, shaders
from realtalk_ros.training.synthetic.ambient_occlusion import ambient_occlusion
from realtalk_ros.training.synthetic.frame_uniforms import frame_uniforms
from realtalk_ros.training.synthetic.gl_context import (
    LAYER_COLOUR,
    LAYER_SHADOW,
    Programs,
    Uniforms,
    create_context,
)
from realtalk_ros.training.synthetic.head_mesh import (
    EYE,
    GUMS,
    LACRIMAL,
    LASH,
    OCCLUSION,
    SKIN,
    SOCKET,
    TEETH,
)
from realtalk_ros.training.synthetic.morph_targets import MorphTargets
from realtalk_ros.training.synthetic.noise import value_noise
from realtalk_ros.training.synthetic.person_buffers import PersonBuffers
from realtalk_ros.training.synthetic.render_targets import RenderTargets
from realtalk_ros.training.synthetic.scene import Appearance, Light, Mesh
from realtalk_ros.training.synthetic.view import View

if TYPE_CHECKING:
    import moderngl


class HeadRenderer:
    """Renders heads of one FaceKit. One instance per process and thread (it owns a GL context).

    size: pixels of an image; supersample: it is drawn that much larger; detail: share of the
    mesh's triangles that is drawn (lips, lids and borders keep theirs). Raises RealTalkError where
    there is no OpenGL.
    """

    def __init__(self, kit: FaceKit, size: int, supersample: float, detail: float = 1.0):
        self.gl = gl = create_context()
        self.kit, self.size = kit, size
        self.hair_shadow = True  # hair throws shadows; costs as much as drawing it
        self.kinds = head_mesh.vertex_kinds(kit)
        self._programs, self._uniforms = Programs(gl), Uniforms()
        self._pixels = round(size * supersample)
        shadow_size = shaders.SHADOW_SIZE // (1 if detail == 1 else 2)
        self._targets = RenderTargets(gl, self._pixels, shadow_size)
        self._noise = self._noise_texture()
        self.occlusion = ambient_occlusion(gl, kit, self.kinds)
        self.mesh = head_mesh.build(kit, self.kinds, self.occlusion, detail)
        self.morphs = MorphTargets(gl, kit, self.mesh)
        static, programs = gl.buffer(self.mesh.attributes.tobytes()), self._programs
        self._skin = self._vertex_array(programs.skin_geometry, static, (SKIN,))
        self._eyes = self._vertex_array(programs.eyes, static, (EYE,))
        self._mouth = self._vertex_array(programs.mouth, static, (LACRIMAL, TEETH, GUMS, SOCKET))
        self._transparent = self._vertex_array(programs.transparent, static, (OCCLUSION, LASH))
        self._depth = self._vertex_array(programs.head_depth, static, (SKIN,))
        self.appearance: Appearance | None = None
        self._person: PersonBuffers | None = None
        self._layer_key: tuple | None = None  # of what the static layer shows

    def _noise_texture(self) -> moderngl.Texture:
        rng = np.random.default_rng(7)
        octaves = ((16, 0.35), (64, 0.4), (128, 0.25))
        noise = sum(value_noise((256, 256), cells, rng) * share for cells, share in octaves)
        noise = np.clip((noise - noise.mean()) / noise.std() * 0.2 + 0.5, 0, 1)
        texture = self.gl.texture((256, 256), 1, (noise * 255).astype(np.uint8).tobytes())
        texture.build_mipmaps()
        return texture

    def _vertex_array(
        self, program: moderngl.Program, static: moderngl.Buffer, kinds: tuple[int, ...]
    ) -> moderngl.VertexArray:
        """The head's triangles of these kinds, with the attributes that the program uses."""
        faces, face_kinds = self.mesh.faces, self.mesh.face_kinds
        index = self.gl.buffer(np.concatenate([faces[face_kinds == k] for k in kinds]).tobytes())
        content = []
        for buffer, attributes in (
            (self.morphs.deformed, (("in_pos", 3), ("in_normal", 3))),
            (static, (("in_uv", 2), ("in_shading", 4), ("in_coords", 4))),
        ):
            layout = " ".join(f"{n}f" if name in program else f"{n}x4" for name, n in attributes)
            if names := [name for name, _ in attributes if name in program]:
                content.append((buffer, layout, *names))
        return self.gl.vertex_array(program, content, index)

    def load_person(self, neutral: np.ndarray, appearance: Appearance) -> None:
        """Chooses whom to render: the neutral head (V, 3) and the appearance."""
        if self._person:
            self._person.release()
        self.neutral, self.appearance, self._layer_key = neutral, appearance, None
        self.neutral_landmarks = neutral[self.kit.landmarks]
        self.morphs.set_neutral(neutral)
        self._person = PersonBuffers(self.gl, self._programs, appearance)

    def landmarks(self, weights: np.ndarray) -> np.ndarray:
        """(68, 3) Multi-PIE landmarks of the loaded person in head space."""
        return self.neutral_landmarks + np.tensordot(weights, self.morphs.landmark_deltas, 1)

    def render(self, weights: np.ndarray, view: View, light: Light) -> np.ndarray:
        """(size, size, 3) uint8 BGR of the loaded person with ARKit `weights` (52,)."""
        return self.render_labelled(weights, view, light)[0]

    def render_labelled(
        self, weights: np.ndarray, view: View, light: Light
    ) -> tuple[np.ndarray, np.ndarray]:
        """((size, size, 3) uint8 BGR, (size, size) uint8 of scene.LABELS) of the loaded person."""
        if self.appearance is None or self._person is None:
            raise RuntimeError("load_person() before rendering")
        self._draw(self._person, np.asarray(weights, np.float32), view, light)
        image, size = self._targets.read_image(), self.size
        labels = image[..., 3]
        if self._pixels != size:
            labels = cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(image[::-1], cv2.COLOR_RGBA2BGR), np.ascontiguousarray(labels[::-1])

    def _draw(self, person: PersonBuffers, weights: np.ndarray, view: View, light: Light) -> None:
        gl, targets = self.gl, self._targets
        self.morphs.apply(weights)
        values = frame_uniforms(
            self.appearance,
            light,
            view,
            weights,
            landmarks=self.landmarks(weights),
            pixels=self._pixels,
        )
        key = (view, id(light), id(self.appearance))
        stale, self._layer_key = key != self._layer_key, key
        textures = (person.albedo, person.detail, self._noise, targets.shadow_texture,
                    person.background, *targets.geometry_textures)  # fmt: skip
        for unit, texture in enumerate(textures):  # as SAMPLERS names them
            texture.use(unit)
        gl.enable_only(gl.DEPTH_TEST)
        if light.shadow > 0:
            self._draw_shadow(person, values, stale)
        if stale:
            self._draw_layer(person, values)
        self._draw_head(values)
        self._blend_layer()
        self._draw_transparent(person, values)

    def _draw_shadow(self, person: PersonBuffers, values: dict[str, bytes], stale: bool) -> None:
        """The shadow map of the key light; `stale`: hair has to be drawn anew."""
        gl, targets = self.gl, self._targets
        values = values | {"projection": values["shadow_matrix"]}
        if person.strands_depth is not None and self.hair_shadow:
            if stale:
                targets.layer_shadow.clear(depth=1.0)
                targets.layer_shadow.use()
                width = {"width": np.float32(person.strand_width).tobytes()}
                self._uniforms.write(self._programs.strands_depth, values | width)
                person.strands_depth.render()
            targets.shadow.use()
            targets.layer_shadow_texture.use(LAYER_SHADOW)
            gl.depth_func = "1"
            self._programs.layer_depth_quad.render(gl.TRIANGLE_STRIP)
            gl.depth_func = "<"
        else:
            targets.shadow.clear(depth=1.0)
            targets.shadow.use()
        self._uniforms.write(self._programs.head_depth, values)
        self._depth.render()

    def _draw_layer(self, person: PersonBuffers, values: dict[str, bytes]) -> None:
        """Background, clothes, what is worn and hair, with depth."""
        gl, layer = self.gl, self._targets.layer
        layer.clear(depth=1.0)
        layer.use()
        layer.depth_mask = False
        gl.depth_func = "1"
        self._uniforms.write(self._programs.background, values)
        self._programs.background_quad.render(gl.TRIANGLE_STRIP)
        layer.depth_mask = True
        gl.depth_func = "<"
        for mesh, array in person.meshes:
            if mesh.opacity == 1:
                self._draw_mesh(mesh, array, values)
        if person.strands is not None:
            width = {"width": np.float32(person.strand_width).tobytes()}
            self._uniforms.write(self._programs.strands, values | width)
            person.strands.render()

    def _draw_head(self, values: dict[str, bytes]) -> None:
        """Skin, eyes and the mouth's inside."""
        gl, targets, programs = self.gl, self._targets, self._programs
        targets.geometry.clear(depth=1.0)
        targets.geometry.use()
        self._uniforms.write(programs.skin_geometry, values)
        self._skin.render()
        targets.image.use()
        targets.image.depth_mask = False
        gl.depth_func = ">"
        self._uniforms.write(programs.skin, values)
        programs.skin_quad.render(gl.TRIANGLE_STRIP)
        targets.image.depth_mask = True
        gl.depth_func = "<"
        for program, array in ((programs.eyes, self._eyes), (programs.mouth, self._mouth)):
            self._uniforms.write(program, values)
            array.render()

    def _blend_layer(self) -> None:
        """The static layer, where it lies before the head."""
        self.gl.depth_func = "<="
        for unit, texture in enumerate(self._targets.layer_textures, LAYER_COLOUR):
            texture.use(unit)
        self._programs.layer_quad.render(self.gl.TRIANGLE_STRIP)
        self.gl.depth_func = "<"

    def _draw_transparent(self, person: PersonBuffers, values: dict[str, bytes]) -> None:
        """Lashes, the lids' shadows, lenses. The label in alpha stays."""
        gl, image = self.gl, self._targets.image
        gl.enable(gl.BLEND)
        gl.blend_func = gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ZERO, gl.ONE
        image.depth_mask = False
        self._uniforms.write(self._programs.transparent, values)
        self._transparent.render()
        for mesh, array in person.meshes:
            if mesh.opacity < 1:
                self._draw_mesh(mesh, array, values)
        gl.disable(gl.BLEND)
        image.depth_mask = True

    def _draw_mesh(self, mesh: Mesh, array: moderngl.VertexArray, values: dict[str, bytes]) -> None:
        own = {"with_head": mesh.with_head, "polish": mesh.polish, "opacity": mesh.opacity,
               "label": mesh.label / 255}  # fmt: skip
        own = {name: np.float32(value).tobytes() for name, value in own.items()}
        self._uniforms.write(self._programs.mesh, values | own)
        array.render()
