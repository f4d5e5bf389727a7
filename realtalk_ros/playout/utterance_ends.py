# SPDX-License-Identifier: Apache-2.0
"""Which utterances are over, and how: so that each end is passed on once, and an interrupt names
all that it ends.

An utterance that was handed out whole is still heard for a while, as the face is shown later than
it is processed. One whose `last` did not come has paused: it may go on until another begins. Then
its end is passed on, and the `last` that its sender may still send is not.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from realtalk_ros.playout.turn import MAX_SILENCE, Turn

PAUSE = 10.0  # s for which an utterance may pause
REMEMBERED = 16  # utterances that were handed out
MAX_ENDED = 64  # utterances remembered that ended without a `last` of their own


@dataclass
class _HandedOut:
    """An utterance of which nothing waits any more."""

    utterance: str
    when: float  # it was found to have nothing more
    sound_ends: float
    closed: bool  # no more was expected


class UtteranceEnds:
    """Times are media time in seconds."""

    def __init__(self) -> None:
        self._handed_out: deque[_HandedOut] = deque(maxlen=REMEMBERED)
        self._paused: dict[str, float] = {}  # whose `last` did not come, and since when
        self._without_sound: list[str] = []  # whose end is to be passed on without sound
        self._without_last: dict[str, None] = {}  # that ended, though their own `last` did not come

    def begin(self, utterance: str) -> None:
        """Sound of `utterance` comes."""
        self._paused.pop(utterance, None)
        self._without_last.pop(utterance, None)

    def hand_out(self, turn: Turn, now: float) -> None:
        """All of `turn` was handed out."""
        self._handed_out.append(_HandedOut(turn.utterance, now, turn.end, turn.closed))
        if not turn.closed:
            self._paused[turn.utterance] = now
        elif not turn.ended:  # the utterance that replaced it cut its end off
            self._without_sound.append(turn.utterance)

    def end(self, utterance: str) -> None:
        """The `last` of `utterance` came without sound, and nothing of it waits."""
        if utterance in self._without_last:
            del self._without_last[utterance]
        else:
            self._paused[utterance] = -math.inf

    def end_paused(self) -> None:
        """Another utterance is played: those that paused before do not go on."""
        self._without_sound.extend(self._paused)
        self._forget_paused(list(self._paused))

    def end_long_paused(self, now: float) -> None:
        """Nothing is played: those that paused for too long do not go on."""
        over = [utterance for utterance, since in self._paused.items() if now - since > PAUSE]
        self._without_sound.extend(over)
        self._forget_paused(over)

    def _forget_paused(self, utterances: list[str]) -> None:
        for utterance in utterances:
            if math.isfinite(self._paused.pop(utterance)):
                self._without_last[utterance] = None
        while len(self._without_last) > MAX_ENDED:
            self._without_last.pop(next(iter(self._without_last)))

    def take(self) -> list[str]:
        """Those whose end is to be passed on without sound, each once."""
        taken, self._without_sound = self._without_sound, []
        return taken

    def still_heard(self, now: float) -> list[str]:
        """Those whose sound may not be over."""
        return [one.utterance for one in self._handed_out if one.sound_ends > now - MAX_SILENCE]

    def may_go_on(self, now: float) -> list[str]:
        """Those that paused so lately that they may go on, by their names if they have one."""
        paused = (one for one in self._handed_out if not one.closed and now - one.when < PAUSE)
        return [one.utterance for one in paused if one.utterance]

    def interrupt(self) -> None:
        """All have ended."""
        self._handed_out.clear()
        self._forget_paused(list(self._paused))

    def shift(self, seconds: float) -> None:
        """The clock jumped."""
        for one in self._handed_out:
            one.when += seconds
            one.sound_ends += seconds
        self._paused = {name: since + seconds for name, since in self._paused.items()}
