# SPDX-License-Identifier: Apache-2.0
"""The parameters among a ROS 2 program's arguments, where ROS would take the wrong one of two."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import yaml

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.params_file import read_params_file

# rcl keeps a value of each type that a parameter is given with (rcl_variant_t), and rclpy takes the
# first of them in this order (_rclpy_pybind11), whichever was given last.
ORDER = (bool, int, float, str, list)


# What is no text for rcl (rcl_yaml_param_parser's parse.c): PyYAML has dates and more, too.
PATTERNS = {
    "bool": r"(?i:y|yes|on|true|n|no|off|false)",
    "int": r"[-+]?(0[xX][0-9a-fA-F]+|\d+)",
    "float": r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}


def _rcl_loader() -> type[yaml.SafeLoader]:
    """A loader of YAML that knows rcl's types."""

    class Loader(yaml.SafeLoader):
        pass

    tag = "tag:yaml.org,2002"
    Loader.yaml_implicit_resolvers = {}
    for kind, pattern in PATTERNS.items():
        Loader.add_implicit_resolver(f"{tag}:{kind}", re.compile(f"({pattern})$"), None)
    Loader.add_constructor(
        f"{tag}:bool", lambda _, node: node.value.lower() in ("y", "yes", "on", "true")
    )
    return Loader


LOADER = _rcl_loader()


def check_types(args: Sequence[str]) -> None:
    """Raises RealTalkError for a parameter that is given twice, by two types, and would have the
    value that was given first. `args` are those of a program, of which all that follow
    `--ros-args`, up to `--`, are ROS's."""
    given: dict[tuple[str, str], Any] = {}
    for node, name, value in _parameters(args):
        before = given.setdefault((node, name), value)
        if _rank(before) < _rank(value):
            raise RealTalkError(
                f"{name} is given as {before!r} and then as {value!r}, and ROS would take the "
                "first: write both as numbers with a point, both without, or both as text"
            )
        given[node, name] = value


def _parameters(args: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """(node or pattern, parameter, value) in the order in which they are given."""
    of_ros = False
    for argument, following in zip_longest(args, args[1:], fillvalue=""):
        if argument in ("--ros-args", "--"):
            of_ros = argument == "--ros-args"
        elif of_ros and argument in ("-p", "--param"):
            name, _, text = following.partition(":=")
            node, _, name = name.rpartition(":")
            with contextlib.suppress(yaml.YAMLError):  # rcl says what is wrong with it
                yield node or "/**", name, yaml.load(text, LOADER)
        elif of_ros and argument == "--params-file":
            try:
                sections = read_params_file(following, LOADER)
            except RealTalkError:
                continue  # likewise
            for node, values in sections.items():
                for name, value in values.items():
                    yield node, name, value


def _rank(value: Any) -> int:
    """Where its type stands in ORDER."""
    return next((k for k, kind in enumerate(ORDER) if isinstance(value, kind)), len(ORDER))
