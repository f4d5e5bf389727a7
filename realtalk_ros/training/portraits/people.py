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

    style: str = "shoulder"  # of hair_styles.STYLES
    melanin: float = 0.72  # of Blender's hair shader, 0 white .. 1 black
    redness: float = 0.45
    part: float = 2.2  # x of the parting
    cut: float = -13.0  # y where it ends
    volume: float = 1.2
    wave: float = 0.35
    hairline: float = 0.7  # lower on the forehead than the model's
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
    mottle: float = 0.8
    blush: float = 0.5
    freckles: float = 0.0
    lips: tuple[int, int, int] = (190, 98, 98)
    lip_strength: float = 0.75
    eyeliner: float = 0.5
    brow_shade: tuple[int, int, int] = (120, 84, 66)
    brow_density: float = 0.8
    brow_thickness: float = 0.42  # cm
    iris: tuple[float, float, float] = (1.6, 1.5, 1.3)  # factors of the photographed brown iris
    pupil: float = 0.36  # of the iris's radius
    lashes: float = 1.0
    hair: Hair = field(default_factory=Hair)
    cloth: tuple[int, int, int] = (38, 84, 92)
    exposure: float = 0.0  # stops
    contrast: float = 0.25  # 0..1 of the film
    broad: float = 0.86  # factor of the shoulders' width
    backdrop: tuple[tuple[int, int, int], tuple[int, int, int]] = ((172, 180, 184), (92, 102, 110))


def identity(*hundredths: int) -> np.ndarray:
    """(100,) float32 standard deviations."""
    return np.array(hundredths, np.float32) / 100


MIRA = Sitter(
    name="mira",
    description="A woman of about 35 with brown hair to her shoulders.",
    identity=identity(
        171, -18, -22, 17, 48, 22, -29, -17, -8, 23, 4, 113, 136, 105, -51, 15, 87, -43, -21, 83,
        11, -43, -10, 31, -51, -9, -56, 35, 6, -54, -38, -40, -33, -23, 90, 8, 6, 13, 40, -57,
        -19, -59, 84, 0, -37, -2, -45, -47, -9, -16, -57, 3, 16, -2, -3, 21, -7, 30, 4, -33,
        -4, 22, -60, 7, -7, 9, 33, -11, 2, -6, 8, -6, -28, -1, -35, 14, 1, -31, 33, 39,
        -7, -15, 12, 10, 66, -6, 4, 1, -1, 2, -14, 10, -16, 1, -14, 4, 39, -5, 36, 8,
    ),
    resting=weights_of(mouthSmile=0.30, mouthDimple=0.08, cheekSquint=0.22, eyeSquint=0.10,
                       mouthClose=0.02),
)  # fmt: skip
PEOPLE = {sitter.name: sitter for sitter in (MIRA,)}
