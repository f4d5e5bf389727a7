# SPDX-License-Identifier: Apache-2.0
"""Mirroring, colour jitter, blur and landmark noise of the face renderer's training images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros.face_model import arkit
from realtalk_ros.training.common.mirrored_landmarks import MIRRORED

# By how much the landmarks of a training template are wrong, as a fitted face's are: all of them
# together, each one (standard deviations, normalised coordinates).
NOISE_TOGETHER, NOISE_EACH = 0.001, 0.0008
GAMMA, GAIN = (0.8, 1.25), (0.75, 1.25)  # of the colour jitter


def _mirrored(name: str) -> str:
    return name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")


MIRRORED_WEIGHTS = torch.tensor([arkit.INDEX[_mirrored(name)] for name in arkit.NAMES])
MIRRORED_LANDMARKS = torch.tensor(MIRRORED)


def mirror_weights(weights: Tensor) -> Tensor:
    """ARKit weights (..., 52) of the mirrored face."""
    return weights[..., MIRRORED_WEIGHTS.to(weights.device)]


def mirror_landmarks(landmarks: Tensor, width: float = 1.0) -> Tensor:
    """Landmarks (..., 68, 2) in an image of that width, which is mirrored."""
    flipped = torch.stack([width - landmarks[..., 0], landmarks[..., 1]], -1)
    return flipped[..., MIRRORED_LANDMARKS.to(landmarks.device), :]


def mirror_grid(grid: Tensor) -> Tensor:
    """A sampling grid (..., S, S, 2 or more), pixels x and y first, of the mirrored image."""
    flipped = grid.flip(-2)
    flipped[..., 0] = grid.shape[-2] - 1 - flipped[..., 0]
    return flipped


def landmark_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2): by how much the landmarks of a fit are wrong, normalised coordinates."""
    return NOISE_EACH * rng.standard_normal((count, 2)) + NOISE_TOGETHER * rng.standard_normal(2)


def jitter_colours(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Random gamma and white balance, the same for all of (B, N, 3, S, S) with one index B."""
    count = len(images)
    gamma = torch.from_numpy(rng.uniform(*GAMMA, (count, 1, 1, 1, 1))).to(images)
    gain = torch.from_numpy(rng.uniform(*GAIN, (count, 1, 3, 1, 1))).to(images)
    return (images.clamp_min(1e-4) ** gamma * gain).clamp(0, 1)


def blur_sometimes(
    images: Tensor, share: float, most: float, noise: float, rng: np.random.Generator
) -> Tensor:
    """That share of all batches (B, 3, S, S) as if up to `most` times smaller; all with up to
    `noise` of grain (a standard deviation)."""
    if rng.random() < share:
        small = F.interpolate(images, scale_factor=1 / rng.uniform(1, most), mode="area")
        images = F.interpolate(small, images.shape[2:], mode="bilinear", align_corners=False)
    return images + float(rng.uniform(0, noise)) * torch.randn_like(images)
