# SPDX-License-Identifier: Apache-2.0
"""Which pictures an avatar cannot be made of, and why: each refusal says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.enroll import fit, mediapipe_points
from realtalk_ros.enroll.appearance_checks import LevelFace, is_human
from realtalk_ros.enroll.face_detector import DetectedFace, FaceDetector
from realtalk_ros.enroll.photo_colours import as_srgb
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import landmarks
from realtalk_ros.paths import cannot_open, is_folder

SUFFIXES = (".jpg", ".jpeg", ".png")  # of photographs
MAX_PIXELS = 64_000_000  # of a photo
MAX_FILE = 256 * 2**20  # bytes of a photo
MIN_FACE = 64  # pixels, forehead to chin
MIN_SIDE = 32  # pixels of a picture: less than such a face is wide
BYSTANDER = 0.4  # a second face of less than this share of the first one's size is not counted
MAX_YAW, MAX_PITCH, MAX_ROLL = np.radians([28.0, 25.0, 45.0])
MAX_ERROR = 0.03  # rms of the fit, of the crop's side: more is no face
CUT = 0.04  # of a face's size by which its landmarks may lie beyond the picture's border
ROOM = 0.04  # around the face's square, of its side, that a picture gets if the square is not in it


def read_picture(path: Path) -> np.ndarray:
    """uint8 BGR, sRGB. Raises RealTalkError before anything large is decoded."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise cannot_open(path, error) from error
    if len(data) > MAX_FILE:
        raise RealTalkError(f"{path} is larger than {MAX_FILE >> 20} MB: scale it down")
    size = image_decoding.size(data)
    if size is None and data.startswith((image_decoding.PNG, image_decoding.JPEG)):
        raise RealTalkError(
            f"{path} is damaged or cut short, or an animation: get it again, or save it as a still "
            "picture"
        )
    if size is None:
        raise RealTalkError(f"{path} is no PNG or JPEG picture: convert it to one")
    if size[0] * size[1] > MAX_PIXELS:
        raise RealTalkError(
            f"{path} has {size[0]}x{size[1]} pixels, more than {MAX_PIXELS // 10**6} million: "
            "scale it down or crop it to head and shoulders"
        )
    if min(size) < MIN_SIDE or max(size) < MIN_FACE:
        raise RealTalkError(
            f"{path} has {size[0]}x{size[1]} pixels: a face must have {MIN_FACE} or more, better "
            "200, so give a larger picture"
        )
    picture = image_decoding.decode(data, MAX_PIXELS)
    if picture is None:
        raise RealTalkError(f"{path} is damaged, it cannot be decoded: get it again")
    return as_srgb(picture, data)


def find_face(
    detector: FaceDetector, picture: np.ndarray, where: str
) -> tuple[np.ndarray, DetectedFace]:
    """The one face that an avatar can be made of, and the picture with room around it: what of a
    tight crop is missing there is made up. Raises RealTalkError."""
    faces = detector.find(picture)
    # Windows, flags and cups are taken for faces now and then.
    if len(faces) > 1:
        faces = [face for face in faces if is_face(detector, picture, face)] or faces[:1]
    if faces and faces[0].size < MIN_FACE and not is_face(detector, picture, faces[0]):
        faces = []
    return with_room(picture, one_face(faces, where), where)


def is_face(detector: FaceDetector, picture: np.ndarray, face: DetectedFace) -> bool:
    """By the face model, and by another look at it alone."""
    model = fit.mesh_model()
    if float(fit.fit(model, model.choose(face.points[None])).error[0]) > MAX_ERROR:
        return False
    return is_human(detector.score(LevelFace.of(picture, face).image))


