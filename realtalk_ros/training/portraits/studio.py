# SPDX-License-Identifier: Apache-2.0
"""A portrait photographer's studio in Blender: builds a sitter, lights and camera, and renders.

Needs bpy. One unit is a centimetre; the camera looks down -z, as in synthetic/view.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import anatomy, fine_hair, materials, robot_studio, short_hair
from realtalk_ros.training.portraits.blender import (
    Nodes,
    add_light,
    add_mesh,
    subdivide,
    surround,
)
from realtalk_ros.training.portraits.garments import Piece
from realtalk_ros.training.portraits.people import ROBOT, Sitter
from realtalk_ros.training.portraits.skin_maps import IRIS, WHITE
from realtalk_ros.training.portraits.strands import Strands
from realtalk_ros.training.synthetic.scene import Mesh
from realtalk_ros.training.synthetic.view import View

SENSOR = 36.0  # mm
# Area lights: place (cm), side of the square (cm), colour, irradiance-like strength.
LIGHTS = {
    "key": ((-62, 58, 92), 75.0, (1.0, 0.955, 0.90), 1.0),
    "fill": ((95, 5, 80), 120.0, (0.90, 0.95, 1.0), 0.30),
    "below": ((0, -70, 75), 70.0, (1.0, 0.96, 0.92), 0.07),
    "rim": ((78, 52, -70), 45.0, (0.94, 0.97, 1.0), 0.55),
    "rim2": ((-82, 40, -62), 40.0, (1.0, 0.97, 0.94), 0.30),
    "crown": ((0, 95, -25), 55.0, (1.0, 0.98, 0.96), 0.35),
}
# One that only eyes mirror, at 10 to 11 o'clock; of the others' wide and faint reflections, which
# made pupils grey, there is none.
CATCHLIGHT = ((-44, 44, 100), 42.0, (1.0, 0.98, 0.96), 5.0)
SEEN_IN_EYES = {"catchlight": "INCLUDE", "fill": "EXCLUDE", "below": "EXCLUDE"}
# One that only hair catches: it is black where a jaw and a neck shade it.
HAIR_LIGHT = ((0, -30, 110), 60.0, (1.0, 0.97, 0.93))
KAPPA = 3.0  # degrees by which an eye's axis points outwards of what it looks at (2 to 5)
AIM = (0.0, -1.0, 4.0)  # cm, where they point
STRENGTH = 4.1e5  # W of the key light
EDGE_SAMPLES = 64  # a pixel of the outline
WORLD = 0.16  # radiance of the surroundings


@dataclass(frozen=True)
class Person:
    """What of a sitter does not depend on the expression."""

    kit: FaceKit
    sitter: Sitter
    head: np.ndarray  # (V, 3) at rest
    hair: Strands | None  # of a robot None
    body: Mesh | None  # a robot's
    maps: dict[str, str]  # files of the skin's textures; of a robot none
    sources: Path
    clothes: Sequence[Piece] = ()


@dataclass(frozen=True)
class Effort:
    """What a picture may cost."""

    samples: int  # light paths a pixel
    threads: int
    minutes: float  # 0: any


def build(person: Person, weights: np.ndarray, distance: float) -> None:
    """An empty scene with the person, whose face has ARKit `weights` (52,) beyond rest."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    kit, sitter = person.kit, person.sitter
    head = kit.deform(person.head, weights)
    if sitter.kind == ROBOT:
        robot_studio.build(person, head, weights, distance)
        return
    skin = add_mesh("skin", anatomy.skin(kit, head, sitter), [
        materials.skin(sitter, person.maps), materials.skin(sitter, None),
        materials.wet_flesh("socket", (0.30, 0.08, 0.08)),
    ])  # fmt: skip
    subdivide(skin, 2)
    add_mesh("gums", anatomy.part(kit, head, "gums_tongue"), [materials.gums()])
    add_mesh("teeth", anatomy.part(kit, head, "teeth"), [materials.teeth()])
    enamel = materials.behind_teeth()
    for number, band in enumerate(anatomy.behind_teeth(kit, head)):
        add_mesh(f"behind_teeth{number}", band, [enamel])
    add_eyes(person, head, weights, distance)
    rng = np.random.default_rng(sitter.seed)
    strands = {
        "hair": (person.hair, 0.0),
        "brows": (fine_hair.brows(kit, head, sitter, rng), sitter.brow_darker),
        "lashes": (fine_hair.lashes(kit, head, sitter, rng), sitter.lash_darker),
    }
    if sitter.beard:
        strands["beard"] = short_hair.beard(kit, head, sitter.beard, rng), 0.0
    for name, (curves, darker) in strands.items():
        add_strands(name, curves, materials.strands(name, sitter.hair, darker))
    add_clothes(person)


