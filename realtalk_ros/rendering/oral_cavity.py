# SPDX-License-Identifier: Apache-2.0
"""Light in an open mouth: dark red behind, a rounded tongue in the light over the lower lip, and
teeth of the colour that is this person's.

The generator has learned mouths that were rendered without shadows: its flesh is even, as dark as
their darkest part, and its teeth are grey. `OralCavity.light` multiplies what it draws by factors
that are made when an avatar is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import MOUTH_CROP
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.boxes import Box, bounding_box, is_empty
from realtalk_ros.rendering.lip_shadow import REDDER, Lips
from realtalk_ros.rendering.mouth import OPEN
from realtalk_ros.rendering.mouth_model import LookName
from realtalk_ros.rendering.tooth_relief import MEET

ENAMEL = 6.0  # by which enamel is taken to be lighter than the map has it: it may lie in the shade
GUMS = 112  # level of the map's third channel from which a pixel is gums
EVEN = 3, 3  # pixels over which flesh is evened: the generator leaves a pattern of two pixels
# The generator's enamel is softer than people's: so much of what EVEN takes is added to it.
SHARPER = 0.3
# Where enamel goes under a lip it is sharpened as if it were whole. That leaves a dark line, as in
# people's smiles: without it LPIPS of 41 is 0.0019 worse. The lips of an open mouth meet the teeth
# softly. From where to where of an opening's height over its width it fades; by eye.
LINE_FADES = 0.28, 0.4
# And by how much wider than at rest a mouth must be for it, in shares of the eyes' distance, not at
# all and wholly: in speech it is broken, and makes the teeth look cut out.
SMILES = 0.01, 0.09
LIPS = np.ones((3, 3), np.uint8)  # what of them is softened with a mouth
SMOOTH = 9  # pixels over which the borders of the opening are smoothed
# The factors of flesh: from the upper (0) to the lower (1) inner lip, and from one corner of the
# opening to the other. Before them are those of gums, from the lip's shadow into full light.
ROWS, COLUMNS, GUM_ROWS = 64, 65, 16
COLUMN = np.repeat(np.arange(MOUTH_CROP[2], dtype=np.float32)[None] + 0.5, MOUTH_CROP[2], 0)
BRIGHTEST_TEETH = 0.3  # a machine has no teeth: none as light as that, 1: white

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
# In an opening that is less than this high, a share of its width, the tongue lies lower, so that it
# is no second lip: by so much of its height for what is missing. By eye.
TALL, LOWER = 0.45, 1.2
# Gums: where 11 smiles of the London set show them, none held out, they have 0.63 of the enamel's
# blue, 0.59 of its green, 0.75 of its red (standard deviation 0.08), in the shade of the lip. Most
# are points between two teeth, so the values are mixed with theirs, and gums are taken to be
# redder. By eye: the exponent by which
# those over darker skin than LIGHT_SKIN follow it; how light they are under the lip, over which
# share of the opening's width its shadow falls, and by how much of it they are darker between two
# roots. Where flesh is known, the share by which they take its hue.
GUMS_OVER_ENAMEL, GUMS_IN_DARK_SKIN, FLESH_IN_GUMS = (0.66, 0.65, 0.88), 0.15, 0.5
GUMS_UNDER_LIP, LIP_SHADOW, BETWEEN_ROOTS = 0.8, 0.05, 0.5
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
# A smile in which the front teeth are measured: what is this share of the lightest enamel in the
# map or more; at least so many pixels. The factors that are believed.
SMILE = arkit.weights(mouthSmile=0.4, mouthUpperUp=0.3, mouthLowerDown=0.3, jawOpen=0.08)
IN_FULL_LIGHT, FEWEST, FACTORS, GUM_FACTORS = 0.87, 12, (0.8, 1.7), (0.8, 2.2)


def look_of(avatar: Avatar, enamel: np.ndarray) -> LookName:
    """The look of mouth.py's map in which an avatar's mouth is drawn, of teeth `enamel` (3,) BGR:
    people's is lifelike, that of drawings and machines shaded. A generator of an avatar's own has
    learned the light in its mouth."""
    if avatar.generator is not None:
        return "plain"
    machine = avatar.flat_mouth is not None or enamel.max() < BRIGHTEST_TEETH
    return "shaded" if machine else "lifelike"


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


class MouthLight(NamedTuple):
    """In an open mouth of one frame, by its map alone."""

    box: Box  # of the mouth crop: the opening, (h, w)
    factors: np.ndarray  # (h, w, 3) float32 of blue, green, red
    inner: np.ndarray  # (h, w) float32: how far it is open
    even: np.ndarray  # (h, w) float32: how far what is drawn is evened; below 0: sharpened
    enamel: np.ndarray  # (h, w) uint8: not 0 where there is any
    soft: tuple[Box, np.ndarray] | None  # see `OralCavity._soft_share`


class OralCavity:
    """Of one avatar with T templates. Factors of blue, green, red: `flesh` (GUM_ROWS + ROWS,
    COLUMNS, 3); `enamel` (T, S, 3), for each column of the mouth crop (S pixels), and `relief` (T,
    S, S) uint8, 255: 1, of single teeth (tooth_relief.py). `hues` of enamel and flesh, a
    matrix (3, 3), are applied to what is drawn before. `roots` (T, S): by how many of their rows
    gums are darker between two roots."""

    def __init__(
        self,
        flesh: np.ndarray,
        enamel: np.ndarray,
        relief: np.ndarray | None = None,
        person: bool = True,
        soft: float = 0.0,
        hues: tuple[GreenestHue, np.ndarray] | None = None,
        roots: np.ndarray | None = None,
    ):
        self._person, self._soft, self._hues = person, soft, hues
        self._roots = np.zeros(enamel.shape[:2]) if roots is None else roots
        self._roots = self._roots.astype(np.float32)
        self._flesh = np.ascontiguousarray(flesh, np.float32)
        self._enamel = np.ascontiguousarray(enamel, np.float32)
        self._relief = None if relief is None else warmer(relief)

    @classmethod
    def of_machine(cls, templates: int) -> OralCavity:
        """Of an avatar that is no person."""
        light = np.interp((np.arange(-GUM_ROWS, ROWS) + 0.5) / ROWS, HEIGHT, HEIGHT_LIGHT)
        flesh = np.broadcast_to(light[:, None, None], (len(light), COLUMNS, 3))
        return cls(flesh, np.ones((templates, MOUTH_CROP[2], 3)), person=False)

    @classmethod
    def of_person(
        cls,
        flesh: np.ndarray,
        enamel: np.ndarray,
        smile: tuple[np.ndarray, np.ndarray],
        across: np.ndarray,
        relief: np.ndarray | None = None,
        soft: float = 0.0,
    ) -> OralCavity:
        """Of the colours of flesh, (4,): BGR, in which 1 is white, and how sure; and of enamel (3,)
        in full light. `smile` is the map of an interior, and what the generator draws there, both
        (S, S, 3) uint8; `across` (T, S) is how far from the middle teeth in a column are, cm;
        `relief` and `soft` as of the class."""
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
        aside = [np.interp(np.abs(across), ASIDE, light) for light in ASIDE_LIGHT]
        gums = enamel * GUMS_OVER_ENAMEL * dark**GUMS_IN_DARK_SKIN
        if known:
            gums = towards(seen, FLESH_IN_GUMS) @ gums
        factors = flesh_light(lighter, gums_light(gums, *smile, hues[1]))
        of_enamel = np.stack(aside, -1) * white
        return cls(factors, of_enamel, relief, soft=soft, hues=hues, roots=between_roots(across))

    def light(self, interior: np.ndarray, drawn: np.ndarray, template: int) -> None:
        """Lights a drawn mouth (S, S, 3) uint8 over a template, in place, by the map of its
        interior (S, S, 3) uint8 (mouth.py)."""
        if (light := self.light_in(interior, template)) is not None:
            self.apply(light, drawn)

    def light_in(
        self, interior: np.ndarray, template: int, lips: Lips | None = None
    ) -> MouthLight | None:
        """The light in a mouth over a template by the map of its interior (S, S, 3) uint8
        (mouth.py); None where it is shut. `lips`: how they are open; None: as in a smile."""
        box = bounding_box(cv2.extractChannel(interior, 0))
        if is_empty(box):
            return None
        opened, enamel, flesh = cv2.split(interior[box])
        height, width = opened.shape
        light = self._light_on_flesh(opened, flesh, box[1].start, template)
        teeth = cv2.merge([cv2.convertScaleAbs(enamel, alpha=ENAMEL)] * 3)
        of_enamel = self._enamel[template, box[1]]
        if self._person and lips:
            of_enamel = of_enamel * lips.light_on_teeth()
        if self._relief is not None:
            shade = self._relief[template][box]
            of_enamel = shade * (of_enamel * np.float32(1 / 255))
        light += teeth * ((of_enamel - light) * np.float32(1 / 255))
        sharper = 1 + SHARPER if self._person else 1.0
        smiles = smoothstep(lips.wider, *SMILES) if lips else 1.0
        line = int(255 * smiles * (1 - smoothstep(height / width, *LINE_FADES)))
        lined = np.maximum(opened, np.uint8(line)) if line else opened
        whole = cv2.multiply(teeth[..., 0], lined, scale=1 / 255)
        even = cv2.addWeighted(opened, 1 / 255, whole, -sharper / 255, 0, dtype=cv2.CV_32F)
        inner = opened * np.float32(1 / 255)
        return MouthLight(
            box=box,
            factors=light,
            inner=inner,
            even=even,
            enamel=enamel,
            soft=self._soft_share(interior, box),
        )

    def _light_on_flesh(
        self, opened: np.ndarray, flesh: np.ndarray, left: int, template: int
    ) -> np.ndarray:
        """(H, W, 3) factors in an opening, by two channels of its map, (H, W) uint8, that begin in
        column `left` of the mouth crop."""
        height, width = opened.shape
        inside = opened >= OPEN
        borders = np.array([inside.argmax(0), height - inside[::-1].argmax(0)], np.float32)
        top, bottom = cv2.blur(borders, (SMOOTH, 1), borderType=cv2.BORDER_REPLICATE)
        rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
        low = self._person * max(TALL - height / width, 0.0) * LOWER
        at = (rows - top) * (ROWS * (1 - low) / np.maximum(bottom - top, 1)) + (GUM_ROWS - 0.5)
        at = np.clip(at, GUM_ROWS, GUM_ROWS + ROWS - 1)
        if self._person:
            gums = np.clip((rows - top) * (GUM_ROWS / LIP_SHADOW / width), 0, GUM_ROWS - 1)
            gums -= self._roots[template, left : left + width]
            np.copyto(at, np.maximum(gums, 0), where=flesh >= GUMS)
        across = COLUMN[:height, :width] * np.float32((COLUMNS - 1) / width)
        return cv2.remap(self._flesh, across, at, cv2.INTER_LINEAR)

    def apply(self, light: MouthLight, drawn: np.ndarray) -> None:
        """Lights a drawn mouth (S, S, 3) uint8 in place."""
        before = within = np.ascontiguousarray(drawn[light.box])
        if self._hues is not None:
            greenest, hue = self._hues
            within = cv2.transform(before, hue)
            before = cv2.copyTo(greenest.applied(before), light.enamel, before.copy())
            within = cv2.copyTo(before, light.enamel, within)
        lit = cv2.multiply(within, light.factors, dtype=cv2.CV_8U)
        lit = cv2.blendLinear(lit, before, light.inner, 1 - light.inner)
        even = cv2.GaussianBlur(lit, EVEN, 0) if self._person else lit
        drawn[light.box] = cv2.blendLinear(even, lit, light.even, 1 - light.even)
        if light.soft is not None:
            box, share = light.soft
            sharp = np.ascontiguousarray(drawn[box])
            blurred = cv2.GaussianBlur(sharp, (0, 0), self._soft)
            drawn[box] = cv2.blendLinear(blurred, sharp, share, 1 - share)

    def _soft_share(self, interior: np.ndarray, opening: Box) -> tuple[Box, np.ndarray] | None:
        """Where a drawn mouth is blurred, if the face is soft: where its map (S, S, 3) uint8 is
        open, in the box `opening`, and what lies beside: a box, and how far, (h, w) 0..1."""
        if not self._soft:
            return None
        more = round(2 * self._soft) + 1
        rows, columns = (slice(max(side.start - more, 0), side.stop + more) for side in opening)
        opened = cv2.extractChannel(interior[rows, columns], 0)
        share = cv2.blur(cv2.dilate(opened, LIPS) * np.float32(1 / 255), LIPS.shape)
        return (rows, columns), share


def warmer(shade: np.ndarray) -> np.ndarray:
    """(..., 3) uint8: a shade (...) uint8, 255: none, in blue, green and red. Teeth and gums throw
    red light into it, as lips do."""
    red = np.rint(255 * (shade / 255) ** (1 - REDDER)).astype(np.uint8)
    return np.stack([shade, shade, red], -1)


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
