# SPDX-License-Identifier: Apache-2.0
"""What a HeadRenderer draws besides the head's shape: lights, materials, hair, clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What a pixel shows; clothes count as background.
LABELS = ("background", "skin", "lips", "mouth", "eyes", "hair", "glasses")


@dataclass
class Light:
    """4 directional lights (direction towards the light, linear rgb) and ambient light.

    The ambient light is a sky-ground ramp plus `irradiance`, three symmetric matrices M (red,
    green, blue): a normal n receives (n, 1) M (n, 1), which holds spherical harmonics up to order 2
    (Ramamoorthi and Hanrahan 2001).
    """

    directions: np.ndarray  # (4, 3)
    colours: np.ndarray  # (4, 3), linear
    sky: np.ndarray  # (3,)
    ground: np.ndarray  # (3,)
    exposure: float
    shadow: float  # strength of the key light's (light 0's) shadow
    shadow_softness: float  # texels
    irradiance: np.ndarray | None = None  # (3, 4, 4)


@dataclass
class Appearance:
    """What a person looks like besides the shape. Colours are linear rgb in 0..1."""

    albedo: np.ndarray  # (H, 2H, 4) uint8: sRGB skin, alpha = lip mask; u 0..2, v 0..1
    detail: np.ndarray  # (H, 2H, 2) uint8: height (128 = flat), gloss
    iris: np.ndarray
    iris_ring: np.ndarray
    pupil: float  # of the iris' radius
    iris_size: float  # cm
    sclera: np.ndarray
    teeth: np.ndarray
    gums: np.ndarray
    lash: np.ndarray
    lash_alpha: float
    scatter: float  # strength of the red-shifted wrap
    gloss: float
    bump: float
    hair: Strands | None  # of bald and shaved ones None
    body: Mesh
    worn: list[Mesh]  # cap, glasses
    background: np.ndarray  # (h, w, 3) uint8 sRGB
    seed: float
    tongue: np.ndarray | None = None  # None: a paler kind of the gums


@dataclass
class Strands:
    """Hair: S strands of K points; does not move with the expression, only with the pose."""

    points: np.ndarray  # (S, K, 3) cm
    colours: np.ndarray  # (S, 3) linear rgb
    shade: np.ndarray  # (S, K) ambient occlusion 0..1
    width: float  # cm


@dataclass
class Mesh:
    """Something worn: triangles that stay with the chest (clothes) or turn with the head."""

    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3)
    colours: np.ndarray  # (N, 3) linear rgb
    triangles: np.ndarray  # (M, 3)
    label: int = 0  # into LABELS
    with_head: bool = False
    polish: float = 0.0  # 0 cloth, 1 lacquer or glass
    opacity: float = 1.0  # below 1: a lens
