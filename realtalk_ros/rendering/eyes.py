# SPDX-License-Identifier: Apache-2.0
"""Lids and irises, moved to where the 3D face model puts them (NumPy).

An eye consists of layers. The eyeball stays in its place while lids come down over it, and turns
behind them in a glance. A smooth warp (training/renderer/landmark_warp.py) knows no layers: it
would squeeze the whole eye into the slit of a shut one. So around the eyes the sampling grid comes
from here:

- Between the lids lie the template's own pixels of the eyeball; the iris is moved by the gaze.
- Above and below lie the template's pixels of the lids' skin, stretched outwards from their edges.

The map of the mouth's interior (mouth.py) contains the eyes, too. Its second channel is where the
eyeball is visible, its third where a lid came down over it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.facekit import gaze_angles
from realtalk_ros.face_model.rotations import forward
from realtalk_ros.rendering import large_eyes
from realtalk_ros.rendering.camera import Cameras
from realtalk_ros.rendering.eyes_model import load
from realtalk_ros.rendering.lid_curves import MIDDLE, SAMPLES, SHUT, RestingLids

Corner = tuple[int, int] | np.ndarray  # x and y of a pixel
SIDES = "Right", "Left"
IRIS_RADIUS, IRIS_DEPTH = 0.62, 1.4  # cm; its depth is from the eyeball's centre
MIN_WIDTH = 6.0  # pixels: an eye that is seen from the side is left as it is
EXTENDED = np.clip(np.arange(-SAMPLES, 2 * SAMPLES), 0, SAMPLES - 1)  # beside it, its ends go on
# How far the patch reaches beside the eye, and above and below the lids, in eye widths.
SIDE_MARGIN, LID_MARGIN = 0.25, 0.4
# In iris radii: what is nearer moves with the iris, beyond it the movement fades out over FADE.
RIGID, FADE = 1.1, 0.8
# Of a lid that closes. Closures: from where on it is painted (eyelids.py); between which two it is
# painted more and more; between which two what lies below it is painted, too.
CLOSING, PAINTED, SEALED = 0.02, (0.05, 0.3), (0.7, 1.0)
# In eye widths: the skin above the lid that it carries along, beyond which all stays; how far the
# paint reaches beside the eye and below it, and its soft border.
STRETCHED, REACH, BORDER = 0.22, 0.44, 0.08
# The line of lashes and their shade, above and below the lid's edge: sd in eye widths, share of
# their darkness. Between which places along the eye they fade. Fitted to the same people.
LASHES, LINE = (0.016, 0.038), 0.5
SHADE, SHADED = (0.035, 0.07), 0.65
OUTER, INNER = (0.2, -0.12), (1.22, 0.9)
HIDDEN_RIM = 1.5  # pixels: the wet rim of the lower lid, which a shut eye hides
MAX_OVERSHOOT = 0.75  # pixels beyond the template's lids from which the eyeball may be sampled


@dataclass(frozen=True, eq=False)  # the same only if it is the same object: `RestingEye.of`
class ProjectedEyes:
    """Both eyes as a template's camera sees them, in normalised coordinates."""

    lids: np.ndarray  # (2, 2, N, 2), without the residuals
    residuals: np.ndarray  # (2, 2, N, 2), of the landmarks, interpolated
    irises: np.ndarray  # (2, 2), with the residuals
    scale: float  # length of a centimetre


@dataclass(frozen=True)
class EyePatch:
    """The part of a picture around an eye, and where in the template its pixels lie."""

    rows: slice
    columns: slice
    sampling_grid: np.ndarray  # (2, H, W), x and y in the template, as the network knows it
    blend: np.ndarray  # (H, W), weight of this sampling grid, 0..1
    visibility: np.ndarray  # (H, W, 2) uint8: of the eyeball, and of a lid that came down over it
    closing: ClosingLid | None  # None where the lid is as open as in the template


@dataclass(frozen=True)
class ClosingLid:
    """What is shown of a lid that closes, in the pixels of an `EyePatch`."""

    sampling_grid: np.ndarray  # (2, H, W), as EyePatch's; skin that is far from the lid stays
    blend: np.ndarray  # (H, W), weight of it
    # (H, W, 2) uint8: how far painted skin (eyelids.py) covers it, lashes; None: not at all yet
    layers: np.ndarray | None


