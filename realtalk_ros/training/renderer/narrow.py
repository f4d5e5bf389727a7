# SPDX-License-Identifier: Apache-2.0
"""A trained generator with fewer channels, to train further: `realtalk train renderer --width`.

At each scale the channels are kept that say most of what the next layers read (QR decomposition
with column pivoting; Golub and Van Loan, Matrix Computations, 5.4.2), and so inside each block. The
layers that read them take over, by least squares, what the others said (as ThiNet does, arXiv
1707.06342). Encoder and alignment stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import scipy.linalg
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.renderer.model import Renderer
from realtalk_ros.training.renderer.samples import Batch

PLACES = 500  # of each batch, at which features are looked at
RIDGE = 1e-6  # added to the mean square of the features, so that none is divided by zero
# What reads a scale's features after its blocks, by the scale.
READERS = {0: ("up.0", "q_proj"), 1: ("up.1",), 2: ("up.2",)}
HEADS = {1: ("change_out",), 3: ("mouth_out", "mouth_paint")}  # what reads them after a ReLU


@dataclass(frozen=True)
class Kept:
    """Which of C channels are kept, and all of them as a linear function of those."""

    channels: Tensor  # (K,)
    matrix: Tensor  # (C, K)
    offset: Tensor  # (C,)

    @classmethod
    def of(cls, features: Tensor, channels: Tensor) -> Kept:
        """By least squares over features (N, C)."""
        mean = features.mean(0)
        some, every = (features - mean)[:, channels], features - mean
        square = some.T @ some
        square += RIDGE * square.diagonal().mean() * torch.eye(len(square)).to(square)
        matrix = torch.linalg.solve(square, some.T @ every).T
        matrix[channels] = torch.eye(len(channels)).to(matrix)
        return cls(channels, matrix, mean - matrix @ mean[channels])

    def read(self, layer: nn.Conv2d) -> None:
        """Makes a layer that read all channels read the kept ones."""
        weight = layer.weight.data.double()
        layer.bias.data += (weight.sum((2, 3)) @ self.offset).float()
        layer.weight.data = torch.einsum("oihw,ik->okhw", weight, self.matrix).float()


def narrowed(wide: Renderer, width: Sequence[int], batches: Iterable[Batch]) -> Renderer:
    """The renderer with a generator of `width` channels at each scale, by what `batches` make it
    do. Raises RealTalkError where it has fewer than that."""
    dims = replace(wide.dims, width=tuple(width))
    if any(new > old for new, old in zip(width, wide.dims.width, strict=True)):
        raise RealTalkError(f"the network has {wide.dims.width} channels: give no larger --width")
    seen = watch(wide, batches)
    slim = Renderer(wide.dims)
    slim.load_state_dict(wide.state_dict())
    generator, layers = slim.generator, dict(slim.generator.named_modules())
    kept = []
    for scale, channels in enumerate(width):
        after = seen[f"blocks.{scale}"]
        kept.append(strongest(after, [layers[name] for name in readers(wide, scale)], channels))
    for scale, channels in enumerate(width):
        chosen = kept[scale]
        for number, block in enumerate(generator.blocks[scale]):
            name = f"blocks.{scale}.{number}"
            hidden = seen[f"{name}.conv2"]
            inner = Kept.of(hidden, strongest(hidden, [block.conv2], channels))
            Kept.of(seen[f"{name}.conv1"], chosen).read(block.conv1)
            inner.read(block.conv2)
            for layer in (block.conv1, *((block.shift, block.scale) if block.modulated else ())):
                make(layer, inner.channels)
            make(block.conv2, chosen)
        after = seen[f"blocks.{scale}"]
        for names, features in ((READERS, after), (HEADS, F.relu(after))):
            for name in names.get(scale, ()):
                Kept.of(features, chosen).read(layers[name])
        make(generator.warped_proj[scale], chosen)
        if scale < len(generator.encoded_proj):
            make(generator.encoded_proj[scale], chosen)
        make(generator.up[scale - 1] if scale else generator.out_proj, chosen)
    generator.position_embedding.data = generator.position_embedding.data[:, kept[0]]
    if not dims.modulation:
        make(generator.style_proj, kept[0])
    result = Renderer(dims)
    result.load_state_dict(slim.state_dict())
    return result


def readers(model: Renderer, scale: int) -> list[str]:
    """The names of all layers that read a scale's features."""
    blocks = range(len(model.generator.blocks[scale]))
    return [
        *READERS.get(scale, ()),
        *HEADS.get(scale, ()),
        *(f"blocks.{scale}.{number}.conv1" for number in blocks),
    ]


def strongest(features: Tensor, layers: Sequence[nn.Module], count: int) -> Tensor:
    """Indices (count,) of the channels of features (N, C) that together say most of what `layers`
    read of them."""
    weights = torch.cat([layer.weight.data.transpose(0, 1).flatten(1) for layer in layers], 1)
    read = (features - features.mean(0)) * weights.norm(dim=1)
    _, order = scipy.linalg.qr(read.numpy(), mode="r", pivoting=True)
    return torch.tensor(sorted(order[:count].tolist()))


def make(layer: nn.Conv2d, channels: Tensor) -> None:
    """Makes a layer compute these of its channels alone."""
    layer.weight.data = layer.weight.data[channels]
    if layer.bias is not None:
        layer.bias.data = layer.bias.data[channels]


@torch.no_grad()
def watch(model: Renderer, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Features (N, C) at random places: after a scale's blocks as `blocks.0`, and what their
    convolutions read, as `blocks.0.0.conv1`."""
    seen: dict[str, list[Tensor]] = {}
    drawn = torch.Generator().manual_seed(0)

    def note(name: str, features: Tensor) -> None:
        rows = features.detach().float().movedim(1, -1).flatten(0, -2)
        places = torch.randint(len(rows), (PLACES,), generator=drawn)
        seen.setdefault(name, []).append(rows[places].double().cpu())

    hooks = []
    for name, module in model.generator.named_modules():
        if name.startswith("blocks.") and name.endswith(("conv1", "conv2")):
            before = partial(lambda key, _, inputs: note(key, inputs[0]), name)
            hooks.append(module.register_forward_pre_hook(before))
    for scale, blocks in enumerate(model.generator.blocks):
        after = partial(lambda key, *found: note(key, found[-1]), f"blocks.{scale}")
        hooks.append(blocks[-1].register_forward_hook(after))
    for batch in batches:
        features = [batch.per_target(f) for f in model.encoder(batch.reference, batch.template)]
        template = batch.per_target(batch.template)
        model.generator(features, template, batch.weights, batch.conditioning)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(rows) for name, rows in seen.items()}
