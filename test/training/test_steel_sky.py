# SPDX-License-Identifier: Apache-2.0
"""The game's dialogue: packed sounds, coded texts, and disks that are not what they should be."""

from __future__ import annotations

import struct
import wave

import pytest

pytest.importorskip("soxr")

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data.games import steel_sky


def bits(value: int, n: int) -> str:
    """n bits, lowest first, as a string in the order in which they are read."""
    return f"{value:0{n}b}"[::-1]


def words(text: str) -> bytes:
    text += "0" * (-len(text) % 16)
    return b"".join(
        struct.pack("<H", int(text[i : i + 16][::-1], 2)) for i in range(0, len(text), 16)
    )


def packed() -> tuple[bytes, bytes]:
    """ "ab", then 8 bytes copied from 2 bytes before: what it says, and how it is packed."""
    raw = bits(3, 5) + bits(1, 4) + bits(0, 4) + bits(1, 4)  # symbol 0: "0", symbol 2: "1"
    places = bits(2, 5) + bits(0, 4) + bits(1, 4)  # symbol 1: "0"
    lengths = bits(4, 5) + 3 * bits(0, 4) + bits(1, 4)  # symbol 3: "0" and two bits more
    head = words("00" + raw + places + lengths + bits(2, 16) + "1" + "0")  # 2 pieces; 2 bytes raw
    # What is left of the last word is read on after the raw bytes.
    used = (2 + len(raw + places + lengths) + 16 + 2) % 16
    rest = "0" + "0" + bits(2, 2) + "0"  # 1 + 1 back; 4 + 2 + 2 long; no more raw bytes
    assert used and used + len(rest) <= 16
    last = int.from_bytes(head[-2:], "little") | int(rest[::-1], 2) << used
    data = head[:-2] + struct.pack("<H", last) + b"ab"
    out = b"ab" + b"ab" * 4
    return out, struct.pack(">4sIIHHBB", b"RNC\1", len(out), len(data), 0, 0, 0, 1) + data


def test_packed_sounds_are_unpacked():
    out, data = packed()
    assert steel_sky.unpack_rnc(data) == out
    for bad in (data[:10], b"RNC\2" + data[4:], data[:4] + b"\0\0\0\x63" + data[8:], data[:-6]):
        with pytest.raises((ValueError, IndexError, struct.error)):
            steel_sky.unpack_rnc(bad)


def section(texts: list[str]) -> bytes:
    codes = {letter: code for code, letter in steel_sky._tree().items()}
    pieces = []
    for text in texts:
        code = "".join(codes[letter] for letter in text + "\0")
        pieces.append(code + "0" * (len(code) % 2))
    lengths = bytes(len(p) // 2 for p in pieces[:-1])
    stream = "".join(pieces)
    stream += "0" * (-len(stream) % 8)
    coded = bytes(int(stream[i : i + 8], 2) for i in range(0, len(stream), 8))
    return struct.pack("<HH", 4, 4 + len(lengths)) + lengths + coded


def write_game(folder, files: dict[int, bytes]) -> None:
    folder.mkdir()
    disk, table = b"", struct.pack("<I", len(files))
    for number, data in files.items():
        size = len(data).to_bytes(3, "little")
        table += struct.pack("<H", number) + len(disk).to_bytes(3, "little") + size
        disk += data
    (folder / "sky.dnr").write_bytes(table)
    (folder / "sky.dsk").write_bytes(disk)


def test_every_spoken_line_gets_its_text(tmp_path):
    out, data = packed()
    header = bytes(steel_sky.HEADER)
    game = tmp_path / "game"
    files = {steel_sky.TEXTS + k: section(["No!"]) for k in range(7)}
    files[steel_sky.TEXTS] = section(["Foster", "Hey, Joey!", "It's Hobbins."])
    files[steel_sky.SPEECH + 1] = header + data
    files[steel_sky.SPEECH + 2] = header + b"\x80" * 50
    write_game(game, files)
    assert steel_sky.unpack(game, tmp_path / "out") == 2
    listing = (tmp_path / "out/lines.tsv").read_text()
    assert listing == "1\tHey, Joey!\n2\tIt's Hobbins.\n"
    with wave.open(str(tmp_path / "out/1.wav")) as file:
        assert (file.getframerate(), file.getsampwidth()) == (steel_sky.SAMPLE_RATE, 1)
        assert file.readframes(100) == out


def test_another_disk_is_refused(tmp_path):
    with pytest.raises(RealTalkError, match="no Beneath a Steel Sky"):
        steel_sky.unpack(tmp_path, tmp_path / "out")
    write_game(tmp_path / "game", {1: b"?"})
    with pytest.raises(RealTalkError, match="no Beneath a Steel Sky"):
        steel_sky.unpack(tmp_path / "game", tmp_path / "out")
    assert not (tmp_path / "out/lines.tsv").exists()
