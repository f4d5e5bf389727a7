# SPDX-License-Identifier: Apache-2.0
"""Arguments of the launch file and of `realtalk up`. An argument that is given wins over the
parameter file, and the file over the nodes' own defaults: launch/realtalk.launch.py passes the file
first and the arguments after it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from realtalk_ros.contracts import DEVICES, FPS_RANGE, POLICIES, SIZE_RANGE, STEP_FILES
from realtalk_ros.errors import RealTalkError
from realtalk_ros.spelling import did_you_mean

# What launch and launch_ros themselves read beside a launch file's own arguments.
OF_LAUNCH = {
    "emulate_tty",
    "launch-prefix",
    "launch-prefix-filter",
    "ros_namespace",
    "sigkill_timeout",
    "sigterm_timeout",
}
FLAGS = {"true": True, "True": True, "false": False, "False": False}
CHOICES = {
    "device": DEVICES,
    "look_ahead": tuple(f"{seconds:g}" for seconds in STEP_FILES),
    "policy": POLICIES,
    "autostart": ("true", "false"),
    "use_sim_time": ("true", "false"),
}


def parameters(given: dict[str, Any]) -> dict[str, Any]:
    """{argument: its text or value; "" or None: not given} -> the parameters that it sets.

    Raises RealTalkError for what no node would accept.
    """
    numbers = {"fps": (float, FPS_RANGE), "size": (int, SIZE_RANGE)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value in ("", None):
            continue
        if name in numbers:
            value = _number(name, str(value), *numbers[name])
        elif CHOICES.get(name) == ("true", "false"):
            value = flag(name, value)
        elif name in CHOICES and value not in CHOICES[name]:
            raise RealTalkError(f"{name} is one of {', '.join(CHOICES[name])}, not {value!r}")
        values[name] = float(value) if name == "look_ahead" else value
    return values


def unknown(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """A line for each of the arguments NAME:=VALUE that no one reads: launch does not mention
    them. `known`: the launch file's own names."""
    known, lines = list(known), []
    for name in dict.fromkeys(text.partition(":=")[0] for text in given):
        if name in OF_LAUNCH or name in known:
            continue
        hint = did_you_mean(name, known) or "--show-args lists those there are"
        lines.append(f"no argument is called {name!r}, so it changes nothing: {hint}")
    return lines


def flag(name: str, text: str) -> bool:
    """The value of an argument that is true or false. Raises RealTalkError."""
    if text not in FLAGS:
        raise RealTalkError(f"{name} is true or false, not {text!r}")
    return FLAGS[text]


def _number(name: str, text: str, kind: type, limits: tuple[float, float]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not limits[0] <= value <= limits[1]:  # which NaN is not
        what = "a whole number" if kind is int else "a number"
        raise RealTalkError(f"{name} is {what} from {limits[0]:g} to {limits[1]:g}, not {text!r}")
    return value


def namespace(text: str, parent: str = "") -> str:
    """As an absolute one: "robot1/head" -> "/robot1/head"; "" and "/" -> "/". `parent`: the
    namespace in which a relative one lies. Raises RealTalkError for invalid characters."""
    whole = (text if text.startswith("/") else f"{parent}/{text}").strip("/")
    if whole and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*", whole):
        raise RealTalkError(
            "namespace is made of letters, digits and underscores, with / between its parts, such "
            f"as robot1/head, not {text!r}"
        )
    return f"/{whole}"


def face_frame(namespace: str, frame_id: str = "face") -> str:
    """The frame of the face of an absolute `namespace`, whose nodes' parameter is `frame_id`: the
    nodes put it into their namespace, unless it names one itself."""
    return frame_id if "/" in frame_id else f"{namespace}/{frame_id}".strip("/")
