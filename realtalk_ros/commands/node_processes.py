# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes of a command: its arguments, starting them, and ending all of them."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from realtalk_ros.audio.media_files import SAMPLE_CLIP
from realtalk_ros.commands.face_arguments import (
    add_avatar,
    add_device,
    add_images,
    add_look_ahead,
)
from realtalk_ros.errors import RealTalkError

FACE_NODES = ("expression_node", "renderer_node")
START_TIMEOUT = 90.0  # s, for a slow machine to load the networks
DOMAINS = range(70, 100)  # ROS domains, one for each command that runs
# A robot's settings that name other machines, by which nodes are found or find each other.
OTHER_MACHINES = ("ROS_DISCOVERY_SERVER", "ROS_STATIC_PEERS")
_held: set[int] = set()  # file descriptors of the sockets by which this process has its domains


def add_graph(parser: argparse.ArgumentParser) -> None:
    """What is said, and by which nodes."""
    parser.add_argument(
        "--wav",
        metavar="FILE",
        type=Path,
        default=SAMPLE_CLIP,
        help="speech (default: the bundled clip)",
    )
    add_avatar(parser)
    add_images(parser)
    add_device(parser)
    add_look_ahead(parser)


@contextmanager
def own_domain(domains: Sequence[int]) -> Iterator[int]:
    """The first of these ROS domains that no such block on this machine has, of any user's process;
    this one has it until it ends, and so have the nodes that it starts: should they outlive a
    killed command, the next one does not hear them. Raises RealTalkError where all are taken."""
    with ExitStack() as held:
        yield _take_domain(domains, held)


def _take_domain(domains: Sequence[int], held: ExitStack) -> int:
    for domain in domains:
        try:
            # A name in Linux's abstract namespace: no file, and gone with its process.
            name = f"\0realtalk_ros/domain/{domain}"
            taken = held.enter_context(socket.socket(socket.AF_UNIX))
            taken.bind(name)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            # Such names cannot be had here, as in some sandboxes: most likely nobody else's.
            return domains[os.getpid() % len(domains)]
        _held.add(taken.fileno())
        held.callback(_held.discard, taken.fileno())
        return domain
    raise RealTalkError("no ROS domain is free: wait for another demo or soak to end")


@contextmanager
def private_graph() -> Iterator[dict[str, subprocess.Popen]]:
    """A ROS domain of its own, on this machine only: a robot in the same network must not hear it.
    Gives an empty dict for `start`; the nodes in it end with the block. Raises RealTalkError where
    ROS does not start."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from realtalk_ros.nodes.fastdds_profile import use_fastdds_profile
    from realtalk_ros.nodes.ros_arguments import require_utf8
    from realtalk_ros.nodes.spin import REFUSED, with_advice

    require_utf8(sys.argv)  # the nodes take names of files as parameters
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    for name in OTHER_MACHINES:
        os.environ.pop(name, None)
    use_fastdds_profile()
    nodes: dict[str, subprocess.Popen] = {}
    with own_domain(DOMAINS) as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        try:
            # Ctrl-C must reach the `finally` that stops the other processes.
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        except REFUSED as error:
            raise RealTalkError(with_advice(error)) from error
        try:
            yield nodes
        finally:
            stop(nodes)
            rclpy.try_shutdown()


def start(
    nodes: dict[str, subprocess.Popen],
    name: str,
    params_file: Path | None = None,
    **parameters: object,
) -> None:
    """Starts a node and lists it in `nodes`. A signal waits for that: `stop` finds them all."""
    command = [sys.executable, "-m", f"realtalk_ros.nodes.{name}", "--ros-args"]
    if params_file is not None:
        command += ["--params-file", str(params_file)]
    for key, value in parameters.items():
        command += ["-p", f"{key}:={json.dumps(value)}"]
    came: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # by nohup: a process started under a handler would not inherit that
            handlers[number] = signal.signal(number, lambda sent, _: came.append(sent))
    # Of Ctrl-C the terminal tells the nodes, too: while they import, it waits (spin.py).
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        nodes[name] = subprocess.Popen(command, pass_fds=tuple(_held))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
    for sent in came:
        signal.raise_signal(sent)


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
