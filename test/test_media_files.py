# SPDX-License-Identifier: Apache-2.0
"""Media files, good and bad."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from realtalk_ros.audio import media_files
from realtalk_ros.audio.stated_length import StatedLength
from realtalk_ros.errors import AudioError
from wav_files import write_wav

RATE = 16000


def tone(seconds, rate=RATE, amplitude=0.5, frequency=440.0):
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def float_wav(path, pcm, channels=1, rate=RATE, kind=3):
    """A WAV of floats as they are; `kind`: 1 of integers, whatever they are."""
    data = pcm.astype("<f4").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16,
                         kind, channels, rate, RATE * 4, 4, 32, b"data", len(data))  # fmt: skip
    path.write_bytes(header + data)
    return path


@pytest.mark.parametrize("bytes_per_sample, error", [(1, 1 / 128), (2, 1e-4), (3, 1e-6)])
def test_wav_of_any_depth_comes_back(tmp_path, bytes_per_sample, error):
    pcm = tone(0.5)
    read, rate = media_files.read_audio(write_wav(tmp_path / "a.wav", pcm, RATE, bytes_per_sample))
    assert rate == RATE and read.dtype == np.float32 and read.shape == pcm.shape
    assert np.abs(read - pcm).max() <= error


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_rate_is_the_files_own(tmp_path, rate):
    pcm, read_rate = media_files.read_audio(write_wav(tmp_path / "a.wav", tone(0.25, rate), rate))
    assert read_rate == rate and len(pcm) == rate // 4


@pytest.mark.parametrize("channels", [2, 3, 6, 8])
def test_channels_are_averaged(tmp_path, channels):
    path = tmp_path / "a.wav"
    loud = np.zeros((RATE, channels))
    loud[:, channels - 1] = 0.5  # one channel alone: the mean is its share
    pcm, _ = media_files.read_audio(write_wav(path, loud))
    assert pcm.shape == (RATE,)
    assert np.allclose(pcm, 0.5 / channels, atol=1e-6)


@pytest.mark.parametrize("bytes_per_sample, channels", [(2, 1), (3, 2), (1, 6)])
def test_truncated_wav_gives_what_is_there(tmp_path, bytes_per_sample, channels):
    sound = np.repeat(tone(2.0)[:, None], channels, axis=1)
    path = write_wav(tmp_path / "a.wav", sound, RATE, bytes_per_sample)
    data = path.read_bytes()
    begin = data.index(b"data") + 8
    frame = bytes_per_sample * channels
    path.write_bytes(data[: begin + RATE * frame + frame - 1])  # one second and a part of a sample
    pcm, rate = media_files.read_audio(path)
    assert len(pcm) == rate == RATE
    assert np.abs(pcm - tone(1.0)).max() <= 2.0 / 2 ** (8 * bytes_per_sample)


def test_float_wav_with_nan_and_infinity_is_finite(tmp_path):
    pcm = tone(0.1)
    pcm[10:13] = np.nan, np.inf, 7.0
    read, _ = media_files.read_audio(float_wav(tmp_path / "a.wav", pcm))
    assert read[10:13].tolist() == [0.0, 0.0, 1.0]
    assert np.isfinite(read).all() and len(read) == len(pcm)


def test_silent_wav_is_fine(tmp_path):
    pcm, _ = media_files.read_audio(write_wav(tmp_path / "a.wav", np.zeros(RATE)))
    assert len(pcm) == RATE and not pcm.any()


def bad_files(folder):
    whole = write_wav(folder / "whole.wav", tone(0.1)).read_bytes()
    yield "nothing.wav", b""
    yield "text.wav", b"This is not audio. " * 100
    yield "noise.wav", np.random.default_rng(0).bytes(1000)
    yield "header_cut.wav", whole[:20]
    yield "no_samples.wav", whole[:44]
    yield "rate_zero.wav", whole[:24] + struct.pack("<I", 0) + whole[28:]
    yield "playlist.wav", b"#EXTM3U\n#EXTINF:1,\nwhole.wav\n#EXT-X-ENDLIST\n"
    yield "concat.wav", b"ffconcat version 1.0\nfile whole.wav\n"


def test_files_that_are_no_audio_are_refused_in_one_line(tmp_path):
    for name, data in bad_files(tmp_path):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AudioError) as caught:
            media_files.read_audio(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_missing_file_and_folder(tmp_path, name):
    with pytest.raises(AudioError, match="check the path|is a folder"):
        media_files.read_audio(tmp_path / name)


def test_the_sound_of_an_mpeg_film_is_read(tmp_path):
    """Its streams are found on the way: PyAV before 17 ended the process."""
    with av.open(str(tmp_path / "a.mpg"), "w") as film:
        stream = film.add_stream("mp2", rate=44100)
        for k in range(20):
            sound = av.AudioFrame.from_ndarray(
                np.full((1, 1152), 3000, np.int16), format="s16", layout="mono"
            )
            sound.rate, sound.pts = 44100, 1152 * k
            film.mux(stream.encode(sound))
        film.mux(stream.encode(None))
    pcm, rate = media_files.read_audio(tmp_path / "a.mpg")
    assert rate == 44100 and len(pcm) == pytest.approx(20 * 1152, abs=1200)
    assert np.median(pcm) > 0.05


def test_blocks_join_to_the_whole(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(1.03))
    stream = media_files.AudioStream(path, block_s=0.1)
    assert stream.sample_rate == RATE and stream.duration == pytest.approx(1.03, abs=0.01)
    blocks = list(stream)
    assert [len(block) for block in blocks] == [1600] * 10 + [480]
    assert np.array_equal(np.concatenate(blocks), media_files.read_audio(path)[0])
    with pytest.raises(AudioError, match="open it again"):
        list(stream)


def test_the_start_of_a_file_is_read(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(5.0))
    assert len(media_files.read_audio(path, seconds=1.5)[0]) == 2 * RATE  # whole blocks of a second
    assert len(media_files.read_audio(path, seconds=9.0)[0]) == 5 * RATE


def test_a_file_is_closed_when_its_reading_fails(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", tone(5.0))

    def fails(*_):
        raise AudioError("of a block")

    monkeypatch.setattr(media_files.AudioStream, "_mono", fails)
    with pytest.raises(AudioError, match="of a block") as caught:  # which holds what was open
        media_files.read_audio(path)
    assert caught.tb and str(path) not in {os.path.realpath(fd) for fd in open_files()}


def open_files():
    return list(Path("/proc/self/fd").iterdir())


def test_bundled_clip():
    pcm, rate = media_files.read_audio(media_files.SAMPLE_CLIP)
    assert rate == RATE and 15 <= len(pcm) / rate <= 25
    assert 20 * np.log10(np.sqrt(np.mean(pcm**2))) == pytest.approx(-20, abs=1.5)


def test_opposite_channels_are_heard(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.outer(tone(1.0), [1, -1]))
    stream = media_files.AudioStream(path)
    assert np.allclose(np.concatenate(list(stream)), tone(1.0), atol=1e-3)
    assert len(stream.warnings) == 1 and "polarity" in stream.warnings[0]


def encoded(path, codec, pcm, damage=0):
    """A file in this codec, of which so many bytes in the middle are changed."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        for start in range(0, len(pcm), 1024):
            part = pcm[None, start : start + 1024]
            if codec == "flac":
                part = np.ascontiguousarray((part * 32767).astype("<i2"))
            layout = {"format": "s16" if codec == "flac" else "flt", "layout": "mono"}
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), **layout)
            frame.sample_rate, frame.pts = RATE, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for at in rng.integers(len(data) // 4, len(data) // 2, damage):
        data[at] ^= 0x5A
    path.write_bytes(data)
    return path


def heard(path):
    """(seconds that were read, warnings)"""
    stream = media_files.AudioStream(path)
    samples = sum(len(block) for block in stream)
    return samples / stream.sample_rate, stream.warnings


@pytest.mark.parametrize("name, codec", [("a.m4a", "aac"), ("a.flac", "flac"), ("a.mka", "aac")])
def test_damage_is_told_and_a_file_that_is_whole_is_not(tmp_path, name, codec):
    pcm = np.random.default_rng(1).uniform(-0.3, 0.3, round(2.4 * RATE)).astype(np.float32)
    seconds, warnings = heard(encoded(tmp_path / name, codec, pcm))
    assert seconds == pytest.approx(2.4, abs=0.1) and not warnings
    seconds, warnings = heard(encoded(tmp_path / name, codec, pcm, damage=400))
    assert seconds < 2.2 and len(warnings) == 1
    assert "damaged" in warnings[0] and name in warnings[0] and "Get it again" in warnings[0]


def test_a_flac_that_is_cut_is_told(tmp_path):
    path = encoded(tmp_path / "a.flac", "flac", tone(2.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seconds, warnings = heard(path)
    assert f"only {seconds:.1f} of its 2.0 s are heard" in warnings[0]


def through_pipe(monkeypatch, path):
    """Makes standard input a pipe of the file; returns its name."""
    cat = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(cat.stdout))
    return "-"


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("name, codec, left", [
    ("a.wav", "pcm_s16le", 0.5), ("a.wav", "adpcm_ms", 0.5), ("a.mp3", "libmp3lame", 0.5),
    ("a.au", "pcm_s16be", 0.5), ("a.m4a", "aac", 1.0), ("a.mp3", "libmp3lame", 1.0),
])  # fmt: skip
def test_a_file_that_is_cut_is_told(tmp_path, monkeypatch, name, codec, left, piped):
    path = encoded(tmp_path / name, codec, tone(4.0))
    path.write_bytes(path.read_bytes()[: round(left * path.stat().st_size)])
    seconds, warnings = heard(through_pipe(monkeypatch, path) if piped else path)
    assert seconds == pytest.approx(4.0 * left, abs=0.3) and len(warnings) == (left < 1)
    assert left == 1 or f"only {seconds:.1f} of its 4" in warnings[0]


def test_a_cut_mp3_is_told_behind_tags(tmp_path):
    whole = encoded(tmp_path / "a.mp3", "libmp3lame", tone(4.0)).read_bytes()
    assert whole.startswith(b"ID3")  # by FFmpeg
    picture = struct.pack(">4sIH", b"APIC", 80_000, 0) + bytes(80_000)
    size = len(picture)  # in seven bits a byte
    tag = b"ID3\3\0\0" + bytes(size >> 7 * k & 127 for k in (3, 2, 1, 0)) + picture
    sound = whole[10 + (whole[8] << 7 | whole[9]) :]
    for part, count in ((sound, 0), (sound[: len(sound) // 2], 1)):
        (tmp_path / "b.mp3").write_bytes(tag + part)
        assert len(heard(tmp_path / "b.mp3")[1]) == count


def test_an_mp3_that_states_its_length_as_fraunhofers_does(tmp_path):
    whole = bytearray(encoded(tmp_path / "a.mp3", "libmp3lame", tone(4.0)).read_bytes())
    tag = whole.index(b"Info" if b"Info" in whole else b"Xing")
    frames = whole[tag + 8 : tag + 12]
    whole[tag : tag + 4] = bytes(4)
    first = tag - 4 - 9  # 16 kHz, mono
    whole[first + 36 : first + 54] = b"VBRI\0\1\0\0\0\0" + bytes(4) + frames
    (tmp_path / "b.mp3").write_bytes(whole[: len(whole) // 2])
    seconds, warnings = heard(tmp_path / "b.mp3")
    assert len(warnings) == 1 and f"only {seconds:.1f} of its 4" in warnings[0]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x80000000, 0x7FFFF000, 0xFFFFFFDB])
def test_a_wav_of_unknown_length_is_not_called_cut(tmp_path, size):
    data = bytearray(write_wav(tmp_path / "a.wav", tone(1.0)).read_bytes())
    data[40:44] = struct.pack("<I", size)  # as written into a pipe
    (tmp_path / "a.wav").write_bytes(data)
    assert heard(tmp_path / "a.wav") == (1.0, [])


def test_chunks_of_any_kind_come_before_the_sound_of_a_wav(tmp_path):
    data = write_wav(tmp_path / "a.wav", tone(2.0)).read_bytes()
    chunk = b"bext" + struct.pack("<I", 601) + bytes(602)  # odd sizes are padded
    (tmp_path / "a.wav").write_bytes((data[:36] + chunk + data[36:])[: RATE * 2])
    seconds, warnings = heard(tmp_path / "a.wav")
    assert f"only {seconds:.1f} of its 2.0 s are heard" in warnings[0]


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_an_ogg_that_ends_within_a_page_is_told(tmp_path, codec):
    whole = encoded(tmp_path / "a.ogg", codec, tone(4.0)).read_bytes()
    pages = [at for at in range(len(whole)) if whole.startswith(b"OggS", at)]
    for end, count in ((len(whole), 0), (pages[-1], 0), (pages[-1] + 20, 1), (pages[-1] - 9, 1)):
        (tmp_path / "a.ogg").write_bytes(whole[:end])
        _, warnings = heard(tmp_path / "a.ogg")
        assert len(warnings) == count  # at the end of a page it may be a stream's that was recorded
        assert not count or "last page" in warnings[0]


def test_an_mp4_without_its_index_is_told(tmp_path):
    path = encoded(tmp_path / "a.m4a", "aac", tone(4.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="end with the index is missing, so get it again"):
        heard(path)


@pytest.mark.parametrize("piped", [False, True])
def test_a_matroska_file_is_as_long_as_it_states_not_as_its_size_suggests(tmp_path, piped):
    whole = io.BytesIO()
    target = SimpleNamespace(write=whole.write) if piped else whole  # a pipe cannot seek
    with av.open(target, "w", format="matroska") as file:
        stream = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        sound = (tone(3.0)[None] * 32767).astype("<i2")
        for start in range(0, 3 * RATE, 16):  # 32 bytes of sound, and some that are none
            part = np.ascontiguousarray(sound[:, start : start + 16])
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            file.mux(stream.encode(frame))
    path = tmp_path / "a.mka"
    path.write_bytes(whole.getvalue())
    assert heard(path) == (pytest.approx(3.0, abs=0.1), [])
    path.write_bytes(whole.getvalue()[: -RATE * 2])  # the last second
    seconds, warnings = heard(path)
    assert seconds < 2.2 and len(warnings) == (not piped)  # nobody knows of one from a pipe


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: x * np.nan, ["8000 of the 8000 samples", "no numbers", "export it again"]),
        (lambda x: x * 65536, ["up to 3.277e+04", "divide them by 32768"]),
        (lambda x: x * 8, ["beyond full scale", "lower its level by 13 dB"]),
        (lambda x: x * 2.4, []),  # a little overshoot
        (lambda x: x, []),
    ],
)
def test_samples_that_are_not_what_they_should_be_are_told(tmp_path, change, words):
    _, warnings = heard(float_wav(tmp_path / "a.wav", change(tone(0.5))))
    assert len(warnings) == bool(words)
    assert all(word in warnings[0] for word in words)
    told = []
    media_files.read_audio(tmp_path / "a.wav", told.append)
    assert told == warnings


@pytest.mark.parametrize(
    "options, words",
    [({"rate": 1}, "sample rate of 1 Hz: convert it"), ({"channels": 0, "kind": 1}, "convert it")],
)
def test_a_header_of_nonsense_is_told_with_its_file(tmp_path, options, words):
    with pytest.raises(AudioError, match=words) as caught:
        media_files.AudioStream(float_wav(tmp_path / "odd.wav", tone(0.5), **options))
    assert "odd.wav" in str(caught.value)


@pytest.mark.parametrize("name, codec", [
    ("a.wav", "pcm_s16le"), ("a.m4a", "aac"),  # an m4a tells at its end what is in it
])  # fmt: skip
def test_standard_input_is_read_though_it_is_a_pipe(tmp_path, monkeypatch, name, codec):
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, (1, 10 * RATE)).astype(np.float32)
    with av.open(str(tmp_path / name), "w") as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise, format="flt", layout="mono")
        frame.sample_rate = RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    pcm, rate = media_files.read_audio(through_pipe(monkeypatch, tmp_path / name))
    assert rate == RATE and len(pcm) / rate == pytest.approx(10.0, abs=0.2)
    assert pcm.std() == pytest.approx(noise.std(), rel=0.3)


@pytest.mark.parametrize("name", ["a.wav", "a.mp4", "a.mp3", "a"])
def test_a_file_that_is_empty_is_told(tmp_path, name):
    """FFmpeg says, by its name, that data or an argument are invalid."""
    (tmp_path / name).touch()
    with pytest.raises(AudioError, match=f"{name} is empty"):
        media_files.read_audio(tmp_path / name)


def test_a_pipe_that_brings_nothing_is_told(monkeypatch):
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as true:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(true.stdout))
        with pytest.raises(AudioError, match="standard input is empty"):
            media_files.read_audio("-")


def test_a_wav_of_zeros_is_not_read_in_pieces_of_eight_bytes():
    """As one whose writing the machine did not survive: of gigabytes that would take minutes."""

    class Counted(io.BytesIO):
        reads = 0

        def read(self, size):
            Counted.reads += 1
            return super().read(size)

    assert StatedLength.of(Counted(b"RIFF\0\0\0\0WAVE" + bytes(10**6))).seconds is None
    assert Counted.reads < 2000
