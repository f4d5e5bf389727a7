# SPDX-License-Identifier: Apache-2.0
"""Which versions of MediaPipe can be used, and where the model is that newer ones need.

    up to 0.10.21       for Python up to 3.12; the wheels carry a model
    0.10.30 to 0.10.33  for every Python; the model is a file to be downloaded once,
                        face_landmarker.task (Google, Apache-2.0, 3.6 MB)
    0.10.35 and later   report each use to Google, with no documented switch: refused

Nothing is downloaded here.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
from pathlib import Path

from realtalk_ros import install_hints
from realtalk_ros.errors import RealTalkError
from realtalk_ros.paths import is_file

NAME = "face_landmarker.task"
URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    + NAME
)
ENVIRONMENT = "REALTALK_LANDMARKER"
LAST_WITH_MODEL, LAST_SILENT = (0, 10, 21), (0, 10, 33)


def usual_place() -> Path:
    """Where the file is looked for if none is given: among the user's data, as XDG names it."""
    folder = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(folder):  # noqa: PTH117 - relative ones do not count
        folder = os.path.expanduser("~/.local/share")  # noqa: PTH111 - Path's raises without a home
    return Path(folder, "realtalk_ros", NAME)


def find(given: str | Path | None = None) -> Path | None:
    """The file that is `given`, that $REALTALK_LANDMARKER names, or in the usual place. None: there
    is none. Raises RealTalkError where one is named that is no file."""
    named = os.environ.get(ENVIRONMENT)
    for path, source in ((given, "--landmarker"), (named, f"${ENVIRONMENT}")):
        if path and not is_file(path):
            raise RealTalkError(f"{path}, given by {source}, is no file: download {URL}")
        if path:
            return Path(path)
    place = usual_place()
    return place if is_file(place) else None


def check(version: str, file: Path | None) -> None:
    """Raises RealTalkError, with what to do, where MediaPipe of this version cannot be used, or not
    with this file (None: without one)."""
    number = tuple(map(int, re.findall(r"\d+", version)[:3]))
    if not number:
        raise RealTalkError(
            "MediaPipe of an unknown version is not used here: "
            f"{install_hints.how_to_install('mediapipe')}"
        )
    if number > LAST_SILENT:
        raise RealTalkError(
            f"MediaPipe {version} reports each use to Google, and is not used here: "
            f"{install_hints.how_to_install('mediapipe')}"
        )
    if number > LAST_WITH_MODEL and file is None:
        raise no_model(version)


def no_model(version: str) -> RealTalkError:
    place = shlex.quote(str(usual_place()))
    return RealTalkError(
        f"MediaPipe {version} carries no face model: curl -f --create-dirs -o {place} {URL} brings "
        "one; a file elsewhere can be given by --landmarker"
    )


def installed_version() -> str:
    """Of MediaPipe, which is not imported for that; "" where it is not known."""
    try:
        return importlib.metadata.version("mediapipe")
    except importlib.metadata.PackageNotFoundError:
        return ""
