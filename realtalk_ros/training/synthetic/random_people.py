# SPDX-License-Identifier: Apache-2.0
"""Random people: traits, appearance, camera; all a function of a seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import face_square
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import clothing
from realtalk_ros.training.synthetic.hair import grow_hair
from realtalk_ros.training.synthetic.random_light import random_background, random_light
from realtalk_ros.training.synthetic.scene import Appearance, Light
from realtalk_ros.training.synthetic.skin_texture import SkinPainter
from realtalk_ros.training.synthetic.traits import HAIR_COLOURS, IRIS_COLOURS, Traits
from realtalk_ros.training.synthetic.view import View

HAIR_SHARES = {"bald": 0.06, "shaved": 0.10, "short": 0.20, "side": 0.20, "fringe": 0.10,
               "long": 0.07, "bob": 0.07, "curly": 0.10, "tied": 0.10}  # fmt: skip
# Enamel from bleached over the shades of dentists' guides to stained by tobacco, linear rgb.
ENAMEL = np.array([[0.87, 0.86, 0.84], [0.80, 0.75, 0.66], [0.66, 0.55, 0.38], [0.40, 0.29, 0.15]])
GUMS, MELANIN = np.array([0.50, 0.17, 0.16]), np.array([0.28, 0.38, 0.50])
UNUSUAL = 0.15  # share of people whose mouth and eyes have nobody's colours
TURN = 0.12  # rad: how far heads turn
DISTANCES = 45.0, 130.0  # cm from the camera


@dataclass
class Person:
    """One head with its appearance, light and camera."""

    identity: np.ndarray  # (100,)
    neutral: np.ndarray  # (V, 3)
    appearance: Appearance
    light: Light
    distance: float
    traits: Traits
    # (52,): what of the face model's expressions `neutral` is, beside the identity.
    resting: np.ndarray = field(default_factory=arkit.weights)


def random_traits(rng: np.random.Generator) -> Traits:
    """Anybody: all of skin, hair, beards and make-up, now and then beyond the plausible."""
    tone = rng.uniform(-0.12, 1.14)
    dark_hair = rng.random() < 0.25 + 0.75 * smoothstep(np.array(tone), 0.25, 0.6)
    colour = HAIR_COLOURS[rng.integers(0, 3) if dark_hair else rng.integers(0, len(HAIR_COLOURS))]
    colour = np.clip(colour * rng.uniform(0.7, 1.4) * rng.normal(1, 0.06, 3), 0.004, 0.8)
    if rng.random() < 0.08:
        colour = rng.random(3) * 0.6
    iris = IRIS_COLOURS[
        rng.integers(0, 3) if tone > 0.6 and rng.random() < 0.9 else rng.integers(0, 8)
    ]
    traits = Traits(
        tone=tone, undertone=rng.uniform(-1, 1), redness=rng.uniform(0.2, 1.2),
        mottle=rng.uniform(0.2, 1.0), moles=int(rng.integers(0, 5)), pores=rng.uniform(0.2, 1.0),
        shine=rng.uniform(0.4, 1.7), hair_colour=colour, iris=iris * rng.uniform(0.7, 1.4),
        lip_hue=np.array([rng.uniform(0.62, 0.85), rng.uniform(0.28, 0.5), rng.uniform(0.28, 0.5)]),
        lip_strength=rng.uniform(0.25, 0.75), brow_thickness=rng.random(),
        brow_density=rng.uniform(0.3, 1), brow_lift=rng.uniform(-0.25, 0.3),
        dark_circles=rng.uniform(0, 0.9), lashes=rng.uniform(0.2, 0.7),
        part_side=float(rng.choice([-1, 1])), hair_length=rng.uniform(0.7, 1.3),
        cloth=rng.random(3) ** 2 * 0.6, collar=rng.random(),
        hair=str(rng.choice(list(HAIR_SHARES), p=list(HAIR_SHARES.values()))),
    )  # fmt: skip
    if rng.random() < 0.06:
        traits.iris = rng.random(3) * 0.3
    if rng.random() < 0.4:
        traits.age = rng.random()
        if traits.age > 0.6 and rng.random() < 0.6:
            traits.hair_colour = HAIR_COLOURS[rng.integers(7, 9)] * rng.uniform(0.7, 1.2)
    if rng.random() < 0.14:
        traits.body_paint = rng.uniform(0.2, 0.95)
    if rng.random() < 0.18:
        traits.glasses = rng.uniform(0.02, 1.0)
    if rng.random() < 0.06:
        traits.cap, traits.hair = True, "shaved"
    if rng.random() < 0.2:
        traits.freckles = rng.uniform(0.2, 1.0) * np.clip(1 - tone, 0, 1)
    _add_beard_or_make_up(traits, rng)
    return traits


def _add_beard_or_make_up(traits: Traits, rng: np.random.Generator) -> None:
    face = rng.random()
    if face < 0.22:
        traits.stubble = rng.uniform(0.3, 1.0)
    elif face < 0.36:
        traits.beard = rng.uniform(0.5, 1.0) if rng.random() < 0.8 else 0.0
        traits.moustache = rng.uniform(0.5, 1.0)
        traits.stubble = 0.5
    elif face < 0.68:
        traits.eyeshadow = rng.random() * (rng.random() < 0.7)
        traits.eyeshadow_colour = rng.random(3) * 0.6
        traits.eyeliner = rng.random() * (rng.random() < 0.6)
        traits.blush = rng.random()
        traits.lashes = rng.uniform(0.5, 1.0)
        if rng.random() < 0.6:  # lipstick
            traits.lip_hue = np.clip(
                [rng.uniform(0.45, 0.95), rng.uniform(0.05, 0.45), rng.uniform(0.1, 0.5)], 0, 1
            )
            if rng.random() < 0.12:
                traits.lip_hue = rng.random(3)
            traits.lip_strength = rng.uniform(0.6, 1.0)


def make_appearance(
    kit: FaceKit,
    painter: SkinPainter,
    neutral: np.ndarray,
    traits: Traits,
    seed: int,
    *,
    fine: bool = True,
) -> Appearance:
    """Traits as something that a HeadRenderer can draw, on the head `neutral` (V, 3).

    Without `fine` hair and clothes are only made as far as a face crop shows them.
    """
    rng = np.random.default_rng([seed, 1])
    albedo, detail = painter.paint(traits, rng)
    warm = rng.uniform(0.86, 1.0)
    worn = clothing.glasses(kit, neutral, traits.glasses, rng) if traits.glasses > 0 else []
    if traits.cap:
        worn.append(clothing.cap(kit, neutral, rng))
    return Appearance(
        albedo=albedo, detail=detail, iris=np.asarray(traits.iris),
        iris_ring=np.asarray(traits.iris) * rng.uniform(0.1, 0.4), pupil=rng.uniform(0.3, 0.5),
        iris_size=rng.uniform(0.57, 0.64),
        sclera=np.array([0.82, 0.80, 0.78]) * rng.uniform(0.8, 1.02),
        teeth=np.array([0.80, 0.77 * (0.5 + 0.5 * warm), 0.72 * warm]) * rng.uniform(0.75, 1.05),
        gums=GUMS * rng.uniform(0.6, 1.2),
        lash=np.minimum(np.asarray(traits.hair_colour) * 0.4, 0.03),
        lash_alpha=0.3 + 0.7 * traits.lashes,
        scatter=float(np.interp(traits.tone, [0, 1], [1.0, 0.55])), gloss=traits.shine,
        bump=traits.pores, hair=grow_hair(kit, neutral, traits, rng, fine),
        body=clothing.shoulders(traits, rng.uniform(0.85, 1.1), kit, neutral, fine), worn=worn,
        background=random_background(rng), seed=float(rng.random()),
    )  # fmt: skip


def random_colours(
    traits: Traits, rng: np.random.Generator, unusual: float
) -> dict[str, np.ndarray]:
    """Colours of teeth, gums and tongue, by the fields of Appearance: as people have them; for the
    share `unusual` of the people as nobody has them, the eyes' too. A network that learns from
    these has to take them from the reference and the lids have to hide them."""
    if rng.random() < unusual:
        names = ("teeth", "gums", "tongue", "iris", "iris_ring", "sclera")
        return {name: rng.random(3) * rng.uniform(0.1, 1) for name in names}
    shade = rng.beta(1.1, 1.6) * (len(ENAMEL) - 1)
    steps = np.arange(len(ENAMEL))
    teeth = np.array([np.interp(shade, steps, channel) for channel in ENAMEL.T])
    pigment = rng.random() * smoothstep(np.array(traits.tone), 0.35, 0.9)
    gums = GUMS * rng.normal(1, 0.06, 3) * (1 + pigment * (MELANIN - 1))
    coat = rng.uniform(0, 0.6) ** 2  # a pale one
    tongue = GUMS * (1.2, 1.25, 1.25) * rng.normal(1, 0.06, 3)
    tongue = tongue + coat * (0.5 - tongue)
    return {
        "teeth": teeth * rng.uniform(0.85, 1.05),
        "gums": gums * rng.uniform(0.6, 1.2),
        "tongue": tongue * rng.uniform(0.6, 1.2),
    }


def random_person(
    kit: FaceKit, painter: SkinPainter, seed: int, fine: bool = False, unusual: float = UNUSUAL
) -> Person:
    """The person number `seed`; `fine` as in make_appearance, `unusual` as in random_colours."""
    rng = np.random.default_rng([seed, 0])
    identity = rng.normal(0, 0.9, kit.identity_modes.shape[0]).astype(np.float32)
    neutral = kit.neutral(identity)
    traits = random_traits(rng)
    appearance = make_appearance(kit, painter, neutral, traits, seed, fine=fine)
    colours = random_colours(traits, np.random.default_rng([seed, 3]), unusual)
    distance = random_distance(rng)
    return Person(
        identity=identity,
        neutral=neutral,
        appearance=replace(appearance, **colours),
        light=random_light(rng),
        distance=distance,
        traits=traits,
    )


def random_distance(rng: np.random.Generator) -> float:
    """Cm from the camera, evenly on a logarithmic scale."""
    return float(np.exp(rng.uniform(*np.log(DISTANCES))))


def another_place(person: Person, rng: np.random.Generator) -> Person:
    """The same person in another light, before another background and camera."""
    appearance = replace(person.appearance, background=random_background(rng))
    distance = random_distance(rng)
    return replace(person, appearance=appearance, light=random_light(rng), distance=distance)


def random_view(rng: np.random.Generator, distance: float) -> View:
    """A head that more or less faces the camera."""
    yaw, pitch, roll = (rng.normal(0, TURN * share) for share in (1.3, 0.8, 0.5))
    return View(
        yaw=float(np.clip(yaw, -0.5, 0.5)), pitch=float(np.clip(pitch, -0.35, 0.35)),
        roll=-float(roll), distance=distance,
    )  # fmt: skip


def framed(
    view: View, kit: FaceKit, neutral: np.ndarray, rng: np.random.Generator | None = None
) -> View:
    """`view` with its crop on the face, jittered as detections are when `rng` is given."""
    x, y, side = face_square(view.plane(neutral[kit.landmarks]))
    roll = 0.0
    if rng is not None:
        x, y = np.array([x, y]) + rng.uniform(-0.04, 0.04, 2) * side
        side *= rng.uniform(0.92, 1.08)
        roll = np.radians(rng.uniform(-6, 6))
    return replace(view, crop=(float(x), float(y), float(side), float(roll)))
