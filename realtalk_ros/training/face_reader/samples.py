# SPDX-License-Identifier: Apache-2.0
"""What the face reader learns from: images of synthetic people, each laid out by eyes and lips as
enroll/face_reader.py does it, a little off as a tracker is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.face_model import landmarks
from realtalk_ros.training.face_reader.model import INPUT_SIZE
from realtalk_ros.training.renderer import augment
from realtalk_ros.training.renderer.dataset import Group, to_float

# How far a tracker's crop is off (standard deviations): turn in rad, logarithm of the scale, shares
# of the side.
TURN, SCALE, SHIFT = 0.025, 0.025, 0.012


@dataclass(frozen=True)
class Batch:
    images: Tensor  # (B, 3, 128, 128) in 0..1
    landmarks: Tensor  # (B, 68, 2), normalised coordinates
    identity: Tensor  # (B, 100)


@lru_cache(maxsize=1)
def mirror_matrix() -> Tensor:
    """(100, 100): `identity @ mirror_matrix()` is that of the mirror image; each mode is even or
    odd."""
    modes = landmarks.load().identity_modes.astype(np.float64)
    turned = modes[:, augment.MIRRORED_LANDMARKS.numpy()] * (-1, 1, 1)
    flat, wanted = (m.reshape(landmarks.IDENTITY_SIZE, -1).T for m in (modes, turned))
    return torch.from_numpy(np.float32(np.linalg.lstsq(flat, wanted, rcond=None)[0].T))


def align_crops(
    images: Tensor, points: Tensor, rng: np.random.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) and landmarks (B, 68, 2) in pixels to the network's input (B, 3, 128,
    128) and landmarks in it, normalised coordinates; with `rng` a little off."""
    count, size = len(images), images.shape[-1]
    places = 2 * points.double() / size - 1  # as grid_sample counts
    eyes, lips = (places[:, part].cpu().numpy() for part in (landmarks.EYES, landmarks.LIPS))
    middle, side, across = map(torch.from_numpy, landmarks.level_square(eyes, lips))
    places, half = places.cpu(), side / 2
    if rng:
        turn, scale, shift = (torch.from_numpy(rng.standard_normal((count, n))) for n in (1, 1, 2))
        cos, sin = torch.cos(TURN * turn), torch.sin(TURN * turn)
        x, y = across[:, :1], across[:, 1:]
        across = torch.cat([cos * x - sin * y, sin * x + cos * y], 1)
        half = half * torch.exp(SCALE * scale[:, 0])
        middle = middle + 2 * SHIFT * half[:, None] * shift
    down = torch.stack([-across[:, 1], across[:, 0]], 1)
    turned = torch.stack([across, down], 2) * half[:, None, None]
    matrix = torch.cat([turned, middle[..., None]], 2).to(images)
    grid = F.affine_grid(matrix, [count, 3, CROP_SIZE, CROP_SIZE], align_corners=False)
    aligned = F.grid_sample(images, grid, "bilinear", "border", align_corners=False)
    moved = torch.linalg.solve(turned, (places - middle[:, None]).transpose(1, 2))
    return (
        F.avg_pool2d(aligned, CROP_SIZE // INPUT_SIZE),
        ((moved.transpose(1, 2) + 1) / 2).float(),
    )


def draw_batch(groups: Sequence[Group], rng: np.random.Generator) -> Batch:
    """An image of each group, or its mirror image, in other colours, now and then blurred."""
    images, points, identities = [], [], []
    for group in groups:
        number = int(rng.integers(len(group.images)))
        one = slice(number, number + 1)
        image, marks, identity = group.images[one], group.landmarks[one].float(), group.identity
        if rng.random() < 0.5:
            image, marks = image.flip(2), augment.mirror_landmarks(marks, group.size)
            identity = identity @ mirror_matrix().to(identity)
        images.append(image)
        points.append(marks)
        identities.append(identity)
    crops, aligned = align_crops(to_float(torch.cat(images)), torch.cat(points), rng)
    crops = augment.jitter_colours(crops[:, None], rng)[:, 0]
    crops = augment.blur_sometimes(crops, 0.3, 3, 0.02, rng)
    return Batch(crops, aligned, torch.stack(identities))
