# SPDX-License-Identifier: Apache-2.0
"""Watches the nodes that a command has started."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection
from typing import Any

from realtalk_ros.commands.node_processes import FACE_NODES, START_TIMEOUT
from realtalk_ros.errors import RealTalkError


class GraphMonitor:
    """A node among `nodes`, the processes by the nodes' names, that reads their diagnostics."""

    def __init__(self, name: str, nodes: dict[str, subprocess.Popen]):
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor

        from realtalk_ros.nodes.lifecycle import NAMESPACE

        self.nodes = nodes
        self.diagnostics: dict[str, dict[str, str]] = {}  # of each node, its last
        self.errors: dict[str, str] = {}  # of nodes that cannot work, why
        # It is to cost little beside the nodes that it watches.
        self.node = rclpy.create_node(
            name, namespace=NAMESPACE, start_parameter_services=False, enable_rosout=False
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def subscribe(
        self, kind: type, topic: str, callback: Callable[..., None], qos: Any, **options: Any
    ) -> None:
        """As create_subscription of the node does; `qos` is a profile or a depth."""
        from realtalk_ros.nodes.qos import NO_SUBSCRIPTION_EVENTS

        options["event_callbacks"] = NO_SUBSCRIPTION_EVENTS
        self.node.create_subscription(kind, topic, callback, qos, **options)

    def spin(self, seconds: float = 0.1) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait_ready(self, names: Collection[str], also: Callable[[], object] = lambda: True) -> None:
        """Spins until every node reports that it works, and `also`. Raises RealTalkError."""
        end = time.monotonic() + START_TIMEOUT
        while not (self.diagnostics.keys() >= set(names) and also()):
            self.spin()
            self.check(names)
            if time.monotonic() > end:
                missing = ", ".join(n for n in names if n not in self.diagnostics) or "the face"
                raise RealTalkError(
                    f"{missing} did not get ready in {START_TIMEOUT:.0f} s: close other programs, "
                    "or see `realtalk doctor`"
                )

    def check(self, names: Collection[str] = ()) -> None:
        """Raises RealTalkError if a node has ended that should not have, or if one of `names`
        reports that it cannot work."""
        for name, process in self.nodes.items():
            code = process.poll()
            if code is not None and (code or name in FACE_NODES):
                raise RealTalkError(f"the {name} ended with {code}: see what it says above")
        for name in names:
            if name in self.errors:
                raise RealTalkError(self.errors[name])

    def on_report(self, name: str) -> None:
        """That node reports that it works."""

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            name = status.name.split(": ")[-1]
            if status.level in (b"\x02", 2):  # ERROR
                self.errors[name] = status.message
            else:
                self.diagnostics[name] = {item.key: item.value for item in status.values}
                self.on_report(name)
