"""What the nodes share: parameters, problems counted and shown in /diagnostics, time, main()."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy._rclpy_pybind11 import RCLError
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions

from realtalk_ros.errors import RealTalkError

NAMESPACE = "realtalk"  # unless remapped (`-r __ns:=/name`, or the launch argument)
# Where Fast DDS looks for its settings, by version; the file's first lines say what they are for.
FASTDDS_PROFILE = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
RETRY = 5.0  # s between attempts to load what was missing or broken
FRESH = 10.0  # s for which a problem keeps the diagnostics at WARN
MAX_CAUSES = 64  # kinds of problems told apart, so that hostile input cannot fill the memory

AUDIO_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
SPEECH_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
EXPRESSION_QOS = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
# Few: a subscriber that hangs must not make the publisher keep or wait for anything.
IMAGE_QOS = QoSProfile(depth=3, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)

# Parameters that more than one node has, as (default, description, range or None).
AVATAR = ("default", "Bundled avatar's name, or an avatar folder", None)
DEVICE = ("cpu", "Where the networks run: cpu, cuda or tensorrt", None)
MODEL_DIR = ("", "Folder of the .onnx files; empty: the ones that come with the package", None)
FPS = (25.0, "Frames per second", (1.0, 120.0))


class Problems:
    """Counts what goes wrong by cause. Every cause is logged once, not once a message."""

    def __init__(self, log: Callable[[str], Any], clock: Callable[[], float]):
        self._log, self._clock = log, clock
        self.counts: dict[str, int] = {}
        self._latest = -math.inf

    def add(self, message: str) -> None:
        cause = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "#", message)[:120]
        self._latest = self._clock()
        if cause not in self.counts:
            if len(self.counts) >= MAX_CAUSES:
                cause = "others"
            if cause not in self.counts:
                self._log(message)
        self.counts[cause] = self.counts.get(cause, 0) + 1

    @property
    def fresh(self) -> bool:
        return self._clock() - self._latest < FRESH


class RealTalkNode(Node):
    """A node with diagnostics at 1 Hz and a `setup` that may fail without ending it.

    A subclass declares parameters and endpoints in its constructor and loads models in `setup`,
    which raises RealTalkError for what a user can mend; it is tried again every 5 s.
    """

    def __init__(self, name: str, **options: Any):
        super().__init__(name, namespace=NAMESPACE, **options)
        self.ready = False
        self.persistent = True  # whether a failed setup is tried again, or ends the process
        self.exit_code: int | None = None  # set to end main()
        self.failure = ""  # why it is not ready
        self.problems = Problems(self.get_logger().warning, time.monotonic)
        # Media time is kept relative to a whole second near now: a float of seconds since 1970
        # cannot tell the frames of a grid apart exactly.
        self._base = int(self.get_clock().now().nanoseconds // 10**9) * 10**9
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", 10, qos_overriding_options=overridable()
        )
        self._diagnostics_timer = self.create_timer(1.0, self.publish_diagnostics)

    # Parameters

    def parameter(
        self,
        name: str,
        default: Any,
        description: str,
        limits: tuple[float, float] | tuple[int, int] | None = None,
        read_only: bool = True,
    ) -> Any:
        """Declares a parameter and returns its value."""
        descriptor = ParameterDescriptor(description=description, read_only=read_only)
        given = self._parameter_overrides.get(name)
        if isinstance(default, float) and given and given.type_ == Parameter.Type.INTEGER:
            # `fps: 25` in a YAML file is meant as 25.0
            self._parameter_overrides[name] = Parameter(name, value=float(given.value))
        if limits and isinstance(default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(limits[0]), to_value=float(limits[1]))
            ]
        elif limits:
            descriptor.integer_range = [
                IntegerRange(from_value=limits[0], to_value=limits[1], step=1)
            ]
        return self.declare_parameter(name, default, descriptor).value

    # Time

    def now(self) -> float:
        """The ROS clock as media time [s]."""
        return (self.get_clock().now().nanoseconds - self._base) * 1e-9

    def media_time(self, stamp: Any) -> float | None:
        """A builtin_interfaces/Time as media time [s]; None for a zero stamp."""
        nanoseconds = stamp.sec * 10**9 + stamp.nanosec
        return (nanoseconds - self._base) * 1e-9 if nanoseconds else None

    def set_stamp(self, stamp: Any, media_time: float) -> None:
        """Writes media time [s] into a builtin_interfaces/Time."""
        nanoseconds = max(0, round(media_time * 1e9) + self._base)
        stamp.sec, stamp.nanosec = divmod(nanoseconds, 10**9)

    # Life

    def setup(self) -> None:
        """Loads what the node works with. Raises RealTalkError."""

    def try_setup(self) -> None:
        try:
            self.setup()
        except RealTalkError as error:
            self.ready = False
            if self.failure != str(error):
                self.failure = str(error)
                again = f" (trying again every {RETRY:.0f} s)" if self.persistent else ""
                self.get_logger().error(f"{error}{again}")
            if not self.persistent:
                self.exit_code = 2
            elif not hasattr(self, "_retry_timer"):
                self._retry_timer = self.create_timer(RETRY, self._retry)
        else:
            self.ready, self.failure = True, ""
        self.publish_diagnostics()

    def _retry(self) -> None:
        if not self.ready:
            self.try_setup()
        if self.ready:
            self._retry_timer.cancel()

    def close(self) -> None:
        """Stops what runs beside the executor."""

    # Diagnostics

    def status(self) -> dict[str, Any]:
        """What to show under this node's name in /diagnostics."""
        return {}

    def publish_diagnostics(self) -> None:
        status = DiagnosticStatus(
            name=f"{self.get_fully_qualified_name()[1:]}: {self.get_name()}",
            hardware_id="realtalk_ros",
        )
        if not self.ready:
            status.level = DiagnosticStatus.ERROR
            status.message = self.failure or "not ready"
        elif self.problems.fresh:
            status.level, status.message = DiagnosticStatus.WARN, "bad input is being left out"
        else:
            status.level, status.message = DiagnosticStatus.OK, "running"
        values = {**self.status(), **self.problems.counts}
        status.values = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def qos(profile: QoSProfile, depth: int) -> QoSProfile:
    """The same profile with another depth."""
    return QoSProfile(
        depth=depth, reliability=profile.reliability, durability=profile.durability
    )


