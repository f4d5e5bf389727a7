"""`realtalk train expression`: trains on the data of `realtalk data speech`, exports to ONNX."""

from __future__ import annotations

import argparse
import tempfile
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from realtalk_ros import onnx_session
from realtalk_ros.behaviour import emotion
from realtalk_ros.contracts import (
    EXPRESSION_RATE,
    EXPRESSION_VERSION,
    MEL_STEP,
    PRIOR_FILE,
    REFERENCE_FRAMES,
    REFERENCE_RATE,
    STEP_FILE,
)
from realtalk_ros.errors import ModelError, RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.training.common.checkpoint import load_weights
from realtalk_ros.training.expression import coarticulation, mel_augment
from realtalk_ros.training.expression import model as nets
from realtalk_ros.training.expression.pretrain_phones import (
    fit_outward,
    misheard,
    name_phones,
    train_hearing,
)
from realtalk_ros.training.expression.pretrain_prior import train_acquaintance
from realtalk_ros.training.expression.trainer import Course, Log
from realtalk_ros.training.expression.video_dataset import UNKNOWN, Films
from realtalk_ros.training.speech_data.dataset import SpeechSet

STEPS = 192  # of 20 ms in a training sequence: 3.84 s, of which the first are warm-up
# Frames of a reference window, and before and after it that make themselves felt in it.
WINDOW, MARGIN = (
    REFERENCE_FRAMES * EXPRESSION_RATE // REFERENCE_RATE,
    20,
)
# Share in a batch of each kind of speech: train_<kind>*.npz.
MIX = {"real": 0.73, "festival": 0.08, "flite": 0.06, "espeak": 0.08, "still": 0.05}
# A source of many people, or each of a corpus's, counts as so many sources. Learners of a language
# say its th otherwise.
MANY_VOICES = {
    "commonvoice": 2.5, "commonvoice/en": 4, "commonvoice/fr": 2, "commonvoice/es": 12,
    "librispeech": 6, "speechocean": 4, "steelsky": 4, "amazonqueen": 3, "drascula/en": 3,
    "drascula/es": 6, "picovoice/en/orders": 4, "picovoice/en/words": 1.5, "kathleen": 2,
}  # fmt: skip

MISSED = 0.85  # times as bad as lips that meet and should not
FILMED = 0.3  # of the sequences are of films, where there are films and speech
ACQUAINTANCE = 5.0  # minutes

KNOWN = ("identity", "reference")  # the columns of the network's input `known`
ABLATIONS = (*KNOWN, "attention")

# Rough standard deviation of each weight over speech: errors count in these units.
_SCALE = np.full(arkit.COUNT, 0.1, np.float32)
_SCALE[[arkit.INDEX[n] for n in ("mouthPucker", "mouthFunnel")]] = 0.14
_SCALE[[arkit.INDEX[n] for n in ("mouthClose", "mouthRollLower")]] = 0.07
_MOUTH = np.zeros(arkit.COUNT, np.float32)
_MOUTH[list(arkit.MOUTH)] = 1.0


def _voices(source: str) -> float:
    """How many sources one counts as."""
    return MANY_VOICES.get(source, MANY_VOICES.get(source.partition("/")[0], 1))


