# SPDX-License-Identifier: Apache-2.0
"""Lips part before speech, while a person breathes in and makes ready: some 0.4 s before the first
sound, which is more than the network looks ahead. And between phrases they stay apart.

Where sound is known well before it is played, as of a file or of text-to-speech, `Preparation`
holds the frames of a silence back until it is known whether speech follows, and then opens the lips
in them, or keeps them open. Live speech is not delayed: a frame that is due is given out as it is.
So nothing moves in a silence that no speech ends, or where nobody can know yet.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.face_model import lips
from realtalk_ros.stream_types import TimedExpression

SPEECH = 0.5  # probability from which a frame is speech
CONFIRMED = 0.06  # s of speech, before which a click or a breath may be meant
# How far people's lips are apart before speech: s before its first frame, cm. The share of a
# person's range in the mean of twelve people (before_speech in the report of `realtalk data
# mouths`), of the network's range of 1.2 cm; the first is where they begin to part, which few films
# show. After the last of them, lips go straight to where the network has them for the first sound.
BEFORE = (0.64, 0.52, 0.44, 0.36, 0.28, 0.20)
GAP = (0.076, 0.38, 0.38, 0.43, 0.43, 0.48)
MEETING = 0.05  # cm: less than at rest (0.076), as where lips meet for p, b or m
FASTEST = 8.2  # cm/s, where little of a pause is left: of those sentences, the mean of the fastest
AFTER_SPEECH = 0.2  # s after speech in which lips stay as they are: a closure is as long
# Pauses between phrases, s: stops within words are shorter, before longer ones lips shut.
PAUSE = (0.24, 1.0)
# How far people's lips are apart in them, cm: 0.49 of their range in the mean of six people
# (between_phrases in the report of `realtalk data mouths`), of the network's range of 1.2 cm.
PARTED = 0.59
SHORT_PAUSE = 0.65  # s, up to which they are so throughout; in longer ones they shut first, for
SHUT = 0.3  # s
LAST_SOUND = 0.15  # cm between the lips at the end of a phrase, from which it is no p, b or m
TO_SOUND = 0.12  # s in which lips go from there to the first sound: 4.5 cm/s at most

# (k,) times in s, gaps in cm at them, and the time from which on they are followed
_Way = tuple[np.ndarray, np.ndarray, float]


class Preparation:
    """Takes the frames of one utterance in order, and returns them in order, once it is known
    whether speech follows."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Drops what is held; the next frame begins another utterance."""
        self._held: deque[TimedExpression] = deque()
        self._speech_since: float | None = None  # s, if the last frame was speech
        self._last_speech = -math.inf  # s, of a frame that was surely speech
        self._last_gap = 0.0  # cm, of that frame
        self._last: tuple[float, float] | None = None  # time of the last returned frame, its lift

    def push(
        self, expressions: list[TimedExpression], due: float = -math.inf
    ) -> list[TimedExpression]:
        """The frames that are now known, and those up to `due` s, which cannot wait."""
        ready: list[TimedExpression] = []
        for frame in expressions:
            self._held.append(frame)
            if frame.speech < SPEECH:
                self._speech_since = None
                if frame.time - self._last_speech > PAUSE[1] + CONFIRMED:
                    ready += self._release(frame.time - BEFORE[0] - CONFIRMED)
                continue
            if self._speech_since is None:
                self._speech_since = frame.time
            if frame.time - self._speech_since >= CONFIRMED - 1e-6:
                ready += self._release(math.inf, self._way_to(self._speech_since))
                self._last_speech, self._last_gap = frame.time, float(lips.gap_of(frame.weights))
        return ready + self._release(due)

    def flush(self) -> list[TimedExpression]:
        """The remaining frames; the next one begins another utterance."""
        ready = self._release(math.inf)
        self.reset()
        return ready

    def shift(self, seconds: float) -> None:
        """After a jump of the clock: moves what is held."""
        self._held = deque(frame.moved(seconds) for frame in self._held)
        self._last_speech += seconds
        if self._speech_since is not None:
            self._speech_since += seconds
        if self._last is not None:
            self._last = (self._last[0] + seconds, self._last[1])

    def _way_to(self, onset: float) -> _Way | None:
        """How far the lips are apart before speech that begins at `onset` s: first as people's, at
        last as far as the network has them at the onset, or shut where they meet shortly before.
        None if the frames until then were returned already."""
        pause = onset - self._last_speech
        between = PAUSE[0] <= pause <= PAUSE[1]
        # After speech the network shuts the lips for a while, which is no p, b or m.
        first, last = (onset - CONFIRMED, math.inf) if between else (onset - BEFORE[-1], onset)
        gaps = [
            (f.time, float(lips.gap_of(f.weights))) for f in self._held if first < f.time <= last
        ]
        if not gaps or (between and gaps[0][0] > onset):
            return None
        met = (there for there in gaps if there[1] < MEETING)
        end, gap = next(met, min(gaps, key=lambda there: abs(there[0] - onset)))
        if not between:
            times = np.array([*(onset - np.array(BEFORE)), end])
            return times, np.array([*GAP, gap]), self._last_speech + AFTER_SPEECH
        shut = 0.0 if self._last_gap > LAST_SOUND else AFTER_SPEECH
        begin = self._last_speech + (shut if pause <= SHORT_PAUSE else SHUT)
        times = np.array([self._last_speech, max(end - TO_SOUND, self._last_speech), end])
        return times, np.array([PARTED, PARTED, gap]), begin

    def _release(self, until: float, way: _Way | None = None) -> list[TimedExpression]:
        """Held frames up to `until` s; with their lips on the way to speech, if it follows."""
        ready = []
        while self._held and self._held[0].time <= until + 1e-6:
            frame = self._held.popleft()
            lift = self._lift(frame, *way) if way else 0.0
            self._last = frame.time, lift
            ready.append(_opened(frame, lift) if lift > 0 else frame)
        return ready

    def _lift(
        self, frame: TimedExpression, times: np.ndarray, gaps: np.ndarray, begin: float
    ) -> float:
        """By how many cm the lips of a frame are farther apart than the network has them."""
        if not max(times[0], begin) <= frame.time < times[-1]:
            return 0.0
        wanted = float(np.interp(frame.time, times, gaps))
        lift = max(0.0, wanted - float(lips.gap_of(frame.weights)))
        time, lifted = self._last or (frame.time, 0.0)
        return min(lift, lifted + FASTEST * max(0.0, frame.time - time))


def _opened(frame: TimedExpression, lift: float) -> TimedExpression:
    weights = frame.weights.copy()
    weights[lips.OPENING_WEIGHTS] += np.float32(lift) * lips.OPENING_STEP
    return replace(frame, weights=np.minimum(weights, 1))


def prepared(weights: np.ndarray, speech: np.ndarray) -> np.ndarray:
    """Weights (n, 52) at 50 Hz with the lips parted before speech; speech: (n,) its probability."""
    stage, still = Preparation(), np.zeros(3, np.float32)
    frames = [
        TimedExpression(
            time=k / EXPRESSION_RATE,
            utterance="",
            sequence=k,
            weights=row,
            rotation=still,
            speech=float(probability),
        )
        for k, (row, probability) in enumerate(zip(weights, speech, strict=True))
    ]
    known = stage.push(frames) + stage.flush()
    return np.array([frame.weights for frame in known], np.float32).reshape(weights.shape)
