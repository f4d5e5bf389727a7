# SPDX-License-Identifier: Apache-2.0
"""A template and the networks' picture of the face to one image.

The template, at the image's own resolution, is sampled once: a pixel's position in it comes from
the head's rotation and from the face's own movement (lips, chin, lids, irises) together. The
network's picture adds what no movement of the template's pixels can show. In the mouth it takes
their place. Elsewhere only what is coarse in it is added (light, folds), so that fine detail stays
as it is in the template.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.rendering.generator import GeneratedFace
from realtalk_ros.rendering.head_motion import MAX_ANGLE, RADIUS, HeadMotion

FEATHER = 0.04  # share of the crop's side over which its border fades out, so that no seam shows
# In pixels of the networks' crop:
COARSE = (7, 7)  # two box filters: what is finer comes from the template
MOUTH_MARGIN = np.ones((5, 5), np.uint8)  # around the mouth's interior, that the network draws, too
LID_MARGIN = np.ones((9, 9), np.uint8)  # around closing lids, of which it would draw the lashes
FADE = (7, 7)  # box filter of the borders of both
LASHES = 0.75  # share of the light that a line of lashes takes


class Compositor:
    """Of one avatar, in images of `size` (width, height) pixels."""

    def __init__(self, avatar: Avatar, size: tuple[int, int]):
        scale = size[1] / avatar.size[1]
        x, y, side = self._crop = tuple(round(value * scale) for value in avatar.crop)
        self._head_motion = HeadMotion((size[1], size[0]), (x, y, side))
        ramp = np.arange(CROP_SIZE, dtype=np.float32) + 0.5
        ramp = np.clip(np.minimum(ramp, ramp[::-1]) / (FEATHER * CROP_SIZE), 0, 1)
        self._feather = np.minimum(ramp[:, None], ramp[None, :])
        if avatar.region is not None:
            self._feather *= cv2.resize(avatar.region, (CROP_SIZE, CROP_SIZE))
        axis = np.arange(CROP_SIZE, dtype=np.float32)
        self._unmoved = np.stack(np.meshgrid(axis, axis), -1)
        # Where the face may be when the head turns, in the region that moves.
        rows, columns = self._head_motion.region
        reach = round(1.5 * RADIUS * MAX_ANGLE * side)
        top, left = max(rows.start, y - reach), max(columns.start, x - reach)
        bottom, right = min(rows.stop, y + side + reach), min(columns.stop, x + side + reach)
        self._face = (
            slice(top - rows.start, bottom - rows.start),
            slice(left - columns.start, right - columns.start),
        )

    def compose(
        self, template: np.ndarray, face: GeneratedFace, rotation: np.ndarray | None = None
    ) -> np.ndarray:
        """A new image (height, width, 3) uint8: `template`, of the image's size, with the face, and
        with the head rotated by `rotation` (3,) rad."""
        x, y = self._head_motion.sampling_grid(rotation)
        face_x, face_y = x[self._face], y[self._face]
        left, top, side = self._crop
        scale = CROP_SIZE / side
        in_crop = (
            cv2.addWeighted(face_x, scale, face_x, 0, (0.5 - left) * scale - 0.5),
            cv2.addWeighted(face_y, scale, face_y, 0, (0.5 - top) * scale - 0.5),
        )
        moved, added = (
            cv2.remap(layer, *in_crop, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            for layer in self._layers(face)
        )
        image = template.copy()
        region = image[self._head_motion.region]
        cv2.remap(template, x, y, cv2.INTER_LINEAR, dst=region, borderMode=cv2.BORDER_REPLICATE)
        for position, movement in zip((face_x, face_y), cv2.split(moved), strict=True):
            cv2.scaleAdd(movement, 1 / scale, position, dst=position)
        # Bicubic keeps the detail, and costs three times as much: the face is looked at.
        warped = cv2.remap(
            template, face_x, face_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        region[self._face] = cv2.add(warped, added, dtype=cv2.CV_8U)
        return image

    def _layers(self, face: GeneratedFace) -> tuple[np.ndarray, np.ndarray]:
        """Of the upright face's crop: the movement of the template's pixels, x and y, (256, 256, 2)
        float32; and what is added to them, (256, 256, 3) float32."""
        mask = cv2.multiply(face.mask, self._feather)
        moved = cv2.subtract(face.sampling_grid, self._unmoved)
        added = cv2.subtract(face.image, face.warped_template, dtype=cv2.CV_32F)
        added = np.asarray(cv2.blur(cv2.blur(added, COARSE), COARSE))
        interior, _, lids = cv2.split(face.mouth_interior)
        drawn = cv2.blur(cv2.dilate(interior, MOUTH_MARGIN), FADE)
        box = bounding_box(drawn)
        added[box] += share(drawn[box]) * (
            (face.image[box].astype(np.float32) - face.shown_template[box]) - added[box]
        )
        box = bounding_box(face.lashes)
        if face.lashes[box].size:
            lids = cv2.max(cv2.bitwise_and(lids, cv2.bitwise_not(drawn)), face.lashes)
            lids = cv2.blur(cv2.dilate(lids, LID_MARGIN), FADE)
            box = bounding_box(lids)
            added[box] *= 1 - share(lids[box])
            added[box] -= LASHES * share(face.lashes[box]) * face.shown_template[box]
        return (
            cv2.multiply(moved, cv2.merge([mask, mask])),
            cv2.multiply(added, cv2.merge([mask, mask, mask])),
        )


def bounding_box(levels: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what is not 0."""
    x, y, width, height = cv2.boundingRect(levels)
    return slice(y, y + height), slice(x, x + width)


def share(levels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> (H, W, 1) float32 0..1."""
    return levels[..., None] * np.float32(1 / 255)
