# SPDX-License-Identifier: Apache-2.0
"""Pairs the two messages of each interrupt, of which one may overtake the other."""

from __future__ import annotations

from collections import deque

MAX_APART = 1.0  # s by which the reset on one topic may be ahead of that on the other


class ResetPairs:
    """Every interrupt comes twice: with the audio, and with the expressions. Times are monotonic
    seconds."""

    def __init__(self) -> None:
        self._audio: deque[float] = deque(maxlen=64)  # those that came with the audio alone, so far
        self._expressions: deque[float] = deque(maxlen=64)  # with the expressions alone

    def on_audio(self, now: float) -> bool:
        """Whether it is the first of its pair."""
        return self._pair(self._audio, self._expressions, now)

    def on_expressions(self, now: float) -> None:
        self._pair(self._expressions, self._audio, now)

    def expressions_are_old(self, now: float) -> bool:
        """Whether the expressions that come were sent before an interrupt that came with audio."""
        return any(now - when < MAX_APART for when in self._audio)

    @staticmethod
    def _pair(these: deque[float], others: deque[float], now: float) -> bool:
        while others and now - others[0] >= MAX_APART:
            others.popleft()
        if others:
            others.popleft()
            return False
        these.append(now)
        return True
