# SPDX-License-Identifier: Apache-2.0
"""`realtalk train face-reader`: trains the face reader (face_reader.onnx).

`realtalk enroll` finds the shape of a face with it.

It learns from synthetic people in aligned crops, see samples.py. There is little to correct then,
and a network that puts out coordinates learns it in minutes; heat maps (training/renderer/
landmark_net.py) take far longer on a CPU.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import landmarks
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.common.device import add_device
from realtalk_ros.training.common.learning_rate import linear, set_rate, warm_up
from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.common.moving_average import WeightAverage
from realtalk_ros.training.face_reader.export import export
from realtalk_ros.training.face_reader.model import FaceReader
from realtalk_ros.training.face_reader.samples import Batch, align_crops, draw_batch
from realtalk_ros.training.renderer.dataset import FaceDataset, add_data, to_float

WARM_UP_STEPS, FINAL_RATE = 200, 0.01  # the latter of the peak learning rate
IDENTITY_WEIGHT = 0.02  # of the coefficients' squared error beside the landmarks' distances
PARTS = {"jaw": 17, "brows": 10, "nose": 9, "eyes": 12, "lips": 20}  # landmarks in their order


def visible_modes() -> Tensor:
    """(100, 204): by how many mm each identity coefficient moves the 68 landmarks. Translation,
    rotation and scale of the whole face are projected out: no image shows them."""
    model = landmarks.load()
    centred = model.mean.astype(np.float64) - model.mean.mean(0)
    rigid = [np.tile(axis, (landmarks.COUNT, 1)) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred) for axis in np.eye(3)] + [centred]
    basis, _ = np.linalg.qr(np.stack([way.ravel() for way in rigid], 1))
    modes = model.identity_modes.reshape(landmarks.IDENTITY_SIZE, -1).T.astype(np.float64)
    return torch.from_numpy(np.float32(10 * (modes - basis @ (basis.T @ modes)).T))


@torch.no_grad()
def measure(net: FaceReader, dataset: FaceDataset, count: int = 32) -> dict[str, float]:
    """Mean distance in pixels of 256, of all landmarks and of the jaw's, brows', nose's, eyes' and
    lips', in images of the first `count` people. `shape`: mean correlation of the true and the
    predicted differences from the mean face, all images of a person together."""
    distances, correlations, modes = [], [], visible_modes()
    for number in range(min(count, len(dataset))):
        group = dataset[number]
        images, wanted = align_crops(to_float(group.images), group.landmarks.float())
        found, identity = net(images)
        distances.append((found - wanted).norm(dim=-1) * CROP_SIZE)
        both = torch.stack([identity.mean(0), group.identity]).cpu() @ modes
        correlations.append(float(torch.corrcoef(both)[0, 1]))
    mean = torch.cat(distances).mean(0)
    parts = dict(zip(PARTS, mean.split(tuple(PARTS.values())), strict=True))
    figures = {name: float(part.mean()) for name, part in {"all": mean, **parts}.items()}
    return {"shape": float(np.mean(correlations)), **figures}


def losses_of(net: FaceReader, batch: Batch, modes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss; the mean distances of its landmarks in pixels, and of its shape's in mm."""
    device = modes.device
    with mixed_precision(device):
        points, identity = net(batch.images.contiguous(memory_format=torch.channels_last))
    pixels = (points.float() - batch.landmarks.to(device)).norm(dim=-1).mean() * CROP_SIZE
    error = identity.float() - batch.identity.to(device)
    distances = (error @ modes).unflatten(1, (landmarks.COUNT, 3)).norm(dim=-1)
    shape = (distances.square().mean(1) + 1e-6).sqrt().mean()
    return pixels + shape + IDENTITY_WEIGHT * error.square().mean(), pixels, shape


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--minutes", type=float, default=30, help="of training")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--people", type=int, default=32, help="per step, a picture of each")
    parser.add_argument("--out", type=Path, default=Path("runs/reader/shape.pt"), help="checkpoint")
    parser.add_argument("--export", type=Path, help="write the ONNX file into this folder")
    add_device(parser)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def run(args: argparse.Namespace) -> None:
    """`realtalk train face-reader`."""
    torch.set_num_threads(args.threads)
    train, val = (FaceDataset(args.data / part, args.device) for part in ("train", "val"))
    if not len(train) or not len(val):
        raise RealTalkError(f"no training shards in {args.data}: run `realtalk data faces` first")
    torch.manual_seed(0)
    net, steps = fit(train, args)
    figures = measure(net, val)
    checkpoint.save({"model": net.state_dict(), "figures": figures}, args.out)
    tqdm.write(f"{steps} steps, pixels off on people never seen: {figures}")
    if args.export:
        export(net, args.export)


def fit(dataset: FaceDataset, args: argparse.Namespace) -> tuple[FaceReader, int]:
    """A network (the average of its weights) that has learned for the minutes of the command's
    arguments, and the number of steps."""
    rng, net = np.random.default_rng(0), FaceReader().to(args.device)
    net, modes = net.to(memory_format=torch.channels_last), visible_modes().to(args.device)
    optimizer = torch.optim.AdamW(net.parameters(), args.lr, betas=(0.9, 0.99), weight_decay=0.02)
    average = WeightAverage(net)
    began, budget, step = time.monotonic(), args.minutes, 0
    with tqdm(total=int(60 * budget), unit="s", desc="face reader") as bar:
        while (spent := (time.monotonic() - began) / 60) < budget:
            rate = args.lr * warm_up(step, WARM_UP_STEPS)
            set_rate(rate * linear(spent / budget, FINAL_RATE), optimizer)
            chosen = rng.integers(len(dataset), size=args.people)
            batch = draw_batch([dataset[int(n)] for n in chosen], rng)
            loss, pixels, shape = losses_of(net, batch, modes)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 20.0)
            optimizer.step()
            average.update(net, step)
            step += 1
            bar.n = int(60 * spent)
            if step % 100 == 0:
                bar.set_postfix_str(
                    f"step {step}, off by {pixels.item():.2f} pixels, {shape.item():.2f} mm"
                )
    return average.model.eval(), step
