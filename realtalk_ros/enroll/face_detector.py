# SPDX-License-Identifier: Apache-2.0
"""Faces in pictures and videos: MediaPipe's face mesh behind one small class.

    with FaceDetector(video=True, max_faces=2) as detector:
        for image in frames:                        # uint8 BGR (height, width, 3)
            faces = detector.find(image)             # largest first; [] where there is none

MediaPipe (Apache-2.0) is not part of this package: its extra `enroll` brings it. Whether its wheel
carries the model, or where else that is: landmarker_file.py.

What it logs to stderr meanwhile is of no use to most users: native_output.py hides it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.enroll import landmarker_file
from realtalk_ros.enroll.mediapipe_models import CANNOT_OPEN, BundledModel, TaskModel
from realtalk_ros.enroll.mediapipe_points import CHIN, FACE_SIDES, FOREHEAD
from realtalk_ros.errors import RealTalkError

# The detector misses faces that take less than some sixth of a picture: those are looked for in
# parts of it, so many along each side, that overlap by half.
PARTS = (2, 4, 8)
BYSTANDER = 0.5  # of the largest face's size; in videos smaller ones are not counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The option of every command that looks for faces."""
    parser.add_argument(
        "--landmarker",
        metavar="FILE",
        type=Path,
        help=f"MediaPipe's model (default: ${landmarker_file.ENVIRONMENT}, else "
        f"~/.local/share/realtalk_ros/{landmarker_file.NAME}, else the one that MediaPipe carries)",
    )


@dataclass(frozen=True)
class DetectedFace:
    """One face in one picture."""

    points: np.ndarray  # (478, 2) float32, pixels, x right, y down
    blendshapes: np.ndarray | None = None  # (52,) float32 ARKit weights, from a .task only

    @property
    def size(self) -> float:
        """Forehead to chin or ear to ear, whichever is more, pixels."""
        p, (right, left) = self.points, FACE_SIDES
        return float(max(np.hypot(*(p[FOREHEAD] - p[CHIN])), np.hypot(*(p[right] - p[left]))))

    @property
    def centre(self) -> np.ndarray:
        return self.points[:468].mean(0)


def large_faces(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Those of a frame of a video, the largest first, that are no bystanders."""
    return [face for face in faces if face.size > BYSTANDER * faces[0].size]


class FaceDetector:
    """Finds faces. `video`: successive frames of one video, which is faster and steadier.
    `landmarker`: a face_landmarker.task; None: one that is found, else MediaPipe's own model.

    Raises RealTalkError, with what to do, where MediaPipe or its model is missing.
    """

    def __init__(
        self, landmarker: str | Path | None = None, video: bool = False, max_faces: int = 2
    ):
        self.video = video
        file = landmarker_file.find(landmarker)
        mediapipe = _mediapipe()
        version = getattr(mediapipe, "__version__", "") or landmarker_file.installed_version()
        landmarker_file.check(version, file)
        self._model: BundledModel | TaskModel
        try:
            if file is None:
                self._model = BundledModel(mediapipe, video, max_faces)
            else:
                self._model = TaskModel(mediapipe, file, video, max_faces)
        except CANNOT_OPEN as error:
            if file is None:
                raise landmarker_file.no_model(version) from error
            raise RealTalkError(
                f"{file} is no face_landmarker.task that MediaPipe {version} can use: download "
                f"{landmarker_file.URL}"
            ) from error

    def find(self, image: np.ndarray) -> list[DetectedFace]:
        """Faces in a uint8 BGR picture (height, width, 3), largest first."""
        faces = self._run(image)
        if not faces and not self.video:
            faces = self._in_border(image)
            for parts in () if faces else PARTS:
                faces = self._in_parts(image, parts)
                if faces:
                    break
        return sorted(faces, key=lambda face: -face.size)

    def _run(self, image: np.ndarray) -> list[DetectedFace]:
        size = np.array(image.shape[1::-1], np.float32)
        found = self._model.find(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        return [DetectedFace(points * size, weights) for points, weights in found]

    def _in_border(self, image: np.ndarray) -> list[DetectedFace]:
        """Where a face fills the picture, the detector wants something around it."""
        border = max(image.shape[:2]) // 4
        edges = (border,) * 4
        wide = cv2.copyMakeBorder(image, *edges, borderType=cv2.BORDER_REPLICATE)
        return [replace(face, points=face.points - border) for face in self._run(wide)]

    def score(self, crop: np.ndarray) -> float:
        """How sure MediaPipe's face detector is, 0 to 1, that a picture (S, S, 3) uint8 BGR shows a
        face that fills it. Not of a video."""
        edges = (crop.shape[0] // 4,) * 4
        wide = cv2.copyMakeBorder(crop, *edges, borderType=cv2.BORDER_REFLECT_101)
        return self._model.score(cv2.cvtColor(wide, cv2.COLOR_BGR2RGB))

    def _in_parts(self, image: np.ndarray, parts: int) -> list[DetectedFace]:
        height, width = image.shape[:2]
        tall, wide = 2 * height // (parts + 1), 2 * width // (parts + 1)
        faces: list[DetectedFace] = []
        if not tall or not wide:
            return faces
        for row in range(parts):
            for column in range(parts):
                y, x = row * tall // 2, column * wide // 2
                part = np.ascontiguousarray(image[y : y + tall, x : x + wide])
                for found in self._run(part):
                    shift = np.array([x, y], np.float32)
                    face = DetectedFace(found.points + shift, found.blendshapes)
                    if all(np.hypot(*(face.centre - f.centre)) > f.size / 2 for f in faces):
                        faces.append(face)
        return faces

    def close(self) -> None:
        self._model.close()

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mediapipe() -> Any:
    try:
        import mediapipe
    except ImportError as error:
        raise RealTalkError(
            f"finding a face {install_hints.what_is_missing('mediapipe', 'enroll')}; or give the "
            "face's landmarks by --landmarks"
        ) from error
    return mediapipe
