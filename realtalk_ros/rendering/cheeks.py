# SPDX-License-Identifier: Apache-2.0
"""Cheeks that follow the corners of the mouth, and the light of a smile on them: folds beside nose
and mouth, and below the eyes.

None of the 68 landmarks lies on a cheek, so the aligner leaves them where they are, and a smile
would be the mouth's alone. How far cheeks move, and what becomes darker or lighter, was measured in
the neutral and smiling photographs of 68 people, and agrees with films of nine others who speak
(docs/experiments.md).

Coordinates of a cheek: u goes from the middle of the nose to the outer corner of the eye (1), v
from there down to the corner of a smiling mouth (1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import COARSE_SIZE, CROP_SIZE
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import (
    EYE_CORNERS,
    JAW,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE_BASE,
    NOSE_BRIDGE,
)
from realtalk_ros.rendering.added_layer import CELL, FEATHER, faded_border, pixels
from realtalk_ros.rendering.avatar_encoding import template_crops
from realtalk_ros.rendering.common.boxes import bounding_box, is_empty, nested
from realtalk_ros.rendering.common.generated_face import Cheek, MovedCheek
from realtalk_ros.rendering.eyes.eyelids import open_eyes
from realtalk_ros.rendering.eyes.glasses import lowest_rims
from realtalk_ros.rendering.eyes.lid_skin import skin_ends
from realtalk_ros.rendering.eyes.open_eye import OpenEye
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.mouth.monochrome import tone_of

Point = tuple[float, float]  # u, v
Span = tuple[float, float]  # from 0 to 1
COARSE = COARSE_SIZE, COARSE_SIZE
PIXELS = np.stack(np.meshgrid(*[np.arange(CROP_SIZE) + 0.5] * 2), -1)  # (256, 256, 2): x, y


class Side(NamedTuple):
    """Landmarks of one side of a face."""

    eye: int  # its outer corner
    mouth: int  # its corner
    wing: int  # of the nose
    jaw: range  # beside the cheek, downwards


SIDES = (
    Side(EYE_CORNERS[0], MOUTH_RIGHT, NOSE_BASE.start, range(JAW.stop)[:6]),
    Side(EYE_CORNERS[1], MOUTH_LEFT, NOSE_BASE.stop - 1, range(JAW.stop)[:-7:-1]),
)
SMILES = arkit.INDEX["mouthSmileRight"], arkit.INDEX["mouthSmileLeft"]  # as SIDES
JAW_OPEN = arkit.INDEX["jawOpen"]
MEAN_SMILE = 0.45  # mouthSmile of the 68 people, at whose mouth's corner v is 1
# How far skin moves outwards and up where the mouth's corner does so as at mouthSmile 1, in shares
# of the width that is u's unit; and where, middle and standard deviation in u and v.
MOVEMENT, WHERE = (0.125, 0.155), ((0.88, 0.34), (0.55, 0.36))
# Where it ends: from 0 to 1 in u, on the nose's wing, which follows the cheek, and within the
# outline of the face (this far or, as at the far side of a head that is turned, at the jaw), and in
# v, below the lid (of glasses: below their rim) and above the mouth. And at the crop's border.
AT_WING, BELOW_LID, ABOVE_MOUTH = (-0.1, 0.25), (0.1, 0.35), (1.15, 0.85)
# Below the wing so much farther out, from the first v to the second, as the lip stays.
BESIDE_LIP, UNDER_WING = 0.2, (0.6, 0.8)
BELOW_GLASSES = (0.5, 0.75)  # unless their rim is found
BELOW_RIM = (0.06, 0.31)  # from its lowest point
OUTLINE, OUTLINE_FADE = 1.3, 0.3
# Light at a smile of 0.76 (`share_of_light`), logarithms of blue, green and red: darker along lines
# from one point (u, v) to another, of a standard deviation. The fold beside the nose, whose first u
# counts from the wing, and that below the eye. And the cheek, lighter: middle and standard
# deviation in u and v.
NASOLABIAL = ((0.16, 0.57), (0.83, 0.75), 0.07, np.array([-0.21, -0.20, -0.14]))
BELOW_EYE = ((0.56, 0.07), (1.11, 0.38), 0.10, np.array([-0.17, -0.14, -0.095]))
CHEEK = ((1.3, 0.68), (0.42, 0.15), np.array([0.15, 0.11, 0.095]))
SKIN = (9, 9)  # pixels over which its colour is averaged
# How far the corners go inwards and down with the jaw (jawOpen 1), and cheeks do not follow, in
# shares of a smile: mouths that open narrow in the face model, and hardly in films; the second was
# found in the photographs. In films cheeks stay while mouths open.
NOT_OF_JAW = np.array([0.4, 0.35])
# Of these movements and of the light: less is not drawn. Outwards and up, the least is as far as
# people's corners go in rounded sounds; nine tenths of the people smile less than the most.
TINY, LEAST, MOST = 0.005, np.array([-0.35, -0.2]), 0.8
# Sides of the crop by which a smile moves the mouth's corner: less is seen from the side, and says
# nothing. It is 0.05 from the front.
UNSEEN = 0.015


class Cheeks:
    """Of one person.

    resting, smiling: (T, 68, 2), landmarks of the templates, and with mouthSmile 1; normalised.
    templates: (T, 256, 256, 3) uint8 BGR, the face crops.
    top: where the cheeks begin, in v from 0 to 1: below glasses, whose rims stay where they are.
    glasses: whether the person wears any; None if that is not known.
    monochrome: whether the templates are without colours, as the light then is, too.
    shown: mouthSmile of each side in the templates, whose cheeks are raised as far.
    """

    def __init__(
        self,
        resting: np.ndarray,
        smiling: np.ndarray,
        templates: Sequence[np.ndarray],
        *,
        top: Span = BELOW_LID,
        glasses: bool | None = None,
        monochrome: bool = False,
        shown: Sequence[float] = (0.0, 0.0),
    ):
        self._resting = resting
        self.glasses = glasses
        self._most = {side: max(MOST - by, 0.0) for side, by in zip(SIDES, shown, strict=True)}
        self._cheeks: list[list[tuple[Side, Axes, np.ndarray, Cheek]]] = []
        for t, template in enumerate(templates):
            seen = []
            for side, by in zip(SIDES, shown, strict=True):
                points = mean_smile(resting[t], smiling[t], by)
                if (axes := Axes.of(points, side)) is None:
                    continue
                if (cheek := make_cheek(axes, points, side, template, top)) is None:
                    continue
                if monochrome:
                    cheek.light[..., :3] = cheek.light[..., :3].mean(-1, keepdims=True)
                corner = axes.directions @ (smiling[t] - resting[t])[side.mouth]
                seen.append((side, axes, corner, cheek))
            self._cheeks.append(seen)

    @classmethod
    def of(cls, avatar: Avatar, geometry: Geometry) -> Cheeks:
        """Of an avatar; `geometry` is that of its templates."""
        weights = arkit.weights(), arkit.weights(mouthSmile=1.0)
        resting, smiling = (
            np.stack([geometry.target_landmarks(w, t) for t in range(len(avatar.templates))])
            for w in weights
        )
        eyes = open_eyes(
            avatar.templates[0], avatar.crop, geometry.template_eyes[0],
            geometry.template_landmarks[0],
        )  # fmt: skip
        shown = [float(avatar.resting_weights[weight]) for weight in SMILES]
        points = mean_smile(resting[0], smiling[0], max(shown))
        top, glasses = find_top(avatar, eyes, points)
        return cls(
            resting,
            smiling,
            template_crops(avatar),
            top=top,
            glasses=glasses,
            monochrome=tone_of(avatar) is not None,
            shown=shown,
        )

    def moved(self, weights: np.ndarray, points: np.ndarray, template: int) -> list[MovedCheek]:
        """What becomes of the cheeks of a template, by its index, where weights (52,) move its
        landmarks to `points` (68, 2), normalised."""
        moved, jaw = [], NOT_OF_JAW * max(float(weights[JAW_OPEN]), 0.0)
        for side, axes, smile, cheek in self._cheeks[template]:
            corner = axes.directions @ (points - self._resting[template])[side.mouth]
            smiles = np.where(smile > UNSEEN, corner / np.maximum(smile, UNSEEN), 0)
            outwards, up = (smiles + jaw * (smile > UNSEEN)).clip(LEAST, self._most[side]).tolist()
            if max(abs(outwards), abs(up)) > TINY:
                source = axes.source(outwards, up)
                moved.append(MovedCheek(cheek, source, share_of_light((outwards + up) / 2)))
        return moved


class Axes(NamedTuple):
    """Of the coordinates of a cheek, in pixels of the face crop."""

    nose: np.ndarray  # (2,): where u is 0
    eye: np.ndarray  # (2,): where v is 0
    directions: np.ndarray  # (2, 2): outwards and up, of length 1
    width: float  # of u's unit
    height: float  # of v's

    @classmethod
    def of(cls, points: np.ndarray, side: Side) -> Axes | None:
        """By landmarks (68, 2); None where the cheek is not seen, as of a face that is turned to
        the side."""
        other = SIDES[1] if side == SIDES[0] else SIDES[0]
        outwards = points[side.eye] - points[other.eye]
        outwards = outwards / max(float(np.linalg.norm(outwards)), 1e-6)
        up = np.array([0.0, -1.0]) + outwards[1] * outwards
        up = up / max(float(np.linalg.norm(up)), 1e-6)
        nose, eye = points[NOSE_BRIDGE.start], points[side.eye]
        width = float((eye - nose) @ outwards)
        height = float((eye - points[side.mouth]) @ up)
        if min(width, height) < 8:  # pixels
            return None
        return cls(nose, eye, np.stack([outwards, up]), width, height)

    def coordinates(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U and v of points (..., 2)."""
        outwards, up = self.directions
        return (points - self.nose) @ outwards / self.width, (self.eye - points) @ up / self.height

    def source(self, outwards: float, up: float) -> tuple[float, float]:
        """Of what moves so far: it lies the other way."""
        shares = outwards * MOVEMENT[0], up * MOVEMENT[1]
        x, y = -self.width * (shares @ self.directions)
        return float(x), float(y)


