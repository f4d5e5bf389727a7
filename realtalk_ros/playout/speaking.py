"""Whether the face is seen to speak."""

from __future__ import annotations

import math


class SpeakingState:
    """Whether the face is seen to speak: up with the first sound, down 0.3 s after the last."""

    HOLD = 0.3  # s

    def __init__(self) -> None:
        self.state = False
        self._last = -math.inf

    def update(self, time: float, speech: float) -> bool:
        """Takes a shown frame's time, s, and speech probability. Returns if `state` changed."""
        if speech > 0.5:
            self._last = time
        state = 0 <= time - self._last <= self.HOLD
        changed, self.state = state != self.state, state
        return changed

    def cut(self, time: float) -> None:
        """An interrupt at `time`, s: down as soon as the mouth has closed."""
        self._last = min(self._last, time - self.HOLD + 0.15)

    def shift(self, seconds: float) -> None:
        """The clock jumped."""
        self._last += seconds
