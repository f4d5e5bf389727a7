# SPDX-License-Identifier: Apache-2.0
"""A streaming resampler: however a signal is cut into chunks, the same samples come out."""

from __future__ import annotations

import av
import numpy as np

from realtalk_ros.audio.pcm import check_rate
from realtalk_ros.contracts import SAMPLE_RATE


class Resampler:
    """libswresample, which compensates its own delay: output sample n is the input at time
    n / output_rate s.

    It holds back 1 to 2 ms of input. soxr's stream was measured to hold back 37 to 118 ms at common
    rates, most of the face's latency budget.
    """

    def __init__(self, input_rate: int, output_rate: int = SAMPLE_RATE):
        """Rates in Hz. Raises AudioError outside 4000..384000."""
        check_rate(input_rate)
        check_rate(output_rate)
        self._input_rate = input_rate
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=output_rate)

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) float32 mono -> (m,) float32, the samples now known."""
        if len(pcm) == 0:
            return np.zeros(0, np.float32)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm, np.float32)[None], format="flt", layout="mono"
        )
        frame.sample_rate = self._input_rate
        return self._join(self._resampler.resample(frame))

    def flush(self) -> np.ndarray:
        """The remaining samples: n of input make about n * output_rate / input_rate of output."""
        return self._join(self._resampler.resample(None))

    @staticmethod
    def _join(frames: list[av.AudioFrame]) -> np.ndarray:
        parts = [frame.to_ndarray()[0] for frame in frames]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
