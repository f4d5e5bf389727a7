"""Random people for the studio: traits, light, poses, expressions; all a function of a seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.facekit import FaceKit
from realtalk_ros.face_model.landmarks import face_square
from realtalk_ros.training.synthetic import clothing
from realtalk_ros.training.synthetic.hair import grow_hair
from realtalk_ros.training.synthetic.head_renderer import Light, Look, View, smoothstep, value_noise
from realtalk_ros.training.synthetic.skin_texture import HAIR_COLOURS, IRIS_COLOURS, Painter, Traits

HAIR_SHARES = {"bald": 0.06, "shaved": 0.10, "short": 0.20, "side": 0.20, "fringe": 0.10,
               "long": 0.07, "bob": 0.07, "curly": 0.10, "tied": 0.10}  # fmt: skip


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


def random_traits(rng: np.random.Generator) -> Traits:
    """Anybody: all of skin, hair, beards and make-up, now and then beyond the plausible."""
    tone = rng.uniform(-0.12, 1.14)
    dark_hair = rng.random() < 0.25 + 0.75 * smoothstep(0.25, 0.6, np.array(tone))
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
        circles=rng.uniform(0, 0.9), lashes=rng.uniform(0.2, 0.7),
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
        traits.strange = rng.uniform(0.2, 0.95)
    if rng.random() < 0.18:
        traits.glasses = rng.uniform(0.02, 1.0)
    if rng.random() < 0.06:
        traits.cap, traits.hair = True, "shaved"
    if rng.random() < 0.2:
        traits.freckles = rng.uniform(0.2, 1.0) * np.clip(1 - tone, 0, 1)
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
    return traits


def make_look(
    kit: FaceKit, painter: Painter, neutral: np.ndarray, traits: Traits, seed: int,
    fine: bool = True,
) -> Look:  # fmt: skip
    """Paint, comb and dress: traits to something a Studio can render.

    Without `fine` hair and clothes are only made as far as a face crop shows them.
    """
    rng = np.random.default_rng([seed, 1])
    albedo, detail = painter.paint(traits, rng)
    warm = rng.uniform(0.86, 1.0)
    worn = clothing.glasses(kit, neutral, traits.glasses, rng) if traits.glasses > 0 else []
    if traits.cap:
        worn.append(clothing.cap(kit, neutral, rng))
    return Look(
        albedo=albedo, detail=detail, iris=np.asarray(traits.iris),
        iris_ring=np.asarray(traits.iris) * rng.uniform(0.1, 0.4), pupil=rng.uniform(0.3, 0.5),
        iris_size=rng.uniform(0.57, 0.64),
        sclera=np.array([0.82, 0.80, 0.78]) * rng.uniform(0.8, 1.02),
        teeth=np.array([0.80, 0.77 * (0.5 + 0.5 * warm), 0.72 * warm]) * rng.uniform(0.75, 1.05),
        gums=np.array([0.5, 0.17, 0.16]) * rng.uniform(0.6, 1.2),
        lash=np.minimum(np.asarray(traits.hair_colour) * 0.4, 0.03),
        lash_alpha=0.3 + 0.7 * traits.lashes,
        scatter=float(np.interp(traits.tone, [0, 1], [1.0, 0.55])), gloss=traits.shine,
        bump=traits.pores, hair=grow_hair(kit, neutral, traits, rng, fine),
        body=clothing.shoulders(traits, rng.uniform(0.85, 1.1), kit, neutral, fine), worn=worn,
        background=random_background(rng), seed=float(rng.random()),
    )  # fmt: skip


# Enamel from bleached over the shades of dentists' guides to stained by tobacco, linear rgb.
ENAMEL = np.array([[0.87, 0.86, 0.84], [0.80, 0.75, 0.66], [0.66, 0.55, 0.38], [0.40, 0.29, 0.15]])
GUMS, MELANIN = np.array([0.50, 0.17, 0.16]), np.array([0.28, 0.38, 0.50])
UNUSUAL = 0.15  # share of people whose mouth and eyes have nobody's colours


def random_colours(
    traits: Traits, rng: np.random.Generator, unusual: float
) -> dict[str, np.ndarray]:
    """Of teeth, gums and tongue, as Look has them: all of mankind's; of this share of the people
    nobody's, the eyes' too. No habit tells them, only the reference, and lids must hide them."""
    if rng.random() < unusual:
        names = ("teeth", "gums", "tongue", "iris", "iris_ring", "sclera")
        return {name: rng.random(3) * rng.uniform(0.1, 1) for name in names}
    shade = rng.beta(1.1, 1.6) * (len(ENAMEL) - 1)
    steps = np.arange(len(ENAMEL))
    teeth = np.array([np.interp(shade, steps, channel) for channel in ENAMEL.T])
    pigment = rng.random() * smoothstep(0.35, 0.9, np.array(traits.tone))
    gums = GUMS * rng.normal(1, 0.06, 3) * (1 + pigment * (MELANIN - 1))
    coat = rng.uniform(0, 0.6) ** 2  # a pale one
    tongue = GUMS * (1.2, 1.25, 1.25) * rng.normal(1, 0.06, 3)
    tongue = tongue + coat * (0.5 - tongue)
    return {
        "teeth": teeth * rng.uniform(0.85, 1.05),
        "gums": gums * rng.uniform(0.6, 1.2),
        "tongue": tongue * rng.uniform(0.6, 1.2),
    }


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
    surround = None
    if rng.random() < 0.6:  # a room: some broad lamps, windows, walls
        surround = sum(
            _broad(towards(rng.uniform(-180, 180), rng.uniform(-50, 80)),
                   tinted(rng.uniform(0.1, 0.9), rng.choice([0.04, 0.15, 0.5])))
            for _ in range(rng.integers(1, 5))
        )  # fmt: skip
        colours *= rng.choice([0.1, 0.5, 1.0])
    # expose as a camera would: by what falls on a face looking at it
    facing = np.clip(directions[:, 2] * 0.7 + 0.2, 0, 1) @ colours + (sky + ground) / 2
    if surround is not None:
        ahead = np.array([0, 0, 1.0, 1.0])
        facing = facing + np.maximum(surround @ ahead @ ahead, 0)
    exposure = rng.uniform(0.75, 1.3) * 1.15 / facing.mean()
    return Light(directions, colours, sky, ground, exposure=float(exposure),
                 shadow=rng.uniform(0.3, 0.95), shadow_softness=rng.uniform(1.0, 4.0),
                 surround=surround)  # fmt: skip


def _broad(direction: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(3, 4, 4) Light.surround of a lamp as wide as the cosine: max(0, cos) up to order 2."""
    d = np.append(direction, 0.0)
    m = (15 / 32) * np.outer(d, d)
    m[:3, 3] = m[3, :3] = direction / 4
    m[3, 3] = 1 / 4 - 5 / 32
    return colour[:, None, None] * m


