# SPDX-License-Identifier: Apache-2.0
"""Parameters: when each may be changed, how a set of them is checked and applied, and those that
several nodes have. (To add one: docs/develop.md.)"""

from __future__ import annotations

import os
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

from realtalk_ros import contracts
from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.problems import Problems
from realtalk_ros.spelling import did_you_mean

# When a parameter may be changed.
NEVER, UNCONFIGURED, LIVE = "never", "unconfigured", "live"
WHEN = {NEVER: "at the start", UNCONFIGURED: "while unconfigured", LIVE: "at any time"}
# Parameters that more than one node has: (default, description, range or None, when to change).
AVATAR = ("default", "Bundled avatar's name, or an avatar folder", None, LIVE)
DEVICE = (
    "cpu",
    f"Where the networks run: {', '.join(contracts.DEVICES[:-1])} or {contracts.DEVICES[-1]}",
    None,
    LIVE,
)
THREADS = (1, "CPU threads of the network", (1, 64), UNCONFIGURED)
MODEL_DIR = (
    "",
    "Folder of the .onnx files; empty: the ones that come with the package",
    None,
    LIVE,
)
FPS = (25.0, "Frames per second", contracts.FPS_RANGE, LIVE)
# Of all nodes. ROS gives what a file sets under /** to every node, also to one without that
# parameter.
NAMES = frozenset(
    """adapt_quality autostart avatar background buffer channels chunk device duration emotion
    emotion_gain exit_when_done expression_gain fps frame_id gain head_gain host host_names
    idle_gain jpeg_quality lead look_ahead mark model_dir operators out parent_frame pause pitch
    playback_latency policy port rate repeat sample_format sample_rate seed size speed
    start_delay stats tail text threads threshold utterance_id voice wait_for wav""".split()
)

# Of these, which may be paths. No shell expands ~ in NAME:=~/file, nor in a file of parameters.
PATHS = frozenset("avatar background model_dir out stats wav".split())


def check_policy(value: str) -> None:
    """Raises RealTalkError for what is no value of a parameter `policy`."""
    if value not in contracts.POLICIES:
        known = ", ".join(contracts.POLICIES)
        raise RealTalkError(f"policy is one of {known}, not {value[:40]!r}")


def as_meant(parameter: Parameter, is_float: bool) -> Parameter:
    """With an integer made a float where one is declared (`fps: 25` is meant as 25.0), and ~ in a
    path made the home folder."""
    name, value = parameter.name, parameter.value
    if is_float and parameter.type_ == Parameter.Type.INTEGER:
        return Parameter(name, value=float(value))
    if name in PATHS and isinstance(value, str) and value.startswith("~"):
        return Parameter(name, value=os.path.expanduser(value))  # noqa: PTH111 - it never raises
    return parameter


def refusal(name: str, default: Any, limits: tuple[float, float] | None, wrong: Any) -> str:
    """Why a parameter cannot have the value `wrong`."""
    if isinstance(default, str):
        return (
            f"{name} is text, and YAML takes this value for {wrong!r}: write {name}: '...' in a "
            f"file, -p {name}:=\"'...'\" in a shell"
        )
    kinds = {bool: "true or false", int: "a whole number", float: "a number"}
    within = f" from {limits[0]:g} to {limits[1]:.10g}" if limits else ""
    return f"{name} is {kinds[type(default)]}{within}, not {wrong!r}"


