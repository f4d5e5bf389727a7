# SPDX-License-Identifier: Apache-2.0
"""Audio that comes reliably and by best effort, without ROS's middleware."""

from collections import deque
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from realtalk_ros.nodes import subscriptions
from realtalk_ros.nodes.message_info import KNOWN

if not KNOWN:
    pytest.skip("rclpy does not say when a message was sent", allow_module_level=True)


class Handle(nullcontext):
    """Of a subscription, with the messages that wait in it."""

    def __init__(self):
        super().__init__()
        self.waiting = deque()

    def take_message(self, *_):
        return self.waiting.popleft() if self.waiting else None


class Node:
    """What a subscription needs of a node."""

    def __init__(self):
        self.arrivals, self.checks = [], []  # callbacks: of messages, of timers
        self.events, self.open = [], []  # callbacks of QoS events; subscriptions

    def create_subscription(self, kind, topic, callback, qos, event_callbacks=None, **_):
        self.arrivals.append(callback)
        self.events.append(event_callbacks)
        self.open.append(SimpleNamespace(handle=Handle(), msg_type=kind))
        return self.open[-1]

    def destroy_subscription(self, subscription):
        self.open.remove(subscription)

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


def test_all_that_waits_is_given_at_once_in_its_order():
    node, given = Node(), []
    subscriptions.BatchedSubscription(
        node, SimpleNamespace, "audio", lambda got: given.append([r.number for r in got]), qos=None
    )
    messages = [
        (SimpleNamespace(), {"source_timestamp": 10**18, "publication_sequence_number": number})
        for number in range(subscriptions.MAX_BATCH + 3)
    ]
    node.open[0].handle.waiting.extend(messages[1:])
    node.arrivals[0](*messages[0])
    assert given == [list(range(subscriptions.MAX_BATCH))]
    node.arrivals[0](*node.open[0].handle.waiting.popleft())
    assert sum(map(len, given)) == len(messages)


def waits(monkeypatch, transits, apart=0.1):
    """How long messages seem to have waited that were under way for `transits`, s, by two clocks,
    and came every `apart` s."""
    now, waited = 2000.0, []
    monkeypatch.setattr(subscriptions, "time", SimpleNamespace(
        monotonic=lambda: now, time_ns=lambda: int(now * 1e9)))  # fmt: skip
    node = Node()
    subscriptions.BatchedSubscription(
        node, SimpleNamespace, "audio", lambda got: waited.extend(r.waited for r in got), qos=None
    )
    for transit in transits:
        node.arrivals[0](SimpleNamespace(), {"source_timestamp": int((now - transit) * 1e9)})
        now += apart
    return waited


@pytest.mark.parametrize("behind", [-5.0, 0.0, 5.0])
def test_a_message_has_waited_by_what_it_was_longer_under_way_than_others(monkeypatch, behind):
    transits = [behind + (0.5 if k == 7 else 0.002) for k in range(20)]
    wanted = [0.498 if k == 7 else 0.0 for k in range(20)]
    assert waits(monkeypatch, transits) == pytest.approx(wanted, abs=1e-5)


def test_clocks_that_drift_apart_make_no_message_seem_to_have_waited(monkeypatch):
    drift = 1e-3  # s a second
    waited = waits(monkeypatch, [drift * k / 10 for k in range(1000)])
    assert max(waited) == pytest.approx(drift * subscriptions.TRANSIT_WINDOW, rel=0.05)


def test_the_best_effort_subscription_closes_after_a_stall_unless_somebody_sends_so(monkeypatch):
    now = 100.0
    monkeypatch.setattr(subscriptions, "time", SimpleNamespace(
        monotonic=lambda: now, time_ns=lambda: int(now * 1e9)))  # fmt: skip
    node = Node()
    subscriptions.AudioSubscription(node, SimpleNamespace, "audio", lambda got: None)

    def is_open_after(seconds):
        nonlocal now
        for _ in range(round(seconds / subscriptions.CHECK_EVERY)):
            now += subscriptions.CHECK_EVERY
            node.checks[0]()
        return len(node.open) == 2

    assert not is_open_after(1.0)
    now += subscriptions.STALL  # and the time between two checks
    assert is_open_after(subscriptions.REOPENED - 0.5) and not is_open_after(1.0)
    node.events[0].incompatible_qos(None)
    now += 1.0  # a stall changes nothing then
    assert is_open_after(2 * subscriptions.REOPENED)
