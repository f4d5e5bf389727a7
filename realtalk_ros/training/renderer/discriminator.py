# SPDX-License-Identifier: Apache-2.0
"""A patch discriminator (Isola et al., arXiv 1611.07004) of the mouth and of the face.

Hinge loss, spectral norm (Miyato et al., arXiv 1802.05957), feature matching (Wang et al., arXiv
1711.11585). `limit_gradient` bounds what it may demand of the renderer.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.training.renderer.samples import LIPS_SIDE, crop_around

FEATURE_MATCHING = 0.01  # weight of that loss beside the adversarial one
GRADIENT_SHARE = 0.3  # of the other losses' gradient, the most that the discriminator may add
FACE = 0.5  # scale at which it sees the whole image


class PatchDiscriminator(nn.Module):
    """Scores of overlapping patches; returns the features of each layer, the scores last."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 32, 64, 128)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(sizes)
        )
        self.score = spectral_norm(nn.Conv2d(sizes[-1], 1, 3, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        x, features = x * 2 - 1, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return [*features, self.score(x)]


class Adversary(nn.Module):
    """Tells rendered pictures from true ones; `where` is what `forward` takes beside them. Its
    `forward` returns the features of patch discriminators."""

    def own_loss(self, out: Tensor, target: Tensor, *where: Tensor) -> Tensor:
        """Hinge loss that trains the discriminator; 2 when it knows nothing."""
        false, true = self(out.detach(), *where), self(target, *where)
        return torch.stack(
            [
                F.relu(1 + f[-1].float()).mean() + F.relu(1 - t[-1].float()).mean()
                for f, t in zip(false, true, strict=True)
            ]
        ).mean()

    def losses(self, out: Tensor, target: Tensor, *where: Tensor) -> tuple[Tensor, Tensor]:
        """For the renderer: the adversarial loss, and the distance of the discriminator's features
        (feature matching)."""
        with torch.no_grad():
            true = self(target, *where)
        got = self(out, *where)
        adversarial = -torch.stack([g[-1].float().mean() for g in got]).mean()
        matching = torch.stack(
            [
                (a - b).abs().mean().float()
                for g, t in zip(got, true, strict=True)
                for a, b in zip(g[:-1], t[:-1], strict=True)
            ]
        ).mean()
        return adversarial, matching


class Discriminator(Adversary):
    """Of mouths and faces."""

    def __init__(self) -> None:
        super().__init__()
        self.mouth, self.face = PatchDiscriminator(), PatchDiscriminator()

    def forward(self, image: Tensor, landmarks: Tensor) -> list[list[Tensor]]:
        """Of images (B, 3, S, S) with landmarks (B, 68, 2), pixels."""
        face = F.interpolate(image, scale_factor=FACE, mode="area")
        side = round(LIPS_SIDE * image.shape[-1])
        mouth = crop_around(image, landmarks[:, LIPS].mean(1), side)
        return [self.mouth(mouth), self.face(face)]


class MouthDiscriminator(Adversary):
    """Of mouths alone, where only the mouth is learned (real_people.py)."""

    def __init__(self) -> None:
        super().__init__()
        self.mouth = PatchDiscriminator()

    def forward(self, mouth: Tensor) -> list[list[Tensor]]:
        """Of pictures (B, 3, H, W) of mouths."""
        return [self.mouth(mouth)]


def limit_gradient(extra: Tensor, base: Tensor, share: float) -> Tensor:
    """The gradient `extra`, scaled to at most `share` of the length of `base`.

    As VQGAN's adaptive weight (arXiv 2012.09841, eq. 7), at the image instead of the last layer,
    and only ever downwards: a discriminator that has won cannot tear the image apart.
    """
    return extra * (share * base.norm() / extra.norm().clamp_min(1e-12)).clamp(max=1)
