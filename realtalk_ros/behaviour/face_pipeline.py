# SPDX-License-Identifier: Apache-2.0
"""From speech to images of one face, as fast as the machine can, without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from realtalk_ros.behaviour.face import Face
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.helper import Deferred
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

    def expressions(self, chunks: Iterable[Chunk]) -> Iterator[TimedExpression]:
        """The expressions of chunks of speech, as `expression.push` and at last `expression.flush`
        give them.

        The network runs for a chunk in the helper's thread, while the caller draws the frames of
        the chunk before it with `render`. So a chunk is taken before these are drawn, and until the
        iterator ends or is closed, `expression` is not to be used. Closed early, it cuts the
        utterance off, as `expression.reset` does.
        """
        pipeline, ended = self.expression, False
        coming: Deferred[list[TimedExpression]] | None = None
        try:
            for chunk in chunks:
                found = coming.result() if coming else []
                closed, scheduled = pipeline.schedule(chunk)
                coming = Deferred(partial(pipeline.express, pipeline.hear(scheduled)))
                yield from found + closed
            if coming:
                yield from coming.result()
            yield from pipeline.flush()
            ended = True
        finally:
            if not ended:
                if coming:
                    coming.drop()
                pipeline.reset()

    def render(self, expression: TimedExpression) -> tuple[float, np.ndarray, np.ndarray]:
        """The frame of one expression of `expression.push`, as of `push`."""
        weights, image = self.face.render(
            expression.time, expression.weights, expression.rotation, expression.speech
        )
        return expression.time, weights, image
