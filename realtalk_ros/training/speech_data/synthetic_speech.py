# SPDX-License-Identifier: Apache-2.0
"""Random speech of the synthesis engines, and recordings in which nobody speaks."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from scipy import signal

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Speech
from realtalk_ros.training.speech_data.prompts import SENTENCES, pseudo_sentence, utterance
from realtalk_ros.training.speech_data.tts_engines import FESTIVAL_VOICES, Festival, Flite, espeak
from realtalk_ros.training.speech_data.waveform_augment import Sounds, noise, unit_power

# espeak-ng's voices and the languages of the texts that they read. German and Greek are held out.
ESPEAK_VOICES = {
    "en-us": "en", "en-gb-x-rp": "en", "es-419": "es", "es": "es", "fr": "fr", "it": "it",
    "ru": "ru", "pt-br": "pt_BR", "nl": "nl", "sv": "sv", "cs": "cs", "pl": "pl", "bg": "bg",
    "tr": "tr", "hu": "hu", "fi": "fi", "ro": "ro", "uk": "uk", "hi": "hi", "cmn": "zh_CN",
    "vi": "vi", "ko": "ko", "ar": "ar", "id": "id",
}  # fmt: skip
ESPEAK_VARIANTS = "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2".split()
HELD_OUT_ESPEAK = {"de": "de"}
# slt is the speaker of the held-out engine, rms the held-out voice.
FLITE_VOICES = ("kal16", "awb", "kal", "awb")
HELD_OUT_FLITE = ("rms",)
HELD_OUT_FESTIVAL = ("cmu_us_slt_arctic_hts", "upc_ca_ona_hts")  # the statistical engine, HTS
FESTIVAL_TRAINING = tuple(v for v in FESTIVAL_VOICES if v not in HELD_OUT_FESTIVAL)

_MIN_SEGMENTS = 5  # of an utterance
_FESTIVAL_BATCH = 20  # texts that a voice reads once it is loaded

Texts = dict[str, list[str]]  # language -> texts


def _draw_text(pool: list[str], rng: random.Random) -> str:
    return utterance(pool, rng) if rng.random() < 0.8 else pseudo_sentence(rng)


def espeak_speech(
    seconds: float, voices: dict[str, str], texts: Texts, seed: int
) -> Iterator[Speech]:
    """voices: espeak-ng's name -> language of the texts."""
    engine, rng, total = espeak(), random.Random(seed), 0.0
    names = [voice for voice, language in voices.items() if texts.get(language)]
    while names and total < seconds:
        voice = rng.choice(names)
        text = _draw_text(texts[voices[voice]], rng)
        speech = engine.speak(
            text, f"{voice}+{rng.choice(ESPEAK_VARIANTS)}",
            words_per_minute=int(rng.triangular(110, 320, 175)), pitch=rng.randint(15, 85),
            pitch_range=rng.randint(20, 90),
        )  # fmt: skip
        speech.source = f"espeak/{voice}"
        if len(speech.segments) >= _MIN_SEGMENTS:
            total += len(speech.pcm) / SAMPLE_RATE
            yield speech


def flite_speech(
    seconds: float, voices: tuple[str, ...], texts: Texts, seed: int
) -> Iterator[Speech]:
    """English texts and made-up words by random voices."""
    engine, rng, total = Flite(), random.Random(seed), 0.0
    pool = texts.get("en", []) + SENTENCES * 3
    while total < seconds:
        voice = rng.choice(voices)
        text = _draw_text(pool, rng)
        f0 = rng.uniform(80, 220) if voice.startswith("kal") else None
        speech = engine.speak(text, voice, rng.uniform(0.75, 1.3), f0)
        if len(speech.segments) >= _MIN_SEGMENTS:
            total += len(speech.pcm) / SAMPLE_RATE
            yield speech


def festival_speech(
    seconds: float, voices: tuple[str, ...], texts: Texts, seed: int
) -> Iterator[Speech]:
    """The voices in turn, each reading in its language at several speeds."""
    engine, rng, total = Festival(), random.Random(seed), 0.0
    while total < seconds:
        for voice in voices:
            pool = texts.get(FESTIVAL_VOICES[voice].language)
            if not pool:
                raise RealTalkError(f"no texts for festival's voice {voice}: give --packages")
            batch = [utterance(pool, rng) for _ in range(_FESTIVAL_BATCH)]
            for speech in engine.speak(batch, voice, rng.uniform(0.75, 1.35)):
                total += len(speech.pcm) / SAMPLE_RATE
                yield speech
            if total >= seconds:
                return


def _hum(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) a steady tone of up to 8 harmonics and nothing else, unit power."""
    t = np.arange(n) / SAMPLE_RATE
    pitch = rng.choice([50, 60, 100, 120, rng.uniform(40, 1000)])
    x = sum(
        rng.uniform(0, 1) * np.sin(2 * np.pi * pitch * k * t + rng.uniform(0, 6)) / k
        for k in range(1, int(rng.integers(2, 10)))
    )
    return unit_power(np.asarray(x))


def _breaths(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) breathing: noise of a broad band that swells for 0.4 to 1.5 s, power of some 1."""
    low = rng.uniform(200, 900)
    band = signal.butter(
        1, [low, low * rng.uniform(2, 7)], "bandpass", fs=SAMPLE_RATE, output="sos"
    )
    x = signal.sosfilt(band, rng.standard_normal(n))
    envelope, at = np.zeros(n), 0
    while at < n:
        length = int(SAMPLE_RATE * rng.uniform(0.4, 1.5))
        shape = np.sin(np.pi * np.arange(length) / length) ** 2
        envelope[at : at + length] = shape[: n - at] * rng.uniform(0.3, 1)
        at += length + int(SAMPLE_RATE * rng.uniform(0.1, 1.5))
    return unit_power(x) * envelope


def _switched(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) 0..1, on one to three times, at once or within 0.2 s."""
    gate = np.zeros(n)
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(n))
        gate[start : start + int(SAMPLE_RATE * rng.uniform(0.1, 4))] = 1
    ramp = int(SAMPLE_RATE * rng.choice([0, rng.uniform(0, 0.2)])) + 1
    return np.asarray(signal.lfilter(np.full(ramp, 1 / ramp), [1], gate))


def stillness(seconds: float, seed: int, sounds: Sounds = ()) -> Iterator[Speech]:
    """Silence and every kind of noise at every level: nobody speaks.

    A noise may begin and end, after digital silence or over another that is fainter.
    """
    rng = np.random.default_rng(seed)
    for _ in range(int(seconds / 6)):
        n = int(SAMPLE_RATE * rng.uniform(4, 8))
        level = 0.0 if rng.random() < 0.1 else 10 ** (-rng.uniform(12, 85) / 20)
        kind = rng.choice(4, p=[0.6, 0.15, 0.1, 0.15])
        if kind == 1:
            x = _hum(n, rng)
        elif kind == 2:
            x = _breaths(n, rng)
        elif kind == 3:
            x = rng.standard_normal(n)
        else:
            x = noise(n, rng, sounds)
        if rng.random() < 0.4:
            x = x * _switched(n, rng)
        if rng.random() < 0.4:
            x = x + noise(n, rng, sounds) * 10 ** (-rng.uniform(5, 40) / 20)
        pcm = np.clip(x * level, -1, 1).astype(np.float32)
        yield Speech(pcm, [(ph.SIL, 0.0, n / SAMPLE_RATE)], "noise")
