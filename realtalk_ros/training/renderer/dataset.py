# SPDX-License-Identifier: Apache-2.0
"""The face renderer's training data: groups of images of one person, which lie whole on the
training device.

The images stay uint8 where they are computed on; choosing, mirroring and colour jitter happen there
too, so that a fast GPU never waits for the host. See training/synthetic/face_dataset.py for what is
in a shard, samples.py for what is drawn from a group.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.training.common.group_layout import IMAGES

LOADER_THREADS = 4
LABELS = 7  # of the masks, see training/synthetic/scene.py
# Arrays of a shard, and fields of a Group.
FIELDS = ("images", "weights", "landmarks", "masks", "identity", "resting_weights")


def add_data(
    parser: argparse.ArgumentParser, what: str = "train/ and val/ shards of `realtalk data faces`"
) -> None:
    """The argument --data of the commands that read shards."""
    parser.add_argument("--data", type=Path, default=Path("runs/faces"), help=f"folder with {what}")


@dataclass(frozen=True)
class Group:
    """One person's images, on the training device; N is 13."""

    images: Tensor  # (N, S, S, 3) uint8 BGR
    weights: Tensor  # (N, 52)
    landmarks: Tensor  # (N, 68, 2) pixels
    masks: Tensor | None  # (N, S, S) uint8, labels of pixels; photographs have none
    identity: Tensor  # (100,)
    resting_weights: Tensor | None = None  # (52,), see rendering/geometry.py
    from_video: bool = False  # no two images have one pose
    real: bool = False  # people, not renderings: see real_people.py

    @property
    def size(self) -> int:
        """Side of an image, pixels."""
        return self.images.shape[2]


def read_fields(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a shard that are in a `Group`, and whether it is of a video."""
    with np.load(path, allow_pickle=False) as shard:
        return {name: shard[name] for name in FIELDS if name in shard}, "frame" in shard


class FaceDataset:
    """The groups of a folder of shards. `refresh` takes in shards that were written since.

    `keep(number)` chooses groups by their running number; `real`: they are of people. Raises
    RealTalkError for a shard that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        keep: Callable[[int], bool] = lambda number: True,
        real: bool = False,
    ):
        self.folder, self.device, self.keep, self.real = folder, device, keep, real
        self._shards: list[tuple[dict[str, Tensor], bool]] = []  # and whether it is of a video
        self._index: list[tuple[int, int]] = []  # of each group: its shard, its row there
        self._loaded: set[Path] = set()
        self._count = 0
        self.refresh()

    def refresh(self) -> None:
        new = [path for path in sorted(self.folder.glob("*.npz")) if path not in self._loaded]
        with ThreadPoolExecutor(LOADER_THREADS) as pool:
            for shard, from_video in pool.map(self._read, new):
                rows = [r for r in range(len(shard["images"])) if self.keep(self._count + r)]
                self._count += len(shard["images"])
                self._shards.append((shard, from_video))
                # Last, as another thread may be drawing.
                self._index += [(len(self._shards) - 1, row) for row in rows]
        self._loaded.update(new)

    def _read(self, path: Path) -> tuple[dict[str, Tensor], bool]:
        try:
            try:
                arrays, from_video = read_fields(path)
            except SystemError:  # Python 3.11 may lose count where threads parse headers at once
                arrays, from_video = read_fields(path)
            images = arrays["images"]
            assert images.dtype == np.uint8 and images.shape[1] == IMAGES
            assert arrays["weights"].shape == (*images.shape[:2], arkit.COUNT)
            assert arrays["landmarks"].shape == (*images.shape[:2], 68, 2)
            mean_face = np.zeros((len(images), landmarks.IDENTITY_SIZE), np.float32)
            arrays.setdefault("identity", mean_face)
        except Exception as error:  # it may be anything: no zip, no header, other arrays
            raise RealTalkError(
                f"{path} is no shard of training groups: remove it and run `realtalk data` again"
            ) from error
        return {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}, from_video

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Group:
        number, row = self._index[number]
        shard, from_video = self._shards[number]
        fields = {name: shard[name][row] if name in shard else None for name in FIELDS}
        return Group(**fields, from_video=from_video, real=self.real)

    def draw(self, rng: np.random.Generator) -> Group:
        return self[int(rng.integers(len(self)))]


def to_float(images: Tensor) -> Tensor:
    """(..., S, S, C) uint8 to (..., C, S, S) float in 0..1, in channels-last memory, as the
    convolutions like it."""
    return images.movedim(-1, -3).float() / 255
