# SPDX-License-Identifier: Apache-2.0
"""Four sitters of the synthetic studio, of whom `realtalk data avatar --name NAME` makes avatars.

None of them exists: identities are drawn at random, what they look like is written down here.
`android` is a machine: a shell with seams and lit eyes, moved by the same face model. The renderer
learns from pictures of them; the bundled avatars are those of training/portraits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import BROWS, CHIN, EYES
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import clothing
from realtalk_ros.training.synthetic.random_people import Person, make_appearance
from realtalk_ros.training.synthetic.scene import Light
from realtalk_ros.training.synthetic.skin_texture import SkinPainter
from realtalk_ros.training.synthetic.traits import Traits

DISTANCE = 75.0  # cm from the camera
STRANDS = 30000  # hairs


# The resting face has the beginning of a smile.
RESTING = arkit.weights(
    mouthClose=0.02, mouthSmile=0.22, mouthDimple=0.05, cheekSquint=0.12, eyeSquint=0.05
)
CALM = arkit.weights(mouthSmile=0.12, mouthDimple=0.04, cheekSquint=0.06)


def delicate(kit: FaceKit, identity: np.ndarray) -> np.ndarray:
    """Identity (100,) nearest to `identity` whose landmarks are a little more delicate.

    Ridge regression of landmark shifts on the identity modes: narrower jaw and nose, larger eyes,
    fuller lips.
    """
    points = kit.neutral(identity)[kit.landmarks]
    goal = points.copy()
    jaw = np.arange(2, 15)
    goal[jaw, 0] *= np.interp(np.abs(jaw - 8), [0, 2, 4, 6], [0.84, 0.87, 0.92, 0.96])
    goal[6:11, 1] += 0.12
    goal[31:36, 0] *= 0.84
    goal[27:31, 2] -= 0.1
    eyes = points[EYES, 1]
    middle = np.repeat([eyes[:6].mean(), eyes[6:].mean()], 6)
    goal[36:48, 1] = middle + (eyes - middle) * 1.16
    goal[[50, 51, 52], 1] += 0.06
    goal[[56, 57, 58], 1] -= 0.09
    goal[[48, 54, 60, 64], 1] += 0.12
    rows = (kit.landmarks[:, None] * 3 + np.arange(3)).ravel()
    modes = kit.identity_modes[:, rows].astype(np.float64)
    delta = (goal - points).ravel()
    ridge = modes @ modes.T + 0.10 * np.eye(len(modes))
    return (identity + np.linalg.solve(ridge, modes @ delta)).astype(np.float32)


def random_identity(kit: FaceKit, rng: np.random.Generator, spread: float = 0.44) -> np.ndarray:
    """(100,): somebody at random, nearer to the mean than most."""
    return rng.normal(0, spread, kit.identity_modes.shape[0]).astype(np.float32)


def portrait_light(warmth: float = 1.0, exposure: float = 1.13) -> Light:
    """A large key from the left, a weak fill, two lights from behind."""
    colours = np.array([[1.30, 1.20, 1.09], [0.24, 0.27, 0.31],
                        [1.15, 1.18, 1.28], [0.55, 0.50, 0.45]])  # fmt: skip
    return Light(
        directions=np.array([[-0.62, 0.60, 0.72], [0.75, 0.15, 0.70],
                             [0.72, 0.55, -0.75], [-0.85, 0.35, -0.50]]),
        colours=colours * [warmth, 1.0, 1 / warmth],
        sky=np.array([0.23, 0.24, 0.27]), ground=np.array([0.13, 0.11, 0.10]), exposure=exposure,
        shadow=0.80, shadow_softness=5.0,
    )  # fmt: skip


def backdrop(
    rng: np.random.Generator,
    near: tuple[float, float, float] = (158, 170, 178),
    far: tuple[float, float, float] = (64, 76, 90),
) -> np.ndarray:
    """(384, 384, 3) uint8 sRGB: a wall, lit behind the head, dithered against banding."""
    size = 384
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    glow = np.exp(-((x - 0.03) ** 2 + (y + 0.02) ** 2) / 0.055)[..., None]
    wall = np.array(far) + (np.array(near, float) - np.array(far)) * glow
    return np.clip(wall + rng.uniform(-0.7, 0.7, wall.shape), 0, 255).astype(np.uint8)


def portrait(
    painter: SkinPainter,
    seed: int,
    identity: np.ndarray,
    traits: Traits,
    *,
    broad: float,
    resting: np.ndarray = RESTING,
    light: Light | None = None,
    **look: Any,
) -> Person:
    """The Person with that face at rest, at the distance from which the avatars are seen; `broad`
    is a factor of the shoulders' width, `look` are fields of Appearance that differ."""
    kit = painter.kit
    neutral = kit.deform(kit.neutral(identity), resting)
    appearance = make_appearance(kit, painter, neutral, traits, seed)
    body = clothing.shoulders(traits, broad, kit, neutral)
    return Person(
        identity=identity,
        neutral=neutral,
        appearance=replace(appearance, body=body, **look),
        light=light or portrait_light(),
        distance=DISTANCE,
        traits=traits,
        resting=resting,
    )


