# SPDX-License-Identifier: Apache-2.0
"""Pictures that commands write: whole, or an error in a line."""

import ast
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import realtalk_ros
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output import picture_file

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
# Blender reads these at once, from a temporary folder.
READ_AT_ONCE = {"training/valid_heads/studio.py"}


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "straße.png", os.fsdecode(b"\xff.png")])
def test_a_picture_is_written_under_any_name(tmp_path, name):
    picture_file.check_path(tmp_path / name, "--out")
    picture_file.save(tmp_path / name, IMAGE)
    data = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
    assert (cv2.imdecode(data, cv2.IMREAD_COLOR) == IMAGE).all()
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_written_is_said_before_the_work_and_after_it(tmp_path):
    for path, words in (
        (tmp_path / "none" / "a.png", "make the folder"),
        (tmp_path / "a.txt", r"ends in .png or .jpg"),
        (tmp_path / "a", r"ends in .png or .jpg"),
    ):
        with pytest.raises(RealTalkError, match=words):
            picture_file.check_path(path, "--preview")
    with pytest.raises(RealTalkError, match=r"cannot write .*a\.png"):
        picture_file.save(tmp_path / "none" / "a.png", IMAGE)


def test_no_module_writes_a_picture_without_asking_whether_it_was_written():
    """cv2.imwrite says so by what it returns alone."""
    package, found = Path(realtalk_ros.__file__).parent, set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "imwrite":
                found.add(path.relative_to(package).as_posix())
    assert found == READ_AT_ONCE
