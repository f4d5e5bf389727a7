# SPDX-License-Identifier: Apache-2.0
"""The face on a web page: pictures and sound with their times through one WebSocket a page.

Knows no ROS. The server (web_server.py) runs in a thread of its own; the methods here may be called
from other threads and never wait. A page that reads too slowly loses pictures first, then sound,
and is disconnected when it reads nothing for 5 s; it connects again by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output.web_messages import FORGET, JPEG, SOUND, PageAudio, binary_message

if TYPE_CHECKING:
    from realtalk_ros.output.web_server import PageServer

WEB = Path(__file__).parents[1] / "web"
FILES = {  # all that is served, and nothing else
    "/": ("page.html", "text/html"),
    "/operator": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}


class Display:
    """Serves the page. `start` raises RealTalkError where it cannot.

    Called in the server's thread: `on_command(name, value)` for what an operator asks
    (("say", text), ("interrupt", True) or ("avatar", name)); `on_clients(count)` when pages come or
    go; `on_problem(text)` for what somebody should know, again and again: the same text a kind.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        buffer: float = 0.1,
        operators: str = "local",
        names: Iterable[str] = (),
        on_command: Callable[[str, Any], None] = lambda *_: None,
        on_clients: Callable[[int], None] = lambda _: None,
        on_problem: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`buffer`: s that pages hold sound and pictures back, to even out the network;
        `operators`: who may use /operator's commands: "local" (this machine), "all" or "none";
        `names`: host names, besides this machine's own, under which pages may ask for it."""
        self.host, self.port, self.buffer = host, port, buffer
        self.operators, self.names = operators, tuple(names)
        self.on_command, self.on_clients, self.on_problem = on_command, on_clients, on_problem
        kinds = ("pages", "refused", "malformed", "limited", "dropped", "stuck", "sent")
        self.counts = dict.fromkeys(kinds, 0)
        self.state: dict[str, Any] = {}  # what pages show beside the face
        self._audio = PageAudio()
        self._server: PageServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Host and port, as a browser takes them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def away(self) -> bool:
        """Whether pages are open and no pictures come."""
        return self._server is not None and self._server.away

    def start(self) -> None:
        """Returns once pages can be asked for; `port` is then the real one (0: any)."""
        try:
            from realtalk_ros.output.web_server import PageServer
        except ImportError as error:
            raise RealTalkError(
                "the display needs aiohttp, which is not installed: "
                f"{install_hints.how_to_install('aiohttp')}"
            ) from error
        try:
            files = {
                path: ((WEB / name).read_text("utf-8"), content_type)
                for path, (name, content_type) in FILES.items()
            }
            loop = asyncio.new_event_loop()
        except OSError as error:
            raise RealTalkError(f"cannot serve the page: {error}") from error
        server = PageServer(self, files)
        started = threading.Event()
        failures: list[Exception] = []

        def serve() -> None:
            asyncio.set_event_loop(loop)
            try:
                self.port = loop.run_until_complete(server.open(self.host, self.port))
            except Exception as error:
                failures.append(error)
                loop.close()
                return
            finally:
                started.set()
            loop.run_forever()
            loop.run_until_complete(server.close())
            loop.close()

        self._server, self._loop = server, loop
        self._thread = threading.Thread(target=serve, name="display", daemon=True)
        self._thread.start()
        started.wait()
        for failure in failures:
            code = getattr(failure, "errno", None)  # asyncio adds the address to the text
            reason = os.strerror(code) if code and code > 0 else failure
            raise RealTalkError(
                f"cannot serve on {self.address} ({reason}): choose another host or port"
            )

    def stop(self) -> None:
        """Ends all connections and the thread."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        self._thread = None

    def show(self, time: float, jpeg: bytes) -> None:
        """A picture (JPEG) that is seen at media time `time` [s]."""
        self._send(binary_message(JPEG, time, jpeg), picture=True)

    def play(self, time: float, rate: int, pcm: np.ndarray) -> None:
        """(n,) float32 mono that is heard from media time `time` [s] on. Call from one thread."""
        if len(pcm):
            for at, samples in self._audio.push(time, rate, pcm):
                self._send(binary_message(SOUND, at, samples))

    def flush(self) -> None:
        """Sends the rest of the sound: none follows for now."""
        for at, samples in self._audio.flush():
            self._send(binary_message(SOUND, at, samples))

    def clear(self) -> None:
        """An interrupt: pages drop the sound that was not played yet."""
        self._audio.flush()
        self._send(binary_message(FORGET, 0.0))

    def update(self, **state: Any) -> None:
        """What pages show beside the face (avatars, avatar, notice ...), kept for new ones."""
        self.state.update(state)
        if self._server is not None:
            self._send(self._server.state_message())

    def _send(self, data: bytes | str, picture: bool = False) -> None:
        if self._server is not None and self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed in between
                self._loop.call_soon_threadsafe(self._server.send, data, picture)
