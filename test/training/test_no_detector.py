# SPDX-License-Identifier: Apache-2.0
"""Commands for many videos or photographs, where no face can be looked for at all, and
what MediaPipe logs meanwhile."""

import os

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("torch")

from realtalk_ros import cli
from realtalk_ros.enroll import mesh_tracker
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.training.renderer import evaluate_smiles
from realtalk_ros.training.videos import mouth_track
from realtalk_ros.training.videos.video_files import track_path


@pytest.fixture
def folder(tmp_path):
    """Two films and two pairs of photographs, of nobody."""
    for name in ("a", "b"):
        for kind in ("neutral", "smiling"):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{name}.png"), np.zeros((64, 64, 3), np.uint8))
        with VideoWriter(tmp_path / f"{name}.mp4", 25, (64, 64)) as video:
            video.write(np.zeros((64, 64, 3), np.uint8))
    return tmp_path


@pytest.mark.parametrize("command, kinds", [
    ("data pairs", ("neutral", "smiling")), ("evaluate smiles", ("neutral", "smiling")),
    ("data mouths", (".",)), ("data videos", (".",)), ("evaluate talking", (".",)),
    ("evaluate avatars", ("neutral",)),
])  # fmt: skip
def test_a_model_that_is_missing_is_said_once(folder, command, kinds, monkeypatch, capsys):
    """It is not a fault of each photograph or video."""
    monkeypatch.setattr(evaluate_smiles, "Lpips", object)
    monkeypatch.chdir(folder)
    argv = [*command.split(), *kinds, "--landmarker", "missing.task"]
    assert cli.main(argv) == 2
    said, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if "%|" not in line and line.strip()]
    assert len(lines) == 1 and not said, (lines, said)
    assert lines[0].startswith(f"realtalk {command}: missing.task, given by --landmarker, is no")


@pytest.mark.parametrize("option", ["--picture", "--own-motion", None])
def test_known_tracks_need_a_model_only_for_what_is_looked_at_again(
    folder, option, monkeypatch, capsys
):
    for name in ("a.mp4", "b.mp4"):
        known = track_path(folder / "tracks", name, folder / name)
        mouth_track.MouthTrack(*np.zeros((4, 50))).save(known)
    argv = ["evaluate", "talking", str(folder), "--tracks", str(folder / "tracks")]
    assert cli.main([*argv, "--landmarker", "missing.task", *([option] if option else [])]) == 2
    said = capsys.readouterr().err
    assert said.count("missing.task, given by --landmarker, is no") == bool(option)
    assert ("no video" in said) != bool(option)


class Logs:
    """A detector that finds nothing, and logs as MediaPipe does."""

    def __init__(self, *_, **__):
        os.write(2, b"W0000 a log\n")

    def find(self, image):
        return []

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("command", ["data mouths", "data videos", "evaluate talking"])
def test_what_mediapipe_logs_is_shown_where_it_is_wanted(folder, command, monkeypatch, capfd):
    monkeypatch.setattr(mesh_tracker, "FaceDetector", Logs)
    monkeypatch.setattr(mouth_track, "FaceDetector", Logs)
    monkeypatch.chdir(folder)
    for number, option in enumerate(([], ["--verbose"])):
        (folder / f"{number}.mp4").write_bytes((folder / "a.mp4").read_bytes())
        cli.main([*command.split(), ".", *option])
        assert ("a log" in capfd.readouterr().err) == bool(option)
