# SPDX-License-Identifier: Apache-2.0
"""How alike two faces are to dlib's face recognition network (extra `evaluate`).

The network (ResNet, 128 numbers a face; D. King, dlib.net, CC0) comes with the package
face_recognition_models. Only its weights are read, by dlib. Two pictures of one person are less
than 0.6 apart in most cases; two photographs of one sitting some 0.2 to 0.3.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.enroll.mediapipe_points import NOSE_BASE
from realtalk_ros.errors import RealTalkError

WEIGHTS = "models/dlib_face_recognition_resnet_model_v1.dat"
# Of MediaPipe's mesh, in the order of dlib's five landmarks: the corners of the left eye, outer
# first, of the right eye, and the nose's base.
FIVE = (263, 362, 33, 133, NOSE_BASE)
# Distance up to which two faces are one person's. Of photographs of one person at rest and smiling
# (London set, 102) it is at most 0.43, of frames of 21 filmed people 0.54; of those of two people
# 0.9, and 4 % are within this.
MAX_FACES_APART = 0.6


class FaceEmbedding:
    """Raises RealTalkError, with what to install, where dlib or the weights are missing."""

    def __init__(self) -> None:
        # Not imported: its module needs a part of setuptools that is no more.
        found = importlib.util.find_spec("face_recognition_models")
        try:
            import dlib
        except ImportError:
            found = None
        if found is None or found.origin is None:
            raise RealTalkError(
                "the identity distance needs dlib and its weights: "
                f"{install_hints.how_to_install_extra('evaluate')}"
            )
        self._dlib: Any = dlib
        self._network = load_network(Path(found.origin).parent / WEIGHTS)

    @classmethod
    def if_installed(cls) -> tuple[FaceEmbedding | None, str]:
        """The network, or None and what to install."""
        try:
            return cls(), ""
        except RealTalkError as error:
            return None, str(error)

    def embed(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """(128,) of the face at the 478 landmarks `points` in a uint8 BGR image."""
        rows = [self._dlib.point(*np.rint(points[k]).astype(int).tolist()) for k in FIVE]
        (left, top), (right, bottom) = (
            np.rint(edge).astype(int).tolist() for edge in (points.min(0), points.max(0))
        )
        face = self._dlib.full_object_detection(
            self._dlib.rectangle(left, top, right, bottom), self._dlib.points(rows)
        )
        picture = np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        return np.array(self._network.compute_face_descriptor(picture, face), np.float32)


@cache
def load_network(weights: Path) -> Any:
    """Once for all videos and photographs: it is a file of 22 MB."""
    import dlib

    return dlib.face_recognition_model_v1(str(weights))
