# SPDX-License-Identifier: Apache-2.0
"""What is said in a video or a recording, where that is written down, and when each phone of it."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.training.speech_data.corpora import espeak_voice
from realtalk_ros.training.speech_data.dataset import Segment

NOT_WORDS = frozenset({"sil", "sp"})  # of GRID's alignments


def words_of_video(path: Path, folder: Path | None) -> str | None:
    """In X.txt, or X.align of the GRID corpus, beside a video or in `folder`."""
    for place in (path.parent, *([folder] if folder else [])):
        if (text := place / f"{path.stem}.txt").is_file():
            return text.read_text("utf-8", "replace")
        if (aligned := place / f"{path.stem}.align").is_file():
            rows = [line.split() for line in aligned.read_text().splitlines()]
            return " ".join(row[2] for row in rows if len(row) == 3 and row[2] not in NOT_WORDS)
    return None


def words_of_recording(path: Path) -> tuple[str, str] | None:
    """espeak-ng's voice of the language of a recording, and its words, if they are written down: in
    X.txt beside it (English), as LibriSpeech (*.trans.txt) or as Common Voice (validated.tsv)."""
    if (text := path.with_suffix(".txt")).is_file():
        return "en-us", text.read_text("utf-8", "replace")
    for listing in path.parent.glob("*.trans.txt"):
        if words := _librispeech(listing).get(path.stem):
            return "en-us", words
    listing = path.parent.parent / "validated.tsv"
    if listing.is_file() and (words := _common_voice(listing).get(path.name)):
        # "cv-corpus-17.0-delta-2024-03-15-fr", or as in older releases "fr"
        folder = path.parent.parent.name
        language = folder.rpartition("-")[2] if folder.startswith("cv-corpus") else folder
        return espeak_voice(language), words
    return None


@lru_cache(maxsize=64)
def _librispeech(listing: Path) -> dict[str, str]:
    lines = (line.partition(" ") for line in listing.read_text("utf-8").splitlines())
    return {name: words.strip().lower() for name, _, words in lines}  # capitals would be spelled


@lru_cache(maxsize=64)
def _common_voice(listing: Path) -> dict[str, str]:
    with listing.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {Path(row["path"]).name: row["sentence"] for row in rows}


class Aligner:
    """Phones of known words, of a language that is an espeak-ng voice; opened when it is first
    needed."""

    def __init__(self, voice: str):
        self.voice, self._aligner = voice, None

    def align(self, path: Path, words: str) -> list[Segment] | None:
        from realtalk_ros.training.speech_data.alignment import align_recording
        from realtalk_ros.training.speech_data.corpora import read_recording
        from realtalk_ros.training.speech_data.pocketsphinx_aligner import PocketsphinxAligner
        from realtalk_ros.training.speech_data.tts_engines import espeak

        self._aligner = self._aligner or PocketsphinxAligner(espeak())
        pcm = read_recording(path)
        speech = align_recording(self._aligner, pcm, words, self.voice, path.stem)
        # What was cut off at its ends is not known to be silent in the picture: only phones are.
        if speech is None or abs(len(speech.pcm) - len(pcm)) > 0.02 * SAMPLE_RATE:
            return None
        return list(speech.segments)
