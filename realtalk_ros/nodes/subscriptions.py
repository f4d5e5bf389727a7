# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that give all waiting messages at once, and how long each has waited; audio from
any sender, reliable or best effort."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rclpy._rclpy_pybind11 import UnsupportedEventTypeError
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from realtalk_ros.nodes.message_info import KNOWN, with_info
from realtalk_ros.nodes.qos import SubscriptionEventCallbacks
from realtalk_ros.playout.sender_identity import SenderIdentifier

MAX_BATCH = 2000  # messages taken at once
MAX_WAIT = 30.0  # s, a longer wait is a clock that was set
TRANSIT_WINDOW = 10.0  # s over which the quickest message shows how two clocks differ
HOLD = 0.06  # s for which a best-effort message waits for its reliable twin
CHECK_EVERY = 0.1  # s between two checks for a stall, and for messages that are held
STALL = 0.4  # s without a check that are a stall of this process
REOPENED = 6.0  # s for which the second subscription stays open after a stall
AUDIO_DEPTH = 5000  # messages of audio that may wait: a minute and a half in chunks of 20 ms


@dataclass(frozen=True)
class Received:
    """A message, how long it has waited to be taken, s, its number among its publisher's, and when
    it was sent, ns by the sender's clock."""

    message: Any
    waited: float = 0.0
    number: int | None = None
    sent: int = 0

    @property
    def utterance(self) -> str:
        return getattr(self.message, "utterance_id", "")


