# SPDX-License-Identifier: Apache-2.0
"""Audio chunks in, timed expressions out.

All times are media time in seconds: an expression of time T belongs to what is heard at T.
Frame times are whole multiples of 1 / fps, on one grid for all utterances.
"""

from __future__ import annotations

import math
from dataclasses import replace

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
from realtalk_ros.stream_types import MAX_GAP, TOLERANCE, Chunk, TimedExpression

TAIL = 0.3  # s of silence after an utterance, in which the mouth closes by itself
NEAR = 1e-3  # frames, to which times of frames are told apart: a double holds 1e-5 since 1970


class _Segment:
    """One stretch of continuous audio at one sample rate."""

    def __init__(self, chunk: Chunk, anchor: float, stream: ExpressionStream, fps: float):
        self.utterance, self.sample_rate, self.anchor = chunk.utterance, chunk.sample_rate, anchor
        self.front_end, self.stream = AudioFrontEnd(chunk.sample_rate), stream
        self.samples = 0
        # The network hears up to 20 ms of silence first, so that its frames lie on the grid of
        # 50 Hz: frames at 25 or 50 fps then need not wait for the network's next one.
        silence = math.floor(anchor * EXPRESSION_RATE % 1 / EXPRESSION_RATE * chunk.sample_rate)
        self.lead_in = silence / chunk.sample_rate  # s
        frames = stream.push(self.front_end.push(np.zeros(silence, np.float32)))
        assert not len(frames.time)  # the network looks farther ahead than that
        self.last: tuple[float, np.ndarray, np.ndarray, float] | None = None
        self.shown = anchor - 2 * NEAR / fps  # time of the last frame on the grid of 1 / fps

    @property
    def end(self) -> float:
        return self.anchor + self.samples / self.sample_rate


class ExpressionPipeline:
    """Speech to expressions, for as many utterances as come. One object for a node's life.

    Chunks lie on a sample-count timeline. A stamp that leaves it by more than 60 ms means: a lost
    chunk (up to 0.5 s are heard as silence), a repeated or late chunk (what is already there is
    dropped), or a new beginning (the old segment is finished, a new one anchored at the stamp).
    `counts` tells how often each happened.
    """

    def __init__(self, model: ExpressionModel, prior: Prior, fps: float):
        self.model, self.prior, self.fps = model, prior, float(fps)
        self.counts = {"gaps": 0, "dropped_chunks": 0, "reanchored": 0}
        self._segment: _Segment | None = None
        self.sequence = 0  # of the next expression

    @property
    def end(self) -> float | None:
        """Media time at which the audio received so far ends; None between utterances."""
        return self._segment.end if self._segment else None

    def push(self, chunk: Chunk, now: float = 0.0) -> list[TimedExpression]:
        """Takes a chunk and returns what is now known. `now` anchors a first chunk without a stamp.

        Raises AudioError, with the pipeline unharmed, if the sample rate is impossible.
        """
        ended, placed = self.place(chunk, now)
        return ended + self.feed(placed)

    def place(self, chunk: Chunk, now: float = 0.0) -> tuple[list[TimedExpression], Chunk | None]:
        """The first half of `push`. Returns the rest of the segment that `chunk` ends, if it ends
        one, and what is heard of `chunk`, where it lies on the timeline; None if nothing. `feed` it
        next. Raises AudioError as `push` does.
        """
        ended: list[TimedExpression] = []
        check_rate(chunk.sample_rate)  # before anything ends for it
        segment = self._segment
        if segment and (segment.utterance, segment.sample_rate) != (
            chunk.utterance,
            chunk.sample_rate,
        ):
            ended += self.flush()
            segment = None
        pcm = chunk.pcm
        if segment and len(pcm) and chunk.start is not None:
            pcm = self._continue(segment, chunk)
            if pcm is None:
                ended += self.flush()
                self.counts["reanchored"] += 1
                segment, pcm = None, chunk.pcm
        if segment is None:
            if not len(pcm):
                return ended, None
            anchor = now if chunk.start is None else chunk.start
            segment = self._segment = _Segment(
                chunk, anchor, self.model.stream(self.prior), self.fps
            )
        return ended, replace(chunk, pcm=pcm, start=segment.end)

    def feed(self, placed: Chunk | None) -> list[TimedExpression]:
        """The second half of `push`: the expressions of what `place` gave."""
        if placed is None or self._segment is None:
            return []
        out = self._feed(self._segment, placed.pcm)
        if placed.last:
            out += self.flush()
        return out

    def flush(self) -> list[TimedExpression]:
        """Ends the utterance: its remaining expressions, and those of a short silence after it."""
        segment, self._segment = self._segment, None
        if segment is None:
            return []
        silence = np.zeros(round(TAIL * segment.sample_rate), np.float32)
        out = self._feed(segment, silence)
        out += self._grid(segment, segment.stream.push(segment.front_end.flush()))
        return out + self._grid(segment, segment.stream.flush())

    def reset(self) -> None:
        """Forgets the running utterance: nothing more comes of it."""
        self._segment = None

    def shift(self, seconds: float) -> None:
        """The clock jumped: the running utterance keeps its place relative to now."""
        if (segment := self._segment) is not None:
            segment.anchor += seconds
            segment.shown += seconds
            if segment.last is not None:
                segment.last = (segment.last[0] + seconds, *segment.last[1:])

    def _continue(self, segment: _Segment, chunk: Chunk) -> np.ndarray | None:
        """The chunk's samples as they continue the segment; None if it starts a new one."""
        assert chunk.start is not None
        gap = chunk.start - segment.end
        if abs(gap) <= TOLERANCE:
            return chunk.pcm
        if 0 < gap <= MAX_GAP:
            self.counts["gaps"] += 1
            silence = np.zeros(round(gap * segment.sample_rate), np.float32)
            return np.concatenate([silence, chunk.pcm])
        if gap < 0 and chunk.start >= segment.anchor - TOLERANCE:
            self.counts["dropped_chunks"] += 1
            return chunk.pcm[round(-gap * segment.sample_rate) :]
        return None

    def _feed(self, segment: _Segment, pcm: np.ndarray) -> list[TimedExpression]:
        segment.samples += len(pcm)
        return self._grid(segment, segment.stream.push(segment.front_end.push(pcm)))

    def _grid(self, segment: _Segment, frames: ExpressionFrames) -> list[TimedExpression]:
        """The network's 50 Hz frames, interpolated to the times k / fps."""
        out = []
        rows = zip(frames.time, frames.weights, frames.rotation, frames.speech, strict=True)
        for time, weights, rotation, speech in rows:
            begin = segment.anchor - segment.lead_in
            here = (begin + float(time), weights, rotation, float(speech))
            before = segment.last or here
            k = math.floor(segment.shown * self.fps + NEAR) + 1
            while k <= here[0] * self.fps + NEAR:
                span = here[0] - before[0]
                share = min(1.0, (k / self.fps - before[0]) / span) if span > 0 else 1.0
                mixed = [
                    b + np.float32(share) * (h - b)
                    for b, h in zip(before[1:], here[1:], strict=True)
                ]
                out.append(TimedExpression(k / self.fps, segment.utterance, self.sequence, *mixed))
                self.sequence += 1
                segment.shown = k / self.fps
                k += 1
            segment.last = here
        return out
