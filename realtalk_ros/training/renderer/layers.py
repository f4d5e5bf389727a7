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


def per_pixel(values: Tensor, image: Tensor) -> Tensor:
    """(B, C, 1, 1) for every pixel of an image (B, ..., H, H).

    In an ONNX file by enlarging: what has one shape, ONNX Runtime computes in the memory layout of
    its convolutions; for a number for each channel it would change the layout there and back.
    """
    if torch.onnx.is_in_onnx_export():
        return F.interpolate(values, scale_factor=int(image.shape[-1]), mode="nearest")
    return values


class ModulatedBlock(nn.Module):
    """A residual block whose convolutions are modulated by the expression (FiLM): a shift of what
    the first one finds and a scale of what the second one sees.

    Without modulation there is neither.
    """

    def __init__(self, channels: int, style: int, modulated: bool):
        super().__init__()
        self.modulated = modulated
        if modulated:
            self.shift, self.scale = (nn.Conv2d(style, channels, 1) for _ in range(2))
            for layer, bias in ((self.shift, 0), (self.scale, 1)):
                nn.init.normal_(layer.weight, std=0.5 * style**-0.5)
                nn.init.constant_(layer.bias, bias)
        self.conv1, self.conv2 = conv3x3(channels, channels), conv3x3(channels, channels)
        with torch.no_grad():
            self.conv2.weight.mul_(0.2)  # without normalisation layers, start near the identity

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Features (B, C, H, H), style (B, S, 1, 1)."""
        y = self.conv1(x)
        if self.modulated:
            y = F.relu(y + per_pixel(self.shift(style), x)) * per_pixel(self.scale(style), x)
        else:
            y = F.relu(y)
        return x + self.conv2(y)