class Sampler:
    """Random sequences: speech of one kind, moved by a random person, with his prior; of films,
    if there are any, a share of `FILMED`, or all where there is no speech."""

    def __init__(self, sets: dict[str, SpeechSet], seed: int, films: Films | None = None):
        self.sets, self.films = sets, films
        self.rng = np.random.default_rng(seed)
        total = sum(MIX[n] for n in sets)
        self.names = list(sets)
        self.shares = [MIX[n] / total for n in sets]
        self.speech = [n for n in sets if n != "still"]
        # Big corpora come more often than small ones, but less than in proportion; one of
        # hundreds of people more often than one of one person.
        self.by_source = {}
        for name, data in sets.items():
            sources, which, counts = np.unique(data.source, return_inverse=True, return_counts=True)
            share = np.sqrt(counts) * [_voices(source) for source in sources]
            share /= share.sum()
            members = [np.flatnonzero(which == k) for k in range(len(sources))]
            self.by_source[name] = members, share

    def kind(self) -> str:
        """Which set a sequence is of."""
        return self.names[self.rng.choice(len(self.names), p=self.shares)]

    def utterance(self, name: str) -> tuple[np.ndarray, list]:
        members, share = self.by_source[name]
        group = members[self.rng.choice(len(members), p=share)]
        mel, segments, _ = self.sets[name][int(group[self.rng.integers(len(group))])]
        return mel.astype(np.float32), segments

    def noise(self) -> np.ndarray | None:
        """Log-mel (k, 80) of something that is not speech."""
        return self.utterance("still")[0] if "still" in self.sets else None

    def mood(self) -> np.ndarray | None:
        """(52,) of an emotion, in a quarter of all cases."""
        if self.rng.random() >= 0.25:
            return None
        return emotion.weights(self.rng.choice(emotion.NAMES), self.rng.uniform(0.3, 1))

    def window(self, style: coarticulation.Style, mood: np.ndarray | None) -> np.ndarray:
        """(50, 52) reference window of somebody who says something."""
        mel, segments = self.utterance(self.speech[self.rng.integers(len(self.speech))])
        frames = len(mel) // MEL_STEP
        start = int(self.rng.integers(0, max(1, frames - WINDOW)))
        # Only what can be seen of him in those two seconds is made.
        first, last = max(0, start - MARGIN), min(frames, start + WINDOW + MARGIN)
        a, b = first / EXPRESSION_RATE, last / EXPRESSION_RATE
        near = [(p, max(s, a) - a, min(e, b) - a) for p, s, e in segments if s < b and e > a]
        accent = coarticulation.accents(mel[: last * MEL_STEP])[first:]
        motion = coarticulation.animate(near, last - first, style, accent, mood)
        return coarticulation.reference_window(motion.weights, start - first)

    def sequence(self, delay: int) -> dict[str, np.ndarray]:
        rng = self.rng
        name = self.kind()
        identity, style = coarticulation.random_person(rng)
        mood = self.mood()
        mels, parts, have = [], [], 0
        while have < STEPS:
            mel, segments = self.utterance(
                "still" if "still" in self.sets and rng.random() < 0.05 else name
            )
            mel, segments = mel_augment.stretch(mel, segments, rng)
            frames = len(mel) // MEL_STEP
            mel = mel[: frames * MEL_STEP]
            motion = coarticulation.animate(
                segments, frames, style, coarticulation.accents(mel), mood
            )
            # Somewhere inside the first utterance, so that starts and middles are both learned.
            skip = (
                int(rng.integers(0, max(1, frames - 60))) if not parts and rng.random() < 0.7 else 0
            )
            mels.append(mel[skip * MEL_STEP :])
            parts.append((motion, skip))
            have += frames - skip
        mel = np.concatenate(mels)[: STEPS * MEL_STEP]
        coloured = mel_augment.colour(mel, self.noise(), rng)
        if rng.random() < 0.5:
            coloured = mel_augment.mask(coloured, rng)
        motion = {
            field: np.concatenate([getattr(m, field)[s:] for m, s in parts])[: STEPS - delay]
            for field in ("weights", "rotation", "speech", "closure", "labiodental", "phone")
        }
        return {
            "mel": coloured,
            "identity": identity,
            "style": style.numbers,
            "reference": self.window(style, mood),
            "known": np.array((rng.random() < 0.65, rng.random() < 0.65), np.float32),
            **motion,
        }

    def filmed(self) -> bool:
        """Whether the next sequence is of a film."""
        return self.films is not None and (not self.sets or self.rng.random() < FILMED)

    def batch(self, size: int, delay: int) -> dict[str, Tensor]:
        rows = [
            self.films.sequence(STEPS, delay, self.noise(), self.rng)
            if self.filmed() else self.sequence(delay)
            for _ in range(size)
        ]  # fmt: skip
        return {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}


