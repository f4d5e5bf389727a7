# SPDX-License-Identifier: Apache-2.0
"""Photographs and films as sRGB without transparency, as all else here takes pictures to be.

Telephones save Display P3, many cameras Adobe RGB, and say so by an ICC profile in the file
(ICC.1:2010, 7 and 10; in PNG the chunk iCCP, in JPEG segments APP2, annex B.4). OpenCV takes no
notice: skin comes out dull. Profiles of RGB by three primaries and curves are followed; those that
are tables, as printers have, are not. What is transparent in a PNG may have any colour, and is
shown white. Telephones film in BT.2020's colours by HLG or PQ, whose numbers look dull and grey.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.avatar.image_decoding import PNG

# Columns: XYZ of sRGB's primaries, adapted to D50 as in its ICC profile.
SRGB = np.array(
    [[0.43607, 0.38506, 0.14308], [0.22250, 0.71688, 0.06062], [0.01393, 0.09710, 0.71417]]
)
# By the number that ITU-T H.273 and FFmpeg give primaries: their light to that of sRGB's (ITU-R
# BT.2087; Display P3 likewise).
FILM_PRIMARIES = {
    9: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    12: [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
}
PQ, HLG = 16, 18  # likewise, of the curve
WHITE = 203.0  # cd/m2 of a white page in both (ITU-R BT.2408); what is lighter is cut
CURVES, PRIMARIES = (b"rTRC", b"gTRC", b"bTRC"), (b"rXYZ", b"gXYZ", b"bXYZ")
MAX_PROFILE = 4 * 2**20  # bytes
STRIP = 256  # rows that are converted at once
FINE = 4096  # steps of light
SAME = 1.0  # grey levels: a profile that changes less is sRGB's
CUBE = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), -1).reshape(-1, 1, 3)


@dataclass(frozen=True)
class Profile:
    """What the numbers of a picture mean."""

    curves: np.ndarray  # (3, 256) float32, light of the values of red, green and blue
    to_srgb: np.ndarray  # (3, 3) float32, to the light of sRGB's primaries

    @classmethod
    def of(cls, data: bytes) -> Profile | None:
        """Of an ICC profile; None for one that is no RGB by primaries, or is damaged."""
        if data[16:24] != b"RGB XYZ ":
            return None
        try:
            tags = {}
            for k in range(min(_number(data, 128), 100)):
                start, length = _number(data, 136 + 12 * k), _number(data, 140 + 12 * k)
                tags[data[132 + 12 * k : 136 + 12 * k]] = data[start : start + length]
            primaries = np.stack([_fixed(tags[name], 8, 3) for name in PRIMARIES], 1)
            curves = np.stack([_curve(tags[name]) for name in CURVES])
        except (KeyError, ValueError):
            return None
        matrix = np.linalg.inv(SRGB) @ primaries
        if not (np.isfinite(matrix).all() and np.isfinite(curves).all()):
            return None
        return cls(curves.astype(np.float32), matrix.astype(np.float32))

    @classmethod
    def of_film(cls, primaries: int, curve: int) -> Profile | None:
        """By the numbers of ITU-T H.273; None for what is sRGB's, or as good as that."""
        if primaries not in FILM_PRIMARIES:
            return None
        matrix = np.array(FILM_PRIMARIES[primaries], np.float32)
        return cls(np.repeat(_film_curve(curve)[None], 3, 0).astype(np.float32), matrix)

    def convert(self, picture: np.ndarray) -> np.ndarray:
        """A picture (height, width, 3) uint8 BGR as sRGB."""
        out = np.empty_like(picture)
        steps = np.linspace(0, 1, FINE)
        encoded = np.where(steps <= 0.0031308, 12.92 * steps, 1.055 * steps ** (1 / 2.4) - 0.055)
        encode = np.rint(255 * encoded).astype(np.uint8)
        to_bgr = np.ascontiguousarray(self.to_srgb[::-1, ::-1])
        table = np.ascontiguousarray(self.curves[::-1].T)[None]
        for start in range(0, len(picture), STRIP):
            light = cv2.transform(cv2.LUT(picture[start : start + STRIP], table), to_bgr)
            np.take(
                encode,
                np.rint(light.clip(0, 1) * (FINE - 1)).astype(np.int16),
                out=out[start : start + STRIP],
            )
        return out


