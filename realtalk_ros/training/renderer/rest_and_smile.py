# SPDX-License-Identifier: Apache-2.0
"""Two photographs of one person: at rest, and smiling.

A pair are two files whose names begin alike, up to the first "_" (001_03.jpg, 001_08.jpg: so in the
Face Research Lab London Set). One at rest may have several smiles, or whatever else a mouth does.
It says what shape the face has. The smile is fitted with it (enroll/same_person.py) and laid over
it by the pose of the head. That fit explains the whole mesh of the tracker, so its lips lie a pixel
of the crop aside. `with_lips_as_found` then brings the lips of the picture that is drawn to where
the photograph has them. Needs the extra `enroll`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll import fit, framing
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.framing import Portrait
from realtalk_ros.enroll.photo_checks import read_picture
from realtalk_ros.enroll.photo_to_avatar import (
    MAX_FACES,
    examine,
    from_examined,
    resting_landmarks,
)
from realtalk_ros.enroll.same_person import check_faces, fit_same_person, own_portrait
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import CHIN, LIPS
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.training.common.affine_maps import similarity_transform, transform

MOUTH = np.array(arkit.MOUTH)
OF_MOUTH = np.isin(np.arange(arkit.COUNT), MOUTH)
# Landmarks that the weights are to bring to where they are found, and how much each counts.
AROUND_CHIN = np.arange(CHIN - 3, CHIN + 4)
PLACED = np.r_[AROUND_CHIN, LIPS]
COUNTS = np.where(np.isin(PLACED, AROUND_CHIN), 0.5, 1.0)[:, None]
# Pixels of the crop that a weight of 1 must bring the landmarks nearer, to be believed. Of 34
# people of the London set, none held out, LPIPS of the lips was 0.1129 with 20, 0.1113 with 8,
# 0.1117 with 4 (0.1240 by the fit of the mesh).
RIDGE = 8.0
LIP_STEPS = 4
STEP = np.float32(0.05)  # of a weight, by which the landmarks' movement is found
STEPS = STEP * np.eye(arkit.COUNT, dtype=np.float32)[MOUTH]
NEUTRAL, SMILE = 0, 1


@dataclass(frozen=True)
class Photograph:
    """A face in its frame, as the photograph shows it."""

    image: np.ndarray  # (height, width, 3) uint8 BGR
    points: np.ndarray  # (68, 2), landmarks, pixels of the image
    weights: np.ndarray  # (52,), fitted
    square: np.ndarray  # (3,): middle x, y and side of the face's square, pixels
    head: np.ndarray  # (P, 2), pixels: where the landmarks of the face at rest are in this pose

    @classmethod
    def of(cls, shown: Portrait, who: fit.Fit, at_rest: np.ndarray) -> Photograph:
        """`at_rest` (52,) are the weights of the face at rest."""
        shape = resting_landmarks(who.identity, who.weights[0])
        head = fit.mesh_model().shape(who.identity, at_rest)
        return cls(
            shown.image,
            framing.landmarks_in_frame(shown, shape),
            who.weights[0],
            middle_and_side(shown.layout.crop),
            shown.pose.project(head),
        )


@dataclass(frozen=True)
class Pair:
    """Two photographs of one person in the coordinates of the neutral one's face crop."""

    photographs: tuple[Photograph, Photograph]  # neutral, smiling
    identity: np.ndarray  # (100,)
    resting_weights: np.ndarray  # (52,)
    weights: np.ndarray  # (2, 52), of neutral and smile, beyond those at rest
    landmarks: np.ndarray  # (2, 68, 2), pixels of the neutral crop, as these weights say
    found: np.ndarray  # (2, 68, 2), where they are in the photographs, aligned
    maps: np.ndarray  # (2, 2, 3), affine, from the neutral crop to each photograph
    misfit: float  # pixels by which the smile's lips lie elsewhere than its fit says, median


def person_of(photograph: Path) -> str:
    """The beginning of its name."""
    return photograph.stem.split("_")[0]


def pairs_by_name(neutral: list[Path], smiling: list[Path]) -> dict[str, tuple[Path, Path]]:
    """The neutral photograph of a person and a smiling one, by name: the beginning of theirs, or
    the smiling one's where there are several. Raises RealTalkError where no two begin alike."""
    at_rest = {person_of(path): path for path in neutral}
    count = Counter(map(person_of, smiling))
    both = {}
    for path in smiling:
        who = person_of(path)
        if who in at_rest:
            both[who if count[who] == 1 else path.stem] = at_rest[who], path
    if not both:
        raise RealTalkError(
            "no two photographs belong to one person: let their names begin alike, up to a _"
        )
    return both


