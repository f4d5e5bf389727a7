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
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.face_model.rotations import forward
from realtalk_ros.rendering.common.boxes import bounding_box, is_empty
from realtalk_ros.rendering.common.camera import Cameras
from realtalk_ros.rendering.common.generated_face import Lids
from realtalk_ros.rendering.eyes import large_eyes
from realtalk_ros.rendering.eyes.eyes_model import load
from realtalk_ros.rendering.eyes.lid_curves import SAMPLES
from realtalk_ros.rendering.eyes.moved_eye import (
    CLOSING,
    LID_MARGIN,
    REACH,
    SIDE_MARGIN,
    MovedEye,
    ProjectedEyes,
)

SIDES = "Right", "Left"
IRIS_DEPTH = 1.4  # cm from the eyeball's centre
EXTENDED = np.clip(np.arange(-SAMPLES, 2 * SAMPLES), 0, SAMPLES - 1)  # beside it, its ends go on
# In iris radii: what is nearer moves with the iris, beyond it the movement fades out over FADE.
RIGID, FADE = 1.1, 0.8
# Of a lid that closes. How far it came down, between which it is painted more and more
# (eyelids.py): where the lower lid narrows the eye, as in a smile, it keeps its own skin. And
# closures between which what lies below it is painted, too.
PAINTED, SEALED = (0.05, 0.3), (0.7, 1.0)
# In eye widths: the skin above the lid that it carries along, beyond which all stays; the paint's
# soft border.
STRETCHED, BORDER = 0.22, 0.08
# The line of lashes and their shade, above and below the lid's edge: sd in eye widths, share of
# their darkness. Between which places along the eye they fade. Fitted to filmed blinks
# (docs/experiments.md).
LASHES, LINE = (0.016, 0.038), 0.5
SHADE, SHADED = (0.035, 0.07), 0.65
OUTER, INNER = (0.15, -0.25), (1.3, 0.95)
HIDDEN_RIM = 1.5  # pixels: the wet rim of the lower lid, which a shut eye hides
MAX_OVERSHOOT = 0.75  # pixels beyond the template's lids from which the eyeball may be sampled


@dataclass(frozen=True)
class EyePatch:
    """The part of a picture around an eye, and where in the template its pixels lie."""

    rows: slice
    columns: slice
    # (2, H, W), x and y in the template; a lid that closes is where the networks learned it
    sampling_grid: np.ndarray
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
        self._expressions = large_eyes.shutting(model.expressions, at_rest)
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
    eyes = [eye for side in (0, 1) if (eye := MovedEye.of(template, target, side, size))]
    return draw_eyes(eyes) if eyes else []


def draw_visibility(patches: list[EyePatch], mouth_interior: np.ndarray) -> None:
    """Writes patches into mouth.py's map `mouth_interior` (S, S, 3) uint8."""
    for patch in patches:  # OpenCV copies channels in a quarter of NumPy's time
        place = mouth_interior[patch.rows, patch.columns]
        cv2.mixChannels([patch.visibility], [place], [0, 1, 1, 2])


def warp_eyes(patches: list[EyePatch], sampling_grid: np.ndarray) -> Lids | None:
    """Corrects, around the eyes, where in the template the pixels of what is shown lie:
    `sampling_grid` (2, S, S), x and y, in place. What is above a closing lid stays. Returns what is
    painted over it; None: nothing."""
    layers = None
    for patch in patches:
        place = patch.rows, patch.columns
        closing = patch.closing
        wanted = closing or patch
        change(sampling_grid[:, patch.rows, patch.columns], wanted.sampling_grid, wanted.blend)
        if closing is not None and closing.layers is not None:
            if layers is None:
                layers = np.zeros((*sampling_grid.shape[1:], 2), np.uint8)
            layers[place] = np.maximum(layers[place], closing.layers)
    if layers is None:
        return None
    box = bounding_box(cv2.max(*cv2.split(layers)))
    return None if is_empty(box) else Lids(layers, *box)


def change(grid: np.ndarray, wanted: np.ndarray, weight: np.ndarray) -> None:
    """Moves a sampling grid (2, H, W) in place towards the one `wanted`, by `weight` (H, W)."""
    grid += weight * (wanted - grid)


