# SPDX-License-Identifier: Apache-2.0
"""Augmentation of log-mel spectrograms, cheap enough for every training sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from realtalk_ros.audio.log_mel import mel_edges, to_hz, to_mel
from realtalk_ros.contracts import MEL_RATE, N_MELS
from realtalk_ros.expression.onnx_model import SILENT_MEL

if TYPE_CHECKING:
    from realtalk_ros.training.speech_data.dataset import Segment

DECADE = 0.3  # log-mel per factor of ten in power
_DB = DECADE / 10

_CENTRES = mel_edges()[1:-1]
_HZ = to_hz(_CENTRES)


def interpolate_rows(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of x (n, ...) at fractional positions `at` (k,), linear between the nearest two."""
    low = np.clip(at.astype(int), 0, len(x) - 1)
    high = np.minimum(low + 1, len(x) - 1)
    part = np.clip(at - low, 0, 1).astype(np.float32)[:, None]
    return x[low] * (1 - part) + x[high] * part


def time_stretch(
    mel: np.ndarray, segments: list[Segment], rng: np.random.Generator
) -> tuple[np.ndarray, list[Segment]]:
    """Mel (m, 80) and its phones spoken faster or slower at the same pitch, in half of all cases.

    The factor is 0.82 to 1.22; long phones stretch as much as short ones.
    """
    if rng.random() < 0.5:
        return mel, segments
    factor = np.exp(rng.uniform(-0.2, 0.2))
    stretched = interpolate_rows(mel, np.arange(int(len(mel) * factor)) / factor)
    return stretched, [(p, s * factor, e * factor) for p, s, e in segments]


def reverberate(mel: np.ndarray, rt60: float, direct: float) -> np.ndarray:
    """Adds a room's reverberation to (m, 80), from 20 ms on: an exponential decay of power.

    rt60: s until it has decayed by 60 dB; direct: dB of the direct sound above the reverberation.
    """
    keep = 10 ** (-6 / MEL_RATE / rt60)
    gain = (1 - keep) * 10 ** (-direct / 10)
    power = 10 ** (mel / DECADE)
    return DECADE * np.log10(power + lfilter([0, 0, gain], [1, -keep], power, axis=0))


def suppress_noise(mel: np.ndarray, below: float, depth: float, rise: float) -> np.ndarray:
    """What noise suppression leaves of (m, 80).

    Bands more than `below` dB under the loud ones are turned down by `depth` dB. They come up again
    within `rise` s, which removes bursts.
    """
    keep = np.exp(-1 / (MEL_RATE * rise))
    passed = (mel > np.percentile(mel, 95) - below * _DB).astype(np.float32)
    return mel - depth * _DB * (1 - lfilter([1 - keep], [1, -keep], passed, axis=0))


def augment(mel: np.ndarray, noise: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Another vocal tract, microphone, room, level and background: (m, 80) -> the same shape.

    noise: log-mel (k, 80) of something that is not speech, or None.
    """
    if rng.random() < 0.6:  # vocal-tract length: formants move together
        at = np.interp(to_mel(_HZ * rng.uniform(0.85, 1.18)), _CENTRES, np.arange(N_MELS))
        mel = interpolate_rows(mel.T, at).T
    if rng.random() < 0.5:  # microphone: a random smooth response
        knots = rng.normal(0, 4 * _DB, 6)
        mel = mel + np.interp(np.arange(N_MELS), np.linspace(0, N_MELS - 1, 6), knots)
    if rng.random() < 0.2:
        mel = reverberate(mel, rng.uniform(0.2, 0.9), rng.uniform(-3, 12))
    if noise is not None:
        # SNR of 0 to 30 dB between the loud parts of both, added as powers.
        level = np.percentile(mel.mean(1), 90) - np.percentile(noise.mean(1), 90)
        start = rng.integers(0, max(1, len(noise) - 100))
        added = np.resize(noise[start:], (len(mel), N_MELS)) + level - rng.uniform(0, 30) * _DB
        mel = DECADE * np.log10(10 ** (mel / DECADE) + 10 ** (added / DECADE))
    if rng.random() < 0.2:
        mel = suppress_noise(
            mel, rng.uniform(15, 45), rng.uniform(10, 40), rng.uniform(0.005, 0.04)
        )
    if rng.random() < 0.25:  # a narrow band, as of telephones and small files
        outside = (rng.uniform(0, 350) > _HZ) | (rng.uniform(3000, 7500) < _HZ)
        cut = np.maximum(mel - rng.uniform(20, 60) * _DB, rng.uniform(SILENT_MEL, -1))
        mel = np.where(outside, np.minimum(mel, cut), mel)
    if rng.random() < 0.7:  # gain
        mel = mel + rng.uniform(-10, 10) * _DB
    if rng.random() < 0.25:  # a band lost
        width = int(rng.integers(2, 12))
        low = int(rng.integers(0, N_MELS - width))
        mel = mel.copy()
        mel[:, low : low + width] -= rng.uniform(10, 40) * _DB
    return np.maximum(mel, SILENT_MEL).astype(np.float32)


def spec_augment(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Masks two stretches of up to 0.1 s and two bands by the mean, in place.

    SpecAugment, Park et al. 2019.
    """
    mean = mel.mean()
    for _ in range(2):
        start, length = rng.integers(len(mel)), rng.integers(11)
        mel[start : start + length] = mean
        low, width = rng.integers(N_MELS), rng.integers(9)
        mel[:, low : low + width] = mean
    return mel