def clara(painter: SkinPainter, seed: int) -> Person:
    kit, rng = painter.kit, np.random.default_rng(seed)
    identity = rng.normal(0, 0.55, kit.identity_modes.shape[0]).astype(np.float32) * 0.8
    traits = Traits(
        tone=0.27, undertone=0.1, redness=0.62, mottle=0.4, freckles=0.10, moles=0, pores=0.55,
        shine=0.55, lip_hue=np.array([0.80, 0.36, 0.37]), lip_strength=0.62,
        hair_colour=np.array([0.055, 0.026, 0.014]), brow_thickness=0.42, brow_density=0.85,
        brow_lift=-0.22, dark_circles=0.05, iris=np.array([0.085, 0.085, 0.035]), lashes=0.9,
        eyeliner=0.06, blush=0.22, hair="bob", hair_strands=STRANDS, hair_width=0.043,
        hairline=1.2, part_side=1.0, cloth=np.array([0.035, 0.085, 0.10]), collar=0.2,
    )  # fmt: skip
    return portrait(
        painter, seed, delicate(kit, identity), traits, broad=0.86,
        pupil=0.40, iris_size=0.61, iris_ring=np.array([0.018, 0.018, 0.010]),
        teeth=np.array([0.92, 0.88, 0.82]), sclera=np.array([0.83, 0.81, 0.79]),
        gums=np.array([0.50, 0.18, 0.17]), lash_alpha=0.8, background=backdrop(rng),
    )  # fmt: skip


def noah(painter: SkinPainter, seed: int) -> Person:
    """A bearded man with dark skin."""
    rng = np.random.default_rng(seed)
    identity = random_identity(painter.kit, rng)
    traits = Traits(
        tone=0.80, undertone=0.2, redness=0.4, mottle=0.35, moles=0, pores=0.6, shine=0.7,
        lip_hue=np.array([0.62, 0.34, 0.32]), lip_strength=0.45,
        hair_colour=np.array([0.010, 0.008, 0.007]), brow_thickness=0.75, brow_density=0.95,
        brow_lift=-0.1, stubble=0.8, beard=0.22, moustache=0.3, dark_circles=0.15,
        iris=np.array([0.045, 0.022, 0.010]), lashes=0.5, hair="short", hair_strands=STRANDS,
        hair_width=0.05, hair_length=0.75, hairline=0.2, cloth=np.array([0.16, 0.035, 0.03]),
        collar=0.6,
    )  # fmt: skip
    return portrait(
        painter, seed, identity, traits, broad=1.05, resting=CALM, light=portrait_light(1.03, 1.5),
        teeth=np.array([0.92, 0.89, 0.84]), sclera=np.array([0.82, 0.80, 0.78]),
        background=backdrop(rng, (196, 182, 160), (98, 86, 74)),
    )  # fmt: skip


