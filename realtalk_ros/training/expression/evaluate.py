# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate expression`: the shipped network on held-out speech.

The reference is the coarticulation model moving a mean face from known (synthetic) or aligned
(real) phone times, so on real speech the reference itself errs by a frame or so. The network runs
as it is shipped: ONNX, streamed, without a prior unless the report says otherwise.
"""

from __future__ import annotations

import argparse
import glob
import json
import sys
import time
from pathlib import Path

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE, LOOK_AHEAD, MEL_RATE, MEL_STEP, N_MELS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model.lips import REST_GAP, gap_of
from realtalk_ros.training.expression import metrics
from realtalk_ros.training.expression.metrics import lip_error, lip_landmarks, predict
from realtalk_ros.training.expression.unseen_people import unseen_people
from realtalk_ros.training.expression.video_dataset import VideoDataset
from realtalk_ros.training.speech_data import music, synthetic_speech
from realtalk_ros.training.speech_data.alignment import align_recording
from realtalk_ros.training.speech_data.corpora import AUDIO_SUFFIXES, read_recording
from realtalk_ros.training.speech_data.dataset import SpeechDataset
from realtalk_ros.training.speech_data.pocketsphinx_aligner import PocketsphinxAligner
from realtalk_ros.training.speech_data.tts_engines import espeak

SPEECH_RANGE = 1.2  # cm: 95th percentile of the mean face's lip opening in speech
PEOPLE = 24  # unseen ones of each set
# Which of identity and reference are given.
CONDITIONS = {"nothing": (0, 0), "identity": (1, 0), "reference": (0, 1), "both": (1, 1)}


def measure_videos(model: ExpressionModel, folder: Path) -> dict:
    """How near the network comes to the people in videos, on the held-out end of each video.

    With nothing known of the person, and with their own identity and two seconds of expressions.
    Raises RealTalkError where there are no videos, or none is long enough.
    """
    report, unknown = {}, model.prior()
    for video in VideoDataset(folder).videos:
        part = video.held_out()
        mel, weights = video.mel[part.start * MEL_STEP : part.stop * MEL_STEP], video.weights[part]
        if len(weights) < EXPRESSION_RATE:
            continue
        own = model.prior(video.identity, video.reference_window(0))
        report[video.name] = {"seconds": round(len(weights) / EXPRESSION_RATE, 1)}
        for condition, prior in (("nothing", unknown), ("his own", own)):
            predicted = predict(model, mel, prior)[0]
            opening = gap_of(weights), gap_of(predicted)
            error = lip_error(lip_landmarks(weights), lip_landmarks(predicted))
            report[video.name][condition] = {
                "lip_error_cm": round(error, 4),
                "opening_correlation": round(metrics.correlation(*opening), 3),
                "opening_lag_ms": round(metrics.lag_ms(*opening), 1),
            }
    if not report:
        raise RealTalkError(f"no video in {folder} has a second at its end that is one stretch")
    return report


def measure_stillness(model: ExpressionModel, data: SpeechDataset, prior: np.ndarray) -> dict:
    """How far the lips move when nobody speaks, as a share of their range in speech."""
    gaps = [gap_of(predict(model, mel, prior)[0]) for mel, _, _ in data]
    moved = np.abs(np.concatenate(gaps) - REST_GAP) / SPEECH_RANGE
    return {
        "minutes": round(len(data.mel) / (60 * MEL_RATE), 1),
        "movement_mean": round(float(moved.mean()), 4),
        "movement_p95": round(float(np.percentile(moved, 95)), 4),
        "movement_most": round(float(moved.max()), 4),
    }


def measure_prior(model: ExpressionModel, data: SpeechDataset) -> dict:
    """Lip landmark error in cm on unseen people, by what the network knows of them."""
    errors: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    for person in unseen_people(data, PEOPLE):
        lips = lip_landmarks(person.weights)
        for name, (use_identity, use_reference) in CONDITIONS.items():
            prior = model.prior(
                person.identity if use_identity else None,
                person.reference if use_reference else None,
            )
            predicted = predict(model, person.mel, prior)[0]
            errors[name].append(lip_error(lips, lip_landmarks(predicted)))
    mean = {name: float(np.mean(e)) for name, e in errors.items()}
    return {
        **{name: round(e, 4) for name, e in mean.items()},
        "reference_gain": round(1 - mean["reference"] / mean["nothing"], 3),
        "gain": round(1 - mean["both"] / mean["nothing"], 3),
    }


def step_ms(model: ExpressionModel) -> float:
    """Median milliseconds of one 20 ms step."""
    stream = model.stream(model.prior())
    mel = np.random.default_rng(0).standard_normal((MEL_STEP, N_MELS)).astype(np.float32)
    times = []
    for _ in range(300):
        began = time.perf_counter()
        stream.push(mel)
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1e3, 2)


def test_sets(folder: Path) -> dict[str, SpeechDataset]:
    """The held-out sets made by `realtalk data speech`. Raises RealTalkError without any."""
    paths = sorted(folder.glob("test_*.npz"))
    if not paths:
        raise RealTalkError(f"no test sets in {folder}: make them by realtalk data speech")
    return {p.stem.removeprefix("test_").replace("_", " "): SpeechDataset.load(p) for p in paths}


def load_recordings(folder: Path, voice: str) -> SpeechDataset:
    """A user's own recordings, each with its words in a .txt beside it, aligned by pocketsphinx.

    voice: espeak-ng's name of the language. What cannot be aligned with confidence is left out.
    Raises RealTalkError where nothing is left.
    """
    aligner, kept, count = PocketsphinxAligner(espeak()), [], 0
    for text in sorted(folder.rglob("*.txt")):
        path = next((p for p in sorted(text.parent.glob(f"{glob.escape(text.stem)}.*"))
                     if p != text and p.suffix.lower() in AUDIO_SUFFIXES), None)  # fmt: skip
        if path is None:
            continue
        count += 1
        words = text.read_text("utf-8", "replace")
        if speech := align_recording(aligner, read_recording(path), words, voice, path.stem):
            kept.append(speech)
    if not kept:
        raise RealTalkError(
            f"none of {count} recordings in {folder} could be aligned: it takes audio files "
            f"({', '.join(AUDIO_SUFFIXES)}), each with its exact words in a .txt of the same name"
        )
    print(f"{folder}: {len(kept)} of {count} recordings aligned", file=sys.stderr)
    return SpeechDataset.of(kept)


def evaluate(model: ExpressionModel, sets: dict[str, SpeechDataset]) -> dict:
    """The whole report on the test sets."""
    unknown = model.prior()
    sets = {name: data for name, data in sets.items() if len(data)}
    results = {
        name: metrics.evaluate_utterances(model, data, unknown) for name, data in sets.items()
    }
    report: dict = {name: metrics.summary(of_set) for name, of_set in results.items()}
    report |= metrics.real_strangers(results)
    report["sources"] = metrics.by_source(results)
    still = SpeechDataset.of(synthetic_speech.stillness(120, 93))
    report["silence and noise"] = measure_stillness(model, still, unknown)
    tones = SpeechDataset.of(music.recordings(240, 94, music.HELD_OUT_INSTRUMENTS))
    report["music and hum"] = measure_stillness(model, tones, unknown)
    report["prior"] = {name: measure_prior(model, data) for name, data in sets.items()}
    report["step_ms"] = step_ms(model)
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, default=Path("runs/speech"),
        help="test sets of `realtalk data speech`")  # fmt: skip
    add("--models", type=Path, help="folder of the ONNX files (default: shipped)")
    add("--look-ahead", type=float, default=LOOK_AHEAD, metavar="S",
        help="the network's, s")  # fmt: skip
    add("--recordings", type=Path, metavar="DIR", help="measure on these instead: audio files, "
        "each with its words in a .txt of the same name")  # fmt: skip
    add("--voice", default="en-us", help="espeak-ng's voice of their language")
    add("--videos", type=Path, metavar="DIR", help="measure on the end of each of these instead, "
        "which `realtalk data videos` made")  # fmt: skip
    add("--ablations", type=Path, metavar="DIR", help="compare DIR/full/expression.pt with those "
        "of DIR/{identity,reference,attention} that are there, trained by --without and equal "
        "--minutes")  # fmt: skip
    add("--people", type=int, default=96, help="people a set for --ablations")
    add("--json", action="store_true", help="print the report as JSON")
    add("--plots", type=Path, help="draw reference and prediction into this folder")


def run(args: argparse.Namespace) -> int:
    """`realtalk evaluate expression`. Raises RealTalkError without test sets or checkpoints."""
    report = _report(args)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    return 0


def _report(args: argparse.Namespace) -> dict:
    if args.videos:
        return measure_videos(ExpressionModel(args.models, look_ahead=args.look_ahead), args.videos)
    if args.recordings:
        sets = {args.recordings.name: load_recordings(args.recordings, args.voice)}
    else:
        sets = test_sets(args.data)
    if args.ablations:
        from realtalk_ros.training.expression import ablations  # needs torch

        networks = ablations.load_ablations(args.ablations)
        return {
            name: ablations.measure_ablations(networks, data, args.people)
            for name, data in sets.items()
        }
    model = ExpressionModel(args.models, look_ahead=args.look_ahead)
    report = evaluate(model, sets)
    if args.plots:
        from realtalk_ros.training.expression.plots import plot  # needs matplotlib

        plot(model, sets, args.plots)
    return report


def show(report: dict, indent: str = "") -> None:
    """Prints a nested report as an indented table."""
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name:24} {value}")
