# SPDX-License-Identifier: Apache-2.0
"""What `--help` says: every argument has words, and its default where it has one."""

import argparse

import pytest

from realtalk_ros import cli


def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


@pytest.mark.parametrize("words", cli.COMMANDS, ids=" ".join)
def test_the_help_tells_what_each_argument_is_and_its_default(words):
    try:
        whole = cli.build_parser(words)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    name = f"realtalk {' '.join(words)}"
    for parser in parsers(whole):
        if not f"{parser.prog} ".startswith(f"{name} "):
            continue
        said = " ".join(parser.format_help().split())
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            assert action.help, action
            if action.nargs == 0 or action.default in (None, "", []):
                continue
            if action.default == argparse.SUPPRESS:
                continue
            value = action.default
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            assert "default" in action.help and "(%(default)" not in action.help, action
            assert shown in said or "default:" in action.help, action
