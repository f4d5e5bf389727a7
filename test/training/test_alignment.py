# SPDX-License-Identifier: Apache-2.0
"""Forced alignment: known borders are found, pauses are optional, wrong texts score lower."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soxr", reason="training needs soxr")

import itertools
from types import SimpleNamespace

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.training.common import json_lines
from realtalk_ros.training.speech_data import alignment, viterbi
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.corpora import Recording
from realtalk_ros.training.speech_data.dataset import Speech


def posteriors(*runs: tuple[str, int], seed: int = 0) -> np.ndarray:
    """Noisy log posteriors of these phones, each for so many frames."""
    logits = np.random.default_rng(seed).normal(0, 1, (sum(n for _, n in runs), len(ph.PHONES)))
    start = 0
    for phone, frames in runs:
        logits[start : start + frames, ph.PHONE_INDEX[phone]] += 5
        start += frames
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


MAMA = (("SIL", 20), ("M", 8), ("AA", 12), ("M", 7), ("AA", 15), ("SIL", 30))


def test_known_borders_are_found():
    segments = viterbi.force_align(posteriors(*MAMA), [["M", "AA", "M", "AA"]])
    assert [p for p, _, _ in segments] == [p for p, _ in MAMA]
    ends = np.cumsum([n for _, n in MAMA]) / 100
    assert np.allclose([e for _, _, e in segments], ends, atol=0.011)
    assert segments[0][1] == 0
    assert all(a[2] == b[1] for a, b in itertools.pairwise(segments))


@pytest.mark.parametrize("pause", [0, 25])
def test_a_pause_between_words_is_found_only_where_there_is_one(pause):
    runs = (("P", 8), ("IY", 10), ("SIL", pause), ("B", 8), ("UW", 10))
    segments = viterbi.force_align(posteriors(*runs), [["P", "IY"], ["B", "UW"]])
    assert [p for p, _, _ in segments] == [p for p, n in runs if n]


def test_no_pause_is_put_inside_a_word():
    segments = viterbi.force_align(posteriors(("P", 20), ("SIL", 6), ("UW", 10)), [["P", "UW"]])
    assert [p for p, _, _ in segments] == ["P", "UW"]


def test_a_phone_the_recogniser_misses_still_gets_its_shortest_time():
    segments = viterbi.force_align(posteriors(("AA", 20), ("IY", 20)), [["AA", "B", "IY"]])
    assert [p for p, _, _ in segments] == ["AA", "B", "IY"]
    assert segments[1][2] - segments[1][1] == pytest.approx(viterbi.MIN_PHONE_FRAMES / 100)


def test_too_short_audio_and_empty_text_are_refused():
    assert viterbi.force_align(posteriors(("M", 7)), [["M", "AA", "M", "AA"]]) is None
    assert viterbi.force_align(posteriors(*MAMA), []) is None
    assert viterbi.force_align(np.zeros((0, len(ph.PHONES))), [["M"]]) is None


def test_a_wrong_text_scores_lower():
    uniform = np.full(len(ph.PHONES), 1 / len(ph.PHONES))
    scores = viterbi.likelihoods(posteriors(*MAMA), uniform)
    right, wrong = (
        viterbi.spoken_score(scores, viterbi.force_align(scores, [words]))
        for words in (["M", "AA", "M", "AA"], ["S", "IY", "F", "OW"])
    )
    assert right > -0.5
    assert wrong < right - 2


class SpellingVoice:
    """Speaks the letters of a text: "MA ma" is M AA, M AA."""

    def words(self, text: str, voice: str) -> list[list[str]]:
        names = {"m": "M", "a": "AA", "p": "P", "i": "IY", "s": "S"}
        return [[names[letter] for letter in word.lower()] for word in text.split()]


def test_the_spoken_words_of_a_text_with_choices_are_found(monkeypatch):
    monkeypatch.setattr(alignment, "espeak", SpellingVoice)
    spoken = (("P", 8), ("IY", 12), *MAMA, ("P", 8), ("AA", 12))
    scores = viterbi.likelihoods(posteriors(*spoken), np.full(len(ph.PHONES), 1 / len(ph.PHONES)))
    for text in ("{si|pi} mama {sa|pa}", "{mama pi|pi mama} {|pa}", "pi {a|mama|sapi} pa"):
        words = alignment._best_choices(text, "xx", scores)
        assert "".join(p for word in words for p in word) == "PIYMAAMAAPAA", text


def test_what_follows_a_line_that_was_cut_off_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "espeak", SpellingVoice)
    cache, pcm = tmp_path / "aligned.jsonl", np.zeros(2 * SAMPLE_RATE, np.float32)
    monkeypatch.setattr(alignment, "read_recording", lambda path: pcm)
    recogniser = SimpleNamespace(scores=lambda pcm: posteriors(*MAMA))
    both = [Recording("c/en", "xx", "mama", tmp_path / name) for name in ("a.wav", "b.wav")]
    alignment.align_recordings(both[:1], recogniser, cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole + whole[:20])
    assert len(alignment.align_recordings(both, recogniser, cache)) == 2
    assert list(json_lines.read_rows(cache, "path")) == [str(recording.path) for recording in both]
    written = cache.read_bytes()
    alignment.align_recordings(both, recogniser, cache)
    assert cache.read_bytes() == written


def aligned(score: float, wrong: float, consistent: bool = True, source: str = "c/en"):
    recording = Recording(source, "en-us", "text", Path("x.wav"))
    return alignment.Alignment(recording, [("SIL", 0.0, 1.0)], score, wrong, consistent)


def test_trusted_alignments_score_higher_than_wrong_texts_of_the_same_corpus():
    clear = [aligned(-0.3, -2 - i / 100) for i in range(50)]
    vague = [aligned(-1.5, -1 - i / 100, source="noisy/en") for i in range(50)]
    doubtful = [aligned(-0.3, -2, consistent=False), aligned(-2.2, -2)]
    assert alignment.select_trusted(clear + vague + doubtful) == clear


def tone(spoken: bool) -> np.ndarray:
    return 0.3 * np.sin(np.arange(SAMPLE_RATE // 4) * 0.1) * spoken


def test_vowels_aligned_to_silence_are_inconsistent():
    pcm = np.concatenate([tone(False), tone(True), tone(True), tone(True), tone(False)])
    pcm = (pcm + np.random.default_rng(0).normal(0, 1e-4, len(pcm))).astype(np.float32)
    right = ["SIL", "AA", "M", "IY", "SIL"]
    late = ["SIL", "SIL", "AA", "M", "IY"]  # its last vowel is where there is silence
    for names, expected in ((right, True), (late, False)):
        segments = [(p, i / 4, (i + 1) / 4) for i, p in enumerate(names)]
        assert alignment.is_consistent(Speech(pcm, segments, "x")) is expected


@pytest.mark.parametrize("closed", [True, False])
def test_a_closure_aligned_to_a_loud_vowel_is_inconsistent(closed):
    pcm = np.concatenate([tone(True), tone(not closed), tone(True), tone(False)])
    pcm = (pcm + np.random.default_rng(0).normal(0, 1e-4, len(pcm))).astype(np.float32)
    segments = [(p, i / 4, (i + 1) / 4) for i, p in enumerate(["AA", "P", "IY", "SIL"])]
    assert alignment.is_consistent(Speech(pcm, segments, "x")) is closed
