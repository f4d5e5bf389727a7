# SPDX-License-Identifier: Apache-2.0
"""The skin of lids that close (NumPy and OpenCV).

A photograph of open eyes does not show it. Lashes, make-up and the crease lie where it begins, so
it cannot be had by pulling these pixels down. So each template's eyes are painted shut, once: from
the clean skin above the crease down to the lower lid, in that skin's colour and with its pores. A
lid that closes uncovers this picture from above, and the lashes are a soft line at its edge.

An avatar whose lids are no skin, such as a drawing, brings pictures of them (`shut_eyes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import BROW_LEFT, BROW_RIGHT
from realtalk_ros.rendering.common.boxes import bounding_box, is_empty
from realtalk_ros.rendering.common.channels import Positions, spread
from realtalk_ros.rendering.common.generated_face import Lids
from realtalk_ros.rendering.eyes.lid_skin import (
    BROW_EDGE,
    LASH_DARKNESS,
    CleanSkin,
    find_clean_skin,
    skin_ends,
)
from realtalk_ros.rendering.eyes.moved_eye import ProjectedEyes
from realtalk_ros.rendering.eyes.open_eye import COLUMNS, OpenEye, smooth

# All lengths are in eye widths.
CHEEK = 0.95  # how far below the lid the skin is whose pores it gets
# Soft ends of what is painted, from the outer corner; and if there are glasses.
ENDS = (-0.4, -0.27), (1.36, 1.2)
ENDS_IN_GLASSES = (-0.3, -0.15), (1.22, 1.06)
# A wing of lashes or make-up beyond the outer corner: its greatest height, and how high it may
# reach; shares of the skin's light at which there is none, and surely one. Heights and places
# beside the corner at which it is looked for.
WING, HIGHEST_WING, WING_LIGHT = 0.44, 0.4, (0.93, 0.8)
WING_HEIGHTS = np.linspace(-0.6, 1, 81, dtype=np.float32)
WING_PLACES = np.linspace(-0.65, 0.35, 51, dtype=np.float32)
SOFT = (9, 9)  # box filter of the skin without it
PORES = 6.0  # grey levels by which pores may differ from their surroundings
# What makes a lid round: logarithms of its light over that of flat skin, each with its middle and
# standard deviation from the outer corner to the inner one, and above the lower lid in shares of
# the open eye's height. Of the hollow at the inner corner, and of its edge; and how much redder it
# is, as its skin is thin. Fitted to the blinks of seven filmed people (docs/experiments.md).
LIGHT = ((-0.17, (1.01, 0.15), (0.4, 0.45)), (-0.20, (0.56, 0.26), (0.0, 0.18)))
REDNESS = (0.05, (0.68, 0.49), (0.25, 0.32))


@dataclass(frozen=True)
class ShutEyes:
    """The eyes of a template, painted shut."""

    corner: tuple[int, int]  # x, y in the template, pixels
    image: np.ndarray  # (H, W, 3) uint8 BGR
    lashes: float  # share of the light that their line takes
    glasses: bool  # whether the rim of glasses was found
    has_lashes: bool = False  # in the image: their line is painted while the lids move only

    @classmethod
    def pictured(cls, image: np.ndarray) -> ShutEyes:
        """Of a picture (height, width, 3) of the whole template with shut eyes."""
        return cls((0, 0), image, LASH_DARKNESS[1], glasses=False, has_lashes=True)

    def paint(self, image: np.ndarray, lids: Lids, crop: Positions, template: Positions) -> None:
        """Paints the lids over `image` (H, W, 4) uint8. crop, template: where the pixels of `image`
        lie in the face's crop and in the template."""
        inside = cv2.bitwise_and(
            cv2.inRange(crop[0], lids.columns.start - 1.0, float(lids.columns.stop)),
            cv2.inRange(crop[1], lids.rows.start - 1.0, float(lids.rows.stop)),
        )
        box = bounding_box(inside)
        if is_empty(box):
            return
        shares = cv2.remap(lids.layers, crop[0][box], crop[1][box], cv2.INTER_LINEAR)
        cover, lashes = cv2.split(shares.astype(np.float32) * np.float32(1 / 255))
        skin = cv2.remap(
            self.image,
            template[0][box] - self.corner[0],
            template[1][box] - self.corner[1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        part = image[box][..., :3].astype(np.float32)
        painted = part + spread(cover) * (skin - part)
        if self.has_lashes:
            lashes *= 1 - cover
        image[box][..., :3] = np.rint(painted * spread(1 - self.lashes * lashes))


def shut_eyes(
    image: np.ndarray,
    crop: tuple[int, int, int],
    eyes: ProjectedEyes,
    landmarks: np.ndarray,
    glasses: bool | None = None,
) -> ShutEyes | None:
    """Paints a template's eyes shut. image (height, width, 3) uint8, with the face's `crop`
    (x, y, side) in pixels; `eyes` and `landmarks` (68, 2) of the template in normalised
    coordinates. None where no eye is in the picture. `glasses`: whether the person wears any, if
    that is known: to look for them takes most of the time."""
    opened = open_eyes(image, crop, eyes, landmarks)
    if not opened:
        return None
    painted, boxes, lashes = image.copy(), [], []
    ends, glasses = skin_ends(image, opened, glasses)
    for lids, end in zip(opened, ends, strict=True):
        skin = find_clean_skin(image, lids, end)
        if not glasses:
            remove_wing(painted, lids)
        beside = painted.copy()
        boxes.append(paint_lid(painted, beside, lids, skin, ENDS_IN_GLASSES if glasses else ENDS))
        lashes.append(skin.lashes)
    low, high = np.min([b[0] for b in boxes], 0), np.max([b[1] for b in boxes], 0)
    part = painted[low[1] : high[1], low[0] : high[0]].copy()
    return ShutEyes((int(low[0]), int(low[1])), part, float(np.mean(lashes)), glasses)


def open_eyes(
    image: np.ndarray, crop: tuple[int, int, int], eyes: ProjectedEyes, landmarks: np.ndarray
) -> list[OpenEye]:
    """A template's eyes that are in the picture. Arguments as of `shut_eyes`."""
    corner, side = np.array(crop[:2]), crop[2]
    opened = []
    for eye, brow in ((0, BROW_RIGHT), (1, BROW_LEFT)):
        lids = OpenEye.of(
            eyes.lids[eye] * side + corner - 0.5,
            eyes.residuals[eye] * side,
            landmarks[brow] * side + corner - 0.5,
            eye,
        )
        low, high = lids.box(image.shape[1::-1])
        if lids.axes.width >= 6 and (high > low).all():
            opened.append(lids)
    return opened


def remove_wing(image: np.ndarray, eye: OpenEye) -> None:
    """Takes lashes and make-up beyond an eye's outer corner out of an image: painted lids end in
    their middle, and shut ones have them lower, in the line of their lashes."""
    places = WING_PLACES if eye.outer == 0 else 1 - WING_PLACES
    u, v = np.meshgrid(places, WING_HEIGHTS)
    strip = eye.sample(image, u, v)
    brow = np.interp(places, COLUMNS, eye.brow) - BROW_EDGE
    below_brow = v < np.minimum(brow, HIGHEST_WING)
    size = round(WING / float(WING_HEIGHTS[1] - WING_HEIGHTS[0]))
    across = np.ones((size, 1), np.uint8)
    skin = cv2.dilate(np.where(below_brow[..., None], strip, 0).astype(np.float32), across)
    skin = cv2.erode(np.where(below_brow[..., None], skin, 255).astype(np.float32), across)
    seen = below_brow[..., None].astype(np.float32)
    skin = cv2.blur(skin * seen, SOFT) / np.maximum(spread(cv2.blur(seen, SOFT), 3), 1e-6)
    share = below_brow * smoothstep(strip.mean(-1) / np.maximum(skin.mean(-1), 1), *WING_LIGHT)
    apart = np.maximum.accumulate((below_brow & (share < 0.1))[::-1])[::-1]  # from the brow
    share *= apart
    share = cv2.blur(cv2.dilate(share.astype(np.float32), np.ones((3, 3))), (5, 5))
    for side, soft in ((WING_PLACES[0], 0.08), (WING_PLACES[-1], -0.15)):
        share *= smoothstep(WING_PLACES, side, side + soft)
    low, high = eye.box(image.shape[1::-1])
    x, y = (along / eye.axes.width for along in eye.axes.pixels(low, high))
    x = x if eye.outer == 0 else 1 - x
    column, row = (
        np.asarray((one - grid[0]) / (grid[1] - grid[0]), np.float32)
        for one, grid in ((x, WING_PLACES), (y, WING_HEIGHTS))
    )
    shares = cv2.remap(share, column, row, cv2.INTER_LINEAR)
    colours = cv2.remap(skin, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    part = image[low[1] : high[1], low[0] : high[0]]
    part[:] = np.rint(part + shares[..., None] * (colours - part))


def skin_beside(
    image: np.ndarray, eye: OpenEye, v: np.ndarray, ends: tuple[float, float]
) -> np.ndarray:
    """(H, W, 3) float32: colour of the skin beside the eye at the heights v."""
    width = eye.axes.width
    x = np.linspace(ends[0], ends[0] + 0.5 * (ends[1] - ends[0]), 5)
    heights = np.linspace(-0.5, 0.7, 49, dtype=np.float32)
    x = x if eye.outer == 0 else 1 - x
    grid_x, grid_y = eye.axes.to_template(*np.meshgrid(x * width, heights * width))
    strip = cv2.remap(image, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colours = smooth(np.sort(strip, 1)[:, 2:].mean(1), 7)
    at = np.asarray((v / width - heights[0]) / (heights[1] - heights[0]), np.float32)
    return cv2.remap(
        colours[:, None], np.zeros_like(at), at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def roundness(x: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR: light and hue of a shut lid over those of flat skin, at x from the outer
    corner to the inner one in eye widths, and at depth above the lower lid in shares of the open
    eye's height, each (H, W)."""

    def bump(share: float, along: tuple[float, float], above: tuple[float, float]) -> np.ndarray:
        squares = ((x - along[0]) / along[1]) ** 2 + ((depth - above[0]) / above[1]) ** 2
        return np.asarray(share * np.exp(-0.5 * squares), np.float32)

    light, red = np.sum([bump(*one) for one in LIGHT], 0), bump(*REDNESS)
    hue = np.stack([-0.3 * red, -0.3 * red, 0.7 * red], -1)
    return np.exp(light[..., None] + hue)


def paint_lid(
    painted: np.ndarray,
    image: np.ndarray,
    eye: OpenEye,
    skin: CleanSkin,
    ends: tuple[tuple[float, float], tuple[float, float]],
) -> tuple[np.ndarray, np.ndarray]:
    """Paints an eye of `image` shut into `painted`, between `ENDS`. Returns the first (x, y) of its
    pixels, and the last plus 1."""
    low, high = eye.box(image.shape[1::-1])
    width = eye.axes.width
    u, v = eye.axes.pixels(low, high)
    at = np.asarray((u / width - COLUMNS[0]) / (COLUMNS[1] - COLUMNS[0]), np.float32)

    def along(values: np.ndarray) -> np.ndarray:
        return cv2.remap(
            np.asarray(values, np.float32)[None], at, np.zeros_like(at), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip

    upper, lower, start = along(eye.upper), along(eye.lower), along(skin.start)
    height, depth = v / width - upper, v / width - lower
    is_lid = smoothstep(depth, -0.08, 0.02)[..., None]
    above = smoothstep(height / start, 0, 1)[..., None]
    colour = along(skin.lid) + above * (along(skin.colour) - along(skin.lid))
    colour = is_lid * colour + (1 - is_lid) * along(skin.below)
    x = u / width if eye.outer == 0 else 1 - u / width
    for end, reach in zip(ends, (0.2, 0.85), strict=True):
        share = smoothstep(x, reach, end[0])
        shares = share[..., None]
        colour += shares * (skin_beside(image, eye, v, end) - colour)
    colour = colour * roundness(x, depth / max(float((eye.upper - eye.lower).max()), 0.1))
    beyond = start - height
    cheek_x, cheek_y = eye.axes.to_template(u, v - CHEEK * width)
    pores = cv2.remap(image, cheek_x, cheek_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    pores = np.asarray(pores, np.float32)
    pores = pores - cv2.GaussianBlur(pores, (0, 0), 0.04 * width)
    colour += np.where(np.abs(pores) < PORES, pores, 0)
    weight = smoothstep(1 + beyond / np.maximum(along(skin.fade), 0.01), 0, 1) * smoothstep(
        depth, -0.24, -0.1
    )
    weight *= smoothstep(x, *ends[0]) * smoothstep(x, *ends[1])
    part = painted[low[1] : high[1], low[0] : high[0]]
    part += (
        np.rint(weight[..., None] * (np.clip(colour, 0, 255) - part))
        .astype(np.int16)
        .astype(np.uint8)
    )
    return low, high
