# SPDX-License-Identifier: Apache-2.0
"""How much of the processors a container or a systemd unit may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from machine_files import CONTAINER, UNIT, machine

from realtalk_ros import processors

CORES = float(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    "groups, files, expected",
    [
        ("", {}, CORES),
        (UNIT, {"system.slice/face.service/cpu.max": "max 100000\n"}, CORES),
        # systemd's CPUQuota=50%, of the unit, and of the slice that it is in
        (UNIT, {"system.slice/face.service/cpu.max": "50000 100000\n"}, 0.5),
        (UNIT, {"system.slice/face.service/cpu.max": "max 100000\n",
                "system.slice/cpu.max": "30000 100000\n"}, 0.3),
        # a container: its own group is the uppermost that it sees
        (UNIT, {"cpu.max": "70000 100000\n"}, 0.7),
        ("0::/../face\n", {"cpu.max": "70000 100000\n"}, 0.7),
        # control groups 1, as they are named on the host, and as a container sees them
        (CONTAINER, {"cpu/docker/1/cpu.cfs_quota_us": "25000\n",
                     "cpu/docker/1/cpu.cfs_period_us": "100000\n"}, 0.25),
        (CONTAINER, {"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 0.5),
        (CONTAINER, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "50000\n"}, CORES),
        # more than there is, and what is no number
        (UNIT, {"cpu.max": "99900000 100000\n"}, CORES),
        (UNIT, {"cpu.max": "much 100000\n"}, CORES),
    ],
)  # fmt: skip
def test_a_quota_is_known(tmp_path, groups, files, expected):
    assert processors.available(machine(tmp_path, groups, files)) == expected


def test_one_core_of_several_is_one():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from realtalk_ros import processors; from realtalk_ros.commands import bench\n"
        "print(processors.available(), processors.threads(2), bench.machine((0, 0, 0))['cores'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "1", "1.0"]
