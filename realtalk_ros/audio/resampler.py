# SPDX-License-Identifier: Apache-2.0
"""Streaming resampler; however a signal is cut, the same samples come out."""

from __future__ import annotations

import av
import numpy as np

from realtalk_ros.audio.pcm import check_rate
from realtalk_ros.contracts import SAMPLE_RATE


class Resampler:
    """Streaming resampler (libswresample, which compensates its own delay).

    Output sample n is the input at time n / `to` s. It withholds 1-2 ms of input; soxr's stream
    was measured to withhold 37-118 ms at common rates, most of the face's latency budget.
    """

    def __init__(self, rate: int, to: int = SAMPLE_RATE):
        """rate: of the input, to: of the output, Hz. Raises AudioError outside 4000..384000."""
        check_rate(rate)
        check_rate(to)
        self._rate = rate
        self._swr = av.AudioResampler(format="flt", layout="mono", rate=to)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        if len(pcm) == 0:
            return np.zeros(0, np.float32)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm, np.float32)[None], format="flt", layout="mono"
        )
        frame.sample_rate = self._rate
        return self._join(self._swr.resample(frame))

    def flush(self) -> np.ndarray:
        """The rest, so that n input samples make about n * to / rate output samples."""
        return self._join(self._swr.resample(None))

    @staticmethod
    def _join(frames: list[av.AudioFrame]) -> np.ndarray:
        parts = [frame.to_ndarray()[0] for frame in frames]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
