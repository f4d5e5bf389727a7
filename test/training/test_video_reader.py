# SPDX-License-Identifier: Apache-2.0
"""The pictures of video files as a player shows them; those that have none end with one line."""

import enum
import struct
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.enroll import video_reader
from realtalk_ros.enroll.video_reader import Clip, open_video
from realtalk_ros.errors import RealTalkError

HEADER_BYTES = 40  # of a BITMAPINFOHEADER, after which the decoder's own data comes
ONE, W = 1 << 16, 1 << 30
# A display matrix: how a player shows the picture.
MATRICES = {
    (ONE, 0, 0, ONE): lambda p: p,
    (0, ONE, -ONE, 0): lambda p: np.rot90(p, 3),
    (-ONE, 0, 0, -ONE): lambda p: np.rot90(p, 2),
    (0, -ONE, ONE, 0): np.rot90,
    (-ONE, 0, 0, ONE): np.fliplr,
    (ONE, 0, 0, -ONE): np.flipud,
    (0, ONE, ONE, 0): lambda p: p.swapaxes(0, 1),
    (0, -ONE, -ONE, 0): lambda p: np.rot90(p, 2).swapaxes(0, 1),
    (0, 0, 0, 0): lambda p: p,
}


def picture():
    """(64, 96, 4) BGRA without any symmetry, opaque on its right."""
    y, x = np.mgrid[:64, :96]
    colours = np.dstack([2 * x, 3 * y, x + y]).astype(np.uint8)
    return np.dstack([colours, np.where(x < 40, 0, 255).astype(np.uint8)])


def write(path, codec="png", kind="rgb24"):
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, kind
        frame = av.VideoFrame.from_ndarray(picture(), format="bgra").reformat(format=kind)
        for _ in range(3):
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def first(path):
    return next(open_video(path).frames())[1]


@pytest.mark.parametrize("matrix", MATRICES)
def test_films_are_turned_and_mirrored_as_the_file_says(tmp_path, matrix):
    write(tmp_path / "a.mov")
    upright = first(tmp_path / "a.mov")
    data = (tmp_path / "a.mov").read_bytes()
    a, b, c, d = matrix
    at = data.index(struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, W), data.index(b"tkhd"))
    shown = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, W)
    (tmp_path / "a.mov").write_bytes(data[:at] + shown + data[at + 36 :])
    assert (first(tmp_path / "a.mov") == MATRICES[matrix](upright)).all()


def test_films_that_are_shown_askew_are_refused(tmp_path):
    write(tmp_path / "a.mov")
    data = (tmp_path / "a.mov").read_bytes()
    at = data.index(struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, W), data.index(b"tkhd"))
    shown = struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, W)
    (tmp_path / "a.mov").write_bytes(data[:at] + shown + data[at + 36 :])
    with pytest.raises(RealTalkError, match="turned by 45 degrees"):
        first(tmp_path / "a.mov")


@pytest.mark.parametrize("codec, kind", [("png", "rgba"), ("qtrle", "argb")])
def test_what_is_transparent_in_a_film_is_white(tmp_path, codec, kind):
    write(tmp_path / "a.mov", codec, kind)
    read = first(tmp_path / "a.mov")
    assert (read[:, :40] == 255).all() and (read[:, 40:] == picture()[:, 40:, :3]).all()


def test_a_cover_is_no_film(tmp_path):
    """As songs have, and films whose first stream it is."""
    cover = cv2.imencode(".jpg", np.full((32, 32, 3), 90, np.uint8))[1].tobytes()
    frame = b"APIC" + struct.pack(">IH", len(cover) + 14, 0) + b"\0image/jpeg\0\3\0" + cover
    size = len(frame)
    tag = b"ID3\3\0\0" + bytes((size >> shift) & 127 for shift in (21, 14, 7, 0)) + frame
    with av.open(str(tmp_path / "plain.mp3"), "w") as file:
        stream = file.add_stream("mp3", rate=44100)
        for k in range(20):
            sound = av.AudioFrame.from_ndarray(
                np.zeros((1, 1152), np.float32), format="fltp", layout="mono"
            )
            sound.rate, sound.pts = 44100, 1152 * k
            file.mux(stream.encode(sound))
        file.mux(stream.encode(None))
    (tmp_path / "song.mp3").write_bytes(tag + (tmp_path / "plain.mp3").read_bytes())
    with av.open(str(tmp_path / "song.mp3")) as file:
        assert file.streams.video
    with pytest.raises(RealTalkError, match="no pictures"):
        Clip(tmp_path / "song.mp3")


@pytest.mark.parametrize("kind", [enum.Flag, enum.IntFlag])
def test_a_cover_is_told_by_every_pyav(kind):
    """PyAV 14 to 16 have a flag that is no number."""
    disposition = kind("Disposition", {"default": 1, "attached_pic": 0x400})
    assert video_reader.is_cover(SimpleNamespace(disposition=disposition.attached_pic))
    assert not video_reader.is_cover(SimpleNamespace(disposition=disposition.default))
    assert not video_reader.is_cover(SimpleNamespace())


@pytest.fixture
def film(tmp_path):
    """The bytes of an AVI, whose codec has a name and data of its own in the header."""
    with av.open(str(tmp_path / "whole.avi"), "w") as file:
        stream = file.add_stream("huffyuv", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv422p"
        for level in range(5):
            grey = np.full((48, 64, 3), 40 * level, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="bgr24")))
        file.mux(stream.encode(None))
    return (tmp_path / "whole.avi").read_bytes()


def test_a_codec_that_ffmpeg_does_not_know_is_told(tmp_path, film):
    (tmp_path / "a.avi").write_bytes(film.replace(b"HFYU", b"ZZZZ"))
    with pytest.raises(RealTalkError, match="codec that FFmpeg does not know: re-encode it"):
        Clip(tmp_path / "a.avi")


def test_a_decoder_that_does_not_start_is_told_or_gives_no_pictures(tmp_path, film):
    begin = film.index(b"strf") + 8 + HEADER_BYTES
    (tmp_path / "a.avi").write_bytes(film[:begin] + b"\xff" * 40 + film[begin + 40 :])
    clip = Clip(tmp_path / "a.avi")
    try:
        assert not list(clip.frames())  # PyAV before 19
    except RealTalkError as error:
        assert "cannot be decoded" in str(error)
