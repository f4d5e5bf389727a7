# SPDX-License-Identifier: Apache-2.0
"""Whether a node whose process ended is restarted, and how soon. Knows no ROS, no launch."""

from __future__ import annotations

import signal

FIRST, LONGEST = 0.5, 30.0  # s before the first restart; it doubles up to the longest
WELL = 20.0  # s for which a node must run for its earlier crashes to be forgotten
MISCONFIGURED = 2  # exit code of a node that cannot run with what it was given
# A node that was asked to end: 0 where it had time to, else as shell and subprocess report it.
REQUESTED = {0} | {code for n in (signal.SIGINT, signal.SIGTERM) for code in (-n, 128 + n)}


class Respawn:
    """The delays between the restarts of one node."""

    def __init__(self) -> None:
        self._wait = FIRST

    def after(self, code: int, ran: float) -> float | None:
        """Seconds until the restart of a process that ended with exit code `code` after it ran for
        `ran` seconds; None: it is not restarted."""
        if code in REQUESTED or code == MISCONFIGURED:
            return None
        if ran >= WELL:
            self._wait = FIRST
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST)
        return wait
