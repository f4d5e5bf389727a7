# SPDX-License-Identifier: Apache-2.0
"""The mask of what the network replaces, at the brows of drawings and machines (NumPy).

A brow that moves and is replaced by a half is seen twice. On skin the mask is next to 1 there; on
faces unlike any that the network was trained on it may be anything.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import COARSE_SIZE
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model.landmarks import BROWS
from realtalk_ros.rendering.common.template_landmarks import template_landmarks

NEAR, FAR = 0.05, 0.14  # distances from them, of the crop's side, up to which all is replaced, any


def brow_masks(avatar: Avatar) -> np.ndarray | None:
    """(N, 64, 64) float32 0..1 of N templates: the least that the mask is. None of people, whose
    fringe may lie before the brows: whose lids are painted with their skin."""
    if avatar.shut_eyes is None:
        return None
    axis = (np.arange(COARSE_SIZE, dtype=np.float32) + 0.5) / COARSE_SIZE
    places = np.stack(np.meshgrid(axis, axis), -1)[None, :, :, None]
    brows = template_landmarks(avatar)[:, None, None, BROWS]
    away = np.linalg.norm(places - brows, axis=-1).min(-1)
    return smoothstep(away, FAR, NEAR).astype(np.float32)
