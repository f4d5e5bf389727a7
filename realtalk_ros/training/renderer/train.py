# SPDX-License-Identifier: Apache-2.0
"""`realtalk train renderer`: trains the expression-to-face renderer and exports it to ONNX:
renderer_encode.onnx, renderer_align.onnx and renderer_generate.onnx (export.py).

Runs on CPU and CUDA (bfloat16), resumes from its checkpoint, and writes its settings, sample sheets
and a log as it goes. With `--avatar` the generator is fine-tuned to one face: encoder frozen, that
face's own reference, its own groups (`--data` of `realtalk data videos`, or `--extra`), starting
from the installed network; the result lies in the avatar's folder, where FaceRenderer finds it.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import find
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.common.device import add_device
from realtalk_ros.training.common.learning_rate import cosine, warm_up
from realtalk_ros.training.common.prefetch import prefetch
from realtalk_ros.training.common.settings import add_options
from realtalk_ros.training.renderer.batches import BatchLoader
from realtalk_ros.training.renderer.checkpoint import load_renderer
from realtalk_ros.training.renderer.config import TrainingConfig
from realtalk_ros.training.renderer.dataset import FaceDataset
from realtalk_ros.training.renderer.export import export, export_generator
from realtalk_ros.training.renderer.landmark_net import PERCEPTUAL_NET
from realtalk_ros.training.renderer.model import Dimensions, Renderer
from realtalk_ros.training.renderer.trainer import LOSSES, Trainer
from realtalk_ros.training.renderer.validation import validate, write_sample_sheet

SAVE_INTERVAL = 60  # s between checkpoints
NARROWING = 24  # batches by which a generator is narrowed
FINAL_RATE = 0.03  # of the peak learning rate, at the end of the cosine
CHECKPOINT, LOG, SHEET = "checkpoint.pt", "log.csv", "sheet.png"  # in the folder --out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, TrainingConfig)
    parser.add_argument(
        "--perceptual-net",
        type=Path,
        default=PERCEPTUAL_NET,
        help="network of `realtalk train landmarks` for the perceptual loss; --avatar goes "
        "without if there is none",
    )
    parser.add_argument("--no-perceptual-net", action="store_true", help="train without that loss")
    parser.add_argument(
        "--out",
        type=Path,
        help="checkpoint, log and sample sheets (runs/renderer, or runs/renderer_AVATAR)",
    )
    add_device(parser)


@dataclass(frozen=True)
class Datasets:
    train: FaceDataset
    val: FaceDataset
    extra: FaceDataset | None
    real: FaceDataset | None = None


def run(args: argparse.Namespace) -> None:
    """`realtalk train renderer`."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    avatar = Avatar.load(args.avatar) if args.avatar else None
    config = TrainingConfig.from_arguments(args, avatar.name if avatar else None)
    data = load_datasets(config)
    dims = replace(Dimensions(), size=data.train[0].size, **config.dimensions)
    trainer = start(Trainer(dims, config), data)
    config.save(config.out)  # what was refused until here leaves those of the weights there
    step = trainer.state["step"]
    loader = BatchLoader(config, data.train, data.extra, avatar, step=step, real=data.real)
    fit(trainer, loader, data.val)
    model = trainer.average.model
    print(json.dumps({**trainer.state, **validate(model, data.val, 200)}))
    if trainer.state["seconds"] < config.minutes * 60:
        return  # a pause
    if avatar:
        export_generator(model, find(config.avatar), onnx_session.MODEL_DIR)
    elif config.export and config.generator_only:
        export_generator(model, config.export, onnx_session.MODEL_DIR)
    elif config.export:
        export(model, config.export)


def load_datasets(config: TrainingConfig) -> Datasets:
    """Raises RealTalkError where there are no shards."""
    extra = FaceDataset(config.extra, config.device) if config.extra else None
    if config.avatar and extra:
        data = Datasets(extra, extra, None)
    else:
        train = FaceDataset(config.data / "train", config.device)
        val = FaceDataset(config.data / "val", config.device)
        if config.avatar and not len(val):  # a short video
            val = train
        data = Datasets(train, val, extra, load_people(config))
    if not len(data.train) or not len(data.val):
        raise RealTalkError(
            f"no training shards in {config.extra if config.avatar and extra else config.data}: "
            "run `realtalk data faces` (for one face: `realtalk data videos`) first"
        )
    return data