def load_sets(data: Path) -> dict[str, SpeechSet]:
    """The kinds of speech in a folder of train_<kind>*.npz."""
    shards = {name: sorted(data.glob(f"train_{name}*.npz")) for name in MIX}
    sets = {name: SpeechSet.load(*paths) for name, paths in shards.items() if paths}
    for name, item in sets.items():
        print(f"{name}: {len(item)} utterances, {item.hours:.2f} h", flush=True)
    return sets


def loss_of(out: dict[str, Tensor], want: dict[str, Tensor], delay: int) -> tuple[Tensor, dict]:
    """out: per step; want: per frame, `delay` steps behind. Returns the loss and its parts."""
    weights = out["weights"][:, delay:].float()
    target = want["weights"]
    scale = torch.from_numpy(_SCALE)
    mouth = torch.from_numpy(_MOUTH)
    importance = 0.3 + mouth
    still = ((target * mouth).amax(-1) < 1e-4).float()
    frame = (1 + 0.5 * want["closure"] + want["labiodental"] + still).unsqueeze(-1)
    error = (weights - target) / scale
    # Between L1 (decides) and L2 (averages): smooth within half a standard deviation.
    position = (F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.5, reduction="none")
                * importance * frame).mean()  # fmt: skip
    speed = error[:, 1:] - error[:, :-1]
    velocity = (speed.abs() * importance).mean()
    jerk = ((speed[:, 1:] - speed[:, :-1]).abs() * importance).mean()

    # Lips as they are seen: vertices in units of 1.5 mm, opening and width in units of 2 mm.
    basis = torch.from_numpy(coarticulation.LIPS.reshape(arkit.COUNT, -1))
    lips = target @ basis
    apart = ((weights @ basis - lips).unflatten(-1, (-1, 3)).square().sum(-1) + 1e-6).sqrt()
    head = ((out["lips"][:, delay:].float() - lips).unflatten(-1, (-1, 3)).square().sum(-1)
            + 1e-6).sqrt()  # fmt: skip
    gap, want_gap = (
        w @ torch.from_numpy(coarticulation.GAP) + coarticulation.REST_GAP
        for w in (weights, target)
    )
    wide = (weights - target) @ torch.from_numpy(coarticulation.WIDTH)
    opening = ((gap - want_gap).abs() * (1 + want["closure"]) + wide.abs()) / 0.2
    vertices = (apart.mean() + 0.3 * head.mean()) / 0.15
    # Whether the lips meet, as a decision: a mean of yes and no, nearly shut, is wrong either way.
    meet = (want["closure"] > 0.95).float()
    decided = MISSED * meet + (want_gap > 0.16).float()
    closure = F.binary_cross_entropy_with_logits((0.1 - gap) / 0.03, meet, reduction="none")
    closure = (closure * decided).mean()
    # So is whether the lower lip is under the teeth, where the lips do not meet.
    taught = want["phone"][:, 0] != UNKNOWN  # of films, nobody has said what was spoken
    bite, bitten = want["labiodental"], (want["labiodental"] > 0.95).float()
    decided = (bitten + (bite < 0.05).float()) * (want["closure"] < 0.05) * taught.unsqueeze(1)
    teeth = F.binary_cross_entropy_with_logits(
        (weights[..., arkit.INDEX["mouthRollLower"]] - 0.25) / 0.05, bitten, reduction="none"
    )
    teeth = (teeth * decided).mean()

    rotation = ((out["rotation"][:, delay:].float() - want["rotation"]) / 0.03).abs().mean()
    speech = F.binary_cross_entropy_with_logits(out["speech"][:, delay:].float(), want["speech"])
    phone = heard = style = torch.zeros(())
    if taught.any():
        phone, heard = (
            misheard(out[name][taught, delay:].float().flatten(0, 1),
                     want["phone"][taught].flatten())
            for name in ("phone", "heard_phone")
        )  # fmt: skip
        # What the prior is there to tell: how he moves, of which his shape says a part.
        told = out["style"][taught].float() - want["style"][taught].unsqueeze(1)
        style = told.square().mean()
    parts = {
        "position": position, "velocity": velocity, "jerk": jerk, "vertices": vertices,
        "opening": opening.mean(), "closure": closure, "teeth": teeth, "rotation": rotation,
        "speech": speech, "phone": phone, "heard": heard, "style": style,
    }  # fmt: skip
    share = {"velocity": 1.0, "jerk": 1.0, "vertices": 0.4, "opening": 0.4, "closure": 1.5,
             "teeth": 0.5, "rotation": 0.1, "speech": 0.1, "phone": 0.25, "heard": 0.5,
             "style": 0.5}  # fmt: skip
    loss = sum(share.get(name, 1.0) * part for name, part in parts.items())
    return loss, parts