class Eyes:
    """One person's eyes, seen by the cameras of some templates.

    identity: (100,).
    residuals: (T, 68, 2), template landmarks minus their projections; the eyes' move the lids.
    resting_weights: (52,), at which the person is at rest.
    """

    def __init__(
        self,
        identity: np.ndarray,
        cameras: Cameras,
        residuals: np.ndarray,
        resting_weights: np.ndarray,
    ):
        model, self._cameras = load(), cameras
        self._lids = model.lids + np.tensordot(identity, model.modes, 1).astype(np.float32)
        self._balls = model.balls + np.tensordot(identity, model.ball_modes, 1).astype(np.float32)
        eyes = residuals[:, None, None, landmarks.EYES].astype(np.float32)
        at_rest = self._lids + (resting_weights @ model.expressions).reshape(self._lids.shape)
        self._expressions = large_eyes.shutting(model.expressions, at_rest, SHUT)
        self._residuals = model.interpolation @ eyes
        self._iris_residuals = self._residuals.mean((2, 3))

    def project(self, weights: np.ndarray, template: int) -> ProjectedEyes:
        """The eyes at weights (52,), seen by a template's camera."""
        lids = self._lids + (weights @ self._expressions).reshape(self._lids.shape)
        gaze = np.array([forward(*gaze_angles(weights, side)) for side in SIDES], np.float32)
        irises, project = self._balls + IRIS_DEPTH * gaze, self._cameras.project
        return ProjectedEyes(
            lids=project(lids, template)[..., :2],
            residuals=self._residuals[template],
            irises=project(irises, template)[:, :2] + self._iris_residuals[template],
            scale=float(self._cameras.scale[template]),
        )


def eye_patches(template: ProjectedEyes, target: ProjectedEyes, size: int) -> list[EyePatch]:
    """The patches of a picture of `size` x `size` pixels that shows the eyes as `target`. An eye
    that is outside the picture or seen from the side has none."""
    patches = (eye_patch(template, target, eye, size) for eye in (0, 1))
    return [patch for patch in patches if patch is not None]


def draw_patches(patches: list[EyePatch], eye_grid: np.ndarray, mouth_interior: np.ndarray) -> None:
    """Writes patches into `eye_grid` (S, S, 3), sampling grid and blend weight, and into mouth.py's
    map `mouth_interior` (S, S, 3) uint8."""
    for patch in patches:
        grid = np.stack([*patch.sampling_grid, patch.blend], -1)
        eye_grid[patch.rows, patch.columns] = grid
        mouth_interior[patch.rows, patch.columns, 1:] = patch.visibility


