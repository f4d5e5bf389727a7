# SPDX-License-Identifier: Apache-2.0
"""The trained renderer to ONNX, as the run time takes it (rendering/).

    renderer_encode.onnx         reference (S, S, 6), an image and its map by
                                 rendering/mouth/mouth.py, template (S, S, 3) uint8 -> FEATURES, a
                                 batch of one
    renderer_align.onnx          template_landmarks, target_landmarks (B, 68, 2), normalised
                                 coordinates -> movement (B, S/4, S/4, 2), pixels from where
                                 something is shown to where it lies in the template;
                                 alignment_features (B, 2 + embedding, S/4, S/4)
    renderer_generate.onnx       weights (B, 52); the warped template and the map of the mouth's
                                 interior as six channels, warped_quarter (B, S/4, S/4, 6) and, of
                                 the mouth crop, each 2 x 2 square's pixels as channels (space to
                                 depth), warped_mouth (B, 24, M/2, M/2), uint8;
                                 alignment_features, template_index, reference_index (B,) int64,
                                 FEATURES of T templates and of R references -> change
                                 (B, 3, S/4, S/4) levels, mask (B, S/4, S/4), mouth
                                 (B, 12, M/2, M/2) uint8, as `Synthesized` in model.py
    renderer_generate_half.onnx  the same, half precision, for GPUs

The run time warps the template with OpenCV between the two (ONNX Runtime's GridSample took a
seventh of a frame on the CPU) and draws `mouth_interior` with it, see rendering/mouth/mouth.py. The
generator takes its features out of banks that hold those of every template of every avatar: they
stay on the device, and faces of one batch may be anybody's.

Initializers have the names and shapes of Renderer's parameters, large ones of the encoder in half
precision; checkpoint.py reads them back.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from realtalk_ros import checksums
from realtalk_ros.contracts import (
    ALIGNER_FILE,
    CROP_SIZE,
    ENCODER_FILE,
    FEATURES,
    GENERATOR_BASES,
    GENERATOR_FILE,
    GENERATOR_HALF_FILE,
    GENERATOR_OUTPUTS,
    MOUTH_CROP,
    REFERENCE_FEATURES,
    RENDERER_FORMATS,
    TEMPLATE_FEATURES,
)
from realtalk_ros.training.common.onnx_graph import Graph
from realtalk_ros.training.renderer.checkpoint import DIMENSIONS
from realtalk_ros.training.renderer.model import Renderer, Warped


class EncodeGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.encoder = model.encoder

    def forward(self, reference: Tensor, template: Tensor) -> tuple[Tensor, ...]:
        images = [(x.float() / 255).permute(2, 0, 1)[None] for x in (reference, template)]
        return self.encoder(*images)


class AlignGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.generator = model.generator

    def forward(
        self, template_landmarks: Tensor, target_landmarks: Tensor
    ) -> tuple[Tensor, Tensor]:
        move, features = self.generator.warp.movement(template_landmarks, target_landmarks)
        return move.permute(0, 2, 3, 1), features


class FromLevels(torch.autograd.Function):
    """Levels, uint8, to 0..1: in ONNX one operator, which takes half the time of two."""

    @staticmethod
    def forward(ctx, levels: Tensor) -> Tensor:
        return levels.float() / 255

    @staticmethod
    def symbolic(g, levels):
        return g.op("DequantizeLinear", levels, *level_scale(g))


class ToLevels(torch.autograd.Function):
    """0..1 to levels, uint8: in ONNX one operator in place of three."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return (values * 255).round().clamp(0, 255).to(torch.uint8)

    @staticmethod
    def symbolic(g, values):
        return g.op("QuantizeLinear", values, *level_scale(g))


def level_scale(g):
    """Scale and zero of levels, as ONNX's quantisation takes them."""
    scale, zero = torch.tensor(1 / 255), torch.tensor(0, dtype=torch.uint8)
    return g.op("Constant", value_t=scale), g.op("Constant", value_t=zero)


class GenerateGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.generator = model.generator

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`inputs` are those of one face of the batch, then FEATURES."""
        weights, quarter, mouth, alignment, template_index, reference_index, *banks = inputs
        split = len(TEMPLATE_FEATURES)
        features = [bank[template_index] for bank in banks[:split]]
        features += [bank[reference_index] for bank in banks[split:]]
        quarter, mouth = (FromLevels.apply(x) for x in (quarter, mouth))
        warped = Warped(quarter.permute(0, 3, 1, 2), alignment, mouth.unflatten(1, (6, 4)))
        made = self.generator.synthesize(features, weights, warped)
        drawn = ToLevels.apply(made.mouth)
        half = mouth_side(self.generator.dims.size) // 2
        return made.change * 255, made.mask[:, 0], drawn.reshape(-1, 12, half, half)


def mouth_side(size: int) -> int:
    """Of the mouth crop in a face crop of that size, pixels."""
    return MOUTH_CROP[2] * size // CROP_SIZE


def write(graph: Graph, path: Path, properties: dict[str, str], fp16: bool = False) -> None:
    """Writes an ONNX file; with `fp16` large weights are stored in half precision, but computed
    with in single."""
    import onnx

    from realtalk_ros.training.common.onnx_weights import store_weights_as_fp16

    model = graph.export(path)
    properties = {"realtalk.format": RENDERER_FORMATS[path.name], **properties}
    onnx.helper.set_model_props(model, properties)
    if fp16:
        store_weights_as_fp16(model)
    onnx.save(model, path)


def export(model: Renderer, folder: Path) -> None:
    """Writes all four files into `folder` and lists their checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    model = _on_cpu(model)
    size = {"realtalk.size": str(model.dims.size)}
    image = torch.zeros(model.dims.size, model.dims.size, 3, dtype=torch.uint8)
    images = {"reference": torch.cat([image, image], 2), "template": image}
    write(Graph(EncodeGraph(model), images, FEATURES), folder / ENCODER_FILE, size, fp16=True)
    points = torch.rand(2, 68, 2)
    inputs = {"template_landmarks": points, "target_landmarks": points}
    outputs = ("movement", "alignment_features")
    faces = dict.fromkeys((*inputs, *outputs), "faces")
    write(Graph(AlignGraph(model), inputs, outputs, faces), folder / ALIGNER_FILE, size)
    export_generator(model, folder, folder)


def export_generator(model: Renderer, folder: Path, beside: Path) -> None:
    """Writes the generator alone, in both precisions; it fits the encoder and the alignment in the
    folder `beside`."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    folder.mkdir(parents=True, exist_ok=True)
    model = _on_cpu(model)
    dims, size = model.dims, model.dims.size
    with torch.no_grad():
        features = model.encoder(torch.zeros(1, 6, size, size), torch.zeros(1, 3, size, size))
    # Two of each, so that the tracer takes no dimension for a constant one.
    banks = [torch.cat([feature, feature]) for feature in features]
    half, index = mouth_side(size) // 2, torch.zeros(2, dtype=torch.int64)
    inputs = {
        "weights": torch.zeros(2, dims.weights),
        "warped_quarter": torch.zeros(2, size // 4, size // 4, 6, dtype=torch.uint8),
        "warped_mouth": torch.zeros(2, 24, half, half, dtype=torch.uint8),
        "alignment_features": torch.zeros(2, 2 + dims.embedding, size // 4, size // 4),
        "template_index": index,
        "reference_index": index,
    }
    free = {
        **dict.fromkeys((*inputs, *GENERATOR_OUTPUTS), "faces"),
        **dict.fromkeys(TEMPLATE_FEATURES, "templates"),
        **dict.fromkeys(REFERENCE_FEATURES, "references"),
    }
    inputs |= dict(zip(FEATURES, banks, strict=True))
    digests = {name: checksums.sha256(beside / file) for name, file in GENERATOR_BASES.items()}
    path = folder / GENERATOR_FILE
    properties = {"realtalk.size": str(size), DIMENSIONS: json.dumps(asdict(dims)), **digests}
    write(Graph(GenerateGraph(model), inputs, GENERATOR_OUTPUTS, free), path, properties)
    half = convert_float_to_float16(
        onnx.load(path),
        keep_io_types=["weights", "alignment_features", "change", "mask"],
        op_block_list=["QuantizeLinear", "DequantizeLinear"],  # of single precision
    )
    onnx.save(half, folder / GENERATOR_HALF_FILE)
    checksums.write(folder)


def _on_cpu(model: Renderer) -> Renderer:
    """A copy with contiguous weights."""
    copy = Renderer(model.dims).eval()
    copy.load_state_dict(model.state_dict())
    return copy
