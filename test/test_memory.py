# SPDX-License-Identifier: Apache-2.0
"""The memory that is left, and that is given back."""

from __future__ import annotations

import subprocess
import sys

import pytest
from machine_files import CONTAINER, UNIT, machine

from realtalk_ros import memory

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
