# SPDX-License-Identifier: Apache-2.0
"""The control groups that limit this process (Linux): a container's, a systemd unit's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def folders(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Folders of the groups of this process for "cpu" or "memory", and of those above them, which
    limit it, too. `root`: of the files of the system.

    Within a container, its own group is mounted as the uppermost, whatever its name outside is. So
    some folders may not exist.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not controllers:  # control groups 2
            top = mounted
        elif controller in controllers.split(","):
            top = mounted / controller
        else:
            continue
        own = Path(*(part for part in name.split("/") if part not in ("", "..")))
        yield from (top / folder for folder in (own, *own.parents))
