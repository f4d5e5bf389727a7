# SPDX-License-Identifier: Apache-2.0
"""What the evaluation network (landmark_net.py) says of rendered images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.training.renderer.dataset import to_float
from realtalk_ros.training.renderer.image_metrics import Box, scaled_box
from realtalk_ros.training.renderer.landmark_net import LandmarkNet


@dataclass(frozen=True)
class Comparison:
    figures: dict[str, Tensor]  # by name, as evaluate.py names them: (K,) each
    reference_identity: Tensor  # (64,)


def compare(
    eval_net: LandmarkNet,
    images: tuple[np.ndarray, np.ndarray, np.ndarray],
    landmarks: Tensor,
    boxes: list[Box],
) -> Comparison:
    """Of rendered and true images (K, S, S, 3) and their reference (S, S, 3), uint8; the true
    landmarks (K, 68, 2), pixels, and the boxes of the lips."""
    out, truth, reference = images
    seen, true, of_reference = (
        eval_net(to_float(torch.from_numpy(x))) for x in (out, truth, reference[None])
    )
    identity = of_reference.identity[0]
    lips_px = [(p.landmarks - landmarks).norm(dim=-1)[:, LIPS].mean(1) for p in (seen, true)]
    figures = {
        "perceptual": feature_distance(seen.features, true.features),
        "mouth_perceptual": feature_distance(seen.features, true.features, boxes),
        "lips_px": lips_px[0],
        "lips_px_of_truth": lips_px[1],
        "identity": seen.identity @ identity,
        "identity_of_truth": true.identity @ identity,
    }
    return Comparison(figures, identity)


def feature_distance(a: list[Tensor], b: list[Tensor], boxes: list[Box] | None = None) -> Tensor:
    """Mean squared distance (B,) of features of unit length, summed over the scales; in each
    image's box if they are given."""
    total = 0
    for scale, (x, y) in enumerate(zip(a, b, strict=True)):
        error = (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1)
        if boxes is None:
            total = total + error.mean((1, 2))
        else:
            rows = [e[scaled_box(k, 2 ** (scale + 1))] for e, k in zip(error, boxes, strict=True)]
            total = total + torch.stack([row.mean() for row in rows])
    return total


def similarity_of_others(identities: Tensor) -> float:
    """Mean cosine of the identities (N, 64) of different people; 0 of a single one."""
    others = (identities @ identities.T)[~torch.eye(len(identities), dtype=torch.bool)]
    return float(others.mean()) if len(identities) > 1 else 0.0
