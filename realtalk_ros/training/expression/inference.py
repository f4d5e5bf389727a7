# SPDX-License-Identifier: Apache-2.0
"""The expression network on a whole recording at once: a fifth of the time that streaming takes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from realtalk_ros.contracts import MEL_STEP
from realtalk_ros.expression.onnx_model import SILENT_MEL
from realtalk_ros.training.expression.model import ExpressionNet


@torch.inference_mode()
def infer(net: ExpressionNet, mel: np.ndarray, condition_kv: Tensor) -> dict[str, Tensor]:
    """Mel (2 n, 80) float32 -> what `net` shows with each of its n steps: the results of
    ExpressionNet.forward, each (n, ...). Silence follows the recording, for the look-ahead.

    condition_kv: of ExpressionNet.encode_prior, for one person.
    """
    steps = net.dims.look_ahead_steps
    padded = np.pad(mel, ((0, steps * MEL_STEP), (0, 0)), constant_values=SILENT_MEL)
    out = net(torch.from_numpy(padded)[None], condition_kv)
    return {name: values[0, steps:] for name, values in out.items()}
