# SPDX-License-Identifier: Apache-2.0
"""The dialogue of Flight of the Amazon Queen (1995; in Debian): native English, acted.

One file holds everything, after a directory: MP3 recordings, each of a piece of a line, and talks
(.DOG) with the lines. The layout is from ScummVM's sources.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data.games.lines_tsv import write_lines

_TALK_HEADER = 20  # bytes before a talk's fields
# "*" and what the speaker does meanwhile: two letters or digits; XY is followed by a place.
_ACTION = re.compile(r"\*(?:XY\d\d\(\d+,\d+\)|..)")


def _directory(data: bytes) -> dict[str, bytes]:
    """Name of a file -> its contents."""
    if data[:5] != b"QTBLC" or data[6:10] != b"M10\0":
        raise ValueError("not the talking English version")
    (count,) = struct.unpack_from(">H", data, 13)
    entries = struct.iter_unpack(">12sBII", data[15 : 15 + 21 * count])
    return {name.rstrip(b"\0").decode("ascii"): data[at : at + size]
            for name, _, at, size in entries}  # fmt: skip


def lines(talk: bytes) -> Iterator[tuple[str, str]]:
    """(name of the recording without its suffix, text) of every piece of every line of a talk."""
    talk = talk[_TALK_HEADER:]
    levels, _, key, joe, person = struct.unpack_from(">5h", talk)
    (at_person,) = struct.unpack_from(">H", talk, 22)
    for who, at, count in (("J", 32 + abs(levels) * 96, joe), ("P", at_person, person)):
        for _ in range(count):
            (number,) = struct.unpack_from(">h", talk, at + 2)
            at, length = at + 5, talk[at + 4]
            text = talk[at : at + length].decode("latin1")
            at = (at + length + 3) & ~3 if length else at
            # Joe's first words, spoken only at a first meeting, are under another name.
            name = "SSSS" if who == "J" and number == 0 else f"{number & 0xFFFF:4x}"
            for piece, part in enumerate(_ACTION.split(text), 1):
                yield f"{key:2d}{name}{who}{piece:x}".replace(" ", "0").upper(), part.strip()


def unpack(folder: Path, out: Path) -> int:
    """Writes the recordings with a known text as <name>.mp3, and lines.tsv, into `out`.

    folder: the game's. Returns how many. Raises RealTalkError for another game or version.
    """
    try:
        files = _directory((folder / "queen.1c").read_bytes())
        out.mkdir(parents=True, exist_ok=True)
        listing = {}
        for talk in (data for name, data in files.items() if name.endswith(".DOG")):
            for name, text in lines(talk):
                sound = files.get(f"{name}.SB")
                if sound and text and name not in listing:
                    (out / f"{name}.mp3").write_bytes(sound)
                    listing[name] = text
        if not listing:
            raise ValueError("it has no lines")
    except (OSError, IndexError, ValueError, struct.error) as error:
        raise RealTalkError(f"no Flight of the Amazon Queen in {folder}: {error}") from error
    return write_lines(out, listing)
