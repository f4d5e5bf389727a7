# SPDX-License-Identifier: Apache-2.0
"""Whether a photograph shows a person's face openly: in light, eyes open, nothing before the mouth.

The tracker puts its landmarks on cats, cups and surgical masks, too. So the picture itself is
looked at where they say that lips, chin and cheeks are, and how sure another detector is. The
limits were set by 102 neutral and 102 smiling portraits (the London set), 40 snapshots, 40 people
in masks, 54 pictures of animals and objects (ImageNet), and hands, cups, masks and microphones
painted over portraits. Each is well beyond what an open face reached, dark skin and beards
included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll import face_reader, fit
from realtalk_ros.enroll.face_detector import DetectedFace
from realtalk_ros.enroll.mediapipe_points import (
    CHIN_SKIN,
    EYE_OUTLINES,
    INNER_LIPS,
    OUTER_LIPS,
    UNDER_EYES,
    hull_mask,
)
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit

# Of MediaPipe's detector on the level face: people have 0.78 and more, mostly 0.87; animals, masks
# and things up to 0.86. Below that, the face reader must agree: the median distance of its
# landmarks from the tracker's, of the crop's side, is 0.012 on people, 0.019 to 0.05 on all else.
NO_FACE, SURE_FACE = 0.5, 0.86
MAX_APART = 0.019
# Levels of L* (CIELAB), 0 to 100. Lips differ from the skin around them by hue or by lightness, and
# their line is dark: 10 and more on all skins, 19 in good light.
MIN_LIP_CONTRAST, MIN_LIP_RANGE = 3.0, 18.0
DARK_NOSE = 27.0  # against the cheeks: dogs have 30 to 70, people up to 24
DARK_CHIN, DARK_CHIN_HUE = 32.0, 8.0  # against the cheeks; beards reach 21
# The lightest twentieth of a face, grey levels: a face in the dark has no highlights. Dark skin in
# good light has 90 and more.
TOO_DARK, DIM = 45.0, 70.0
# Behind dark glasses (painted over 34 portraits: opaque ones, and lenses that let 20 % through) or
# a patch an eye has hardly any contrast, and the skin below it is darker than the cheek. The worst
# of 320 portraits and frames of films has 16 and 22: a shut eye in shadow.
EYE_CONTRAST, DARK_BELOW = 14.0, 18.0  # no eye is seen
LITTLE_CONTRAST, DIM_BELOW = 18.0, 13.0  # it is hardly seen
SHUT, HALF_SHUT = 0.5, 0.35  # weight of a blink; smiles reach 0.2
# Of MediaPipe's mesh.
CHEEKS = ((50, 101, 118, 117, 123, 187, 205, 36), (280, 330, 347, 346, 352, 411, 425, 266))
NOSE = (1, 4, 44, 274, 19, 94, 125, 354, 5, 45, 275)
UNCOVERED = "give a picture of a person's whole face with nothing before it"


@dataclass(frozen=True)
class LevelFace:
    """A face turned level and brought to the size of the networks' crop."""

    image: np.ndarray  # (256, 256, 3) uint8 BGR
    points: np.ndarray  # (478, 2), pixels of it

    @classmethod
    def of(cls, picture: np.ndarray, face: DetectedFace) -> LevelFace:
        layout = face_reader.upright(fit.mesh_model().choose(face.points))
        return cls(layout.apply(picture), layout.points(face.points))

    def region(self, rows: Sequence[int], scale: float = 1.0) -> np.ndarray:
        """(256, 256) bool: the convex hull of some landmarks, scaled about its middle."""
        shape = self.points[list(rows)]
        shape = shape.mean(0) + scale * (shape - shape.mean(0))
        return hull_mask(shape, (CROP_SIZE, CROP_SIZE))


def is_human(score: float, apart: float = np.inf) -> bool:
    """By the detector's score and how far apart the face reader's landmarks are from the
    tracker's."""
    return score > SURE_FACE or (score > NO_FACE and apart < MAX_APART)


