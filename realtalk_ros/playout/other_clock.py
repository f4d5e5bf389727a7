# SPDX-License-Identifier: Apache-2.0
"""Detects that what comes is stamped by a machine whose clock differs from this one's."""

from __future__ import annotations

from realtalk_ros.playout.playout_delay import MAX_DELAY

MAX_EARLY = 10.0  # s before its time at which an expression comes at most
IN_A_ROW = 25  # a clock that was set just now puts some aside, too


class OtherClock:
    """Call `offset` for each expression."""

    def __init__(self) -> None:
        self._count = 0  # in a row that cannot be of this clock

    def offset(self, late: float) -> float:
        """How far the clock that stamps is behind, s, as one comes `late` s after its time; 0 if it
        need not differ."""
        self._count = self._count + 1 if not -MAX_EARLY <= late <= MAX_DELAY else 0
        return late if self._count >= IN_A_ROW else 0.0
