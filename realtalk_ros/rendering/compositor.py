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
from realtalk_ros.rendering.eyelids import ShutEyes
from realtalk_ros.rendering.generator import GeneratedFace
from realtalk_ros.rendering.head_motion import HeadMotion
from realtalk_ros.rendering.moving_person import MAX_TRAVEL, MovingPerson

FEATHER = 0.04  # share of the crop's side over which its border fades out, so that no seam shows
# In pixels of the networks' crop:
COARSE = (7, 7)  # two box filters: what is finer comes from the template
MOUTH_MARGIN = np.ones((5, 5), np.uint8)  # around the mouth's interior, that the network draws, too
LID_MARGIN = np.ones((9, 9), np.uint8)  # around closing lids, of which it would draw the lashes
FADE = (7, 7)  # box filter of the borders of both
TURN_MARGIN = 16  # by which the rotation of the head may shift what is seen at a place
INSIDE_FADE = (3, 3)  # of the mouth's interior, of which the template's own detail is no part


class Compositor:
    """Of one avatar, in images of `size` (width, height) pixels. `person` is the avatar's, and may
    be shared with compositors of other sizes."""

    def __init__(self, avatar: Avatar, size: tuple[int, int], person: MovingPerson):
        scale = size[1] / avatar.size[1]
        x, y, side = (round(value * scale) for value in avatar.crop)
        self.crop = x, y, side
        self._head_motion = HeadMotion(person, size)
        ramp = np.arange(CROP_SIZE, dtype=np.float32) + 0.5
        ramp = np.clip(np.minimum(ramp, ramp[::-1]) / (FEATHER * CROP_SIZE), 0, 1)
        self._feather = np.minimum(ramp[:, None], ramp[None, :])
        if avatar.region is not None:
            self._feather *= cv2.resize(avatar.region, (CROP_SIZE, CROP_SIZE))
        axis = np.arange(CROP_SIZE, dtype=np.float32)
        self._unmoved = np.stack(np.meshgrid(axis, axis), -1)
        # Where the face may be when the head turns, in the region that moves.
        rows, columns = self._head_motion.region
        reach = round(MAX_TRAVEL * side)
        top, left = max(rows.start, y - reach), max(columns.start, x - reach)
        bottom, right = min(rows.stop, y + side + reach), min(columns.stop, x + side + reach)
        top, bottom = top - rows.start, bottom - rows.start
        left, right = left - columns.start, right - columns.start
        self._face = (slice(top, bottom), slice(left, right))
        self._memory = _Memory(bottom - top, right - left)
        around = (
            (slice(0, top), slice(None)),
            (slice(bottom, None), slice(None)),
            (slice(top, bottom), slice(0, left)),
            (slice(top, bottom), slice(right, None)),
        )
        self._around = [moving for part in around for moving in self._head_motion.moving(part)]

    def compose(
        self,
        template: np.ndarray,
        face: GeneratedFace,
        number: int = 0,
        rotation: np.ndarray | None = None,
        breath: float = 0.0,
        shut: ShutEyes | None = None,
    ) -> np.ndarray:
        """A new image (height, width, 3) uint8: `template`, of the image's size and the avatar's
        `number`-th, with the face, and with the head rotated by `rotation` (3,) rad and the
        shoulders raised by `breath`, -1..1. Lids that close show what `shut` does."""
        memory = self._memory
        x, y = self._head_motion.sampling_grid(rotation, breath, number)
        face_x, face_y = x[self._face], y[self._face]
        left, top, side = self.crop
        scale = CROP_SIZE / side
        cv2.addWeighted(face_x, scale, face_x, 0, (0.5 - left) * scale - 0.5, dst=memory.crop_x)
        cv2.addWeighted(face_y, scale, face_y, 0, (0.5 - top) * scale - 0.5, dst=memory.crop_y)
        self._draw_layers(face)
        for layer, seen in ((memory.moved, memory.moved_seen), (memory.added, memory.added_seen)):
            cv2.remap(
                layer,
                memory.crop_x,
                memory.crop_y,
                cv2.INTER_LINEAR,
                dst=seen,
                borderMode=cv2.BORDER_CONSTANT,
            )
        image = template.copy()
        region = image[self._head_motion.region]
        for part in self._around:
            if x[part].size:
                cv2.remap(
                    template,
                    x[part],
                    y[part],
                    cv2.INTER_LINEAR,
                    dst=region[part],
                    borderMode=cv2.BORDER_REPLICATE,
                )
        upright = (face_x.copy(), face_y.copy()) if shut else None
        for channel, position in enumerate((face_x, face_y)):
            movement = cv2.extractChannel(memory.moved_seen, channel, memory.movement)
            cv2.scaleAdd(movement, 1 / scale, position, dst=position)
        # Bicubic keeps the detail, and costs three times as much: the face is looked at.
        cv2.remap(
            template,
            face_x,
            face_y,
            cv2.INTER_CUBIC,
            dst=memory.warped,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if shut and upright and face.lids is not None:
            shut.paint(memory.warped, face.lids, (memory.crop_x, memory.crop_y), upright)
        cv2.add(memory.warped, memory.added_seen, dst=region[self._face], dtype=cv2.CV_8U)
        self._fill_mouth(face, region[self._face])
        self._head_motion.restore_background(image, template)
        return image

    def _fill_mouth(self, face: GeneratedFace, image: np.ndarray) -> None:
        """Replaces what is between the lips, in the part of the image in which the face is: nothing
        of the template is to be seen there, such as the line where its lips meet."""
        interior = cv2.extractChannel(face.mouth_interior, 0)
        x, y, width, height = cv2.boundingRect(interior)
        if not width:
            return
        # Where it may be in the image, however the head is rotated.
        across, down = self._memory.crop_x, self._memory.crop_y
        across_middle, down_middle = across[len(across) // 2], down[:, down.shape[1] // 2]
        part = (
            _between(down_middle, y - TURN_MARGIN, y + height + TURN_MARGIN),
            _between(across_middle, x - TURN_MARGIN, x + width + TURN_MARGIN),
        )
        across, down, image = across[part], down[part], image[part]
        inside = cv2.multiply(cv2.blur(interior, INSIDE_FADE), self._memory.mask, dtype=cv2.CV_8U)
        seen = cv2.remap(inside, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        if not seen.any():  # in a small image it may lie between the pixels
            return
        box = bounding_box(seen)
        picture = cv2.remap(face.image, across[box], down[box], cv2.INTER_LINEAR)
        drawn = seen[box] * np.float32(1 / 255)
        image[box] = cv2.blendLinear(picture, image[box], drawn, 1 - drawn)

    def _draw_layers(self, face: GeneratedFace) -> None:
        """Of the upright face's crop, into the memory: `moved`, the movement of the template's
        pixels, and `added`, what is added to them."""
        memory = self._memory
        added = memory.added
        cv2.subtract(face.image, face.warped_template, dst=added, dtype=cv2.CV_32F)
        cv2.blur(added, COARSE, dst=memory.blurred)
        cv2.blur(memory.blurred, COARSE, dst=added)
        interior = cv2.extractChannel(face.mouth_interior, 0)
        drawn = cv2.blur(cv2.dilate(interior, MOUTH_MARGIN), FADE)
        if drawn.any():
            box = bounding_box(drawn)
            added[box] += share(drawn[box]) * (
                face.image[box].astype(np.float32) - face.own_pixels(box) - added[box]
            )
        if face.lids is not None:
            lids = cv2.bitwise_and(cv2.extractChannel(face.lids, 0), cv2.bitwise_not(drawn))
            lids = cv2.blur(cv2.dilate(lids, LID_MARGIN), FADE)
            box = bounding_box(lids)
            added[box] *= 1 - share(lids[box])
        mask = cv2.multiply(face.mask, self._feather, memory.mask)
        cv2.subtract(face.sampling_grid, self._unmoved, dst=memory.moved)
        cv2.multiply(memory.moved, cv2.merge([mask] * 2, memory.mask_2), dst=memory.moved)
        cv2.multiply(added, cv2.merge([mask] * 3, memory.mask_3), dst=added)


class _Memory:
    """Arrays that every image overwrites: to allocate them anew takes as long as to fill them.

    float32. Of the networks' crop, and (`..._seen`, `crop_x`, `crop_y`) of the part of the image
    in which the face is, (height, width).
    """

    def __init__(self, height: int, width: int):
        def floats(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32)

        crop = CROP_SIZE, CROP_SIZE
        self.mask, self.moved, self.mask_2 = (floats(*crop, *n) for n in ((), (2,), (2,)))
        self.added, self.blurred, self.mask_3 = (floats(*crop, 3) for _ in range(3))
        self.crop_x, self.crop_y, self.movement = (floats(height, width) for _ in range(3))
        self.moved_seen, self.added_seen = floats(height, width, 2), floats(height, width, 3)
        self.warped = np.zeros((height, width, 3), np.uint8)


def _between(positions: np.ndarray, least: float, most: float) -> slice:
    """The indices of rising positions that lie between two."""
    first, last = np.searchsorted(positions, (least, most))
    return slice(int(first), int(last))


def bounding_box(levels: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what is not 0."""
    x, y, width, height = cv2.boundingRect(levels)
    return slice(y, y + height), slice(x, x + width)


def share(levels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) -> (H, W, 1) float32 0..1."""
    return levels[..., None] * np.float32(1 / 255)