def with_room(
    picture: np.ndarray, face: DetectedFace, where: str
) -> tuple[np.ndarray, DetectedFace]:
    """The picture with a border, where the face's square needs one, and the face in it. Raises
    RealTalkError where the face itself is cut off."""
    height, width = picture.shape[:2]
    low, high = face.points.min(0), face.points.max(0)
    if max(*-low, *(high - (width, height))) > CUT * face.size:
        raise RealTalkError(
            f"{where} cuts the face off: give a picture that shows all of it, with some room"
        )
    mesh = fit.mesh_model().choose(face.points)
    middle, side, _ = landmarks.level_square(
        mesh[mediapipe_points.EYES], mesh[mediapipe_points.LIPS]
    )
    inside = np.minimum(middle, (width, height) - middle).min() >= 0.5 * float(side)
    if inside:
        return picture, face
    reach = (0.5 + ROOM) * float(side)
    before = np.ceil(np.maximum(reach - middle, 0)).astype(int)
    after = np.ceil(np.maximum(middle + reach - (width, height), 0)).astype(int)
    return (
        bordered(picture, before, after, soft=0.1 * float(side)),
        replace(face, points=(face.points + before).astype(np.float32)),
    )


def bordered(picture: np.ndarray, before: np.ndarray, after: np.ndarray, soft: float) -> np.ndarray:
    """The picture with its mirror image around it, `before` (x, y) and `after` pixels wide, which
    is blurred the more the farther out, fully from `soft` pixels on."""
    (left, top), (right, bottom) = before.tolist(), after.tolist()
    edges = (top, bottom, left, right)
    wide = cv2.copyMakeBorder(picture, *edges, borderType=cv2.BORDER_REFLECT_101)
    out = [
        np.maximum(0, np.maximum(start - np.arange(size), np.arange(size) - (size - 1 - end)))
        for start, end, size in ((top, bottom, len(wide)), (left, right, wide.shape[1]))
    ]
    share = np.clip(np.maximum(out[0][:, None], out[1]) / soft, 0, 1)[..., None]
    blurred = cv2.GaussianBlur(wide, (0, 0), 0.5 * soft)
    return np.rint(wide + share * (blurred.astype(np.float32) - wide)).astype(np.uint8)


def one_face(faces: list[DetectedFace], where: str) -> DetectedFace:
    """The only face. Raises RealTalkError for none, several and small ones."""
    if not faces:
        raise RealTalkError(
            f"no face found in {where}: it must be large, upright and look at the camera; a drawn "
            "one needs --landmarks"
        )
    count = sum(face.size > BYSTANDER * faces[0].size for face in faces)
    if count > 1:
        raise RealTalkError(f"{where} shows {count} faces: crop it to the one person")
    if faces[0].size < MIN_FACE:
        raise too_small(where, faces[0].size)
    return faces[0]


def too_small(where: str, size: float) -> RealTalkError:
    return RealTalkError(
        f"the face in {where} is {size:.0f} pixels high: it must have {MIN_FACE} or more, better "
        "200, so give a larger picture"
    )


def check_pose(pose: fit.Pose, error: float, where: str) -> None:
    """Raises RealTalkError for a face that cannot be used."""
    if abs(pose.yaw) > MAX_YAW or abs(pose.pitch) > MAX_PITCH:
        raise RealTalkError(
            f"the face in {where} looks {np.degrees(abs(pose.yaw)):.0f} degrees to the side and "
            f"{np.degrees(abs(pose.pitch)):.0f} up or down, almost a profile: give a picture from "
            "the front"
        )
    if abs(pose.roll) > MAX_ROLL:
        raise RealTalkError(f"the face in {where} is not upright: turn the picture")
    if error > MAX_ERROR:
        raise no_upright_face(where)


def no_upright_face(where: str) -> RealTalkError:
    return RealTalkError(
        f"what was found in {where} does not have the shape of an upright face: turn it, or "
        "give another picture, or --landmarks"
    )


def photographs(folder: Path) -> list[Path]:
    """Raises RealTalkError where there are none."""
    if not is_folder(folder):
        raise RealTalkError(f"{folder} is no folder: give one with photographs in it")
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")  # as macOS leaves them
    )
    if not paths:
        raise RealTalkError(f"no .jpg or .png in {folder}: give a folder of photographs")
    return paths