def add_eyes(person: Person, head: np.ndarray, weights: np.ndarray, distance: float) -> None:
    kit, sources = person.kit, person.sources
    paints = {
        "white": materials.white(str(sources / WHITE), person.sitter),
        "iris": materials.iris(str(sources / IRIS), person.sitter),
        "cornea": materials.cornea(),
    }
    tears = materials.tears()
    for side in ("left", "right"):
        pitch, yaw = anatomy.gaze(kit, head, side, weights, distance)
        outwards = np.radians(KAPPA) if side == "left" else -np.radians(KAPPA)
        turn = rotation_matrix(pitch, yaw + outwards)
        for name, surface in anatomy.eye(kit, head, side, turn).items():
            add_mesh(f"{name}_{side}", surface, [paints[name]])
        add_mesh(f"tears_{side}", anatomy.part(kit, head, f"lacrimal_{side}"), [tears])


def add_strands(name: str, strands: Strands, material: Any) -> None:
    count, points = strands.points.shape[:2]
    curves = bpy.data.hair_curves.new(name)
    curves.add_curves([points] * count)
    curves.attributes["position"].data.foreach_set("vector", strands.points.ravel())
    along = np.linspace(0, 1, points)[None] ** strands.taper
    radius = strands.root[:, None] + (strands.tip - strands.root)[:, None] * along
    attribute = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    attribute.data.foreach_set("value", radius.astype(np.float32).ravel())
    if strands.white is not None:
        white = curves.attributes.new("white", "FLOAT", "CURVE")
        white.data.foreach_set("value", strands.white.astype(np.float32))
    curves.materials.append(material)
    thing = bpy.data.objects.new(name, curves)
    bpy.context.scene.collection.objects.link(thing)


def add_clothes(person: Person) -> None:
    sitter = person.sitter
    paints = {"knit": materials.knit(sitter.cloth), "jersey": materials.jersey(sitter.cloth),
              "linen": materials.linen(sitter.linen),
              "button": materials.button(), "pearl": materials.pearl()}  # fmt: skip
    for piece in person.clothes:
        thing = add_mesh(piece.name, piece.surface, [paints[piece.material]])
        if piece.thick:
            subdivide(thing, 1)
            thick = thing.modifiers.new("thick", "SOLIDIFY")
            thick.thickness, thick.offset = piece.thick, 0.0


def add_lights(sitter: Sitter) -> None:
    """LIGHTS, some stronger for a sitter, what eyes mirror, and what only hair catches."""
    eyes = [thing for thing in bpy.data.objects if thing.name.startswith(("cornea_", "tears_"))]
    lights = LIGHTS | ({"catchlight": CATCHLIGHT} if eyes else {})
    if sitter.hair_light:
        lights["hair"] = (*HAIR_LIGHT, sitter.hair_light)
    factors = {"fill": sitter.fill, "below": sitter.reflector}
    for name, (place, size, colour, strength) in lights.items():
        back = np.subtract(place, AIM)
        # As bright on the face from any distance.
        energy = STRENGTH * strength * back @ back / 125.0**2 * factors.get(name, 1.0)
        thing = add_light(
            name, np.array(place, float), back, size=size, colour=colour, energy=energy
        )
        if eyes and name in SEEN_IN_EYES:
            link(thing, eyes, SEEN_IN_EYES[name])
        if name == "hair":
            link(thing, [bpy.data.objects["hair"]], "INCLUDE")
    surround((0.86, 0.93, 1.0), WORLD)


