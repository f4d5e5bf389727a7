# SPDX-License-Identifier: Apache-2.0
"""Pictures of others, as avatars, backgrounds and enrolment decode them."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from realtalk_ros.avatar.image_decoding import decode, size
from realtalk_ros.rendering.background import Background

MAX_PIXELS = 10**6
# By orientation in Exif: how a program shows a picture.
SHOWN = {
    1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud,
    5: lambda p: p.swapaxes(0, 1), 6: lambda p: np.rot90(p, 3),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


def hidden():
    """(64, 96, 4) BGRA: on the left a hidden colour, then a half hidden one, then a seen one."""
    picture = np.full((64, 96, 4), (40, 120, 200, 255), np.uint8)
    picture[40:, :, 1] = 30
    picture[:, :32, 3], picture[:, 32:64, 3] = 0, 128
    return picture


def png(picture):
    return cv2.imencode(".png", picture)[1].tobytes()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(kind, depth, rows, *chunks):
    """Of packed rows of samples, (height, bytes)."""
    height, width = len(rows), rows.shape[1] * 8 // depth // (3 if kind == 2 else 1)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", head, *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    )


def jpeg(*options):
    picture = np.random.default_rng(3).integers(0, 256, (64, 96, 3), np.uint8)
    return cv2.imencode(".jpg", picture, options)[1].tobytes()


@pytest.mark.parametrize("interval", [1, 5])
def test_a_jpeg_that_is_cut_short_between_restarts_is_none(interval):
    data = jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, interval)
    assert all(decode(data[:-cut], MAX_PIXELS) is None for cut in range(2, 999, 3))


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99, -3, -2])
def test_a_jpeg_that_is_cut_short_is_none(kept, progressive):
    """Some versions of OpenCV decode it, with grey for what is missing."""
    data = jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    assert size(data) == (96, 64)
    if kept != -2 or progressive:  # then nothing but the end's marker is missing
        assert decode(data[: kept if kept < 0 else int(kept * len(data))], MAX_PIXELS) is None
    at = len(data) // 2
    assert size(data[:at] + b"\xff\x20" + data[at:]) is None  # damaged: no such marker


@pytest.mark.parametrize("options", [(), (7, 0x111111), (cv2.IMWRITE_JPEG_QUALITY, 20)])
def test_a_whole_jpeg_without_the_marker_of_its_end_is_read(options):
    data = jpeg(*options)
    for cut in (1, 2):
        assert (decode(data[:-cut], MAX_PIXELS) == decode(data, MAX_PIXELS)).all()
    plain = cv2.imencode(".jpg", np.full((64, 96, 3), 99, np.uint8), options)[1].tobytes()
    assert decode(plain[:-2], MAX_PIXELS) is not None
    for cut in range(3, 40):  # of each kind of block
        assert decode(data[:-cut], MAX_PIXELS) is None and decode(plain[:-cut], MAX_PIXELS) is None


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
                                     (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])  # fmt: skip
def test_what_follows_a_jpeg_is_no_part_of_it(options):
    """Telephones append a film of some seconds, others zeros, or a second picture."""
    data = jpeg(*options)
    film = np.random.default_rng(4).bytes(6 * 2**20)
    for after in (film, bytes(100), data, data[:-100]):
        assert (decode(data + after, MAX_PIXELS) == decode(data, MAX_PIXELS)).all()


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_transparent_is_white(deep):
    picture = hidden()
    read = decode(png(picture.astype(np.uint16) * 257 if deep else picture), MAX_PIXELS).astype(int)
    assert (read[:, :32] == 255).all()
    half = (255 + picture[:, 32:64, :3].astype(int)) / 2
    assert np.abs(read[:, 32:64] - half).max() <= 2
    assert (read[:, 64:] == picture[:, 64:, :3]).all()


@pytest.mark.parametrize("depth, grey", [(1, 1), (2, 2), (4, 9), (8, 77), (16, 0x1234)])
def test_one_transparent_grey_is_white(depth, grey):
    values = np.zeros((64, 64), int)
    values[:, 32:] = grey
    bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(64, -1).astype(np.uint8), axis=1)
    read = decode(raw_png(0, depth, rows, chunk(b"tRNS", struct.pack(">H", grey))), MAX_PIXELS)
    assert (read[:, :32] == 0).all() and (read[:, 32:] == 255).all()


def test_one_transparent_colour_and_those_of_a_palette_are_white():
    row = np.array([10, 20, 30, 50, 60, 70] * 32, np.uint8)
    colour = chunk(b"tRNS", struct.pack(">HHH", 50, 60, 70))
    palette = chunk(b"PLTE", bytes([10, 20, 30, 50, 60, 70])), chunk(b"tRNS", bytes([255, 0]))
    for data in (
        raw_png(2, 8, np.tile(row, (64, 1)), colour),
        raw_png(3, 8, np.tile(np.uint8([0, 1]), (64, 32)), *palette),
    ):
        read = decode(data, MAX_PIXELS)
        assert (read[:, ::2] == (30, 20, 10)).all() and (read[:, 1::2] == 255).all()


def test_transparency_that_is_damaged_hides_nothing():
    palette = chunk(b"PLTE", bytes([10, 20, 30])), chunk(b"tRNS", bytes(300))
    read = decode(raw_png(3, 8, np.zeros((64, 64), np.uint8), *palette), MAX_PIXELS)
    assert read.shape == (64, 64, 3) and ((read == (30, 20, 10)) | (read == 255)).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", SHOWN)
def test_a_picture_that_is_turned_is_white_where_it_is_transparent(orientation, order):
    """Programs of Apple write Exif into each PNG."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    exif = mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    data = png(hidden())
    read = decode(data[:33] + chunk(b"eXIf", exif) + data[33:], MAX_PIXELS)
    assert (read == SHOWN[orientation](decode(data, MAX_PIXELS))).all()


@pytest.mark.parametrize("exif", [b"", b"MM\0*", b"II*\0" + bytes([255] * 20), bytes(40)])
def test_exif_that_says_nothing_turns_nothing(exif):
    data = png(hidden())
    read = decode(data[:33] + chunk(b"eXIf", exif) + data[33:], MAX_PIXELS)
    assert (read == decode(data, MAX_PIXELS)).all()


def test_a_background_is_white_where_it_is_transparent(tmp_path):
    (tmp_path / "logo.png").write_bytes(png(hidden()))
    image = Background(str(tmp_path / "logo.png")).behind(np.zeros((64, 96, 4), np.uint8))
    assert (image[:, :32] == 255).all() and (image[:, 64:] == hidden()[:, 64:, :3]).all()
