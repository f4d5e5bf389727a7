# SPDX-License-Identifier: Apache-2.0
"""The skin of lids that close (NumPy and OpenCV).

A photograph of open eyes does not show it. Lashes, make-up and the crease lie where it begins, so
it cannot be had by pulling these pixels down. So each template's eyes are painted shut, once: from
the clean skin above the crease down to the lower lid, in that skin's colour and with its pores. A
lid that closes uncovers this picture from above, and the lashes are a soft line at its edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.eyes import SAMPLES, EyeAxes, ProjectedEyes, lid_curves

NO_MAP: Any = None  # for the y of maps in two arrays; OpenCV's type stubs do not allow None
Positions = tuple[np.ndarray, np.ndarray]  # x and y, each (H, W) float32

# All lengths are in eye widths.
COLUMNS = np.linspace(-0.5, 1.5, 81, dtype=np.float32)  # along the eye
ABOVE = np.linspace(0, 0.55, 56, dtype=np.float32)  # heights above the upper lid's edge
BELOW = np.linspace(0.08, 0.25, 18, dtype=np.float32)  # depths below the lower lid's edge
UNDER = -np.linspace(0.12, 0.7, 59, dtype=np.float32)  # heights, where a rim may be below it
# The rim of glasses: thinner than so many hundredths of the eye's width; its contrast, a share of
# the skin's light, if there is a line below the eye, too, or none; how much of the eye it spans.
THIN, RIM, TOP_RIM, RIM_SHARE = 17, 0.2, 0.35, 0.8
BROW = 0.08  # the brow's lower edge is that far below its landmarks
LASHES = 0.06  # the least height of what is painted above the open eye
HIGHEST = 0.8  # of the way from the open eye to the brow: its greatest height
PAINT = 1.5  # of the light of the skin below the eye: what is lighter is make-up
HAIR = 0.74  # of that light: what is darker above it is the brow
THICK = 15  # hundredths of the eye's width: its least thickness
LEAST = 0.8  # of the light of the skin below the eye: a lid in the brow's shadow has as much
LIT = 0.88  # of that light: a closed lid, which the brow shades less than what is above it
MAX_LIGHTER = 9  # grey levels by which it may be lighter than that
HUE = 0.4  # share of its hue that a lid has of that skin
BRIGHT = 0.96  # of the upper quartile of that skin's light: where the search begins
CLEAN = 0.91  # of the light where it begins: what is darker is not clean
ZONE = 0.1  # height of the skin that is taken for the lid
CHEEK = 0.95  # how far below the lid the skin is whose pores it gets
OUTER, INNER = (-0.3, -0.15), (1.22, 1.06)  # soft ends of what is painted, from the outer corner
MARGIN = 0.5  # around the eye
PORES = 6.0  # grey levels by which pores may differ from their surroundings
SHADE, SHADED = 0.05, 0.1  # a lid is darker at its edge, by this share, up to this height
LASH_DARKNESS = 0.35, 0.7  # least and greatest share of the light that the lashes take


@dataclass(frozen=True)
class ShutEyes:
    """The eyes of a template, painted shut."""

    corner: tuple[int, int]  # x, y in the template, pixels
    image: np.ndarray  # (H, W, 3) uint8 BGR
    lashes: float  # share of the light that their line takes

    def paint(
        self, image: np.ndarray, layers: np.ndarray, crop: Positions, template: Positions
    ) -> None:
        """Paints the lids over `image` (H, W, 3) float32. layers (S, S, 2) uint8 of the face's
        crop: `ClosingLid.layers`. crop, template: where the pixels of `image` lie in the crop and
        in the template."""
        x, y, width, height = cv2.boundingRect(cv2.max(*cv2.split(layers)))
        inside = cv2.bitwise_and(
            cv2.inRange(crop[0], x - 1.0, float(x + width)),
            cv2.inRange(crop[1], y - 1.0, float(y + height)),
        )
        x, y, width, height = cv2.boundingRect(inside)
        if not width:
            return
        box = slice(y, y + height), slice(x, x + width)
        shares = cv2.remap(layers, crop[0][box], crop[1][box], cv2.INTER_LINEAR)
        cover, lashes = cv2.split(shares.astype(np.float32) * np.float32(1 / 255))
        skin = cv2.remap(
            self.image,
            template[0][box] - self.corner[0],
            template[1][box] - self.corner[1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        part = image[box]
        painted = part + cover[..., None] * (skin - part)
        image[box] = painted * (1 - self.lashes * lashes)[..., None]


def shut_eyes(
    image: np.ndarray, crop: tuple[int, int, int], eyes: ProjectedEyes, landmarks: np.ndarray
) -> ShutEyes | None:
    """Paints a template's eyes shut. image (height, width, 3) uint8, with the face's `crop`
    (x, y, side) in pixels; `eyes` and `landmarks` (68, 2) of the template in normalised
    coordinates. None where no eye is in the picture."""
    corner, side = np.array(crop[:2]), crop[2]
    painted, boxes, lashes = image.copy(), [], []
    for eye, brow in ((0, slice(17, 22)), (1, slice(22, 27))):
        lids = OpenEye.of(
            eyes.lids[eye] * side + corner - 0.5,
            eyes.residuals[eye] * side,
            landmarks[brow] * side + corner - 0.5,
            eye,
        )
        low, high = lids.box(image.shape[1::-1])
        if lids.axes.width < 6 or not (high > low).all():
            continue
        darkness = paint_lid(painted, image, lids, low, high)
        boxes.append((low, high))
        lashes.append(darkness)
    if not boxes:
        return None
    low, high = np.min([b[0] for b in boxes], 0), np.max([b[1] for b in boxes], 0)
    part = painted[low[1] : high[1], low[0] : high[0]].copy()
    return ShutEyes((int(low[0]), int(low[1])), part, float(np.mean(lashes)))


@dataclass(frozen=True)
class OpenEye:
    """An eye of a template, in its pixels, and heights along it at COLUMNS in eye widths."""

    axes: EyeAxes
    upper: np.ndarray  # (81,), of the upper lid's edge
    lower: np.ndarray
    brow: np.ndarray
    outer: int  # 0 if its outer corner is the first, else 1

    @classmethod
    def of(cls, rest: np.ndarray, residuals: np.ndarray, brow: np.ndarray, outer: int) -> OpenEye:
        """Of lids (2, N, 2), residuals (2, N, 2) and the brow's landmarks (5, 2)."""
        axes = EyeAxes.of(rest, rest, residuals)
        relative = (rest - axes.template_corner) @ axes.directions.T
        curves = lid_curves(relative, relative, residuals @ axes.directions.T, axes.width)
        at = np.linspace(0, 1, SAMPLES)
        upper, lower = (np.interp(COLUMNS, at, c / axes.width) for c in curves[2:4])
        u, v = ((brow - axes.template_corner) @ axes.directions.T / axes.width).T
        order = np.argsort(u)
        return cls(axes, upper, lower, np.interp(COLUMNS, u[order], v[order]) - BROW, outer)

    def box(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The first (x, y) of the pixels around the eye, and the last plus 1."""
        width = self.axes.width
        corners = self.axes.to_template(
            np.array([[-MARGIN, 1 + MARGIN]] * 2) * width,
            np.array([[self.lower.min() - 0.35] * 2, [self.upper.max() + 0.6] * 2]) * width,
        ).reshape(-1, 2)
        low = np.clip(np.floor(corners.min(0)), 0, size).astype(int)
        return low, np.clip(np.ceil(corners.max(0)) + 1, 0, size).astype(int)

    def strip(self, image: np.ndarray, edge: np.ndarray, away: np.ndarray) -> np.ndarray:
        """(len(away), 81, 3) float32: the image at distances `away` from an edge (81,)."""
        width = self.axes.width
        u, v = np.broadcast_arrays(COLUMNS * width, (edge + away[:, None]) * width)
        grid = self.axes.to_template(u, v)
        return cv2.remap(
            image, grid, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)


@dataclass(frozen=True)
class CleanSkin:
    """What is taken for a lid's skin, at COLUMNS."""

    start: np.ndarray  # (81,), heights above the lid's edge at which it begins
    fade: np.ndarray  # (81,), height over which the lid's skin becomes the template's above that
    colour: np.ndarray  # (81, 3) float32 BGR
    lid: np.ndarray  # (81, 3), of the lid itself, which the brow shades less
    below: np.ndarray  # (81, 3), colour of the skin below the eye
    lashes: float  # share of the light that the lashes take


def measure(image: np.ndarray, eye: OpenEye) -> CleanSkin:
    """Finds the clean skin between an eye and its brow: the run of skin that is nearly as light as
    the upper quartile, above lashes, make-up and crease, below the brow or the rim of glasses."""
    strip = eye.strip(image, eye.upper, ABOVE)
    light = cv2.blur(strip.mean(-1), (9, 5), borderType=cv2.BORDER_REPLICATE)
    heights = ABOVE[:, None]
    brow = np.clip(eye.brow - eye.upper, LASHES + ZONE, ABOVE[-1])
    highest = HIGHEST * brow
    brow = np.minimum(brow, rim_height(image, eye, strip, brow))
    under = np.sort(eye.strip(image, eye.lower, -BELOW), 0)[len(BELOW) // 2 :].mean(0)
    under = smooth(under, 9)
    possible = (heights >= LASHES + 0.04) & (heights <= brow)
    light_paint = (light > PAINT * under.mean(-1)).astype(np.uint8)
    possible &= cv2.dilate(light_paint, np.ones((13, 1))) == 0  # with its soft border
    light = np.where(possible, light, np.minimum(light, 1))
    columns, rows = np.arange(len(COLUMNS)), np.arange(len(ABOVE))[:, None]
    # The upper quartile: a highlight on the lid is no measure.
    quartile = np.sort(light, 0)[len(ABOVE) - 1 - possible.sum(0) // 4, columns]
    bright = light >= BRIGHT * quartile
    brightest = len(ABOVE) - 1 - bright[::-1].argmax(0)  # the highest of them
    best = light[brightest, columns]
    hair = ((light < HAIR * best) & (rows > brightest) & (heights > 0.5 * brow)).astype(np.uint8)
    hair = cv2.erode(hair, np.ones((THICK, 1)), anchor=(0, 0))  # a crease is thinner
    hairless = np.where(hair.any(0), ABOVE[hair.argmax(0)] - 0.03, ABOVE[-1])
    brow = np.minimum(brow, smooth(cv2.medianBlur(np.asarray(hairless, np.float32)[None], 5)[0], 5))
    dark = (light < CLEAN * best) & (rows < brightest)
    last = len(ABOVE) - 1 - dark[::-1].argmax(0)
    start = np.where(dark.any(0), ABOVE[last] + 0.01, LASHES).astype(np.float32)
    start = cv2.dilate(cv2.medianBlur(np.maximum(start, LASHES)[None], 5), np.ones((1, 17)))[0]
    end = smooth(np.maximum(brow, LASHES + 0.02), 3)
    start = smooth(np.minimum(np.minimum(start, highest), np.maximum(end - ZONE, LASHES)), 9)
    zone = (heights >= start) & (heights <= np.minimum(start + ZONE, np.maximum(end, start + 0.01)))
    colour = mean_colour(strip, zone)
    cleanest = mean_colour(strip, possible & (light >= CLEAN * best))
    colour += too_dark(colour, cleanest, 0.8, 0.65) * (cleanest - colour)
    colour += too_dark(colour, under, 0.6, 0.48) * (LEAST * under - colour)
    none = ~possible.any(0)
    colour[none], start[none] = under[none], end[none]
    # A brow's shadow is grey; a lid has the hue of the skin below the eye, as dark as the shadow.
    shaded = under * (colour.mean(-1) / np.maximum(under.mean(-1), 1))[:, None]
    colour = smooth(colour + HUE * (shaded - colour), 13)
    lighter = too_dark(colour, under, 0.95, 0.7) * (LIT * under - colour)
    lighter *= np.minimum(1, MAX_LIGHTER / np.maximum(lighter.mean(-1), 1))[:, None]
    lid = smooth(colour + lighter, 13)
    near = eye.strip(image, eye.upper, np.linspace(-0.02, 0.05, 8)).mean(-1).min(0)
    middle = (COLUMNS > 0.2) & (COLUMNS < 0.8)
    darkness = 1 - np.median(near[middle] / np.maximum(colour[middle].mean(-1), 1))
    return CleanSkin(
        start=start,
        fade=np.clip(end - start, 0.05, 0.1),
        colour=colour,
        lid=lid,
        below=under,
        lashes=float(np.clip(darkness, *LASH_DARKNESS)),
    )


def mean_colour(strip: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(81, 3): of the pixels of each column of a strip that are `chosen` (H, 81)."""
    return (strip * chosen[..., None]).sum(0) / np.maximum(chosen.sum(0), 1)[:, None]


def too_dark(colour: np.ndarray, other: np.ndarray, start: float, end: float) -> np.ndarray:
    """(81, 1) 0..1: 0 where `colour` has at least the share `start` of the other's light, 1 where
    it has at most the share `end`."""
    light = colour.mean(-1) / np.maximum(other.mean(-1), 1)
    return smoothstep(smooth(light, 5), start, end)[:, None]


def rim_height(
    image: np.ndarray, eye: OpenEye, strip: np.ndarray, brow: np.ndarray
) -> np.ndarray | float:
    """How far above the lid, (81,), the skin ends at the rim of glasses; infinity without one.

    A rim is a thin line, much darker or lighter than the skin, above all of the eye. So may be a
    crease with make-up, but it is fainter, and no line is below the eye, too.
    """
    above, below = thin_lines(strip), thin_lines(eye.strip(image, eye.lower, UNDER))
    above[(ABOVE[:, None] < LASHES + 0.04) | (ABOVE[:, None] > brow)] = 0
    eyes = (COLUMNS > -0.05) & (COLUMNS < 1.05)

    def found(lines: np.ndarray, contrast: float) -> bool:
        return float(np.mean(lines.max(0)[eyes] > contrast)) > RIM_SHARE

    both = found(above, RIM) and found(below, RIM)
    if not both and not found(above, TOP_RIM):
        return np.inf
    inner = np.argmax(above > 0.5 * above.max(0), 0)  # the side of the line that is at the eye
    height = cv2.medianBlur(np.asarray(ABOVE[inner], np.float32)[None], 5)[0]
    return cv2.erode(height[None], np.ones((1, 5)))[0] - 0.03


def thin_lines(strip: np.ndarray) -> np.ndarray:
    """(H, 81): how much darker or lighter than what is above and below, a share of that."""
    light = strip.mean(-1)
    column = np.ones((THIN, 1), np.uint8)
    closed = cv2.morphologyEx(light, cv2.MORPH_CLOSE, column)
    opened = cv2.morphologyEx(light, cv2.MORPH_OPEN, column)
    return np.maximum(closed - light, light - opened) / np.maximum(closed, 1)


def smooth(values: np.ndarray, count: int) -> np.ndarray:
    """(81, ...) float32, each the mean of `count` neighbours, twice."""
    values = values.reshape(len(values), -1).astype(np.float32)
    for _ in range(2):
        values = cv2.blur(values, (1, count), borderType=cv2.BORDER_REPLICATE)
    return values.squeeze()


def beside(image: np.ndarray, eye: OpenEye, v: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """(H, W, 3) float32: colour of the skin beside the eye at the heights v."""
    width = eye.axes.width
    x = np.linspace(ends[0], ends[0] + 0.5 * (ends[1] - ends[0]), 5)
    heights = np.linspace(-0.5, 0.7, 49, dtype=np.float32)
    x = x if eye.outer == 0 else 1 - x
    grid = eye.axes.to_template(*np.meshgrid(x * width, heights * width))
    strip = cv2.remap(image, grid, NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colours = smooth(np.sort(strip, 1)[:, 2:].mean(1), 7)
    at = np.asarray((v / width - heights[0]) / (heights[1] - heights[0]), np.float32)
    return cv2.remap(
        colours[:, None], np.zeros_like(at), at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def paint_lid(
    painted: np.ndarray, image: np.ndarray, eye: OpenEye, low: np.ndarray, high: np.ndarray
) -> float:
    """Paints an eye of `image` shut, from `low` to `high` (x, y), into `painted`. Returns the share
    of the light that its lashes take."""
    skin = measure(image, eye)
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
    for end, reach in ((OUTER, 0.2), (INNER, 0.85)):
        share = smoothstep(x, reach, end[0])
        shares = share[..., None]
        colour += shares * (beside(image, eye, v, end) - colour)
    colour = colour * (1 - SHADE * np.exp(-((np.maximum(depth, 0) / SHADED) ** 2)))[..., None]
    beyond = start - height
    cheek = eye.axes.to_template(u, v - CHEEK * width)
    pores = cv2.remap(image, cheek, NO_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    pores = np.asarray(pores, np.float32)
    pores = pores - cv2.GaussianBlur(pores, (0, 0), 0.04 * width)
    colour += np.where(np.abs(pores) < PORES, pores, 0)
    weight = smoothstep(1 + beyond / np.maximum(along(skin.fade), 0.01), 0, 1) * smoothstep(
        depth, -0.24, -0.1
    )
    weight *= smoothstep(x, *OUTER) * smoothstep(x, *INNER)
    part = painted[low[1] : high[1], low[0] : high[0]]
    part += np.rint(weight[..., None] * (colour - part)).astype(np.int16).astype(np.uint8)
    return skin.lashes
