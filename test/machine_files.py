# SPDX-License-Identifier: Apache-2.0
"""The files of a system that say what a process may use."""

from __future__ import annotations

from pathlib import Path

UNIT = "0::/system.slice/face.service\n"  # control groups 2
CONTAINER = "5:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n"  # control groups 1


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A system on which this process is in these control groups. Names of files are those in the
    folder of control groups; those that begin with proc/, in `root`."""
    files = {n if n.startswith("proc/") else f"sys/fs/cgroup/{n}": t for n, t in files.items()}
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
