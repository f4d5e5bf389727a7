# SPDX-License-Identifier: Apache-2.0
"""Parameter files: those that are none, and which section of one a node reads."""

import pytest
import yaml

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.params_file import read_params_file, value_for


@pytest.mark.parametrize("content, reason", [
    ("/**:\n  ros__parameters:\n    avatar: [default\n    fps: 25.0\n", "line 4"),
    ("avatar: default\n", "not a parameter file"),
    ("", "not a parameter file"),
    ("- a\n", "not a parameter file"),
    ("ros__parameters:\n  fps: 25.0\n", "not a parameter file"),
    ("/**:\n  ros__parameters:\n", "holds nothing: write"),
    ("/**:\n  ros__parameters:\n    background: #20242a\n", "background holds nothing: .*quotes"),
    ("/**:\n  ros__parameters:\n    fps: 25.0\n    a:\n      b:\n", "a.b holds nothing: write"),
    ("/**:\n  ros__parameters: 5\n", "holds 5: write"),
    ("/**:\n  ros__parameters: [fps, 25.0]\n", "holds .*25.*: write"),
    ("\0", "cannot read"),
    (b"\xff\xfe\xff", "cannot read .*: save it as UTF-8"),
    ("[" * 20000, "too deeply"),
    ("&a {/**: {ros__parameters: {b: *a}}}", "too deeply"),
    ("&a {b: *a}", "too deeply"),
    (None, "No such file"),
])  # fmt: skip
def test_a_parameter_file_that_is_none(tmp_path, content, reason):
    file = tmp_path / "a.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RealTalkError, match=reason) as raised:
        read_params_file(file)
    assert "a.yaml" in str(raised.value) and "\n" not in str(raised.value)


def test_parameters_of_a_node_are_found_as_ros_finds_them(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({
        "/robot/markers_node": {"ros__parameters": {"frame_id": "own"}},
        "/**": {"ros__parameters": {"frame_id": "all", "use_sim_time": True}},
        "other": {"markers_node": {"ros__parameters": {"frame_id": "nested"}}},
    }))  # fmt: skip
    sections = read_params_file(file)
    assert [
        value_for(sections, f"{namespace}/markers_node", "frame_id", "face")
        for namespace in ("/robot", "/other", "/third", "")
    ] == ["own", "nested", "all", "all"]
    assert value_for(sections, "/robot/markers_node", "use_sim_time", False) is True
    assert value_for(sections, "/robot/markers_node", "parent_frame", "x") == "x"
