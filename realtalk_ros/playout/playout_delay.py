# SPDX-License-Identifier: Apache-2.0
"""How much later than its time a face is shown: the playout delay of its jitter buffer.

Speech that is sent ahead needs none. Live speech comes late by the network's look-ahead: all of an
utterance is shown with one constant delay, chosen at its beginning. (jitter_buffer.py drops what
comes later than that.)

A process that stalled finds many expressions at once, all of them late: they say nothing about the
delay. It grows only where frames come too late again and again, or where sound that was sent late
would be dropped. When it has not been needed for UNNEEDED_FOR, as many frames are left out as it
has grown by: of live speech any, of speech that is sent early only silence. In live speech pauses
are shortened, too, until no more of it is left than needed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

LIVE_DELAY = 0.2  # s, the delay before any speech came: about that of live speech
MAX_DELAY = 2.5  # s: what a sender's clock may be behind (scheduling.py), and the look-ahead
MARGIN = 0.015  # s, allowance for jitter of arrival
SLEW_RATE = 0.25  # s by which a delay that is no longer needed falls in a second
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
MAX_WAIT = 1.0  # s by which a segment's first frame waits for its expression, which may never come


class PlayoutDelay:
    """A `lateness` is by how many seconds an expression was sent after its time."""

    def __init__(self) -> None:
        self.seconds = LIVE_DELAY
        self.lead = 0.0  # s before it is due, a frame is handed out: the time that rendering takes
        self.playback_latency = 0.0  # s, likewise of audio: the time that playing it takes
        self._target, self._slew_rate = LIVE_DELAY, SLEW_RATE  # what it falls to, how fast
        self._audio_lateness = -math.inf  # of the segment that came last
        self._audio_began, self._chunk = -math.inf, 0.0  # when its first chunk came, of how many s
        self._guessed = True  # no speech came yet that it was chosen for
        self._since = 0.0  # since when it has been what it is
        self._spare_since: float | None = None  # since when it has been longer than needed
        self._late_at: deque[float] = deque(maxlen=LATE_COUNT)  # when frames came too late
        self._arrivals: deque[tuple[float, float]] = deque()  # (when, lateness), recent ones
        # Of the running utterance: what it needed at its beginning, and when that was.
        self._first, self._began = math.inf, -math.inf

    def begin(self, lateness: float, now: float, new: bool) -> None:
        """Chooses the delay where a segment begins, from how late its first expression came; `new`:
        with an utterance."""
        self._late_at.clear()
        self._arrivals.clear()
        self._since = now
        wanted = self._needed(lateness)
        # A delay that is a little longer than needed is kept: a change would be visible. The first
        # is only a guess, which is too long for a shorter look-ahead.
        spare, self._guessed = GUESS_SPARE if self._guessed else CHOICE_SPARE, False
        if now - self._audio_began > self._chunk / 2:  # sound comes as it is spoken
            spare = max(spare, self._chunk)  # and expressions as late as that in the next chunk
        if wanted > self.seconds:
            self.seconds = self._target = wanted
        elif wanted == 0.0 or wanted < self.seconds - spare:
            # Down by showing the frames until the utterance begins faster, so that none is dropped.
            self._target = wanted
            left = max(0.01, -lateness - max(self.lead, self.playback_latency))
            self._slew_rate = max(SLEW_RATE, (self.seconds - wanted) / left)
        if new:
            self._first, self._began = self._target, now
        else:
            self._first = min(self._first, self._target)

    def note_arrival(self, lateness: float, now: float) -> None:
        """An expression came."""
        self._arrivals.append((now, lateness))

    def note_late(self, lateness: float, now: float) -> None:
        """It came too late to be shown. Raises the delay where that happens again and again."""
        wanted = lateness + MARGIN + self.lead
        if lateness > MAX_DELAY or wanted <= self.seconds:
            return  # no allowed delay would help; or the delay is enough, and this process was late
        if self._late_at and now - self._late_at[-1] < LATE_APART:
            return
        self._late_at.append(now)
        if len(self._late_at) == LATE_COUNT and now - self._late_at[0] < LATE_WITHIN:
            self._late_at.clear()
            self._raise(min(MAX_DELAY, wanted), now)
            if now - self._began < BEGINNING:
                self._first = max(self._first, self.seconds)

    def begin_audio(self, lateness: float, now: float, seconds: float) -> None:
        """A segment's first audio came, `seconds` of it. If its first expression came before, the
        delay may be too short for the audio."""
        self._audio_lateness = lateness
        self._audio_began, self._chunk = now, seconds
        if (needed := self._needed(-math.inf)) > self.seconds:
            self._raise(needed, now)
            self._first = max(self._first, needed)

    def note_late_audio(self, lateness: float, now: float) -> None:
        """More audio of the segment was sent too late to be played, such as a chunk of live speech
        that is longer than those before. Raises the delay until a pause."""
        if lateness <= MAX_DELAY:
            self._raise(MARGIN + lateness + self.playback_latency, now)
            self._first = max(self._first, self.seconds)

    def wait(self, lateness: float) -> None:
        """The first frame of sound that is here has no expression yet, `lateness` s after its time.
        Were it shown without, its lips would be lost, as all of an utterance has one delay."""
        wanted = lateness + self.lead
        if self.seconds < wanted <= MAX_WAIT:
            self.seconds, self._target = wanted, max(wanted, self._target)

    def _raise(self, seconds: float, now: float) -> None:
        self.seconds = self._target = seconds
        self._since = now

    def postpone(self, seconds: float) -> None:
        """All is shown so much later from now on; or earlier, if that is negative, as far as the
        delay is longer than needed."""
        lowest = 0.0
        if seconds < 0:
            needed = self._needed(max((late for _, late in self._arrivals), default=math.inf))
            seconds = min(0.0, max(seconds, needed - self.seconds))
            lowest = min(needed, self.seconds + seconds)
        self.seconds += seconds
        # While it falls, these are nearer to what is needed.
        self._target = max(lowest, self._target + seconds)
        self._first = max(lowest, self._first + seconds)

    def slew(self, elapsed: float) -> None:
        """Comes nearer to what was chosen, as `elapsed` s have passed."""
        slewed = self.seconds - self._slew_rate * elapsed
        self.seconds = max(min(self.seconds, self._target), slewed)

    def shorten(self, now: float, silence_ahead: Callable[[], float]) -> bool:
        """Shortens pauses, or skips ahead, if the delay has been longer than needed for a while.
        `silence_ahead` gives the length of the pause that is shown next, s. True if it fell."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] < now - UNNEEDED_FOR:
            self._arrivals.popleft()
        if not self._arrivals or self._target < self.seconds or now - self._since < UNNEEDED_FOR:
            return False
        latest = max(lateness for _, lateness in self._arrivals)
        wanted = self._needed(latest)
        if wanted >= self.seconds - SPARE:
            self._spare_since = None
            return False
        if self._spare_since is None:
            self._spare_since = now
        as_at_first = max(wanted, self._first)
        # Speech that is sent early must be played whole, but not at a certain time.
        live = self._arrivals[-1][1] > -LIVE_LEAD
        lower = max(wanted if live else as_at_first, self.seconds - silence_ahead())
        if live and now - self._spare_since > PAUSE_WITHIN:
            lower = min(lower, as_at_first)
        if lower > self.seconds - MIN_CUT:
            return False
        self.seconds = self._target = lower
        return True

    def reset(self) -> None:
        """An interrupt."""
        self._spare_since = None

    def shift(self, seconds: float) -> None:
        """The clock jumped."""
        self._since += seconds
        self._began += seconds
        self._audio_began += seconds
        self._arrivals.clear()
        self._late_at.clear()
        self._spare_since = None

    def _needed(self, lateness: float) -> float:
        """With which expressions that come so late are shown, and their audio is played, which
        waits for the first of them."""
        latency = self.playback_latency
        face, audio = lateness + max(self.lead, latency), self._audio_lateness + latency
        return min(MAX_DELAY + latency, max(0.0, MARGIN + max(face, audio)))
