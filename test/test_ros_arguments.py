# SPDX-License-Identifier: Apache-2.0
"""What a node's program makes of its arguments."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes import ros_arguments, spin
from realtalk_ros.nodes.ros_arguments import check_types

NODES = sorted(path.stem for path in Path(ros_arguments.__file__).parent.glob("*_node.py"))
FILE = "/**: {ros__parameters: {fps: FPS, size: 512, qos_overrides: {depth: 2}}}"


@pytest.mark.parametrize("fps, given, refused", [
    ("7", ["-p", "fps:=12.5"], "fps is given as 7 and then as 12.5"),
    ("7.0", ["-p", "fps:=12.5"], None), ("25.0", ["-p", "fps:=30"], None),
    ("7", ["-p", "fps:=9"], None), ("7", ["-p", "renderer_node:fps:=12.5"], None),
    ("7", ["--", "-p", "fps:=12.5"], None), ("25.0", ["-p", "fps:=abc"], "then as 'abc'"),
    ("25", ["--param", "size:=1e2"], "size is given as 512"), ("7", ["-p", "fps:=[a"], None),
    ("7", ["--params-file", "missing.yaml"], None), ("7", ["-p"], None),
    ("''", ["-p", "fps:=2026-11-30"], None), ("''", ["-p", "fps:=12:30"], None),
    ("1", ["-p", "fps:=1.e0"], "fps is given as 1"), ("1", ["-p", "fps:='1'"], "then as '1'"),
    ("on", ["-p", "fps:=2"], "given as True"),
])  # fmt: skip
def test_the_value_that_is_given_last_wins_or_is_refused(tmp_path, fps, given, refused):
    file = tmp_path / "face.yaml"
    file.write_text(FILE.replace("FPS", fps))
    args = ["node", "-p", "fps:=x", "--ros-args", "--params-file", str(file), *given]
    if refused is None:
        check_types(args)
        return
    with pytest.raises(RealTalkError, match=refused):
        check_types(args)


def test_a_program_may_have_no_arguments():
    check_types([])


def test_a_node_says_so_in_one_line(tmp_path):
    file = tmp_path / "face.yaml"
    file.write_text(FILE.replace("FPS", "7"))
    command = [sys.executable, "-m", "realtalk_ros.nodes.renderer_node", "--ros-args",
               "--params-file", str(file), "-p", "fps:=12.5"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not done.stdout
    assert (
        done.stderr.startswith("realtalk_ros: fps is given as 7") and done.stderr.count("\n") == 1
    )


def run(node, *args):
    command = [sys.executable, "-m", f"realtalk_ros.nodes.{node}", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_tells_the_parameters_and_starts_nothing():
    done = run("speech_node", "--help", "--ros-args", "-p", "lead:=2.0", "-p", "text:=hello")
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("usage: speech_node [--ros-args")
    assert "  lead:=2.0\n      How long before" in done.stdout and "(0 to 30)" in done.stdout
    assert done.stdout.rstrip().endswith("false: wait for a manager")


@pytest.mark.parametrize("node", NODES)
def test_help_is_for_users_and_names_no_classes_or_files(capsys, monkeypatch, node):
    # Both change the environment, which tests that come later have, too.
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    monkeypatch.setattr(spin, "use_fastdds_profile", lambda images: None)
    assert import_module(f"realtalk_ros.nodes.{node}").main([node, "--help"]) == 0
    about = capsys.readouterr().out.split("\n\n")[1].replace("AudioChunk", "")
    assert about and not re.search(r"\.py|thin\s+shell|[a-z][A-Z]", about)


def test_arguments_that_ros_would_ignore_are_told():
    done = run("speech_node", "--text", "hello")
    assert "ignored: --text hello; a parameter is given as --ros-args -p" in done.stderr
    assert "there is no text to speak" in done.stderr and done.returncode == 2
