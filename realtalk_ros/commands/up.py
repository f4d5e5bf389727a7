# SPDX-License-Identifier: Apache-2.0
"""`realtalk up`: the whole face in one process, for where `ros2 launch` is not installed.

Several faces share their networks: sessions by onnx_session.py, frames in batches by
rendering/batching.py.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rclpy.parameter import Parameter

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes import launch_arguments, lifecycle, ros_arguments, spin
from realtalk_ros.nodes.expression_node import ExpressionNode
from realtalk_ros.nodes.params_file import default_params_file, read_params_file
from realtalk_ros.nodes.renderer_node import RendererNode
from realtalk_ros.rendering.batching import BatchingRenderer

NAMES = ("avatar", "fps", "size", "device", "look_ahead")  # of the options that are parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--params-file",
        metavar="YAML",
        type=Path,
        help="parameters (default: config/realtalk.yaml)",
    )
    parser.add_argument("--namespace", help=f"default: {lifecycle.NAMESPACE}")
    parser.add_argument(
        "--face",
        metavar="NAMESPACE=AVATAR",
        action="append",
        default=[],
        help="a face of its own in this namespace; may be given several times, all share one "
        "process and one copy of the networks",
    )
    parser.add_argument("--avatar", help="bundled avatar's name, or a folder")
    parser.add_argument("--fps", help="frames per second")
    parser.add_argument("--size", help="height of the images in pixels")
    devices = ", ".join(launch_arguments.CHOICES["device"])
    parser.add_argument("--device", help=f"where the networks run: {devices}")
    look_aheads = ", ".join(launch_arguments.CHOICES["look_ahead"])
    parser.add_argument(
        "--look-ahead",
        metavar="S",
        help=f"how much of the sound after a frame the network waits for, s: {look_aheads}",
    )
    parser.add_argument(
        "--ros-args",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="ARG",
        help="all that follows, as ROS 2 programs take it",
    )


def run(args: argparse.Namespace) -> int:
    ros_arguments.require_utf8([args.avatar or "", *args.face])
    values = launch_arguments.parameters({name: getattr(args, name) for name in NAMES})
    params_file = args.params_file or default_params_file()
    read_params_file(params_file)
    faces = [read_face(text) for text in args.face]
    if faces and (args.namespace is not None or args.avatar is not None):
        raise RealTalkError(
            "--face names the namespace and the avatar: give each face as "
            "--face NAMESPACE=AVATAR, without --namespace and --avatar"
        )
    if len({namespace for namespace, _ in faces}) < len(faces):
        raise RealTalkError("every --face needs a namespace of its own")
    check_names(args.ros_args, bool(faces))
    # Of parameters ROS takes the last, of rules for names the first.
    ros_args = [sys.argv[0], "--ros-args", "--params-file", str(params_file), *args.ros_args]
    if not faces:
        own = lifecycle.NAMESPACE if args.namespace is None else args.namespace
        own = f"__ns:={launch_arguments.namespace(own)}"
        ros_args += ["--", "--ros-args", "-r", own]
    return spin.run(lambda: make_nodes(faces, values), ros_args, images=True)


def check_names(ros_args: Sequence[str], faces: bool) -> None:
    """Raises RealTalkError for a rule that would give several nodes one name."""
    for rule in ros_args:
        if re.match("__(node|name):=", rule):
            raise RealTalkError(
                f"{rule} would rename both nodes of a face: write renderer_node:{rule}, say"
            )
        if faces and rule.startswith("__ns:="):
            raise RealTalkError(f"{rule} would be the namespace of each --face: leave it out")


def read_face(text: str) -> tuple[str, str]:
    """As (namespace, avatar): "robot1=default" -> ("/robot1", avatar). Raises RealTalkError."""
    namespace, _, avatar = text.partition("=")
    if not namespace.strip("/") or not avatar:
        raise RealTalkError(f"--face takes NAMESPACE=AVATAR, such as robot1=default, not {text!r}")
    try:
        # No shell expands ~ in NAMESPACE=~/faces/ann.
        return launch_arguments.namespace(namespace), os.path.expanduser(avatar)  # noqa: PTH111
    except RealTalkError as error:
        raise RealTalkError(f"--face {text}: {error}") from error


def make_nodes(
    faces: Sequence[tuple[str, str]], values: Mapping[str, Any]
) -> list[lifecycle.RealTalkNode]:
    """An expression and a renderer node for each of `faces` (namespace, avatar); without any, for
    the one that the process's ROS arguments describe. `values`: parameters that win over those."""

    def overrides(values: Mapping[str, Any]) -> list[Parameter]:
        return [Parameter(name, value=value) for name, value in values.items()]

    if not faces:
        own = overrides(values)
        return [kind(parameter_overrides=own) for kind in (ExpressionNode, RendererNode)]
    batching = BatchingRenderer([avatar for _, avatar in faces])
    nodes: list[lifecycle.RealTalkNode] = []
    for index, (namespace, avatar) in enumerate(faces):
        own = overrides({**values, "avatar": avatar})
        nodes += [
            ExpressionNode(namespace=namespace, parameter_overrides=own),
            RendererNode(batch=(batching, index), namespace=namespace, parameter_overrides=own),
        ]
    return nodes
