# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's two interfaces to one detector of faces and their landmarks: the solutions of its
older versions, whose wheels carry the model, and the tasks, whose model is a file.

Pictures are uint8 RGB (height, width, 3). What either raises while it is opened: CANNOT_OPEN.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from realtalk_ros.enroll.mediapipe_points import POINTS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit

CONFIDENCE = 0.5
LEAST = 0.1  # of a score that is given; less is 0
CANNOT_OPEN = (
    AttributeError, ImportError, KeyError, OSError, RuntimeError, ValueError, zipfile.BadZipFile,
)  # fmt: skip
# One face: (478, 2) float32 landmarks in shares of the picture's width and height, and its (52,)
# float32 ARKit weights, where the model gives them.
Found = tuple[np.ndarray, "np.ndarray | None"]


class BundledModel:
    """The model in MediaPipe's own wheel: its attention mesh."""

    def __init__(self, mediapipe: Any, video: bool, max_faces: int):
        solutions = mediapipe.solutions
        self._mesh = solutions.face_mesh.FaceMesh(
            static_image_mode=not video,
            max_num_faces=max_faces,
            refine_landmarks=True,
            min_detection_confidence=CONFIDENCE,
            min_tracking_confidence=CONFIDENCE,
        )
        self._detection: Any = None
        if not video:
            self._detection = solutions.face_detection.FaceDetection(min_detection_confidence=LEAST)

    def find(self, rgb: np.ndarray) -> list[Found]:
        faces = self._mesh.process(rgb).multi_face_landmarks or []
        return [(_points(face.landmark), None) for face in faces]

    def score(self, rgb: np.ndarray) -> float:
        found = self._detection.process(rgb).detections or ()
        return max((float(one.score[0]) for one in found), default=0.0)

    def close(self) -> None:
        self._mesh.close()
        if self._detection is not None:
            self._detection.close()


class TaskModel:
    """A face_landmarker.task. The detector within it is also asked alone: it is the one that the
    solutions have, and its scores are the same."""

    def __init__(self, mediapipe: Any, file: Path, video: bool, max_faces: int):
        self._images, self._video, self._frame = mediapipe, video, 0
        vision, base = mediapipe.tasks.vision, mediapipe.tasks.BaseOptions
        mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
        with zipfile.ZipFile(file) as bundle:
            detector = bundle.read("face_detector.tflite")
        self._detection: Any = None
        self._landmarker = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=base(model_asset_path=str(file)),
                running_mode=mode,
                num_faces=max_faces,
                min_face_detection_confidence=CONFIDENCE,
                min_face_presence_confidence=CONFIDENCE,
                min_tracking_confidence=CONFIDENCE,
                output_face_blendshapes=True,
            )
        )
        if not video:
            self._detection = vision.FaceDetector.create_from_options(
                vision.FaceDetectorOptions(
                    base_options=base(model_asset_buffer=detector), min_detection_confidence=LEAST
                )
            )

    def find(self, rgb: np.ndarray) -> list[Found]:
        if self._video:
            self._frame += 1  # only has to rise
            found = self._landmarker.detect_for_video(self._image(rgb), 40 * self._frame)
        else:
            found = self._landmarker.detect(self._image(rgb))
        shapes = found.face_blendshapes or [None] * len(found.face_landmarks)
        return [
            (_points(marks), _weights(shape))
            for marks, shape in zip(found.face_landmarks, shapes, strict=True)
        ]

    def score(self, rgb: np.ndarray) -> float:
        found = self._detection.detect(self._image(rgb)).detections
        return max((float(one.categories[0].score) for one in found), default=0.0)

    def close(self) -> None:
        self._landmarker.close()
        if self._detection is not None:
            self._detection.close()

    def _image(self, rgb: np.ndarray) -> Any:
        return self._images.Image(image_format=self._images.ImageFormat.SRGB, data=rgb)


def _points(marks: Any) -> np.ndarray:
    points = np.array([(mark.x, mark.y) for mark in marks], np.float32)
    if len(points) != POINTS:
        raise RealTalkError(f"the landmarker gives {len(points)} landmarks, not {POINTS}")
    return points


def _weights(shapes: Any) -> np.ndarray | None:
    if not shapes:
        return None
    weights = arkit.weights()
    for shape in shapes:
        if shape.category_name in arkit.INDEX:  # all but "_neutral"
            weights[arkit.INDEX[shape.category_name]] = shape.score
    return weights
