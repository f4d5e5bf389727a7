# SPDX-License-Identifier: Apache-2.0
"""Expression weights whose mouth is as far open and as wide as a real one.

What was captured of a person is two curves, the gap between the lips and the width of the mouth.
`match_mouth` takes the weights that a network gives for the same sound, and changes those of jaw
and lips as little as need be until the face model shows these curves. `MouthRegression` is what can
be predicted of such curves from a network's weights alone: with it, speech of which nobody was
filmed gets curves as well. (What one speaker does beyond what the sound tells is left to him.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.lips import (
    GAP,
    OPENING_STEP,
    OPENING_WEIGHTS,
    REST_GAP,
    WIDTH,
    gap_of,
)
from realtalk_ros.training.expression.metrics import is_labiodental

SPREADING = {
    "mouthStretchLeft": 0.3,
    "mouthStretchRight": 0.3,
    "mouthSmileLeft": 0.2,
    "mouthSmileRight": 0.2,
}
LEAST_OPENING = 0.45  # of what opens the lips is left before mouthClose closes them
# A mouth that is narrower than the jaw makes it is rounded, all of it from the second limit on, cm.
ROUNDED = (0.05, 0.25)
# Of a rounded mouth, shares of the gap and of the narrowness that mouthFunnel makes: it leaves a
# round hole where jaw and lips open a lens from corner to corner.
FUNNEL_GAP, FUNNEL_NARROW = 0.8, 0.8
ROUNDS = 4  # gap and width change each other
# Lips that people bring this near, cm, are to look shut: from the first to the second limit they
# are held at the first, up to the third the gap is stretched. A camera of 25 frames a second sees a
# closure at its least gap by chance alone, and what a network learns of it is wider still.
NEARLY_MET = (0.12, 0.2, 0.6)
LABIODENTAL_GAP = (0.14, 0.4)  # cm, clear of both limits of metrics.is_labiodental
# How many times as far as the coarticulation model's lips those of filmed people part: standard
# deviation of the gap, 0.47 cm in the speech of eleven people, 0.35 cm in 49 of its windows.
FILMED_GAP = 1.35
ACTIVE_BEFORE_AND_AFTER = 0.4  # s around speech in which lips are not at rest
LAGS = (-8, -4, -2, 0, 2, 4, 8)  # steps of 20 ms whose weights the regression sees
RIDGE = 300.0  # of the standardised regression
_MOUTH = list(arkit.MOUTH)
_CLOSE, _PUCKER = arkit.INDEX["mouthClose"], arkit.INDEX["mouthPucker"]
_FUNNEL, _JAW = arkit.INDEX["mouthFunnel"], arkit.INDEX["jawOpen"]
_SPREADING = [arkit.INDEX[name] for name in SPREADING]
_SPREAD_STEP = np.array(list(SPREADING.values()), np.float32) / WIDTH[_SPREADING]  # of 1 cm


def activity(speech: np.ndarray) -> np.ndarray:
    """(n,) probability of speech at 50 Hz -> (n,) 0..1: 0 where the face is at rest."""
    reach = 2 * round(ACTIVE_BEFORE_AND_AFTER * EXPRESSION_RATE) + 1
    near = maximum_filter1d((speech > 0.5).astype(np.float32), reach)
    return np.asarray(gaussian_filter1d(near, 0.06 * EXPRESSION_RATE))


def nearly_met(gap: np.ndarray) -> np.ndarray:
    """Gaps (n,) in cm, of which small ones are smaller, as `NEARLY_MET` has it."""
    near, far, end = NEARLY_MET
    return np.asarray(
        np.where(gap < end, np.interp(gap, (0, near, far, end), (0, near, near, end)), gap)
    )


def match_mouth(weights: np.ndarray, gap: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Weights (n, 52) changed until the mean face's lips are `gap` (n,) cm apart and its mouth
    `width` (n,) cm wider than at rest, as far as weights from 0 to 1 allow. A narrow mouth is
    opened by mouthFunnel."""
    out = weights.astype(np.float32).copy()
    gap = np.maximum(gap, 0)
    for _ in range(ROUNDS):
        _match_width(out, width)
        _match_gap(out, gap)
        _round(out)
    _match_width(out, width)
    _match_gap(out, gap)
    return out


def _round(out: np.ndarray) -> None:
    """What opens and narrows a rounded mouth becomes mouthFunnel, for a part."""
    narrow = np.maximum(out[:, _JAW] * WIDTH[_JAW] - out @ WIDTH, 0)
    share = np.clip((narrow - ROUNDED[0]) / (ROUNDED[1] - ROUNDED[0]), 0, 1)
    moved = out[:, OPENING_WEIGHTS] @ GAP[OPENING_WEIGHTS]
    opened = moved + out[:, _FUNNEL] * GAP[_FUNNEL]
    funnel = np.minimum(
        FUNNEL_GAP * share * opened / GAP[_FUNNEL], FUNNEL_NARROW * narrow / -WIDTH[_FUNNEL]
    )
    more = np.maximum(funnel - out[:, _FUNNEL], 0)
    out[:, _FUNNEL] += more
    left = np.maximum(moved - more * GAP[_FUNNEL], 0) / np.maximum(moved, 1e-6)
    out[:, OPENING_WEIGHTS] *= left[:, None]
    out[:, _PUCKER] = np.maximum(out[:, _PUCKER] - more * WIDTH[_FUNNEL] / WIDTH[_PUCKER], 0)


