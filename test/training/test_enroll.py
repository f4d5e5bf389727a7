# SPDX-License-Identifier: Apache-2.0
"""`realtalk enroll` and `realtalk track`: what they refuse and what they write, without MediaPipe.
With it: test_real_detector.py."""

import hashlib
import os
import re
import shlex
import struct
import sys
import zlib
from contextlib import ExitStack
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import yaml
from enroll_command import arguments, refused

from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face import Face
from realtalk_ros.cli import main
from realtalk_ros.commands import enroll
from realtalk_ros.enroll import mesh_tracker
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.face_model.lips import GAP, aperture_of
from realtalk_ros.output import contact_sheet, live_link
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.rendering.avatar_encoding import reference_inputs
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.generator import Generator
from realtalk_ros.rendering.reference_selection import ReferenceSelector, farthest_mouths

pytest.importorskip("scipy")

from lips_picture import lips_picture

from realtalk_ros.enroll import (
    appearance_checks,
    face_detector,
    fit,
    framing,
    mediapipe_points,
    native_output,
    photo_checks,
    photo_to_avatar,
    video_to_avatar,
)
from realtalk_ros.enroll.avatar_writer import write_folder
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.mediapipe_points import CHIN_SKIN, EYE_OUTLINES, OUTER_LIPS, UNDER_EYES
from realtalk_ros.enroll.video_reader import Clip

# The same in each run: one draw in 300 looks like sound, which "has no pictures".
NOISE = np.random.default_rng(0).bytes(5000)
POINTS = {
    "right_eye_outer": [208, 260], "right_eye_inner": [272, 260], "left_eye_inner": [328, 260],
    "left_eye_outer": [392, 260], "nose_tip": [300, 330], "mouth_right": [248, 395],
    "mouth_left": [352, 395], "chin": [300, 490],
}  # fmt: skip


@pytest.fixture
def drawing(tmp_path):
    """A drawn face, its eight points, and the arguments to enrol it."""
    picture = np.full((600, 600, 3), (230, 220, 200), np.uint8)
    cv2.ellipse(picture, (300, 300), (150, 190), 0, 0, 360, (170, 200, 240), -1)
    for x in (240, 360):
        cv2.circle(picture, (x, 260), 20, (60, 40, 20), -1)
    cv2.ellipse(picture, (300, 395), (52, 14), 0, 0, 360, (90, 90, 200), -1)
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    (tmp_path / "points.yaml").write_text(yaml.safe_dump(POINTS))
    return arguments(tmp_path, "--landmarks", str(tmp_path / "points.yaml"))


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("consent", [None, "", "  ", "a\nb", "x" * 501])
def test_without_consent_there_is_no_avatar(drawing, tmp_path, capsys, consent):
    at = drawing.index("--consent")
    argv = drawing[:at] + drawing[at + 2 :] + ([] if consent is None else ["--consent", consent])
    refused(capsys, argv, tmp_path, "consent")


@pytest.mark.parametrize("name", ["../ann", "", ".ann", "a/b", "a\tb", "x" * 65])
def test_names_that_are_no_folders_are_refused(drawing, tmp_path, capsys, name):
    drawing[drawing.index("--name") + 1] = name
    refused(capsys, drawing, tmp_path, "--name")


def test_places_that_cannot_be_are_refused(drawing, tmp_path, capsys):
    (tmp_path / "ann").mkdir()
    refused(capsys, drawing, tmp_path, "exists")
    drawing[drawing.index("--out") + 1] = str(tmp_path / "nowhere")
    refused(capsys, drawing, tmp_path, "nowhere")


def test_a_photo_is_not_replaced_by_the_sheet(drawing, tmp_path, capsys):
    photo = (tmp_path / "face.png").rename(tmp_path / "ann-faces.jpg")
    drawing[drawing.index("--image") + 1] = str(photo)
    refused(capsys, drawing, tmp_path, "is the input: give another name")


def test_of_two_commands_at_once_the_second_says_that_the_avatar_exists(
    drawing, tmp_path, capsys, monkeypatch
):
    really = enroll.enrolled

    def slowly(args):
        (tmp_path / "ann").mkdir()  # by the other one
        (tmp_path / "ann" / "avatar.yaml").touch()
        return really(args)

    monkeypatch.setattr(enroll, "enrolled", slowly)
    assert main(drawing) == 2
    assert "ann exists: remove it, or give another --name" in capsys.readouterr().err
    assert (
        not list(tmp_path.glob(".enroll*")) and not (tmp_path / "ann" / "avatar.yaml").read_text()
    )


