# SPDX-License-Identifier: Apache-2.0
"""How much of the machine's processors this process may use (Linux).

A container, or a systemd unit with CPUQuota, gets a share of them, which os.cpu_count() does not
know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from realtalk_ros import control_groups


def available(root: Path = Path("/")) -> float:
    """Processors that this process may use; 0.5: half the time of one. `root`: of the files of the
    system."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    limit = quota(root)
    return count if limit is None else min(count, limit)


def threads(most: int) -> int:
    """How many threads are of use to a network: as many as there are whole processors, one at
    least and `most` at most."""
    return max(1, min(most, int(available())))


def quota(root: Path = Path("/")) -> float | None:
    """The share of processors that the control groups of this process leave it: the least of them
    all, as each limits those below it. None: there is no limit."""
    return min(_limits(root), default=None)


def _limits(root: Path) -> Iterator[float]:
    for group in control_groups.folders("cpu", root):
        try:
            if (file := group / "cpu.max").is_file():  # control groups 2
                most, period = file.read_text().split()
            else:
                most = (group / "cpu.cfs_quota_us").read_text()
                period = (group / "cpu.cfs_period_us").read_text()
            if most != "max" and int(most) > 0 < int(period):
                yield int(most) / int(period)
        except (OSError, ValueError):
            continue
