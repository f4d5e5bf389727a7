# SPDX-License-Identifier: Apache-2.0
"""Of a photo or a drawing, all that an avatar folder holds: the face is found, examined, laid out
and brought to rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtalk_ros.enroll import fit, framing
from realtalk_ros.enroll.appearance_checks import LevelFace, check_appearance, is_human
from realtalk_ros.enroll.avatar_writer import Enrolment
from realtalk_ros.enroll.face_detector import DetectedFace, FaceDetector
from realtalk_ros.enroll.face_reader import FaceReader, Reading, reading_distance, refine_identity
from realtalk_ros.enroll.framing import Portrait
from realtalk_ros.enroll.photo_checks import (
    MAX_ROLL,
    MIN_FACE,
    check_pose,
    find_face,
    no_upright_face,
    too_small,
)
from realtalk_ros.enroll.picture_layout import Layout
from realtalk_ros.enroll.rest_expression import Rest, bring_to_rest
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks

MAX_FACES = 4  # that are looked for in a photo: some may be none
MAX_CHANGE = 0.03  # of the crop's side, between two looks at one face
OTHER_MOUTH = 1 / 64  # of the crop's side: landmarks that move farther show another mouth
ENLARGED = 1.1  # times, beyond which a face is called too small for its frame


@dataclass(frozen=True)
class ExaminedPhoto:
    """A photo that an avatar can be made of, and what was found in it."""

    picture: np.ndarray  # (height, width, 3) uint8 BGR, with room around the face
    face: DetectedFace
    who: fit.Fit  # of this one picture
    reading: Reading
    notes: list[str]  # for the user


def examine(detector: FaceDetector, picture: np.ndarray, where: str) -> ExaminedPhoto:
    """Raises RealTalkError for a photo that no avatar can be made of."""
    return examine_face(detector, *find_face(detector, picture, where), where)


def examine_face(
    detector: FaceDetector, picture: np.ndarray, face: DetectedFace, where: str
) -> ExaminedPhoto:
    """As `examine`, of a face that was found."""
    mesh = fit.mesh_model().choose(face.points[None])
    who = fit.fit(fit.mesh_model(), mesh)
    check_pose(who.poses[0], float(who.error[0]), where)
    reading = FaceReader().read(picture, mesh[0])
    level = LevelFace.of(picture, face)
    human = is_human(detector.score(level.image), reading_distance(who, 0, reading))
    notes = check_appearance(level, who.weights[0], human, where)
    return ExaminedPhoto(picture, face, who, reading, notes)


def from_picture(
    picture: np.ndarray,
    where: Path | str,
    landmarker: Path | None,
    size: int = framing.SIZE,
) -> Enrolment:
    """Of a photo, by the tracker, in frames of that height. Raises RealTalkError."""
    with FaceDetector(landmarker, max_faces=MAX_FACES) as detector:
        return from_examined(examine(detector, picture, str(where)), detector, where, size)


def from_examined(
    photo: ExaminedPhoto, detector: FaceDetector, where: Path | str, size: int
) -> Enrolment:
    """As `from_picture`, of a photo that the detector has seen."""
    model, who = fit.mesh_model(), photo.who
    shown, at_rest = portraits(photo.picture, photo.face.points, who, size)
    rest = at_rest.portrait
    # Seen again, larger and upright: what is there only at first sight is no face, or lies on its
    # head.
    again = detector.find(shown.image)
    off = model.choose(again[0].points) - shown.points if again else np.inf
    if not np.median(np.abs(off)) < MAX_CHANGE * shown.layout.crop[2]:
        raise no_upright_face(str(where))
    identity = refine_identity(who, [photo.reading])
    references, weights, crop = [shown.crop], [who.weights[0] - at_rest.weights], shown.layout.crop
    moved = np.linalg.norm(shown.points - rest.points, axis=1).max()
    if moved > OTHER_MOUTH * crop[2]:
        references.append(rest.crop)
        weights.append(arkit.weights())
    resting = resting_landmarks(who.identity, at_rest.weights)
    return Enrolment(
        identity=identity,
        templates=[rest.image],
        landmarks=framing.landmarks_in_frame(rest, resting)[None],
        crop=crop,
        references=references,
        reference_weights=np.stack(weights),
        reference_landmarks=project_landmarks(
            shown.pose, who.identity, np.stack(weights) + at_rest.weights, crop
        ),
        expressions=None,
        region=region_of(rest, who.identity),
        resting_weights=at_rest.weights,
        parted_weights=at_rest.parted_weights,
        notes=photo.notes + too_coarse(shown.layout, size),
    )


def too_coarse(layout: Layout, size: int) -> list[str]:
    """A line for the user where the picture has fewer pixels than a frame of that height shows."""
    if layout.scale < ENLARGED:
        return []
    smaller = ", or a smaller --size" if size > framing.SIZES[0] else ""
    side = layout.crop[2]
    return [
        f"the face is {side / layout.scale:.0f} pixels wide in the picture and {side} in the "
        f"avatar, which will be soft: give a larger picture{smaller}"
    ]


def project_landmarks(
    pose: fit.Pose, identity: np.ndarray, weights: np.ndarray, crop: tuple[int, int, int]
) -> np.ndarray:
    """(K, 68, 2): the landmarks that weights (K, 52) show, in pixels of a crop of a frame."""
    shapes = landmarks.load().points(weights, identity).astype(np.float64)
    x, y, side = crop
    return (np.stack([pose.project(shape) for shape in shapes]) - (x, y)) * (framing.CROP / side)


def resting_landmarks(identity: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(68, 3) cm, at resting weights (52,)."""
    weights = np.zeros(arkit.COUNT) if weights is None else weights
    return landmarks.load().points(weights, identity).astype(np.float64)


