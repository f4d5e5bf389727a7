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
BLINK = 0.85  # of what a blink closes: the upper lid's share, in the face model
# Eye widths by which the shut lids of seven filmed people meet higher than the model's, from the
# outer corner to the inner one (docs/experiments.md).
RISE = 0.21 * POSITIONS - 0.08 * POSITIONS**2 - 0.04


class RestingLids(NamedTuple):
    """An eye's lids in a template, at SAMPLES evenly spaced u from corner to corner: heights v."""

    upper: np.ndarray  # as the face model has them
    lower: np.ndarray
    middle: np.ndarray  # between them, as the template's landmarks have them, and half the opening
    half: np.ndarray
    rise: np.ndarray  # by which they meet higher than the face model's
    width: float  # of the eye

    @classmethod
    def of(
        cls, rest: np.ndarray, residuals: np.ndarray, width: float, *, outer: int
    ) -> RestingLids:
        """Of u and v of the lids (2, N, 2), and of what the template's landmarks add. `outer`: 0 if
        the first corner is the outer one, else 1."""
        upper, lower = lid_heights(rest, width)
        template_upper, template_lower = lid_heights(rest + residuals, width)
        return cls(
            upper=upper,
            lower=lower,
            middle=0.5 * (template_upper + template_lower),
            half=0.5 * np.maximum(template_upper - template_lower, 0),
            rise=width * (RISE if outer == 0 else RISE[::-1]),
            width=width,
        )

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
        # Squared: lids that are half shut stay nearly where the face model has them.
        target_middle += self.rise * np.maximum(1 - openness, 0)[MIDDLE].mean() ** 2
        curves = np.empty((5, SAMPLES), np.float32)
        curves[0], curves[1] = target_middle + half * openness, target_middle - half * openness
        curves[2], curves[3] = middle + half, middle - half
        curves[4] = np.maximum(1 - openness, 0)
        return curves


def lowered(curves: np.ndarray) -> float:
    """How far the upper lid of `RestingLids.curves` came down, 0..1, in blinks as far as it closes.
    In smiles and squints the lower lid does that."""
    upper, _, template_upper, template_lower, _ = curves[:, MIDDLE]
    opening = np.maximum(template_upper - template_lower, 1e-3)
    return max(float(((template_upper - upper) / opening).mean()) / BLINK, 0.0)


def lid_heights(lids: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the upper and the lower lid at SAMPLES along the eye, by u and v (2, N, 2)."""
    u, v = np.maximum.accumulate(lids[..., 0], 1), lids[..., 1]
    at = POSITIONS * width
    return np.interp(at, u[0], v[0]), np.interp(at, u[1], v[1])
