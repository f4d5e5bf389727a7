# SPDX-License-Identifier: Apache-2.0
"""Films that are damaged or cut short, of which FFmpeg gives what is left and says nothing."""

import numpy as np
import pytest

av = pytest.importorskip("av")

from realtalk_ros.enroll import missing_pictures  # noqa: E402
from realtalk_ros.enroll.video_reader import Clip  # noqa: E402

COUNT, RATE = 100, 25


@pytest.fixture(params=["film.mkv", "film.webm", "film.mp4", "film.mov"])
def film(request, tmp_path):
    """Four seconds of noise, each picture of its own; the index of an MP4 comes first."""
    path = tmp_path / request.param
    rng = np.random.default_rng(0)
    codec = "libvpx" if path.suffix == ".webm" else "mjpeg"
    options = {"movflags": "faststart"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuv420p" if codec == "libvpx" else "yuvj420p"
        stream.codec_context.gop_size = 1
        for _ in range(COUNT):
            picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        file.mux(stream.encode(None))
    return path


def notes(path, seconds=np.inf):
    return missing_pictures.notes(path, np.array([time for time, _ in Clip(path).frames()]),
                                  seconds)  # fmt: skip


def test_a_whole_film_lacks_nothing(film):
    assert Clip(film).stated == pytest.approx(COUNT / RATE, abs=0.1)
    assert not notes(film)


def test_a_film_that_is_cut_short_says_so(film):
    data = film.read_bytes()
    film.write_bytes(data[: len(data) // 2])
    (note,) = notes(film)
    assert "of its 4.0 s: if it is damaged or cut short" in note
    assert not notes(film, seconds=1.5)  # no more was wanted


def test_a_film_that_is_damaged_in_the_middle_says_where(film):
    data = bytearray(film.read_bytes())
    start, end = (int(len(data) * share) for share in (0.4, 0.7))
    data[start:end] = bytes(end - start)
    film.write_bytes(data)
    (note,) = notes(film)
    assert "has no pictures for" in note and "damaged" in note


@pytest.mark.parametrize("times", [[0.0], [0, 5, 10, 15], np.arange(50) / RATE])
def test_slow_films_and_stills_have_no_gaps(film, times):
    found = missing_pictures.notes(film, np.array(times))
    assert not any("has no pictures" in note for note in found)


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_pictures_that_begin_after_their_sound_lack_nothing(tmp_path, kind):
    path = tmp_path / f"late.{kind}"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        pictures = container.add_stream("mpeg4", rate=25)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        for number in range(80):
            silence = np.zeros((1, 1000), np.float32)
            block = av.AudioFrame.from_ndarray(silence, "fltp", "mono")
            block.sample_rate, block.pts = 16000, 1000 * number
            container.mux(sound.encode(block))
        for number in range(50, 125):  # from 2 s on
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "bgr24")
            picture.pts = number
            container.mux(pictures.encode(picture))
        container.mux(sound.encode())
        container.mux(pictures.encode())
    assert notes(path) == []
