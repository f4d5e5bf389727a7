# SPDX-License-Identifier: Apache-2.0
"""Shorter look-aheads of the audio-to-expression network."""

import shutil

import numpy as np
import pytest

from expressed import express
from realtalk_ros import checksums, onnx_session
from realtalk_ros.audio import log_mel
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.contracts import LOOK_AHEAD, PRIOR_FILE, STEP_FILE, STEP_FILES
from realtalk_ros.errors import ModelError
from realtalk_ros.expression.onnx_model import STATE, ExpressionModel
from realtalk_ros.face_model import lips

MODELS = onnx_session.MODEL_DIR
SHORT = sorted(set(STEP_FILES) - {LOOK_AHEAD})
SIZE = 12e6  # bytes, of all files of the expression network together


@pytest.fixture(scope="module")
def clip():
    pcm, rate = read_audio(SAMPLE_CLIP)
    return pcm[: 6 * rate], rate


@pytest.fixture(scope="module")
def models():
    return {seconds: ExpressionModel(look_ahead=seconds) for seconds in STEP_FILES}


@pytest.fixture(scope="module")
def whole(models, clip):
    """What each network makes of the clip in one piece."""
    return {seconds: express(model, *clip) for seconds, model in models.items()}


@pytest.mark.parametrize("seconds", SHORT)
@pytest.mark.parametrize("chunk_s", [0.01, 0.137])
def test_streamed_equals_whole(models, clip, whole, seconds, chunk_s):
    streamed = express(models[seconds], *clip, chunk_s)
    assert len(streamed["time"]) == 300
    for name, values in whole[seconds].items():
        np.testing.assert_allclose(streamed[name], values, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("seconds", SHORT)
def test_frames_come_after_the_look_ahead_and_know_no_more_of_the_sound(models, clip, seconds):
    model, (pcm, rate) = models[seconds], clip
    assert model.look_ahead == pytest.approx(seconds, abs=0.003)
    until = round(rate * (2 + model.look_ahead))
    front_end, stream = log_mel.AudioFrontEnd(rate), model.stream(model.prior())
    known = stream.push(front_end.push(pcm[:until]))
    assert known.time[-1] == pytest.approx(2.0)
    other = pcm.copy()
    other[until:] = np.random.default_rng(0).standard_normal(len(pcm) - until)
    with_noise = express(model, other, rate)["weights"]
    np.testing.assert_allclose(with_noise[: len(known)], known.weights, atol=1e-4)


@pytest.mark.parametrize("seconds", SHORT)
def test_what_is_predicted_is_forgotten(models, clip, seconds):
    """After a second the caches are those of the network that predicts nothing."""
    pcm, rate = clip
    mel = log_mel.AudioFrontEnd(rate).push(pcm[:rate])[:96]
    states = []
    for model in (models[seconds], models[LOOK_AHEAD]):
        stream = model.stream(model.prior())
        for i in range(0, len(mel), 2):
            stream.push(mel[i : i + 2])
        states.append(stream._state[stream._runs % 2])
    for name in STATE:
        np.testing.assert_allclose(states[0][name], states[1][name], atol=1e-3, err_msg=name)


# How near the lips come to those of the whole look-ahead: 0.977 and 0.926. Its own frames, given as
# early as that, come to 0.64 and 0.33.
@pytest.mark.parametrize("seconds, least", [(0.1, 0.96), (0.06, 0.91)])
def test_lips_are_nearly_those_of_the_whole_look_ahead(whole, seconds, least):
    full, short = (lips.gap_of(whole[s]["weights"]) for s in (LOOK_AHEAD, seconds))
    assert np.corrcoef(full, short)[0, 1] > least
    assert np.percentile(short, 95) == pytest.approx(np.percentile(full, 95), rel=0.1)
    early = round((LOOK_AHEAD - seconds) * 50)
    assert np.corrcoef(full[early:], full[:-early])[0, 1] < least - 0.2


@pytest.mark.parametrize("seconds", SHORT)
def test_lips_rest_in_silence_and_noise(models, seconds):
    """Most of all as it begins, or comes out of silence."""
    t = np.arange(24000) / 16000
    white = np.random.default_rng(0).standard_normal(len(t))
    shapes = {"white": white, "hum": np.sin(2 * np.pi * 100 * t), "burst": white * (t > 1)}
    sounds = {("silence", 0): 0 * t} | {
        (name, level): level * shape
        for name, shape in shapes.items()
        for level in (0.0003, 0.003, 0.03, 0.1)
    }
    for name, pcm in sounds.items():
        gap = lips.gap_of(express(models[seconds], pcm.astype(np.float32))["weights"])
        assert np.abs(gap - lips.REST_GAP).max() < 0.06, name  # cm


def test_all_together_are_small_enough():
    names = {PRIOR_FILE, *STEP_FILES.values()}
    assert sum((MODELS / name).stat().st_size for name in names) < SIZE
    assert names <= set(checksums.read(MODELS))


@pytest.mark.parametrize("value", [0.12, 0.0, -1.0, 160.0, float("nan"), float("inf")])
def test_another_look_ahead_is_refused(value):
    with pytest.raises(ModelError, match=r"look_ahead is one of 0\.06, 0\.1, 0\.16 s, not"):
        ExpressionModel(look_ahead=value)


def test_a_folder_without_the_file_or_with_other_weights_says_what_to_do(tmp_path):
    for name in (PRIOR_FILE, STEP_FILE):
        shutil.copyfile(MODELS / name, tmp_path / name)
    ExpressionModel(tmp_path)
    with pytest.raises(ModelError, match=r"no network for look_ahead 0\.1.*train look-ahead"):
        ExpressionModel(tmp_path, look_ahead=0.1)
    shutil.copyfile(MODELS / STEP_FILES[0.1], tmp_path / STEP_FILES[0.1])
    ExpressionModel(tmp_path, look_ahead=0.1)
    # As a network that was trained further would be: of the same size, with other bytes.
    data = bytearray((tmp_path / STEP_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / STEP_FILE).write_bytes(data)
    with pytest.raises(ModelError, match=r"not made for .*expression_step\.onnx: make it again"):
        ExpressionModel(tmp_path, look_ahead=0.1)
    shutil.copyfile(MODELS / STEP_FILE, tmp_path / STEP_FILES[0.1])  # says of none that it is its
    with pytest.raises(ModelError, match="not made for"):
        ExpressionModel(tmp_path, look_ahead=0.1)
