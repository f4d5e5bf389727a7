# SPDX-License-Identifier: Apache-2.0
"""A photo's own teeth, between the lips of a face that rests with parted ones.

Teeth stay with the skull: where the photo shows them, they are wherever the lips part. So while the
lips are where the photo had them, its pixels take the place of what the network draws there.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE, MOUTH_CROP
from realtalk_ros.face_model import lips
from realtalk_ros.rendering.avatar_encoding import reference_inputs
from realtalk_ros.rendering.geometry import template_landmarks

NEAR = 0.4  # cm by which the opening may differ from that at rest: then the jaw has moved the teeth
NOSE = slice(27, 36)  # landmarks that move with the skull
EDGE = 1.0  # pixels, sd of the border


class OwnTeeth:
    """Of one avatar, whose first reference is the photo."""

    @classmethod
    def of(cls, avatar: Avatar) -> OwnTeeth | None:
        """None for an avatar that rests with shut lips, or whose photo is not known well enough."""
        known = avatar.reference_landmarks, avatar.parted_weights
        if known[0] is None or known[1] is None:
            return None
        interior = reference_inputs(avatar)[0][..., 3:]
        return cls(avatar, interior, known[0][0], known[1])

    def __init__(
        self, avatar: Avatar, interior: np.ndarray, points: np.ndarray, parted: np.ndarray
    ):
        """`interior` (256, 256, 3) uint8 is mouth.py's map of the reference, `points` (68, 2) are
        pixels of it, `parted` (52,) the avatar's parted_weights."""
        self._rest = float(parted @ lips.GAP)
        inside = cv2.GaussianBlur(cv2.erode(interior[..., 0], np.ones((3, 3))), (0, 0), EDGE)
        photo = avatar.more_references[0]
        self._photo = np.dstack([photo, inside]).astype(np.float32)
        place = points[NOSE].mean(0)
        self._shifts = template_landmarks(avatar)[:, NOSE].mean(1) * CROP_SIZE - place

    def draw(
        self, weights: np.ndarray, template: int, interior: np.ndarray, image: np.ndarray
    ) -> None:
        """Draws them into what the generator made of the mouth crop, `image` (128, 128, 3) uint8,
        of weights (52,); `interior` (128, 128, 3) uint8 is the map of the mouth's interior."""
        share = 1 - abs(float(weights @ lips.GAP) - self._rest) / NEAR
        x, y, width, height = cv2.boundingRect(np.ascontiguousarray(interior[..., 0]))
        if share <= 0 or not width:
            return
        box = slice(y, y + height), slice(x, x + width)
        dx, dy = self._shifts[template]
        left, top, _ = MOUTH_CROP
        there = np.array([[1, 0, left + x - dx], [0, 1, top + y - dy]])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        own = cv2.warpAffine(self._photo, there, (width, height), flags=how)
        alpha = own[..., 3:] * interior[(*box, slice(0, 1))] * np.float32(share / 255**2)
        image[box] += np.rint(alpha * (own[..., :3] - image[box])).astype(np.int16).astype(np.uint8)
