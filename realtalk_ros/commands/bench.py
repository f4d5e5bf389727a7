# SPDX-License-Identifier: Apache-2.0
"""`realtalk bench`: what each stage of the pipeline costs on this machine."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from realtalk_ros import processors
from realtalk_ros.commands.face_arguments import add_avatar, add_device, add_look_ahead
from realtalk_ros.contracts import LOOK_AHEAD
from realtalk_ros.errors import RealTalkError

if TYPE_CHECKING:
    from realtalk_ros.expression.onnx_model import ExpressionModel

FPS = 25.0
SIZE = 512  # pixels
SECONDS = 2.0  # spent on each stage
MIN_CALLS, MAX_CALLS = 20, 2000
WARM_UP = 10  # calls

REFERENCE_FLOP = 2 * 256 * 256 * 3 * 3 * 16 * 16  # of onnx_session.REFERENCE_NETWORK

TITLES = {
    "audio_features": "audio features, 20 ms",
    "transformer": "transformer, 20 ms",
    "transformer_frame": f"transformer, {1000 / FPS:g} ms",
    "renderer": "renderer",
    "compose": f"compose, {SIZE}x{SIZE}",
    "frame_alone": f"whole frame at {FPS:g} fps, alone",
    "whole_frame": f"whole frame at {FPS:g} fps, in a row",
    "reference_conv": "reference convolution",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    parser.add_argument(
        "--threads",
        type=int,
        default=processors.threads(2),
        help="CPU threads of the renderer",
    )
    add_device(parser)
    add_avatar(parser)
    add_look_ahead(parser)
    parser.add_argument(
        "--audio-hours",
        type=float,
        metavar="H",
        help="instead: stream H hours of speech, faster than real time, through "
        "the transformer, and report how memory grew",
    )
    parser.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="instead: render N frames and report how memory grew",
    )


def run(args: argparse.Namespace) -> None:
    if args.threads < 1:
        raise RealTalkError(f"--threads {args.threads}: give 1 or more")
    if args.audio_hours is not None:
        if not args.audio_hours > 0:
            raise RealTalkError(f"--audio-hours {args.audio_hours}: give more than 0")
        print(json.dumps(stream_hours(args.audio_hours, args.device), indent=2))
        return
    if args.frames is not None:
        if args.frames < 1:
            raise RealTalkError(f"--frames {args.frames}: give 1 or more")
        report = render_frames(args.frames, args.device, args.threads, args.avatar)
        print(json.dumps(report, indent=2))
        return
    report = measure(args.device, args.threads, args.avatar, args.look_ahead)
    print(json.dumps(report, indent=2) if args.json else table(report))


def measure(
    device: str = "cpu",
    threads: int = 2,
    avatar: str = "default",
    look_ahead: float = LOOK_AHEAD,
) -> dict[str, Any]:
    """Runs every stage alone, then whole frames. Times in ms. Takes about 15 s."""
    from realtalk_ros import onnx_session

    load_average = os.getloadavg()  # before this adds to it
    calls, expression, load = prepare(device, threads, avatar, look_ahead)
    stages, frames, speed = {}, 0, 0.0
    for name, call in tqdm(calls.items(), desc="bench", disable=None, leave=False):
        times, items = clock(call)
        stages[name] = {
            "median_ms": round(float(np.median(times)), 3),
            "p95_ms": round(float(np.percentile(times, 95)), 3),
            "calls": len(times),
        }
        if name == "whole_frame":
            frames, speed = items, items / (sum(times) / 1000)
    conv = stages["reference_conv"]
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "stages": stages,
        "frames": frames,
        "frames_per_second": round(speed, 1),
        "realtime_factor": round(speed / FPS, 2),
        "reference_gflops": round(REFERENCE_FLOP / conv["median_ms"] / 1e6, 1),
        "look_ahead_ms": round(1000 * expression.look_ahead, 1),
        "bits_of_transformer_weights": expression.weight_bits,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1),
        "model_mb": {
            path.stem: round(path.stat().st_size / 1e6, 2)
            for path in sorted(onnx_session.MODEL_DIR.glob("*.onnx"))
        },
        "load_ms": load,
        "device": device,
        "threads": threads,
        "machine": machine(load_average),
    }


def prepare(
    device: str, threads: int, avatar: str, look_ahead: float
) -> tuple[dict[str, Callable[[int], Any]], ExpressionModel, dict[str, float]]:
    """Loads everything, the transformer as the nodes do. Returns the i-th call of each stage by its
    name, the transformer, and what loading took in ms."""
    from realtalk_ros import onnx_session
    from realtalk_ros.audio.log_mel import HOP, AudioFrontEnd
    from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
    from realtalk_ros.avatar.avatar import Avatar
    from realtalk_ros.behaviour.face_pipeline import FacePipeline
    from realtalk_ros.contracts import MEL_RATE, MEL_STEP, SAMPLE_RATE
    from realtalk_ros.expression.onnx_model import ExpressionModel
    from realtalk_ros.rendering.face_renderer import FaceRenderer
    from realtalk_ros.stream_types import Chunk

    providers = onnx_session.providers_for(device)
    load: dict[str, float] = {}

    def loaded(name: str, make: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        made = make()
        load[name] = round(1000 * (time.perf_counter() - began), 1)
        return made

    expression = loaded(
        "expression",
        lambda: ExpressionModel(providers=providers, look_ahead=look_ahead, eight_bits=True),
    )
    face = loaded("avatar", lambda: Avatar.load(avatar))
    renderer = loaded("renderer", lambda: FaceRenderer(face, SIZE, providers, threads))
    alone, pipeline = (FacePipeline(expression, renderer, FPS) for _ in range(2))
    reference = onnx_session.session(onnx_session.REFERENCE_NETWORK, providers, threads)

    # Real speech, over and over: real weights reach the renderer, and no number gets denormal.
    speech = read_audio(SAMPLE_CLIP)[0]
    front_end, whole = AudioFrontEnd(SAMPLE_RATE), pieces(speech, round(SAMPLE_RATE / FPS))
    step_audio = pieces(speech, 2 * HOP)
    mel = AudioFrontEnd(SAMPLE_RATE).push(speech)
    step_mel, frame_mel = pieces(mel, MEL_STEP), pieces(mel, round(MEL_RATE / FPS))
    stream, by_frame = (expression.stream(pipeline.expression.prior) for _ in range(2))
    # No two in a row alike: the same picture is not rendered twice.
    weights, turned = np.zeros((2, 52), np.float32), np.full(3, 0.02)
    weights[1] = 0.1
    picture = renderer.generate(weights[0], 0)
    reference_input = np.full((1, 16, 256, 256), 0.5, np.float32)
    speaking = pipeline.expressions(Chunk(whole(i), SAMPLE_RATE) for i in itertools.count())
    calls: dict[str, Callable[[int], Any]] = {
        "audio_features": lambda i: front_end.push(step_audio(i)),
        "transformer": lambda i: stream.push(step_mel(i)),
        "transformer_frame": lambda i: by_frame.push(frame_mel(i)),
        "renderer": lambda i: renderer.generate(weights[i % 2], i % renderer.template_count),
        "compose": lambda i: renderer.compose(
            picture, renderer.begin(i % renderer.template_count, turned)
        ),
        "frame_alone": lambda i: list(alone.push(Chunk(whole(i), SAMPLE_RATE))),
        # As of speech that is known before: beside a frame the transformer runs for the next one.
        "whole_frame": lambda _: [pipeline.render(next(speaking))],
        "reference_conv": lambda _: reference.run(None, {"x": reference_input}),
    }
    return calls, expression, load


def clock(call: Callable[[int], Any]) -> tuple[list[float], int]:
    """Calls it for about SECONDS, after WARM_UP calls: the ms each took, and how many items came
    of those that return lists."""
    for i in range(WARM_UP):
        call(i)
    times: list[float] = []
    items, began = 0, time.perf_counter()
    while len(times) < MAX_CALLS and (
        len(times) < MIN_CALLS or time.perf_counter() - began < SECONDS
    ):
        start = time.perf_counter()
        result = call(WARM_UP + len(times))
        times.append(1000 * (time.perf_counter() - start))
        items += len(result) if isinstance(result, list) else 0
    return times, items


def stream_hours(hours: float, device: str) -> dict[str, float]:
    """Streams `hours` of speech through the transformer: resident memory after a tenth and at the
    end, MB, and the median ms of a 20 ms step in the first and the last tenth."""
    from realtalk_ros import onnx_session
    from realtalk_ros.audio.log_mel import HOP, AudioFrontEnd
    from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
    from realtalk_ros.contracts import SAMPLE_RATE
    from realtalk_ros.expression.onnx_model import ExpressionModel

    model = ExpressionModel(providers=onnx_session.providers_for(device), eight_bits=True)
    stream, front_end = model.stream(model.prior()), AudioFrontEnd(SAMPLE_RATE)
    audio = pieces(read_audio(SAMPLE_CLIP)[0], 2 * HOP)
    steps = max(10, round(hours * 3600 * SAMPLE_RATE / (2 * HOP)))
    found = time_calls(lambda i: stream.push(front_end.push(audio(i))), steps, "step")
    return {"audio_hours": hours, **found}


def render_frames(frames: int, device: str, threads: int, avatar: str) -> dict[str, float]:
    """Renders that many frames of a moving face, blinks and all templates, as `stream_hours`."""
    from realtalk_ros import onnx_session
    from realtalk_ros.avatar.avatar import Avatar
    from realtalk_ros.face_model import arkit
    from realtalk_ros.rendering.face_renderer import FaceRenderer

    face = FaceRenderer(Avatar.load(avatar), SIZE, onnx_session.providers_for(device), threads)
    weights = np.random.default_rng(0).uniform(0, 0.6, (97, arkit.COUNT)).astype(np.float32)
    found = time_calls(
        lambda i: face.render(weights[i % len(weights)], i % face.template_count), frames, "frame"
    )
    return {"frames": frames, **found}


def time_calls(work: Callable[[int], object], count: int, unit: str) -> dict[str, float]:
    """Memory and time of work(0), work(1) ..., as `stream_hours` reports them."""
    times = np.zeros(count, np.float32)
    tenth = max(1, count // 10)
    early = 0.0
    for i in tqdm(range(count), unit=unit, disable=None, leave=False):
        began = time.perf_counter()
        work(i)
        times[i] = time.perf_counter() - began
        if i == tenth - 1:
            early = resident_mb()
    return {
        "seconds": round(float(times.sum()), 1),
        "memory_mb_after_a_tenth": round(early, 1),
        "memory_mb_at_the_end": round(resident_mb(), 1),
        f"{unit}_ms_first_tenth": round(1000 * float(np.median(times[:tenth])), 3),
        f"{unit}_ms_last_tenth": round(1000 * float(np.median(times[-tenth:])), 3),
    }


def resident_mb() -> float:
    """Of this process, now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def pieces(array: np.ndarray, length: int) -> Callable[[int], np.ndarray]:
    """The i-th piece of `length` rows, starting again after the last whole one."""
    count = len(array) // length
    return lambda i: array[i % count * length : (i % count + 1) * length]


