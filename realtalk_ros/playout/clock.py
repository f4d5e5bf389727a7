# SPDX-License-Identifier: Apache-2.0
"""Detects that a clock was set."""

from __future__ import annotations

JUMP = 0.5  # s by which a clock must leave the steady one to have jumped
SIM_JUMP = 2.0  # s, the same ahead for simulated time, which may run fast
UNDER_WAY = 0.5  # s after this machine's clock was set in which comes what was sent before


class ClockJumpDetector:
    """Detects that a clock was set. Jumps of simulated time are those back, and
    those of more than 2 s ahead at once; other clocks are compared with a steady one."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def update(self, now: float, steady: float, simulated: bool = False) -> float:
        """Seconds by which the clock jumped since the last call; 0 if it did not."""
        last, self._last = self._last, (now, steady)
        if last is None:
            return 0.0
        elapsed, steadily = now - last[0], steady - last[1]
        # How far a simulated clock would have gone by itself is not known: as far as a steady one.
        jump = elapsed - steadily
        jumped = elapsed < 0 or elapsed > SIM_JUMP if simulated else abs(jump) > JUMP
        return jump if jumped else 0.0
