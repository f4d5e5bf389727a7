# SPDX-License-Identifier: Apache-2.0
"""Layers that the renderer's networks are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1  # of the leaky ReLUs


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)
    return layer


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, C, H, W) -> (B, heads, H * W, C / heads)."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)


def space_to_depth(image: Tensor) -> Tensor:
    """(B, C, S, S) -> (B, C, 4, S/2, S/2): the pixels of each 2 x 2 square beside each other."""
    return F.pixel_unshuffle(image, 2).unflatten(1, (-1, 4))


class FeaturePyramid(nn.Module):
    """An image (B, 3, S, S) to features at 1/2, 1/4, 1/8 and 1/16 of its size, coarse to fine."""

    channels = (128, 96, 48, 32)  # coarse to fine

    def __init__(self) -> None:
        super().__init__()
        c16, c8, c4, c2 = self.channels
        self.stem = conv3x3(12, c2)
        self.down4 = nn.ModuleList([conv3x3(c2, c4, 2), conv3x3(c4, c4)])
        self.down8 = nn.ModuleList([conv3x3(c4, c8, 2), conv3x3(c8, c8)])
        self.down16 = nn.ModuleList([conv3x3(c8, c16, 2), conv3x3(c16, c16)])

    def forward(self, image: Tensor) -> list[Tensor]:
        x = activate(self.stem(F.pixel_unshuffle(image * 2 - 1, 2)))
        features = [x]
        for downsample, residual in (self.down4, self.down8, self.down16):
            x = activate(downsample(x))
            x = x + activate(residual(x))
            features.insert(0, x)
        return features


class ModulatedBlock(nn.Module):
    """A residual block whose two convolutions are modulated by the expression (FiLM).

    Without modulation (an ablation) scale and shift are learned constants.
    """

    def __init__(self, channels: int, style: int, modulated: bool = True):
        super().__init__()
        self.modulated = modulated
        self.modulation = nn.Linear(style, 4 * channels)
        nn.init.normal_(self.modulation.weight, std=0.5 * style**-0.5)
        nn.init.zeros_(self.modulation.bias)
        self.conv1, self.conv2 = conv3x3(channels, channels), conv3x3(channels, channels)
        with torch.no_grad():
            self.conv2.weight.mul_(0.2)  # without normalisation layers, start near the identity

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        if not self.modulated:
            style = torch.zeros_like(style)
        scale1, shift1, scale2, shift2 = self.modulation(style)[..., None, None].chunk(4, 1)
        y = activate(self.conv1(torch.addcmul(shift1, x, 1 + scale1)))
        return x + self.conv2(torch.addcmul(shift2, y, 1 + scale2))