def machine(load_average: tuple[float, float, float]) -> dict[str, Any]:
    import onnxruntime

    gpu = None
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        gpu = found.stdout.strip() or None
    return {
        "cpu": cpu_name(),
        "cores": round(processors.available(), 2),
        "gpu": gpu,
        "load_average": [round(value, 2) for value in load_average],
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(report: dict[str, Any]) -> str:
    width = max(map(len, TITLES.values()))
    rows = [f"{'stage':{width}}  median ms   p95 ms  calls"]
    for name, stage in report["stages"].items():
        rows.append(
            f"{TITLES[name]:{width}}  {stage['median_ms']:9.2f} {stage['p95_ms']:8.2f} "
            f"{stage['calls']:6d}"
        )
    here = report["machine"]
    cores = f"{here['cores']:g} core{'s' * (here['cores'] != 1)}"
    sizes = ", ".join(f"{name} {size}" for name, size in report["model_mb"].items())
    rows += [
        "in a row: beside each frame the transformer runs for the next, as of speech known before;",
        "alone: one after the other, as long as a frame takes whose sound has just come",
        "",
        f"{report['frames_per_second']} frames a second, {report['realtime_factor']} x real time "
        f"at {FPS:g} fps; the transformer hears {report['look_ahead_ms']:g} ms ahead, "
        f"with weights of {report['bits_of_transformer_weights']} bits",
        f"reference convolution: {report['reference_gflops']} GFLOP/s",
        f"peak memory {report['peak_memory_mb']:.0f} MB; loading: "
        + ", ".join(f"{name} {ms:.0f} ms" for name, ms in report["load_ms"].items()),
        f"models in MB: {sizes}",
        f"{here['cpu']}, {cores}, load average {here['load_average'][0]}; "
        + (f"{here['gpu']}; " if here["gpu"] else "")
        + f"device {report['device']}, {report['threads']} renderer threads",
        f"Python {here['python']}, onnxruntime {here['onnxruntime']} "
        f"({', '.join(here['providers'])}), {here['system']}",
    ]
    return "\n".join(rows)