def eye_patch(
    template: ProjectedEyes, target: ProjectedEyes, eye: int, size: int
) -> EyePatch | None:
    """The patch of one eye; None where it is outside the picture or seen from the side."""
    resting = RestingEye.of(template, eye, size)
    if resting.axes.width < MIN_WIDTH:
        return None
    moved = target.lids[eye] * size - 0.5
    axes = resting.axes.moved(moved, resting.ends)
    curves = resting.lids.curves((moved - axes.target_corner) @ axes.directions.T)
    closure = float(curves[4, MIDDLE].mean())
    closes = closure > CLOSING
    points = np.concatenate([resting.points, moved + resting.residuals]).reshape(-1, 2)
    margins = (REACH if closes else SIDE_MARGIN) * axes.width, LID_MARGIN * axes.width
    columns, rows = (pixels_around(*along, size) for along in zip(points.T, margins, strict=True))
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return None
    u, v = axes.pixels((columns.start, rows.start), (columns.stop, rows.stop))
    lids = LidHeights.at(u, axes.width, curves)
    over = v - lids.upper > lids.lower - v  # nearer to the upper lid
    skin, outside, blend = lids.skin(v, over, axes.width)
    blend *= np.clip(1 - np.maximum(-u, u - axes.width) / (SIDE_MARGIN * axes.width), 0, 1)
    showing = np.clip(0.5 - outside, 0, 1) * ((u > 0) & (u < axes.width))
    visibility = np.zeros((*u.shape, 2), np.uint8)
    visibility[..., 0] = 255 * showing
    if curves[4].any():
        visibility[..., 1] = 255 * blend * lids.closure * over * (1 - showing)
    # The iris moves with the head and, within the eye, against it by the gaze.
    irises = (template.irises[eye] - target.irises[eye]) * size
    movement = (axes.directions @ (axes.shift + irises)).tolist()
    iris = (axes.directions @ (target.irises[eye] * size - 0.5 - axes.target_corner)).tolist()
    radius = IRIS_RADIUS * template.scale * size
    with_iris = iris_weight(u - iris[0], v - iris[1], radius, movement)
    opened = outside < 0
    moved_u = np.where(opened, u + with_iris * movement[0], u)
    eyeball = lids.eyeball(v + with_iris * movement[1])
    closing = None
    if closes:
        carried, kept = lids.carried(v, axes.width)
        closing = ClosingLid(
            axes.to_template(moved_u, np.where(opened, eyeball, np.where(over, carried, skin))),
            np.where(over & ~opened, kept * np.minimum(1, 3 * blend), blend),
            lids.layers(u, v, axes.width, closure, eye) if closure > PAINTED[0] else None,
        )
    return EyePatch(
        rows,
        columns,
        sampling_grid=axes.to_template(moved_u, np.where(opened, eyeball, skin)),
        blend=blend,
        visibility=visibility,
        closing=closing,
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
        return replace(self, target_corner=self.template_corner + shift, shift=shift)

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


def iris_weight(
    x: np.ndarray, y: np.ndarray, radius: float, movement: Sequence[float]
) -> np.ndarray:
    """(H, W) 0..1: how far pixels at x, y from an iris's centre share its `movement` (2,)."""
    fade = max(FADE * radius, 1.4 * math.hypot(*movement))
    return np.clip(1 + (RIGID * radius - cv2.magnitude(x, y)) / fade, 0, 1)


@dataclass(frozen=True)
class LidHeights:
    """Heights v of an eye's lids at each pixel of a patch (H, W)."""

    upper: np.ndarray  # in the picture
    lower: np.ndarray
    template_upper: np.ndarray  # in the template
    template_lower: np.ndarray
    closure: np.ndarray  # how far the lids are shut in the picture, 0..1

    @classmethod
    def at(cls, u: np.ndarray, width: float, curves: np.ndarray) -> LidHeights:
        """Interpolates `RestingLids.curves` to pixels at u (H, W)."""
        # Far from an image's border, where OpenCV takes four times as long.
        position = u * ((SAMPLES - 1) / width) + float(SAMPLES)
        row = np.ones_like(position)
        # At most 4 channels at once.
        heights, closure = (
            cv2.remap(np.repeat(part.T[None, EXTENDED], 3, 0), position, row, cv2.INTER_LINEAR)
            for part in (curves[:4], curves[4:])
        )
        upper, lower, template_upper, template_lower = cv2.split(heights)
        return cls(upper, lower, template_upper, template_lower, closure)

    def skin(
        self, v: np.ndarray, over: np.ndarray, width: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For pixels at heights v, of which those `over` the eye's middle belong to the upper lid:
        the height at which the template shows this skin; the pixel's distance from the open eye,
        negative inside of it; how far the skin follows the lid, 0..1."""
        movement = np.where(
            over, self.template_upper - self.upper, self.template_lower - self.lower
        )
        outside = np.where(over, v - self.upper, self.lower - v)
        follow = 1 - np.maximum(outside, 0) / (LID_MARGIN * width + np.abs(movement))
        skin = v + movement
        lowest = np.minimum(skin, self.template_lower - HIDDEN_RIM * self.closure)
        return np.where(over, skin, lowest), outside, np.maximum(follow, 0)

    def carried(self, v: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Heights at which the template shows the skin of a closing upper lid, and the weight of
        them: the skin up to STRETCHED above the lid is stretched, what is above it stays."""
        top = self.template_upper + STRETCHED * width
        stretch = (STRETCHED * width) / np.maximum(top - self.upper, 1)
        kept = 1 - (v - top) / ((LID_MARGIN - STRETCHED) * width)
        return np.where(v < top, top - (top - v) * stretch, v), np.clip(kept, 0, 1)

    def layers(
        self, u: np.ndarray, v: np.ndarray, width: float, closure: float, eye: int
    ) -> np.ndarray:
        """(H, W, 2) uint8: how far painted skin covers the template, and the line of lashes."""
        edge = v - self.upper
        x = u / width if eye == 0 else 1 - u / width
        beside = np.maximum(-u, u - width)
        painted = float(smoothstep(closure, *PAINTED))
        cover = painted * np.clip(edge + 0.5, 0, 1)
        cover = np.maximum(cover, float(smoothstep(closure, *SEALED)))
        far = np.maximum(v - float(self.template_upper.max()), float(self.template_lower.min()) - v)
        cover *= smoothstep(far / width, LID_MARGIN, LID_MARGIN - BORDER)
        cover *= smoothstep(beside / width, REACH, REACH - BORDER)
        tips = 1 + 0.2 * np.sin(53 * x + 14 * edge / width) * np.cos(19 * x)  # single lashes

        def near(above: float, below: np.ndarray | float) -> np.ndarray:  # sds of an edge's shade
            sd = np.where(edge > 0, np.float32(above), np.asarray(below, np.float32)) * width
            return np.exp(-0.5 * (edge / np.maximum(sd, 0.7)) ** 2)

        line, shade = near(LASHES[0], LASHES[1] * tips), near(*SHADE)
        lashes = painted * np.minimum(LINE * line + SHADED * shade, 1)
        lashes *= smoothstep(x, OUTER[1], OUTER[0]) * smoothstep(x, *INNER)
        return (255 * cv2.merge([cover, lashes])).astype(np.uint8)

    def eyeball(self, v: np.ndarray) -> np.ndarray:
        """The heights at which the template shows the eyeball: v, kept between its lids."""
        above = np.clip(self.upper - self.template_upper, 0, MAX_OVERSHOOT)
        below = np.clip(self.template_lower - self.lower, 0, MAX_OVERSHOOT)
        middle = (self.template_upper + self.template_lower) / 2
        height = np.minimum(v, np.maximum(self.template_upper - above, middle))
        return np.maximum(height, np.minimum(self.template_lower + below, middle))
