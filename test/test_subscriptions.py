# SPDX-License-Identifier: Apache-2.0
"""Audio that comes reliably and by best effort, without ROS's middleware."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from realtalk_ros.nodes import subscriptions
from realtalk_ros.nodes.message_info import KNOWN

if not KNOWN:
    pytest.skip("rclpy does not say when a message was sent", allow_module_level=True)


class Handle(nullcontext):
    """Of a subscription in which nothing waits."""

    def take_message(self, *_):
        return None


class Node:
    """What a subscription needs of a node."""

    def __init__(self):
        self.arrivals, self.checks = [], []  # callbacks: of messages, of timers

    def create_subscription(self, kind, topic, callback, qos, **_):
        self.arrivals.append(callback)
        return SimpleNamespace(handle=Handle(), msg_type=kind)

    def create_timer(self, period, callback, clock):
        self.checks.append(callback)


@pytest.mark.parametrize("set_back, given", [(1, ["a"]), (3600, ["a", "b"])])
def test_what_is_older_than_what_was_given_is_left_out_unless_a_clock_was_set_back(
    monkeypatch, set_back, given
):
    now, out = 100.0, []
    monkeypatch.setattr(subscriptions, "time", SimpleNamespace(
        monotonic=lambda: now, time_ns=lambda: int(now * 1e9)))  # fmt: skip
    node = Node()
    subscriptions.AudioSubscription(
        node, SimpleNamespace, "audio", lambda got: out.extend(r.message.name for r in got)
    )

    def come(subscription, name, number, sent):
        info = {"source_timestamp": int(sent * 1e9), "publication_sequence_number": number}
        node.arrivals[subscription](SimpleNamespace(name=name, utterance_id=""), info)

    now += 1.0  # this process stalled: what it missed comes by best effort first
    node.checks[0]()
    come(1, "a", 1, now)
    now += 0.1
    node.checks[0]()
    come(0, "b", 2, now - set_back)
    assert out == given


@pytest.mark.parametrize("seconds", [-20.0, -0.7, 5.0])
@pytest.mark.parametrize("same_machine", [True, False])
def test_a_clock_that_is_set_while_a_message_is_under_way_makes_no_later_one_seem_to_have_waited(
    monkeypatch, same_machine, seconds
):
    steady, clock, senders_clock, waited = 100.0, 2000.0, 2000.0, []
    monkeypatch.setattr(subscriptions, "time", SimpleNamespace(
        monotonic=lambda: steady, time_ns=lambda: int(clock * 1e9)))  # fmt: skip
    node = Node()
    subscriptions.BatchedSubscription(
        node, SimpleNamespace, "audio", lambda got: waited.extend(r.waited for r in got), qos=None
    )
    for k in range(100):
        sent = senders_clock
        if k == 20:
            clock += seconds
            senders_clock += seconds if same_machine else 0.0
        node.arrivals[0](SimpleNamespace(), {"source_timestamp": int(sent * 1e9)})
        steady, clock, senders_clock = steady + 0.1, clock + 0.1, senders_clock + 0.1
    assert max(waited) < 1e-3
