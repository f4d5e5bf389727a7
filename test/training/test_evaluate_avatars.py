# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate avatars`: what its figures say of pictures whose faults are known, and what it
prints. Without MediaPipe and dlib: their places are taken by what knows where the face is."""

import json
from contextlib import ExitStack

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.cli import main
from realtalk_ros.commands import avatar_metrics, evaluate_avatars
from realtalk_ros.enroll import fit, photo_to_avatar
from realtalk_ros.enroll.face_detector import DetectedFace
from realtalk_ros.enroll.face_embedding import FaceEmbedding
from realtalk_ros.enroll.mediapipe_points import EYE_OUTLINES, POINTS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit


def face_at(scale=16.0, middle=(256, 246), **named):
    """478 points of a face with these weights; those that the fitted model lacks around the middle
    of the chin."""
    model = fit.mesh_model()
    pose = fit.Pose(0.0, 0.0, 0.0, *middle, scale)
    found = np.zeros((POINTS, 2), np.float32)
    found[model.index] = pose.project(model.shape(np.zeros(100), arkit.weights(**named)))
    chin = 0.4 * found[17] + 0.6 * found[152]
    for k in set(range(POINTS)) - set(model.index.tolist()):
        found[k] = chin + 1.5 * scale * np.array([np.cos(k), 0.5 * np.sin(k)])
    return DetectedFace(found)


def noise(size=512):
    """Fine detail, though none of single pixels: scaling does not change that much."""
    rng = np.random.default_rng(0)
    fine = cv2.GaussianBlur(rng.standard_normal((size, size, 3)).astype(np.float32), (0, 0), 2)
    return np.uint8(np.clip(128 + 30 * fine / fine.std(), 0, 255))


def frame(image, face, **named):
    return avatar_metrics.Frame(image, arkit.weights(**named), face)


def test_detail_is_that_of_the_photograph_at_one_scale():
    photograph, face = noise(), face_at()
    blurred = cv2.GaussianBlur(photograph, (0, 0), 3)
    same, soft = (
        avatar_metrics.details([frame(image, face)] * 3, photograph, face)
        for image in (photograph, blurred)
    )
    assert set(same) == {"detail_mouth", "detail_chin", "detail_eyes"}
    assert all(abs(value - 1) < 1e-3 for value in same.values())
    assert all(value < 0.1 for value in soft.values())
    # A photograph of twice the size is reduced; one of half the size, the frames.
    double = cv2.resize(photograph, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    large = DetectedFace(2 * face.points)
    for frames, photo, of in (
        ([frame(photograph, face)] * 3, double, large),
        ([frame(double, large)] * 3, photograph, face),
    ):
        assert all(0.5 < v < 1.7 for v in avatar_metrics.details(frames, photo, of).values())


def test_eyes_are_measured_open_and_mouths_shut():
    photograph, face, flat = noise(), face_at(), np.full((512, 512, 3), 128, np.uint8)
    wide = face_at(jawOpen=0.5)
    frames = [frame(flat, wide, eyeBlink=1.0)] * 3 + [frame(photograph, face)]
    found = avatar_metrics.details(frames, photograph, face)
    assert found["detail_eyes"] > 0.99 and found["detail_mouth"] > 0.99
    assert found["detail_chin"] < 0.3  # of all four


@pytest.mark.parametrize("offset, darkness, hue", [
    ((0, 0, 0), 0, 0), ((-20, -20, -20), 20, 0), ((-30, 0, 0), 10, 20), ((9, 9, 9), 9, 0),
])  # fmt: skip
def test_a_shut_lid_is_compared_with_the_skin_above_it(offset, darkness, hue):
    face, skin = face_at(), np.array([120, 150, 190])
    image = np.full((512, 512, 3), skin, np.uint8)
    for eye in EYE_OUTLINES[:1]:  # of the right eye only: the worse one counts
        cv2.fillConvexPoly(
            image, cv2.convexHull(np.int32(face.points[list(eye)])), (skin + offset).tolist()
        )
        below = np.int32(face.points[145])
        cv2.ellipse(image, below.tolist(), (30, 3), 0, 0, 360, (0, 0, 0), -1)  # lashes
    found = avatar_metrics.lid_differences(image, np.full_like(image, skin), face.points)
    assert found["lid_darkness"] == pytest.approx(darkness, abs=3)
    assert found["lid_colour"] == pytest.approx(hue, abs=3)


@pytest.mark.parametrize("fringe, lid, expected", [
    (True, 0, 0), (True, -20, 20), (True, 12, 12), (False, 0, 52), (False, -20, 32),
])  # fmt: skip
def test_a_fringe_above_a_lid_is_no_skin(fringe, lid, expected):
    """Half of what is above the lid is 110 levels darker than skin. With open eyes, too, it is a
    fringe; else the blink made it, and it counts."""
    face, skin = face_at(), np.full(3, 150)
    opened = np.full((512, 512, 3), skin, np.uint8)
    for eye in EYE_OUTLINES:
        ring = cv2.convexHull(np.int32(face.points[list(eye)]))
        cv2.fillConvexPoly(opened, ring, (skin + lid).tolist())
    shut = opened.copy()
    for upper, _, brow in avatar_metrics.LIDS:
        top, above = (face.points[list(rows)] for rows in (upper, brow))
        across = [top[0] + 0.3 * (above[0] - top[0]), top[2] + 0.3 * (above[2] - top[2])]
        up = 0.7 * (above[1] - top[1])
        middle = np.mean(across, 0)
        half = np.int32([across[0], middle, middle + up, across[0] + up])
        for image in (opened, shut) if fringe else (shut,):
            cv2.fillConvexPoly(image, half, (40, 40, 40))
    found = avatar_metrics.lid_differences(shut, opened, face.points)
    assert found["lid_darkness"] == pytest.approx(expected, abs=5)
    assert found["lid_colour"] < 1


def test_opening_correlates_where_lips_follow_the_weights():
    avatar = Avatar.load("default")
    jaws = np.linspace(0, 0.6, 12)
    for seen, expected in ((jaws, 1.0), (jaws[::-1], -1.0), (0 * jaws, 0.0)):
        frames = [
            frame(None, face_at(jawOpen=open_), jawOpen=wanted)
            for wanted, open_ in zip(jaws, seen, strict=True)
        ]
        found = avatar_metrics.opening_correlation(frames, avatar)
        assert found == pytest.approx(expected, abs=0.03)


class Knows(ExitStack):
    """A detector that knows where the face is in the photographs, which are all alike, and finds
    it at the default place in what was rendered."""

    def __init__(self, *_, **__):
        super().__init__()

    def find(self, image):
        return [face_at() if image.shape[:2] == (512, 512) else face_at(middle=(256, 300))]

    def score(self, crop):
        return 0.9


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """A folder with a face, and what is no picture."""
    picture, face = np.full((512, 512, 3), (140, 165, 205), np.uint8), face_at()
    lips = cv2.convexHull(np.int32(face.points[list(avatar_metrics.MOUTH)]))
    cv2.fillConvexPoly(picture, lips, (70, 60, 170))
    for eye in EYE_OUTLINES:
        cv2.fillConvexPoly(picture, np.int32(face.points[list(eye)]), (40, 40, 40))
    folder = tmp_path / "photographs"
    folder.mkdir()
    cv2.imwrite(str(folder / "ann.png"), picture)
    (folder / "bob.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").touch()
    (folder / "._ann.png").touch()  # hidden
    for module in (photo_to_avatar, evaluate_avatars):
        monkeypatch.setattr(module, "FaceDetector", Knows)
    monkeypatch.setattr(avatar_metrics, "SECONDS", 0.5)
    monkeypatch.setattr(avatar_metrics, "SILENT_FRAMES", 5)

    def missing(_embedding):
        raise RealTalkError("needs dlib: pip install it")

    monkeypatch.setattr(FaceEmbedding, "__init__", missing)
    return folder


def test_a_folder_of_photographs_is_measured(photographs, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert main(["evaluate", "avatars", str(photographs), "--json", "--sheet", str(sheet)]) == 0
    said, complaint = capsys.readouterr()
    report = json.loads(said)
    assert (
        report["enrolled"] == 1 and "no PNG or JPEG" in report["photographs"]["bob.jpg"]["refused"]
    )
    ann = report["photographs"]["ann.png"]
    assert ann["found"] == 1 and ann["seconds"] > 0 and ann["jitter"] < 2
    assert "identity_rest" not in ann and "pip install" in complaint
    assert report["mean"]["detail_chin"] == report["worst"]["detail_chin"] == ann["detail_chin"]
    # The photograph and the avatar at rest are much the same, the open mouth is another picture.
    line = cv2.imread(str(sheet)).astype(int)[24:]
    photo, rest, ah, *_ = np.hsplit(line, 1 + len(evaluate_avatars.SHOWN))
    assert np.abs(photo - rest).mean() < 4 < 0.1 * np.abs(rest - ah).max()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photographs", "sheet.png"]


def test_the_table_has_a_line_for_each_photograph(photographs, capsys):
    assert main(["evaluate", "avatars", str(photographs)]) == 0
    head, ann, bob, mean, worst, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["photograph", "s", "found"] and "no PNG" in bob
    assert ann.split()[0] == "ann.png" and ann.split().count("-") == 2  # the identity
    assert (mean.split()[0], worst.split()[0]) == ("mean", "worst") and "1 refused" in last


@pytest.mark.parametrize("arguments, word", [
    (["nowhere"], "no folder"), (["."], "no .jpg or .png"),
    (["photographs", "--sheet", "a.gif"], ".png"),
])  # fmt: skip
def test_folders_and_sheets_that_cannot_be_are_refused(
    photographs, tmp_path, monkeypatch, capsys, arguments, word
):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "avatars", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and word in complaint
