# SPDX-License-Identifier: Apache-2.0
"""The memory that is left for this process, and what it gives back (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

from realtalk_ros import control_groups

UNLIMITED = 2**60  # bytes; control groups 1 say a number beyond this


def give_back() -> None:
    """Gives the system what was freed, which the C library (glibc) keeps: to load and to compare
    networks takes several times what they hold."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def available(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still have: what the machine has, or its control groups leave it;
    None where that is not known. `root`: of the files of the system."""
    return min(_left(root), default=None)


def _left(root: Path) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 2**10
    for group in control_groups.folders("memory", root):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            with contextlib.suppress(OSError, ValueError):
                most = int((group / limit).read_text())
                if most < UNLIMITED:
                    yield max(0, most - int((group / used).read_text()) + _cached(group))


def _cached(group: Path) -> int:
    """Bytes that a group holds of files, which it gives up when memory is needed."""
    with contextlib.suppress(OSError, ValueError):
        rows = map(str.split, (group / "memory.stat").read_text().splitlines())
        values = {row[0]: int(row[1]) for row in rows}
        return values.get("total_inactive_file", values.get("inactive_file", 0))
    return 0
