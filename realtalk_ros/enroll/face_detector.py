# SPDX-License-Identifier: Apache-2.0
"""Faces in pictures and videos: MediaPipe's face mesh behind one small class.

    with FaceDetector(video=True, max_faces=2) as detector:
        for image in frames:                        # uint8 BGR (height, width, 3)
            faces = detector.find(image)             # largest first; [] where there is none

MediaPipe (Apache-2.0) is not part of this package: its extra `enroll` brings the last version whose
wheels carry the model (0.10.21: Python up to 3.12, numpy below 2). Later ones need a
`face_landmarker.task`, which can be downloaded from Google; it also gives ARKit weights.

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
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.paths import is_file

POINTS = 478  # 468 of the face, then 5 of the right iris and 5 of the left, centre first
TASK_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
CONFIDENCE = 0.5
LEAST = 0.1  # of a score that is told; less is 0
# The detector misses faces that take less than some sixth of a picture: those are looked for in
# parts of it, so many along each side, that overlap by half.
PARTS = (2, 4, 8)
# Rows of landmarks whose distance is a face's height and width.
TOP, CHIN, RIGHT, LEFT = 10, 152, 234, 454


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The option of every command that looks for faces."""
    parser.add_argument(
        "--landmarker",
        metavar="FILE",
        type=Path,
        help="face_landmarker.task, for MediaPipe without a model",
    )


@dataclass(frozen=True)
class DetectedFace:
    """One face in one picture."""

    points: np.ndarray  # (478, 2) float32, pixels, x right, y down
    blendshapes: np.ndarray | None = None  # (52,) float32 ARKit weights, from a .task only

    @property
    def size(self) -> float:
        """Forehead to chin or ear to ear, whichever is more, pixels."""
        p = self.points
        return float(max(np.hypot(*(p[TOP] - p[CHIN])), np.hypot(*(p[RIGHT] - p[LEFT]))))

    @property
    def centre(self) -> np.ndarray:
        return self.points[:468].mean(0)


class FaceDetector:
    """Finds faces. `video`: successive frames of one video, which is faster and steadier.

    Raises RealTalkError, with what to install, where MediaPipe or its model is missing.
    """

    def __init__(
        self, landmarker: str | Path | None = None, video: bool = False, max_faces: int = 2
    ):
        self.video = video
        self._mesh: Any = None
        self._task: Any = None
        self._detection: Any = None
        if landmarker is not None and not is_file(landmarker):
            raise RealTalkError(f"--landmarker {landmarker} is no file: download {TASK_URL}")
        try:
            import mediapipe
        except ImportError as error:
            raise RealTalkError(
                f"finding a face {install_hints.what_is_missing('mediapipe', 'enroll')}; or give "
                "the face's landmarks by --landmarks"
            ) from error
        if landmarker is not None:
            self._open_task(mediapipe, Path(landmarker), max_faces)
        else:
            self._open_mesh(mediapipe, max_faces)

    def _open_mesh(self, mediapipe: Any, max_faces: int) -> None:
        try:
            self._mesh = mediapipe.solutions.face_mesh.FaceMesh(
                static_image_mode=not self.video,
                max_num_faces=max_faces,
                refine_landmarks=True,
                min_detection_confidence=CONFIDENCE,
                min_tracking_confidence=CONFIDENCE,
            )
            if not self.video:
                self._detection = mediapipe.solutions.face_detection.FaceDetection(
                    min_detection_confidence=LEAST
                )
        except (AttributeError, ImportError, OSError, RuntimeError, ValueError) as error:
            raise RealTalkError(
                f"MediaPipe {getattr(mediapipe, '__version__', '')} carries no face model: "
                f"{install_hints.how_to_install('mediapipe')} in Python 3.10 to 3.12, or "
                f"download {TASK_URL} and give it by --landmarker FILE"
            ) from error

    def _open_task(self, mediapipe: Any, landmarker: Path, max_faces: int) -> None:
        self._images, self._frame = mediapipe, 0
        try:
            vision = mediapipe.tasks.vision
            mode = vision.RunningMode.VIDEO if self.video else vision.RunningMode.IMAGE
            self._task = vision.FaceLandmarker.create_from_options(
                vision.FaceLandmarkerOptions(
                    base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(landmarker)),
                    running_mode=mode,
                    num_faces=max_faces,
                    output_face_blendshapes=True,
                )
            )
        except (AttributeError, OSError, RuntimeError, ValueError) as error:
            raise RealTalkError(
                f"--landmarker {landmarker} is no face_landmarker.task that this MediaPipe can "
                f"use: download {TASK_URL}"
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
        height, width = image.shape[:2]
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        size = np.array([width, height], np.float32)
        if self._task is not None:
            found = self._run_task(rgb)
            shapes = found.face_blendshapes or [None] * len(found.face_landmarks)
            return [
                DetectedFace(_points(marks) * size, _weights(shape))
                for marks, shape in zip(found.face_landmarks, shapes, strict=True)
            ]
        found = self._mesh.process(rgb).multi_face_landmarks or []
        return [DetectedFace(_points(marks.landmark) * size) for marks in found]

    def _run_task(self, rgb: np.ndarray) -> Any:
        picture = self._images.Image(image_format=self._images.ImageFormat.SRGB, data=rgb)
        if not self.video:
            return self._task.detect(picture)
        self._frame += 1  # only has to rise
        return self._task.detect_for_video(picture, 40 * self._frame)

    def _in_border(self, image: np.ndarray) -> list[DetectedFace]:
        """Where a face fills the picture, the detector wants something around it."""
        border = max(image.shape[:2]) // 4
        edges = (border,) * 4
        wide = cv2.copyMakeBorder(image, *edges, borderType=cv2.BORDER_REPLICATE)
        return [replace(face, points=face.points - border) for face in self._run(wide)]

    def score(self, crop: np.ndarray) -> float | None:
        """How sure MediaPipe's face detector is, 0 to 1, that a picture (S, S, 3) uint8 BGR shows a
        face that fills it. None: this MediaPipe does not tell."""
        if self._detection is None:
            return None
        edges = (crop.shape[0] // 4,) * 4
        wide = cv2.copyMakeBorder(crop, *edges, borderType=cv2.BORDER_REFLECT_101)
        found = self._detection.process(cv2.cvtColor(wide, cv2.COLOR_BGR2RGB)).detections
        return max((float(one.score[0]) for one in found or ()), default=0.0)

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
        for model in (self._mesh, self._task, self._detection):
            if model is not None:
                model.close()

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _points(marks: Any) -> np.ndarray:
    points = np.array([(mark.x, mark.y) for mark in marks], np.float32)
    if len(points) != POINTS:
        raise RealTalkError(f"the landmarker gives {len(points)} landmarks, not {POINTS}")
    return points


def _weights(shapes: Any) -> np.ndarray | None:
    if not shapes:
        return None
    weights = np.zeros(arkit.COUNT, np.float32)
    for shape in shapes:
        if shape.category_name in arkit.INDEX:  # all but "_neutral"
            weights[arkit.INDEX[shape.category_name]] = shape.score
    return weights
