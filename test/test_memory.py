# SPDX-License-Identifier: Apache-2.0
"""The memory that is left, that is given back, and that is refused."""

from __future__ import annotations

import subprocess
import sys

import onnxruntime
import pytest
from machine_files import CONTAINER, UNIT, machine

from realtalk_ros import memory, onnx_session
from realtalk_ros.cli import main
from realtalk_ros.commands import bench
from realtalk_ros.errors import ModelError

GB = 2**30
MACHINE = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  2097152 kB\n"}


@pytest.mark.parametrize(
    "groups, files, expected",
    [
        ("", {}, None),
        ("", MACHINE, 2 * GB),
        # systemd's MemoryMax=1G; files that are in memory can leave it
        (UNIT, {**MACHINE, "system.slice/face.service/memory.max": f"{GB}\n",
                "system.slice/face.service/memory.current": f"{GB // 2}\n",
                "system.slice/face.service/memory.stat": f"anon 5\ninactive_file {GB // 4}\n"},
         3 * GB // 4),
        (UNIT, {**MACHINE, "memory.max": "max\n", "memory.current": "5\n"}, 2 * GB),
        # control groups 1 say a number for no limit
        (CONTAINER, {**MACHINE, "memory/memory.limit_in_bytes": f"{GB}\n",
                     "memory/memory.usage_in_bytes": f"{GB // 2}\n"}, GB // 2),
        (CONTAINER, {**MACHINE, "memory/memory.limit_in_bytes": "9223372036854771712\n",
                     "memory/memory.usage_in_bytes": "5\n"}, 2 * GB),
    ],
)  # fmt: skip
def test_what_is_left_is_known(tmp_path, groups, files, expected):
    assert memory.available(machine(tmp_path, groups, files)) == expected


def test_what_loading_took_is_given_back():
    """To load the expression network, and to compare two of it, takes 100 MB that it does not
    need."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    code = (
        "import ctypes\n"
        "from realtalk_ros.nodes.expression_engine import ExpressionEngine, ModelSettings\n"
        "def mb():\n"
        "    rows = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "    return int(rows['RssAnon'].split()[0]) / 1024\n"
        "engine = ExpressionEngine(lambda: ModelSettings('default', 'cpu', '', 1, 0.16), None)\n"
        "engine.setup(25.0)\n"
        "before = mb()\n"
        "ctypes.CDLL(None).malloc_trim(0)\n"
        "print(before - mb())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "malloc_trim" in done.stderr:
        pytest.skip("the C library is not glibc")
    assert not done.returncode, done.stderr
    assert float(done.stdout) < 20


def refuse(*_args, **_options):
    raise MemoryError


def test_a_command_that_gets_no_memory_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", refuse)
    assert main(["bench"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no memory is left" in said


def test_a_network_for_which_no_memory_is_left_is_not_called_damaged(monkeypatch):
    def refuse_in_cpp(*_args, **_options):
        raise RuntimeError("Exception during initialization: std::bad_alloc")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse_in_cpp)
    with pytest.raises(ModelError, match="no memory is left"):
        onnx_session.session(onnx_session.REFERENCE_NETWORK, threads=7)


def test_a_node_that_gets_no_memory_says_so_and_tries_again(capfd):
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    from realtalk_ros.nodes.lifecycle import RealTalkNode
    from ros_domains import domain_of

    class HungryNode(RealTalkNode):
        setup = refuse

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_of(__file__))
    node = HungryNode("hungry_node", context=context)
    node.try_setup()
    node.problems.exception(MemoryError())
    assert "no memory is left" in node.failure and node.exit_code is None
    node.destroy_node()
    rclpy.shutdown(context=context)
    said = capfd.readouterr().err
    assert said.count("no memory is left") == 2 and "trying again every" in said
    assert "Traceback" not in said
