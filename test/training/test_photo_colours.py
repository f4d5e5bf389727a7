# SPDX-License-Identifier: Apache-2.0
"""Photographs and films with other colours than sRGB's, as enrolment reads them."""

import struct
import zlib

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.enroll.film_colours import FilmColours
from realtalk_ros.enroll.photo_checks import read_picture
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.enroll.video_to_avatar import TrackedVideo
from realtalk_ros.errors import RealTalkError

# XYZ of the primaries at D50, as in the profiles of Apple and Adobe.
DISPLAY_P3 = [
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
]
ADOBE_RGB = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]
SRGB_CURVE = struct.pack(
    ">4sIHH5i", b"para", 0, 3, 0, *(round(65536 * v) for v in (2.4, 1 / 1.055, 0.055 / 1.055,
                                                               1 / 12.92, 0.04045))
)  # fmt: skip
TABLE = np.linspace(0, 1, 1024) ** 1.8  # as of old screens


def as_srgb_is(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


CURVES = {  # as in the file, and what a camera does
    "sRGB": (SRGB_CURVE, as_srgb_is),
    "power": (
        struct.pack(">4sIIH", b"curv", 0, 1, round(2.19922 * 256)),
        lambda light: light ** (1 / 2.19922),
    ),
    "table": (
        struct.pack(">4sII", b"curv", 0, 1024) + np.rint(65535 * TABLE).astype(">u2").tobytes(),
        lambda light: light ** (1 / 1.8),
    ),
    "linear": (struct.pack(">4sII", b"curv", 0, 0), lambda light: light),
}


def profile(primaries, curve, space=b"RGB "):
    tags = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        tags[name] = struct.pack(">4sI3i", b"XYZ ", 0, *(round(65536 * v) for v in xyz))
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s12s4s28s3i48s", at + len(body), b"", 0x2400000, b"mntr", space,
                         b"XYZ ", b"", b"acsp", b"", 0xF6D6, 0x10000, 0xD32D, b"")  # fmt: skip
    return header + struct.pack(">I", len(tags)) + table + body


def skins():
    """(64, 96, 3) BGR of colours that sRGB, too, can show."""
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(60, 200, (4, 6, 3), np.uint8), (96, 64), interpolation=0)


def as_numbers_of(primaries, encode, picture):
    """What a camera whose numbers mean that writes for an sRGB picture."""
    value = picture[..., ::-1] / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    own = light @ (np.linalg.inv(np.transpose(primaries)) @ np.transpose(SRGB)).T
    return np.rint(255 * encode(own.clip(0, 1))).astype(np.uint8)[..., ::-1]


def write_png(path, picture, icc):
    data = cv2.imencode(".png", picture)[1].tobytes()
    chunk = b"iCCPname\0\0" + zlib.compress(icc)
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data[:33] + whole + data[33:])


def write_jpeg(path, picture, icc):
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    half = len(icc) // 2
    parts = [b"ICC_PROFILE\0\1\2" + icc[:half], b"ICC_PROFILE\0\2\2" + icc[half:]]
    segments = [b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part for part in parts]
    path.write_bytes(data[:2] + b"".join(segments) + data[2:])


@pytest.mark.parametrize("write, suffix, allowed", [(write_png, "png", 2), (write_jpeg, "jpg", 5)])
@pytest.mark.parametrize("primaries, curve", [
    (DISPLAY_P3, "sRGB"), (ADOBE_RGB, "power"), (SRGB, "table"),
])  # fmt: skip
def test_colours_are_those_of_the_profile(tmp_path, write, suffix, allowed, primaries, curve):
    data, encode = CURVES[curve]
    picture, path = skins(), tmp_path / f"a.{suffix}"
    given = as_numbers_of(primaries, encode, picture)
    write(path, given, profile(primaries, data))
    off = np.abs(read_picture(path)[4:-4:16, 4:-4:16].astype(int) - picture[4:-4:16, 4:-4:16])
    assert np.abs(given.astype(int) - picture).max() > 10 and off.max() <= allowed