class ParameterNode(LifecycleNode):
    """A lifecycle node whose parameters are attributes of the same name. Those that are set
    together are checked together, and applied only if none of them is refused."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.problems = Problems(self.get_logger().warning)
        self._changes: dict[str, str] = {}  # parameter -> when it may be changed
        if hasattr(self, "add_pre_set_parameters_callback"):  # not on Humble
            self.add_pre_set_parameters_callback(self._as_declared)
            self.add_post_set_parameters_callback(self._apply_parameters)
        self.add_on_set_parameters_callback(self._check_parameters)

    @property
    def state(self) -> str:
        """unconfigured, inactive, active or finalized (or a transition's name)."""
        return self._state_machine.current_state[1]

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
        (the attribute is set, then `change_parameter` is called). Of the latter two
        `check_parameter` may refuse a value.
        """
        descriptor = ParameterDescriptor(
            description=description,
            read_only=change == NEVER,
            additional_constraints=f"set it {WHEN[change]}",
        )
        if given := self._parameter_overrides.get(name):
            self._parameter_overrides[name] = as_meant(given, isinstance(default, float))
        if limits and isinstance(default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(limits[0]), to_value=float(limits[1]))
            ]
        elif limits:
            descriptor.integer_range = [
                IntegerRange(from_value=limits[0], to_value=limits[1], step=1)
            ]
        try:
            value = self.declare_parameter(name, default, descriptor).value
        except ParameterException as error:
            wrong = self._parameter_overrides[name].value
            raise RealTalkError(refusal(name, default, limits, wrong)) from error
        self._changes[name] = change
        return value

    def misspelt(self) -> list[str]:
        """A line for each parameter that was given, that no node has, and that looks like one of
        this node's: ROS ignores it, and says nothing."""
        lines = []
        for name in self._parameter_overrides:
            if name in NAMES or self.has_parameter(name):
                continue
            # It may be another package's: only what is very similar is taken to be misspelt.
            if question := did_you_mean(name, self._changes, cutoff=0.75):
                lines.append(f"no parameter is called {name}: {question}")
        return lines

    def parameter_lines(self) -> list[str]:
        """Two lines for each parameter: its name and value, and what it means."""
        lines = []
        for name in sorted(self._changes, key="autostart".__eq__):  # which every node has: last
            descriptor = self.describe_parameter(name)
            ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
            limits = [f" ({r.from_value:.10g} to {r.to_value:.10g})" for r in ranges]
            value = self.get_parameter(name).value
            lines.append(f"  {name}:={str(value).lower() if isinstance(value, bool) else value}")
            lines.append("".join(["      ", descriptor.description, *limits]))
        return lines

    def check_parameter(self, name: str, value: Any) -> None:
        """Raises RealTalkError to refuse a new value of a parameter. Changes nothing."""

    def change_parameter(self, name: str, value: Any) -> None:
        """Applies a new value of a LIVE parameter, which was checked."""

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, which names no parameter that the node does not have, and on Humble has no
        callbacks before and after."""
        for parameter in parameter_list:
            if not self.has_parameter(parameter.name):
                question = did_you_mean(parameter.name, self._changes)
                reason = f"{self.get_name()} has no parameter {parameter.name}"
                reason += f": {question}" if question else ""
                return SetParametersResult(successful=False, reason=reason)
        if hasattr(self, "add_post_set_parameters_callback"):
            return super().set_parameters_atomically(parameter_list)
        parameters = self._as_declared(parameter_list)
        result = super().set_parameters_atomically(parameters)
        if result.successful:
            self._apply_parameters(parameters)
        return result

    def _as_declared(self, parameters: list[Parameter]) -> list[Parameter]:
        """See `as_meant`."""
        return [
            as_meant(
                p,
                self.has_parameter(p.name)
                and self.get_parameter(p.name).type_ == Parameter.Type.DOUBLE,
            )
            for p in parameters
        ]

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """All are checked before any is applied."""
        for parameter in parameters:
            name, value = parameter.name, parameter.value
            change = self._changes.get(name)
            if (
                change == UNCONFIGURED
                and self.state != "unconfigured"
                and value != self.get_parameter(name).value
            ):
                reason = (
                    f"{name} is read when the node is configured: deactivate and clean it up first"
                )
                return SetParametersResult(successful=False, reason=reason)
            if change in (UNCONFIGURED, LIVE):
                try:
                    self.check_parameter(name, value)
                except RealTalkError as error:
                    return SetParametersResult(successful=False, reason=str(error))
                except Exception as error:  # whoever sets parameters must get an answer
                    self.problems.exception(error)
                    reason = f"{name} cannot be checked: {type(error).__name__}: {error}"
                    return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _apply_parameters(self, parameters: list[Parameter]) -> None:
        changes = [(p.name, p.value, self._changes.get(p.name)) for p in parameters]
        for name, value, change in changes:
            if change in (UNCONFIGURED, LIVE):
                setattr(self, name, value)
        for name, value, change in changes:
            if change == LIVE:
                try:
                    self.change_parameter(name, value)
                except Exception as error:  # the others are applied, and the answer is sent
                    self.problems.exception(error)