@dataclass
class Person:
    """One head with its look, light and camera."""

    identity: np.ndarray  # (100,)
    neutral: np.ndarray  # (V, 3)
    look: Look
    light: Light
    distance: float
    traits: Traits
    # (52,): what of the face model's expressions `neutral` is, beside the identity.
    resting: np.ndarray = field(default_factory=lambda: np.zeros(arkit.COUNT, np.float32))


def random_person(
    kit: FaceKit, painter: Painter, seed: int, fine: bool = False, unusual: float = UNUSUAL
) -> Person:
    """The person number `seed`; `fine` as in make_look, `unusual` as in random_colours."""
    rng = np.random.default_rng([seed, 0])
    identity = rng.normal(0, 0.9, kit.identity_modes.shape[0]).astype(np.float32)
    neutral = kit.neutral(identity)
    traits = random_traits(rng)
    look = make_look(kit, painter, neutral, traits, seed, fine)
    colours = random_colours(traits, np.random.default_rng([seed, 3]), unusual)
    look = replace(look, **colours)
    distance = float(np.exp(rng.uniform(np.log(45), np.log(130))))
    return Person(identity, neutral, look, random_light(rng), distance, traits)


def another_place(person: Person, rng: np.random.Generator) -> Person:
    """The same person in another light, before another background and camera."""
    look = replace(person.look, background=random_background(rng))
    distance = float(np.exp(rng.uniform(np.log(45), np.log(130))))
    return replace(person, look=look, light=random_light(rng), distance=distance)


