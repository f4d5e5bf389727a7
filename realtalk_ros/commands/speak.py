# SPDX-License-Identifier: Apache-2.0
"""`realtalk speak`: a sound file or a text in, an MP4 of the talking face out, without ROS."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros import contracts
from realtalk_ros.audio.espeak import DEFAULT_VOICE
from realtalk_ros.audio.media_files import STANDARD_INPUT, AudioStream
from realtalk_ros.audio.text_to_speech import Saying
from realtalk_ros.commands.face_arguments import add_avatar, add_device, add_images
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output.console import warn
from realtalk_ros.output.live_link import live_link_csv
from realtalk_ros.paths import is_same, output_path, summary_output
from realtalk_ros.rendering import watermark
from realtalk_ros.rendering.background import Background
from realtalk_ros.whole_files import check_can_write, check_is_no_input, check_video

BLOCK = 0.2  # s of sound worked off at once: memory stays the same for an hour as for a second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--wav",
        metavar="FILE",
        type=Path,
        help="speech: any audio or video file; - is standard input",
    )
    what.add_argument("--text", help="text, plain or SSML, spoken by espeak-ng")
    parser.add_argument("--out", metavar="OUT.mp4", type=Path, required=True, help="video to write")
    parser.add_argument(
        "--csv",
        metavar="OUT.csv",
        type=output_path,
        help="expressions to write, in Live Link Face's format; - is standard output",
    )
    add_avatar(parser)
    add_images(parser)
    add_device(parser)
    parser.add_argument("--voice", default=DEFAULT_VOICE, help="espeak-ng's voice for --text")
    parser.add_argument(
        "--mark",
        metavar="TEXT",
        nargs="?",
        const=watermark.DEFAULT,
        help="a visible mark in the corner (default text: %(const)s)",
    )
    parser.add_argument(
        "--background",
        metavar="COLOUR_OR_FILE",
        help="instead of the avatar's own, if it has mattes: #rrggbb or a picture",
    )


def run(args: argparse.Namespace) -> None:
    check(args)
    visible = watermark.Watermark(args.mark) if args.mark is not None else None
    background = None if args.background is None else Background(args.background, video=True)
    summary = summary_output(args.csv)
    began = time.monotonic()
    blocks, sample_rate, duration = open_speech(args)

    # Imported here so that a wrong argument is answered at once.
    from realtalk_ros.avatar.avatar import Avatar
    from realtalk_ros.behaviour.face_pipeline import FacePipeline
    from realtalk_ros.expression.onnx_model import ExpressionModel
    from realtalk_ros.onnx_session import providers_for
    from realtalk_ros.output.mp4_writer import VideoWriter
    from realtalk_ros.rendering.face_renderer import FaceRenderer
    from realtalk_ros.stream_types import Chunk

    providers = providers_for(args.device)
    renderer = FaceRenderer(Avatar.load(args.avatar), args.size, providers)
    model = ExpressionModel(providers=providers)
    face = FacePipeline(model, renderer, args.fps, prepare=True)
    face.face.watermark, face.face.background = visible, background
    if background is not None and renderer.avatar.mattes is None:
        raise RealTalkError(f"--background: avatar {args.avatar} has no mattes")
    provenance = renderer.avatar.provenance
    loaded = time.monotonic()

    with (
        VideoWriter(args.out, args.fps, renderer.size, sample_rate, provenance) as video,
        live_link_csv(args.csv, args.fps) if args.csv else nullcontext() as csv,
        tqdm(desc="frames", total=duration and round(duration * args.fps), disable=None) as bar,
    ):

        def chunks() -> Iterator[Chunk]:
            for pcm in blocks:
                video.write_audio(pcm)
                yield Chunk(pcm, sample_rate)

        for expression in face.expressions(chunks()):
            at, weights, image = face.render(expression)
            if csv:  # less than at rest is not known in this format
                csv.write(at, np.maximum(weights, 0), expression.rotation)
            while video.frames <= round(at * args.fps):  # the file shows frame k at k / fps
                video.write(image)
                bar.update()
    done = time.monotonic()
    seconds = video.frames / args.fps
    print(
        f"{args.out}: {seconds:.1f} s, {video.frames} frames of "
        f"{renderer.size[0]}x{renderer.size[1]} at {args.fps:g} fps; loaded in "
        f"{loaded - began:.1f} s, made in {done - loaded:.1f} s "
        f"({seconds / (done - loaded):.1f} x real time)",
        file=summary,
    )


def check(args: argparse.Namespace) -> None:
    """What can be known to be wrong before the work starts. Raises RealTalkError."""
    slowest, fastest = contracts.FPS_RANGE
    if not slowest <= args.fps <= fastest:  # NaN too
        raise RealTalkError(f"--fps {args.fps:g}: give {slowest:g} to {fastest:g}")
    smallest, largest = contracts.SIZE_RANGE
    if not smallest <= args.size <= largest:
        raise RealTalkError(f"--size {args.size}: give {smallest} to {largest}")
    inputs = [Path(args.background)] if args.background else []
    if args.wav is not None and not piped(args):
        inputs.append(args.wav)
    check_video(args.out, "--out", inputs)
    if args.csv is not None:
        check_can_write(args.csv, "--csv", straight=True)
        check_is_no_input(args.csv, "--csv", inputs)
    if args.csv is not None and is_same(args.csv, args.out):
        raise RealTalkError("--csv and --out are one file: give two names")


def open_speech(args: argparse.Namespace) -> tuple[Iterator[np.ndarray], int, float | None]:
    """Blocks of float32 mono samples, their rate in Hz, and how long it is in s where known."""
    if args.wav is not None:
        stream = AudioStream(args.wav, BLOCK)
        return with_warnings(stream), stream.sample_rate, stream.duration
    saying = Saying(args.text, args.voice, warn=partial(warn, "speak"), longest=None)
    return (pcm for pcm, _ in saying.chunks(BLOCK)), saying.sample_rate, None


def with_warnings(stream: AudioStream) -> Iterator[np.ndarray]:
    yield from stream
    for line in stream.warnings:
        warn("speak", line)


def piped(args: argparse.Namespace) -> bool:
    return str(args.wav) == STANDARD_INPUT
