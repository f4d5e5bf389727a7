# SPDX-License-Identifier: Apache-2.0
"""Says that a network came up after this process had started, as at boot: Fast DDS goes on without
it, so that no other machine finds these nodes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from realtalk_ros.nodes.fastdds_profile import LOCALHOST_ONLY
from realtalk_ros.nodes.lifecycle import RealTalkNode

EVERY = 2.0  # s
# How interfaces are called that lead to no other machine: loopback, Docker's and libvirt's bridges,
# and their ends. They are up before Wi-Fi is, or come without it.
WITHIN = re.compile(r"lo$|docker|br-|virbr|veth")
LATE = (
    "a network came up after this node had started, and no other machine finds the node in it: "
    "start the node again, at boot after network-online.target"
)


class LateNetwork:
    """Make it before ROS is initialised."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root`: of the files of the system."""
        self._routes = root / "proc/net/route"
        self._late = _goes_out() and self._routes.is_file() and not self._is_up()

    def watch(self, node: RealTalkNode) -> None:
        """Has a node report it, once."""
        if not self._late:
            return

        def check() -> None:
            if self._is_up():
                node.destroy_timer(timer)
                node.problems.add(LATE)

        timer = node.steady_timer(EVERY, check)

    def _is_up(self) -> bool:
        """Whether an interface has an address by which others can be reached (IPv4, Linux)."""
        try:
            rows = self._routes.read_text().splitlines()[1:]
        except OSError:
            return False
        return any(not WITHIN.match(row.split()[0]) for row in rows if row.strip())


def _goes_out() -> bool:
    """Whether nodes of other machines are looked for, by Fast DDS."""
    nearby = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "") in ("LOCALHOST", "OFF")
    fast_dds = os.environ.get("RMW_IMPLEMENTATION", "") in ("", "rmw_fastrtps_cpp")
    return fast_dds and not nearby and os.environ.get(LOCALHOST_ONLY, "") != "1"
