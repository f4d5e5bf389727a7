# SPDX-License-Identifier: Apache-2.0
"""Cheeks that a smile raises, and the light on them: folds beside nose and mouth, and below the
eyes.

None of the 68 landmarks lies on a cheek, so the aligner leaves them where they are, and a smile
would be the mouth's alone. How far cheeks move, and what becomes darker or lighter, was measured in
the neutral and smiling photographs of 68 people (docs/experiments.md).

Coordinates of a cheek: u goes from the middle of the nose to the outer corner of the eye (1), v
from there down to the corner of a smiling mouth (1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.image_decoding import to_square
from realtalk_ros.contracts import COARSE_SIZE, CROP_SIZE
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.boxes import bounding_box, is_empty
from realtalk_ros.rendering.eyelids import shut_eyes
from realtalk_ros.rendering.generated_face import Cheek
from realtalk_ros.rendering.geometry import Geometry

Point = tuple[float, float]  # u, v
COARSE = COARSE_SIZE, COARSE_SIZE

# By the subject's side: landmarks of the eye's outer corner, the mouth's and the nose's wing, and
# the weight.
SIDES = ((36, 48, 31, arkit.INDEX["mouthSmileRight"]), (45, 54, 35, arkit.INDEX["mouthSmileLeft"]))
NOSE_BRIDGE = 27  # a landmark
MEAN_SMILE = 0.45  # of the 68 people, at whose mouth's corner v is 1
# At a smile of 1: how far skin moves outwards and up, in shares of the width that is u's unit; and
# where, middle and standard deviation.
MOVEMENT, WHERE = (0.14, 0.115), ((0.88, 0.34), (0.55, 0.36))
# Where it ends: from 0 to 1 in u, beside the nose's wing and within the outline of the face, and in
# v, below the lid (of glasses: below their rim) and above the mouth.
BESIDE_WING, OUTLINE, BELOW_LID, ABOVE_MOUTH = (0.1, 0.34), (1.35, 1.05), (0.1, 0.35), (1.15, 0.85)
BELOW_GLASSES = (0.5, 0.75)
SKIN = (9, 9)  # pixels over which its colour is averaged
# Light at a smile of 1, logarithms of blue, green and red: darker along lines from one point (u, v)
# to another, of a standard deviation. The fold beside the nose, whose first u counts from the wing,
# and that below the eye. And the cheek, lighter: middle and standard deviation in u and v.
NASOLABIAL = ((0.16, 0.57), (0.83, 0.75), 0.07, np.array([-0.21, -0.20, -0.14]))
BELOW_EYE = ((0.56, 0.07), (1.11, 0.38), 0.10, np.array([-0.17, -0.14, -0.095]))
CHEEK = ((1.3, 0.68), (0.42, 0.15), np.array([0.15, 0.11, 0.095]))
LEAST, MOST = 0.005, 0.8  # of a smile: below nothing is drawn; nine tenths of the people smile less


class Cheeks:
    """Of one person.

    landmarks: (T, 68, 2), of the templates with MEAN_SMILE, pixels of the face crop.
    templates: (T, 256, 256, 3) uint8 BGR, the face crops.
    glasses: whether the person wears any: their rims stay where they are.
    """

    def __init__(self, landmarks: np.ndarray, templates: Sequence[np.ndarray], glasses: bool):
        self._cheeks = [
            [make_cheek(points, side, template, glasses) for side in SIDES]
            for points, template in zip(landmarks, templates, strict=True)
        ]

    @classmethod
    def of(cls, avatar: Avatar, geometry: Geometry) -> Cheeks:
        """Of an avatar; `geometry` is that of its templates."""
        smiling = arkit.weights(mouthSmile=MEAN_SMILE)
        indices = range(len(avatar.templates))
        points = [geometry.target_landmarks(smiling, t) * CROP_SIZE for t in indices]
        x, y, side = avatar.crop
        crops = [to_square(t[y : y + side, x : x + side], CROP_SIZE) for t in avatar.templates]
        shut = shut_eyes(
            avatar.templates[0], avatar.crop, geometry.template_eyes[0],
            geometry.template_landmarks[0],
        )  # fmt: skip
        return cls(np.stack(points), crops, glasses=shut is not None and shut.glasses)

    def raised(self, weights: np.ndarray, template: int) -> list[tuple[float, Cheek]]:
        """How far weights (52,) raise which cheeks of a template, by its index."""
        smiles = [min(float(weights[weight]), MOST) for *_, weight in SIDES]
        both = zip(smiles, self._cheeks[template], strict=True)
        return [(smile, cheek) for smile, cheek in both if smile > LEAST and cheek is not None]


def make_cheek(
    points: np.ndarray, side: tuple[int, int, int, int], template: np.ndarray, glasses: bool
) -> Cheek | None:
    """Of a template (256, 256, 3) with landmarks at `points` (68, 2), pixels; None where it is not
    seen, as that of a face that is turned to the side."""
    eye, mouth, wing, _ = side
    across = points[SIDES[1][0]] - points[SIDES[0][0]]
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    if eye == SIDES[0][0]:
        across = -across  # outwards
    down = np.array([0.0, 1.0]) - across[1] * across
    middle = points[NOSE_BRIDGE]
    width, height = (points[eye] - middle) @ across, (points[mouth] - points[eye]) @ down
    if min(width, height) < 8:  # pixels
        return None
    at_wing = (points[wing] - middle) @ across / width
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    u = ((x - middle[0]) * across[0] + (y - middle[1]) * across[1]) / width
    v = ((x - points[eye][0]) * down[0] + (y - points[eye][1]) * down[1]) / height
    inside = smoothstep(u - at_wing, *BESIDE_WING) * smoothstep(u, *OUTLINE)
    inside *= smoothstep(v, *(BELOW_GLASSES if glasses else BELOW_LID))
    inside *= smoothstep(v, *ABOVE_MOUTH)
    share = width * inside * bell(u, WHERE[0]) * bell(v, WHERE[1])
    # The source of what moved outwards and up lies inwards and down.
    source = MOVEMENT[1] * down - MOVEMENT[0] * across
    (first_u, first_v), last, deviation, levels = NASOLABIAL
    nasolabial = (at_wing + first_u, first_v), last, deviation, levels
    light = sum(
        along_line(u, v, (first, last), deviation)[..., None] * levels
        for first, last, deviation, levels in (nasolabial, BELOW_EYE)
    )
    light += (bell(u, CHEEK[0]) * bell(v, CHEEK[1]))[..., None] * CHEEK[2]
    added = cv2.blur(template, SKIN) * (np.exp(light * inside[..., None]) - 1)
    coarse = cv2.resize(np.dstack([added, 0 * u]), COARSE, interpolation=cv2.INTER_AREA)
    box = bounding_box((share > 0.1).astype(np.uint8))
    if is_empty(box):
        return None
    cells = bounding_box((cv2.resize(inside, COARSE) > 0).astype(np.uint8))
    movement = source[:, None, None] * share[box]
    return Cheek(box, movement.astype(np.float32), cells, coarse[cells].astype(np.float32))


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
