# SPDX-License-Identifier: Apache-2.0
"""A second photograph of somebody whose face at rest is known from a first one.

Fitted by itself, it would share its smile out between weights and shape, and a mouth drawn with
these weights would be too narrow and too shut. So it is fitted with the shape of the first one
(`fit_same_person`). Needs the extra `enroll`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.enroll import fit, framing
from realtalk_ros.enroll.appearance_checks import CHEEKS, NOSE, LevelFace
from realtalk_ros.enroll.avatar_writer import Enrolment
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.face_embedding import MAX_FACES_APART, FaceEmbedding
from realtalk_ros.enroll.face_reader import shapes_apart
from realtalk_ros.enroll.framing import Portrait
from realtalk_ros.enroll.photo_to_avatar import (
    MAX_FACES,
    ExaminedPhoto,
    examine,
    from_examined,
    layout_of,
    portrait,
    resting_landmarks,
)
from realtalk_ros.errors import RealTalkError
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.own_teeth import TeethPicture

# Times that the second photograph is fitted, each time from where the last one left the head.
ROUNDS, STEPS = 4, 6
FREEDOM = 2.0  # of its weights, beside those of somebody whose shape is not known
# Without that network: of the lengths of the two shapes that the face reader finds (geometric
# mean). Of one person's photographs it is 0.45, at most 0.84, of frames with all expressions up to
# 1.3; 23 % of photographs of two people are within the first, 1 % within the second.
MAX_SHAPES_APART, SURE_SHAPES_APART = 1.0, 0.75
MAX_GAIN = 2.0  # by which a photograph's light is brought to that of another one


def fit_same_person(first: ExaminedPhoto, second: ExaminedPhoto) -> fit.Fit:
    """The second photograph, with the shape and the camera's distance of the first one. As far as
    the tracked landmarks of the first lie off its fitted head they belong to this person, and those
    of the second are taken to lie off as well."""
    model, who = fit.mesh_model(), first.who
    pose = who.poses[0]
    own = model.choose(first.face.points) - pose.project(
        model.shape(who.identity, who.weights[0])
    )  # pixels of the first photograph
    fitter = fit.Fitter(model, who.identity, pose.distance, FREEDOM)
    found = model.choose(second.face.points)
    weights = second.who.weights[0].astype(np.float64)
    there = replace(second.who.poses[0], distance=pose.distance)
    for _ in range(ROUNDS):
        angle, scale = there.roll - pose.roll, there.scale / pose.scale
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        weights, there, error = fitter.refine(found - scale * own @ turn.T, weights, there, STEPS)
    return replace(
        who,
        weights=weights[None].astype(np.float32),
        poses=[there],
        error=np.array([error], np.float32),
    )


def own_portrait(seen: ExaminedPhoto, who: fit.Fit, size: int) -> Portrait:
    """A photograph of `who`, in the frame that it would have as an avatar, `size` pixels high.
    Raises RealTalkError where the picture cuts the face off."""
    layout = layout_of(seen.picture, seen.who, size)
    return portrait(seen.picture, seen.face.points, who, layout)


def from_two_pictures(
    picture: np.ndarray,
    smile: np.ndarray,
    where: tuple[Path | str, Path | str],
    landmarker: Path | None,
    size: int,
) -> Enrolment:
    """What `from_picture` makes of the first picture, with a reference more: the second one, of the
    same person, whose lips show teeth. Raises RealTalkError."""
    with FaceDetector(landmarker, max_faces=MAX_FACES) as detector:
        first = examine(detector, picture, str(where[0]))
        made = from_examined(first, detector, where[0], size)
        second = examine(detector, smile, str(where[1]))
    notes = second.notes + check_same_person(first, second, where)
    who = fit_same_person(first, second)
    shown = own_portrait(second, who, size)
    crop = in_light_of(first, second, shown.crop)
    shape = resting_landmarks(who.identity, who.weights[0])
    x, y, side = shown.layout.crop
    points = (framing.landmarks_in_frame(shown, shape) - (x, y)) * (framing.CROP / side)
    weights = (who.weights[0] - made.resting_weights).astype(np.float32)
    places = (points[None] / framing.CROP).astype(np.float32)
    geometry = Geometry(made.identity, places, weights[None], made.resting_weights)
    if TeethPicture.find(crop, geometry, 0, weights) is None:
        raise RealTalkError(
            f"the smile in {where[1]} shows no teeth, or not clearly: give a picture of a broad "
            "smile from the front, or leave --smile out"
        )
    return replace(
        made,
        references=[*made.references, crop],
        reference_weights=np.vstack([made.reference_weights, weights]),
        reference_landmarks=np.concatenate([made.reference_landmarks, points[None]]),
        notes=made.notes + notes,
    )


def check_same_person(
    first: ExaminedPhoto, second: ExaminedPhoto, where: tuple[Path | str, Path | str]
) -> list[str]:
    """Notes for the user, where it is hardly known. Raises RealTalkError for two people."""
    if check_faces(first, second, where):
        return []
    apart = shapes_apart(first.reading.identity, second.reading.identity)
    if apart > MAX_SHAPES_APART:
        raise two_people(where)
    if apart > SURE_SHAPES_APART:
        return [f"{where[1]} may show somebody else than {where[0]}: look whether the teeth are "
                "the right ones. dlib would see it better: "
                f"{install_hints.how_to_install_extra('evaluate')}"]  # fmt: skip
    return []


def check_faces(
    first: ExaminedPhoto, second: ExaminedPhoto, where: tuple[Path | str, Path | str]
) -> bool:
    """Whether dlib's network is installed to tell. Raises RealTalkError for two people."""
    network, _ = FaceEmbedding.if_installed()
    if network is None:
        return False
    if faces_apart(network, first, second) > MAX_FACES_APART:
        raise two_people(where)
    return True


def two_people(where: tuple[Path | str, Path | str]) -> RealTalkError:
    return RealTalkError(
        f"{where[1]} seems to show somebody else than {where[0]}: give two pictures of one "
        "person, both from the front"
    )


def faces_apart(network: FaceEmbedding, first: ExaminedPhoto, second: ExaminedPhoto) -> float:
    levels = [LevelFace.of(photo.picture, photo.face) for photo in (first, second)]
    one, other = (network.embed(level.image, level.points) for level in levels)
    return float(np.linalg.norm(one - other))


def in_light_of(first: ExaminedPhoto, second: ExaminedPhoto, crop: np.ndarray) -> np.ndarray:
    """A crop of the second photograph, its skin as light and as warm as that of the first."""
    skins = []
    for photo in (first, second):
        level = LevelFace.of(photo.picture, photo.face)
        skins.append(np.median(level.image[level.region(NOSE) | cheeks(level)], 0))
    gain = np.clip(skins[0] / np.maximum(skins[1], 1), 1 / MAX_GAIN, MAX_GAIN)
    return np.rint(crop * gain).clip(0, 255).astype(np.uint8)


def cheeks(level: LevelFace) -> np.ndarray:
    right, left = (level.region(rows) for rows in CHEEKS)
    return right | left
