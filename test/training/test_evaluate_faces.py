# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate faces`: its figures of pictures whose openings are known, and what it prints.
MediaPipe's place is taken by what reads the opening off a picture's grey level."""

import json
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.provenance import LIKENESS
from realtalk_ros.cli import main
from realtalk_ros.commands import avatar_metrics, evaluate_faces
from realtalk_ros.enroll.face_detector import DetectedFace
from realtalk_ros.enroll.mediapipe_points import LIP_MIDDLES, POINTS
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.face_renderer import FaceRenderer

MISREAD = 1.25  # by which this tracker reads every opening too large
MIDDLE = 256, 246  # of the picture: within the face's square
GREY = 8  # levels of a pixel of opening
LOST = 255  # the grey of a picture in which no face is found


class ReadsGrey(ExitStack):
    """Finds inner lips that are apart as the grey in the face's middle says, pixels."""

    def __init__(self, *_, **__):
        super().__init__()

    def find(self, image):
        grey = int(image[MIDDLE[1], MIDDLE[0], 0])
        points = np.random.default_rng(0).uniform(100, 400, (POINTS, 2)).astype(np.float32)
        points[list(LIP_MIDDLES)] = (256, 300), (256, 300 + MISREAD * grey / GREY)
        return [] if grey == LOST else [DetectedFace(points)]


def painted(avatar):
    """The avatar with pictures as grey as their lips are apart."""
    rest, *greys = (
        round(GREY * evaluate_faces.opened(points))
        for points in (*avatar.landmarks, *avatar.reference_landmarks)
    )
    assert avatar.crop[2:] == (256,) and avatar.size[1] == evaluate_faces.SIZE
    return replace(
        avatar,
        templates=np.full_like(avatar.templates, rest),
        more_references=tuple(np.full((256, 256, 3), grey, np.uint8) for grey in greys),
    )


@pytest.fixture
def lips():
    avatar = painted(Avatar.load("pia"))
    return evaluate_faces._Lips(avatar, ReadsGrey()), avatar


def test_the_trackers_scale_is_read_off_pictures_of_known_opening(lips):
    own, avatar = lips
    gaps = own.true_gaps(avatar.reference_landmarks)
    assert len(gaps) == 1 + len(avatar.more_references)
    assert max(exact for exact, _ in gaps) > 20  # pixels
    found = evaluate_faces.line_through(gaps, "true_slope")
    assert found == {"true_slope": pytest.approx(MISREAD, rel=0.02)}


def test_the_asked_opening_is_that_of_the_face_model_in_the_picture(lips):
    own, avatar = lips
    weights, points = avatar.reference_weights[1], avatar.reference_landmarks[1]
    grey = np.full((512, 512, 3), 10 * GREY, np.uint8)
    asked, found = own.gaps(grey, weights)
    assert asked == pytest.approx(evaluate_faces.opened(points), rel=0.01)
    assert found == pytest.approx(12.5)
    assert own.gaps(grey, arkit.weights(mouthPress=1.0, mouthClose=0.3))[0] == 0  # and not below
    assert own.gaps(np.full_like(grey, LOST), weights) is None


def test_lines_need_openings_that_differ():
    assert evaluate_faces.line_through([], "slope", "r") == {}
    assert evaluate_faces.line_through([(1, 1), (2, 2)], "slope", "r") == {}
    assert evaluate_faces.line_through([(1, 1), (1, 2), (1, 3)], "slope", "r") == {}
    found = evaluate_faces.line_through([(0, 1), (1, 3), (2, 5), (3, 7)], "slope", "r")
    assert found == {"slope": pytest.approx(2), "r": pytest.approx(1)}


@pytest.fixture
def spoken(monkeypatch):
    """Pia opens 1.1 times as far as asked, and is lost in one frame of 12."""
    load = Avatar.load
    monkeypatch.setattr(Avatar, "load", lambda name: painted(load(name)))
    monkeypatch.setattr(evaluate_faces, "FaceDetector", ReadsGrey)
    monkeypatch.setattr(avatar_metrics, "SILENT_FRAMES", 3)

    def speak(renderer, seconds, fps):
        own = evaluate_faces._Lips(renderer.avatar, ReadsGrey())
        dark = np.zeros((512, 512, 3), np.uint8)
        for jaw in np.linspace(0, 0.3, 11):
            weights = arkit.weights(jawOpen=jaw)
            asked, _ = own.gaps(dark, weights)
            yield weights, np.full_like(dark, round(1.1 * GREY * asked))
        yield arkit.weights(), np.full_like(dark, LOST)

    monkeypatch.setattr(evaluate_faces, "speak", speak)


def test_a_face_is_measured(spoken, capsys):
    assert main(["evaluate", "faces", "pia", "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out).values()
    assert figures["frames"] == 12 and figures["found"] == pytest.approx(11 / 12)
    assert figures["opening_r"] > 0.999
    assert figures["slope"] == pytest.approx(1.1 * MISREAD, rel=0.02)
    assert figures["opening"] == pytest.approx(1.1, rel=0.03)
    assert 0 < figures["load_seconds"] < 60 and figures["jitter"] == 0
    assert main(["evaluate", "faces", "pia"]) == 0
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split()[:3] == ["face", "frames", "found"]
    assert row.split()[:3] == ["pia", "12", "0.917"]


def test_of_a_real_person_no_exact_opening_is_known(spoken, monkeypatch, capsys):
    load = Avatar.load
    likeness = {"digital_source_type": LIKENESS, "consent": "Ann", "format": 1}
    monkeypatch.setattr(Avatar, "load", lambda name: replace(load(name), metadata=likeness))
    assert main(["evaluate", "faces", "pia", "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out).values()
    assert "slope" in figures and not {"true_slope", "opening"} & set(figures)


@pytest.mark.parametrize("words, said", [
    (["nobody"], "no avatar"), (["pia", "--seconds", "0"], "--seconds"),
    (["pia", "--fps", "1000"], "--fps"),
])  # fmt: skip
def test_what_cannot_be_measured_is_one_line(spoken, capsys, words, said):
    assert main(["evaluate", "faces", *words]) == 2
    out, complaint = capsys.readouterr()
    assert not out and said in complaint and complaint.count("\n") == 1


def test_speech_goes_on_as_long_as_wanted():
    class Silent(FaceRenderer):
        avatar, template_count = Avatar.load("pia"), 1

        def __init__(self):
            pass

        def generate(self, weights, template, meanwhile):
            meanwhile()

        def begin(self, *_):
            return None

        def compose(self, *_):
            return np.zeros((8, 8, 3), np.uint8)

    frames = list(evaluate_faces.speak(Silent(), 3.0, 10.0))
    assert 30 <= len(frames) <= 34 and max(w[arkit.INDEX["jawOpen"]] for w, _ in frames) > 0.1
