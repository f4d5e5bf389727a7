# SPDX-License-Identifier: Apache-2.0
"""Avatar and frame rate are one setting of all nodes of a face: set in one, the others follow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rclpy.parameter import Parameter

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.msg import FaceSettings
from realtalk_ros.nodes import lifecycle, parameters, qos


class FaceNode(lifecycle.RealTalkNode):
    """A node of a face, with the parameters `avatar` and `fps`. Its constructor has to create its
    `SharedSettings`."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.avatar: str = self.parameter("avatar", *parameters.AVATAR)
        self.fps: float = self.parameter("fps", *parameters.FPS)

    def check_parameter(self, name: str, value: Any) -> None:
        if name == "avatar":
            Avatar.check(value)


class SharedSettings:
    """Keeps a node's `avatar` and `fps` the same as those of the other nodes of its face.

    What was set last counts. Of what nodes were started with, the renderer's counts, as it is what
    is shown. Every node publishes its own on `face/settings`, so that a restarted one follows.
    """

    def __init__(self, node: FaceNode, leads: bool = False, publishes: bool = True) -> None:
        """`leads`: this node is the renderer; `publishes`: others may follow this node."""
        self._node = node
        # When its values were set, ns since 1970. Of what nodes start with, the renderer's win.
        self._set_at = 1 if leads else 0
        self._following = self._restoring = False
        self._rank = 2 if leads else 1  # of what nodes go back to, the renderer's wins, too
        self._publisher = None
        if publishes:
            self._publisher = node.publisher(FaceSettings, "face/settings", qos.LATCHED)
        node.subscription(
            FaceSettings, "face/settings", self.on_settings, qos.with_depth(qos.LATCHED, 10)
        )
        self.publish()

    def publish(self) -> None:
        """Publishes this node's values."""
        if self._publisher is None:
            return
        message = FaceSettings(avatar=self._node.avatar, fps=float(self._node.fps))
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._set_at, 10**9)
        self._publisher.publish(message)

    def changed(self) -> None:
        """A parameter of this node was set."""
        if self._following:
            return
        if self._restoring:
            self._set_at += self._rank
        else:
            # Later than what it replaces, even if the clock was set back meanwhile.
            self._set_at = max(time.time_ns(), self._set_at + 1)
        self.publish()

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """What is set within goes back from what did not load. It is no later than that: what
        somebody has set since, on another node, counts."""
        self._restoring = True
        try:
            yield
        finally:
            self._restoring = False

    def on_settings(self, message: FaceSettings) -> None:
        stamp = message.header.stamp
        set_at = stamp.sec * 10**9 + stamp.nanosec
        if set_at <= self._set_at:
            return
        values = {"avatar": message.avatar, "fps": message.fps}
        new = {name: value for name, value in values.items() if value != getattr(self._node, name)}
        self._following = True
        try:
            if new:
                result = self._node.set_parameters_atomically(
                    [Parameter(name, value=value) for name, value in new.items()]
                )
                if not result.successful:
                    self._node.problems.add(f"cannot follow the other nodes: {result.reason}")
                    return
                text = ", ".join(f"{name} {value}" for name, value in new.items())
                self._node.get_logger().info(f"follows the other nodes: {text}")
        finally:
            self._following = False
        self._set_at = set_at
        self.publish()
