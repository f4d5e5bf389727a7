# SPDX-License-Identifier: Apache-2.0
"""Parameter files of ROS 2, as rcl reads them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from realtalk_ros.errors import RealTalkError, reason


def default_params_file() -> Path:
    """config/realtalk.yaml: of the source tree if that is what runs, else as installed."""
    source = Path(__file__).parents[2] / "config/realtalk.yaml"
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    installed = [Path(p) / "share/realtalk_ros/config/realtalk.yaml" for p in prefixes if p]
    return next((path for path in [source, *installed] if path.is_file()), installed[-1])


def read_params_file(
    path: str | Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader
) -> dict[str, dict[str, Any]]:
    """{node's absolute name, or a pattern: {parameter: value}} of a ROS 2 parameter file.

    Raises RealTalkError for a file that cannot be read, or is none of these.
    """
    try:
        return _sections(yaml.load(Path(path).read_text(encoding="utf-8"), loader), path)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RealTalkError(f"cannot read the parameter file {path}: {_reason(error)}") from error


def _sections(content: Any, path: str | Path) -> dict[str, dict[str, Any]]:
    """Of what the file holds. Raises RecursionError where that holds itself, RealTalkError."""
    found: dict[str, dict[str, Any]] = {}

    def walk(names: str, level: Any) -> None:
        if not isinstance(level, dict) or not level or ("ros__parameters" in level and not names):
            raise RealTalkError(
                f"{path} is not a parameter file of ROS 2: give one of the form "
                "/**: {ros__parameters: {avatar: default}}"
            )
        for key, value in level.items():
            if key != "ros__parameters":
                walk(f"{names}/{str(key).strip('/')}", value)
            elif isinstance(value, dict):
                _require_values(f"{path}: {names[1:]}", value)
                found.setdefault(names, {}).update(value)
            else:  # each node would refuse it, in rcl's words
                held = "nothing" if value is None else repr(value)
                raise RealTalkError(
                    f"{path}: ros__parameters of {names[1:]} holds {held}: write name: value below "
                    "it, indented, or remove the section"
                )

    walk("", content)
    return found


def _require_values(where: str, parameters: dict[str, Any]) -> None:
    """Raises RealTalkError for a parameter without a value, which rcl does not read."""
    for name, value in parameters.items():
        if isinstance(value, dict):
            _require_values(where, {f"{name}.{key}": v for key, v in value.items()})
        elif value is None:
            raise RealTalkError(
                f"{where}: {name} holds nothing: write a value, in quotes if it begins with # "
                "(as in '#20242a'), or remove the line"
            )


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no UTF-8: save it as UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply: write node: {ros__parameters: {name: value}}"
    return reason(error)


def value_for(sections: dict[str, dict[str, Any]], node: str, name: str, default: Any) -> Any:
    """Parameter `name` of the node with the absolute name `node`, from what `read_params_file`
    returned. As in ROS 2, a section of the node's own wins over patterns."""
    value = default
    for pattern, values in sorted(sections.items(), key=lambda item: "*" not in item[0]):
        if is_for(pattern, node):
            value = values.get(name, value)
    return value


def is_for(pattern: str, node: str) -> bool:
    """Whether a section, a node's absolute name or a pattern, is for the node of an absolute
    name."""
    names = re.escape(pattern).replace(r"/\*\*", "(/[^/]+)*").replace(r"/\*", "/[^/]+")
    return re.fullmatch(names, node) is not None
