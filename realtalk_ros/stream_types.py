# SPDX-License-Identifier: Apache-2.0
"""What passes between the stages: pieces of speech, and expressions with their times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

STAMP_TOLERANCE = 0.06  # s, a stamp this far from the sample count is jitter, not a gap
LOST_CHUNK_GAP = 0.5  # s, a shorter gap is a lost chunk and is played as silence


@dataclass(frozen=True)
class Chunk:
    """A piece of speech: `pcm` (n,) float32 mono in [-1, 1]; `start`, s, when its first sample is
    played, or None to append it to the chunk before (or, at the beginning, to start now)."""

    pcm: np.ndarray
    sample_rate: int
    start: float | None = None
    utterance: str = ""
    last: bool = False

    @property
    def seconds(self) -> float:
        return len(self.pcm) / self.sample_rate

    def scheduled(self, start: float) -> ScheduledChunk:
        """The same chunk, played at `start`, s."""
        return ScheduledChunk(self.pcm, self.sample_rate, start, self.utterance, self.last)


@dataclass(frozen=True)
class ScheduledChunk(Chunk):
    """A chunk whose place on the timeline is known."""

    start: float = field()  # without the default of Chunk's

    def moved(self, seconds: float) -> ScheduledChunk:
        """The same chunk, played `seconds` later."""
        return replace(self, start=self.start + seconds)


@dataclass(frozen=True)
class TimedExpression:
    """One frame: `weights` (52,) 0..1, `rotation` (3,) rad as of face_model/rotations.py, `speech`
    0..1."""

    time: float
    utterance: str
    sequence: int
    weights: np.ndarray
    rotation: np.ndarray
    speech: float

    def moved(self, seconds: float) -> TimedExpression:
        """The same frame, shown `seconds` later."""
        return replace(self, time=self.time + seconds)
