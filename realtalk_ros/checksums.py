# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of files, and the list of those of networks that lies beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

FILE = "SHA256SUMS"  # in the format of sha256sum(1)


def sha256(path: Path) -> str:
    """Hex digest of a file of any size."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read(folder: Path) -> dict[str, str]:
    """File name -> hex digest from the list in a folder; empty where there is none."""
    try:
        lines = (folder / FILE).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    rows = (line.split(maxsplit=1) for line in lines)
    return {row[1].lstrip("*"): row[0] for row in rows if len(row) == 2}


def write(folder: Path) -> None:
    """Lists every .onnx file of a folder in it (called by the exporters)."""
    rows = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.onnx"))]
    (folder / FILE).write_text("".join(rows))
