# SPDX-License-Identifier: Apache-2.0
"""Runs the networks once for several faces of one process where possible.

Each face has a render thread of its own, which requests its frame when that is due. Frames that
are requested within a few milliseconds, as those of faces at the same frame rate are, become one
batch. The thread that asked first runs the networks; each face composes its own image.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakSet

import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.rendering.common.generated_face import GeneratedFace
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.generator import Generator

BATCH_WINDOW = 0.002  # s for which the first request waits for others


@dataclass
class _Request:
    renderer: FaceRenderer
    weights: np.ndarray
    template: int
    meanwhile: Callable[[], None]
    done: threading.Event = field(default_factory=threading.Event)
    face: GeneratedFace | None = None
    error: Exception | None = None


class BatchingRenderer:
    """The avatars of one process, by name or folder. Loaded when the first one is asked for."""

    def __init__(self, avatars: Sequence[str]):
        self.avatars = list(avatars)
        self.batches = self.frames = 0  # generated
        self._key: tuple | None = None
        self._renderers: list[FaceRenderer] = []
        self._load_lock = threading.Lock()
        self._queue_lock = threading.Lock()
        self._run_lock = threading.Lock()
        self._requests: list[_Request] = []
        self._full = threading.Event()  # every face has requested a frame
        self._open: WeakSet[FaceRenderer] = WeakSet()

    def face(
        self,
        index: int,
        size: int,
        providers: Sequence[str],
        threads: int,
        model_dir: Path | None,
        failed: FaceRenderer | None = None,
    ) -> FaceRenderer:
        """The renderer of avatar number `index`. `failed`: the one that it replaces, if the
        networks of that have failed. Raises AvatarError, ModelError."""
        with self._load_lock:
            key = (tuple(providers), threads, model_dir)
            broken = failed is not None and any(
                renderer.generator is failed.generator for renderer in self._renderers
            )
            if key != self._key or broken:
                avatars = [Avatar.load(name) for name in self.avatars]
                generator = Generator(avatars, providers, threads, model_dir)
                self._renderers = [
                    BatchedFace(self, avatar, size, (generator, k))
                    for k, avatar in enumerate(avatars)
                ]
                self._key = key
            return self._renderers[index].resized(size)

    def open(self, face: FaceRenderer) -> FaceRenderer:
        """Batches wait for `face` until it is closed. While one is loaded again, it may be open
        twice, and counts once."""
        with self._queue_lock:
            self._open.add(face)
        return face

    def close(self, face: FaceRenderer) -> None:
        """Batches do not wait for `face` any more."""
        with self._queue_lock:
            self._open.discard(face)

    def generate(
        self,
        renderer: FaceRenderer,
        weights: np.ndarray,
        template: int,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> GeneratedFace:
        """As `FaceRenderer.generate`, from any thread; `meanwhile` may be called in another one."""
        request = _Request(renderer, weights, template, meanwhile)
        with self._queue_lock:
            first = not self._requests
            self._requests.append(request)
            if len(self._requests) >= len({face.index for face in self._open}):
                self._full.set()
        if first:
            self._full.wait(BATCH_WINDOW)
            self._run()
        request.done.wait()
        if request.error is not None:
            raise request.error
        assert request.face is not None
        return request.face

    def _run(self) -> None:
        with self._run_lock:
            with self._queue_lock:
                requests, self._requests = self._requests, []
                self._full.clear()
            # Faces that were loaded before a device or a folder of models was set have other
            # networks, until they are loaded again, too.
            batches: dict[int, list[_Request]] = {}
            for request in requests:
                batches.setdefault(id(request.renderer.generator), []).append(request)
            for batch in batches.values():
                self._generate(batch)

    def _generate(self, requests: list[_Request]) -> None:
        def meanwhile() -> None:
            for request in requests:
                request.meanwhile()

        try:
            faces = requests[0].renderer.generator.run(
                np.stack([request.weights for request in requests]).astype(np.float32),
                [one.renderer.inputs(one.weights, one.template) for one in requests],
                meanwhile,
            )
            for request, face in zip(requests, faces, strict=True):
                request.face = face
        except Exception as error:  # raised in the thread of every face of the batch
            for request in requests:
                request.error = error
        self.batches, self.frames = self.batches + 1, self.frames + len(requests)
        for request in requests:
            request.done.set()


class BatchedFace(FaceRenderer):
    """One face of a BatchingRenderer."""

    def __init__(
        self, batching: BatchingRenderer, avatar: Avatar, size: int, shared: tuple[Generator, int]
    ):
        super().__init__(avatar, size, shared=shared)
        self._batching = batching

    def generate(
        self, weights: np.ndarray, template: int, meanwhile: Callable[[], None] = lambda: None
    ) -> GeneratedFace:
        return self._batching.generate(self, weights, template, meanwhile)

    def resized(self, size: int) -> FaceRenderer:
        return self._batching.open(super().resized(size))

    def close(self) -> None:
        self._batching.close(self)
