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
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from tqdm import tqdm

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.provenance import write_picture
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.onnx_session import providers_for
from realtalk_ros.rendering.face_renderer import FaceRenderer

CLIP = Path(__file__).parents[1] / "data/speech_sample.wav"
START_TIMEOUT = 90.0  # s, for a slow machine to load the networks
STALL_TIMEOUT = 20.0  # s without news of the speech after which the demo gives up
MAX_SHIFT = 0.4  # s, largest offset between lips and sound that is looked for
MIN_CORRELATION = 0.2  # of mouth opening with loudness, below which there is no offset to tell
USABLE, KEPT_UP = 0.25, 0.9  # shares of the frames: a face at all; as many as were asked for
MIN_DISK_MB = 50  # for the video and its sheet
SHEET_COLUMNS, SHEET_ROWS, THUMB = 6, 4, 256


def add_graph(parser: argparse.ArgumentParser) -> None:
    """What is said, and by which nodes."""
    add = parser.add_argument
    add("--wav", metavar="FILE", type=Path, default=CLIP,
        help="speech (default: the bundled clip)")  # fmt: skip
    add("--avatar", metavar="NAME_OR_DIR", default="default", help="whose face")
    add("--fps", type=float, default=25.0, help="frames a second (default: %(default)g)")
    add("--size", type=int, default=512, help="height in pixels (default: %(default)s)")
    add("--device", choices=("cpu", "cuda", "tensorrt"), default="cpu",
        help="where the networks run (default: %(default)s)")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", metavar="OUT.mp4", type=Path, default=Path("demo.mp4"),
        help="video to write (default: %(default)s); a contact sheet comes beside it")  # fmt: skip
    add_graph(parser)
    add("--lead", metavar="S", type=float, default=0.0,
        help="send speech this many seconds before it is heard (default: 0, live)")  # fmt: skip


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
            raise RealTalkError(
                "the recorder wrote no figures: see what it says above"
            ) from error
    figures = Figures.of(stats)
    opening, thumbs = watch(args.out, Mouth(avatar, args.size, args.device))
    sound, sound_rate = read_audio(args.out)
    figures.offset_ms = lip_offset(opening, sound, sound_rate, args.fps)
    sheet = args.out.with_suffix(".png")
    write_picture(sheet, contact_sheet(thumbs, sound, sound_rate, args.fps), avatar.provenance)
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
    from realtalk_ros.nodes.up import default_params_file

    use_fastdds_profile()

    common = {"avatar": str(args.avatar), "fps": args.fps, "device": args.device}
    params_file = default_params_file()
    nodes: dict[str, subprocess.Popen] = {}

    def run_node(name: str, **parameters: Any) -> None:
        command = [sys.executable, "-m", f"realtalk_ros.nodes.{name}", "--ros-args"]
        command += ["-r", "__ns:=/realtalk"]
        if params_file.is_file():
            command += ["--params-file", str(params_file)]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={json.dumps(value)}"]
        start(nodes, name, command)

    def check() -> None:
        for name, process in nodes.items():
            code = process.poll()
            if code is not None and (code or name in ("expression_node", "renderer_node")):
                raise RealTalkError(f"the {name} ended with {code}: see what it says above")

    # Ctrl-C must reach the `finally` that stops the other processes.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        monitor = Monitor()
        try:
            print("== starting expression and renderer node", flush=True)
            run_node("expression_node", **common)
            # All frames, or as many as this machine makes of them: that is what is measured.
            run_node("renderer_node", **common, size=args.size, adapt_quality=False)
            monitor.wait_ready(["expression_node", "renderer_node"], check)
            out = str(args.out.absolute())
            run_node("recorder_node", out=out, fps=args.fps, stats=str(stats_file))
            monitor.wait_ready(["recorder_node"], check)
            run_node("speech_node", wav=str(args.wav.absolute()), lead=args.lead, wait_for=2)
            print(f"== speaking {args.wav.name}, live, in real time", flush=True)
            with tqdm(total=round(seconds, 1), unit="s", desc="speaking", disable=None,
                      bar_format="{desc} {bar} {n:.1f} of {total:.1f} s") as bar:  # fmt: skip
                while nodes["recorder_node"].poll() is None:
                    monitor.spin()
                    check()
                    bar.update(min(seconds, monitor.spoken) - bar.n)
                    if monitor.stalled > STALL_TIMEOUT:
                        raise RealTalkError(
                            f"nothing came for {STALL_TIMEOUT:.0f} s: see `realtalk doctor`"
                        )
                bar.update(seconds - bar.n)
            check()
            return monitor.diagnostics
        finally:
            stop(nodes)
            monitor.node.destroy_node()
    finally:
        rclpy.try_shutdown()


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
        self.node.create_subscription(
            FaceExpression, "expression", self._on_expression, EXPRESSION
        )

    @property
    def stalled(self) -> float:
        """Seconds since an expression came."""
        return time.monotonic() - self._news

    def spin(self, seconds: float = 0.1) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait_ready(self, names: list[str], check) -> None:
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

    def _on_diagnostics(self, message) -> None:
        for status in message.status:
            name = status.name.split(": ")[-1]
            values = {item.key: item.value for item in status.values}
            if status.level in (b"\x02", 2):  # ERROR
                self.errors[name] = status.message
            else:
                self.diagnostics[name] = values

    def _on_expression(self, message) -> None:
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self._first = stamp if self._first is None else self._first
        self.spoken, self._news = stamp - self._first, time.monotonic()


