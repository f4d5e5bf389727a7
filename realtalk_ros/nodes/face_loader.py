# SPDX-License-Identifier: Apache-2.0
"""Loads faces: the first one, others beside the one that is shown, and again on the CPU after a
network failed (after how many failures: render_loop.py). What the faces of one process share:
up.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from realtalk_ros import cpu_provider, onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face import Face
from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.background_loader import BackgroundLoader
from realtalk_ros.nodes.problems import Problems
from realtalk_ros.rendering.batching import BatchingRenderer
from realtalk_ros.rendering.face_renderer import FaceRenderer, Renderer


@dataclass(frozen=True)
class RendererSettings:
    """What images are made of: values of parameters; the size as the quality has it."""

    avatar: str
    size: int
    device: str
    model_dir: str
    threads: int  # of the network


_Loaded = tuple[RendererSettings, Renderer]


class FaceLoader:
    """The face that is shown, and what it was loaded with. Other settings are loaded in a thread
    beside it, and taken over between two frames."""

    def __init__(
        self,
        wanted: Callable[[], RendererSettings],
        problems: Problems,
        batch: tuple[BatchingRenderer, int] | None = None,
    ) -> None:
        """`wanted` gives the settings of now. `batch`: the faces of this process that are rendered
        together, and the index of this one."""
        self.face: Face | None = None
        self.settings: RendererSettings | None = None  # of the face that is shown
        self.checksums: dict[str, str] = {}  # of its network files
        self.fallback_device = ""  # instead of the wanted one, after a network failed on that
        self._settings, self._batch = wanted, batch
        self._background: BackgroundLoader[RendererSettings, _Loaded] = BackgroundLoader(
            self._load, problems
        )

    @property
    def wanted(self) -> RendererSettings:
        settings = self._settings()
        return replace(settings, device=self.fallback_device or settings.device)

    @property
    def loading(self) -> str:
        """What is being loaded in the thread, for the diagnostics; else empty."""
        return self._background.loading

    @property
    def provider(self) -> str:
        """What of ONNX Runtime runs the generator; empty before a face is loaded."""
        return "" if self.face is None else self.face.renderer.provider

    def setup(self, seed: int) -> float:
        """Loads the first face. Returns how long it takes to render a frame, s. Raises
        RealTalkError."""
        self.fallback_device = ""
        settings = self.wanted
        renderer, seconds = self._open(settings)
        self.face = Face(renderer, seed)
        self._use(settings, renderer)
        return seconds

    def request(self, name: str) -> None:
        """Loads the wanted settings if they are others than those that are shown. `name`: what
        changes, for the diagnostics."""
        wanted = self.wanted
        if self.settings is not None and (self.loading or wanted != self.settings):
            self._background.request(wanted, name)

    def take(self) -> bool:
        """Shows from now on what was loaded; True if there was something."""
        loaded = self._background.take()
        if loaded is not None:
            self._use(*loaded)
        return loaded is not None

    def take_failure(self) -> bool:
        """Whether something did not load, once, when nothing loads any more."""
        return self._background.take_failure()

    def fall_back(self) -> None:
        """The networks fail: loads them again, on the CPU."""
        onnx_session.forget_sessions()  # they are broken: new ones are opened
        cpu_provider.avoid_openvino()
        self.fallback_device = "cpu"
        if self.settings is not None:
            self.settings = replace(self.settings, device="")
        self._background.request(self.wanted, "the networks again, on the CPU")

    def cancel(self) -> None:
        """Drops what is loading. Waits until that has ended."""
        self._background.cancel()

    def clear(self) -> None:
        """Releases the face."""
        self.cancel()
        self.face = self.settings = None

    def _use(self, settings: RendererSettings, renderer: Renderer) -> None:
        assert self.face is not None
        self.face.renderer = renderer
        self.settings = settings
        self.checksums = onnx_session.fingerprints(settings.model_dir, "renderer")

    def _load(self, settings: RendererSettings) -> _Loaded:
        """In the loader's thread."""
        shown, face = self.settings, self.face
        if shown is None or face is None:
            raise RealTalkError("the node was cleaned up")
        renderer: Renderer
        if replace(shown, size=settings.size) == settings:
            renderer = face.renderer.resized(settings.size)
        else:
            # Encoding on one thread leaves the other core to what is shown and played meanwhile. (A
            # lower priority does harm: a thread that waits for a core while it holds Python's lock
            # stops all others.) After a network has failed nothing is shown, so all threads help.
            threads = None if self.fallback_device else 1
            renderer, _ = self._open(settings, encoder_threads=threads)
        if face.background is not None:
            renderer.cut_out()
        return settings, renderer

    def _open(
        self, settings: RendererSettings, encoder_threads: int | None = None
    ) -> tuple[Renderer, float]:
        """A renderer, and how long it takes to render a frame, s. Raises RealTalkError."""
        providers = onnx_session.providers_for(settings.device)
        model_dir = Path(settings.model_dir) if settings.model_dir else None
        batching, index = self._batch or (None, 0)
        threads = settings.threads + 1  # one is the renderer's helper, which runs no network
        renderer: Renderer
        if batching is not None and settings.avatar == batching.avatars[index]:
            renderer = batching.face(index, settings.size, providers, threads, model_dir)
        else:
            renderer = FaceRenderer(
                Avatar.load(settings.avatar),
                settings.size,
                providers,
                threads=threads,
                model_dir=model_dir,
                encoder_threads=encoder_threads,
            )
        neutral = np.zeros(52, np.float32)
        renderer.render(neutral, 0)  # the first run is slower than the others
        began = time.perf_counter()
        renderer.render(neutral, 0)
        return renderer, time.perf_counter() - began
