# SPDX-License-Identifier: Apache-2.0
"""What native libraries (MediaPipe, TensorFlow Lite, libpng) write to stderr, kept from the user.

They write to file descriptor 2, past Python's `sys.stderr`, and from threads of their own. So the
descriptor is replaced for as long as a command runs; what Python writes is shown as before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO

from realtalk_ros.errors import RealTalkError

STDERR = 2  # file descriptor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The option that shows it all the same."""
    parser.add_argument("--verbose", action="store_true", help="show what MediaPipe logs, too")


@contextlib.contextmanager
def hidden(shown: bool = False) -> Iterator[None]:
    """Hides it while the block runs, unless it is to be `shown`. Where the block fails in a way
    that nobody foresaw, all of it is shown afterwards: it may say why."""
    if shown:
        yield
        return
    python = sys.stderr
    python.flush()
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as log, os.fdopen(kept, "w", buffering=1) as terminal:
        os.dup2(log.fileno(), STDERR)
        if _writes_to_descriptor(python):
            sys.stderr = terminal
        try:
            yield
        except (RealTalkError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            log.seek(0)
            terminal.write(log.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, STDERR)
            sys.stderr = python


def _writes_to_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() == STDERR
    except (OSError, ValueError):  # a test's, or a notebook's
        return False
