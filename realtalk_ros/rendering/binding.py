# SPDX-License-Identifier: Apache-2.0
"""Memory that a network's inputs and outputs are bound to once, so that no run allocates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnxruntime as ort

from realtalk_ros import onnx_session
from realtalk_ros.errors import NetworkError, first_line


class Binding:
    """Memory for the inputs and outputs of a session at one batch size, bound to it once.

    `on_device` lie on the device, `shared` are written by another binding, if they are inputs.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        count: int,
        on_gpu: bool = False,
        on_device: Mapping[str, ort.OrtValue] = MappingProxyType({}),
        shared: Mapping[str, np.ndarray] = MappingProxyType({}),
    ):
        self._session, self._on_gpu, self._binding = session, on_gpu, session.io_binding()
        wanted = {i.name: i for i in session.get_inputs()}
        for name in wanted.keys() & on_device.keys():
            self._binding.bind_ortvalue_input(name, on_device[name])
        self.inputs = {
            name: shared[name] if name in shared else self._zeros(i, count)
            for name, i in wanted.items()
            if name not in on_device
        }
        self.outputs = {o.name: self._zeros(o, count) for o in session.get_outputs()}
        self._bind_inputs()
        # On the CPU an OrtValue of an array is that array's memory: outputs arrive where they are
        # read. From a GPU, ONNX Runtime copies them there.
        for name, array in self.outputs.items():
            output = ort.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_output(name, output)

    def _zeros(self, value: ort.NodeArg, count: int) -> np.ndarray:
        return np.zeros((count, *value.shape[1:]), onnx_session.TYPES[value.type])

    def _bind_inputs(self) -> None:
        for name, array in self.inputs.items():
            self._binding.bind_cpu_input(name, array)

    def set_inputs(self, **inputs: np.ndarray | Sequence[np.ndarray] | Sequence[int]) -> None:
        """Of those inputs that are not written in place."""
        for name, values in inputs.items():
            self.inputs[name][:] = values
        if self._on_gpu:
            self._bind_inputs()  # copies them there

    def run(self) -> None:
        """Overwrites `outputs`. Raises NetworkError."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime's own share no base class but this
            raise NetworkError(first_line(error)) from error
