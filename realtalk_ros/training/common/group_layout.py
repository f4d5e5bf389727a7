# SPDX-License-Identifier: Apache-2.0
"""How many images a group of training images has, in which order, and shards of groups.

First the references, then for each pose its expressions; the pose's first one is the neutral
template. synthetic/face_dataset.py says which arrays a shard holds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtalk_ros.training.common.array_files import write_arrays

REFERENCES, POSES, EXPRESSIONS = 3, 2, 5
IMAGES = REFERENCES + POSES * EXPRESSIONS  # 13
# (IMAGES,): the pose of each image, -1 for references.
POSE = np.repeat([-1, *range(POSES)], [REFERENCES, *[EXPRESSIONS] * POSES]).astype(np.int32)
GROUPS_PER_PERSON = 2  # in a row; painting a person takes as long as a dozen images


def write_shard(path: Path, groups: list[dict[str, np.ndarray]]) -> None:
    """Stacks groups into `path`, whole or not at all. Raises OSError."""
    write_arrays(path, **{name: np.stack([g[name] for g in groups]) for name in groups[0]})
