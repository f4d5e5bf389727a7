# SPDX-License-Identifier: Apache-2.0
"""Which pictures an avatar cannot be made of, and why: each refusal says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.enroll import fit
from realtalk_ros.enroll.face_detector import DetectedFace, FaceDetector
from realtalk_ros.errors import RealTalkError

MAX_PIXELS = 64_000_000  # of a photo
MAX_FILE = 256 * 2**20  # bytes of a photo
MIN_FACE = 64  # pixels, forehead to chin
BYSTANDER = 0.4  # a second face of less than this share of the first one's size is not counted
MAX_YAW, MAX_PITCH, MAX_ROLL = np.radians([28.0, 25.0, 45.0])
MAX_ERROR = 0.03  # rms of the fit, of the crop's side: more is no face


def read_picture(path: Path) -> np.ndarray:
    """uint8 BGR. Raises RealTalkError before anything large is decoded."""
    if path.stat().st_size > MAX_FILE:
        raise RealTalkError(f"{path} is larger than {MAX_FILE >> 20} MB: scale it down")
    data = path.read_bytes()
    size = image_decoding.size(data)
    if size is None:
        raise RealTalkError(f"{path} is no PNG or JPEG picture that can be read: convert it")
    if size[0] * size[1] > MAX_PIXELS:
        raise RealTalkError(
            f"{path} has {size[0]}x{size[1]} pixels, more than {MAX_PIXELS // 10**6} million: "
            "scale it down or crop it to head and shoulders"
        )
    picture = image_decoding.decode(data, MAX_PIXELS)
    if picture is None:
        raise RealTalkError(f"{path} is damaged: it cannot be decoded")
    return picture


def find_face(
    detector: FaceDetector, picture: np.ndarray, where: str
) -> tuple[np.ndarray, DetectedFace]:
    """The one face that an avatar can be made of, and the picture. Raises RealTalkError."""
    return picture, one_face(detector.find(picture), where)


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
