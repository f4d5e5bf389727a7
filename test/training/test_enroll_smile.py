# SPDX-License-Identifier: Apache-2.0
"""`realtalk enroll --smile`: a second photograph, that shows the teeth. Without MediaPipe."""

from contextlib import ExitStack

import cv2
import numpy as np
import pytest
import yaml
from enroll_command import arguments, refused

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.cli import main
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.reference_selection import mouth_shape

pytest.importorskip("scipy")

from lips_picture import lips_picture

from realtalk_ros.enroll import face_detector, photo_to_avatar, same_person
from realtalk_ros.enroll.face_reader import Reading

TEETH, SKIN = (235, 250, 250), (130, 150, 190)
SMILE = arkit.weights(mouthSmile=0.5, mouthUpperUp=0.6, mouthLowerDown=0.4, jawOpen=0.1)
REST = arkit.weights()


def painted(weights: np.ndarray, between=TEETH, light: float = 1.0):
    """A picture of lips, and teeth between them, that show these weights; and its landmarks."""
    picture, found = lips_picture(weights, between, SKIN)
    return np.uint8(picture * light), found


class Tracker(ExitStack):
    """Knows the faces of the pictures in `known`, by what is nearest."""

    known: list = []

    def __init__(self, *_, **__):
        super().__init__()

    def find(self, image):
        # What is beside the mouth may differ in light.
        near = [np.abs(image[::4, ::4].astype(int) - p[::4, ::4]).mean() for p, _ in self.known]
        return [face_detector.DetectedFace(self.known[int(np.argmin(near))][1])]

    def score(self, crop):
        return 0.9


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Writes a photograph and a smile, as a tracker will see them; returns the arguments to enrol
    them. `apart` is how far the two people's shapes are."""
    for module in (photo_to_avatar, same_person):
        monkeypatch.setattr(module, "FaceDetector", Tracker)
    monkeypatch.setattr(same_person.FaceEmbedding, "if_installed", lambda: (None, "no dlib"))

    def write(smile=SMILE, apart=0.1, **how):
        Tracker.known = [painted(REST), painted(smile, **how)]
        rng = np.random.default_rng(0)
        shape = rng.normal(size=100)
        read = []

        def reading(_, picture, mesh):
            same = not read or picture is read[0]
            read.append(picture)
            return Reading(mesh[:68], shape if same else shape + apart * rng.normal(size=100))

        monkeypatch.setattr(photo_to_avatar.FaceReader, "read", reading)
        for name, (picture, _) in zip(("face.png", "smile.png"), Tracker.known, strict=True):
            cv2.imwrite(str(tmp_path / name), picture)
        return arguments(tmp_path, "--smile", str(tmp_path / "smile.png"))

    return write


def test_a_smile_is_one_more_reference_and_its_teeth_are_shown(pictures, tmp_path):
    argv = pictures()
    assert main(argv) == 0
    avatar = Avatar.load(tmp_path / "ann")
    assert len(avatar.more_references) == 2
    rest, smile = avatar.reference_weights + avatar.resting_weights
    np.testing.assert_allclose(mouth_shape(smile), mouth_shape(SMILE), atol=0.15)  # cm
    assert np.abs(rest[list(arkit.MOUTH)]).max() < 0.1
    meta = yaml.safe_load((tmp_path / "ann" / "avatar.yaml").read_text())
    assert meta["source"]["name"] == "face.png" and meta["smile"]["name"] == "smile.png"
    # The landmarks lie on the lips of the reference.
    lips = avatar.reference_landmarks[1][[51, 57]] + [(0, 2), (0, -2)]
    for x, y in lips.astype(int):
        assert avatar.more_references[1][y, x, 1] < 80
    generator = FaceRenderer(avatar)
    teeth = [generator.generate(w, 0).mouth.min(-1) > 210 for w in (SMILE, REST)]
    assert teeth[0].sum() > 200 and teeth[1].sum() == 0


def test_without_a_smile_nothing_is_added(pictures, tmp_path):
    argv = pictures()
    assert main(argv[:-2]) == 0
    avatar = Avatar.load(tmp_path / "ann")
    assert len(avatar.more_references) == 1 and "smile" not in avatar.metadata


def test_a_smile_in_other_light_is_brought_to_that_of_the_face(pictures, tmp_path):
    assert main(pictures(light=0.6)) == 0
    skin = Avatar.load(tmp_path / "ann").more_references[1][100, 40]
    np.testing.assert_allclose(skin, SKIN, atol=6)


@pytest.mark.parametrize("how, words", [
    ({"apart": 1.5}, ("smile.png", "somebody else", "one person")),
    ({"smile": REST}, ("smile.png", "shows no teeth")),
    ({"between": (50, 40, 120)}, ("smile.png", "shows no teeth")),
])  # fmt: skip
def test_what_is_no_smile_of_the_person_is_refused(pictures, tmp_path, capsys, how, words):
    refused(capsys, pictures(**how), tmp_path, *words)


@pytest.mark.parametrize("apart, noted", [(0.1, False), (0.95, True)])
def test_a_smile_that_may_be_anothers_is_noted(pictures, capsys, apart, noted):
    assert main(pictures(apart=apart)) == 0
    assert ("may show somebody else" in capsys.readouterr().out) == noted


@pytest.mark.parametrize("apart, taken", [(0.5, True), (0.7, False)])
def test_a_face_network_decides_where_there_is_one(
    pictures, tmp_path, capsys, monkeypatch, apart, taken
):
    class Network:
        seen = 0

        def embed(self, image, points):
            assert image.shape == (256, 256, 3) and points.shape == (478, 2)
            self.seen += 1
            return np.float32([0, apart * (self.seen == 2)])

    monkeypatch.setattr(same_person.FaceEmbedding, "if_installed", lambda: (Network(), ""))
    argv = pictures(apart=0.1 if not taken else 1.5)  # the shapes say the opposite
    if taken:
        assert main(argv) == 0 and "somebody else" not in capsys.readouterr().out
    else:
        refused(capsys, argv, tmp_path, "smile.png", "somebody else")


def test_what_is_to_be_said_of_the_smile_is_said(pictures, capsys):
    assert main(pictures(light=0.3)) == 0
    assert "smile.png is dark" in capsys.readouterr().out


def test_a_smile_goes_with_a_photo_alone(pictures, tmp_path, capsys):
    more = pictures()[-2:]
    for argv in (
        arguments(tmp_path, *more, what="--video"),
        arguments(tmp_path, *more, "--landmarks", str(tmp_path / "points.yaml")),
    ):
        refused(capsys, argv, tmp_path, "--smile", "--image")
    refused(capsys, arguments(tmp_path, "--smile", "none.png"), tmp_path, "no file none.png")
