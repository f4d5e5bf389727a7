# SPDX-License-Identifier: Apache-2.0
"""Real nodes in processes of their own, and a client that knows only the topic table."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.avatar_names import AVATAR_DIR
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes.fastdds_profile import use_fastdds_profile
from realtalk_ros.onnx_session import FILES, MODEL_DIR

SPEECH = os.path.join(os.path.dirname(__file__), "../realtalk_ros/data/speech_sample.wav")
RATE = 16000
SETTLE = 0.1  # s in which a reader, too, mostly gets to know a writer that has found it
ANSWERED = 1.0  # s after which what was sent to it is taken for lost
# What is promised of speed holds on a machine that has nothing else to do, and is asked for where
# this is set. CI's may be busy, or slow for minutes: there it must come about, however late.
STRICT = bool(os.environ.get("REALTALK_TEST_STRICT"))


# Rendering is most of what a graph computes. Where nobody asks for speed, fewer frames will do, and
# one thread, as two spin while they wait for each other.
FPS = 25.0 if STRICT else 5.0
THREADS = {} if STRICT else {"threads": 1}


def promised(limit: float, lenient: float) -> float:
    """`limit` where the tests are strict about speed, `lenient` elsewhere."""
    return limit if STRICT else lenient


def still_avatar() -> str:
    """A folder with the first template alone of the default avatar, as of a photograph. (Each one
    takes time to load, and a face at rest is only rendered again where the template changes.)"""
    folder = Path(tempfile.mkdtemp(prefix="realtalk-avatar-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(AVATAR_DIR / "default", folder, dirs_exist_ok=True)
    meta = yaml.safe_load((folder / "avatar.yaml").read_text())
    meta["templates"] = meta["templates"][:1]
    (folder / "avatar.yaml").write_text(yaml.safe_dump(meta))
    np.save(folder / "landmarks.npy", np.load(folder / "landmarks.npy")[:1])
    return str(folder)


AVATAR = os.environ.get("REALTALK_TEST_AVATAR") or still_avatar()


def speech(seconds: float) -> np.ndarray:
    """The beginning of the bundled clip, float32 mono at 16 kHz."""
    pcm, rate = read_audio(SPEECH)
    assert rate == RATE
    return pcm[: round(seconds * RATE)]


def environment(domain: int) -> dict[str, str]:
    """Of a process in a ROS domain."""
    return dict(os.environ, ROS_DOMAIN_ID=str(domain))


def start(name: str, domain: int, *ros_args: str, stderr=None, **parameters) -> subprocess.Popen:
    """Starts a node's module as a process. (Frames are counted: none are left out on purpose.)"""
    if name == "renderer_node":
        parameters = {"adapt_quality": "false", **THREADS, **parameters}
    if name in ("expression_node", "renderer_node"):
        parameters = {"avatar": AVATAR, "fps": FPS, **parameters}
    command = [sys.executable, "-m", f"realtalk_ros.nodes.{name}", "--ros-args", *ros_args]
    for key, value in parameters.items():
        command += ["-p", f"{key}:={value}"]
    return subprocess.Popen(command, env=environment(domain), stderr=stderr, text=True)


def stop(*processes: subprocess.Popen) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def broken_models(folder: Path, kind: str) -> Path:
    """A copy of the networks' files in a folder, all missing, truncated or tampered with."""
    for path in MODEL_DIR.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    for name in FILES:
        path = folder / name
        if kind == "missing":
            path.unlink()
        elif kind == "truncated":
            path.write_bytes(path.read_bytes()[:1000])
        else:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(bytes(data))
    return folder


