# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all."""

import pytest

from realtalk_ros.errors import RealTalkError
from realtalk_ros.whole_files import errors_of_writing, written_whole


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
