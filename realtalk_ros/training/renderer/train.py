"""`realtalk train renderer`: trains the expression-to-face renderer and exports it to ONNX.

A sample is (reference, template, weights, target) of one group of a shard (see
training/synthetic/face_dataset.py): template and target share the pose, the reference does not.
Runs on CPU and CUDA (bfloat16), resumes from its checkpoint, and writes sample sheets and a log as
it goes. With `--avatar` the generator is fitted to one face: encoder frozen, that face's own
reference, its own groups (`--data` of `realtalk data videos`, or `--extra`), starting from the
installed network; the result lies in the avatar's folder, where FaceRenderer finds it.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar, find
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.rendering.generator import merge_mouth_colours, reference_inputs
from realtalk_ros.training.common.prefetch import prefetch
from realtalk_ros.training.renderer import landmark_net, losses
from realtalk_ros.training.renderer.dataset import Batch, Groups, add_data, pictures, sample
from realtalk_ros.training.renderer.export import export, export_generator, installed
from realtalk_ros.training.renderer.model import Dimensions, Renderer, bared

ABLATIONS = {
    "reference": "texture_reference",
    "modulation": "modulation",
    "mask": "learned_mask",
    "alignment": "alignment",
    "inside": "inside",
}
SAVE = 60  # seconds between checkpoints
GUIDE = Path("runs/reader/guide.pt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "train/ and val/ shards of `realtalk data faces` or `... videos`")
    parser.add_argument("--extra", type=Path, help="a folder of further shards to mix in")
    parser.add_argument(
        "--extra-share", type=float, default=0.3, help="share of samples drawn from --extra"
    )
    parser.add_argument(
        "--avatar",
        help="fit the generator to this avatar (name or folder), with "
        "its groups from --data, or those of --extra alone",
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="a checkpoint to start from, if --out has none (with --avatar: the installed network)",
    )
    parser.add_argument(
        "--guide",
        type=Path,
        default=GUIDE,
        help="face reader of `realtalk train reader`, for the perceptual loss; --avatar goes "
        "without if there is none",
    )
    parser.add_argument("--no-guide", action="store_true", help="train without that loss")
    parser.add_argument(
        "--critic-from",
        type=int,
        help="step from which the critic is obeyed (8000); -1: no critic (with --avatar)",
    )
    parser.add_argument(
        "--without",
        nargs="*",
        choices=list(ABLATIONS),
        default=[],
        help="leave out a part of the network, to measure what it is worth",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="checkpoint, log and sample sheets (runs/renderer, or runs/renderer_AVATAR)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=90,
        help="train this long in all; the learning rate falls over it",
    )
    parser.add_argument("--pause", type=float, help="stop after these minutes; run again to go on")
    parser.add_argument("--lr", type=float, help="peak (3e-4, with --avatar 1.5e-4)")
    parser.add_argument("--groups", type=int, default=3, help="template frames per step")
    parser.add_argument("--targets", type=int, default=4, help="expressions per template frame")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--export", type=Path, help="write the ONNX files here at the end")
    parser.add_argument("--report", type=float, default=240, help="seconds between evaluations")
    parser.add_argument("--seed", type=int, default=0)


def forward(model: Renderer, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The composed picture, the generator's own and the mask; each template is encoded once for
    all of its expressions."""
    with torch.autocast(batch.target.device.type, torch.bfloat16):
        features = model.encoder(batch.reference, batch.template)
        if batch.tones is not None:
            features = *features[:-1], batch.tones
        features = [f.repeat_interleave(batch.each, 0) for f in features]
        template = batch.template_each
        places = batch.rest_each, batch.points
        known = *places, batch.weights, batch.inside, batch.eyes
        rgb, mask = model.generator(features, template, *known)
    rgb, mask = rgb.float(), mask.float()
    return template + mask * (rgb - template), rgb, mask


def plain_losses(
    out: Tensor, rgb: Tensor, mask: Tensor, batch: Batch, film: Tensor | None = None
) -> dict[str, Tensor]:
    """Those of the pictures alone: `picture`, `clip`, and `texture` as it is in `film`."""
    weight = losses.importance(batch)
    terms = {
        "picture": losses.picture_loss(out, rgb, mask, batch.target, weight),
        "clip": losses.clip_loss(out, batch.target, weight, batch.each),
    }
    if film is not None:
        terms["texture"] = losses.texture_loss(out, film, weight)
    return terms


class Average:
    """Exponential moving average of the weights: what is evaluated and exported."""

    def __init__(self, model: nn.Module, decay: float = 0.998):
        self.decay = decay
        self.model = copy.deepcopy(model)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, now in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


