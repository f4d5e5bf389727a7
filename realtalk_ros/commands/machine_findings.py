# SPDX-License-Identifier: Apache-2.0
"""What `realtalk doctor` says of the machine: whether it is fast enough, and has enough memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np

from realtalk_ros import memory, processors
from realtalk_ros.commands.findings import Finding, ok, warn

FPS = 25
USUAL = 1e3 / FPS  # ms that there are for a frame
# ms that a frame may take in one thread: with this 99 % of the frames were published
# (docs/robot.md). The nodes share the work between two threads, but publish, too.
FAST_ENOUGH = 33.0
WARM_UP, TIMED = 10, 25  # frames
RATES = (20, 15, 12, 10, 8, 5)  # frames a second that are proposed
HALF_SIZE = 1.35  # times as fast
NEEDED_MB = 500  # by a face in two processes, a voice and the page


def speed() -> Iterator[Finding]:
    """How long frames of speech take, one after the other, whatever else the machine does."""
    milliseconds = frame_time()
    cores = processors.available()
    has = f"{cores:.3g} core{'s' * (cores != 1)}, load average {os.getloadavg()[0]:.1f}"
    line = f"a frame takes {milliseconds:.0f} ms, at {FPS} fps there are {USUAL:.0f} ({has})"
    yield ok(line) if milliseconds <= FAST_ENOUGH else warn(line, slower(milliseconds))


def slower(milliseconds: float) -> str:
    """What to do where a frame takes so long."""
    whole, small = (fitting(milliseconds / gain) for gain in (1.0, HALF_SIZE))
    settings = f"fps:={whole}" if whole else "size:=256 and "
    if not whole:
        settings += f"fps:={small or min(RATES)}"
    elif small > whole:
        settings += f", or size:=256 and fps:={small}"
    return (
        f"for the nodes: close other programs, or set {settings}. The renderer lowers them itself, "
        "but live sound may then have gaps. `realtalk bench` measures more"
    )


def fitting(milliseconds: float) -> int:
    """The highest of RATES for which frames that take so long are fast enough; 0: none is."""
    share = FAST_ENOUGH / USUAL
    return next((rate for rate in RATES if milliseconds <= share * 1e3 / rate), 0)


def frame_time() -> float:
    """Mean time of a frame of speech, ms: a machine that gives this process a share of its time
    stops it for some of them."""
    from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
    from realtalk_ros.avatar.avatar import Avatar
    from realtalk_ros.behaviour.face_pipeline import FacePipeline
    from realtalk_ros.expression.onnx_model import ExpressionModel
    from realtalk_ros.rendering.face_renderer import FaceRenderer
    from realtalk_ros.stream_types import Chunk

    pcm, rate = read_audio(SAMPLE_CLIP)
    renderer = FaceRenderer(Avatar.load("default"))
    pipeline = FacePipeline(ExpressionModel(eight_bits=True), renderer, FPS)
    times = []
    for piece in np.split(pcm[: (WARM_UP + TIMED) * rate // FPS], WARM_UP + TIMED):
        began = time.perf_counter()
        list(pipeline.push(Chunk(piece, rate)))
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.mean(times[WARM_UP:]))


def free_memory() -> Iterator[Finding]:
    free = memory.available()
    if free is None:
        return
    line = f"{free / 2**20:.0f} MB free (memory)"
    if free >= NEEDED_MB * 2**20:
        yield ok(line)
        return
    advice = (
        f"a face with its voice and page takes up to {NEEDED_MB} MB: close other programs, or give "
        "a container more; `realtalk up` takes less than two nodes"
    )
    yield warn(line, advice)
