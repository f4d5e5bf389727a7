# SPDX-License-Identifier: Apache-2.0
"""What a node says of itself on /diagnostics, once a second, and at which level.

ERROR   it could not load, or is not active though it should be; the message says why
STALE   it waits for a manager to activate it
WARN    it runs, and the user should know something: `warning` of the node (lifecycle.py,
        renderer_node.py), such as bad input in the last 10 s (problems.py), a clock that stands
        still, or a machine that cannot keep up
OK      it runs; what it loads beside that is named
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

if TYPE_CHECKING:
    from realtalk_ros.nodes.lifecycle import RealTalkNode


class Diagnostics:
    """Publishes the state of a node."""

    def __init__(self, node: RealTalkNode) -> None:
        self._node = node
        self._last_counts: tuple[float, dict[str, int]] = (time.monotonic(), {})
        self._publisher = node.publisher(DiagnosticArray, "/diagnostics", 10)

    def publish(self) -> None:
        node = self._node
        level, text = self._level()
        values = {"state": node.state, **node.status(), **self._rates(), **node.problems.counts}
        status = DiagnosticStatus(
            name=f"{node.get_fully_qualified_name()[1:]}: {node.get_name()}",
            hardware_id="realtalk_ros",
            level=level,
            message=text,
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _level(self) -> tuple[bytes, str]:
        """Level and message."""
        node = self._node
        if node.failure:
            return DiagnosticStatus.ERROR, node.failure
        if not node.ready:
            wanted = node.wanted_active
            return DiagnosticStatus.ERROR if wanted else DiagnosticStatus.STALE, node.state
        if warning := node.warning():
            return DiagnosticStatus.WARN, warning
        loading = node.loading()
        return DiagnosticStatus.OK, f"running; loading {loading}" if loading else "running"

    def _rates(self) -> dict[str, float]:
        """Per second since the last call."""
        node = self._node
        now, (then, before) = time.monotonic(), self._last_counts
        self._last_counts = now, dict(node.counts)
        elapsed = max(1e-3, now - then)
        return {
            f"{name}_per_s": (node.counts[name] - before.get(name, 0)) / elapsed
            for name in node.rated
            if name in node.counts
        }


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
