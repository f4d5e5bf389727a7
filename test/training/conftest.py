# SPDX-License-Identifier: Apache-2.0
"""What several tests of training take."""

import pytest

from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.common.facekit import FaceKit, find_facekit


@pytest.fixture(scope="session")
def whole_kit():
    """The face model, where it is."""
    try:
        find_facekit()
    except RealTalkError as error:
        pytest.skip(str(error))
    return FaceKit.load()


@pytest.fixture(scope="session")
def _mediapipe():
    """MediaPipe and a model for it are here."""
    try:
        FaceDetector().close()
    except RealTalkError as error:
        pytest.skip(str(error))
