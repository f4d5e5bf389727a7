"""`realtalk train reader`: networks that read 68 landmarks and face parts off a picture.

Two of them, which share nothing but this code. The guide is frozen in the renderer's training,
where its features are the perceptual distance and its landmarks punish a mouth that does not do
what the weights say. The judge only measures (`realtalk evaluate renderer`): it learns from other
people (every other one), with another seed and another width, so that a renderer that
has learned to please the guide gains nothing with the judge.

Landmarks are the expected position under a softmax of a heat map (integral regression, Sun et al.,
arXiv 1711.08229): sharper than the map's grid, and differentiable. The judge's `identity` is a unit
vector, near for pictures of one person and far for others (InfoNCE, arXiv 1807.03748).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.training.renderer.dataset import (
    LABELS,
    VISITS,
    Group,
    Groups,
    add_data,
    mirror,
    pictures,
    recolour,
)

IDENTITY = 64  # size of the identity vector
ROLES = {"guide": 0, "judge": 1}  # name: parity of the people that it learns from


@dataclass(frozen=True)
class Plan:
    """Saved with the weights. `channels` are those at 1/2, 1/4, 1/8 and 1/16 of the picture."""

    channels: tuple[int, int, int, int] = (24, 48, 96, 128)
    landmarks: int = 68


PLANS = {"guide": Plan(), "judge": Plan((32, 56, 80, 112))}


@dataclass(frozen=True)
class Reading:
    landmarks: Tensor  # (B, 68, 2), pixels of the picture, x right, y down
    parts: Tensor  # (B, 7, S/4, S/4), logits of face_dataset.LABELS
    identity: Tensor  # (B, 64), unit length
    features: list[Tensor]  # at 1/2, 1/4, 1/8 and 1/16


class Stage(nn.Module):
    """Halves the picture (or not, with stride 1), then looks once more at what it found."""

    def __init__(self, inputs: int, outputs: int, stride: int = 2):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.1)
        return F.leaky_relu(self.norm(x + self.second(x)), 0.1)


class Reader(nn.Module):
    def __init__(self, plan: Plan):
        super().__init__()
        self.plan = plan
        c2, c4, c8, c16 = plan.channels
        self.stem = nn.Conv2d(12, c2, 3, 1, 1)
        self.norm = nn.GroupNorm(8, c2)
        self.down = nn.ModuleList([Stage(c2, c4), Stage(c4, c8), Stage(c8, c16)])
        self.up = nn.ModuleList([nn.Conv2d(c16, c8, 1), nn.Conv2d(c8, c4, 1)])
        self.mix = nn.ModuleList([Stage(c8, c8, 1), Stage(c4, c4, 1)])
        self.heat = nn.Conv2d(c4, plan.landmarks, 1)
        self.parts = nn.Conv2d(c4, LABELS, 1)
        self.identity = nn.Linear(c16, IDENTITY)

    def features(self, picture: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in 0..1 to features at 1/2, 1/4, 1/8 and 1/16 of S."""
        x = F.leaky_relu(self.norm(self.stem(F.pixel_unshuffle(picture * 2 - 1, 2))), 0.1)
        found = [x]
        for stage in self.down:
            found.append(stage(found[-1]))
        return found

    def forward(self, picture: Tensor) -> Reading:
        features = self.features(picture)
        x = features[3]
        for up, mix, lateral in zip(self.up, self.mix, features[2:0:-1], strict=True):
            x = mix(F.interpolate(up(x), scale_factor=2, mode="nearest") + lateral)
        marks = expected(self.heat(x).float()) * picture.shape[-1]
        return Reading(marks, self.parts(x), self.embed(features[3], marks), features)

    def embed(self, coarse: Tensor, marks: Tensor) -> Tensor:
        """Identity from the features within the face: hair, clothes and background are no proof."""
        with torch.no_grad():
            cells = marks / 16  # the coarse features' grid
            centre, spread = cells.mean(1), cells.std(1) * 1.5
            axis = torch.arange(coarse.shape[-1], device=coarse.device) + 0.5
            x = torch.exp(-(((axis - centre[:, :1]) / spread[:, :1]) ** 2))
            y = torch.exp(-(((axis - centre[:, 1:]) / spread[:, 1:]) ** 2))
            inside = y[:, :, None] * x[:, None]
            inside = inside / inside.sum((1, 2), keepdim=True).clamp_min(1e-6)
        return F.normalize(self.identity((coarse.float() * inside[:, None]).sum((2, 3))), dim=-1)


def expected(heat: Tensor) -> Tensor:
    """(B, N, H, W) logits to the mean position (B, N, 2) under their softmax, 0..1 of W and H."""
    height, width = heat.shape[2:]
    share = heat.flatten(2).softmax(-1).unflatten(2, (height, width))
    x = (torch.arange(width, device=heat.device) + 0.5) / width
    y = (torch.arange(height, device=heat.device) + 0.5) / height
    return torch.stack([(share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)], -1)


