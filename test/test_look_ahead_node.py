# SPDX-License-Identifier: Apache-2.0
"""The expression node with a shorter look-ahead: it waits for less of the sound after a frame."""

import math
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.contracts import LOOK_AHEAD  # noqa: E402
from realtalk_ros.msg import FaceExpression  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import RATE, Client, seconds, speech, start, stop  # noqa: E402

DOMAIN = domain_of(__file__)
FRAME = 0.04  # s: look-aheads of 62.5 and of 162.5 ms are two and five frames
LEAD = 0.48  # s by which speech is sent ahead
PCM = speech(2.4)[round(1.4 * RATE) :]  # in mid-speech: of silence less is sent at once


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


def waits_for(client, utterance):
    """Seconds of sound after the last frame that came before the sound ended, of speech that is not
    over, and of which no more comes. More than the look-ahead where this machine is slow."""
    begin = math.ceil(time.time() / FRAME) * FRAME + LEAD
    end, came = begin + len(PCM) / RATE, [begin]

    def note(message):
        if message.utterance_id == utterance and time.time() < end:
            came.append(seconds(message.header.stamp))

    watching = client.node.create_subscription(FaceExpression, "expression", note, 500)
    client.wait(watching.get_publisher_count, 10, "publisher of expression")
    client.send(PCM, begin, utterance)
    client.spin(end - time.time())
    client.call_interrupt()
    client.node.destroy_subscription(watching)
    return end - max(came)


def least_wait(client, name, expected):
    """The least of some utterances, the last of them the first that waits as `expected`."""
    waits = []
    while len(waits) < 10 and min(waits, default=math.inf) > expected + FRAME / 2:
        waits.append(waits_for(client, f"{name}-{len(waits)}"))
    return min(waits)


def set_look_ahead(client, value):
    return client.set_parameter("expression_node", "look_ahead", value)


def is_said(client, milliseconds):
    return lambda: (
        client.diagnostics["expression_node"][2].get("look_ahead_ms") == milliseconds
        and not client.diagnostics["expression_node"][2]["loading"]
    )


def test_frames_wait_for_less_sound_and_the_look_ahead_changes_while_it_runs(client):
    client.wait(is_said(client, "62.5"), 10, "look-ahead in the diagnostics")
    assert least_wait(client, "early", 2 * FRAME) == pytest.approx(2 * FRAME, abs=1e-3)

    refused = set_look_ahead(client, 0.12)
    assert not refused.successful and "0.06, 0.1, 0.16" in refused.reason
    assert not set_look_ahead(client, 0.5).successful
    assert set_look_ahead(client, LOOK_AHEAD).successful
    client.wait(is_said(client, "162.5"), 10, "the other look-ahead in the diagnostics")
    assert least_wait(client, "late", 5 * FRAME) == pytest.approx(5 * FRAME, abs=1e-3)
    assert np.isfinite(client.expressions[-1].weights).all()