def read_pair(
    neutral: Path, smiling: Path, landmarker: Path | None, size: int = framing.SIZE
) -> Pair:
    """Frames have a height of `size` pixels. Raises RealTalkError for photographs that are
    refused, or, where dlib is installed to tell, show two people."""
    with FaceDetector(landmarker, max_faces=MAX_FACES) as detector:
        first = examine(detector, read_picture(neutral), neutral.name)
        made = from_examined(first, detector, neutral.name, size)
        second = examine(detector, read_picture(smiling), smiling.name)
    check_faces(first, second, (neutral.name, smiling.name))
    who, smile = first.who, fit_same_person(first, second)
    # What an avatar shows at rest: its own template, which may differ from the photograph.
    at_rest = replace(
        Photograph.of(own_portrait(first, who, size), who, who.weights[0]),
        image=made.templates[0],
        points=made.landmarks[0],
        weights=made.resting_weights,
    )
    shown = own_portrait(second, smile, size)
    return lay_over(at_rest, Photograph.of(shown, smile, who.weights[0]), made.identity)


def lay_over(at_rest: Photograph, smiling: Photograph, identity: np.ndarray) -> Pair:
    """The smile over the face at rest, by the pose of the head."""
    into_rest = from_square(at_rest.square)
    to_crop = cv2.invertAffineTransform(into_rest)
    rest_points = transform(at_rest.points, to_crop)
    aligned = similarity_transform(transform(at_rest.head, to_crop), smiling.head)
    weights = np.zeros((2, arkit.COUNT), np.float32)
    weights[SMILE] = (OF_MOUTH * (smiling.weights - at_rest.weights)).clip(-1, 1)
    geometry = Geometry(
        identity,
        np.float32(rest_points[None] / CROP_SIZE),
        resting_weights=at_rest.weights,
        as_people=True,
    )
    found = transform(smiling.points, cv2.invertAffineTransform(aligned))
    away = geometry.target_landmarks(weights[SMILE], 0) * CROP_SIZE - found
    weights[SMILE] = with_lips_as_found(geometry, weights[SMILE], found)
    moved = geometry.target_landmarks(weights[SMILE], 0) * CROP_SIZE
    return Pair(
        photographs=(at_rest, smiling),
        identity=np.float32(identity),
        resting_weights=np.float32(at_rest.weights),
        weights=weights,
        landmarks=np.stack([rest_points, moved]),
        found=np.stack([rest_points, found]),
        maps=np.stack([into_rest, aligned]),
        misfit=float(np.median(np.linalg.norm(away[LIPS], axis=1))),
    )


def with_lips_as_found(geometry: Geometry, weights: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Weights (52,) whose mouth is changed until lips and chin of the drawn picture lie at
    landmarks `found` (68, 2), pixels of the crop, as far as is worth it (RIDGE): bounded least
    squares by Gauss-Newton steps. Weights do not become negative that are not.
    Needs SciPy (extra `enroll`)."""
    from scipy.optimize import lsq_linear

    fitted = weights.astype(np.float32).copy()
    before = fitted[MOUTH]
    bounds = np.minimum(before, 0), np.ones(len(MOUTH))
    pull = RIDGE * np.eye(len(MOUTH))

    def missing(weights: np.ndarray) -> np.ndarray:
        points = CROP_SIZE * geometry.target_landmarks(weights, 0)
        return np.asarray(COUNTS * (found - points)[PLACED]).ravel()

    for _ in range(LIP_STEPS):
        away = missing(fitted)
        by_weight = np.stack([(away - missing(fitted + step)) / STEP for step in STEPS], 1)
        solved = lsq_linear(
            np.vstack([by_weight, pull]),
            np.concatenate([away + by_weight @ fitted[MOUTH], pull @ before]),
            bounds,
            method="bvls",
        )
        fitted[MOUTH] = solved.x
    return fitted


def middle_and_side(crop: tuple[int, int, int]) -> np.ndarray:
    """(3,): the square of a crop, of which x and y are the corner."""
    x, y, side = crop
    return np.array([x + side / 2, y + side / 2, side])


def from_square(square: np.ndarray) -> np.ndarray:
    """(2, 3): from a face's crop of CROP_SIZE pixels to the picture in which `square` is."""
    x, y, side = square
    scale = side / CROP_SIZE
    return np.array([[scale, 0, x - side / 2], [0, scale, y - side / 2]])
