# SPDX-License-Identifier: Apache-2.0
"""How near a mouth that was made from sound comes to the real one in the video of that sound.

All curves are sampled at the times of the video's frames. `aperture` is the gap between the inner
lips, `width` the distance of the mouth's corners, both over the distance of the outer eye corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.enroll.mouth_motion import HIGH, LOW, span
from realtalk_ros.face_model import lips
from realtalk_ros.training.expression.coarticulation import loudness
from realtalk_ros.training.expression.metrics import correlation, runs
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Segment
from realtalk_ros.training.videos.mouth_track import MouthTrack

MIN_FRAMES = 25  # with a confidence, without which a clip is not measured
LAGS = np.arange(-0.1, 0.101, 0.01)  # s that are tried
CLOSED = 0.15  # of the aperture's range, under which lips are closed
CLOSURE_TOLERANCE = 0.04  # s by which a closure may be early or late
OPEN = 0.25  # of the range, over which lips have parted
SPEECH_LEVEL = 0.5  # of the range of loudness, over which there is sound
QUIET_MARGIN = 0.3  # s from any sound, beyond which there is silence
SEARCH = 0.6  # s before and after the first sound in which its opening is looked for

# Sounds that look alike, by phone. What is not in it, is in no class.
SOUND_CLASSES: dict[str, frozenset[str]] = {
    "pause": frozenset({ph.SIL}),
    "p b m": ph.BILABIALS,
    "f v": ph.LABIODENTALS,
    "sh r er o": frozenset("SH ZH CH JH R ER AO OE".split()),
    "oo w": frozenset("UW UH UE W".split()),
    "l": frozenset({"L"}),
    "narrow": frozenset("IY IH Y S Z T D N".split()),
    "open": frozenset("AA AH AW AY".split()),
    "wide": frozenset("AE EH EY".split()),
}


@dataclass(frozen=True)
class Curves:
    """One clip at the N times of its frames with a confidence."""

    time: np.ndarray  # (N,) s
    real: np.ndarray  # (2, N): aperture, width
    steps: np.ndarray  # (n,) s, of what follows
    made: np.ndarray  # (2, n)
    loudness: np.ndarray  # (n,) mean log-mel of 0.1 to 4 kHz

    def made_at(self, lag: float = 0.0) -> np.ndarray:
        """(2, N), if it came `lag` s earlier."""
        return np.stack([np.interp(self.time + lag, self.steps, c) for c in self.made])

    @property
    def loud(self) -> np.ndarray:
        return np.interp(self.time, self.steps, self.loudness)


class PhoneRow(NamedTuple):
    """A phone that was said once, in shares of its clip's real range of aperture and of width. The
    width is counted from the median of its own curve: people's mouths at rest differ, and the mean
    face's is neither's."""

    real: float  # aperture
    made: float
    real_width: float
    made_width: float


def width_of(weights: np.ndarray) -> np.ndarray:
    """ARKit weights (n, 52) -> (n,), on the mean face."""
    return np.asarray((weights @ lips.WIDTH + lips.REST_WIDTH) / lips.EYES_CM)


def curves(track: MouthTrack, weights: np.ndarray, mel: np.ndarray) -> Curves | None:
    """None where too little of the face is seen.

    weights: (n, 52) at 50 Hz from the sound's first sample on; mel: (2 n, 80).
    """
    steps = np.arange(len(weights)) / EXPRESSION_RATE
    good = (track.confidence > 0) & (track.time >= 0) & (track.time <= steps[-1])
    if good.sum() < MIN_FRAMES:
        return None
    return Curves(
        time=track.time[good],
        real=np.stack([track.aperture, track.width])[:, good],
        steps=steps,
        made=np.stack([lips.aperture_of(weights), width_of(weights)]),
        loudness=loudness(mel),
    )


def relative(x: np.ndarray) -> np.ndarray:
    """The curve in its own range: 0 at its 5th percentile, 1 at its 95th."""
    low, high = np.percentile(x, (LOW, HIGH))
    return np.asarray((x - low) / max(high - low, 1e-9))


def closures(aperture: np.ndarray) -> np.ndarray:
    """(N,) bool: the lips are together."""
    low, high = aperture.min(), np.percentile(aperture, HIGH)
    return np.asarray(aperture < low + CLOSED * (high - low))


def matched(events: np.ndarray, others: np.ndarray, time: np.ndarray) -> tuple[int, int]:
    """How many runs of `events` touch one of `others`, give or take the tolerance; and of how
    many."""
    found, all_runs = 0, runs(events)
    for run in all_runs:
        near = (time >= time[run.start] - CLOSURE_TOLERANCE - 1e-6) & (
            time <= time[run.stop - 1] + CLOSURE_TOLERANCE + 1e-6
        )
        found += bool(others[near].any())
    return found, len(all_runs)


def sound(loud: np.ndarray) -> np.ndarray:
    """(N,) bool: somebody is heard."""
    low, high = np.percentile(loud, (LOW, HIGH))
    return np.asarray(loud > low + SPEECH_LEVEL * (high - low))


def first_sound(loud: np.ndarray) -> int | None:
    """The first of two frames that are loud, one after the other."""
    both = sound(loud)
    after = np.flatnonzero(both[:-1] & both[1:])
    return int(after[0]) if len(after) else None


def opening_time(aperture: np.ndarray, time: np.ndarray, first: int) -> float | None:
    """Seconds by which lips had parted before frame `first`, at most SEARCH; negative: after it.
    None where they stay shut."""
    apart = relative(aperture) > OPEN
    if apart[first]:
        shut = np.flatnonzero(~apart[:first])
        start = shut[-1] + 1 if len(shut) else 0
        return float(min(time[first] - time[start], SEARCH))
    later = np.flatnonzero(apart[first:] & (time[first:] <= time[first] + SEARCH))
    return float(time[first] - time[first + later[0]]) if len(later) else None


def best_lag(one: Curves, lags: np.ndarray = LAGS) -> tuple[float, float]:
    """By how many of `lags`, s, the made mouth comes after the real one, and how well their
    apertures correlate then."""
    by_lag = [correlation(one.real[0], one.made_at(lag)[0]) for lag in lags]
    best = int(np.argmax(by_lag))
    return float(lags[best]), by_lag[best]


def measure_clip(one: Curves) -> dict:
    """The figures of one clip; None for what it does not show."""
    made = one.made_at()
    heard, first = sound(one.loud), first_sound(one.loud)
    lag, at_lag = best_lag(one)
    report: dict = {
        "seconds": round(float(one.time[-1] - one.time[0]), 2),
        "aperture_r": correlation(one.real[0], made[0]),
        "width_r": correlation(one.real[1], made[1]),
        "loudness_r": correlation(one.real[0], one.loud),
        "best_aperture_r": at_lag,
        "lag_ms": round(1000 * lag),
        "range": span(made[0]) / max(span(one.real[0]), 1e-9),
        "p95": float(np.percentile(made[0], HIGH) / max(np.percentile(one.real[0], HIGH), 1e-9)),
        "width_range": span(made[1]) / max(span(one.real[1]), 1e-9),
    }
    report |= _closures_in_speech(one.real[0], made[0], one.time, heard)
    for name, aperture in (("real", one.real[0]), ("made", made[0])):
        report[f"opens_before_sound_s_{name}"] = (
            None if first is None else opening_time(aperture, one.time, first)
        )
        report[f"movement_in_silence_{name}"] = _movement_in_silence(aperture, one.time, heard)
    return report


def _closures_in_speech(
    real: np.ndarray, made: np.ndarray, time: np.ndarray, heard: np.ndarray
) -> dict[str, int]:
    """Counts of closures between the first and the last sound."""
    both = np.stack([closures(real), closures(made)])
    spoken = np.flatnonzero(heard)
    if not len(spoken):
        return dict.fromkeys(("closures", "found", "closures_made", "correct"), 0)
    inside = np.zeros(len(time), bool)
    inside[spoken[0] : spoken[-1] + 1] = True
    found, count = matched(both[0] & inside, both[1], time)
    correct, made_count = matched(both[1] & inside, both[0], time)
    return {"closures": count, "found": found, "closures_made": made_count, "correct": correct}


def _movement_in_silence(aperture: np.ndarray, time: np.ndarray, heard: np.ndarray) -> float | None:
    """Standard deviation of the aperture where nobody is heard, over its range."""
    if not heard.any():
        return None
    apart = np.abs(time[:, None] - time[heard]).min(1) > QUIET_MARGIN
    return float(aperture[apart].std() / max(span(aperture), 1e-9)) if apart.sum() > 4 else None


def by_phone(one: Curves, segments: Sequence[Segment]) -> dict[str, list[PhoneRow]]:
    """Phone -> a row for each time that it is said, averaged over its frames."""
    low, high = np.percentile(one.real, (LOW, HIGH), axis=1)
    size = np.maximum(high - low, 1e-9)
    real, made = (
        (curves - np.array([low[0], np.median(curves[1])])[:, None]) / size[:, None]
        for curves in (one.real, one.made_at())
    )
    rows: dict[str, list[PhoneRow]] = {}
    for phone, start, end in segments:
        inside = (one.time >= start) & (one.time <= end)
        if not inside.any():
            inside = np.abs(one.time - (start + end) / 2) <= 0.5 * (one.time[1] - one.time[0])
        if inside.any():
            each = (curve[inside].mean() for both in zip(real, made, strict=True) for curve in both)
            rows.setdefault(phone, []).append(PhoneRow(*map(float, each)))
    return rows


def by_class(phones: dict[str, list[PhoneRow]]) -> dict[str, list[PhoneRow]]:
    """Rows of `by_phone` -> those of each of SOUND_CLASSES that is there."""
    rows = {name: [row for phone in sorted(of & phones.keys()) for row in phones[phone]]
            for name, of in SOUND_CLASSES.items()}  # fmt: skip
    return {name: known for name, known in rows.items() if known}


COUNTS = ("closures", "found", "closures_made", "correct", "seconds")


def mean(rows: Sequence[dict]) -> dict:
    """Of clips or people: sums of counts, means of the rest without None, recall and precision."""
    report: dict = {}
    for name in rows[0]:
        values = [row[name] for row in rows if row.get(name) is not None]
        if name in ("recall", "precision"):
            continue
        if not values:
            report[name] = None
        elif name in COUNTS:
            report[name] = round(sum(values), 2)
        else:
            report[name] = float(np.mean(values))
    return with_rates(report)


def with_rates(row: dict) -> dict:
    """A row of `measure_clip` with the recall and precision of its closures."""
    return {
        **row,
        "recall": row["found"] / row["closures"] if row["closures"] else None,
        "precision": row["correct"] / row["closures_made"] if row["closures_made"] else None,
    }
