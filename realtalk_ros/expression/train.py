"""`realtalk train expression`: makes the data if it is missing, trains, and exports to ONNX."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from realtalk_ros import arkit, models
from realtalk_ros.expression import model as nets
from realtalk_ros.expression import speech_data, teacher
from realtalk_ros.expression.speech_set import SpeechSet

STEPS = 192  # of 20 ms in a training sequence: 3.84 s, of which the first are warm-up
# Share of each source in a batch.
MIX = {"real": 0.42, "flite": 0.26, "espeak": 0.26, "still": 0.06}

# Rough standard deviation of each weight over speech: errors count in these units.
_SCALE = np.full(arkit.COUNT, 0.1, np.float32)
_SCALE[[arkit.INDEX[n] for n in ("mouthPucker", "mouthFunnel")]] = 0.14
_SCALE[[arkit.INDEX[n] for n in ("mouthClose", "mouthRollLower")]] = 0.07
_MOUTH = np.zeros(arkit.COUNT, np.float32)
_MOUTH[list(arkit.MOUTH)] = 1.0


class Sampler:
    """Random sequences: speech of one source, moved by a random person, with his prior."""

    def __init__(self, sets: dict[str, SpeechSet], seed: int):
        self.sets = sets
        self.rng = np.random.default_rng(seed)
        total = sum(MIX[n] for n in sets)
        self.names = list(sets)
        self.shares = [MIX[n] / total for n in sets]

    def sequence(self, delay: int) -> dict[str, np.ndarray]:
        rng = self.rng
        name = self.names[rng.choice(len(self.names), p=self.shares)]
        data = self.sets[name]
        identity, style = teacher.random_person(rng)
        total = STEPS
        mels, parts, have = [], [], 0
        while have < total:
            if name != "still" and rng.random() < 0.05:
                mel, segments, _ = self.sets["still"][rng.integers(len(self.sets["still"]))]
            else:
                mel, segments, _ = data[rng.integers(len(data))]
            frames = len(mel) // nets.STEP
            mel = mel[: frames * nets.STEP].astype(np.float32)
            motion = teacher.animate(segments, frames, style, teacher.accents(mel))
            # Somewhere inside the first utterance, so that starts and middles are both learned.
            skip = (
                int(rng.integers(0, max(1, frames - 60))) if not parts and rng.random() < 0.7 else 0
            )
            mels.append(mel[skip * nets.STEP :])
            parts.append((motion, skip))
            have += frames - skip
        mel = np.concatenate(mels)[: total * nets.STEP]
        motion = {
            field: np.concatenate([getattr(m, field)[s:] for m, s in parts])[: total - delay]
            for field in ("weights", "rotation", "speech", "closure", "labiodental", "viseme")
        }
        speaking = self.names[rng.integers(len(self.names) - 1)] if "still" in self.names else name
        other = self.sets[speaking if speaking != "still" else name]
        mel_ref, segments, _ = other[rng.integers(len(other))]
        frames = len(mel_ref) // nets.STEP
        ref = teacher.animate(segments, frames, style, teacher.accents(mel_ref))
        start = int(rng.integers(0, max(1, frames - 100)))
        return {
            "mel": mel,
            "identity": identity,
            "reference": teacher.reference_window(ref, start),
            "known": np.array((rng.random() < 0.65, rng.random() < 0.65), np.float32),
            **motion,
        }

    def batch(self, size: int, delay: int) -> dict[str, Tensor]:
        rows = [self.sequence(delay) for _ in range(size)]
        return {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}


def loss_of(out: dict[str, Tensor], want: dict[str, Tensor], delay: int) -> tuple[Tensor, dict]:
    """out: per step; want: per frame, `delay` steps behind. Returns the loss and its parts."""
    weights = out["weights"][:, delay:].float()
    target = want["weights"]
    scale = torch.from_numpy(_SCALE)
    importance = torch.from_numpy(0.3 + _MOUTH)
    contact = torch.maximum(want["closure"], want["labiodental"])
    still = (target.amax(-1) < 1e-4).float()
    frame = (1 + contact + still).unsqueeze(-1)
    error = (weights - target) / scale
    # Between L1 (decides) and L2 (averages): smooth within half a standard deviation.
    position = (F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.5, reduction="none")
                * importance * frame).mean()  # fmt: skip
    velocity = ((weights[:, 1:] - weights[:, :-1]) - (target[:, 1:] - target[:, :-1])) / scale
    velocity = (velocity.abs() * importance).mean()
    gap = torch.from_numpy(teacher.GAP)
    wide = torch.from_numpy(teacher.WIDTH)
    # Lips as they are seen, in units of 2 mm. A closure counts more than an opening, but not so
    # much more that closing whenever in doubt pays: at 7 to 1 two of three closures were false.
    lips = ((weights - target) @ gap / 0.2).abs() * (1 + 2 * want["closure"])
    lips = (lips + ((weights - target) @ wide / 0.2).abs()).mean()
    rotation = ((out["rotation"][:, delay:].float() - want["rotation"]) / 0.03).abs().mean()
    speech = F.binary_cross_entropy_with_logits(out["speech"][:, delay:].float(), want["speech"])
    viseme = F.cross_entropy(
        out["viseme"][:, delay:].float().flatten(0, 1),
        want["viseme"].flatten(),
        label_smoothing=0.05,
    )
    parts = {
        "position": position, "velocity": velocity, "lips": lips,
        "rotation": rotation, "speech": speech, "viseme": viseme,
    }  # fmt: skip
    loss = position + 0.6 * velocity + 0.5 * lips + 0.1 * rotation + 0.1 * speech + 0.3 * viseme
    return loss, {k: float(v.detach()) for k, v in parts.items()}


def train(
    data: Path, run: Path, minutes: float, batch: int, rate: float, seed: int, log_every: int
) -> Path:
    """Trains until `minutes` have been spent, over all resumptions; returns the checkpoint."""
    torch.manual_seed(seed)
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "expression.pt"
    net, spent, step = nets.ExpressionNet(), 0.0, 0
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    average = {k: v.clone() for k, v in net.state_dict().items()}
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        net = nets.ExpressionNet(nets.Dims(**saved["dims"]))
        net.load_state_dict(saved["net"])
        optimizer = torch.optim.AdamW(
            net.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02
        )
        optimizer.load_state_dict(saved["optimizer"])
        average, spent, step = saved["average"], saved["spent"], saved["step"]
        print(f"resumed at step {step}, {spent / 60:.1f} min spent", flush=True)
    sets = {
        name: SpeechSet.load(data / f"train_{name}.npz")
        for name in MIX
        if (data / f"train_{name}.npz").is_file()
    }
    for name, item in sets.items():
        print(f"{name}: {len(item)} utterances, {item.hours:.2f} h", flush=True)
    sampler = Sampler(sets, seed + step)
    delay = net.dims.delay
    net.train()
    began, saved_at, sums, count = time.monotonic(), time.monotonic(), {}, 0
    history = open(run / "log.jsonl", "a")
    while True:
        elapsed = spent + time.monotonic() - began
        progress = elapsed / (60 * minutes)
        if progress >= 1:
            break
        # Warm-up, then cosine in time rather than steps: the budget is time.
        cosine = 0.5 * (1 + math.cos(math.pi * progress))  # a plain float: it is saved
        lr = rate * min(1, (step + 1) / 200) * (0.02 + 0.98 * cosine)
        for group in optimizer.param_groups:
            group["lr"] = lr
        want = sampler.batch(batch, delay)
        with torch.autocast("cpu", torch.bfloat16):
            prior = net.prior(want["identity"], want["reference"], want["known"])
            out = net(want["mel"], prior)
        loss, parts = loss_of(out, want, delay)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():  # the exported weights are a running mean: calmer output
            keep = min(0.998, (1 + step) / (10 + step))
            for name, value in net.state_dict().items():
                average[name].lerp_(value, 1 - keep)
        for name, value in {"loss": float(loss.detach()), **parts}.items():
            sums[name] = sums.get(name, 0.0) + value
        count += 1
        if step % log_every == 0:
            row = {"step": step, "minutes": round(elapsed / 60, 2),
                   **{k: round(v / count, 4) for k, v in sums.items()}}  # fmt: skip
            print(json.dumps(row), flush=True)
            history.write(json.dumps(row) + "\n")
            history.flush()
            sums, count = {}, 0
        if time.monotonic() - saved_at > 60:
            saved_at = time.monotonic()
            _save(net, optimizer, average, elapsed, step, checkpoint)
    _save(net, optimizer, average, elapsed, step, checkpoint)
    return checkpoint


def _save(net, optimizer, average, spent: float, step: int, path: Path) -> None:
    partial = path.with_suffix(".part")
    nets.save(
        net, partial, optimizer=optimizer.state_dict(), average=average, spent=spent, step=step
    )
    partial.replace(path)


def averaged(checkpoint: Path) -> nets.ExpressionNet:
    net, saved = nets.load(checkpoint)
    net.load_state_dict(saved["average"])
    return net.eval()


class _Prior(torch.nn.Module):
    def __init__(self, net: nets.ExpressionNet):
        super().__init__()
        self.net = net

    def forward(self, identity: Tensor, reference: Tensor, known: Tensor) -> Tensor:
        return self.net.prior(identity[None], reference[None], known[None])[0]


class _Step(torch.nn.Module):
    def __init__(self, net: nets.ExpressionNet):
        super().__init__()
        self.net = net

    def forward(self, mel, prior, context, memory):
        return self.net.step(mel, prior, context, memory)


def export(net: nets.ExpressionNet, folder: Path) -> list[Path]:
    """Writes expression_prior.onnx and expression_step.onnx (fp32) into `folder`."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    dims, net = net.dims, net.float().eval()
    depth = dims.width // dims.heads
    prior = torch.zeros(dims.layers, 2, dims.heads, dims.tokens, depth)
    memory = torch.zeros(dims.layers, 2, dims.heads, dims.memory, depth)
    jobs = {
        "expression_prior.onnx": (
            _Prior(net),
            (torch.zeros(teacher.IDENTITY_SIZE), torch.zeros(50, arkit.COUNT), torch.zeros(2)),
            ["identity", "reference", "known"],
            ["prior"],
        ),
        "expression_step.onnx": (
            _Step(net),
            (torch.zeros(nets.STEP, 80), prior, torch.zeros(dims.context, 80), memory),
            ["mel", "prior", "context", "memory"],
            ["weights", "rotation", "speech", "next_context", "next_memory"],
        ),
    }
    paths = []
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator has no ONNX form
    for name, (module, inputs, input_names, output_names) in jobs.items():
        path = folder / name
        torch.onnx.export(
            module, inputs, str(path), input_names=input_names, output_names=output_names,
            opset_version=17, dynamo=False,
        )  # fmt: skip
        graph = onnx.load(str(path))
        onnx.helper.set_model_props(
            graph,
            {
                "version": str(nets.VERSION),
                "look_ahead": f"{dims.look_ahead:.6f}",
                "delay_steps": str(dims.delay),
            },
        )
        onnx.save(graph, str(path))
        paths.append(path)
    models.write_checksums(folder)
    return paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--packages",
        type=Path,
        default=Path("runs/packages"),
        help="folder with the unpacked Debian packages (see the model card)",
    )
    parser.add_argument("--work", type=Path, default=Path("runs/expression"),
                        help="where data, checkpoint and log are kept")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=30, help="of training, all resumptions")
    parser.add_argument("--hours", type=float, default=1.5, help="of speech a synthetic engine")
    parser.add_argument("--clips", type=int, help="real clips a language (default: all)")
    parser.add_argument("--batch", type=int, default=24, help="sequences a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="export to this folder (default: WORK/export)")


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    speech_data.build(args.packages, args.work, args.hours, args.clips)
    checkpoint = train(
        args.work, args.work, args.minutes, args.batch, args.rate, args.seed, log_every=50
    )
    for path in export(averaged(checkpoint), args.out or args.work / "export"):
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
