# SPDX-License-Identifier: Apache-2.0
"""Pictures that are transparent somewhere. The colours that they hide there may be any: decoded
without transparency they would be seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PNG = b"\x89PNG\r\n\x1a\n"
STRIP = 256  # rows that are blended at once
ORIENTATION = 0x112  # Exif's tag
# Orientation: how a picture is mirrored (OpenCV's number), from 5 on after rows became columns.
MIRRORED = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}


def chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """Kind of each chunk of a PNG file, up to its end (IEND) or to where it is cut short, and where
    its body is."""
    at, kind = len(PNG), b""
    while at + 12 <= len(data) and kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        kind = data[at + 4 : at + 8]
        yield kind, slice(at + 8, at + 8 + length)
        at += 12 + length


def chunk(data: bytes, kind: bytes) -> bytes:
    """The body of the first chunk of that kind; empty without one."""
    return next((data[body] for found, body in chunks(data) if found == kind), b"")


def is_transparent(data: bytes) -> bool:
    """Whether a file is a PNG that has transparency."""
    return data.startswith(PNG) and (data[25:26] in (b"\4", b"\6") or bool(chunk(data, b"tRNS")))


def decoded_png(whole: np.ndarray, data: bytes) -> np.ndarray:
    """(height, width, 3) uint8 BGR, upright, white where the PNG file `data` is transparent.
    `whole` is what OpenCV decodes it to with IMREAD_UNCHANGED."""
    import cv2

    if whole.ndim == 2:
        alpha = np.where(whole == _transparent_grey(data), 0, 255).astype(np.uint8)
        image = np.dstack([cv2.cvtColor(_eight_bits(whole), cv2.COLOR_GRAY2BGR), alpha])
    else:
        image = _eight_bits(whole)
    if image.shape[2] == 4:  # else its transparency is damaged
        image = on_white(image)
    return _upright(image, _orientation(chunk(data, b"eXIf")))


def on_white(image: np.ndarray) -> np.ndarray:
    """An image with straight alpha (height, width, 4) uint8 BGRA before white, (height, width,
    3)."""
    import cv2

    out = np.empty((*image.shape[:2], 3), np.uint8)
    for start in range(0, len(out), STRIP):
        rows = image[start : start + STRIP]
        share = cv2.extractChannel(rows, 3).astype(np.float32) / 255
        colours = cv2.cvtColor(rows, cv2.COLOR_BGRA2BGR)
        white = np.full_like(colours, 255)
        out[start : start + STRIP] = cv2.blendLinear(colours, white, share, 1 - share)
    return out


def _eight_bits(image: np.ndarray) -> np.ndarray:
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image


def _transparent_grey(data: bytes) -> int:
    """Of a picture in greys without alpha, one of which is transparent: as OpenCV decodes it."""
    depth, grey = data[24], int.from_bytes(chunk(data, b"tRNS")[:2], "big")
    return grey * 255 // (2**depth - 1) if depth < 8 else grey


def _orientation(exif: bytes) -> int:
    """What Exif says on how the camera was held, 1 to 8; 1 where it says nothing."""
    order = exif[:2]

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], "little" if order == b"II" else "big")

    first = number(4, 4) + 2
    for at in range(first, min(first + 12 * number(first - 2, 2), len(exif)), 12):
        if number(at, 2) == ORIENTATION:
            return number(at + 8, 2)
    return 1


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    import cv2

    if 5 <= orientation <= 8:
        image = cv2.transpose(image)
    mirrored = MIRRORED.get(orientation)
    return image if mirrored is None else cv2.flip(image, mirrored)
