# SPDX-License-Identifier: Apache-2.0
"""The game's lines: which recording is of which text, in which language."""

from __future__ import annotations

import struct
import wave

import pytest

pytest.importorskip("soxr")

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data.corpora import recordings
from realtalk_ros.training.speech_data.games import drascula


def number(n: int) -> bytes:
    return struct.pack(">H", n)


def texts(lines: list[str]) -> bytes:
    """One language's lines of one speaker, each padded to a multiple of four bytes."""
    data = bytes(2)
    for line in lines:
        text = line.encode("cp437") + b"\0"
        text += bytes(4 - (len(text) + 2) % 4)
        data += number(len(text) + 2) + text
    return number(len(data)) + data


def game(speakers: dict[str, list[list[str]]]) -> bytes:
    """drascula.dat: thirteen tables of two entries each, then the lines of each speaker in English,
    in Spanish and in German."""
    data = b"DRASCULA\6"
    for size in (4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8):
        data += number(2) + bytes(2 * size)
    data += number(3)
    for name in ("", "D", "B", "BJ", "E", "I", "L", "P", "T", "VB"):
        languages = speakers.get(name, [[]] * 3)
        data += number(len(languages[0])) + b"".join(map(texts, languages))
    return data


SPOKEN = {
    "": [["", "HELLO DOOR", "NO"], ["", "HOLA PUERTA", "NO"], ["", "HALLO TÜR", "NEIN"]],
    "BJ": [["", "COME!"], ["", "MA\u00d1ANA"], ["", "KOMM!"]],
}


def test_every_line_has_its_recording(tmp_path):
    data = game(SPOKEN)
    assert dict(drascula.lines(data, "es")) == {
        "0": "", "1": "hola puerta", "2": "no", "BJ0": "", "BJ1": "mañana",
    }  # fmt: skip
    (tmp_path / "drascula.dat").write_bytes(data)
    folder = tmp_path / "es"
    folder.mkdir()
    for name in ("1", "BJ1", "BJ0", "X9"):  # BJ0 says nothing, X9 is nobody's
        (folder / f"{name}.ALS").write_bytes(bytes([128, 200, 60]))
    assert drascula.unpack(tmp_path / "drascula.dat", folder, tmp_path / "out") == 2
    assert (tmp_path / "out/lines.tsv").read_text("utf-8") == "1\thola puerta\nBJ1\tmañana\n"
    with wave.open(str(tmp_path / "out/BJ1.wav")) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (11025, 1, 3)


def test_each_language_is_a_package_and_a_source_of_its_own(tmp_path):
    for package, language, name in (("drascula", "en", "1"), ("drascula-spanish", "es", "BJ1")):
        folder = tmp_path / package / "usr/share/scummvm/drascula" / language
        folder.mkdir(parents=True)
        (folder / f"{name}.ALS").write_bytes(bytes([128, 200, 60]))
    # As in Debian: the texts of both come with the English one.
    (tmp_path / "drascula/usr/share/scummvm/drascula/en/drascula.dat").write_bytes(game(SPOKEN))
    found = [(r.source, r.voice, r.text, r.path.name) for r in recordings(tmp_path)]
    assert found == [
        ("drascula/en", "en-us", "hello door", "1.wav"),
        ("drascula/es", "es", "mañana", "BJ1.wav"),
    ]


@pytest.mark.parametrize("data", [b"", b"DRASCULA\5", game(SPOKEN)[:400]])
def test_another_game_is_refused(tmp_path, data):
    (tmp_path / "drascula.dat").write_bytes(data)
    (tmp_path / "en").mkdir()
    with pytest.raises(RealTalkError, match="no Drascula in"):
        drascula.unpack(tmp_path / "drascula.dat", tmp_path / "en", tmp_path / "out")
    assert not (tmp_path / "out/lines.tsv").exists()
