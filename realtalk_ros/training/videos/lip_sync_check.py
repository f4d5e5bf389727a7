# SPDX-License-Identifier: Apache-2.0
"""Whether the mouth in a video moves with its audio, and by how much it is late.

The expression network predicts the lip opening from the audio; the tracker measured it in the
pictures. The height of their cross-correlation shows whether this face speaks these words. The lag
of its peak is the offset between audio and pictures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.landmarks import INNER_LIP_PAIRS
from realtalk_ros.training.expression.metrics import correlation, peak_position

MAX_LAG = 0.4  # s that are searched either way
MAX_OFFSET = 0.08  # s; a stretch that is farther off is left out
MIN_CORRELATION = 0.35
CERTAIN_CORRELATION = 0.6  # from which an offset is no coincidence
MIN_SPEECH = 1.0  # s of speech, without which a stretch cannot be judged


@dataclass(frozen=True)
class LipSync:
    """How well a tracked mouth follows its audio, at the best offset."""

    offset: float  # s by which the mouth comes after the audio
    correlation: float
    stretch_correlations: list[float | None]  # None: too little speech in it


def lip_opening(weights: np.ndarray) -> np.ndarray:
    """(n,) cm between the inner lips at ARKit weights (n, 52), on the mean face."""
    points = landmarks.load().points(weights)
    return np.mean([points[..., a, 1] - points[..., b, 1] for a, b in INNER_LIP_PAIRS], 0)


def measure_lip_sync(
    time: np.ndarray, weights: np.ndarray, stretches: list[range], predicted: PredictedExpression
) -> LipSync | None:
    """Compares tracked weights (N, 52) at `time` (N,) s with those predicted from the audio.

    None if there is too little speech in all stretches together.
    """
    tracked_opening, predicted_opening = lip_opening(weights), lip_opening(predicted.weights)
    max_lag = round(MAX_LAG * EXPRESSION_RATE)
    lags = range(-max_lag, max_lag + 1)
    curves: list[np.ndarray | None] = []  # correlation of each stretch at each lag
    lengths: list[int] = []
    for stretch in stretches:
        first, last = time[stretch.start], time[stretch.stop - 1]
        steps = np.arange(int(np.ceil(first * EXPRESSION_RATE)), int(last * EXPRESSION_RATE) + 1)
        steps = steps[(steps >= max_lag) & (steps < len(predicted_opening) - max_lag)]
        if predicted.speech[steps].sum() / EXPRESSION_RATE < MIN_SPEECH:
            curves.append(None)
            continue
        mouth = np.interp(steps / EXPRESSION_RATE, time[stretch], tracked_opening[stretch])
        curves.append(
            np.array([correlation(mouth, predicted_opening[steps - lag]) for lag in lags])
        )
        lengths.append(len(steps))
    judged = [curve for curve in curves if curve is not None]
    if not judged:
        return None
    total = np.average(judged, axis=0, weights=lengths)
    best = int(np.argmax(total))
    return LipSync(
        offset=peak_position(total, best) / EXPRESSION_RATE - MAX_LAG,
        correlation=float(total[best]),
        stretch_correlations=[None if curve is None else float(curve[best]) for curve in curves],
    )


def stretches_in_sync(
    track: Track,
    stretches: list[range],
    predicted: PredictedExpression,
    left_out: Counter[str],
    row: dict,
) -> list[range]:
    """The stretches in which the lips follow the audio; counts the others in `left_out`.

    Raises RealTalkError if the whole audio is shifted.
    """
    if not stretches:
        return []
    sync = measure_lip_sync(track.time, track.weights, stretches, predicted)
    if sync is None:
        row["sound"] = "too little speech to tell whether it is in time"
        return stretches
    row["offset_ms"], row["correlation"] = round(1000 * sync.offset), round(sync.correlation, 2)
    shifted = abs(sync.offset) > MAX_OFFSET
    if shifted and sync.correlation >= CERTAIN_CORRELATION:
        order = "after" if sync.offset > 0 else "before"
        raise RealTalkError(
            f"the mouth moves {abs(row['offset_ms'])} ms {order} the sound: shift the sound"
        )
    kept = []
    for stretch, value in zip(stretches, sync.stretch_correlations, strict=True):
        # A stretch with too little speech is judged by the whole video.
        if not shifted and (sync.correlation if value is None else value) >= MIN_CORRELATION:
            kept.append(stretch)
        else:
            left_out["lips do not follow the sound"] += len(stretch)
    return kept
