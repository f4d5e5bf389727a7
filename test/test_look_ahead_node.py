# SPDX-License-Identifier: Apache-2.0
"""The expression node with a shorter look-ahead: live speech is shown earlier by as much."""

import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.contracts import LOOK_AHEAD  # noqa: E402
from realtalk_ros.msg import FaceExpression  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import Client, seconds, speech, start, stop  # noqa: E402

DOMAIN = domain_of(__file__)
LONG = 0.1625  # s, the look-ahead of the default


@pytest.fixture
def client():
    process = start("expression_node", DOMAIN, look_ahead=0.06, fps=25.0)
    client = Client(DOMAIN, images=False)
    try:
        client.wait_ready("expression_node")
        client.wait_connected()
        yield client
    finally:
        client.close()
        stop(process)


def least_delay(client, utterance):
    """Speaks live. Seconds from a frame's time to when it came, of the fastest."""
    delays = []

    def note(message):
        if message.utterance_id == utterance:
            delays.append(time.time() - seconds(message.header.stamp))

    watching = client.node.create_subscription(FaceExpression, "expression", note, 500)
    client.spin(0.5)
    client.speak(speech(2.0), utterance, chunk=0.02, lead=0.0)
    client.wait(lambda: len(delays) > 30, 15, f"frames of {utterance}")
    client.node.destroy_subscription(watching)
    return min(delays)


def set_look_ahead(client, value):
    return client.set_parameter("expression_node", "look_ahead", value)


def is_said(client, milliseconds):
    return lambda: (
        client.diagnostics["expression_node"][2].get("look_ahead_ms") == milliseconds
        and not client.diagnostics["expression_node"][2]["loading"]
    )


def test_live_speech_comes_earlier_and_the_look_ahead_changes_while_it_runs(client):
    client.wait(is_said(client, "62.5"), 10, "look-ahead in the diagnostics")
    assert 0.06 < least_delay(client, "early") < LONG

    refused = set_look_ahead(client, 0.12)
    assert not refused.successful and "0.06, 0.1, 0.16" in refused.reason
    assert not set_look_ahead(client, 0.5).successful
    assert set_look_ahead(client, LOOK_AHEAD).successful
    client.wait(is_said(client, "162.5"), 10, "the other look-ahead in the diagnostics")
    assert least_delay(client, "late") > LONG - 1e-3
    assert np.isfinite(client.expressions[-1].weights).all()
