# SPDX-License-Identifier: Apache-2.0
"""Music and mains hum, made by additive synthesis: tones that have pitch and harmonics as a voice
has, and that no lips are to follow.

Music is chords and melodies in a key, with vibrato and accents, over a bass and drums or without.
`HELD_OUT_INSTRUMENTS` sound by other means of synthesis, and are for tests alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import signal

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Speech
from realtalk_ros.training.speech_data.waveform_augment import noise, unit_power

HUM_SHARE = 0.3  # of the recordings; the others are music
KEYS = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # semitones: major, minor
LOWEST = 55.0  # Hz
LEVELS = (8.0, 60.0)  # dB under full scale
Instrument = Callable[[float, np.ndarray, np.random.Generator], np.ndarray]


def _harmonics(
    phase: np.ndarray, pitch: float, powers: np.ndarray, stretch: float = 0.0
) -> np.ndarray:
    """(n,) of a phase (n,) in periods; harmonic k of amplitude powers[k - 1]; `stretch`: of a
    string that is stiff, whose partials are k sqrt(1 + stretch k^2)."""
    out = np.zeros(len(phase))
    for k, power in enumerate(powers, 1):
        partial = k * np.sqrt(1 + stretch * k * k)
        if partial * pitch < 0.45 * SAMPLE_RATE:
            out += power * np.sin(2 * np.pi * partial * phase)
    return out


def _swell(t: np.ndarray, attack: float, release: float) -> np.ndarray:
    return np.asarray(np.clip(np.minimum(t / attack, (t[-1] - t) / release), 0, 1))


def _bowed(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strings: all harmonics, vibrato that sets in late, a body's resonances."""
    rate, depth = rng.uniform(4.5, 7), rng.uniform(0, 0.012) * np.clip(t / 0.3, 0, 1)
    phase = np.cumsum(pitch * (1 + depth * np.sin(2 * np.pi * rate * t))) / SAMPLE_RATE
    k = np.arange(1, 20)
    body = 1 + rng.uniform(0, 2, len(k))
    return _harmonics(phase, pitch, body / k ** rng.uniform(0.8, 1.5)) * _swell(t, 0.1, 0.08)


