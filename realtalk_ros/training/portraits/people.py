# SPDX-License-Identifier: Apache-2.0
"""The sitters of `realtalk data portraits`: none of them exists.

An identity starts from averages of four photographed people each (DeBruine & Jones 2016, CC BY 4.0,
https://doi.org/10.6084/m9.figshare.4055130.v1), enrolled by `realtalk enroll`, mixed and
exaggerated: nobody's face. Those of the robot and of the drawing are the face model's nearest to
landmarks of its mean that were moved by hand: larger eyes, a smaller nose, a narrower jaw.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from realtalk_ros.face_model import arkit

PERSON, ROBOT, DRAWING = "person", "robot", "drawing"  # kinds of sitters
TEXTURED = (
    "Textures of skin, iris and the eyes' white: CharMorph's Reom by ComplexAce and Hope (CC BY), "
    "adapted. Proportions: from averages of faces by DeBruine and Jones (CC BY 4.0)."
)
# By kind: what is said of it, its licence, how it was made.
META = {
    PERSON: (
        "A synthetic person; nobody real.",
        "Apache-2.0; the textures of its skin and eyes CC BY, see provenance",
        "Path-traced by `realtalk data portraits` with Blender from USC ICT's ICT-FaceKit (MIT). "
        + TEXTURED,
    ),
    ROBOT: (
        "No machine that exists.",
        "Apache-2.0",
        "Path-traced by `realtalk data portraits` with Blender from USC ICT's ICT-FaceKit (MIT).",
    ),
    DRAWING: (
        "Nobody real.",
        "Apache-2.0",
        "Drawn by `realtalk data portraits` over USC ICT's ICT-FaceKit (MIT).",
    ),
}
# Garments: a fine jumper with a round neckline; one with a V over a shirt; a sweatshirt; a jacket
# without lapels over a round-necked top.
ROUND, SHIRT, SWEATSHIRT, JACKET = "round", "shirt", "sweatshirt", "jacket"


@dataclass(frozen=True)
class Hair:
    """A hairstyle, in cm on the face model's head."""

    style: str = "shoulder"  # or "cropped", "combed", "waved"
    melanin: float = 0.70  # of Blender's hair shader, 0 white .. 1 black
    redness: float = 0.20
    grey: bool = False  # white hairs among dark ones; melanin says how dark those are
    part: float = 2.0  # x of the parting
    cut: float = -11.6  # y where hair to the shoulders ends
    layered: float = 3.0  # cm by which the uppermost hair is cut shorter
    length: float = 0.9  # of cropped hair, and of combed and waved one at the crown
    temples: float = 0.0  # share of white hairs at the temples, of combed hair; of waved all over
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors of the white of grey hair
    volume: float = 1.1
    wave: float = 0.35
    hairline: float = 0.0  # lower on the forehead than hairline.py's, cm
    strands: int = 60000


@dataclass(frozen=True)
class Sitter:
    """What decides a portrait. Colours are sRGB of 255; amounts 0..1."""

    name: str
    description: str
    identity: np.ndarray  # (100,)
    resting: np.ndarray  # (52,) ARKit weights of the face at rest
    temperament: dict[str, float]  # section of the avatar.yaml: avatar/temperament.py
    seed: int = 1
    skin: tuple[int, int, int] = (226, 178, 153)
    dark: bool = False  # of the two photographed skins
    mottle: float = 0.65
    blush: float = 0.38
    throat: float = 1.0  # of what the photographed skin has below the chin, where it is stretched
    even: float = 0.0  # of the skin beside and below the nose, and of its gloss
    even_lids: float = 0.0  # of the skin between lashes and brows
    age: float = 0.0  # of wrinkles, spots and folds
    lines: float = 1.0  # factor of the wrinkles that age brings
    old: float = 0.0  # of what great age adds: old_age.py
    mature: float = 0.0  # of a man's lines and pores of some fifty years: middle_age.py
    stubble: float = 0.0  # of the shadow of a shaved beard
    lips: tuple[int, int, int] = (190, 98, 98)
    lip_strength: float = 0.75
    thin_lips: float = 0.0  # share of the red's height that is the skin's colour
    eyeliner: float = 0.5
    beard: float = 0.0  # cm
    brow_shade: tuple[int, int, int] = (120, 84, 66)
    brow_density: float = 1.0
    brow_thickness: float = 0.82  # cm
    brow_darker: float = -0.03  # than the hair, of its melanin
    brow_soft: float = 0.0  # by how much brows thin out to their heads and borders
    brow_tail: float = 0.0  # by how much their tails run on straight instead of down, and taper
    iris: tuple[float, float, float] = (1.2, 1.15, 1.0)  # factors of the photographed brown iris
    pupil: float = 0.36  # of the iris's radius
    eye_white: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors of the eye's white
    # Enamel in full light, of the avatar.yaml; None: as the path-traced references show it.
    teeth: tuple[int, int, int] | None = None
    lid_shade: float = 0.0  # of the lids on the eyeball, beyond the light's own
    lashes: float = 0.68
    lash_darker: float = 0.30  # than the hair, of its melanin
    lash_spread: float = 1.0  # factor of how lashes differ in place and direction
    hair: Hair = field(default_factory=Hair)
    garment: str = ROUND
    cloth: tuple[int, int, int] = (38, 84, 92)
    linen: tuple[int, int, int] = (206, 214, 226)  # of a shirt, or of what is below a jacket
    exposure: float = -1.7  # stops
    fill: float = 1.0  # factor of the light that softens shadows
    reflector: float = 1.0  # and of the light from below
    hair_light: float = 0.0  # strength of one that only hair catches
    contrast: float = 0.22  # 0..1 of the film
    slim_neck: float = 0.10  # share by which the model's neck, neither man's nor woman's, narrows
    broad: float = 0.80  # factor of the shoulders' width
    pearls: bool = False  # a string of them around the neck
    # Or ROBOT (robot.py) or DRAWING (drawn.py): these look at identity, resting and backdrop, a
    # robot also at broad, exposure and contrast.
    kind: str = PERSON
    backdrop: tuple[tuple[int, int, int], tuple[int, int, int]] = ((172, 180, 184), (92, 102, 110))


