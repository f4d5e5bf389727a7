# SPDX-License-Identifier: Apache-2.0
"""Enrolment with the MediaPipe that is installed, and the model that it finds
(realtalk_ros/enroll/landmarker_file.py). Skipped where there is none, and says why."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from enroll_command import arguments, refused

from network_calls import listen
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.cli import main
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.rendering.face_renderer import FaceRenderer

pytest.importorskip("scipy")

from realtalk_ros.enroll.appearance_checks import NO_FACE, SURE_FACE, LevelFace

pytestmark = pytest.mark.usefixtures("_mediapipe")
LOOKS = """
import sys, time
import numpy as np
from realtalk_ros.enroll.face_detector import FaceDetector

for video in (False, True):
    with FaceDetector(video=video) as detector:
        detector.find(np.zeros((99, 99, 3), np.uint8))
time.sleep(3)  # versions that report their use do so within a second
"""


def photograph(name):
    return np.ascontiguousarray(getattr(pytest.importorskip("skimage.data"), name)()[..., ::-1])


def test_a_real_photo_becomes_an_avatar_that_opens_its_mouth(tmp_path, capsys):
    picture = photograph("astronaut")
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    assert main(arguments(tmp_path)) == 0
    renderer = FaceRenderer(Avatar.load(tmp_path / "ann"))
    with FaceDetector() as found:
        for said in (weights(), weights(jawOpen=0.2, mouthUpperUp=0.3), weights(mouthPucker=0.5)):
            (face,) = found.find(renderer.render(said, 0))
            assert face.size > 200
        # She smiles in the photo; at rest her lips are shut, and the avatar's jaw opens them.
        apart = face.points[13] - face.points[14]
        assert np.hypot(*apart) < 0.04 * face.size
    x, y = face.points[[13, 14, 78, 308]].mean(0).astype(int)
    lips = slice(y - 12, y + 25), slice(x - 25, x + 25)
    shut, wide = (
        renderer.render(w, 0)[lips].astype(int) for w in (weights(), weights(jawOpen=0.6))
    )
    assert wide.mean() < shut.mean() - 8  # it is dark in there

    for bad, word in ((np.hstack([picture[:300, 100:400]] * 2), "2 faces"),
                      (cv2.resize(picture, None, fx=0.45, fy=0.45), "pixels high"),
                      (np.ascontiguousarray(picture[::-1]), ""),
                      (np.full((300, 300, 3), 90, np.uint8), "no face")):  # fmt: skip
        cv2.imwrite(str(tmp_path / "bad.png"), bad)
        argv = arguments(tmp_path, source="bad.png")
        argv[argv.index("ann")] = "bad"
        capsys.readouterr()
        refused(capsys, argv, tmp_path, word)


def test_a_person_is_told_from_a_cat():
    with FaceDetector(max_faces=4) as detector:
        person = photograph("astronaut")
        level = LevelFace.of(person, detector.find(person)[0]).image
        assert detector.score(level) > SURE_FACE
        assert detector.score(photograph("chelsea")[:300, :300]) < SURE_FACE
        assert detector.score(np.full((256, 256, 3), 90, np.uint8)) < NO_FACE


def test_a_small_face_is_found_in_a_part_of_the_picture():
    person = photograph("astronaut")
    picture = np.full((1024, 1024, 3), 90, np.uint8)
    picture[700:956, 600:856] = cv2.resize(person, (256, 256), interpolation=cv2.INTER_AREA)
    with FaceDetector() as detector:
        (face,), (large,) = detector.find(picture), detector.find(person)
    assert np.abs(face.centre - (600, 700) - large.centre / 2).max() < 5
    assert abs(face.size - large.size / 2) < 5


def test_looking_for_faces_calls_nobody(tmp_path, monkeypatch):
    calls = listen(tmp_path, monkeypatch)
    if calls is None:
        pytest.skip("there is no compiler")
    subprocess.run([sys.executable, "-c", LOOKS], check=True, capture_output=True)
    assert not calls()
