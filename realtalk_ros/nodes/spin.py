# SPDX-License-Identifier: Apache-2.0
"""Runs nodes in this process: the main() of every node."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy._rclpy_pybind11 import RCLError, RMWError, UnknownROSArgsError
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from realtalk_ros.errors import RealTalkError, first_line
from realtalk_ros.nodes.fastdds_profile import use_fastdds_profile
from realtalk_ros.nodes.late_network import LateNetwork
from realtalk_ros.nodes.lifecycle import RealTalkNode
from realtalk_ros.nodes.ros_arguments import (
    check_values,
    explain,
    ignored,
    in_plain_words,
    require_domain,
    require_utf8,
)

ANSWERING = 0.5  # s at the end of a process, for answers

# What is raised for arguments that ROS does not accept.
REFUSED = (
    RealTalkError,
    ParameterException,
    NameValidationException,
    RCLError,
    RMWError,
    UnknownROSArgsError,
)


def spin(nodes: list[RealTalkNode]) -> int:
    """Runs nodes until they end or are interrupted. Returns the process's exit code.

    2: a node never got what it needs (model, avatar, sound file); the log says what that is.
    """
    signals = _noted_signals()
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
        for line in node.misspelt():
            node.problems.add(line)
    try:
        for node in nodes:
            if node.autostart:
                node.try_setup()
        while not signals and not _ended(nodes):
            try:
                executor.spin_once(timeout_sec=0.2)
            except ExternalShutdownException:
                break
            except Exception as error:  # of a service or of rclpy; nodes catch all others
                nodes[0].problems.exception(error)
    finally:
        for node in nodes:
            node.close()
        _answer(executor, nodes)
        codes = [node.exit_code for node in nodes if node.exit_code is not None]
        failed = any(node.failure for node in nodes)
        for node in nodes:
            executor.remove_node(node)
            node.destroy_node()
    return max(codes, default=2 if failed else 0)


def _noted_signals() -> list[int]:
    """Those that come from now on, of signals that end a process: they only go into this list."""
    signals: list[int] = []
    hung_up = (signal.SIGHUP,) if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else ()
    for number in (signal.SIGINT, signal.SIGTERM, *hung_up):
        # Not rclpy's handlers: they end ROS at once, before a recording is completed and logged.
        signal.signal(number, lambda number, _frame: signals.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which node_processes.py blocks
    return signals


def _answer(executor: SingleThreadedExecutor, nodes: list[RealTalkNode]) -> None:
    """Sends the answers for which others wait, such as results of goals that the end has ended."""
    if not any(node.owes_answers() for node in nodes):
        return
    end = time.monotonic() + ANSWERING
    while time.monotonic() < end and executor.context.ok():
        with contextlib.suppress(Exception):  # of one answer: the others are sent all the same
            executor.spin_once(timeout_sec=0.02)


def _ended(nodes: list[RealTalkNode]) -> bool:
    return any(node.exit_code is not None for node in nodes) or all(
        node.state == "finalized" for node in nodes
    )


def with_advice(error: Exception, args: Sequence[str] = ()) -> str:
    """The first line of what ROS refuses, with what to do where ROS does not say so. `args`: the
    program's."""
    if isinstance(error, UnknownROSArgsError):
        return (
            f"ROS 2 has no argument {first_line(error).strip('[]')}: a value with spaces is put in "
            'quotes, as in -p "emotion:=happy 0.5"'
        )
    if isinstance(error, RCLError) and (found := explain(args)):
        return found
    return in_plain_words(first_line(error))


def show_help(nodes: Sequence[RealTalkNode]) -> None:
    """Prints what nodes do, and their parameters with the values that they would have."""
    for node in nodes:
        about = inspect.getdoc(sys.modules[type(node).__module__]) or ""
        print(f"usage: {node.get_name()} [--ros-args [-p PARAMETER:=VALUE] [-r __ns:=/NAMESPACE]]")
        print("", about.partition("\n\n")[0], "", "parameters and their values:", sep="\n")
        print(*node.parameter_lines(), sep="\n")


def run(
    make_nodes: Callable[[], list[RealTalkNode]],
    args: list[str] | None = None,
    images: bool = False,
) -> int:
    """The main() of a node, or of several in one process. images: whether they publish images."""
    use_fastdds_profile(images)
    args = sys.argv if args is None else args
    try:
        require_domain()
        require_utf8(args)
        check_values(args)
        others = remove_ros_args(args)[1:]
        if helped := bool({"-h", "--help"} & set(others)):
            os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "OFF"  # these nodes are not to be found
        elif others:
            advice = "a parameter is given as --ros-args -p NAME:=VALUE (--help lists them)"
            print(f"realtalk_ros: ignored: {' '.join(others)}; {advice}", file=sys.stderr)
        network = LateNetwork()
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        nodes = make_nodes()
        if helped:
            show_help(nodes)
            return 0
        for line in ignored(args, [node.get_fully_qualified_name() for node in nodes]):
            nodes[0].problems.add(line)
        network.watch(nodes[0])
        return spin(nodes)
    except REFUSED as error:
        print(f"realtalk_ros: {with_advice(error, args)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before spin
        return 0
    finally:
        rclpy.try_shutdown()
