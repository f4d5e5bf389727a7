# SPDX-License-Identifier: Apache-2.0
"""Where an eye is in a template and in a picture, and along which axes (NumPy).

What is drawn there: eyes.py."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from realtalk_ros.rendering.eyes.lid_curves import MIDDLE, RestingLids, lowered

Corner = tuple[int, int] | np.ndarray  # x and y of a pixel
IRIS_RADIUS = 0.62  # cm
MIN_WIDTH = 6.0  # pixels: an eye that is seen from the side is left as it is
CLOSING = 0.02  # closure from which on a lid is taken to close
# How far the patch reaches beside the eye, if its lid closes, too; and above and below the lids, in
# eye widths.
SIDE_MARGIN, REACH, LID_MARGIN = 0.25, 0.6, 0.4


@dataclass(frozen=True, eq=False)  # the same only if it is the same object: `RestingEye.of`
class ProjectedEyes:
    """Both eyes as a template's camera sees them, in normalised coordinates."""

    lids: np.ndarray  # (2, 2, N, 2), without the residuals
    residuals: np.ndarray  # (2, 2, N, 2), of the landmarks, interpolated
    irises: np.ndarray  # (2, 2), with the residuals
    scale: float  # length of a centimetre
    radius: float  # of the irises
    found: bool = False  # whether the irises are where the picture shows them (iris_search.py)
    glowing: bool = False  # as of `Iris`


class MovedEye(NamedTuple):
    """An eye in a picture, and where in the picture its patch lies."""

    side: int
    axes: EyeAxes
    curves: np.ndarray  # (5, SAMPLES), see `RestingLids.curves`
    closure: float
    lowered: float  # how far the upper lid closes it: in a blink as `closure`, hardly in a squint
    iris: list[float]  # its place, x and y from the eye's first corner, pixels, and radius
    movement: list[float]  # along u and v, from what the template shows there
    rows: slice
    columns: slice
    found: bool  # as of ProjectedEyes

    @property
    def turned(self) -> float:
        """Pixels by which the iris moved."""
        return math.hypot(*self.movement)

    @property
    def opened(self) -> float:
        """Pixels by which a lid is more open than in the template; negative: less."""
        upper, lower, template_upper, template_lower, _ = self.curves[:, MIDDLE]
        return max(float((upper - template_upper).max()), float((template_lower - lower).max()))

    @classmethod
    def of(
        cls, template: ProjectedEyes, target: ProjectedEyes, side: int, size: int
    ) -> MovedEye | None:
        """None where the eye is outside the picture of `size` x `size` pixels, or seen from the
        side."""
        resting = RestingEye.of(template, side, size)
        if resting.axes.width < MIN_WIDTH:
            return None
        moved = target.lids[side] * size - 0.5
        axes = resting.axes.moved(moved, resting.ends)
        curves = resting.lids.curves((moved - axes.target_corner) @ axes.directions.T)
        closure = float(curves[4, MIDDLE].mean())
        points = np.concatenate([resting.points, moved + resting.residuals]).reshape(-1, 2)
        beside = REACH if closure > CLOSING else SIDE_MARGIN
        columns, rows = (
            pixels_around(*along, size)
            for along in zip(points.T, (beside * axes.width, LID_MARGIN * axes.width), strict=True)
        )
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        # The iris moves with the head and, within the eye, against it by the gaze.
        irises = (template.irises[side] - target.irises[side]) * size
        place = axes.directions @ (target.irises[side] * size - 0.5 - axes.target_corner)
        return cls(
            side=side,
            axes=axes,
            curves=curves,
            closure=closure,
            lowered=min(lowered(curves), closure),
            iris=[*place.tolist(), template.radius * size],
            movement=(axes.directions @ (axes.shift + irises)).tolist(),
            rows=rows,
            columns=columns,
            found=template.found,
        )


class RestingEye(NamedTuple):
    """What no weights change of an eye, in the pixels of a template."""

    axes: EyeAxes
    lids: RestingLids
    ends: np.ndarray  # (2, 2, 2), the lids' first and last points, without the residuals
    points: np.ndarray  # (2, N, 2), the lids
    residuals: np.ndarray  # (2, N, 2)

    @classmethod
    @lru_cache(maxsize=64)  # of the templates shown last
    def of(cls, template: ProjectedEyes, eye: int, size: int) -> RestingEye:
        """Of a template's crop of `size` x `size` pixels."""
        rest, residuals = template.lids[eye] * size - 0.5, template.residuals[eye] * size
        axes = EyeAxes.of(rest, residuals)
        lids = RestingLids.of(
            (rest - axes.template_corner) @ axes.directions.T,
            residuals @ axes.directions.T,
            axes.width,
            outer=eye,
        )
        return cls(axes, lids, rest[:, [0, -1]], rest + residuals, residuals)


def pixels_around(positions: np.ndarray, margin: float, size: int) -> slice:
    """Of a row of `size` pixels, those within `margin` of some positions."""
    first = math.floor(positions.min() - margin)
    return slice(max(first, 0), min(math.ceil(positions.max() + margin) + 1, size))


@dataclass(frozen=True)
class EyeAxes:
    """Coordinates of an eye in pixels: u from its first corner to the other, v up from that line.

    They have the same directions in the template and in the picture.
    """

    template_corner: np.ndarray  # (2,), where the first corner is in the template
    target_corner: np.ndarray  # (2,), and in the picture
    shift: np.ndarray  # (2,) from one to the other, by which the head moved
    directions: np.ndarray  # (2, 2) float32, unit vectors of u and v in the picture
    width: float  # from corner to corner

    @classmethod
    def of(cls, rest: np.ndarray, residuals: np.ndarray) -> EyeAxes:
        """Of lids (2, N, 2) at rest in pixels: projected, residuals."""
        ends = rest[:, [0, -1]]
        corners = 0.5 * (ends + residuals[:, [0, -1]]).sum(0)
        along = corners[1] - corners[0]
        width = float(np.hypot(*along))
        right, down = along / max(width, 1e-6)
        directions = np.array([[right, down], [down, -right]], np.float32)
        return cls(corners[0], corners[0], np.zeros(2), directions, width)

    def moved(self, lids: np.ndarray, ends: np.ndarray) -> EyeAxes:
        """With projected `lids` (2, N, 2), of which the `ends` are (2, 2, 2) at rest."""
        shift = 0.25 * (lids[:, [0, -1]] - ends).sum((0, 1))
        corner = self.template_corner
        return EyeAxes(corner, corner + shift, shift, self.directions, self.width)

    def pixels(self, low: Corner, high: Corner) -> tuple[np.ndarray, np.ndarray]:
        """U and v (H, W) of the picture's pixels from `low` to `high` (x, y)."""
        corner_x, corner_y = self.target_corner.tolist()  # NumPy's own numbers give float64
        x = np.arange(low[0], high[0], dtype=np.float32) - corner_x
        y = np.arange(low[1], high[1], dtype=np.float32)[:, None] - corner_y
        (u_x, u_y), (v_x, v_y) = self.directions
        return u_x * x + u_y * y, v_x * x + v_y * y

    def to_template(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(2, H, W) float32: x and y in the template of u and v (H, W)."""
        pixels = np.empty((2, *u.shape), np.float32)
        for axis in (0, 1):
            pixels[axis] = (
                self.directions[0, axis] * u
                + self.directions[1, axis] * v
                + float(self.template_corner[axis])
            )
        return pixels
