"""The lips as MediaPipe's face mesh finds them in made and true pictures (extra `enroll`): a
detector that knows nothing of our training."""

from __future__ import annotations

import numpy as np

from realtalk_ros.enroll.mediapipe_points import VERTICES
from realtalk_ros.enroll.tracker import Tracker

LIPS = list(VERTICES[0.008])
MIDDLE = 13, 14  # of the inner lips, upper and lower


class LipFinder:
    """Raises RealTalkError, with what to install, where MediaPipe is missing."""

    def __init__(self) -> None:
        self._tracker = Tracker()

    def compare(
        self, made: np.ndarray, truth: np.ndarray, template: np.ndarray
    ) -> dict[str, float]:
        """Of three pictures (S, S, 3) uint8 BGR: mean distance of the lips from those of the true
        one, in the made one and in the template, and how far the mouth is open in the former, all
        in pixels; NaN where no face was found."""
        here, there, before = (self._find(picture) for picture in (made, truth, template))
        return {
            "found_lips_px": distance(here, there),
            "found_lips_px_of_template": distance(before, there),
            "found_opening": opening(here),
            "found_opening_of_truth": opening(there),
        }

    def _find(self, picture: np.ndarray) -> np.ndarray | None:
        faces = self._tracker.find(picture)
        return faces[0].points if len(faces) == 1 else None


def distance(a: np.ndarray | None, b: np.ndarray | None) -> float:
    if a is None or b is None:
        return np.nan
    return float(np.linalg.norm(a[LIPS] - b[LIPS], axis=1).mean())


def opening(points: np.ndarray | None) -> float:
    if points is None:
        return np.nan
    upper, lower = MIDDLE
    return float(np.linalg.norm(points[upper] - points[lower]))
