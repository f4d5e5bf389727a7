"""`realtalk evaluate expression`: the shipped network on speech it never heard.

The reference is the teacher moving an average face from known (synthetic) or aligned (real) phone
times, so on real speech the reference itself errs by a frame or so. The network runs as it is
shipped: ONNX, streamed, without a prior unless said.
"""

from __future__ import annotations

import argparse
import glob
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.onnx_model import SILENCE, ExpressionModel
from realtalk_ros.face_model import arkit
from realtalk_ros.training.expression import coarticulation
from realtalk_ros.training.expression.video_dataset import Films
from realtalk_ros.training.speech_data import build
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.alignment import Aligner, align_clip
from realtalk_ros.training.speech_data.corpora import read_clip
from realtalk_ros.training.speech_data.dataset import SpeechSet
from realtalk_ros.training.speech_data.tts_engines import espeak

if TYPE_CHECKING:
    from realtalk_ros.training.expression.model import ExpressionNet

CLOSED = 0.1  # cm between the lips that still looks closed
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
ROUNDED = -0.3  # cm by which a rounded mouth is narrower than at rest
_ROLL = arkit.INDEX["mouthRollLower"]


def predict(
    model: ExpressionModel, mel: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(m, 80) -> weights (m // 2, 52), lips (m // 2, 20, 3)."""
    stream = model.stream(prior)
    whole = mel[: len(mel) // MEL_STEP * MEL_STEP].astype(np.float32)
    parts = stream.push(whole), stream.flush()
    return tuple(np.concatenate([getattr(p, name) for p in parts]) for name in ("weights", "lips"))


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def lag_ms(reference: np.ndarray, predicted: np.ndarray, most: int = 10) -> float:
    """Milliseconds by which `predicted` (50 Hz) comes after `reference`: the best correlation's."""
    scores = []
    for shift in range(-most, most + 1):
        a = reference[most : len(reference) - most]
        b = predicted[most + shift : len(predicted) - most + shift]
        scores.append(_correlation(a, b))
    i = int(np.argmax(scores))
    fine = 0.0
    if 0 < i < 2 * most:  # vertex of the parabola through the three best
        left, middle, right = scores[i - 1 : i + 2]
        fine = 0.5 * (left - right) / (left - 2 * middle + right)
    return (i + fine - most) * 1000 / EXPRESSION_RATE


def lips(weights: np.ndarray) -> np.ndarray:
    """(n, 52) -> (n, 20, 3) cm: lip landmarks from where they rest."""
    return np.tensordot(weights, coarticulation.LIPS, 1)


def lip_error(wanted: np.ndarray, got: np.ndarray) -> float:
    """Mean distance in cm of the lip landmarks of two (n, 20, 3)."""
    return float(np.linalg.norm(wanted - got, axis=-1).mean())


@dataclass
class Events:
    """Counts what should have been seen and was, and what was seen and should have been."""

    wanted: int
    found: int
    seen: int
    right: int

    @classmethod
    def count(cls, wanted: np.ndarray, seen: np.ndarray, judged: np.ndarray) -> Events:
        """(n,) bool each. An event may come a frame early or late; what is seen counts as right if
        most of it is within two frames of an event, and is judged only where `judged`."""
        events, near, found = _runs(wanted), np.zeros(len(wanted), bool), 0
        for a, b in events:
            found += bool(seen[max(0, a - 1) : b + 1].any())
            near[max(0, a - 2) : b + 2] = True
        shown = _runs(seen & judged)
        right = sum(bool(near[a:b].mean() > 0.5) for a, b in shown)
        return cls(len(events), found, len(shown), right)

    @classmethod
    def sum(cls, parts: Iterable[Events]) -> Events:
        return cls(*(sum(counts) for counts in zip(*map(astuple, parts), strict=True)))

    def report(self, name: str) -> dict:
        return {
            f"{name}_recall": round(self.found / max(self.wanted, 1), 3),
            f"{name}_precision": round(self.right / max(self.seen, 1), 3),
            f"{name}_count": self.wanted,
        }


@dataclass
class Observed:
    """One utterance of `frames` steps: (2, frames) are the reference's and the network's."""

    source: str
    frames: int
    opening: np.ndarray
    width: np.ndarray
    lip_errors: tuple[float, float]  # cm: of the weights, of the landmark head
    closure: Events
    labiodental: Events
    rounding: Events
    pauses: np.ndarray  # cm that the network's lips are from rest, where they have come to it


def observe(model: ExpressionModel, data: SpeechSet, prior: np.ndarray) -> list[Observed]:
    """What the network does of every utterance, and an average face as the reference."""
    return [_observe(model, prior, *utterance) for utterance in data]


def _observe(model: ExpressionModel, prior: np.ndarray, mel, segments, source) -> Observed:
    got, head = predict(model, mel, prior)
    motion = coarticulation.animate(
        segments, len(got), coarticulation.average_style(), coarticulation.accents(mel)
    )
    want = motion.weights
    t = np.arange(len(got)) / EXPRESSION_RATE
    speaking = coarticulation.activity(t, segments) > 0.98
    opening, width = (
        np.stack([f(want), f(got)]) for f in (coarticulation.opening, coarticulation.width)
    )
    gap = opening[1]
    # The lower lip turned in under the teeth, the mouth not shut: only f and v look so.
    teeth = (got[:, _ROLL] > 0.2) & (gap >= CLOSED) & (gap < 0.5)
    rested = np.zeros(len(got), bool)  # pauses, once the face has come to rest
    for phone, start, end in segments:
        if phone == ph.SIL:
            rested |= (t >= start + 0.25) & (t < end - 0.15)
    return Observed(
        source=str(source),
        frames=len(got),
        opening=opening,
        width=width,
        lip_errors=(lip_error(lips(want), lips(got)), lip_error(lips(want), head)),
        closure=Events.count(motion.closure > 0.95, gap < CLOSED, speaking),
        labiodental=Events.count(
            (motion.labiodental > 0.95) & (motion.closure < 0.05), teeth, speaking
        ),
        rounding=Events.count(width[0] < ROUNDED, width[1] < ROUNDED, speaking),
        pauses=np.abs(gap[rested] - coarticulation.REST_GAP),
    )


def _minutes(seen: Sequence[Observed]) -> float:
    return sum(one.frames for one in seen) / (60 * EXPRESSION_RATE)


def summary(seen: Sequence[Observed]) -> dict:
    """Metrics over the utterances `seen`, at least one."""
    opening = np.concatenate([one.opening for one in seen], 1)
    width = np.concatenate([one.width for one in seen], 1)
    pauses = np.concatenate([one.pauses for one in seen])
    span = float(np.percentile(opening[0], 95) - coarticulation.REST_GAP)
    error, head_error = np.average(
        [one.lip_errors for one in seen], axis=0, weights=[one.frames for one in seen]
    )
    wanted_jitter, jitter = np.mean(
        [np.abs(np.diff(one.opening, 2)).mean(1) for one in seen], axis=0
    )
    return {
        "minutes": round(_minutes(seen), 1),
        "lip_error_cm": round(float(error), 4),
        "lip_head_error_cm": round(float(head_error), 4),
        "opening_correlation": round(_correlation(*opening), 3),
        "opening_lag_ms": round(lag_ms(*opening), 1),
        "opening_range_ratio": round(float(opening[1].std() / opening[0].std()), 2),
        "width_correlation": round(_correlation(*width), 3),
        "width_lag_ms": round(lag_ms(*width), 1),
        **Events.sum(one.closure for one in seen).report("closure"),
        **Events.sum(one.labiodental for one in seen).report("labiodental"),
        **Events.sum(one.rounding for one in seen).report("rounding"),
        "pause_movement": round(float(pauses.mean() / span) if len(pauses) else 0.0, 4),
        "jitter_ratio": round(float(jitter / wanted_jitter), 2),
    }


def measure_films(model: ExpressionModel, folder: Path) -> dict:
    """How near the network comes to what people in videos did, on the end of each video, which is
    not learned from. By what it is told: nothing, or his shape and two seconds of his own. Raises
    RealTalkError where there are no films, or none is long enough."""
    report, null = {}, model.prior()
    for film in Films(folder).films:
        part = film.held_out()
        mel, want = film.mel[part.start * MEL_STEP : part.stop * MEL_STEP], film.weights[part]
        if len(want) < EXPRESSION_RATE:
            continue
        own = model.prior(film.identity, film.window(0))
        report[film.name] = {"seconds": round(len(want) / EXPRESSION_RATE, 1)}
        for told, prior in (("nothing", null), ("his own", own)):
            got = predict(model, mel, prior)[0]
            opening = coarticulation.opening(want), coarticulation.opening(got)
            report[film.name][told] = {
                "lip_error_cm": round(lip_error(lips(want), lips(got)), 4),
                "opening_correlation": round(_correlation(*opening), 3),
                "opening_lag_ms": round(lag_ms(*opening), 1),
            }
    if not report:
        raise RealTalkError(f"no film in {folder} has a second at its end that is one stretch")
    return report


def measure_stillness(model: ExpressionModel, data: SpeechSet, prior) -> dict:
    """How far the lips move when nobody speaks, as a share of the range they have in speech."""
    speech_range = 1.2  # cm: 95th percentile of the average face's opening in speech
    gaps = np.concatenate([coarticulation.opening(predict(model, m, prior)[0]) for m, _, _ in data])
    moved = np.abs(gaps - coarticulation.REST_GAP) / speech_range
    return {
        "minutes": round(len(data.mel) / 6000, 1),
        "movement_mean": round(float(moved.mean()), 4),
        "movement_p95": round(float(np.percentile(moved, 95)), 4),
        "movement_most": round(float(moved.max()), 4),
    }


TOLD = {"nothing": (0, 0), "identity": (1, 0), "reference": (0, 1), "both": (1, 1)}


def strangers(data: SpeechSet, people: int, seed: int = 7):
    """Yields (mel, wanted weights, identity, reference window): people whose style is new.

    The reference is from another utterance than the one to be moved.
    """
    rng, n = np.random.default_rng(seed), len(data)
    for i in range(people):
        identity, style = coarticulation.random_person(rng)
        another = (i + 1 + i // n % max(n - 1, 1)) % n
        (mel, segments, _), (other_mel, other, _) = data[i % n], data[another]
        want = coarticulation.animate(
            segments, len(mel) // MEL_STEP, style, coarticulation.accents(mel)
        )
        other = coarticulation.animate(
            other, len(other_mel) // MEL_STEP, style, coarticulation.accents(other_mel)
        )
        start = int(rng.integers(0, max(1, len(other.weights) - 100)))
        yield mel, want.weights, identity, coarticulation.reference_window(other.weights, start)


def measure_prior(model: ExpressionModel, data: SpeechSet, people: int = 24) -> dict:
    """Lip landmark error in cm on people never seen, by what the network is told of them."""
    errors: dict[str, list[float]] = {kind: [] for kind in TOLD}
    for mel, want, identity, reference in strangers(data, people):
        wanted = lips(want)
        for kind, (use_identity, use_reference) in TOLD.items():
            prior = model.prior(
                identity if use_identity else None, reference if use_reference else None
            )
            errors[kind].append(lip_error(wanted, lips(predict(model, mel, prior)[0])))
    mean = {kind: float(np.mean(e)) for kind, e in errors.items()}
    return {
        **{kind: round(e, 4) for kind, e in mean.items()},
        "reference_gain": round(1 - mean["reference"] / mean["nothing"], 3),
        "gain": round(1 - mean["both"] / mean["nothing"], 3),
    }


def load_ablations(folder: Path) -> dict[str, tuple[ExpressionNet, dict]]:
    """The networks of folder/<name>/expression.pt, for full and those of train.ABLATIONS that are
    there, and all that each file holds. Raises RealTalkError where there is nothing to compare."""
    from realtalk_ros.training.expression import train

    paths = {name: folder / name / "expression.pt" for name in ("full", *train.ABLATIONS)}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if "full" in missing or len(missing) == len(train.ABLATIONS):
        name = missing[0]
        raise RealTalkError(
            f"no {paths[name]}: realtalk train expression --work {paths[name].parent}"
            + (f" --without {name}" if name != "full" else "")
        )
    return {name: train.averaged(path) for name, path in paths.items() if name not in missing}


def measure_ablations(
    nets: dict[str, tuple[ExpressionNet, dict]], data: SpeechSet, people: int = 96
) -> dict:
    """The same error for networks of equal training budget, each told all that it can take.

    nets: of `load_ablations`. Of an ablation it is told, too, how much farther off than the full
    one it is (the mean over people, in percent) and the standard error of that. Raises
    RealTalkError where there is nobody to compare.
    """
    import torch

    from realtalk_ros.training.expression import train

    if people < 1:
        raise RealTalkError(f"--people is {people}: at least 1 must be compared")
    torch.set_num_threads(1)  # for one person at a time; more would wait for each other
    known = {name: torch.tensor([[float(k != name) for k in train.KNOWN]]) for name in nets}
    found: dict[str, list[float]] = {name: [] for name in nets}
    for mel, want, identity, reference in strangers(data, people):
        wanted, heard = lips(want), mel[: len(want) * MEL_STEP].astype(np.float32)
        told = torch.from_numpy(identity)[None], torch.from_numpy(reference)[None]
        for name, (net, _) in nets.items():
            delay = net.dims.delay
            padded = np.pad(heard, ((0, delay * MEL_STEP), (0, 0)), constant_values=SILENCE)
            with torch.inference_mode():
                prior = net.prior(*told, known[name])
                got = net(torch.from_numpy(padded)[None], prior)["weights"][0, delay:]
            found[name].append(lip_error(wanted, lips(got.numpy())))
    errors = {name: np.array(each) for name, each in found.items()}
    report = {}
    for name, (_, saved) in nets.items():
        report[name] = {
            "lip_error_cm": round(float(errors[name].mean()), 4),
            "steps": saved["step"],
            "minutes": round(saved["spent"] / 60, 1),
        }
        if name != "full":
            farther = 100 * (errors[name] / errors["full"] - 1)
            report[name] |= {
                "farther_off_percent": round(float(farther.mean()), 1),
                "standard_error_percent": round(float(farther.std() / np.sqrt(people)), 1),
            }
    return report


def step_ms(model: ExpressionModel, steps: int = 300) -> float:
    """Median milliseconds of one 20 ms step."""
    stream = model.stream(model.prior())
    mel = np.random.default_rng(0).standard_normal((MEL_STEP, 80)).astype(np.float32)
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        stream.push(mel)
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1e3, 2)


def test_sets(folder: Path) -> dict[str, SpeechSet]:
    """The held-out sets made by `realtalk data speech`. Raises RealTalkError without any."""
    paths = sorted(folder.glob("test_*.npz"))
    if not paths:
        raise RealTalkError(f"no test sets in {folder}: make them by realtalk data speech")
    return {p.stem.removeprefix("test_").replace("_", " "): SpeechSet.load(p) for p in paths}


def recordings(folder: Path, voice: str) -> SpeechSet:
    """A user's own recordings, each with what is said in a .txt beside it, aligned by pocketsphinx.

    voice: espeak-ng's name of the language. What cannot be aligned with confidence is left out.
    Raises RealTalkError where nothing is left.
    """
    aligner, kept, seen = Aligner(espeak()), [], 0
    for text in sorted(folder.rglob("*.txt")):
        path = next((p for p in sorted(text.parent.glob(f"{glob.escape(text.stem)}.*"))
                     if p != text and p.suffix.lower() in AUDIO_SUFFIXES), None)  # fmt: skip
        if path is None:
            continue
        seen += 1
        words = text.read_text("utf-8", "replace")
        if speech := align_clip(aligner, read_clip(path), words, voice, path.stem):
            kept.append(speech)
    if not kept:
        raise RealTalkError(
            f"none of {seen} recordings in {folder} could be aligned: it takes audio files "
            f"({', '.join(AUDIO_SUFFIXES)}), each with its exact words in a .txt of the same name"
        )
    print(f"{folder}: {len(kept)} of {seen} recordings aligned", file=sys.stderr)
    return SpeechSet.of(kept)


def by_source(seen: dict[str, list[Observed]]) -> dict:
    """What every source of at least a minute makes of a set of several."""
    report = {}
    for name, observed in seen.items():
        parts: dict[str, list[Observed]] = {}
        for one in sorted(observed, key=lambda one: one.source):
            parts.setdefault(one.source, []).append(one)
        if len(parts) > 1:
            report[name] = {source: summary(part) for source, part in parts.items()
                            if _minutes(part) >= 1}  # fmt: skip
    return report


def real_strangers(seen: dict[str, list[Observed]]) -> dict:
    """All clean recordings of people never heard, if there are several sets of them: each is of
    few people, and a hundred closures are worth some 0.03 either way."""
    real = [observed for name, observed in seen.items() if name.startswith("unseen real ")]
    return {"all real, clean": summary(sum(real, []))} if len(real) > 1 else {}


def evaluate(model: ExpressionModel, sets: dict[str, SpeechSet]) -> dict:
    null = model.prior()
    seen = {name: observe(model, data, null) for name, data in sets.items() if len(data)}
    report: dict = {name: summary(observed) for name, observed in seen.items()}
    report |= real_strangers(seen)
    report["sources"] = by_source(seen)
    still = SpeechSet.of(build.stillness(120, 93))
    report["silence and noise"] = measure_stillness(model, still, null)
    report["prior"] = {name: measure_prior(model, data) for name, data in sets.items() if len(data)}
    report["step_ms"] = step_ms(model)
    return report


def plot(model: ExpressionModel, sets: dict[str, SpeechSet], folder: Path) -> None:
    """One picture an utterance: spectrogram and phones, opening, weights; reference and network."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    null = model.prior()
    for name, data in sets.items():
        for i in range(min(5, len(data))):
            mel, segments, _ = data[i]
            got, _ = predict(model, mel, null)
            want = coarticulation.animate(
                segments, len(got), coarticulation.average_style(), coarticulation.accents(mel)
            ).weights
            t = np.arange(len(got)) / EXPRESSION_RATE
            figure, axes = plt.subplots(4, 1, figsize=(18, 11), sharex=True)
            axes[0].imshow(
                mel.T.astype(np.float32), origin="lower", aspect="auto",
                extent=(0, len(mel) / 100, 0, 80),
            )  # fmt: skip
            for phone, start, _ in segments:
                for axis in axes[1:]:
                    axis.axvline(start, color="0.8", lw=0.5)
                if phone != ph.SIL:
                    axes[0].text(start, 82, phone, fontsize=8)
            curves = (
                ("opening, cm", coarticulation.opening(want), coarticulation.opening(got)),
                ("wider, cm", coarticulation.width(want), coarticulation.width(got)),
            )
            for axis, (label, a, b) in zip(axes[1:], curves, strict=False):
                axis.plot(t, a, "0.5", label="reference")
                axis.plot(t, b, "r", label="network")
                axis.set_ylabel(label)
                axis.legend(loc="upper right")
            for weight in ("jawOpen", "mouthClose", "mouthPucker", "mouthFunnel",
                           "mouthRollLower", "mouthStretchLeft", "browInnerUp"):  # fmt: skip
                axes[3].plot(t, got[:, arkit.INDEX[weight]], label=weight)
            axes[3].legend(loc="upper right", ncols=4, fontsize=8)
            figure.suptitle(f"{name}, {i}")
            figure.tight_layout()
            figure.savefig(folder / f"{name.replace(' ', '_')}_{i}.png", dpi=60)
            plt.close(figure)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=Path("runs/speech"),
                        help="test sets of `realtalk data speech` (%(default)s)")  # fmt: skip
    parser.add_argument("--models", type=Path, help="folder of the ONNX files (default: shipped)")
    parser.add_argument(
        "--recordings",
        type=Path,
        metavar="DIR",
        help="measure on these instead: "
        "audio files, each with its words in a .txt of the same name",
    )
    parser.add_argument(
        "--voice", default="en-us", help="espeak-ng's voice of their language (%(default)s)"
    )
    parser.add_argument("--videos", type=Path, metavar="DIR", help="measure on the end of each "
                        "of these instead, which `realtalk data videos` made")  # fmt: skip
    parser.add_argument("--ablations", type=Path, metavar="DIR",
                        help="compare DIR/full/expression.pt with those of "
                        "DIR/{identity,reference,attention} that are there, "
                        "trained by --without and equal --minutes")  # fmt: skip
    parser.add_argument("--people", type=int, default=96,
                        help="strangers a set for --ablations (%(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--plots", type=Path, help="draw reference and prediction into this folder")


def run(args: argparse.Namespace) -> int:
    """`realtalk evaluate expression`. Raises RealTalkError without test sets or checkpoints."""
    if args.videos:
        report = measure_films(ExpressionModel(args.models), args.videos)
        print(json.dumps(report, indent=1)) if args.json else show(report)
        return 0
    if args.recordings:
        sets = {args.recordings.name: recordings(args.recordings, args.voice)}
    else:
        sets = test_sets(args.data)
    if args.ablations:
        nets = load_ablations(args.ablations)
        report = {name: measure_ablations(nets, data, args.people) for name, data in sets.items()}
    else:
        model = ExpressionModel(args.models)
        report = evaluate(model, sets)
        if args.plots:
            plot(model, sets, args.plots)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    return 0


def show(report: dict, indent: str = "") -> None:
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name:24} {value}")
