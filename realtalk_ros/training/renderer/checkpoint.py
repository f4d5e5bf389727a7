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
from realtalk_ros.errors import ModelError
from realtalk_ros.training.renderer.model import Dimensions, Renderer
from realtalk_ros.training.renderer.renaming import renamed

PARTS = ("encoder.", "generator.")  # of a Renderer
DIMENSIONS = "realtalk.dimensions"  # property of the generator's file
# Names in checkpoints of versions before 0.2, and what they are called now.
OLD_PARAMETERS = (
    ("encoder.keys_values.", "encoder.kv_proj."),
    ("encoder.position", "encoder.position_embedding"),
    ("generator.position", "generator.position_embedding"),
    ("generator.query.", "generator.q_proj."),
    ("generator.attended.", "generator.out_proj."),
    ("generator.tones.", "generator.mouth_paint."),
    ("generator.by_tones.", "generator.colour_proj."),
    ("generator.enter.", "generator.warped_proj."),
    ("generator.entry.", "generator.style_proj."),
    ("generator.alignment.sharpness", "generator.warp.half_precision"),
    ("generator.alignment.sharper", "generator.warp.precision_scale"),
    ("generator.alignment.height", "generator.warp.log_weight"),
    ("generator.alignment.offset", "generator.warp.centre_offset"),
    ("generator.alignment.labels", "generator.warp.embedding"),
    (".first.", ".conv1."),
    (".second.", ".conv2."),
)
OLD_DIMENSIONS = {"labels": "embedding", "inside": "mouth_interior"}
OLD_ENTRIES = {
    "optimiser": "optimizer",
    "critic": "discriminator",
    "rival": "discriminator_optimizer",
}


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
                weights[key] = torch.from_numpy(value)
        for entry in onnx.load(folder / name).metadata_props:
            if entry.key == DIMENSIONS:
                dims = parse_dimensions(json.loads(entry.value))
    renderer = Renderer(dims)
    try:
        renderer.load_state_dict(renamed(weights, OLD_PARAMETERS))
    except RuntimeError as error:
        raise ModelError(f"{folder} holds no whole renderer: export one there") from error
    return renderer


def parse_dimensions(saved: dict) -> Dimensions:
    """Dimensions as a checkpoint or JSON has them."""
    fields = {OLD_DIMENSIONS.get(name, name): value for name, value in saved.items()}
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Dimensions(**fields)


def read_checkpoint(path: Path, device: str = "cpu") -> dict:
    """What Trainer.save wrote, with present names."""
    saved = torch.load(path, map_location=device, weights_only=True)
    saved = {OLD_ENTRIES.get(name, name): value for name, value in saved.items()}
    for part in ("model", "average"):
        saved[part] = renamed(saved[part], OLD_PARAMETERS)
    return saved
