# SPDX-License-Identifier: Apache-2.0
"""Augmentation of waveforms: other voices, rooms, microphones, noise, telephones, codecs.

Phones keep their times in the audio: what shifts or stretches the samples does so to the segments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import soxr
from scipy import signal

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Segment, Speech, make_speech

Sounds = Sequence[np.ndarray]  # recorded sound effects, each (n,) float32 at 16 kHz


def augment(speech: Speech, rng: np.random.Generator, sounds: Sounds) -> Speech:
    """The same words by another voice, in another room, over another channel.

    sounds: recorded sound effects, mixed in beside the synthetic noises.
    """
    speech = _change_voice(speech, rng)
    x, segments = _add_pauses(speech.pcm, speech.segments, rng)
    x = _add_non_speech(x, segments, rng)
    x = x / max(float(np.sqrt((x**2).mean())), 1e-6)
    if rng.random() < 0.5:
        x = _apply_microphone(x, rng)
    if rng.random() < 0.4:
        x = _reverberate(x, rng)
    if rng.random() < 0.7:
        x = x + noise(len(x), rng, sounds) * 10 ** (-rng.uniform(0, 40) / 20)
    x = _apply_channel(x / max(float(np.abs(x).max()), 1e-6), rng)
    x = x / max(float(np.sqrt((x**2).mean())), 1e-6) * 10 ** (rng.uniform(-38, -12) / 20)
    x = x + rng.standard_normal(len(x)) * 10 ** (-rng.uniform(65, 95) / 20)
    return make_speech(np.clip(x, -1, 1).astype(np.float32), segments, speech.source)


def add_noise(speech: Speech, snr_db: float, rng: np.random.Generator) -> Speech:
    """Speech in noise whose power is `snr_db` below the mean power of the spoken parts."""
    spoken = np.concatenate([speech.pcm[int(s * SAMPLE_RATE) : int(e * SAMPLE_RATE)]
                             for p, s, e in speech.segments if p != ph.SIL])  # fmt: skip
    power = float(np.sqrt((spoken.astype(np.float64) ** 2).mean()))
    x = speech.pcm + noise(len(speech.pcm), rng) * power * 10 ** (-snr_db / 20)
    x = x / max(1.0, float(np.abs(x).max()))
    return Speech(x.astype(np.float32), speech.segments, speech.source)


def telephone(x: np.ndarray) -> np.ndarray:
    """(n,) at 16 kHz as it comes out of a telephone line: 300 to 3400 Hz, 8 kHz, mu-law."""
    sos = signal.butter(4, [300, 3400], "bandpass", fs=SAMPLE_RATE, output="sos")
    x = signal.sosfiltfilt(sos, x)  # zero phase: nothing moves in time
    narrow = _mu_law(soxr.resample(x, SAMPLE_RATE, SAMPLE_RATE // 2))
    wide = soxr.resample(narrow, SAMPLE_RATE // 2, SAMPLE_RATE)
    return _to_length(wide, len(x)).astype(np.float32)


def noise(n: int, rng: np.random.Generator, sounds: Sounds = ()) -> np.ndarray:
    """(n,) float32 non-speech sound of unit power.

    Steady, swelling, hum, music, clicks or, where there are some, recorded sound effects.
    """
    kind = rng.choice(6, p=[0.25, 0.1, 0.1, 0.15, 0.1, 0.3])
    if kind == 5 and sounds:
        x = _effects(n, rng, sounds)
    else:
        x = _coloured_noise(n, rng.uniform(0, 2), rng)
    t = np.arange(n) / SAMPLE_RATE
    if kind == 1:  # swells, as of traffic
        x *= 0.1 + np.abs(np.sin(2 * np.pi * rng.uniform(0.2, 3) * t + rng.uniform(0, 6)))
    elif kind == 2:
        mains = rng.choice([50, 60, 100, 120])
        x = 0.3 * x + sum(np.sin(2 * np.pi * mains * k * t) / k for k in range(1, 8))
    elif kind == 3:
        x = _music(n, rng) + 0.1 * x
    elif kind == 4:
        clicks = np.zeros(n)
        clicks[rng.integers(0, n, max(1, int(n / SAMPLE_RATE * rng.uniform(1, 6))))] = 1
        ring = np.exp(-np.arange(800) / rng.uniform(20, 200)) * rng.standard_normal(800)
        x = 0.02 * x + 4 * signal.fftconvolve(clicks, ring)[:n]
    return unit_power(x).astype(np.float32)


def unit_power(x: np.ndarray) -> np.ndarray:
    """(n,) as loud as noise of a standard deviation of 1; silence stays silent."""
    return np.asarray(x / max(float(x.std()), 1e-9))


# --- voice ---


def _change_voice(speech: Speech, rng: np.random.Generator) -> Speech:
    """Another vocal-tract length, pitch and pace, each by itself."""
    x, segments = speech.pcm, speech.segments
    pitch = 2 ** rng.normal(0, 0.2) if rng.random() < 0.6 else 1.0
    tract = rng.uniform(0.85, 1.18) if rng.random() < 0.6 else 1.0  # formants are times this
    pace = rng.uniform(0.8, 1.3) if rng.random() < 0.6 else 1.0
    pitch = float(np.clip(pitch, 0.7, 1.5))
    if pitch != 1:  # played at another speed: pitch, formants and pace are times this
        x = soxr.resample(x, SAMPLE_RATE, round(SAMPLE_RATE / pitch), quality="HQ")
        segments = [(p, s / pitch, e / pitch) for p, s, e in segments]
    if tract / pitch != 1:
        x = warp_formants(x, tract / pitch)
    if pace / pitch != 1:
        x, new_times = time_stretch(x, pitch / pace)
        segments = [(p, *new_times([s, e])) for p, s, e in segments]
    return Speech(x, segments, speech.source)


_FRAME, _STEP = 512, 128


def warp_formants(x: np.ndarray, factor: float) -> np.ndarray:
    """(n,) float32 with its spectral envelope stretched by `factor` in frequency, pitch as it was.

    The envelope is the cepstrally smoothed magnitude; a shorter vocal tract has a factor above 1.
    """
    window = np.sqrt(signal.get_window("hann", _FRAME))
    padded = np.pad(x, (_FRAME, _FRAME + -len(x) % _STEP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_STEP] * window
    spectrum = np.fft.rfft(frames)
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + 1e-5))
    cepstrum[:, 32:-31] = 0  # what varies faster than every 500 Hz: the harmonics
    envelope = np.fft.rfft(cepstrum).real
    bins = np.arange(envelope.shape[1])
    at = np.minimum(bins / factor, bins[-1])
    low = np.minimum(at.astype(int), bins[-1] - 1)
    warped = envelope[:, low] + (at - low) * (envelope[:, low + 1] - envelope[:, low])
    frames = np.fft.irfft(spectrum * np.exp(np.clip(warped - envelope, -6, 3))) * window
    out = np.zeros(len(padded))
    for part in range(_FRAME // _STEP):  # frames that do not overlap, added all at once
        block = frames[part :: _FRAME // _STEP].ravel()
        out[part * _STEP : part * _STEP + len(block)] += block
    overlap = _FRAME // _STEP / 2  # of squared square-root Hann windows
    return (out[_FRAME : _FRAME + len(x)] / overlap).astype(np.float32)


def time_stretch(
    x: np.ndarray, factor: float
) -> tuple[np.ndarray, Callable[[Sequence[float]], np.ndarray]]:
    """(n * factor,) float32 at the same pitch, and the function from old to new times in s.

    WSOLA (Verhelst and Roelands 1993): each frame is placed where it continues the waveform best.
    """
    size, half, reach = 400, 200, 96  # samples: 25 ms frames, searched for 6 ms to either side
    window = signal.get_window("hann", size)
    count = max(1, int(len(x) * factor) // half)
    padded = np.pad(x, (reach, size + 2 * reach + half))
    out = np.zeros((count + 1) * half)
    places = np.zeros(count)
    place = reach
    for i in range(count):
        wanted = min(round(i * half / factor), len(x)) + reach
        if i:
            follow = padded[place + half : place + half + size]
            around = padded[wanted - reach : wanted + reach + size]
            if len(follow) == size:
                place = wanted - reach + int(np.argmax(np.correlate(around, follow)))
        out[i * half : i * half + size] += padded[place : place + size] * window
        places[i] = place - reach
    # Times by the middle of every frame, made monotone: single frames may not be.
    old = np.maximum.accumulate(np.append(places + half, len(x))) / SAMPLE_RATE
    new = np.append(np.arange(count) * half + half, len(out)) / SAMPLE_RATE
    return out.astype(np.float32), lambda times: np.interp(times, [0, *old], [0, *new])


# --- pauses ---


def _add_pauses(
    x: np.ndarray, segments: list[Segment], rng: np.random.Generator
) -> tuple[np.ndarray, list[Segment]]:
    """Silence before and after, and now and then a longer pause where there was one."""
    parts, out, at = [], [], 0.0

    def add(phone: str, pcm: np.ndarray) -> None:
        nonlocal at
        parts.append(pcm)
        out.append((phone, at, at + len(pcm) / SAMPLE_RATE))
        at += len(pcm) / SAMPLE_RATE

    add(ph.SIL, np.zeros(int(SAMPLE_RATE * rng.uniform(0.05, 0.9))))
    for phone, start, end in segments:
        a, b = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        if phone == ph.SIL and end - start > 0.04 and a > 0 and b < len(x) and rng.random() < 0.25:
            middle = (a + b) // 2
            add(phone, x[a:middle])
            add(phone, np.zeros(int(SAMPLE_RATE * rng.uniform(0.2, 1.5))))
            add(phone, x[middle:b])
        else:
            add(phone, x[a:b])
    add(ph.SIL, np.zeros(int(SAMPLE_RATE * rng.uniform(0.05, 0.9))))
    return np.concatenate(parts).astype(np.float64), out


def _add_non_speech(x: np.ndarray, segments: list[Segment], rng: np.random.Generator) -> np.ndarray:
    """Adds breath and bursts like distant laughter to the pauses."""
    level = float(np.abs(x).max())
    for phone, start, end in make_speech(x, segments, "").segments:
        if phone != ph.SIL or end - start < 0.3 or rng.random() > 0.3:
            continue
        n = int((end - start) * SAMPLE_RATE) - 320
        length = min(n, int(SAMPLE_RATE * rng.uniform(0.2, 0.8)))
        at = int(start * SAMPLE_RATE) + 160 + int(rng.integers(0, n - length + 1))
        t = np.arange(length) / length
        burst = _coloured_noise(length, 1.0, rng) * np.sin(np.pi * t) ** 2
        if rng.random() < 0.3:
            burst *= np.maximum(0, np.sin(2 * np.pi * rng.uniform(4, 6) * length / SAMPLE_RATE * t))
        x[at : at + length] += burst * level * 10 ** (-rng.uniform(20, 40) / 20)
    return x


# --- microphone, room and channel ---


def _apply_microphone(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random smooth response, up to about 10 dB."""
    knots = rng.normal(0, 5, 8)
    spectrum = np.fft.rfft(x)
    curve = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), knots)
    return np.fft.irfft(spectrum * 10 ** (curve / 20), len(x))


