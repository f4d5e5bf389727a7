# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate peers`: what a frame costs here, beside other projects' networks.

DIR holds checkouts of them, each in a folder of its repository's name. Each network is built by its
project's own definition, with random weights (they do not change its cost), in a process of its
own, and exported to ONNX. All are then run by ONNX Runtime in turns with the reference convolution
of `realtalk bench`, so that a machine whose speed changes slows all of them alike. The code of
those projects is run as it is: look at it first. Nothing of it is kept. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.errors import RealTalkError
from realtalk_ros.rendering.face_renderer import FaceRenderer

SIZE = 512  # pixels, of our image, as `realtalk bench` has it
TURNS = 6  # of all networks
RUNS, SETTLE = 16, 4  # in a turn, and how many of them are left out: caches and threads settle
PAUSE = 0.2  # s before a network's turn, or its threads share a core for many runs
MAX_BUILDING = 300  # s
# Run in a peer's folder, after its own lines: counts the operations, writes the network.
EXPORT = """
import sys
import torch
from torch.utils.flop_counter import FlopCounterMode
network.eval()
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    network(*inputs)
torch.onnx.export(network, inputs, sys.argv[1], opset_version=17, dynamo=False)
print(counter.get_total_flops())
"""
UNET = """
import torch
from unet import Model
network, inputs = Model(6, "hubert"), (torch.rand(1, 6, 160, 160), torch.rand(1, 16, 32, 32))
"""


@dataclass(frozen=True)
class Peer:
    """A project whose network draws a talking face."""

    name: str
    repository: str  # on GitHub
    output: str  # pixels
    code: str  # defines `network` and its `inputs`, run in a checkout


PEERS = (
    Peer(
        "DH_live mini",
        "kleinlee/DH_live",
        "184x184, its mouth 112x80",
        """
import torch
from talkingface.models.DINet_mini import DINet_mini_pipeline2, model_size
network = DINet_mini_pipeline2(3, 12, cuda=False)
picture = torch.rand(1, 4, model_size, model_size)
inputs = (picture, picture, torch.rand(1, 64))
""",
    ),
    Peer(
        "FeatherTalk, MobileOne",
        "anliyuan/FeatherTalk",
        "160x160",
        UNET.replace("from unet ", "from unet_mobileone ")
        + """
from unet_mobileone import reparameterize_model
network = reparameterize_model(network.eval())
""",
    ),
    Peer("Ultralight-Digital-Human", "anliyuan/Ultralight-Digital-Human", "160x160", UNET),
    Peer(
        "Wav2Lip",
        "Rudrabha/Wav2Lip",
        "96x96",
        """
import torch
from models.wav2lip import Wav2Lip
network, inputs = Wav2Lip(), (torch.rand(1, 1, 80, 16), torch.rand(1, 6, 96, 96))
""",
    ),
)


@dataclass(frozen=True)
class Cost:
    name: str
    output: str
    gflop: float | None  # a multiplication and an addition are two operations
    milliseconds: float  # median
    ratio: float  # of that to the median of the reference convolution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="with the checkouts")
    parser.add_argument("--threads", type=int, default=2, help="of each")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Measures those peers that are there. Raises RealTalkError if there are none, or one cannot
    be built."""
    if args.threads < 1:
        raise RealTalkError(f"--threads {args.threads}: give 1 or more")
    present = [peer for peer in PEERS if (args.folder / Path(peer.repository).name).is_dir()]
    if not present:
        raise RealTalkError(
            f"{args.folder} has no checkout of a peer: git clone there "
            + ", ".join(f"https://github.com/{peer.repository}" for peer in PEERS)
        )
    with tempfile.TemporaryDirectory() as folder:
        built = [(peer, *build(peer, args.folder, Path(folder))) for peer in present]
        calls: dict[str, Callable[[int], Any]] = {
            "reference": network(onnx_session.REFERENCE_NETWORK, args.threads)
        }
        calls |= {peer.name: network(file, args.threads) for peer, file, _ in built}
    calls |= ours(args.threads)
    medians = {name: float(np.median(times)) for name, times in in_turns(calls).items()}
    sizes = {peer.name: (peer.output, flop / 1e9) for peer, _, flop in built}
    costs = [
        Cost(
            name=name,
            output=sizes.get(name, (f"{SIZE}x{SIZE}",))[0],
            gflop=sizes[name][1] if name in sizes else None,
            milliseconds=1e3 * seconds,
            ratio=seconds / medians["reference"],
        )
        for name, seconds in sorted(medians.items(), key=lambda item: item[1])
        if name != "reference"
    ]
    print(json.dumps([asdict(cost) for cost in costs]) if args.json else table(costs))
    return 0


def build(peer: Peer, checkouts: Path, folder: Path) -> tuple[Path, float]:
    """A peer's network as an ONNX file in `folder`, and its floating-point operations. Raises
    RealTalkError where its checkout is of another version."""
    file = folder / f"{Path(peer.repository).name}.onnx"
    made = subprocess.run(
        [sys.executable, "-c", peer.code + EXPORT, str(file)],
        check=False,
        cwd=checkouts / Path(peer.repository).name,
        capture_output=True,
        text=True,
        timeout=MAX_BUILDING,
    )
    if made.returncode:
        reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RealTalkError(f"the network of {peer.repository} cannot be built: {reason}")
    return file, float(made.stdout.split()[-1])


def network(file: Path, threads: int) -> Callable[[int], Any]:
    """Runs a network on random numbers."""
    session, rng = onnx_session.session(file, threads=threads), np.random.default_rng(0)
    inputs = {i.name: rng.random(i.shape, np.float32) for i in session.get_inputs()}
    return lambda _: session.run(None, inputs)


def ours(threads: int) -> dict[str, Callable[[int], Any]]:
    """A frame of this package; no two in a row are alike, as the same is not rendered twice."""
    renderer = FaceRenderer(Avatar.load("default"), SIZE, threads=threads)
    weights = np.repeat(np.linspace(0, 0.3, 4, dtype=np.float32)[:, None], 52, 1)
    turned = np.full(3, 0.02)
    return {
        "realtalk_ros, its networks with their inputs": lambda i: renderer.generate(
            weights[i % 2], 0
        ),
        "realtalk_ros, a whole frame": lambda i: renderer.render(weights[2 + i % 2], 0, turned),
    }


def in_turns(calls: dict[str, Callable[[int], Any]]) -> dict[str, list[float]]:
    """Seconds that each call took."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            time.sleep(PAUSE)
            for i in range(RUNS):
                began = time.perf_counter()
                call(i)
                if i >= SETTLE:
                    times[name].append(time.perf_counter() - began)
    return times


def table(costs: list[Cost]) -> str:
    rows = [f"{'network':46}{'output':>28}{'GFLOP':>8}{'ms':>8}{'of the reference':>18}"]
    for cost in costs:
        gflop = "-" if cost.gflop is None else f"{cost.gflop:.2f}"
        rows.append(
            f"{cost.name:46}{cost.output:>28}{gflop:>8}{cost.milliseconds:8.1f}{cost.ratio:18.1f}"
        )
    return "\n".join(rows)
