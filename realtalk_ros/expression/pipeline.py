# SPDX-License-Identifier: Apache-2.0
"""Audio chunks in, timed expressions out.

All times are media time in seconds: the expression of time T belongs to the audio that is played at
T. Frames lie at whole multiples of 1 / fps, the same for all utterances.

In expression_node, chunks come with the times that playout/scheduling.py gave them (queueing,
stamps of zero or of another clock). For callers without turn-taking, stamps are interpreted here.
For all, this decides at which gap the network begins anew.

The look-ahead, 162 ms, is fixed in training: onnx_model.py. Where more of the sound is known before
it is played, lips part before speech: preparation.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from realtalk_ros.audio.log_mel import AudioFrontEnd
from realtalk_ros.audio.pcm import check_rate
from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.expression.onnx_model import (
    ExpressionFrames,
    ExpressionModel,
    ExpressionStream,
    Prior,
)
from realtalk_ros.expression.preparation import Preparation
from realtalk_ros.stream_types import (
    LOST_CHUNK_GAP,
    STAMP_TOLERANCE,
    Chunk,
    ScheduledChunk,
    TimedExpression,
)

TAIL = 0.3  # s of silence after an utterance, in which the mouth closes by itself
TIME_ERROR = 1e-3  # frames: times as near as this are equal. (Those since 1970 are exact to 1e-5.)


class MelChunk(NamedTuple):
    """A chunk as the network takes it."""

    mel: np.ndarray  # (m, 80) log-mel frames, those now complete
    last: bool  # of its utterance


class _NetworkFrame(NamedTuple):
    """One frame of the network, at 50 Hz."""

    time: float  # media time, s
    weights: np.ndarray
    rotation: np.ndarray
    speech: float


class _Segment:
    """One stretch of continuous audio."""

    def __init__(self, chunk: Chunk, anchor: float, stream: ExpressionStream, fps: float):
        self.utterance, self.sample_rate, self.anchor = chunk.utterance, chunk.sample_rate, anchor
        self.front_end, self.stream = AudioFrontEnd(chunk.sample_rate), stream
        self.samples, self._seconds_before = 0, 0.0  # at this sample rate; at those before
        # Up to 20 ms of silence come first, so that the network's frames lie at multiples of 20 ms.
        # Frames at 25 or 50 fps then need not wait for the network's next one.
        silence = math.floor(anchor * EXPRESSION_RATE % 1 / EXPRESSION_RATE * chunk.sample_rate)
        self.lead_in = silence / chunk.sample_rate  # s
        frames = stream.push(self.front_end.push(np.zeros(silence, np.float32)))
        assert not len(frames.time)  # the network's look-ahead is longer than that
        self.last_frame: _NetworkFrame | None = None
        self.last_time = anchor - 2 * TIME_ERROR / fps  # of an expression that was returned

    def extract_mel(self, pcm: np.ndarray) -> np.ndarray:
        """The log-mel frames (m, 80) that are complete with the segment's next samples."""
        self.samples += len(pcm)
        return self.front_end.push(pcm)

    def change_rate(self, sample_rate: int) -> None:
        """The segment goes on at another sample rate, Hz."""
        self.front_end.change_rate(sample_rate)
        self._seconds_before += self.samples / self.sample_rate
        self.sample_rate, self.samples = sample_rate, 0

    @property
    def begin(self) -> float:
        """Media time at which the network's time begins."""
        return self.anchor - self.lead_in

    @property
    def end(self) -> float:
        """Media time at which the audio received so far ends."""
        return self.anchor + self._seconds_before + self.samples / self.sample_rate


