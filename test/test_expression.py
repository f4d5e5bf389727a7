# SPDX-License-Identifier: Apache-2.0
"""The shipped audio-to-expression network: streams, obeys the sound, rests in silence."""

import itertools

import numpy as np
import pytest

from expressed import express
from realtalk_ros import onnx_session
from realtalk_ros.audio import log_mel
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.errors import ModelError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model.lips import REST_GAP, gap_of


@pytest.fixture(scope="module")
def model():
    return ExpressionModel()


@pytest.fixture(scope="module")
def clip():
    pcm, rate = read_audio(SAMPLE_CLIP)
    return pcm[: 6 * rate], rate


@pytest.fixture(scope="module")
def whole(model, clip):
    return express(model, *clip)


@pytest.mark.parametrize("chunk_s", [0.01, 0.137])
def test_streamed_equals_whole(model, clip, whole, chunk_s):
    streamed = express(model, *clip, chunk_s)
    for name, values in whole.items():
        np.testing.assert_allclose(streamed[name], values, atol=1e-4, err_msg=name)


def test_frames_cover_the_sound_at_50_hz(clip, whole):
    pcm, rate = clip
    assert len(whole["time"]) == int(np.ceil(len(pcm) / rate * EXPRESSION_RATE - 1e-9))
    np.testing.assert_allclose(whole["time"], np.arange(len(whole["time"])) / EXPRESSION_RATE)
    assert whole["weights"].min() >= 0 and whole["weights"].max() <= 1


def test_frames_come_after_the_stated_look_ahead(model):
    assert 0 < model.look_ahead <= 0.2
    front_end, stream = log_mel.AudioFrontEnd(16000), model.stream(model.prior())
    # Audio up to 1 s + the look-ahead decides the frame at 1 s; 20 ms less does not.
    samples = np.zeros(round(16000 * (1 + model.look_ahead)), np.float32)
    early = stream.push(front_end.push(samples[:-320]))
    assert early.time[-1] == pytest.approx(0.98)
    assert stream.push(front_end.push(samples[-320:])).time[-1] == pytest.approx(1.0)


def test_a_step_that_is_not_due_waits_for_the_next(model, clip, whole):
    """At 25 frames a second, every other step is due."""
    pcm, rate = clip
    mel = log_mel.AudioFrontEnd(rate).push(pcm[: 2 * rate])
    stream, due, got = model.stream(model.prior()), 0, []
    for i in range(0, len(mel) - 1, 2):
        frames = stream.push(mel[i : i + 2], due / EXPRESSION_RATE)
        after = i // 2 - model.look_ahead_steps  # the frame of this step
        assert len(frames) == (min(2, after + 1) if after == due else 0)
        due += 2 * (after == due)
        got.append(frames.weights)
    got = np.concatenate(got)
    np.testing.assert_allclose(got, whole["weights"][: len(got)], atol=1e-4)


def test_lips_rest_in_silence_and_noise(model):
    rng = np.random.default_rng(0)
    t = np.arange(48000) / 16000
    white = rng.standard_normal(48000)
    hum = np.sin(2 * np.pi * 100 * t) + 0.5 * np.sin(2 * np.pi * 200 * t)
    on = (t > 1) & (t < 2)  # at once, out of digital silence and back
    breath = np.maximum(0, np.sin(2 * np.pi * 0.5 * t)) ** 2 * white
    notes = sum(
        np.sin(2 * np.pi * pitch * t) * np.exp(-3 * ((t + 0.2 * k) % 0.8))
        for k, pitch in enumerate((220, 277, 330, 440))
    )
    shapes = {"white": white, "hum": hum, "burst": white * on, "breath": breath, "music": notes}
    levels = [("white", 0.0), *itertools.product(shapes, (0.0003, 0.003, 0.03, 0.1))]
    for name, level in levels:
        weights = express(model, (level * shapes[name]).astype(np.float32))["weights"]
        away = np.abs(gap_of(weights) - REST_GAP).max()
        assert away < 0.06, (name, level)  # cm: 5 % of the lips' range


def test_mouth_moves_with_speech_and_rests_after_it(model, clip):
    pcm, rate = clip
    got = express(model, np.concatenate([pcm, np.zeros(rate, np.float32)]), rate)
    gap = gap_of(got["weights"])
    assert gap.max() > 0.6  # cm, on a vowel
    speaking = got["speech"] > 0.5
    assert 0.5 < speaking[: int(len(pcm) / rate * EXPRESSION_RATE)].mean() <= 1
    assert not speaking[-25:].any()
    assert np.abs(gap[-25:] - REST_GAP).max() < 0.05


def test_the_level_of_the_recording_matters_little(model, clip, whole):
    pcm, rate = clip
    gap, quiet = map(gap_of, (whole["weights"], express(model, 0.2 * pcm, rate)["weights"]))
    assert np.corrcoef(gap, quiet)[0, 1] > 0.9


def test_prior_changes_the_person_but_unknown_is_allowed(model):
    rng = np.random.default_rng(1)
    nobody = model.prior()
    somebody = model.prior(rng.standard_normal(100), 0.3 * rng.random((50, 52)))
    assert nobody.shape == somebody.shape and np.abs(nobody - somebody).max() > 0.1
    with pytest.raises(ModelError, match="identity"):
        model.prior(np.zeros(99))
    with pytest.raises(ModelError, match="reference"):
        model.prior(None, np.full((50, 52), np.nan))


def test_streams_do_not_share_state(model):
    rng = np.random.default_rng(2)
    mel = rng.standard_normal((60, 80)).astype(np.float32)
    prior = model.prior()
    alone, a, b = (model.stream(prior) for _ in range(3))
    wanted = [alone.push(mel[i : i + 2]).weights for i in range(0, 60, 2)]
    mixed = []
    for i in range(0, 60, 2):
        mixed.append(a.push(mel[i : i + 2]).weights)
        b.push(-mel[i : i + 2])
    np.testing.assert_array_equal(np.concatenate(mixed), np.concatenate(wanted))


def test_empty_segment_gives_no_frames(model):
    stream = model.stream(model.prior())
    assert len(stream.push(np.zeros((0, 80), np.float32))) == 0
    assert len(stream.flush()) == 0


def test_damaged_model_is_refused(tmp_path):
    for name in ("expression_prior.onnx", "expression_step.onnx"):
        (tmp_path / name).write_bytes((onnx_session.MODEL_DIR / name).read_bytes())
    ExpressionModel(tmp_path)
    whole = (tmp_path / "expression_step.onnx").read_bytes()
    (tmp_path / "expression_step.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="expression_step.onnx"):
        ExpressionModel(tmp_path)