def mean_smile(resting: np.ndarray, smiling: np.ndarray, shown: float) -> np.ndarray:
    """Landmarks (68, 2) with MEAN_SMILE, pixels of the crop, of those at rest, which show so much
    of it, and those with mouthSmile 1 more, normalised."""
    return (resting + max(MEAN_SMILE - shown, 0.0) * (smiling - resting)) * CROP_SIZE


def find_top(avatar: Avatar, eyes: list[OpenEye], points: np.ndarray) -> tuple[Span, bool | None]:
    """Where cheeks begin, in v, and whether there are glasses, None where no eye shows it. eyes:
    those in the first template; `points`: its landmarks with MEAN_SMILE, pixels of the crop."""
    image, (x, y, crop) = avatar.templates[0], avatar.crop
    if not eyes:
        return BELOW_LID, None
    rims = lowest_rims(image, eyes)
    if rims is None:
        glasses = skin_ends(image, eyes, None)[1]
        return BELOW_GLASSES if glasses else BELOW_LID, glasses
    low = (np.stack(rims) + 0.5 - (x, y)) * CROP_SIZE / crop
    sides = [axes for side in SIDES if (axes := Axes.of(points, side))]
    v = max((float(axes.coordinates(low)[1].max()) for axes in sides), default=0.0)
    return (v + BELOW_RIM[0], v + BELOW_RIM[1]), True


