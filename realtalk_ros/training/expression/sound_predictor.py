# SPDX-License-Identifier: Apache-2.0
"""What sound comes next: with it the expression network needs less of the sound to come.

The network gives a frame when it has heard the look-ahead after it. For a shorter look-ahead the
rest is predicted from the last 0.16 s: a linear map of low rank from log-mel to log-mel. The
network runs on into what is predicted, and its caches forget that again (`ExpressionNet.step`). So
its weights are the same for every look-ahead.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from realtalk_ros.contracts import MEL_STEP, N_MELS
from realtalk_ros.expression.onnx_model import SILENT_MEL

FRAMES = 16  # log-mel frames before, as many as the network keeps of them: 0.16 s
RANK = 64
RIDGE = 1e-3  # added to the mean square of each input
_INPUTS = FRAMES * N_MELS


class SoundPredictor(nn.Module):
    """Predicts `steps` of 20 ms: by how much their log-mel differs from the last frame's."""

    def __init__(self, steps: int, rank: int):
        super().__init__()
        self.steps = steps
        outputs = steps * MEL_STEP * N_MELS
        self.down = nn.Parameter(torch.zeros(_INPUTS, rank))
        self.up = nn.Parameter(torch.zeros(rank, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, steps: Tensor) -> Tensor:
        """(N, FRAMES / 2, 160), the last steps, oldest first -> (N, self.steps, 160)."""
        frames = steps.reshape(-1, FRAMES, N_MELS)
        # A stream begins with zeros for what was before, where there was silence.
        before = frames.abs().amax(-1, keepdim=True) == 0
        frames = torch.where(before, torch.full_like(frames, SILENT_MEL), frames)
        change = frames.reshape(-1, _INPUTS) @ self.down @ self.up + self.bias
        coming = change.reshape(-1, self.steps * MEL_STEP, N_MELS) + frames[:, -1:]
        return coming.clamp(min=SILENT_MEL).reshape(-1, self.steps, MEL_STEP * N_MELS)


def fit(mels: Iterable[np.ndarray], steps: Iterable[int], rank: int = RANK) -> list[SoundPredictor]:
    """The predictors of that many steps by least squares: reduced-rank regression (Izenman 1975,
    doi 10.1016/0047-259X(75)90042-1) with a ridge.

    mels: recordings, log-mel (m, 80) each; what is shorter than 0.16 s and the steps is left out.
    """
    steps = list(steps)
    length = FRAMES + max(steps) * MEL_STEP
    moments = np.zeros((_INPUTS + 1, _INPUTS + 1))
    products = np.zeros((_INPUTS + 1, (length - FRAMES) * N_MELS))
    for mel in mels:
        if len(mel) < length:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(mel.astype(np.float32), length, axis=0)
        windows = windows[::MEL_STEP].swapaxes(1, 2)  # (k, length, 80)
        inputs = windows[:, :FRAMES].reshape(len(windows), -1)
        inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], 1)
        coming = (windows[:, FRAMES:] - windows[:, FRAMES - 1 : FRAMES]).reshape(len(windows), -1)
        moments += inputs.T @ inputs
        products += inputs.T @ coming
    ridge = RIDGE * np.diag(moments).mean() * np.eye(len(moments))
    ridge[-1, -1] = 0.0  # the mean is free
    whole = np.linalg.solve(moments + ridge, products)
    return [_reduced(whole, moments, n, rank) for n in steps]


def _reduced(whole: np.ndarray, moments: np.ndarray, steps: int, rank: int) -> SoundPredictor:
    """The first `steps` of a linear map (inputs + 1, ...), in the `rank` directions in which what
    it predicts varies most. moments: of the inputs, (inputs + 1, inputs + 1)."""
    whole = whole[:, : steps * MEL_STEP * N_MELS]
    directions = np.linalg.eigh(whole.T @ moments @ whole)[1][:, -rank:]
    predictor = SoundPredictor(steps, rank)
    with torch.no_grad():
        predictor.down.copy_(torch.from_numpy(whole[:-1] @ directions))
        predictor.up.copy_(torch.from_numpy(directions.T.copy()))
        predictor.bias.copy_(torch.from_numpy(whole[-1]))
    return predictor
