# SPDX-License-Identifier: Apache-2.0
"""The parts of the 3D face model that come with the package: arrays in data/*.npz."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from realtalk_ros.errors import RealTalkError

FOLDER = Path(__file__).parents[1] / "data"


def read(name: str, arrays: Iterable[str]) -> list[np.ndarray]:
    """The arrays of these names in data/`name`.npz. Raises RealTalkError for a damaged file."""
    path = FOLDER / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as data:
            return [data[array] for array in arrays]
    except Exception as error:  # it may be anything: no zip, no header, other arrays
        raise RealTalkError(f"{path} cannot be read: reinstall realtalk_ros") from error