def _reverberate(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Direct sound, then noise that decays by 60 dB."""
    length = int(SAMPLE_RATE * rng.uniform(0.1, 0.6))
    response = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    response *= rng.uniform(0.02, 0.12)
    response[0] = 1
    return signal.fftconvolve(x, response)[: len(x)]


def _apply_channel(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A band limit, a telephone, mu-law, a codec, or nothing."""
    kind = rng.choice(6, p=[0.5, 0.14, 0.14, 0.08, 0.07, 0.07])
    if kind == 1:
        low, high = rng.uniform(50, 300), rng.uniform(3300, 7500)
        sos = signal.butter(4, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos")
        return signal.sosfilt(sos, x)
    if kind == 2:
        return telephone(x)
    if kind == 3:
        return _mu_law(x)
    if kind == 4:
        return codec(x, "libopus", int(rng.choice([8, 12, 16, 24])) * 1000)
    if kind == 5:
        return codec(x, "libmp3lame", int(rng.choice([16, 24, 32])) * 1000)
    return x


def _mu_law(x: np.ndarray) -> np.ndarray:
    """Quantised to the 8 bits of a telephone line (G.711)."""
    x = np.sign(x) * np.log1p(255 * np.minimum(np.abs(x), 1)) / np.log(256)
    x = np.round(x * 127) / 127  # 8 bits
    return np.sign(x) * (256 ** np.abs(x) - 1) / 255


def codec(x: np.ndarray, name: str, bits: int) -> np.ndarray:
    """(n,) in [-1, 1] through an encoder and decoder of FFmpeg at `bits` a second.

    Every codec has its own delay, which is found by correlation and removed.
    """
    import av

    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate, encoder.layout, encoder.bit_rate = SAMPLE_RATE, "mono", bits
    encoder.format = encoder.codec.audio_formats[0]
    encoder.open()
    decoder = av.CodecContext.create(name.removeprefix("lib").replace("mp3lame", "mp3"), "r")
    decoder.extradata = encoder.extradata
    planar = np.asarray(x, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    sized = av.AudioResampler(encoder.format, "mono", SAMPLE_RATE, frame_size=encoder.frame_size)
    packets = [p for f in (*sized.resample(frame), *sized.resample(None))
               for p in encoder.encode(f)] + encoder.encode(None)  # fmt: skip
    frames = [f for p in packets for f in decoder.decode(p)] + decoder.decode(None)
    plain = av.AudioResampler("fltp", "mono", SAMPLE_RATE)
    out = np.concatenate([r.to_ndarray()[0] for f in (*frames, None) for r in plain.resample(f)])
    max_delay = 4096  # samples; no codec delays by more
    found = signal.correlate(out[: 8 * SAMPLE_RATE], x[: 8 * SAMPLE_RATE], "full", "fft")
    middle = len(x[: 8 * SAMPLE_RATE]) - 1
    delay = int(np.argmax(found[middle : middle + max_delay]))
    return _to_length(out[delay:], len(x))


def _to_length(x: np.ndarray, n: int) -> np.ndarray:
    """Cut or padded with zeros to n samples."""
    return x[:n] if len(x) >= n else np.pad(x, (0, n - len(x)))


# --- noise ---


def _coloured_noise(n: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) noise of unit power, its spectrum falling as 1 / f^exponent (0 white, 2 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.maximum(np.arange(len(spectrum)) / n, 30 / SAMPLE_RATE)
    x = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n)
    return unit_power(x)


def _music(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) chords of decaying harmonic tones, unit power: lips must not follow music."""
    t = np.arange(n) / SAMPLE_RATE
    out = np.zeros(n)
    at = 0
    while at < n:
        end = min(n, at + int(SAMPLE_RATE * rng.uniform(0.15, 1.2)))
        local = t[at:end] - t[at]
        for _ in range(rng.integers(1, 4)):
            pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
            for harmonic in range(1, rng.integers(2, 9)):
                if pitch * harmonic < SAMPLE_RATE / 2:
                    out[at:end] += np.sin(2 * np.pi * pitch * harmonic * local) * np.exp(
                        -local * rng.uniform(1, 6)
                    ) / harmonic  # fmt: skip
        at = end
    return unit_power(out)


def _effects(n: int, rng: np.random.Generator, sounds: Sounds) -> np.ndarray:
    """(n,) recorded sounds one after the other, over a little noise."""
    out = 0.05 * _coloured_noise(n, 1.0, rng)
    at = 0
    while at < n:
        x = sounds[rng.integers(len(sounds))][: n - at]
        out[at : at + len(x)] += x / max(float(x.std()), 1e-3)
        at += len(x) + int(SAMPLE_RATE * rng.uniform(0, 0.5))
    return out
