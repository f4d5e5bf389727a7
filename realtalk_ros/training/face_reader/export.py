# SPDX-License-Identifier: Apache-2.0
"""The trained face reader to ONNX.

face_reader.onnx: image (256, 256, 3) uint8 BGR -> landmarks (68, 2) in pixels, identity (100,). Its
initializers have the names of FaceReader's parameters, large ones in half precision (see
training/common/onnx_weights.py). Weight and bias (C,) of a GroupNorm have the shape (C, 1, 1).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros import checksums
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll.face_reader import FILE
from realtalk_ros.training.common.onnx_graph import Graph
from realtalk_ros.training.face_reader.model import INPUT_SIZE, FaceReader

NORM_PARAMETERS = {"Mul": "weight", "Add": "bias"}  # by the node of a GroupNorm that reads it


class ReadGraph(FaceReader):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        image = (image.float() / 255).permute(2, 0, 1)[None]
        points, identity = super().forward(F.avg_pool2d(image, CROP_SIZE // INPUT_SIZE))
        return points[0] * CROP_SIZE, identity[0]


def export(net: FaceReader, folder: Path) -> None:
    """Writes face_reader.onnx into `folder` and lists its checksum."""
    import onnx

    from realtalk_ros.training.common.onnx_weights import store_weights_as_fp16

    folder.mkdir(parents=True, exist_ok=True)
    graph = ReadGraph().eval()  # contiguous, on the CPU
    graph.load_state_dict(net.state_dict())
    inputs = {"image": torch.zeros(CROP_SIZE, CROP_SIZE, 3, dtype=torch.uint8)}
    model = Graph(graph, inputs, ("landmarks", "identity")).export(folder / FILE)
    name_norm_parameters(model.graph)
    store_weights_as_fp16(model)
    onnx.save(model, str(folder / FILE))
    checksums.write(folder)


def name_norm_parameters(graph) -> None:
    """Gives the parameters of GroupNorms, which an export reshapes and so leaves nameless, their
    names again: the node that reads one is named by its module."""
    names = {}
    for node in graph.node:
        for name in node.input:
            if name.startswith("onnx::"):
                module = ".".join(node.name.strip("/").split("/")[:-1])
                names[name] = f"{module}.{NORM_PARAMETERS[node.op_type]}"
    for weight in graph.initializer:
        weight.name = names.get(weight.name, weight.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
