# SPDX-License-Identifier: Apache-2.0
"""Videos that cut from one person to another."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.cli import main
from realtalk_ros.enroll import mesh_tracker, one_person
from realtalk_ros.enroll.face_detector import DetectedFace
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.mediapipe_points import POINTS
from realtalk_ros.enroll.video_to_avatar import TrackedVideo
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output.mp4_writer import VideoWriter

COUNT = 80  # frames
LENGTH = 4.0  # of an identity; those of photographs have it


class Sees:
    """Finds a face in every picture, and reads from its light whose it is."""

    shapes: np.ndarray  # (2, 100): of who is seen in the dark and in light

    def find(self, picture):
        return [DetectedFace(np.zeros((POINTS, 2), np.float32))]

    def read(self, picture, mesh):
        noise = np.random.default_rng(int(picture[0, 0, 0])).normal(0, 0.05, 100)
        return SimpleNamespace(identity=self.shapes[int(picture[0, 0, 0] > 128)] + noise)

    def embed(self, picture, points):
        return self.read(picture, None).identity


class Tracks:
    """A tracker that has seen one face in every frame, and a detector that sees it, too."""

    track_: Track

    def __init__(self, landmarker=None):
        pass

    def track(self, frames):
        for _ in frames:
            pass
        return self.track_

    def __enter__(self):
        return Sees()

    def __exit__(self, *_):
        pass


def two_shapes(apart):
    """Two identities that are so far apart, in shares of their length."""
    shapes = np.zeros((2, 100))
    shapes[:, 0] = LENGTH * np.sqrt(1 - (apart / 2) ** 2)
    shapes[:, 1] = LENGTH * apart / 2 * np.array([1, -1])
    return shapes


def film(folder, shown):
    """A video that is light in the frames `shown`, and what was tracked in it."""
    with VideoWriter(folder / "film.mp4", 25, (128, 128)) as video:
        for k in range(COUNT):
            video.write(np.full((128, 128, 3), (220 if shown[k] else 30) + k % 8, np.uint8))
    track = Track(
        time=np.arange(COUNT) / 25, faces=np.ones(COUNT, np.int16),
        landmarks=np.zeros((COUNT, 68, 2), np.float32),
        rest=np.zeros((COUNT, 68, 2), np.float32), weights=np.zeros((COUNT, 52), np.float32),
        rotation=np.zeros((COUNT, 3), np.float32), identity=np.zeros(100, np.float32),
    )  # fmt: skip
    return TrackedVideo(folder / "film.mp4", track)


@pytest.fixture
def sees(monkeypatch):
    monkeypatch.setattr(one_person, "FaceReader", Sees)
    monkeypatch.setattr(one_person.FaceEmbedding, "if_installed", lambda: (None, ""))
    return Sees()


AFTER = np.arange(COUNT) >= 50
BETWEEN = np.arange(COUNT) // 16 % 2 == 1


@pytest.mark.parametrize("shown", [AFTER, BETWEEN], ids=["one cut", "several"])
def test_a_video_of_one_person_after_another_is_refused(tmp_path, sees, monkeypatch, shown):
    monkeypatch.setattr(Sees, "shapes", two_shapes(1.0), raising=False)
    with pytest.raises(RealTalkError, match=r"film\.mp4 seems to show one person after another"):
        one_person.check_one_person(film(tmp_path, shown), sees)


@pytest.mark.parametrize("apart, notes", [(0.77, 1), (0.6, 0), (0.0, 0)])
def test_one_person_who_smiles_is_not_refused(tmp_path, sees, monkeypatch, apart, notes):
    monkeypatch.setattr(Sees, "shapes", two_shapes(apart), raising=False)
    assert len(one_person.check_one_person(film(tmp_path, AFTER), sees)) == notes


def test_a_second_of_somebody_else_does_not_matter(tmp_path, sees, monkeypatch):
    monkeypatch.setattr(Sees, "shapes", two_shapes(1.3), raising=False)
    assert not one_person.check_one_person(film(tmp_path, np.arange(COUNT) >= 72), sees)


@pytest.mark.parametrize("apart, refused", [(1.3, True), (0.05, False)])
def test_dlib_decides_where_it_is_installed(tmp_path, sees, monkeypatch, apart, refused):
    """By the network alone, which has other numbers for the two."""
    monkeypatch.setattr(one_person.FaceEmbedding, "if_installed", lambda: (sees, ""))
    monkeypatch.setattr(Sees, "shapes", two_shapes(0.9 if not refused else 0.8), raising=False)
    monkeypatch.setattr(
        Sees, "embed", lambda self, picture, points: np.eye(128)[0] * apart * (picture.mean() > 128)
    )
    video = film(tmp_path, AFTER)
    if refused:
        with pytest.raises(RealTalkError, match="one person after another"):
            one_person.check_one_person(video, sees)
    else:
        assert not one_person.check_one_person(video, sees)


def test_the_calmest_frames_of_all_the_video_are_looked_at(tmp_path):
    video = film(tmp_path, AFTER)
    video.track.weights[:, 24] = np.arange(COUNT) % 5 / 5
    video.track.faces[:20] = 0
    frames = one_person.calm_frames(video)
    assert len(frames) == one_person.FRAMES and min(frames) >= 20 and max(frames) >= 70


@pytest.fixture
def two_people(tmp_path, sees, monkeypatch):
    """A film of two people, and a tracker that takes them for one."""
    monkeypatch.setattr(Sees, "shapes", two_shapes(1.0), raising=False)
    monkeypatch.setattr(Tracks, "track_", film(tmp_path, AFTER).track, raising=False)
    monkeypatch.setattr(mesh_tracker, "MeshTracker", Tracks)
    monkeypatch.setattr(one_person, "FaceDetector", Tracks)


def test_a_video_of_two_people_is_not_tracked(two_people, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["track", str(tmp_path / "film.mp4"), "--csv", str(out)]) == 2
    assert "one person after another: cut it to one" in capsys.readouterr().err
    assert not out.exists()


def test_the_csv_of_what_may_be_two_people_has_a_note(two_people, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Sees, "shapes", two_shapes(0.77))
    argv = ["track", str(tmp_path / "film.mp4"), "--csv", str(tmp_path / "out.csv")]
    assert main(argv) == 0
    assert "note: the video may show one person after another" in capsys.readouterr().out


def test_training_data_are_not_made_of_two_people(two_people, tmp_path, capsys):
    argv = ["data", "videos", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "film.mp4: left out: seems to show one person after another: cut it to one" in said
    assert "0 of 1 videos" in said
    assert not list((tmp_path / "out").rglob("*.npz"))


@pytest.mark.parametrize("faces, why", [(0, "no face"), (2, "several faces")])
def test_who_is_in_a_video_without_one_face_is_not_asked(two_people, tmp_path, capsys, faces, why):
    Tracks.track_.faces[:] = faces
    argv = ["data", "videos", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert f"film.mp4: left out: no stretch of it is good enough: {why}" in said
