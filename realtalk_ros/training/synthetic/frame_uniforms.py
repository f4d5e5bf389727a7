# SPDX-License-Identifier: Apache-2.0
"""What the shaders are given for one image: lights, materials, camera, expression."""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import INNER_LIP_PAIRS
from realtalk_ros.training.synthetic.gl_context import SAMPLERS
from realtalk_ros.training.synthetic.scene import Appearance, Light
from realtalk_ros.training.synthetic.view import View, light_matrix

TEXELS_PER_CM = 0.035  # of a skin texture one texel high, about, in the middle of the face
DARK = 1e-3  # lights below are left out
# Fields of Appearance that are uniforms of the same name.
MATERIALS = ("iris", "iris_ring", "pupil", "iris_size", "sclera", "teeth", "gums", "lash",
             "lash_alpha", "scatter", "gloss", "bump", "seed")  # fmt: skip


def frame_uniforms(
    appearance: Appearance,
    light: Light,
    view: View,
    weights: np.ndarray,
    *,
    landmarks: np.ndarray,
    pixels: int,
) -> dict[str, bytes]:
    """All uniforms but the programs' own, by name.

    weights (52,) and landmarks (68, 3) are the expression; pixels: side of the image.
    """
    opening = np.mean([landmarks[a, 1] - landmarks[b, 1] for a, b in INNER_LIP_PAIRS])
    lod = np.log2(TEXELS_PER_CM * len(appearance.albedo) * view.crop[2] / pixels)
    values = {
        "crop": view.crop, "pose": view.pose().T, "projection": view.projection().T,
        "camera": (0, 0, view.distance), "breath": view.breath, "lod": max(0.0, lod),
        "shadow_matrix": light_matrix(light.directions[0]).T,
        "mouth_open": opening, "tongue_out": weights[arkit.INDEX["tongueOut"]],
    }  # fmt: skip
    values |= {name: getattr(appearance, name) for name in MATERIALS}
    tongue = appearance.tongue
    values["tongue"] = tongue_colour(appearance.gums) if tongue is None else tongue
    lights, count = _lights(light)
    whole = {name: np.int32(unit).tobytes() for unit, name in enumerate(SAMPLERS)}
    whole["light_count"] = np.int32(count).tobytes()
    return whole | {
        name: np.ascontiguousarray(value, np.float32).tobytes()
        for name, value in (values | lights).items()
    }


def _lights(light: Light) -> tuple[dict[str, np.ndarray | float], int]:
    """The uniforms of a Light, those that shine first, and how many these are."""
    on = np.asarray(light.colours).max(1) > DARK
    on[0] = True  # the key light, which has the shadow
    order = np.argsort(~on, kind="stable")
    directions = light.directions / np.linalg.norm(light.directions, axis=1, keepdims=True)
    irradiance = np.zeros((3, 4, 4)) if light.irradiance is None else light.irradiance.copy()
    sky, ground = np.asarray(light.sky), np.asarray(light.ground)
    irradiance[:, 3, 3] += (sky + ground) / 2
    irradiance[:, 1, 3] += (sky - ground) / 4
    irradiance[:, 3, 1] += (sky - ground) / 4
    return {
        "light_dir": directions[order],
        "light_col": light.colours[order],
        "irradiance": irradiance,
        "exposure": light.exposure,
        "shadow_strength": light.shadow,
        "shadow_softness": light.shadow_softness,
    }, int(on.sum())


def tongue_colour(gums: np.ndarray) -> np.ndarray:
    """(3,) linear rgb: the tongue that goes with gums of that colour."""
    return (0.75 * gums + 0.1 * gums.sum()) * (1.25, 1.15, 1.15)
