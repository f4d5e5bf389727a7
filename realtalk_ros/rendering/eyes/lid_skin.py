# SPDX-License-Identifier: Apache-2.0
"""The clean skin above an open eye, which eyelids.py paints shut lids with (NumPy and OpenCV).

It lies between lashes, make-up and the crease below, and hair or the rim of glasses above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.eyes.glasses import rim_heights
from realtalk_ros.rendering.eyes.open_eye import COLUMNS, OpenEye, smooth

# All lengths are in eye widths.
ABOVE = np.linspace(0, 0.55, 56, dtype=np.float32)  # heights above the upper lid's edge
BELOW = np.linspace(0.08, 0.25, 18, dtype=np.float32)  # depths below the lower lid's edge
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
NEAR_BROW = 0.5, 0.35  # heights of that skin below which all of it lies in the brow's shadow
THICK = 13  # hundredths of the eye's width: hair is thicker than that, creases are thinner
LEAST = 0.8  # of the light of the skin below the eye: a lid in the brow's shadow has as much
LIT, LIGHTEST = 0.9, 1.2  # of that light: a closed lid, which the brow shades less; its most
ROUND = 1.035  # of the light of the skin above it, which a lid, being round, may have anyway
# Grey levels by which it may be lighter or darker than the clean skin, and how many less below a
# near brow; by which single columns may be lighter.
MAX_LIGHTER, LESS_LIGHTER, COLUMN_LIGHTER = 10, 3, 15
# Grey levels by which it may be lighter than all the skin below the brow, and if the eye shows that
# it is.
ABOVE_SKIN, OWN_LIGHT = 4, 6
# A lid's surroundings lie between these shares of the way from the open eye to the brow, whose
# lower edge is BROW_EDGE below its landmarks, and CLEAR below hair, in at least so many rows of
# TALL. Grey levels by which a lid may differ from them, and by which it is changed at most.
SURROUNDINGS, BROW_EDGE, CLEAR, ROWS = (0.3, 0.7), 0.15, 0.05, 3
SIMILAR, MOST_CHANGED = 6, 6
HUE = 0.6  # share of its hue that a lid has of that skin
RED = np.array([-0.5, 0, 0.5], np.float32)  # BGR
BRIGHT = 0.96  # of the upper quartile of that skin's light: where the search begins
CLEAN = 0.91  # of the light where it begins: what is darker is not clean
ZONE = 0.1  # height of the skin that is taken for the lid
FOLDS = 0.75  # of the lightest of it: what is darker there is a fold, or the line of a drawing
LASH_DARKNESS = 0.35, 0.7  # least and greatest share of the light that the lashes take


@dataclass(frozen=True)
class CleanSkin:
    """What is taken for a lid's skin, at COLUMNS."""

    start: np.ndarray  # (81,), heights above the lid's edge at which it begins
    fade: np.ndarray  # (81,), height over which the lid's skin becomes the template's above that
    colour: np.ndarray  # (81, 3) float32 BGR
    lid: np.ndarray  # (81, 3), of the lid itself, which the brow shades less
    below: np.ndarray  # (81, 3), colour of the skin below the eye
    lashes: float  # share of the light that the lashes take


def find_clean_skin(image: np.ndarray, eye: OpenEye, end: np.ndarray) -> CleanSkin:
    """Finds the clean skin between an eye and `end` (81,) of `skin_ends`."""
    under = colour_below(image, eye)
    skin = skin_above(image, eye, under, end)
    start, top, colour = skin.start, skin.top, skin.colour
    open_lid = (ABOVE[:, None] > 0.03) & (ABOVE[:, None] < np.maximum(start, 0.15))
    own = np.where(open_lid, skin.light, 0).max(0)
    tall = eye.strip(image, eye.upper, TALL)
    far = SURROUNDINGS[1] * to_brow(eye)  # what is higher is in the brow's shadow
    seen = (TALL[:, None] >= start) & (TALL[:, None] <= np.minimum(end - 0.1, far))
    above = np.where(seen.sum(0) > 15, mean_colour(tall, seen).mean(-1), np.nan)
    middle = (COLUMNS > 0.2) & (COLUMNS < 0.8)
    # A brow that is near the eye leaves room for nothing but the crease.
    narrow = smoothstep(top, NARROW + 0.1, NARROW)
    painted = smooth(start + narrow * np.maximum(top - 0.05 - start, 0), 5)
    lid = lid_colour(
        colour, under, own, above, MAX_LIGHTER - LESS_LIGHTER * float(narrow[middle].mean())
    )
    around = light_around(np.where(TALL[:, None] < painted, lid.mean(-1), tall.mean(-1)), eye, end)
    around = np.where(np.isfinite(around), around, lid.mean(-1))
    near = eye.strip(image, eye.upper, np.linspace(-0.02, 0.05, 8)).mean(-1).min(0)
    darkness = 1 - np.median(near[middle] / np.maximum(colour[middle].mean(-1), 1))
    return CleanSkin(
        start=painted,
        fade=np.clip(top - painted, 0.05, 0.1),
        colour=colour,
        lid=similar(lid, np.median(lid[middle].mean(-1)), np.median(around[middle])),
        below=under,
        lashes=float(np.clip(darkness, *LASH_DARKNESS)),
    )


