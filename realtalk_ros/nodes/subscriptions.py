"""Subscriptions that give all messages that wait at once, and how long each has waited; sound from
any sender, reliable or best effort."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from realtalk_ros.nodes.message_info import KNOWN, with_info
from realtalk_ros.playout.sender_identity import SenderIdentifier

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

AT_ONCE = 2000  # messages taken in one go
LONGEST = 30.0  # s, a longer wait is a clock that was set
LOOK_BACK = 10.0  # s over which the quickest message tells how two clocks differ
HOLD = 0.06  # s in which what came by best effort comes reliably, too, if its sender is reliable
LOOK = 0.05  # s between two looks at whether this process stood still, and at what is held
STOOD = 0.4  # s without a look that make it so
REOPENED = 6.0  # s for which the second subscription stays open then
AUDIO_DEPTH = 5000  # messages of sound that may wait: a minute and a half in pieces of 20 ms


@dataclass(frozen=True)
class Received:
    """A message, how long it has waited to be taken, s, its number among its publisher's, and when
    it was sent, ns by the sender's clock."""

    message: Any
    waited: float = 0.0
    number: int | None = None
    sent: int = 0


class BatchedSubscription:
    """Calls `callback` with a list of Letters, in their order, whenever there are any.

    Taking one message costs the executor up to a millisecond, and a node that stood still for some
    seconds finds hundreds: so all are taken in one go.
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
    ):
        self._callback = callback
        self._trips: deque[tuple[float, float]] = deque()
        take = with_info(self._on_message)
        options: dict[str, Any] = {"qos_overriding_options": overridable}
        try:
            self.subscription = node.create_subscription(
                kind, topic, take, qos, event_callbacks=events, **options
            )
        except UnsupportedEventTypeError:  # this ROS middleware does not tell of such publishers
            self.subscription = node.create_subscription(kind, topic, take, qos, **options)

    def poll(self) -> None:
        """Takes what waits now."""
        self._take([])

    def _on_message(self, message: Any, info: dict[str, Any]) -> None:
        self._take([(message, info)])

    def _take(self, taken: list[tuple[Any, dict[str, Any]]]) -> None:
        handle = self.subscription.handle
        with handle:
            while len(taken) < AT_ONCE:
                more = handle.take_message(self.subscription.msg_type, False)
                if more is None:
                    break
                taken.append(more)
        if taken:
            self._callback(self._letters(taken))

    def _letters(self, taken: list[tuple[Any, dict[str, Any]]]) -> list[Received]:
        now = time.time_ns()
        sent = [info.get("source_timestamp") or now for _, info in taken]
        here = [(now - (info.get("received_timestamp") or now)) * 1e-9 for _, info in taken]
        trips = [(now - when) * 1e-9 for when in sent]
        # Clocks of two machines differ: only what is more than the quickest trip was waiting.
        while self._trips and not 0 <= now * 1e-9 - self._trips[0][0] < LOOK_BACK:
            self._trips.popleft()
        self._trips.append((now * 1e-9, min(trips)))
        quickest = min(trip for _, trip in self._trips)
        return [
            Received(message, _sane(max(trip - quickest, waited)), _number(info), when)
            for (message, info), trip, waited, when in zip(taken, trips, here, sent, strict=True)
        ]


def _sane(seconds: float) -> float:
    return seconds if 0 < seconds < LONGEST else 0.0


def _number(info: dict[str, Any]) -> int | None:
    number = info.get("publication_sequence_number")
    return number if isinstance(number, int) and number < 2**63 else None


class AudioSubscription(BatchedSubscription):
    """Sound from whoever sends it.

    A whole utterance at once comes through only reliably, but a reliable subscription does not even
    connect to a best-effort publisher, such as a microphone's. So this one is reliable, and where a
    best-effort publisher turns up it is joined by a second, best-effort one. That one hears the
    reliable publishers, too: their messages are known by their number and time of sending.

    After this process stood still, a reliable subscription waits up to 3 s for what it has missed
    before it gives anything newer. The best-effort one does not: it is opened for a while.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[list[Received]], None],
        overridable: QoSOverridingOptions | None = None,
    ):
        self._node, self._kind, self._topic, self._heard = node, kind, topic, callback
        self._second: BatchedSubscription | None = None
        self._close_at = math.inf  # when the second one is not needed any more
        self._seen: OrderedDict[_Key, None] = OrderedDict()  # what came reliably
        self._given: OrderedDict[_Key, None] = OrderedDict()  # what came by best effort alone
        self._held: OrderedDict[_Key, tuple[Received, str, float]] = OrderedDict()
        self._senders = SenderIdentifier()  # of what comes by best effort
        self._alone: set[str] = set()  # those of them that do not send reliably, or not in time
        self._newest: dict[str, int] = {}  # utterance -> when the last of what was given was sent
        self._looked = time.monotonic()
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible)
        qos = QoSProfile(depth=AUDIO_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        # On Humble what comes twice cannot be told: there is one subscription at a time.
        take = self._on_reliable if KNOWN else callback
        super().__init__(node, kind, topic, take, qos, overridable, events)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(LOOK, self._look, clock=steady)

    def _on_incompatible(self, event: Any) -> None:
        """A publisher has come that this subscription cannot hear."""
        self._close_at = math.inf
        self._open()
        if not KNOWN:
            self._node.destroy_subscription(self.subscription)

    def _open(self) -> None:
        if self._second is None:
            qos = QoSProfile(depth=AUDIO_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
            take = self._on_best_effort if KNOWN else self._heard
            self._second = BatchedSubscription(self._node, self._kind, self._topic, take, qos)

    def _look(self) -> None:
        now = time.monotonic()
        stood, self._looked = now - self._looked > STOOD, now
        if stood and KNOWN:
            self._newest.clear()
            if self._second is None or self._close_at < math.inf:
                self._close_at = now + REOPENED
                self._open()
        if now > self._close_at and self._second is not None:
            self._node.destroy_subscription(self._second.subscription)
            self._second, self._close_at = None, math.inf
            self._alone.clear()
        self._release()

    def _on_reliable(self, letters: list[Received]) -> None:
        out = []
        for letter in letters:
            key = (letter.sent, letter.number)
            self._seen[key] = None
            if key in self._held:
                self._alone.discard(self._held.pop(key)[1])
            if key in self._given or letter.sent < self._newest.get(_utterance(letter), 0):
                continue  # it was given already, or what follows it was
            out.append(letter)
        _forget(self._seen)
        if out:
            self._heard(out)

    def _on_best_effort(self, letters: list[Received]) -> None:
        out = []
        for letter in letters:
            key = (letter.sent, letter.number)
            sender = self._senders.identify("", letter.number, letter.sent * 1e-9, 0.0)
            if key in self._seen:
                self._alone.discard(sender)
            elif sender in self._alone:
                self._note(letter)
                out.append(letter)
            else:
                self._held[key] = (letter, sender, time.monotonic())
        if out:
            self._heard(out)

    def _note(self, letter: Received) -> None:
        self._given[letter.sent, letter.number] = None
        self._newest[_utterance(letter)] = letter.sent
        _forget(self._given)

    def _release(self) -> None:
        """What has not come reliably by now does not, or too late."""
        if not self._held:
            return
        self.poll()  # this process may have stood still
        out, now = [], time.monotonic()
        for key, (letter, sender, came) in list(self._held.items()):
            if now - came > HOLD or sender in self._alone:
                del self._held[key]
                self._alone.add(sender)
                self._note(letter)
                out.append(replace(letter, waited=letter.waited + now - came))
        if out:
            self._heard(out)

    def get_publisher_count(self) -> int:
        """Of those that are heard."""
        second = self._second.subscription.get_publisher_count() if self._second else 0
        return max(second, self.subscription.get_publisher_count())

    def close(self) -> None:
        """Ends listening."""
        self._node.destroy_timer(self._timer)
        for inbox in (self, self._second):
            if inbox is not None:
                self._node.destroy_subscription(inbox.subscription)


_Key = tuple[int, "int | None"]  # when a message was sent, ns, and its number


def _forget(keys: OrderedDict[_Key, None]) -> None:
    while len(keys) > 2 * AUDIO_DEPTH:
        keys.popitem(last=False)


def _utterance(letter: Received) -> str:
    return getattr(letter.message, "utterance_id", "")
