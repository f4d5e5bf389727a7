# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all."""

import os
import threading

import pytest

from realtalk_ros.errors import RealTalkError
from realtalk_ros.whole_files import (
    check_can_write,
    errors_of_writing,
    hidden_beside,
    written_whole,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("old")
    return path


def test_the_file_appears_at_the_end_of_the_block(path):
    with written_whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert list(path.parent.glob("*.npz")) == [path]  # what reads the folder sees no half file
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_leaves_the_old_file_alone(path, error):
    with pytest.raises(error), written_whole(path) as part:
        part.write_text("ne")
        raise error
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_the_folder_is_made_if_asked_for(path):
    inside = path.parent / "new" / "folder" / "b.npz"
    with pytest.raises(FileNotFoundError), written_whole(inside) as part:
        part.write_text("b")
    with written_whole(inside, make_folder=True) as part:
        part.write_text("b")
    assert inside.read_text() == "b"


def test_errors_of_writing_are_one_line(path):
    with pytest.raises(RealTalkError, match="No space left") as caught, errors_of_writing(path):
        raise OSError(28, "No space left on device")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(RealTalkError, match="Not a directory"):
        with errors_of_writing(path), written_whole(path / "in_a_file") as part:
            part.write_text("b")
    with pytest.raises(ValueError, match="other"), errors_of_writing(path):
        raise ValueError("other")


def test_the_file_that_a_link_leads_to_is_written(path):
    link = path.parent / "folder" / "link.npz"
    link.parent.mkdir()
    link.symlink_to("../a.npz")
    with written_whole(link) as part:
        part.write_text("new")
    assert link.is_symlink() and path.read_text() == "new"
    path.unlink()
    with written_whole(link) as part:  # it leads nowhere: there it is made
        part.write_text("newer")
    assert link.is_symlink() and path.read_text() == "newer"
    assert not list(path.parent.rglob("*.part"))


def test_a_pipe_is_written_to_and_never_replaced(path):
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="device or a pipe"), written_whole(pipe) as part:
        part.write_text("new")
    with pytest.raises(RealTalkError, match="device or a pipe: give the name of a file"):
        check_can_write(pipe)
    check_can_write(pipe, straight=True)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    with written_whole(pipe, straight=True) as part, part.open("w") as file:
        file.write("new")
    reader.join(5)
    assert heard == ["new"] and pipe.is_fifo()
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.npz", "pipe"]


@pytest.mark.parametrize("name", ["x" * 251 + ".npz", "ü" * 120 + ".npz"])
def test_a_name_may_be_as_long_as_a_name_may_be(path, name):
    with written_whole(path.with_name(name)) as part:
        part.write_text("new")
    assert path.with_name(name).read_text() == "new"
    assert hidden_beside(path.with_name(name)) != hidden_beside(path.with_name(f"a{name}"[:-5]))
    with pytest.raises(RealTalkError, match="too long"):
        check_can_write(path.with_name("x" * 300))


def test_what_cannot_be_written_is_told_before(path, priv, monkeypatch):
    for name, reason in (
        ("priv/b.npz", "Permission denied"),
        ("priv/inside/b.npz", "Permission denied"),
        ("nowhere/b.npz", "make the folder"),
        ("a.npz/b.npz", "Not a directory"),
        (".", "is a folder"),
        ("loop", "symbolic links"),
    ):
        (path.parent / "loop").unlink(missing_ok=True)
        (path.parent / "loop").symlink_to("loop")
        with pytest.raises(RealTalkError, match=reason):
            check_can_write(path.parent / name, "--out")
    check_can_write(path), check_can_write(path.with_name("new.npz"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RealTalkError, match="cannot be written to"):
        check_can_write(path)
