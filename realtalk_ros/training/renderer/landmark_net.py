# SPDX-License-Identifier: Apache-2.0
"""The networks of `realtalk train landmarks` (train_landmarks.py) in torch: they find 68 landmarks,
face parts and identity in an image. (Not the face reader of `realtalk enroll`: that is
training/face_reader/.)

Landmarks are the expected position under a softmax of a heat map (integral regression, Sun et al.,
arXiv 1711.08229): sharper than the map's grid, and differentiable. `identity` is a unit vector,
near for images of one person and far for others (InfoNCE, arXiv 1807.03748).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import COUNT
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.renderer.dataset import LABELS

IDENTITY = 64  # size of the identity vector
FOLDER = Path("runs/reader")
PERCEPTUAL_NET, EVALUATION_NET = FOLDER / "perceptual.pt", FOLDER / "evaluation.pt"


@dataclass(frozen=True)
class Dimensions:
    """Saved with the weights. `channels` are those at 1/2, 1/4, 1/8 and 1/16 of the image."""

    channels: tuple[int, int, int, int] = (24, 48, 96, 128)
    landmarks: int = COUNT


@dataclass(frozen=True)
class Prediction:
    landmarks: Tensor  # (B, 68, 2), pixels of the image, x right, y down
    parts: Tensor  # (B, 7, S/4, S/4), logits of the masks' labels
    identity: Tensor  # (B, 64), unit length
    features: list[Tensor]  # at 1/2, 1/4, 1/8 and 1/16


class Stage(nn.Module):
    """A strided convolution and a residual one."""

    def __init__(self, inputs: int, outputs: int, stride: int = 2):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv1(x), 0.1)
        return F.leaky_relu(self.norm(x + self.conv2(x)), 0.1)


class LandmarkNet(nn.Module):
    def __init__(self, dims: Dimensions):
        super().__init__()
        self.dims = dims
        c2, c4, c8, c16 = dims.channels
        self.stem = nn.Conv2d(12, c2, 3, 1, 1)
        self.norm = nn.GroupNorm(8, c2)
        self.down = nn.ModuleList([Stage(c2, c4), Stage(c4, c8), Stage(c8, c16)])
        self.up = nn.ModuleList([nn.Conv2d(c16, c8, 1), nn.Conv2d(c8, c4, 1)])
        self.mix = nn.ModuleList([Stage(c8, c8, 1), Stage(c4, c4, 1)])
        self.heatmaps = nn.Conv2d(c4, dims.landmarks, 1)
        self.parts = nn.Conv2d(c4, LABELS, 1)
        self.identity = nn.Linear(c16, IDENTITY)

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in 0..1 to features at 1/2, 1/4, 1/8 and 1/16 of S."""
        x = F.leaky_relu(self.norm(self.stem(F.pixel_unshuffle(image * 2 - 1, 2))), 0.1)
        found = [x]
        for stage in self.down:
            found.append(stage(found[-1]))
        return found

    def forward(self, image: Tensor) -> Prediction:
        features = self.features(image)
        x = features[3]
        for up, mix, lateral in zip(self.up, self.mix, features[2:0:-1], strict=True):
            x = mix(F.interpolate(up(x), scale_factor=2, mode="nearest") + lateral)
        landmarks = soft_argmax(self.heatmaps(x).float()) * image.shape[-1]
        return Prediction(landmarks, self.parts(x), self.embed(features[3], landmarks), features)

    def embed(self, coarse: Tensor, landmarks: Tensor) -> Tensor:
        """Identity from the features within the face: not by hair, clothes and background."""
        with torch.no_grad():
            cells = landmarks / 16  # the coarse features' grid
            centre, spread = cells.mean(1), cells.std(1) * 1.5
            axis = torch.arange(coarse.shape[-1], device=coarse.device) + 0.5
            x = torch.exp(-(((axis - centre[:, :1]) / spread[:, :1]) ** 2))
            y = torch.exp(-(((axis - centre[:, 1:]) / spread[:, 1:]) ** 2))
            inside = y[:, :, None] * x[:, None]
            inside = inside / inside.sum((1, 2), keepdim=True).clamp_min(1e-6)
        return F.normalize(self.identity((coarse.float() * inside[:, None]).sum((2, 3))), dim=-1)


def soft_argmax(logits: Tensor) -> Tensor:
    """(B, N, H, W) logits to the mean position (B, N, 2) under their softmax, 0..1 of W and H."""
    height, width = logits.shape[2:]
    share = logits.flatten(2).softmax(-1).unflatten(2, (height, width))
    x = (torch.arange(width, device=logits.device) + 0.5) / width
    y = (torch.arange(height, device=logits.device) + 0.5) / height
    return torch.stack([(share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)], -1)


def load(path: Path, device: str = "cpu") -> LandmarkNet:
    """A trained network, frozen. Raises RealTalkError where there is none of this version."""
    if not path.is_file():
        raise RealTalkError(f"no landmark network {path}: run `realtalk train landmarks` first")
    saved = checkpoint.load(path, device)
    try:
        net = LandmarkNet(Dimensions(**saved["dimensions"]))
        net.load_state_dict(saved["model"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise RealTalkError(
            f"{path} is of another version: delete it, and run `realtalk train landmarks` again"
        ) from error
    net = net.to(device, memory_format=torch.channels_last)
    return net.eval().requires_grad_(False)
