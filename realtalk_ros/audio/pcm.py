# SPDX-License-Identifier: Apache-2.0
"""PCM samples: decoding, encoding, mixing down to mono, and the sample rates that are accepted.
(The rate is changed by resampler.py, for log_mel.py.)"""

from __future__ import annotations

from typing import Any

import numpy as np

from realtalk_ros.errors import AudioError

MIN_RATE, MAX_RATE = 4000, 384000  # Hz, input
MAX_CHANNELS = 64
MIN_POWER = 1e-7  # of an audible channel; full scale is 1
# Channels cancel each other where the power of their mean is less than this share of what the mean
# of independent channels would have.
CANCELLED = 0.05
ENCODINGS: dict[str, np.dtype[Any]] = {"pcm_s16le": np.dtype("<i2"), "pcm_f32le": np.dtype("<f4")}


def to_float(samples: np.ndarray) -> np.ndarray:
    """Samples of any type, full scale that of the type -> float32 of the same shape in [-1, 1]; NaN
    and infinity become 0."""
    if samples.dtype.kind in "iu":
        scale = np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
        pcm = samples.astype(np.float32) * scale
        return pcm - np.float32(1) if samples.dtype.kind == "u" else pcm
    finite = np.isfinite(samples)
    if not finite.all():
        samples = np.where(finite, samples, 0)
    return np.clip(samples, -1, 1).astype(np.float32, copy=False)


def encode_pcm(pcm: np.ndarray, encoding: str = "pcm_s16le") -> bytes:
    """(n,) float32 -> little-endian PCM; as int16, what lies outside [-1, 1] is clipped."""
    dtype = ENCODINGS[encoding]
    if dtype.kind == "i":
        pcm = np.clip(np.rint(pcm * 32768), -32768, 32767)
    return pcm.astype(dtype).tobytes()


def decode_pcm(data: bytes | memoryview, encoding: str, channels: int) -> np.ndarray:
    """Interleaved little-endian PCM bytes -> (n,) float32 mono in [-1, 1], mixed by `mix_down`.

    Raises AudioError as `decode_channels` does.
    """
    return mix_down(decode_channels(data, encoding, channels))[0]


def decode_channels(data: bytes | memoryview, encoding: str, channels: int) -> np.ndarray:
    """Interleaved little-endian PCM bytes -> (n, channels) float32 in [-1, 1].

    Samples that are not finite become 0. Raises AudioError on an unknown encoding, a channel count
    outside 1..64, or a byte count that is not a whole number of frames.
    """
    dtype = ENCODINGS.get(encoding)
    if dtype is None:
        raise AudioError(
            f"unknown audio encoding {encoding!r}: send one of {', '.join(map(repr, ENCODINGS))}"
        )
    check_channels(channels)
    size = len(data)
    if size % (dtype.itemsize * channels):
        raise AudioError(
            f"{size} bytes of {encoding} are not a whole number of {channels}-channel frames of "
            f"{dtype.itemsize * channels} bytes: send whole frames"
        )
    return to_float(np.frombuffer(data, dtype)).reshape(-1, channels)


def mix_down(frames: np.ndarray) -> tuple[np.ndarray, bool]:
    """(n, channels) float32 -> the channels' mean (n,) and False.

    Where the channels cancel each other in the mean, as in stereo with one channel inverted: one of
    the loudest channels and True.
    """
    channels = frames.shape[1]
    if channels == 1 or not len(frames):
        return frames.reshape(-1) if channels == 1 else frames.mean(axis=1), False
    mono = frames.mean(axis=1)
    power = np.einsum("nc,nc->c", frames, frames) / len(frames)
    # The mean of independent channels has the power sum / channels^2.
    cancelled = power.max() > MIN_POWER and mono @ mono / len(frames) < CANCELLED * (
        power.sum() / channels**2
    )
    if not cancelled:
        return mono, False
    # The first of those that are about equally loud: the choice must not change between chunks.
    return np.ascontiguousarray(frames[:, np.argmax(power >= power.max() / 2)]), True


def check_channels(channels: int) -> None:
    """Raises AudioError for a channel count outside 1..64."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{channels} audio channels: send 1 to {MAX_CHANNELS}")


def check_rate(sample_rate: int) -> None:
    """Raises AudioError for a sample rate, Hz, outside 4000..384000."""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"sample rate {sample_rate} Hz: send {MIN_RATE} to {MAX_RATE} Hz")
