# SPDX-License-Identifier: Apache-2.0
"""From speech to images of one face, as fast as the machine can, without ROS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from realtalk_ros.behaviour.face import Face
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.pipeline import ExpressionPipeline, MelChunk
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
        prepare: bool = False,
    ):
        """prepare: as of ExpressionPipeline."""
        avatar = renderer.avatar
        prior = model.prior(avatar.identity, avatar.reference_expressions)
        self.expression = ExpressionPipeline(model, prior, fps, prepare)
        self.face = Face(renderer)

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

        While the caller draws the frames of a chunk with `render`, the helper's thread runs the
        network for the next chunk, and makes the one after it ready: so two chunks are taken before
        these frames are drawn. Until the iterator ends or is closed, `expression` is not to be
        used. Closed early, it cuts the utterance off, as `expression.reset` does.
        """
        found: list[TimedExpression] = []
        mel: MelChunk | None = None
        running: Deferred[tuple[list[TimedExpression], MelChunk | None]] | None = None
        ended = False
        try:
            for chunk in chunks:
                if running:
                    found, mel = running.result()
                # What is short calls of NumPy comes last, beside the generator: it does not wait
                # for Python's lock.
                running = Deferred(partial(self._predict_and_extract, mel, chunk))
                yield from found
            if running:
                found, mel = running.result()
                yield from found
            yield from self.expression.predict(mel)
            yield from self.expression.flush()
            ended = True
        finally:
            if not ended:
                if running:
                    running.drop()
                self.expression.reset()

    def _predict_and_extract(
        self, mel: MelChunk | None, chunk: Chunk
    ) -> tuple[list[TimedExpression], MelChunk | None]:
        """The expressions of a chunk, `mel`, and then of what the next `chunk` ends; and the mel of
        that one."""
        found = self.expression.predict(mel)
        closed, scheduled = self.expression.schedule(chunk)
        return found + closed, self.expression.extract_mel(scheduled)

    def render(self, expression: TimedExpression) -> tuple[float, np.ndarray, np.ndarray]:
        """The frame of one expression of `expression.push`, as of `push`."""
        weights, image = self.face.render(
            expression.time, expression.weights, expression.rotation, expression.speech
        )
        return expression.time, weights, image