def _match_gap(out: np.ndarray, gap: np.ndarray) -> None:
    error = gap - (out @ GAP + REST_GAP)
    # Opens: first what holds the lips shut lets go, then jaw and lips move.
    more = np.maximum(error, 0)
    let_go = np.minimum(out[:, _CLOSE], more / -GAP[_CLOSE])
    out[:, _CLOSE] -= let_go
    more += let_go * GAP[_CLOSE]
    out[:, OPENING_WEIGHTS] += more[:, None] * OPENING_STEP
    # Closes: what opens them moves less, then mouthClose takes the rest.
    less = np.maximum(-error, 0)
    moved = out[:, OPENING_WEIGHTS] @ GAP[OPENING_WEIGHTS]
    given = np.minimum(less, (1 - LEAST_OPENING) * moved)
    out[:, OPENING_WEIGHTS] *= (1 - given / np.maximum(moved, 1e-6))[:, None]
    out[:, _CLOSE] += (less - given) / -GAP[_CLOSE]
    np.clip(out, 0, 1, out=out)


def _match_width(out: np.ndarray, width: np.ndarray) -> None:
    error = width - out @ WIDTH
    wider = np.maximum(error, 0)
    unpuckered = np.minimum(0.5 * out[:, _PUCKER], wider / -WIDTH[_PUCKER])
    out[:, _PUCKER] -= unpuckered
    wider += unpuckered * WIDTH[_PUCKER]
    out[:, _SPREADING] += wider[:, None] * _SPREAD_STEP
    narrower = np.maximum(-error, 0)
    spread = out[:, _SPREADING] @ WIDTH[_SPREADING]
    given = np.minimum(narrower, spread)
    out[:, _SPREADING] *= (1 - given / np.maximum(spread, 1e-6))[:, None]
    out[:, _PUCKER] += (narrower - given) / -WIDTH[_PUCKER]
    np.clip(out, 0, 1, out=out)


def features(weights: np.ndarray, speech: np.ndarray) -> np.ndarray:
    """(n, K) what the regression sees of a network's weights (n, 52) and speech (n,)."""
    gap = gap_of(weights)
    row = np.column_stack([weights[:, _MOUTH], gap, np.sqrt(gap), weights @ WIDTH, speech])
    steps = np.arange(len(row))
    return np.hstack([row[np.clip(steps + lag, 0, len(row) - 1)] for lag in LAGS])


@dataclass(frozen=True)
class MouthRegression:
    """Ridge regression from `features` to gap and width in cm."""

    mean: np.ndarray  # (K,)
    deviation: np.ndarray  # (K,)
    slope: np.ndarray  # (K, 2)
    offset: np.ndarray  # (2,)

    @classmethod
    def fit(
        cls, seen: Sequence[np.ndarray], wanted: Sequence[np.ndarray], heavy: Sequence[np.ndarray]
    ) -> MouthRegression:
        """seen: features (n, K) of each clip; wanted: (n, 2); heavy: (n,), how much each counts."""
        x, y, w = np.concatenate(seen), np.concatenate(wanted), np.concatenate(heavy)
        w = w / w.mean()
        mean, offset = np.average(x, 0, w), np.average(y, 0, w)
        deviation = np.sqrt(np.average((x - mean) ** 2, 0, w)) + 1e-3
        z = (x - mean) / deviation
        inner, outer = (z * w[:, None]).T @ z, (z * w[:, None]).T @ (y - offset)
        slope = np.linalg.solve(inner + RIDGE * np.eye(z.shape[1]), outer)
        return cls(mean, deviation, slope, offset)

    def predict(self, seen: np.ndarray) -> np.ndarray:
        return np.asarray((seen - self.mean) / self.deviation @ self.slope + self.offset)


def targets(
    weights: np.ndarray, speech: np.ndarray, curves: np.ndarray, least: np.ndarray | float = 0.0
) -> np.ndarray:
    """Weights (n, 52) for curves (n, 2), gap and width in cm: as they are near speech, the
    network's own in silence. The gap is at `least` (n,) cm.

    Where the network has an f or v, the gap is one that such a contact may have.
    """
    active = activity(speech)[:, None]
    gap, width = curves.T
    gap = np.maximum(nearly_met(gap), least)
    gap = np.where(is_labiodental(weights), np.clip(gap, *LABIODENTAL_GAP), gap)
    return active * match_mouth(weights, gap, width) + (1 - active) * weights


def as_filmed(weights: np.ndarray) -> np.ndarray:
    """Weights (n, 52) of the coarticulation model, with gaps as far as filmed people's."""
    return match_mouth(weights, FILMED_GAP * gap_of(weights), weights @ WIDTH)
