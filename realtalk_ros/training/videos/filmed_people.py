# SPDX-License-Identifier: Apache-2.0
"""Clips in which one person speaks: how late the sound is, how the mouth moves in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import lips
from realtalk_ros.training.videos import talking_metrics
from realtalk_ros.training.videos.mouth_track import MouthTrack

LAGS = np.arange(-0.3, 0.301, 0.01)  # s that are tried: films from elsewhere were 0.25 off
MAX_LAG = 0.08  # s between mouth and sound, from which a clip must be the surer
MIN_CORRELATION = 0.3  # of the apertures, at the best lag
MIN_FAR_CORRELATION = 0.5  # from MAX_LAG on: 0.4 and less also came of a chance in 8 s
MAX_HOLE = 0.1  # s without a face that may be interpolated
SHUT, WIDE_AT_REST = 2, 50  # percentiles of a person's aperture, of the width while it is shut
SHORT = 300.0  # s of footage, in less of which the width at rest is not learned


@dataclass
class Stretch:
    """n steps of 20 ms of one sound, and what the network makes of it."""

    mel: np.ndarray  # (2 n, 80)
    weights: np.ndarray  # (n, 52)
    rotation: np.ndarray  # (n, 3)
    speech: np.ndarray  # (n,)


@dataclass
class FilmedPerson:
    """Clips in which one person speaks."""

    name: str
    clips: list[tuple[Stretch, MouthTrack]] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)  # s by which sound is late in each, `clip_lag`

    @property
    def seconds(self) -> float:
        return sum(len(stretch.weights) for stretch, _ in self.clips) / EXPRESSION_RATE

    @property
    def is_short(self) -> bool:
        """Whether there is too little of it to learn how wide this mouth is at rest."""
        return self.seconds < SHORT

    def curves(self, usual: float) -> list[np.ndarray]:
        """(n, 2) of each clip: gap, and width beyond that of the mouth at rest, in cm at 50 Hz.

        The gap is counted from the person's own shut lips, of which a tracker never says 0. Each
        clip is shifted by what its lag differs from the `usual` one, in s: that is the recording's
        mistake (30 ms, standard deviation, in GRID), while the usual may be the network's.
        """
        aperture, width = (
            np.concatenate([getattr(track, name) for _, track in self.clips])
            for name in ("aperture", "width")
        )
        shut = np.percentile(aperture, SHUT)
        rest = np.percentile(width[aperture <= np.percentile(aperture, 20)], WIDE_AT_REST)
        rows = []
        for (stretch, track), lag in zip(self.clips, self.lags, strict=True):
            steps = np.arange(len(stretch.weights)) / EXPRESSION_RATE
            seen = track.confidence > 0
            time = track.time[seen] + lag - usual
            gap, wide = (
                np.interp(steps, time, lips.EYES_CM * (values[seen] - zero))
                for values, zero in ((track.aperture, shut), (track.width, rest))
            )
            rows.append(np.column_stack([np.maximum(gap, 0), wide]))
        return rows


def usual_lag(people: Sequence[FilmedPerson]) -> float:
    """Seconds: the median over all clips, which is the network's own where most are in step."""
    return float(np.median(np.concatenate([person.lags for person in people])))


def clip_lag(track: MouthTrack, stretch: Stretch) -> float:
    """Seconds by which the network's mouth comes after the real one, so the sound after the
    picture. Raises RealTalkError for a clip that nothing can be learned from."""
    seen = track.time[track.confidence > 0]
    if len(seen) < talking_metrics.MIN_FRAMES or np.diff(seen).max() > MAX_HOLE:
        raise RealTalkError("one face, facing the camera, is not seen all the time")
    one = talking_metrics.curves(track, stretch.weights, stretch.mel)
    if one is None:
        raise RealTalkError("the sound is shorter than a second")
    lag, surely = talking_metrics.best_lag(one, LAGS)
    if surely < MIN_CORRELATION:
        raise RealTalkError(f"the mouth does not follow the sound (r {surely:.2f})")
    if abs(lag) > MAX_LAG and (surely < MIN_FAR_CORRELATION or abs(lag) > LAGS[-2]):
        raise RealTalkError(f"the mouth is {1000 * lag:+.0f} ms off (r {surely:.2f})")
    return lag
