# SPDX-License-Identifier: Apache-2.0
"""The clean skin above an open eye, which eyelids.py paints shut lids with (NumPy and OpenCV).

It lies between lashes, make-up and the crease below, and hair or the rim of glasses above.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.eyes import SAMPLES, EyeAxes, lid_curves
from realtalk_ros.rendering.generator import NO_MAP

# All lengths are in eye widths.
COLUMNS = np.linspace(-0.5, 1.5, 81, dtype=np.float32)  # along the eye
ABOVE = np.linspace(0, 0.55, 56, dtype=np.float32)  # heights above the upper lid's edge
BELOW = np.linspace(0.08, 0.25, 18, dtype=np.float32)  # depths below the lower lid's edge
# The rim of glasses. Heights above the line between the eye's corners at which it may be; COLUMNS
# in which it is looked for, and how many of them at each end are beyond the eye.
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
# it may begin; its mean contrast over both eyes.
RADII = np.linspace(0.28, 0.9, 63, dtype=np.float32)
ANGLES, TURN = np.linspace(-np.pi, 3 * np.pi, 144, endpoint=False), slice(36, 108)
WIDER, UNDER, RING = 1.6, 0.12, 0.28
TALL = np.linspace(0, 1, 101, dtype=np.float32)  # heights above that edge, brow and all
BROW = 0.2  # a thin brow's lower edge is that far below its landmarks
BROW_MIDDLE = 0.28  # the darkest part of a brow, or of a fringe, is nearer to them
HAIRY = 0.85  # of the skin's light: what is darker there is hair
UPPER_EDGE = 0.08  # what lies nearer than that below a brow's landmarks is hair
LASHES = 0.06  # the least height of what is painted above the open eye
HIGHEST = 0.8  # of the way from the open eye to the brow: its greatest height
PAINT = 1.5  # of the light of the skin below the eye: what is lighter is make-up
HAIR = 0.35  # of the way from the hair's darkness to the skin's light: where hair begins
CREASE = 18  # hundredths of the eye's width: how far a crease below the hair may reach
NARROW = 0.35  # height of the skin below a brow that is near the eye
THICK = 13  # hundredths of the eye's width: hair is thicker than that, creases are thinner
LEAST = 0.8  # of the light of the skin below the eye: a lid in the brow's shadow has as much
LIT, LIGHTEST = 0.9, 1.2  # of that light: a closed lid, which the brow shades less; its most
ROUND = 1.035  # of the light of the skin above it, which a lid, being round, may have anyway
# Grey levels by which it may be lighter or darker than the clean skin, and how many less below a
# near brow.
MAX_LIGHTER, LESS_LIGHTER = 10, 3
# Grey levels by which it may be lighter than all the skin below the brow, and if the eye shows that
# it is.
ABOVE_SKIN, OWN_LIGHT = 2, 6
HUE = 0.6  # share of its hue that a lid has of that skin
RED = np.array([-0.5, 0, 0.5], np.float32)  # BGR
BRIGHT = 0.96  # of the upper quartile of that skin's light: where the search begins
CLEAN = 0.91  # of the light where it begins: what is darker is not clean
ZONE = 0.1  # height of the skin that is taken for the lid
FOLDS = 0.75  # of the lightest of it: what is darker there is a fold, or the line of a drawing
MARGIN = 0.5  # around the eye
LASH_DARKNESS = 0.35, 0.7  # least and greatest share of the light that the lashes take


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
        return cls(axes, upper, lower, np.interp(COLUMNS, u[order], v[order]), outer)

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
        return self.sample(image, *np.broadcast_arrays(COLUMNS, edge + away[:, None]))

    def sample(self, image: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32: the image at (u, v), each (H, W), in eye widths."""
        grid = self.axes.to_template(u * self.axes.width, v * self.axes.width)
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


