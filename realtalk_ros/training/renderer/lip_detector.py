# SPDX-License-Identifier: Apache-2.0
"""The lips as MediaPipe's face mesh finds them in rendered and true images (extra `enroll`): a
detector that knows nothing of our training."""

from __future__ import annotations

import numpy as np

from realtalk_ros.enroll import mediapipe_points
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.mediapipe_points import LANDMARK, LIP_MIDDLES, LIPS


class LipDetector:
    """Raises RealTalkError, with what to install, where MediaPipe is missing."""

    def __init__(self) -> None:
        self._detector = FaceDetector()

    def compare(
        self, rendered: np.ndarray, truth: np.ndarray, template: np.ndarray
    ) -> dict[str, float]:
        """Of three images (S, S, 3) uint8 BGR: mean distance of the lips from those of the true
        one, in the rendered one and in the template, and how far the mouth is open in the former
        two, all in pixels; NaN where no face was found."""
        found, true, at_rest = (self._find(image) for image in (rendered, truth, template))
        return {
            "found_lips_px": distance(found, true),
            "found_lips_px_of_template": distance(at_rest, true),
            "found_opening": opening(found),
            "found_opening_of_truth": opening(true),
        }

    def _find(self, image: np.ndarray) -> np.ndarray | None:
        faces = self._detector.find(image)
        return faces[0].points if len(faces) == 1 else None


def distance(a: np.ndarray | None, b: np.ndarray | None) -> float:
    if a is None or b is None:
        return np.nan
    lips = LANDMARK[LIPS]
    return float(np.linalg.norm(a[lips] - b[lips], axis=1).mean())


def opening(points: np.ndarray | None) -> float:
    if points is None:
        return np.nan
    return float(mediapipe_points.distance(points, LIP_MIDDLES))