class Trainer:
    """Renderer, critic, their optimisers and their average: what a checkpoint holds."""

    def __init__(self, dims: Dimensions, args: argparse.Namespace):
        self.device, self.without = args.device, args.without
        self.critic_from = args.critic_from
        if self.critic_from is None:
            self.critic_from = -1 if args.avatar else 8000
        self.rate = args.lr or (1.5e-4 if args.avatar else 3e-4)
        self.model = Renderer(dims).to(args.device, memory_format=torch.channels_last)
        if args.avatar:
            for part in (self.model.encoder, self.model.generator.alignment):
                part.requires_grad_(False)
        self.critic = losses.Critic().to(args.device, memory_format=torch.channels_last)
        self.average = Average(self.model)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, self.rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self.rival = torch.optim.AdamW(self.critic.parameters(), self.rate, betas=(0.5, 0.99))
        none = args.avatar and args.guide == GUIDE and not GUIDE.exists()
        guide = None if args.no_guide or none else landmark_net.load(args.guide, args.device)
        self.guide = losses.Guide(guide) if guide else None
        self.forward, self.losses = forward, plain_losses
        if args.compile:
            self.forward, self.losses = torch.compile(forward), torch.compile(plain_losses)
        self.kept: Renderer | None = None  # what is kept to away from the mouth
        self.state = {"step": 0, "seconds": 0.0, "images": 0}

    def load_installed(self) -> None:
        """Takes over the network that is installed. Raises ModelError."""
        weights = installed(onnx_session.MODEL_DIR)
        self.model.load_state_dict(weights)
        self.average.model.load_state_dict(weights)

    def keep(self) -> None:
        """Away from the mouth, the installed network's pictures are what to learn, see
        losses.of_film. Raises ModelError."""
        self.kept = copy.deepcopy(self.model).requires_grad_(False)
        self.kept.load_state_dict(installed(onnx_session.MODEL_DIR))

    def load(self, path: Path, resume: bool) -> None:
        """Takes over a checkpoint: whole, or (to start something new) only the trained weights, of
        which a network that lacks a part takes what it has in common."""
        saved = torch.load(path, map_location=self.device, weights_only=True)
        whole = resume or not self.without
        try:
            self.model.load_state_dict(saved["model" if resume else "average"], strict=whole)
            self.average.model.load_state_dict(saved["average"], strict=whole)
        except RuntimeError as error:
            raise RealTalkError(
                f"{path} is of another network (other ablations?): use another --out or --start"
            ) from error
        if resume:
            self.optimiser.load_state_dict(saved["optimiser"])
            self.state = saved["state"]
            if "critic" in saved:  # not before it existed
                self.critic.load_state_dict(saved["critic"])
                self.rival.load_state_dict(saved["rival"])

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "state": self.state,
                "critic": self.critic.state_dict(),
                "rival": self.rival.state_dict(),
                "dimensions": asdict(self.model.dims),
            },
            partial,
        )
        partial.replace(path)

    def step(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """One step of the renderer and of its critic. Returns the losses, still on the device."""
        for group in (*self.optimiser.param_groups, *self.rival.param_groups):
            group["lr"] = rate
        film = None
        if self.kept:
            with torch.no_grad():
                known, _, _ = self.forward(self.kept, batch)
            # `known` is softer than film: how strong detail is, the film tells everywhere.
            film, batch = batch.target, replace(batch, target=losses.of_film(known, batch))
        made = self.forward(self.model, batch)
        # The losses see copies, so that the critic's gradient can be weighed against the others'
        # before both go on into the network.
        out, rgb, mask = (x.detach().requires_grad_() for x in made)
        terms = self.losses(out, rgb, mask, batch, film)
        total = terms["picture"] + losses.CLIP * terms["clip"]
        if film is not None:
            total = total + losses.TEXTURE * terms["texture"]
        with torch.autocast(out.device.type, torch.bfloat16):
            if self.guide:
                perceptual, marks = self.guide.losses(out, batch.target)
                terms |= {"perceptual": perceptual, "landmarks": marks}
                total = total + losses.PERCEPTUAL * perceptual + losses.LANDMARKS * marks
        total.backward()
        if self.critic_from >= 0:
            terms |= self._critic_step(out, batch)
        gradients = [x.grad for x in (out, rgb, mask)]
        self.optimiser.zero_grad(set_to_none=True)
        both = zip(made, gradients, strict=True)
        given = [(x, g) for x, g in both if g is not None and x.requires_grad]  # a fixed mask not
        torch.autograd.backward(*map(list, zip(*given, strict=True)))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.state["step"] += 1
        self.state["images"] += len(batch.weights)
        self.average.update(self.model, self.state["step"])
        return {name: term.detach() for name, term in terms.items()}

    def _critic_step(self, out: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Trains the critic; adds what it demands to the gradient of `out`, once it is obeyed."""
        with torch.autocast(out.device.type, torch.bfloat16):
            own = self.critic.own_loss(out, batch.target, batch.marks)
        self.rival.zero_grad(set_to_none=True)
        own.backward()
        self.rival.step()
        terms = {"critic": own}
        if self.state["step"] >= self.critic_from:
            with torch.autocast(out.device.type, torch.bfloat16):
                fooled, matching = self.critic.losses(out, batch.target, batch.marks)
            (demand,) = torch.autograd.grad(fooled + losses.MATCHING * matching, out)
            out.grad += losses.bounded(demand, out.grad, losses.CRITIC_SHARE)
            terms |= {"fooled": fooled, "matching": matching}
        return terms


def psnr(error: Tensor) -> float:
    return float(-10 * torch.log10(error.pow(2).mean().clamp_min(1e-10)))


def mouth_box(marks: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of the lips (of landmarks (68, 2)) and a margin of 8 of 256 pixels."""
    lips, margin = marks[LIPS], size / 32
    x0, y0 = np.clip(lips.min(0) - margin, 0, size - 16).astype(int)
    x1, y1 = np.clip(lips.max(0) + margin, 16, size).astype(int)
    return slice(y0, y1), slice(x0, x1)


@torch.no_grad()
def evaluate(model: Renderer, groups: Groups, count: int = 48) -> dict[str, float]:
    """PSNR, dB: whole picture, the mouth's box, and the template as it is there, for scale."""
    rng = np.random.default_rng(1)
    whole, mouth, still = [], [], []
    for _ in range(count):
        batch = sample([groups[int(rng.integers(len(groups)))]], rng, 4, augment=False)
        out, _, _ = forward(model, batch)
        whole.append(psnr(out - batch.target))
        for k, marks in enumerate(batch.marks.cpu().numpy()):
            box = (slice(None), *mouth_box(marks, out.shape[-1]))
            mouth.append(psnr(out[k][box] - batch.target[k][box]))
            still.append(psnr(batch.template[0][box] - batch.target[k][box]))
    return {
        "psnr": float(np.mean(whole)),
        "mouth_psnr": float(np.mean(mouth)),
        "template_mouth_psnr": float(np.mean(still)),
    }


@torch.no_grad()
def sheet(model: Renderer, groups: Groups, path: Path, rows: int = 6) -> None:
    """Rows of reference, template, then for three expressions: target, result, mask."""
    rng, lines = np.random.default_rng(2), []
    for _ in range(rows):
        batch = sample([groups[int(rng.integers(len(groups)))]], rng, 3, augment=False)
        out, _, mask = forward(model, batch)
        cells = [batch.reference[0, :3], batch.template[0]]
        for k in range(len(out)):
            cells += [batch.target[k], out[k], mask[k].expand(3, -1, -1)]
        lines.append(torch.cat(cells, 2))
    picture = torch.cat(lines, 1).permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    cv2.imwrite(str(path), (picture * 255).astype(np.uint8))


def run(args: argparse.Namespace) -> None:
    """`realtalk train renderer`."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    avatar = Avatar.load(args.avatar) if args.avatar else None
    extra = Groups(args.extra, args.device) if args.extra else None
    if avatar and extra:
        train = val = extra
    else:
        train = Groups(args.data / "train", args.device)
        val = Groups(args.data / "val", args.device)
        if avatar and not len(val):  # a short video
            val = train
    if not len(train) or not len(val):
        raise RealTalkError(
            f"no training shards in {args.extra if avatar and args.extra else args.data}: run "
            "`realtalk data faces` (for one face: `realtalk data videos`) first"
        )
    name = f"renderer_{avatar.name}" if avatar else "renderer"
    args.out = args.out or Path("runs") / name
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    off = {ABLATIONS[name]: False for name in args.without}
    dims = replace(Dimensions(), size=train[0].images.shape[1], **off)
    trainer = Trainer(dims, args)
    if checkpoint.exists():
        trainer.load(checkpoint, resume=True)
    elif args.start:
        trainer.load(args.start, resume=False)
    elif avatar:
        trainer.load_installed()
    if avatar:
        check_fit(trainer.model)
        trainer.keep()
    seen_from = None
    if avatar:
        seen_from = torch.from_numpy(np.stack(reference_inputs(avatar))).to(args.device)
    learn(trainer, train, val, None if avatar else extra, seen_from, args)
    model = trainer.average.model
    print(json.dumps({**trainer.state, **evaluate(model, val, 200)}))
    if trainer.state["seconds"] < args.minutes * 60:
        return  # a pause
    if avatar:
        export_generator(model, find(args.avatar), onnx_session.MODEL_DIR)
    elif args.export:
        export(model, args.export)


def check_fit(model: Renderer) -> None:
    """One face's generator works on what the installed encoder finds and where the installed
    alignment lays it. Raises RealTalkError."""
    weights = installed(onnx_session.MODEL_DIR)
    for name, value in model.state_dict().items():
        shared = name.startswith(("encoder.", "generator.alignment."))
        if shared and not torch.equal(value.cpu(), weights[name]):
            raise RealTalkError(
                "this checkpoint's encoder is not the one that is installed, so the generator "
                "would not fit it: leave out --start, or export it to "
                f"{onnx_session.MODEL_DIR} first"
            )


def learn(
    trainer: Trainer,
    train: Groups,
    val: Groups,
    extra: Groups | None,
    references: Tensor | None,
    args: argparse.Namespace,
) -> None:
    """Trains until the time is over, reporting and saving as it goes. `references` (R, S, S, 3)
    stand in for the groups' own, one of them for each batch."""
    state, checkpoint = trainer.state, args.out / "checkpoint.pt"
    rng = np.random.default_rng([args.seed, state["step"]])
    tones = None if references is None else tones_of(references)
    budget, began, done_before = args.minutes * 60, time.monotonic(), state["seconds"]
    end = min(budget, done_before + (args.pause or math.inf) * 60)
    last_report = last_save = began
    running: list[dict[str, Tensor]] = []

    def draw() -> Batch:
        drawn = []
        for _ in range(args.groups):
            source = extra if extra and rng.random() < args.extra_share else train
            drawn.append(source[int(rng.integers(len(source)))])
        reference = None if references is None else references[int(rng.integers(len(references)))]
        batch = sample(drawn, rng, args.targets, reference is None, reference)
        if tones is not None:
            batch = replace(batch, tones=tones.expand(args.groups, -1))
        return batch

    # The next batch is drawn while this one is learned from: it takes half as long.
    batches = prefetch(draw)
    bar = tqdm(total=int(budget), initial=int(done_before), unit="s", desc="renderer")
    while (elapsed := done_before + time.monotonic() - began) < end:
        # Warm up, then cosine over the time that is given.
        rate = (
            trainer.rate
            * min(1, (state["step"] + 1) / (50 if args.avatar else 200))
            * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * elapsed / budget)))
        )
        running.append(trainer.step(next(batches), rate))
        state["seconds"] = done_before + time.monotonic() - began
        bar.n = int(elapsed)
        now = time.monotonic()
        if now - last_save > SAVE or now - last_report > args.report:
            last_save = now
            if not torch.isfinite(running[-1]["picture"]):
                raise RealTalkError(
                    f"training diverged: run again with a lower --lr to go on from {checkpoint}"
                )
            trainer.save(checkpoint)
        if now - last_report > args.report:
            last_report = now
            train.refresh()
            report(trainer, running, len(train), val, args.out)
            running.clear()
    batches.close()
    state["seconds"] = elapsed
    trainer.save(checkpoint)
    bar.close()


def tones_of(references: Tensor) -> Tensor:
    """(1, 8): what all of one avatar's references (R, S, S, 6) tell of its mouth's colours."""
    picture, inside = pictures(references).chunk(2, 1)
    found = merge_mouth_colours(bared(picture, inside).cpu().numpy())
    return torch.from_numpy(found).to(references.device)


def report(
    trainer: Trainer, running: list[dict[str, Tensor]], people: int, val: Groups, out: Path
) -> None:
    """A line of the log, on the screen too, and the sample sheet."""
    state, model = trainer.state, trainer.average.model
    names = ("picture", "clip", "texture", "perceptual", "landmarks",
             "critic", "fooled", "matching")  # fmt: skip
    means = {
        n: torch.stack([r[n] for r in running if n in r] or [torch.tensor(math.nan)]).mean().item()
        for n in names
    }
    row = {
        "step": state["step"],
        "images": state["images"],
        "minutes": state["seconds"] / 60,
        "people": people,
        **means,
        **evaluate(model, val),
    }
    new = not (out / "log.csv").exists()
    with open(out / "log.csv", "a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
    sheet(model, val, out / "sheet.png")
    tqdm.write(json.dumps({k: round(v, 4) for k, v in row.items() if v == v}))