def identity(hundredths: str) -> np.ndarray:
    """(100,) float32 of hundredths of standard deviations."""
    return np.array(hundredths.split(), np.float32) / 100


MIRA = Sitter(
    name="mira",
    description="A woman in her thirties with brown hair to her neck, in a jacket.",
    identity=identity(
        "153 -27 -56 -187 33 -4 122 -23 -51 14 26 -7 125 -53 -49 -46 31 -32 -53 121 "
        "-13 -18 -98 -110 38 4 -28 20 -1 -42 -7 -122 41 -4 -10 -31 6 0 51 7 "
        "-67 -97 25 8 -31 12 -88 39 -40 0 46 -1 16 0 12 -12 51 83 -11 -26 "
        "-14 72 -69 16 -44 12 0 -1 71 30 11 -3 -40 7 -33 50 0 5 58 -83 "
        "-5 -94 101 -3 53 -8 -29 25 22 -5 -55 9 24 12 -38 6 54 -9 19 28 "
    ),
    resting=arkit.weights(mouthSmile=0.30, mouthDimple=0.08, cheekSquint=0.25, eyeSquint=0.14,
                          eyeBlink=0.06, mouthClose=0.03),
    age=0.40, lines=0.7, old=0.22, mottle=0.85, blush=0.28, even=0.6, even_lids=0.8,
    lips=(184, 90, 92), lip_strength=0.75, eyeliner=0.5, brow_density=1.25, brow_thickness=0.72,
    brow_soft=0.5, brow_tail=0.45, eye_white=(0.94, 0.92, 0.90), lid_shade=0.4, lashes=0.58,
    lash_darker=0.5, lash_spread=0.4, brow_darker=0.06, throat=0.0, slim_neck=0.17,
    reflector=2.5, hair_light=0.3, teeth=(252, 240, 226),
    hair=Hair(melanin=0.64, redness=0.16, cut=-9.4, layered=1.6, volume=1.05, wave=0.6),
    garment=JACKET, cloth=(44, 54, 74), linen=(226, 220, 210),
    temperament={"blink_rate": 18, "fixation": 1.6, "saccade_size": 0.09, "breath_rate": 15,
                 "head_motion": 1.1, "head_tempo": 1.1, "brow_motion": 2.4, "cheek_motion": 0.7,
                 "listening_smile": 0.18, "listening_tilt": -0.05},
)  # fmt: skip
SAMUEL = Sitter(
    name="samuel",
    description="A man in his twenties with dark skin, cropped hair and a short beard.",
    identity=identity(
        "4 5 -118 29 -18 -81 20 8 -93 -8 0 36 101 9 -58 -16 -53 89 105 63 "
        "43 -14 -42 -40 32 -6 -43 7 -21 -29 -48 50 -13 -30 -34 -68 19 -3 -9 -15 "
        "-3 -14 56 2 -68 24 -16 2 -38 -28 1 -4 28 0 4 0 0 -16 -14 -14 "
        "-26 43 -25 -5 -29 4 1 -21 23 2 39 2 -18 -6 -27 12 4 -18 -4 1 "
        "-10 -38 32 2 -7 2 -19 20 15 -5 -10 20 1 8 6 12 5 -3 1 -5 "
    ),
    resting=arkit.weights(mouthSmile=0.26, mouthDimple=0.06, cheekSquint=0.18, eyeSquint=0.08,
                          eyeBlink=0.05, mouthClose=0.03),
    seed=2, dark=True, skin=(128, 84, 62), mottle=0.9, blush=0.15, even=0.9, lips=(128, 74, 70),
    lip_strength=0.55, eyeliner=0.15, beard=0.35, brow_shade=(38, 24, 18), brow_density=1.6,
    brow_thickness=1.15, brow_soft=0.75, iris=(0.58, 0.46, 0.36), eye_white=(0.53, 0.48, 0.44),
    lid_shade=0.7, lashes=0.50, slim_neck=0.0,
    hair=Hair(style="cropped", melanin=1.0, redness=0.3, length=0.8, wave=1.0,
              strands=70000),
    garment=SWEATSHIRT, cloth=(66, 69, 57), exposure=-0.75, broad=1.0,
    backdrop=((150, 158, 160), (78, 86, 92)),
    temperament={"blink_rate": 16, "fixation": 2.2, "saccade_size": 0.08, "breath_rate": 13,
                 "head_tempo": 0.9, "brow_motion": 2.0, "cheek_motion": 0.6,
                 "listening_smile": 0.16},
)  # fmt: skip
INES = Sitter(
    name="ines",
    description="A woman in her seventies with short white hair and pearls.",
    identity=identity(
        "141 -2 -23 -89 24 67 113 42 -36 31 -78 82 101 -162 -33 -128 -48 -56 -21 185 "
        "-8 22 -212 -160 72 8 40 212 3 135 230 -170 15 1 45 -187 -93 6 136 -100 "
        "-138 -104 76 7 117 4 -230 113 70 177 127 -2 101 9 115 -93 90 205 -10 34 "
        "-22 -77 42 78 52 9 230 0 19 86 -41 0 93 10 -5 176 5 230 -62 -230 "
        "-8 -115 218 -5 230 -7 -101 -14 141 1 -55 8 -38 15 82 5 -97 -13 -125 230 "
    ),
    resting=arkit.weights(mouthSmile=0.28, mouthDimple=0.07, cheekSquint=0.22, eyeSquint=0.18,
                          eyeBlink=0.13, browOuterUp=0.2, mouthClose=0.01, mouthRollUpper=0.12,
                          mouthRollLower=0.12),
    teeth=(242, 222, 198),
    seed=5, age=0.9, old=0.85, skin=(220, 180, 161), mottle=0.9, blush=0.22, even=0.5,
    even_lids=0.6, throat=0.0, lips=(188, 106, 102), lip_strength=0.66, thin_lips=0.25,
    eyeliner=0.18, brow_shade=(186, 160, 144), brow_density=1.2, brow_thickness=0.74,
    brow_darker=0.1, brow_soft=0.65, iris=(1.15, 2.3, 5.6), pupil=0.31,
    eye_white=(0.90, 0.86, 0.80), lid_shade=0.4, lashes=0.58, lash_spread=0.5,
    hair=Hair(style="waved", melanin=0.55, grey=True, temples=0.82, tint=(1.03, 1.0, 0.95),
              part=-2.4, length=8.0, volume=2.65, wave=1.25, hairline=0.4, strands=60000),
    garment=ROUND, pearls=True, cloth=(138, 84, 108), broad=0.9, slim_neck=0.13, fill=1.8,
    backdrop=((188, 182, 170), (104, 98, 90)),
    temperament={"blink_rate": 13, "fixation": 2.8, "saccade_size": 0.06, "breath_rate": 12,
                 "breath_depth": 1.3, "head_motion": 0.8, "head_tempo": 0.65, "brow_motion": 1.6,
                 "cheek_motion": 0.5, "listening_smile": 0.2, "listening_tilt": 0.03},
)  # fmt: skip
KENJI = Sitter(
    name="kenji",
    description="A man in his fifties with black hair, grey at the temples, in shirt and jumper.",
    identity=identity(
        "24 -5 9 -124 39 -32 -12 9 10 98 -127 106 149 32 -8 -40 -23 1 5 119 "
        "8 16 -21 -4 -7 3 57 30 -3 -68 -22 6 -28 -31 -49 3 48 29 11 30 "
        "-66 5 22 -5 -73 -21 5 1 28 57 -20 -21 43 -2 -25 19 21 -14 4 -57 "
        "-11 10 -25 -57 -35 -5 29 -13 3 26 15 4 -45 9 -19 -8 15 -8 37 -17 "
        "-1 -8 29 8 20 20 8 -2 5 14 -3 4 -9 -17 13 -5 1 3 -26 -17 "
    ),
    resting=arkit.weights(mouthSmile=0.25, mouthDimple=0.08, cheekSquint=0.24, eyeSquint=0.16,
                          mouthClose=0.03),
    teeth=(242, 228, 208),
    seed=7, age=0.8, lines=0.62, old=0.45, mature=1.4, stubble=0.85, skin=(208, 162, 134),
    mottle=0.75, blush=0.14, lips=(156, 102, 94), lip_strength=0.5, eyeliner=0.12,
    brow_shade=(94, 74, 64), brow_density=1.3, brow_thickness=1.0, brow_darker=-0.02,
    brow_soft=0.35, brow_tail=0.7,
    iris=(0.8, 0.68, 0.55), lashes=0.5, slim_neck=0.08, throat=0.0,
    hair=Hair(style="combed", melanin=0.98, length=3.6, volume=1.3, part=2.6, temples=0.8,
              wave=0.8, strands=60000),
    garment=SHIRT, cloth=(56, 64, 80), exposure=-1.6, broad=1.0,
    temperament={"blink_rate": 15, "fixation": 2.4, "saccade_size": 0.07, "breath_rate": 13,
                 "head_tempo": 0.85, "brow_motion": 1.7, "cheek_motion": 0.7,
                 "listening_smile": 0.2},
)  # fmt: skip
ANDROID = Sitter(
    name="android",
    description="A robot with a white face plate, a dark visor with lit eyes, and no hair.",
    identity=identity(
        "41 81 -49 -124 26 114 69 13 -12 -1 129 -105 -112 -97 -93 36 17 -121 -40 42 "
        "0 -28 70 -17 155 0 -38 -50 0 -35 63 68 1 0 54 19 25 -1 -5 36 "
        "68 -29 51 0 45 -1 -85 -7 -66 -41 80 -1 2 1 96 -124 -28 -28 -1 -18 "
        "-1 61 -37 53 26 0 -4 1 4 45 -38 0 43 0 5 36 -1 -15 -12 -47 "
        "0 -21 2 0 46 -1 -37 -7 43 0 -17 -1 21 -1 17 0 51 0 27 49 "
    ),
    resting=arkit.weights(mouthSmile=0.50, mouthDimple=0.08, cheekSquint=0.05,
                          browOuterUp=0.1, jawOpen=0.035),
    teeth=(11, 15, 18),  # it has none: as dark as the inside of its mouth
    seed=3, kind=ROBOT, exposure=-1.65, contrast=0.25, broad=0.92,
    backdrop=((112, 132, 148), (36, 46, 56)),
    temperament={"blink_rate": 8, "fixation": 3.5, "saccade_size": 0.05, "regularity": 1,
                 "breath_depth": 0, "head_motion": 0.7, "head_tempo": 0.6, "brow_motion": 1.2,
                 "listening_smile": 0.14, "listening_tilt": 0.06},
)  # fmt: skip
PIA = Sitter(
    name="pia",
    description="A drawn young woman with red hair to her chin, in flat colours.",
    identity=identity(
        "64 67 -82 -178 53 203 69 -67 11 -2 294 -181 -126 -145 -248 56 -20 -275 -139 170 "
        "1 -94 180 -29 349 2 -21 -219 1 -2 86 40 -161 0 108 -88 169 -3 50 -105 "
        "242 -230 210 -2 182 -3 -254 -15 -175 -81 27 -1 -142 3 288 -225 -43 -249 0 0 "
        "-2 135 -89 148 99 -3 96 3 133 49 -134 1 155 1 139 27 -2 62 -65 -216 "
        "-1 19 -36 0 89 -3 -42 84 104 0 -24 -4 57 -4 110 2 126 0 184 156 "
    ),
    resting=arkit.weights(mouthSmile=0.27, cheekSquint=0.25,
                          eyeSquint=0.35,
                          browOuterUp=0.1, jawOpen=0.035),
    kind=DRAWING, backdrop=((206, 232, 226), (168, 208, 204)),
    temperament={"blink_rate": 20, "fixation": 1.2, "saccade_size": 0.1, "breath_rate": 17,
                 "head_motion": 1.3, "head_tempo": 1.4, "brow_motion": 3.0, "cheek_motion": 0.8,
                 "listening_smile": 0.22, "listening_tilt": 0.08},
)  # fmt: skip
PEOPLE = {sitter.name: sitter for sitter in (MIRA, SAMUEL, INES, KENJI, ANDROID, PIA)}
