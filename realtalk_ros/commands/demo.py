# SPDX-License-Identifier: Apache-2.0
"""`realtalk demo`: the real ROS 2 nodes speak a clip of human speech; a video and figures of it.

Speech, expression, renderer and recorder node run as separate processes. The speech node sends
what was just said, in chunks of 20 ms, as a microphone or a streaming speech synthesis does: the
face gets no word early.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.provenance import write_picture
from realtalk_ros.commands.demo_figures import (
    Figures,
    MouthOpening,
    demo_sheet,
    lip_offset,
    watch,
)
from realtalk_ros.commands.graph_monitor import GraphMonitor
from realtalk_ros.commands.node_processes import FACE_NODES, add_graph, private_graph, start
from realtalk_ros.contracts import LEAD_RANGE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.params_file import default_params_file
from realtalk_ros.output.console import warn
from realtalk_ros.whole_files import check_can_write, check_video

STALL_TIMEOUT = 20.0  # s without news of the speech after which the demo gives up
USABLE, KEPT_UP = 0.25, 0.9  # shares of the frames: a face at all; as many as were asked for
MIN_DISK_MB = 50  # for the video and its sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--out",
        metavar="OUT.mp4",
        type=Path,
        default=Path("demo.mp4"),
        help="video to write (default: %(default)s); a contact sheet comes beside it",
    )
    add_graph(parser)
    add(
        "--lead",
        metavar="S",
        type=float,
        default=0.0,
        help="send speech this many seconds before it is heard (default: 0, live)",
    )


def run(args: argparse.Namespace) -> int:
    if not LEAD_RANGE[0] <= args.lead <= LEAD_RANGE[1]:
        raise RealTalkError(f"--lead {args.lead:g}: give {LEAD_RANGE[0]:g} to {LEAD_RANGE[1]:g} s")
    check_place(args.out, args.wav)
    pcm, rate = read_audio(args.wav, partial(warn, "demo"))
    avatar = Avatar.load(args.avatar)
    with tempfile.TemporaryDirectory(prefix="realtalk_demo_") as folder:
        stats_file = Path(folder) / "stats.json"
        seconds = len(pcm) / rate
        diagnostics = record(args, seconds, stats_file)
        try:
            stats = json.loads(stats_file.read_text())
        except (OSError, ValueError) as error:
            raise RealTalkError("the recorder wrote no figures: see what it says above") from error
    figures = Figures.of(stats, seconds)
    opening, thumbs = watch(args.out, MouthOpening(avatar, args.size, args.device))
    sound, sound_rate = read_audio(args.out)
    figures.offset_ms = lip_offset(opening, sound, sound_rate, args.fps)
    sheet = args.out.with_suffix(".png")
    write_picture(sheet, demo_sheet(thumbs, sound, sound_rate, args.fps), avatar.provenance)
    print(figures.table(diagnostics))
    print(f"\nwrote {args.out} ({len(opening)} frames with sound) and {sheet}")
    return judge(figures)


def judge(figures: Figures) -> int:
    """Exit status; says on stderr what is wrong with too few frames."""
    share = figures.published / figures.expected
    if share < USABLE:
        print("realtalk demo: too few frames were published for a face: this machine is too slow "
              "or too busy", file=sys.stderr)  # fmt: skip
        return 1
    if share < KEPT_UP:
        warn(
            "demo",
            f"this machine did not keep up: {figures.fps:.0f} frames a second. On a robot the face "
            "adapts (adapt_quality), or takes a smaller size or fps",
        )
    return 0


def check_place(out: Path, wav: Path) -> None:
    """Raises RealTalkError, before anything is started, where `out` cannot be written, or is what
    is spoken."""
    check_video(out, "--out", [wav])
    check_can_write(out.with_suffix(".png"), "--out")
    folder = out.absolute().parent
    if (free := shutil.disk_usage(folder).free / 2**20) < MIN_DISK_MB:
        raise RealTalkError(f"{folder} has {free:.0f} MB left: make room, or choose another --out")


# The graph


def record(args: argparse.Namespace, seconds: float, stats_file: Path) -> dict[str, dict]:
    """Runs the nodes until the recorder has written `args.out`. Returns their last diagnostics."""
    with private_graph() as nodes:
        monitor = SpeechMonitor(nodes)
        start_nodes(args, stats_file, monitor)
        follow_speech(seconds, monitor)
        return monitor.diagnostics


def start_nodes(args: argparse.Namespace, stats_file: Path, monitor: SpeechMonitor) -> None:
    """Starts one node after the other, with the parameters of the default file, each when what it
    needs is ready."""
    file = default_params_file()
    run = partial(start, monitor.nodes, params_file=file if file.is_file() else None)
    common = {"avatar": str(args.avatar), "fps": args.fps, "device": args.device}
    print("== starting expression and renderer node", flush=True)
    run("expression_node", **common, look_ahead=args.look_ahead)
    # All frames, or as many as this machine makes of them: that is what is measured.
    run("renderer_node", **common, size=args.size, adapt_quality=False)
    monitor.wait_ready(FACE_NODES)
    run("recorder_node", out=str(args.out.absolute()), fps=args.fps, stats=str(stats_file))
    monitor.wait_ready(["recorder_node"])
    run("speech_node", wav=str(args.wav.absolute()), lead=args.lead, wait_for=2)
    print(f"== speaking {args.wav.name}, live, in real time", flush=True)


def follow_speech(seconds: float, monitor: SpeechMonitor) -> None:
    """Shows the progress of `seconds` of speech until the recorder ends."""
    form = "{desc} {bar} {n:.1f} of {total:.1f} s"
    with tqdm(
        total=round(seconds, 1), unit="s", desc="speaking", disable=None, bar_format=form
    ) as bar:
        while monitor.nodes["recorder_node"].poll() is None:
            monitor.spin()
            monitor.check()
            bar.update(min(seconds, monitor.spoken) - bar.n)
            if monitor.stalled > STALL_TIMEOUT:
                raise RealTalkError(
                    f"the speech did not go on for {STALL_TIMEOUT:.0f} s: this machine is too "
                    "busy, or `realtalk doctor` says what does not work"
                )
        bar.update(seconds - bar.n)
    monitor.check()


class SpeechMonitor(GraphMonitor):
    """Also watches how far the speech is."""

    def __init__(self, nodes: dict[str, subprocess.Popen]):
        from realtalk_ros.msg import FaceExpression
        from realtalk_ros.nodes.qos import STREAM

        super().__init__("demo", nodes)
        self.spoken = 0.0  # s of the clip
        self._first: float | None = None
        self._news = time.monotonic()
        self.subscribe(FaceExpression, "expression", self._on_expression, STREAM)

    @property
    def stalled(self) -> float:
        """Seconds since a node got ready or an expression came."""
        return time.monotonic() - self._news

    def wait_ready(self, *args: Any) -> None:
        super().wait_ready(*args)
        self._news = time.monotonic()

    def _on_expression(self, message: Any) -> None:
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self._first = stamp if self._first is None else self._first
        self.spoken, self._news = stamp - self._first, time.monotonic()
