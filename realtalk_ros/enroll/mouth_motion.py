# SPDX-License-Identifier: Apache-2.0
"""How far somebody opens the mouth in speech, beside what the expression network makes of the same
sound.

People differ by a factor of 0.75 to 1.3, and neither their voice nor their face says it. But what
they do in a video does, the better the longer they speak in it (docs/talking.md, "Who speaks").
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import lips
from realtalk_ros.face_model.landmarks import EYE_CORNERS, INNER_LOWER_LIP, INNER_UPPER_LIP

LOW, HIGH = 5, 95  # percentiles: the range of a curve
# Seconds of speech of which half is believed, of the logarithm of what is measured (random-effects
# mean, DerSimonian and Laird 1986): people differ by 0.16 (standard deviation), and 3.5 s of speech
# from what their speaker does otherwise by 0.26 (halves of seven films).
HALF_BELIEVED = 8.0
LEAST, MOST = 0.6, 1.6  # beyond, something else is wrong, such as the tracking
MIN_SECONDS = 2.0  # of speech in which the mouth is seen
MIN_CORRELATION = 0.3  # of both openings at the best lag, without which the voice is another's
MAX_LAG = 0.4  # s by which the sound may be early or late
MAX_YAW = np.radians(20)  # beyond, the distance of the eyes is no measure


def span(x: np.ndarray) -> float:
    """From its 5th to its 95th percentile."""
    low, high = np.percentile(x, (LOW, HIGH))
    return float(high - low)


def of_track(track: Track, predicted: PredictedExpression) -> float | None:
    """`mouth_motion` of a video of one face, of which the network `predicted` the expression."""
    seen = (track.faces == 1) & (np.abs(track.rotation[:, 1]) < MAX_YAW)
    points = track.landmarks[seen]
    gap = np.linalg.norm(points[:, INNER_UPPER_LIP] - points[:, INNER_LOWER_LIP], axis=-1)
    eyes = np.linalg.norm(points[:, EYE_CORNERS[0]] - points[:, EYE_CORNERS[1]], axis=-1)
    return mouth_motion(track.time[seen], gap / np.maximum(eyes, 1e-6), predicted)


def mouth_motion(
    time: np.ndarray, aperture: np.ndarray, predicted: PredictedExpression
) -> float | None:
    """The factor of the predicted mouth's weights with which it opens as far as the real one, as
    far as so much speech can say. `aperture` (N,) at `time` (N,) s: the gap between the inner lips
    over the distance of the outer corners of the eyes. None where too little speech is seen, or the
    mouth does not follow it."""
    steps = np.arange(len(predicted.speech)) / EXPRESSION_RATE
    spoken = steps[predicted.speech > 0.5]
    if not len(spoken):
        return None
    within = (time >= spoken[0]) & (time <= spoken[-1])
    time, aperture = time[within], aperture[within]
    speaks = np.interp(time, steps, predicted.speech)
    seconds = float(speaks.sum() * np.median(np.diff(time))) if len(time) > 1 else 0.0
    if seconds < MIN_SECONDS:
        return None
    opening = lips.aperture_of(predicted.prepared)
    made = np.interp(time, steps, opening)
    ranges = span(aperture), span(made)
    if min(ranges) <= 0:
        return None
    lags = np.arange(-MAX_LAG, MAX_LAG + 0.001, 1 / EXPRESSION_RATE)
    shifted = [np.interp(time + lag, steps, opening) for lag in lags]
    if not max(np.corrcoef(aperture, one)[0, 1] for one in shifted) >= MIN_CORRELATION:
        return None
    believed = seconds / (seconds + HALF_BELIEVED)
    return float(np.clip((ranges[0] / ranges[1]) ** believed, LEAST, MOST))
