# SPDX-License-Identifier: Apache-2.0
"""Identifies senders. rclpy does not say who sent a message, but every publisher numbers its
messages: a number that does not continue is another publisher's.

turn_taking.py makes the audio of each sender that uses the same utterance id an utterance of its
own; interrupted_turns.py asks whether a sender has begun another utterance.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_LOSS = 256  # messages that one publisher may lose in a row and still be taken for the same
MAX_LOSS_BETWEEN = 8  # likewise between two utterances
MAX_IDS = 64  # utterance ids remembered
MAX_SENDERS = 8  # senders remembered of one id


@dataclass
class _Sender:
    name: str
    number: int  # of its last message
    due: float  # when its next message is expected, s


class SenderIdentifier:
    """Call `identify` for every message, in the order of arrival."""

    def __init__(self) -> None:
        self._senders: dict[str, list[_Sender]] = {}  # by utterance id
        self._count = 0

    def identify(self, utterance: str, number: int | None, sent: float, seconds: float) -> str:
        """A name for the sender of message `number` of its publisher (None: unknown), which belongs
        to `utterance` and was sent at `sent`, s.

        `seconds` of audio are in it: a sender in real time sends again after that time.
        """
        if number is None:
            return ""
        known = self._senders.pop(utterance, [])
        while len(self._senders) >= MAX_IDS:
            self._senders.pop(next(iter(self._senders)))
        self._senders[utterance] = known
        candidates = [s for s in known if 0 < number - s.number <= MAX_LOSS]
        if candidates:
            # The one whose number is nearest; of several, the one that was expected now.
            sender = min(candidates, key=lambda s: (number - s.number, abs(sent - s.due)))
            sender.number, sender.due = number, sent + seconds
            return sender.name
        known.append(_Sender(self._name(number, known), number, sent + seconds))
        del known[:-MAX_SENDERS]
        return known[-1].name

    def _name(self, number: int, known: list[_Sender]) -> str:
        """That of the publisher whose last message, of another utterance, was the one before
        `number`; or a new one."""
        taken = {sender.name for sender in known}
        for sender in (s for senders in self._senders.values() for s in senders):
            if 0 < number - sender.number <= MAX_LOSS_BETWEEN and sender.name not in taken:
                return sender.name
        self._count += 1
        return str(self._count)
