# SPDX-License-Identifier: Apache-2.0
"""What a sound file had that is not heard as it was meant: damage, NaN, samples beyond full scale,
channels that cancel each other."""

from __future__ import annotations

import math

import numpy as np

LOST = 0.2  # s that may be missing: encoders add and take away some hundredths
# Samples beyond this, of full scale, are no mere overshoot of a lossy codec; so many must be there.
BEYOND, BEYOND_SHARE = 1.25, 0.01
WHOLE_NUMBERS = 100.0  # a peak from which on floats are taken for integers that were not scaled
SCALES = (2**15, 2**23, 2**31)  # of integers of 16, 24 and 32 bits
CANCELLED_SHARE = 0.1  # of the samples, in which the channels cancel


class SoundFindings:
    """Counts while a file is read."""

    def __init__(self, name: str):
        self.name = name
        self.damage = ""  # why a part of it could not be decoded
        self.stated: float | None = None  # s that it should be long
        self._seconds = 0.0  # that were read
        self._read = self._cancelled = 0  # samples of a channel
        self._values = self._no_numbers = self._beyond = 0  # samples of all channels
        self._peak = 0.0

    def add(self, samples: np.ndarray, cancelled: bool, rate: int) -> None:
        """Samples (n, channels) of any type at `rate` Hz; whether their channels cancel."""
        self._read += len(samples)
        self._cancelled += cancelled * len(samples)
        self._seconds += len(samples) / rate
        self._values += samples.size
        if samples.dtype.kind != "f":
            return
        size = np.abs(samples)
        finite = np.isfinite(size)
        self._no_numbers += int(samples.size - np.count_nonzero(finite))
        beyond = size[finite & (size > BEYOND)]
        if len(beyond):
            self._beyond += len(beyond)
            self._peak = max(self._peak, float(beyond.max()))

    def warnings(self) -> list[str]:
        """One line each: what was found, and what to do."""
        lines = [self._lost(), self._not_finite(), self._clipped(), self._cancelling()]
        return [line for line in lines if line]

    def _lost(self) -> str:
        lost = (self.stated or 0.0) - self._seconds
        if lost <= LOST and not self.damage:
            return ""
        how = "a part of it is left out"
        if lost > LOST:
            how = f"only {self._seconds:.1f} of its {self.stated:.1f} s are heard"
        return (
            f"{self.name} is damaged or cut short ({self.damage or 'parts of it are missing'}): "
            f"{how}, and the lips are right only for what is heard. Get it again"
        )

    def _not_finite(self) -> str:
        if not self._no_numbers:
            return ""
        return (
            f"{self._no_numbers} of the {self._values} samples of {self.name} are no numbers (NaN "
            "or infinite) and taken for silence, in which the mouth is shut: export it again"
        )

    def _clipped(self) -> str:
        if self._beyond <= BEYOND_SHARE * self._values or self.damage:  # which sounds so, too
            return ""
        advice = f"lower its level by {math.ceil(20 * math.log10(self._peak))} dB"
        if self._peak >= WHOLE_NUMBERS:
            scale = min((s for s in SCALES if s >= self._peak), default=SCALES[-1])
            advice = f"it seems to hold whole numbers as floats, so divide them by {scale}"
        return (
            f"{self._beyond} of the {self._values} samples of {self.name} are beyond full scale, "
            f"up to {self._peak:.4g}, and are clipped, by which sound and lips are wrong: {advice}"
        )

    def _cancelling(self) -> str:
        if self._cancelled <= CANCELLED_SHARE * self._read:
            return ""
        return (
            f"the channels of {self.name} cancel each other, so one alone is heard: turn the "
            "polarity of one of them round"
        )
