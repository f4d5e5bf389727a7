# SPDX-License-Identifier: Apache-2.0
"""Log-mel frames, PCM and the resampler."""

import numpy as np
import pytest

from realtalk_ros.audio import log_mel, pcm
from realtalk_ros.audio.resampler import Resampler
from realtalk_ros.errors import AudioError


def speech_like(rate, seconds=1.0, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(rate * seconds)) / rate
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
    loud = 0.1 + 0.9 * np.abs(np.sin(2 * np.pi * 3 * t))
    return (0.05 * tone * loud + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def in_chunks(x, rate, sizes):
    front_end, out, i, k = log_mel.AudioFrontEnd(rate), [], 0, 0
    while i < len(x):
        out.append(front_end.push(x[i : i + sizes[k % len(sizes)]]))
        i += sizes[k % len(sizes)]
        k += 1
    return np.concatenate([*out, front_end.flush()])


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 22050, 44100, 48000, 44101, 192000, 384000])
def test_frames_do_not_depend_on_chunking(rate):
    x = speech_like(rate, 0.5)
    whole = log_mel.log_mel(x, rate)
    assert whole.shape == (50, 80) and np.isfinite(whole).all()
    for sizes in ([rate // 100], [1, 7, 0, rate // 3], [len(x) - 1, 1]):
        np.testing.assert_allclose(in_chunks(x, rate, sizes), whole, atol=2e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 192000])
def test_resampled_signal_has_no_delay(rate):
    # A 300 Hz burst centred on 0.5 s is the same function of time at any rate.
    def burst(r):
        t = np.arange(r) / r
        return (np.sin(2 * np.pi * 300 * t) * np.exp(-(((t - 0.5) / 0.05) ** 2))).astype(np.float32)

    resampler = Resampler(rate)
    y = np.concatenate([resampler.push(burst(rate)), resampler.flush()])
    assert len(y) == 16000
    np.testing.assert_allclose(y, burst(16000), atol=1e-3)


def test_resampler_rejects_what_would_alias():
    t = np.arange(48000) / 48000
    mel = log_mel.log_mel((0.5 * np.sin(2 * np.pi * 11000 * t)).astype(np.float32), 48000)
    heard = log_mel.log_mel((0.5 * np.sin(2 * np.pi * 5000 * t)).astype(np.float32), 48000)
    # 6 dB are 0.6 log10 units of power; the scale is 0.3 a unit. Ends excluded: they are clicks.
    assert heard[10:-10].max() - mel[10:-10].max() > 6 * 0.3


def test_frame_time_is_its_centre():
    x = np.zeros(16000, np.float32)
    x[8000] = 1.0  # a click at 0.5 s
    mel = log_mel.log_mel(x, 16000)
    assert mel.sum(axis=1).argmax() == 50


def test_stream_latency_is_bounded():
    front_end = log_mel.AudioFrontEnd(48000)
    frames = len(front_end.push(np.zeros(48000, np.float32)))
    assert frames >= 98  # at most 20 ms behind


def test_decode_encodings_and_channels():
    s16 = np.array([0, 16384, -32768], "<i2")
    assert pcm.decode_pcm(s16.tobytes(), "pcm_s16le", 1).tolist() == [0, 0.5, -1]
    for channels in range(1, 9):
        frames = np.tile(np.linspace(-1, 1, 5, dtype="<f4")[:, None], (1, channels))
        mono = pcm.decode_pcm(frames.tobytes(), "pcm_f32le", channels)
        assert mono.dtype == np.float32
        np.testing.assert_allclose(mono, frames[:, 0], atol=1e-6)
    assert pcm.decode_pcm(b"", "pcm_s16le", 2).shape == (0,)


def test_bad_samples_become_silence():
    bad = np.array([np.nan, np.inf, -np.inf, 0.5, 7.0], "<f4")
    assert pcm.decode_pcm(bad.tobytes(), "pcm_f32le", 1).tolist() == [0, 0, 0, 0.5, 1]
    assert pcm.to_float(bad.astype(float)).tolist() == [0, 0, 0, 0.5, 1]


def test_int16_survives_being_decoded_and_encoded():
    every = np.arange(-32768, 32768, dtype="<i2").tobytes()
    assert pcm.encode_pcm(pcm.decode_pcm(every, "pcm_s16le", 1)) == every
    loud = pcm.encode_pcm(np.float32([1, 1.5, -1.5, 0.6 / 32768, -0.6 / 32768]))
    assert np.frombuffer(loud, "<i2").tolist() == [32767, 32767, -32768, 1, -1]
    exact = np.float32([0.1, -2]).tobytes()
    assert pcm.encode_pcm(np.frombuffer(exact, np.float32), "pcm_f32le") == exact


@pytest.mark.parametrize(
    "data, encoding, channels, word",
    [
        (b"\0\0", "mp3", 1, "mp3"),
        (b"\0\0\0", "pcm_s16le", 1, "3 bytes"),
        (b"\0\0", "pcm_s16le", 2, "2-channel"),
        (b"\0\0", "pcm_s16le", 0, "0 audio channels"),
        (b"\0\0", "pcm_s16le", -1, "channels"),
    ],
)
def test_decode_refuses(data, encoding, channels, word):
    with pytest.raises(AudioError, match=word) as error:
        pcm.decode_pcm(data, encoding, channels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rate", [0, -1, 3999, 384001])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(AudioError, match=str(rate)):
        log_mel.AudioFrontEnd(rate)


def test_empty_and_tiny_segments():
    front_end = log_mel.AudioFrontEnd(44100)
    assert front_end.push(np.zeros(0, np.float32)).shape == (0, 80)
    assert front_end.flush().shape == (0, 80)
    assert log_mel.log_mel(np.ones(1, np.float32), 16000).shape == (1, 80)
