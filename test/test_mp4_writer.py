# SPDX-License-Identifier: Apache-2.0
"""The MP4 that comes out: what is in it, when it is shown and heard, and what failure leaves."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest

from realtalk_ros.errors import RealTalkError
from realtalk_ros.output import mp4_writer
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.output.recording import Recording


def picture(number, size=(128, 128)):
    """A frame whose brightness tells its number."""
    return np.full((size[1], size[0], 3), 40 + 4 * number, np.uint8)


def decode(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = [frame.time for frame in frames]
        images = [frame.to_ndarray(format="bgr24") for frame in frames]
    with av.open(str(path)) as container:
        audio = list(container.decode(audio=0)) if container.streams.audio else []
        pcm = np.concatenate([f.to_ndarray().mean(0) for f in audio]) if audio else None
        start = audio[0].time if audio else None
        rate = audio[0].sample_rate if audio else None
    return times, images, pcm, start, rate


@pytest.mark.parametrize("fps", [1, 25, 30, 29.97, 60])
def test_frames_come_back_at_their_times(tmp_path, fps):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps, (128, 128)) as video:
        for k in range(30):
            video.write(picture(k))
    times, images, pcm, *_ = decode(path)
    assert pcm is None
    assert np.allclose(times, np.arange(30) / fps, atol=1e-3)
    assert np.allclose([image.mean() for image in images], 40 + 4 * np.arange(30), atol=2)


@pytest.mark.parametrize(
    "rate, heard",
    [(8000, 8000), (16000, 16000), (22050, 22050), (44100, 44100), (192000, 48000), (15000, 16000)],
)
def test_sound_is_heard_when_it_was_written(tmp_path, rate, heard):
    path = tmp_path / "a.mp4"
    time = np.arange(2 * rate) / rate
    beep = np.where((time > 0.8) & (time < 1.2), np.sin(2 * np.pi * 1000 * time), 0) * 0.5
    with VideoWriter(path, 25, (128, 128), rate) as video:
        for k in range(50):
            video.write(picture(k))
            video.write_audio(beep[k * rate // 25 : (k + 1) * rate // 25].astype(np.float32))
        assert video.frames == 50 and video.samples == 2 * rate
    times, _, pcm, start, decoded_rate = decode(path)
    assert decoded_rate == heard and len(times) == 50
    loud = np.flatnonzero(np.abs(pcm) > 0.25) / heard + start
    assert loud[0] == pytest.approx(0.8, abs=0.01) and loud[-1] == pytest.approx(1.2, abs=0.01)
    assert np.abs(pcm).max() == pytest.approx(0.5, abs=0.1)


def test_odd_sizes_are_padded_by_a_pixel(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25, (101, 75)) as video:
        video.write(picture(3, (101, 75)))
    _, images, *_ = decode(tmp_path / "a.mp4")
    assert images[0].shape == (76, 102, 3)
    assert np.abs(images[0].astype(int) - 52).max() <= 5  # the padding looks like its neighbours


def test_colours_survive(tmp_path):
    colour = np.array([40, 90, 200], np.uint8)  # BGR: a skin-like red
    with VideoWriter(tmp_path / "a.mp4", 25, (64, 64)) as video:
        video.write(np.tile(colour, (64, 64, 1)))
    _, images, *_ = decode(tmp_path / "a.mp4")
    assert np.abs(images[0].mean((0, 1)) - colour).max() < 4


def test_an_error_leaves_no_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the old one")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 25, (128, 128)) as video:
        video.write(picture(0))
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"the old one"


@pytest.mark.parametrize("name", ["2026-11-30T01:05:00.mp4", "12:30.mp4", "x" * 251 + ".mp4"])
def test_any_name_of_a_file_may_be_given(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with VideoWriter(name, 25, (128, 128)) as video:
        video.write(picture(0))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_link_is_written_through_and_a_pipe_is_refused(tmp_path):
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    with VideoWriter(tmp_path / "link.mp4", 25, (128, 128)) as video:
        video.write(picture(0))
    assert (tmp_path / "link.mp4").is_symlink() and len(decode(tmp_path / "a.mp4")[0]) == 1
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(RealTalkError, match="a device or a pipe"):
        VideoWriter(tmp_path / "pipe.mp4", 25, (128, 128))
    assert (tmp_path / "pipe.mp4").is_fifo()


def test_a_folder_that_one_may_not_enter(priv):
    with pytest.raises(RealTalkError, match="Permission denied"):
        VideoWriter(priv / "a.mp4", 25, (128, 128))


@pytest.mark.parametrize("name", ["missing/a.mp4", "."])
def test_a_place_that_cannot_be_written_to(tmp_path, name):
    with pytest.raises(RealTalkError, match="cannot write"):
        VideoWriter(tmp_path / name, 25, (128, 128))


def test_a_frame_of_another_size_is_refused(tmp_path):
    with pytest.raises(RealTalkError, match="takes uint8 frames"):
        with VideoWriter(tmp_path / "a.mp4", 25, (128, 128)) as video:
            video.write(picture(0, (64, 64)))
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, signal, sys
import numpy as np
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output import mp4_writer
from realtalk_ros.output.mp4_writer import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], 25, (128, 128)) as video:
        for _ in range(100):
            video.write(rng.integers(0, 255, (128, 128, 3), np.uint8))
except RealTalkError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path):
    run = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path / "a.mp4"],
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 1 and "cannot write" in run.stderr and "room" in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_a_recording_takes_sound_of_any_rate_where_its_stamps_say(tmp_path):
    """Clicks and a tone that a track of 16 kHz cannot hold, at 48, 16 and 22.05 kHz in turns, with
    a gap before the last."""
    recording = Recording(tmp_path / "a.mp4", 25, 100.0, (64, 64), 16000)
    for k in range(60):
        recording.add_image(100 + k / 25, picture(0, (64, 64)))
    clicks = []
    for begin, rate in ((0.0, 48000), (0.4, 16000), (0.8, 48000), (1.4, 22050)):
        time = np.arange(round(0.4 * rate)) / rate
        pcm = 0.8 * np.exp(-0.5 * ((time - 0.2) / 4e-4) ** 2)
        if rate == 48000:
            pcm += 0.3 * np.sin(2 * np.pi * 11000 * time)
        clicks.append(begin + 0.2)
        for i in range(0, len(pcm), 441):  # chunks that are no whole number of track samples
            part = pcm[i : i + 441].astype(np.float32)
            recording.add_audio(100 + begin + i / rate, part, rate)
    recording.close(102.4)

    *_, sound, start, rate = decode(tmp_path / "a.mp4")
    assert rate == 16000
    at = np.arange(len(sound)) / rate + start
    for click in clicks:
        near = np.abs(at - click) < 0.05
        power = np.clip(sound[near], 0, None) ** 2
        assert (at[near] * power).sum() / power.sum() == pytest.approx(click, abs=1e-3)
        assert sound[near].max() == pytest.approx(0.8, abs=0.1)
    edges = (*clicks, 0, 0.4, 0.8, 1.2, 1.4, 1.8)
    between = np.min([np.abs(at - edge) for edge in edges], 0) > 0.05
    assert np.abs(sound[between & (at < 1.8)]).max() < 0.02  # the tone would be heard at 5 kHz


class Signalled(BaseException):
    """As a signal's exception, which may come anywhere."""


class Signals:
    """A container that is interrupted when its file has just been created."""

    def __init__(self, container):
        self._container = container

    def __getattr__(self, name):
        return getattr(self._container, name)

    def start_encoding(self):
        self._container.start_encoding()
        raise Signalled


def test_a_file_that_is_given_up_at_once_leaves_nothing(tmp_path, monkeypatch):
    VideoWriter(tmp_path / "a.mp4", 25, (64, 64), 16000)  # before a `with` block
    assert not list(tmp_path.iterdir())

    opened = mp4_writer.av.open
    monkeypatch.setattr(
        mp4_writer.av, "open", lambda *args, **named: Signals(opened(*args, **named))
    )
    with pytest.raises(Signalled) as raised:
        VideoWriter(tmp_path / "a.mp4", 25, (64, 64), 16000)
    assert not list(tmp_path.iterdir()) and raised.tb  # which keeps the writer