def draw_eyes(eyes: Sequence[MovedEye]) -> list[EyePatch]:
    """Their patches. Both eyes are computed side by side, as one picture: many short calls of NumPy
    take long, and not the pixels."""
    pixels = EyePixels(eyes)
    width, (u, v) = pixels.width, pixels.places
    lids = LidHeights.at(u, width, [eye.curves for eye in eyes], pixels.number)
    over = v - lids.upper > lids.lower - v  # nearer to the upper lid
    skin, outside, blend = lids.skin(v, over, width)
    blend *= np.clip(1 - np.maximum(-u, u - width) / (SIDE_MARGIN * width), 0, 1)
    inside = np.clip(0.5 - outside, 0, 1)
    showing = inside * ((u > 0) & (u < width))
    visible = (255 * showing).astype(np.uint8)
    covered = np.zeros_like(visible)
    if any(eye.curves[4].any() for eye in eyes):
        covered = (255 * blend * lids.closure * over * (1 - showing)).astype(np.uint8)
    seen = cv2.merge([visible, covered])
    with_iris = pixels.iris_weight(u, v)
    opened = outside < 0
    # How much of a pixel lies between the lids. By whole pixels, single ones would flash at the
    # edge of a lid that moves slowly.
    inside = np.minimum(inside, np.maximum(lids.upper - lids.lower, 0))
    moved_u = u + inside * (with_iris * pixels.movement[0])
    eyeball = lids.eyeball(v + with_iris * pixels.movement[1])
    grid = pixels.in_template(moved_u, skin + inside * (eyeball - skin))
    closing: list[ClosingLid | None] = [None] * len(eyes)
    if any(eye.closure > CLOSING for eye in eyes):
        carried, kept = lids.carried(v, width)
        # The skin goes over to that as the lid comes down: it would jump below raised or lowered
        # brows, with which it has moved.
        share = over * pixels.painted
        lid = skin + share * (carried - skin)
        shown = lid + inside * (eyeball - lid)
        share *= ~opened
        weight = blend + share * (kept * np.minimum(1, 3 * blend) - blend)
        closing = closing_lids(pixels, lids, pixels.in_template(moved_u, shown), weight)
    return [
        EyePatch(
            rows=eye.rows,
            columns=eye.columns,
            sampling_grid=grid[:, part[0], part[1]],
            blend=blend[part],
            visibility=seen[part],
            closing=lid,
        )
        for eye, part, lid in zip(eyes, pixels.parts, closing, strict=True)
    ]


