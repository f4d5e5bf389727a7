# SPDX-License-Identifier: Apache-2.0
"""What every node is: a lifecycle node with parameters (parameters.py), media time (media_time.py)
and diagnostics (diagnostics.py)."""

from __future__ import annotations

import array
import copy
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy._rclpy_pybind11 import RCLError
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from realtalk_ros.audio.pcm import encode_pcm
from realtalk_ros.errors import NO_MEMORY, RealTalkError, lacks_memory
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes.diagnostics import Diagnostics
from realtalk_ros.nodes.duplicate_nodes import DuplicateNodes
from realtalk_ros.nodes.launch_arguments import face_frame
from realtalk_ros.nodes.media_time import MediaTimeNode
from realtalk_ros.nodes.qos import NO_PUBLISHER_EVENTS, NO_SUBSCRIPTION_EVENTS, overridable
from realtalk_ros.nodes.unmatched_endpoints import UnmatchedEndpoints

MAX_WARNINGS = 64  # of a node; what comes after is not logged
NAMESPACE = "realtalk"  # unless remapped (`-r __ns:=/name`, or the launch argument)
RETRY = 5.0  # s between attempts to load what was missing or broken


def _reported(
    transition: Callable[[Any, LifecycleState], TransitionCallbackReturn],
) -> Callable[[Any, LifecycleState], TransitionCallbackReturn]:
    """The callback of a transition, whose exceptions are reported: rclpy says nothing of them."""

    @functools.wraps(transition)
    def call(node: RealTalkNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.failure = f"{type(error).__name__}: {error}".splitlines()[0]
            node.problems.exception(error)
            return TransitionCallbackReturn.ERROR

    return call


class RealTalkNode(MediaTimeNode):
    """A lifecycle node with diagnostics at 1 Hz, which activates itself unless `autostart` is off.

    A subclass declares parameters and endpoints in its constructor, so that it is found while it
    still loads, and does its work in four steps:

    configure   `setup` loads; raises RealTalkError for what a user can mend
    activate    `start`; from then on `ready` is true. Callbacks that come before do nothing
    deactivate  `halt` ends what `start` began
    cleanup     `free` releases what `setup` took: memory, the GPU

    With `autostart` a failed configure is tried again every 5 s.
    """

    # Names in `counts` whose rates go to /diagnostics.
    rated: tuple[str, ...] = ()
    counts: dict[str, int]

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **{"namespace": NAMESPACE, **options})
        self.ready = False
        self.persistent = True  # whether a failed setup is tried again, or ends the process
        self.exit_code: int | None = None  # set to end main()
        self.failure = ""  # why it is not ready
        self.counts = {}
        self._run = f"{time.time_ns() // 10**6:x}"  # tells it from runs before
        # rclpy lets a transition that is not valid in this state end the process.
        service = self._service_change_state
        service.callback = self._refuse_invalid(service.callback)
        self.autostart = self.parameter(
            "autostart", True, "Configure and activate at the start; false: wait for a manager"
        )
        self.wanted_active = self.autostart
        self._retry_timer: Timer | None = None
        self._unmatched_endpoints = UnmatchedEndpoints(self, self.problems)
        self._duplicates = DuplicateNodes(self)
        self._warned: set[str] = set()
        self._diagnostics = Diagnostics(self)
        self.steady_timer(1.0, self.publish_diagnostics)

    # Callbacks: an exception in one ends neither the node nor its other work

    def guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """`callback`, whose exceptions are reported and go no farther."""

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

    def create_subscription(
        self,
        msg_type: Any,
        topic: str,
        callback: Callable[..., Any],
        qos_profile: QoSProfile | int,
        **options: Any,
    ) -> Subscription:
        # rclpy writes a user's override into the profile, which others use, too.
        profile = copy.copy(qos_profile)
        options["event_callbacks"] = options.get("event_callbacks") or NO_SUBSCRIPTION_EVENTS
        return super().create_subscription(
            msg_type, topic, self.guarded(callback), profile, **options
        )

    def create_publisher(
        self, msg_type: Any, topic: str, qos_profile: QoSProfile | int, **options: Any
    ) -> Publisher:
        options["event_callbacks"] = options.get("event_callbacks") or NO_PUBLISHER_EVENTS
        return super().create_publisher(msg_type, topic, copy.copy(qos_profile), **options)

    def publisher(self, msg_type: Any, topic: str, qos_profile: QoSProfile | int) -> Publisher:
        """A publisher whose QoS a user may override (docs/nodes.md)."""
        return self.create_publisher(
            msg_type, topic, qos_profile, qos_overriding_options=overridable()
        )

    def subscription(
        self,
        msg_type: Any,
        topic: str,
        callback: Callable[..., Any],
        qos_profile: QoSProfile | int,
    ) -> Subscription:
        """A subscription whose QoS a user may override."""
        return self.create_subscription(
            msg_type, topic, callback, qos_profile, qos_overriding_options=overridable()
        )

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[..., Any], **options: Any
    ) -> Service:
        guarded = self.guarded(callback)

        def answer(request: Any, response: Any) -> Any:
            answered = guarded(request, response)
            return response if answered is None else answered  # as it is, which says no success

        return super().create_service(srv_type, srv_name, answer, **options)

    def create_timer(
        self, timer_period_sec: float, callback: Callable[..., Any], *args: Any, **options: Any
    ) -> Timer:
        return super().create_timer(timer_period_sec, self.guarded(callback), *args, **options)

    def _refuse_invalid(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The change_state service, which answers a transition that is not valid."""

        def change_state(request: Any, response: Any) -> Any:
            state = self.state
            try:
                return callback(request, response)
            except RCLError:
                transition = request.transition.label or f"number {request.transition.id}"
                self.problems.add(f"the transition {transition} was refused: this node is {state}")
                response.success = False
                return response

        return change_state

    # Messages

    def audio_message(
        self,
        pcm: np.ndarray,
        sample_rate: int,
        start: float | None,
        utterance: str,
        last: bool = False,
        encoding: str = AudioChunk.PCM_S16LE,
    ) -> AudioChunk:
        """(n,) float32 mono in -1..1, whose first sample is played at media time start [s]; None:
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
        message.data = array.array("B", encode_pcm(pcm, encoding))
        return message

    def unique_id(self, prefix: str, number: int) -> str:
        """The utterance_id of the number-th utterance, which no earlier run of a node has used."""
        return f"{prefix}-{self._run}-{number}"

    def in_namespace(self, frame: str) -> str:
        """A frame's name as other nodes use it: those of two faces must differ."""
        return face_frame(self.get_namespace(), frame) if frame else ""

    def warn(self, message: str) -> None:
        """Logs once what was done about something that is used all the same. (What is left out is
        a problem.)"""
        if message not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(message)
            self.get_logger().warning(message)

    # Life cycle

    def setup(self) -> None:
        """Loads what the node works with. Raises RealTalkError."""

    def start(self) -> None:
        """Begins to work."""

    def halt(self) -> None:
        """Stops what `start` began, and what runs beside the executor."""

    def free(self) -> None:
        """Releases what `setup` loaded."""

    def try_setup(self) -> None:
        """Configures and activates the node. A failure is logged once, and tried again."""
        self.wanted_active = True
        if self.state == "unconfigured":
            self.trigger_configure()
        if self.state == "inactive":
            self.trigger_activate()
        if self.state != "active":
            if not self.persistent:
                self.exit_code = 2
            elif self._retry_timer is None:
                self._retry_timer = self.steady_timer(RETRY, self._retry)
        self.publish_diagnostics()

    def _retry(self) -> None:
        if self.wanted_active and self.state == "unconfigured":
            self.try_setup()

    @_reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.setup()
        except (RealTalkError, MemoryError) as error:
            reason = NO_MEMORY if lacks_memory(error) else str(error)
            if self.failure != reason:
                self.failure = reason
                retries = self.persistent and self.wanted_active
                again = f" (trying again every {RETRY:.0f} s)" if retries else ""
                self.get_logger().error(f"{reason}{again}")
            self.free()
            return TransitionCallbackReturn.FAILURE
        self.failure = ""
        return super().on_configure(state)

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.watch_clock()
        self.start()
        self.ready, self.wanted_active = True, True
        return super().on_activate(state)

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        # A node that was deactivated by hand must not activate itself.
        self.ready = self.wanted_active = False
        self.halt()
        return super().on_deactivate(state)

    @_reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.free()
        return super().on_cleanup(state)

    @_reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.on_shutdown(state)
        return TransitionCallbackReturn.SUCCESS  # unconfigured

    @_reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self.ready:
            self.ready = False
            self.halt()
        self.free()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Called once at the end of the process."""
        if self.ready:
            self.ready = False  # what comes while answers are sent is refused
            self.halt()

    def owes_answers(self) -> bool:
        """Whether others wait for answers that are ready, and that the executor has yet to send."""
        return False

    # What the diagnostics say (diagnostics.py)

    def status(self) -> dict[str, Any]:
        """What to show under this node's name in /diagnostics."""
        return {}

    def warning(self) -> str:
        """What the user should know though the node runs, in a few words; else empty."""
        if stopped := self.stopped_clock():
            return stopped
        if duplicates := self._duplicates.warning():
            self.warn(duplicates)
            return duplicates
        return "bad input is being left out" if self.problems.fresh else ""

    def loading(self) -> str:
        """What is being loaded beside what runs; else empty."""
        return ""

    def publish_diagnostics(self) -> None:
        self._unmatched_endpoints.check()
        self._diagnostics.publish()
