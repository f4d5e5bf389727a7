# SPDX-License-Identifier: Apache-2.0
"""Figures and a contact sheet of a recorded demo: frames, latency, lips against sound."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.onnx_session import providers_for
from realtalk_ros.output.contact_sheet import face_square
from realtalk_ros.rendering.face_renderer import FaceRenderer

MAX_SHIFT = 0.4  # s, largest offset between lips and sound that is looked for
CLOCK_TOLERANCE = 0.1  # s, by which a whole recording may seem shorter than its speech
MIN_CORRELATION = 0.2  # of mouth opening with loudness; below, the offset is unknown
SHEET_COLUMNS, SHEET_ROWS, THUMB = 6, 4, 256


@dataclass
class Figures:
    """From the stamps of the images and the sound, and from when DDS says they were published."""

    expected: int  # frames from the beginning to the end of the speech
    published: int
    fps: float
    latency_ms: tuple[float, float]  # p50 and p95
    offset_ms: float = float("nan")  # lips behind the sound

    @classmethod
    def of(cls, stats: dict, seconds: float = 0.0) -> Figures:
        """`stats` is what the recorder node writes of `seconds` of speech, all of which count where
        it ended early, as it does if no sound comes. Raises RealTalkError if nothing came."""
        audio, images = np.array(stats["audio"]), np.array(stats["images"])
        if not len(audio) or not len(images):
            raise RealTalkError("no images or no sound came: see what the nodes say above")
        fps = stats["fps"]
        begin, end = audio[0, 0], audio[-1, 0] + audio[-1, 1]
        if end < begin + seconds - CLOCK_TOLERANCE:
            end = begin + seconds
        expected = int(np.floor(end * fps + 1e-3) - np.ceil(begin * fps - 1e-3)) + 1
        inside = (images[:, 0] >= begin - 1e-3 / fps) & (images[:, 0] <= end + 1e-3 / fps)
        images = images[inside]
        if len(images) < 2:
            raise RealTalkError("no images of the speech came: see what the nodes say above")
        # The chunk that holds the sound of an image, and when it was sent.
        chunk = np.clip(np.searchsorted(audio[:, 0], images[:, 0] + 1e-4) - 1, 0, len(audio) - 1)
        latency = (images[:, 1] - audio[chunk, 2]) * 1e3
        p50, p95 = np.percentile(latency, (50, 95))
        return cls(
            expected=expected,
            published=len(np.unique(images[:, 0])),
            fps=(len(images) - 1) / (images[-1, 1] - images[0, 1]),
            latency_ms=(float(p50), float(p95)),
        )

    def table(self, diagnostics: dict[str, dict]) -> str:
        dropped = self.expected - self.published
        share = 100 * self.published / self.expected
        renderer = diagnostics.get("renderer_node", {})
        side = "ahead of" if self.offset_ms < 0 else "behind"
        known = np.isfinite(self.offset_ms)
        rows = [
            ("frames expected", f"{self.expected}", "of the speech, at the frame rate"),
            ("frames published", f"{self.published}", f"{share:.1f} %"),
            ("frames dropped", f"{dropped}", ""),
            ("frames per second", f"{self.fps:.2f}", "as published"),
            ("latency p50", f"{self.latency_ms[0]:.0f} ms", "from when the sound was published"),
            ("latency p95", f"{self.latency_ms[1]:.0f} ms", "to when its image was, by stamps"),
            ("audio/video offset", f"{abs(self.offset_ms):.0f} ms" if known else "unknown",
             f"lips {side} sound in the video: mouth opening" if known else
             "mouth opening and loudness of the video hardly correlate"),
            ("", "", "in its pixels against its loudness" if known else ""),
            ("one frame p50 / p95", f"{renderer.get('render_ms_p50', '?')} / "
             f"{renderer.get('render_ms_p95', '?')} ms", "rendering"),
        ]  # fmt: skip
        return "\n" + "\n".join(f"  {a:<20} {b:>15}   {c}".rstrip() for a, b, c in rows if a or c)


class MouthOpening:
    """Measures in a picture how open an avatar's mouth is, by how opening it changes the pixels."""

    def __init__(self, avatar: Avatar, size: int, device: str):
        renderer = FaceRenderer(avatar, size, providers_for(device))
        x, y, side = face_square(renderer)
        self.face = (
            slice(max(0, int(y - 0.1 * side)), int(y + 1.1 * side)),
            slice(max(0, int(x - 0.1 * side)), int(x + 1.1 * side)),
        )
        self._box = (
            slice(int(y + 0.55 * side), int(y + 0.9 * side)),
            slice(int(x + 0.3 * side), int(x + 0.7 * side)),
        )
        opened = arkit.weights(jawOpen=0.6)
        change: Any = 0.0
        for template in np.linspace(0, renderer.template_count - 1, 5).astype(int):
            for weights, sign in ((opened, 1), (np.zeros_like(opened), -1)):
                change = change + sign * self._look(renderer.render(weights, template))
        self._change = change / (np.linalg.norm(change) + 1e-9)

    def _look(self, image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image[self._box], (0, 0), 2).astype(np.float32)

    def opening(self, image: np.ndarray) -> float:
        """In arbitrary units, from a constant that is the same for all pictures."""
        return float((self._look(image) * self._change).sum())