def png_of(width, height):
    """The header of a picture of that size and next to nothing else."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("content, word", [
    (png_of(10_000, 10_000), "10000x10000"), (b"", "no PNG"), (b"hello", "no PNG"),
    (png_of(300, 300), "damaged"), (None, "no file"), (png_of(1, 300), "1x300 pixels"),
    (png_of(300, 2), "give a larger picture"), (png_of(63, 63), "give a larger picture"),
])  # fmt: skip
def test_bad_pictures_are_refused(tmp_path, capsys, content, word):
    if content is not None:
        (tmp_path / "face.png").write_bytes(content)
    refused(capsys, arguments(tmp_path), tmp_path, word, "face.png")


def test_a_smile_of_a_pixel_is_refused(drawing, tmp_path, capsys):
    (tmp_path / "smile.png").write_bytes(png_of(1, 1))
    argv = arguments(tmp_path, "--smile", str(tmp_path / "smile.png"))
    refused(capsys, argv, tmp_path, "smile.png has 1x1 pixels")


@pytest.mark.parametrize("height, width", [(1, 1), (1, 300), (300, 2), (4, 4)])
def test_no_part_of_a_tiny_picture_is_empty(height, width):
    detector = object.__new__(face_detector.FaceDetector)
    detector.video, sizes = False, []
    detector._run = lambda image: sizes.append(image.size) or []
    assert detector.find(np.zeros((height, width, 3), np.uint8)) == [] and all(sizes)


@pytest.mark.parametrize("option", ["--image", "--video", "--smile", "--landmarks"])
def test_a_file_in_a_folder_that_one_may_not_enter(drawing, tmp_path, priv, capsys, option):
    at = drawing.index("--landmarks")
    if option != "--landmarks":
        drawing = drawing[:at] + drawing[at + 2 :]
    drawing += [option, str(priv / "a.png")]
    if option == "--video":
        drawing = drawing[: drawing.index("--image")] + drawing[drawing.index("--image") + 2 :]
    assert main(drawing) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and "Permission denied" in complaint


@pytest.mark.parametrize("change, word", [
    ({"chin": None}, "chin is not"), ({"chin": [300, 4000]}, "not in the picture"),
    ({"chin": [300, "x"]}, "chin is not"), ({"chin": [300]}, "chin is not"),
    ({"chin": [10**400, 3]}, "chin is not"), ({"nose": [300, 300]}, "nose is not known"),
    ({"chin": [float("nan"), 3]}, "not in the picture"),
    ({"right_eye_outer": [392, 260], "right_eye_inner": [328, 260],
      "left_eye_inner": [272, 260], "left_eye_outer": [208, 260]}, "the face's own"),
    ({name: [x / 8, y / 8] for name, (x, y) in POINTS.items()}, "pixels high"),
    ({name: [x - 205, y] for name, (x, y) in POINTS.items()}, "cuts the face off"),
    ({name: [y, x] for name, (x, y) in POINTS.items()}, "the face's own"),
    ({name: [300, 300] for name in POINTS}, "the face's own"),
])  # fmt: skip
def test_bad_landmarks_are_refused(drawing, tmp_path, capsys, change, word):
    (tmp_path / "points.yaml").write_text(yaml.safe_dump({**POINTS, **change}))
    refused(capsys, drawing, tmp_path, word)


def test_landmarks_that_are_no_file_or_nested_too_deeply_are_refused(drawing, tmp_path, capsys):
    refused(capsys, [*drawing, "--landmarks", "/dev/zero"], tmp_path, "/dev/zero")
    (tmp_path / "points.yaml").write_text("[" * 5000)
    refused(capsys, drawing, tmp_path, "--landmarks")


@pytest.mark.parametrize("content, word", [
    ("", "no lines of that form"), ("chin: [1, 2]", "is missing"),
    ("{}chin: [1, 2]", "is there twice"),
])  # fmt: skip
def test_a_file_that_holds_no_landmarks_or_one_twice_is_refused(
    drawing, tmp_path, capsys, content, word
):
    (tmp_path / "points.yaml").write_text(content.format(yaml.safe_dump(POINTS)))
    refused(capsys, drawing, tmp_path, word)


@pytest.mark.parametrize("content, word", [(b"", "empty"), (NOISE, "cannot be read")])
def test_broken_videos_are_refused(tmp_path, capsys, content, word):
    (tmp_path / "clip.mp4").write_bytes(content)
    argv = arguments(tmp_path, "--silent", what="--video", source="clip.mp4")
    refused(capsys, argv, tmp_path, word)
    argv = ["track", str(tmp_path / "clip.mp4"), "--csv", str(tmp_path / "out.csv")]
    refused(capsys, argv, tmp_path, word, "clip.mp4")


def mesh(size=300.0, x=256.0, y=246.0, turn=0.0):
    """A Face of 478 landmarks, those of the fitted model true and the others in the middle."""
    model = fit.mesh_model()
    found = np.full((mediapipe_points.POINTS, 2), (x, y), np.float32)
    pose = fit.Pose(0.0, turn, 0.0, x, y, size / 16.0)
    found[model.index] = pose.project(model.mean)
    return face_detector.DetectedFace(found)


def test_one_large_face_from_the_front_is_wanted():
    for faces, word in (([], "no face"), ([mesh(300), mesh(200)], "2 faces"),
                        ([mesh(50)], "pixels high")):  # fmt: skip
        with pytest.raises(RealTalkError, match=word):
            photo_checks.one_face(faces, "it")
    assert photo_checks.one_face([mesh(300), mesh(40)], "it").size > 250  # a bystander
    model, face = fit.mesh_model(), mesh(turn=0.9)
    who = fit.fit(model, model.choose(face.points[None]))
    with pytest.raises(RealTalkError, match="profile"):
        photo_checks.check_pose(who.poses[0], float(who.error[0]), "it")


class Looks(ExitStack):
    """A detector that finds what it is told, as surely as it is told."""

    def __init__(self, *faces, certainty=0.9):
        super().__init__()
        self.faces, self.certainty = faces, certainty

    def find(self, image):
        return list(self.faces)

    def score(self, crop):
        return self.certainty


SKIN = np.array([140, 165, 205])


def painted(
    lips=(90, 85, 180), line=(40, 40, 80), nose=(140, 165, 205), light=1.0, at=(256, 246),
    glasses=(), **named
):  # fmt: skip
    """A picture of a plain face, and where a tracker sees it: skin, lips and the line between, and
    glasses: their colour, and that of the eyes behind them."""
    model, face = fit.mesh_model(), mesh(x=at[0], y=at[1])
    found = face.points
    pose = fit.Pose(0.0, 0.0, 0.0, *at, 300 / 16)
    found[model.index] = pose.project(model.shape(np.zeros(100), weights(**named)))
    chin = found[[17, 152]].mean(0)
    right, left = appearance_checks.CHEEKS
    below = [found[list(outline)].mean(0) + (0, 25) for outline in EYE_OUTLINES]
    middles = (chin, found[4], found[[61, 33]].mean(0), found[[291, 263]].mean(0), *below)
    parts = (CHIN_SKIN, appearance_checks.NOSE, right, left, *UNDER_EYES)
    for rows, place in zip(parts, middles, strict=True):
        for k, row in enumerate(set(rows) - set(model.index.tolist())):
            found[row] = place + 8 * np.array([np.cos(k), np.sin(k)])
    picture = np.full((512, 512, 3), SKIN, np.uint8)
    cv2.circle(picture, np.int32(found[4]).tolist(), 30, nose, -1)
    cv2.fillConvexPoly(picture, cv2.convexHull(np.int32(found[list(OUTER_LIPS)])), lips)
    cv2.line(picture, np.int32(found[61]).tolist(), np.int32(found[291]).tolist(), line, 4)
    for outline in EYE_OUTLINES[: len(glasses)]:
        middle = found[list(outline)].mean(0).astype(int).tolist()
        cv2.circle(picture, middle, 45, glasses[0], -1)
        cv2.circle(picture, middle, 6, glasses[-1], -1)
    return np.uint8(picture * light), face


def test_a_face_that_is_to_be_seen_is_taken():
    pale = SKIN.tolist()  # such lips have their line
    for how in ({}, {"lips": pale}, {"light": 0.4}, {"glasses": [(70, 70, 70), (230, 230, 230)]}):
        picture, face = painted(**how)
        photo = photo_to_avatar.examine(Looks(face), picture, "it")
        assert photo.picture is picture and photo.face is face and not photo.notes


@pytest.mark.parametrize("how, word", [
    ({"lips": SKIN.tolist(), "line": SKIN.tolist()}, "no lips can be seen.*mask"),
    ({"nose": (40, 40, 40)}, "no uncovered human face"),
    ({"light": 0.1}, "too dark.*light"),
    ({"eyeBlinkLeft": 0.9}, "an eye in it is shut"),
    ({"glasses": [(30, 30, 30), (35, 35, 35)]}, "an eye in it cannot be seen.*dark glasses"),
    ({"glasses": [(30, 30, 30)]}, "an eye in it cannot be seen"),  # a patch
    ({"at": (256, 20)}, "cuts the face off"),
])  # fmt: skip
def test_faces_that_are_covered_shut_dark_or_cut_off_are_refused(how, word):
    picture, face = painted(**how)
    with pytest.raises(RealTalkError, match=word):
        photo_to_avatar.examine(Looks(face), picture, "it")


@pytest.mark.parametrize("certainty, apart", [(0.7, 0.03), (0.3, 0.01)])
def test_what_is_hardly_a_human_face_is_refused(monkeypatch, certainty, apart):
    picture, face = painted()
    monkeypatch.setattr(photo_to_avatar, "reading_distance", lambda *_: apart)
    with pytest.raises(RealTalkError, match="no uncovered human face"):
        photo_to_avatar.examine(Looks(face, certainty=certainty), picture, "it")
    monkeypatch.setattr(photo_to_avatar, "reading_distance", lambda *_: 0.01)
    photo_to_avatar.examine(Looks(face, certainty=0.7), picture, "it")


@pytest.mark.parametrize("how, word", [
    ({"light": 0.3}, "dark.*light"), ({"eyeBlink": 0.45}, "half shut"),
    ({"glasses": [(70, 70, 70), (108, 108, 108)]}, "hardly seen.*dark glasses"),
])  # fmt: skip
def test_faces_that_are_not_shown_well_are_noted(how, word):
    picture, face = painted(**how)
    assert re.search(word, " ".join(photo_to_avatar.examine(Looks(face), picture, "it").notes))


@pytest.mark.parametrize("shaded", [np.s_[:, :256], np.s_[:, 256:]])
def test_eyes_in_light_from_a_side_are_taken_for_seen(shaded):
    """The eye in the shade has little contrast, but its cheek is as dark."""
    picture, face = painted()
    picture[shaded] = picture[shaded] * 0.35
    photo_to_avatar.examine(Looks(face), picture, "it")
    picture, face = painted(glasses=[(30, 30, 30)])
    picture[shaded] = picture[shaded] * 0.35
    with pytest.raises(RealTalkError, match="an eye in it cannot be seen"):
        photo_to_avatar.examine(Looks(face), picture, "it")


def test_something_dark_before_the_chin_is_noted():
    picture, face = painted()
    x, y = face.points[list(CHIN_SKIN)].mean(0).astype(int)
    cv2.circle(picture, (int(x), int(y)), 35, (30, 30, 30), -1)
    assert "microphone" in photo_to_avatar.examine(Looks(face), picture, "it").notes[0]
    both = np.int32(face.points[[*OUTER_LIPS, *CHIN_SKIN]])
    cv2.fillConvexPoly(picture, cv2.convexHull(both), (30, 30, 30))
    with pytest.raises(RealTalkError, match="no lips"):
        photo_to_avatar.examine(Looks(face), picture, "it")


def test_a_window_that_was_taken_for_a_second_face_is_dismissed():
    picture, face = painted()
    window = mesh(330)
    window.points[:] = 250 + 100 * np.random.default_rng(0).standard_normal((478, 2))
    assert photo_to_avatar.examine(Looks(window, face), picture, "it").face is face
    with pytest.raises(RealTalkError, match="no face"):  # a small one that nobody else sees
        photo_to_avatar.examine(Looks(mesh(50), certainty=0.3), picture, "it")
    with pytest.raises(RealTalkError, match="2 faces"):
        photo_to_avatar.examine(Looks(face, painted(at=(200, 246))[1]), picture, "it")


def test_a_tight_crop_gets_a_border():
    picture, face = painted()
    low, high = (np.int32(edge) for edge in (face.points.min(0), face.points.max(0)))
    tight = picture[low[1] : high[1], low[0] : high[0]].copy()
    tight[:40:2] = 60  # stripes
    near = face_detector.DetectedFace(face.points - low)
    photo = photo_to_avatar.examine(Looks(near), tight, "it")
    assert (np.array(photo.picture.shape) >= tight.shape).all()
    x, y = np.rint(photo.face.points[0] - near.points[0]).astype(int)
    assert (photo.picture[y : y + len(tight), x : x + tight.shape[1]] == tight).all()
    square = framing.square(photo.who.poses[0], photo.who.identity)
    framing.lay_out(photo.picture.shape[1::-1], square)  # has room for it
    # Stripes do not go on in the border.
    assert x > 5 and photo.picture[:20, 0].std(0).max() < 0.3 * tight[:20, 0].std(0).min()


# -- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("name, typed, noted", [
    ("kenji", "./kenji", True), ("noah", "./noah", True), ("日本 ü", "'日本 ü'", False),
    ("ann", "ann", False),
])  # fmt: skip
def test_what_is_printed_to_be_typed_shows_this_avatar(
    drawing, tmp_path, capsys, monkeypatch, name, typed, noted
):
    monkeypatch.chdir(tmp_path)
    drawing[drawing.index("--name") + 1], drawing[drawing.index("--out") + 1] = name, "."
    assert main(drawing) == 0
    said = capsys.readouterr().out
    assert f"--avatar {typed} --text" in said
    assert ("names a bundled avatar" in said) == noted
    (given,) = shlex.split(typed)
    assert Avatar.load(given).provenance.consent == "Ann, 2026-11-21"
    # The pictures are of this one, too.
    assert b"Ann, 2026-11-21" in (tmp_path / f"{name}-faces.jpg").read_bytes()


def test_a_drawn_face_becomes_an_avatar(drawing, tmp_path, capsys):
    assert main(drawing) == 0
    said = capsys.readouterr().out
    assert "face at rest" in said and str(tmp_path / "ann-faces.jpg") in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ann", "ann-faces.jpg", "face.png",
                                                          "points.yaml"]  # fmt: skip
    assert b"Ann, 2026-11-21" in (tmp_path / "ann-faces.jpg").read_bytes()
    shown = cv2.imread(str(tmp_path / "ann-faces.jpg")).astype(int)
    faces = np.stack(np.hsplit(shown, len(contact_sheet.ENROLMENT)))
    assert (np.abs(faces[1:] - faces[0]).max((1, 2, 3)) > 30).all()  # each another expression
    avatar = Avatar.load(tmp_path / "ann")
    meta = avatar.metadata
    assert meta["consent"] == "Ann, 2026-11-21" == avatar.provenance.consent
    digest = hashlib.sha256((tmp_path / "face.png").read_bytes()).hexdigest()
    assert meta["source"] == {"name": "face.png", "sha256": digest}
    assert meta["digital_source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert len(meta["created"]) == len("2026-11-21") and meta["tool"].startswith("realtalk_ros ")
    for name, wanted in meta["sha256"].items():
        assert hashlib.sha256((tmp_path / "ann" / name).read_bytes()).hexdigest() == wanted
    assert avatar.reference_expressions is None  # nobody knows how a drawing speaks
    # The eyes lie where the network was shown eyes, see landmarks.face_square.
    x, y, side = avatar.crop
    crop = avatar.templates[0][y : y + side, x : x + side]
    dark = np.argwhere(crop.sum(2) < 200)
    assert 0.22 * side < dark[:, 0].mean() < 0.28 * side
    # And the landmarks of every template lie where it shows the face.
    for frame, points in zip(avatar.templates, avatar.landmarks, strict=True):
        crop = frame[y : y + side, x : x + side]
        seen = np.argwhere(crop.sum(2) < 200).mean(0)[::-1] + (x, y)
        assert np.linalg.norm(points[36:48].mean(0) - seen) < 0.02 * side
    assert FaceRenderer(avatar).render(weights(jawOpen=0.5), 0).shape == avatar.templates.shape[1:]


def texture(picture, rows):
    """The picture with fine detail: stripes across, `rows` pixels apart."""
    lines = 40 * np.sin(2 * np.pi * np.arange(len(picture)) / rows)
    return np.clip(picture + lines[:, None, None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size, zoom", [(512, 1), (512, 2.4), (512, 6), (768, 1)])
def test_the_detail_of_the_picture_reaches_the_avatar(drawing, tmp_path, size, zoom):
    """Stripes 4 pixels of the avatar apart are as strong in it as in the picture, and what is too
    fine for it has become even, not noise."""
    file = tmp_path / "face.png"
    picture = cv2.resize(cv2.imread(str(file)), None, fx=zoom, fy=zoom)
    points = {name: [x * zoom, y * zoom] for name, (x, y) in POINTS.items()}
    (tmp_path / "points.yaml").write_text(yaml.safe_dump(points))
    made = {}
    for name, apart in (("plain", 1e9), ("ann", 4), ("fine", 1.6))[: 3 if zoom > 2 else 2]:
        scale = 600 * zoom / size  # pixels of the picture for one of the avatar
        cv2.imwrite(str(file), texture(picture, apart * scale))
        drawing[drawing.index("--name") + 1] = name
        assert main([*drawing, "--size", str(size)]) == 0
        made[name] = Avatar.load(tmp_path / name)
    side = made["ann"].crop[2]
    assert made["ann"].size[1] == size and made["ann"].metadata["size"][1] == size
    assert made["ann"].reference_image.shape == (256, 256, 3)
    contrast = {}
    for name in set(made) - {"plain"}:
        changed = made[name].templates[0].astype(int) - made["plain"].templates[0]
        x, y, _ = made[name].crop
        at = slice(y + side // 2, y + 3 * side // 4), slice(x + side // 4, x + 3 * side // 4)
        contrast[name] = changed[at].std()
    assert 0.8 < contrast["ann"] / (40 / 2**0.5) < 1.15
    assert zoom < 2 or contrast["fine"] < 5
    FaceRenderer(made["ann"], size).render(weights(jawOpen=0.3), 0)


def test_a_picture_with_fewer_pixels_than_asked_is_said(drawing, tmp_path, capsys):
    assert main([*drawing, "--size", "1024"]) == 0
    assert "400 pixels wide in the picture and 683 in the avatar" in capsys.readouterr().out
    drawing[drawing.index("ann")] = "eve"
    assert main(drawing) == 0
    assert "pixels wide in the picture" not in capsys.readouterr().out


def test_a_picture_is_sampled_once_however_its_pixels_are_moved():
    """Moved there and back by half a pixel, nothing of it is lost."""
    picture = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    layout = framing.Layout(np.eye(2, 3), (512, 512), (128, 118, 256))
    x, y = np.meshgrid(np.linspace(140, 370, 8), np.linspace(130, 360, 8))
    points = np.stack([x, y], -1).reshape(-1, 2)
    shown = framing.Portrait.of(
        picture, layout, points, np.zeros((64, 3)), fit.Pose(0.0, 0.0, 0.0, 256.0, 246.0, 12.9)
    )
    here = np.stack(np.meshgrid(*[np.arange(512, dtype=np.float32)] * 2), -1)
    image, positions = shown.resampled(here - np.float32(0.5))
    back = replace(shown, image=image, positions=positions)
    image, _ = back.resampled(here + np.float32(0.5))
    middle = slice(160, 330), slice(160, 330)
    assert np.abs(image[middle].astype(int) - picture[middle]).mean() < 1


def test_an_avatar_is_whole_or_not_there(drawing, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    refused(capsys, drawing, tmp_path, "No space left")


class Seen(ExitStack):
    """A tracker that has seen one face where it says."""

    certainty = 0.9  # of another detector

    def __init__(self, *_, **__):
        super().__init__()

    def find(self, image):
        return [type(self).face]

    def score(self, crop):
        return self.certainty


def photograph(monkeypatch, **shown):
    """What is enrolled of a picture of red lips, and white teeth between them, that show these
    weights."""
    picture, found = lips_picture(weights(**shown), (255, 255, 255), 150)
    Seen.face = face_detector.DetectedFace(found)
    monkeypatch.setattr(photo_to_avatar, "FaceDetector", Seen)
    return photo_to_avatar.from_picture(picture, "it", None)


def white(image):
    return int((image.min(-1) > 200).sum())


def red(image):
    """(rows,) pixels of the lips."""
    return ((image[..., 2] > 130) & (image[..., 1] < 80)).sum(1)


def spoken(avatar, shown, speech):
    """The image of a face that has done this for a second, and of how many pixels of the networks'
    crop lie between its lips."""
    face = Face(FaceRenderer(avatar))
    face.idle_gain = 0.0
    for time in np.arange(10.0, 11.0, 0.1):
        pose, _ = face.pose(time, shown, None, speech)
    image, made = face.renderer.render(pose, 0), face.renderer.generate(pose, 0)
    return image, int((made.mouth_interior[..., 0] > 128).sum())


def enrolled(folder, made):
    (folder / "face.png").write_bytes(b"x")
    write_folder(folder / "ann", made, "ann", "Ann", folder / "face.png")
    return Avatar.load(folder / "ann")


def test_a_smile_stays_and_its_lips_shut_as_wholes(monkeypatch, tmp_path):
    made = photograph(monkeypatch, mouthSmile=0.6, jawOpen=0.15, mouthUpperUp=0.3)
    resting = made.resting_weights
    assert resting[arkit.INDEX["mouthSmileLeft"]] > 0.4 and made.parted_weights is None
    assert resting[arkit.INDEX["mouthUpperUpLeft"]] == 0 and abs(resting @ GAP) < 0.15
    photo, rest = made.references
    assert white(photo) > 500 and white(rest) == 0 and white(made.templates[0]) == 0
    # The lips are as thick and about as wide as before, and the landmarks are those of shut ones.
    assert 0.9 < red(rest).sum() / red(photo).sum() < 1.2
    assert 0.9 < (red(rest).max() / red(photo).max()) < 1.1
    points = made.landmarks.mean(0)
    assert np.abs(points[61:64] - points[67:64:-1]).max() < 0.012 * made.crop[2]
    avatar = enrolled(tmp_path, made)
    assert (avatar.resting_weights == resting).all()
    assert np.allclose(avatar.reference_weights[1], 0)  # as they are added to the resting weights
    for name, speech in (("rest", 0.0), ("m", 1.0), ("p", 1.0)):
        image, gap = spoken(avatar, weights(**CLOSED[name]), speech)
        assert gap == 0 and white(image) == 0, name


CLOSED = {
    "rest": {},
    "m": {"mouthClose": 0.1, "mouthPress": 0.5, "mouthRollLower": 0.3},
    "p": {"mouthPress": 0.3, "jawOpen": 0.05, "mouthClose": 0.05},
}


def test_closed_lips_are_left_as_they_are(monkeypatch):
    made = photograph(monkeypatch, mouthSmile=0.5)
    assert len(made.references) == 1 and made.parted_weights is None
    assert made.resting_weights[arkit.INDEX["mouthSmileRight"]] > 0.3
    assert np.abs(made.reference_weights[0, list(arkit.MOUTH)]).max() < 0.1


def test_lips_that_cannot_shut_rest_parted_with_the_teeth_of_the_photo(monkeypatch, tmp_path):
    made = photograph(monkeypatch, mouthSmile=0.5, mouthUpperUp=0.9, mouthLowerDown=0.8)
    assert made.parted_weights @ GAP > 0.2
    avatar = enrolled(tmp_path, made)
    assert (avatar.parted_weights == made.parted_weights).all()
    image, gap = spoken(avatar, weights(), 0.0)
    assert gap > 100 and white(image) > 200
    image, gap = spoken(avatar, weights(**CLOSED["p"]), 1.0)
    assert gap == 0 and white(image) == 0


def test_a_mouth_that_is_wide_open_is_refused(monkeypatch):
    with pytest.raises(RealTalkError, match=r"open by 3\.\d cm.*closed lips or a smile"):
        photograph(monkeypatch, jawOpen=1.0)


# -- videos -------------------------------------------------------------------------------------


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """4 s of one face that rests for the first, then speaks; a tracker that knows."""
    count, fps = 100, 25
    t = np.arange(count) / fps
    said = np.stack([
        weights(jawOpen=max(0.0, 0.5 * np.sin(9 * at)) if at > 1.2 else 0.0,
                mouthSmile=0.6 if 2 < at < 2.5 else 0.0)
        for at in t
    ])  # fmt: skip
    pose = fit.Pose(0.0, 0.0, 0.0, 256.0, 200.0, 14.0)
    marks = pose.project(landmarks.load().points(np.zeros(52, np.float32)))
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "clip.mp4", fps, (512, 512)) as video:  # no sound
        base = rng.integers(0, 255, (512, 512, 3), np.uint8)
        for k in range(count):
            frame = cv2.GaussianBlur(base, (0, 0), 6)
            frame[:20] = 2 * k
            video.write(frame)
    known = Track(
        time=t, faces=np.ones(count, np.int16),
        landmarks=np.repeat(marks[None], count, 0).astype(np.float32),
        rest=np.repeat(marks[None], count, 0).astype(np.float32), weights=said,
        rotation=np.zeros((count, 3), np.float32), identity=np.full(100, 0.1, np.float32),
    )  # fmt: skip

    class Known:
        track_ = known

        def __init__(self, landmarker):
            pass

        def track(self, frames):
            for _ in frames:
                pass
            return type(self).track_

    monkeypatch.setattr(mesh_tracker, "MeshTracker", Known)
    return Known


def test_the_frame_that_shows_the_teeth_is_a_reference(clip, tmp_path):
    frames = [image for _, image in Clip(tmp_path / "clip.mp4").frames()]
    mouth = clip.track_.landmarks[0, 60:68].mean(0).astype(int).tolist()
    with VideoWriter(tmp_path / "teeth.mp4", 25, (512, 512)) as video:
        for k, frame in enumerate(frames):
            cv2.circle(frame, mouth, 30, (240, 240, 240) if k == 60 else (30, 30, 90), -1)
            video.write(frame)
    # The middle of the inner lips, apart as in the frame itself.
    clip.track_.landmarks[:, 65:68, 1] += 20
    film = video_to_avatar.TrackedVideo(tmp_path / "teeth.mp4", clip.track_)
    crops, said, _ = film.references()
    assert (crops[0] > 200).all(2).sum() > 500
    assert (said[0] == clip.track_.weights[60]).all() and len(crops) == 3


def test_a_video_becomes_an_avatar(clip, tmp_path, capsys):
    assert main(arguments(tmp_path, "--silent", what="--video", source="clip.mp4")) == 0
    avatar = Avatar.load(tmp_path / "ann")
    assert len(avatar.templates) == video_to_avatar.QUIET  # the second of rest, as it was filmed
    top = avatar.templates[:, 4:12].mean((1, 2, 3))
    assert top.max() < 2 * 32 and (np.diff(top) > 0).all()
    assert len(avatar.more_references) == 3
    jaws = avatar.reference_weights[:, arkit.INDEX["jawOpen"]]
    assert np.ptp(jaws) > 0.4
    # Where the mouth is open in a reference, so it is in its map.
    opened = [(seen[..., 3] > 128).sum() for seen in reference_inputs(avatar)]
    assert opened[jaws.argmax()] > 100 > opened[jaws.argmin()]
    assert avatar.reference_expressions.shape == (50, 52)
    assert np.ptp(avatar.reference_expressions[:, arkit.INDEX["jawOpen"]]) > 0.4


def test_a_video_with_speech_says_how_far_its_mouth_opens(clip, tmp_path, monkeypatch):
    """Half as far as the network, with the sound 0.1 s late; without sound nothing is said."""
    pcm, rate = read_audio(SAMPLE_CLIP)
    pcm = pcm[: 4 * rate]
    heard, given, prior = PredictedExpression.of(pcm, rate), [], ExpressionModel.prior
    opening = np.interp(clip.track_.time + 0.1, np.arange(len(heard.prepared)) / 50,
                        aperture_of(heard.prepared))  # fmt: skip
    marks = clip.track_.landmarks
    eyes = np.linalg.norm(np.subtract(*marks[0, landmarks.EYE_CORNERS]))
    marks[:, landmarks.INNER_LOWER_LIP] = marks[:, landmarks.INNER_UPPER_LIP]
    marks[:, landmarks.INNER_LOWER_LIP, 1] += 0.5 * eyes * opening
    with VideoWriter(tmp_path / "voice.mp4", 25, (512, 512), rate) as film:
        for _, image in Clip(tmp_path / "clip.mp4").frames():
            film.write(image)
        film.write_audio(pcm)

    def remembered(self, *known):
        given.append(known)
        return prior(self, *known)

    monkeypatch.setattr(ExpressionModel, "prior", remembered)
    assert main(arguments(tmp_path, what="--video", source="voice.mp4")) == 0
    avatar = Avatar.load(tmp_path / "ann")
    assert avatar.temperament.mouth_motion == pytest.approx(0.83, abs=0.07)
    ((identity, window),) = given  # as the network will know this person
    assert (identity == avatar.identity).all() and (window == avatar.reference_expressions).all()
    assert main(arguments(tmp_path, "--silent", "--name", "silent", what="--video",
                          source="clip.mp4")) == 0  # fmt: skip
    assert Avatar.load(tmp_path / "silent").temperament.mouth_motion == 1


@pytest.mark.parametrize("seconds, damaged", [(2, True), (0.01, False), (60, False)])
def test_damaged_and_long_sound_cost_no_avatar(clip, tmp_path, capsys, monkeypatch, seconds,
                                               damaged):  # fmt: skip
    rate, heard, of = 16000, [], PredictedExpression.of

    def recorded(pcm, *others):
        heard.append(len(pcm) / rate)
        return of(pcm, *others)

    monkeypatch.setattr(PredictedExpression, "of", recorded)
    path = tmp_path / "sound.mp4"
    with VideoWriter(path, 25, (512, 512), rate) as film:
        for _, image in Clip(tmp_path / "clip.mp4").frames():
            film.write(image)
        film.write_audio(np.zeros(round(seconds * rate), np.float32))
    if damaged:
        data = bytearray(path.read_bytes())
        with av.open(str(path)) as container:
            for packet in container.demux(audio=0):
                if packet.size:
                    data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
        path.write_bytes(data)
    assert main(arguments(tmp_path, what="--video", source=path.name)) == 0
    assert Avatar.load(tmp_path / "ann").temperament.mouth_motion == 1
    told = "how far the mouth opens in speech is not measured" in "".join(capsys.readouterr())
    assert (told, len(heard)) == ((True, 0) if damaged else (False, 1))
    assert all(length < clip.track_.time[-1] + 1.1 for length in heard)  # not 60


def test_a_film_of_a_pout_has_no_resting_second(clip, tmp_path):
    film = video_to_avatar.TrackedVideo(tmp_path / "clip.mp4", clip.track_)
    assert film.quiet().stop <= 31  # before it speaks
    for name in ("mouthPucker", "mouthSmileLeft", "mouthRollLower"):
        clip.track_.weights[:31] = weights(**{name: 0.4})
        assert video_to_avatar.TrackedVideo(film.path, clip.track_).quiet() is None, name


def test_a_video_without_sound_is_refused_unless_that_is_meant(clip, tmp_path, capsys):
    argv = arguments(tmp_path, what="--video", source="clip.mp4")
    refused(capsys, argv, tmp_path, "no sound")


def test_what_native_libraries_log_is_shown_where_something_fails(capfd):
    with native_output.hidden():
        os.write(2, b"W0000 feedback manager\n")
        print("progress", file=sys.stderr)
    assert capfd.readouterr().err == "progress\n"
    with pytest.raises(ZeroDivisionError), native_output.hidden():
        os.write(2, b"no memory\n")
        _ = 1 / 0
    assert "no memory" in capfd.readouterr().err
    with native_output.hidden(shown=True):
        os.write(2, b"W0000\n")
    assert "W0000" in capfd.readouterr().err


def test_tracking_writes_what_was_seen(clip, tmp_path, capsys):
    clip.track_.faces[10:14] = 0
    out = tmp_path / "out.csv"
    assert main(["track", str(tmp_path / "clip.mp4"), "--csv", str(out)]) == 0
    lines = out.read_text().splitlines()
    assert lines[0] == ",".join(live_link.COLUMNS) and len(lines) == 1 + 96
    jaw = live_link.COLUMNS.index("JawOpen")
    seen = np.array([float(line.split(",")[jaw]) for line in lines[1:]])
    true = np.delete(clip.track_.weights[:, arkit.INDEX["jawOpen"]], range(10, 14))
    np.testing.assert_allclose(seen, true, atol=1e-6)
    assert "96 of 100" in capsys.readouterr().out


@pytest.mark.parametrize("how, word", [
    ({"lips": SKIN.tolist(), "line": SKIN.tolist()}, "no lips can be seen.*mask"),
    ({"glasses": [(30, 30, 30)]}, "an eye in .* cannot be seen"),
    ({"light": 0.1}, "too dark.*light"),
    ({}, ""),
])  # fmt: skip
def test_a_video_is_looked_at_as_a_photo_is(clip, tmp_path, capsys, monkeypatch, how, word):
    picture, face = painted(**how)
    with VideoWriter(tmp_path / "painted.mp4", 25, (512, 512)) as video:
        for _ in range(100):
            video.write(picture)
    monkeypatch.setattr(enroll, "FaceDetector", lambda _: Looks(face))
    argv = arguments(tmp_path, "--silent", what="--video", source="painted.mp4")
    if word:
        refused(capsys, argv, tmp_path, "painted.mp4")
        with pytest.raises(RealTalkError, match=word):
            enroll.look_at(
                video_to_avatar.TrackedVideo(tmp_path / "painted.mp4", clip.track_), None
            )
    else:
        assert main(argv) == 0


def test_pictures_that_are_missing_of_a_video_are_noted(clip, tmp_path, capsys):
    clip.track_.time[50:] += 2.0
    out = str(tmp_path / "out.csv")
    assert main(["track", str(tmp_path / "clip.mp4"), "--csv", out]) == 0
    assert "clip.mp4 has no pictures for 2.0 s, from 2.0 s on" in capsys.readouterr().out
    assert main(arguments(tmp_path, "--silent", what="--video", source="clip.mp4")) == 0
    assert "clip.mp4 has no pictures for 2.0 s, from 2.0 s on" in capsys.readouterr().out


def test_tracking_into_standard_output_says_the_rest_elsewhere(clip, tmp_path, capsys, monkeypatch):
    with (tmp_path / "out.csv").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        out = str(tmp_path / "out.csv")
        assert main(["track", str(tmp_path / "clip.mp4"), "--csv", out]) == 0
    assert "100 of 100" in capsys.readouterr().err


@pytest.mark.parametrize("faces, word", [(0, "no face"), (2, "more than one face")])
def test_videos_of_nobody_or_of_two_are_refused(clip, tmp_path, capsys, faces, word):
    clip.track_.faces[:] = faces
    argv = arguments(tmp_path, "--silent", what="--video", source="clip.mp4")
    refused(capsys, argv, tmp_path, word)


def test_a_video_in_profile_and_a_small_face_are_refused(clip, tmp_path, capsys):
    argv = arguments(tmp_path, "--silent", what="--video", source="clip.mp4")
    clip.track_.rotation[:, 0] = 0.9
    refused(capsys, argv, tmp_path, "profile")
    clip.track_.rotation[:] = 0
    clip.track_.rest[:] /= 6
    refused(capsys, argv, tmp_path, "pixels high")


# -- several references -------------------------------------------------------------------------


def test_the_reference_with_the_nearest_mouth_is_taken_and_kept():
    rest, wide, pursed = weights(), weights(jawOpen=0.8), weights(mouthPucker=0.9)
    chooser = ReferenceSelector(np.stack([rest, wide, pursed]))
    assert [chooser.choose(w) for w in (rest, wide, pursed, rest)] == [0, 1, 2, 0]
    # Around the middle between two, it stays with what it has.
    sway = [chooser.choose(weights(jawOpen=0.4 + 0.05 * (-1) ** k)) for k in range(8)]
    assert len(set(sway)) == 1
    many = np.stack([weights(jawOpen=0.01 * k) for k in range(50)] + [pursed])
    taken = farthest_mouths(many, 3, 0)
    assert taken[0] == 0 and 50 in taken and len(taken) == 3
    assert farthest_mouths(np.stack([rest] * 5), 3, 2) == [2]  # there is no other


def test_each_reference_has_rows_of_its_own(drawing, tmp_path):
    assert main(drawing) == 0
    home = tmp_path / "ann"
    meta = yaml.safe_load((home / "avatar.yaml").read_text())
    cv2.imwrite(str(home / "references/1.png"), np.full((256, 256, 3), (0, 0, 255), np.uint8))
    meta["references"].append("references/1.png")
    meta.pop("reference_landmarks")  # of these pictures nobody knows them
    meta["templates"] *= 3
    np.save(home / "landmarks.npy", np.repeat(np.load(home / "landmarks.npy"), 3, 0))
    np.save(home / "reference_weights.npy", np.stack([weights(), weights(jawOpen=0.8)]))
    (home / "avatar.yaml").write_text(yaml.safe_dump(meta))
    both = Avatar.load(home)
    wide = weights(jawOpen=0.8)
    generator = Generator([Avatar.load("default"), both])
    together = FaceRenderer(both, shared=(generator, 1))
    picture = together.render(wide, 2)
    for k, image in enumerate(both.more_references):
        meta["references"], meta["reference"] = [], f"references/{k}.png"
        (home / "avatar.yaml").write_text(yaml.safe_dump(meta))
        alone = FaceRenderer(Avatar.load(home))
        assert (alone.avatar.reference_image == image).all()
        # The light in the mouth is by what all references show.
        same = np.abs(alone.render(wide, 2).astype(int) - picture).max() <= 3
        assert same == (k == 1)
