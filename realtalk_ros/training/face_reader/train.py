"""`realtalk train shape`: a network that tells where the 68 landmarks of a face lie that is found
already, and whose face it is.

`realtalk enroll` asks it (as face_reader.onnx) how a face is shaped, see enroll/face_reader.py. It
learns from people of the studio, each picture laid out by eyes and lips as enroll/face_reader.py
does it, a little beside, as a tracker is. What it has to say is small then, and a network that puts
out coordinates learns it in minutes; heat maps (training/renderer/landmark_net.py) take far longer
on a CPU.
"""

from __future__ import annotations

import argparse
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from realtalk_ros import onnx_session
from realtalk_ros.contracts import CROP_SIZE as SIZE
from realtalk_ros.enroll.face_reader import FILE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import landmarks
from realtalk_ros.rendering.geometry import frontal_landmarks
from realtalk_ros.training.renderer.dataset import (
    MIRRORED_MARKS,
    Group,
    Groups,
    add_data,
    mirror,
    pictures,
    recolour,
)
from realtalk_ros.training.renderer.train import Average

SEEN = 128  # side of what the network sees of a crop, pixels
# How far a tracker's crop lies beside, sd: turn in rad, logarithm of the scale, shares of the side.
TURN, SCALE, SHIFT = 0.025, 0.025, 0.012


def shown_modes() -> Tensor:
    """(100, 204): by how many mm each coefficient of an identity moves the 68 landmarks, but for
    what moving, turning and scaling the whole face would do as well, which no picture tells."""
    model = landmarks.load()
    centred = model.mean.astype(np.float64) - model.mean.mean(0)
    alike = [np.tile(axis, (landmarks.COUNT, 1)) for axis in np.eye(3)]
    alike += [np.cross(axis, centred) for axis in np.eye(3)] + [centred]
    basis, _ = np.linalg.qr(np.stack([way.ravel() for way in alike], 1))
    modes = model.identity_modes.reshape(landmarks.IDENTITY_SIZE, -1).T.astype(np.float64)
    return torch.from_numpy(np.float32(10 * (modes - basis @ (basis.T @ modes)).T))


@lru_cache(maxsize=1)
def mirrored_identities() -> Tensor:
    """(100, 100): `identity @ this` is that of his mirror image; each mode is even or odd."""
    modes = landmarks.load().identity_modes.astype(np.float64)
    turned = modes[:, MIRRORED_MARKS.numpy()] * (-1, 1, 1)
    flat, wanted = (m.reshape(landmarks.IDENTITY_SIZE, -1).T for m in (modes, turned))
    return torch.from_numpy(np.float32(np.linalg.lstsq(flat, wanted, rcond=None)[0].T))


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(F.leaky_relu(self.norms[0](x), 0.1))
        return x + self.second(F.leaky_relu(self.norms[1](y), 0.1))


