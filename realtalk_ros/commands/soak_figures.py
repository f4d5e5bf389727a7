# SPDX-License-Identifier: Apache-2.0
"""Figures of a soak: frames, image against sound, latency and memory; which of them are good."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realtalk_ros.errors import RealTalkError

WARM_UP = 20.0  # s, before which memory is not looked at and frames are not counted
LONG = 240.0  # s from which on a drift can be told from the scatter of a few utterances
# What the table calls good.
MIN_FRAMES = 99.0  # % of those expected
MAX_OFFSET = 20.0  # ms, image after its sound
MAX_DRIFT = 1.0  # ms a minute
MAX_OVERHEAD = 80.0  # ms of live latency beyond the look-ahead
MAX_GROWTH = 5.0  # MB


@dataclass
class Observations:
    """What was sent, and what came of it. Times are s of one clock: stamps, and when a message was
    published, as DDS says."""

    images: list[tuple[float, float]] = field(default_factory=list)  # stamp, published
    sound: list[tuple[float, float, float]] = field(default_factory=list)  # stamp, s, published
    sent: list[tuple[float, float, bool]] = field(default_factory=list)  # start, published, live
    spoken: list[tuple[float, float, bool]] = field(default_factory=list)  # from, to, live
    memory: list[tuple[float, float]] = field(default_factory=list)  # when, MB of all nodes

    def figures(self, fps: float) -> dict[str, Any]:
        """In the units of the table. Raises RealTalkError where there is too little to say."""
        if not self.sound or len(self.images) < 2:
            raise RealTalkError("no images or no sound came: see what the nodes say above")
        images = np.array(self.images)
        begin = images[0, 0] + min(WARM_UP, 0.2 * (images[-1, 0] - images[0, 0]))
        end = images[-1, 0] - 0.5
        images = images[(images[:, 0] >= begin) & (images[:, 0] < end)]
        return {
            "seconds": end - begin,
            "fps": fps,
            "frames_expected": round((end - begin) * fps),
            "frames": len(np.unique(images[:, 0])),
            **self._timing(images, 1 / fps),
            **self._memory(begin),
        }

    def _timing(self, images: np.ndarray, frame: float) -> dict[str, Any]:
        """`images` (n, 2): stamp, published; `frame`: length of one, s."""
        sound, sent = np.array(self.sound), np.array(self.sent)
        offsets: list[float] = []
        latency: list[float] = []
        levels: list[tuple[float, float, bool]] = []
        late = early = 0
        for first, last, live in self.spoken:
            here = len(offsets)
            for stamp, published in images[(images[:, 0] >= first) & (images[:, 0] < last)]:
                i = int(np.searchsorted(sound[:, 0], stamp + 1e-4)) - 1
                if i >= 0 and stamp < sound[i, 0] + sound[i, 1] + 1e-3:
                    heard = sound[i, 2] + stamp - sound[i, 0]
                    offsets.append((published - heard) * 1e3)
                if live:
                    i = int(np.searchsorted(sent[:, 0], stamp + 1e-4)) - 1
                    latency.append((published - sent[i, 1]) * 1e3)
                else:
                    early += 1
                    late += published - stamp > frame
            if len(offsets) > here:
                levels.append((first, float(np.median(offsets[here:])), live))
        if not latency or not all(sum(m is live for *_, m in levels) > 1 for live in (True, False)):
            raise RealTalkError("too little was seen: let it run longer (--minutes 2)")
        return {
            "offset_ms_p50": float(np.percentile(offsets, 50)),
            "offset_ms_p95": float(np.percentile(np.abs(offsets), 95)),
            "drift_ms_per_minute": drift(levels),
            "live_latency_ms_p50": float(np.percentile(latency, 50)),
            "live_latency_ms_p95": float(np.percentile(latency, 95)),
            "early_frames": early,
            "early_frames_late": int(late),
        }

    def _memory(self, begin: float) -> dict[str, float]:
        """Of the last tenth from `begin` on, and by how much that is more than the first."""
        memory = np.array(self.memory)
        settled = memory[memory[:, 0] >= begin, 1]
        tenth = max(1, len(settled) // 10)
        first, last = np.median(settled[:tenth]), np.median(settled[-tenth:])
        return {"memory_mb": float(last), "memory_growth_mb": float(last - first)}


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


def judge(f: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(what, measured, wanted, good) for every row."""
    share = 100 * f["frames"] / max(1, f["frames_expected"])
    limit = f["look_ahead_ms"] + MAX_OVERHEAD
    long = f["seconds"] >= LONG
    return [
        ("frames published", f"{f['frames']} of {f['frames_expected']} ({share:.2f} %)",
         f"at least {MIN_FRAMES:g} %", share >= MIN_FRAMES),
        ("image after its sound, p50 / |p95|",
         f"{f['offset_ms_p50']:.1f} / {f['offset_ms_p95']:.1f} ms",
         f"p95 within {MAX_OFFSET:g} ms", f["offset_ms_p95"] <= MAX_OFFSET),
        ("drift of image against sound", f"{f['drift_ms_per_minute']:.2f} ms a minute",
         f"under {MAX_DRIFT:g} ms" if long else "too short to tell",
         not long or abs(f["drift_ms_per_minute"]) < MAX_DRIFT),
        ("live: sound in to image out, p50 / p95",
         f"{f['live_latency_ms_p50']:.0f} / {f['live_latency_ms_p95']:.0f} ms",
         f"p95 at most {limit:.0f} ms", f["live_latency_ms_p95"] <= limit),
        ("sent 500 ms early: late frames", f"{f['early_frames_late']} of {f['early_frames']}",
         "none later than one frame", f["early_frames_late"] == 0),
        ("memory of the nodes: growth", f"{f['memory_growth_mb']:+.1f} of {f['memory_mb']:.0f} MB",
         f"under {MAX_GROWTH:g} MB", f["memory_growth_mb"] < MAX_GROWTH),
    ]  # fmt: skip


def table(figures: dict[str, Any]) -> str:
    rows = judge(figures)
    lines = [f"{figures['seconds']:.0f} s of speech and silence at {figures['fps']:g} fps"]
    for what, measured, wanted, good in rows:
        lines.append(f"  {what:<40} {measured:>26}   {wanted:<26} {'ok' if good else 'MISSED'}")
    return "\n".join(lines)
