"""Tells senders apart that speak under one utterance id. rclpy does not say who sent a message, but
every publisher numbers its own messages: a number that does not go on is another publisher's."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LOSS = 256  # messages that one publisher may lose in a row and still be taken for the same
MAX_IDS = 64  # utterance ids remembered


@dataclass
class _Sender:
    name: str
    number: int  # of its last message
    due: float  # when its next message is expected, s


class Senders:
    """Call `name` for every message, in the order of their coming."""

    def __init__(self) -> None:
        self._of: dict[str, list[_Sender]] = {}
        self._count = 0

    def name(self, utterance: str, number: int | None, sent: float, seconds: float) -> str:
        """A name for who sent message `number` of his (None: unknown) of `utterance` at `sent`, s.

        `seconds` of sound are in it: who speaks as he goes sends again after that time.
        """
        if number is None:
            return ""
        known = self._of.pop(utterance, [])
        while len(self._of) >= MAX_IDS:
            self._of.pop(next(iter(self._of)))
        self._of[utterance] = known
        fits = [s for s in known if 0 < number - s.number <= MAX_LOSS]
        if fits:
            nearest = min(number - s.number for s in fits)
            sender = min(
                (s for s in fits if number - s.number == nearest), key=lambda s: abs(sent - s.due)
            )
            sender.number, sender.due = number, sent + seconds
            return sender.name
        self._count += 1
        known.append(_Sender(str(self._count), number, sent + seconds))
        del known[:-8]
        return known[-1].name
