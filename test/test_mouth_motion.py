# SPDX-License-Identifier: Apache-2.0
"""How far somebody in a video opens the mouth, beside the network."""

from dataclasses import replace

import numpy as np
import pytest

from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.enroll import mouth_motion
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import landmarks, lips

FPS, SECONDS = 25, 24


@pytest.fixture(scope="module")
def predicted():
    pcm, rate = read_audio(SAMPLE_CLIP)
    return PredictedExpression.of(pcm[: SECONDS * rate], rate)


def opening(predicted, late=0.0):
    """The network's own, at the times of a film's frames."""
    time = np.arange(SECONDS * FPS) / FPS
    made = lips.aperture_of(predicted.prepared)
    return time, np.interp(time - late, np.arange(len(made)) / 50, made)


def believed(predicted, seconds=SECONDS):
    """The share of the logarithm that so much of the recording can say."""
    speech = predicted.speech[: seconds * EXPRESSION_RATE].sum() / EXPRESSION_RATE
    return speech / (speech + mouth_motion.HALF_BELIEVED)


@pytest.mark.parametrize("share", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("seconds", [6, SECONDS])
def test_the_more_somebody_speaks_the_more_the_range_says(predicted, share, seconds):
    time, made = opening(predicted)
    some = time < seconds
    found = mouth_motion.mouth_motion(time[some], share * made[some], predicted)
    assert found == pytest.approx(share ** believed(predicted, seconds), rel=0.02)
    assert believed(predicted, 6) < 0.45 < 0.6 < believed(predicted) < 0.8


def test_sound_that_is_late_and_lips_that_never_meet_change_little(predicted):
    time, made = opening(predicted, late=0.2)
    found = mouth_motion.mouth_motion(time, 0.02 + 0.8 * made, predicted)
    assert found == pytest.approx(0.8 ** believed(predicted), rel=0.05)


def test_no_factor_is_extreme(predicted):
    time, made = opening(predicted)
    found = [mouth_motion.mouth_motion(time, share * made, predicted) for share in (0.1, 9.0)]
    assert found == [mouth_motion.LEAST, mouth_motion.MOST]


def test_of_another_voice_of_stillness_and_of_a_word_nothing_is_said(predicted):
    time, made = opening(predicted)
    chance = np.random.default_rng(0).permutation(made)
    assert mouth_motion.mouth_motion(time, chance, predicted) is None
    assert mouth_motion.mouth_motion(time, 0 * made, predicted) is None
    short = time < 1.5
    assert mouth_motion.mouth_motion(time[short], made[short], predicted) is None
    silent = replace(predicted, speech=0 * predicted.speech)
    assert mouth_motion.mouth_motion(time, made, silent) is None


def test_a_track_counts_where_one_face_looks_ahead(predicted):
    time, _ = opening(predicted)
    steps = np.arange(len(predicted.prepared)) / 50
    weights = np.stack([np.interp(time, steps, w) for w in predicted.prepared.T], 1)
    points = 30 * landmarks.load().points(np.float32(0.8 * weights))[..., :2]  # pixels
    count = len(time)
    turned, alone = np.zeros((count, 3), np.float32), np.ones(count, np.int16)
    track = Track(
        time=time, faces=alone, landmarks=np.float32(points), rest=np.float32(points),
        weights=np.float32(weights), rotation=turned, identity=np.zeros(100, np.float32),
    )  # fmt: skip
    expected = pytest.approx(0.8 ** believed(predicted), rel=0.05)
    assert mouth_motion.of_track(track, predicted) == expected
    points[40:60, landmarks.INNER_LOWER_LIP, 1] -= 40  # as a tracker that has lost the face
    alone[40:50], turned[50:60, 1] = 2, 1.0
    assert mouth_motion.of_track(replace(track, landmarks=points), predicted) == expected
    assert mouth_motion.of_track(replace(track, faces=0 * alone), predicted) is None
