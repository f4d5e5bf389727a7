# SPDX-License-Identifier: Apache-2.0
"""Makes ONNX files compute with weights of 8 bits (needs onnx).

A network that takes a few rows at a time spends most of its time on reading weights from memory:
those of 8 bits are a quarter of it. ONNX Runtime rounds a layer's input to 8 bits, too, for
products of integers, each row in blocks of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from realtalk_ros.training.common.onnx_weights import TRANSPOSED

BLOCK = 16  # neighbours of a row that share a scale: the least that ONNX Runtime takes
STEPS = 127  # between 0 and the largest weight of a block
ZERO = 128  # the byte that stands for 0
TINY = 1e-12  # scale of a block of zeros
MIN_SIZE = 16384  # elements; smaller matrices would save nothing
CONTRIB = "com.microsoft"  # ONNX Runtime's own operators


def compute_in_eight_bits(model: onnx.ModelProto, keep: Sequence[str]) -> None:
    """Lets each large matrix be multiplied in 8 bits, in place, but for those whose names begin
    with one of `keep`.

    The file still stores them as float16: ONNX Runtime rounds them when it loads it, since nothing
    but constants goes in.
    """
    graph = model.graph
    stored = {weight.name: weight for weight in graph.initializer}
    widened = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast"}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        matrix = widened.get(node.input[1]) if node.op_type in ("Gemm", "MatMul") else None
        if matrix not in stored or matrix.startswith(tuple(keep)) or not _fits(stored[matrix]):
            nodes.append(node)
        else:
            nodes += _product(node, stored[matrix])
    constants = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("steps.", STEPS), ("zero.", ZERO), ("tiny.", TINY))
    ]
    graph.initializer.extend(constants)
    del graph.node[:]
    graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid(CONTRIB, 1))


def _fits(matrix: onnx.TensorProto) -> bool:
    columns = matrix.dims[0 if _is_transposed(matrix) else -1]
    return bool(np.prod(matrix.dims) >= MIN_SIZE and columns % BLOCK == 0)


def _is_transposed(matrix: onnx.TensorProto) -> bool:
    return matrix.name.endswith(TRANSPOSED)


def _product(node: onnx.NodeProto, matrix: onnx.TensorProto) -> Iterator[onnx.NodeProto]:
    """The same product with the matrix (rows, columns) rounded; a Gemm's bias is added in it."""
    of, wide = f"{matrix.name}.", node.input[1]
    rows, columns = reversed(matrix.dims) if _is_transposed(matrix) else matrix.dims

    def make(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [of + output], **attributes)

    def numbers(values: Sequence[int], output: str) -> onnx.NodeProto:
        return make("Constant", [], output, value=numpy_helper.from_array(np.array(values)))

    if _is_transposed(matrix):
        yield make("Transpose", [wide], "turned")
        wide = of + "turned"
    yield numbers([rows, columns // BLOCK, BLOCK], "shape")
    yield make("Reshape", [wide, of + "shape"], "blocks")
    yield make("Abs", [of + "blocks"], "sizes")
    yield make("ReduceMax", [of + "sizes"], "largest", axes=[-1])
    yield make("Div", [of + "largest", "steps."], "scale")
    yield make("Max", [of + "scale", "tiny."], "scales")
    yield make("Div", [of + "blocks", of + "scales"], "scaled")
    yield make("Round", [of + "scaled"], "rounded")
    yield make("Add", [of + "rounded", "zero."], "shifted")
    yield make("Cast", [of + "shifted"], "bytes", to=onnx.TensorProto.UINT8)
    yield numbers([rows * columns // BLOCK], "count")
    yield make("Reshape", [of + "scales", of + "count"], "scale_of_blocks")
    inputs = [node.input[0], of + "bytes", of + "scale_of_blocks"]
    if len(node.input) > 2:
        inputs += ["", "", node.input[2]]
    yield helper.make_node(
        "MatMulNBits", inputs, list(node.output), domain=CONTRIB, K=columns, N=rows, bits=8,
        block_size=BLOCK, accuracy_level=4,
    )  # fmt: skip
