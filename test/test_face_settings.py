# SPDX-License-Identifier: Apache-2.0
"""Avatar and frame rate of the nodes of one face, without ROS's middleware."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.nodes import face_settings


class Node:
    """What `SharedSettings` needs of a node. All are connected to each other."""

    def __init__(self, others):
        self.avatar, self.fps, self.others = "default", 25.0, others
        self.problems = SimpleNamespace(add=pytest.fail)
        self.settings = face_settings.SharedSettings(self)
        others.append(self)

    def create_publisher(self, *_, **__):
        return SimpleNamespace(publish=self._publish)

    def create_subscription(self, *_, **__):
        return None

    def _publish(self, message):
        for other in self.others:
            other.settings.on_settings(message)

    def get_logger(self):
        return SimpleNamespace(info=lambda text: None)

    def set_parameters_atomically(self, parameters):
        for parameter in parameters:
            setattr(self, parameter.name, parameter.value)
        self.settings.changed()
        return SimpleNamespace(successful=True)


def test_what_is_set_last_counts_though_the_clock_was_set_back(monkeypatch):
    now = 2 * 10**18
    monkeypatch.setattr(face_settings, "time", SimpleNamespace(time_ns=lambda: now))
    nodes: list[Node] = []
    first, second = Node(nodes), Node(nodes)
    first.fps = 30.0
    first.settings.changed()
    assert second.fps == 30.0
    now -= 3600 * 10**9
    second.fps = 50.0
    second.settings.changed()
    assert first.fps == second.fps == 50.0
