# SPDX-License-Identifier: Apache-2.0
"""How ONNX files of this package store weights, and how to read them back (needs onnx).

An initializer has the name of the torch parameter that it is. Two things may differ from it:

    float16     large weights are stored in half precision; a Cast widens them when a file is loaded
    <name>.T    the transpose of a matrix: how a linear layer's MatMul wants it
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

MIN_FP16_SIZE = 4096  # elements; smaller weights stay float32, as they would save nothing
MIN_REFERENCE = 256  # bytes; to refer to a smaller weight would save nothing
TRANSPOSED = ".T"


def strip_prefix(model: onnx.ModelProto, prefix: str) -> None:
    """Takes `prefix` off the names of the initializers: that of a module around the network."""
    names = {weight.name: weight.name.removeprefix(prefix) for weight in model.graph.initializer}
    for weight in model.graph.initializer:
        weight.name = names[weight.name]
    _rename_inputs(model.graph, names)


def fold_transposes(model: onnx.ModelProto) -> None:
    """Stores each matrix that only a Transpose reads as its transpose, named `<name>.T`."""
    graph = model.graph
    weights = {weight.name: weight for weight in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {}
    for name, weight in weights.items():
        nodes = readers.get(name, [])
        if len(weight.dims) != 2 or not nodes or any(n.op_type != "Transpose" for n in nodes):
            continue
        stored = f"{name}{TRANSPOSED}"
        matrix = np.ascontiguousarray(numpy_helper.to_array(weight).T)
        weight.CopyFrom(numpy_helper.from_array(matrix, stored))
        for node in nodes:
            outputs[node.output[0]] = stored
            graph.node.remove(node)
    _rename_inputs(graph, outputs)


def store_weights_as_fp16(model: onnx.ModelProto) -> None:
    """Stores the large float32 weights of `model` as float16, in place.

    The arithmetic stays float32: nodes read `<name>.float32`, the output of a Cast, which ONNX
    Runtime computes once, when it loads the file.
    """
    graph, casts = model.graph, []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= MIN_FP16_SIZE:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
            casts.append(
                onnx.helper.make_node(
                    "Cast", [name], [f"{name}.float32"], to=onnx.TensorProto.FLOAT
                )
            )
    _rename_inputs(graph, {cast.input[0]: cast.output[0] for cast in casts})
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def refer_to(model: onnx.ModelProto, path: Path) -> None:
    """Takes the large weights of `model` that the ONNX file `path` stores, too, out of the model:
    it refers to their bytes in that file (as external data), beside which it has to be saved."""
    stored = path.read_bytes()
    for weight in model.graph.initializer:
        size = len(weight.raw_data)
        offset = stored.find(weight.raw_data) if size >= MIN_REFERENCE else -1
        if offset >= 0:
            weight.ClearField("raw_data")
            weight.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", path.name), ("offset", offset), ("length", size)):
                weight.external_data.add(key=key, value=str(value))


def shorten_names(model: onnx.ModelProto) -> None:
    """Gives nodes and what they pass on numbers for names. Exported ones are half of a graph."""
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    results = [name for node in graph.node for name in node.output if name not in kept]
    names = {name: str(number) for number, name in enumerate(results)}
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        node.output[:] = [names.get(name, name) for name in node.output]
    _rename_inputs(graph, names)
    del graph.value_info[:]


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Name of a parameter -> its float32 array, of all that an ONNX file stores."""
    weights = {}
    for weight in onnx.load(path).graph.initializer:
        array = numpy_helper.to_array(weight)
        if np.issubdtype(array.dtype, np.floating):
            turned = weight.name.endswith(TRANSPOSED)
            name = weight.name.removesuffix(TRANSPOSED)
            weights[name] = np.ascontiguousarray(array.T if turned else array, np.float32)
    return weights


def _rename_inputs(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