def ines(painter: SkinPainter, seed: int) -> Person:
    """An elderly woman with grey hair."""
    kit, rng = painter.kit, np.random.default_rng(seed)
    identity = delicate(kit, random_identity(kit, rng))
    traits = Traits(
        tone=0.34, undertone=0.3, redness=0.6, mottle=0.6, moles=1, pores=0.6, age=0.6, shine=0.5,
        lip_hue=np.array([0.70, 0.24, 0.28]), lip_strength=0.75,
        hair_colour=np.array([0.36, 0.35, 0.34]), brow_thickness=0.35, brow_density=0.6,
        brow_lift=0.05, dark_circles=0.35, iris=np.array([0.05, 0.075, 0.10]), lashes=0.85,
        blush=0.3, hair="bob", hair_strands=STRANDS, hair_width=0.045, hairline=0.6,
        part_side=-1.0, cloth=np.array([0.09, 0.05, 0.14]), collar=0.4,
    )  # fmt: skip
    return portrait(
        painter, seed, identity, traits, broad=0.9,
        teeth=np.array([0.84, 0.79, 0.70]), sclera=np.array([0.80, 0.78, 0.75]),
        background=backdrop(rng, (176, 184, 168), (82, 92, 84)),
    )  # fmt: skip


def android(painter: SkinPainter, seed: int) -> Person:
    """A machine: a pale shell with seams, lit eyes, no hair."""
    kit, rng = painter.kit, np.random.default_rng(seed)
    identity = delicate(kit, random_identity(kit, rng, 0.2))
    traits = Traits(
        tone=0.0, redness=0.0, mottle=0.0, moles=0, pores=0.05, shine=1.5, dark_circles=0.0,
        lip_strength=0.0, brow_thickness=0.0, brow_density=0.0, lashes=0.0, hair="bald",
        iris=np.array([0.02, 0.55, 0.75]), cloth=np.array([0.03, 0.035, 0.045]), collar=0.9,
    )  # fmt: skip
    person = portrait(
        painter, seed, identity, traits, broad=0.92, resting=CALM, light=portrait_light(0.96),
        iris_ring=np.array([0.0, 0.10, 0.16]), pupil=0.34, iris_size=0.66,
        sclera=np.array([0.90, 0.92, 0.94]), teeth=np.array([0.90, 0.91, 0.93]),
        gums=np.array([0.16, 0.18, 0.22]), lash=np.array([0.02, 0.025, 0.03]), lash_alpha=0.35,
        scatter=0.15, background=backdrop(rng, (120, 138, 158), (34, 40, 52)),
    )  # fmt: skip
    person.appearance.detail[..., 0] = 128  # smooth
    person.appearance.albedo = shell(painter, person.appearance.albedo)
    return person


def shell(painter: SkinPainter, albedo: np.ndarray) -> np.ndarray:
    """Albedo (H, 2H, 4) of a machine: light grey, lips a shade darker, dark seams."""
    x, y = np.abs(painter.x), painter.y
    brow, chin = (painter.mean_landmarks[rows, 1].mean() for rows in (BROWS, [CHIN]))
    lips = albedo[..., 3:].astype(np.float32) / 255
    colour = np.array([206, 211, 217.0]) * (1 - lips) + np.array([150, 158, 170.0]) * lips

    def line(distance: np.ndarray) -> np.ndarray:
        return np.exp(-((distance / 0.05) ** 2))[..., None]

    side = 5.1 - 0.09 * np.clip(brow - y, 0, None) ** 1.3  # cm from the middle, narrower below
    seams = line(x - side) * (y < brow + 2.6)[..., None]
    seams = np.maximum(seams, line(y - brow - 2.6) * (x < 5.1)[..., None])
    seams = np.maximum(seams, line(x) * ((y > brow + 1.0) | (y < chin + 0.8))[..., None])
    colour = colour * (1 - 0.62 * seams)
    return np.concatenate([np.clip(colour, 0, 255).astype(np.uint8), albedo[..., 3:]], -1)


# By name: a function of painter and seed, and the seed.
PEOPLE: dict[str, tuple[Callable[[SkinPainter, int], Person], int]] = {
    "clara": (clara, 113),
    "noah": (noah, 21),
    "ines": (ines, 35),
    "android": (android, 5),
}
