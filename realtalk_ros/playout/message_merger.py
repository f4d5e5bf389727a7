# SPDX-License-Identifier: Apache-2.0
"""Messages of one topic that come by two subscriptions, a reliable and a best-effort one: each is
given once. (Why there are two: nodes/subscriptions.py.)

A message is known again by its number among its publisher's and by when it was sent. What comes by
best effort waits for its reliable twin, unless its sender has shown that there is none, or that it
comes too late.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from realtalk_ros.playout.sender_identity import MAX_LOSS, SenderIdentifier

HOLD = 0.06  # s for which a best-effort message waits for its reliable twin
MAX_WAIT = 30.0  # s, a longer wait is a clock that was set
MAX_KEYS = 10_000  # messages remembered: twice as many as may wait in a subscription
MAX_NAMES = 64  # utterances, and senders, remembered


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

    @property
    def key(self) -> Key:
        """By which it is known again."""
        return self.sent, self.number


Key = tuple[int, "int | None"]


class MessageMerger:
    """Call `reliable` and `best_effort` with what comes, and `overdue` often: they return what is
    to be given now. Times are of the steady clock, s."""

    def __init__(self) -> None:
        self._reliable: OrderedDict[Key, None] = OrderedDict()  # what came reliably
        self._unreliable: OrderedDict[Key, None] = OrderedDict()  # given by best effort alone
        self._held: OrderedDict[Key, tuple[Received, str, float]] = OrderedDict()  # sender, since
        self._senders = SenderIdentifier()  # of what comes by best effort
        # Those that do not send reliably, or not in time.
        self._best_effort: OrderedDict[str, None] = OrderedDict()
        # utterance -> the last message that was given by best effort alone
        self._newest: OrderedDict[str, Key] = OrderedDict()

    @property
    def holds(self) -> bool:
        """Whether messages wait for their twins."""
        return bool(self._held)

    def forget_order(self) -> None:
        """What comes reliably from now on may be older than what was given."""
        self._newest.clear()

    def forget_senders(self) -> None:
        """The best-effort subscription has ended."""
        self._best_effort.clear()

    def reliable(self, messages: list[Received]) -> list[Received]:
        out = []
        for received in messages:
            key = received.key
            self._reliable[key] = None
            self._held.pop(key, None)
            newest = self._newest.get(received.utterance)
            if key in self._unreliable or (newest is not None and _is_older(key, newest)):
                continue  # it was given already, or what follows it was
            out.append(received)
        _limit(self._reliable, MAX_KEYS)
        return out

    def best_effort(self, messages: list[Received], now: float) -> list[Received]:
        out = []
        for received in messages:
            key = received.key
            sender = self._senders.identify("", received.number, received.sent * 1e-9, 0.0)
            if key in self._reliable:
                self._best_effort.pop(sender, None)
            elif sender in self._best_effort:
                self._note(received)
                out.append(received)
            else:
                self._held[key] = (received, sender, now)
        return out

    def overdue(self, now: float) -> list[Received]:
        """What has not come reliably by now: it will not, or too late."""
        out = []
        for key, (received, sender, since) in list(self._held.items()):
            if now - since > HOLD or sender in self._best_effort:
                del self._held[key]
                self._best_effort[sender] = None
                _limit(self._best_effort, MAX_NAMES)
                self._note(received)
                out.append(replace(received, waited=received.waited + now - since))
        return out

    def _note(self, received: Received) -> None:
        """A message is given that came by best effort alone."""
        self._unreliable[received.key] = None
        self._newest[received.utterance] = received.key
        self._newest.move_to_end(received.utterance)
        _limit(self._unreliable, MAX_KEYS)
        _limit(self._newest, MAX_NAMES)


def _is_older(key: Key, other: Key) -> bool:
    """Whether a message was sent before another one of its utterance; by their numbers where the
    sender's clock was set between them."""
    (sent, number), (newest, last) = key, other
    if abs(newest - sent) < MAX_WAIT * 1e9:
        return newest > sent
    return number is not None and last is not None and 0 < last - number <= MAX_LOSS


def _limit(remembered: OrderedDict[Any, Any], most: int) -> None:
    """Forgets the oldest."""
    while len(remembered) > most:
        remembered.popitem(last=False)
