# SPDX-License-Identifier: Apache-2.0
"""`realtalk train landmarks`: networks that find 68 landmarks, face parts and identity in an image.
(Not the face reader of `realtalk enroll`: that is training/face_reader/.)

Two of them, which share nothing but this code. The perceptual network (perceptual.pt) is frozen in
the renderer's training: its features are the perceptual distance, and its landmarks punish a mouth
that does not do what the weights say. The evaluation network (evaluation.pt) only measures
(`realtalk evaluate renderer`). It learns from other people (every other one), with another seed and
another width, so that a renderer that has learned to please the perceptual network gains nothing
there.

Landmarks are the expected position under a softmax of a heat map (integral regression, Sun et al.,
arXiv 1711.08229): sharper than the map's grid, and differentiable. `identity` is a unit vector,
near for images of one person and far for others (InfoNCE, arXiv 1807.03748).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import COUNT, LIPS
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.common.group_layout import GROUPS_PER_PERSON
from realtalk_ros.training.common.learning_rate import linear, set_rate, warm_up
from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.renderer import augment
from realtalk_ros.training.renderer.dataset import (
    LABELS,
    FaceDataset,
    Group,
    add_data,
    to_float,
)

IDENTITY = 64  # size of the identity vector
FOLDER = Path("runs/reader")
PERCEPTUAL_NET, EVALUATION_NET = FOLDER / "perceptual.pt", FOLDER / "evaluation.pt"


@dataclass(frozen=True)
class Dimensions:
    """Saved with the weights. `channels` are those at 1/2, 1/4, 1/8 and 1/16 of the image."""

    channels: tuple[int, int, int, int] = (24, 48, 96, 128)
    landmarks: int = COUNT


@dataclass(frozen=True)
class Role:
    """What one of the two networks is, by the name of its file."""

    parity: int  # of the people that it learns from
    dims: Dimensions


ROLES = {
    PERCEPTUAL_NET.stem: Role(0, Dimensions()),
    EVALUATION_NET.stem: Role(1, Dimensions((32, 56, 80, 112))),
}
# Names in files of versions before 0.2, and what they are called now.
OLD_ENTRIES = {"plan": "dimensions", "reader": "model"}
OLD_PARAMETERS = ((".first.", ".conv1."), (".second.", ".conv2."), ("heat.", "heatmaps."))


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
    """A trained network, frozen. Raises RealTalkError where there is none."""
    if not path.is_file():
        raise RealTalkError(f"no landmark network {path}: run `realtalk train landmarks` first")
    saved = checkpoint.load(path, device)
    saved = {OLD_ENTRIES.get(name, name): value for name, value in saved.items()}
    net = LandmarkNet(Dimensions(**saved["dimensions"]))
    net = net.to(device, memory_format=torch.channels_last)
    net.load_state_dict(renamed(saved["model"], OLD_PARAMETERS))
    return net.eval().requires_grad_(False)


def renamed(weights: dict[str, Tensor], names: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """A state dict of an older version with present names; `names` are pairs of parts of names,
    old and new."""
    names, found = tuple(names), {}
    for name, value in weights.items():
        for old, new in names:
            if old in name and new not in name:
                name = name.replace(old, new)
        found[name] = value
    return found


@dataclass(frozen=True)
class Pairs:
    """Two images of each of B people, all first ones before all second ones."""

    images: Tensor  # (2 B, 3, S, S) in 0..1
    landmarks: Tensor  # (2 B, 68, 2), pixels
    parts: Tensor | None  # (2 B, S, S), labels of pixels


def draw_pairs(groups: list[Group], rng: np.random.Generator) -> Pairs:
    """Two images of each group, in other colours and sometimes blurred, as a renderer in training
    shows them."""
    images, landmarks, masks = [], [], []
    for group in groups:
        chosen = rng.choice(len(group.images), 2, replace=False).tolist()
        pair, points = group.images[chosen], group.landmarks[chosen]
        labels = group.masks[chosen] if group.masks is not None else None
        if rng.random() < 0.5:
            pair, points = pair.flip(2), augment.mirror_landmarks(points, group.size)
            labels = labels.flip(2) if labels is not None else None
        images.append(pair)
        landmarks.append(points)
        masks.append(labels)
    seen = to_float(torch.stack(images, 1).flatten(0, 1))
    seen = augment.jitter_colours(seen[:, None], rng)[:, 0]
    if rng.random() < 0.4:
        small = F.interpolate(seen, scale_factor=1 / rng.uniform(1, 4), mode="area")
        seen = F.interpolate(small, seen.shape[2:], mode="bilinear", align_corners=False)
    seen = seen + float(rng.uniform(0, 0.03)) * torch.randn_like(seen)
    parts = None if any(m is None for m in masks) else torch.stack(masks, 1).flatten(0, 1)
    return Pairs(seen, torch.stack(landmarks, 1).flatten(0, 1).float(), parts)


def loss_of(prediction: Prediction, pairs: Pairs) -> Tensor:
    """Distance of the landmarks, cross-entropy of the parts, InfoNCE of the identities."""
    distance = (prediction.landmarks - pairs.landmarks).norm(dim=-1) / pairs.images.shape[-1]
    loss = 10 * (distance.mean() + distance[:, LIPS].mean())
    if pairs.parts is not None:
        labels = pairs.parts[:, 2::4, 2::4].long()
        loss = loss + 0.2 * F.cross_entropy(prediction.parts.float(), labels)
    first, second = prediction.identity.chunk(2)
    similarity = first @ second.T / 0.1
    own = torch.arange(len(first), device=similarity.device)
    both = F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)
    return loss + 0.05 * both


@torch.no_grad()
def measure(net: LandmarkNet, dataset: FaceDataset, count: int = 32) -> dict[str, float]:
    """Mean landmark error in pixels on images of the first `count` people."""
    errors = []
    for number in range(min(count, len(dataset))):
        group = dataset[number]
        found = net(to_float(group.images)).landmarks
        errors.append((found - group.landmarks).norm(dim=-1))
    errors = torch.cat(errors)
    return {"landmarks_px": float(errors.mean()), "lips_px": float(errors[:, LIPS].mean())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="here come perceptual.pt and evaluation.pt"
    )
    parser.add_argument("--minutes", type=float, default=12, help="train each this long")
    parser.add_argument("--only", choices=list(ROLES), help="only this one")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--people", type=int, default=8, help="people per step, 2 images each")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def run(args: argparse.Namespace) -> None:
    """`realtalk train landmarks`: both networks, or one of them."""
    torch.set_num_threads(args.threads)
    for name in [args.only] if args.only else ROLES:
        train(name, args)


def train(name: str, args: argparse.Namespace) -> None:
    """The network of that name in ROLES."""
    role = ROLES[name]

    def keep(number: int) -> bool:
        return number // GROUPS_PER_PERSON % 2 == role.parity

    dataset = FaceDataset(args.data / "train", args.device, keep)
    if len(dataset) < 2:
        raise RealTalkError(f"no training shards in {args.data}: run `realtalk data faces` first")
    torch.manual_seed(role.parity)
    rng = np.random.default_rng(role.parity)
    net = LandmarkNet(role.dims).to(args.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), args.lr, betas=(0.9, 0.99))
    began, budget, step = time.monotonic(), args.minutes * 60, 0
    with tqdm(total=int(budget), unit="s", desc=f"landmarks, {name}") as bar:
        while (elapsed := time.monotonic() - began) < budget:
            set_rate(args.lr * warm_up(step, 100) * linear(elapsed / budget, 0.02), optimizer)
            chosen = rng.choice(len(dataset), min(args.people, len(dataset)), replace=False)
            pairs = draw_pairs([dataset[int(n)] for n in chosen], rng)
            with mixed_precision(args.device):
                prediction = net(pairs.images)
            loss = loss_of(prediction, pairs)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            step += 1
            bar.n = int(elapsed)
            if step % 100 == 0:
                bar.set_postfix_str(f"step {step}, loss {loss.item():.3f}")
    net.eval()
    figures = measure(net, FaceDataset(args.data / "val", args.device))
    saved = {"dimensions": asdict(net.dims), "model": net.state_dict(), "figures": figures}
    checkpoint.save(saved, args.out / f"{name}.pt")
    tqdm.write(f"{name}: {step} steps, on people never seen {figures}")