def train(
    data: Path,
    run: Path,
    minutes: float,
    batch: int = 24,
    rate: float = 1e-3,
    seed: int = 0,
    without: str | None = None,
    start: Path | None = None,
    hearing: float = 0.0,
    acquaintance: float = 0.0,
    further: bool = False,
    videos: Path | None = None,
    keep_hearing: bool = False,
    log_every: int = 50,
) -> Path:
    """Trains until `minutes` have been spent, over all resumptions; returns the checkpoint.

    data: folder of train_*.npz; without: what an ablation lacks, see ABLATIONS; start: a checkpoint
    of which a new run takes all but what handles the prior, so that what is learned of the prior
    can be compared at equal skill in hearing; hearing: minutes of first lessons
    (pretrain_phones.py) where there is no such start; acquaintance: minutes of first lessons about
    people (pretrain_prior.py); further: a new run begins with the installed network, its lessons
    too; videos: folder of `realtalk data videos`, from which a share of the sequences is taken.
    Where there is no other data, what hears phones stays as it is: minutes of one voice would spoil
    it; keep_hearing: it does with other data, too.
    """
    torch.manual_seed(seed)
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "expression.pt"
    untold = KNOWN.index(without) if without in KNOWN else None
    prior = "concatenation" if without == "attention" else "attention"
    saved = torch.load(start, map_location="cpu", weights_only=True) if start else None
    dims = replace(nets.dims_of(saved["dims"]) if saved else nets.Dims(), prior=prior)
    sampler = Sampler(load_sets(data), seed, Films(videos) if videos else None)
    if checkpoint.is_file():
        net, saved = nets.load(checkpoint)
        further = further or saved.get("further", False)
    else:
        net = _beginning(sampler, run, dims, saved, hearing if sampler.speech else 0, further)
        if acquaintance and sampler.speech:
            train_acquaintance(sampler, net, run / "acquaintance.pt", acquaintance, untold)
    net.trunk.requires_grad_(bool(sampler.speech) and not keep_hearing)
    net.trunk.outward.requires_grad_(bool(sampler.speech))
    course = Course(
        net, checkpoint, minutes, rate, warm_up=200 if sampler.speech else 20,
        dims=asdict(net.dims), further=further,
    )  # fmt: skip
    sampler.rng = np.random.default_rng(seed + course.step)
    delay = net.dims.delay
    log = Log("step", course, log_every, run / "log.jsonl")
    for want in course.batches(lambda: sampler.batch(batch, delay)):
        if untold is not None:
            want["known"][:, untold] = 0
        with torch.autocast("cpu", torch.bfloat16):
            tokens = net.tokens(want["identity"], want["reference"], want["known"])
            out = net(want["mel"], net.asked(tokens))
            out["style"] = net.style(tokens)
        loss, parts = loss_of(out, want, delay)
        course.learn(loss)
        log.add(loss=loss, **parts)
    return checkpoint


