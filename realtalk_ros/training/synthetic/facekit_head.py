# SPDX-License-Identifier: Apache-2.0
"""Extracts from ICT-FaceKit the coarse head by whose depth rendering/head_depth.py turns a picture.

`realtalk data facekit CLONE --head realtalk_ros/data/head.npz` writes it: the skin of face, skull
and neck as one mesh of few triangles.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic.mesh_simplification import simplify

PARTS = ("face", "head_neck")
KEEP = 0.03  # share of the triangles
MODES = 3  # standard deviations at which the identities' heads must keep their shape, too
SAME = 1e-3  # cm, vertices of the two parts that are nearer than this are one


def arrays(kit: FaceKit) -> dict[str, np.ndarray]:
    """What `head_depth.HeadModel` reads."""
    from scipy.spatial import cKDTree

    face, head = (kit.parts[name] for name in PARTS)
    same = np.arange(head.stop)
    distance, near = map(np.asarray, cKDTree(kit.mean[face]).query(kit.mean[head]))
    welded = distance < SAME
    same[head][welded] = near[welded] + face.start
    triangles = same[kit.triangles[(kit.triangles < head.stop).all(1)]]
    modes = kit.identity_modes.astype(np.float32).reshape(len(kit.identity_modes), -1, 3)
    modes = modes[:, : head.stop]
    mean = kit.mean[: head.stop]
    shapes = [mean, *(mean + MODES * mode for mode in modes[:4])]
    kept = simplify(triangles, shapes, np.ones(head.stop), KEEP)
    used, corner = np.unique(kept, return_inverse=True)
    return {
        "mean": mean[used].astype(np.float32),
        "modes": modes[:, used].astype(np.float16),
        "triangles": corner.reshape(-1, 3).astype(np.int16),
    }