class Client:
    """Somebody else's node: speaks on `audio`, watches everything that comes."""

    def __init__(self, domain: int, namespace: str = "realtalk", images: bool = True):
        use_fastdds_profile()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("client", namespace=namespace, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images: list[tuple[float, float]] = []  # stamp, when it came; s since 1970
        self.image: Image | None = None
        self.jpegs: list[CompressedImage] = []
        self.expressions: list[FaceExpression] = []
        self.speaking: list[bool] = []
        self.diagnostics: dict[str, tuple[int, str, dict[str, str]]] = {}
        create = self.node.create_subscription
        if images:
            create(Image, "face/image_raw", self._on_image, 10)
        self._expression = create(FaceExpression, "expression", self.expressions.append, 500)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        create(Bool, "speaking", lambda m: self.speaking.append(m.data), latched)
        create(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.audio = self.node.create_publisher(AudioChunk, "audio", best_effort)
        self._clients = {"interrupt": self.node.create_client(Trigger, "interrupt")}

    def close(self) -> None:
        self.executor.shutdown()  # it holds what it waited for last
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def _on_image(self, message: Image) -> None:
        self.image = message
        self.images.append((seconds(message.header.stamp), time.time()))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            level = status.level[0] if isinstance(status.level, bytes) else status.level
            self.diagnostics[status.name.split(": ")[-1]] = (level, status.message, values)

    def corner(self) -> np.ndarray:
        """The lower right corner of the next image, (8, 40, 3) int."""
        self.image = None
        self.wait(lambda: self.image is not None, 5, "image")
        image = np.frombuffer(self.image.data, np.uint8)
        return image.reshape(self.image.height, self.image.width, 3)[-8:, -40:].astype(int)

    def spin(self, duration: float) -> None:
        end = time.monotonic() + duration
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def wait(self, condition: Callable[[], object], timeout: float, what: str) -> float:
        """Spins until `condition` holds; returns how long that took [s]."""
        began, timeout = time.monotonic(), promised(timeout, max(timeout, 15.0))
        while not condition():
            assert time.monotonic() - began < timeout, f"no {what} within {timeout} s"
            self.executor.spin_once(timeout_sec=0.02)
        return time.monotonic() - began

    def wait_ready(self, *names: str, timeout: float = 60) -> None:
        self.wait(lambda: all(self.diagnostics.get(n, (2,))[0] != 2 for n in names), timeout,
                  f"diagnostics of {names}")  # fmt: skip

    def wait_connected(self) -> None:
        """Until what is sent on `audio` is heard and what is made of it comes here. (Each end of a
        topic finds the other for itself; what best effort sends between the two is lost, so an
        interrupt is sent until it is answered.)"""
        self.wait(self.audio.get_subscription_count, 10, "subscriber of audio")
        self.wait(self._expression.get_publisher_count, 10, "publisher of expression")
        self.spin(SETTLE)
        asked = time.monotonic()
        self.send(np.zeros(0), None, "", reset=True)

        def answered() -> bool:
            nonlocal asked
            if time.monotonic() > asked + ANSWERED:
                asked = time.monotonic()
                self.send(np.zeros(0), None, "", reset=True)
            return any(m.reset for m in self.expressions)

        self.wait(answered, 10, "answer to a reset on audio")
        self.expressions.clear()

    def count(self, node: str, key: str, reports: int = 0) -> int:
        """What the diagnostics count, after so many more of them, which come once a second."""
        for _ in range(reports):
            del self.diagnostics[node]
            self.wait(lambda: node in self.diagnostics, 5, f"diagnostics of {node}")
        return int(self.diagnostics[node][2].get(key, 0))

    def send(self, pcm: np.ndarray, start: float | None, utterance: str, last: bool = False,
             **changes) -> AudioChunk:  # fmt: skip
        """Publishes one chunk that is to be heard at `start`, s since 1970."""
        message = AudioChunk(sample_rate=RATE, channels=1, encoding="pcm_s16le",
                             utterance_id=utterance, last=last)  # fmt: skip
        if start is not None:
            message.header.stamp.sec = int(start)
            message.header.stamp.nanosec = int((start % 1) * 1e9)
        message.data = array("B", (np.asarray(pcm) * 32767).astype("<i2").tobytes())
        for name, value in changes.items():
            setattr(message, name, value)
        self.audio.publish(message)
        return message

    def speak(self, pcm: np.ndarray, utterance: str, chunk: float = 0.1, lead: float = 0.3,
              until: Callable[[], bool] = lambda: False) -> tuple[float, float]:  # fmt: skip
        """Speaks in real time. Returns when the first and the last sample are heard."""
        step, begin = round(chunk * RATE), time.time() + lead
        for i in range(0, len(pcm), step):
            part = pcm[i : i + step]
            self.spin(max(0.0, begin + (i + len(part)) / RATE - lead - time.time()))
            if until():
                break
            self.send(part, begin + i / RATE, utterance, last=i + step >= len(pcm))
        return begin, begin + len(pcm) / RATE

    def call(self, kind: type, service: str, **fields):
        """What a service answers to a request with these fields."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        assert self._clients[service].wait_for_service(10), service
        future = self._clients[service].call_async(kind.Request(**fields))
        self.wait(future.done, 15, f"answer of {service}")
        return future.result()

    def call_interrupt(self) -> Trigger.Response:
        return self.call(Trigger, "interrupt")

    def set_parameter(self, node: str, name: str, value: object) -> SetParametersResult:
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        service = f"{node}/set_parameters"
        return self.call(SetParameters, service, parameters=parameters).results[0]


def seconds(stamp) -> float:
    return stamp.sec + stamp.nanosec * 1e-9