class ExpressionPipeline:
    """Speech to expressions, for any number of utterances.

    The timeline counts samples. A chunk whose stamp differs from it by more than STAMP_TOLERANCE is
    taken in one of three ways, each counted in `counts`:

    - gaps: up to LOST_CHUNK_GAP too late, chunks before it were lost and are replaced by silence;
    - dropped_chunks: too early, it is a repeated or late one, and what is already there is dropped;
    - reanchored: otherwise it starts a new segment at its stamp, and the old segment is flushed.
    """

    def __init__(self, model: ExpressionModel, prior: Prior, fps: float, prepare: bool = False):
        """prepare: part the lips before speech. Expressions of a silence are then returned when it
        is known whether speech follows, or when they are due (`feed`, `take_due`)."""
        self.model, self.prior, self.fps = model, prior, float(fps)
        self._preparation = Preparation() if prepare else None
        self.counts = {"gaps": 0, "dropped_chunks": 0, "reanchored": 0}
        self._segment: _Segment | None = None
        self.sequence = 0  # of the next expression

    @property
    def end(self) -> float | None:
        """Media time at which the audio received so far ends; None between utterances."""
        return self._segment.end if self._segment else None

    def push(self, chunk: Chunk, now: float = 0.0) -> list[TimedExpression]:
        """Takes a chunk and returns the expressions that are now known. A first chunk without a
        stamp is played `now`.

        Raises AudioError, with the pipeline unharmed, if the sample rate is impossible, and
        NetworkError if the network fails.
        """
        ended, scheduled = self.schedule(chunk, now)
        return ended + self.feed(scheduled)

    def schedule(
        self, chunk: Chunk, now: float = 0.0
    ) -> tuple[list[TimedExpression], ScheduledChunk | None]:
        """The first half of `push`: finds when the chunk is played. Returns the remaining
        expressions of the segment that it ends, if it ends one; and the chunk as it continues the
        timeline, to be given to `feed`, or None if nothing is left of it: no sound, and no end of
        an utterance that is being said. Raises AudioError and NetworkError as `push`."""
        ended: list[TimedExpression] = []
        check_rate(chunk.sample_rate)  # first: if it raises, nothing has changed
        segment = self._segment
        if segment and segment.utterance != chunk.utterance:
            ended += self.flush()
            segment = None
        pcm = chunk.pcm
        if segment and len(pcm) and segment.sample_rate != chunk.sample_rate:
            segment.change_rate(chunk.sample_rate)
        if segment and len(pcm) and chunk.start is not None:
            continued = self._continue(segment, chunk, chunk.start)
            if continued is None:
                ended += self.flush()
                self.counts["reanchored"] += 1
                segment = None
            else:
                pcm = continued
        if not len(pcm) and not (chunk.last and segment):
            return ended, None
        if segment is None:
            anchor = now if chunk.start is None else chunk.start
            segment = self._segment = _Segment(
                chunk, anchor, self.model.stream(self.prior), self.fps
            )
        return ended, replace(chunk, pcm=pcm).scheduled(segment.end)

    def feed(
        self, scheduled: ScheduledChunk | None, due: float = -math.inf
    ) -> list[TimedExpression]:
        """The second half of `push`: the expressions of a chunk that `schedule` returned. None of
        up to `due` s is held back. Raises NetworkError if the network fails."""
        return self.predict(self.extract_mel(scheduled), due)

    def extract_mel(self, scheduled: ScheduledChunk | None) -> MelChunk | None:
        """The first half of `feed`, in which no network runs."""
        if scheduled is None or self._segment is None:
            return None
        return MelChunk(self._segment.extract_mel(scheduled.pcm), scheduled.last)

    def predict(self, chunk: MelChunk | None, due: float = -math.inf) -> list[TimedExpression]:
        """The second half of `feed`, for what `extract_mel` returned last. May run in another
        thread. Raises NetworkError if the network fails."""
        if chunk is None or self._segment is None:
            return []
        expressions = self._run_network(self._segment, chunk.mel)
        if self._preparation:
            expressions = self._preparation.push(expressions, due)
        if chunk.last:
            expressions += self.flush()
        return expressions

    def take_due(self, due: float) -> list[TimedExpression]:
        """What is still held back of up to `due` s."""
        return self._preparation.push([], due) if self._preparation else []

    def flush(self) -> list[TimedExpression]:
        """Ends the utterance: its remaining expressions, and those of a short silence after it.
        Raises NetworkError if the network fails."""
        segment, self._segment = self._segment, None
        if segment is None:
            return []
        silence = np.zeros(round(TAIL * segment.sample_rate), np.float32)
        expressions = self._run_network(segment, segment.extract_mel(silence))
        expressions += self._resample(segment, segment.stream.push(segment.front_end.flush()))
        expressions += self._resample(segment, segment.stream.flush())
        if self._preparation:
            expressions = self._preparation.push(expressions) + self._preparation.flush()
        return expressions

    def reset(self) -> None:
        """Drops the current utterance without its remaining expressions."""
        self._segment = None
        if self._preparation:
            self._preparation.reset()

    def shift(self, seconds: float) -> None:
        """After a jump of the clock: moves the current utterance, so that it goes on as before."""
        if self._preparation:
            self._preparation.shift(seconds)
        if (segment := self._segment) is not None:
            segment.anchor += seconds
            segment.last_time += seconds
            if (last := segment.last_frame) is not None:
                segment.last_frame = last._replace(time=last.time + seconds)

    def _continue(self, segment: _Segment, chunk: Chunk, start: float) -> np.ndarray | None:
        """The samples of a chunk that starts at `start`, as they continue the segment; None if it
        starts a new one."""
        gap = start - segment.end
        if abs(gap) <= STAMP_TOLERANCE:
            return chunk.pcm
        if 0 < gap <= LOST_CHUNK_GAP:
            self.counts["gaps"] += 1
            silence = np.zeros(round(gap * segment.sample_rate), np.float32)
            return np.concatenate([silence, chunk.pcm])
        if gap < 0 and start >= segment.anchor - STAMP_TOLERANCE:
            self.counts["dropped_chunks"] += 1
            return chunk.pcm[round(-gap * segment.sample_rate) :]
        return None

    def _run_network(self, segment: _Segment, mel: np.ndarray) -> list[TimedExpression]:
        # Frames of the network that only lie between two at `fps` need not be known at once.
        due = (self._next_frame(segment) - 2 * TIME_ERROR) / self.fps - segment.begin
        return self._resample(segment, segment.stream.push(mel, due))

    def _next_frame(self, segment: _Segment) -> int:
        """Number of the next frame of the segment: its time is that / fps."""
        return math.floor(segment.last_time * self.fps + TIME_ERROR) + 1

    def _resample(self, segment: _Segment, frames: ExpressionFrames) -> list[TimedExpression]:
        """The network's frames at 50 Hz, interpolated to the times k / fps."""
        expressions = []
        rows = zip(frames.time, frames.weights, frames.rotation, frames.speech, strict=True)
        for time, weights, rotation, speech in rows:
            frame = _NetworkFrame(segment.begin + float(time), weights, rotation, float(speech))
            before = segment.last_frame or frame
            k = self._next_frame(segment)
            while k <= frame.time * self.fps + TIME_ERROR:
                span = frame.time - before.time
                share = np.float32(
                    min(1.0, (k / self.fps - before.time) / span) if span > 0 else 1.0
                )
                expressions.append(
                    TimedExpression(
                        time=k / self.fps,
                        utterance=segment.utterance,
                        sequence=self.sequence,
                        weights=before.weights + share * (frame.weights - before.weights),
                        rotation=before.rotation + share * (frame.rotation - before.rotation),
                        speech=float(before.speech + share * (frame.speech - before.speech)),
                    )
                )
                self.sequence += 1
                segment.last_time = k / self.fps
                k += 1
            segment.last_frame = frame
        return expressions
