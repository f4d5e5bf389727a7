# SPDX-License-Identifier: Apache-2.0
"""Writes the ONNX files that ExpressionModel runs (needs onnx).

expression_prior.onnx encodes a person's prior, once. expression_step.onnx takes one or a few steps
of 20 ms of audio, and carries its caches from run to run. Files of shorter look-aheads
(`export_look_ahead`), and the one that computes in 8 bits, refer to its weights. Each initializer
of the first two is a parameter of ExpressionNet by name, in the form that
training/common/onnx_weights.py describes: `checkpoint.load_onnx` reads them back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from realtalk_ros import checksums
from realtalk_ros.contracts import (
    BASE_DIGEST,
    EIGHT_BIT_FILE,
    EXPRESSION_VERSION,
    MEL_STEP,
    N_MELS,
    REFERENCE_FRAMES,
    STEP_FILE,
    STEP_FILES,
)
from realtalk_ros.expression.onnx_model import STATE
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.training.common.onnx_graph import Graph
from realtalk_ros.training.expression.checkpoint import FILES, load_onnx
from realtalk_ros.training.expression.dims import MAX_STEPS, Dims
from realtalk_ros.training.expression.model import ExpressionNet
from realtalk_ros.training.expression.sound_predictor import SoundPredictor

if TYPE_CHECKING:
    import onnx


# Matrices that stay in single precision where others are of 8 bits: an eighth of the weights. With
# these in 8 bits, too, a face's weights would be off by 1.7 times as much.
SINGLE_PRECISION = (
    "stem.2.", "acoustic_encoder.in_proj.", "acoustic_encoder.out_proj.",
    "acoustic_encoder.blocks.0.", "acoustic_encoder.blocks.1.out_proj.",
    "acoustic_encoder.blocks.9.out_proj.", "face_head.", "lip_head.",
)  # fmt: skip


class _PriorGraph(nn.Module):
    def __init__(self, net: ExpressionNet):
        super().__init__()
        self.net = net

    def forward(self, identity: Tensor, reference: Tensor, condition_mask: Tensor) -> Tensor:
        return self.net.encode_prior(identity[None], reference[None], condition_mask[None])[0]


class _StepGraph(nn.Module):
    def __init__(self, net: ExpressionNet, predictor: SoundPredictor | None):
        super().__init__()
        self.net, self.predictor = net, predictor

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.net.step(*inputs, self.predictor)


def prior_graph(net: ExpressionNet) -> Graph:
    """Identity and reference window -> keys and values, for one person."""
    inputs = {
        "identity": torch.zeros(landmarks.IDENTITY_SIZE),
        "reference": torch.zeros(REFERENCE_FRAMES, arkit.COUNT),
        "condition_mask": torch.zeros(2),
    }
    return Graph(_PriorGraph(net), inputs, ["condition_kv"])


def step_graph(net: ExpressionNet, predictor: SoundPredictor | None = None) -> Graph:
    """Steps of audio and the caches -> as many frames of the face, and the next caches. With a
    predictor, one step."""
    dims = net.dims
    depth = dims.width // dims.heads
    kv = dims.layers, 2, dims.heads
    inputs = {
        "mel": torch.zeros(MEL_STEP if predictor else 2 * MEL_STEP, N_MELS),
        "condition_kv": torch.zeros(*kv, dims.prior_tokens, depth),
        "mel_context": torch.zeros(dims.mel_context, N_MELS),
        "conv_cache": torch.zeros(dims.conv_cache_steps, dims.conv_width),
        "kv_cache": torch.zeros(*kv, dims.attention_window, depth),
    }
    frames = ["weights", "rotation", "speech", "lips"]
    free = {} if predictor else {"mel": "mel_frames", **dict.fromkeys(frames, "steps")}
    outputs = [*frames, *(f"next_{name}" for name in STATE)]
    return Graph(_StepGraph(net, predictor), inputs, outputs, free)


def export(net: ExpressionNet, folder: Path) -> list[Path]:
    """Writes FILES, EIGHT_BIT_FILE and SHA256SUMS into `folder`; returns the former two."""
    folder.mkdir(parents=True, exist_ok=True)
    net = net.float().eval()
    paths = [folder / name for name in FILES]
    for path, graph in zip(paths, (prior_graph(net), step_graph(net)), strict=True):
        model = _onnx(graph, path)
        _save(model, net.dims, path)
    _save_in_eight_bits(model, net.dims, folder)
    checksums.write(folder)
    return paths


def export_look_ahead(predictor: SoundPredictor, folder: Path) -> Path:
    """Writes the file of a shorter look-ahead beside the STEP_FILE of `folder`, whose weights it
    reads, and SHA256SUMS; returns the file. Raises ModelError."""
    from realtalk_ros.training.common import onnx_weights

    net = load_onnx(folder).eval()
    dims = replace(net.dims, look_ahead_steps=net.dims.look_ahead_steps - predictor.steps)
    path = folder / STEP_FILES[min(STEP_FILES, key=lambda s: abs(s - dims.look_ahead))]
    model = _onnx(step_graph(net, predictor), path)
    onnx_weights.shorten_names(model)
    onnx_weights.refer_to(model, folder / STEP_FILE)
    base = {BASE_DIGEST: checksums.sha256(folder / STEP_FILE)}
    _save(model, dims, path, max_steps=1, **base)
    checksums.write(folder)
    return path


def _onnx(graph: Graph, path: Path) -> onnx.ModelProto:
    """A graph, which passes through the file `path`."""
    from realtalk_ros.training.common import onnx_weights

    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator has no ONNX form
    # Constant folding would lose the names of the parameters. ONNX Runtime folds when it loads.
    model = graph.export(path, fold_constants=False)
    onnx_weights.strip_prefix(model, "net.")  # of _PriorGraph and _StepGraph
    onnx_weights.fold_transposes(model)
    onnx_weights.store_weights_as_fp16(model)
    return model


def _save_in_eight_bits(model: onnx.ModelProto, dims: Dims, folder: Path) -> None:
    """Lets `model`, the STEP_FILE of `folder`, compute in 8 bits, and writes it into a file of its
    own, which reads the weights of STEP_FILE."""
    from realtalk_ros.training.common import onnx_eight_bits, onnx_weights

    onnx_eight_bits.compute_in_eight_bits(model, SINGLE_PRECISION)
    onnx_weights.shorten_names(model)
    onnx_weights.refer_to(model, folder / STEP_FILE)
    base = {BASE_DIGEST: checksums.sha256(folder / STEP_FILE)}
    _save(model, dims, folder / EIGHT_BIT_FILE, **base)


def _save(
    model: onnx.ModelProto, dims: Dims, path: Path, max_steps: int = MAX_STEPS, **more: str
) -> None:
    import onnx

    properties = {
        "version": EXPRESSION_VERSION,
        "look_ahead": f"{dims.look_ahead:.6f}",
        "delay_steps": str(dims.look_ahead_steps),
        "max_steps": str(max_steps),
        **more,
    }
    onnx.helper.set_model_props(model, properties)
    path.write_bytes(model.SerializeToString())
