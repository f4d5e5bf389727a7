# SPDX-License-Identifier: Apache-2.0
"""Extracts from ICT-FaceKit the lids and eyeballs that rendering/eyes/eyes.py warps.

`realtalk data facekit CLONE --eyes realtalk_ros/data/eyes.npz` writes it: the edges of the lids,
which are the third ring of vertices counted from the face's border at the eye, and the eyeballs.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model.landmarks import EYE_LEFT, EYE_RIGHT
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import mesh_rings

EDGE = 2  # number of the ring; 0 is the face's border
HALF = 20  # vertices of an upper or lower lid


def arrays(kit: FaceKit) -> dict[str, np.ndarray]:
    """What `eyes_model.EyesModel` reads."""
    lids = np.concatenate(
        [mesh_rings.around(kit, marks, kit.mean, [EDGE], HALF) for marks in (EYE_RIGHT, EYE_LEFT)]
    )
    balls = [kit.parts[f"eyeball_{side}"] for side in ("right", "left")]

    def middles(of: np.ndarray) -> np.ndarray:
        """(..., V, 3) -> (..., 2, 3); of what moves a ball, how far its middle goes."""
        ends = [(of[..., ball, :].max(-2), of[..., ball, :].min(-2)) for ball in balls]
        return np.stack([(high + low) / 2 for high, low in ends], -2).astype(np.float32)

    expressions, modes = (
        m.reshape(len(m), -1, 3) for m in (kit.expressions, kit.identity_modes.astype(np.float32))
    )
    return {
        "lids": kit.mean[lids],
        "lids_expressions": expressions[:, lids].astype(np.float16),
        "lids_modes": modes[:, lids].astype(np.float16),
        "balls": middles(kit.mean),
        "balls_modes": middles(modes),
    }
