# SPDX-License-Identifier: Apache-2.0
"""The talking face: expression and renderer node, and other nodes and RViz if wanted.

    ros2 launch realtalk_ros realtalk.launch.py avatar:=default rviz:=true

All are lifecycle nodes; they configure and activate themselves unless autostart:=false.
An argument that is not given leaves the value of the parameter file as it is. A node that dies is
started again: after 0.5 s, and later each time; not if it was asked to end, or cannot run with its
configuration.
"""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, TimerAction
from launch.events.process import ProcessExited
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.descriptions import ParameterValue

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes import launch_arguments
from realtalk_ros.nodes.params_file import read_params_file, value_for
from realtalk_ros.nodes.respawn import MISCONFIGURED, Respawn

PACKAGE = "realtalk_ros"
SHARE = get_package_share_directory(PACKAGE)
PARAMS_FILE = f"{SHARE}/config/realtalk.yaml"
# Arguments that are parameters of the nodes. launch's own `choices` would say what is wrong twice.
PARAMETERS = {
    "avatar": "Bundled avatar's name, or an avatar folder",
    "fps": "Frames per second",
    "size": "Height of the images [px]",
    "policy": "What a new utterance does while another is spoken",
    "device": "Where the networks run",
    "look_ahead": "How much of the sound after a frame the network waits for [s]",
    "autostart": "Configure and activate the nodes; false: leave that to a manager",
    "use_sim_time": "Take the time from /clock",
}
# Nodes that come when their argument is true: <argument>_node.
OPTIONAL = {
    "say": "Speak the texts that come on say",
    "display": "Serve the face as a web page on http://127.0.0.1:8080/",
    "audio_adapter": "Take the audio messages of other packages on audio_in",
    "microphone": "Let the face speak what the microphone records",
}
OUTPUT: dict[str, Any] = {"output": "screen", "emulate_tty": True}
# launch leaves its processes behind when it is terminated or killed: the kernel ends them then.
WITH_LAUNCH = "setpriv --pdeathsig TERM " if shutil.which("setpriv") else ""


def generate_launch_description() -> LaunchDescription:
    defaults = {
        "namespace": ("realtalk", "Namespace of nodes and topics"),
        "params_file": (PARAMS_FILE, "Parameter file (YAML)"),
        **{name: ("", f"{tell(name)}; empty: as in params_file") for name in PARAMETERS},
        "respawn": ("true", "Start a node again that died (true, false)"),
        "rviz": ("false", "Show the face and its landmarks in RViz (true, false)"),
        **{name: ("false", f"{what} (true, false)") for name, what in OPTIONAL.items()},
    }
    return LaunchDescription(
        [OpaqueFunction(function=warn_of_unknown, args=[list(defaults)])]
        + [
            DeclareLaunchArgument(name, default_value=default, description=description)
            for name, (default, description) in defaults.items()
        ]
        + [OpaqueFunction(function=make_nodes)]
    )


def tell(name: str) -> str:
    choices = launch_arguments.CHOICES.get(name)
    return f"{PARAMETERS[name]} ({', '.join(choices)})" if choices else PARAMETERS[name]


def warn_of_unknown(context: LaunchContext, known: list[str]) -> None:
    # Where another launch file includes this one, the arguments are the other's.
    if Path(__file__).name in [Path(text).name for text in sys.argv]:
        for line in launch_arguments.unknown(context.argv, known):
            get_logger("launch").warning(line)


def make_nodes(context: LaunchContext) -> list[ExecuteProcess]:
    """Everything that can be wrong is looked at before the first node starts: launch leaves behind
    what it started just before an error."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def wanted(name: str) -> bool:
        return launch_arguments.flag(name, given(name))

    values = launch_arguments.parameters({name: given(name) for name in PARAMETERS})
    above = context.launch_configurations.get("ros_namespace", "")
    namespace = launch_arguments.namespace(given("namespace"), above)
    params_file = given("params_file") or PARAMS_FILE
    sections = read_params_file(params_file)
    again, rviz = wanted("respawn"), wanted("rviz")
    names = ["expression_node", "renderer_node"]
    names += [f"{name}_node" for name in OPTIONAL if wanted(name)]
    names += ["markers_node"] if rviz else []
    for name in names:
        if not installed(PACKAGE, name):
            raise RealTalkError(f"{name} of {PACKAGE} is not installed: build the package again")

    # Text stays text: an avatar's name may be one that YAML takes for a number.
    typed = {k: ParameterValue(v, value_type=type(v)) for k, v in values.items()}
    parameters: list[Any] = [params_file, typed] if typed else [params_file]
    prefix = [WITH_LAUNCH, LaunchConfiguration("launch-prefix", default="")]
    actions: list[ExecuteProcess] = [
        Node(
            package=PACKAGE,
            executable=name,
            exec_name=name,
            name=name,
            namespace=namespace,
            parameters=parameters,
            prefix=prefix,
            on_exit=start_again(name) if again else None,
            **OUTPUT,
        )
        for name in names
    ]
    if rviz and installed("rviz2", "rviz2"):
        markers = f"{namespace.rstrip('/')}/markers_node"
        frame_id = value_for(sections, markers, "frame_id", "face")
        sim_time = value_for(sections, markers, "use_sim_time", False)
        frame = launch_arguments.face_frame(namespace, str(frame_id))
        actions.append(make_rviz(namespace, frame, values.get("use_sim_time", sim_time), prefix))
    elif rviz:
        get_logger("rviz2").warning(
            "rviz2 is not installed here, so nothing shows the face; the rest starts: "
            "apt install ros-$ROS_DISTRO-rviz2, or start it on another machine"
        )
    return actions


def make_rviz(namespace: str, frame: str, sim_time: Any, prefix: list[Any]) -> Node:
    """RViz with the face's image and markers; `frame` is its fixed frame."""
    return Node(
        package="rviz2",
        executable="rviz2",
        exec_name="rviz2",
        prefix=prefix,
        arguments=["-d", f"{SHARE}/config/realtalk.rviz", "-f", frame],
        parameters=[{"use_sim_time": sim_time}],
        remappings=[
            (f"/realtalk/face/{topic}", f"{namespace.rstrip('/')}/face/{topic}")
            for topic in ("image_raw", "markers")
        ],
    )


def installed(package: str, executable: str) -> bool:
    try:
        path = f"{get_package_prefix(package)}/lib/{package}/{executable}"
    except PackageNotFoundError:
        return False
    return os.access(path, os.X_OK)


def start_again(name: str) -> Any:
    """What launch is to do when the process of node `name` has ended."""
    policy, logger = Respawn(), get_logger(name)
    began = time.monotonic()

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[TimerAction] | None:
        nonlocal began
        if context.is_shutdown:
            return None
        wait = policy.after(event.returncode, time.monotonic() - began)
        if wait is None:
            if event.returncode == MISCONFIGURED:
                logger.error("not started again: mend what it says above, then launch it anew")
            return None
        logger.warning(f"starting again in {wait:g} s")
        began = time.monotonic() + wait
        # By its command line: launch_ros would warn of a second Node of the same name.
        again = ExecuteProcess(
            cmd=event.cmd, name=name, cwd=event.cwd, env=event.env, prefix="", on_exit=on_exit,
            **OUTPUT,
        )  # fmt: skip
        return [TimerAction(period=wait, actions=[again])]

    return on_exit
