# SPDX-License-Identifier: Apache-2.0
"""Files of arrays that a run which is interrupted never leaves half written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtalk_ros.whole_files import written_whole


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Writes an .npz file whole or not at all, and its folder. Raises OSError."""
    with written_whole(path, make_folder=True) as part, open(part, "wb") as file:
        np.savez(file, **arrays)
