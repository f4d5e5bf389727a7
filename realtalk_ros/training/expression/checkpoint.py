# SPDX-License-Identifier: Apache-2.0
"""Networks out of files: checkpoints of a training, and the installed ONNX files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from realtalk_ros import onnx_session
from realtalk_ros.contracts import PRIOR_FILE, STEP_FILE
from realtalk_ros.errors import ModelError, RealTalkError
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.expression.dims import Dims
from realtalk_ros.training.expression.model import ExpressionNet, is_training_only

FILES = (PRIOR_FILE, STEP_FILE)


def load(path: Path) -> tuple[ExpressionNet, dict]:
    """The network of a checkpoint, and all that the file holds. Raises RealTalkError."""
    saved = checkpoint.load(path)
    net = ExpressionNet(dims_of(saved, path))
    checkpoint.load_weights(net, saved["net"], path)
    return net, saved


def load_ema(path: Path) -> tuple[ExpressionNet, dict]:
    """As `load`, with the moving average of the weights: what the training resulted in."""
    net, saved = load(path)
    net.load_state_dict(saved["ema"])
    return net.eval(), saved


def dims_of(saved: dict, path: Path) -> Dims:
    """The sizes in a checkpoint. Raises RealTalkError for another version's."""
    try:
        return Dims.from_dict(saved["dims"])
    except (KeyError, TypeError) as error:
        raise RealTalkError(
            f"{path} is of another network than this version's: "
            "delete it, or begin anew in another folder"
        ) from error


def load_onnx(folder: Path) -> ExpressionNet:
    """The network that `export.export` wrote into `folder`, to train it further (needs onnx).

    The initializers of the ONNX files are the parameters, by name. The heads that only training
    needs are not in the files: they are new. Raises ModelError.
    """
    from realtalk_ros.training.common.onnx_weights import read_weights

    weights = {}
    for name in FILES:
        if problem := onnx_session.check(folder / name):
            raise ModelError(problem)
        weights |= read_weights(folder / name)
    net = ExpressionNet()
    shapes = {name: value.shape for name, value in net.named_parameters()}
    for name, shape in shapes.items():
        if is_training_only(name):
            continue
        if name not in weights or weights[name].shape != shape:
            raise ModelError(f"{folder} lacks {name} {tuple(shape)}: it is of another version")
    found = {name: torch.tensor(weights[name]) for name in shapes if name in weights}
    net.load_state_dict(found, strict=False)
    return net


def load_installed() -> ExpressionNet:
    """The network that this package is installed with. Raises ModelError."""
    return load_onnx(onnx_session.MODEL_DIR)


@torch.no_grad()
def average_weights(net: nn.Module, other: nn.Module) -> None:
    """Makes `net` the mean of itself and of the network that it began with.

    That is better than either, as it keeps what the old one knew ("model soups", Wortsman et al.
    2022). The heads that no file keeps are left alone.
    """
    before = dict(other.named_parameters())
    for name, value in net.named_parameters():
        if not is_training_only(name):
            value.lerp_(before[name], 0.5)
