# SPDX-License-Identifier: Apache-2.0
"""A network that comes up after a node has started."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.nodes.late_network import LateNetwork
from realtalk_ros.nodes.problems import Problems

HEADER = "Iface\tDestination\tGateway \tFlags\n"
LOOPBACK, WIFI = "lo\t0000007F\t00000000\t0001\n", "wlan0\t000200C0\t00000000\t0001\n"
DOCKER = "docker0\t000011AC\t00000000\t0001\nbr-5f3c\t000012AC\t00000000\t0001\n"


class Node:
    """What is said by a node whose timers are called by hand."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.problems = Problems(self.said.append)
        self.timers: list[SimpleNamespace] = []

    def steady_timer(self, _period, callback):
        self.timers.append(SimpleNamespace(callback=callback))
        return self.timers[-1]

    def destroy_timer(self, timer):
        self.timers.remove(timer)

    def wait(self):
        for timer in list(self.timers):
            timer.callback()


@pytest.fixture
def routes(tmp_path, monkeypatch):
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "RMW_IMPLEMENTATION", "ROS_LOCALHOST_ONLY"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "proc/net/route"
    file.parent.mkdir(parents=True)
    return file


@pytest.mark.parametrize("at_start", [LOOPBACK, DOCKER])
def test_a_network_that_comes_after_the_start_is_said_once(routes, tmp_path, at_start):
    routes.write_text(HEADER + at_start)
    node = Node()
    LateNetwork(tmp_path).watch(node)
    node.wait()
    routes.write_text(HEADER + LOOPBACK + DOCKER)  # which lead to no other machine
    node.wait()
    assert node.said == []
    routes.write_text(HEADER + LOOPBACK + WIFI)
    node.wait()
    assert len(node.said) == 1 and "start the node again" in node.said[0]
    assert node.timers == []  # nothing is left to be looked for


@pytest.mark.parametrize(
    "at_start, variable, value",
    [
        (HEADER + WIFI, "HOME", "/"),  # which may come and go
        (HEADER, "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
        (HEADER, "ROS_LOCALHOST_ONLY", "1"),
        (HEADER, "RMW_IMPLEMENTATION", "rmw_zenoh_cpp"),
    ],
)
def test_nothing_is_said_where_it_does_no_harm(
    routes, tmp_path, monkeypatch, at_start, variable, value
):
    monkeypatch.setenv(variable, value)
    routes.write_text(at_start)
    node, network = Node(), LateNetwork(tmp_path)
    routes.write_text(HEADER + WIFI)
    network.watch(node)
    node.wait()
    assert node.said == []
