# SPDX-License-Identifier: Apache-2.0
"""Heights of an eye's lids at the pixels of a patch, and what follows from them (NumPy and
OpenCV)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.eyes.eye_pixels import EyePixels
from realtalk_ros.rendering.eyes.lid_curves import SAMPLES
from realtalk_ros.rendering.eyes.moved_eye import LID_MARGIN, REACH

EXTENDED = np.clip(np.arange(-SAMPLES, 2 * SAMPLES), 0, SAMPLES - 1)  # beside it, its ends go on
# Closures of a lid between which what lies below it is painted, too.
SEALED = 0.7, 1.0
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


def select(where: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """As `np.where`, which takes three times as long: of arrays (H, W) float32, by one of bool."""
    return cv2.copyTo(one, where.view(np.uint8), other.copy())


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

    def on_lids(self, v: np.ndarray, over: np.ndarray) -> np.ndarray:
        """The heights at which the template shows what lies on the eyeball at v, such as lashes and
        their shade: it goes along with a lid that is raised, or lowered if it is the lower one."""
        middle = (self.template_upper + self.template_lower) / 2
        below = v - np.maximum(self.upper - self.template_upper, 0)
        above = v + np.maximum(self.template_lower - self.lower, 0)
        return select(
            over, np.maximum(below, np.minimum(v, middle)), np.minimum(above, np.maximum(v, middle))
        )