def _blown(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flute, clarinet (odd harmonics alone) or brass, and the breath in it."""
    k = np.arange(1, 14)
    powers = (np.exp(-1.2 * (k - 1)), (k % 2) / k, np.exp(-0.25 * (k - 1)))[int(rng.integers(3))]
    wobble = 1 + rng.uniform(0, 0.15) * np.sin(2 * np.pi * rng.uniform(4, 6) * t)
    tone = _harmonics(pitch * t, pitch, powers) * wobble
    breath = 0.02 * rng.uniform(0, 1) * rng.standard_normal(len(t))
    return (tone + breath) * _swell(t, rng.uniform(0.02, 0.1), 0.05)


def _struck(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Piano, harpsichord or harp: upper partials die sooner, and are a little too high."""
    k = np.arange(1, 12)
    fade, out = rng.uniform(0.8, 4), np.zeros(len(t))
    for each, power in zip(k, 1 / k ** rng.uniform(0.7, 2), strict=True):
        only = np.where(k == each, power, 0)
        out += _harmonics(pitch * t, pitch, only, 4e-4) * np.exp(-fade * each**0.7 * t)
    return out * _swell(t, 0.004, 0.02)


def _organ(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pipes at octaves and fifths."""
    stops = np.array([1, 2, 3, 4, 6, 8])[rng.random(6) < 0.6]
    powers = np.zeros(8)
    powers[[0, *(stops - 1)]] = 1.0
    return _harmonics(pitch * t, pitch, powers) * _swell(t, 0.03, 0.05)


def _bell(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bells and bars, whose partials are no multiples."""
    out = np.zeros(len(t))
    for ratio in (1, 2.76, 5.4, 8.9) if rng.random() < 0.5 else (0.5, 1, 1.2, 1.5, 2, 2.6):
        if ratio * pitch < 0.45 * SAMPLE_RATE:
            out += np.sin(2 * np.pi * ratio * pitch * t) * np.exp(-rng.uniform(1, 3) * ratio * t)
    return out


def _plucked(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A string after Karplus and Strong (1983): noise that runs round a delay line."""
    delay = max(2, round(SAMPLE_RATE / pitch))
    burst = np.zeros(len(t))
    burst[:delay] = rng.uniform(-1, 1, min(delay, len(t)))
    feedback = np.zeros(delay + 2)
    feedback[0], feedback[delay:] = 1, -0.497
    return np.asarray(signal.lfilter([1.0], feedback, burst)) * _swell(t, 0.001, 0.02)


def _modulated(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frequency modulation (Chowning 1973): brass, reeds, electric pianos."""
    ratio, index = float(rng.choice([0.5, 1, 2, 3])), rng.uniform(0.5, 5) * _swell(t, 0.05, 0.1)
    phase = pitch * t + index / (2 * np.pi) * np.sin(2 * np.pi * ratio * pitch * t)
    return np.asarray(np.sin(2 * np.pi * phase)) * _swell(t, 0.02, 0.05)


def _swept(pitch: float, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A synthesizer: a saw or a square behind a low-pass filter."""
    wave = signal.sawtooth(2 * np.pi * pitch * t, float(rng.choice([0.5, 1])))
    wave = np.sign(wave) if rng.random() < 0.5 else wave
    low = signal.butter(2, rng.uniform(400, 4000), fs=SAMPLE_RATE, output="sos")
    return np.asarray(signal.sosfilt(low, wave)) * _swell(t, 0.01, 0.05)


INSTRUMENTS: tuple[Instrument, ...] = (_bowed, _blown, _struck, _organ, _bell)
HELD_OUT_INSTRUMENTS: tuple[Instrument, ...] = (_plucked, _modulated, _swept)


def hum(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) of the mains and what hangs on them: 50 or 60 Hz, up to 30 harmonics, of which the even
    ones prevail behind a rectifier; a drift in level, and hiss. Unit power."""
    t = np.arange(n) / SAMPLE_RATE
    mains = float(rng.choice([50, 60])) * (1 + rng.normal(0, 0.002))
    k = np.arange(1, int(rng.integers(2, 31)))
    powers = rng.uniform(0.1, 1, len(k)) / k ** rng.uniform(0.2, 1.8)
    powers *= np.where(k % 2, rng.uniform(0.02, 1), 1)
    x = _harmonics(mains * t, mains, powers)
    x = x * (1 + rng.uniform(0, 0.3) * np.sin(2 * np.pi * rng.uniform(0.1, 3) * t))
    return unit_power(unit_power(x) + rng.uniform(0, 0.3) * rng.standard_normal(n))


def _voice(
    n: int, key: tuple[int, ...], beat: float, instruments: tuple[Instrument, ...],
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """(n,) one instrument's notes or chords."""
    play = instruments[int(rng.integers(len(instruments)))]
    octave, step = int(rng.integers(1, 5)), int(rng.integers(7))
    together = int(rng.integers(2, 5)) if rng.random() < 0.4 else 1
    out, at = np.zeros(n), int(rng.uniform(0, beat) * SAMPLE_RATE)
    while at < n:
        length = beat * float(rng.choice([0.25, 0.5, 1, 2, 4]))
        t = np.arange(max(64, int(SAMPLE_RATE * length * rng.uniform(0.7, 1.1)))) / SAMPLE_RATE
        step = int(np.clip(step + rng.integers(-3, 4), 0, 13))
        if rng.random() < 0.9:
            for third in range(together):
                degree = step + 2 * third
                semitones = key[degree % 7] + 12 * (degree // 7)
                tone = play(LOWEST * 2 ** (octave + semitones / 12), t, rng)[: n - at]
                out[at : at + len(tone)] += rng.uniform(0.4, 1) * tone
        at += int(SAMPLE_RATE * length)
    return unit_power(out)


def _drums(n: int, beat: float, rng: np.random.Generator) -> np.ndarray:
    out, t = np.zeros(n), np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    for k, at in enumerate(np.arange(0, n, beat * SAMPLE_RATE / 2).astype(int)):
        if k % 4 == 0:
            hit = np.sin(2 * np.pi * (90 * t - 60 * t**2)) * np.exp(-18 * t)
        else:
            hit = 0.4 * rng.standard_normal(len(t)) * np.exp(-(20 if k % 4 == 2 else 60) * t)
        out[at : at + len(t)] += hit[: n - at]
    return out * rng.uniform(1, 4)


def music(n: int, rng: np.random.Generator, instruments: tuple[Instrument, ...]) -> np.ndarray:
    """(n,) of unit power: one to four instruments in a key, every third time with drums."""
    key = tuple(s + int(rng.integers(12)) for s in KEYS[int(rng.integers(len(KEYS)))])
    beat = 60 / rng.uniform(60, 180)
    x = np.zeros(n)
    for _ in range(int(rng.integers(1, 5))):
        x += rng.uniform(0.3, 1) * _voice(n, key, beat, instruments, rng)
    return unit_power(x + _drums(n, beat, rng) if rng.random() < 0.35 else x)


def recordings(
    seconds: float, seed: int, instruments: tuple[Instrument, ...] = INSTRUMENTS
) -> Iterator[Speech]:
    """Music and hum of 4 to 8 s each, at every level, in which nobody speaks; two of five begin or
    end in it, and as many have a faint noise under them."""
    rng = np.random.default_rng(seed)
    for _ in range(int(seconds / 6)):
        n = int(SAMPLE_RATE * rng.uniform(4, 8))
        x = hum(n, rng) if rng.random() < HUM_SHARE else music(n, rng, instruments)
        if rng.random() < 0.4:
            first, last = np.sort(rng.integers(0, n, 2))
            x[:first], x[last:] = 0, 0
        x = 10 ** (-rng.uniform(*LEVELS) / 20) * x
        if rng.random() < 0.4:
            x += noise(n, rng) * 10 ** (-rng.uniform(50, 80) / 20)
        pcm = np.clip(x, -1, 1).astype(np.float32)
        yield Speech(pcm, [(ph.SIL, 0.0, n / SAMPLE_RATE)], "music")
