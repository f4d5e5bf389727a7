# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that give all waiting messages at once, and how long each has waited; audio from
any sender, reliable or best effort."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy._rclpy_pybind11 import UnsupportedEventTypeError
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from realtalk_ros.nodes.message_info import KNOWN, with_info
from realtalk_ros.nodes.qos import SubscriptionEventCallbacks, overridable
from realtalk_ros.playout.clock import UNDER_WAY, ClockJumpDetector
from realtalk_ros.playout.message_merger import MAX_WAIT, MessageMerger, Received

MAX_BATCH = 2000  # messages taken at once
TRANSIT_WINDOW = 10.0  # s over which the quickest message shows how two clocks differ
CHECK_EVERY = 0.1  # s between two checks for a stall, and for messages that are held
STALL = 0.4  # s without a check that are a stall of this process
REOPENED = 6.0  # s for which the second subscription stays open after a stall
AUDIO_DEPTH = 5000  # messages of audio that may wait: a minute and a half in chunks of 20 ms


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
        *,
        user_may_override: bool = True,
        events: SubscriptionEventCallbacks | None = None,
    ) -> None:
        self._callback = callback
        self._transits: deque[tuple[float, float]] = deque()  # when, s under way by the two clocks
        self._clock_jumps, self._clock_set_at = ClockJumpDetector(), -math.inf  # the latter steady
        on_message = with_info(self._on_message)
        options: dict[str, Any] = {}
        if user_may_override:
            options["qos_overriding_options"] = overridable()
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
        now, steady = time.time_ns(), time.monotonic()
        if self._clock_jumps.update(now * 1e-9, steady):
            self._transits.clear()
            self._clock_set_at = steady
        sent = [info.get("source_timestamp") or now for _, info in taken]
        queued = [(now - (info.get("received_timestamp") or now)) * 1e-9 for _, info in taken]
        if steady - self._clock_set_at < UNDER_WAY:  # of what was sent before, nothing is known
            return [
                Received(message, 0.0, _number(info), when)
                for (message, info), when in zip(taken, sent, strict=True)
            ]
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
    reliable publishers' messages, too: a MessageMerger gives each once.

    After this process stalled, a reliable subscription waits up to 3 s for what it has missed
    before it gives anything newer. The best-effort one does not: it is opened for a while.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[list[Received]], None],
    ) -> None:
        self._node, self._kind, self._topic, self._give = node, kind, topic, callback
        self._second: BatchedSubscription | None = None
        self._close_at = math.inf  # when the second one is not needed any more
        self._merger = MessageMerger()
        self._last_check = time.monotonic()
        events = SubscriptionEventCallbacks(
            incompatible_qos=self._on_incompatible, use_default_callbacks=False
        )
        qos = QoSProfile(depth=AUDIO_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        # On Humble messages that come twice are not recognised: one subscription at a time.
        on_messages = self._on_reliable if KNOWN else callback
        super().__init__(node, kind, topic, on_messages, qos, events=events)
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
            on_messages = self._on_best_effort if KNOWN else self._give
            self._second = BatchedSubscription(
                self._node, self._kind, self._topic, on_messages, qos, user_may_override=False
            )

    def _check(self) -> None:
        now = time.monotonic()
        stalled, self._last_check = now - self._last_check > STALL, now
        if stalled and KNOWN:
            self._merger.forget_order()
            if self._second is None or self._close_at < math.inf:
                self._close_at = now + REOPENED
                self._open()
        if now > self._close_at and self._second is not None:
            self._node.destroy_subscription(self._second.subscription)
            self._second, self._close_at = None, math.inf
            self._merger.forget_senders()
        if self._merger.holds:
            self.poll()  # what comes reliably may wait here, if this process stalled
            self._pass_on(self._merger.overdue(time.monotonic()))

    def _on_reliable(self, messages: list[Received]) -> None:
        self._pass_on(self._merger.reliable(messages))

    def _on_best_effort(self, messages: list[Received]) -> None:
        self._pass_on(self._merger.best_effort(messages, time.monotonic()))

    def _pass_on(self, messages: list[Received]) -> None:
        if messages:
            self._give(messages)

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
