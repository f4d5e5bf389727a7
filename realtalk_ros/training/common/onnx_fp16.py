"""Files of networks at half their size, for the same arithmetic (needs onnx)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper


def halve(graph: onnx.ModelProto) -> None:
    """Stores the large weights of an ONNX graph in half precision; the runtime widens them once."""
    casts = []
    for weight in graph.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size > 1000:
            name, half = weight.name, f"{weight.name}_half"
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
            casts.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
