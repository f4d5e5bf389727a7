# SPDX-License-Identifier: Apache-2.0
"""Speech at any sample rate to log-mel frames, the input of the networks.

Works on streams: however a signal is cut into chunks, the same frames come out. The
level stays as it is: training varies it (`augment` in training/expression/mel_augment.py).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from realtalk_ros.audio.pcm import check_rate
from realtalk_ros.audio.resampler import Resampler
from realtalk_ros.contracts import MEL_RATE, N_MELS, SAMPLE_RATE

HOP = SAMPLE_RATE // MEL_RATE  # 160 samples between mel frames, 10 ms
WINDOW = 400  # samples per mel frame, 25 ms
N_FFT = 512
MEL_LOW, MEL_HIGH = 40.0, 7600.0  # Hz
POWER_FLOOR = 1e-9  # 85 dB below the mel power of a full-scale sine, which is about 0.3

_BLOCK = 4096  # frames computed at once, which bounds the memory that long chunks take


def to_mel(hz: np.ndarray | float) -> np.ndarray:
    """From Hz to Slaney's mel scale (Auditory Toolbox, 1998)."""
    hz = np.asarray(hz, np.float64)
    return np.where(
        hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4)
    )


def to_hz(mel: np.ndarray) -> np.ndarray:
    """The inverse of `to_mel`."""
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


def mel_edges() -> np.ndarray:
    """(N_MELS + 2,) mel: filter i rises from edge i, peaks at edge i + 1 and ends at edge i + 2."""
    return np.linspace(to_mel(MEL_LOW), to_mel(MEL_HIGH), N_MELS + 2)


def mel_filters() -> np.ndarray:
    """(N_FFT / 2 + 1, N_MELS) float32: triangular filters on the mel scale."""
    edges = to_hz(mel_edges())
    bins = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)[:, None]
    up = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


class AudioFrontEnd:
    """Log-mel frames of one segment of speech.

    Frame i is a window of 25 ms, centred on sample i * 160 at 16 kHz: its time is i * 0.01 s of the
    input, with silence before the first sample and after the last. It is complete 12.5 ms of input
    after its time, plus the resampler's 1 to 2 ms unless the input is at 16 kHz.
    Values are log10 of mel power, with a floor, scaled to about -1..1.
    """

    def __init__(self, sample_rate: int):
        """`sample_rate`: of the input, Hz. Raises AudioError outside 4000..384000."""
        check_rate(sample_rate)
        self.sample_rate = sample_rate
        self._resampler = _resampler_of(sample_rate)
        # Periodic Hann window, scaled so that a full-scale sine has a power of about 1 in its bin.
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        self._window = (window * 2 / window.sum()).astype(np.float32)
        self._filters = mel_filters()
        self._buffer = np.zeros(WINDOW // 2, np.float32)
        self._samples = 0  # at 16 kHz
        self._frames = 0

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) float32 mono at `sample_rate` -> (m, 80) float32, the frames now complete."""
        if len(pcm) == 0:
            return np.zeros((0, N_MELS), np.float32)
        pcm = np.asarray(pcm, np.float32)
        if self._resampler is not None:
            pcm = self._resampler.push(pcm)
        self._samples += len(pcm)
        return self._transform(np.concatenate([self._buffer, pcm]))

    def change_rate(self, sample_rate: int) -> None:
        """What follows is at another rate, Hz. Raises AudioError outside 4000..384000."""
        new = _resampler_of(sample_rate)
        if self._resampler is not None:
            rest = self._resampler.flush()
            self._samples += len(rest)
            self._buffer = np.concatenate([self._buffer, rest])
        self.sample_rate, self._resampler = sample_rate, new

    def flush(self) -> np.ndarray:
        """The remaining frames (m, 80), up to the end of the segment."""
        pcm = np.zeros(0, np.float32)
        if self._resampler is not None:
            pcm = self._resampler.flush()
        self._samples += len(pcm)
        total = -(-self._samples // HOP)
        pad = max(0, (total - self._frames - 1) * HOP + WINDOW - len(self._buffer) - len(pcm))
        return self._transform(np.concatenate([self._buffer, pcm, np.zeros(pad, np.float32)]))

    def _transform(self, pcm: np.ndarray) -> np.ndarray:
        """The frames that are complete in `pcm`, 16 kHz; keeps the rest."""
        count = max(0, (len(pcm) - WINDOW) // HOP + 1)
        mel = np.empty((count, N_MELS), np.float32)
        if count:
            windows = sliding_window_view(pcm, WINDOW)[::HOP]
            for i in range(0, count, _BLOCK):
                block = windows[i : min(i + _BLOCK, count)] * self._window
                spectrum = np.fft.rfft(block, N_FFT)
                power = spectrum.real**2 + spectrum.imag**2
                mel[i : i + len(block)] = power.astype(np.float32) @ self._filters
            np.maximum(mel, POWER_FLOOR, out=mel)
            np.log10(mel, out=mel)
            mel += 5.0
            mel *= 0.3
        self._frames += count
        self._buffer = pcm[count * HOP :].copy()
        return mel


def _resampler_of(sample_rate: int) -> Resampler | None:
    return None if sample_rate == SAMPLE_RATE else Resampler(sample_rate)


def log_mel(pcm: np.ndarray, sample_rate: int) -> np.ndarray:
    """The frames (m, 80) of a whole signal (n,) float32, as AudioFrontEnd has them."""
    front_end = AudioFrontEnd(sample_rate)
    return np.concatenate([front_end.push(pcm), front_end.flush()])
