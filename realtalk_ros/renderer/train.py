"""`realtalk train renderer`: trains the expression-to-face renderer and exports it to ONNX.

Training groups come from `realtalk data faces` (see face_data.py): one group is one person in one
light with 3 reference images and 2 head poses of 5 expressions each. A sample is (reference,
template, weights, target): template and target share the pose, the reference does not. Runs on CPU
(bfloat16) and CUDA, resumes from its checkpoint, and writes sample sheets and a log as it goes.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from realtalk_ros import arkit
from realtalk_ros.errors import RealTalkError
from realtalk_ros.renderer.export import export
from realtalk_ros.renderer.model import Renderer

REFERENCES, POSES, EXPRESSIONS = 3, 2, 5  # images of a group, see face_data.py
MIRRORED = np.array([
    arkit.INDEX[name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")]
    for name in arkit.NAMES
])
MOUTH, EYES = slice(48, 68), slice(36, 48)  # of the 68 landmarks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=Path("runs/faces"),
                        help="folder with train/ and val/ shards of `realtalk data faces`")
    parser.add_argument("--extra", type=Path, help="a folder of further shards to mix in")
    parser.add_argument("--extra-share", type=float, default=0.3,
                        help="share of samples drawn from --extra")
    parser.add_argument("--out", type=Path, default=Path("runs/renderer"),
                        help="checkpoint, log and sample sheets")
    parser.add_argument("--minutes", type=float, default=90, help="train this long, then export")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--groups", type=int, default=3, help="template frames per step")
    parser.add_argument("--targets", type=int, default=4, help="expressions per template frame")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--export", type=Path, help="write the ONNX files here at the end")
    parser.add_argument("--report", type=float, default=240, help="seconds between evaluations")
    parser.add_argument("--seed", type=int, default=0)


class Groups:
    """Training groups in memory, read from shards; new shards are picked up by `refresh`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.seen: set[Path] = set()
        self.images: list[np.ndarray] = []  # each (13, 256, 256, 3) uint8 BGR
        self.weights: list[np.ndarray] = []  # each (13, 52)
        self.landmarks: list[np.ndarray] = []  # each (13, 68, 2), crop pixels
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("*.npz")):
            if path not in self.seen:
                with np.load(path, allow_pickle=False) as shard:
                    self.images.extend(shard["images"])
                    self.weights.extend(shard["weights"])
                    self.landmarks.extend(shard["landmarks"])
                self.seen.add(path)

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, rng: np.random.Generator, targets: int) -> tuple[np.ndarray, ...]:
        """One template frame with `targets` expressions: images uint8, weights and landmarks."""
        group = int(rng.integers(len(self)))
        images, weights, marks = self.images[group], self.weights[group], self.landmarks[group]
        start = REFERENCES + EXPRESSIONS * int(rng.integers(POSES))
        # The first expression of a pose is near neutral, as an avatar's template frames are.
        template = start if rng.random() < 0.6 else start + int(rng.integers(EXPRESSIONS))
        others = [i for i in range(start, start + EXPRESSIONS) if i != template]
        chosen = rng.permutation(others)[:targets]
        reference = int(rng.integers(REFERENCES))
        picked = images[[reference, template, *chosen]]
        weights, marks = weights[chosen], marks[chosen]
        if rng.random() < 0.5:
            picked, weights = picked[:, :, ::-1], weights[:, MIRRORED]
            marks = marks * [-1, 1] + [picked.shape[2] - 1, 0]
        return picked, weights, marks


