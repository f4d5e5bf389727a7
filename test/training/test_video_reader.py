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
INTERLACED = 0x40000 | 0x20000000  # AV_CODEC_FLAG_INTERLACED_DCT and _ME
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


def write(path, codec="png", kind="rgb24", **options):
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, kind
        stream.options = options
        frame = av.VideoFrame.from_ndarray(picture(), format="bgra").reformat(format=kind)
        for _ in range(3):
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def turn(path, matrix):
    """Writes a display matrix (a, b, c, d) into a MOV file that has none."""
    data, (a, b, c, d) = path.read_bytes(), matrix
    at = data.index(struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, W), data.index(b"tkhd"))
    shown = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, W)
    path.write_bytes(data[:at] + shown + data[at + 36 :])


def first(path):
    return next(open_video(path).frames())[1]


@pytest.mark.parametrize("matrix", MATRICES)
def test_films_are_turned_and_mirrored_as_the_file_says(tmp_path, matrix):
    write(tmp_path / "a.mov")
    upright = first(tmp_path / "a.mov")
    turn(tmp_path / "a.mov", matrix)
    assert (first(tmp_path / "a.mov") == MATRICES[matrix](upright)).all()


def test_films_that_are_shown_askew_are_refused(tmp_path):
    write(tmp_path / "a.mov")
    turn(tmp_path / "a.mov", (46341, 46341, -46341, 46341))
    with pytest.raises(RealTalkError, match="turned by 45 degrees"):
        first(tmp_path / "a.mov")


@pytest.mark.parametrize("codec, kind", [("png", "rgba"), ("qtrle", "argb")])
def test_what_is_transparent_in_a_film_is_white(tmp_path, codec, kind):
    write(tmp_path / "a.mov", codec, kind)
    read = first(tmp_path / "a.mov")
    assert (read[:, :40] == 255).all() and (read[:, 40:] == picture()[:, 40:, :3]).all()


@pytest.mark.parametrize("codec", video_reader.LIBVPX.values())
def test_what_is_transparent_in_a_webm_film_is_white(tmp_path, codec):
    write(tmp_path / "a.webm", codec, "yuva420p", **{"auto-alt-ref": "0", "crf": "5"})
    read = first(tmp_path / "a.webm")
    assert (read[4:-4, :36] == 255).all()
    seen, shown = (image[4:-4, 48:].astype(int) for image in (read, picture()[..., :3]))
    assert np.abs(seen - shown).mean() < 20


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


def write_fields(path, matrix="bt709", codec="mpeg2video", interlaced=True, moves=True, count=6):
    """A bright bar, which moves by its width from field to field; bars of colour beside it. Returns
    the pictures of the first fields."""
    fields = np.zeros((2 * count, 96, 128, 3), np.uint8)
    fields[:, :, :48] = np.repeat([[200, 30, 60], [40, 180, 50], [30, 60, 190]], 16, axis=0)
    for k, field in enumerate(fields):
        at = 52 + (6 * k if moves else 20)
        field[:, at : at + 6] = 220
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv422p"
        stream.options = {"qmin": "1", "qmax": "2", "colorspace": matrix}
        if interlaced:
            stream.codec_context.flags |= INTERLACED
        for earlier, later in zip(fields[::2], fields[1::2], strict=True):
            lines = later.copy()
            lines[1::2] = earlier[1::2]  # the lower lines are filmed first, as in DV
            frame = av.VideoFrame.from_ndarray(lines, format="bgr24")
            frame = frame.reformat(format="yuv422p", dst_colorspace="ITU709")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return fields[::2]


@pytest.mark.parametrize("name", ["a.mpg", "a.mov"])
def test_interlaced_films_are_deinterlaced(tmp_path, name):
    """Each frame is the picture of its first field, in time."""
    fields = write_fields(tmp_path / name)
    seen = list(open_video(tmp_path / name).frames())
    assert [at for at, _ in seen] == pytest.approx(np.arange(len(fields)) / 25)
    for (_, image), field in zip(seen, fields, strict=True):
        assert np.abs(image[8:-8, 52:].astype(int) - field[8:-8, 52:]).mean() < 6
    write_fields(tmp_path / name, interlaced=False)
    combs = [image for _, image in open_video(tmp_path / name).frames()]
    assert np.abs(combs[3][8:-8, 52:].astype(int) - fields[3][8:-8, 52:]).mean() > 10


@pytest.mark.parametrize("turned", [False, True])
def test_deinterlaced_pictures_have_their_colours_and_stand_upright(tmp_path, turned):
    pictures = []
    for interlaced in (False, True):
        write_fields(path := tmp_path / f"{interlaced}.mov", interlaced=interlaced, moves=False)
        if turned:
            turn(path, (0, ONE, -ONE, 0))
        pictures.append([image for _, image in open_video(path).frames()])
    assert pictures[0][0].shape == ((128, 96, 3) if turned else (96, 128, 3))
    for plain, deinterlaced in zip(*pictures, strict=True):
        assert np.abs(plain.astype(int) - deinterlaced).mean() < 2
