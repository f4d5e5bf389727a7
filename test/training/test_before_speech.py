# SPDX-License-Identifier: Apache-2.0
"""How far people's lips are apart before they speak, as training data tells and figures see it."""

import numpy as np
import pytest

from realtalk_ros.expression import preparation
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.lips import gap_of
from realtalk_ros.training.videos import before_speech

RATE = 50


def clip(begin, gap_before):
    """Gap and speech of 3 s: `gap_before` cm in the 0.2 s before speech at `begin` s, else 0."""
    steps = np.arange(3 * RATE)
    speech = (steps >= begin * RATE).astype(float)
    gap = np.where((steps < begin * RATE) & (steps >= (begin - 0.2) * RATE), gap_before, 0.0)
    return gap, speech


def test_each_person_counts_alike_and_what_is_before_a_clip_is_left_out():
    """Of people who move each in one way, whatever their clips are and how far they open."""
    anna, ben = [clip(1.0, 0.3), clip(1.5, 0.3)], [clip(0.4, 0.9)]
    found = before_speech.before_speech([anna, ben])
    # Both open for 0.2 s, and that is their range.
    assert found["120"]["share"] == pytest.approx(1.0) and found["320"]["share"] == 0.0
    assert list(found)[-1] == "800" and found["800"]["people"] == 1
    alone = before_speech.before_speech([ben])
    assert "480" not in alone and alone["400"]["share"] == 0.0


def test_people_and_their_clips_are_told_apart():
    """Thirty people of whom each has a share of their own, and clips that differ about it."""
    rng = np.random.default_rng(0)

    def person(clips, share, differ):
        return [clip(1.0, share + differ * rng.standard_normal()) for _ in range(clips)]

    def with_range(clips):  # of 1 cm
        return [(np.where(speech > 0, 1.0, gap), speech) for gap, speech in clips]

    alike = [with_range(person(6, 0.5, 0.1)) for _ in range(30)]
    row = before_speech.before_speech(alike)["120"]
    assert row["between"] < 0.05 and row["within"] == pytest.approx(0.1, abs=0.02)
    unlike = [with_range(person(6, share, 0.02)) for share in np.linspace(0.2, 0.8, 30)]
    row = before_speech.before_speech(unlike)["120"]
    assert row["between"] == pytest.approx(0.18, abs=0.02) and row["within"] < 0.03
    # Ten clips tell more of a person than one, where people are alike and clips are not.
    few = [with_range(person(1, 0.9, 0)), with_range(person(10, 0.5, 0.3))]
    row = before_speech.before_speech([*few, *alike])["120"]
    assert row["share"] == pytest.approx(0.5, abs=0.05)


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
    gap = gap_of(shown)
    measured = before_speech.before_speech([[(gap, speech)]])
    widest = np.percentile(gap, before_speech.OPEN)
    for seconds, wanted in zip(preparation.BEFORE, preparation.GAP, strict=True):
        assert widest * measured[f"{1000 * seconds:.0f}"]["share"] == pytest.approx(
            wanted, abs=0.02
        )


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
