# SPDX-License-Identifier: Apache-2.0
"""How far people's lips are apart before they speak and between phrases: what
expression/preparation.py follows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.expression.preparation import CONFIRMED, SPEECH
from realtalk_ros.training.expression.metrics import runs

STEP = 0.04  # s between two figures
LONGEST = 0.8  # s before speech
PAUSE = 0.3  # s without speech that come first
BETWEEN = (0.24, 1.4)  # s without speech that are a pause between phrases
OPEN = 95  # percentile of a person's gap that is called the range


def onset(speech: np.ndarray) -> int | None:
    """The first step of speech that lasts, after a pause; speech: (n,) its probability at 50 Hz."""
    heard = speech >= SPEECH
    lasts, pause = round(CONFIRMED * EXPRESSION_RATE) + 1, round(PAUSE * EXPRESSION_RATE)
    for k in range(pause, len(heard) - lasts):
        if heard[k : k + lasts].all() and not heard[k - pause : k].any():
            return k
    return None


def before_speech(
    people: Iterable[list[tuple[np.ndarray, np.ndarray]]],
) -> dict[str, dict[str, float]]:
    """Milliseconds before the first speech -> how far lips are apart, as a share of the person's
    range: the mean of people, of how many, and the standard deviations between people and within
    one's clips.

    people: of each, every clip's gap (n,) in cm and probability of speech (n,) at 50 Hz. Steps
    that are before the clips of somebody are of the others; those of nobody are left out.
    """
    back = np.arange(STEP, LONGEST + 1e-6, STEP)
    shares = []
    for clips in people:
        widest = max(_widest(clips), 1e-6)
        rows = np.full((len(clips), len(back)), np.nan)
        for row, (gap, speech) in zip(rows, clips, strict=True):
            if (first := onset(speech)) is not None:
                at = first - np.rint(back * EXPRESSION_RATE).astype(int)
                row[at >= 0] = gap[at[at >= 0]] / widest
        shares.append(rows)
    report = {}
    for k, seconds in enumerate(back):
        known = [rows[~np.isnan(rows[:, k]), k] for rows in shares]
        if known := [values for values in known if len(values)]:
            report[f"{1000 * seconds:.0f}"] = _common(known)
    return report


def _common(known: list[np.ndarray]) -> dict[str, float]:
    """The mean of people, of each of whom there is a value a clip; a person of few clips counts
    less, by as much as clips of one person differ (DerSimonian and Laird 1986)."""
    means, counts = np.array([v.mean() for v in known]), np.array([len(v) for v in known])
    spare = max(int((counts - 1).sum()), 1)
    within = sum(float(((v - v.mean()) ** 2).sum()) for v in known) / spare
    variance = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    between = max(variance - float((within / counts).mean()), 0.0)
    heavy = 1 / np.maximum(between + within / counts, 1e-9)
    return {
        "share": round(float(np.average(means, weights=heavy)), 3),
        "people": len(known),
        "between": round(between**0.5, 3),
        "within": round(within**0.5, 3),
    }


def _widest(clips: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """A person's range, cm."""
    return float(np.percentile(np.concatenate([gap for gap, _ in clips]), OPEN))


def between_phrases(people: Iterable[list[tuple[np.ndarray, np.ndarray]]]) -> dict[str, float]:
    """How many pauses of how many people; and how far lips are apart in them, as a share of the
    person's range, in the mean of people. Arguments as of `before_speech`."""
    shares, count = [], 0
    for clips in people:
        least, most = (round(seconds * EXPRESSION_RATE) for seconds in BETWEEN)
        apart = [
            gap[pause].mean()
            for gap, speech in clips
            for pause in runs(speech < SPEECH)
            if pause.start > 0
            and pause.stop < len(gap)
            and least <= pause.stop - pause.start <= most
        ]
        if apart:
            shares.append(float(np.mean(apart)) / _widest(clips))
            count += len(apart)
    share = {"share": round(float(np.mean(shares)), 3)} if shares else {}
    return {"pauses": count, "people": len(shares), **share}