def link(light: Any, things: list[Any], state: str) -> None:
    """Lets a light shine on `things` only ("INCLUDE") or on all else ("EXCLUDE")."""
    lit = bpy.data.collections.new(light.name)
    for thing in things:
        lit.objects.link(thing)
    for member in lit.collection_objects:
        member.light_linking.link_state = state
    light.light_linking.receiver_collection = lit


def add_camera(view: View) -> None:
    """A camera that sees what `view` does; its lens is that of a 36-mm sensor."""
    x, y, side, _ = view.crop
    camera = bpy.data.cameras.new("camera")
    camera.sensor_width = camera.sensor_height = SENSOR
    camera.lens = SENSOR * view.distance / side
    camera.shift_x, camera.shift_y = x / side, y / side
    camera.clip_start, camera.clip_end = 10.0, 1000.0
    thing = bpy.data.objects.new("camera", camera)
    # The head stays where it is: the camera moves instead.
    thing.location = tuple(np.subtract((0.0, 0.0, view.distance), view.shift))
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.scene.camera = thing


def render(out: Path, view: View, size: int, effort: Effort, sitter: Sitter) -> None:
    """The scene of a sitter as linear light with alpha: an OpenEXR file, there whole or not at
    all."""
    add_lights(sitter)
    add_camera(view)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples, scene.cycles.use_adaptive_sampling = effort.samples, True
    scene.cycles.time_limit = effort.minutes * 60
    scene.cycles.adaptive_threshold = 0.015
    scene.cycles.use_denoising, scene.cycles.denoiser = True, "OPENIMAGEDENOISE"
    scene.cycles.max_bounces, scene.cycles.diffuse_bounces = 7, 2
    scene.cycles.transparent_max_bounces, scene.cycles.transmission_bounces = 8, 6
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.sample_clamp_indirect = 6.0
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles.film_exposure = 1.0
    scene.render.threads_mode, scene.render.threads = "FIXED", effort.threads
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode, scene.render.image_settings.color_depth = "RGBA", "16"
    part = out.with_suffix(".part.exr")
    scene.render.filepath = str(part)
    bpy.ops.render.render(write_still=True)
    outline(matte_of(out))
    part.replace(out)


def matte_of(picture: Path) -> Path:
    """Where the outline of a render is kept."""
    return picture.with_suffix(".matte.exr")


def outline(out: Path) -> None:
    """How much of each pixel the scene of `render` covers, as an OpenEXR file's alpha. No light is
    traced, so it takes seconds: the denoiser leaves alpha as it is, and few paths a pixel make
    speckles of single hairs."""
    scene = bpy.context.scene
    n = Nodes("covered")
    n.finish(n.add("Emission"))
    bpy.context.view_layer.material_override = n.material
    scene.cycles.samples, scene.cycles.use_denoising = EDGE_SAMPLES, False
    scene.cycles.use_adaptive_sampling, scene.cycles.max_bounces = True, 0
    scene.render.filepath = str(out)
    bpy.ops.render.render(write_still=True)


def read(path: Path) -> np.ndarray:
    """(H, W, 4) float32 of a render, premultiplied linear light, rows from the top."""
    light, matte = pixels_of(path), matte_of(path)
    if matte.is_file():
        light[..., 3] = pixels_of(matte)[..., 3]
    return light


def pixels_of(path: Path) -> np.ndarray:
    """(H, W, 4) float32 of an OpenEXR file, rows from the top."""
    image = bpy.data.images.load(str(path))
    image.alpha_mode = "PREMUL"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1].copy()
