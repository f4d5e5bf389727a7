# SPDX-License-Identifier: Apache-2.0
"""Forced alignment with pocketsphinx and its bundled English model."""

from __future__ import annotations

import re

import numpy as np

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Segment
from realtalk_ros.training.speech_data.tts_engines import Espeak

_NEAREST_ENGLISH = {"UE": "UW", "OE": "ER", "BH": "V"}
_PADDING = int(0.2 * SAMPLE_RATE)  # of silence at both ends, which the model wants
_FRAME_RATE = 100  # frames a second of pocketsphinx


def spoken_text(text: str) -> str:
    """A transcript without stage directions."""
    return re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", text.replace("\u2019", "'"))


class PocketsphinxAligner:
    """Aligns any language, by the nearest English phones.

    A word that the dictionary lacks, and every word of another language, is spelled by espeak-ng.
    """

    def __init__(self, espeak: Espeak) -> None:
        import pocketsphinx

        self._decoder = pocketsphinx.Decoder(
            samprate=SAMPLE_RATE, bestpath=False, loglevel="FATAL", backtrace=False,
            beam=1e-80, wbeam=1e-60, pbeam=1e-80,
        )  # fmt: skip
        self._espeak = espeak
        self._spelled: dict[tuple[str, str], str | None] = {}
        self._phones: dict[str, list[str]] = {}

    def _decoder_word(self, word: str, voice: str) -> str | None:
        """The decoder's name of a word, or None for one that has no sound."""
        if voice.startswith("en") and self._decoder.lookup_word(word) is not None:
            return word
        key = (word, voice)
        if key not in self._spelled:
            phones = self._espeak.pronounce(word, voice)
            self._spelled[key] = None
            if phones:
                name = f"x{len(self._spelled)}x"
                english = " ".join(_NEAREST_ENGLISH.get(phone, phone) for phone in phones)
                self._decoder.add_word(name, english, True)
                self._spelled[key] = name
                self._phones[name] = phones
        return self._spelled[key]

    def align(self, pcm: np.ndarray, text: str, voice: str) -> tuple[list[Segment], float] | None:
        """Segments and the mean acoustic score a frame; None where the decoder found no path."""
        spelled = re.findall(r"[^\W_]+(?:'[^\W\d_]+)*", spoken_text(text.lower()))
        words = [name for word in spelled if (name := self._decoder_word(word, voice))]
        if not words:
            return None
        raw = _prepare(pcm)
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
        return None if alignment is None else self._read(alignment)

    def _read(self, alignment) -> tuple[list[Segment], float]:
        segments, score, frames = [], 0.0, 0
        offset = _PADDING / SAMPLE_RATE
        for word in alignment:
            found = list(word)
            own = self._phones.get(word.name)
            for i, phone in enumerate(found):
                name = phone.name if phone.name in ph.PHONE_INDEX else ph.SIL
                if own and len(own) == len(found):
                    name = own[i]  # espeak-ng's own phone: rounding that English lacks
                start = phone.start / _FRAME_RATE - offset
                segments.append((name, start, start + phone.duration / _FRAME_RATE))
                if name != ph.SIL:
                    score += phone.score
                    frames += phone.duration
        segments = [(phone, max(start, 0.0), end) for phone, start, end in segments if end > 0]
        return segments, score / max(frames, 1)

    def _decode(self, raw: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()


def _prepare(pcm: np.ndarray) -> bytes:
    """Normalised and padded int16. A little noise: digital silence has no meaningful cepstrum."""
    loud = pcm * (0.2 / max(float(np.abs(pcm).max()), 1e-4))
    padded = np.concatenate([np.zeros(_PADDING), loud * 3, np.zeros(_PADDING)])
    padded += np.random.default_rng(0).normal(0, 2e-4, len(padded))
    return (np.clip(padded, -1, 1) * 32767).astype("<i2").tobytes()
