"""Weights of a checkpoint into a network (torch)."""

from __future__ import annotations

from torch import nn

from realtalk_ros.errors import RealTalkError


def load_weights(net: nn.Module, weights: dict, path: object, strict: bool = True) -> None:
    """Gives `net` the weights of the file `path`. Raises RealTalkError if they do not fit."""
    try:
        net.load_state_dict(weights, strict=strict)
    except RuntimeError as error:
        raise RealTalkError(
            f"{path} is of another network than this version's, or of an ablation: "
            "delete it, or begin anew in another folder"
        ) from error
