# SPDX-License-Identifier: Apache-2.0
"""What the network makes of a whole recording, in one go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from realtalk_ros.audio.log_mel import log_mel
from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.contracts import MEL_STEP
from realtalk_ros.expression import preparation
from realtalk_ros.expression.onnx_model import ExpressionModel, Prior


@dataclass(frozen=True)
class PredictedExpression:
    """Audio, and the expression that the network predicts from it: n steps of 20 ms from 0 s on."""

    mel: np.ndarray  # (2 n, 80) float32
    weights: np.ndarray  # (n, 52)
    rotation: np.ndarray  # (n, 3) rad, as face_model/rotations.py has it
    speech: np.ndarray  # (n,) 0..1, probability that somebody speaks

    @property
    def prepared(self) -> np.ndarray:
        """The weights (n, 52) with the lips parted before speech."""
        return preparation.prepared(self.weights, self.speech)

    @classmethod
    def of(
        cls,
        pcm: np.ndarray,
        rate: int,
        model: ExpressionModel | None = None,
        prior: Prior | None = None,
    ) -> PredictedExpression:
        """pcm: (n,) float32 mono at `rate` Hz; model: the installed one by default; prior: of a
        person, by default unknown. Raises AudioError for an impossible rate."""
        model = model or _model()
        stream = model.stream(model.prior() if prior is None else prior)
        mel = log_mel(pcm, rate)
        parts = [stream.push(mel), stream.flush()]
        count = len(mel) // MEL_STEP
        weights, rotation, speech = (
            np.concatenate([getattr(part, name) for part in parts])[:count]
            for name in ("weights", "rotation", "speech")
        )
        return cls(mel[: count * MEL_STEP], weights, rotation, speech)

    @classmethod
    def read(cls, path: Path, model: ExpressionModel | None = None) -> PredictedExpression:
        """Of a media file. Raises AudioError."""
        return cls.of(*read_audio(path), model)


@lru_cache(maxsize=1)
def _model() -> ExpressionModel:
    return ExpressionModel()
