# SPDX-License-Identifier: Apache-2.0
"""Dataclasses of a training's settings, of which fields are options of its command."""

from __future__ import annotations

import argparse
from dataclasses import field, fields
from typing import Any


def option(value: Any, text: str, flag: str | None = None, **more: Any) -> Any:
    """A field of the default `value` that `flag`, or --NAME-OF-IT, sets; `text` is its help, `more`
    are keywords of add_argument. The command's default is `value`, too, or `default` of these."""
    return field(default=value, metadata={"help": text, "flag": flag, **more})


def add_options(parser: argparse.ArgumentParser, settings: type) -> None:
    """The options of all fields that are some, in their order."""
    for each in fields(settings):
        if not each.metadata:
            continue
        keywords = {"dest": each.name, "default": each.default, **each.metadata}
        flag = keywords.pop("flag") or f"--{each.name.replace('_', '-')}"
        if each.default is False:
            keywords["action"] = "store_true"
        elif "choices" not in keywords:
            keywords.setdefault("metavar", flag.lstrip("-").replace("-", "_").upper())
            keywords.setdefault("type", type(each.default))
        parser.add_argument(flag, **keywords)


def given(args: argparse.Namespace, settings: type) -> dict[str, Any]:
    """The fields that the command's arguments have, by name, but those that are None; lists as
    tuples."""
    values = {each.name: getattr(args, each.name, None) for each in fields(settings)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if value is not None
    }
