# SPDX-License-Identifier: Apache-2.0
"""What a face does on a machine that cannot keep up: fewer frames, then smaller ones, never later
ones. Sync comes before smoothness."""

from __future__ import annotations

import os
from dataclasses import dataclass

from realtalk_ros import processors

# What fps and size are divided by, from the best to the least.
LEVELS = ((1, 1), (1.5, 1), (2, 1), (2, 2), (4, 2))
SPEEDUP = 1.35  # of an image of half the size: the networks' crop stays the same
OVERLOAD = 1.0  # load, time of a frame in the busier thread / its period: above it some are missed
MISSED = 0.25  # share of frames missed from which the quality goes down
# Frames are missed for another reason than the processor if the load is below LIMITED and the
# processor is idle for more than the share IDLE of the time.
LIMITED = 0.6
IDLE = 0.3
ROOM = 0.85  # load of a better level that leaves room to spare
DOWN_AFTER = 3  # s of overload
# Seconds for which a better level must have had room. Doubled each time that going up was wrong, to
# UP_AT_MOST where the load would be below ROOM, else to DOUBTFUL_AT_MOST.
UP_AFTER = 4
UP_AT_MOST = 8
DOUBTFUL_AT_MOST = 120
TAKEN_BACK = 20  # s after the quality went up, within which going down again takes that back


@dataclass
class QualityController:
    """Call `update` once a second."""

    level: int = 0
    _bad_seconds: int = 0
    _good_seconds: int = 0
    _up_after: int = UP_AFTER
    _since_up: int = TAKEN_BACK

    @property
    def divisors(self) -> tuple[float, int]:
        """What to divide fps and size by."""
        return LEVELS[self.level]

    def update(self, load: float, missed: float, idle: float = 0.0, speaking: float = 0.0) -> bool:
        """Takes the last second's load, share of missed frames, share of the processor's time that
        was idle, and the load that it would have been if the face had spoken, where that is more.
        True if the level changed."""
        self._since_up += 1
        limited = load > LIMITED or idle < IDLE
        overloaded = load > OVERLOAD or (missed > MISSED and limited)
        self._bad_seconds = self._bad_seconds + 1 if overloaded else 0
        if self._bad_seconds >= DOWN_AFTER and self.level < len(LEVELS) - 1:
            self._go_down()
            return True
        if self.level:
            return self._goes_up(max(load, speaking), missed)
        if self._since_up == TAKEN_BACK:
            self._up_after = UP_AFTER  # going up was right
        return False

    def _go_down(self) -> None:
        if self._since_up < TAKEN_BACK:
            self._up_after = min(DOUBTFUL_AT_MOST, 2 * self._up_after)
        self.level, self._bad_seconds, self._good_seconds = self.level + 1, 0, 0

    def _goes_up(self, load: float, missed: float) -> bool:
        """Goes to the best level that has room, if one has had it for long enough."""
        loads = [self._load_at(level, load) for level in range(self.level)]
        good = loads[-1] < OVERLOAD and missed < MISSED / 2
        self._good_seconds = self._good_seconds + 1 if good else 0
        best = next((n for n, expected in enumerate(loads) if expected < ROOM), None)
        up_after = self._up_after if best is None else min(self._up_after, UP_AT_MOST)
        if self._good_seconds < up_after:
            return False
        self.level = self.level - 1 if best is None else best
        self._good_seconds, self._since_up = 0, 0
        return True

    def _load_at(self, level: int, load: float) -> float:
        """The load that a better level would have."""
        (fps, size), (better_fps, better_size) = LEVELS[self.level], LEVELS[level]
        return load * fps / better_fps * (SPEEDUP if size > better_size else 1.0)


class ProcessorIdleness:
    """How much of this process's cores was idle (Linux)."""

    def __init__(self) -> None:
        self._before = self._times()

    def idle(self) -> float:
        """Share of the time since the last call, 0 to 1; 0 where that is not known."""
        (idle, total), before = self._times(), self._before
        self._before = idle, total
        elapsed = total - before[1]
        return min(1.0, max(0.0, (idle - before[0]) / elapsed)) if elapsed > 0 else 0.0

    @staticmethod
    def _times() -> tuple[int, int]:
        """(idle, all) ticks so far of the cores that this process may use."""
        if processors.quota() is not None:
            return 0, 0  # with a part of a core: how idle that is, is not known
        try:
            with open("/proc/stat") as file:
                rows = {row[0]: row[1:] for row in map(str.split, file) if row[:1]}
            cores = [rows[f"cpu{n}"] for n in os.sched_getaffinity(0)]
        except (OSError, KeyError, AttributeError):
            return 0, 0
        ticks = [[int(v) for v in core[:8]] for core in cores]
        return sum(t[3] + t[4] for t in ticks), sum(map(sum, ticks))
