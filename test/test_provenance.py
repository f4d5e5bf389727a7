# SPDX-License-Identifier: Apache-2.0
"""What pictures and films of an avatar say about themselves, read back by other programs' rules."""

import struct
import xml.etree.ElementTree as ET
import zlib

import av
import cv2
import numpy as np
import pytest

from realtalk_ros.avatar.provenance import (
    LIKENESS,
    SYNTHETIC,
    Provenance,
    into_jpeg,
    write_picture,
)
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.rendering.watermark import Watermark

ANN = Provenance("Ann <&> Zoë", LIKENESS, 'Ann Lee & "family", 2026-11-21, for the <lab>')
BOB = Provenance("Bob", SYNTHETIC)
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
TERM = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def segments(jpeg):
    """(marker, content) of a JPEG up to its first scan, by ITU T.81, B.1.1."""
    assert jpeg[:2] == b"\xff\xd8"
    at, found = 2, []
    while True:
        assert jpeg[at] == 0xFF
        kind, length = jpeg[at + 1], struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        found.append((kind, bytes(jpeg[at + 4 : at + 2 + length])))
        at += 2 + length
        if kind == 0xDA:
            return found


def xmp_of_jpeg(jpeg):
    (xmp,) = [c for kind, c in segments(jpeg) if kind == 0xE1]
    head = b"http://ns.adobe.com/xap/1.0/\0"
    assert xmp.startswith(head)
    return xmp[len(head) :].decode()


def test_the_packet_is_xml_that_names_the_source_and_who_consented():
    root = ET.fromstring(ANN.xmp())
    (term,) = root.iter(TERM)
    assert term.text == "http://cv.iptc.org/newscodes/digitalsourcetype/" + LIKENESS
    texts = [element.text for element in root.iter() if element.text]
    assert sum(ANN.consent in text for text in texts) == 2  # for programs, and in words
    assert "Consent" not in BOB.xmp()
    assert Provenance.read(ANN.xmp()) == ANN and Provenance.read(BOB.xmp()) == BOB


def test_a_jpeg_carries_it_and_its_picture_is_untouched():
    data = cv2.imencode(".jpg", PICTURE)[1]
    marked = into_jpeg(data, ANN.jpeg_segment())
    assert len(marked) == len(data) + len(ANN.jpeg_segment())
    assert [kind for kind, _ in segments(marked)][:2] == [0xE0, 0xE1]  # JFIF comes first
    assert Provenance.read(xmp_of_jpeg(marked)) == ANN
    without = [s for s in segments(marked) if s[0] != 0xE1]
    assert without == segments(data.tobytes())
    same = cv2.imdecode(np.frombuffer(marked, np.uint8), 1)
    assert (same == cv2.imdecode(data, 1)).all()


def test_the_longest_consent_fits_in_a_segment():
    longest = Provenance("\U0001f600" * 64, LIKENESS, "&" * 500)
    data = into_jpeg(cv2.imencode(".jpg", PICTURE)[1], longest.jpeg_segment())
    assert Provenance.read(xmp_of_jpeg(data)) == longest


def test_written_pictures_carry_it(tmp_path):
    write_picture(tmp_path / "a.png", PICTURE, ANN)
    data = (tmp_path / "a.png").read_bytes()
    at, chunks = 8, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length :][:4])[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        at += 12 + length
    assert [kind for kind, _ in chunks][:2] == [b"IHDR", b"iTXt"] and chunks[-1][0] == b"IEND"
    head = b"XML:com.adobe.xmp\0\0\0\0\0"
    assert chunks[1][1].startswith(head)
    assert Provenance.read(chunks[1][1][len(head) :].decode()) == ANN
    assert (cv2.imread(str(tmp_path / "a.png")) == PICTURE).all()

    write_picture(tmp_path / "a.jpg", PICTURE, BOB)
    assert Provenance.read(xmp_of_jpeg((tmp_path / "a.jpg").read_bytes())) == BOB
    for bad in ("a.bmp", "missing/a.png"):
        with pytest.raises(RealTalkError, match="cannot write"):
            write_picture(tmp_path / bad, PICTURE, BOB)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "a.png"]


def test_a_video_carries_it(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 25, (96, 64), 16000, ANN) as video:
        for _ in range(5):
            video.write(PICTURE)
        video.write_audio(np.zeros(3200, np.float32))
        video.provenance = Provenance.together([ANN, BOB])  # the avatar was changed
    with av.open(str(path), options={"export_xmp": "1"}) as file:  # FFmpeg's own reader
        assert sum(1 for _ in file.decode(video=0)) == 5
        assert file.metadata["title"] == ANN.avatar
        assert ANN.consent in file.metadata["comment"] and LIKENESS in file.metadata["comment"]
        assert Provenance.read(file.metadata["xmp"]) == Provenance.together([ANN, BOB])
    data, at, kinds = path.read_bytes(), 0, []
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        kinds.append(kind)
        at += size
    assert at == len(data) and kinds[0] == b"ftyp" and kinds[-1] == b"uuid"


def test_a_film_of_several_names_them_all():
    both = Provenance.together([ANN, BOB, ANN])
    assert both.avatar == "Ann <&> Zoë; Bob" and both.consent == ANN.consent
    assert both.source_type == SYNTHETIC  # true of both
    assert Provenance.together([ANN]) == ANN


BOMB = "<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'><!ENTITY c '&b;&b;&b;&b;'>]>"


@pytest.mark.parametrize(
    "xmp",
    [
        "",
        "hello",
        "<a/>",
        ANN.xmp()[:-30] + "<",
        BOMB + "<a>&c;</a>",
        " " * 10**6,
        ANN.xmp().replace(LIKENESS, "digitalCapture"),
    ],
)
def test_others_xmp_is_refused_in_one_line(xmp):
    with pytest.raises(RealTalkError, match="not the provenance"):
        Provenance.read(xmp)


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (1080, 608), (300, 64)])
def test_the_mark_is_seen_in_its_corner_and_nowhere_else(size):
    height, width = size
    for grey in (0, 128, 255):
        image = np.full((height, width, 3), grey, np.uint8)
        Watermark("AI-generated").draw(image)
        changed = np.argwhere((image != grey).any(2) if grey else image.any(2))
        assert len(changed)
        top, left = changed.min(0)
        assert top > 0.6 * height and (left > 0.4 * width or width <= 128)
        corner = image[top:, left:]
        assert int(corner.max()) - int(corner.min()) > 100  # letters against their plate


@pytest.mark.parametrize("text", ["", "  ", "a" * 41, "KI-erzeugt \u2713", "two\nlines"])
def test_marks_that_cannot_be_drawn(text):
    with pytest.raises(RealTalkError, match="mark"):
        Watermark(text)