def measure(image: np.ndarray, eye: OpenEye, end: np.ndarray) -> CleanSkin:
    """Finds the clean skin between an eye and `end` (81,) of `skin_ends`."""
    strip, heights = eye.strip(image, eye.upper, ABOVE), ABOVE[:, None]
    brow = np.minimum(end, ABOVE[-1])
    under = np.sort(eye.strip(image, eye.lower, -BELOW), 0)[len(BELOW) // 2 :].mean(0)
    under = smooth(under, 9)
    light = cv2.blur(strip.mean(-1), (9, 5), borderType=cv2.BORDER_REPLICATE)
    possible = (heights >= LASHES + 0.04) & (heights <= brow)
    light_paint = (light > PAINT * under.mean(-1)).astype(np.uint8)
    possible &= cv2.dilate(light_paint, np.ones((13, 1))) == 0  # with its soft border
    start, clean = clean_run(light, possible)
    top = smooth(np.maximum(brow, LASHES + 0.02), 3)
    highest = HIGHEST * np.clip(eye.brow - UPPER_EDGE - eye.upper, LASHES + ZONE, ABOVE[-1])
    start = smooth(np.minimum(np.minimum(start, highest), np.maximum(top - ZONE, LASHES)), 9)
    zone = (heights >= start) & (heights <= np.minimum(start + ZONE, np.maximum(top, start + 0.01)))
    lightest = np.where(zone, light, 0).max(0)
    colour = mean_colour(strip, zone & (light >= FOLDS * lightest))
    cleanest = mean_colour(strip, possible & clean)
    colour += too_dark(colour, cleanest, 0.8, 0.65) * (cleanest - colour)
    colour += too_dark(colour, under, 0.7, 0.5) * (LEAST * under - colour)
    none = ~possible.any(0)
    colour[none], start[none] = under[none], top[none]
    # Hair and a brow's shadow are grey: a lid is no less red than the skin below the eye.
    shaded = under * (colour.mean(-1) / np.maximum(under.mean(-1), 1))[:, None]
    colour = smooth(colour + HUE * greyer(colour, shaded) * (shaded - colour), 11)
    own = np.where((heights > 0.03) & (heights < np.maximum(start, 0.15)), light, 0).max(0)
    tall = eye.strip(image, eye.upper, TALL)
    seen = (TALL[:, None] >= start) & (TALL[:, None] <= end - 0.1)
    above = np.where(seen.sum(0) > 15, mean_colour(tall, seen).mean(-1), np.nan)
    # A brow that is near the eye leaves room for nothing but the crease.
    narrow = smoothstep(top, NARROW + 0.1, NARROW)
    painted = smooth(start + narrow * np.maximum(top - 0.05 - start, 0), 5)
    near = eye.strip(image, eye.upper, np.linspace(-0.02, 0.05, 8)).mean(-1).min(0)
    middle = (COLUMNS > 0.2) & (COLUMNS < 0.8)
    darkness = 1 - np.median(near[middle] / np.maximum(colour[middle].mean(-1), 1))
    return CleanSkin(
        start=painted,
        fade=np.clip(top - painted, 0.05, 0.1),
        colour=colour,
        lid=lid_colour(
            colour, under, own, above, MAX_LIGHTER - LESS_LIGHTER * float(narrow[middle].mean())
        ),
        below=under,
        lashes=float(np.clip(darkness, *LASH_DARKNESS)),
    )


def clean_run(light: np.ndarray, possible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of what is `possible` (56, 81): the heights (81,) above which the skin is clean, and what is
    as light as that (56, 81). It is the highest that is nearly as light as the upper quartile,
    above lashes, make-up and crease."""
    light = np.where(possible, light, np.minimum(light, 1))
    columns, rows = np.arange(len(COLUMNS)), np.arange(len(ABOVE))[:, None]
    # The upper quartile: a highlight on the lid is no measure.
    quartile = np.sort(light, 0)[len(ABOVE) - 1 - possible.sum(0) // 4, columns]
    bright = light >= BRIGHT * quartile
    brightest = len(ABOVE) - 1 - bright[::-1].argmax(0)  # the highest of them
    best = light[brightest, columns]
    dark = (light < CLEAN * best) & (rows < brightest)
    last = len(ABOVE) - 1 - dark[::-1].argmax(0)
    start = np.where(dark.any(0), ABOVE[last] + 0.01, LASHES).astype(np.float32)
    median = cv2.medianBlur(np.maximum(start, LASHES)[None], 5)
    return cv2.dilate(median, np.ones((1, 17)))[0], light >= CLEAN * best


def lid_colour(
    colour: np.ndarray, under: np.ndarray, own: np.ndarray, above: np.ndarray, most_lighter: float
) -> np.ndarray:
    """(81, 3): of the lid itself, from `colour` of the skin above it and `under` the eye.

    The brow shades it less: it has the light of what of it is seen, `own` (81,), where that is
    more, but is not much lighter than the skin `above` (81,), NaN where there is too little.
    """
    middle = (COLUMNS > 0.15) & (COLUMNS < 0.85)
    lights = colour.mean(-1)
    light = np.median(lights[middle])
    below = np.median(under[middle].mean(-1))
    most = max(LIT * below, ROUND * light)
    wanted = np.clip(min(np.median(own[middle]), most), light, light + most_lighter)
    wanted = min(wanted, max(LIGHTEST * below, light - MAX_LIGHTER))
    lighter = (lights - above)[middle & np.isfinite(above)]
    if 2 * len(lighter) > middle.sum():
        limit = light - np.median(lighter) + (OWN_LIGHT if wanted > light else ABOVE_SKIN)
        wanted = min(wanted, max(limit, light - MAX_LIGHTER))
    return smooth(colour * (wanted / max(light, 1)), 13)


def mean_colour(strip: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(81, 3): of the pixels of each column of a strip that are `chosen` (H, 81)."""
    return (strip * chosen[..., None]).sum(0) / np.maximum(chosen.sum(0), 1)[:, None]


def too_dark(colour: np.ndarray, other: np.ndarray, start: float, end: float) -> np.ndarray:
    """(81, 1) 0..1: 0 where `colour` has at least the share `start` of the other's light, 1 where
    it has at most the share `end`."""
    light = colour.mean(-1) / np.maximum(other.mean(-1), 1)
    return smoothstep(smooth(light, 5), start, end)[:, None]


def greyer(colour: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(81, 1) 0..1: how sure it is that `colour` is less red than another one of its light."""
    missing = (other - colour) @ RED / np.maximum(other.mean(-1), 1)
    return smoothstep(smooth(missing, 5), 0, 0.06)[:, None]


def hair_edge(image: np.ndarray, eye: OpenEye) -> np.ndarray:
    """How far above the lid, (81,), the skin ends at the hair of the brow or of a fringe.

    The landmarks lie at the brow's upper edge. From the darkest height below them the hair goes
    down as far as it is nearer to its own darkness than to the light of the skin. A crease in the
    shadow right below it belongs to the skin.
    """
    strip = eye.strip(image, eye.upper, TALL).mean(-1)
    light = np.asarray(cv2.blur(strip, (9, 5), borderType=cv2.BORDER_REPLICATE), np.float32)
    closed = cv2.morphologyEx(light, cv2.MORPH_CLOSE, np.ones((THICK, 1), np.uint8))
    heights, brow = TALL[:, None], np.clip(eye.brow - eye.upper, 0.3, 1)
    here = (heights > brow - BROW_MIDDLE) & (heights < brow)
    middle = np.where(here, closed, np.inf).argmin(0)
    rows, columns = np.arange(len(TALL))[:, None], np.arange(len(COLUMNS))
    below = (heights >= LASHES + 0.04) & (rows < middle)
    skin = np.sort(np.where(below, closed, 0), 0)[len(TALL) - 1 - below.sum(0) // 4, columns]
    darkest = closed[middle, columns]
    lighter = (closed > darkest + HAIR * (skin - darkest)) & below
    edge = np.where(lighter.any(0), len(TALL) - 1 - lighter[::-1].argmax(0), 100 * LASHES)
    above = (rows >= edge) & (rows < np.minimum(edge + CREASE, middle))
    valley = np.minimum.accumulate(np.where(above, light, np.inf), 0)
    risen = np.where(above & (light > np.maximum(1.04 * valley, 1.06 * darkest)), light, 0)
    edge = np.where(risen.any(0) & (edge < 100 * NARROW), risen.argmax(0), edge)
    edge = np.where(darkest < HAIRY * skin, 0.01 * edge + 0.02, 1)
    edge = cv2.dilate(np.minimum(edge, brow - BROW)[None].astype(np.float32), np.ones((1, 5)))
    edge = cv2.morphologyEx(edge, cv2.MORPH_OPEN, np.ones((1, 15)))  # no notch in the brow
    return smooth(cv2.medianBlur(edge, 5)[0], 7)


def skin_ends(
    image: np.ndarray, eyes: list[OpenEye], glasses: bool | None
) -> tuple[list[np.ndarray], bool]:
    """How far above the lid, (81,) for each eye, the skin ends at hair or the rim of glasses, and
    whether there is a rim. No `glasses` are looked for if that is False."""
    hair = [np.maximum(hair_edge(image, eye), LASHES + ZONE) for eye in eyes]
    rims = None if glasses is False else rim_heights(image, eyes, hair)
    if rims is None:
        return hair, False
    return [np.minimum(edge, rim) for edge, rim in zip(hair, rims, strict=True)], True


def rim_heights(
    image: np.ndarray, eyes: list[OpenEye], hair: list[np.ndarray]
) -> list[np.ndarray] | None:
    """How far above the lid, (81,) for each eye, the skin ends at the rim of glasses, if not at
    `hair` (81,); None without glasses.

    A rim is a thin line, darker or lighter than the skin, around both eyes, or over both if there
    is none below. So may be a crease or eyeliner, but these end at the eye's corners or come down
    to them; a rim goes on above them. Where the brow hides it over one eye it is taken from the
    other.
    """
    for sign in (1, -1):
        rings = [Ring.around(image, *one, sign) for one in zip(eyes, hair, strict=True)]
        contrast, beside = np.mean([(ring.contrast, ring.beside) for ring in rings], 0)
        if contrast > RING and beside > RIM:
            return [ring.inner - eye.upper - 0.03 for ring, eye in zip(rings, eyes, strict=True)]
        lines = [Line.above(image, *one, sign) for one in zip(eyes, hair, strict=True)]
        best = max(lines, key=lambda line: sum(line.shares))
        if all(best.shares > CLEAR) and all(np.min([line.shares for line in lines], 0) > FAINT):
            inner = (best.inner if line is best else best.inner[::-1] for line in lines)
            return [height - eye.upper - 0.03 for height, eye in zip(inner, eyes, strict=True)]
    return None


@dataclass(frozen=True)
class Ring:
    """The clearest thin line around an eye."""

    contrast: float  # its mean
    beside: float  # that beside the eye
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
        return cls(
            float(contrast.mean()),
            float(contrast[np.abs(np.sin(ANGLES[turn])) < 0.5].mean()),
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


def smooth(values: np.ndarray, count: int) -> np.ndarray:
    """(81, ...) float32, each the mean of `count` neighbours, twice."""
    values = values.reshape(len(values), -1).astype(np.float32)
    for _ in range(2):
        values = cv2.blur(values, (1, count), borderType=cv2.BORDER_REPLICATE)
    return values.squeeze()
