# SPDX-License-Identifier: Apache-2.0
"""What is added to a template's pixels: light, folds, and the mouth.

In the mouth the generator's picture takes the place of the template. Elsewhere only what is coarse
in its change is added, so that fine detail stays as it is in the template; and on both the light on
the cheeks (cheeks.py), of which the generator knows nothing. What is less than half a grey
level is left out: most of a face does not change while it speaks.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from realtalk_ros.contracts import COARSE_SIZE, CROP_SIZE, MOUTH_CROP, mouth_crop
from realtalk_ros.rendering.common.boxes import Box, bounding_box, grown, is_empty, nested
from realtalk_ros.rendering.common.channels import spread
from realtalk_ros.rendering.common.generated_face import GeneratedFace, Lids, MovedCheek

# In pixels of the networks' crop:
MOUTH_MARGIN = np.ones((5, 5), np.uint8)  # around the mouth's interior, that the network draws, too
LID_MARGIN = np.ones((9, 9), np.uint8)  # around closing lids, of which it would draw the lashes
FADE = (7, 7)  # box filter of the borders of both
INSIDE_FADE = (3, 3)  # of the mouth's interior, where nothing of the template is to be seen
# What is finer is left out: box filter of the change, and twice of half of the mouth crop.
COARSE_BLUR = (3, 3)
FEATHER = 0.04  # share of the crop's side over which its border fades out, so that no seam shows
MOUTH_FADE = 0.06  # share of the mouth crop's side over which its border fades out
UNSEEN = (0.5,) * 4  # grey levels: images are of whole ones

COARSE, MOUTH, MOUTH_SIDE = (COARSE_SIZE, COARSE_SIZE), mouth_crop(), MOUTH_CROP[2]
HALF = MOUTH_SIDE // 2, MOUTH_SIDE // 2
CELL = CROP_SIZE // COARSE_SIZE  # pixels of the crop in one of the change
MOUTH_CELLS = (
    slice(MOUTH[0].start // CELL, -(-MOUTH[0].stop // CELL)),
    slice(MOUTH[1].start // CELL, -(-MOUTH[1].stop // CELL)),
)


class AddedLayer:
    """Of one avatar; every image overwrites it. `feather` (256, 256) float32 0..1 is where the
    generator may add something."""

    def __init__(self, feather: np.ndarray):
        border = faded_border(MOUTH_SIDE, MOUTH_FADE)
        self._within_mouth = feather[MOUTH] * border
        self._beside_mouth = spread(half(1 - border), 4)
        self._coarse_feather = cv2.resize(feather, COARSE, interpolation=cv2.INTER_AREA)
        self._memory = np.zeros((CROP_SIZE, CROP_SIZE, 4), np.float32)
        self.box: Box = MOUTH  # the part of the crop that it covers
        # Where the mouth's interior is seen, in the crop.
        self.opening: Box | None = None

    @property
    def image(self) -> np.ndarray:
        """Of the box, (h, w, 4) float32: BGR, and the share of the template that they replace."""
        return self._memory[self.box]

    def draw(self, face: GeneratedFace, mask: np.ndarray) -> None:
        """Draws it for one frame; `mask` (256, 256) float32 0..1 is how far the generator replaces
        the template."""
        light = light_on_cheeks(face.cheeks)
        self._draw_change(face, light)
        if face.lids is not None:
            self._leave_out(face.lids)
        self._draw_mouth(face, light, mask[MOUTH] * self._within_mouth)

    def _draw_change(self, face: GeneratedFace, light: np.ndarray) -> None:
        """What is coarse in the change, with that light, and its box, in which the mouth is,
        too."""
        change = cv2.cvtColor(cv2.blur(face.change, COARSE_BLUR), cv2.COLOR_BGR2BGRA)
        change[..., 3] = 0
        change = cv2.multiply(change, spread(face.mask * self._coarse_feather, 4))
        change += light
        seen = cv2.bitwise_not(cv2.inRange(change, tuple(-u for u in UNSEEN), UNSEEN))
        seen[MOUTH_CELLS] = 255
        rows, columns = grown(bounding_box(seen), 1, COARSE_SIZE)
        self.box = pixels(rows), pixels(columns)
        layer = self.image
        cv2.resize(change[rows, columns], layer.shape[1::-1], dst=layer)

    def _leave_out(self, lids: Lids) -> None:
        """What the generator adds at lids that close: they are painted (eyelids.py)."""
        box, weight = soft(cv2.extractChannel(lids.layers, 0), LID_MARGIN)
        self._memory[box] *= spread(1 - weight, 4)

    def _draw_mouth(self, face: GeneratedFace, light: np.ndarray, within: np.ndarray) -> None:
        """Of the mouth crop: around the interior what is coarse in the generator's picture, and the
        light on the cheeks; inside all of the picture. `within` (128, 128) 0..1."""
        layer = self._memory[MOUTH]
        around = half(layer) * self._beside_mouth
        if face.cheeks:
            around += cv2.resize(light[MOUTH_CELLS], HALF) * (1 - self._beside_mouth)
        around += spread(half(within), 4) * coarse_difference(face.mouth, face.warped_mouth)
        cv2.resize(around, layer.shape[1::-1], dst=layer)
        interior = cv2.extractChannel(face.mouth_interior[MOUTH], 0)
        box, weight = soft(interior, MOUTH_MARGIN)
        self.opening = nested(MOUTH, box) if weight.size else None
        if weight.size:
            here = layer[box]
            drawn, warped = (
                cv2.cvtColor(picture[box], cv2.COLOR_BGR2BGRA).astype(np.float32)
                for picture in (face.mouth, face.warped_mouth)
            )
            here += spread(weight, 4) * (spread(within[box], 4) * (drawn - warped) - here)
            replaced = within[box] * levels_to_share(cv2.blur(interior, INSIDE_FADE)[box])
            here += spread(replaced, 4) * (drawn - here)
            here[..., 3] = replaced


def light_on_cheeks(cheeks: Sequence[MovedCheek]) -> np.ndarray:
    """(64, 64, 4) float32: BGR levels, and 0."""
    light = np.zeros((*COARSE, 4), np.float32)
    for cheek, _, share in cheeks:
        here = light[cheek.cells]
        cv2.scaleAdd(cheek.light, share, here, dst=here)
    return light


def half(picture: np.ndarray) -> np.ndarray:
    """A picture of the mouth crop at half of its resolution."""
    return cv2.resize(picture, HALF, interpolation=cv2.INTER_AREA)


def coarse_difference(drawn: np.ndarray, warped: np.ndarray) -> np.ndarray:
    """(S / 2, S / 2, 4) float32: what a picture of the mouth crop has that another has not, both
    (S, S, 3) uint8, less what is fine in it; and 0."""
    small, other = (cv2.cvtColor(half(i), cv2.COLOR_BGR2BGRA) for i in (drawn, warped))
    difference = cv2.subtract(small, other, dtype=cv2.CV_32F)
    for _ in range(2):
        difference = cv2.blur(difference, COARSE_BLUR)
    return difference


def faded_border(side: int, width: float) -> np.ndarray:
    """(side, side) float32: 1, falling to 0 over `width`, a share of the side, at the border."""
    ramp = np.arange(side, dtype=np.float32) + 0.5
    ramp = np.clip(np.minimum(ramp, ramp[::-1]) / (width * side), 0, 1)
    return np.minimum(ramp[:, None], ramp[None, :])


def pixels(cells: slice) -> slice:
    """Of the crop, in cells of the change."""
    return slice(CELL * cells.start, CELL * cells.stop)


def soft(levels: np.ndarray, margin: np.ndarray) -> tuple[Box, np.ndarray]:
    """What is not 0 in `levels` (S, S) uint8, with a margin (a kernel of OpenCV's `dilate`) and a
    soft border: its box, and in this (h, w) float32 0..1."""
    box = bounding_box(levels)
    if is_empty(box):
        return box, np.zeros((0, 0), np.float32)
    box = grown(box, len(margin) // 2 + FADE[0] // 2, len(levels))
    return box, levels_to_share(cv2.blur(cv2.dilate(levels[box], margin), FADE))


def levels_to_share(levels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> float32 0..1."""
    return levels * np.float32(1 / 255)
