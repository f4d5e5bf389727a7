# SPDX-License-Identifier: Apache-2.0
"""Pictures that commands write, PNG and JPEG: whole or not at all. (cv2.imwrite tells only by what
it returns that nothing was written.) Those of avatars carry their provenance: provenance.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.avatar.provenance import SUFFIXES
from realtalk_ros.errors import RealTalkError
from realtalk_ros.whole_files import check_can_write, errors_of_writing, written_whole


def check_path(path: Path, option: str) -> None:
    """Raises RealTalkError for a path, of an option, that could not be written, before the work
    begins."""
    if path.suffix.lower() not in SUFFIXES:
        raise RealTalkError(f"{option} {path}: give a name that ends in .png or .jpg")
    check_can_write(path, option)


def save(path: Path, image: np.ndarray, parameters: Sequence[int] = ()) -> None:
    """Writes an image as OpenCV takes it, to a path that ends as a picture's. `parameters`: of
    cv2.imencode. Raises RealTalkError."""
    data = cv2.imencode(path.suffix.lower(), image, parameters)[1].tobytes()
    with errors_of_writing(path), written_whole(path) as part:
        part.write_bytes(data)
