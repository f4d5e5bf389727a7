# SPDX-License-Identifier: Apache-2.0
"""The dialogue of Beneath a Steel Sky (Revolution Software 1994; in Debian): native English, acted.

The game's CD version keeps every line as text and as 8 bit sound at 11 kHz in sky.dsk, whose
directory is sky.dnr; sounds are packed by Rob Northen's ProPack (RNC), method 1. The layout is
from ScummVM's sources.
"""

from __future__ import annotations

import struct
from pathlib import Path

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data.games.lines_tsv import write_lines, write_wav

SAMPLE_RATE = 11025  # Hz
TEXTS, SPEECH = 60600, 50000  # numbers of the first files of each
HEADER = 22  # bytes before the sound
# Lines of section k begin at this number among the sounds.
SECTIONS = (0, 600, 1100, 2430, 3380, 4530, 5080, 5230)
# The Huffman tree of version 0.0372, from its root down, left first: "|" is a node with two
# branches, "\0" ends a line, "~" is a letter that English lacks.
_TREE = (
    "||| |ea|||os|tn||.ir" "|||||\0Eu|mA" "|||lI|dR||NST" "|||||Ohc|Dg|||LC|pU||!yM"
    "|||||PvH|?b|||'f,|GB" "|||||VkF|qw|||K-W|J*" "||||zY|j+|||Q~)||Z~<"
    "|||||~~~|~:|||~]#||xX~" "|||||~`2||0~1|||/(=|~^" "||||39|~4|||}8\\|\"~"
    "||||&~|56||~~|~~" "||||~7~||~~|$@" "||||[~_|>~" "|||~%\t||~~|{|~!"
)  # fmt: skip


def _tree() -> dict[str, str]:
    """Code of bits -> letter."""
    codes, waiting = {}, [""]
    for mark in _TREE:
        code = waiting.pop()
        if mark == "|":
            waiting += [code + "1", code + "0"]
        else:
            codes[code] = mark
    return codes


def _directory(folder: Path) -> dict[int, tuple[int, int]]:
    """Number of a file -> where it begins and how long it is."""
    table = (folder / "sky.dnr").read_bytes()
    (count,) = struct.unpack_from("<I", table)
    files = {}
    for at in range(4, 4 + 8 * count, 8):
        number, low, high = struct.unpack_from("<HIH", table, at)
        place, size = low & 0xFFFFFF, (low >> 24 | high << 8) & 0x3FFFFF
        files[number] = ((place & 0x7FFFFF) << 4 if place & 0x800000 else place, size)
    return files


def lines(section: bytes, codes: dict[str, str]) -> list[str]:
    """All lines of one text file: sums of 32 lengths each, then the lengths, then the texts."""
    first, text, *_ = struct.unpack_from("<HH", section)
    lengths = section[first:text]
    out, offset = [], 0
    for length in (0, *lengths):
        offset += (length & 0x7F) << 3 if length & 0x80 else length  # in units of two bits
        bits = "".join(f"{b:08b}" for b in section[text + offset // 4 : text + offset // 4 + 400])
        at, letters, code = offset % 4 * 2, [], ""
        while at < len(bits):
            code += bits[at]
            at += 1
            if (letter := codes.get(code)) is not None:
                code = ""
                if letter == "\0":
                    break
                letters.append(letter)
        out.append("".join(letters))
    return out


class _BitReader:
    """A reader of 16-bit words, lowest bit first, with whole bytes between the words."""

    def __init__(self, data: bytes, at: int):
        self.data, self.at = data + b"\0\0\0\0", at  # the next word, of which nothing is used yet
        self.rest, self.count = 0, 0

    def take(self, n: int) -> int:
        value, have = self.rest, self.count
        if n > have:
            word = self.data[self.at] | self.data[self.at + 1] << 8
            self.at += 2
            value |= word << have
            have += 16
        self.rest, self.count = value >> n, have - n
        return value & ((1 << n) - 1)

    def table(self) -> list[tuple[int, int, int]]:
        """(mask, code, symbol) of one Huffman table, short codes first."""
        lengths = [self.take(4) for _ in range(self.take(5))]
        codes, code = [], 0
        for length in range(1, 16):
            for symbol, wanted in enumerate(lengths):
                if wanted == length:
                    reverse = int(f"{code >> (16 - length):0{length}b}"[::-1], 2)
                    codes.append(((1 << length) - 1, reverse, symbol))
                    code += 1 << (16 - length)
        return codes

    def value(self, table: list[tuple[int, int, int]]) -> int:
        data, at = self.data, self.at
        ahead = self.rest | (data[at] | data[at + 1] << 8) << self.count
        for mask, code, symbol in table:
            if ahead & mask == code:
                self.take(mask.bit_length())
                return symbol if symbol < 2 else self.take(symbol - 1) | 1 << (symbol - 1)
        raise ValueError("not packed by RNC method 1")


def unpack_rnc(data: bytes) -> bytes:
    """The contents of a ProPack file. Raises ValueError where it is damaged."""
    magic, size, _, _, _, _, blocks = struct.unpack_from(">4sIIHHBB", data)
    if magic != b"RNC\1":
        raise ValueError("not packed by RNC method 1")
    bits, out = _BitReader(data, 18), bytearray()
    bits.take(2)
    for _ in range(blocks):
        raw, places, lengths = bits.table(), bits.table(), bits.table()
        for left in range(bits.take(16), 0, -1):
            n = bits.value(raw)
            out += data[bits.at : bits.at + n]
            bits.at += n
            if left > 1:
                start = len(out) - bits.value(places) - 1
                n = bits.value(lengths) + 2
                if start < 0:
                    raise ValueError("not packed by RNC method 1")
                while n > 0:  # what is copied may reach into itself
                    piece = out[start : start + n]
                    out += piece
                    n -= len(piece)
    if len(out) != size:
        raise ValueError("not packed by RNC method 1")
    return bytes(out)


def unpack(folder: Path, out: Path) -> int:
    """Writes every spoken line as <number>.wav, and lines.tsv, into `out`.

    folder: the game's. Returns how many. Raises RealTalkError for another version than 0.0372.
    """
    try:
        files, codes = _directory(folder), _tree()
        disk = (folder / "sky.dsk").read_bytes()
        out.mkdir(parents=True, exist_ok=True)
        listing = {}
        for number, first in enumerate(SECTIONS[:7]):
            place, size = files[TEXTS + number]
            for i, text in enumerate(lines(disk[place : place + size], codes)):
                if SPEECH + first + i not in files or not text:
                    continue
                place, size = files[SPEECH + first + i]
                sound = disk[place + HEADER : place + size]
                sound = unpack_rnc(sound) if sound.startswith(b"RNC") else sound
                write_wav(out / f"{first + i}.wav", sound, SAMPLE_RATE)
                listing[f"{first + i}"] = text
    except (OSError, KeyError, IndexError, ValueError, struct.error) as error:
        raise RealTalkError(f"no Beneath a Steel Sky 0.0372 in {folder}: {error}") from error
    return write_lines(out, listing)
