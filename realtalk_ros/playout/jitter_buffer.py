"""What to show now: a jitter buffer between expressions and a steady display.

A frame stamped T is shown at T where its expression came in time, as it does for speech that is
sent ahead of when it is heard. Live speech comes late by the network's look-ahead; then all of an
utterance is shown with one constant delay, found at its beginning. Frames later than that are
dropped, never queued, so the picture cannot fall behind the sound.

A process that stood still finds many expressions at once, all of them late: they say nothing about
the delay. It grows only where frames come too late again and again. When it has not been needed for
a second, what it grew by is skipped; in live speech pauses are shortened, too, until no more of it
is left than needed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from realtalk_ros.stream_types import TimedExpression

LIVE_DELAY = 0.2  # s, the delay before any speech was heard: about that of live speech
MAX_DELAY = 2.5  # s: what a sender's clock may be behind (turn_taking.BEHIND), and the look-ahead
MARGIN = 0.015  # s, room for the jitter of arrival
EASE = 0.045  # s, time constant with which the face relaxes when expressions stop
SLEW = 0.25  # s by which a delay that became needless falls in a second
BLEND = 0.12  # s in which one utterance's face turns into that of another that replaces it
LATE_TO_ADAPT = 3  # times that frames came too late, after which the delay is raised
LATE_WITHIN = 3.0  # s in which they must lie
LATE_APART = 0.1  # s, frames that come within this were late for one reason
NEEDED = 0.8  # s for which a delay must not have been needed before it falls
SPARE = 0.06  # s that a delay may be longer than needed
PATIENCE = 0.4  # s for which a pause is waited for before speech is skipped
LIVE = -0.1  # s, expressions of live speech come no earlier than this before their time
BEGINNING = 1.5  # s in which an utterance's first delay is found
STEP = 0.02  # s, a pause is not shortened by less
NEW_UTTERANCE = 0.5  # s, a longer pause between expressions lets the delay be chosen anew
CAPACITY = 3000  # expressions, two minutes at 25 fps


@dataclass(frozen=True)
class DueFrame:
    """A frame to show: `frame` counts 1 / fps since the clock's zero and is to be seen at `due`, s;
    `weights` (52,) are 0..1, `rotation` (3,) rad pitch, yaw, roll."""

    frame: int
    due: float
    weights: np.ndarray
    rotation: np.ndarray
    utterance: str
    speech: float
    skipped: int  # frames that the display missed since the last one


class JitterBuffer:
    """Call `push` for every expression and `tick` at least fps times a second."""

    def __init__(self, fps: float):
        self.fps = float(fps)
        self.delay = LIVE_DELAY
        self._goal, self._slew = LIVE_DELAY, SLEW  # what it falls to, and how fast
        self._ticked: float | None = None
        self.lead = 0.0  # s before it is seen, a frame is handed out: the time that rendering takes
        self.sound_delay = 0.0  # s, the least delay with which the sound can be played
        self.late = 0  # expressions that came too late to be shown
        self.overflow = 0  # expressions refused because the queue was full
        self._queue: deque[TimedExpression] = deque()
        self._frame: int | None = None  # last shown
        self._weights = np.zeros(52, np.float32)
        self._rotation = np.zeros(3, np.float32)
        self._before = (self._weights, self._rotation)  # what another utterance is blended from
        self._blend = 0.0  # s left of that
        self._seen = ""  # utterance shown last
        self._utterance: str | None = None  # of the last expression that came, and its time
        self._last_time = 0.0
        self._lates: deque[float] = deque(maxlen=LATE_TO_ADAPT)  # when frames came too late
        self._arrivals: deque[tuple[float, float]] = deque()  # when, and how late, of late
        self._settled = 0.0  # since when the delay has been what it is
        self._spare_since: float | None = None  # since when it has been longer than needed
        # Of the running utterance: what it needed at its beginning, and when that was.
        self._first_delay, self._began = math.inf, -math.inf

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, expression: TimedExpression, now: float, sent: float | None = None) -> None:
        """Queues an expression that came at `now`, s, and was sent at `sent` (`now`, if that is not
        known). The two differ where this process stood still."""
        lateness = (now if sent is None else min(sent, now)) - expression.time
        pause = abs(expression.time - self._last_time)
        if expression.utterance != self._utterance or pause > NEW_UTTERANCE:
            new, self._utterance = expression.utterance != self._utterance, expression.utterance
            self._lates.clear()
            self._arrivals.clear()
            self._settled = now
            self._adapt(lateness)
            if new:
                self._first_delay, self._began = self._goal, now
            else:
                self._first_delay = min(self._first_delay, self._goal)
        self._last_time = expression.time
        self._arrivals.append((now, lateness))
        shown = self._frame is not None and expression.time * self.fps < self._frame + 0.5
        if now - expression.time > MAX_DELAY or (shown and now > expression.time):
            self._too_late(lateness, now)
            return
        while self._queue and self._queue[-1].time >= expression.time:
            self._queue.pop()  # time went back: what was queued belongs to a timeline that is gone
        if len(self._queue) >= CAPACITY:
            self.overflow += 1
            return
        self._queue.append(expression)

    def _too_late(self, lateness: float, now: float) -> None:
        self.late += 1
        wanted = lateness + MARGIN + self.lead
        if lateness > MAX_DELAY or wanted <= self.delay:
            return  # of another time, no delay would show it; or it was this process that was late
        if self._lates and now - self._lates[-1] < LATE_APART:
            return
        self._lates.append(now)
        if len(self._lates) == LATE_TO_ADAPT and now - self._lates[0] < LATE_WITHIN:
            self._lates.clear()
            self.delay = self._goal = min(MAX_DELAY, wanted)
            self._settled = now
            if now - self._began < BEGINNING:
                self._first_delay = max(self._first_delay, self.delay)

    def _lower(self, now: float) -> None:
        """Shortens pauses, or skips ahead, if the delay has been longer than needed for a while."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] < now - NEEDED:
            self._arrivals.popleft()
        if not self._arrivals or now - self._settled < NEEDED or self._goal < self.delay:
            return
        latest = max(lateness for _, lateness in self._arrivals)
        wanted = min(MAX_DELAY, max(0.0, latest + MARGIN + self.lead, self.sound_delay))
        if wanted >= self.delay - SPARE:
            self._spare_since = None
            return
        if self._spare_since is None:
            self._spare_since = now
        as_at_first = max(wanted, self._first_delay)
        # Who sends his speech early does not mind when it is heard, but that it is heard.
        live = self._arrivals[-1][1] > LIVE
        lower = max(wanted if live else as_at_first, self.delay - self._silence_ahead(now))
        if now - self._spare_since > PATIENCE:
            lower = min(lower, as_at_first)
        if lower > self.delay - STEP:
            return
        self.delay = self._goal = lower
        if self._frame is not None:  # nothing of what is skipped was missed
            self._frame = max(self._frame, self._frame_at(now) - 1)

    def _silence_ahead(self, now: float) -> float:
        """For how long, s, nobody is going to speak, as far as that is known."""
        if not self._queue:
            return 0.0
        speech = (e.time for e in self._queue if e.speech > 0.5)
        return max(0.0, next(speech, self._queue[-1].time) - (now - self.delay) - 1 / self.fps)

    def _adapt(self, lateness: float) -> None:
        """Chooses the delay of an utterance from how late its first expression came."""
        wanted = min(MAX_DELAY, max(0.0, lateness + MARGIN + self.lead, self.sound_delay))
        # A delay that is a little longer than needed is kept: a change would be seen.
        if wanted > self.delay:
            self.delay = self._goal = wanted
        elif wanted == 0.0 or wanted < self.delay - 0.1:
            # Down by showing what lies between faster, so that no frame is left out, until the
            # utterance is seen.
            self._goal = wanted
            left = max(0.01, -lateness - self.lead)
            self._slew = max(SLEW, (self.delay - wanted) / left)

    def reset(self) -> None:
        """An interrupt: drops everything not yet shown; the face relaxes from where it is."""
        self._queue.clear()
        self._utterance, self._blend = None, 0.0
        self._spare_since = None

    def set_fps(self, fps: float) -> None:
        """Goes on at another frame rate."""
        if self._frame is not None:
            self._frame = math.floor(self._frame * fps / self.fps)
        self.fps = float(fps)

    def shift(self, seconds: float) -> None:
        """The clock jumped: everything keeps its place relative to now."""
        self._queue = deque(replace(e, time=e.time + seconds) for e in self._queue)
        self._last_time += seconds
        self._settled += seconds
        self._began += seconds
        self._arrivals.clear()
        self._lates.clear()
        self._spare_since = self._frame = None

    def tick(self, now: float) -> DueFrame | None:
        """The next frame if it is to be seen within `lead` of `now`, s, or None."""
        gone = 0.0 if self._ticked is None else min(0.1, max(0.0, now - self._ticked))
        self._ticked = now
        self.delay = max(min(self.delay, self._goal), self.delay - self._slew * gone)
        self._lower(now)
        frame = self._frame_at(now)
        if self._frame is not None and frame <= self._frame:
            if self._frame - frame <= (MAX_DELAY + 1) * self.fps:
                return None
            self._queue.clear()  # the clock went back: start anew
            self._frame = None
        step = 1 if self._frame is None else frame - self._frame
        self._frame = frame
        if step > 10 * self.fps:  # the clock went ahead
            step = 1
        weights, rotation, utterance, speech = self._at(frame / self.fps)
        if weights is None:
            left = np.float32(math.exp(-step / self.fps / EASE))
            weights, rotation = self._weights * left, self._rotation * left
            weights[weights < 1e-3] = 0
            self._blend = 0.0
        else:
            if self._seen and utterance != self._seen:
                self._before, self._blend = (self._weights, self._rotation), BLEND
            if self._blend > 0:
                self._blend -= step / self.fps
                share = np.float32(max(0.0, self._blend) / BLEND)
                weights = weights + share * (self._before[0] - weights)
                rotation = rotation + share * (self._before[1] - rotation)
        self._weights, self._rotation, self._seen = weights, rotation, utterance
        due = frame / self.fps + self.delay
        return DueFrame(frame, due, weights, rotation, utterance, speech, step - 1)

    def next_due(self, now: float) -> float:
        """When `tick` will have another frame, s."""
        frame = self._frame_at(now) + 1
        return frame / self.fps + self.delay - self.lead

    def _frame_at(self, now: float) -> int:
        """The frame that is to be handed out at `now`."""
        return math.floor((now + self.lead - self.delay) * self.fps + 1e-6)

    def _at(self, time: float) -> tuple[np.ndarray | None, np.ndarray, str, float]:
        """The expression at `time`: interpolated, or the nearest within half a frame, or None."""
        queue, near = self._queue, 0.5 / self.fps + 1e-6
        while len(queue) > 1 and queue[1].time <= time + 1e-6:
            queue.popleft()
        nothing = (None, self._rotation, "", 0.0)
        if not queue or queue[0].time > time + near:
            return nothing
        first = queue[0]
        if len(queue) > 1 and first.time < time - 1e-6 and queue[1].time - first.time <= 0.1:
            second = queue[1]
            share = np.float32((time - first.time) / (second.time - first.time))
            weights = first.weights + share * (second.weights - first.weights)
            rotation = first.rotation + share * (second.rotation - first.rotation)
            return weights, rotation, second.utterance, second.speech
        if first.time < time - near:
            queue.popleft()
            return nothing
        return first.weights, first.rotation, first.utterance, first.speech
