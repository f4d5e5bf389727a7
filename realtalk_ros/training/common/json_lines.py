# SPDX-License-Identifier: Apache-2.0
"""Files of JSON lines, to which a run that was interrupted goes on to append."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def read_rows(path: Path, key: str) -> dict[str, dict]:
    """The rows of a file by what they have under `key`, the last one counts; none where there is no
    file. What is no such row, as the line in which an interrupt came, is left out."""
    rows = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
            rows[row[key]] = row
        except (ValueError, KeyError, TypeError):
            continue
    return rows


@contextmanager
def appended(path: Path) -> Iterator[Callable[[dict], None]]:
    """Gives a function that writes a row at once. Makes the folder.
    Without a row the file stays as old as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        file.seek(-min(1, file.tell()), os.SEEK_END)
        cut_off = file.read() not in (b"", b"\n")

        def write(row: dict) -> None:
            nonlocal cut_off
            file.write(b"\n" * cut_off + json.dumps(row).encode() + b"\n")
            file.flush()
            cut_off = False

        yield write
