# SPDX-License-Identifier: Apache-2.0
"""Measures how long frames take, and decides when to render them and at which quality."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from realtalk_ros.playout.adaptive_quality import ProcessorIdleness, QualityController
from realtalk_ros.playout.face_playout import FacePlayout

RENDER_MARGIN = 1.3  # of one measured rendering time, until there are more
READY_EARLY = 0.003  # s that rendering may take longer than it took recently
MOSTLY = 0.8  # share of frames of speech in a second that tells their cost
SMOOTHING = 0.5  # weight of the latest second in that
COMPARED = 3  # s of silence after speech that tell the cost of silence
MAX_RATIO = 4.0
RECENT = 50  # frames of speech by which the lead is chosen: others can be rendered faster


class FrameStatistics:
    """How long the last frames took, and how many there were."""

    def __init__(self) -> None:
        self.render_ms: deque[float] = deque(maxlen=250)
        self.publish_ms: deque[float] = deque(maxlen=250)
        self.behind_ms: deque[float] = deque(maxlen=250)  # published after they were due
        self.speech_ms: deque[float] = deque(maxlen=RECENT)  # rendering, of frames of speech
        # Since `take_load`; the work of each thread.
        self._generating = self._showing = self._shown = self._missed = self._of_speech = 0.0

    def add(
        self,
        *,
        generate: float,
        compose: float,
        publish: float,
        behind: float,
        missed: int,
        speech: bool,
    ) -> None:
        """One frame: s that it took to generate, compose and publish it, s by which it came after
        it was due, how many frames were missed before it, and whether it is of speech."""
        self.render_ms.append((generate + compose) * 1e3)
        if speech:
            self.speech_ms.append((generate + compose) * 1e3)
        self.publish_ms.append(publish * 1e3)
        self.behind_ms.append(behind * 1e3)
        self._generating += generate
        self._showing += compose + publish
        self._shown += 1
        self._missed += missed
        self._of_speech += speech

    def take_load(self) -> tuple[float, float, float, float]:
        """(s of work of the thread that had more, frames shown, of speech, missed) since the last
        call."""
        busy = max(self._generating, self._showing)
        load = busy, self._shown, self._of_speech, self._missed
        self._generating = self._showing = self._shown = self._missed = self._of_speech = 0.0
        return load

    def percentiles(self) -> Iterator[tuple[str, float]]:
        """(name, ms) for the diagnostics."""
        for name in ("render_ms", "publish_ms", "behind_ms"):
            times = list(getattr(self, name))
            if times:
                median, high = np.percentile(times, (50, 95))
                yield f"{name}_p50", float(median)
                yield f"{name}_p95", float(high)


class SpeechCost:
    """How much more work frames of speech are than those of silence: at a better quality than now,
    the machine must keep up when the face speaks again, too. Call `update` once a second."""

    def __init__(self) -> None:
        self._speech = self._silence = 0.0  # s of work on a frame, lately
        self._silent_seconds = 0
        self._ratio = 1.0

    def update(self, work: float, speech: float) -> float:
        """Takes a second's mean work on a frame, s, and its share of frames of speech. Returns how
        many times that work would be if all of them had been of speech."""
        if speech > MOSTLY:
            self._speech += SMOOTHING * (work - self._speech) if self._speech else work
            self._silent_seconds = 0
        elif not speech:
            self._silent_seconds += 1
            # Later on, other programs may have come or gone.
            if self._speech and self._silent_seconds <= COMPARED:
                self._silence += (work - self._silence) / self._silent_seconds
                self._ratio = min(MAX_RATIO, max(1.0, self._speech / max(1e-6, self._silence)))
        return self._ratio / (speech * self._ratio + 1.0 - speech)


class QualityMonitor:
    """Call `update` once a second."""

    def __init__(self, playout: FacePlayout) -> None:
        self.controller = QualityController()
        self.statistics = FrameStatistics()
        self._playout = playout
        self._speech_cost = SpeechCost()
        self._idleness = ProcessorIdleness()

    def update(self, adapt: bool) -> bool:
        """Adjusts the lead to how long rendering took recently, and, if `adapt`, the quality to
        whether the machine keeps up. True if the quality changed."""
        busy, shown, of_speech, missed = self.statistics.take_load()
        idle = self._idleness.idle()
        if not shown:
            return False
        self._adjust_lead()
        load = busy / shown * self._playout.fps
        speaking = load * self._speech_cost.update(busy / shown, of_speech / shown)
        return adapt and self.controller.update(load, missed / (shown + missed), idle, speaking)

    def set_render_time(self, seconds: float) -> None:
        """Chooses the lead by the first measured rendering time, s."""
        self._playout.set_lead(RENDER_MARGIN * seconds + READY_EARLY, at_once=True)

    def _adjust_lead(self) -> None:
        recent = sorted(self.statistics.speech_ms)
        if recent:
            self._playout.set_lead(recent[int(0.9 * len(recent))] / 1e3 + READY_EARLY)