def random_view(rng: np.random.Generator, distance: float, spread: float = 0.12) -> View:
    """A head that more or less faces the camera; `spread` is the yaw's sd in rad."""
    return View(
        yaw=float(np.clip(rng.normal(0, spread * 1.3), -0.5, 0.5)),
        pitch=float(np.clip(rng.normal(0, spread * 0.8), -0.35, 0.35)),
        roll=float(rng.normal(0, spread * 0.5)), distance=distance,
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


# -- expressions --------------------------------------------------------------------------------

# Mouth poses of speech, roughly by viseme; each is scaled and mixed.
MOUTH_POSES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.55, "mouthLowerDown": 0.15, "mouthUpperUp": 0.10},  # aa
    {"jawOpen": 0.28, "mouthStretch": 0.25, "mouthLowerDown": 0.25, "mouthUpperUp": 0.12},  # eh
    {"jawOpen": 0.12, "mouthSmile": 0.25, "mouthStretch": 0.35, "mouthLowerDown": 0.30,
     "mouthUpperUp": 0.18},  # iy
    {"jawOpen": 0.30, "mouthFunnel": 0.55, "mouthPucker": 0.25},  # oh
    {"jawOpen": 0.10, "mouthPucker": 0.75, "mouthFunnel": 0.30},  # oo
    {"mouthPress": 0.35, "mouthRollLower": 0.25, "mouthRollUpper": 0.25},  # p b m
    {"jawOpen": 0.22, "mouthClose": 0.22, "mouthPress": 0.25, "mouthRollLower": 0.1,
     "mouthRollUpper": 0.1},
    {"jawOpen": 0.08, "mouthRollLower": 0.45, "mouthUpperUp": 0.30, "mouthLowerDown": 0.05},  # f v
    {"jawOpen": 0.06, "mouthFunnel": 0.55, "mouthLowerDown": 0.25, "mouthUpperUp": 0.25},  # sh ch
    {"jawOpen": 0.06, "mouthStretch": 0.25, "mouthLowerDown": 0.35, "mouthUpperUp": 0.20,
     "mouthSmile": 0.10},  # s z
    {"jawOpen": 0.18, "mouthLowerDown": 0.20, "mouthUpperUp": 0.15},  # t d n l
    {"jawOpen": 0.15, "mouthFunnel": 0.30, "mouthPucker": 0.20},  # r w
    {"mouthSmile": 0.7, "cheekSquint": 0.4, "mouthUpperUp": 0.2, "mouthLowerDown": 0.15},
    {"mouthSmile": 0.6, "mouthDimple": 0.3},
    {"mouthFrown": 0.6, "mouthShrugLower": 0.4},
    {"jawOpen": 0.9},
)  # fmt: skip


def _put(weights: np.ndarray, name: str, value: float, lean: float = 0.0) -> None:
    """Add to `name`, or to both its sides, the left by 1 + lean and the right by 1 - lean."""
    if name in arkit.INDEX:
        weights[arkit.INDEX[name]] += value
    else:
        weights[arkit.INDEX[name + "Left"]] += value * (1 + lean)
        weights[arkit.INDEX[name + "Right"]] += value * (1 - lean)


def random_mouth(weights: np.ndarray, rng: np.random.Generator) -> None:
    """Add one speech-like mouth, now and then a mixture of two on the way between them."""
    lean = rng.normal(0, 0.12)
    first, second = rng.integers(0, len(MOUTH_POSES), 2)
    mix = rng.random() * 0.6 if rng.random() < 0.5 else 0.0
    for pose, share in ((MOUTH_POSES[first], 1 - mix), (MOUTH_POSES[second], mix)):
        scale = share * rng.uniform(0.35, 1.5)
        for name, value in pose.items():
            _put(weights, name, value * scale * rng.uniform(0.75, 1.25), lean)


