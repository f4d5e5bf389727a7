"""What can happen to speech between a mouth and a network (training side)."""

from __future__ import annotations

import numpy as np
from scipy import signal

from realtalk_ros.expression import phones as ph
from realtalk_ros.expression.speech_set import RATE, Speech, finish


def _coloured_noise(n: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) noise of unit power, its spectrum falling as 1 / f^exponent (0 white, 2 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.maximum(np.arange(len(spectrum)) / n, 30 / RATE)
    x = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n)
    return x / max(x.std(), 1e-9)


def _music(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) chords of decaying harmonic tones, unit power: what must not move the lips."""
    t = np.arange(n) / RATE
    out = np.zeros(n)
    at = 0.0
    while at < n / RATE:
        length = rng.uniform(0.15, 1.2)
        here = (t >= at) & (t < at + length)
        local = t[here] - at
        for _ in range(rng.integers(1, 4)):
            pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
            for harmonic in range(1, rng.integers(2, 9)):
                if pitch * harmonic < RATE / 2:
                    out[here] += np.sin(2 * np.pi * pitch * harmonic * local) * np.exp(
                        -local * rng.uniform(1, 6)
                    ) / harmonic  # fmt: skip
        at += length
    return out / max(out.std(), 1e-9)


def noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) float32 non-speech sound of unit power: steady, swelling, hum, music or clicks."""
    kind = rng.choice(5, p=[0.4, 0.2, 0.1, 0.2, 0.1])
    x = _coloured_noise(n, rng.uniform(0, 2), rng)
    t = np.arange(n) / RATE
    if kind == 1:  # swells, as of traffic or breath
        x *= 0.1 + np.abs(np.sin(2 * np.pi * rng.uniform(0.2, 3) * t + rng.uniform(0, 6)))
    elif kind == 2:
        mains = rng.choice([50, 60, 100, 120])
        x = 0.3 * x + sum(np.sin(2 * np.pi * mains * k * t) / k for k in range(1, 8))
    elif kind == 3:
        x = _music(n, rng) + 0.1 * x
    elif kind == 4:
        clicks = np.zeros(n)
        clicks[rng.integers(0, n, max(1, int(n / RATE * rng.uniform(1, 6))))] = 1
        ring = np.exp(-np.arange(800) / rng.uniform(20, 200)) * rng.standard_normal(800)
        x = 0.02 * x + 4 * np.convolve(clicks, ring)[:n]
    return (x / max(x.std(), 1e-9)).astype(np.float32)


def augment(speech: Speech, rng: np.random.Generator) -> Speech:
    """The same words from another throat, microphone, room and line; times follow the speed."""
    x, segments = speech.pcm.astype(np.float64), speech.segments
    if rng.random() < 0.7:  # played faster or slower: pitch, formants and rate change together
        rate = int(RATE * rng.uniform(0.87, 1.15))
        x = _resample(x, rate)
        scale = rate / RATE
        segments = [(p, s * scale, e * scale) for p, s, e in segments]
    lead, tail = (int(RATE * rng.uniform(0.05, 0.7)) for _ in range(2))
    x = np.concatenate([np.zeros(lead), x, np.zeros(tail)])
    shift = lead / RATE
    segments = [(ph.SIL, 0.0, shift)] + [(p, s + shift, e + shift) for p, s, e in segments]
    power = max(float(np.sqrt((x**2).mean())), 1e-6)
    x /= power
    if rng.random() < 0.5:  # microphone: a random smooth response, up to about 10 dB
        knots = rng.normal(0, 5, 8)
        spectrum = np.fft.rfft(x)
        curve = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), knots)
        x = np.fft.irfft(spectrum * 10 ** (curve / 20), len(x))
    if rng.random() < 0.4:  # room: direct sound, then decaying noise
        length = int(RATE * rng.uniform(0.1, 0.6))
        tail_response = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
        response = tail_response * rng.uniform(0.02, 0.12)
        response[0] = 1
        x = signal.fftconvolve(x, response)[: len(x)]
    if rng.random() < 0.7:
        x = x + noise(len(x), rng) * 10 ** (-rng.uniform(5, 40) / 20)
    if rng.random() < 0.35:  # line
        low, high = rng.uniform(50, 300), rng.uniform(3300, 7500)
        sos = signal.butter(4, [low, high], "bandpass", fs=RATE, output="sos")
        x = signal.sosfilt(sos, x)
    x *= 10 ** (rng.uniform(-38, -12) / 20)
    if rng.random() < 0.1:
        x = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)  # mu-law, 8 bits
        x = np.round(np.clip(x, -1, 1) * 127) / 127
        x = np.sign(x) * (256 ** np.abs(x) - 1) / 255
    x = x + rng.standard_normal(len(x)) * 10 ** (-rng.uniform(65, 95) / 20)
    pcm = np.clip(x, -1, 1).astype(np.float32)
    return finish(pcm, segments, speech.source)


def _resample(x: np.ndarray, rate: int) -> np.ndarray:
    """Speed change: n samples become about n * rate / RATE, through libsoxr."""
    import soxr

    return soxr.resample(x, RATE, rate, quality="HQ")
