# SPDX-License-Identifier: Apache-2.0
"""Lips part before speech where it is known in advance, and nothing else moves."""

from pathlib import Path

import numpy as np
import pytest

import realtalk_ros
from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.expression import preparation
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.expression.preparation import Preparation, prepared
from realtalk_ros.face_model import arkit, lips
from realtalk_ros.stream_types import Chunk, TimedExpression

SAMPLE = Path(realtalk_ros.__file__).parent / "data" / "speech_sample.wav"
RATE = 50
CLOSE = arkit.INDEX["mouthClose"]


def mouth(gap_cm):
    """(52,) weights of lips so far apart."""
    weights = np.zeros(52, np.float32)
    weights[lips.OPENING_WEIGHTS] = max(gap_cm - lips.REST_GAP, 0) * lips.OPENING_STEP
    if gap_cm < lips.REST_GAP:
        weights[CLOSE] = (gap_cm - lips.REST_GAP) / lips.GAP[CLOSE]
    return weights


def scene(first=0.8, silence=2.0, spoken=1.0):
    """Weights and speech at 50 Hz: silence, then speech that begins with lips `first` cm apart."""
    quiet, loud = round(silence * RATE), round(spoken * RATE)
    weights = np.zeros((quiet + loud, 52), np.float32)
    weights[quiet:] = mouth(first)
    return weights, np.r_[np.zeros(quiet), np.ones(loud)]


def expressions(weights, speech, rate=RATE):
    return [
        TimedExpression(k / rate, "a", k, row, np.zeros(3, np.float32), float(p))
        for k, (row, p) in enumerate(zip(weights, speech, strict=True))
    ]


def test_lips_part_before_speech_as_measured_and_go_straight_to_the_first_sound():
    weights, speech = scene()
    gap = lips.gap_of(prepared(weights, speech))
    for before, wanted in zip(preparation.BEFORE, preparation.GAP, strict=True):
        assert gap[100 - round(before * RATE)] == pytest.approx(wanted, abs=0.03)
    assert (np.diff(gap[70:101]) > -1e-3).all()
    np.testing.assert_array_equal(prepared(weights, speech)[100:], weights[100:])
    still = 100 - round(preparation.BEFORE[0] * RATE)
    np.testing.assert_array_equal(prepared(weights, speech)[:still], weights[:still])


def test_lips_that_must_meet_have_met():
    weights, speech = scene(first=0.0)
    weights[95:100] = mouth(0.0)  # as the network shuts them before a b is heard
    gap = lips.gap_of(prepared(weights, speech))
    assert gap[90] > 0.9 * preparation.GAP[-1] and gap[95:100].max() < 0.01


def test_silence_without_speech_noise_and_clicks_move_nothing():
    weights, _ = scene()
    for speech in (np.zeros(150), np.full(150, 0.45), np.where(np.arange(150) % 20 < 3, 0.9, 0)):
        np.testing.assert_array_equal(prepared(weights, speech), weights)


def test_a_stop_within_speech_stays_as_it_is():
    """160 ms of silence, of a p and of a t."""
    for stop in (0.0, 0.15):
        weights, speech = scene(spoken=2.0)
        weights[120:128], speech[120:128] = mouth(stop), 0.1
        np.testing.assert_array_equal(prepared(weights, speech)[100:], weights[100:])


def pause(seconds, last=0.6, first=0.8):
    """Gaps in the pause between two phrases of 1 s; lips are `last` and `first` cm apart at its
    ends. In it the network shuts them, as after all speech, and opens them 0.1 s before the next.
    """
    steps = round(seconds * RATE)
    network = np.r_[np.full(50, last), np.full(steps, 0.03), np.full(50, first)]
    network[45 + steps : 50 + steps] = np.linspace(0.03, first, 6)[:-1]
    weights = np.array([mouth(gap) for gap in network], np.float32)
    gap = lips.gap_of(prepared(weights, np.r_[np.ones(50), np.zeros(steps), np.ones(50)]))
    for spoken in (slice(50), slice(50 + steps, None)):
        np.testing.assert_allclose(gap[spoken], network[spoken], atol=1e-3)
    return gap[50 : 50 + steps]


@pytest.mark.parametrize("seconds", [0.3, 0.6])
def test_between_phrases_lips_stay_apart(seconds):
    gap = pause(seconds)
    assert gap[4:].min() > preparation.PARTED - 0.01
    assert gap.max() < 0.81 and np.abs(np.diff(gap)).max() < 9 / RATE


