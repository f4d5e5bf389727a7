# SPDX-License-Identifier: Apache-2.0
"""Whether the face is shown speaking."""

from __future__ import annotations

import math

HOLD = 0.3  # s after the last speech for which a face still speaks
# s that the mouth takes to close after an interrupt; what closes it is jitter_buffer.RELAX_TIME
CLOSING = 0.15


class SpeakingState:
    """Whether the face speaks: from the first frame of speech until HOLD after the last."""

    def __init__(self) -> None:
        self.state = False
        self._last = -math.inf  # time of the last frame with speech

    def update(self, time: float, speech: float) -> bool:
        """Takes a shown frame's time, s, and speech probability. Returns if `state` changed."""
        if speech > 0.5:
            self._last = time
        state = 0 <= time - self._last <= HOLD
        changed, self.state = state != self.state, state
        return changed

    def cut(self, time: float) -> None:
        """An interrupt at `time`, s: false as soon as the mouth has closed."""
        self._last = min(self._last, time - HOLD + CLOSING)

    def shift(self, seconds: float) -> None:
        """The clock jumped."""
        self._last += seconds
