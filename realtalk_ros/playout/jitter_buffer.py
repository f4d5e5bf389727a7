# SPDX-License-Identifier: Apache-2.0
"""What to show now: a jitter buffer between expressions and a steady display.

A frame stamped T is shown at T where its expression came in time, as it does for speech that is
sent ahead of when it is played. Live speech comes late by the network's look-ahead; then all of an
utterance is shown with one constant delay, chosen at its beginning. Frames later than that are
dropped, never queued, so the face cannot fall behind the audio.

A process that stalled finds many expressions at once, all of them late: they say nothing about the
delay. It grows only where frames come too late again and again. When it has not been needed for
UNNEEDED_FOR, as many frames are left out as it has grown by. In live speech pauses are shortened,
too, until no more of it is left than needed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from realtalk_ros.stream_types import TimedExpression

LIVE_DELAY = 0.2  # s, the delay before any speech came: about that of live speech
MAX_DELAY = 2.5  # s: what a sender's clock may be behind (scheduling.py), and the look-ahead
MARGIN = 0.015  # s, allowance for jitter of arrival
RELAX_TIME = 0.045  # s, time constant with which the face relaxes when expressions stop
SLEW_RATE = 0.25  # s by which a delay that is no longer needed falls in a second
BLEND = 0.12  # s in which one utterance's face turns into that of another that replaces it
LATE_COUNT = 3  # times that frames came too late, after which the delay is raised
LATE_WITHIN = 3.0  # s in which they must lie
LATE_APART = 0.1  # s, frames that come within this were late for one reason
UNNEEDED_FOR = 0.8  # s for which a delay must not have been needed before it falls
SPARE = 0.06  # s that a delay may be longer than needed
GUESS_SPARE = 0.04  # s likewise, where the first utterance begins
CHOICE_SPARE = 0.1  # s likewise, where another one does
PAUSE_WITHIN = 0.4  # s for which a pause is waited for before speech is skipped
LIVE_LEAD = 0.1  # s before its time, at most, at which an expression of live speech comes
BEGINNING = 1.5  # s within which an utterance's first delay is chosen
MIN_CUT = 0.02  # s, a pause is not shortened by less
NEW_UTTERANCE = 0.5  # s, after a longer pause between expressions the delay is chosen again
CAPACITY = 3000  # expressions, two minutes at 25 fps
CLOCK_SET = 10.0  # s without a tick, from which on the clock was set ahead: no frame was missed
INTERPOLATED = 0.1  # s between two expressions, up to which frames are interpolated


@dataclass(frozen=True)
class DueFrame:
    """A frame to show at `due`, s: number `frame`, in periods of 1 / fps since the clock's zero, of
    media time `time`, s; `weights` (52,) are 0..1, `rotation` (3,) rad as of
    face_model/rotations.py."""

    frame: int
    time: float
    due: float
    weights: np.ndarray
    rotation: np.ndarray
    utterance: str
    speech: float
    skipped: int  # frames that the display missed since the last one
    resets: int  # how many interrupts there had been


class JitterBuffer:
    """Call `push` for every expression and `tick` at least fps times a second."""

    def __init__(self, fps: float) -> None:
        self.fps = float(fps)
        self.delay = LIVE_DELAY
        self._target, self._slew_rate = LIVE_DELAY, SLEW_RATE  # what the delay falls to, how fast
        self._guessed = True  # no speech came yet that it was chosen for
        self._last_tick: float | None = None
        self.lead = 0.0  # s before it is due, a frame is handed out: the time that rendering takes
        self.audio_delay = 0.0  # s, the least delay with which the audio can be played
        self.late = 0  # expressions that came too late to be shown
        self.overflow = 0  # expressions refused because the queue was full
        self.resets = 0  # how often what was not yet shown was dropped
        self._queue: deque[TimedExpression] = deque()
        self._frame: int | None = None  # handed out last, with these weights and this rotation
        self._weights = np.zeros(52, np.float32)
        self._rotation = np.zeros(3, np.float32)
        self._shown_utterance = ""
        self._blend_from = (self._weights, self._rotation)  # of the utterance before
        self._blend_left = 0.0  # s
        self._utterance: str | None = None  # of the last expression that came, and its time
        self._last_time = 0.0
        self._late_at: deque[float] = deque(maxlen=LATE_COUNT)  # when frames came too late
        self._arrivals: deque[tuple[float, float]] = deque()  # (when, s late) of recent expressions
        self._delay_since = 0.0  # since when the delay has been what it is
        self._spare_since: float | None = None  # since when it has been longer than needed
        # Of the running utterance: what it needed at its beginning, and when that was.
        self._first_delay, self._began = math.inf, -math.inf

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, expression: TimedExpression, now: float, sent: float | None = None) -> None:
        """Queues an expression that came at `now`, s, and was sent at `sent` (`now`, if that is not
        known). The two differ where this process stalled."""
        lateness = (now if sent is None else min(sent, now)) - expression.time
        pause = abs(expression.time - self._last_time)
        if expression.utterance != self._utterance or pause > NEW_UTTERANCE:
            new, self._utterance = expression.utterance != self._utterance, expression.utterance
            self._late_at.clear()
            self._arrivals.clear()
            self._delay_since = now
            self._choose_delay(lateness)
            if new:
                self._first_delay, self._began = self._target, now
            else:
                self._first_delay = min(self._first_delay, self._target)
        self._last_time = expression.time
        self._arrivals.append((now, lateness))
        shown = self._frame is not None and expression.time * self.fps < self._frame + 0.5
        if now - expression.time > MAX_DELAY or (shown and now > expression.time):
            self._note_late(lateness, now)
            return
        while self._queue and self._queue[-1].time >= expression.time:
            self._queue.pop()  # time went back: what was queued belongs to a timeline that is gone
        if len(self._queue) >= CAPACITY:
            self.overflow += 1
            return
        self._queue.append(expression)

    def _note_late(self, lateness: float, now: float) -> None:
        """An expression came too late. Raises the delay where that happens again and again."""
        self.late += 1
        wanted = lateness + MARGIN + self.lead
        if lateness > MAX_DELAY or wanted <= self.delay:
            return  # no allowed delay would help; or the delay is enough, and this process was late
        if self._late_at and now - self._late_at[-1] < LATE_APART:
            return
        self._late_at.append(now)
        if len(self._late_at) == LATE_COUNT and now - self._late_at[0] < LATE_WITHIN:
            self._late_at.clear()
            self.delay = self._target = min(MAX_DELAY, wanted)
            self._delay_since = now
            if now - self._began < BEGINNING:
                self._first_delay = max(self._first_delay, self.delay)

    def _shorten_delay(self, now: float) -> None:
        """Shortens pauses, or skips ahead, if the delay has been longer than needed for a while."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] < now - UNNEEDED_FOR:
            self._arrivals.popleft()
        if not self._arrivals or self._target < self.delay:
            return
        if now - self._delay_since < UNNEEDED_FOR:
            return
        latest = max(lateness for _, lateness in self._arrivals)
        wanted = self._needed_delay(latest)
        if wanted >= self.delay - SPARE:
            self._spare_since = None
            return
        if self._spare_since is None:
            self._spare_since = now
        as_at_first = max(wanted, self._first_delay)
        # Speech that is sent early must be played whole, but not at a certain time.
        live = self._arrivals[-1][1] > -LIVE_LEAD
        lower = max(wanted if live else as_at_first, self.delay - self._silence_ahead(now))
        if now - self._spare_since > PAUSE_WITHIN:
            lower = min(lower, as_at_first)
        if lower > self.delay - MIN_CUT:
            return
        self.delay = self._target = lower
        if self._frame is not None:  # nothing of what is skipped was missed
            self._frame = max(self._frame, self._frame_at(now) - 1)

    def _needed_delay(self, lateness: float) -> float:
        """With which expressions that come so late are shown, and their audio is played."""
        return min(MAX_DELAY, max(0.0, lateness + MARGIN + self.lead, self.audio_delay))

    def _silence_ahead(self, now: float) -> float:
        """Length of the pause that is shown next, s, as far as it is known."""
        if not self._queue:
            return 0.0
        speech = (e.time for e in self._queue if e.speech > 0.5)
        return max(0.0, next(speech, self._queue[-1].time) - (now - self.delay) - 1 / self.fps)

    def _choose_delay(self, lateness: float) -> None:
        """Chooses the delay of an utterance from how late its first expression came."""
        wanted = self._needed_delay(lateness)
        # A delay that is a little longer than needed is kept: a change would be visible. The first
        # is only a guess, which is too long for a shorter look-ahead.
        spare, self._guessed = GUESS_SPARE if self._guessed else CHOICE_SPARE, False
        if wanted > self.delay:
            self.delay = self._target = wanted
        elif wanted == 0.0 or wanted < self.delay - spare:
            # Down by showing the frames until the utterance begins faster, so that none is dropped.
            self._target = wanted
            left = max(0.01, -lateness - self.lead)
            self._slew_rate = max(SLEW_RATE, (self.delay - wanted) / left)

    def reset(self) -> None:
        """An interrupt: drops everything not yet shown; the face relaxes from where it is."""
        self.resets += 1
        self._queue.clear()
        self._utterance, self._blend_left = None, 0.0
        self._spare_since = None

    def set_fps(self, fps: float) -> None:
        """Continues at another frame rate."""
        if self._frame is not None:
            self._frame = math.floor(self._frame * fps / self.fps)
        self.fps = float(fps)

    def shift(self, seconds: float) -> None:
        """The clock jumped: everything keeps its place relative to now."""
        self._queue = deque(replace(e, time=e.time + seconds) for e in self._queue)
        self._last_time += seconds
        self._delay_since += seconds
        self._began += seconds
        self._arrivals.clear()
        self._late_at.clear()
        self._spare_since = self._frame = None

    def tick(self, now: float) -> DueFrame | None:
        """The next frame if it is due within `lead` of `now`, s, or None."""
        elapsed = 0.0 if self._last_tick is None else min(0.1, max(0.0, now - self._last_tick))
        self._last_tick = now
        self.delay = max(min(self.delay, self._target), self.delay - self._slew_rate * elapsed)
        self._shorten_delay(now)
        frame = self._frame_at(now)
        if self._frame is not None and frame <= self._frame:
            if self._frame - frame <= (MAX_DELAY + 1) * self.fps:
                return None
            self._queue.clear()  # the clock went back: start again
            self._frame = None
        step = 1 if self._frame is None else frame - self._frame
        self._frame = frame
        if step > CLOCK_SET * self.fps:
            step = 1
        expression = self._sample(frame / self.fps)
        utterance, speech = "", 0.0
        if expression is None:
            self._relax(step)
        else:
            utterance, speech = expression.utterance, expression.speech
            self._follow(expression, step)
        self._shown_utterance = utterance
        return DueFrame(
            frame=frame,
            time=frame / self.fps,
            due=frame / self.fps + self.delay,
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
        if self._shown_utterance and expression.utterance != self._shown_utterance:
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
        return frame / self.fps + self.delay - self.lead

    def _frame_at(self, now: float) -> int:
        """The frame that is to be handed out at `now`."""
        return math.floor((now + self.lead - self.delay) * self.fps + 1e-6)

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
