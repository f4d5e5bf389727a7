# SPDX-License-Identifier: Apache-2.0
"""`realtalk soak`: the real ROS 2 nodes speak and are silent for minutes; figures and their limits.

Expression and renderer node run as processes of their own. Utterances come in turns live (each
chunk when its last sample was spoken) and 500 ms before they are heard. All times are those at
which DDS says that a message was published.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import subprocess
import time
from array import array
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.audio.pcm import encode_pcm
from realtalk_ros.commands.graph_monitor import GraphMonitor
from realtalk_ros.commands.node_processes import FACE_NODES, add_graph, private_graph, start
from realtalk_ros.commands.soak_figures import Observations, judge, table
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output.console import warn

CHUNK = 0.02  # s
EARLY = 0.5  # s before it is heard, every other utterance is sent
UTTERANCE, PAUSE = 8.0, 3.0  # s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="how long")
    add_graph(parser)
    add("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    if args.minutes <= 0:
        raise RealTalkError("--minutes must be more than 0")
    pcm, rate = read_audio(args.wav, partial(warn, "soak"))
    common = {"avatar": args.avatar, "fps": args.fps, "device": args.device}
    with private_graph() as nodes:
        start(nodes, "expression_node", **common, look_ahead=args.look_ahead)
        start(nodes, "renderer_node", **common, size=args.size)
        watcher = Watcher(nodes)
        watcher.wait_ready(FACE_NODES, watcher.is_shown)
        watcher.speak(pcm, rate, args.minutes * 60)
        figures = watcher.figures(args.fps, args.look_ahead)
    print(json.dumps(figures) if args.json else table(figures))
    return 0 if all(good for *_, good in judge(figures)) else 1


class Watcher(GraphMonitor):
    """Speaks to the graph, and writes down when everything came."""

    def __init__(self, nodes: dict[str, subprocess.Popen]):
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import Image

        from realtalk_ros.msg import AudioChunk
        from realtalk_ros.nodes.message_info import with_info
        from realtalk_ros.nodes.qos import NO_PUBLISHER_EVENTS

        super().__init__("soak", nodes)
        self.seen = Observations()
        self._base = time.time() // 1  # its times are relative to this, for precision
        self._AudioChunk = AudioChunk
        # Not unpacked: of an image, only its stamp is looked at.
        images = with_info(self._on_image)
        self.subscribe(Image, "face/image_raw", images, QoSProfile(depth=25), raw=True)
        self.subscribe(AudioChunk, "audio_out", with_info(self._on_sound), QoSProfile(depth=500))
        self._audio = self.node.create_publisher(
            AudioChunk, "audio", QoSProfile(depth=100), event_callbacks=NO_PUBLISHER_EVENTS
        )

    def is_shown(self) -> bool:
        """Whether images come, and the sound is listened to."""
        return bool(self.seen.images and self._audio.get_subscription_count())

    def speak(self, pcm: np.ndarray, rate: int, seconds: float) -> None:
        """Speech, live and early in turns, and silence, for `seconds`."""
        step, length = round(CHUNK * rate), round(UTTERANCE * rate)
        began, at, live = self._now(), 0, True
        total = round(seconds)
        with tqdm(total=total, unit="s", desc="soaking", disable=None) as bar:
            while (gone := self._now() - began) < seconds:
                bar.update(round(min(gone, seconds)) - bar.n)
                part = pcm[at : at + length]
                at = (at + length) % max(1, len(pcm) - length)
                lead = 0.0 if live else EARLY
                start = self._now() + max(lead, 0.02)
                name = f"soak-{len(self.seen.spoken)}"
                for i in range(0, len(part), step):
                    piece = part[i : i + step]
                    # Live: when its last sample was spoken.
                    due = start + (i + (len(piece) if live else 0)) / rate - lead
                    self.spin(max(0.0, due - self._now()))
                    last = i + step >= len(part)
                    self._send(piece, rate, start + i / rate, name=name, last=last, live=live)
                self.seen.spoken.append((start, start + len(part) / rate, live))
                self.check(FACE_NODES)
                self.spin(PAUSE + lead)
                live = not live
            bar.update(total - bar.n)
        self.spin(1.0)

    def figures(self, fps: float, look_ahead: float) -> dict[str, Any]:
        """In the units of the table. Raises RealTalkError where there is too little to say."""
        renderer = self.diagnostics["renderer_node"]
        return {
            **self.seen.figures(fps),
            "look_ahead_ms": look_ahead_ms(look_ahead),
            "late_expressions": int(renderer.get("late_expressions", 0)),
            "render_ms_p95": float(renderer.get("render_ms_p95", "nan")),
        }

    def _send(
        self, pcm: np.ndarray, rate: int, start: float, *, name: str, last: bool, live: bool
    ) -> None:
        """Publishes a chunk of the utterance `name` that is to be heard at `start` [s]."""
        message = self._AudioChunk(
            sample_rate=rate, channels=1, encoding="pcm_s16le", utterance_id=name, last=last
        )
        stamp = message.header.stamp
        nanoseconds = round(start * 1e9)
        stamp.sec, stamp.nanosec = divmod(nanoseconds + int(self._base) * 10**9, 10**9)
        message.data = array("B", encode_pcm(pcm))
        self._audio.publish(message)
        self.seen.sent.append((start, self._now(), live))

    def _now(self) -> float:
        return time.time() - self._base

    def _published(self, info: dict) -> float:
        return (info["source_timestamp"] - int(self._base) * 10**9) * 1e-9

    def _on_image(self, data: bytes, info: dict) -> None:
        second, nanosecond = struct.unpack_from("<iI", data, 4)  # after the encapsulation header
        self.seen.images.append((second - self._base + nanosecond * 1e-9, self._published(info)))

    def _on_sound(self, message: Any, info: dict) -> None:
        stamp = message.header.stamp
        seconds = len(message.data) / 2 / max(1, message.sample_rate)
        if seconds:
            start = stamp.sec - self._base + stamp.nanosec * 1e-9
            self.seen.sound.append((start, seconds, self._published(info)))

    def on_report(self, name: str) -> None:
        if name == "expression_node":
            memory = sum(private_mb(process.pid) for process in self.nodes.values())
            self.seen.memory.append((self._now(), memory))


def look_ahead_ms(look_ahead: float) -> float:
    """Of the network that has this one for a setting."""
    from realtalk_ros.expression.onnx_model import ExpressionModel

    return ExpressionModel(look_ahead=look_ahead).look_ahead * 1e3


def private_mb(pid: int) -> float:
    """Memory of a process that is in RAM and its own alone (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return math.nan
    kb = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), "nan")
    return float(kb) / 1024
