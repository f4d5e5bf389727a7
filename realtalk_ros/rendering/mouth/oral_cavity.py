# SPDX-License-Identifier: Apache-2.0
"""Light in an open mouth: dark red behind, a rounded tongue in the light over the lower lip, and
teeth of the colour that is this person's.

The generator has learned mouths that were rendered without shadows: its flesh is even, as dark as
their darkest part, and its teeth are grey. What it draws is multiplied by tables that are made when
an avatar is loaded (mouth_tables.py).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import MOUTH_CROP
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.common.boxes import Box, bounding_box, is_empty
from realtalk_ros.rendering.mouth.lip_shadow import REDDER, MouthOpening
from realtalk_ros.rendering.mouth.mouth import OPEN
from realtalk_ros.rendering.mouth.mouth_model import LookName
from realtalk_ros.rendering.mouth.mouth_tables import COLUMNS, GUM_ROWS, GUMS, ROWS, MouthTables
from realtalk_ros.rendering.mouth.tooth_relief import light_between_lower

ENAMEL = 6.0  # by which enamel is taken to be lighter than the map has it: it may lie in the shade
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
# In an opening that is less than this high, a share of its width, the tongue lies lower, so that it
# is no second lip: by so much of its height for what is missing. By eye.
TALL, LOWER = 0.45, 1.2
LIP_SHADOW = 0.05  # share of an opening's width over which a lip's shadow falls on gums; by eye
COLUMN = np.repeat(np.arange(MOUTH_CROP[2], dtype=np.float32)[None] + 0.5, MOUTH_CROP[2], 0)
BRIGHTEST_TEETH = 0.3  # a machine has no teeth: none as light as that, 1: white
# A smile in which the colour of what is drawn is measured.
SMILE = arkit.weights(mouthSmile=0.4, mouthUpperUp=0.3, mouthLowerDown=0.3, jawOpen=0.08)


def look_of(avatar: Avatar, enamel: np.ndarray) -> LookName:
    """The look of mouth.py's map in which an avatar's mouth is drawn, of teeth `enamel` (3,) BGR:
    people's is lifelike, that of drawings and machines shaded. A generator of an avatar's own has
    learned the light in its mouth."""
    if avatar.generator is not None:
        return "plain"
    machine = avatar.flat_mouth is not None or enamel.max() < BRIGHTEST_TEETH
    return "shaded" if machine else "lifelike"


class MouthLight(NamedTuple):
    """In an open mouth of one frame, by its map alone."""

    box: Box  # of the mouth crop: the opening, (h, w)
    factors: np.ndarray  # (h, w, 3) float32 of blue, green, red
    inner: np.ndarray  # (h, w) float32: how far it is open
    even: np.ndarray  # (h, w) float32: how far what is drawn is evened; below 0: sharpened
    enamel: np.ndarray  # (h, w) uint8: not 0 where there is any
    soft: tuple[Box, np.ndarray] | None  # see `OralCavity._soft_share`


class OralCavity:
    """Of one avatar, by its tables. `relief` (T, S, S) uint8, 255: 1, are factors of single upper
    teeth (tooth_relief.py) in T templates; `soft` is the blur of its face, sd in pixels
    (softness.py); `above_edge` (T, S, S) bool is where the upper teeth are, and above."""

    def __init__(
        self,
        tables: MouthTables,
        relief: np.ndarray | None = None,
        soft: float = 0.0,
        above_edge: np.ndarray | None = None,
    ):
        self._person, self._hues = tables.person, tables.hues
        self._flesh = np.ascontiguousarray(tables.flesh, np.float32)
        self._enamel = np.ascontiguousarray(tables.enamel, np.float32)
        self._roots = np.asarray(tables.roots, np.float32)
        self._relief = None if relief is None else warmer(relief)
        self._soft, self._above_edge = soft, above_edge

    def light_in(
        self,
        interior: np.ndarray,
        template: int,
        opening: MouthOpening,
        lower_teeth: np.ndarray | None = None,
    ) -> MouthLight | None:
        """The light in a mouth over a template by the map of its interior (S, S, 3) uint8
        (mouth.py), and by how far it is open; None where it is shut. `lower_teeth` (5,): as of
        `Mouth.lower_teeth`."""
        box = bounding_box(cv2.extractChannel(interior, 0))
        if is_empty(box):
            return None
        opened, enamel, flesh = cv2.split(interior[box])
        height, width = opened.shape
        light = self._light_on_flesh(opened, flesh, box[1].start, template)
        teeth = cv2.merge([cv2.convertScaleAbs(enamel, alpha=ENAMEL)] * 3)
        of_enamel = self._enamel[template, box[1]]
        if self._person:
            of_enamel = of_enamel * opening.light_on_teeth()
        if self._relief is not None:
            shade = self._relief[template][box]
            of_enamel = shade * (of_enamel * np.float32(1 / 255))
        if lower_teeth is not None and self._above_edge is not None:
            above = self._above_edge[template][box]
            of_enamel = of_enamel * between_lower_teeth(box, above, lower_teeth)
        light += teeth * ((of_enamel - light) * np.float32(1 / 255))
        sharper = 1 + SHARPER if self._person else 1.0
        smiles = smoothstep(opening.wider, *SMILES)
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


def between_lower_teeth(box: Box, above_edge: np.ndarray, lower_teeth: np.ndarray) -> np.ndarray:
    """(h, w, 3) factors in a box of the mouth crop: the shade between the lower teeth, which are
    not `above_edge` (h, w) of the upper ones. The last argument as of `OralCavity.light_in`."""
    y, x = (np.arange(along.start, along.stop, dtype=np.float32) for along in box)
    constant, by_x, by_y, by_xx, by_xy = lower_teeth.astype(np.float32)
    across = (constant + by_y * y)[:, None] + (by_x + by_xx * x + by_xy * y[:, None]) * x
    light = light_between_lower(across)
    light[above_edge] = 1
    return np.stack([light, light, light ** np.float32(1 - REDDER)], -1)


def warmer(shade: np.ndarray) -> np.ndarray:
    """(..., 3) uint8: a shade (...) uint8, 255: none, in blue, green and red. Teeth and gums throw
    red light into it, as lips do."""
    red = np.rint(255 * (shade / 255) ** (1 - REDDER)).astype(np.uint8)
    return np.stack([shade, shade, red], -1)
