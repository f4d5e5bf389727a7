# SPDX-License-Identifier: Apache-2.0
"""Loads faces: the first one, others beside the one that is shown, and again on the CPU after a
network failed (after how many failures: render_loop.py). What the faces of one process share:
commands/up.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from realtalk_ros import cpu_provider, memory, onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face import Face
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.nodes.background_loader import BackgroundLoader
from realtalk_ros.nodes.problems import Problems
from realtalk_ros.rendering.batching import BatchingRenderer
from realtalk_ros.rendering.face_renderer import FaceRenderer


@dataclass(frozen=True)
class RendererSettings:
    """What images are made of: values of parameters; the size as the quality has it."""

    avatar: str
    size: int
    device: str
    model_dir: str
    threads: int  # of the network


@dataclass(frozen=True)
class LoadedRenderer:
    """A renderer, and what it was loaded with."""

    renderer: FaceRenderer
    settings: RendererSettings
    checksums: dict[str, str]  # of its network files
    failures: int  # how often networks had failed when it began to load: since then, its own may


class FaceLoader:
    """The face that is shown, and what it was loaded with. Other settings are loaded in a thread
    beside it, and taken over between two frames.

    The executor, the render thread and the loader's use it: what changes together is changed under
    a lock.
    """

    def __init__(
        self,
        wanted: Callable[[], RendererSettings],
        problems: Problems,
        batch: tuple[BatchingRenderer, int] | None = None,
    ) -> None:
        """`wanted` gives the settings of now. `batch`: the faces of this process that are rendered
        together, and the index of this one."""
        self._wanted, self._batch = wanted, batch
        self._lock = threading.Lock()
        self.face: Face | None = None  # that is shown; None before one is loaded
        self._shown: LoadedRenderer | None = None  # that of the face
        self._failures = 0  # how often networks have failed
        # Whether the CPU is used instead of the wanted device, on which a network failed.
        self.fallen_back = False
        self._background: BackgroundLoader[RendererSettings, LoadedRenderer] = BackgroundLoader(
            self._load, problems
        )

    @property
    def settings(self) -> RendererSettings | None:
        """Of the face that is shown."""
        shown = self._shown
        return None if shown is None else shown.settings

    @property
    def checksums(self) -> dict[str, str]:
        """Of the network files of the face that is shown."""
        shown = self._shown
        return {} if shown is None else shown.checksums

    @property
    def broken(self) -> bool:
        """Whether the networks of the face that is shown have failed, until others are loaded."""
        with self._lock:
            return self._is_broken()

    @property
    def replacing(self) -> bool:
        """Whether the face that is shown is broken while another loads: its failures say nothing
        about that one."""
        return bool(self.loading) and self.broken

    def _is_broken(self) -> bool:
        return self._shown is not None and self._shown.failures != self._failures

    @property
    def wanted(self) -> RendererSettings:
        """The settings of now; after a network failed, on the CPU."""
        settings = self._wanted()
        return replace(settings, device="cpu") if self.fallen_back else settings

    @property
    def loading(self) -> str:
        """What is being loaded in the thread, for the diagnostics; else empty."""
        return self._background.loading

    @property
    def provider(self) -> str:
        """What of ONNX Runtime runs the generator; empty before a face is loaded."""
        face = self.face
        return "" if face is None else face.renderer.provider

    def setup(self, seed: int) -> float:
        """Loads the first face. Returns how long it takes to render a frame, s. Raises
        RealTalkError."""
        self.retry_device()
        settings, failures = self.wanted, self._failures
        renderer, seconds = self._open(settings)
        loaded = self._loaded(renderer, settings, failures)
        with self._lock:
            self.face, self._shown = Face(renderer, seed), loaded
        return seconds

    def retry_device(self) -> None:
        """The wanted device is used next, even if a network failed on it."""
        with self._lock:
            self.fallen_back = False

    def request(self, name: str) -> None:
        """Loads the wanted settings if they are others than those that are shown, or than those
        that will be. `name`: what changes, for the diagnostics."""
        wanted = self.wanted
        with self._lock:
            shown, broken, pending = self._shown, self._is_broken(), self._background.pending
        if shown is not None and (pending or broken or wanted != shown.settings):
            self._background.request(wanted, name)

    def take(self) -> bool:
        """Shows from now on what was loaded; True if there was something."""
        with self._lock:
            loaded = self._background.take()
            if loaded is None:
                return False
            # Not if its networks are those that failed meanwhile.
            used = self.face is not None and loaded.failures == self._failures
            before = self._shown if used else loaded
            if self.face is not None and used:
                self.face.renderer, self._shown = loaded.renderer, loaded
        if before is not None:
            before.renderer.close()
        return used

    def take_failure(self) -> bool:
        """Whether what was wanted last did not load, once."""
        return self._background.take_failure()

    def fall_back(self) -> None:
        """The networks fail: loads them again, on the CPU."""
        onnx_session.forget_sessions()  # they are broken: new ones are opened
        cpu_provider.avoid_openvino()
        with self._lock:
            self.fallen_back, self._failures = True, self._failures + 1
        self._background.request(self.wanted, "the networks again, on the CPU")

    def cancel(self) -> None:
        """Drops what is loading. Waits until that has ended."""
        self._background.cancel()

    def clear(self) -> None:
        """Releases the face."""
        self.cancel()
        with self._lock:
            shown, self.face, self._shown = self._shown, None, None
        if shown is not None:
            shown.renderer.close()

    def _load(self, settings: RendererSettings) -> LoadedRenderer:
        """In the loader's thread."""
        with self._lock:
            face, shown, failures = self.face, self._shown, self._failures
            broken, fallen_back = self._is_broken(), self.fallen_back
        if shown is None or face is None:
            raise RealTalkError("the node was cleaned up")
        if not broken and replace(shown.settings, size=settings.size) == settings:
            renderer = shown.renderer.resized(settings.size)
        else:
            # Encoding on one thread leaves the other core to what is shown and played meanwhile. (A
            # lower priority does harm: a thread that waits for a core while it holds Python's lock
            # stops all others.) After a network has failed nothing is shown, so all threads help.
            renderer, _ = self._open(
                settings,
                encoder_threads=None if fallen_back else 1,
                failed=shown.renderer if broken else None,
            )
        if face.background is not None:
            renderer.cut_out()
        return self._loaded(renderer, settings, failures)

    @staticmethod
    def _loaded(
        renderer: FaceRenderer, settings: RendererSettings, failures: int
    ) -> LoadedRenderer:
        memory.give_back()
        checksums = onnx_session.fingerprints(settings.model_dir, "renderer")
        return LoadedRenderer(renderer, settings, checksums, failures)

    def _open(
        self,
        settings: RendererSettings,
        encoder_threads: int | None = None,
        failed: FaceRenderer | None = None,
    ) -> tuple[FaceRenderer, float]:
        """A renderer, and how long it takes to render a frame, s. `failed`: that which it replaces,
        if the networks of that have failed. Raises RealTalkError."""
        providers = onnx_session.providers_for(settings.device)
        model_dir = Path(settings.model_dir) if settings.model_dir else None
        batching, index = self._batch or (None, 0)
        threads = settings.threads + 1  # one is the renderer's helper, which runs no network
        if batching is not None and settings.avatar == batching.avatars[index]:
            renderer = batching.face(
                index, settings.size, providers, threads, model_dir, failed=failed
            )
        else:
            renderer = FaceRenderer(
                Avatar.load(settings.avatar),
                settings.size,
                providers,
                threads=threads,
                model_dir=model_dir,
                encoder_threads=encoder_threads,
            )
        neutral = arkit.weights()
        renderer.render(neutral, 0)  # the first run is slower than the others
        began = time.perf_counter()
        renderer.render(neutral, 0)
        return renderer, time.perf_counter() - began
