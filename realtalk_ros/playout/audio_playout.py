# SPDX-License-Identifier: Apache-2.0
"""The audio that belongs to the frames: held back, and handed out slice by slice when its frame is
shown, so that any player that plays what arrives is in sync with the face. (face_playout.py
asks for it, earlier by the parameter `playback_latency`.)"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from realtalk_ros.playout.playout_delay import MAX_DELAY
from realtalk_ros.stream_types import ScheduledChunk

SLICE = 0.02  # s, length of what is handed out at once
LATE = 0.1  # s by which audio may come late; if it is more, all that is late is dropped
FADE = 0.005  # s over which audio fades in where something before it was dropped
JOINT = 0.005  # s, chunks this near to each other follow without a gap
LEAD_IN = 0.1  # s, a segment's first expression may lie this much before its first sample


@dataclass
class _HeldChunk:
    chunk: ScheduledChunk
    segment: float  # when the continuous audio begins that it is part of
    confirmed: bool = False  # whether its first expression has come, and with it the delay


class AudioPlayout:
    """Chunks lie on the timeline where their `start` says; a chunk that begins before the audio
    received so far ends replaces it from there on."""

    def __init__(self) -> None:
        self.late = 0.0  # s of audio dropped because it came too late
        self._held: deque[_HeldChunk] = deque()
        self._end: float | None = None  # of the audio received last
        self._segment = 0.0
        self._confirmed, self._confirmed_at = False, -math.inf  # whether its face came, and when
        self._expressed = -math.inf  # the time of the last expression that has come
        self._skip_to = -math.inf  # what is before this time is dropped

    def __len__(self) -> int:
        return len(self._held)

    def push(self, chunk: ScheduledChunk) -> bool:
        """Takes a chunk; True if a new segment of audio begins with it."""
        start = chunk.start
        if not len(chunk.pcm):  # only says that an utterance has ended: at once after what waits
            self._held.append(_HeldChunk(chunk, self._segment))
            return False
        new = not self.follows(start)
        if new:
            self._segment, self._confirmed = start, self._expressed >= start - LEAD_IN
            self._cut(start)
        self._held.append(_HeldChunk(chunk, self._segment, self._confirmed))
        self._end = start + chunk.seconds
        return new

    def follows(self, start: float) -> bool:
        """Whether audio from `start` on goes on where the audio received so far ends."""
        return self._end is not None and abs(start - self._end) <= JOINT

    @property
    def end(self) -> float:
        """When the sound received so far ends, s; -inf if there is none."""
        return -math.inf if self._end is None else self._end

    @property
    def unexpressed(self) -> float | None:
        """When sound begins that waits for its first expression, s; None if none waits."""
        waiting = (h.segment for h in self._held if len(h.chunk.pcm) and not h.confirmed)
        return next(waiting, None)

    def confirm(self, time: float, now: float = -math.inf) -> None:
        """An expression for `time` has come at `now`, so audio that waits for the first expression
        of its segment need not wait any longer."""
        self._expressed = max(self._expressed, time)
        for held in self._held:
            held.confirmed = held.confirmed or time >= held.segment - LEAD_IN
        if not self._confirmed and time >= self._segment - LEAD_IN:
            self._confirmed, self._confirmed_at = True, now

    def take(self, time: float, now: float = math.inf, step: float = 0.0) -> list[ScheduledChunk]:
        """What is to be handed out when `time` is played, at `now`: all of the slice that it lies
        in, in one piece where it is continuous. The clock has just moved by `step` s at once:
        nobody could have asked for what was due before."""
        # At a low frame rate, the first expression is of a time long after the audio began.
        has_waited = now - self._confirmed_at < LATE
        out: list[ScheduledChunk] = []
        for chunk, segment in self._take_due(time):
            late = len(chunk.pcm) and time - chunk.start > LATE + step
            if late and not (has_waited and segment == self._segment):
                self._skip_to = time
            if chunk.start < self._skip_to:
                missed = math.ceil((self._skip_to - chunk.start) * chunk.sample_rate - 1e-6)
                chunk = self._without(chunk, min(missed, len(chunk.pcm)))
            if not len(chunk.pcm) and not chunk.last:
                continue
            if out and _follows(chunk, out[-1]):
                pcm = np.concatenate([out[-1].pcm, chunk.pcm])
                out[-1] = replace(out[-1], pcm=pcm, last=chunk.last)
            else:
                out.append(chunk)
        return out

    def _take_due(self, time: float) -> Iterator[tuple[ScheduledChunk, float]]:
        """Takes out what is due when `time` is played, chunk by chunk, the last one cut at the end
        of the slice; and when the segment of each begins."""
        until = _end_of_slice(time)
        while self._held:
            held = self._held[0]
            chunk, overdue = held.chunk, time - held.chunk.start
            waits = chunk.start >= until - 1e-6 or (not held.confirmed and overdue <= MAX_DELAY)
            if waits and len(chunk.pcm):
                return
            count = min(len(chunk.pcm), math.ceil((until - chunk.start) * chunk.sample_rate - 1e-6))
            if count < len(chunk.pcm):
                cut = chunk.start + count / chunk.sample_rate
                held.chunk = replace(chunk, pcm=chunk.pcm[count:], start=cut)
                chunk = replace(chunk, pcm=chunk.pcm[:count], last=False)
            else:
                self._held.popleft()
            yield chunk, held.segment

    def overdue(self, time: float) -> float:
        """By how many seconds the rest of the audio that plays would be late if it went on at
        `time`."""
        begin = self._held[0].chunk.start if self._held else self._end
        return 0.0 if begin is None else max(0.0, time - begin)

    def until_next(self, time: float) -> float:
        """Seconds from `time`, for which `take` was called, until it may give more."""
        return _end_of_slice(time) - time

    def _without(self, chunk: ScheduledChunk, missed: int) -> ScheduledChunk:
        """A chunk without its first samples; the rest of it fades in."""
        self.late += missed / chunk.sample_rate
        pcm = chunk.pcm[missed:].copy()
        rise = min(len(pcm), round(FADE * chunk.sample_rate))
        pcm[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
        return replace(chunk, pcm=pcm, start=chunk.start + missed / chunk.sample_rate)

    def clear(self) -> None:
        """An interrupt: drops everything not yet handed out."""
        self._held.clear()
        self._end = None

    def forget_expressions(self) -> None:
        """Those that came were of what was interrupted."""
        self._expressed = -math.inf

    def shift(self, seconds: float) -> None:
        """The clock jumped: everything keeps its place relative to now."""
        self._expressed += seconds
        self._segment += seconds
        self._confirmed_at += seconds
        self._skip_to += seconds
        if self._end is not None:
            self._end += seconds
        for held in self._held:
            held.segment += seconds
            held.chunk = held.chunk.moved(seconds)

    def _cut(self, time: float) -> None:
        """Drops what is played from `time` on, but for the ends of utterances."""
        kept: deque[_HeldChunk] = deque()
        for held in self._held:
            chunk = held.chunk
            count = max(0, math.floor((time - chunk.start) * chunk.sample_rate + 0.5))
            pcm, start = chunk.pcm[:count], min(chunk.start, time)
            if len(pcm) or chunk.last:
                held.chunk = replace(chunk, pcm=pcm, start=start)
                kept.append(held)
        self._held = kept


def _end_of_slice(time: float) -> float:
    """Of the slice that `time` lies in."""
    return (math.floor(time / SLICE + 1e-6) + 1) * SLICE


def _follows(chunk: ScheduledChunk, before: ScheduledChunk) -> bool:
    """Whether it continues a chunk, to a sample."""
    return (
        not before.last
        and (chunk.utterance, chunk.sample_rate) == (before.utterance, before.sample_rate)
        and abs(chunk.start - before.start - before.seconds) < 1 / chunk.sample_rate
    )
