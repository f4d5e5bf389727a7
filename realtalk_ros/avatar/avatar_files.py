# SPDX-License-Identifier: Apache-2.0
"""Reads the files of an avatar's folder, which may come from anybody: each is measured before it is
decoded, and none is followed out of the folder."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.avatar.avatar_yaml import short
from realtalk_ros.errors import AvatarError
from realtalk_ros.paths import is_file

MAX_PIXELS = 2048 * 2048
MAX_ARRAY, MAX_IMAGE = 512 * 2**10, 16 * 2**20  # bytes of a file
MAX_PATH = 200  # characters


class AvatarFiles:
    """Of one `folder`. `links`: its files may be links to anywhere, as the package's own are when
    it was built with colcon's --symlink-install. All methods raise AvatarError."""

    def __init__(self, folder: Path, links: bool):
        self.folder, self._links = folder, links
        self.where = f"avatar {folder}"  # of messages

    def path(self, name: Any) -> Path:
        """`name` resolved within `folder`; a user's file must not point anywhere else."""
        if not isinstance(name, str) or not 0 < len(name) <= MAX_PATH or not name.isprintable():
            raise AvatarError(f"{self.where} names no file where one is needed: {short(name)}")
        follow = os.path.abspath if self._links else os.path.realpath
        root, path = Path(follow(self.folder)), Path(follow(self.folder / name))
        if not path.is_relative_to(root):
            raise AvatarError(f"{self.where} names a file outside its folder: {short(name)}")
        if not is_file(path):
            raise AvatarError(f"{self.where} lacks its file {short(name)}: export the avatar again")
        return path

    def read(self, name: Any, limit: int) -> bytes:
        """All of a file, which may be `limit` bytes long."""
        path = self.path(name)
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise AvatarError(
                f"{self.where}: {name!r} cannot be read ({error.strerror}): check its permissions"
            ) from error
        if len(data) > limit:
            raise AvatarError(f"{self.where}: {name!r} is larger than {limit} bytes")
        return data

    def image(self, name: Any) -> np.ndarray:
        """(height, width, 3) uint8 BGR of a PNG or JPEG."""
        data = self.read(name, MAX_IMAGE)
        size = image_decoding.size(data)
        if size is not None and size[0] * size[1] > MAX_PIXELS:
            raise AvatarError(f"{self.where}: {name!r} is larger than {MAX_PIXELS} pixels")
        image = image_decoding.decode(data, MAX_PIXELS)
        if image is None:
            raise AvatarError(f"{self.where}: {name!r} is not a readable image, PNG or JPEG")
        return image

    def array(self, name: Any, shape: tuple[int, ...], limit: float) -> np.ndarray:
        """float32 of this shape, each number within +-limit."""
        file = io.BytesIO(self.read(name, MAX_ARRAY))
        try:
            # The header first: np.load makes room for whatever shape it claims.
            version = np.lib.format.read_magic(file)
            headers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            found, _, kind = headers[version](file)
            fits = found == shape and kind.kind in "fiu"
            file.seek(0)
            array = np.load(file, allow_pickle=False) if fits else None
        except Exception as error:  # a header is a Python literal: what a bad one raises has no end
            raise AvatarError(f"{self.where}: {name!r} is not a NumPy array file") from error
        if array is None:
            raise AvatarError(f"{self.where}: {name!r} must hold {shape} numbers")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise AvatarError(f"{self.where}: {name!r} holds NaN or infinite values")
        if np.abs(array).max() > limit:
            raise AvatarError(f"{self.where}: {name!r} holds values beyond {limit:g}")
        return array
