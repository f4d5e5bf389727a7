# SPDX-License-Identifier: Apache-2.0
"""Detects that two nodes send expressions at once, such as expression_node and one of a user's own:
a face cannot follow both."""

from __future__ import annotations

from collections import deque

RETURNS = 5  # times that expressions go back to the utterance before the last one
WITHIN = 2.0  # s in which they lie


class MixedExpressions:
    """Call `update` for each expression."""

    def __init__(self) -> None:
        self._last = self._before = ""  # utterances
        self._returned_at: deque[float] = deque(maxlen=RETURNS)

    def update(self, utterance: str, now: float) -> bool:
        """Whether those of two utterances come in turns, now that one of `utterance` comes."""
        if utterance == self._last:
            return False
        returns = utterance == self._before
        self._before, self._last = self._last, utterance
        if not returns:
            return False
        self._returned_at.append(now)
        return len(self._returned_at) == RETURNS and now - self._returned_at[0] < WITHIN
