# SPDX-License-Identifier: Apache-2.0
"""An avatar with many templates and one reference; the bundled ones have one and four."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.temperament import USUAL

TEMPLATES = 36
STEP = 0.3  # pixels by which the picture moves from a template to the next


def moving_avatar(templates: int = TEMPLATES) -> Avatar:
    """Kenji, whose picture drifts to the right and a little down; without mattes, and of the usual
    temperament, as a film's avatar. (Each template takes 50 ms to load.)"""
    avatar = Avatar.load("kenji")
    assert avatar.landmarks is not None and avatar.reference_weights is not None
    assert avatar.reference_landmarks is not None
    shifts = STEP * np.arange(templates)[:, None] * np.array([0.9, 0.4])
    shifts -= shifts[templates // 2]
    images = [
        cv2.warpAffine(avatar.templates[0], np.array([[1, 0, x], [0, 1, y]]), avatar.size,
                       flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for x, y in shifts
    ]  # fmt: skip
    landmarks = avatar.landmarks + shifts[:, None]
    return replace(
        avatar,
        templates=np.stack(images),
        landmarks=landmarks.astype(np.float32),
        more_references=avatar.more_references[:1],
        reference_weights=avatar.reference_weights[:1],
        reference_landmarks=avatar.reference_landmarks[:1],
        mattes=None,
        temperament=USUAL,
    )
