# SPDX-License-Identifier: Apache-2.0
"""Files that appear under their name whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realtalk_ros.errors import RealTalkError


@contextmanager
def written_whole(path: Path, make_folder: bool = False) -> Iterator[Path]:
    """Gives a path to write to, which becomes `path` at the end of the block; an error in it leaves
    the old file and nothing else. `make_folder` makes the folder first. Raises OSError."""
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = hidden_beside(path)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def hidden_beside(path: Path) -> Path:
    """A name in the same folder, of this process alone, that no search by suffix finds."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def errors_of_writing(path: Path) -> Iterator[None]:
    """Raises RealTalkError for an OSError in the block, which should hold only the writing."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: Exception) -> RealTalkError:
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    return RealTalkError(
        f"cannot write {path} ({reason or type(error).__name__}): give a folder that exists, can "
        "be written to and has room"
    )
