# SPDX-License-Identifier: Apache-2.0
"""Duplicate node names: other nodes of the same name in the same namespace, such as those of a face
that was started twice. Both take all sound, and both publish images."""

from __future__ import annotations

import time

from rclpy.node import Node

# s for which a node that was killed may still be known: Fast DDS's lease duration is 20 s.
REMEMBERED = 30.0


class DuplicateNodes:
    """Looks for them among all nodes of the graph."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._since: float | None = None  # monotonic s

    def warning(self) -> str:
        """What to do about them; empty if there are none. Call it often."""
        own = self._node.get_name(), self._node.get_namespace()
        if self._node.get_node_names_and_namespaces().count(own) < 2:
            self._since = None
            return ""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since < REMEMBERED:
            return ""
        name = self._node.get_fully_qualified_name()
        return f"two nodes are called {name}: stop one, or start it in another namespace"
