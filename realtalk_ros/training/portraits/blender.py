# SPDX-License-Identifier: Apache-2.0
"""Objects, lights and node trees in Blender, of any unit of length. Needs bpy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partialmethod
from typing import Any

import bpy
import numpy as np

from realtalk_ros.training.portraits.anatomy import Surface


def add_mesh(name: str, surface: Surface, slots: list[Any]) -> Any:
    """The object of a surface, smoothly shaded."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(surface.points.astype(float).tolist(), [], surface.polygons)
    if surface.uv is not None:
        layer = mesh.uv_layers.new(name="uv")
        layer.data.foreach_set("uv", np.asarray(surface.uv, np.float32).ravel())
    for key, values in surface.attributes.items():
        attribute = mesh.attributes.new(key, "FLOAT", "POINT")
        attribute.data.foreach_set("value", np.asarray(values, np.float32))
    for material in slots:
        mesh.materials.append(material)
    if surface.slots is not None:
        mesh.polygons.foreach_set("material_index", surface.slots.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.update()
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def subdivide(thing: Any, levels: int) -> None:
    """Smooths an object's surface by that many subdivisions."""
    smooth = thing.modifiers.new("smooth", "SUBSURF")
    smooth.render_levels = smooth.levels = levels


def add_light(name: str, place: np.ndarray, back: np.ndarray, size: float,
              colour: tuple[float, float, float], energy: float) -> Any:  # fmt: skip
    """A disk of that diameter and that many W, which shines against `back` (3,)."""
    light = bpy.data.lights.new(name, "AREA")
    light.shape, light.size, light.color = "DISK", size, colour
    light.energy = energy
    thing = bpy.data.objects.new(name, light)
    thing.matrix_world = looking(place, back).T.tolist()
    bpy.context.scene.collection.objects.link(thing)
    return thing


def surround(colour: tuple[float, ...], radiance: float) -> None:
    """Light from everywhere."""
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs[0].default_value = (*colour, 1.0)
    background.inputs[1].default_value = radiance
    bpy.context.scene.world = world


def looking(place: np.ndarray, back: np.ndarray) -> np.ndarray:
    """(4, 4) to world of a thing at `place` whose -z points against `back` (3,)."""
    z = back / np.linalg.norm(back)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = x, np.cross(z, x), z, place
    return matrix


class Value:
    """What a node puts out, or a number: calculations with it are further nodes."""

    def __init__(self, nodes: Nodes, socket: Any):
        self.nodes, self.socket = nodes, socket

    def _math(self, operation: str, *others: Value | float) -> Value:
        return self.nodes.math(operation, self, *others)

    __add__ = partialmethod(_math, "ADD")
    __sub__ = partialmethod(_math, "SUBTRACT")
    __mul__ = partialmethod(_math, "MULTIPLY")
    __abs__ = partialmethod(_math, "ABSOLUTE")
    maximum = partialmethod(_math, "MAXIMUM")
    scaled = partialmethod(_math, "MULTIPLY_ADD")  # by the first, plus the second

    def __rsub__(self, other: float) -> Value:
        return self.nodes.math("SUBTRACT", other, self)


class Nodes:
    """A new material's node tree, without its default nodes."""

    def __init__(self, name: str):
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()
        self.material_output = self.tree.nodes.new("ShaderNodeOutputMaterial")

    def add(self, kind: str, inputs: dict[Any, Any] | None = None, **settings: Any) -> Any:
        """A node of type ShaderNode`kind`; an input's value is a number, a colour, a socket or a
        Value."""
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for key, value in settings.items():
            setattr(node, key, value)
        for key, value in (inputs or {}).items():
            self.set(node.inputs[key], value)
        return node

    def output(
        self, kind: str, inputs: dict[Any, Any] | None = None, name: str | int = 0, **settings: Any
    ) -> Value:
        """An output of such a node."""
        return Value(self, self.add(kind, inputs, **settings).outputs[name])

    def set(self, socket: Any, value: Any) -> None:
        value = value.socket if isinstance(value, Value) else value
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif isinstance(value, (tuple, list, np.ndarray)) and socket.type == "RGBA":
            socket.default_value = (*(float(v) for v in value[:3]), 1.0)
        else:
            socket.default_value = value

    def number(self, value: float) -> Value:
        return Value(self, value)

    def attribute(self, name: str) -> Value:
        return self.output("Attribute", name="Fac", attribute_name=name)

    def place(self, of: str) -> Value:
        """Texture coordinates, "UV" or "Object"."""
        return self.output("TexCoord", name=of)

    def coordinates(self, vector: Value) -> list[Value]:
        return [Value(self, socket) for socket in self.add("SeparateXYZ", {0: vector}).outputs]

    def image(self, path: str, colour: bool = True, vector: Value | None = None) -> Value:
        image = bpy.data.images.load(path, check_existing=True)
        image.colorspace_settings.name = "sRGB" if colour else "Non-Color"
        node = self.add("TexImage", {"Vector": vector} if vector else None, image=image)
        node.interpolation = "Cubic"
        return Value(self, node.outputs["Color"])

    def mix(self, share: Any, below: Any, above: Any, blend: str = "MIX") -> Value:
        node = self.add("Mix", data_type="RGBA", blend_type=blend)
        for socket, value in ((0, share), (6, below), (7, above)):
            self.set(node.inputs[socket], value)
        return Value(self, node.outputs[2])

    def math(self, operation: str, *values: Value | float) -> Value:
        return self._calculated("Math", operation, values)

    def vector(self, operation: str, *values: Any) -> Value:
        return self._calculated("VectorMath", operation, values)

    def _calculated(self, kind: str, operation: str, values: Sequence[Any]) -> Value:
        node = self.add(kind, operation=operation)
        for socket, value in zip(node.inputs, values, strict=False):
            self.set(socket, value)
        return Value(self, node.outputs[0])

    def ramp(self, value: Any, low: float, high: float, to_low: float = 0, to_high: float = 1
             ) -> Value:  # fmt: skip
        """`value` between low and high, smoothly, as to_low..to_high."""
        node = self.add("MapRange", {0: value, 1: low, 2: high, 3: to_low, 4: to_high})
        node.interpolation_type = "SMOOTHSTEP"
        return Value(self, node.outputs[0])

    def noise(self, scale: float, detail: float = 4.0) -> Value:
        inputs = {"Vector": self.place("Object"), "Scale": scale, "Detail": detail}
        return self.output("TexNoise", inputs)

    def bump(self, height: Any, distance: float, strength: float = 1.0, normal: Any = None
             ) -> Value:  # fmt: skip
        inputs = {"Height": height, "Distance": distance, "Strength": strength}
        if normal is not None:
            inputs["Normal"] = normal
        return self.output("Bump", inputs)

    def finish(self, shader: Any) -> Any:
        self.tree.links.new(shader.outputs[0], self.material_output.inputs["Surface"])
        return self.material
