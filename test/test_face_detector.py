# SPDX-License-Identifier: Apache-2.0
"""Which MediaPipe and which model find faces, with stand-ins for both. The real ones:
test/training/test_real_detector.py."""

import builtins
import sys
import types
import zipfile

import numpy as np
import pytest

from realtalk_ros.commands import doctor
from realtalk_ros.enroll import landmarker_file
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.mediapipe_points import POINTS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit

DETECTOR = b"the detector of the bundle"
PICTURE = np.zeros((200, 400, 3), np.uint8)


@pytest.fixture(autouse=True)
def _no_file_of_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("REALTALK_LANDMARKER", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def task(tmp_path):
    """A file as face_landmarker.task is one."""
    with zipfile.ZipFile(tmp_path / "a.task", "w") as bundle:
        bundle.writestr("face_detector.tflite", DETECTOR)
    return tmp_path / "a.task"


class Closing:
    """What MediaPipe opens; `opened` holds all that are not closed."""

    def __init__(self, opened, **methods):
        vars(self).update(methods)
        self.opened = opened
        opened.append(self)

    def close(self):
        self.opened.remove(self)


MARKS = [types.SimpleNamespace(x=0.5, y=0.25)] * POINTS


def tasks(opened):
    """MediaPipe's tasks: a landmarker that sees one face with an open jaw, and a detector."""
    shapes = [types.SimpleNamespace(category_name=n, score=s)
              for n, s in (("_neutral", 0.9), ("jawOpen", 0.5))]  # fmt: skip
    seen = types.SimpleNamespace(face_landmarks=[MARKS], face_blendshapes=[shapes])
    sure = types.SimpleNamespace(
        detections=[types.SimpleNamespace(categories=[types.SimpleNamespace(score=s)])
                    for s in (0.3, 0.8)])  # fmt: skip

    def landmarker(options):
        assert options["base_options"]["model_asset_path"].endswith(".task")
        if options["running_mode"] == "video":
            return Closing(opened, detect_for_video=lambda picture, time: seen)
        return Closing(opened, detect=lambda picture: seen)

    def detector(options):
        assert options["base_options"] == {"model_asset_buffer": DETECTOR}
        return Closing(opened, detect=lambda picture: sure)

    vision = types.SimpleNamespace(
        RunningMode=types.SimpleNamespace(VIDEO="video", IMAGE="image"),
        FaceLandmarkerOptions=dict, FaceDetectorOptions=dict,
        FaceLandmarker=types.SimpleNamespace(create_from_options=landmarker),
        FaceDetector=types.SimpleNamespace(create_from_options=detector),
    )  # fmt: skip
    return {"tasks": types.SimpleNamespace(vision=vision, BaseOptions=dict),
            "Image": lambda **how: how["data"],
            "ImageFormat": types.SimpleNamespace(SRGB=1)}  # fmt: skip


def solutions(opened):
    """MediaPipe's solutions, that carry a model."""
    face = types.SimpleNamespace(landmark=MARKS)
    seen = types.SimpleNamespace(multi_face_landmarks=[face])
    sure = types.SimpleNamespace(detections=[types.SimpleNamespace(score=[0.7])])
    return {"solutions": types.SimpleNamespace(
        face_mesh=types.SimpleNamespace(
            FaceMesh=lambda **how: Closing(opened, process=lambda picture: seen)),
        face_detection=types.SimpleNamespace(
            FaceDetection=lambda **how: Closing(opened, process=lambda picture: sure)),
    )}  # fmt: skip


@pytest.fixture
def mediapipe(monkeypatch):
    """Puts a stand-in of a version in MediaPipe's place, and returns what it holds open."""

    def put(version):
        opened, module = [], types.ModuleType("mediapipe")
        vars(module).update(tasks(opened), __version__=version)
        if version < "0.10.22":
            vars(module).update(solutions(opened))
        monkeypatch.setitem(sys.modules, "mediapipe", module)
        return opened

    return put


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_model_is_the_one_given_then_the_one_named_then_the_one_kept(
    monkeypatch, tmp_path, task
):
    assert landmarker_file.find() is None
    kept = landmarker_file.usual_place()
    assert kept == tmp_path / "data/realtalk_ros/face_landmarker.task"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"x")
    assert landmarker_file.find() == kept
    monkeypatch.setenv("REALTALK_LANDMARKER", str(task))
    assert landmarker_file.find() == task and landmarker_file.find(kept) == kept
    for given, named, source in ((None, str(tmp_path), r"\$REALTALK_LANDMARKER"),
                                 (tmp_path / "b.task", str(task), "--landmarker")):  # fmt: skip
        monkeypatch.setenv("REALTALK_LANDMARKER", named)
        with pytest.raises(RealTalkError, match=source) as error:
            FaceDetector(given)
        assert landmarker_file.URL in one_line(error)


