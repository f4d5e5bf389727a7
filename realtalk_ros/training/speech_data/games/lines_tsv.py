# SPDX-License-Identifier: Apache-2.0
"""Writes a game's dialogue as corpora.py reads it: a recording of each line, and lines.tsv."""

from __future__ import annotations

import wave
from pathlib import Path


def write_wav(path: Path, samples: bytes, rate: int) -> None:
    """samples: unsigned, 8 bits each, mono; rate: Hz."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, rate, 0, "NONE", ""))
        file.writeframes(samples)


def write_lines(out: Path, texts: dict[str, str]) -> int:
    """texts: name of a recording in `out` without its suffix -> its text. Returns how many."""
    lines = "".join(f"{name}\t{text}\n" for name, text in texts.items())
    (out / "lines.tsv").write_text(lines, "utf-8")
    return len(texts)
