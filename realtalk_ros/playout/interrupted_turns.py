# SPDX-License-Identifier: Apache-2.0
"""Utterances that were interrupted, and whether a chunk that comes later is more of one.

A sender learns of an interrupt late or never, and may reuse the utterance id for its answer. So a
chunk under the id of an interrupted utterance is ignored only if it was sent within 80 ms of the
interrupt or continues what came before: its stamps, or, without stamps, its rhythm and waveform; or
if it says `last`, is as long as the time since the chunk before, and continues the waveform. An
answer may begin in the rhythm of what was interrupted: the first chunk must continue the waveform,
too. Once its sender has begun an utterance of another id, the answer has an id of its own: a
network that stalls must not bring the old speech back then.

How the mouth closes after an interrupt: jitter_buffer.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.playout.turn import REGULAR, Turn
from realtalk_ros.stream_types import Chunk

IN_FLIGHT = 0.08  # s after an interrupt within which chunks were sent before their sender knew
RESUMED = 0.3  # s that a sender whose stamps continue may pause, and is still in that utterance
LIVE_CHUNK = 0.5  # s, a longer first chunk may be a sentence, and an answer come when it is over
STALLED = 2.0  # s that it may pause once it has begun another utterance, and is still in that one
FORGET = 30.0  # s after which the rest of an interrupted utterance is accepted in any case
MAX_IGNORED = 64  # interrupted utterances remembered
BURST = 0.06  # s between two chunks, less than a sender takes that has learned of the interrupt
RHYTHM = (0.8, 1.2)  # of the usual time between two chunks: what comes within keeps the rhythm
JITTER = 0.02  # s later than that
JOINT = 160  # samples before and after a joint by which a waveform is seen to continue


@dataclass
class _InterruptedTurn:
    """An utterance that was interrupted, and what more of it would look like."""

    interrupted_at: float
    last_sent: float  # when its last chunk was sent
    next_stamp: float | None  # with which it would continue
    regular: bool  # whether its stamps count samples
    shortest: float  # s between its last chunks
    longest: float
    last_pcm: np.ndarray  # of its last chunk, its end
    closed: bool
    followed: bool = False  # whether a chunk that was sent after IN_FLIGHT has continued it
    answered: bool = False  # whether its sender has begun an utterance of another id since

    @classmethod
    def of(cls, turn: Turn, now: float) -> _InterruptedTurn:
        # After its first chunk, a sender in real time sends again when that is over.
        live = turn.is_fragment and turn.received <= LIVE_CHUNK
        intervals = turn.intervals or [turn.received if live else 0.0]
        return cls(
            interrupted_at=now,
            last_sent=turn.last_sent,
            next_stamp=turn.next_stamp,
            regular=turn.regular,
            shortest=min(intervals),
            longest=max(intervals),
            last_pcm=_end(turn.last_pcm),
            closed=turn.closed,
        )

    def continues_with(self, chunk: Chunk, sent: float) -> bool:
        """Whether `chunk` is more of it, not something new under the same name."""
        if sent <= self.interrupted_at + IN_FLIGHT:
            return True
        if self.closed or sent > self.interrupted_at + FORGET:
            return False
        pause = sent - self.last_sent
        if self.answered and pause <= STALLED:
            return True
        # What is left of its sound at its end may be less than a chunk: it is sent when it is over,
        # and may be stamped by that time.
        soonest, latest = RHYTHM
        in_time = soonest * chunk.seconds < pause <= latest * chunk.seconds + JITTER
        rest = chunk.last and chunk.seconds < self.longest and in_time
        if self.next_stamp is not None and chunk.start is not None and self.regular:
            off = abs(chunk.start - self.next_stamp)
            if off <= 4 * REGULAR and pause <= max(RESUMED, 3 * self.longest):
                return self.followed or is_continuous(self.last_pcm, chunk.pcm)
            if not rest:
                return False
        if pause > max(BURST, latest * self.longest + JITTER):
            return False
        in_rhythm = rest or pause > soonest * self.shortest
        return pause < BURST or (in_rhythm and is_continuous(self.last_pcm, chunk.pcm))


class InterruptedTurns:
    """The utterances of which nothing more is to be played."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], _InterruptedTurn] = {}  # by utterance and sender

    def add(self, turn: Turn, now: float) -> None:
        """`turn` was interrupted at `now`, s."""
        key = turn.utterance, turn.sender
        self._turns.pop(key, None)
        self._turns[key] = _InterruptedTurn.of(turn, now)
        while len(self._turns) > MAX_IGNORED:
            self._turns.pop(next(iter(self._turns)))

    def remove(self, utterance: str, sender: str) -> None:
        """Chunks of `utterance` are accepted again."""
        self._turns.pop((utterance, sender), None)

    def begin(self, utterance: str, sender: str) -> None:
        """`sender` begins a new utterance. (Another sender may use one id for all that it says, and
        goes on under it.)"""
        for (other, name), turn in self._turns.items():
            turn.answered = turn.answered or (name == sender and other != utterance)

    def ignores(self, chunk: Chunk, sent: float, sender: str) -> bool:
        """Whether a chunk belongs to what was interrupted, and so is not to be played."""
        key = chunk.utterance, sender
        turn = self._turns.get(key)
        if turn is None:
            return False
        # An answer does not begin with its end.
        more = not len(chunk.pcm) or turn.continues_with(chunk, sent)
        if chunk.last or not more:
            del self._turns[key]
            return more
        turn.followed = turn.followed or sent > turn.interrupted_at + IN_FLIGHT
        turn.last_sent = sent
        turn.last_pcm = _end(chunk.pcm) if len(chunk.pcm) else turn.last_pcm
        if chunk.start is not None:
            turn.next_stamp = chunk.start + chunk.seconds
        return True

    def shift(self, seconds: float) -> None:
        """The clock jumped."""
        for turn in self._turns.values():
            turn.interrupted_at += seconds
            turn.last_sent += seconds


def _end(pcm: np.ndarray) -> np.ndarray:
    """What is to be remembered of a chunk, which may be a minute long, as a copy."""
    return pcm[-JOINT:].copy()


def is_continuous(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether `after` continues the waveform of `before` (both mono), rather than jumping."""
    if not len(before) or not len(after):
        return True
    steps = np.abs(np.diff(np.concatenate([before[-JOINT:], after[:JOINT]])))
    joint = min(JOINT, len(before)) - 1
    others = np.delete(steps, joint)
    return bool(steps[joint] <= 1e-3 + 4 * np.sqrt((others**2).mean())) if len(others) else True
