# SPDX-License-Identifier: Apache-2.0
"""Extracts from ICT-FaceKit the coarse head by whose depth rendering/head/head_depth.py turns a
picture.

`realtalk data facekit CLONE --head realtalk_ros/data/head.npz` writes it: the skin of face, skull
and neck as one mesh of few triangles.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic.mesh_simplification import simplify

KEEP = 0.03  # share of the triangles
MODES = 3  # standard deviations at which the identities' heads must keep their shape, too


def arrays(kit: FaceKit) -> dict[str, np.ndarray]:
    """What `head_depth.HeadModel` reads."""
    skin = kit.parts["head_neck"].stop  # vertices, the face's first
    triangles = kit.twins[kit.triangles[(kit.triangles < skin).all(1)]]
    modes = kit.identity_modes.astype(np.float32).reshape(len(kit.identity_modes), -1, 3)
    modes = modes[:, :skin]
    mean = kit.mean[:skin]
    shapes = [mean, *(mean + MODES * mode for mode in modes[:4])]
    kept = simplify(triangles, shapes, np.ones(skin), KEEP)
    used, corner = np.unique(kept, return_inverse=True)
    return {
        "mean": mean[used].astype(np.float32),
        "modes": modes[:, used].astype(np.float16),
        "triangles": corner.reshape(-1, 3).astype(np.int16),
    }
