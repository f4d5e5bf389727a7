# SPDX-License-Identifier: Apache-2.0
"""VALID's people in Blender: materials, light and camera that differ by person, and pictures.

Needs bpy. One unit is a metre; y is up, and the face looks along +z, as in the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import cv2
import numpy as np

from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.training.portraits.anatomy import Surface
from realtalk_ros.training.portraits.blender import Nodes, add_light, add_mesh, looking, surround
from realtalk_ros.training.portraits.studio import SENSOR
from realtalk_ros.training.valid_heads.glb import Model, Part
from realtalk_ros.training.valid_heads.mouth_paint import painted

DISTANCE = 1.5  # m, of the camera
LIGHTS = 1.5  # m, of the lights
FRAME = 0.28  # m, side of the picture at the eyes
BELOW_EYES = 0.03  # m, of the picture's middle
SCATTER = (0.0037, 0.0014, 0.0007)  # m, by which light travels below the skin (red, green, blue)
BOUNCES = 4
EXPOSED = 1.0  # W/m2 of the key light for a picture as light as a photograph


@dataclass(frozen=True)
class Setting:
    """What of a picture differs by person beside the person."""

    key: tuple[float, float]  # radians, to the side and up, of the main light
    key_size: float  # m
    key_colour: tuple[float, float, float]
    fill: float  # share of the key light, from the other side
    surroundings: tuple[float, float, float]  # radiance, and the colour behind the head
    gloss: float  # roughness of the skin
    teeth: tuple[float, float]  # saturation and value of their colour, as shares of the texture's

    @classmethod
    def random(cls, rng: np.random.Generator) -> Setting:
        warm = rng.uniform(-0.12, 0.12)
        grey = rng.uniform(0.15, 0.6)
        return cls(
            key=(float(rng.uniform(-0.9, 0.9)), float(rng.uniform(0.15, 0.8))),
            key_size=float(rng.uniform(0.3, 1.2)),
            key_colour=(1 + warm, 1.0, 1 - warm),
            fill=float(rng.uniform(0.15, 0.7)),
            surroundings=tuple(np.clip(grey * rng.normal(1, 0.06, 3), 0.05, 0.8).tolist()),
            gloss=float(rng.uniform(0.38, 0.55)),
            teeth=(float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.95, 1.25))),
        )


@dataclass(frozen=True)
class Effort:
    """What a picture may cost."""

    size: int  # pixels of its side
    samples: int  # light paths a pixel
    threads: int


class Studio:
    """A scene with one person, who can be moved and photographed."""

    def __init__(self, model: Model, folder: Path, setting: Setting):
        """`folder` is where textures are unpacked."""
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.model = model
        paths = []
        for number in range(len(model.textures)):
            paths.append(str(folder / f"{number}.png"))
            cv2.imwrite(paths[-1], painted(model, number), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        self.things: dict[str, Any] = {}
        for name, part in model.parts.items():
            slot = material(model, part, name, paths, setting)
            self.things[name] = add_mesh(name, surface(part), [slot])
        eyes = [p.points.mean(0) for n, p in model.parts.items() if n.lower().endswith("_eye")]
        self.middle = np.mean(eyes, 0) - (0, BELOW_EYES, 0)
        add_lights(setting, self.middle)
        self.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        self.camera.data.sensor_width = self.camera.data.sensor_height = SENSOR
        self.camera.data.lens = SENSOR * DISTANCE / FRAME
        self.camera.data.clip_start = 0.1
        bpy.context.scene.collection.objects.link(self.camera)
        bpy.context.scene.camera = self.camera

    def photograph(
        self, out: Path, effort: Effort, weights: dict[str, float], turn: tuple[float, float, float]
    ) -> None:
        """A PNG, there whole or not at all, of the face under `weights` of its
        targets and with the head turned by pitch, yaw and roll, radians."""
        for name, part in self.model.parts.items():
            mesh = self.things[name].data
            mesh.vertices.foreach_set("co", np.float32(part.moved(weights)).ravel())
            mesh.update()
        # The camera goes round a still head: in the picture the light turns with it.
        back = rotation_matrix(turn[0], -turn[1]) @ (0, 0, 1)
        place = looking(self.middle + DISTANCE * back, back)
        roll = np.eye(4)
        roll[:2, :2] = [[np.cos(turn[2]), -np.sin(turn[2])], [np.sin(turn[2]), np.cos(turn[2])]]
        self.camera.matrix_world = (place @ roll).T.tolist()
        set_up_cycles(effort)
        unfinished = out.with_suffix(".part.png")
        bpy.context.scene.render.filepath = str(unfinished)
        bpy.ops.render.render(write_still=True)
        unfinished.replace(out)


def surface(part: Part) -> Surface:
    return Surface(
        part.points, [tuple(corners) for corners in part.triangles.tolist()], part.uv.reshape(-1, 2)
    )


def material(model: Model, part: Part, name: str, paths: list[str], setting: Setting) -> Any:
    """Of a part, by its name: eyes and teeth are wet, hair has no light below its surface."""
    described = model.materials[part.material]
    n = Nodes(name)
    base = n.image(paths[described["pbrMetallicRoughness"]["baseColorTexture"]["index"]])
    inputs: dict[str, Any] = {"Base Color": base, "Specular IOR Level": 0.4}
    kind = name.lower()
    if kind.endswith(("_eye", "_gland")):
        inputs |= {"Roughness": 0.12}
    elif "teeth" in kind:
        whitened = {"Color": base, "Saturation": setting.teeth[0], "Value": setting.teeth[1]}
        inputs["Base Color"] = n.add("HueSaturation", whitened).outputs[0]
        inputs |= {"Roughness": 0.2, "Subsurface Weight": 0.3, "Subsurface Scale": 1.0,
                   "Subsurface Radius": (0.002, 0.0015, 0.001)}  # fmt: skip
    elif described["name"].lower().startswith("hair"):
        inputs |= {"Roughness": 0.6, "Specular IOR Level": 0.1}
    else:
        inputs |= {"Roughness": setting.gloss, "Subsurface Weight": 0.6, "Subsurface Scale": 1.0,
                   "Subsurface Radius": SCATTER}  # fmt: skip
    if "normalTexture" in described:
        bumps = n.image(paths[described["normalTexture"]["index"]], colour=False)
        inputs["Normal"] = n.add("NormalMap", {"Color": bumps}).outputs[0]
    # Random walks below the skin take twice as long, and look the same at this size.
    return n.finish(n.add("BsdfPrincipled", inputs, subsurface_method="BURLEY"))


def add_lights(setting: Setting, middle: np.ndarray) -> None:
    side, up = setting.key
    places = {
        "key": (side, up, setting.key_size, setting.key_colour, 1.0),
        "fill": (-np.sign(side) * 0.8, 0.1, 1.2, (1.0, 1.0, 1.0), setting.fill),
        "back": (np.pi - 0.6 * side, 0.5, 0.6, (1.0, 1.0, 1.0), 0.25),
    }
    for name, (yaw, pitch, size, colour, share) in places.items():
        back = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        energy = EXPOSED * share * 4 * np.pi * LIGHTS**2
        add_light(name, middle + LIGHTS * back, back, size=size, colour=colour, energy=energy)
    surround(setting.surroundings, 1.0)


def set_up_cycles(effort: Effort) -> None:
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = effort.size
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples, scene.cycles.use_adaptive_sampling = effort.samples, False
    scene.cycles.use_denoising, scene.cycles.denoiser = True, "OPENIMAGEDENOISE"
    scene.cycles.denoising_quality, scene.cycles.denoising_prefilter = "BALANCED", "FAST"
    scene.cycles.max_bounces, scene.cycles.diffuse_bounces = BOUNCES, 2
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.sample_clamp_indirect = 4.0
    scene.render.threads_mode, scene.render.threads = "FIXED", effort.threads
    scene.render.use_persistent_data = True
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.view_settings.view_transform = "Standard"
