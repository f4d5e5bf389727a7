# SPDX-License-Identifier: Apache-2.0
"""Forced alignment of recordings to their texts, and which alignments can be trusted. Which aligner
runs when, and the final phone times, are in build.py (`Builder.align`)."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.errors import AudioError
from realtalk_ros.training.common.json_lines import appended, read_rows
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data import viterbi
from realtalk_ros.training.speech_data.corpora import Recording, read_recording
from realtalk_ros.training.speech_data.dataset import (
    Segment,
    Speech,
    level_between,
    level_db,
    make_speech,
)
from realtalk_ros.training.speech_data.pocketsphinx_aligner import PocketsphinxAligner, spoken_text
from realtalk_ros.training.speech_data.tts_engines import espeak

_MIN_SCORE = -45.0  # of pocketsphinx; another text has a median of that, the right one -31
_ACCEPTED = 0.02  # share of other texts that may pass as the right one
_MIN_GROUP = 40  # recordings that give a source a threshold of its own
_MIN_SECONDS, _MAX_SECONDS = 0.25, 60.0  # of a recording that is aligned
# What of an alignment does not fit its audio, and which share of that makes it a wrong one. Levels
# in dB below what 5 % of the audio exceeds.
_QUIET_VOWEL, _MAX_QUIET_VOWELS = 22.0, 0.2
_LOUD_SILENCE, _MAX_LOUD_SILENCES = 12.0, 0.34
_SILENCE = 0.1  # s, shorter ones do not count
_MIN_QUIET_CLOSURES = 0.6
_STUB, _MAX_STUBS = 0.031, 0.5  # s of a phone: pocketsphinx's least are three frames of 10 ms
_LONGEST_PHONE = 0.8  # s

Words = list[list[str]]  # phones of each word


def is_consistent(speech: Speech) -> bool:
    """Whether an alignment fits its audio: loud vowels, quiet silences, quiet closures and few
    stubs."""
    level = level_db(speech.pcm * 32768, SAMPLE_RATE)
    peak = np.percentile(level, 95)
    spoken = [s for s in speech.segments if s[0] != ph.SIL]
    if len(spoken) < 3 or len(level) < 20:
        return False
    vowels = [level_between(level, s, e).mean() for p, s, e in spoken if p in ph.VOWELS]
    silences = [level_between(level, s, e).mean() for p, s, e in speech.segments
                if p == ph.SIL and e - s > _SILENCE]  # fmt: skip
    closures = _quiet_closures(speech.segments, level)
    return bool(
        _share([v < peak - _QUIET_VOWEL for v in vowels], none=1.0) < _MAX_QUIET_VOWELS
        and _share([v > peak - _LOUD_SILENCE for v in silences], none=0.0) < _MAX_LOUD_SILENCES
        and _share(closures, none=1.0) >= _MIN_QUIET_CLOSURES
        and _share([e - s <= _STUB for _, s, e in spoken], none=0.0) < _MAX_STUBS
        and max(e - s for _, s, e in spoken) < _LONGEST_PHONE
    )


def _share(found: Sequence[bool], none: float) -> float:
    """Of them that are true; `none` where there are none."""
    return float(np.mean(found)) if found else none


def _quiet_closures(segments: Sequence[Segment], level: np.ndarray) -> list[bool]:
    """Whether each p and b between sounds is quieter than both; a lenited one may not be."""

    def mean(segment: Segment) -> float:
        return level_between(level, *segment[1:]).mean()

    return [
        np.median(level_between(level, *segment[1:])) < min(mean(before), mean(after))
        for before, segment, after in zip(segments, segments[1:], segments[2:], strict=False)
        if segment[0] in "PB" and ph.SIL not in (before[0], after[0])
    ]


def align_recording(
    aligner: PocketsphinxAligner, pcm: np.ndarray, text: str, voice: str, source: str
) -> Speech | None:
    """Speech with aligned segments, or None where the alignment cannot be trusted."""
    if len(pcm) <= _MIN_SECONDS * SAMPLE_RATE:
        return None
    result = aligner.align(pcm, text, voice)
    if result is None or result[1] < _MIN_SCORE:
        return None
    speech = make_speech(pcm, result[0], source)
    return speech if is_consistent(speech) else None


@dataclass
class Alignment:
    """A recording with the times of its phones, and how well its own and another text fit it."""

    recording: Recording
    segments: list[Segment]
    score: float  # of its text, at most 0
    wrong_score: float  # of another text of the same source and about the same length
    consistent: bool  # with its audio, see `is_consistent`

    @property
    def seconds(self) -> float:
        return self.segments[-1][2]


class PhoneLikelihoods(Protocol):
    """PhoneRecogniser, or expression/pretrained_recogniser.py's PretrainedRecogniser."""

    def scores(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) 16 kHz PCM -> (m, phones) likelihoods every 10 ms, as viterbi.py wants them."""


def align_recordings(
    recordings: Sequence[Recording], recogniser: PhoneLikelihoods, cache: Path
) -> list[Alignment]:
    """Aligns every recording that can be read and is long enough for its text.

    Resumable: `cache` gets a JSON line a recording; it belongs to one recogniser.
    """
    done = read_rows(cache, "path")
    texts = [_first_choice(spoken_text(recording.text)) for recording in recordings]
    words = [espeak().words(t, r.voice) for t, r in zip(texts, recordings, strict=True)]
    others = _other_texts(recordings, words)
    with appended(cache) as write:
        for i, recording in enumerate(tqdm(recordings, "align", unit="clip")):
            path = str(recording.path)
            if path not in done:
                done[path] = {"path": path} | _align_one(recording, words[i], others[i], recogniser)
                write(done[path])
    out = []
    for recording in recordings:
        row = done[str(recording.path)]
        if row["segments"]:
            segments = [(phone, start, end) for phone, start, end in row["segments"]]
            scores = row["score"], row["wrong"], row["consistent"]
            out.append(Alignment(recording, segments, *scores))
    return out


def select_trusted(alignments: Sequence[Alignment]) -> list[Alignment]:
    """Those that fit their own text better than all but 2 % of a source fit another text."""
    all_wrong = np.array([a.wrong_score for a in alignments])
    by_source: dict[str, list[Alignment]] = {}
    for alignment in alignments:
        by_source.setdefault(alignment.recording.source, []).append(alignment)
    trusted = []
    for group in by_source.values():
        wrong = np.array([a.wrong_score for a in group]) if len(group) >= _MIN_GROUP else all_wrong
        threshold = np.quantile(wrong, 1 - _ACCEPTED)
        trusted += [a for a in group if a.consistent and a.score > threshold]
    return trusted


_CHOICE = re.compile(r"\{([^{}]*)\}")


def _first_choice(text: str) -> str:
    """A text with choices, "{a|an} egg", by the first of each."""
    return _CHOICE.sub(lambda choice: choice[1].split("|")[0], text)


def _best_choices(text: str, voice: str, scores: np.ndarray) -> Words:
    """The words of a text by those of its choices that fit the audio best.

    Each choice is tried with the others as they are, twice, since a wrong one moves its neighbours.
    """

    @functools.cache  # most texts come up again
    def fit(text: str) -> float:
        segments = viterbi.force_align(scores, espeak().words(text, voice))
        return viterbi.path_score(scores, segments) if segments else -np.inf

    parts = _CHOICE.split(text)
    options = {i: parts[i].split("|") for i in range(1, len(parts), 2)}
    parts[1::2] = [option[0] for option in options.values()]
    for i in [*options, *options]:
        tried = {o: fit("".join([*parts[:i], o, *parts[i + 1 :]])) for o in options[i]}
        parts[i] = max(tried, key=tried.__getitem__)
    return espeak().words("".join(parts), voice)


def _other_texts(recordings: Sequence[Recording], words: list[Words]) -> list[Words]:
    """For every recording the words of another of its source, of the nearest number of phones."""
    others = list(words)
    length = [sum(map(len, w)) for w in words]
    by_source: dict[str, list[int]] = {}
    for i in sorted(range(len(recordings)), key=lambda i: (length[i], recordings[i].text)):
        by_source.setdefault(recordings[i].source, []).append(i)
    for group in by_source.values():
        for rank, i in enumerate(group):
            around = group[rank + 1 :] + group[:rank][::-1]
            others[i] = next((words[k] for k in around if words[k] != words[i]), [])
    return others


def _align_one(
    recording: Recording, words: Words, other: Words, recogniser: PhoneLikelihoods
) -> dict:
    """One row of the cache, without its path."""
    nothing = {"segments": None}
    try:
        pcm = read_recording(recording.path)
    except AudioError:
        return nothing
    if not _MIN_SECONDS * SAMPLE_RATE < len(pcm) < _MAX_SECONDS * SAMPLE_RATE:
        return nothing
    scores = recogniser.scores(pcm)
    if "{" in recording.text:
        words = _best_choices(recording.text, recording.voice, scores)
    segments = viterbi.force_align(scores, words)
    if segments is None:
        return nothing
    speech = make_speech(pcm, segments, recording.source)
    wrong = viterbi.force_align(scores, other)
    return {
        "segments": [(p, round(s, 4), round(e, 4)) for p, s, e in speech.segments],
        "score": viterbi.spoken_score(scores, segments),
        "wrong": viterbi.spoken_score(scores, wrong) if wrong else viterbi.WORST,
        "consistent": is_consistent(speech),
    }
