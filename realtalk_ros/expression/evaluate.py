"""`realtalk evaluate expression`: the shipped network on speech it never heard.

The reference is the teacher moving an average face from known (synthetic) or aligned (real) phone
times, so on real speech the reference itself errs by a frame or so. The network runs as it is
shipped: ONNX, streamed, without a prior unless said.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from realtalk_ros import arkit
from realtalk_ros.expression import phones as ph
from realtalk_ros.expression import speech_data, teacher
from realtalk_ros.expression.augment import noise
from realtalk_ros.expression.corpora import librivox_clips
from realtalk_ros.expression.speech_set import RATE, Speech, SpeechSet
from realtalk_ros.expression.stream import STEP, ExpressionModel

CLOSED = 0.1  # cm between the lips that still looks closed
_MOUTH = list(arkit.MOUTH)


def predict(model: ExpressionModel, mel: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(m, 80) -> weights (m // 2, 52)."""
    stream = model.stream(prior)
    mel = mel[: len(mel) // STEP * STEP].astype(np.float32)
    return np.concatenate([stream.push(mel).weights, stream.flush().weights])


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
    return (i + fine - most) * 1000 / teacher.RATE


def closures(segments, wanted: np.ndarray, opening: np.ndarray, active: np.ndarray):
    """(closures, found, shut runs while speaking, of them right)."""
    events = _runs(wanted > 0.95)
    found = sum(opening[max(0, a - 1) : b + 1].min() < CLOSED for a, b in events)
    near = np.zeros(len(wanted), bool)
    for a, b in events:
        near[max(0, a - 2) : b + 2] = True
    shut = _runs((opening < CLOSED) & (active > 0.98))
    return len(events), found, len(shut), sum(near[a:b].any() for a, b in shut)


def measure(model: ExpressionModel, data: SpeechSet, prior: np.ndarray) -> dict:
    """Metrics over one test set with an average face as the reference."""
    style = teacher.Style()
    openings, widths, errors, jitter, counts = [], [], [], [], np.zeros(4)
    for mel, segments, _ in data:
        predicted = predict(model, mel, prior)
        motion = teacher.animate(segments, len(predicted), style, teacher.accents(mel))
        active = teacher.activity(np.arange(len(predicted)) / teacher.RATE, segments)
        gaps = teacher.opening(motion.weights), teacher.opening(predicted)
        openings.append(gaps)
        widths.append((teacher.width(motion.weights), teacher.width(predicted)))
        errors.append(np.abs(motion.weights - predicted)[:, _MOUTH].mean())
        jitter.append([np.abs(np.diff(g, 2)).mean() for g in gaps])
        counts += closures(segments, motion.closure, gaps[1], active)
    opening = np.concatenate([np.stack(o) for o in openings], 1)
    width = np.concatenate([np.stack(w) for w in widths], 1)
    wanted, found, shut, right = counts
    ref_jitter, jitter = np.mean(jitter, 0)
    return {
        "minutes": round(len(data.mel) / 6000, 1),
        "opening_correlation": round(_correlation(*opening), 3),
        "opening_lag_ms": round(lag_ms(*opening), 1),
        "opening_range_ratio": round(float(opening[1].std() / opening[0].std()), 2),
        "width_correlation": round(_correlation(*width), 3),
        "closure_recall": round(found / max(wanted, 1), 3),
        "closure_precision": round(right / max(shut, 1), 3),
        "closures": int(wanted),
        "mouth_weight_error": round(float(np.mean(errors)), 4),
        "jitter_ratio": round(float(jitter / ref_jitter), 2),
    }


def measure_stillness(model: ExpressionModel, data: SpeechSet, prior) -> dict:
    """How far the lips move when nobody speaks, as a share of the range they have in speech."""
    speech_range = 1.0  # cm: 95th percentile of the average face's opening in speech
    gaps = np.concatenate([teacher.opening(predict(model, mel, prior)) for mel, _, _ in data])
    moved = np.abs(gaps - teacher.REST_GAP) / speech_range
    return {
        "minutes": round(len(data.mel) / 6000, 1),
        "movement_mean": round(float(moved.mean()), 4),
        "movement_p95": round(float(np.percentile(moved, 95)), 4),
    }


def measure_prior(model: ExpressionModel, data: SpeechSet, people: int = 24) -> dict:
    """Error on people never seen, by what the network is told of them."""
    rng = np.random.default_rng(7)
    kinds = {"nothing": (0, 0), "identity": (1, 0), "reference": (0, 1), "both": (1, 1)}
    errors = {kind: [] for kind in kinds}
    lips = {kind: [] for kind in kinds}
    for i in range(people):
        identity, style = teacher.random_person(rng)
        mel, segments, _ = data[i % len(data)]
        want = teacher.animate(segments, len(mel) // STEP, style, teacher.accents(mel))
        other_mel, other, _ = data[(i + 1 + people) % len(data)]
        other = teacher.animate(other, len(other_mel) // STEP, style, teacher.accents(other_mel))
        reference = teacher.reference_window(other)
        for kind, (use_identity, use_reference) in kinds.items():
            prior = model.prior(
                identity if use_identity else None, reference if use_reference else None
            )
            got = predict(model, mel, prior)
            errors[kind].append(np.abs(want.weights - got)[:, _MOUTH].mean())
            gap = teacher.opening(want.weights) - teacher.opening(got)
            wide = teacher.width(want.weights) - teacher.width(got)
            lips[kind].append(np.sqrt((gap**2 + wide**2).mean()))
    return {
        kind: {
            "mouth_weight_error": round(float(np.mean(errors[kind])), 4),
            "lip_error_cm": round(float(np.mean(lips[kind])), 4),
        }
        for kind in kinds
    }


def with_noise(data: SpeechSet, snr_db: float, packages: Path) -> SpeechSet:
    """The LibriVox clips again, in noise."""
    from realtalk_ros.speech import read_audio

    rng, items = np.random.default_rng(17), []
    for i, (_, path) in enumerate(librivox_clips(packages)):
        if i >= len(data):
            break
        pcm, rate = read_audio(path)
        if rate != RATE:
            continue
        power = np.sqrt((pcm**2).mean())
        pcm = pcm + noise(len(pcm), rng) * power * 10 ** (-snr_db / 20)
        items.append(Speech(pcm.astype(np.float32), data[i][1], "noisy"))
    return SpeechSet.of(items)


def step_ms(model: ExpressionModel, steps: int = 300) -> float:
    """Median milliseconds of one 20 ms step."""
    stream = model.stream(model.prior())
    mel = np.random.default_rng(0).standard_normal((STEP, 80)).astype(np.float32)
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        stream.push(mel)
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1e3, 2)


def test_sets(packages: Path, cache: Path) -> dict[str, SpeechSet]:
    """The held-out sets, made once and kept in `cache`."""
    names = ("unseen synthetic voice", "unseen language", "unseen real speaker")
    paths = {name: cache / f"test_{name.replace(' ', '_')}.npz" for name in names}
    if not all(path.is_file() for path in paths.values()):
        for name, data in speech_data.held_out(packages).items():
            data.save(paths[name])
    return {name: SpeechSet.load(path) for name, path in paths.items()}


def evaluate(model: ExpressionModel, packages: Path, cache: Path) -> dict:
    null = model.prior()
    sets = test_sets(packages, cache)
    report: dict = {name: measure(model, data, null) for name, data in sets.items() if len(data)}
    if len(sets["unseen real speaker"]):
        noisy = with_noise(sets["unseen real speaker"], 10, packages)
        report["unseen real speaker, noise 10 dB"] = measure(model, noisy, null)
    still = SpeechSet.of(speech_data.stillness(120, 93))
    report["silence and noise"] = measure_stillness(model, still, null)
    report["prior"] = measure_prior(model, sets["unseen synthetic voice"])
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
            got = predict(model, mel, null)
            want = teacher.animate(
                segments, len(got), teacher.Style(), teacher.accents(mel)
            ).weights
            t = np.arange(len(got)) / teacher.RATE
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
                ("opening, cm", teacher.opening(want), teacher.opening(got)),
                ("wider, cm", teacher.width(want), teacher.width(got)),
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
    parser.add_argument(
        "--packages",
        type=Path,
        default=Path("runs/packages"),
        help="folder with the unpacked Debian packages (see the model card)",
    )
    parser.add_argument("--work", type=Path, default=Path("runs/expression"),
                        help="where the test sets are cached")  # fmt: skip
    parser.add_argument("--models", type=Path, help="folder of the ONNX files (default: shipped)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--plots", type=Path, help="draw reference and prediction into this folder")


def run(args: argparse.Namespace) -> int:
    model = ExpressionModel(args.models)
    report = evaluate(model, args.packages, args.work)
    if args.plots:
        plot(model, test_sets(args.packages, args.work), args.plots)
    if args.json:
        print(json.dumps(report, indent=1))
        return 0
    for name, values in report.items():
        if not isinstance(values, dict):
            print(f"{name}: {values}")
            continue
        print(name)
        for key, value in values.items():
            print(f"    {key:22} {value}")
    return 0
