# SPDX-License-Identifier: Apache-2.0
"""How far people's lips are apart before they speak, as training data tells and figures see it."""

import numpy as np
import pytest

from realtalk_ros.expression import preparation
from realtalk_ros.face_model import arkit
from realtalk_ros.training.videos import before_speech, mouth_targets
from realtalk_ros.training.videos.lip_sync_check import PredictedExpression

RATE = 50


def clip(begin, gap_before):
    """Gap and speech of 3 s: `gap_before` cm in the 0.2 s before speech at `begin` s, else 0."""
    steps = np.arange(3 * RATE)
    speech = (steps >= begin * RATE).astype(float)
    gap = np.where((steps < begin * RATE) & (steps >= (begin - 0.2) * RATE), gap_before, 0.0)
    return gap, speech


def test_each_person_counts_alike_and_what_is_before_a_clip_is_left_out():
    anna, ben = [clip(1.0, 0.3), clip(1.5, 0.3)], [clip(0.4, 0.9)]
    gaps = before_speech.gaps([anna, ben])
    assert gaps["120"] == pytest.approx(0.6) and gaps["320"] == 0.0
    assert list(gaps)[-1] == "800"
    alone = before_speech.gaps([ben])
    assert "480" not in alone and alone["400"] == 0.0


def test_speech_begins_where_it_lasts_and_after_a_pause():
    speech = np.zeros(150)
    speech[30:32] = 1  # a click
    speech[80:120] = 1
    assert before_speech.onset(speech) == 80
    speech[70:72] = 1
    assert before_speech.onset(speech) is None  # no pause: it may have been speech


def test_what_is_shown_before_speech_is_what_was_measured():
    """The stage, measured as people are, opens as far as its table has it."""
    weights, speech = np.zeros((150, 52), np.float32), np.r_[np.zeros(100), np.ones(50)]
    weights[100:, arkit.INDEX["jawOpen"]] = 0.5
    mel = np.zeros((300, 80), np.float32)
    shown = PredictedExpression(mel, weights, np.zeros((150, 3)), speech).prepared
    gap = np.maximum(shown @ mouth_targets.GAP + mouth_targets.REST_GAP, 0)
    measured = before_speech.gaps([[(gap, speech)]])
    for seconds, wanted in zip(preparation.BEFORE, preparation.GAP, strict=True):
        assert measured[f"{1000 * seconds:.0f}"] == pytest.approx(wanted, abs=0.02)


def test_between_phrases_each_person_counts_alike_in_shares_of_the_range():
    """A pause of 0.5 s at half of the range; neither stops nor the ends of a clip are pauses."""

    def phrases(range_cm, half, pauses):
        speech, gap = np.ones(60 * RATE), np.full(60 * RATE, range_cm)
        speech[:50] = speech[-50:] = 0
        gap[:50] = gap[-50:] = 0
        for k in range(pauses):
            at = 100 + 100 * k
            speech[at : at + 25], gap[at : at + 25] = 0, half
        speech[2500:2508], gap[2500:2508] = 0, 0
        return [(gap, speech)]

    found = before_speech.between_phrases([phrases(1.0, 0.5, 1), phrases(2.0, 0.6, 9)])
    assert found == {"pauses": 10, "people": 2, "share": pytest.approx(0.4)}
    assert before_speech.between_phrases([phrases(1.0, 0.5, 0)]) == {"pauses": 0, "people": 0}