def check_appearance(face: LevelFace, weights: np.ndarray, human: bool, where: str) -> list[str]:
    """Notes for the user on a face that shows these weights (52,). Raises RealTalkError for one
    that no avatar can be made of."""
    notes = check_light(face, where)
    lab = cv2.cvtColor(face.image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    cheeks = [colour(lab, face.region(rows)) for rows in CHEEKS]
    cheek = np.mean(cheeks, 0)
    if not human or (cheek - colour(lab, face.region(NOSE)))[0] > DARK_NOSE:
        raise RealTalkError(f"what was found in {where} is no uncovered human face: {UNCOVERED}")
    check_lips(face, lab, where)
    notes += check_eyes(face, lab, [float(lightness) for lightness, *_ in cheeks], where)
    if covers_chin(face, lab, cheek, where):
        notes.append(
            f"the chin in {where} is very dark: if that is no beard but a microphone or a hand, "
            "give a picture without it"
        )
    blink = max(weights[arkit.INDEX["eyeBlinkLeft"]], weights[arkit.INDEX["eyeBlinkRight"]])
    if blink > SHUT:
        raise RealTalkError(f"an eye in {where} is shut: give a picture with both eyes open")
    if blink > HALF_SHUT:
        notes.append(f"the eyes in {where} are half shut, and will stay so: better is a picture "
                     "with open eyes")  # fmt: skip
    return notes


def check_light(face: LevelFace, where: str) -> list[str]:
    grey = cv2.cvtColor(face.image, cv2.COLOR_BGR2GRAY)
    highlights = float(np.percentile(grey[face.region(range(len(face.points)))], 95))
    if highlights < TOO_DARK:
        raise RealTalkError(f"the face in {where} is too dark: give a picture in light from ahead")
    if highlights < DIM:
        return [f"the face in {where} is dark, and so will be the avatar: better is a picture in "
                "light from ahead"]  # fmt: skip
    return []


def check_eyes(face: LevelFace, lab: np.ndarray, cheeks: Sequence[float], where: str) -> list[str]:
    """Raises RealTalkError where something dark is before an eye. `cheeks`: their L*, the right one
    first: of a face in light from a side each eye is compared with the cheek below it."""
    smooth = cv2.GaussianBlur(lab[..., 0], (0, 0), 0.8)
    seen = []
    for outline, under, cheek in zip(EYE_OUTLINES, UNDER_EYES, cheeks, strict=True):
        contrast = float(np.ptp(np.percentile(smooth[face.region(outline)], (3, 97))))
        below = face.region(under) & ~face.region(outline, 1.1)
        dark = cheek - float(colour(lab, below)[0]) if below.any() else 0.0
        seen.append((contrast, dark))
    if any(contrast < EYE_CONTRAST and dark > DARK_BELOW for contrast, dark in seen):
        raise RealTalkError(
            f"an eye in {where} cannot be seen: give a picture without dark glasses, hair or "
            "shadow before the eyes"
        )
    if any(contrast < LITTLE_CONTRAST and dark > DIM_BELOW for contrast, dark in seen):
        return [f"the eyes in {where} are hardly seen, and their whites say how light teeth are: "
                "better is a picture without dark glasses, in light from ahead"]  # fmt: skip
    return []


def check_lips(face: LevelFace, lab: np.ndarray, where: str) -> None:
    """Raises RealTalkError where no lips are to be seen."""
    whole, inside = face.region(OUTER_LIPS), face.region(INNER_LIPS, 1.05)
    around = face.region(OUTER_LIPS, 1.6) & ~face.region(OUTER_LIPS, 1.15)
    lightness, red, _ = colour(lab, whole & ~inside) - colour(lab, around)
    smooth = cv2.GaussianBlur(lab[..., 0], (0, 0), 1.0)[whole]
    spread = np.ptp(np.percentile(smooth, (3, 97)))
    if np.hypot(red, lightness) < MIN_LIP_CONTRAST and spread < MIN_LIP_RANGE:
        raise no_lips(where)


def covers_chin(face: LevelFace, lab: np.ndarray, cheek: np.ndarray, where: str) -> bool:
    """Whether something dark is where the chin should be. Raises RealTalkError where the lips are
    of its colour, too."""
    chin = colour(lab, face.region(CHIN_SKIN))
    darker, *hue = cheek - chin
    if darker < DARK_CHIN or np.hypot(*hue) < DARK_CHIN_HUE:
        return False
    lips = colour(lab, face.region(OUTER_LIPS) & ~face.region(INNER_LIPS, 1.05))
    if np.linalg.norm(lips - chin) < MIN_LIP_CONTRAST:
        raise no_lips(where)
    return True


def no_lips(where: str) -> RealTalkError:
    return RealTalkError(
        f"no lips can be seen in {where}: if a hand, a mask or a microphone covers the mouth, "
        f"{UNCOVERED}"
    )


def colour(lab: np.ndarray, region: np.ndarray) -> np.ndarray:
    """(3,) median L*, a*, b*; zeros for an empty region."""
    return np.median(lab[region], 0) if region.any() else np.zeros(3)