@pytest.mark.parametrize("word, allowed", [(b"R03", 3), (b"R98", 0)])
def test_cameras_say_adobe_rgb_in_exif(tmp_path, word, allowed):
    """R98 says sRGB. As in a file of a camera: the word is below two folders of the Exif."""
    given = as_numbers_of(ADOBE_RGB, CURVES["power"][1], skins())
    data = cv2.imencode(".jpg", given, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    entry = ">HHHII"
    exif = b"MM\0*" + struct.pack(">I", 8)
    exif += struct.pack(entry, 1, 0x8769, 4, 1, 26) + bytes(4)  # where the Exif folder is
    exif += struct.pack(entry, 1, 0xA005, 4, 1, 44) + bytes(4)  # where the next one is
    exif += struct.pack(">HHHI4s", 1, 1, 2, 4, word) + bytes(4)
    segment = b"Exif\0\0" + exif
    head = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    (tmp_path / "plain.jpg").write_bytes(data)
    (tmp_path / "a.jpg").write_bytes(data[:2] + head + data[2:])
    read, plain = (read_picture(tmp_path / name).astype(int) for name in ("a.jpg", "plain.jpg"))
    wanted = skins() if word == b"R03" else plain
    off = np.abs(read - wanted)[4:-4:16, 4:-4:16]
    assert np.abs(given.astype(int) - skins()).max() > 10 and off.max() <= allowed


def test_light_itself_is_encoded(tmp_path):
    picture = np.full((64, 64, 3), 10, np.uint8)
    write_png(tmp_path / "a.png", picture, profile(SRGB, CURVES["linear"][0]))
    assert abs(int(read_picture(tmp_path / "a.png")[0, 0, 0]) - 56) <= 1


@pytest.mark.parametrize("icc", [
    profile(SRGB, SRGB_CURVE), profile(DISPLAY_P3, SRGB_CURVE, b"CMYK"),
    profile(DISPLAY_P3, SRGB_CURVE)[:300], profile(DISPLAY_P3, b"mft2" + bytes(20)), b"", b"x" * 50,
], ids=["sRGB", "CMYK", "cut", "tables", "empty", "none"])  # fmt: skip
def test_other_profiles_change_nothing(tmp_path, icc):
    write_png(tmp_path / "a.png", skins(), icc)
    assert (read_picture(tmp_path / "a.png") == skins()).all()


def test_what_is_transparent_is_white_with_a_profile_too(tmp_path):
    picture = np.dstack([skins(), np.full((64, 96), 255, np.uint8)])
    picture[:, :32, 3] = 0
    write_png(tmp_path / "a.png", picture, profile(DISPLAY_P3, SRGB_CURVE))
    whole = read_picture(tmp_path / "a.png")
    write_png(tmp_path / "b.png", picture[..., :3], profile(DISPLAY_P3, SRGB_CURVE))
    assert (whole[:, :32] == 255).all()
    assert (whole[:, 32:] == read_picture(tmp_path / "b.png")[:, 32:]).all()


def test_animations_and_other_formats_are_told_apart(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), skins())
    whole = (tmp_path / "a.png").read_bytes()
    frames = struct.pack(">I4sII", 8, b"acTL", 2, 0)
    animated = whole[:33] + frames + struct.pack(">I", zlib.crc32(frames[4:])) + whole[33:]
    for data, word in (
        (animated, "animation"),
        (whole[:200], "cut short"),
        (b"\0\0\0\x1cftypheic" + bytes(200), "no PNG or JPEG picture: convert it"),
    ):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(RealTalkError, match=word):
            read_picture(tmp_path / "a.png")


def hlg(light):
    """Of light on a screen of 1000 cd/m2, where a white page has 203."""
    scene = (light * 0.203) ** (1 / 1.2)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


def pq(light):
    power = (light * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


TO_2020 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]  # BT.2087


@pytest.mark.parametrize("curve, encode", [(18, hlg), (16, pq), (1, as_srgb_is)])
def test_films_of_telephones_keep_their_colours(curve, encode):
    picture = skins()
    value = picture[..., ::-1] / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    filmed = np.rint(255 * encode(light @ np.transpose(TO_2020))).astype(np.uint8)[..., ::-1]
    converted = FilmColours.of(9, curve).convert(np.ascontiguousarray(filmed))
    assert np.abs(filmed.astype(int) - picture).max() > 15
    assert np.abs(converted.astype(int) - picture).max() <= (5 if curve == 16 else 3)
    assert FilmColours.of(1, 1) is None and FilmColours.of(2, 2) is None


@pytest.fixture
def hlg_film(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"color_primaries": "bt2020", "color_trc": "arib-std-b67"}
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(skins(), format="bgr24")))
        file.mux(stream.encode(None))
    if not hasattr(stream.codec_context, "color_trc"):
        pytest.skip("this PyAV does not tell")
    return tmp_path / "a.mp4"


def test_frames_become_pictures_by_the_films_colours(hlg_film):
    frame = next(Clip(hlg_film).frames())[1]
    shown = TrackedVideo(hlg_film, None).picture(0)
    assert (shown == FilmColours.of(9, 18).convert(frame)).all() and (shown != frame).any()


def test_a_drawn_face_is_compared_with_the_films_own_colours(hlg_film, monkeypatch):
    pytest.importorskip("torch")
    from realtalk_ros.training.videos import talking_picture

    monkeypatch.setattr(talking_picture.Seen, "find", lambda detector, time, image: image)
    seen = next(talking_picture.seen_frames(hlg_film, None))
    assert (seen == TrackedVideo(hlg_film, None).picture(0)).all()


@pytest.mark.parametrize("size, space, said", [
    ((640, 480), "ITU601", ""), ((1280, 720), "ITU709", ""), ((720, 1280), "ITU709", ""),
    ((640, 480), "ITU709", "bt709"), ((1280, 720), "ITU601", "smpte170m"),
])  # fmt: skip
def test_films_that_say_nothing_of_their_colours_have_those_of_their_size(
    tmp_path, size, space, said
):
    colours = (200, 80, 40), (60, 100, 200), (60, 200, 60)
    picture = np.repeat(np.uint8([[*colours]]), size[0] // 3 + 1, 1)[:, : size[0]]
    picture = np.ascontiguousarray(np.repeat(picture, size[1], 0))
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        stream.options = {"crf": "4", **({"colorspace": said} if said else {})}
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        file.mux(stream.encode(frame.reformat(format="yuv444p", dst_colorspace=space)))
        file.mux(stream.encode(None))
    _, read = next(Clip(tmp_path / "a.mp4").frames())
    columns = [size[0] * k // 6 for k in (1, 3, 5)]
    off = np.abs(read[size[1] // 2, columns].astype(int) - picture[0, columns])
    assert off.max() <= 4
