# SPDX-License-Identifier: Apache-2.0
"""From speech to images of one face, as fast as the machine can, without ROS."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from realtalk_ros.behaviour.face import Face
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.stream_types import Chunk, TimedExpression


class FacePipeline:
    """Push chunks of speech, get frames. Fields may be used: `expression`, `face`."""

    def __init__(
        self,
        model: ExpressionModel,
        renderer: FaceRenderer,
        fps: float,
        seed: int = 0,
        prepare: bool = False,
    ):
        """prepare: as of ExpressionPipeline."""
        avatar = renderer.avatar
        prior = model.prior(avatar.identity, avatar.reference_expressions)
        self.expression = ExpressionPipeline(model, prior, fps, prepare)
        self.face = Face(renderer, seed)

    def push(self, chunk: Chunk) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        """Yields (time s, weights (52,), image (height, width, 3) uint8 BGR) of each frame that is
        now known."""
        return map(self.render, self.expression.push(chunk))

    def flush(self) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
        """The remaining frames of the utterance, as of `push`."""
        return map(self.render, self.expression.flush())

    def render(self, expression: TimedExpression) -> tuple[float, np.ndarray, np.ndarray]:
        """The frame of one expression of `expression.push`, as of `push`."""
        weights, image = self.face.render(
            expression.time, expression.weights, expression.rotation, expression.speech
        )
        return expression.time, weights, image