def watch(path: Path, mouth: MouthOpening) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Looks at a video once: ((n,) how open the mouth is in every frame, [(frame, its face)])."""
    count = SHEET_COLUMNS * SHEET_ROWS
    opening, thumbs = [], []
    with av.open(str(path.absolute())) as container:  # what is before a colon is no protocol
        total = container.streams.video[0].frames
        picks = set(np.linspace(0, total - 1, count).round().astype(int).tolist())
        for k, frame in enumerate(container.decode(video=0)):
            image = frame.to_ndarray(format="bgr24")
            opening.append(mouth.opening(image))
            if k in picks:
                close = cv2.resize(image[mouth.face], (THUMB, THUMB), interpolation=cv2.INTER_AREA)
                thumbs.append((k, close))
    return np.array(opening), thumbs


def lip_offset(opening: np.ndarray, sound: np.ndarray, rate: int, fps: float) -> float:
    """Milliseconds by which the lips follow the sound (negative: precede it).

    The lag of the greatest correlation of mouth opening (n,) with loudness, both at the frame rate;
    a parabola through the best three lags gives fractions of a frame. NaN if they hardly correlate.
    """
    edges = np.round((np.arange(len(opening) + 1) - 0.5) * rate / fps).clip(0, len(sound))
    power = np.array(
        [
            np.mean(sound[int(a) : int(b)] ** 2) if b > a else 0.0
            for a, b in itertools.pairwise(edges)
        ]
    )
    loudness = np.log10(power + 1e-5)

    def normal(values: np.ndarray) -> np.ndarray:
        # Slow drifts (head motion, phrase level) are not what is compared.
        slow = np.convolve(np.pad(values, 12, mode="edge"), np.ones(25) / 25, mode="valid")
        values = values - slow
        return values / (values.std() + 1e-12)

    a, b = normal(loudness), normal(opening)
    most = round(MAX_SHIFT * fps)
    lags = range(-most, most + 1)
    n = len(a)
    score = np.array(
        [np.mean(a[max(0, -k) : n - max(0, k)] * b[max(0, k) : n + min(0, k)]) for k in lags]
    )
    best = int(score[1:-1].argmax()) + 1
    left, top, right = score[best - 1 : best + 2]
    if top < MIN_CORRELATION:
        return float("nan")
    bend = left - 2 * top + right
    fraction = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float((lags[best] + fraction) / fps * 1e3)


def demo_sheet(
    thumbs: list[tuple[int, np.ndarray]], sound: np.ndarray, rate: int, fps: float
) -> np.ndarray:
    """A picture of frames from all over the clip, the waveform under them with their places."""
    width, strip = SHEET_COLUMNS * THUMB, 160
    sheet = np.full((SHEET_ROWS * THUMB + strip, width, 3), 24, np.uint8)
    for i, (k, thumb) in enumerate(thumbs):
        y, x = i // SHEET_COLUMNS * THUMB, i % SHEET_COLUMNS * THUMB
        label(thumb, f"{i + 1}  {k / fps:.2f} s", (8, THUMB - 10), 0.45, (255, 255, 255))
        sheet[y : y + THUMB, x : x + THUMB] = thumb
    total = (thumbs[-1][0] + 1) / fps
    middle, half = SHEET_ROWS * THUMB + strip // 2 + 8, strip // 2 - 20
    parts = np.array_split(np.abs(sound[: round(total * rate)]), width)
    loudest = max((float(part.max()) for part in parts if len(part)), default=1.0)
    scale = half / max(1e-6, loudest)
    for x, part in enumerate(parts):
        tall = round(float(part.max()) * scale) if len(part) else 0
        cv2.line(sheet, (x, middle - tall), (x, middle + tall), (200, 160, 90), 1)
    for i, (k, _) in enumerate(thumbs):
        x = min(width - 1, round(k / fps / total * width))
        cv2.line(sheet, (x, middle - half - 4), (x, middle + half), (90, 200, 240), 1)
        label(sheet, str(i + 1), (min(x + 2, width - 20), middle - half + 4), 0.4, (90, 200, 240))
    return sheet


def label(
    image: np.ndarray, text: str, at: tuple[int, int], scale: float, colour: tuple[int, int, int]
) -> None:
    """Writes into a picture; `at` is the left end of the text's base line, `colour` is BGR."""
    cv2.putText(
        image,
        text,
        at,
        fontFace=cv2.FONT_HERSHEY_SIMPLEX,
        fontScale=scale,
        color=colour,
        lineType=cv2.LINE_AA,
    )
