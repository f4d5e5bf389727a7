# SPDX-License-Identifier: Apache-2.0
"""How long a sound file says that it is, where FFmpeg tells only how long it seems to be.

WAV    Of one that was cut FFmpeg gives the length of what is left. Multimedia Programming
       Interface and Data Specifications 1.0 (RIFF); EBU Tech 3306 (RF64).
MP3    FFmpeg gives a length for each, guessed from the bit rate where the file states none. Those
       that state it have a first frame with the tag of Xing and LAME (Xing, Info) or of Fraunhofer
       (VBRI): http://gabriel.mp3-tech.org/mp3infotag.html
Ogg    It states no length, but that of each of its pages (RFC 3533): one that was cut mostly ends
       within a page.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

# Of a data chunk: what is written where the length is not known yet, as into a pipe, is 0 or hardly
# less than 2 or 4 GiB.
UNKNOWN_SIZES, NEAR = (2**31, 2**32), 2**16
PLAIN_FORMATS = (1, 3, 6, 7, 0xFFFE)  # WAVE_FORMAT_PCM, IEEE_FLOAT, ALAW, MULAW, EXTENSIBLE
MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
ENCODERS_FRAMES = 3  # of an MP3, for encoders' delay and padding, which are no sound
AFTER_ID3 = 8192  # bytes in which its first frame is to begin and end
MAX_CHUNKS = 1000  # of a WAV, before its sound: gigabytes of zeros are read as empty chunks
LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes, of Ogg


@dataclass(frozen=True)
class StatedLength:
    """What a file says of its length."""

    seconds: float | None = None  # None: nothing
    cut: str = ""  # by what it is seen to be cut short, whatever its length should be

    @classmethod
    def of(cls, file: BinaryIO) -> StatedLength:
        """Of a file that can be sought; it is left where it was."""
        start = file.tell()
        try:
            cut = "its last page is not whole" if ends_within_ogg_page(file) else ""
            return cls(stated_seconds(file), cut)
        finally:
            file.seek(start)


def stated_seconds(file: BinaryIO) -> float | None:
    """Of a WAV or an MP3 file, read from its beginning; None where it does not say."""
    head = _at(file, 0, 12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return _seconds_of_wav(file, ">" if head[:4] == b"RIFX" else "<")
    start = 0
    if head[:3] == b"ID3" and len(head) == 12:  # of ID3v2, of seven bits a byte
        a, b, c, d = head[6:10]
        start = 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
    return _seconds_of_mp3(_at(file, start, AFTER_ID3).lstrip(b"\0"))


def ends_within_ogg_page(file: BinaryIO) -> bool:
    """Whether it is an Ogg file whose last page is not whole."""
    if _at(file, 0, 4) != b"OggS":
        return False
    size = file.seek(0, 2)
    tail = _at(file, max(0, size - LONGEST_PAGE), LONGEST_PAGE)
    page = tail[tail.rfind(b"OggS") :]
    if not page.startswith(b"OggS\0"):  # something else follows the sound
        return False
    segments = page[26] if len(page) > 26 else 0
    lengths = page[27 : 27 + segments]
    return len(page) < 27 or len(lengths) < segments or len(page) < 27 + segments + sum(lengths)


def _at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _seconds_of_wav(file: BinaryIO, order: str) -> float | None:
    at, large = 12, 0
    kind = rate = block = samples = 0
    for _ in range(MAX_CHUNKS):
        if len(head := _at(file, at, 8)) < 8:
            break
        name, size = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        start, at = at + 8, at + 8 + size + size % 2
        if name == b"fmt " and len(data := _at(file, start, 16)) == 16:
            kind, _, rate, _, block, _ = struct.unpack(f"{order}HHIIHH", data)
        elif name == b"fact" and len(data := _at(file, start, 4)) == 4:
            samples = struct.unpack(f"{order}I", data)[0]
        elif name == b"ds64" and len(data := _at(file, start, 16)) == 16:
            large = struct.unpack("<Q", data[8:])[0]
        elif name == b"data":
            size = large or size
            if not rate or not _known(size):
                return None
            if kind in PLAIN_FORMATS:
                return size / (rate * block) if block else None
            return samples / rate if _known(samples) else None
    return None


def _known(size: int) -> bool:
    return size > 0 and all(not 0 <= unknown - size < NEAR for unknown in UNKNOWN_SIZES)


def _seconds_of_mp3(frame: bytes) -> float | None:
    """Of an MP3 file whose first frame begins there."""
    if len(frame) < 200 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:  # of layer III
        return None
    version, rate = frame[1] >> 3 & 3, frame[2] >> 2 & 3  # of MPEG: 3 is 1, 2 is 2, 0 is 2.5
    if version not in MP3_RATES or rate == 3:
        return None
    mono = frame[3] >> 6 == 3
    tag = 4 + (17 if mono else 32) if version == 3 else 4 + (9 if mono else 17)
    if frame[36:40] == b"VBRI":
        frames = frame[50:54]
    elif frame[tag : tag + 4] in (b"Xing", b"Info") and frame[tag + 7] & 1:
        frames = frame[tag + 8 : tag + 12]
    else:
        return None
    count = max(0, int.from_bytes(frames, "big") - ENCODERS_FRAMES)
    return count * (1152 if version == 3 else 576) / MP3_RATES[version][rate] or None
