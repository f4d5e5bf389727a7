# SPDX-License-Identifier: Apache-2.0
"""The game's talks: which recording is of which piece of which line."""

from __future__ import annotations

import struct

import pytest

pytest.importorskip("soxr")

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data.games import amazon_queen


def strings(items: dict[int, str]) -> bytes:
    data = b""
    for number, text in items.items():
        data += struct.pack(">hhB", 0, number, len(text)) + text.encode()
        if text:  # only a text is followed by a gap
            data += bytes(-len(data) % 4)
    return data


def talk(key: int, joe: dict[int, str], person: dict[int, str]) -> bytes:
    joe_lines = strings(joe)
    at_person = 32 + 96 + len(joe_lines)
    head = struct.pack(">5h6hHHH", 1, 9, key, len(joe), len(person), *[0] * 6, at_person, 0, 0)
    return bytes(20) + head + bytes(32 + 96 - len(head)) + joe_lines + strings(person)


def write_game(folder, files: dict[str, bytes]) -> None:
    folder.mkdir()
    at, table, body = 15 + 21 * len(files), b"", b""
    for name, data in files.items():
        table += struct.pack(">12sBII", name.encode(), 1, at + len(body), len(data))
        body += data
    head = b"QTBLCEM10\0\0\0\1" + struct.pack(">H", len(files))
    (folder / "queen.1c").write_bytes(head + table + body)


def test_every_piece_of_a_line_has_its_recording(tmp_path):
    data = talk(
        7,
        {0: "Hello there.", 0x1E: "Wait*FLfor me*XY00(237,112)over here!"},
        {3: "No.", 4: "", 5: "*15Never spoken."},
    )
    assert list(amazon_queen.lines(data)) == [
        ("07SSSSJ1", "Hello there."),
        ("07001EJ1", "Wait"), ("07001EJ2", "for me"), ("07001EJ3", "over here!"),
        ("070003P1", "No."),
        ("070004P1", ""),
        ("070005P1", ""), ("070005P2", "Never spoken."),
    ]  # fmt: skip
    files = {"A.DOG": data, "070003P1.SB": b"no", "07001EJ2.SB": b"for me", "X.SB": b"?"}
    write_game(tmp_path / "game", files)
    assert amazon_queen.unpack(tmp_path / "game", tmp_path / "out") == 2
    assert (tmp_path / "out/lines.tsv").read_text() == "07001EJ2\tfor me\n070003P1\tNo.\n"
    assert (tmp_path / "out/070003P1.mp3").read_bytes() == b"no"


@pytest.mark.parametrize("data", [b"", b"QTBLPEM10\0\0\0\1", b"QTBLCEM10\0\0\0\1\xff\xff"])
def test_another_game_is_refused(tmp_path, data):
    (tmp_path / "queen.1c").write_bytes(data)
    with pytest.raises(RealTalkError, match="no Flight of the Amazon Queen"):
        amazon_queen.unpack(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out/lines.tsv").exists()
