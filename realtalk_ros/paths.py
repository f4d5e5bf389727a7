# SPDX-License-Identifier: Apache-2.0
"""What is at a path that a user gave. Path's own `is_file` and its like raise for names that are
too long, and for what is in a folder that one may not enter; these answer False."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TextIO

from realtalk_ros.errors import RealTalkError, reason

STANDARD_OUTPUT = "-"  # in place of a file's name


def is_file(path: str | Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: str | Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110


def is_same(path: Path, other: Path) -> bool:
    """Whether both names lead to one place, there or not."""
    return os.path.realpath(path) == os.path.realpath(other)


def is_standard_output(path: Path) -> bool:
    """Whether it leads to the file, the pipe or the device that is standard output."""
    try:
        return sys.stdout is not None and os.path.samestat(
            path.stat(), os.fstat(sys.stdout.fileno())
        )
    except (OSError, ValueError):  # one of them is not there, or no file
        return False


def output_path(text: str) -> Path:
    """Of an option whose file is text: "-" is standard output."""
    return Path("/dev/stdout" if text == STANDARD_OUTPUT else text)


def summary_output(written: Path | None) -> TextIO:
    """Where a command that writes the file `written` says what it did; ask before it is written."""
    aside = written is not None and is_standard_output(written)
    return sys.stderr if aside else sys.stdout


def check_file(path: Path) -> None:
    """Raises RealTalkError where there is no file that can be looked at, and says why."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise RealTalkError(f"there is no file {path}: check the path") from error
    except OSError as error:
        raise cannot_open(path, error) from error
    if not stat.S_ISREG(mode):
        raise RealTalkError(f"{path} is not a file: check the path")


def cannot_open(path: str | Path, error: OSError) -> RealTalkError:
    return RealTalkError(
        f"cannot open {path} ({reason(error)}): check the path and its permissions"
    )
