"""The trained renderer to ONNX: what FaceRenderer (stream.py) runs.

    renderer_encode.onnx         reference, template (S, S, 3) uint8 -> FEATURES, a batch of one
    renderer_generate.onnx       weights (B, 52), points (B, 68, 2), template (B,), person (B,)
                                 int64; of T templates features, pictures (T, S, S, 3) uint8 and
                                 landmarks (T, 68, 2); of P references features -> picture
                                 (B, S, S, 3) uint8, mask (B, S, S) float32
    renderer_generate_half.onnx  the same, half precision, for GPUs; but for the alignment: in half
                                 the bits, a landmark would lie up to a twentieth of a pixel
                                 elsewhere, and CUDA's GridSample knows single precision only

The generator takes its features out of banks that hold those of every template of every avatar:
they stay on the device, and faces of one batch may be anybody's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from realtalk_ros import models
from realtalk_ros.errors import ModelError
from realtalk_ros.renderer.model import Renderer

if TYPE_CHECKING:
    import onnx

FEATURES = ("f16", "f8", "f4", "f2", "keys", "values")
# What the generator takes rows of: features, and what geometry.py and the avatar tell.
BANKS = ("frame", "rest", *FEATURES)
OF_PERSON = FEATURES[4:]
OPSET = 17


class EncodeGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.encoder = model.encoder

    def forward(self, reference: Tensor, template: Tensor) -> tuple[Tensor, ...]:
        pictures = [(x.float() / 255).permute(2, 0, 1)[None] for x in (reference, template)]
        return self.encoder(*pictures)


class GenerateGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.generator = model.generator

    def forward(
        self, weights: Tensor, points: Tensor, template: Tensor, person: Tensor, *banks: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = [person if name in OF_PERSON else template for name in BANKS]
        frame, rest, *features = (bank[row] for bank, row in zip(banks, rows, strict=True))
        frame = frame.permute(0, 3, 1, 2).to(weights.dtype) / 255
        rgb, mask = self.generator(*features, frame, rest, points, weights)
        return (rgb * 255).round().to(torch.uint8).permute(0, 2, 3, 1), mask[:, 0]


def installed(folder: Path) -> dict[str, Tensor]:
    """The state dict of the Renderer that `export` wrote into `folder`: its graphs keep the names.
    Raises ModelError where there is none."""
    import onnx
    from onnx import numpy_helper

    weights = {}
    for name in ("renderer_encode.onnx", "renderer_generate.onnx"):
        if problem := models.check(folder / name):
            raise ModelError(problem)
        for value in onnx.load(folder / name).graph.initializer:
            if value.name.startswith(("encoder.", "generator.")):
                weights[value.name] = torch.from_numpy(numpy_helper.to_array(value).copy())
    return weights


def export(model: Renderer, folder: Path) -> None:
    """Writes all three files into `folder` and lists their checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    trained, model = model.state_dict(), Renderer(model.dims).eval()  # contiguous, on CPU
    model.load_state_dict(trained)
    image = torch.zeros(model.dims.size, model.dims.size, 3, dtype=torch.uint8)
    _write(
        EncodeGraph(model),
        (image, image),
        folder / "renderer_encode.onnx",
        ("reference", "template"),
        FEATURES,
        {},
        model.dims.size,
    )
    export_generator(model, folder, folder / "renderer_encode.onnx")


def export_generator(model: Renderer, folder: Path, encoder: Path) -> None:
    """Writes the generator alone, in both precisions; it fits the features of that encoder file."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    folder.mkdir(parents=True, exist_ok=True)
    trained, model = model.state_dict(), Renderer(model.dims).eval()
    model.load_state_dict(trained)
    size = model.dims.size
    with torch.no_grad():
        features = model.encoder(*torch.zeros(2, 1, 3, size, size))
    # Two of each, so that the tracer takes no dimension for a constant one.
    banks = [torch.cat([feature, feature]) for feature in features]
    frames, places = torch.zeros(2, size, size, 3, dtype=torch.uint8), torch.zeros(2, 68, 2)
    batch, rows = {0: "faces"}, torch.zeros(2, dtype=torch.int64)
    axes = {name: batch for name in ("weights", "points", "template", "person", "picture", "mask")}
    axes |= {name: {0: "people" if name in OF_PERSON else "templates"} for name in BANKS}
    path = folder / "renderer_generate.onnx"
    inputs = torch.zeros(2, model.dims.weights), places, rows, rows, frames, places, *banks
    _write(
        GenerateGraph(model),
        inputs,
        path,
        ("weights", "points", "template", "person", *BANKS),
        ("picture", "mask"),
        axes,
        size,
        **{"realtalk.encoder": models.sha256(encoder)},
    )
    whole = onnx.load(path)
    aligning = [n.name for n in whole.graph.node if "/alignment/" in n.name or "rest" in n.input]
    half = convert_float_to_float16(
        whole,
        keep_io_types=["weights", "points", "rest", "mask"],
        op_block_list=[],
        node_block_list=aligning,
    )
    _mend_casts(half)
    onnx.save(half, folder / "renderer_generate_half.onnx")
    models.write_checksums(folder)


def _mend_casts(half: onnx.ModelProto) -> None:
    """Mends what the converter does around nodes that are left single: it casts a tensor once for
    each of them, under one name, and rounds to half precision between two of them."""
    from onnxruntime.transformers.onnx_model import OnnxModel

    nodes = {node.output[0]: node for node in half.graph.node}
    del half.graph.node[:]
    half.graph.node.extend(nodes.values())
    casts = {name: node.input[0] for name, node in nodes.items() if node.op_type == "Cast"}
    for node in half.graph.node:
        for k, name in enumerate(node.input):
            if node.op_type != "Cast" and casts.get(name) in casts:
                node.input[k] = casts[casts[name]]
    model = OnnxModel(half)
    model.prune_graph()
    model.topological_sort()


def _write(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
    axes: dict[str, dict[int, str]],
    size: int,
    **more: str,
) -> None:
    import onnx

    torch.onnx.export(
        graph,
        inputs,
        str(path),
        input_names=list(input_names),
        output_names=list(output_names),
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    proto = onnx.load(path)
    properties = {"realtalk.format": "3", "realtalk.size": str(size), **more}
    onnx.helper.set_model_props(proto, properties)
    onnx.save(proto, path)