def start(nodes: dict[str, subprocess.Popen], name: str, command: list[str]) -> None:
    """Starts a process and lists it in `nodes`. A signal waits for that: `stop` finds them all."""
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        nodes[name] = subprocess.Popen(command)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in came:
        signal.raise_signal(number)


def stop(nodes: dict[str, subprocess.Popen]) -> None:
    """Ends every process: asked first, then forced."""
    for process in nodes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    end = time.monotonic() + 5
    for process in nodes.values():
        try:
            process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# What was measured


@dataclass
class Figures:
    """From the stamps of the images and the sound, and from when DDS says they were published."""

    expected: int  # frames from the beginning to the end of the speech
    published: int
    fps: float
    latency_ms: tuple[float, float]  # p50 and p95
    offset_ms: float = float("nan")  # lips behind the sound

    @classmethod
    def of(cls, stats: dict) -> Figures:
        """`stats` is what the recorder node writes. Raises RealTalkError if nothing came."""
        audio, images = np.array(stats["audio"]), np.array(stats["images"])
        if not len(audio) or not len(images):
            raise RealTalkError("no images or no sound came: see what the nodes say above")
        fps = stats["fps"]
        begin, end = audio[0, 0], audio[-1, 0] + audio[-1, 1]
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


class Mouth:
    """Tells from a picture how open an avatar's mouth is, by what opening it does to its pixels."""

    def __init__(self, avatar: Avatar, size: int, device: str):
        renderer = FaceRenderer(avatar, size, providers_for(device))
        x, y, side = (value * size / avatar.size[1] for value in avatar.crop)
        self.face = (slice(max(0, int(y - 0.1 * side)), int(y + 1.1 * side)),
                     slice(max(0, int(x - 0.1 * side)), int(x + 1.1 * side)))  # fmt: skip
        self._box = (slice(int(y + 0.55 * side), int(y + 0.9 * side)),
                     slice(int(x + 0.3 * side), int(x + 0.7 * side)))  # fmt: skip
        opened = np.zeros(52, np.float32)
        opened[arkit.INDEX["jawOpen"]] = 0.6
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


def watch(path: Path, mouth: Mouth) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Looks at a video once: ((n,) how open the mouth is in every frame, [(frame, its face)])."""
    count = SHEET_COLUMNS * SHEET_ROWS
    opening, thumbs = [], []
    with av.open(str(path)) as container:
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
    power = np.array([np.mean(sound[int(a) : int(b)] ** 2) if b > a else 0.0
                      for a, b in zip(edges[:-1], edges[1:], strict=True)])  # fmt: skip
    loudness = np.log10(power + 1e-5)

    def normal(values: np.ndarray) -> np.ndarray:
        # Slow drifts (head motion, phrase level) are not what is compared.
        slow = np.convolve(np.pad(values, 12, mode="edge"), np.ones(25) / 25, mode="valid")
        values = values - slow
        return values / (values.std() + 1e-12)

    a, b = normal(loudness), normal(opening)
    most = round(MAX_SHIFT * fps)
    lags = np.arange(-most, most + 1)
    n = len(a)
    score = np.array([np.mean(a[max(0, -k) : n - max(0, k)] * b[max(0, k) : n + min(0, k)])
                      for k in lags])  # fmt: skip
    best = int(score[1:-1].argmax()) + 1
    left, top, right = score[best - 1 : best + 2]
    if top < MIN_CORRELATION:
        return float("nan")
    bend = left - 2 * top + right
    fraction = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float((lags[best] + fraction) / fps * 1e3)


def contact_sheet(
    thumbs: list[tuple[int, np.ndarray]], sound: np.ndarray, rate: int, fps: float
) -> np.ndarray:
    """A picture of frames from all over the clip, the waveform under them with their places."""
    width, strip = SHEET_COLUMNS * THUMB, 160
    sheet = np.full((SHEET_ROWS * THUMB + strip, width, 3), 24, np.uint8)
    for i, (k, thumb) in enumerate(thumbs):
        y, x = i // SHEET_COLUMNS * THUMB, i % SHEET_COLUMNS * THUMB
        cv2.putText(thumb, f"{i + 1}  {k / fps:.2f} s", (8, THUMB - 10), cv2.FONT_HERSHEY_SIMPLEX,
                    0.45, (255, 255, 255), 1, cv2.LINE_AA)  # fmt: skip
        sheet[y : y + THUMB, x : x + THUMB] = thumb
    total = (thumbs[-1][0] + 1) / fps
    middle, half = SHEET_ROWS * THUMB + strip // 2 + 8, strip // 2 - 20
    parts = np.array_split(np.abs(sound[: round(total * rate)]), width)
    scale = half / max(1e-6, max((part.max() for part in parts if len(part)), default=1.0))
    for x, part in enumerate(parts):
        tall = round(float(part.max()) * scale) if len(part) else 0
        cv2.line(sheet, (x, middle - tall), (x, middle + tall), (200, 160, 90), 1)
    for i, (k, _) in enumerate(thumbs):
        x = min(width - 1, round(k / fps / total * width))
        cv2.line(sheet, (x, middle - half - 4), (x, middle + half), (90, 200, 240), 1)
        cv2.putText(sheet, str(i + 1), (min(x + 2, width - 20), middle - half + 4),
                    cv2.FONT_HERSHEY_SIMPLEX, 0.4, (90, 200, 240), 1, cv2.LINE_AA)  # fmt: skip
    return sheet
