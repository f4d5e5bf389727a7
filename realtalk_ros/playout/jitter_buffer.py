# SPDX-License-Identifier: Apache-2.0
"""What to show now: a jitter buffer between expressions and a steady display.

A frame stamped T is shown at T and the delay of its utterance (playout_delay.py), which is none for
speech that is sent ahead of when it is played. Expressions that come later than that are dropped,
never queued, so the face cannot fall behind the audio.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.playout.playout_delay import MAX_DELAY, PlayoutDelay
from realtalk_ros.stream_types import TimedExpression

RELAX_TIME = 0.045  # s, time constant with which the face relaxes when expressions stop
BLEND = 0.12  # s in which one utterance's face turns into that of another that replaces it
NEW_UTTERANCE = 0.5  # s, after a longer pause between expressions the delay is chosen again
CAPACITY = 3000  # expressions, two minutes at 25 fps
CLOCK_AHEAD = 10.0  # s without a tick, from which on the clock was set ahead: no frame was missed
ROUNDING = 1e-3  # of a frame: in 2026, 1e-5 of it is lost between its number and its time
KEPT = 0.2  # s for which a face stays as it is where no expression comes, as it may be late
INTERPOLATED = 0.1  # s between two expressions, up to which frames are interpolated


@dataclass(frozen=True)
class DueFrame:
    """A frame to show at `due`, s: number `frame`, in periods of 1 / fps since the clock's zero, of
    media time `time`, s; `weights` (52,) are 0..1, `rotation` (3,) rad as of
    face_model/rotations.py. Of an `utterance` (whose name may be empty), or None: of none."""

    frame: int
    time: float
    due: float
    weights: np.ndarray
    rotation: np.ndarray
    utterance: str | None
    speech: float
    skipped: int  # frames that the display missed since the last one
    resets: int  # how many interrupts there had been


class JitterBuffer:
    """Call `push` for every expression and `tick` at least fps times a second."""

    def __init__(self, fps: float) -> None:
        self.fps = float(fps)  # may change at any time
        self.delay = PlayoutDelay()
        self._last_tick: float | None = None
        self.late = 0  # expressions that came too late to be shown
        self.overflow = 0  # expressions refused because the queue was full
        self.resets = 0  # how often what was not yet shown was dropped
        self._queue: deque[TimedExpression] = deque()
        # Time of the frame that was handed out last, s, with these weights and this rotation.
        self._frame_time: float | None = None
        self._weights = arkit.weights()
        self._rotation = np.zeros(3, np.float32)
        self._shown_utterance: str | None = None
        self._followed = (-math.inf, 0.0)  # the frame that had an expression last: time, its speech
        self._blend_from = (self._weights, self._rotation)  # of the utterance before
        self._blend_left = 0.0  # s
        self._utterance: str | None = None  # of the last expression that came, and its time
        self._last_time = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, expression: TimedExpression, now: float, sent: float | None = None) -> None:
        """Queues an expression that came at `now`, s, and was sent at `sent` (`now`, if that is not
        known). The two differ where this process stalled."""
        lateness = (now if sent is None else min(sent, now)) - expression.time
        pause = abs(expression.time - self._last_time)
        if expression.utterance != self._utterance or pause > NEW_UTTERANCE:
            new, self._utterance = expression.utterance != self._utterance, expression.utterance
            self.delay.begin(lateness, now, new)
        self._last_time = expression.time
        self.delay.note_arrival(lateness, now)
        passed = -math.inf if self._frame_time is None else self._frame_time + 0.5 / self.fps
        if now - expression.time > MAX_DELAY or expression.time < min(passed, now):
            self.late += 1
            self.delay.note_late(lateness, now)
            return
        while self._queue and self._queue[-1].time >= expression.time:
            self._queue.pop()  # time went back: what was queued belongs to a timeline that is gone
        if len(self._queue) >= CAPACITY:
            self.overflow += 1
            return
        self._queue.append(expression)

    def follows(self, time: float) -> bool:
        """Whether an expression of `time`, s, is the next one of the utterance that came last."""
        return self._utterance is not None and 0 < time - self._last_time <= NEW_UTTERANCE

    def _silence_ahead(self, now: float) -> float:
        """Length of the pause that is shown next, s, as far as it is known."""
        if not self._queue:
            return 0.0
        speech = (e.time for e in self._queue if e.speech > 0.5)
        # Where the delay grew, frames that were shown already lie ahead: they are no pause.
        shown = max(now - self.delay.seconds, self._frame_time or 0.0)
        return max(0.0, next(speech, self._queue[-1].time) - shown - 1 / self.fps)

    def reset(self) -> None:
        """An interrupt: drops everything not yet shown; the face relaxes from where it is."""
        self.resets += 1
        self._queue.clear()
        self._utterance, self._blend_left = None, 0.0
        self._followed = (-math.inf, 0.0)
        self.delay.reset()

    def shift(self, seconds: float) -> None:
        """The clock jumped: everything keeps its place relative to now."""
        self._queue = deque(e.moved(seconds) for e in self._queue)
        self._last_time += seconds
        self._followed = (self._followed[0] + seconds, self._followed[1])
        self._frame_time = None
        self.delay.shift(seconds)

    def postpone(self, seconds: float, now: float) -> None:
        """Shows all `seconds` later, or, if negative, earlier where the delay allows that."""
        self.delay.postpone(seconds)
        self._skip_to(now)

    def _skip_to(self, now: float) -> None:
        """The delay fell: the frames that are left out were not missed."""
        if self._frame_time is not None:
            self._frame_time = max(self._frame_time, (self._frame_at(now) - 1) / self.fps)

    def wait_for(self, time: float, now: float) -> None:
        """The expressions of sound of `time` have not come: the face stands still before it."""
        frame = math.ceil(time * self.fps - ROUNDING)
        if self._frame_time is not None:
            frame = max(frame, round(self._frame_time * self.fps) + 1)
        self.delay.wait(now - (frame - ROUNDING) / self.fps)

    def tick(self, now: float, sound_until: float = -math.inf) -> DueFrame | None:
        """The next frame if it is due within `lead` of `now`, s, or None. Sound is here up to
        `sound_until`: expressions up to then may only be late."""
        elapsed = 0.0 if self._last_tick is None else min(0.1, max(0.0, now - self._last_tick))
        self._last_tick = now
        self.delay.slew(elapsed)
        if self.delay.shorten(now, lambda: self._silence_ahead(now)):
            self._skip_to(now)
        frame = self._frame_at(now)
        step = 1
        if self._frame_time is not None:
            # By its time, as the frame rate may have changed since.
            step = frame - math.floor(self._frame_time * self.fps + ROUNDING)
            if step < -(MAX_DELAY + 1) * self.fps:
                self._queue.clear()  # the clock went back: start again
                self._followed, step = (-math.inf, 0.0), 1
            elif step <= 0:
                return None
        self._frame_time = frame / self.fps
        if step > CLOCK_AHEAD * self.fps:
            step = 1
        expression = self._sample(self._frame_time)
        utterance, speech = None, 0.0
        if expression is not None:
            utterance, speech = expression.utterance, expression.speech
            self._follow(expression, step)
            self._followed = self._frame_time, speech
        elif self._frame_time - self._followed[0] > KEPT:
            self._relax(step)
        elif self._frame_time + 1e-6 < sound_until:
            utterance, speech = self._shown_utterance, self._followed[1]
        self._shown_utterance = utterance
        return DueFrame(
            frame=frame,
            time=self._frame_time,
            due=self._frame_time + self.delay.seconds,
            weights=self._weights,
            rotation=self._rotation,
            utterance=utterance,
            speech=speech,
            skipped=step - 1,
            resets=self.resets,
        )

    def _relax(self, step: int) -> None:
        """Nothing is spoken: `step` frames nearer to the neutral face."""
        left = np.float32(math.exp(-step / self.fps / RELAX_TIME))
        self._weights, self._rotation = self._weights * left, self._rotation * left
        self._weights[self._weights < 1e-3] = 0
        self._blend_left = 0.0

    def _follow(self, expression: TimedExpression, step: int) -> None:
        """Takes an expression over, blended with the utterance before."""
        weights, rotation = expression.weights, expression.rotation
        if self._shown_utterance not in (None, expression.utterance):
            self._blend_from, self._blend_left = (self._weights, self._rotation), BLEND
        if self._blend_left > 0:
            self._blend_left -= step / self.fps
            share = np.float32(max(0.0, self._blend_left) / BLEND)
            weights = weights + share * (self._blend_from[0] - weights)
            rotation = rotation + share * (self._blend_from[1] - rotation)
        self._weights, self._rotation = weights, rotation

    def next_due(self, now: float) -> float:
        """When `tick` will have another frame, s."""
        frame = self._frame_at(now) + 1
        return frame / self.fps + self.delay.seconds - self.delay.lead

    def _frame_at(self, now: float) -> int:
        """The frame that is to be handed out at `now`."""
        return math.floor((now + self.delay.lead - self.delay.seconds) * self.fps + 1e-6)

    def _sample(self, time: float) -> TimedExpression | None:
        """The expression at `time`: interpolated, or the nearest within half a frame, or None."""
        queue, near = self._queue, 0.5 / self.fps + 1e-6
        while len(queue) > 1 and queue[1].time <= time + 1e-6:
            queue.popleft()
        if not queue or queue[0].time > time + near:
            return None
        first = queue[0]
        if len(queue) > 1 and first.time < time - 1e-6:
            second = queue[1]
            if second.time - first.time <= INTERPOLATED:
                share = np.float32((time - first.time) / (second.time - first.time))
                return replace(
                    second,
                    time=time,
                    weights=first.weights + share * (second.weights - first.weights),
                    rotation=first.rotation + share * (second.rotation - first.rotation),
                )
        if first.time < time - near:
            queue.popleft()
            return None
        return first
