# SPDX-License-Identifier: Apache-2.0
"""`realtalk train landmarks`: trains two networks of landmark_net.py, which share nothing but code.

The perceptual network (perceptual.pt) is frozen in the renderer's training: its features are the
perceptual distance, and its landmarks punish a mouth that does not do what the weights say. The
evaluation network (evaluation.pt) only measures (`realtalk evaluate renderer`). It learns from
other people (every other one), with another seed and another width, so that a renderer that has
learned to please the perceptual network gains nothing there.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.common.device import add_device
from realtalk_ros.training.common.group_layout import GROUPS_PER_PERSON
from realtalk_ros.training.common.learning_rate import linear, set_rate, warm_up
from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.renderer import augment
from realtalk_ros.training.renderer.dataset import FaceDataset, Group, add_data, to_float
from realtalk_ros.training.renderer.landmark_net import (
    EVALUATION_NET,
    FOLDER,
    PERCEPTUAL_NET,
    Dimensions,
    LandmarkNet,
    Prediction,
)


@dataclass(frozen=True)
class Role:
    """What one of the two networks is, by the name of its file."""

    parity: int  # of the people that it learns from
    dims: Dimensions


ROLES = {
    PERCEPTUAL_NET.stem: Role(0, Dimensions()),
    EVALUATION_NET.stem: Role(1, Dimensions((32, 56, 80, 112))),
}


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
    seen = augment.blur_sometimes(seen, 0.4, 4, 0.03, rng)
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
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--people", type=int, default=8, help="people per step, 2 images each")
    add_device(parser)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def run(args: argparse.Namespace) -> None:
    """`realtalk train landmarks`: both networks."""
    torch.set_num_threads(args.threads)
    for name in ROLES:
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
