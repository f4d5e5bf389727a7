# SPDX-License-Identifier: Apache-2.0
"""Torch checkpoints: written whole or not at all, loaded with an error that says what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import nn

from realtalk_ros.errors import RealTalkError
from realtalk_ros.whole_files import written_whole


def save(contents: dict, path: Path) -> None:
    """torch.save; an interrupt leaves the old file."""
    with written_whole(path, make_folder=True) as part:
        torch.save(contents, part)


def load(path: Path, device: str = "cpu") -> dict:
    """What `save` wrote. Raises RealTalkError for a file of anything else, OSError for one that
    cannot be opened."""
    with open(path, "rb") as file:
        try:
            saved = torch.load(file, map_location=device, weights_only=True)
            if isinstance(saved, dict):
                return saved
            raise TypeError("it holds no names")
        except Exception as error:  # what torch raises for other files has no common class
            if isinstance(error, RuntimeError) and is_torch_file(path):
                raise  # the file is whole: it is the device that fails
            raise RealTalkError(
                f"{path} is no checkpoint of a training, or a part of one: give another, or "
                "delete it"
            ) from error


def is_torch_file(path: Path) -> bool:
    """Whether it is a whole zip file as torch writes them."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def load_weights(net: nn.Module, weights: dict, path: object, strict: bool = True) -> None:
    """Loads the weights of the file `path` into `net`. Raises RealTalkError if they do not fit."""
    try:
        net.load_state_dict(weights, strict=strict)
    except RuntimeError as error:
        raise RealTalkError(
            f"{path} is of another network than this version's, or of an ablation: "
            "delete it, or begin anew in another folder"
        ) from error
