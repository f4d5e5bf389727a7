# SPDX-License-Identifier: Apache-2.0
"""`realtalk soak`: the true ROS 2 graph speaks and is silent for minutes: does it keep its word?

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
from realtalk_ros.commands.console import warn
from realtalk_ros.commands.graph_monitor import GraphMonitor
from realtalk_ros.commands.node_processes import FACE_NODES, add_graph, private_graph, start
from realtalk_ros.errors import RealTalkError

CHUNK = 0.02  # s
EARLY = 0.5  # s before it is heard, every other utterance is sent
UTTERANCE, PAUSE = 8.0, 3.0  # s
WARM_UP = 20.0  # s, before which memory is not looked at and frames are not counted
LONG = 240.0  # s from which on a drift can be told from the scatter of a few utterances
# What the table calls good.
FRAMES, OFFSET, DRIFT, OVERHEAD, GROWTH = 99.0, 20.0, 1.0, 80.0, 5.0  # %, ms, ms/min, ms, MB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="how long (default: %(default)g)")
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
        self.images: list[tuple[float, float]] = []  # stamp, published [s]
        self.sound: list[tuple[float, float, float]] = []  # stamp, length, published [s]
        self.sent: list[tuple[float, float, bool]] = []  # start, published [s], live
        self.memory: list[tuple[float, float]] = []  # when [s], MB of all nodes
        self.spoken: list[tuple[float, float, bool]] = []  # from, to [s], live
        self._base = time.time() // 1  # stamps are kept relative to it, for precision
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
        return bool(self.images and self._audio.get_subscription_count())

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
                name = f"soak-{len(self.spoken)}"
                for i in range(0, len(part), step):
                    piece = part[i : i + step]
                    # Live: when its last sample was spoken.
                    due = start + (i + (len(piece) if live else 0)) / rate - lead
                    self.spin(max(0.0, due - self._now()))
                    last = i + step >= len(part)
                    self._send(piece, rate, start + i / rate, name=name, last=last, live=live)
                self.spoken.append((start, start + len(part) / rate, live))
                self.check(FACE_NODES)
                self.spin(PAUSE + lead)
                live = not live
            bar.update(total - bar.n)
        self.spin(1.0)

    def figures(self, fps: float, look_ahead: float) -> dict[str, Any]:
        """What was seen, in the units of the table."""
        images = np.array(self.images)
        begin = images[0, 0] + min(WARM_UP, 0.2 * (images[-1, 0] - images[0, 0]))
        end = images[-1, 0] - 0.5
        kept = images[(images[:, 0] >= begin) & (images[:, 0] < end)]
        expected = round((end - begin) * fps)
        offsets: list[float] = []
        latency: list[float] = []
        levels: list[tuple[float, float, bool]] = []
        late = early = 0
        if not self.sound:
            raise RealTalkError("no sound came on audio_out: see what the nodes say above")
        sound, sent = np.array(self.sound), np.array(self.sent)
        for first, last, live in self.spoken:
            here = len(offsets)
            for stamp, published in kept[(kept[:, 0] >= first) & (kept[:, 0] < last)]:
                i = int(np.searchsorted(sound[:, 0], stamp + 1e-4)) - 1
                if i >= 0 and stamp < sound[i, 0] + sound[i, 1] + 1e-3:
                    heard = sound[i, 2] + stamp - sound[i, 0]
                    offsets.append((published - heard) * 1e3)
                if live:
                    i = int(np.searchsorted(sent[:, 0], stamp + 1e-4)) - 1
                    latency.append((published - sent[i, 1]) * 1e3)
                else:
                    early += 1
                    late += published - stamp > 1 / fps
            if len(offsets) > here:
                levels.append((first, float(np.median(offsets[here:])), live))
        if not latency or not all(sum(m is live for *_, m in levels) > 1 for live in (True, False)):
            raise RealTalkError("too little was seen: let it run longer (--minutes 2)")
        memory = np.array(self.memory)
        settled = memory[memory[:, 0] >= begin]
        tenth = max(1, len(settled) // 10)
        diagnostics = self.diagnostics
        return {
            "seconds": end - begin,
            "fps": fps,
            "frames_expected": expected,
            "frames": len(np.unique(kept[:, 0])),
            "offset_ms_p50": float(np.percentile(offsets, 50)),
            "offset_ms_p95": float(np.percentile(np.abs(offsets), 95)),
            "drift_ms_per_minute": drift(levels),
            "live_latency_ms_p50": float(np.percentile(latency, 50)),
            "live_latency_ms_p95": float(np.percentile(latency, 95)),
            "look_ahead_ms": look_ahead_ms(look_ahead),
            "early_frames": early,
            "early_frames_late": int(late),
            "memory_mb": float(np.median(settled[-tenth:, 1])),
            "memory_growth_mb": float(
                np.median(settled[-tenth:, 1]) - np.median(settled[:tenth, 1])
            ),
            "late_expressions": int(diagnostics["renderer_node"].get("late_expressions", 0)),
            "render_ms_p95": float(diagnostics["renderer_node"].get("render_ms_p95", "nan")),
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
        self.sent.append((start, self._now(), live))

    def _now(self) -> float:
        return time.time() - self._base

    def _published(self, info: dict) -> float:
        return (info["source_timestamp"] - int(self._base) * 10**9) * 1e-9

    def _on_image(self, data: bytes, info: dict) -> None:
        second, nanosecond = struct.unpack_from("<iI", data, 4)  # after the encapsulation header
        self.images.append((second - self._base + nanosecond * 1e-9, self._published(info)))

    def _on_sound(self, message: Any, info: dict) -> None:
        stamp = message.header.stamp
        seconds = len(message.data) / 2 / max(1, message.sample_rate)
        if seconds:
            start = stamp.sec - self._base + stamp.nanosec * 1e-9
            self.sound.append((start, seconds, self._published(info)))

    def on_report(self, name: str) -> None:
        if name == "expression_node":
            resident_mb = sum(resident(process.pid) for process in self.nodes.values())
            self.memory.append((self._now(), resident_mb))


def drift(levels: list[tuple[float, float, bool]]) -> float:
    """Slope of (when [s], offset [ms], live) of utterances, ms a minute.

    Live and early utterances may differ by a constant, which is no drift.
    """
    minutes: list[float] = []
    offsets: list[float] = []
    for live in (True, False):
        rows = [(when, offset) for when, offset, mode in levels if mode is live]
        middle = float(np.mean([offset for _, offset in rows]))
        minutes += [when / 60 for when, _ in rows]
        offsets += [offset - middle for _, offset in rows]
    return float(np.polyfit(minutes, offsets, 1)[0])


def look_ahead_ms(look_ahead: float) -> float:
    """Of the network that has this one for a setting."""
    from realtalk_ros.expression.onnx_model import ExpressionModel

    return ExpressionModel(look_ahead=look_ahead).look_ahead * 1e3


def resident(pid: int) -> float:
    """Memory of a process that is in RAM and its own, MB (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return math.nan
    kb = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), "nan")
    return float(kb) / 1024


