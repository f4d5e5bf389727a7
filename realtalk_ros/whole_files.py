# SPDX-License-Identifier: Apache-2.0
"""Files that appear under their name whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.paths import is_folder, is_same, is_standard_output

LONG_NAME, KEPT = 100, 60  # bytes of a name that is cut for its hidden file, and what is kept


@contextmanager
def written_whole(path: Path, make_folder: bool = False, straight: bool = False) -> Iterator[Path]:
    """Gives a path to write to, which becomes `path` at the end of the block; an error in it leaves
    the old file and nothing else. `make_folder` makes the folder first. Where `path` is a link, the
    file it leads to is written. A device or a pipe is never replaced: with `straight`, for what is
    written from its beginning to its end, it is written to as it is. Raises OSError."""
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    if straight and is_special(path):
        yield path
        return
    target = target_of(path)
    part = hidden_beside(target)
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def is_special(path: Path) -> bool:
    """Whether it is there, and is neither a file nor a folder: a device, a pipe, a socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def target_of(path: Path) -> Path:
    """The file, there or not, that writing to `path` writes: not the link, where it is one. Raises
    OSError if it cannot be looked at, and where a rename would replace no file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "it is a folder, not a file", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.ENOTSUP, "it is a device or a pipe, not a file", str(path))
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def hidden_beside(path: Path) -> Path:
    """A name in the same folder, of this process alone, that no search by suffix finds. It is no
    longer than a name may be, which `path` itself may be already."""
    name = path.name
    if len(os.fsencode(name)) > LONG_NAME:
        kept = os.fsencode(name)[:KEPT].decode("utf-8", "ignore")
        name = f"{kept}.{zlib.crc32(os.fsencode(name)):08x}"
    return path.with_name(f".{name}.{os.getpid()}.part")


@contextmanager
def errors_of_writing(path: Path) -> Iterator[None]:
    """Raises RealTalkError for an OSError in the block, which should hold only the writing; cli.py
    answers a BrokenPipeError where `path` is standard output."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) and is_standard_output(path):
            raise
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: Exception) -> RealTalkError:
    return RealTalkError(
        f"cannot write {path} ({reason(error)}): give a file name in a folder that exists, can be "
        "written to and has room"
    )


def check_can_write(path: Path, option: str = "", straight: bool = False) -> None:
    """Raises RealTalkError for what is known to fail before anything is written; `option` names in
    the message what gave the path. `straight`: as of `written_whole`."""
    what = f"{option} {path}" if option else f"cannot write {path}"
    try:
        if is_special(path):
            if not straight:
                raise RealTalkError(f"{what}: it is a device or a pipe: give the name of a file")
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        if is_folder(path):
            raise RealTalkError(f"{what}: it is a folder, give a file name")
        folder = target_of(path).parent
        folder.stat()  # raises what forbids to look into it
    except FileNotFoundError:
        raise RealTalkError(f"{what}: make the folder {folder} first") from None
    except OSError as error:
        raise RealTalkError(
            f"{what}: {error.strerror}: give a file name in a folder that can be written to"
        ) from error
    if not os.access(folder, os.W_OK):
        raise RealTalkError(f"{what}: the folder {folder} cannot be written to")


def check_video(path: Path, option: str, inputs: Iterable[Path] = ()) -> None:
    """Raises RealTalkError for what cannot become a video, and for one of the `inputs`, which would
    be lost."""
    check_can_write(path, option)
    if path.suffix.lower() != ".mp4":
        raise RealTalkError(f"{option} {path}: the video is an MP4, give a name that ends in .mp4")
    check_is_no_input(path, option, inputs)


def check_is_no_input(path: Path, option: str, inputs: Iterable[Path]) -> None:
    """Raises RealTalkError for a file that would be written over one of the `inputs`."""
    if any(is_same(path, other) for other in inputs):
        raise RealTalkError(f"{option} {path} is the input: give another name")
