# SPDX-License-Identifier: Apache-2.0
"""The sitters of `realtalk data portraits`: none of them exists.

An identity starts from averages of four photographed people each (DeBruine & Jones 2016, CC BY 4.0,
https://doi.org/10.6084/m9.figshare.4055130.v1), enrolled by `realtalk enroll`, mixed and
exaggerated: nobody's face.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from realtalk_ros.training.synthetic.bundled_people import weights_of


@dataclass(frozen=True)
class Hair:
    """A hairstyle, in cm on the face model's head."""

    style: str = "shoulder"  # or "cropped"
    melanin: float = 0.72  # of Blender's hair shader, 0 white .. 1 black
    redness: float = 0.45
    part: float = 2.0  # x of the parting
    cut: float = -13.0  # y where hair to the shoulders ends
    length: float = 0.9  # of cropped hair
    volume: float = 1.1
    wave: float = 0.35
    hairline: float = -0.3  # lower on the forehead than the model's
    strands: int = 60000


@dataclass(frozen=True)
class Sitter:
    """What decides a portrait. Colours are sRGB of 255; amounts 0..1."""

    name: str
    description: str
    identity: np.ndarray  # (100,)
    resting: np.ndarray  # (52,) ARKit weights of the face at rest
    seed: int = 1
    skin: tuple[int, int, int] = (226, 178, 153)
    dark: bool = False  # of the two photographed skins
    mottle: float = 0.65
    blush: float = 0.38
    freckles: float = 0.0
    lips: tuple[int, int, int] = (190, 98, 98)
    lip_strength: float = 0.75
    eyeliner: float = 0.5
    beard: float = 0.0  # cm
    brow_shade: tuple[int, int, int] = (120, 84, 66)
    brow_density: float = 1.0
    brow_thickness: float = 0.82  # cm
    iris: tuple[float, float, float] = (1.2, 1.15, 1.0)  # factors of the photographed brown iris
    pupil: float = 0.36  # of the iris's radius
    lashes: float = 0.88
    hair: Hair = field(default_factory=Hair)
    cloth: tuple[int, int, int] = (38, 84, 92)
    exposure: float = -1.7  # stops
    contrast: float = 0.22  # 0..1 of the film
    slim_neck: float = 0.10  # share by which the model's neck, neither man's nor woman's, narrows
    broad: float = 0.80  # factor of the shoulders' width
    backdrop: tuple[tuple[int, int, int], tuple[int, int, int]] = ((172, 180, 184), (92, 102, 110))


def identity(hundredths: str) -> np.ndarray:
    """(100,) float32 of hundredths of standard deviations."""
    return np.array(hundredths.split(), np.float32) / 100


MIRA = Sitter(
    name="mira",
    description="A woman of about 35 with brown hair to her shoulders.",
    identity=identity(
        "143 -31 -50 -75 48 8 48 30 -14 25 26 71 147 53 -61 -2 81 -25 -20 97 "
        "16 -22 -48 -1 -39 -7 -46 11 2 -54 -51 -57 -15 -25 48 22 13 14 44 -31 "
        "-50 -62 68 0 -23 -3 -40 -27 -17 -16 -37 2 4 -3 0 14 5 34 2 -33 "
        "-4 27 -50 1 -18 7 23 -11 22 -4 5 -5 -23 -1 -35 9 3 -27 43 14 "
        "-7 -26 29 10 55 -3 -2 25 2 2 -17 12 -3 0 -15 6 37 -5 33 4 "
    ),
    resting=weights_of(mouthSmile=0.30, mouthDimple=0.08, cheekSquint=0.22, eyeSquint=0.10,
                       eyeBlink=0.12, mouthClose=0.03),
)  # fmt: skip
SAMUEL = Sitter(
    name="samuel",
    description="A man of about 40 with dark skin, cropped hair and a short beard.",
    identity=identity(
        "2 9 -119 22 -36 -64 8 -2 -90 -8 6 7 61 19 -75 -1 -70 69 79 48 "
        "43 -3 -29 -27 30 -6 -28 -21 -21 -13 -33 62 -20 -30 -42 -38 21 -3 -3 -25 "
        "-13 -3 46 2 -45 24 2 18 -58 -24 5 -4 1 0 16 2 -13 -16 -14 -19 "
        "-26 29 -13 -15 -29 4 -4 -21 23 9 38 2 -9 -6 -27 -4 4 -15 -8 -16 "
        "-10 -27 27 2 -15 2 -11 25 6 -5 -6 20 12 8 11 12 5 -3 4 -7 "
    ),
    resting=weights_of(mouthSmile=0.26, mouthDimple=0.06, cheekSquint=0.18, eyeSquint=0.10,
                       eyeBlink=0.12, mouthClose=0.03),
    seed=2, dark=True, skin=(128, 84, 62), mottle=0.9, blush=0.15, lips=(128, 74, 70),
    lip_strength=0.55, eyeliner=0.15, beard=0.35, brow_shade=(40, 28, 22), brow_density=1.0,
    brow_thickness=0.55, iris=(0.75, 0.62, 0.5), lashes=0.62, slim_neck=0.0,
    hair=Hair(style="cropped", melanin=0.98, redness=0.3, length=0.8, wave=1.0, hairline=0.0,
              strands=70000),
    cloth=(64, 58, 60), exposure=-1.2, broad=1.0,
    backdrop=((150, 158, 160), (78, 86, 92)),
)  # fmt: skip
PEOPLE = {sitter.name: sitter for sitter in (MIRA, SAMUEL)}