def as_srgb(picture: np.ndarray, data: bytes) -> np.ndarray:
    """The picture (height, width, 3) uint8 BGR that a PNG or JPEG file was decoded to, as sRGB."""
    profile = Profile.of(icc_profile(data))
    if profile is None:
        return picture
    changed = np.abs(profile.convert(CUBE).astype(int) - CUBE).max()
    return profile.convert(picture) if changed > SAME else picture


def on_white(picture: np.ndarray, data: bytes) -> np.ndarray:
    """Likewise, with white where the PNG file is transparent."""
    if not data.startswith(PNG) or not (data[25:26] in b"\4\6" or b"tRNS" in data):
        return picture
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    # One that is to be turned is turned in the picture only.
    if whole is None or whole.ndim < 3 or whole.shape[2] != 4 or b"eXIf" in data:
        return picture
    out = np.empty_like(picture)
    full = 255 if whole.dtype == np.uint8 else 65535
    for start in range(0, len(picture), STRIP):
        rows = slice(start, start + STRIP)
        alpha = whole[rows, :, 3].astype(np.float32) / full
        white = np.full_like(picture[rows], 255)
        out[rows] = cv2.blendLinear(picture[rows], white, alpha, 1 - alpha)
    return out


def icc_profile(data: bytes) -> bytes:
    """Of a PNG or JPEG file; empty where it has none."""
    return _icc_of_png(data) if data.startswith(PNG) else _icc_of_jpeg(data)


def _icc_of_png(data: bytes) -> bytes:
    at = len(PNG)
    while at + 12 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        length = _number(data, at)
        if data[at + 4 : at + 8] == b"iCCP":
            _, _, packed = data[at + 8 : at + 8 + length].partition(b"\0")
            try:
                return zlib.decompressobj().decompress(packed[1:], MAX_PROFILE)
            except zlib.error:
                return b""
        at += 12 + length
    return b""


def _icc_of_jpeg(data: bytes) -> bytes:
    at, parts = 2, {}
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if kind == 0xDA:  # the picture begins
            break
        if kind == 0xE2 and segment.startswith(b"ICC_PROFILE\0") and len(segment) > 14:
            parts[segment[12]] = segment[14:]
        at += 1 if kind == 0xFF else 2 + length
    return b"".join(parts[number] for number in sorted(parts))


def _number(data: bytes, at: int) -> int:
    if at + 4 > len(data):
        raise ValueError("it ends too early")
    return int.from_bytes(data[at : at + 4], "big")


def _fixed(data: bytes, at: int, count: int) -> np.ndarray:
    """(count,) of s15Fixed16Number. Raises ValueError."""
    return np.frombuffer(data, ">i4", count, at) / 65536


def _curve(data: bytes) -> np.ndarray:
    """(256,): light of each value of a channel, by curveType or parametricCurveType. Raises
    ValueError."""
    value = np.arange(256) / 255
    kind, count = data[:4], _number(data, 8)
    if kind == b"para":
        return _parametric(value, count >> 16, data)
    if kind != b"curv":
        raise ValueError("a curve of another kind")
    if count == 0:
        return value
    table = np.frombuffer(data, ">u2", count, 12)
    if count == 1:
        return value ** (table[0] / 256)
    return np.interp(value, np.linspace(0, 1, count), table / 65535)


def _film_curve(kind: int) -> np.ndarray:
    """(256,): light of each value, 1 is white."""
    value = np.arange(256) / 255
    if kind == PQ:  # ITU-R BT.2100, table 4
        power = value ** (1 / 78.84375)
        light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return 10000 / WHITE * light ** (1 / 0.1593017578125)
    if kind == HLG:  # table 5; shown with 1000 cd/m2, channel by channel
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
        return 1000 / WHITE * scene**1.2
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _parametric(value: np.ndarray, function: int, data: bytes) -> np.ndarray:
    """ICC.1:2010, table 65."""
    if function not in range(5):
        raise ValueError("a curve of another kind")
    given = _fixed(data, 12, (1, 3, 4, 5, 7)[function])
    g, a, b, c, d, e, f = np.concatenate([given, [0, 1, 0, 0, 0, 0, 0][len(given) :]])
    if function in (1, 2):  # y = (a x + b)^g + c from x = -b / a on, below it c
        d, c, e, f = -b / a if a else 0.0, 0.0, c, c
    return np.where(value >= d, np.maximum(a * value + b, 0) ** g + e, c * value + f)
