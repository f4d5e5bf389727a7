"""Tells a clock that was set from one that runs."""

from __future__ import annotations

JUMP = 0.5  # s by which a clock must leave the steady one to have jumped
SIM_JUMP = 2.0  # s, the same ahead for simulated time, which may run fast


class ClockJumpDetector:
    """Tells a clock that was set from one that runs. Jumps of simulated time are those back, and
    those ahead of more than 2 s at once; other clocks are compared with a steady one."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def look(self, now: float, steady: float, simulated: bool = False) -> float:
        """Seconds by which the clock jumped since the last look; 0 if it did not."""
        last, self._last = self._last, (now, steady)
        if last is None:
            return 0.0
        gone, really = now - last[0], steady - last[1]
        jumped = gone < 0 or gone > SIM_JUMP if simulated else abs(gone - really) > JUMP
        # How far a simulated clock would have gone by itself is not known: as far as a steady one.
        return gone - really if jumped else 0.0
