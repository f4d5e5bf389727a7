"""Several faces in one process that are rendered in one run of the network where they can be.

Each face has a display of its own, which asks for its frame when that is due. Frames that are asked
for within a few milliseconds of each other, as those of faces at the same frame rate are, are
rendered together by who asked first.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.rendering.face_renderer import FaceRenderer, render_batch

BATCH_WINDOW = 0.002  # s for which the first one waits for the others


@dataclass
class _Request:
    renderer: FaceRenderer
    weights: np.ndarray
    template: int
    done: threading.Event = field(default_factory=threading.Event)
    picture: np.ndarray | None = None
    error: Exception | None = None


class BatchingRenderer:
    """The avatars of one process, by name or folder. Loaded when the first one is asked for."""

    def __init__(self, avatars: Sequence[str]):
        self.avatars = list(avatars)
        self.batches = self.frames = 0  # rendered
        self._key: tuple | None = None
        self._renderers: list[FaceRenderer] = []
        self._loading = threading.Lock()
        self._gathering = threading.Lock()
        self._rendering = threading.Lock()
        self._wishes: list[_Request] = []
        self._full = threading.Event()
        self._present = 0  # faces that were given out

    def member(
        self, index: int, size: int, providers: Sequence[str], threads: int, model_dir: Path | None
    ) -> BatchedFace:
        """The renderer of avatar number `index`. Raises AvatarError, ModelError."""
        with self._loading:
            key = (tuple(providers), threads, model_dir)
            if key != self._key:
                avatars = [Avatar.load(name) for name in self.avatars]
                self._renderers = FaceRenderer.together(
                    avatars, size, providers, threads, model_dir
                )
                self._key, self._present = key, 0
            self._present = min(len(self.avatars), self._present + 1)
            return BatchedFace(self, self._renderers[index].resized(size))

    def render(self, renderer: FaceRenderer, weights: np.ndarray, template: int) -> np.ndarray:
        """As `FaceRenderer.render`, from any thread."""
        wish = _Request(renderer, weights, template)
        with self._gathering:
            first = not self._wishes
            self._wishes.append(wish)
            if len(self._wishes) >= self._present:
                self._full.set()
        if first:
            self._full.wait(BATCH_WINDOW)
            self._render_all()
        wish.done.wait()
        if wish.error is not None:
            raise wish.error
        assert wish.picture is not None
        return wish.picture

    def _render_all(self) -> None:
        with self._rendering:
            with self._gathering:
                wishes, self._wishes = self._wishes, []
                self._full.clear()
            try:
                pictures = render_batch(
                    [wish.renderer for wish in wishes],
                    np.stack([wish.weights for wish in wishes]).astype(np.float32),
                    [wish.template for wish in wishes],
                )
                for wish, picture in zip(wishes, pictures, strict=True):
                    wish.picture = picture
            except Exception as error:  # every face that waited is told
                for wish in wishes:
                    wish.error = error
            self.batches, self.frames = self.batches + 1, self.frames + len(wishes)
            for wish in wishes:
                wish.done.set()


class BatchedFace:
    """One face of a troupe, to whoever takes a FaceRenderer."""

    def __init__(self, troupe: BatchingRenderer, renderer: FaceRenderer):
        self._troupe, self._renderer = troupe, renderer
        self.avatar, self.size = renderer.avatar, renderer.size
        self.template_count = renderer.template_count

    def render(self, weights: np.ndarray, template: int) -> np.ndarray:
        return self._troupe.render(self._renderer, weights, template)

    def resized(self, size: int) -> BatchedFace:
        return BatchedFace(self._troupe, self._renderer.resized(size))
