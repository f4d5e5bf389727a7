# SPDX-License-Identifier: Apache-2.0
"""The face reader in torch: a network that finds the 68 landmarks in a face crop, and whose face it
is. `realtalk enroll` runs its ONNX export, see enroll/face_reader.py."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros.face_model import landmarks
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks

INPUT_SIZE = 128  # side of the network's input, pixels
CHANNELS = (32, 64, 128, 192)  # at 1/2, 1/4, 1/8 and 1/16 of the input
SQUEEZED, HIDDEN = 32, 256  # channels before the heads; width of the identity's hidden layer
SLOPE = 0.1  # of the leaky ReLUs


class ResidualBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.leaky_relu(self.norms[0](x), SLOPE))
        return x + self.conv2(F.leaky_relu(self.norms[1](y), SLOPE))


class FaceReader(nn.Module):
    """(B, 3, 128, 128) in 0..1 -> landmarks (B, 68, 2) in normalised coordinates, identity
    (B, 100)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(12, CHANNELS[0], 3, 1, 1)
        self.downsample = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(CHANNELS)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, c) for c in CHANNELS)
        self.blocks = nn.ModuleList(ResidualBlock(c) for c in CHANNELS[1:])
        cells = (INPUT_SIZE // 2 ** len(CHANNELS)) ** 2
        self.landmarks_squeeze, self.identity_squeeze = (
            nn.Conv2d(CHANNELS[-1], SQUEEZED, 1) for _ in range(2)
        )
        self.landmarks = nn.Linear(SQUEEZED * cells, 2 * landmarks.COUNT)
        self.identity_hidden = nn.Linear(SQUEEZED * cells, HIDDEN)
        self.identity = nn.Linear(HIDDEN, landmarks.IDENTITY_SIZE)
        for head in (self.landmarks, self.identity):  # begins with the mean face
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        with torch.no_grad():
            mean = frontal_landmarks(np.zeros(landmarks.IDENTITY_SIZE, np.float32))
            self.landmarks.bias.copy_(torch.from_numpy(np.float32(mean)).flatten())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(F.pixel_unshuffle(2 * image - 1, 2))
        for downsample, norm, block in zip(self.downsample, self.norms, self.blocks, strict=False):
            x = block(downsample(F.leaky_relu(norm(x), SLOPE)))
        x = F.leaky_relu(self.norms[-1](x), SLOPE)
        points = self.landmarks(self.landmarks_squeeze(x).flatten(1))
        hidden = F.leaky_relu(self.identity_hidden(self.identity_squeeze(x).flatten(1)), SLOPE)
        return points.unflatten(1, (landmarks.COUNT, 2)), self.identity(hidden)
