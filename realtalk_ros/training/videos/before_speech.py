# SPDX-License-Identifier: Apache-2.0
"""How far people's lips are apart before they speak and between phrases: what
expression/preparation.py follows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.expression.preparation import CONFIRMED, SPEECH
from realtalk_ros.training.videos.talking_metrics import runs

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


def gaps(people: Iterable[list[tuple[np.ndarray, np.ndarray]]]) -> dict[str, float]:
    """Milliseconds before the first speech -> mean gap in cm, of the mean over people.

    people: of each, every clip's gap (n,) in cm and probability of speech (n,) at 50 Hz. Steps
    that are before the clips of somebody are of the others; those of nobody are left out.
    """
    back = np.arange(STEP, LONGEST + 1e-6, STEP)
    rows = []
    for clips in people:
        seen: list[list[float]] = [[] for _ in back]
        for gap, speech in clips:
            first = onset(speech)
            if first is None:
                continue
            for values, step in zip(seen, np.rint(back * EXPRESSION_RATE).astype(int), strict=True):
                if step <= first:
                    values.append(float(gap[first - step]))
        rows.append([np.mean(values) if values else np.nan for values in seen])
    known = np.array(rows, np.float64).reshape(-1, len(back))
    return {
        f"{1000 * seconds:.0f}": round(float(np.nanmean(column)), 3)
        for seconds, column in zip(back, known.T, strict=True)
        if not np.isnan(column).all()
    }


def between_phrases(people: Iterable[list[tuple[np.ndarray, np.ndarray]]]) -> dict[str, float]:
    """How many pauses of how many people; and how far lips are apart in them, as a share of the
    person's range, in the mean of people. Arguments as of `gaps`."""
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
            widest = np.percentile(np.concatenate([gap for gap, _ in clips]), OPEN)
            shares.append(float(np.mean(apart) / widest))
            count += len(apart)
    share = {"share": round(float(np.mean(shares)), 3)} if shares else {}
    return {"pauses": count, "people": len(shares), **share}
