# SPDX-License-Identifier: Apache-2.0
"""What the audio-to-expression network makes of a sound."""

from __future__ import annotations

import numpy as np

from realtalk_ros.audio import log_mel
from realtalk_ros.expression.onnx_model import ExpressionModel


def express(
    model: ExpressionModel, pcm: np.ndarray, rate: int = 16000, chunk_s: float | None = None
) -> dict[str, np.ndarray]:
    """All that is made of it, given at once or in chunks of so many s."""
    front_end, stream = log_mel.AudioFrontEnd(rate), model.stream(model.prior())
    size = len(pcm) if chunk_s is None else round(rate * chunk_s)
    parts = [stream.push(front_end.push(pcm[i : i + size])) for i in range(0, len(pcm), size)]
    parts += [stream.push(front_end.flush()), stream.flush()]
    names = ("time", "weights", "rotation", "speech", "lips")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
