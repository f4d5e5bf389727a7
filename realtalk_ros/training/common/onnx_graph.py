# SPDX-License-Identifier: Apache-2.0
"""What is exported into one ONNX file (needs onnx)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import onnx

OPSET = 17


@dataclass(frozen=True)
class Graph:
    """A module, with inputs to trace it by."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: Sequence[str]
    free: dict[str, str] = field(default_factory=dict)  # names of free first dimensions, by tensor

    def export(self, path: Path, fold_constants: bool = True) -> onnx.ModelProto:
        """Returns the model, and leaves it in the file `path`."""
        import onnx

        torch.onnx.export(
            self.module, tuple(self.inputs.values()), str(path), input_names=list(self.inputs),
            output_names=list(self.outputs), opset_version=OPSET, dynamo=False,
            do_constant_folding=fold_constants,
            dynamic_axes={name: {0: free} for name, free in self.free.items()},
        )  # fmt: skip
        return onnx.load(str(path))
