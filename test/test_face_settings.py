# SPDX-License-Identifier: Apache-2.0
"""Avatar and frame rate of the nodes of one face, without ROS's middleware."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.nodes import face_settings


class Node:
    """What `SharedSettings` needs of a node. All are connected to each other."""

    def __init__(self, others, leads=False):
        self.avatar, self.fps, self.others = "default", 25.0, others
        self.problems = SimpleNamespace(add=pytest.fail)
        self.waiting = None  # messages that are on their way here; None: they come at once
        self.settings = face_settings.SharedSettings(self, leads)
        others.append(self)

    def publisher(self, *_, **__):
        return SimpleNamespace(publish=self._publish)

    def subscription(self, *_, **__):
        return None

    def _publish(self, message):
        for other in self.others:
            if other.waiting is None:
                other.settings.on_settings(message)
            else:
                other.waiting.append(message)

    def receive(self):
        while self.waiting:
            self.settings.on_settings(self.waiting.pop(0))

    def set(self, **values):
        for name, value in values.items():
            setattr(self, name, value)
        self.settings.changed()

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


def test_who_goes_back_from_what_did_not_load_undoes_nothing_that_was_set_since():
    """A damaged avatar is set, then, before the other node has gone back from it, a good one."""
    nodes: list[Node] = []
    renderer, expression = Node(nodes, leads=True), Node(nodes)
    renderer.set(avatar="damaged")
    assert expression.avatar == "damaged"
    for node in nodes:
        node.waiting = []
    renderer.set(avatar="kenji")
    with expression.settings.restoring():
        expression.set(avatar="default")
    for node in (renderer, expression, renderer, expression):
        node.receive()
    assert renderer.avatar == expression.avatar == "kenji"
    for node in nodes:  # both go back, to what each of them runs
        with node.settings.restoring():
            node.set(avatar=f"before {len(node.waiting)}")
    for node in (renderer, expression, renderer, expression):
        node.receive()
    assert renderer.avatar == expression.avatar == "before 0"
