# SPDX-License-Identifier: Apache-2.0
"""The launch file with real processes, where launch and launch_ros are installed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI: it comes with ROS 2 from apt")

import itertools

from ament_index_python.packages import get_package_share_directory

ROOT = Path(__file__).parents[1]
# As `ros2 launch FILE a:=b`.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

file, *given = sys.argv[1:]
service = LaunchService(argv=given)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(file), launch_arguments=[a.split(":=", 1) for a in given]
)]))
sys.exit(service.run())
"""
# What stands in for a node: it writes down when it was started and with what, and runs.
NODE = """#!/usr/bin/env python3
import os, pathlib, signal, sys, time
name = os.path.basename(sys.argv[0])
log = pathlib.Path(sys.argv[0]).parents[2] / "starts"
with log.open("a") as file:
    print(name, os.getpid(), time.monotonic(), *sys.argv[1:], file=file)
code = {codes}.get(name)
if code is not None:
    sys.exit(code)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
time.sleep(60)
"""
NODES = ("expression_node", "renderer_node", "say_node", "display_node", "audio_adapter_node",
         "microphone_node", "markers_node")  # fmt: skip


class Workspace:
    """An installed package whose nodes are scripts: {node: the code it ends with at once}."""

    def __init__(self, folder, codes=None, rviz=False):
        self.folder = folder
        packages = folder / "share/ament_index/resource_index/packages"
        for package in (packages, folder / "share/realtalk_ros", folder / "lib/realtalk_ros"):
            package.mkdir(parents=True)
        (packages / "realtalk_ros").touch()
        for name in ("launch", "config"):
            (folder / "share/realtalk_ros" / name).symlink_to(ROOT / name)
        scripts = [folder / "lib/realtalk_ros" / name for name in NODES]
        if rviz:
            (packages / "rviz2").touch()
            (folder / "lib/rviz2").mkdir()
            scripts.append(folder / "lib/rviz2/rviz2")
        for script in scripts:
            script.write_text(NODE.replace("{codes}", repr(codes or {})))
            script.chmod(0o755)
        self.process = None

    def launch(self, *given, file=ROOT / "launch/realtalk.launch.py"):
        paths = [str(ROOT), *(path for path in sys.path if path)]
        env = dict(os.environ, AMENT_PREFIX_PATH=str(self.folder), PYTHONPATH=":".join(paths),
                   ROS_LOG_DIR=str(self.folder / "log"))  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(file), *given],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return self.process

    @property
    def starts(self):
        """[(name, pid, when [s], arguments)] of every process."""
        file = self.folder / "starts"
        lines = file.read_text().splitlines() if file.exists() else []
        parts = [line.split(" ", 3) for line in lines]
        return [(name, int(pid), float(when), rest) for name, pid, when, rest in parts]

    def wait(self, count, timeout=30):
        end = time.monotonic() + timeout
        while len(self.starts) < count:
            assert time.monotonic() < end, self.starts
            time.sleep(0.05)

    def left(self, timeout=10):
        """Names of the processes that still run after `timeout` s."""
        end = time.monotonic() + timeout
        while (running := [n for n, pid, *_ in self.starts if alive(pid)]) and (
            time.monotonic() < end
        ):
            time.sleep(0.05)
        return running

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        for _, pid, *_ in self.starts:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def workspace(tmp_path):
    made = []

    def make(**options):
        made.append(Workspace(tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("wrong", [
    "fps:=abc", "size:=1e9", "device:=gpu", "policy:=none", "namespace:=my robot", "rviz:=maybe",
    "use_sim_time:=1", "params_file:=/nowhere.yaml", "params_file:={broken}", "missing node",
])  # fmt: skip
def test_a_wrong_argument_is_one_line_and_nothing_starts(workspace, tmp_path, wrong):
    at = workspace()
    broken = tmp_path / "broken.yaml"
    broken.write_text("/**:\n  ros__parameters:\n    avatar: [default\n    fps: 25.0\n")
    if wrong == "missing node":
        (tmp_path / "lib/realtalk_ros/markers_node").unlink()
        process = at.launch("rviz:=true")
    else:
        process = at.launch(wrong.format(broken=broken))
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    errors = [line for line in output.splitlines() if "ERROR" in line]
    assert len(errors) == 1 and "Traceback" not in output
    name, _, value = wrong.format(broken=broken).partition(":=")
    assert value in errors[0] and (name[:5] in errors[0] or "markers_node" in errors[0])
    assert not at.starts


def test_a_missing_rviz_is_one_warning_and_the_rest_runs(workspace):
    at = workspace()
    process = at.launch("rviz:=true", "say:=True", "avatr:=ines")
    at.wait(4)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert sorted(n for n, *_ in at.starts) == [
        "expression_node", "markers_node", "renderer_node", "say_node"
    ]  # fmt: skip
    warnings = [line for line in output.splitlines() if "WARN" in line and "ctrl-c" not in line]
    assert len(warnings) == 2 and "did you mean avatar?" in warnings[0]
    assert "rviz2 is not installed" in warnings[1]
    assert not at.left()


def test_rviz_shows_the_frame_and_the_topics_of_the_namespace(workspace, tmp_path):
    at = workspace(rviz=True)
    file = tmp_path / "a.yaml"
    file.write_text("/**:\n  ros__parameters:\n    frame_id: head\n    use_sim_time: true\n")
    at.launch("rviz:=true", "namespace:=robot1", f"params_file:={file}")
    at.wait(4)
    (arguments,) = [rest for name, *_, rest in at.starts if name == "rviz2"]
    assert "-f robot1/head " in arguments
    assert "/realtalk/face/image_raw:=/robot1/face/image_raw" in arguments


PARENT = f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace

def generate_launch_description():
    face = PythonLaunchDescriptionSource("{ROOT}/launch/realtalk.launch.py")
    return LaunchDescription([GroupAction([
        PushRosNamespace("robot1"),
        IncludeLaunchDescription(face, launch_arguments={{
            "namespace": "head", "rviz": "true", "params_file": "", "avatar": "12",
        }}.items()),
    ])])
"""


def test_in_another_launch_file_a_pushed_namespace_goes_before(workspace, tmp_path):
    at = workspace(rviz=True)
    (tmp_path / "parent.launch.py").write_text(PARENT)
    process = at.launch("camera:=front", file=tmp_path / "parent.launch.py")
    at.wait(4)
    arguments = {name: rest for name, *_, rest in at.starts}
    assert "-f robot1/head/face " in arguments["rviz2"]
    assert "__ns:=/robot1/head " in arguments["renderer_node"]
    file = arguments["renderer_node"].split("--params-file ")[-1].split()[0]
    assert "avatar: '12'" in Path(file).read_text()  # which YAML would take for a number
    process.send_signal(signal.SIGINT)
    assert "camera" not in process.communicate(timeout=30)[0]  # that is the other file's


def test_what_is_not_given_is_left_to_the_file(workspace):
    at = workspace()
    at.launch("fps:=30")
    at.wait(2)
    for *_, arguments in at.starts:
        files = arguments.split("--params-file ")[1:]
        assert [file.split()[0].endswith("realtalk.yaml") for file in files] == [True, False]
        assert Path(files[1].split()[0]).read_text().split() == [
            f"/realtalk/{arguments.split('__node:=')[1].split()[0]}:", "ros__parameters:",
            "fps:", "30.0",
        ]  # fmt: skip


def test_who_dies_again_and_again_is_started_ever_later(workspace):
    at = workspace(codes={"expression_node": 1})
    process = at.launch()
    at.wait(5)
    starts = [when for name, _, when, _ in at.starts if name == "expression_node"]
    waits = [b - a for a, b in itertools.pairwise(starts)]
    # The time in which the script itself starts comes on top.
    wanted = (0.5, 1.0, 2.0)[: len(waits)]
    assert all(w - 0.1 < wait < w + 3 for w, wait in zip(wanted, waits, strict=True)), waits
    process.send_signal(signal.SIGINT)  # while it waits to start it again
    process.communicate(timeout=30)
    assert not at.left()
    assert len([1 for name, *_ in at.starts if name == "renderer_node"]) == 1


@pytest.mark.parametrize("code, said", [(0, False), (2, True)])
def test_who_ended_by_an_order_or_cannot_run_stays_down(workspace, code, said):
    at = workspace(codes=dict.fromkeys(NODES, code))
    output, _ = at.launch().communicate(timeout=30)  # launch ends, as nothing runs any more
    assert len(at.starts) == 2
    assert ("not started again" in output) == said


def test_a_killed_node_comes_back_and_all_end_however_launch_ends(workspace):
    at = workspace()
    process = at.launch()
    at.wait(2)
    pids = {name: pid for name, pid, *_ in at.starts}
    os.kill(pids["renderer_node"], signal.SIGKILL)
    at.wait(3)
    before, after = (rest for name, *_, rest in at.starts if name == "renderer_node")
    assert before == after
    os.kill(pids["expression_node"], signal.SIGTERM)
    time.sleep(1.5)
    assert len(at.starts) == 3
    process.kill()
    process.wait()
    assert not at.left()


def test_with_the_true_nodes():
    """test/launch/realtalk_launch.py, where launch_testing is there and the package is built."""
    pytest.importorskip("launch_testing")
    try:
        get_package_share_directory("realtalk_ros")
    except (LookupError, OSError):  # OSError: AMENT_PREFIX_PATH is not set
        pytest.skip("realtalk_ros is not built with colcon and sourced, or installed")
    file = Path(__file__).parent / "launch/realtalk_launch.py"
    command = [sys.executable, "-m", "launch_testing.launch_test", str(file)]
    assert subprocess.run(command, timeout=120).returncode == 0