def load(path: Path, device: str = "cpu") -> Reader:
    """A trained reader, frozen. Raises RealTalkError where there is none."""
    if not path.is_file():
        raise RealTalkError(f"no face reader {path}: run `realtalk train reader` first")
    saved = torch.load(path, map_location=device, weights_only=True)
    reader = Reader(Plan(**saved["plan"])).to(device, memory_format=torch.channels_last)
    reader.load_state_dict(saved["reader"])
    return reader.eval().requires_grad_(False)


def pairs(groups: list[Group], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
    """Two pictures of each group, under other colours and sometimes blurred: what a renderer in
    training shows. Pictures (2 B, 3, S, S), first all first ones; landmarks; parts or None."""
    images, marks, masks = [], [], []
    for group in groups:
        chosen = rng.choice(len(group.images), 2, replace=False).tolist()
        one = group.images[chosen], group.weights[chosen], group.marks[chosen]
        labels = group.masks[chosen] if group.masks is not None else None
        if rng.random() < 0.5:
            one = mirror(*one)
            labels = labels.flip(2) if labels is not None else None
        images.append(one[0])
        marks.append(one[2])
        masks.append(labels)
    seen = pictures(torch.stack(images, 1).flatten(0, 1))
    seen = recolour(seen[:, None], rng)[:, 0]
    if rng.random() < 0.4:
        small = F.interpolate(seen, scale_factor=1 / rng.uniform(1, 4), mode="area")
        seen = F.interpolate(small, seen.shape[2:], mode="bilinear", align_corners=False)
    seen = seen + float(rng.uniform(0, 0.03)) * torch.randn_like(seen)
    parts = None if any(m is None for m in masks) else torch.stack(masks, 1).flatten(0, 1)
    return seen, torch.stack(marks, 1).flatten(0, 1).float(), parts


def loss_of(reading: Reading, marks: Tensor, parts: Tensor | None, size: int) -> Tensor:
    distance = (reading.landmarks - marks).norm(dim=-1) / size
    loss = 10 * (distance.mean() + distance[:, LIPS].mean())
    if parts is not None:
        labels = parts[:, 2::4, 2::4].long()
        loss = loss + 0.2 * F.cross_entropy(reading.parts.float(), labels)
    first, second = reading.identity.chunk(2)
    alike = first @ second.T / 0.1
    own = torch.arange(len(first), device=alike.device)
    return loss + 0.05 * (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own))


@torch.no_grad()
def measure(reader: Reader, groups: Groups, count: int = 32) -> dict[str, float]:
    """Mean landmark error in pixels on pictures of the first `count` people."""
    errors = []
    for number in range(min(count, len(groups))):
        group = groups[number]
        found = reader(pictures(group.images)).landmarks
        errors.append((found - group.marks).norm(dim=-1))
    errors = torch.cat(errors)
    return {"landmarks_px": float(errors.mean()), "lips_px": float(errors[:, LIPS].mean())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/reader"), help="here come guide.pt and judge.pt"
    )
    parser.add_argument("--minutes", type=float, default=12, help="train each this long")
    parser.add_argument("--only", choices=list(ROLES), help="only this one")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--people", type=int, default=8, help="people per step, 2 pictures each")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """`realtalk train reader`: both readers, or one of them."""
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    for role in [args.only] if args.only else ROLES:
        train(role, args)


def train(role: str, args: argparse.Namespace) -> None:
    parity = ROLES[role]
    groups = Groups(args.data / "train", args.device, lambda number: number // VISITS % 2 == parity)
    if len(groups) < 2:
        raise RealTalkError(f"no training shards in {args.data}: run `realtalk data faces` first")
    torch.manual_seed(parity)
    rng = np.random.default_rng(parity)
    reader = Reader(PLANS[role]).to(args.device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(reader.parameters(), args.lr, betas=(0.9, 0.99))
    kind = torch.device(args.device).type
    began, budget, step = time.monotonic(), args.minutes * 60, 0
    with tqdm(total=int(budget), unit="s", desc=f"reader, {role}") as bar:
        while (elapsed := time.monotonic() - began) < budget:
            for group in optimiser.param_groups:
                group["lr"] = args.lr * min(1, (step + 1) / 100) * max(0.02, 1 - elapsed / budget)
            chosen = rng.choice(len(groups), min(args.people, len(groups)), replace=False)
            seen, marks, parts = pairs([groups[int(n)] for n in chosen], rng)
            with torch.autocast(kind, torch.bfloat16):
                reading = reader(seen)
            loss = loss_of(reading, marks, parts, seen.shape[-1])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimiser.step()
            step += 1
            bar.n = int(elapsed)
            if step % 100 == 0:
                bar.set_postfix_str(f"step {step}, loss {loss.item():.3f}")
    reader.eval()
    figures = measure(reader, Groups(args.data / "val", args.device))
    torch.save({"plan": asdict(reader.plan), "reader": reader.state_dict(), "figures": figures},
               args.out / f"{role}.pt")  # fmt: skip
    tqdm.write(f"{role}: {step} steps, on people never seen {figures}")