def make_cheek(
    axes: Axes, points: np.ndarray, side: Side, template: np.ndarray, top: Span
) -> Cheek | None:
    """Of a template (256, 256, 3) with landmarks at `points` (68, 2), pixels; None beside the
    crop. `top`: as of Cheeks."""
    u, v = axes.coordinates(PIXELS)
    wing = float(axes.coordinates(points[side.wing])[0])
    jaw_u, jaw_v = axes.coordinates(points[side.jaw])
    outline = np.minimum(np.interp(v, np.maximum.accumulate(jaw_v), jaw_u), OUTLINE)
    first = wing + BESIDE_LIP * smoothstep(v, *UNDER_WING)
    inside = smoothstep(u - first, *AT_WING) * smoothstep((outline - u) / OUTLINE_FADE)
    inside *= smoothstep(v, *top) * smoothstep(v, *ABOVE_MOUTH)
    inside *= faded_border(CROP_SIZE, FEATHER)
    # What follows takes longer, and is needed for a tenth of the crop.
    share_of_cells = cv2.resize(inside, COARSE, interpolation=cv2.INTER_AREA)
    cells = bounding_box((share_of_cells > 0).astype(np.uint8))
    around = pixels(cells[0]), pixels(cells[1])
    u, v, inside = u[around], v[around], inside[around]
    share = inside * bell(u, WHERE[0]) * bell(v, WHERE[1])
    box = bounding_box((share > 0.01).astype(np.uint8))
    if is_empty(box):
        return None
    (first_u, first_v), last, deviation, levels = NASOLABIAL
    nasolabial = (wing + first_u, first_v), last, deviation, levels
    light = sum(
        along_line(u, v, (first, last), deviation)[..., None] * levels
        for first, last, deviation, levels in (nasolabial, BELOW_EYE)
    )
    light += (bell(u, CHEEK[0]) * bell(v, CHEEK[1]))[..., None] * CHEEK[2]
    added = cv2.blur(template, SKIN)[around] * (np.exp(light * inside[..., None]) - 1)
    size = u.shape[1] // CELL, u.shape[0] // CELL
    coarse = cv2.resize(np.dstack([added, 0 * u]), size, interpolation=cv2.INTER_AREA)
    moving = share[box].astype(np.float32)
    return Cheek(nested(around, box), moving, cells, coarse.astype(np.float32))


def share_of_light(smile: float) -> float:
    """By what the light of NASOLABIAL, BELOW_EYE and CHEEK is multiplied at a smile, in shares of
    mouthSmile 1: stronger ones have folds that are deeper by more."""
    smile = max(smile, 0.0)
    return 0.75 * smile * (1 + smile)


def bell(x: np.ndarray, middle_and_deviation: tuple[float, float]) -> np.ndarray:
    """1 in the middle, falling to the sides as a normal distribution does."""
    middle, deviation = middle_and_deviation
    return np.exp(-0.5 * ((x - middle) / deviation) ** 2)


def along_line(
    u: np.ndarray, v: np.ndarray, ends: tuple[Point, Point], deviation: float
) -> np.ndarray:
    """1 on the line between two points, falling with the distance from it."""
    (first_u, first_v), (last_u, last_v) = ends
    length = math.hypot(last_u - first_u, last_v - first_v)
    along_u, along_v = (last_u - first_u) / length, (last_v - first_v) / length
    along = (u - first_u) * along_u + (v - first_v) * along_v
    beside = (v - first_v) * along_u - (u - first_u) * along_v
    return bell(np.hypot(beside, along - along.clip(0, length)), (0.0, deviation))
