# SPDX-License-Identifier: Apache-2.0
"""Pictures that others made, PNG and JPEG: what they would take is known before it is taken.

A file of some kilobytes can claim a gigapixel, or make a decoder pass over a megapixel a million
times. OpenCV has limits for the first (2^30 pixels, 3 GB) and none for the second.

OpenCV is imported by the first picture: nodes that show none import avatars without it.
"""

from __future__ import annotations

import re

import numpy as np

from realtalk_ros.avatar import transparency
from realtalk_ros.avatar.transparency import PNG

JPEG = b"\xff\xd8\xff"
# OpenCV's parameters of a JPEG whose colours have the full resolution. Its names for the latter two
# numbers came with 4.7; Debian 12 and Ubuntu 24.04 have 4.6, which takes no notice of them.
FINE_JPEG = [1, 95, 7, 0x111111]  # IMWRITE_JPEG_QUALITY, IMWRITE_JPEG_SAMPLING_FACTOR, .._444
MAX_SCANS = 40  # of a progressive JPEG; encoders write ten. 1000 in 41 kB take 10 s to decode
# In entropy-coded data 0xFF is followed by 0, or by the number of a restart (RST).
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
SCAN, END = 0xDA, 0xD9  # SOS, EOI
SEQUENTIAL = (0xC0, 0xC1)  # SOF0, SOF1
RESTARTS = b"\xff\xdd\0\4"  # DRI
END_MARK = bytes([0xFF, END])
FILLS = (bytes(4096), b"\xaa" * 4096)  # entropy-coded data, more than the last rows could need
BETWEEN_SCANS = (0xC4, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0))  # tables, notes and the like


def size(data: bytes) -> tuple[int, int] | None:
    """(width, height) by the header of a PNG or JPEG file; None if this is neither."""
    if data.startswith(PNG):
        return _png_size(data)
    if data.startswith(JPEG):
        jpeg = _jpeg(data)
        return jpeg and jpeg[0]
    return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    """From the header chunk (IHDR), which must be the first one; all must be whole, for OpenCV
    takes the memory that a chunk claims before it looks whether the file is that long."""
    kinds = [kind for kind, _ in transparency.chunks(data)]
    # Animated PNG (acTL), which OpenCV reads, too, has sizes of its own.
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND" or b"acTL" in kinds:
        return None
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return (width, height) if width and height and kinds.count(b"IHDR") == 1 else None


def _jpeg(data: bytes) -> tuple[tuple[int, int], bool] | None:
    """Size from the frame header (SOF), ITU T.81, B.2.2, and whether the end is marked; None, too,
    where the scans are not whole."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            width = int.from_bytes(data[at + 7 : at + 9], "big")
            ends = _ends(data, at + 2 + length, data[at + 9] if kind in SEQUENTIAL else 0)
            return ((width, height), ends) if width and height and ends is not None else None
        elif kind in (0x00, 0x01, *range(0xD0, 0xDB)) or length < 2:
            return None  # nothing of this comes before the frame header
        else:
            at += 2 + length
    return None


def _ends(data: bytes, at: int, components: int) -> bool | None:
    """Whether a JPEG file, whose frame header ends at a byte, comes to its end; None for one that
    is damaged or cut short. OpenCV before 4.11 makes what is missing grey. What follows the end, as
    a telephone's film, is no part of it. Some cameras write none: False for one whose scans have
    all `components`, of which `decode` has to look whether the last scan is whole. (Of a
    progressive one, 0, whole scans may be missing, between restarts whole parts of one.)"""
    scans = had = 0
    while (found := MARKER.search(data, at)) and scans <= MAX_SCANS:
        kind, at = found[0][1], found.end()
        if kind == END:
            return True if scans else None
        if kind != SCAN and kind not in BETWEEN_SCANS:
            return None
        if kind == SCAN:
            scans, had = scans + 1, had + sum(data[at + 2 : at + 3])
        at += int.from_bytes(data[at : at + 2], "big")
    whole = found is None and 0 < components == had and RESTARTS not in data
    return False if whole else None


def decode(data: bytes, max_pixels: int) -> np.ndarray | None:
    """(height, width, 3) uint8 BGR, white where it is transparent; None if it cannot be decoded or
    is larger than it may be."""
    import cv2

    claimed = size(data)
    if claimed is None or claimed[0] * claimed[1] > max_pixels:
        return None
    transparent = transparency.is_transparent(data)
    kind = cv2.IMREAD_UNCHANGED if transparent else cv2.IMREAD_COLOR

    def read(end: bytes) -> np.ndarray | None:
        try:
            return cv2.imdecode(np.frombuffer(data + end, np.uint8), kind)
        except cv2.error:
            return None

    jpeg = _jpeg(data) if data.startswith(JPEG) else None
    if jpeg is None or jpeg[1]:
        image = read(b"")
    else:  # where nothing of it is missing, what comes before the end changes nothing
        image = read(END_MARK)
        for fill in FILLS:
            other = read(fill + END_MARK)
            if image is None or other is None or not np.array_equal(image, other):
                return None
    # A camera's note on how it was held may have exchanged width and height.
    if image is None or sorted(image.shape[:2]) != sorted(claimed):
        return None
    return transparency.decoded_png(image, data) if transparent else image


def to_square(image: np.ndarray, side: int) -> np.ndarray:
    """A picture (height, width, 3) uint8 at (side, side, 3)."""
    if image.shape[:2] == (side, side):
        return image
    import cv2

    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
