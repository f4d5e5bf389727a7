# SPDX-License-Identifier: Apache-2.0
"""Paths that the realtalk command is given: links, pipes, names that are odd or too long, and
folders that one may not enter."""

import csv
import io
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import AVATAR_DIR, as_argument, find
from realtalk_ros.cli import main
from realtalk_ros.output import live_link
from wav_files import write_wav

LONG = "x" * 300  # bytes, more than a name may have


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder one is in, with a quarter of a second of silence in it."""
    monkeypatch.chdir(tmp_path)
    write_wav("one.wav", np.zeros(4000))
    return tmp_path


def refusal(capsys, *arguments):
    """What the one line on stderr says for what is refused."""
    assert main([*map(str, arguments)]) == 2
    said, complaint = capsys.readouterr()
    assert not said and complaint.count("\n") == 1 and "Traceback" not in complaint
    return complaint


def speak(*arguments):
    return main(["speak", "--wav", "one.wav", "--size", "64", *map(str, arguments)])


def test_speak_writes_a_csv_into_a_pipe_and_a_video_through_a_link(here):
    os.mkfifo("table.csv")
    (here / "link.mp4").symlink_to("kept.mp4")
    (here / "kept.mp4").write_bytes(b"the old one")
    heard = []
    reader = threading.Thread(
        target=lambda: heard.append((here / "table.csv").read_text()), daemon=True
    )
    reader.start()
    assert speak("--out", "link.mp4", "--csv", "table.csv") == 0
    reader.join(5)
    assert (here / "table.csv").is_fifo() and (here / "link.mp4").is_symlink()
    header, *rows = csv.reader(io.StringIO(heard[0]))
    assert tuple(header) == live_link.COLUMNS and len(rows) >= 6
    assert read_audio(here / "kept.mp4")[1] == 16000


def test_speak_takes_names_with_a_colon(here):
    shutil.copy("one.wav", "12:30.wav")
    assert speak("--wav", "12:30.wav", "--out", "2026-11-30T01:05:00.mp4") == 0
    assert (here / "2026-11-30T01:05:00.mp4").is_file()


def test_speak_refuses_a_pipe_for_the_video(capsys, here):
    os.mkfifo("pipe.mp4")
    complaint = refusal(capsys, "speak", "--wav", "one.wav", "--out", "pipe.mp4")
    assert "device or a pipe" in complaint and (here / "pipe.mp4").is_fifo()


@pytest.mark.parametrize("words", [
    "speak --wav film.mp4 --out film.mp4", "speak --wav film.mp4 --out link.mp4",
    "speak --wav one.wav --background a.png --out o.mp4 --csv a.png",
    "demo --wav film.mp4 --out film.mp4", "demo --wav film.mp4 --out link.mp4",
    "avatars show ./ann --out ann/parted.png",
    "avatars show mira ./ann --spoken --out ann/templates/000.jpg",
])  # fmt: skip
def test_what_is_read_is_not_written_over(capsys, here, monkeypatch, words):
    if words.startswith("demo"):
        pytest.importorskip("rclpy", reason="ROS 2 is not installed")
        monkeypatch.setattr("realtalk_ros.commands.demo.record", lambda *_: pytest.fail("went on"))
    shutil.copytree(AVATAR_DIR / "kenji", "ann")
    shutil.copy("one.wav", "film.mp4")
    shutil.copy("ann/parted.png", "a.png")
    (here / "link.mp4").symlink_to("film.mp4")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert "is the input: give another name" in refusal(capsys, *words.split())
    assert before == {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}


def test_a_picture_in_an_avatar_s_folder_may_be_made_again(here, monkeypatch):
    shutil.copytree(AVATAR_DIR / "kenji", "ann")
    monkeypatch.chdir("ann")
    for _ in range(2):
        assert main(["avatars", "show", "."]) == 0
    assert Path("ann.png").is_file()


@pytest.mark.parametrize("out", ["face.avi", "face.png", "face"])
def test_a_demo_is_an_mp4_too(capsys, here, monkeypatch, out):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    monkeypatch.setattr("realtalk_ros.commands.demo.record", lambda *_: pytest.fail("it went on"))
    assert "give a name that ends in .mp4" in refusal(capsys, "demo", "--out", out)


WITH_A_PATH = [
    ("speak", "--wav", "{}/a.wav", "--out", "o.mp4"),
    ("speak", "--wav", "one.wav", "--out", "{}/o.mp4"),
    ("speak", "--wav", "one.wav", "--out", "o.mp4", "--csv", "{}/o.csv"),
    ("speak", "--wav", "one.wav", "--out", "o.mp4", "--avatar", "{}/ann"),
    ("speak", "--wav", "one.wav", "--out", "o.mp4", "--background", "{}/a.png"),
    ("avatars", "show", "kenji", "--out", "{}/a.png"),
    ("avatars", "export", "kenji", "{}/a.zip"),
    ("avatars", "list", "{}/x"),
    ("avatars", "list", "{}"),
    ("avatars", "check", "{}/x"),
    ("avatars", "import", "one.wav", "--into", "{}/x"),
    ("demo", "--out", "{}/o.mp4"),
]


@pytest.mark.parametrize("arguments", WITH_A_PATH, ids=" ".join)
def test_a_folder_that_one_may_not_enter_is_told_in_one_line(
    capsys, here, priv, monkeypatch, arguments
):
    draws_nothing(monkeypatch)
    complaint = refusal(capsys, *(text.format("priv") for text in arguments))
    assert "Permission denied" in complaint or "no folder priv" in complaint
    assert "priv" in complaint and not list(here.glob("*.part"))


@pytest.mark.parametrize("arguments", WITH_A_PATH, ids=" ".join)
def test_a_name_that_is_too_long_is_told_in_one_line(capsys, here, monkeypatch, arguments):
    draws_nothing(monkeypatch)
    complaint = refusal(capsys, *(text.format(LONG) for text in arguments))
    assert "too long" in complaint or "there is no folder" in complaint or "no avatar" in complaint


@pytest.fixture
def kenji(here):
    """A folder that is called as a bundled avatar is, with another one in it."""
    shutil.copytree(AVATAR_DIR / "ines", here / "kenji")
    text = (here / "kenji/avatar.yaml").read_text().replace("name: ines", "name: kenji")
    (here / "kenji/avatar.yaml").write_text("consent: Ann Lee\nsource: a photo\n" + text)
    return here / "kenji"


def test_a_folder_is_not_taken_for_the_bundled_avatar_of_its_name(kenji):
    assert find("kenji").parent == AVATAR_DIR
    for name in ("./kenji", Path("kenji"), kenji, str(kenji)):
        assert find(name).resolve() == kenji
    assert Avatar.load(Path("kenji")).provenance.consent == "Ann Lee"
    assert as_argument(Path("kenji")) == "./kenji"
    assert as_argument(Path("noah")) == "./noah"  # of earlier versions
    assert as_argument(Path("-x")) == "./-x"
    assert [as_argument(Path(p)) for p in ("ann", "a/kenji", ".", "/kenji")] == [
        "ann", "a/kenji", ".", "/kenji"
    ]  # fmt: skip


def test_commands_look_into_the_folder_that_they_are_given(capsys, kenji):
    assert main(["avatars", "list"]) == 0
    said, complaint = capsys.readouterr()
    rows = {line.split()[0]: line for line in said.splitlines()}
    assert "Ann Lee" in rows["./kenji"] and "none" in rows["kenji"] and not complaint
    assert main(["avatars", "list", "kenji"]) == 0  # the folder itself
    assert "Ann Lee" in capsys.readouterr().out
    assert main(["avatars", "check", "./kenji"]) == 0
    assert "Ann Lee" in capsys.readouterr().out
    assert main(["avatars", "export", "./kenji", "k.zip"]) == 0
    (kenji.parent / "new").mkdir()
    os.chdir(kenji.parent / "new")
    capsys.readouterr()
    assert main(["avatars", "import", "../k.zip"]) == 0
    assert "imported ./kenji; consent: Ann Lee" in capsys.readouterr().out


def test_list_says_what_it_cannot_look_into(capsys, here, priv):
    assert main(["avatars", "list", "."]) == 0
    said, complaint = capsys.readouterr()
    assert "kenji" in said and complaint.count("\n") == 1
    assert "not looked into" in complaint and "priv" in complaint


@pytest.mark.parametrize("value", ["5", "[a]", "true"])
def test_check_wants_checksums_to_be_checksums(capsys, kenji, value):
    text = (kenji / "avatar.yaml").read_text().partition("sha256:\n")[0]
    (kenji / "avatar.yaml").write_text(f"{text}sha256: {value}\n")
    assert main(["avatars", "check", "./kenji"]) == 2
    assert "holds no checksums of files" in capsys.readouterr().out


def draws_nothing(monkeypatch):
    for name in ("commands.avatars.many_faces", "commands.demo.record"):
        monkeypatch.setattr(f"realtalk_ros.{name}", lambda *_: pytest.fail("it went on"))