def load_people(config: TrainingConfig) -> FaceDataset | None:
    """Raises RealTalkError where there are none, or a face of its own has nothing to do with
    them."""
    if config.real is None:
        return None
    if config.avatar:
        raise RealTalkError("--real trains the generator of all faces: leave out --avatar, or it")
    people = FaceDataset(config.real / "train", config.device, real=True)
    if not len(people):
        raise RealTalkError(
            f"no training shards in {config.real / 'train'}: run `realtalk data pairs` first"
        )
    return people


def start(trainer: Trainer, data: Datasets) -> Trainer:
    """Gives a trainer its first weights: those of its checkpoint, else those to start from."""
    config, checkpoint = trainer.config, trainer.config.out / CHECKPOINT
    if checkpoint.exists():
        trainer.resume(checkpoint)
    elif config.start or config.generator_only:
        loader = BatchLoader(config, data.train, data.extra)
        batches = (loader.draw() for _ in range(NARROWING))
        trainer.start_from(config.start or onnx_session.MODEL_DIR, batches)
    if config.generator_only:
        check_encoder(trainer.model)
    if config.avatar or config.real:
        trainer.keep_original()
    return trainer


def check_encoder(model: Renderer) -> None:
    """One face's generator works on what the installed encoder finds and where the installed
    network warps it. Raises RealTalkError where these weights differ."""
    installed = load_renderer(onnx_session.MODEL_DIR).state_dict()
    for name, value in model.state_dict().items():
        shared = name.startswith(("encoder.", "generator.warp."))
        # Installed, large ones are of half precision.
        if shared and not torch.allclose(value.cpu(), installed[name], rtol=1e-3, atol=1e-7):
            raise RealTalkError(
                "this checkpoint's encoder is not the one that is installed, so the generator "
                "would not fit it: leave out --start, or export it to "
                f"{onnx_session.MODEL_DIR} first"
            )


def fit(trainer: Trainer, loader: BatchLoader, val: FaceDataset) -> None:
    """Trains until the time is over, reporting and saving as it goes."""
    config, state, checkpoint = trainer.config, trainer.state, trainer.config.out / CHECKPOINT
    budget, began, done_before = config.minutes * 60, time.monotonic(), state["seconds"]
    end = min(budget, done_before + (config.pause or math.inf) * 60)
    last_report = last_save = began
    running: list[dict[str, Tensor]] = []
    # The next batch is drawn while this one is learned from: it takes half as long.
    batches = prefetch(loader.draw)
    bar = tqdm(total=int(budget), initial=int(done_before), unit="s", desc="renderer")
    while (elapsed := done_before + time.monotonic() - began) < end:
        rate = config.learning_rate * warm_up(state["step"], config.warm_up_steps)
        rate *= cosine(elapsed / budget, FINAL_RATE)
        running.append(trainer.step(next(batches), rate))
        state["seconds"] = done_before + time.monotonic() - began
        bar.n = int(elapsed)
        now = time.monotonic()
        if now - last_save > SAVE_INTERVAL or now - last_report > config.report_interval:
            last_save = now
            if not torch.isfinite(running[-1]["image"]):
                raise RealTalkError(
                    f"training diverged: run again with a lower --lr to go on from {checkpoint}"
                )
            trainer.save(checkpoint)
        if now - last_report > config.report_interval:
            last_report = now
            loader.train.refresh()
            report(trainer, running, len(loader.train), val)
            running.clear()
    batches.close()
    state["seconds"] = elapsed
    trainer.save(checkpoint)
    bar.close()


def report(
    trainer: Trainer, running: list[dict[str, Tensor]], people: int, val: FaceDataset
) -> None:
    """A line of the log with the means of the losses, on the screen too, and the sample sheet."""
    state, model, log = trainer.state, trainer.average.model, trainer.config.out / LOG
    missing = torch.tensor(math.nan)
    means = {
        name: torch.stack([r[name] for r in running if name in r] or [missing]).mean().item()
        for name in LOSSES
    }
    row = {
        "step": state["step"],
        "images": state["images"],
        "minutes": state["seconds"] / 60,
        "people": people,
        **means,
        **validate(model, val),
    }
    new = not log.exists()
    with open(log, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
    write_sample_sheet(model, val, trainer.config.out / SHEET)
    tqdm.write(json.dumps({name: round(v, 4) for name, v in row.items() if v == v}))
