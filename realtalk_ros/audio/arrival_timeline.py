# SPDX-License-Identifier: Apache-2.0
"""A timeline for sound that comes as it is spoken, and does not say when it is to be played.

Stamps of such chunks, where they have any, say when a chunk was sent or recorded, with the jitter
of the sender's loop. So time is counted in samples, and stamps only show where a new stretch of
speech begins.
"""

from __future__ import annotations

from realtalk_ros.audio.sample_clock import SampleClock

PAUSE = 0.25  # s without sound after which the next chunk begins a new utterance
JUMP = 1.0  # s, a stamp this far from when its chunk came, or from those before, is not believed


class ArrivalTimeline:
    """Places chunks that come as they are spoken: `place` gives the time of the first sample."""

    def __init__(self) -> None:
        self.utterances = 0
        self._end: float | None = None  # media time at which what was placed ends
        self._came = 0.0  # when the last chunk was sent, and its stamp
        self._stamp: float | None = None
        self._interrupted = False
        self._clock = SampleClock()  # of the utterance

    def interrupt(self) -> None:
        """The face was interrupted. Until there is a pause, chunks get no time: they may still be
        of the old utterance, and others decide that."""
        self._interrupted = True

    def place(self, stamp: float | None, sent: float, seconds: float) -> tuple[float | None, int]:
        """(media time of the first sample, or None: at once; number of the utterance), of a chunk
        that was sent at `sent`; all times in s.

        A chunk goes on where the last one ended, however early it comes (senders may send a whole
        sentence at once), unless its sender's sample clock is fast: then it overlaps that. A new
        utterance begins after a pause, or when the stamps jump.
        """
        if stamp is None or abs(stamp - sent) > JUMP:
            stamp = None
        jumped = (
            stamp is not None and self._stamp is not None and stamp < self._stamp - JUMP
        ) or sent < self._came - JUMP
        over = self._end is None or sent > self._end + PAUSE
        if over or jumped or (self._interrupted and sent > self._came + max(PAUSE, 2 * seconds)):
            self.utterances += 1
            self._end = sent if stamp is None else stamp
            self._interrupted = False
            self._clock = SampleClock()
        assert self._end is not None
        self._end -= self._clock.to_skip(self._end - sent, sent)
        start, self._end = self._end, self._end + seconds
        self._came, self._stamp = sent, stamp
        return (None if self._interrupted else start), self.utterances
