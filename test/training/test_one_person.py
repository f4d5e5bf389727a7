# SPDX-License-Identifier: Apache-2.0
"""Videos that cut from one person to another."""

import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.cli import main
from realtalk_ros.enroll import face_embedding, mesh_tracker, one_person
from realtalk_ros.enroll.face_detector import DetectedFace
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.mediapipe_points import NOSE_TIP, POINTS
from realtalk_ros.enroll.one_person import SeenFaces, check_one_person
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import lips
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.training.videos import (
    build,
    mouth_track,
    talking_metrics,
    tracked_videos,
    video_files,
)

COUNT = 80  # frames
LENGTH = 4.0  # of an identity; those of photographs have it
EYES = 40.0  # pixels between the outer corners


def face(gap=0.0, turn=0.0):
    """MediaPipe's points of a face that looks at the camera, its mouth open by so much of the
    distance of the eyes, its head turned so far."""
    points = np.zeros((POINTS, 2), np.float32)
    points[33], points[263] = (44, 50), (44 + EYES, 50)
    points[NOSE_TIP] = 64 + turn * EYES, 60
    points[13], points[14] = (64, 80), (64, 80 + gap * EYES)
    points[61], points[291] = (50, 82), (78, 82)
    points[10], points[152], points[234], points[454] = (64, 20), (64, 110), (20, 60), (108, 60)
    return points


class Sees:
    """Finds a face in every picture, and reads from its light whose it is."""

    shapes: np.ndarray  # (2, 100): of who is seen in the dark and in light
    reads = 0

    def __init__(self, *_, **__):
        pass

    def find(self, picture):
        return [DetectedFace(face())]

    def read(self, picture, mesh):
        Sees.reads += 1
        noise = np.random.default_rng(int(picture[0, 0, 0])).normal(0, 0.05, 100)
        return SimpleNamespace(identity=self.shapes[int(picture[0, 0, 0] > 128)] + noise)

    def embed(self, picture, points):
        return self.read(picture, None).identity

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Tracks:
    """A tracker that sees one face in every frame."""

    def __init__(self, landmarker=None):
        pass

    def track(self, frames):
        seen, count = SeenFaces(), 0
        for _, picture in frames:
            seen.add(picture, face())
            count += 1
        return replace(tracked(count), apart=seen.apart())


def tracked(count):
    return Track(
        time=np.arange(count) / 25, faces=np.ones(count, np.int16),
        landmarks=np.zeros((count, 68, 2), np.float32),
        rest=np.zeros((count, 68, 2), np.float32), weights=np.zeros((count, 52), np.float32),
        rotation=np.zeros((count, 3), np.float32), identity=np.zeros(100, np.float32),
    )  # fmt: skip


def two_shapes(apart):
    """Two identities that are so far apart, in shares of their length."""
    shapes = np.zeros((2, 100))
    shapes[:, 0] = LENGTH * np.sqrt(1 - (apart / 2) ** 2)
    shapes[:, 1] = LENGTH * apart / 2 * np.array([1, -1])
    return shapes


def pictures(shown):
    """Frames that are light where `shown`."""
    for k, light in enumerate(shown):
        yield np.full((128, 128, 3), (220 if light else 30) + k % 8, np.uint8)


def apart(shown):
    """How far the faces of frames are apart."""
    seen = SeenFaces()
    for picture in pictures(shown):
        seen.add(picture, face())
    return seen.apart()


@pytest.fixture
def sees(monkeypatch):
    monkeypatch.setattr(one_person, "FaceReader", Sees)
    monkeypatch.setattr(one_person.FaceEmbedding, "if_installed", lambda: (None, ""))


AFTER = np.arange(COUNT) >= 50
BETWEEN = np.arange(COUNT) // 16 % 2 == 1
LONG = np.arange(20 * COUNT) >= 12 * COUNT


@pytest.mark.parametrize("shown", [AFTER, BETWEEN, LONG], ids=["one cut", "several", "long"])
def test_a_video_of_one_person_after_another_is_refused(sees, monkeypatch, tmp_path, shown):
    monkeypatch.setattr(Sees, "shapes", two_shapes(1.0), raising=False)
    with pytest.raises(RealTalkError, match=r"film\.mp4 seems to show one person after another"):
        check_one_person(tmp_path / "film.mp4", apart(shown))


