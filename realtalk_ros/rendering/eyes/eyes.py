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

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.face_model.rotations import forward
from realtalk_ros.rendering.common.boxes import bounding_box, is_empty
from realtalk_ros.rendering.common.camera import Cameras
from realtalk_ros.rendering.common.generated_face import Lids, SeenEyeball
from realtalk_ros.rendering.eyes import large_eyes
from realtalk_ros.rendering.eyes.eye_pixels import PAINTED, EyePixels
from realtalk_ros.rendering.eyes.eyes_model import load
from realtalk_ros.rendering.eyes.iris_search import find_irises
from realtalk_ros.rendering.eyes.lid_heights import LidHeights
from realtalk_ros.rendering.eyes.moved_eye import (
    CLOSING,
    IRIS_RADIUS,
    SIDE_MARGIN,
    MovedEye,
    ProjectedEyes,
)

SIDES = "Right", "Left"
BELOW = 0.5  # pixels behind the lower lid's edge up to which eyeballs that turn are seen
IRIS_DEPTH = 1.4  # cm from the eyeball's centre


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
    eyeball: SeenEyeball | None  # None where it is as in the template


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
        self._radii = (IRIS_RADIUS * cameras.scale).tolist()
        self._found: set[int] = set()  # templates in which the irises were found
        self._glowing: set[int] = set()  # of these, as of `Iris`

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
            radius=self._radii[template],
            found=template in self._found,
            glowing=template in self._glowing,
        )

    def look_at(self, template: int, picture: np.ndarray, eyes: ProjectedEyes) -> None:
        """Finds the irises in a template's crop (S, S, 4) uint8 BGR, which shows `eyes`."""
        irises = find_irises(picture, eyes)
        if irises is None:
            return
        self._iris_residuals[template] += np.array([one.place for one in irises]) - eyes.irises
        self._radii[template] = irises[0].radius
        self._found.add(template)
        if irises[0].glowing:
            self._glowing.add(template)


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
    gap = np.maximum(lids.upper - lids.lower, 0)
    inside = np.minimum(inside, gap)
    turned = u + with_iris * pixels.movement[0], v + with_iris * pixels.movement[1]
    eyeball, share, whole = None, inside, pixels.whole
    if not whole.all():
        eyeball = lids.eyeball(turned[1])
    if whole.any():  # Below whole eyeballs is what lies on them at the lids' edges.
        on_lids, share = lids.on_lids(v, over), inside * (whole == 0)
        eyeball = on_lids if eyeball is None else np.where(whole > 0, on_lids, eyeball)
    moved_u = u + share * (turned[0] - u)
    grid = pixels.in_template(moved_u, skin + inside * (eyeball - skin))
    eyeballs: Sequence[SeenEyeball | None] = [None] * len(eyes)
    if whole.any():
        # Of the row at the lower lid's edge the lid has what is light (eyeballs.py).
        edges = np.minimum(np.clip(0.5 + np.float32(BELOW) * ~over - outside, 0, 1), gap)
        eyeballs = turned_eyeballs(pixels, turned, grid, edges)
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
            eyeball=eyeball,
        )
        for eye, part, lid, eyeball in zip(eyes, pixels.parts, closing, eyeballs, strict=True)
    ]


def turned_eyeballs(
    pixels: EyePixels,
    turned: tuple[np.ndarray, np.ndarray],
    on_lids: np.ndarray,
    inside: np.ndarray,
) -> list[SeenEyeball | None]:
    """Those of each eye, by u and v of the eyeballs, where the template shows what lies on them,
    and how far the pixels are between the lids."""
    seen: list[SeenEyeball | None] = []
    for eye, part in zip(pixels.eyes, pixels.parts, strict=True):
        whole = float(pixels.whole[part[1].start])
        if not whole:
            seen.append(None)
            continue
        rows, columns = bounding_box((inside[part] > 0).view(np.uint8))
        first, last = part[1].start, part[1].stop
        # With pixels of weight 0 around it.
        rows = slice(max(rows.start - 1, 0), min(rows.stop + 1, part[0].stop))
        columns = slice(max(first + columns.start - 1, first), min(first + columns.stop + 1, last))
        here = rows, columns
        u = pixels.places[0][here]
        ball = eye.axes.to_template(turned[0][here], turned[1][here])
        between = inside[here] * ((u > 0) & (u < eye.axes.width))
        left = eye.columns.start - first
        seen.append(
            SeenEyeball(
                side=eye.side,
                places=cv2.merge([*ball, on_lids[0][here], on_lids[1][here]]),
                weight=between * np.float32(whole),
                rows=slice(eye.rows.start + rows.start, eye.rows.start + rows.stop),
                columns=slice(left + columns.start, left + columns.stop),
            )
        )
    return seen


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
