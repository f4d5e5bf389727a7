# SPDX-License-Identifier: Apache-2.0
"""What a HeadRenderer draws besides the head's shape: lights, materials, hair, clothes."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    exposure: float = 1.0
    shadow: float = 0.8  # strength of the key light's (light 0's) shadow
    shadow_softness: float = 2.0  # texels
    irradiance: np.ndarray | None = None  # (3, 4, 4)


@dataclass
class Appearance:
    """What a person looks like besides the shape. Colours are linear rgb in 0..1."""

    albedo: np.ndarray  # (H, 2H, 4) uint8: sRGB skin, alpha = lip mask; u 0..2, v 0..1
    detail: np.ndarray  # (H, 2H, 2) uint8: height (128 = flat), gloss
    iris: np.ndarray
    iris_ring: np.ndarray
    pupil: float = 0.38  # of the iris' radius
    iris_size: float = 0.60  # cm
    sclera: np.ndarray = field(default_factory=lambda: np.array([0.80, 0.77, 0.75]))
    teeth: np.ndarray = field(default_factory=lambda: np.array([0.78, 0.72, 0.62]))
    gums: np.ndarray = field(default_factory=lambda: np.array([0.50, 0.16, 0.15]))
    tongue: np.ndarray | None = None  # None: a paler kind of the gums
    lash: np.ndarray = field(default_factory=lambda: np.array([0.01, 0.008, 0.006]))
    lash_alpha: float = 0.5
    scatter: float = 1.0  # strength of the red-shifted wrap
    gloss: float = 1.0
    bump: float = 1.0
    hair: Strands | None = None
    body: Mesh | None = None
    worn: list[Mesh] = field(default_factory=list)  # cap, glasses
    background: np.ndarray | None = None  # (h, w, 3) uint8 sRGB
    seed: float = 0.0


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
