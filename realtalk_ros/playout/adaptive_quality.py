"""What a face does on a machine that cannot keep up: fewer frames, then smaller ones. Never later
ones: sync comes before smoothness."""

from __future__ import annotations

import os
from dataclasses import dataclass

# What fps and size are divided by, from the best to the least.
LEVELS = ((1, 1), (2, 1), (2, 2), (4, 2))
SMALLER = 1.35  # by which a picture of half the size is rendered faster: networks see one size
OVERLOAD = 1.0  # load (share of a frame's time that it takes) from which frames must be missed
MISSED = 0.25  # share of frames missed from which the quality goes down
LIMITED = 0.6  # load, and
IDLE = 0.3  # share of the processor's time that is idle, beyond which misses have another cause
ROOM = 0.85  # load that a better level has with room to spare
DOWN_AFTER = 3  # s of overload
UP_AFTER = 4  # s of room; doubled whenever a climb had to be taken back, up to
UP_AT_MOST = 8  # s where there is room to spare, or
DOUBTFUL_AT_MOST = 120  # s where the better level may just be too much
TAKEN_BACK = 20  # s after a climb, in which going down again takes it back


@dataclass
class QualityController:
    """Call `update` once a second."""

    level: int = 0
    _bad: int = 0
    _good: int = 0
    _patience: int = UP_AFTER
    _since_climb: int = TAKEN_BACK

    @property
    def divisors(self) -> tuple[int, int]:
        """What to divide fps and size by."""
        return LEVELS[self.level]

    def update(self, load: float, missed: float, idle: float = 0.0) -> bool:
        """Takes the last second's load, share of missed frames, and share of the processor's time
        that was idle. True if the level changed."""
        self._since_climb += 1
        limited = load > LIMITED or idle < IDLE
        overloaded = load > OVERLOAD or (missed > MISSED and limited)
        self._bad = self._bad + 1 if overloaded else 0
        if self._bad >= DOWN_AFTER and self.level < len(LEVELS) - 1:
            if self._since_climb < TAKEN_BACK:
                self._patience = min(DOUBTFUL_AT_MOST, 2 * self._patience)
            self.level, self._bad, self._good = self.level + 1, 0, 0
            return True
        if self.level == 0:
            if self._since_climb == TAKEN_BACK:
                self._patience = UP_AFTER  # that climb was right
            return False
        there = [self._load_at(level, load) for level in range(self.level)]
        self._good = self._good + 1 if there[-1] < OVERLOAD and missed < MISSED / 2 else 0
        best = next((n for n, wanted in enumerate(there) if wanted < ROOM), None)
        patience = self._patience if best is None else min(self._patience, UP_AT_MOST)
        if self._good >= patience:
            self.level = self.level - 1 if best is None else best
            self._good, self._since_climb = 0, 0
            return True
        return False

    def _load_at(self, level: int, load: float) -> float:
        """The load that a better level would have."""
        (fps, size), (its_fps, its_size) = LEVELS[self.level], LEVELS[level]
        return load * fps / its_fps * (SMALLER if size > its_size else 1.0)


class ProcessorIdleness:
    """How much of this process's cores was idle (Linux)."""

    def __init__(self) -> None:
        self._before = self._times()

    def idle(self) -> float:
        """Share of the time since the last call, 0 to 1; 0 where that cannot be told."""
        (idle, total), before = self._times(), self._before
        self._before = idle, total
        gone = total - before[1]
        return min(1.0, max(0.0, (idle - before[0]) / gone)) if gone > 0 else 0.0

    @staticmethod
    def _times() -> tuple[int, int]:
        """(idle, all) ticks so far of the cores that this process may use."""
        try:
            with open("/sys/fs/cgroup/cpu.max") as file:
                if not file.read().startswith("max"):
                    return 0, 0  # a container has a part of a core, which nothing here tells
        except OSError:
            pass
        try:
            with open("/proc/stat") as file:
                rows = {row[0]: row[1:] for row in map(str.split, file) if row[:1]}
            cores = [rows[f"cpu{n}"] for n in os.sched_getaffinity(0)]
        except (OSError, KeyError, AttributeError):
            return 0, 0
        ticks = [[int(v) for v in core[:8]] for core in cores]
        return sum(t[3] + t[4] for t in ticks), sum(map(sum, ticks))
