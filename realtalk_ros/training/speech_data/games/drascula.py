# SPDX-License-Identifier: Apache-2.0
"""The dialogue of Drascula: The Vampire Strikes Back (1996; in Debian), acted in English and in
Spanish.

Each line is a file of its own, 8 bits a sample. The texts, in every language, are in ScummVM's
drascula.dat. The layout is from ScummVM's sources.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data.games.lines_tsv import write_lines, write_wav

SAMPLE_RATE = 11025  # Hz
LANGUAGES = ("en", "es")  # the first of those of drascula.dat; the others are not spoken
# drascula.dat: bytes of one entry of each table before the texts, of ScummVM's DRASCULA_DAT_VER 6.
_TABLES = (4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8)
# The tables of texts in their order, by the prefix of their recordings' names.
_SPEAKERS = ("", "D", "B", "BJ", "E", "I", "L", "P", "T", "VB")


def lines(data: bytes, language: str) -> Iterator[tuple[str, str]]:
    """(name of the recording without its suffix, text) of every line of drascula.dat.

    language: one of LANGUAGES. Raises ValueError and struct.error for another file.
    """
    if data[:9] != b"DRASCULA\6":
        raise ValueError("not version 6 of drascula.dat")
    file = io.BytesIO(data)
    file.seek(9)

    def number() -> int:
        return int(struct.unpack(">H", file.read(2))[0])

    for size in _TABLES:
        file.seek(size * number(), io.SEEK_CUR)
    languages = number()
    for speaker in _SPEAKERS:
        count = number()
        for index in range(languages):
            size = number()
            end = file.tell() + size
            file.seek(2, io.SEEK_CUR)  # padding
            for line in range(count if index == LANGUAGES.index(language) else 0):
                text = file.read(number() - 2).rstrip(b"\0").decode("cp437")
                yield f"{speaker}{line}", text.lower()
            file.seek(end)


def unpack(texts: Path, folder: Path, out: Path) -> int:
    """Writes the recordings with a known text as <name>.wav, and lines.tsv, into `out`.

    texts: drascula.dat; folder: the recordings, named by their language. Returns how many. Raises
    RealTalkError for another game or version.
    """
    try:
        text_of = dict(lines(texts.read_bytes(), folder.name))
        out.mkdir(parents=True, exist_ok=True)
        listing = {}
        for path in sorted(folder.glob("*.ALS")):
            if text := text_of.get(path.stem):
                write_wav(out / f"{path.stem}.wav", path.read_bytes(), SAMPLE_RATE)
                listing[path.stem] = text
    except (OSError, ValueError, struct.error) as error:
        raise RealTalkError(f"no Drascula in {folder}: {error}") from error
    return write_lines(out, listing)
