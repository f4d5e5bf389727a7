# SPDX-License-Identifier: Apache-2.0
"""By what the generator's mouths are multiplied, to be lit as people's are (oral_cavity.py).

The tables are made once, when an avatar is loaded. What people's mouths look like was measured in
films and photographs, or set by eye, as the constants say.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.contracts import MOUTH_CROP
from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.mouth.tooth_relief import MEET

GUMS = 112  # level of the map's third channel from which a pixel is gums
# The factors of flesh: from the upper (0) to the lower (1) inner lip, and from one corner of the
# opening to the other. Before them are those of gums, from the lip's shadow into full light.
ROWS, COLUMNS, GUM_ROWS = 64, 65, 16

# A machine's flesh, by height: as the median of 170 frames of 14 people who speak or shout (films
# of other projects, GRID), in shares of the cheeks' lightness.
HEIGHT = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], np.float32)
HEIGHT_LIGHT = np.array([0.7, 0.8, 0.9, 1.05, 1.2, 1.35, 1.35, 1.2, 0.8], np.float32)

# People's. In 380 frames of 24 films of people flesh is, in shares of the cheeks' lightness, 0.2
# from a fifth to half of the opening's height, redder than their skin (red over green 2.5 times
# theirs), then lighter down to 0.5 at four fifths; between the corners it is even. The generator
# draws 0.28 everywhere. Furrow, gloss and the shadow of the lower lip are by eye.
BEHIND, FRONT, SHADOW = 1.0, 1.9, 1.2
RED = 0.84, 0.81, 1.02  # of what is behind: blue, green, red
PINK = 1.05, 1, 1  # of the tongue's front
# The height at which the tongue begins in the middle, how much lower it does in the corners, and
# over which it gets light.
BEGIN, ARCH, RISE = 0.36, 0.8, 0.24
FURROW, GLOSS = 0.16, 0.14
# Gums: where 11 smiles of the London set show them, none held out, they have 0.63 of the enamel's
# blue, 0.59 of its green, 0.75 of its red (standard deviation 0.08), in the shade of the lip. Most
# are points between two teeth, so the values are mixed with theirs, and gums are taken to be
# redder. By eye: the exponent by which those over darker skin than LIGHT_SKIN follow it; where
# flesh is known, the share by which they take its hue; how light they are under the lip, and by how
# much of its shadow they are darker between two roots.
GUMS_OVER_ENAMEL, GUMS_IN_DARK_SKIN, FLESH_IN_GUMS = (0.66, 0.65, 0.88), 0.15, 0.5
GUMS_UNDER_LIP, BETWEEN_ROOTS = 0.8, 0.5
# Flesh that no picture shows, over enamel: tongues of 12 people in films have 1.06 of its blue over
# green and 1.3 of its red over green (a quarter of them 1.75).
FLESH_OVER_ENAMEL = 1.04, 1, 1.5
# The shares by which enamel that is too green, enamel that is too blue, and all flesh take the hue
# that they are to have, instead of the drawn one. Enamel that is redder or yellower stays so.
TOO_GREEN, TOO_BLUE, FLESH_HUE = 0.75, 0.3, 0.6
LUMA = np.array([0.114, 0.587, 0.299])  # of blue, green, red (ITU-R BT.601)
# The usual flesh (training/renderer/mouth_colours.py), of skin that is at least so light. The
# bundled people's references were path-traced: theirs is darker than in photographs, and is made
# lighter, at most so much.
USUAL_FLESH, LIGHT_SKIN, LIGHTEST = np.array([0.33, 0.34, 0.51], np.float32), 0.6, 1.6

# Enamel by the distance from the middle, cm: the upper teeth of 45 smiles of the Face Research Lab
# London Set, in shares of the incisors' light, over the drawn ones. Canines are yellower, and the
# corners darker than UPPER_SHADE_WIDTH has them.
ASIDE = (0.0, 1.0, 1.4, 1.8, 2.2, 2.6)
ASIDE_LIGHT = ((1, 0.985, 0.97, 0.93, 0.81, 0.74), (1, 0.99, 0.99, 0.96, 0.83, 0.75),
               (1, 1, 1.02, 1.01, 0.9, 0.84))  # fmt: skip
# The front teeth of a drawn smile: what is this share of the lightest enamel in the map or more; at
# least so many pixels. The factors that are believed, of enamel and of gums.
IN_FULL_LIGHT, FEWEST, FACTORS, GUM_FACTORS = 0.87, 12, (0.8, 1.7), (0.8, 2.2)


@dataclass(frozen=True)
class GreenestHue:
    """Of enamel: what is greener gets red for green at the same lightness, what is bluer loses
    blue. Of pixels (3,) BGR, `more` (3, 3) gives what they get, `less` what they lose, where that
    is positive."""

    more: np.ndarray
    less: np.ndarray

    @classmethod
    def of(cls, colour: np.ndarray) -> GreenestHue:
        """That of a colour (3,)."""
        blue, _, red = colour / colour[1]
        more, less = np.zeros((2, 3, 3))
        of_green = LUMA[2] / LUMA[1]
        more[2] = TOO_GREEN * np.array([0, red, -1]) / (1 + of_green * red)
        less[0] = TOO_BLUE * np.array([1, -blue, 0])
        less[1] = of_green * more[2]
        return cls(more, less)

    def applied(self, image: np.ndarray) -> np.ndarray:
        """To an image (H, W, 3) uint8."""
        more, less = cv2.transform(image, self.more), cv2.transform(image, self.less)
        return cv2.subtract(cv2.add(image, more), less)


@dataclass(frozen=True)
class MouthTables:
    """Of one avatar with T templates. Factors of blue, green, red: `flesh` (GUM_ROWS + ROWS,
    COLUMNS, 3); `enamel` (T, S, 3), for each column of the mouth crop (S pixels). `roots` (T, S):
    by how many of their rows gums are darker between two roots. `hues` of enamel and flesh, a
    matrix (3, 3), are applied to what is drawn before."""

    flesh: np.ndarray
    enamel: np.ndarray
    roots: np.ndarray
    hues: tuple[GreenestHue, np.ndarray] | None = None
    person: bool = True

    @classmethod
    def of_machine(cls, templates: int) -> MouthTables:
        """Of an avatar that is no person."""
        light = np.interp((np.arange(-GUM_ROWS, ROWS) + 0.5) / ROWS, HEIGHT, HEIGHT_LIGHT)
        flesh = np.broadcast_to(light[:, None, None], (len(light), COLUMNS, 3))
        side = MOUTH_CROP[2]
        return cls(
            flesh, np.ones((templates, side, 3)), roots=np.zeros((templates, side)), person=False
        )

    @classmethod
    def of_person(
        cls,
        flesh: np.ndarray,
        enamel: np.ndarray,
        smile: tuple[np.ndarray, np.ndarray],
        across: np.ndarray,
    ) -> MouthTables:
        """Of the colours of flesh, (4,): BGR, in which 1 is white, and how sure; and of enamel (3,)
        in full light. `smile` is the map of an interior, and what the generator draws there, both
        (S, S, 3) uint8; `across` (T, S) is how far from the middle teeth in a column are, cm."""
        known = flesh[3] > 0.5
        seen = flesh[:3] if known else USUAL_FLESH
        interior, drawn = smile
        skin = drawn[interior[..., 0] == 0].mean() / 255
        dark = min(1.0, float(skin) / LIGHT_SKIN)
        usual = USUAL_FLESH * dark
        lighter = np.clip(np.sqrt(usual / np.maximum(seen, 1e-3)), 1, LIGHTEST)
        white = whiter(enamel, *smile)
        hues = (
            GreenestHue.of(enamel / white),
            towards(seen if known else enamel * FLESH_OVER_ENAMEL, FLESH_HUE),
        )
        gums = enamel * GUMS_OVER_ENAMEL * dark**GUMS_IN_DARK_SKIN
        if known:
            gums = towards(seen, FLESH_IN_GUMS) @ gums
        factors = flesh_light(lighter, gums_light(gums, *smile, hues[1]))
        return cls(factors, enamel_light(across) * white, between_roots(across), hues)


def enamel_light(across: np.ndarray) -> np.ndarray:
    """(..., 3) factors of enamel at `across` (...) cm from the middle."""
    return np.stack([np.interp(np.abs(across), ASIDE, light) for light in ASIDE_LIGHT], -1)


def towards(colour: np.ndarray, share: float) -> np.ndarray:
    """(3, 3): what takes a colour to that of its lightness and the hue of `colour` (3,), by a
    share."""
    return (1 - share) * np.eye(3) + share * np.outer(colour / (LUMA @ colour), LUMA)


def between_roots(across: np.ndarray) -> np.ndarray:
    """(T, S): by how many rows gums are darker, 0 over the middle of a root, at `across` (T, S) cm
    from the middle."""
    place = np.interp(np.abs(across), MEET, np.arange(len(MEET)))
    return BETWEEN_ROOTS * GUM_ROWS * (0.5 + 0.5 * np.cos(2 * np.pi * place))


def gums_light(
    gums: np.ndarray, interior: np.ndarray, drawn: np.ndarray, hue: np.ndarray
) -> np.ndarray:
    """(3,) by which those of a drawn smile must be multiplied, after `hue` (3, 3), to be of the
    colour `gums` (3,)."""
    seen = (interior[..., 0] == 255) & (interior[..., 1] == 0) & (interior[..., 2] >= GUMS)
    found = cv2.transform(drawn, hue)[seen]
    usual = np.median(found, 0) if len(found) >= FEWEST else 255 * USUAL_FLESH
    return np.clip(interior[..., 1].max() * gums / np.maximum(usual, 1), *GUM_FACTORS)


def flesh_light(lighter: np.ndarray, gums: np.ndarray | None = None) -> np.ndarray:
    """(GUM_ROWS + ROWS, COLUMNS, 3): factors of a person's flesh, the tongue's times `lighter`
    (3,), that of gums in full light `gums` (3,)."""
    down = ((np.arange(ROWS) + 0.5) / ROWS)[:, None, None]
    aside = np.abs(np.linspace(-1, 1, COLUMNS))[None, :, None]  # 0 in the middle, 1 in the corners
    behind = BEHIND * np.array(RED) * (0.85 + 0.3 * smoothstep(1 - down, 0.6, 1))
    behind = behind * (1 - 0.2 * smoothstep(aside, 0.5, 1))
    tongue = smoothstep(down - BEGIN - ARCH * aside**2, 0, RISE)
    furrow = smoothstep(down, 0.5, 0.7) * smoothstep(down, 0.98, 0.85)
    furrow = 1 - FURROW * np.exp(-np.square(aside / 0.09)) * furrow
    gloss = np.exp(-np.square((aside - 0.24) / 0.14) - np.square((down - 0.72) / 0.08))
    front = FRONT * np.array(PINK) * (1 - 0.35 * aside**2) * furrow * lighter + GLOSS * gloss
    light = behind + tongue * (front - behind)
    light *= 1 - (1 - SHADOW / FRONT) * smoothstep(down, 0.86, 1)
    full = np.ones(3) if gums is None else gums
    shade = np.linspace(GUMS_UNDER_LIP, 1, GUM_ROWS)[:, None, None]
    return np.concatenate([np.broadcast_to(shade * full, (GUM_ROWS, COLUMNS, 3)), light])


def whiter(enamel: np.ndarray, interior: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(3,) by which the enamel of a drawn smile must be multiplied to be of the colour `enamel`
    (3,) in full light; 1 where too little of it is seen."""
    front = (interior[..., 0] == 255) & (interior[..., 1] >= IN_FULL_LIGHT * interior[..., 1].max())
    if np.count_nonzero(front) < FEWEST:
        return np.ones(3)
    wanted = np.median(interior[front, 1]) * enamel
    return np.clip(wanted / np.maximum(np.median(drawn[front], 0), 1), *FACTORS)