def overridable() -> QoSOverridingOptions:
    """Lets a user's YAML override history, depth and reliability of an endpoint."""
    return QoSOverridingOptions.with_default_policies()


def spin(nodes: list[RealTalkNode]) -> int:
    """Runs nodes until they end or are interrupted. Returns the process's exit code.

    2: a node never got what it needs (model, avatar, sound file); the log says what that is.
    """
    asked_to_end: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not rclpy's handlers: they end ROS at once, before a recording is completed and logged.
        signal.signal(number, lambda number, frame: asked_to_end.append(number))
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    try:
        for node in nodes:
            node.try_setup()
        while not asked_to_end and all(node.exit_code is None for node in nodes):
            executor.spin_once(timeout_sec=0.2)
    finally:
        for node in nodes:
            node.close()
        codes = [node.exit_code for node in nodes if node.exit_code is not None]
        unready = any(not node.ready for node in nodes)
        for node in nodes:
            executor.remove_node(node)
            node.destroy_node()
    return max(codes, default=2 if unready else 0)


def use_fastdds_profile() -> None:
    """Gives Fast DDS this package's settings in what this process starts from now on."""
    if not any(os.environ.get(name) for name in FASTDDS_PROFILE):
        profile = str(Path(__file__).with_name("fastdds.xml"))
        os.environ.update(dict.fromkeys(FASTDDS_PROFILE, profile))


def run(make_nodes: Callable[[], list[RealTalkNode]], args: list[str] | None = None) -> int:
    """The main() of a node, or of several in one process."""
    use_fastdds_profile()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        return spin(make_nodes())
    except (RealTalkError, ParameterException, RCLError) as error:
        print(f"realtalk_ros: {error}".splitlines()[0], file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before spin
        return 0
    finally:
        rclpy.try_shutdown()