@pytest.mark.parametrize("folder", [None, "", "data"])  # a relative one does not count
def test_the_usual_place_is_in_the_home_folder(monkeypatch, tmp_path, folder):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", folder or "")
    if folder is None:
        monkeypatch.delenv("XDG_DATA_HOME")
    expected = tmp_path / ".local/share/realtalk_ros/face_landmarker.task"
    assert landmarker_file.usual_place() == expected


def test_a_missing_mediapipe_says_what_to_install(monkeypatch):
    true_import = builtins.__import__

    def no_mediapipe(name, *more):
        if name == "mediapipe":
            raise ImportError(name)
        return true_import(name, *more)

    monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_mediapipe)
    with pytest.raises(RealTalkError, match=r"needs mediapipe.*install.*mediapipe>=.*--landmarks"):
        FaceDetector()


@pytest.mark.parametrize("version", ["0.10.30", "0.10.31", "0.10.33"])
def test_a_mediapipe_without_a_model_says_how_to_get_one_and_where_to_put_it(mediapipe, version):
    opened = mediapipe(version)
    with pytest.raises(RealTalkError, match=f"{version} carries no face model.*--landmarker") as e:
        FaceDetector()
    assert f"-o {landmarker_file.usual_place()} {landmarker_file.URL}" in one_line(e)
    assert not opened


@pytest.mark.parametrize("version", ["0.10.34", "0.10.35", "1.0.0", "1.2.3", "2.0"])
def test_a_mediapipe_that_reports_its_use_is_refused_before_it_does(mediapipe, task, version):
    opened = mediapipe(version)
    for given in (task, None):
        with pytest.raises(RealTalkError, match=f"{version} reports each use.*install") as error:
            FaceDetector(given)
        assert one_line(error) and not opened


def test_a_mediapipe_that_does_not_say_its_version_is_refused(mediapipe, task):
    opened = mediapipe("unknown")
    with pytest.raises(RealTalkError, match="unknown version.*install"):
        FaceDetector(task)
    assert not opened


@pytest.mark.parametrize("content", [b"", b"x" * 99, None])
def test_a_file_that_is_no_model_says_what_to_download(mediapipe, task, content):
    mediapipe("0.10.31")
    if content is None:
        with zipfile.ZipFile(task, "w") as bundle:
            bundle.writestr("a.tflite", b"x")
    else:
        task.write_bytes(content)
    with pytest.raises(RealTalkError, match=r"a\.task is no face_landmarker\.task") as error:
        FaceDetector(task)
    assert landmarker_file.URL in one_line(error)


@pytest.mark.parametrize("version", ["0.10.21", "0.10.31"])
def test_a_task_tells_landmarks_and_weights_and_how_sure_its_detector_is(mediapipe, task, version):
    opened = mediapipe(version)
    with FaceDetector(task) as detector:
        (face,) = detector.find(PICTURE)
        assert detector.score(PICTURE[:, :200]) == 0.8
    assert (face.points == (200, 50)).all()
    assert face.blendshapes[arkit.INDEX["jawOpen"]] == 0.5 and face.blendshapes.sum() == 0.5
    with FaceDetector(task, video=True) as detector:
        (face,) = detector.find(PICTURE)
    assert (face.points == (200, 50)).all() and not opened


def test_without_a_file_the_model_that_mediapipe_carries_is_taken(mediapipe):
    opened = mediapipe("0.10.21")
    with FaceDetector() as detector:
        (face,) = detector.find(PICTURE)
        assert detector.score(PICTURE[:, :200]) == 0.7
    assert (face.points == (200, 50)).all() and face.blendshapes is None and not opened


@pytest.mark.parametrize("version, named, level, words", [
    ("0.10.21", None, "ok", "avatars from photos"),
    ("0.10.31", None, "warn", "carries no face model"),
    ("0.10.31", "a.task", "ok", "avatars from photos"),
    ("0.10.31", "none.task", "warn", "is no file"),
    ("1.2.3", "a.task", "warn", "reports each use to Google"),
])  # fmt: skip
def test_doctor_says_what_mediapipe_lacks(
    monkeypatch, tmp_path, task, version, named, level, words
):
    info = tmp_path / "site" / f"mediapipe-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mediapipe\nVersion: {version}\n")
    (tmp_path / "site/mediapipe.py").write_text("raise ImportError('doctor is not to import it')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
    monkeypatch.setattr(doctor, "OPTIONAL", doctor.OPTIONAL[-1:])
    if named:
        monkeypatch.setenv("REALTALK_LANDMARKER", str(tmp_path / named))
    (finding,) = doctor.optional()
    assert finding.level == level and words in str(finding)
