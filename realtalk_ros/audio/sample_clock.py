# SPDX-License-Identifier: Apache-2.0
"""The clock of a sender's samples, as of a sound card, against this machine's.

Sound without stamps goes on where the sound before it ended. Where it comes for hours without a
pause, as from a microphone that is always open, and its sample clock is fast by 100 ppm, it would
be played 0.36 s later each hour, without end. (One that is slow runs dry, and begins anew.)
"""

from __future__ import annotations

import math

WINDOW = 10.0  # s over which the chunk that is earliest shows how the clocks differ
# Share by which a sample clock may be fast; what grows faster is a sender's reserve.
FASTEST = 0.005
SPARE = 0.3  # s by which sound may come to lie ahead: live speech is shown some 0.2 s late anyway
CUT = 0.1  # s that are then left out at once


class SampleClock:
    """Watches one utterance. Times are in seconds."""

    def __init__(self) -> None:
        self._begin(-math.inf)

    def _begin(self, sent: float) -> None:
        self._ahead = 0.0  # by which the sound has come to lie ahead
        self._since = sent  # when the window began
        self._earliest = -math.inf  # the longest lead in this window
        self._before = math.inf  # that in the window before

    def to_skip(self, lead: float, sent: float) -> float:
        """How much [s] is to be left out of the sound that begins `lead` s after it was sent, at
        `sent`. Call it for every chunk; what it returns is taken for granted."""
        if abs(sent - self._since) > 2 * WINDOW:  # the first chunk, or the clock was set
            self._begin(sent)
        self._earliest = max(self._earliest, lead)
        if sent - self._since < WINDOW:
            return 0.0
        grown = self._earliest - self._before
        # A sender that builds up a reserve, or sends in bursts, is left alone.
        self._ahead = self._ahead + grown if abs(grown) < FASTEST * WINDOW else 0.0
        cut = CUT if self._ahead > SPARE else 0.0
        self._ahead -= cut
        self._before = self._earliest - cut
        self._since, self._earliest = sent, -math.inf
        return cut
