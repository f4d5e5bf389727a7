"""The trained renderer to ONNX: what rendering/generator.py runs.

    renderer_encode.onnx         reference (S, S, 6), picture and rendering/mouth.py's map of it,
                                 template (S, S, 3) uint8 -> FEATURES, a batch of one
    renderer_align.onnx          rest, points (B, 68, 2), landmarks of a template and of the picture
                                 to be -> places (B, S, S, 2), where in the template its pixels lie;
                                 told (B, 2 + labels, S/4, S/4)
    renderer_generate.onnx       weights (B, 52), aligned, inside (B, 12, S/2, S/2) uint8 (of the
                                 pixels as `generator.fours` orders them), told, template (B,),
                                 person (B,) int64; of T templates and of P references features ->
                                 picture (B, 12, S/2, S/2) uint8, mask (B, S, S) float32
    renderer_generate_half.onnx  the same, half precision, for GPUs

The template's pixels are laid where they belong by OpenCV between the two (ONNX Runtime's
GridSample took a seventh of a frame on the CPU), and `inside` is drawn by it, see
rendering/mouth.py. The generator takes its features out of banks that hold those of every template
of every avatar: they stay on the device, and faces of one batch may be anybody's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros import onnx_session
from realtalk_ros.contracts import (
    ALIGNER_FILE,
    ENCODER_FILE,
    FEATURES,
    GENERATOR_FILE,
    OF_PERSON,
    RENDERER_FORMATS,
)
from realtalk_ros.errors import ModelError
from realtalk_ros.training.renderer.model import Renderer

FITS = ("encode", "align")  # files whose checksums the generator carries
OPSET = 17


class EncodeGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.encoder = model.encoder

    def forward(self, reference: Tensor, template: Tensor) -> tuple[Tensor, ...]:
        pictures = [(x.float() / 255).permute(2, 0, 1)[None] for x in (reference, template)]
        return self.encoder(*pictures)


class AlignGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.generator = model.generator

    def forward(self, rest: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.generator.alignment.field(rest, points)


class GenerateGraph(nn.Module):
    def __init__(self, model: Renderer):
        super().__init__()
        self.generator = model.generator

    def forward(
        self,
        weights: Tensor,
        aligned: Tensor,
        inside: Tensor,
        told: Tensor,
        template: Tensor,
        person: Tensor,
        *banks: Tensor,
    ) -> tuple[Tensor, Tensor]:
        rows = [person if name in OF_PERSON else template for name in FEATURES]
        features = [bank[row] for bank, row in zip(banks, rows, strict=True)]
        features[:4] = map(laid, features[:4])
        aligned, inside = (
            x.to(weights.dtype).unflatten(1, (3, 4)) / 255 for x in (aligned, inside)
        )
        rgb, mask = self.generator.draw(features, weights, (aligned, told, inside))
        half = self.generator.dims.size // 2
        picture = (rgb * 255).round().to(torch.uint8).reshape(-1, 12, half, half)
        return picture, mask[:, 0]


def laid(features: Tensor) -> Tensor:
    """The same, through a convolution: what comes of one, ONNX Runtime keeps in the layout that the
    next one takes."""
    same = np.eye(features.shape[1], dtype=np.float32)[..., None, None]
    return F.conv2d(features, torch.from_numpy(same))


def installed(folder: Path) -> dict[str, Tensor]:
    """The state dict of the Renderer that `export` wrote into `folder`: its graphs keep the names.
    Raises ModelError where there is none."""
    import onnx
    from onnx import numpy_helper

    weights = {}
    for name in RENDERER_FORMATS:
        if problem := onnx_session.check(folder / name):
            raise ModelError(problem)
        for value in onnx.load(folder / name).graph.initializer:
            if value.name.startswith(("encoder.", "generator.")):
                weights[value.name] = torch.from_numpy(numpy_helper.to_array(value).copy())
    return weights


def export(model: Renderer, folder: Path) -> None:
    """Writes all four files into `folder` and lists their checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    trained, model = model.state_dict(), Renderer(model.dims).eval()  # contiguous, on CPU
    model.load_state_dict(trained)
    image = torch.zeros(model.dims.size, model.dims.size, 3, dtype=torch.uint8)
    _write(
        EncodeGraph(model),
        (torch.cat([image, image], 2), image),
        folder / ENCODER_FILE,
        ("reference", "template"),
        FEATURES,
        {},
        model.dims.size,
    )
    points = torch.rand(2, 68, 2)
    _write(
        AlignGraph(model),
        (points, points),
        folder / ALIGNER_FILE,
        ("rest", "points"),
        ("places", "told"),
        dict.fromkeys(("rest", "points", "places", "told"), {0: "faces"}),
        model.dims.size,
    )
    export_generator(model, folder, folder)


def export_generator(model: Renderer, folder: Path, beside: Path) -> None:
    """Writes the generator alone, in both precisions; it fits the encoder and the alignment in the
    folder `beside`."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    folder.mkdir(parents=True, exist_ok=True)
    trained, model = model.state_dict(), Renderer(model.dims).eval()
    model.load_state_dict(trained)
    size = model.dims.size
    with torch.no_grad():
        features = model.encoder(torch.zeros(1, 6, size, size), torch.zeros(1, 3, size, size))
    # Two of each, so that the tracer takes no dimension for a constant one.
    banks = [torch.cat([feature, feature]) for feature in features]
    aligned = torch.zeros(2, 12, size // 2, size // 2, dtype=torch.uint8)
    told = torch.zeros(2, 2 + model.dims.labels, size // 4, size // 4)
    batch, rows = {0: "faces"}, torch.zeros(2, dtype=torch.int64)
    of_face = ("weights", "aligned", "inside", "told", "template", "person")
    axes = dict.fromkeys((*of_face, "picture", "mask"), batch)
    axes |= {name: {0: "people" if name in OF_PERSON else "templates"} for name in FEATURES}
    path = folder / GENERATOR_FILE
    inputs = torch.zeros(2, model.dims.weights), aligned, aligned, told, rows, rows, *banks
    _write(
        GenerateGraph(model),
        inputs,
        path,
        (*of_face, *FEATURES),
        ("picture", "mask"),
        axes,
        size,
        **{
            f"realtalk.{name}": onnx_session.sha256(beside / f"renderer_{name}.onnx")
            for name in FITS
        },
    )
    half = convert_float_to_float16(
        onnx.load(path), keep_io_types=["weights", "told", "mask"], op_block_list=[]
    )
    onnx.save(half, folder / "renderer_generate_half.onnx")
    onnx_session.write_checksums(folder)


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
    properties = {
        "realtalk.format": RENDERER_FORMATS[path.name],
        "realtalk.size": str(size),
        **more,
    }
    onnx.helper.set_model_props(proto, properties)
    onnx.save(proto, path)