@pytest.mark.parametrize("distance, notes", [(0.77, 1), (0.6, 0), (0.0, 0)])
def test_one_person_who_smiles_is_not_refused(sees, monkeypatch, tmp_path, distance, notes):
    monkeypatch.setattr(Sees, "shapes", two_shapes(distance), raising=False)
    assert len(check_one_person(tmp_path, apart(AFTER))) == notes


def test_a_second_of_somebody_else_does_not_matter(sees, monkeypatch, tmp_path):
    monkeypatch.setattr(Sees, "shapes", two_shapes(1.3), raising=False)
    assert not check_one_person(tmp_path, apart(np.arange(COUNT) >= 72))


@pytest.mark.parametrize("distance, refused", [(1.3, True), (0.05, False)])
def test_dlib_decides_where_it_is_installed(sees, monkeypatch, tmp_path, distance, refused):
    """By the network alone, which has other numbers for the two."""
    monkeypatch.setattr(one_person.FaceEmbedding, "if_installed", lambda: (Sees(), ""))
    monkeypatch.setattr(Sees, "shapes", two_shapes(0.9 if not refused else 0.8), raising=False)
    monkeypatch.setattr(
        Sees,
        "embed",
        lambda self, picture, points: np.eye(128)[0] * distance * (picture.mean() > 128),
    )
    if refused:
        with pytest.raises(RealTalkError, match="one person after another"):
            check_one_person(tmp_path, apart(AFTER))
    else:
        assert not check_one_person(tmp_path, apart(AFTER))


