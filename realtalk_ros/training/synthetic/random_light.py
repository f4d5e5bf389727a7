# SPDX-License-Identifier: Apache-2.0
"""Random lights and backgrounds."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.training.synthetic.noise import value_noise
from realtalk_ros.training.synthetic.scene import Light


def random_background(rng: np.random.Generator) -> np.ndarray:
    """(96, 96, 3) uint8 sRGB: blurred walls, blobs and edges."""
    size = 96
    a, b = rng.random((2, 3)) * rng.uniform(0.2, 1.0)
    if rng.random() < 0.6:  # mostly dull
        a, b = (v * 0.3 + v.mean() * 0.7 for v in (a, b))
    ramp = np.linspace(0, 1, size)[:, None, None]
    if rng.random() < 0.5:
        ramp = ramp.transpose(1, 0, 2)
    image = np.broadcast_to(a * (1 - ramp) + b * ramp, (size, size, 3)).astype(np.float32).copy()
    for _ in range(rng.integers(0, 14)):
        x, y, w, h = rng.integers(0, size, 4)
        colour = tuple(float(v) for v in np.clip(a + rng.normal(0, 0.25, 3), 0, 1))
        if rng.random() < 0.5:
            cv2.rectangle(
                image, (int(x), int(y)), (int(x + w // 2 + 2), int(y + h // 2 + 2)), colour, -1
            )
        else:
            cv2.circle(image, (int(x), int(y)), int(w // 5 + 2), colour, -1)
    image = cv2.GaussianBlur(image, (0, 0), rng.choice([0.8, 2.0, 4.0, 8.0]))
    image += (value_noise((size, size), 12, rng) - 0.5)[..., None] * rng.uniform(0, 0.2)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def random_light(rng: np.random.Generator) -> Light:
    """A key, a fill, a light from behind and a fourth, coloured now and then; hard or soft."""

    def towards(azimuth: float, elevation: float) -> np.ndarray:
        a, e = np.radians([azimuth, elevation])
        return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])

    def tinted(strength: float, amount: float) -> np.ndarray:
        warmth = rng.normal(0, 0.10)
        colour = np.array([1 + warmth, 1.0, 1 - warmth]) * (1 + rng.normal(0, amount, 3))
        return strength * np.clip(colour, 0.05, 2)

    key_side = rng.choice([-1, 1])
    directions = np.array([
        towards(key_side * abs(rng.normal(0, 38)), rng.uniform(0, 60)),
        towards(-key_side * rng.uniform(20, 80), rng.uniform(-15, 40)),
        towards(rng.uniform(120, 240), rng.uniform(0, 60)),
        towards(rng.uniform(-90, 90), rng.uniform(-30, 80)),
    ])  # fmt: skip
    odd = 0.35 if rng.random() < 0.15 else 0.04
    ambient = rng.uniform(0.12, 0.65)
    key = rng.uniform(0.35, 1.5)
    colours = np.array([
        tinted(key, odd), tinted(key * rng.uniform(0, 0.6), odd),
        tinted(rng.uniform(0, 1.2) * (rng.random() < 0.6), odd),
        tinted(rng.uniform(0, 0.5) * (rng.random() < 0.5), odd),
    ])  # fmt: skip
    sky = tinted(ambient, odd * 0.5)
    ground = tinted(ambient * rng.uniform(0.2, 0.8), odd * 0.5)
    irradiance = None
    if rng.random() < 0.6:  # a room: some broad lamps, windows, walls
        irradiance = sum(
            broad_lamp(towards(rng.uniform(-180, 180), rng.uniform(-50, 80)),
                   tinted(rng.uniform(0.1, 0.9), rng.choice([0.04, 0.15, 0.5])))
            for _ in range(rng.integers(1, 5))
        )  # fmt: skip
        colours *= rng.choice([0.1, 0.5, 1.0])
    # expose as a camera would: by what falls on a face looking at it
    facing = np.clip(directions[:, 2] * 0.7 + 0.2, 0, 1) @ colours + (sky + ground) / 2
    if irradiance is not None:
        ahead = np.array([0, 0, 1.0, 1.0])
        facing = facing + np.maximum(irradiance @ ahead @ ahead, 0)
    exposure = rng.uniform(0.75, 1.3) * 1.15 / facing.mean()
    return Light(directions, colours, sky, ground, exposure=float(exposure),
                 shadow=rng.uniform(0.3, 0.95), shadow_softness=rng.uniform(1.0, 4.0),
                 irradiance=irradiance)  # fmt: skip


def broad_lamp(direction: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(3, 4, 4) Light.irradiance of a lamp as wide as the cosine: max(0, cos) up to order 2."""
    d = np.append(direction, 0.0)
    m = (15 / 32) * np.outer(d, d)
    m[:3, 3] = m[3, :3] = direction / 4
    m[3, 3] = 1 / 4 - 5 / 32
    return colour[:, None, None] * m