def test_in_a_longer_pause_they_shut_for_a_while_and_before_the_longest_until_speech_is_near():
    gap = pause(0.96)
    assert gap[:14].max() < 0.04 and gap[20:].min() > preparation.PARTED - 0.01
    assert pause(1.4)[:38].max() < 0.04


def test_a_last_and_a_first_sound_that_shut_the_lips_do_so_in_a_pause():
    before_m, after_m = pause(0.6, first=0.0), pause(0.6, last=0.0)
    assert before_m[-1] < 0.1 and before_m[4:20].min() > 0.5
    assert after_m[:9].max() < 0.04 and after_m[15:].min() > 0.5


def test_it_opens_no_faster_than_people_where_speech_comes_at_once():
    weights, speech = scene(silence=0.3)
    gap = lips.gap_of(prepared(weights, speech))
    assert gap[:15].max() > 0.6
    assert np.abs(np.diff(gap[:15])).max() < 9 / RATE  # cm/s


@pytest.mark.parametrize("rate", [25, 30, 50])
def test_frames_come_in_order_each_once_however_they_are_cut(rate):
    weights, speech = scene()
    frames = expressions(weights, speech, rate)
    whole, parts, out = Preparation(), Preparation(), []
    for k in range(0, len(frames), 7):
        out += parts.push(frames[k : k + 7])
    out += parts.flush()
    at_once = whole.push(frames) + whole.flush()
    assert [f.sequence for f in out] == list(range(len(frames)))
    np.testing.assert_array_equal([f.weights for f in out], [f.weights for f in at_once])


def test_what_is_due_does_not_wait_and_speech_never_does():
    weights, speech = scene()
    frames, stage = expressions(weights, speech), Preparation()
    for frame in frames[:100]:
        assert stage.push([frame], due=frame.time) == [frame]  # live: as it is, at once
    assert not stage.push(frames[100:103])  # a click?
    given = [stage.push([frame]) for frame in frames[103:]]
    assert [f.sequence for f in given[0]] == [100, 101, 102, 103]
    assert all(len(out) == 1 for out in given[1:])


def test_a_jump_of_the_clock_and_a_reset():
    frames = expressions(*scene())
    stage = Preparation()
    early = stage.push(frames[:90])
    stage.shift(100.0)
    held = stage.push([], due=200.0)
    assert len(early) + len(held) == 90 and held[0].time == pytest.approx(
        100 + frames[len(early)].time
    )
    stage.push(frames[:10])
    stage.reset()
    assert not stage.flush()


@pytest.fixture(scope="module")
def model():
    return ExpressionModel()


def said(pipeline, pcm, rate, block=0.2):
    step = round(block * rate)
    out = [
        f for i in range(0, len(pcm), step) for f in pipeline.push(Chunk(pcm[i : i + step], rate))
    ]
    return out + pipeline.flush()


def test_a_pipeline_with_it_differs_only_before_speech(model):
    pcm, rate = read_audio(SAMPLE)
    pcm = np.concatenate([np.zeros(rate, np.float32), pcm[: 3 * rate]])
    plain = said(ExpressionPipeline(model, model.prior(), 25), pcm, rate)
    made = said(ExpressionPipeline(model, model.prior(), 25, prepare=True), pcm, rate)
    again = said(ExpressionPipeline(model, model.prior(), 25, prepare=True), pcm, rate, 0.05)
    assert [f.time for f in plain] == [f.time for f in made]
    for a, b in zip(made, again, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, atol=1e-4)
    first = next(k for k, f in enumerate(plain) if f.speech > 0.5)
    gaps = [np.array([lips.gap_of(f.weights) for f in some]) for some in (plain, made)]
    assert (gaps[1] - gaps[0])[:first].max() > 0.15
    assert np.abs(gaps[1] - gaps[0])[first : first + 12].max() < 1e-6


def test_live_speech_is_not_delayed(model):
    """Each expression comes with the chunk with which it would come without this."""
    pcm, rate = read_audio(SAMPLE)
    pcm = np.concatenate([np.zeros(rate, np.float32), pcm[: 2 * rate]])
    pipelines = [ExpressionPipeline(model, model.prior(), 25, prepare=p) for p in (False, True)]
    for k in range(0, len(pcm), rate // 50):
        chunk, now = Chunk(pcm[k : k + rate // 50], rate, k / rate, "a"), (k + rate // 50) / rate
        counts = []
        for pipeline in pipelines:
            _, scheduled = pipeline.schedule(chunk, now)
            counts.append([f.time for f in pipeline.feed(scheduled, due=now + 0.3)])
        assert counts[0] == counts[1]
