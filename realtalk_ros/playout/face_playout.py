# SPDX-License-Identifier: Apache-2.0
"""The frames and the audio of a face until they are shown and played, on one clock.

Which frame is shown when, and what becomes of late and missing ones: jitter_buffer.py. How much
later than its time: playout_delay.py. Which sound goes out with it: audio_playout.py.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from realtalk_ros.playout.audio_playout import LATE, SLICE, AudioPlayout
from realtalk_ros.playout.clock import UNDER_WAY
from realtalk_ros.playout.jitter_buffer import DueFrame, JitterBuffer
from realtalk_ros.playout.reset_pairs import ResetPairs
from realtalk_ros.playout.speaking import SpeakingState
from realtalk_ros.stream_types import ScheduledChunk, TimedExpression

MAX_LEAD = 1.8  # periods of a frame: two threads share the work on it (nodes/render_loop.py)
MIN_CHANGE = 0.003  # s, the lead is not changed by less
MAX_STEP = 0.25  # s by which a clock moves at once, at most, where no sound is late for that
MAX_OFFSET = 600.0  # s that a chunk's stamp may lie from now
WAITING = 3  # expressions, more than of live speech


class FacePlayout:
    """Filled by the executor, read by the threads that show frames and play audio: each method
    takes the lock. Times are media time in seconds."""

    def __init__(
        self, fps: float, clock: Callable[[], float], clock_jump: Callable[[], float]
    ) -> None:
        """`clock` is the ROS clock, s; `clock_jump` gives by how much it was set since the last
        call, s."""
        self.wake_audio = threading.Event()  # there may be audio to play
        self._lock = threading.Lock()
        self._frames = JitterBuffer(fps)
        self._audio = AudioPlayout()
        self._speaking = SpeakingState()
        self._clock, self._clock_jump = clock, clock_jump
        self._jump, self._jumped_at = 0.0, -math.inf  # s by which the clock was set, when (steady)
        self._played_at = (math.inf, 0.0)  # audio, last: by the clock, by the steady one
        self._resets = ResetPairs()  # of the executor's thread alone

    def now(self) -> float:
        """Now, after all that waits was moved with the clock. What comes after a jump is stamped by
        the new time: it must not be moved with what came before."""
        with self._lock:
            return self._now()

    def _now(self) -> float:
        """As `now`, for who holds the lock."""
        if jump := self._clock_jump():
            self._jump, self._jumped_at = jump, time.monotonic()
            self._frames.shift(jump)
            self._audio.shift(jump)
            self._speaking.shift(jump)
        return self._clock()

    def _missed_jump(self, when: float, follows: Callable[[float], bool]) -> float:
        """By how much what comes, stamped `when`, is to be moved, s: with the clock, where it was
        stamped before that was set, so that it `follows` what came before only then."""
        if time.monotonic() - self._jumped_at > UNDER_WAY or follows(when):
            return 0.0
        return self._jump if follows(when + self._jump) else 0.0

    def shown_now(self) -> float:
        """The time of the frame that is shown now."""
        with self._lock:
            return self._now() - self._frames.delay.seconds

    # Frames

    @property
    def fps(self) -> float:
        with self._lock:
            return self._frames.fps

    def set_fps(self, fps: float) -> None:
        """Continues at another frame rate."""
        with self._lock:
            self._frames.fps = float(fps)

    @property
    def lead(self) -> float:
        """How long before it is due, a frame is handed out, s."""
        with self._lock:
            return self._frames.delay.lead

    def set_lead(self, seconds: float, at_once: bool = False) -> None:
        """Frames are handed out so long before they are due, MAX_LEAD periods at most. Unless
        `at_once`, only where that delays or drops no speech."""
        with self._lock:
            frames, delay = self._frames, self._frames.delay
            lead = min(seconds, MAX_LEAD / frames.fps)
            # Not while live speech is on its way: its expressions would come too late. Where some
            # wait, as they do of speech that is sent ahead, there is time to begin earlier.
            ahead = lead > delay.lead and len(frames) > WAITING
            change = abs(lead - delay.lead) > MIN_CHANGE and (ahead or not len(frames))
            if at_once or change:
                delay.lead = lead

    def push_expression(self, expression: TimedExpression, waited: float) -> None:
        """Takes an expression that has waited for `waited` s since it was sent."""
        with self._lock:
            now = self._now()
            expression = expression.moved(self._missed_jump(expression.time, self._frames.follows))
            self._frames.push(expression, now, now - waited)
            self._audio.confirm(expression.time, now - waited)

    def next_frame(self) -> tuple[DueFrame | None, float]:
        """A frame to render now, or None; and how long, s, until the next one."""
        with self._lock:
            now = self._now()
            if (begin := self._audio.unexpressed) is not None:
                self._frames.wait_for(begin, now)
            frame = self._frames.tick(now, self._audio.end)
            return frame, self._frames.next_due(now) - now

    # Audio

    def push_audio(self, chunk: ScheduledChunk, waited: float) -> bool:
        """Takes a chunk that has waited for `waited` s since it was sent. False if it is not of
        now, and left out."""
        with self._lock:
            now = self._now()
            chunk = chunk.moved(self._missed_jump(chunk.start, self._audio.follows))
            if abs(chunk.start - now) > MAX_OFFSET:
                return False
            late = now - waited - chunk.start
            overdue = self._audio_time() - waited - chunk.start
            if self._audio.push(chunk):
                self._frames.delay.begin_audio(late + SLICE, now, chunk.seconds)
            elif len(chunk.pcm) and overdue > LATE - SLICE:  # it would be dropped
                self._frames.delay.note_late_audio(late + SLICE, now)
            return True

    @property
    def late_sound(self) -> float:
        """Length of the sound that came too late and was left out, s."""
        with self._lock:
            return self._audio.late

    def set_playback_latency(self, seconds: float) -> None:
        """Audio is handed out so much before its frame. What plays goes on without a gap, as the
        frames wait where that is more than before; where it is less, they are shown earlier as far
        as they waited, and the audio waits for the rest."""
        with self._lock:
            delay = self._frames.delay
            more, delay.playback_latency = seconds - delay.playback_latency, seconds
            overdue = self._audio.overdue(self._audio_time())
            if not len(self._audio) and overdue > max(0.0, more) + LATE:
                return  # nothing plays
            self._frames.postpone(min(more, overdue), self._clock())

    def _audio_time(self) -> float:
        """The time of the audio that is handed out now."""
        delay = self._frames.delay
        return self._now() - delay.seconds + delay.playback_latency

    def play_audio(self, play: Callable[[list[ScheduledChunk]], object]) -> float:
        """Has all played that is due. Returns after how many seconds there may be more. `play` is
        called under the lock: what is dropped meanwhile must not follow."""
        with self._lock:
            time, now = self._audio_time(), self._clock()
            due = self._audio.take(time, now, self._clock_step(now))
            if not len(self._audio):
                self.wake_audio.clear()
            play(due)
            return self._audio.until_next(time)

    def _clock_step(self, now: float) -> float:
        """By how much more the clock has moved than the time since audio was played last, s: one of
        a simulation moves in steps."""
        (clock, steady), self._played_at = self._played_at, (now, time.monotonic())
        return min(MAX_STEP, max(0.0, now - clock - (self._played_at[1] - steady)))

    def drop_audio(self, then: Callable[[], object]) -> None:
        """Drops all audio. `then` is called under the lock, or a piece of it could follow."""
        with self._lock:
            self._audio.clear()
            then()

    # Speaking

    @property
    def speaking(self) -> bool:
        """Whether the face is shown speaking."""
        with self._lock:
            return self._speaking.state

    def show(self, frame: DueFrame) -> bool:
        """Notes that a frame is shown. Returns if `speaking` changed."""
        with self._lock:
            return self._speaking.update(frame.time, frame.speech)

    def end_speaking(self) -> bool:
        """The face is not shown any more. Returns if `speaking` changed."""
        with self._lock:
            changed, self._speaking.state = self._speaking.state, False
            return changed

    # Interrupts

    def is_dropped(self, frame: DueFrame) -> bool:
        """Whether a frame of speech was interrupted after it was handed out."""
        with self._lock:
            return frame.utterance is not None and frame.resets != self._frames.resets

    def interrupt(self) -> None:
        """Drops what is not yet shown; a frame that is being rendered is not shown."""
        with self._lock:
            self._frames.reset()
            self._audio.forget_expressions()
            self._speaking.cut(self._now() - self._frames.delay.seconds)

    def interrupt_by_expressions(self) -> None:
        """As `interrupt`, for a reset that came with the expressions."""
        self._resets.on_expressions(time.monotonic())
        self.interrupt()

    def interrupt_by_audio(self) -> None:
        """As `interrupt`, for a reset that came with the audio."""
        # The same reset may wait on `expression` behind what was sent before it, which can be
        # seconds of speech: that is dropped. If it came there first, what followed it is kept.
        if self._resets.on_audio(time.monotonic()):
            self.interrupt()

    def expressions_are_old(self) -> bool:
        """Whether expressions that come now were sent before an interrupt."""
        return self._resets.expressions_are_old(time.monotonic())

    def clear(self) -> None:
        """Drops everything."""
        with self._lock:
            self._frames.reset()
            self._audio.clear()

    def status(self) -> dict[str, Any]:
        """For the diagnostics."""
        with self._lock:
            frames, audio = self._frames, self._audio
            return {
                "fps": frames.fps,
                "late_expressions": frames.late,
                "queued_expressions": len(frames),
                "refused_expressions": frames.overflow,
                "queued_sound": len(audio),
                "late_sound_ms": audio.late * 1e3,
                "delay_ms": frames.delay.seconds * 1e3,
                "lead_ms": frames.delay.lead * 1e3,
                "speaking": self._speaking.state,
            }
