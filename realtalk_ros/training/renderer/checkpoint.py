# SPDX-License-Identifier: Apache-2.0
"""The renderer's weights: out of the installed ONNX files, and out of checkpoints.

The initializers of the ONNX files have the names and shapes of `Renderer`'s parameters, in float32
(those of renderer_generate_half.onnx in float16, which is not read here), and the metadata of
renderer_generate.onnx have its Dimensions. So the files that are installed can be trained further.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from realtalk_ros import onnx_session
from realtalk_ros.contracts import ALIGNER_FILE, ENCODER_FILE, GENERATOR_FILE
from realtalk_ros.errors import ModelError, RealTalkError
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.renderer.model import Dimensions, Renderer

PARTS = ("encoder.", "generator.")  # of a Renderer
DIMENSIONS = "realtalk.dimensions"  # property of the generator's file


def load_renderer(folder: Path = onnx_session.MODEL_DIR) -> Renderer:
    """The network that `export` wrote into `folder`, on the CPU. Raises ModelError."""
    import onnx

    from realtalk_ros.training.common.onnx_weights import read_weights

    weights, dims = {}, Dimensions()
    for name in (ENCODER_FILE, ALIGNER_FILE, GENERATOR_FILE):
        if problem := onnx_session.check(folder / name):
            raise ModelError(problem)
        for key, value in read_weights(folder / name).items():
            if key.startswith(PARTS):
                weights[key] = torch.from_numpy(value.copy())
        for entry in onnx.load(folder / name).metadata_props:
            if entry.key == DIMENSIONS:
                dims = parse_dimensions(json.loads(entry.value))
    renderer = Renderer(dims)
    try:
        renderer.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"{folder} holds no whole renderer: export one there") from error
    return renderer


def parse_dimensions(saved: dict) -> Dimensions:
    """Dimensions as a checkpoint or JSON has them."""
    return Dimensions(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})


def load_average(path: Path) -> Renderer:
    """The averaged weights that Trainer.save wrote. Raises RealTalkError where there are none, or
    those of another network."""
    if not path.is_file():
        raise RealTalkError(f"no checkpoint {path}: run `realtalk train renderer` first")
    saved = checkpoint.load(path)
    try:
        renderer = Renderer(parse_dimensions(saved["dimensions"])).eval()
        renderer.load_state_dict(saved["average"])
    except (TypeError, KeyError, RuntimeError) as error:
        raise RealTalkError(
            f"{path} is of another version's network: run `realtalk train renderer` again"
        ) from error
    return renderer