class BatchedSubscription:
    """Calls `callback` with all messages that wait, in their order, whenever there are any.

    Taking one message costs the executor up to a millisecond, and a node that stalled for some
    seconds finds hundreds: so all are taken at once.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[list[Received]], None],
        qos: QoSProfile,
        overridable: QoSOverridingOptions | None = None,
        events: SubscriptionEventCallbacks | None = None,
    ) -> None:
        self._callback = callback
        self._transits: deque[tuple[float, float]] = deque()  # when, s under way by the two clocks
        on_message = with_info(self._on_message)
        options: dict[str, Any] = {"qos_overriding_options": overridable}
        try:
            self.subscription = node.create_subscription(
                kind, topic, on_message, qos, event_callbacks=events, **options
            )
        except UnsupportedEventTypeError:  # this ROS middleware does not report such publishers
            self.subscription = node.create_subscription(kind, topic, on_message, qos, **options)

    def poll(self) -> None:
        """Takes what waits now."""
        self._take([])

    def _on_message(self, message: Any, info: dict[str, Any]) -> None:
        self._take([(message, info)])

    def _take(self, taken: list[tuple[Any, dict[str, Any]]]) -> None:
        handle = self.subscription.handle
        with handle:
            while len(taken) < MAX_BATCH:
                more = handle.take_message(self.subscription.msg_type, False)
                if more is None:
                    break
                taken.append(more)
        if taken:
            self._callback(self._received(taken))

    def _received(self, taken: list[tuple[Any, dict[str, Any]]]) -> list[Received]:
        now = time.time_ns()
        sent = [info.get("source_timestamp") or now for _, info in taken]
        queued = [(now - (info.get("received_timestamp") or now)) * 1e-9 for _, info in taken]
        transits = [(now - when) * 1e-9 for when in sent]
        # Clocks of two machines differ: only what is more than the quickest transit was waiting.
        while self._transits and not 0 <= now * 1e-9 - self._transits[0][0] < TRANSIT_WINDOW:
            self._transits.popleft()
        self._transits.append((now * 1e-9, min(transits)))
        quickest = min(transit for _, transit in self._transits)
        return [
            Received(message, _plausible(max(transit - quickest, wait)), _number(info), when)
            for (message, info), transit, wait, when in zip(
                taken, transits, queued, sent, strict=True
            )
        ]


def _plausible(seconds: float) -> float:
    return seconds if 0 < seconds < MAX_WAIT else 0.0


def _number(info: dict[str, Any]) -> int | None:
    number = info.get("publication_sequence_number")
    return number if isinstance(number, int) and number < 2**63 else None


class AudioSubscription(BatchedSubscription):
    """Audio from any sender.

    A whole utterance at once comes through only reliably, but a reliable subscription does not even
    connect to a best-effort publisher, such as a microphone's. So this one is reliable, and where a
    best-effort publisher appears it is joined by a second, best-effort one. That one receives the
    reliable publishers' messages, too: they are recognised by their number and time of sending.

    After this process stalled, a reliable subscription waits up to 3 s for what it has missed
    before it gives anything newer. The best-effort one does not: it is opened for a while.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[list[Received]], None],
        overridable: QoSOverridingOptions | None = None,
    ) -> None:
        self._node, self._kind, self._topic, self._pass_on = node, kind, topic, callback
        self._second: BatchedSubscription | None = None
        self._close_at = math.inf  # when the second one is not needed any more
        self._reliable: OrderedDict[_Key, None] = OrderedDict()  # what came reliably
        self._unreliable: OrderedDict[_Key, None] = OrderedDict()  # what came by best effort alone
        self._held: OrderedDict[_Key, tuple[Received, str, float]] = OrderedDict()
        self._senders = SenderIdentifier()  # of what comes by best effort
        self._best_effort: set[str] = set()  # those that do not send reliably, or not in time
        self._newest: dict[str, int] = {}  # utterance -> when the last message given was sent
        self._last_check = time.monotonic()
        events = SubscriptionEventCallbacks(
            incompatible_qos=self._on_incompatible, use_default_callbacks=False
        )
        qos = QoSProfile(depth=AUDIO_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        # On Humble messages that come twice are not recognised: one subscription at a time.
        on_messages = self._on_reliable if KNOWN else callback
        super().__init__(
            node, kind, topic, on_messages, qos, overridable=overridable, events=events
        )
        steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(CHECK_EVERY, self._check, clock=steady_clock)

    def _on_incompatible(self, _event: Any) -> None:
        """A publisher has appeared that this subscription cannot receive."""
        self._close_at = math.inf
        self._open()
        if not KNOWN:
            self._node.destroy_subscription(self.subscription)

    def _open(self) -> None:
        if self._second is None:
            qos = QoSProfile(depth=AUDIO_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
            on_messages = self._on_best_effort if KNOWN else self._pass_on
            self._second = BatchedSubscription(
                self._node, self._kind, self._topic, on_messages, qos
            )

    def _check(self) -> None:
        now = time.monotonic()
        stalled, self._last_check = now - self._last_check > STALL, now
        if stalled and KNOWN:
            self._newest.clear()
            if self._second is None or self._close_at < math.inf:
                self._close_at = now + REOPENED
                self._open()
        if now > self._close_at and self._second is not None:
            self._node.destroy_subscription(self._second.subscription)
            self._second, self._close_at = None, math.inf
            self._best_effort.clear()
        self._release()

    def _on_reliable(self, messages: list[Received]) -> None:
        out = []
        for received in messages:
            key = (received.sent, received.number)
            self._reliable[key] = None
            if key in self._held:
                self._best_effort.discard(self._held.pop(key)[1])
            age = self._newest.get(received.utterance, 0) - received.sent
            # It was given already, or what follows it was. (If far more: the sender's clock was
            # set back.)
            if key in self._unreliable or 0 < age < MAX_WAIT * 1e9:
                continue
            out.append(received)
        _limit(self._reliable)
        if out:
            self._pass_on(out)

    def _on_best_effort(self, messages: list[Received]) -> None:
        out = []
        for received in messages:
            key = (received.sent, received.number)
            sender = self._senders.identify("", received.number, received.sent * 1e-9, 0.0)
            if key in self._reliable:
                self._best_effort.discard(sender)
            elif sender in self._best_effort:
                self._note(received)
                out.append(received)
            else:
                self._held[key] = (received, sender, time.monotonic())
        if out:
            self._pass_on(out)

    def _note(self, received: Received) -> None:
        """A message is given that came by best effort alone."""
        self._unreliable[received.sent, received.number] = None
        self._newest[received.utterance] = received.sent
        _limit(self._unreliable)

    def _release(self) -> None:
        """Gives what has not come reliably by now: it will not, or too late."""
        if not self._held:
            return
        self.poll()  # this process may have stalled
        out, now = [], time.monotonic()
        for key, (received, sender, came) in list(self._held.items()):
            if now - came > HOLD or sender in self._best_effort:
                del self._held[key]
                self._best_effort.add(sender)
                self._note(received)
                out.append(replace(received, waited=received.waited + now - came))
        if out:
            self._pass_on(out)

    def get_publisher_count(self) -> int:
        """Of those that are received."""
        second = self._second.subscription.get_publisher_count() if self._second else 0
        return max(second, self.subscription.get_publisher_count())

    def close(self) -> None:
        """Destroys the subscriptions."""
        self._node.destroy_timer(self._timer)
        for subscription in (self, self._second):
            if subscription is not None:
                self._node.destroy_subscription(subscription.subscription)


_Key = tuple[int, "int | None"]  # when a message was sent, ns, and its number


def _limit(keys: OrderedDict[_Key, None]) -> None:
    """Drops the oldest keys."""
    while len(keys) > 2 * AUDIO_DEPTH:
        keys.popitem(last=False)