def select(where: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """As `np.where`, which takes three times as long: of arrays (H, W) float32, by one of bool."""
    return cv2.copyTo(one, where.view(np.uint8), other.copy())


def closing_lids(
    pixels: EyePixels, lids: LidHeights, sampling_grid: np.ndarray, blend: np.ndarray
) -> list[ClosingLid | None]:
    """Those of each eye. Arguments as of ClosingLid, of all pixels."""
    painted = [eye.lowered > PAINTED[0] for eye in pixels.eyes]
    layers = lids.layers(pixels) if any(painted) else None
    return [
        ClosingLid(
            sampling_grid[:, rows, columns],
            blend[rows, columns],
            layers[rows, columns] if layers is not None and paint else None,
        )
        if eye.closure > CLOSING
        else None
        for eye, (rows, columns), paint in zip(pixels.eyes, pixels.parts, painted, strict=True)
    ]


class EyePixels:
    """The pixels of some eyes' patches side by side, (H, W). What is a number for an eye, is (W,)
    here."""

    def __init__(self, eyes: Sequence[MovedEye]):
        self.eyes = eyes
        widths = [eye.columns.stop - eye.columns.start for eye in eyes]
        heights = [eye.rows.stop - eye.rows.start for eye in eyes]
        ends = np.cumsum(widths).tolist()
        self.parts = [
            (slice(height), slice(end - width, end))
            for height, width, end in zip(heights, widths, ends, strict=True)
        ]
        self._widths = widths
        numbers = [
            (
                eye.axes.width,  # 0
                eye.columns.start - (end - width),  # 1
                eye.rows.start,  # 2
                *eye.axes.target_corner,  # 3, 4
                *eye.axes.template_corner,  # 5, 6
                *eye.axes.directions.ravel(),  # 7 to 10
                *eye.iris,  # 11 to 13
                *eye.movement,  # 14, 15
                max(FADE * eye.iris[2], 1.4 * math.hypot(*eye.movement)),  # 16
                k,  # 17
                float(smoothstep(eye.lowered, *PAINTED)),  # 18
            )
            for k, (eye, width, end) in enumerate(zip(eyes, widths, ends, strict=True))
        ]
        table = self.spread(numbers)
        self.width, first, top, corner_x, corner_y = table[:5]
        self._corner, (u_x, u_y, v_x, v_y) = table[5:7], table[7:11]
        self._directions = (u_x, v_x), (u_y, v_y)
        self._iris, self.movement = table[11:14], table[14:16]
        self._fade, self.number, self.painted = table[16:]
        x = np.arange(ends[-1], dtype=np.float32) + first - corner_x
        y = np.arange(max(heights), dtype=np.float32)[:, None] + top - corner_y
        self.places = u_x * x + u_y * y, v_x * x + v_y * y  # u and v, see `EyeAxes`

    def spread(self, numbers: Sequence[Sequence[float]]) -> np.ndarray:
        """(n, W) float32, of n numbers for each eye."""
        return np.repeat(np.array(numbers, np.float32).T, self._widths, axis=1)

    def iris_weight(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(H, W) 0..1: how far pixels at u and v share the iris's movement."""
        at_u, at_v, radius = self._iris
        return np.clip(1 + (RIGID * radius - cv2.magnitude(u - at_u, v - at_v)) / self._fade, 0, 1)

    def in_template(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(2, H, W) float32: x and y in the template of u and v (H, W)."""
        found = np.empty((2, *u.shape), np.float32)
        for out, (by_u, by_v), corner in zip(found, self._directions, self._corner, strict=True):
            np.multiply(by_u, u, out=out)
            out += by_v * v
            out += corner
        return found


@dataclass(frozen=True)
class LidHeights:
    """Heights v of an eye's lids at each pixel of a patch (H, W)."""

    upper: np.ndarray  # in the picture
    lower: np.ndarray
    template_upper: np.ndarray  # in the template
    template_lower: np.ndarray
    closure: np.ndarray  # how far the lids are shut in the picture, 0..1

    @classmethod
    def at(
        cls, u: np.ndarray, width: np.ndarray, curves: Sequence[np.ndarray], number: np.ndarray
    ) -> LidHeights:
        """Interpolates `RestingLids.curves` of some eyes to pixels at u (H, W), each of the eye of
        its column, `number` (W,)."""
        # Far from an image's border, where OpenCV takes four times as long.
        position = u * ((SAMPLES - 1) / width) + float(SAMPLES)
        row = np.empty_like(position)
        row[:] = 3 * number + 1
        along = np.repeat(np.stack(curves).swapaxes(1, 2)[:, EXTENDED], 3, 0)
        # At most 4 channels at once.
        heights, closure = (
            cv2.remap(np.ascontiguousarray(along[..., part]), position, row, cv2.INTER_LINEAR)
            for part in (slice(4), slice(4, None))
        )
        upper, lower, template_upper, template_lower = cv2.split(heights)
        return cls(upper, lower, template_upper, template_lower, closure)

    def skin(
        self, v: np.ndarray, over: np.ndarray, width: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For pixels at heights v, of which those `over` the eye's middle belong to the upper lid:
        the height at which the template shows this skin; the pixel's distance from the open eye,
        negative inside of it; how far the skin follows the lid, 0..1."""
        movement = select(over, self.template_upper - self.upper, self.template_lower - self.lower)
        outside = select(over, v - self.upper, self.lower - v)
        follow = 1 - np.maximum(outside, 0) / (LID_MARGIN * width + np.abs(movement))
        skin = v + movement
        rim = 0.5 - (0.5 + HIDDEN_RIM) * self.closure  # as in `eyeball`
        lowest = np.minimum(skin, self.template_lower + rim)
        return select(over, skin, lowest), outside, np.maximum(follow, 0)

    def carried(self, v: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights at which the template shows the skin of a closing upper lid, and the weight of
        them: the skin up to STRETCHED above the lid is stretched, what is above it stays."""
        top = self.template_upper + STRETCHED * width
        stretch = (STRETCHED * width) / np.maximum(top - self.upper, 1)
        kept = 1 - (v - top) / ((LID_MARGIN - STRETCHED) * width)
        return select(v < top, top - (top - v) * stretch, v), np.clip(kept, 0, 1)

    def layers(self, pixels: EyePixels) -> np.ndarray:
        """(H, W, 2) uint8: how far painted skin covers the template, and the line of lashes."""
        width, (u, v) = pixels.width, pixels.places
        painted = pixels.painted
        sealed, turned, highest, lowest = pixels.spread(
            [
                (
                    float(smoothstep(eye.closure, *SEALED)),
                    eye.side,
                    self.template_upper[part].max(),
                    self.template_lower[part].min(),
                )
                for eye, part in zip(pixels.eyes, pixels.parts, strict=True)
            ]
        )
        edge = v - self.upper
        x = u / width
        x = np.where(turned, 1 - x, x)
        beside = np.maximum(-u, u - width)
        cover = np.maximum(painted * np.clip(edge + 0.5, 0, 1), sealed)
        far = np.maximum(v - highest, lowest - v)
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
        """The heights at which the template shows the eyeball: v, kept between its lids. Where the
        upper one is raised, what lies below it is stretched, most at the lid, as the template does
        not show what it hides."""
        # At rest pixels of which a part is inside are left as they are.
        above = np.clip(self.upper - self.template_upper - 0.5, -0.5, MAX_OVERSHOOT)
        below = np.clip(self.template_lower - self.lower - 0.5, -0.5, MAX_OVERSHOOT)
        middle = (self.template_upper + self.template_lower) / 2
        limit = np.maximum(self.template_upper - above, middle)
        hidden = np.maximum(self.upper - limit, 0)
        if hidden.any():
            bottom = np.minimum(self.template_lower, middle)
            reach = np.maximum(self.upper - bottom, 1)
            v = v - hidden * np.square(np.clip(v - bottom, 0, reach) / reach)
        height = np.minimum(v, limit)
        return np.maximum(height, np.minimum(self.template_lower + below, middle))
