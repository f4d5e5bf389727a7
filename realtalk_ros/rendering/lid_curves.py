# SPDX-License-Identifier: Apache-2.0
"""The edges of an eye's lids, along it, in a template and in a picture (NumPy)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SHUT = 0.12  # of the resting opening at which the face model's lids have met
MIN_OPENING = 0.04  # eye widths: the opening near the corners is taken to be at least this
SAMPLES = 33  # along the eye, at which the lids' heights are computed
POSITIONS = np.linspace(0, 1, SAMPLES)
MIDDLE = slice(SAMPLES // 4, -SAMPLES // 4)  # of it, where the lids are farthest apart
# Eye widths by which the shut lids of 20 filmed people meet higher than the model's: straight.
RISE = 0.3 * POSITIONS * (1 - POSITIONS) - 0.03


class RestingLids(NamedTuple):
    """An eye's lids in a template, at SAMPLES evenly spaced u from corner to corner: heights v."""

    upper: np.ndarray  # as the face model has them
    lower: np.ndarray
    middle: np.ndarray  # between them, as the template's landmarks have them, and half the opening
    half: np.ndarray
    width: float  # of the eye

    @classmethod
    def of(cls, rest: np.ndarray, residuals: np.ndarray, width: float) -> RestingLids:
        """Of u and v of the lids (2, N, 2), and of what the template's landmarks add."""
        upper, lower = lid_heights(rest, width)
        template_upper, template_lower = lid_heights(rest + residuals, width)
        half = 0.5 * np.maximum(template_upper - template_lower, 0)
        return cls(upper, lower, 0.5 * (template_upper + template_lower), half, width)

    def curves(self, moved: np.ndarray) -> np.ndarray:
        """(5, SAMPLES): the fields of `LidHeights`, for u and v (2, N, 2) of the lids as the face
        model has them in the picture. Lids that meet in the face model meet in the picture, however
        far apart the landmarks put them in the template."""
        width, middle, half = self.width, self.middle, self.half
        target_upper, target_lower = lid_heights(moved, width)
        opening = self.upper - self.lower
        widening = (target_upper - target_lower - opening) / np.maximum(
            opening, MIN_OPENING * width
        )
        target_middle = middle + 0.5 * (target_upper + target_lower - self.upper - self.lower)
        openness = np.maximum(1 + widening / (1 - SHUT), 0)
        if (most := openness[MIDDLE].max()) < 1:  # the corners close, too
            openness = np.minimum(openness, most)
        target_middle += RISE * width * np.maximum(1 - openness, 0)[MIDDLE].mean()
        curves = np.empty((5, SAMPLES), np.float32)
        curves[0], curves[1] = target_middle + half * openness, target_middle - half * openness
        curves[2], curves[3] = middle + half, middle - half
        curves[4] = np.maximum(1 - openness, 0)
        return curves


def lid_heights(lids: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the upper and the lower lid at SAMPLES along the eye, by u and v (2, N, 2)."""
    u, v = np.maximum.accumulate(lids[..., 0], 1), lids[..., 1]
    at = POSITIONS * width
    return np.interp(at, u[0], v[0]), np.interp(at, u[1], v[1])
