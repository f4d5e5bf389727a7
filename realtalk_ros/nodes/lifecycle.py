"""What every node is: a lifecycle node with parameters, media time and diagnostics."""

from __future__ import annotations

import array
import copy
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from realtalk_ros.audio.pcm import ENCODINGS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes.diagnostics import Problems
from realtalk_ros.nodes.parameters import LIVE, NEVER, UNCONFIGURED
from realtalk_ros.nodes.qos import overridable
from realtalk_ros.playout.clock import ClockJumpDetector

NAMESPACE = "realtalk"  # unless remapped (`-r __ns:=/name`, or the launch argument)
STANDS = 2.5  # s for which simulated time must not move before that is told
RETRY = 5.0  # s between attempts to load what was missing or broken
LAST_STAMP = (2**31 - 1) * 10**9  # ns, builtin_interfaces/Time holds no more


class RealTalkNode(LifecycleNode):
    """A lifecycle node with diagnostics at 1 Hz, which brings itself up unless told otherwise.

    A subclass declares parameters and endpoints in its constructor, so that it is found while it
    still loads, and does its work in four steps:

    configure   `setup` loads; raises RealTalkError for what a user can mend
    activate    `start`; from then on `ready` is true. Callbacks that come before do nothing
    deactivate  `halt` ends what `start` began
    cleanup     `free` gives back what `setup` took: memory, the GPU

    With `autostart` a failed configure is tried again every 5 s.
    """

    # Names in `counts` whose rates go to /diagnostics.
    rated: tuple[str, ...] = ()
    counts: dict[str, int]

    def __init__(self, name: str, **options: Any):
        super().__init__(name, **{"namespace": NAMESPACE, **options})
        self.ready = False
        self.persistent = True  # whether a failed setup is tried again, or ends the process
        self.exit_code: int | None = None  # set to end main()
        self.failure = ""  # why it is not ready
        self.counts = {}
        self.problems = Problems(self.get_logger().warning, time.monotonic)
        # Media time is kept relative to a whole second near now: a float of seconds since 1970
        # cannot tell the frames of a grid apart exactly.
        self._base = int(self.get_clock().now().nanoseconds // 10**9) * 10**9
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._jumps = ClockJumpDetector()
        self._clock_seen = (0.0, 0.0)  # the ROS clock, and when it last moved (monotonic)
        self._changes: dict[str, str] = {}  # parameter -> when it may be changed
        if hasattr(self, "add_pre_set_parameters_callback"):  # not on Humble
            self.add_pre_set_parameters_callback(self._as_declared)
            self.add_post_set_parameters_callback(self._apply_parameters)
        self.add_on_set_parameters_callback(self._check_parameters)
        # rclpy lets a transition that does not fit the state end the process.
        service = self._service_change_state
        service.callback = self._answer_unfitting(service.callback)
        self.autostart = self.parameter(
            "autostart", True, "Configure and activate at the start; false: wait for a manager"
        )
        self._wanted_up = self.autostart
        self._counted: tuple[float, dict[str, int]] = (time.monotonic(), {})
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", 10, qos_overriding_options=overridable()
        )
        self.steady_timer(1.0, self.publish_diagnostics)

    # Parameters

    def parameter(
        self,
        name: str,
        default: Any,
        description: str,
        limits: tuple[float, float] | tuple[int, int] | None = None,
        change: str = NEVER,
    ) -> Any:
        """Declares a parameter and returns its value.

        `change`: NEVER; UNCONFIGURED (the attribute `name` is set, and `setup` reads it); LIVE
        (`change_parameter` is asked, which raises RealTalkError to refuse, and then the attribute
        is set).
        """
        when = {NEVER: "at the start", UNCONFIGURED: "while unconfigured", LIVE: "at any time"}
        descriptor = ParameterDescriptor(
            description=description,
            read_only=change == NEVER,
            additional_constraints=f"set it {when[change]}",
        )
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
        value = self.declare_parameter(name, default, descriptor).value
        self._changes[name] = change
        return value

    def check_parameter(self, name: str, value: Any) -> None:
        """Raises RealTalkError to refuse a new value of a parameter. Changes nothing."""

    def change_parameter(self, name: str, value: Any) -> None:
        """Puts a new value of a LIVE parameter, which was checked, to work."""

    def _as_declared(self, parameters: list[Parameter]) -> list[Parameter]:
        """Whole numbers are taken where a float is meant."""
        return [
            Parameter(p.name, value=float(p.value))
            if p.type_ == Parameter.Type.INTEGER
            and self.has_parameter(p.name)
            and self.get_parameter(p.name).type_ == Parameter.Type.DOUBLE
            else p
            for p in parameters
        ]

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """All are checked before any is put to work."""
        for parameter in parameters:
            name, value = parameter.name, parameter.value
            change = self._changes.get(name)
            if change == UNCONFIGURED and self.state != "unconfigured":
                return SetParametersResult(successful=False, reason=(
                    f"{name} is read when the node is configured: deactivate and clean it up first"
                ))  # fmt: skip
            if change in (UNCONFIGURED, LIVE):
                try:
                    self.check_parameter(name, value)
                except RealTalkError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, which on Humble calls nobody before and after."""
        if hasattr(self, "add_post_set_parameters_callback"):
            return super().set_parameters_atomically(parameter_list)
        parameters = self._as_declared(parameter_list)
        result = super().set_parameters_atomically(parameters)
        if result.successful:
            self._apply_parameters(parameters)
        return result

    def _apply_parameters(self, parameters: list[Parameter]) -> None:
        changes = [(p.name, p.value, self._changes.get(p.name)) for p in parameters]
        for name, value, change in changes:
            if change in (UNCONFIGURED, LIVE):
                setattr(self, name, value)
        for name, value, change in changes:
            if change == LIVE:
                self.change_parameter(name, value)

    # Callbacks: an exception in one ends neither the node nor what else it does

    def guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """`callback`, whose exceptions are told and go no farther."""

        @functools.wraps(callback)
        def call(*args: Any) -> Any:
            try:
                return callback(*args)
            except Exception as error:
                if not self.context.ok():  # ROS is shutting down
                    return None
                self.problems.exception(error)
                return None

        return call

    def create_subscription(  # type: ignore[no-untyped-def]
        self, msg_type, topic, callback, qos_profile, *args, **options
    ):
        # rclpy writes a user's override into the profile, which others use, too.
        return super().create_subscription(
            msg_type, topic, self.guarded(callback), copy.copy(qos_profile), *args, **options
        )

    def create_publisher(self, msg_type, topic, qos_profile, *args, **options):  # type: ignore
        return super().create_publisher(msg_type, topic, copy.copy(qos_profile), *args, **options)

    def create_service(self, srv_type, srv_name, callback, *args, **options):  # type: ignore
        guarded = self.guarded(callback)

        def answer(request: Any, response: Any) -> Any:
            answered = guarded(request, response)
            return response if answered is None else answered  # as it is, which says no success

        return super().create_service(srv_type, srv_name, answer, *args, **options)

    def create_timer(self, timer_period_sec, callback, *args, **options):  # type: ignore
        return super().create_timer(timer_period_sec, self.guarded(callback), *args, **options)

    def _answer_unfitting(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        def change_state(request: Any, response: Any) -> Any:
            state = self.state
            try:
                return callback(request, response)
            except RCLError:
                asked = request.transition.label or f"number {request.transition.id}"
                self.problems.add(f"the transition {asked} was refused: this node is {state}")
                response.success = False
                return response

        return change_state

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
        nanoseconds = min(max(0, round(media_time * 1e9) + self._base), LAST_STAMP)
        stamp.sec, stamp.nanosec = divmod(nanoseconds, 10**9)

    def audio_message(
        self,
        pcm: np.ndarray,
        sample_rate: int,
        start: float | None,
        utterance: str,
        last: bool = False,
        encoding: str = AudioChunk.PCM_S16LE,
    ) -> AudioChunk:
        """(n,) float32 mono in -1..1, whose first sample is heard at media time start [s]; None:
        after what this utterance sent before."""
        message = AudioChunk(
            sample_rate=sample_rate,
            channels=1,
            encoding=encoding,
            utterance_id=utterance,
            last=last,
        )
        if start is not None:
            self.set_stamp(message.header.stamp, start)
        if encoding == AudioChunk.PCM_S16LE:
            pcm = pcm * 32767
        message.data = array.array("B", pcm.astype(ENCODINGS[encoding]).tobytes())
        return message

    def clock_jump(self) -> float:
        """Seconds by which the ROS clock was set since this was last asked; 0 if it was not.
        Ask often, from one thread."""
        simulated = self.get_clock().ros_time_is_active
        jump = self._jumps.update(self.now(), time.monotonic(), simulated)
        if jump:
            self.problems.add(f"the clock jumped by {jump:.1f} s: going on at its new time")
        return jump

    def steady_timer(self, period: float, callback: Callable[[], None]) -> Timer:
        """A timer that goes on when the ROS clock is set back, or stands still."""
        return self.create_timer(period, callback, clock=self._steady)

    def in_namespace(self, frame: str) -> str:
        """A frame's name as others see it: those of two faces must differ."""
        namespace = self.get_namespace().strip("/")
        return frame if "/" in frame or not namespace or not frame else f"{namespace}/{frame}"

    # Life

    def setup(self) -> None:
        """Loads what the node works with. Raises RealTalkError."""

    def start(self) -> None:
        """Begins to work."""

    def halt(self) -> None:
        """Stops what `start` began, and what runs beside the executor."""

    def free(self) -> None:
        """Lets go of what `setup` loaded."""

    @property
    def state(self) -> str:
        """unconfigured, inactive, active or finalized (or a transition's name)."""
        return self._state_machine.current_state[1]

    def try_setup(self) -> None:
        """Brings the node up: configure, activate. A failure is said once, and tried again."""
        self._wanted_up = True
        if self.state == "unconfigured":
            self.trigger_configure()
        if self.state == "inactive":
            self.trigger_activate()
        if self.state != "active":
            if not self.persistent:
                self.exit_code = 2
            elif not hasattr(self, "_retry_timer"):
                self._retry_timer = self.steady_timer(RETRY, self._retry)
        self.publish_diagnostics()

    def _retry(self) -> None:
        if self._wanted_up and self.state == "unconfigured":
            self.try_setup()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.setup()
        except RealTalkError as error:
            if self.failure != str(error):
                self.failure = str(error)
                tried_again = self.persistent and self._wanted_up
                again = f" (trying again every {RETRY:.0f} s)" if tried_again else ""
                self.get_logger().error(f"{error}{again}")
            self.free()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would say nothing
            self.failure = f"{type(error).__name__}: {error}".splitlines()[0]
            self.problems.exception(error)
            return TransitionCallbackReturn.ERROR
        self.failure = ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.start()
        self.ready, self._wanted_up = True, True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # Who takes a node down by hand does not want it to come up by itself.
        self.ready = self._wanted_up = False
        self.halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.free()
        return super().on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.on_shutdown(state)
        return TransitionCallbackReturn.SUCCESS  # unconfigured

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self.ready:
            self.ready = False
            self.halt()
        self.free()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Called once at the end of the process."""
        if self.ready:
            self.halt()

    # Diagnostics

    def _clock_stands(self) -> bool:
        """Whether simulated time does not come, or stands still."""
        now, before = self.now(), self._clock_seen
        if now != before[0] or not self.get_clock().ros_time_is_active:
            self._clock_seen = (now, time.monotonic())
            return False
        return time.monotonic() - before[1] > STANDS

    def status(self) -> dict[str, Any]:
        """What to show under this node's name in /diagnostics."""
        return {}

    def concern(self) -> str:
        """What the user should know though the node runs, in a few words; else empty."""
        if self._clock_stands():
            where = "stands still" if self.get_clock().now().nanoseconds else "does not come"
            return f"use_sim_time is set, and the time on /clock {where}: nothing is shown or said"
        return "bad input is being left out" if self.problems.fresh else ""

    def loading(self) -> str:
        """What is being loaded beside what runs; else empty."""
        return ""

    def publish_diagnostics(self) -> None:
        status = DiagnosticStatus(
            name=f"{self.get_fully_qualified_name()[1:]}: {self.get_name()}",
            hardware_id="realtalk_ros",
        )
        if self.failure:
            status.level, status.message = DiagnosticStatus.ERROR, self.failure
        elif not self.ready:
            level = DiagnosticStatus.ERROR if self._wanted_up else DiagnosticStatus.STALE
            status.level, status.message = level, self.state
        elif concern := self.concern():
            status.level, status.message = DiagnosticStatus.WARN, concern
        else:
            loading = self.loading()
            status.level = DiagnosticStatus.OK
            status.message = f"running; loading {loading}" if loading else "running"
        values = {"state": self.state, **self.status(), **self._rates(), **self.problems.counts}
        status.values = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _rates(self) -> dict[str, float]:
        """Per second since the last time."""
        now, (then, before) = time.monotonic(), self._counted
        self._counted = now, dict(self.counts)
        gone = max(1e-3, now - then)
        return {f"{name}_per_s": (self.counts[name] - before.get(name, 0)) / gone
                for name in self.rated if name in self.counts}  # fmt: skip


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