class ShapeNet(nn.Module):
    """(B, 3, 128, 128) in 0..1 -> landmarks (B, 68, 2), shares of the crop, identity (B, 100)."""

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 128, 192),
        squeezed: int = 32,
        hidden: int = 256,
    ):
        super().__init__()
        self.stem = nn.Conv2d(12, channels[0], 3, 1, 1)
        self.halve = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, c) for c in channels)
        self.blocks = nn.ModuleList(Block(c) for c in channels[1:])
        cells = (SEEN // 2 ** len(channels)) ** 2
        self.for_places, self.for_identity = (
            nn.Conv2d(channels[-1], squeezed, 1) for _ in range(2)
        )
        self.places = nn.Linear(squeezed * cells, 2 * landmarks.COUNT)
        self.hidden = nn.Linear(squeezed * cells, hidden)
        self.identity = nn.Linear(hidden, landmarks.IDENTITY_SIZE)
        for last in (self.places, self.identity):  # begins with the mean face
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        with torch.no_grad():
            mean = frontal_landmarks(np.zeros(landmarks.IDENTITY_SIZE, np.float32))
            self.places.bias.copy_(torch.from_numpy(np.float32(mean)).flatten())

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(F.pixel_unshuffle(2 * picture - 1, 2))
        for halve, norm, block in zip(self.halve, self.norms, self.blocks, strict=False):
            x = block(halve(F.leaky_relu(norm(x), 0.1)))
        x = F.leaky_relu(self.norms[-1](x), 0.1)
        places = self.places(self.for_places(x).flatten(1)).unflatten(1, (landmarks.COUNT, 2))
        hidden = F.leaky_relu(self.hidden(self.for_identity(x).flatten(1)), 0.1)
        return places, self.identity(hidden)


def laid_out(
    seen: Tensor, marks: Tensor, rng: np.random.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, S, S) and landmarks (B, 68, 2) in pixels -> what the network sees of them
    (B, 3, 128, 128), landmarks in shares of that; with `rng` a little beside."""
    count, size = len(seen), seen.shape[-1]
    places = 2 * marks.double() / size - 1  # as grid_sample counts
    eyes, lips = (places[:, part].cpu().numpy() for part in (landmarks.EYES, landmarks.LIPS))
    middle, side, across = map(torch.from_numpy, landmarks.level_square(eyes, lips))
    places, half = places.cpu(), side / 2
    if rng:
        turn, scale, shift = (torch.from_numpy(rng.standard_normal((count, n))) for n in (1, 1, 2))
        cos, sin = torch.cos(TURN * turn), torch.sin(TURN * turn)
        x, y = across[:, :1], across[:, 1:]
        across = torch.cat([cos * x - sin * y, sin * x + cos * y], 1)
        half = half * torch.exp(SCALE * scale[:, 0])
        middle = middle + 2 * SHIFT * half[:, None] * shift
    down = torch.stack([-across[:, 1], across[:, 0]], 1)
    turned = torch.stack([across, down], 2) * half[:, None, None]
    old = torch.cat([turned, middle[..., None]], 2).to(seen)
    grid = F.affine_grid(old, [count, 3, SIZE, SIZE], align_corners=False)
    moved = F.grid_sample(seen, grid, "bilinear", "border", align_corners=False)
    new = torch.linalg.solve(turned, (places - middle[:, None]).transpose(1, 2)).transpose(1, 2)
    return F.avg_pool2d(moved, SIZE // SEEN), ((new + 1) / 2).float()


def batch(groups: list[Group], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A picture of each group, or its mirror image, under other colours, now and then blurred;
    landmarks in shares of it, identities."""
    seen, marks, who = [], [], []
    for group in groups:
        number = int(rng.integers(len(group.images)))
        one = slice(number, number + 1)
        images, places, identity = group.images[one], group.marks[one].float(), group.identity
        if rng.random() < 0.5:
            images, _, places = mirror(images, group.weights[one], places)
            identity = identity @ mirrored_identities().to(identity)
        seen.append(images)
        marks.append(places)
        who.append(identity)
    picture, places = laid_out(pictures(torch.cat(seen)), torch.cat(marks), rng)
    picture = recolour(picture[:, None], rng)[:, 0]
    if rng.random() < 0.3:
        small = F.interpolate(picture, scale_factor=1 / rng.uniform(1, 3), mode="area")
        picture = F.interpolate(small, (SEEN, SEEN), mode="bilinear", align_corners=False)
    picture = picture + float(rng.uniform(0, 0.02)) * torch.randn_like(picture)
    return picture, places, torch.stack(who)


@torch.no_grad()
def measure(net: ShapeNet, groups: Groups, count: int = 32) -> dict[str, float]:
    """Mean distance in pixels of 256, of all landmarks and of the jaw's, brows', nose's, eyes' and
    lips', in pictures of the first `count` people; `shape`: mean correlation of how their landmarks
    differ from the mean face's with what is told of it, by all pictures of one together."""
    off, alike, modes = [], [], shown_modes()
    for number in range(min(count, len(groups))):
        group = groups[number]
        seen, places = laid_out(pictures(group.images), group.marks.float())
        found, told = net(seen)
        off.append((found - places).norm(dim=-1) * SIZE)
        both = torch.stack([told.mean(0), group.identity]).cpu() @ modes
        alike.append(float(torch.corrcoef(both)[0, 1]))
    found = torch.cat(off).mean(0)
    parts = dict(zip(("jaw", "brows", "nose", "eyes", "lips"), found.split((17, 10, 9, 12, 20)),
                     strict=True))  # fmt: skip
    figures = {"all": found, **parts}
    return {"shape": float(np.mean(alike))} | {n: float(p.mean()) for n, p in figures.items()}


class ReadGraph(nn.Module):
    """As enroll/face_reader.py asks it: a crop (256, 256, 3) uint8 BGR -> landmarks (68, 2) in
    pixels, identity (100,)."""

    def __init__(self, net: ShapeNet):
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        seen = F.avg_pool2d((picture.float() / 255).permute(2, 0, 1)[None], SIZE // SEEN)
        places, identity = self.net(seen)
        return places[0] * SIZE, identity[0]


def export(net: ShapeNet, folder: Path) -> None:
    """Writes face_reader.onnx into `folder` and lists its checksum."""
    import onnx

    from realtalk_ros.training.common.onnx_weights import store_weights_as_fp16

    folder.mkdir(parents=True, exist_ok=True)
    picture = torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8)
    graph = ReadGraph(net.to("cpu", memory_format=torch.contiguous_format).eval())
    torch.onnx.export(
        graph, (picture,), str(folder / FILE), input_names=["picture"],
        output_names=["landmarks", "identity"], opset_version=17, dynamo=False,
    )  # fmt: skip
    halved = onnx.load(str(folder / FILE))
    store_weights_as_fp16(halved)
    onnx.save(halved, str(folder / FILE))
    onnx_session.write_checksums(folder)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--people", type=int, default=32, help="per step, a picture of each")
    parser.add_argument("--out", type=Path, default=Path("runs/reader/shape.pt"))
    parser.add_argument("--export", type=Path, help="write the ONNX file into this folder")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def run(args: argparse.Namespace) -> None:
    """`realtalk train shape`."""
    torch.set_num_threads(args.threads)
    groups, val = (Groups(args.data / part, args.device) for part in ("train", "val"))
    if not len(groups) or not len(val):
        raise RealTalkError(f"no training shards in {args.data}: run `realtalk data faces` first")
    torch.manual_seed(0)
    rng, net = np.random.default_rng(0), ShapeNet().to(args.device)
    net, modes = net.to(memory_format=torch.channels_last), shown_modes().to(args.device)
    optimiser = torch.optim.AdamW(net.parameters(), args.lr, betas=(0.9, 0.99), weight_decay=0.02)
    average = Average(net)
    kind, began, budget, step = torch.device(args.device).type, time.monotonic(), args.minutes, 0
    with tqdm(total=int(60 * budget), unit="s", desc="shape") as bar:
        while (spent := (time.monotonic() - began) / 60) < budget:
            for part in optimiser.param_groups:
                part["lr"] = args.lr * min(1, (step + 1) / 200) * max(0.01, 1 - spent / budget)
            chosen = rng.integers(len(groups), size=args.people)
            seen, places, identity = batch([groups[int(n)] for n in chosen], rng)
            with torch.autocast(kind, torch.bfloat16):
                found, told = net(seen.contiguous(memory_format=torch.channels_last))
            off = (found.float() - places.to(found.device)).norm(dim=-1).mean() * SIZE
            wrong = told.float() - identity.to(told.device)
            apart = (wrong @ modes).unflatten(1, (landmarks.COUNT, 3)).norm(dim=-1)
            shape = (apart.square().mean(1) + 1e-6).sqrt().mean()  # mm
            loss = off + shape + 0.02 * wrong.square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 20.0)
            optimiser.step()
            average.update(net, step)
            step += 1
            bar.n = int(60 * spent)
            if step % 100 == 0:
                said = f"step {step}, off by {off.item():.2f} pixels, {shape.item():.2f} mm"
                bar.set_postfix_str(said)
    net = average.model.eval()
    figures = measure(net, val)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"net": net.state_dict(), "figures": figures}, args.out)
    tqdm.write(f"{step} steps, pixels off on people never seen: {figures}")
    if args.export:
        export(net, args.export)
