"""Whether a node whose process ended is started again, and how soon. Knows no ROS, no launch."""

from __future__ import annotations

import signal

FIRST, LONGEST = 0.5, 30.0  # s before the first new start; it doubles up to the longest
WELL = 20.0  # s for which a node must run to be forgiven its earlier deaths
MISCONFIGURED = 2  # exit code of a node that cannot run with what it was given
# A node that was told to end: 0 where it had time to, else as the shell and subprocess tell it.
TOLD = {0} | {code for n in (signal.SIGINT, signal.SIGTERM) for code in (-n, 128 + n)}


class Respawn:
    """What is known of one node's deaths."""

    def __init__(self) -> None:
        self._wait = FIRST

    def after(self, code: int, ran: float) -> float | None:
        """Seconds until the next start of a process that ended with exit code `code` after it ran
        for `ran` seconds; None: it is not started again."""
        if code in TOLD or code == MISCONFIGURED:
            return None
        if ran >= WELL:
            self._wait = FIRST
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST)
        return wait
