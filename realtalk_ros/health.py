"""What a face does on a machine that cannot keep up: fewer frames, then smaller ones. Never later
ones: sync comes before smoothness."""

from __future__ import annotations

from dataclasses import dataclass

# What fps and size are divided by, from the best to the least.
LEVELS = ((1, 1), (2, 1), (2, 2), (4, 2))
OVERLOAD = 1.0  # load (share of a frame's time that it takes) from which frames must be missed
MISSED = 0.25  # share of frames missed from which the quality goes down
ROOM = 0.7  # load that the next better level may have
DOWN_AFTER = 3  # s of overload
UP_AFTER = 10  # s of room; doubled whenever a climb had to be taken back, up to
UP_AT_MOST = 320


@dataclass
class Ladder:
    """Call `update` once a second."""

    level: int = 0
    _bad: int = 0
    _good: int = 0
    _patience: int = UP_AFTER
    _since_climb: int = UP_AT_MOST

    @property
    def divisors(self) -> tuple[int, int]:
        """What to divide fps and size by."""
        return LEVELS[self.level]

    def update(self, load: float, missed: float) -> bool:
        """Takes the last second's load and share of missed frames. True if the level changed."""
        self._since_climb += 1
        overloaded = load > OVERLOAD or missed > MISSED
        self._bad = self._bad + 1 if overloaded else 0
        if self._bad >= DOWN_AFTER and self.level < len(LEVELS) - 1:
            if self._since_climb < 2 * UP_AFTER:
                self._patience = min(UP_AT_MOST, 2 * self._patience)
            self.level, self._bad, self._good = self.level + 1, 0, 0
            return True
        if self.level == 0:
            return False
        (fps, size), (better_fps, better_size) = LEVELS[self.level], LEVELS[self.level - 1]
        there = load * (fps / better_fps) * (size / better_size)
        self._good = self._good + 1 if there < ROOM and missed < MISSED / 2 else 0
        if self._good >= self._patience:
            self.level, self._good, self._since_climb = self.level - 1, 0, 0
            return True
        return False
