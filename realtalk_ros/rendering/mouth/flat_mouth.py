# SPDX-License-Identifier: Apache-2.0
"""The inside of a drawn mouth, in flat colours: a hollow, one band of upper teeth, a tongue.

Where the lips are open and where the teeth are comes from the map of the mouth's interior
(mouth.py); the shapes are those of training/portraits/drawn.py, which draws the references.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.flat_mouth_colours import FlatMouthColours
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import MOUTH_LEFT, MOUTH_RIGHT
from realtalk_ros.rendering.common.template_landmarks import template_landmarks
from realtalk_ros.rendering.mouth.lip_outline import FRACTION_BITS
from realtalk_ros.rendering.mouth.mouth import OPEN

# Teeth come from behind the upper lip with the opening's height, widths of the resting mouth, and
# with the share of its width in which they are seen: from the first number on, wholly at the
# second. A drawing shows no white line between lips that hardly part, no single tooth in an "oo",
# and no teeth through which one sees.
TALL, WIDE = (0.05, 0.12), (0.35, 0.65)
# The tongue, widths of the resting mouth: half its length and height, its middle below the opening.
TONGUE = 0.25, 0.12, 0.03


class FlatMouthPainter:
    """Of one avatar, in the networks' crop."""

    def __init__(self, colours: FlatMouthColours, mouth_width: float):
        """mouth_width: from corner to corner at rest, pixels of the crop."""
        self._hollow, self._tongue, self._teeth = (
            np.array(colour[::-1], np.float32)
            for colour in (colours.hollow, colours.tongue, colours.teeth)
        )
        self._width = mouth_width

    @classmethod
    def of(cls, avatar: Avatar) -> FlatMouthPainter | None:
        """None for an avatar that is no drawing."""
        if avatar.flat_mouth is None:
            return None
        right, left = template_landmarks(avatar)[0, [MOUTH_RIGHT, MOUTH_LEFT]]
        return cls(avatar.flat_mouth, CROP_SIZE * float(np.linalg.norm(left - right)))

    def paint(self, interior: np.ndarray, mouth: np.ndarray) -> None:
        """Paints the opening in a mouth's picture (S, S, 3) uint8, in place; `interior` (S, S, 3)
        uint8 is the map of it."""
        open_ = interior[..., 0] >= OPEN
        columns = np.flatnonzero(open_.any(0))
        if not len(columns):
            return
        top = open_.argmax(0)[columns]
        bottom = len(open_) - open_[::-1].argmax(0)[columns]  # the first row below
        colour = np.broadcast_to(self._hollow, mouth.shape)
        colour = over(colour, self._tongue, self._tongue_mask(columns, bottom, len(mouth)))
        teeth = self._teeth_mask(interior[..., 1] > 0, columns, top, bottom)
        colour = over(colour, self._teeth, teeth)
        share = interior[..., :1].astype(np.float32) / 255
        mouth[:] = np.rint(mouth + share * (colour - mouth))

    def _tongue_mask(self, columns: np.ndarray, bottom: np.ndarray, size: int) -> np.ndarray:
        length, height, below = (share * self._width for share in TONGUE)
        length = min(length, 0.45 * len(columns))
        middle = len(columns) // 2
        centre = columns[middle], bottom[middle] + below
        mask, scale = np.zeros((size, size), np.uint8), 2**FRACTION_BITS
        place, axes = (
            tuple(round(float(value) * scale) for value in pair)
            for pair in (centre, (length, height))
        )
        return cv2.ellipse(
            mask, place, axes, angle=0, startAngle=0, endAngle=360, color=255, thickness=-1,
            lineType=cv2.LINE_AA, shift=FRACTION_BITS,
        )  # fmt: skip

    def _teeth_mask(
        self, enamel: np.ndarray, columns: np.ndarray, top: np.ndarray, bottom: np.ndarray
    ) -> np.ndarray:
        """Of the upper row: enamel in the upper half of the opening, with an even edge."""
        rows = np.arange(len(enamel))[:, None]
        upper = enamel[:, columns] & (rows >= top) & (rows < (top + bottom + 1) / 2)
        seen = upper.any(0)
        mask = np.zeros(enamel.shape, np.float32)
        tall = float((bottom - top).max()) / self._width
        share = float(smoothstep(tall, *TALL) * smoothstep(seen.mean(), *WIDE))
        if not share:
            return mask
        edge = (len(enamel) - upper[::-1].argmax(0))[seen]  # the first row below
        curve = np.polyfit(columns[seen], edge, 2)
        across = columns[np.flatnonzero(seen)[0] : np.flatnonzero(seen)[-1] + 1]
        lip = np.interp(across, columns, top)
        low = lip + share * (np.polyval(curve, across) - lip)
        mask[:, across] = 255 * np.clip(low - rows, 0, 1)
        return mask


def over(image: np.ndarray, colour: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) with a colour (3,) over it by a mask (S, S) 0..255."""
    share = mask[..., None].astype(np.float32) / 255
    return np.asarray(image + share * (colour - image))
