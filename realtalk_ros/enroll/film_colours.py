# SPDX-License-Identifier: Apache-2.0
"""Films as sRGB. Telephones film in the colours of BT.2020 by HLG or PQ, whose numbers look dull
and grey where they are taken for sRGB's."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.enroll.srgb import to_linear, to_srgb

# By the number that ITU-T H.273 and FFmpeg give primaries: their light to that of sRGB's (ITU-R
# BT.2087; Display P3 likewise).
FILM_PRIMARIES = {
    9: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    12: [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]],
}
PQ, HLG = 16, 18  # likewise, of the curve
WHITE = 203.0  # cd/m2 of a white page in both (ITU-R BT.2408); what is lighter is cut
STRIP = 256  # rows that are converted at once
FINE = 4096  # steps of light


@dataclass(frozen=True)
class FilmColours:
    """What the numbers of a film's pictures mean."""

    curve: np.ndarray  # (256,) float32, light of the values of each channel
    to_srgb: np.ndarray  # (3, 3) float32, to the light of sRGB's primaries

    @classmethod
    def of(cls, primaries: int, curve: int) -> FilmColours | None:
        """By the numbers of ITU-T H.273; None for what is sRGB's, or as good as that."""
        if primaries not in FILM_PRIMARIES:
            return None
        matrix = np.array(FILM_PRIMARIES[primaries], np.float32)
        return cls(_curve(curve).astype(np.float32), matrix)

    def convert(self, picture: np.ndarray) -> np.ndarray:
        """A picture (height, width, 3) uint8 BGR as sRGB."""
        out = np.empty_like(picture)
        encode = np.rint(255 * to_srgb(np.linspace(0, 1, FINE))).astype(np.uint8)
        to_bgr = np.ascontiguousarray(self.to_srgb[::-1, ::-1])
        for start in range(0, len(picture), STRIP):
            light = cv2.transform(cv2.LUT(picture[start : start + STRIP], self.curve), to_bgr)
            np.take(
                encode,
                np.rint(light.clip(0, 1) * (FINE - 1)).astype(np.int16),
                out=out[start : start + STRIP],
            )
        return out


def _curve(kind: int) -> np.ndarray:
    """(256,): light of each value, 1 is white."""
    value = np.arange(256) / 255
    if kind == PQ:  # ITU-R BT.2100, table 4
        power = value ** (1 / 78.84375)
        light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return 10000 / WHITE * light ** (1 / 0.1593017578125)
    if kind == HLG:  # table 5; shown with 1000 cd/m2, channel by channel
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
        return 1000 / WHITE * scene**1.2
    return to_linear(value)