def colour_below(image: np.ndarray, eye: OpenEye) -> np.ndarray:
    """(81, 3): of the skin below an eye, the lighter half of it."""
    strip = eye.strip(image, eye.lower, -BELOW)
    return smooth(np.sort(strip, 0)[len(BELOW) // 2 :].mean(0), 9)


class SkinAbove(NamedTuple):
    """The clean skin above an open eye, at COLUMNS."""

    start: np.ndarray  # (81,), heights above the lid's edge at which it begins
    top: np.ndarray  # (81,), and at which it ends
    colour: np.ndarray  # (81, 3)
    light: np.ndarray  # (56, 81), at the heights ABOVE, of all that is there


def skin_above(image: np.ndarray, eye: OpenEye, under: np.ndarray, end: np.ndarray) -> SkinAbove:
    """Between an eye and `end` (81,); `under` (81, 3) is the colour of the skin below the eye."""
    strip, heights = eye.strip(image, eye.upper, ABOVE), ABOVE[:, None]
    brow = np.minimum(end, ABOVE[-1])
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
    shadowed = smooth(smoothstep(top, *NEAR_BROW), 5)[:, None]
    colour += shadowed * np.maximum(LIT * under - colour, 0)
    none = ~possible.any(0)
    colour[none], start[none] = under[none], top[none]
    # Hair and a brow's shadow are grey: a lid is no less red than the skin below the eye.
    shaded = under * (colour.mean(-1) / np.maximum(under.mean(-1), 1))[:, None]
    colour = smooth(colour + HUE * greyer(colour, shaded) * (shaded - colour), 17)
    return SkinAbove(start, top, colour, light)


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
    # The shadow of a brow may lie on a part of the skin above the lid.
    own_lights = np.minimum(own, np.maximum(LIT * under.mean(-1), ROUND * lights))
    missing = smooth(np.minimum(own_lights - lights, COLUMN_LIGHTER), 9)
    colour = colour * (1 + np.maximum(missing, 0) / np.maximum(lights, 1))[:, None]
    lights = colour.mean(-1)
    light = np.median(lights[middle])
    wanted = min(max(wanted, light), max(LIGHTEST * below, light - MAX_LIGHTER))
    lighter = (lights - above)[middle & np.isfinite(above)]
    if 2 * len(lighter) > middle.sum():
        limit = light - np.median(lighter) + (OWN_LIGHT if wanted > light else ABOVE_SKIN)
        wanted = min(wanted, max(limit, light - MAX_LIGHTER))
    return smooth(colour * (wanted / max(light, 1)), 13)


def to_brow(eye: OpenEye) -> np.ndarray:
    """(81,): how far above the open eye the brow begins, by its landmarks."""
    return np.clip(eye.brow - eye.upper - BROW_EDGE, 0.2, 1)


def light_around(light: np.ndarray, eye: OpenEye, end: np.ndarray) -> np.ndarray:
    """(81,): the mean of the light (101, 81) at the heights TALL in a lid's surroundings below
    `end` (81,); NaN where there is too little."""
    near, far = (TALL[:, None] > share * to_brow(eye) for share in SURROUNDINGS)
    inside = near & ~far & (TALL[:, None] < end - CLEAR)
    count = inside.sum(0)
    return np.where(count >= ROWS, (light * inside).sum(0) / np.maximum(count, 1), np.nan)


def similar(colour: np.ndarray, light: float, around: float) -> np.ndarray:
    """A lid's colour (81, 3), whose light is `light` in the middle, nearer to that `around` it."""
    excess = np.clip(light - around, -SIMILAR - MOST_CHANGED, SIMILAR + MOST_CHANGED)
    excess -= np.clip(excess, -SIMILAR, SIMILAR)
    return np.asarray(colour * ((light - excess) / max(light, 1)), np.float32)


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
