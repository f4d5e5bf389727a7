# SPDX-License-Identifier: Apache-2.0
"""One utterance of one sender: what of it waits to be played, and how its sender sends."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from realtalk_ros.audio.sample_clock import SampleClock
from realtalk_ros.playout.copies import Copies
from realtalk_ros.stream_types import LOST_CHUNK_GAP, STAMP_TOLERANCE, Chunk, ScheduledChunk

PIECE = 0.2  # s, longer chunks are queued in pieces of this length
JOINED = 0.02  # s, shorter chunks that wait are joined up to this length: each piece has its costs
MAX_SILENCE = 0.25  # s without audio after which an utterance is over, though no chunk said `last`
WHOLE = 1.0  # s of sound in an only chunk, from which on it may be a whole utterance
RESERVE = 0.25  # s ahead of its time, sound without stamps is no live speech that comes with jitter
ACTIVE = 0.3  # s since its last chunk within which a sender is taken to be still sending
OVERTAKEN = 0.08  # s since its last chunk, in which one that was sent before may still come
SAME_TIME = 1e-6  # s, rounding
REGULAR = 0.005  # s by which a stamp may miss the end of the chunk before and still count samples


class _Gap(NamedTuple):
    """A gap in an utterance that is longer than a lost chunk."""

    end: float  # where it ends, s
    seconds: float
    lateness: float  # of the utterance before it


class Turn:
    """One utterance that waits or is being played. Times are media time in seconds."""

    def __init__(self, utterance: str, sender: str) -> None:
        self.utterance, self.sender = utterance, sender
        self.chunks: deque[ScheduledChunk] = deque()  # pieces not yet handed out
        self.seconds = 0.0  # of audio in them
        self.end = -math.inf  # when the audio received so far ends
        self.clock_offset = 0.0  # s, added to the sender's stamps
        self.postponed = 0.0  # s by which it was postponed, because another utterance was played
        self.closed = False  # no more is expected: its `last` came, or it was replaced
        self.clock_jumped = False  # this machine's clock did, since its last chunk came
        self.jump = 0.0  # s by which it last did
        self.fragments_before = 0  # in a row, each ended by the next, the last one by it
        self.started = False  # some of it was handed out
        self.ended = False  # its `last` was
        self.last_stamp: float | None = None  # of its last chunk, by the sender's clock
        self.next_stamp: float | None = None  # where that chunk's audio ends
        self.missing: float | None = None  # the stamp from which on sound was left out last
        self.gap: _Gap | None = None  # the latest
        self.irregular = 0  # chunks whose stamps do not count samples, to some milliseconds
        self.stamped = 0  # chunks with stamps
        self.first_sent, self.last_sent = math.inf, -math.inf  # when its first, last chunk was sent
        self.received, self.count = 0.0, 0  # s of audio in all, and chunks
        self.sample_clock = SampleClock()  # of chunks without stamps
        self.to_skip = 0.0  # s that are still to be left out, as that clock is fast
        self.lateness = math.inf  # s by which its chunks are sent after their time; negative: early
        self.first_lateness = math.inf  # that of its first chunk
        self.late_since: float | None = None  # since when its chunks are sent later than usual
        self.slow_until = -math.inf  # until when its sender is taken to be late for good
        self.expires = -math.inf  # when it is over if nothing more comes
        self.last_pcm = np.zeros(0, np.float32)  # of its last chunk
        self.intervals: deque[float] = deque(maxlen=16)  # s between its last chunks
        self._copies = Copies()

    def put(self, chunk: ScheduledChunk, now: float, sent: float) -> None:
        """Takes a chunk that came at `now` and was sent at `sent`."""
        if (gap := chunk.start - self.end) > LOST_CHUNK_GAP and math.isfinite(gap):
            self.gap = _Gap(chunk.start, gap, self.lateness)
        if (waiting := self.chunks[-1] if self.chunks else None) and _continues(waiting, chunk):
            pcm = np.concatenate([waiting.pcm, chunk.pcm])
            self.chunks[-1] = replace(waiting, pcm=pcm, last=chunk.last)
        else:
            self._append(chunk)
        self.seconds += chunk.seconds
        self.received += chunk.seconds
        self.count += 1
        self.end = max(self.end, chunk.start + chunk.seconds)
        self.closed = self.closed or chunk.last
        if math.isfinite(self.last_sent):
            self.intervals.append(max(0.0, sent - self.last_sent))
        self.first_sent, self.last_sent = min(self.first_sent, sent), sent
        self.last_pcm = chunk.pcm if len(chunk.pcm) else self.last_pcm
        lateness = sent - chunk.start - chunk.seconds
        self.lateness = min(self.lateness, lateness)
        if self.count == 1:
            self.first_lateness = lateness
        # A sender in real time sends again when this chunk has passed.
        self.expires = max(self.end, now + chunk.seconds) + MAX_SILENCE

    def _append(self, chunk: ScheduledChunk) -> None:
        step = max(1, round(PIECE * chunk.sample_rate))
        starts = range(0, max(1, len(chunk.pcm)), step)
        for i in starts:
            self.chunks.append(
                replace(
                    chunk,
                    pcm=chunk.pcm[i : i + step],
                    start=chunk.start + i / chunk.sample_rate,
                    last=chunk.last and i == starts[-1],
                )
            )

    def has_had(self, chunk: Chunk, sent: float) -> bool:
        """Whether a chunk that was sent at `sent`, s, is a copy of one before."""
        return self._copies.include(chunk, sent, self.received)

    def remember(self, chunk: Chunk, sent: float) -> None:
        """Copies of a chunk will be known, even if it is ignored."""
        if self._copies.add(chunk, sent):
            self.last_stamp = self.next_stamp = None
            self.first_sent, self.received, self.count = sent, 0.0, 0

    def forget_sound(self) -> None:
        """It is over: only copies of its chunks are still to be known."""
        self.chunks.clear()
        self.last_pcm = self.last_pcm[:0].copy()

    def may_have_sent(self, chunk: Chunk, sent: float) -> bool:
        """Whether a chunk that comes after its last one may be a copy, or have been overtaken."""
        if chunk.start is None or self.next_stamp is None:
            return sent - self.last_sent < OVERTAKEN
        return chunk.start < self.next_stamp - STAMP_TOLERANCE

    def record_stamp(self, stamp: float, seconds: float) -> None:
        """Notes the stamp of a chunk of `seconds`, to know whether stamps count samples."""
        self.last_stamp = stamp
        self.stamped += 1
        if self.next_stamp is not None and abs(stamp - self.next_stamp) > REGULAR:
            self.irregular += 1
            self.missing = self.next_stamp if stamp > self.next_stamp else self.missing
        self.next_stamp = stamp + seconds

    def close_gap(self, start: float) -> None:
        """A chunk comes whose stamp says `start`, s. If it continues what came before a gap as if
        there were none, the stamps after that were wrong: what came with them, and still waits, is
        played before it, without the gap."""
        gap = self.gap
        if gap is None or abs(start - (self.end - gap.seconds)) > STAMP_TOLERANCE:
            return
        if gap.end not in (chunk.start for chunk in self.chunks):
            return
        self.chunks = deque(c.moved(-gap.seconds) if c.start >= gap.end else c for c in self.chunks)
        self.end -= gap.seconds
        self.expires -= gap.seconds
        self.lateness, self.gap = gap.lateness, None

    def cut(self, time: float) -> None:
        """Drops what is played from `time` on; nothing more is expected."""
        self.chunks = deque(
            replace(c, pcm=c.pcm[: math.ceil((time - c.start) * c.sample_rate - SAME_TIME)])
            for c in self.chunks
            if c.start < time - SAME_TIME
        )
        self.seconds = sum(c.seconds for c in self.chunks)
        self.end, self.closed = min(self.end, time), True

    def pop(self) -> ScheduledChunk:
        """Takes the next piece out."""
        chunk = self.chunks.popleft()
        self.ended = self.ended or chunk.last
        self.seconds = self.seconds - chunk.seconds if self.chunks else 0.0
        return chunk

    def postpone(self, until: float) -> None:
        """What waits of it is not played before `until`."""
        delay = until - self.chunks[0].start if self.chunks else 0.0
        if delay > 0:
            self.postponed += delay
            self.first_lateness -= delay
            self._move(delay)

    def _move(self, seconds: float) -> None:
        """All of it is played later by `seconds`."""
        self.end += seconds
        self.expires += seconds
        if self.gap is not None:
            self.gap = self.gap._replace(end=self.gap.end + seconds)
        self.chunks = deque(c.moved(seconds) for c in self.chunks)

    def shift(self, seconds: float) -> None:
        """The clock jumped: it keeps its place relative to now."""
        self._move(seconds)
        self.first_sent += seconds
        self.last_sent += seconds
        self.late_since = None
        self.slow_until += seconds
        self.clock_jumped, self.jump = True, seconds
        self.last_stamp = self.next_stamp = None
        self._copies.shift(seconds)
        if self.clock_offset:  # the stamps are of another clock, which has not jumped
            self.clock_offset += seconds

    @property
    def is_new(self) -> bool:
        """Whether nothing of it has come."""
        return self.end == -math.inf

    @property
    def handed_out_until(self) -> float:
        """The end of what was handed out of it; -inf: nothing was."""
        if not self.started:
            return -math.inf
        return self.chunks[0].start if self.chunks else self.end

    @property
    def in_real_time(self) -> bool:
        """Whether it comes as fast as it is spoken; False if faster."""
        return self.last_sent - self.first_sent > 0.5 * self.received

    @property
    def usual_lateness(self) -> float:
        """By how much its chunks usually are late, s; negative: early. Of one that is late, and
        comes faster than real time, that of its first chunk: all of it is played at that delay."""
        late_from_start = self.first_lateness > 0 and not self.in_real_time
        return self.first_lateness if late_from_start else self.lateness

    @property
    def had_reserve(self) -> bool:
        """Whether its sender, who gives no stamps, has sent ahead of what is played."""
        return not self.stamped and self.lateness <= -RESERVE

    @property
    def is_fragment(self) -> bool:
        """Whether only one chunk of it has come, a short one that was not to be the last."""
        return not self.closed and not self.intervals and self.received < WHOLE

    @property
    def regular(self) -> bool:
        """Whether its stamps count samples."""
        return self.irregular <= 0.2 * self.stamped

    def is_continued_by(self, chunk: Chunk, sent: float) -> bool:
        """Whether a chunk of another sender is more of it, as its own has gone: it must have sent
        meanwhile. What is stamped before its end is another's: it may wait for its time."""
        before = chunk.start is not None and self.may_have_sent(chunk, sent)
        longest = 1.5 * max(self.intervals, default=0.0)
        return not before and sent - self.last_sent > max(ACTIVE, longest)


def _continues(waiting: ScheduledChunk, chunk: ScheduledChunk) -> bool:
    """Whether `chunk` is to be joined to a piece that waits, as both are short."""
    return (
        not waiting.last
        and waiting.sample_rate == chunk.sample_rate
        and waiting.seconds + chunk.seconds <= JOINED + SAME_TIME
        and abs(waiting.start + waiting.seconds - chunk.start) < SAME_TIME
    )
