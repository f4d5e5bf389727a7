# SPDX-License-Identifier: Apache-2.0
"""WAV files that tests write."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np


def write_wav(
    path: str | Path, pcm: np.ndarray, rate: int = 16000, bytes_per_sample: int = 2
) -> Path:
    """PCM in [-1, 1], (n,) or (n, channels), as a WAV of 8 (unsigned), 16 or 24 bits."""
    scale = 2 ** (8 * bytes_per_sample - 1)
    whole = np.clip(np.round(np.asarray(pcm, np.float64) * scale), -scale, scale - 1)
    whole = whole.astype("<i4").reshape(len(pcm), -1)
    if bytes_per_sample == 1:
        whole = whole + 128
    data = np.ascontiguousarray(whole).view(np.uint8).reshape(*whole.shape, 4)
    with wave.open(str(path), "wb") as file:
        file.setparams((whole.shape[1], bytes_per_sample, rate, 0, "NONE", ""))
        file.writeframes(data[..., :bytes_per_sample].tobytes())
    return Path(path)
