# SPDX-License-Identifier: Apache-2.0
"""A node that was started twice."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.nodes import duplicate_nodes

OWN = ("renderer_node", "/robot")


def test_two_nodes_of_one_name_are_named_once_a_killed_one_would_be_forgotten(monkeypatch):
    nodes, now = [OWN, ("renderer_node", "/other"), ("say_node", "/robot")], 5.0
    monkeypatch.setattr(duplicate_nodes.time, "monotonic", lambda: now)
    found = duplicate_nodes.DuplicateNodes(SimpleNamespace(
        get_name=lambda: OWN[0], get_namespace=lambda: OWN[1],
        get_fully_qualified_name=lambda: "/robot/renderer_node",
        get_node_names_and_namespaces=lambda: nodes,
    ))  # fmt: skip
    assert found.warning() == ""
    nodes.append(OWN)
    assert found.warning() == ""  # it was killed, and started again
    now += 29
    assert found.warning() == ""
    now += 2
    assert "two nodes are called /robot/renderer_node" in found.warning()
    nodes.pop()
    assert found.warning() == ""
