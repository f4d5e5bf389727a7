# SPDX-License-Identifier: Apache-2.0
"""Music and hum of which the network learns that nobody speaks."""

import numpy as np
import pytest

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.training.speech_data import music


def spectrum(x):
    """Amplitudes at 0, 1, 2 ... Hz of a second of it."""
    return np.abs(np.fft.rfft(x[:SAMPLE_RATE] * np.hanning(SAMPLE_RATE)))


def test_hum_is_of_the_mains_and_its_harmonics():
    for seed in range(8):
        power = spectrum(music.hum(SAMPLE_RATE, np.random.default_rng(seed))) ** 2
        peak = int(power[20:2000].argmax()) + 20
        assert min(peak % 50, -peak % 50, peak % 60, -peak % 60) <= 6, peak


@pytest.mark.parametrize("play", [*music.INSTRUMENTS, *music.HELD_OUT_INSTRUMENTS])
def test_instruments_play_the_pitch_that_they_are_given(play):
    """The spectrum lies at multiples of the pitch, or of a half of it; a bell's does not."""
    t, pitch = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE, 200.0
    tone = play(pitch, t, np.random.default_rng(3))
    assert tone.shape == t.shape and np.isfinite(tone).all() and tone.std() > 1e-3
    if play is music._bell:
        return
    power = spectrum(tone) ** 2
    hertz = np.arange(len(power))
    near = np.minimum(hertz % 100, -hertz % 100) <= 12 + 0.01 * hertz
    assert power[near].sum() > 0.9 * power.sum()


def test_recordings_differ_in_level_and_some_begin_or_end():
    clips = [clip.pcm for clip in music.recordings(180, seed=3)]
    assert len(clips) == 30 and all(np.abs(pcm).max() <= 1 for pcm in clips)
    levels = [20 * np.log10(pcm.std()) for pcm in clips if pcm.std() > 1e-6]
    assert min(levels) < -45 and max(levels) > -20  # dB
    silent = [np.mean(np.abs(pcm) < 2e-3 * max(np.abs(pcm).max(), 1e-6)) for pcm in clips]
    assert any(share > 0.3 for share in silent)
    again = [clip.pcm for clip in music.recordings(180, seed=3)]
    np.testing.assert_array_equal(np.concatenate(clips), np.concatenate(again))


def test_the_face_is_to_rest_in_music_and_nobody_speaks_whatever_the_network_heard(
    tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from realtalk_ros.training.expression.video_dataset import Video
    from realtalk_ros.training.videos import relabelled_speech
    from realtalk_ros.training.videos.teacher import Teacher

    monkeypatch.setattr(relabelled_speech, "STILL_SECONDS", 12.0)
    monkeypatch.setattr(relabelled_speech, "MUSIC_SECONDS", 24.0)
    teacher = Teacher()
    monkeypatch.setattr(teacher, "follow", _heard_as_speech(teacher.follow))
    relabelled_speech.Relabeller(tmp_path, teacher, {}).write_stillness()
    clips = {path.stem: Video.load(path) for path in (tmp_path / "speech").glob("*.npz")}
    assert {name: len(clip.starts) - 1 for name, clip in clips.items()} == {
        "still": 2, "still_music": 4,
    }  # fmt: skip
    for clip in clips.values():
        assert not clip.weights.any() and not clip.speech.any() and clip.mel.std() > 0.1


def _heard_as_speech(follow):
    def heard(pcm, person):
        stretch = follow(pcm, person)
        stretch.speech[:] = 0.9
        return stretch

    return heard