def random_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,) float32 weights: speech-like mouths, blinks, gaze, brows, and sparse anything."""
    weights = np.zeros(arkit.COUNT, np.float32)
    if rng.random() < 0.88:
        random_mouth(weights, rng)
    if rng.random() < 0.35:
        for name in rng.choice(("mouthLeft", "mouthRight", "jawLeft", "jawRight", "jawForward",
                                "mouthRollLower", "mouthRollUpper", "mouthShrugUpper",
                                "mouthShrugLower", "cheekPuff", "mouthDimple", "mouthPress",
                                "mouthClose", "noseSneer"), 2, replace=False):  # fmt: skip
            _put(weights, str(name), rng.uniform(0, 0.5))
    blink = rng.random()
    if blink < 0.28:  # any stage of a blink
        _put(weights, "eyeBlink", rng.uniform(0.1, 1.0), rng.normal(0, 0.04))
    elif blink < 0.36:
        _put(weights, "eyeWide", rng.uniform(0.2, 0.9))
    elif blink < 0.48:
        _put(weights, "eyeSquint", rng.uniform(0.2, 0.9))
    if rng.random() < 0.5:
        look_x, look_y = rng.normal(0, 0.3, 2)
        _gaze(weights, look_x, look_y * 0.7)
    if rng.random() < 0.45:
        for name in rng.choice(
            ("browDown", "browInnerUp", "browOuterUp"), rng.integers(1, 3), replace=False
        ):
            _put(weights, str(name), rng.uniform(0.1, 1.0), rng.normal(0, 0.15))
    if rng.random() < 0.15:  # anything at all
        for i in rng.integers(0, arkit.COUNT, 3):
            weights[i] += rng.uniform(0, 0.8)
    weights[arkit.INDEX["tongueOut"]] = 0.0
    if rng.random() < 0.06:  # through an open mouth
        weights[arkit.INDEX["tongueOut"]] = rng.uniform(0.1, 1.0)
        weights[arkit.INDEX["jawOpen"]] = max(
            weights[arkit.INDEX["jawOpen"]], 0.35 * weights[arkit.INDEX["tongueOut"]] + 0.05
        )
        weights[arkit.INDEX["mouthClose"]] = 0.0
    close = arkit.INDEX["mouthClose"]
    weights[close] = min(weights[close], weights[arkit.INDEX["jawOpen"]] + 0.05)
    return np.clip(weights, 0, 1)


def _gaze(weights: np.ndarray, x: float, y: float) -> None:
    """Both eyes to x (to the subject's left) and y (up), in units of the eyeLook weights."""
    for name, value in (("eyeLookOutLeft", x), ("eyeLookInRight", x), ("eyeLookInLeft", -x),
                        ("eyeLookOutRight", -x), ("eyeLookUpLeft", y), ("eyeLookUpRight", y),
                        ("eyeLookDownLeft", -y), ("eyeLookDownRight", -y)):  # fmt: skip
        weights[arkit.INDEX[name]] += max(value, 0.0)


def neutral_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,): a face at rest, eyes open; what template frames show."""
    weights = np.zeros(arkit.COUNT, np.float32)
    _gaze(weights, rng.normal(0, 0.05), rng.normal(0, 0.04))
    _put(weights, "mouthSmile", abs(rng.normal(0, 0.06)))
    _put(weights, "eyeBlink", abs(rng.normal(0, 0.03)))
    weights[arkit.INDEX["jawOpen"]] = abs(rng.normal(0, 0.02))
    return np.clip(weights, 0, 1)


def toothy_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,): lips apart enough to show teeth."""
    weights = neutral_expression(rng)
    for name, low, high in (("jawOpen", 0.08, 0.4), ("mouthLowerDown", 0.15, 0.5),
                            ("mouthUpperUp", 0.2, 0.6), ("mouthSmile", 0.0, 0.6)):  # fmt: skip
        _put(weights, name, rng.uniform(low, high))
    return np.clip(weights, 0, 1)