def _beginning(
    sampler: Sampler, run: Path, dims: nets.Dims, saved: dict | None, hearing: float, further: bool
) -> nets.ExpressionNet:
    """A network before it meets people: see `train`; saved: the checkpoint to start from."""
    net = installed(onnx_session.MODEL_DIR) if further else nets.ExpressionNet(dims)
    if saved:
        trunk = {
            name: value
            for name, value in saved["average"].items()
            if not name.startswith("prior_encoder") and ".cross." not in name
        }
        load_weights(net, trunk, "what --start names", strict=False)
    elif hearing and further:
        teachers = {kind: (500, sampler.sets[kind]) for kind in sampler.speech}
        name_phones(net.trunk, dims.delay, teachers)
        known = deepcopy(net.trunk)
        trunk = train_hearing(sampler, dims, run / "hearing.pt", hearing, rate=1e-3, start=known)
        half_way(trunk, known)
        net.trunk.load_state_dict(trunk.state_dict())
        fit_outward(net.trunk, known, sampler)
    elif hearing:
        trunk = train_hearing(sampler, dims, run / "hearing.pt", hearing)
        net.trunk.load_state_dict(trunk.state_dict())
    return net


def averaged(checkpoint: Path) -> tuple[nets.ExpressionNet, dict]:
    """The mean network of a checkpoint, and all that it holds."""
    net, saved = nets.load(checkpoint)
    net.load_state_dict(saved["average"])
    return net.eval(), saved


def only_taught(name: str) -> bool:
    """Whether a weight is of a head that only training needs: it names phones, or the style."""
    return "phones" in name or name.startswith("style.")


@torch.no_grad()
def half_way(net: torch.nn.Module, known: torch.nn.Module) -> None:
    """Makes `net` the mean of itself and of what it began with: better than either, as it knows
    the old as well (Wortsman et al. 2022). Not its heads that no file keeps."""
    before = dict(known.named_parameters())
    for name, value in net.named_parameters():
        if not only_taught(name):
            value.lerp_(before[name], 0.5)


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

    def forward(self, mel, prior, context, trail, memory):
        return self.net.step(mel, prior, context, trail, memory)


def export(net: nets.ExpressionNet, folder: Path) -> list[Path]:
    """Writes expression_prior.onnx and expression_step.onnx into `folder`."""
    import onnx

    from realtalk_ros.training.common.onnx_fp16 import halve

    folder.mkdir(parents=True, exist_ok=True)
    dims, net = net.dims, net.float().eval()
    depth = dims.width // dims.heads
    prior = torch.zeros(dims.layers, 2, dims.heads, dims.tokens, depth)
    memory = torch.zeros(dims.layers, 2, dims.heads, dims.memory, depth)
    jobs = {
        PRIOR_FILE: (
            _Prior(net),
            (torch.zeros(landmarks.IDENTITY_SIZE), torch.zeros(50, arkit.COUNT), torch.zeros(2)),
            ["identity", "reference", "known"],
            ["prior"],
        ),
        STEP_FILE: (
            _Step(net),
            (
                torch.zeros(MEL_STEP, 80),
                prior,
                torch.zeros(dims.context, 80),
                torch.zeros(dims.trail, dims.trunk),
                memory,
            ),
            ["mel", "prior", "context", "trail", "memory"],
            ["weights", "rotation", "speech", "lips", "next_context", "next_trail", "next_memory"],
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
                "version": EXPRESSION_VERSION,
                "look_ahead": f"{dims.look_ahead:.6f}",
                "delay_steps": str(dims.delay),
            },
        )
        halve(graph)
        onnx.save(graph, str(path))
        paths.append(path)
    onnx_session.write_checksums(folder)
    return paths


