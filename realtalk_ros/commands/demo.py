# SPDX-License-Identifier: Apache-2.0
"""`realtalk demo`: the true ROS 2 graph speaks a clip of human speech; a video and figures of it.

Speech, expression, renderer and recorder node run as separate processes. The speech node sends
what was just said, in chunks of 20 ms, as a microphone or a streaming speech synthesis does: the
face gets no word early.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
from realtalk_ros.commands.node_processes import START_TIMEOUT, add_graph, start, stop
from realtalk_ros.errors import RealTalkError

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
    check_place(args.out)
    pcm, rate = read_audio(args.wav)
    avatar = Avatar.load(args.avatar)
    # A domain of its own, on this machine only: a robot in the same network must not hear it.
    os.environ["ROS_DOMAIN_ID"] = str(60 + os.getpid() % 40)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with tempfile.TemporaryDirectory(prefix="realtalk_demo_") as folder:
        stats_file = Path(folder) / "stats.json"
        diagnostics = record(args, len(pcm) / rate, stats_file)
        try:
            stats = json.loads(stats_file.read_text())
        except (OSError, ValueError) as error:
            raise RealTalkError("the recorder wrote no figures: see what it says above") from error
    figures = Figures.of(stats)
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
        print(f"realtalk demo: this machine did not keep up: {figures.fps:.0f} frames a second. "
              "On a robot the face adapts (adapt_quality), or takes a smaller size or fps",
              file=sys.stderr)  # fmt: skip
    return 0


def check_place(out: Path) -> None:
    """Raises RealTalkError, before anything is started, where `out` cannot be written."""
    folder = out.absolute().parent
    if not folder.is_dir():
        raise RealTalkError(f"cannot write {out}: there is no folder {out.parent}")
    for path in (out, out.with_suffix(".png")):
        if path.is_dir():
            raise RealTalkError(f"cannot write {path}: it is a folder, give a file name")
    if not os.access(folder, os.W_OK):
        raise RealTalkError(f"cannot write in {folder}: give a place of your own by --out")
    if (free := shutil.disk_usage(folder).free / 2**20) < MIN_DISK_MB:
        raise RealTalkError(f"{folder} has {free:.0f} MB left: make room, or choose another --out")


# The graph


def record(args: argparse.Namespace, seconds: float, stats_file: Path) -> dict[str, dict]:
    """Runs the nodes until the recorder has written `args.out`. Returns their last diagnostics."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from realtalk_ros.nodes.fastdds_profile import use_fastdds_profile

    use_fastdds_profile()
    # Ctrl-C must reach the `finally` that stops the other processes.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        monitor, graph = Monitor(), Graph()
        try:
            start_graph(args, stats_file, graph, monitor)
            follow_speech(seconds, graph, monitor)
            return monitor.diagnostics
        finally:
            stop(graph.nodes)
            monitor.node.destroy_node()
    finally:
        rclpy.try_shutdown()


def start_graph(args: argparse.Namespace, stats_file: Path, graph: Graph, monitor: Monitor) -> None:
    """Starts one node after the other, each when what it needs is ready."""
    common = {"avatar": str(args.avatar), "fps": args.fps, "device": args.device}
    print("== starting expression and renderer node", flush=True)
    graph.run("expression_node", **common, look_ahead=args.look_ahead)
    # All frames, or as many as this machine makes of them: that is what is measured.
    graph.run("renderer_node", **common, size=args.size, adapt_quality=False)
    monitor.wait_ready(["expression_node", "renderer_node"], graph.check)
    out = str(args.out.absolute())
    graph.run("recorder_node", out=out, fps=args.fps, stats=str(stats_file))
    monitor.wait_ready(["recorder_node"], graph.check)
    graph.run("speech_node", wav=str(args.wav.absolute()), lead=args.lead, wait_for=2)
    print(f"== speaking {args.wav.name}, live, in real time", flush=True)


def follow_speech(seconds: float, graph: Graph, monitor: Monitor) -> None:
    """Shows the progress of `seconds` of speech until the recorder ends."""
    form = "{desc} {bar} {n:.1f} of {total:.1f} s"
    with tqdm(
        total=round(seconds, 1), unit="s", desc="speaking", disable=None, bar_format=form
    ) as bar:
        while graph.nodes["recorder_node"].poll() is None:
            monitor.spin()
            graph.check()
            bar.update(min(seconds, monitor.spoken) - bar.n)
            if monitor.stalled > STALL_TIMEOUT:
                raise RealTalkError(
                    f"nothing came for {STALL_TIMEOUT:.0f} s: see `realtalk doctor`"
                )
        bar.update(seconds - bar.n)
    graph.check()


class Graph:
    """The nodes, each a process, with the parameters of the default file."""

    def __init__(self) -> None:
        from realtalk_ros.nodes.up import default_params_file

        self.nodes: dict[str, subprocess.Popen] = {}
        self._params_file = default_params_file()

    def run(self, name: str, **parameters: Any) -> None:
        """Starts a node."""
        command = [sys.executable, "-m", f"realtalk_ros.nodes.{name}", "--ros-args"]
        command += ["-r", "__ns:=/realtalk"]
        if self._params_file.is_file():
            command += ["--params-file", str(self._params_file)]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={json.dumps(value)}"]
        start(self.nodes, name, command)

    def check(self) -> None:
        """Raises RealTalkError if a node has ended that should not have."""
        for name, process in self.nodes.items():
            code = process.poll()
            if code is not None and (code or name in ("expression_node", "renderer_node")):
                raise RealTalkError(f"the {name} ended with {code}: see what it says above")


class Monitor:
    """Watches the graph: diagnostics of every node, how far the speech is."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor

        from realtalk_ros.msg import FaceExpression
        from realtalk_ros.nodes.lifecycle import NAMESPACE
        from realtalk_ros.nodes.qos import EXPRESSION

        self.node = rclpy.create_node("demo", namespace=NAMESPACE)
        self.diagnostics: dict[str, dict] = {}
        self.errors: dict[str, str] = {}
        self.spoken = 0.0  # s of the clip
        self._first: float | None = None
        self._news = time.monotonic()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        self.node.create_subscription(FaceExpression, "expression", self._on_expression, EXPRESSION)

    @property
    def stalled(self) -> float:
        """Seconds since an expression came."""
        return time.monotonic() - self._news

    def spin(self, seconds: float = 0.1) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait_ready(self, names: list[str], check: Callable[[], None]) -> None:
        """Spins until every node reports that it works. Raises RealTalkError."""
        end = time.monotonic() + START_TIMEOUT
        while not all(name in self.diagnostics for name in names):
            self.spin()
            check()
            for name in names:
                if name in self.errors:
                    raise RealTalkError(self.errors[name])
            if time.monotonic() > end:
                missing = ", ".join(n for n in names if n not in self.diagnostics)
                raise RealTalkError(
                    f"{missing} did not get ready in {START_TIMEOUT:.0f} s: close other programs, "
                    "or see `realtalk doctor`"
                )
        self._news = time.monotonic()

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            name = status.name.split(": ")[-1]
            values = {item.key: item.value for item in status.values}
            if status.level in (b"\x02", 2):  # ERROR
                self.errors[name] = status.message
            else:
                self.diagnostics[name] = values

    def _on_expression(self, message: Any) -> None:
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self._first = stamp if self._first is None else self._first
        self.spoken, self._news = stamp - self._first, time.monotonic()
