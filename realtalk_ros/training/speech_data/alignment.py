"""Forced alignment of recordings to their texts with pocketsphinx (training side)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from realtalk_ros.errors import AudioError
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data import viterbi
from realtalk_ros.training.speech_data.corpora import Clip, read_clip
from realtalk_ros.training.speech_data.dataset import (
    RATE,
    Segment,
    Speech,
    between,
    finish,
    level_db,
)
from realtalk_ros.training.speech_data.tts_engines import Espeak, espeak


class Aligner:
    """Forced alignment with pocketsphinx's bundled en-US acoustic model, for any language.

    A word that its dictionary lacks, and every word of another language, is spelled by espeak-ng;
    the model then hears it with the nearest English phones.
    """

    _TO_ENGLISH = {"UE": "UW", "OE": "ER", "BH": "V"}
    _PAD = int(0.2 * RATE)  # silence at both ends: the model wants some

    def __init__(self, espeak: Espeak) -> None:
        import pocketsphinx

        self._decoder = pocketsphinx.Decoder(
            samprate=RATE, bestpath=False, loglevel="FATAL", backtrace=False,
            beam=1e-80, wbeam=1e-60, pbeam=1e-80,
        )  # fmt: skip
        self._espeak = espeak
        self._spelled: dict[tuple[str, str], str | None] = {}
        self._phones: dict[str, list[str]] = {}

    def _word(self, word: str, voice: str) -> str | None:
        """The decoder's name of a word, or None for one that has no sound."""
        if voice.startswith("en") and self._decoder.lookup_word(word) is not None:
            return word
        key = (word, voice)
        if key not in self._spelled:
            spelled = self._espeak.pronounce(word, voice)
            self._spelled[key] = None
            if spelled:
                name = f"x{len(self._spelled)}x"
                english = " ".join(self._TO_ENGLISH.get(p, p) for p in spelled)
                self._decoder.add_word(name, english, True)
                self._spelled[key] = name
                self._phones[name] = spelled
        return self._spelled[key]

    def align(self, pcm: np.ndarray, text: str, voice: str) -> tuple[list[Segment], float] | None:
        """Segments and the mean acoustic score a frame; None where the decoder found no path."""
        text = re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", text.lower().replace("’", "'"))
        words = [self._word(w, voice) for w in re.findall(r"[^\W_]+(?:'[^\W\d_]+)*", text)]
        words = [w for w in words if w]
        if not words:
            return None
        loud = pcm * (0.2 / max(float(np.abs(pcm).max()), 1e-4))
        padded = np.concatenate([np.zeros(self._PAD), loud * 3, np.zeros(self._PAD)])
        # A little noise: digital silence has no meaningful cepstrum.
        padded += np.random.default_rng(0).normal(0, 2e-4, len(padded))
        raw = (np.clip(padded, -1, 1) * 32767).astype("<i2").tobytes()
        decoder = self._decoder
        decoder.set_align_text(" ".join(words))
        self._decode(raw)
        if decoder.hyp() is None:
            return None
        try:
            decoder.set_alignment()
        except RuntimeError:
            return None
        self._decode(raw)
        alignment = decoder.get_alignment()
        if alignment is None:
            return None
        segments, score, frames = [], 0.0, 0
        offset = self._PAD / RATE
        for word in alignment:
            found = list(word)
            known = self._phones.get(word.name)
            for i, phone in enumerate(found):
                name = phone.name if phone.name in ph.PHONE_INDEX else ph.SIL
                if known and len(known) == len(found):
                    name = known[i]  # espeak-ng's own phone: rounding that English lacks
                start = phone.start / 100 - offset
                segments.append((name, start, start + phone.duration / 100))
                if name != ph.SIL:
                    score += phone.score
                    frames += phone.duration
        segments = [(p, max(s, 0.0), e) for p, s, e in segments if e > 0]
        return segments, score / max(frames, 1)

    def _decode(self, raw: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()


def trustworthy(speech: Speech) -> bool:
    """Whether an alignment is consistent with its sound: loud vowels, quiet silences,
    closed lips heard, few stubs."""
    level = level_db(speech.pcm * 32768, RATE)
    peak = np.percentile(level, 95)
    spoken = [s for s in speech.segments if s[0] != ph.SIL]
    if len(spoken) < 3 or len(level) < 20:
        return False
    vowels = [between(level, s, e).mean() for p, s, e in spoken if p in ph.VOWELS]
    silences = [between(level, s, e).mean() for p, s, e in speech.segments
                if p == ph.SIL and e - s > 0.1]  # fmt: skip
    stubs = np.mean([e - s <= 0.031 for _, s, e in spoken])
    longest = max(e - s for _, s, e in spoken)
    quiet_vowels = np.mean([v < peak - 22 for v in vowels]) if vowels else 1.0
    loud_silences = np.mean([v > peak - 12 for v in silences]) if silences else 0.0
    # A p or b between sounds is quieter than both; a lenited one, as in Spanish, may not be.
    around = zip(speech.segments, speech.segments[1:], speech.segments[2:], strict=False)
    closures = [
        np.median(between(level, *here[1:]))
        < min(between(level, *before[1:]).mean(), between(level, *after[1:]).mean())
        for before, here, after in around
        if here[0] in "PB" and ph.SIL not in (before[0], after[0])
    ]
    if closures and np.mean(closures) < 0.6:
        return False
    return bool(quiet_vowels < 0.2 and loud_silences < 0.34 and stubs < 0.5 and longest < 0.8)


def align_clip(aligner: Aligner, pcm: np.ndarray, text: str, voice: str, source: str):
    """Speech with aligned segments, or None where the alignment cannot be trusted."""
    result = aligner.align(pcm, text, voice) if len(pcm) > RATE // 4 else None
    if result is None or result[1] < _WORST_SCORE:
        return None
    speech = finish(pcm, result[0], source)
    return speech if trustworthy(speech) else None


_WORST_SCORE = -45.0  # a frame; wrong text has a median of about that, right text -31 (measured)


@dataclass
class Alignment:
    """A recording with the times of its phones, and how well its own and another text fit it."""

    clip: Clip
    segments: list[Segment]
    score: float  # of its text, at most 0
    wrong: float  # of another text of the same corpus and about the same length
    consistent: bool  # with its own sound, see `trustworthy`


class Hearing(Protocol):
    """A recogniser: phone_recogniser.Recogniser, pretrained_recogniser.InstalledHearing."""

    def scores(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) 16 kHz PCM -> (m, phones) likelihoods every 10 ms, as viterbi.py wants them."""


def align_clips(clips: Sequence[Clip], recogniser: Hearing, cache: Path) -> list[Alignment]:
    """Aligns every clip that can be read and is long enough for its text.

    Resumable: `cache` gets a JSON line a clip; it belongs to one recogniser.
    """
    done: dict[str, dict] = {}
    if cache.is_file():
        for line in cache.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # cut off by an interrupt: done again
                continue
            done[row["path"]] = row
    words = [espeak().words(_first(_spoken_text(c.text)), c.voice) for c in clips]
    others = _other_texts(clips, words)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with open(cache, "a") as file:
        for i, clip in enumerate(tqdm(clips, "align", unit="clip")):
            if str(clip.path) in done:
                continue
            row = {"path": str(clip.path)} | _align_one(clip, words[i], others[i], recogniser)
            done[row["path"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
    out = []
    for clip in clips:
        row = done[str(clip.path)]
        if row["segments"]:
            segments = [(p, s, e) for p, s, e in row["segments"]]
            out.append(Alignment(clip, segments, row["score"], row["wrong"], row["consistent"]))
    return out


def trusted(alignments: Sequence[Alignment]) -> list[Alignment]:
    """Those that fit their own text better than all but 2 % of a corpus fit another text."""
    everything = np.array([a.wrong for a in alignments])
    by_source: dict[str, list[Alignment]] = {}
    for alignment in alignments:
        by_source.setdefault(alignment.clip.source, []).append(alignment)
    kept = []
    for group in by_source.values():
        wrong = np.array([a.wrong for a in group]) if len(group) >= _ENOUGH else everything
        worst = np.quantile(wrong, 1 - _WRONG_ACCEPTED)
        kept += [a for a in group if a.consistent and a.score > worst]
    return kept


_WRONG_ACCEPTED = 0.02
_ENOUGH = 40  # clips that tell a corpus's own threshold


_CHOICE = re.compile(r"\{([^{}]*)\}")


def _first(text: str) -> str:
    """A text with choices, "{a|an} egg", by the first of each."""
    return _CHOICE.sub(lambda choice: choice[1].split("|")[0], text)


def _settle(text: str, voice: str, scores: np.ndarray) -> list[list[str]]:
    """The words of a text, by those of its choices that fit the sound best: each is tried with the
    others as they are, twice, since one that is wrong moves its neighbours."""

    @functools.cache  # most texts come up again
    def fit(text: str) -> float:
        segments = viterbi.force(scores, espeak().words(text, voice))
        return viterbi.path_score(scores, segments) if segments else -np.inf

    parts = _CHOICE.split(text)
    options = {i: parts[i].split("|") for i in range(1, len(parts), 2)}
    parts[1::2] = [option[0] for option in options.values()]
    for i in [*options, *options]:
        tried = {o: fit("".join([*parts[:i], o, *parts[i + 1 :]])) for o in options[i]}
        parts[i] = max(tried, key=tried.__getitem__)
    return espeak().words("".join(parts), voice)


def _spoken_text(text: str) -> str:
    """A transcript without stage directions."""
    return re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", text.replace("\u2019", "'"))


def _other_texts(clips: Sequence[Clip], words: list[list[list[str]]]) -> list[list[list[str]]]:
    """For every clip the words of another of its corpus, of the nearest number of phones."""
    others = list(words)
    length = [sum(map(len, w)) for w in words]
    by_source: dict[str, list[int]] = {}
    for i in sorted(range(len(clips)), key=lambda i: (length[i], clips[i].text)):
        by_source.setdefault(clips[i].source, []).append(i)
    for group in by_source.values():
        for rank, i in enumerate(group):
            around = group[rank + 1 :] + group[:rank][::-1]
            others[i] = next((words[k] for k in around if words[k] != words[i]), [])
    return others


def _align_one(
    clip: Clip, words: list[list[str]], other: list[list[str]], recogniser: Hearing
) -> dict:
    nothing = {"segments": None}
    try:
        pcm = read_clip(clip.path)
    except AudioError:
        return nothing
    if not RATE // 4 < len(pcm) < 60 * RATE:
        return nothing
    scores = recogniser.scores(pcm)
    if "{" in clip.text:
        words = _settle(clip.text, clip.voice, scores)
    segments = viterbi.force(scores, words)
    if segments is None:
        return nothing
    speech = finish(pcm, segments, clip.source)
    wrong = viterbi.force(scores, other)
    return {
        "segments": [(p, round(s, 4), round(e, 4)) for p, s, e in speech.segments],
        "score": viterbi.spoken_score(scores, segments),
        "wrong": viterbi.spoken_score(scores, wrong) if wrong else viterbi.WORST,
        "consistent": trustworthy(speech),
    }
