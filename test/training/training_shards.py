# SPDX-License-Identifier: Apache-2.0
"""Shards as `realtalk data faces` writes them, of people made up here in tiny images."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SIZE = 64  # side of an image, pixels
GROUPS, IMAGES = 4, 13  # of a shard, of a group


def write_shards(folder: Path) -> None:
    """Writes train/ and val/: flat faces with a dark mouth whose height is jawOpen's."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    for part in ("train", "val"):
        images = np.empty((GROUPS, IMAGES, SIZE, SIZE, 3), np.uint8)
        weights = rng.uniform(0, 1, (GROUPS, IMAGES, 52)).astype(np.float32)
        angle = np.linspace(0, 2 * np.pi, 68)
        marks = np.stack([np.cos(angle) * 20 + 32, np.sin(angle) * 24 + 32], -1)
        marks = np.tile(marks.astype(np.float32), (GROUPS, IMAGES, 1, 1))
        for g in range(GROUPS):
            skin = rng.integers(90, 220, 3)
            for n in range(IMAGES):
                opening = 1 + 8 * weights[g, n, 17]
                images[g, n] = skin
                images[g, n][((x - 32) / 12) ** 2 + ((y - 44) / opening) ** 2 < 1] = 20
                lips = np.linspace(0, 2 * np.pi, 20)
                marks[g, n, 48:68] = np.stack(
                    [32 + 12 * np.cos(lips), 44 + opening * np.sin(lips)], -1
                )
        (folder / part).mkdir()
        np.savez(folder / part / "0.npz", images=images, weights=weights, landmarks=marks)


def broken(whole: bytes) -> Iterator[bytes]:
    """Contents that files of arrays have that are none any more, or never were, given those of a
    whole one: an empty file, a text, a part, damaged bytes, one array, other arrays."""
    yield from (b"", b"nothing", whole[: len(whole) // 2])
    middle = len(whole) // 2
    yield whole[: middle - 99] + bytes(198) + whole[middle + 99 :]
    for save in (lambda file: np.save(file, np.ones(3)), lambda file: np.savez(file, a=np.ones(3))):
        save(file := io.BytesIO())
        yield file.getvalue()