def region_of(shown: Portrait, identity: np.ndarray) -> np.ndarray:
    return framing.region(shown.pose.project(resting_landmarks(identity)), shown.layout.crop)


def portraits(
    picture: np.ndarray, points: np.ndarray, who: fit.Fit, size: int
) -> tuple[Portrait, Rest]:
    """The face in its frame as it is, and at rest, of a fit to this one picture; the frame's height
    is `size`."""
    shown = portrait(picture, points, who, layout_of(picture, who, size))
    return shown, bring_to_rest(shown, fit.mesh_model(), who.identity, who.weights[0])


def layout_of(picture: np.ndarray, who: fit.Fit, size: int) -> Layout:
    """Of the frame of the picture of a fit. Raises RealTalkError where that cuts the face off."""
    pose = who.poses[0]
    return framing.lay_out(
        picture.shape[1::-1], framing.square(pose, who.identity), pose.roll, size
    )


def portrait(picture: np.ndarray, points: np.ndarray, who: fit.Fit, layout: Layout) -> Portrait:
    """The face of the picture of a fit as it is, in that frame."""
    model = fit.mesh_model()
    return Portrait.of(
        picture,
        layout,
        layout.points(model.choose(points)),
        model.shape(who.identity, who.weights[0]),
        framing.in_frame(who.poses[0], layout),
    )


def from_points(picture: np.ndarray, points: np.ndarray, size: int) -> Enrolment:
    """Of a drawing, by eight points (8, 2), in frames of that height. Raises RealTalkError."""
    model = fit.eight_model()
    who = fit.fit(model, points[None])
    pose, where = who.poses[0], "the picture"
    square = framing.square(pose, who.identity)
    if square[2] < 1.2 * MIN_FACE:
        raise too_small(where, square[2] / 1.2)
    if abs(pose.roll) > MAX_ROLL:
        raise RealTalkError("the face is not upright: turn the picture")
    layout = framing.lay_out(picture.shape[1::-1], square, pose.roll, size)
    # The fitted head's 68 landmarks stand for those that were not given.
    shape = resting_landmarks(who.identity)
    pose = framing.in_frame(pose, layout)
    shown = Portrait.of(picture, layout, pose.project(shape), shape, pose)
    weights = np.zeros((1, arkit.COUNT))
    return Enrolment(
        identity=who.identity,
        templates=[shown.image],
        landmarks=framing.landmarks_in_frame(shown, shape)[None],
        crop=layout.crop,
        references=[shown.crop],
        reference_weights=weights.astype(np.float32),
        reference_landmarks=project_landmarks(pose, who.identity, weights, layout.crop),
        expressions=None,
        region=region_of(shown, who.identity),
        resting_weights=arkit.weights(),
        notes=[
            "eight points give no expression: the picture is taken for a face at rest",
            *too_coarse(layout, size),
        ],
    )