def test_dlib_s_network_is_loaded_once_for_all_videos(tmp_path, monkeypatch):
    weights = tmp_path / "face_recognition_models" / face_embedding.WEIGHTS
    weights.parent.mkdir(parents=True)
    (weights.parents[1] / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    loaded = []
    dlib = SimpleNamespace(face_recognition_model_v1=loaded.append)
    monkeypatch.setitem(sys.modules, "dlib", dlib)
    for _ in range(2):
        SeenFaces()
    assert loaded == [str(weights)]


@pytest.mark.parametrize("how", [{"gap": 0.3}, {"turn": 0.2}])
def test_of_each_part_of_a_video_the_calmest_face_is_read(sees, monkeypatch, how):
    """Else who turns away in a half of it would be somebody else there."""
    monkeypatch.setattr(Sees, "shapes", two_shapes(1.3), raising=False)
    seen = SeenFaces()
    for k, picture in enumerate(pictures(np.arange(20 * COUNT) % 4 > 0)):
        seen.add(picture, face(**(how if k % 4 else {})))
    assert seen.apart()[0] == 0


def test_memory_and_work_do_not_grow_with_a_video(sees, monkeypatch):
    monkeypatch.setattr(Sees, "shapes", two_shapes(0.0), raising=False)
    monkeypatch.setattr(Sees, "reads", 0)
    seen, kept = SeenFaces(), []
    for k in range(5000):
        picture = np.full((8, 8, 3), k % 8, np.uint8)
        kept.append(weakref.ref(picture))
        seen.add(picture, face(gap=0.1 + 0.05 * np.sin(k)))
        del picture
    assert sum(one() is not None for one in kept) <= 1 and Sees.reads < 200


@pytest.fixture
def films(tmp_path, sees, monkeypatch):
    """Films with speech: of two people, and of one; a tracker that takes them for one."""
    monkeypatch.setattr(Sees, "shapes", two_shapes(1.0), raising=False)
    monkeypatch.setattr(mesh_tracker, "MeshTracker", Tracks)
    for module in (mouth_track, tracked_videos):
        monkeypatch.setattr(module, "FaceDetector", Sees)
    pcm, rate = read_audio(SAMPLE_CLIP)
    (tmp_path / "films").mkdir()
    for name, shown in (("two", AFTER), ("one", np.zeros(COUNT, bool))):
        with VideoWriter(tmp_path / "films" / f"{name}.mp4", 25, (128, 128), rate) as video:
            video.write_audio(pcm[: COUNT * rate // 25])
            for picture in pictures(shown):
                video.write(picture)
    return tmp_path / "films"


def test_a_video_of_two_people_is_not_tracked(films, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["track", str(films / "two.mp4"), "--csv", str(out)]) == 2
    assert "one person after another: cut it to one" in capsys.readouterr().err
    assert not out.exists()


def test_the_csv_of_what_may_be_two_people_has_a_note(films, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Sees, "shapes", two_shapes(0.77))
    argv = ["track", str(films / "two.mp4"), "--csv", str(tmp_path / "out.csv")]
    assert main(argv) == 0
    assert "note: the video may show one person after another" in capsys.readouterr().out


def test_a_video_is_decoded_once_to_be_tracked(films, tmp_path, monkeypatch):
    decoded, frames = [], Clip.frames

    def counted(self, *args):
        for frame in frames(self, *args):
            decoded.append(frame[0])
            yield frame

    monkeypatch.setattr(Clip, "frames", counted)
    argv = ["track", str(films / "one.mp4"), "--csv", str(tmp_path / "out.csv")]
    assert main(argv) == 0 and len(decoded) == COUNT


LEFT_OUT = "two.mp4: left out: seems to show one person after another: cut it to one of them"
COMMANDS = {
    "data videos": ["--out"], "data mouths": ["--out"], "evaluate talking": ["--tracks"],
    "evaluate talking --own-motion": ["--tracks"],
}  # fmt: skip


def command(name, films, out):
    """Runs one of COMMANDS."""
    first, second, *options = name.split()
    return main([first, second, str(films), *options, *COMMANDS[name], str(out)])


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_learned_from_or_measured_in_two_people(films, tmp_path, name, capsys):
    """Nor when what was tracked is known, in a second run."""
    (films / "one.mp4").unlink()
    for run in range(2):
        assert command(name, films, tmp_path / "out") == 2
        said = " ".join("".join(capsys.readouterr()).split())
        assert "two.mp4: " in said and "seems to show one person after another" in said, (run, said)
        if (log := tmp_path / "out" / "videos.jsonl").exists():
            log.unlink()
    assert not list((tmp_path / "out").rglob("speech/*.npz"))


@pytest.mark.parametrize("name", ["data mouths", "evaluate talking"])
def test_what_may_be_two_people_is_used_with_a_note(films, tmp_path, monkeypatch, name, capsys):
    monkeypatch.setattr(Sees, "shapes", two_shapes(0.77))
    monkeypatch.setattr(tracked_videos, "known_track", moving(tracked_videos.known_track))
    assert command(name, films, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "two.mp4: note: the video may show one person after another" in said
    assert "one.mp4: note" not in said


def moving(known_track):
    """The tracks, with a mouth that moves as the sound says."""

    def known(path, *args):
        track, predicted = known_track(path, *args), PredictedExpression.read(path)
        steps = np.arange(len(predicted.weights)) / 50
        gap, width = (
            np.interp(track.time, steps, curve(predicted.weights))
            for curve in (lips.aperture_of, talking_metrics.width_of)
        )
        return replace(track, aperture=gap, width=width)

    return known


@pytest.mark.parametrize("name", ["data videos", "data mouths", "evaluate talking"])
def test_a_track_of_an_earlier_version_is_made_again(films, tmp_path, monkeypatch, name, capsys):
    """It does not tell who is in the video."""
    (films / "one.mp4").unlink()
    with monkeypatch.context() as earlier:
        for module in (video_files, build):
            earlier.setattr(module, "TRACKS", 1)
        earlier.setattr(Sees, "shapes", two_shapes(0.0))
        command(name, films, tmp_path / "out")
        assert "one person after another" not in "".join(capsys.readouterr())
    command(name, films, tmp_path / "out")
    assert "one person after another" in "".join(capsys.readouterr())


@pytest.mark.parametrize("faces, why", [(0, "no face"), (2, "several faces")])
def test_who_is_in_a_video_without_one_face_is_not_asked(
    films, tmp_path, monkeypatch, capsys, faces, why
):
    nobody = replace(tracked(COUNT), faces=np.full(COUNT, faces, np.int16))
    monkeypatch.setattr(
        Tracks,
        "track",
        lambda self, frames: replace(nobody, apart=SeenFaces().apart()) if list(frames) else None,
    )
    assert command("data videos", films, tmp_path / "out") == 2
    said, error = capsys.readouterr()
    assert "can be used" in error.splitlines()[-1]
    assert f"one.mp4: left out: no stretch of it is good enough: {why}" in said