def recolour(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same random gain and gamma for all pictures (N, S, S, 3) uint8 of a group."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.8, 1.25)
    table = (levels * rng.uniform(0.75, 1.25, 3)).clip(0, 1) * 255
    flat = pictures.reshape(-1, pictures.shape[-2], 3)
    return cv2.LUT(flat, table.astype(np.uint8)[:, None]).reshape(pictures.shape)


def batch(groups: list[tuple[np.ndarray, ...]], rng: np.random.Generator | None, device: str
          ) -> tuple[Tensor, ...]:
    """reference, template (B, 3, S, S); weights (B*K, 52); target (B*K, 3, S, S); importance."""
    pictures = np.stack([recolour(g[0], rng) if rng is not None else g[0] for g in groups])
    # A view of (.., S, S, 3) as (.., 3, S, S) is channels-last memory, as the convolutions like it.
    pictures = torch.from_numpy(pictures).to(device).permute(0, 1, 4, 2, 3).float() / 255
    reference, template, target = pictures[:, 0], pictures[:, 1], pictures[:, 2:].flatten(0, 1)
    weights = torch.from_numpy(np.concatenate([g[1] for g in groups])).float().to(device)
    marks = torch.from_numpy(np.concatenate([g[2] for g in groups])).float().to(device)
    template_each = template.repeat_interleave(len(weights) // len(groups), 0)
    return reference, template, weights, target, importance(target, template_each, marks)


def importance(target: Tensor, template: Tensor, marks: Tensor) -> Tensor:
    """Per-pixel loss weights (B, 1, S, S): what changes counts more, the mouth and eyes most."""
    size = target.shape[-1]
    changed = F.avg_pool2d((target - template).abs().mean(1, keepdim=True), 9, 1, 4)
    axis = torch.arange(size, device=target.device).float()

    def bump(points: Tensor, spread: float) -> Tensor:
        centre = points.mean(1)
        x = torch.exp(-((axis[None] - centre[:, :1]) / (spread * size)) ** 2)
        y = torch.exp(-((axis[None] - centre[:, 1:]) / (spread * size)) ** 2)
        return (y[:, :, None] * x[:, None])[:, None]

    eyes = bump(marks[:, 36:42], 0.07) + bump(marks[:, 42:48], 0.07)
    return 1 + 4 * (changed * 8).clamp(max=1) + 6 * bump(marks[:, MOUTH], 0.14) + 4 * eyes


def losses(out: Tensor, rgb: Tensor, mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 of the composed picture and of its gradients, and of the generator's own picture
    where it matters: without that the mask learns to hide the generator before it has learnt."""
    error = out - target
    scale = 1 / weight.mean()
    loss = (weight * error.abs()).mean() + ((weight - 0.9) * (rgb - target).abs()).mean()
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    loss = loss + 1.5 * ((weight[..., 1:] * across.abs()).mean()
                         + (weight[..., 1:, :] * down.abs()).mean())
    return scale * loss + 0.0005 * mask.mean()


def forward(model: Renderer, reference: Tensor, template: Tensor, weights: Tensor, device: str
            ) -> tuple[Tensor, Tensor, Tensor]:
    """Encodes each template frame once for all of its expressions."""
    each = len(weights) // len(reference)
    with torch.autocast("cuda" if device.startswith("cuda") else "cpu", torch.bfloat16):
        features = [f.repeat_interleave(each, 0) for f in model.encoder(reference, template)]
        rgb, mask = model.generator(*features, weights)
    rgb, mask = rgb.float(), mask.float()
    template = template.repeat_interleave(each, 0)
    return template + mask * (rgb - template), rgb, mask


def psnr(error: Tensor) -> float:
    return float(-10 * torch.log10(error.pow(2).mean().clamp_min(1e-10)))


@torch.no_grad()
def evaluate(model: Renderer, groups: Groups, device: str, count: int = 48) -> dict[str, float]:
    """PSNR, dB: whole picture, the mouth's box, and the template as it is there, for scale."""
    model.eval()
    rng = np.random.default_rng(1)
    whole, mouth, still = [], [], []
    for _ in range(count):
        reference, template, weights, target, _ = batch(
            [sample := groups.sample(rng, 4)], None, device)
        out, _, _ = forward(model, reference, template, weights, device)
        whole.append(psnr(out - target))
        for k, marks in enumerate(sample[2]):
            x0, y0 = np.clip(marks[MOUTH].min(0) - 8, 0, 240).astype(int)
            x1, y1 = np.clip(marks[MOUTH].max(0) + 8, 16, 256).astype(int)
            box = (slice(None), slice(y0, y1), slice(x0, x1))
            mouth.append(psnr(out[k][box] - target[k][box]))
            still.append(psnr(template[0][box] - target[k][box]))
    model.train()
    return {"psnr": float(np.mean(whole)), "mouth_psnr": float(np.mean(mouth)),
            "template_mouth_psnr": float(np.mean(still))}


@torch.no_grad()
def sheet(model: Renderer, groups: Groups, device: str, path: Path, rows: int = 6) -> None:
    """Rows of reference, template, then for three expressions: target, result, mask."""
    model.eval()
    rng, lines = np.random.default_rng(2), []
    for _ in range(rows):
        reference, template, weights, target, _ = batch([groups.sample(rng, 3)], None, device)
        out, _, mask = forward(model, reference, template, weights, device)
        cells = [reference[0], template[0]]
        for k in range(len(out)):
            cells += [target[k], out[k], mask[k].expand(3, -1, -1)]
        lines.append(torch.cat(cells, 2))
    picture = torch.cat(lines, 1).permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    cv2.imwrite(str(path), (picture * 255).astype(np.uint8))
    model.train()


class Average:
    """Exponential moving average of the weights: what is evaluated and exported."""

    def __init__(self, model: Renderer, decay: float = 0.998):
        self.decay = decay
        self.model = Renderer(model.dims)
        self.model.load_state_dict(model.state_dict())
        self.model.to(next(model.parameters()).device, memory_format=torch.channels_last)

    @torch.no_grad()
    def update(self, model: Renderer, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, now in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train, val = Groups(args.data / "train"), Groups(args.data / "val")
    if not len(train) or not len(val):
        raise RealTalkError(f"no training shards in {args.data}: run `realtalk data faces` first")
    extra = Groups(args.extra) if args.extra else None
    args.out.mkdir(parents=True, exist_ok=True)
    model = Renderer().to(args.device, memory_format=torch.channels_last)
    average = Average(model)
    optimiser = torch.optim.AdamW(model.parameters(), args.lr, betas=(0.9, 0.99),
                                  weight_decay=1e-4)
    checkpoint, state = args.out / "checkpoint.pt", {"step": 0, "seconds": 0.0, "images": 0}
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=args.device, weights_only=True)
        model.load_state_dict(saved["model"])
        average.model.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
    rng = np.random.default_rng([args.seed, state["step"]])
    budget, began, done_before = args.minutes * 60, time.monotonic(), state["seconds"]
    last_report = last_save = began
    bar = tqdm(total=int(budget), initial=int(done_before), unit="s", desc="renderer")
    running = []
    while (elapsed := done_before + time.monotonic() - began) < budget:
        # Warm up, then cosine over the time that is given.
        rate = args.lr * min(1, (state["step"] + 1) / 200) * (
            0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1, elapsed / budget))))
        for group in optimiser.param_groups:
            group["lr"] = rate
        drawn = [
            (extra if extra and rng.random() < args.extra_share else train).sample(
                rng, args.targets) for _ in range(args.groups)
        ]
        reference, template, weights, target, weight = batch(drawn, rng, args.device)
        loss = losses(*forward(model, reference, template, weights, args.device), target, weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        state["step"] += 1
        state["images"] += len(weights)
        average.update(model, state["step"])
        running.append(loss.item())
        bar.n = int(elapsed)
        now = time.monotonic()
        if now - last_report > args.report:
            last_report = now
            train.refresh()
            row = {"step": state["step"], "images": state["images"], "minutes": elapsed / 60,
                   "people": len(train), "loss": float(np.mean(running)),
                   **evaluate(average.model, val, args.device)}
            running.clear()
            log(args.out / "log.csv", row)
            sheet(average.model, val, args.device, args.out / "sheet.png")
            tqdm.write(json.dumps({k: round(v, 4) for k, v in row.items()}))
        if now - last_save > 120:
            last_save = now
            save(checkpoint, model, average, optimiser, {**state, "seconds": elapsed})
    save(checkpoint, model, average, optimiser, {**state, "seconds": elapsed})
    bar.close()
    figures = evaluate(average.model, val, args.device, 200)
    print(json.dumps({**state, **figures}))
    if args.export:
        export(average.model, args.export)


def save(path: Path, model: Renderer, average: Average, optimiser: torch.optim.Optimizer,
         state: dict) -> None:
    partial = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "average": average.model.state_dict(),
                "optimiser": optimiser.state_dict(), "state": state,
                "dimensions": asdict(model.dims)}, partial)
    partial.replace(path)


def log(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