def judge(f: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(what, measured, wanted, good) for every row."""
    share = 100 * f["frames"] / max(1, f["frames_expected"])
    limit = f["look_ahead_ms"] + OVERHEAD
    long = f["seconds"] >= LONG
    return [
        ("frames published", f"{f['frames']} of {f['frames_expected']} ({share:.2f} %)",
         f"at least {FRAMES:g} %", share >= FRAMES),
        ("image after its sound, p50 / |p95|",
         f"{f['offset_ms_p50']:.1f} / {f['offset_ms_p95']:.1f} ms",
         f"p95 within {OFFSET:g} ms", f["offset_ms_p95"] <= OFFSET),
        ("drift of image against sound", f"{f['drift_ms_per_minute']:.2f} ms a minute",
         f"under {DRIFT:g} ms" if long else "too short to tell",
         not long or abs(f["drift_ms_per_minute"]) < DRIFT),
        ("live: sound in to image out, p50 / p95",
         f"{f['live_latency_ms_p50']:.0f} / {f['live_latency_ms_p95']:.0f} ms",
         f"p95 at most {limit:.0f} ms", f["live_latency_ms_p95"] <= limit),
        ("sent 500 ms early: late frames", f"{f['early_frames_late']} of {f['early_frames']}",
         "none later than one frame", f["early_frames_late"] == 0),
        ("memory of the nodes: growth", f"{f['memory_growth_mb']:+.1f} of {f['memory_mb']:.0f} MB",
         f"under {GROWTH:g} MB", f["memory_growth_mb"] < GROWTH),
    ]  # fmt: skip


def table(figures: dict[str, Any]) -> str:
    rows = judge(figures)
    lines = [f"{figures['seconds']:.0f} s of speech and silence at {figures['fps']:g} fps"]
    for what, measured, wanted, good in rows:
        lines.append(f"  {what:<40} {measured:>26}   {wanted:<26} {'ok' if good else 'MISSED'}")
    return "\n".join(lines)
