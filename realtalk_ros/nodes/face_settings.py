"""Avatar and frame rate are one setting of all nodes of a face: whoever is set tells the others."""

from __future__ import annotations

import time

from rclpy.parameter import Parameter

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import FaceSettings
from realtalk_ros.nodes import lifecycle, qos


class SharedSettings:
    """Keeps a node's `avatar` and `fps` the same as those of the other nodes of its face.

    What was set last counts. Of what nodes were started with, the renderer's counts, as it is what
    is seen. Every node tells on `face/settings` what it has, so that one that starts anew follows.
    """

    def __init__(self, node: lifecycle.RealTalkNode, leads: bool = False, tells: bool = True):
        """`leads`: this node is the renderer; `tells`: others may follow this node."""
        self._node = node
        # When what it has was set, ns since 1970. Of what nodes start with, the renderer's wins.
        self._set = 1 if leads else 0
        self._following = False
        overridable = qos.overridable()
        self._publisher = (
            node.create_publisher(
                FaceSettings,
                "face/settings",
                qos.LATCHED,
                qos_overriding_options=overridable,
            )  # fmt: skip
            if tells
            else None
        )
        self._subscription = node.create_subscription(
            FaceSettings, "face/settings", self.on_settings,
            qos.with_depth(qos.LATCHED, 10), qos_overriding_options=overridable,
        )  # fmt: skip
        self.tell()

    def tell(self) -> None:
        """Says what this node has."""
        if self._publisher is None:
            return
        message = FaceSettings(avatar=self._node.avatar, fps=float(self._node.fps))
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._set, 10**9)
        self._publisher.publish(message)

    def changed(self) -> None:
        """A parameter of this node was set."""
        if not self._following:
            self._set = time.time_ns()
            self.tell()

    def on_settings(self, message: FaceSettings) -> None:
        stamp = message.header.stamp
        when = stamp.sec * 10**9 + stamp.nanosec
        if when <= self._set:
            return
        values = {"avatar": message.avatar, "fps": message.fps}
        news = {name: value for name, value in values.items() if value != getattr(self._node, name)}
        self._following = True
        try:
            if news:
                result = self._node.set_parameters_atomically(
                    [Parameter(name, value=value) for name, value in news.items()]
                )
                if not result.successful:
                    self._node.problems.add(f"cannot follow the other nodes: {result.reason}")
                    return
                told = ", ".join(f"{name} {value}" for name, value in news.items())
                self._node.get_logger().info(f"follows the other nodes: {told}")
        finally:
            self._following = False
        self._set = when
        self.tell()


def check(name: str, value: object) -> None:
    """Raises RealTalkError for an avatar that is not there."""
    if name == "avatar":
        if not isinstance(value, str):
            raise RealTalkError(f"avatar is a name or a folder, not {value!r}")
        Avatar.check(value)
