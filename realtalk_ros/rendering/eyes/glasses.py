# SPDX-License-Identifier: Apache-2.0
"""Finds the rim of glasses around the eyes of a template (NumPy and OpenCV).

A rim is a thin line, darker or lighter than the skin, around both eyes, or over both if there is
none below. So may be a crease or eyeliner, but these end at the eye's corners or come down to them;
a rim goes on above them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.rendering.eyes.open_eye import COLUMNS, OpenEye, smooth

# All lengths are in eye widths. Heights above the line between the eye's corners at which a rim may
# be; COLUMNS in which it is looked for, and how many of them at each end are beyond the eye.
RIMS = np.linspace(0.05, 0.95, 91, dtype=np.float32)
RIM_COLUMNS, BEYOND = slice(12, 69), 7
# It is thinner than so many hundredths of the eye's width and that far above the lid; its contrast,
# a share of the skin's light. The share of the columns, both of all and of those beyond the eye,
# that it spans over the eye where it is clearest, and over the other.
THIN, CLEARANCE, RIM = 17, 0.08, 0.12
MOST = 0.4  # more contrast counts no more
BLUE, DIM = 2.5, 40  # the weight of contrast in the share of blue; grey levels, darker is less sure
CLEAR, FAINT = 0.8, 0.55
RIM_END = 0.26  # least height beyond the eye
RIM_SLOPE = 4  # hundredths of the eye's width by which it rises or falls from column to column
# A whole rim goes around the eye: radii and angles at which it may be, from the eye's middle, two
# turns of which the middle one counts; it is so much wider than high; how far below the lower lid
# it may begin; its mean contrast over both eyes. Its least width: an eye is 30 mm wide, lenses 45
# or more; what is narrower is the outline of a drawn eye.
RADII = np.linspace(0.28, 0.9, 63, dtype=np.float32)
ANGLES, TURN = np.linspace(-np.pi, 3 * np.pi, 144, endpoint=False), slice(36, 108)
WIDER, UNDER, RING, WIDE = 1.6, 0.12, 0.28, 1.5
# A rim below the eye alone: radii and angles, its width by its height, its mean contrast, and the
# height from the eye's middle below which it comes. Creases of 102 people's photographs have less
# contrast, or end above.
LOWER_RADII = np.linspace(0.35, 1.3, 96, dtype=np.float32)
LOWER_ANGLES = np.deg2rad(np.linspace(195, 345, 76))
LOWER_WIDER, LOWER_RIM, LOW = 1.15, 0.2, -0.55


def rim_heights(
    image: np.ndarray, eyes: list[OpenEye], hair: list[np.ndarray]
) -> list[np.ndarray] | None:
    """How far above the lid, (81,) for each eye, the skin ends at the rim of glasses, if not at
    `hair` (81,); None without glasses.

    Where the brow hides it over one eye it is taken from the other.
    """
    for sign in (1, -1):
        rings = [Ring.around(image, *one, sign) for one in zip(eyes, hair, strict=True)]
        contrast, beside, width = np.mean([(r.contrast, r.beside, r.width) for r in rings], 0)
        if contrast > RING and beside > RIM and width > WIDE:
            return [ring.inner - eye.upper - 0.03 for ring, eye in zip(rings, eyes, strict=True)]
        lines = [Line.above(image, *one, sign) for one in zip(eyes, hair, strict=True)]
        best = max(lines, key=lambda line: sum(line.shares))
        if all(best.shares > CLEAR) and all(np.min([line.shares for line in lines], 0) > FAINT):
            inner = (best.inner if line is best else best.inner[::-1] for line in lines)
            return [height - eye.upper - 0.03 for height, eye in zip(inner, eyes, strict=True)]
    return None


def lowest_rims(image: np.ndarray, eyes: list[OpenEye]) -> list[np.ndarray] | None:
    """Where below each eye the rim of glasses is lowest, (2,) x and y, pixels of the image; None
    where there is none below, as without glasses.

    Lenses may reach to the middle of the cheeks, and above the brows, where `rim_heights` does not
    find them.
    """
    u = 0.5 + LOWER_WIDER * LOWER_RADII[:, None] * np.cos(LOWER_ANGLES)
    for sign in (1, -1):
        found, contrasts, heights = [], [], []
        for eye in eyes:
            middle = (eye.upper[20:61].mean() + eye.lower[20:61].mean()) / 2
            v = middle + LOWER_RADII[:, None] * np.sin(LOWER_ANGLES)
            clear = (v < np.interp(u, COLUMNS, eye.lower) - UNDER) | (u < -0.14) | (u > 1.14)
            lines = thin_lines(eye.sample(image, u, v), sign) * clear
            rows, columns = ridge(lines), np.arange(len(LOWER_ANGLES))
            lowest = v[rows, columns].argmin()
            at = (values[rows[lowest], lowest] * eye.axes.width for values in (u, v))
            found.append(np.array(eye.axes.to_template(*at)))
            contrasts.append(float(lines[rows, columns].mean()))
            heights.append(v[rows[lowest], lowest] - middle)
        if np.mean(contrasts) > LOWER_RIM and min(contrasts) > RIM and max(heights) < LOW:
            return found
    return None


@dataclass(frozen=True)
class Ring:
    """The clearest thin line around an eye."""

    contrast: float  # its mean
    beside: float  # that beside the eye
    width: float  # from side to side
    inner: np.ndarray  # (81,), height of the eye's side of its upper half

    @classmethod
    def around(cls, image: np.ndarray, eye: OpenEye, hair: np.ndarray, sign: int) -> Ring:
        """Of the skin below `hair` (81,). sign: 1 for dark lines, -1 for light ones."""
        middle = (eye.upper[20:61].mean() + eye.lower[20:61].mean()) / 2
        u = 0.5 + WIDER * RADII[:, None] * np.cos(ANGLES)
        v = middle + RADII[:, None] * np.sin(ANGLES)
        upper, lower, top = (np.interp(u, COLUMNS, c) for c in (eye.upper, eye.lower, hair))
        beyond = (u < -0.14) | (u > 1.14)
        clear = beyond | (v > upper + CLEARANCE) | (v < lower - UNDER)
        lines = thin_lines(eye.sample(image, u, v), sign) * (clear & (v < upper + top + 0.05))
        rows, turn = ridge(lines)[TURN], np.arange(len(ANGLES))[TURN]
        contrast = lines[rows, turn]
        inner = inner_side(lines[:, turn], rows, contrast), turn
        order = np.argsort(u[inner][: len(turn) // 2])  # of its upper half
        sides = np.abs(np.sin(ANGLES[turn])) < 0.5
        return cls(
            float(contrast.mean()),
            float(contrast[sides].mean()),
            float(2 * np.abs(u[rows, turn][sides] - 0.5).mean()),
            smooth(np.interp(COLUMNS, u[inner][order], v[inner][order]), 3),
        )


@dataclass(frozen=True, eq=False)
class Line:
    """The clearest thin line above an eye."""

    shares: np.ndarray  # (2,), how much of the columns it spans; of those beyond the eye
    inner: np.ndarray  # (81,), height of its side at the eye

    @classmethod
    def above(cls, image: np.ndarray, eye: OpenEye, hair: np.ndarray, sign: int) -> Line:
        """Of the skin below `hair` (81,). sign: 1 for dark lines, -1 for light ones."""
        lines = thin_lines(eye.strip(image, 0 * eye.upper, RIMS), sign)
        beyond = (COLUMNS < -0.03) | (COLUMNS > 1.03)
        lowest = np.maximum(eye.upper + CLEARANCE, np.where(beyond, RIM_END, 0))
        heights = RIMS[:, None]
        possible = (heights > lowest) & (heights < hair + eye.upper + 0.05)
        lines = (lines * possible)[:, RIM_COLUMNS]
        rows = ridge(lines)
        contrast = lines[rows, np.arange(len(rows))]
        across = contrast > RIM
        inner = RIMS[inner_side(lines, rows, contrast)]
        return cls(
            np.array([across.mean(), np.r_[across[:BEYOND], across[-BEYOND:]].mean()]),
            np.interp(COLUMNS, COLUMNS[RIM_COLUMNS], smooth(inner, 3)).astype(np.float32),
        )


def thin_lines(strip: np.ndarray, sign: int) -> np.ndarray:
    """(H, W): contrast of thin lines across the columns of a strip (H, W, 3) to their surroundings:
    by what share they are darker or, like gold, yellower (sign 1), or lighter or bluer (-1)."""
    column = np.ones((THIN, 1), np.uint8)
    light = strip.mean(-1)
    blue = (strip[..., 0] + DIM) / (light + DIM)
    contrasts = []
    for values, weight in ((light, 1), (blue, BLUE)):
        closed = cv2.morphologyEx(values, cv2.MORPH_CLOSE, column)
        opened = cv2.morphologyEx(values, cv2.MORPH_OPEN, column)
        line = closed - values if sign > 0 else values - opened
        contrasts.append(weight * line / np.maximum(closed, 1e-3))
    return np.minimum(np.maximum(*contrasts), MOST)


def inner_side(lines: np.ndarray, rows: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """(columns,): the last row before `rows` in which `lines` has less than half its contrast."""
    numbers = np.arange(len(lines))[:, None]
    return np.where((numbers <= rows) & (lines <= 0.5 * contrast), numbers, 0).max(0)


def ridge(lines: np.ndarray) -> np.ndarray:
    """(columns,): the row in each column of `lines` (rows, columns) of the path along which their
    sum is greatest (dynamic programming)."""
    total, reach = lines.copy(), np.ones((2 * RIM_SLOPE + 1, 1), np.uint8)
    for column in range(1, lines.shape[1]):
        total[:, column] += cv2.dilate(total[:, column - 1 : column], reach)[:, 0]
    rows = [int(total[:, -1].argmax())]
    for column in range(lines.shape[1] - 2, -1, -1):
        first = max(rows[-1] - RIM_SLOPE, 0)
        rows.append(first + int(total[first : rows[-1] + RIM_SLOPE + 1, column].argmax()))
    return np.array(rows[::-1])
