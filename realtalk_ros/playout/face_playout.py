# SPDX-License-Identifier: Apache-2.0
"""The frames and the audio of a face until they are shown and played, on one clock.

Which frame is shown when, and what becomes of late and missing ones: jitter_buffer.py. Which sound
goes out with it: audio_playout.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from realtalk_ros.playout.audio_playout import SLICE, AudioPlayout
from realtalk_ros.playout.jitter_buffer import MARGIN, DueFrame, JitterBuffer
from realtalk_ros.playout.reset_pairs import ResetPairs
from realtalk_ros.playout.speaking import SpeakingState
from realtalk_ros.stream_types import ScheduledChunk, TimedExpression


class FacePlayout:
    """Filled by the executor, read by the threads that show frames and play audio.

    Hold `lock` to call `now` and to use `frames` or `audio`; methods that take it themselves say
    so. Times are media time in seconds.
    """

    def __init__(
        self, fps: float, clock: Callable[[], float], clock_jump: Callable[[], float]
    ) -> None:
        """`clock` is the ROS clock, s; `clock_jump` gives by how much it was set since the last
        call, s."""
        self.lock = threading.Lock()
        self.frames = JitterBuffer(fps)
        self.audio = AudioPlayout()
        self.speaking = SpeakingState()
        self.interrupts = 0  # how often what was not yet shown was dropped
        self.wake_audio = threading.Event()  # there may be audio to play
        self._clock, self._clock_jump = clock, clock_jump
        self._resets = ResetPairs()

    def now(self) -> float:
        """Now, after all that waits was moved with the clock. What comes after a jump is stamped by
        the new time: it must not be moved with what came before."""
        if jump := self._clock_jump():
            self.frames.shift(jump)
            self.audio.shift(jump)
            self.speaking.shift(jump)
        return self._clock()

    def push_expression(self, expression: TimedExpression, now: float, sent: float) -> None:
        """Takes an expression at `now` that was sent at `sent`."""
        self.frames.push(expression, now, sent)
        self.audio.confirm(expression.time)

    def push_audio(self, chunk: ScheduledChunk, sent: float, latency: float) -> None:
        """Takes a chunk that was sent at `sent` and is to be played `latency` early. Takes the
        lock."""
        with self.lock:
            if self.audio.push(chunk):
                self.frames.audio_delay = max(0.0, sent - chunk.start + SLICE + MARGIN + latency)

    def next_frame(self) -> tuple[DueFrame | None, float]:
        """A frame to render now, or None; and how long, s, until the next one. Takes the lock."""
        with self.lock:
            now = self.now()
            frame = self.frames.tick(now)
            return frame, self.frames.next_due(now) - now

    def interrupt(self) -> None:
        """Drops what is not yet shown; a frame that is being rendered is not shown. Takes the
        lock."""
        self.interrupts += 1
        with self.lock:
            self.frames.reset()
            self.audio.forget_expressions()
            self.speaking.cut(self.now() - self.frames.delay)

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
        """Drops everything. Takes the lock."""
        with self.lock:
            self.frames.reset()
            self.audio.clear()
