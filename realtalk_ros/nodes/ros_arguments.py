# SPDX-License-Identifier: Apache-2.0
"""A ROS 2 program's arguments: where ROS would take another value than the one that was meant, or
say what is wrong in words of its own sources."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.params_file import is_for, read_params_file
from realtalk_ros.spelling import did_you_mean

# rcl keeps a value of each type that a parameter is given with (rcl_variant_t), and rclpy takes the
# first of them in this order (_rclpy_pybind11), whichever was given last.
ORDER = (bool, int, float, str, list)

HOW_TO_LOG = "set HOME, or ROS_LOG_DIR to a folder that can be written to"
DOMAIN = "ROS_DOMAIN_ID"
PARAMETER = ("-p", "--param")
BY_LAUNCH = "launch_params_"  # launch_ros: files of parameters that a launch file gives to a node
LAST_DOMAIN = 232  # by the ports that RTPS computes of it

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


def require_utf8(args: Sequence[str]) -> None:
    """Raises RealTalkError for an argument that ROS cannot take, such as an old file's name."""
    for argument in args:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise RealTalkError(
                f"{argument!r} is no text in UTF-8, as ROS 2 takes it: rename it, or set "
                "LANG=C.UTF-8 if it is"
            ) from error


def require_domain() -> None:
    """Raises RealTalkError for a ROS_DOMAIN_ID for which DDS has no ports: it ends the process."""
    text = os.environ.get(DOMAIN, "")
    zenoh = os.environ.get("RMW_IMPLEMENTATION", "").startswith("rmw_zenoh")
    if text.isdecimal() and int(text) > LAST_DOMAIN and not zenoh:
        raise RealTalkError(f"{DOMAIN} is a number from 0 to {LAST_DOMAIN}, not {text}")


def check_values(args: Sequence[str]) -> None:
    """Raises RealTalkError for a parameter that is given twice, by two types, and would have the
    value that was given first, and for a value of which YAML leaves nothing, or takes a part for a
    comment. `args` are those of a program, of which all that follow `--ros-args`, up to `--`, are
    ROS's."""
    given: dict[tuple[str, str], Any] = {}
    for node, name, value in _parameters(args):
        before = given.setdefault((node, name), value)
        if _rank(before) < _rank(value):
            raise RealTalkError(
                f"{name} is given as {before!r} and then as {value!r}, and ROS would take the "
                "first: write both as numbers with a point, both without, or both as text"
            )
        given[node, name] = value


def ignored(args: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """A line for each of a program's `nodes`, by their absolute names, for which parameters are
    given, all by its name in other namespaces, or by a name much like its own: ROS ignores them,
    and says nothing. Where others reach the node, as by /**, those of a namespace may well be
    another robot's."""
    given = dict.fromkeys(
        "/" + node.strip("/") for node, _, _ in _parameters(args, with_launch=False)
    )
    lines = []
    for node in nodes:
        name = node.rpartition("/")[2]
        for other in given:
            its_name = other.rpartition("/")[2]
            if its_name != name and (question := did_you_mean(its_name, [name], cutoff=0.85)):
                lines.append(f"parameters for {other} are ignored, as no node has it: {question}")
        named = [other for other in given if other.rpartition("/")[2] == name]
        called = [n for n in nodes if n.rpartition("/")[2] == name]
        if any(is_for(pattern, n) for pattern in named for n in called):
            continue
        if any(is_for(pattern, node) for pattern in given):
            named = [other for other in named if other == f"/{name}"]
        if named:
            lines.append(
                f"parameters for {named[0]} are ignored, as the node is called {node}: in a file "
                f"write {node} or /**/{name}, in -p no node"
            )
    return lines


def explain(args: Sequence[str]) -> str:
    """What is wrong with arguments that rcl does not accept; empty: nothing that is known here."""
    for rule in _values_of(args, *PARAMETER):
        name, assigned, text = rule.partition(":=")
        if not assigned or " " in name:
            return f"-p {rule} is no parameter: write -p NAME:=VALUE"
        try:
            readable = not isinstance(yaml.load(text, LOADER), dict)
        except yaml.YAMLError:
            readable = False
        if not readable:
            return f"-p {rule}: the value is YAML, which this is not; {_in_quotes(name, text)}"
    for rule in _values_of(args, "-r", "--remap"):
        if ":=" not in rule:
            return f"-r {rule} is no remapping: write -r FROM:=TO"
        if re.match("([^:]*:)?__ns:=(?!/)", rule):
            return f"-r {rule}: a namespace begins with a slash, as in -r __ns:=/robot"
    for path in _values_of(args, "--params-file"):
        try:
            read_params_file(path)
        except RealTalkError as error:
            return str(error)
    return ""


def in_plain_words(text: str) -> str:
    """What ROS says, without the positions in its sources, and with what to do."""
    text = re.sub(r"(, at /\S+:\d+)+$", "", text)
    if re.search("log(ging)? directory", text):
        text += f": {HOW_TO_LOG}"
    return text


def _in_quotes(name: str, text: str) -> str:
    """How text is written that is to reach ROS through a shell and through YAML."""
    value = "'" + text.replace("'", "''") + "'"
    shell = shlex.quote(value) if re.search(r'["$`\\!]', value) else f'"{value}"'
    return f"text is written in two kinds of quotes, as in -p {name}:={shell}"


def _values_of(args: Sequence[str], *options: str) -> Iterator[str]:
    """What follows any of `options` among ROS's own arguments."""
    for option, value in _of_ros(args):
        if option in options and value:
            yield value


def _of_ros(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each of ROS's own arguments, and what follows it."""
    of_ros = False
    for argument, following in zip_longest(args, args[1:], fillvalue=""):
        if argument in ("--ros-args", "--"):
            of_ros = argument == "--ros-args"
        elif of_ros:
            yield argument, following


def _parameters(args: Sequence[str], with_launch: bool = True) -> Iterator[tuple[str, str, Any]]:
    """(node or pattern, parameter, value) in the order in which they are given; with those that
    launch has written itself, unless `with_launch` is off. What rcl refuses is left out: `explain`
    says what is wrong with it. Raises RealTalkError as `_require_all_of` does."""
    for option, argument in _of_ros(args):
        if option in PARAMETER:
            rule, assigned, text = argument.partition(":=")
            try:
                value = yaml.load(text, LOADER)
            except yaml.YAMLError:
                continue
            if assigned:
                _require_all_of(value, rule, text)
                node, _, name = rule.rpartition(":")
                yield node or "/**", name, value
        elif option == "--params-file":
            if not with_launch and Path(argument).name.startswith(BY_LAUNCH):
                continue
            try:
                sections = read_params_file(argument, LOADER)
            except RealTalkError:
                continue
            for node, values in sections.items():
                for name, value in values.items():
                    yield node, name, value


def _require_all_of(value: Any, name: str, text: str) -> None:
    """Raises RealTalkError where `value`, which is what YAML has made of -p NAME:=TEXT, is nothing,
    or lacks what it took for a comment."""
    if value is None:
        raise RealTalkError(f"-p {name}:={text} gives no value: {_in_quotes(name, text)}")
    if isinstance(value, str) and value.count("#") < text.count("#"):
        raise RealTalkError(
            f"of -p {name}:={text} only {value!r} would be taken, as # begins a comment in YAML: "
            f"{_in_quotes(name, text)}"
        )


def _rank(value: Any) -> int:
    """Where its type stands in ORDER."""
    return next((k for k, kind in enumerate(ORDER) if isinstance(value, kind)), len(ORDER))