def installed(folder: Path) -> nets.ExpressionNet:
    """The network that `export` wrote into `folder`, to train it further. The heads that only
    training needs are not in the files: they are new.

    The graphs do not keep the names of all weights; another network's, whose weights are all
    different, tell by their places what is what. Raises ModelError.
    """
    import onnx
    from onnx import numpy_helper

    net = nets.ExpressionNet()
    for value in net.parameters():
        torch.nn.init.normal_(value)
    names, shapes = {}, {name: value.shape for name, value in net.named_parameters()}
    for name, value in net.named_parameters():
        array = value.detach().numpy()
        for turned, form in [(False, array), (True, array.T)][: array.ndim]:
            for kind in (np.float32, np.float16):  # `halve` leaves small ones as they are
                names[form.astype(kind).tobytes()] = name, turned
    found = {}
    with tempfile.TemporaryDirectory() as other:
        export(net, Path(other))
        for path in sorted(Path(other).glob("*.onnx")):
            if problem := onnx_session.check(folder / path.name):
                raise ModelError(problem)
            ours, theirs = (onnx.load(p).graph.initializer for p in (path, folder / path.name))
            if [tuple(v.dims) for v in ours] != [tuple(v.dims) for v in theirs]:
                raise ModelError(f"{folder / path.name} is of another network than this version's")
            for known, value in zip(ours, theirs, strict=True):
                if place := names.get(numpy_helper.to_array(known).tobytes()):
                    array = torch.from_numpy(numpy_helper.to_array(value).astype(np.float32))
                    name, turned = place
                    found[name] = (array.T if turned else array).reshape(shapes[name])
    fresh = nets.ExpressionNet()
    missing, _ = fresh.load_state_dict(found, strict=False)
    if not all(map(only_taught, missing)):
        raise ModelError(f"{folder} lacks {', '.join(missing)}: it was made by another version")
    return fresh


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=Path("runs/speech"),
                        help="training shards of `realtalk data speech` (%(default)s)")  # fmt: skip
    parser.add_argument("--work", type=Path, default=Path("runs/expression"),
                        help="where checkpoint, log and export are kept (%(default)s)")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=90, help="of training, all resumptions")
    parser.add_argument("--hearing-minutes", type=float, metavar="M", help="before, to learn to "
                        "tell phones (40; none with --installed or --start)")  # fmt: skip
    parser.add_argument("--acquaintance-minutes", type=float, metavar="M", default=ACQUAINTANCE,
                        help="before, to learn to tell how people move (%(default)g)")  # fmt: skip
    parser.add_argument("--batch", type=int, default=24, help="sequences a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", choices=ABLATIONS, help="train an ablation instead")
    parser.add_argument("--keep-hearing", action="store_true", help="after first lessons the "
                        "convolutions learn no more: steps are 1.6 times as fast")  # fmt: skip
    parser.add_argument("--videos", type=Path, metavar="DIR",
                        help="learn from these, too, which `realtalk data videos` made; with "
                        "--installed, no other data is needed")  # fmt: skip
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--start", type=Path, metavar="CHECKPOINT", help="begin with what this one "
                       "has learned of speech, but nothing of the prior")  # fmt: skip
    begin.add_argument("--installed", action="store_true",
                       help="begin with the installed network, train it further, and export the "
                       "mean of both")  # fmt: skip
    parser.add_argument("--out", type=Path, help="export to this folder (default: WORK/export)")


def run(args: argparse.Namespace) -> int:
    """`realtalk train expression`. Raises RealTalkError where there is no data."""
    if not any(args.data.glob("train_*.npz")) and not (args.videos and args.installed):
        raise RealTalkError(
            f"no training data in {args.data}: make it by realtalk data speech, "
            "or train the installed network on --videos"
        )
    if args.installed and args.without:
        raise RealTalkError("the installed network is no ablation: --without goes with --start")
    torch.set_num_threads(args.threads)
    hearing = args.hearing_minutes
    if hearing is None:
        hearing = 0 if args.installed or args.start else 40
    if args.keep_hearing and not (hearing or args.installed or args.start):
        raise RealTalkError("nothing has taught the convolutions that --keep-hearing would keep: "
                            "give --hearing-minutes, --installed or --start")  # fmt: skip
    checkpoint = train(
        args.data, args.work, args.minutes, args.batch, args.rate, args.seed, args.without,
        args.start, hearing, args.acquaintance_minutes, args.installed, args.videos,
        args.keep_hearing,
    )  # fmt: skip
    if args.without:  # measured by `realtalk evaluate expression --ablations`
        return 0
    net, saved = averaged(checkpoint)
    if saved.get("further"):  # however it was resumed
        half_way(net, installed(onnx_session.MODEL_DIR))
    for path in export(net, args.out or args.work / "export"):
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
