"""The face on a web page: pictures and sound with their times through one WebSocket a client.

Knows no ROS. `Display` runs in a thread of its own; `show`, `hear`, `end`, `forget` and `tell` may
be called from other threads and never wait. A client that reads too slowly loses pictures first,
then sound, and is disconnected when nothing gets through to it for 5 s; it comes back by itself.

Binary messages to the page, little-endian: uint8 kind (1: JPEG, 2: 48 kHz mono s16 samples, 3:
forget what was not yet heard), 7 bytes of padding, float64 media time [s], payload. Text messages
are JSON: `state` to the page; `say`, `interrupt` and `avatar` from an operator's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from realtalk_ros.errors import RealTalkError

try:
    from aiohttp import WSMsgType, web
except ImportError:  # Display says what to install
    web = None

RATE = 48000  # Hz, of the sound sent to pages
FILES = {  # all that is served, and nothing else
    "/": ("page.html", "text/html"),
    "/operator": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
PICTURES = 3  # that wait for a client
SOUNDS = 150  # chunks that wait for a client: 3 s
STUCK = 5.0  # s after which a client that reads nothing is disconnected
MAX_CLIENTS = 32
MAX_TEXT = 4000  # characters an operator may have said at once
JOINT = 0.01  # s, sound this near to the end of what was before goes on without a seam
JPEG, SOUND, FORGET = 1, 2, 3


def message(kind: int, time: float, payload: bytes = b"") -> bytes:
    return struct.pack("<B7xd", kind, time) + payload


class Sampler:
    """Sound of any rate -> 48 kHz, without seams inside a stretch; times by sample count."""

    def __init__(self) -> None:
        self._rate = 0
        self._end = 0.0  # media time at which the input so far ends
        self._start, self._sent = 0.0, 0  # of the stretch; samples that came out of it
        self._swr: av.AudioResampler | None = None

    def push(self, time: float, rate: int, pcm: np.ndarray) -> list[tuple[float, bytes]]:
        """(n,) float32 mono heard from `time` on -> [(time, s16 bytes)]."""
        out = []
        if self._swr is None or rate != self._rate or abs(time - self._end) > JOINT:
            out += self.flush()
            self._rate, self._start, self._end, self._sent = rate, time, time, 0
            self._swr = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm, np.float32)[None], format="flt", layout="mono"
        )
        frame.sample_rate = rate
        self._end += len(pcm) / rate
        return out + self._take(self._swr.resample(frame))

    def flush(self) -> list[tuple[float, bytes]]:
        """The rest of the stretch."""
        swr, self._swr = self._swr, None
        return self._take(swr.resample(None)) if swr is not None else []

    def _take(self, frames: list[av.AudioFrame]) -> list[tuple[float, bytes]]:
        out = []
        for frame in frames:
            samples = frame.to_ndarray()[0]
            if len(samples):
                out.append((self._start + self._sent / RATE, samples.astype("<i2").tobytes()))
                self._sent += len(samples)
        return out


class Client:
    """What waits for one page. Newer pictures take the place of older ones."""

    def __init__(self) -> None:
        self.pictures: deque[bytes] = deque(maxlen=PICTURES)
        self.others: deque[bytes | str] = deque()
        self.wake = asyncio.Event()
        self.dropped = 0

    def put(self, data: bytes | str, picture: bool) -> None:
        if picture:
            self.dropped += len(self.pictures) == PICTURES
            self.pictures.append(data)
        else:
            if len(self.others) >= SOUNDS:
                self.others.popleft()
                self.dropped += 1
            self.others.append(data)
        self.wake.set()

    def take(self) -> bytes | str | None:
        """Sound first: a gap in it is worse than a missing picture."""
        for queue in (self.others, self.pictures):
            if queue:
                return queue.popleft()
        return None


class Display:
    """Serves the page. `start` raises RealTalkError where it cannot.

    `on_order(name, value)` is called, in the server's thread, for what an operator asks:
    ("say", text), ("interrupt", True), ("avatar", name). `on_clients(count)` when pages come or go.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        buffer: float = 0.1,
        operators: str = "local",
        names: Iterable[str] = (),
        on_order: Callable[[str, Any], None] = lambda name, value: None,
        on_clients: Callable[[int], None] = lambda count: None,
    ):
        """`buffer`: s that pages hold sound and pictures back, to even out the network;
        `operators`: who may use /operator's orders: "local" (this machine), "all" or "none";
        `names`: host names, besides this machine's own, under which pages may ask for it."""
        self.host, self.port, self.buffer, self.operators = host, port, buffer, operators
        self.names = {"localhost", socket.gethostname().lower(), *(n.lower() for n in names)}
        self.on_order, self.on_clients = on_order, on_clients
        self.counts = {"pages": 0, "refused": 0, "dropped": 0, "stuck": 0, "sent": 0}
        self._state: dict[str, Any] = {}
        self._sampler = Sampler()
        self._clients: set[Client] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # Life

    def start(self) -> None:
        """Returns once pages can be asked for; `port` is then the real one (0: any)."""
        if web is None:
            raise RealTalkError(
                "the display needs aiohttp, which is not installed: pip install "
                "'realtalk_ros[display]', or apt install python3-aiohttp"
            )
        started = threading.Event()
        failure: list[Exception] = []
        self._loop = asyncio.new_event_loop()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            try:
                runner = self._loop.run_until_complete(self._open())
            except OSError as error:
                failure.append(error)
                return
            finally:
                started.set()
            self._loop.run_forever()
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

        self._thread = threading.Thread(target=serve, name="display", daemon=True)
        self._thread.start()
        started.wait()
        if failure:
            reason = getattr(failure[0], "strerror", None) or failure[0]
            raise RealTalkError(
                f"cannot serve on {self.host}:{self.port} ({reason}): choose another host or port"
            )

    def stop(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        self._thread = None

    async def _open(self) -> web.AppRunner:
        app = web.Application()
        for path in FILES:
            app.router.add_get(path, self._file)
        app.router.add_get("/ws", self._socket)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return runner

    # From the face to pages; any thread

    def show(self, time: float, jpeg: bytes) -> None:
        """A picture (JPEG) that is seen at media time `time`, s."""
        self._post(message(JPEG, time, jpeg), True)

    def hear(self, time: float, rate: int, pcm: np.ndarray) -> None:
        """(n,) float32 mono that is heard from `time` on. Call from one thread."""
        if len(pcm):
            for at, samples in self._sampler.push(time, rate, pcm):
                self._post(message(SOUND, at, samples), False)

    def end(self) -> None:
        """No sound follows for now."""
        for at, samples in self._sampler.flush():
            self._post(message(SOUND, at, samples), False)

    def forget(self) -> None:
        """An interrupt: what was not yet heard is dropped."""
        self._sampler.flush()
        self._post(message(FORGET, 0.0), False)

    def tell(self, **state: Any) -> None:
        """What pages show beside the face (avatars, avatar, error ...), kept for new ones."""
        self._state.update(state)
        self._post(self._greeting(), False)

    def _greeting(self) -> str:
        return json.dumps({"type": "state", "buffer": self.buffer, **self._state})

    def _post(self, data: bytes | str, picture: bool) -> None:
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._spread, data, picture)
            except RuntimeError:  # closed in between
                pass

    def _spread(self, data: bytes | str, picture: bool) -> None:
        for client in self._clients:
            client.put(data, picture)

    # Requests

    async def _file(self, request: web.Request) -> web.Response:
        if not self._is_named(request.host):
            return self._refuse(f"host {request.host!r}")
        name, kind = FILES[request.path]
        text = (Path(__file__).parent / "web" / name).read_text("utf-8")
        return web.Response(text=text, content_type=kind, headers=HEADERS)

    def _is_named(self, host: str) -> bool:
        """Whether a Host header names this machine. Any address does; a foreign name that leads
        here does not (a page elsewhere could have pointed its own name to us: DNS rebinding)."""
        name = (urlsplit(f"//{host}").hostname or "").lower()
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return name in self.names or name.removesuffix(".local") in self.names

    def _refuse(self, what: str) -> web.Response:
        self.counts["refused"] += 1
        return web.Response(status=403, text=f"realtalk_ros: {what} is not allowed here\n")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        origin = urlsplit(request.headers.get("Origin", ""))
        if not self._is_named(request.host) or origin.netloc != request.host:
            return self._refuse(f"origin {request.headers.get('Origin', '')!r}")
        if len(self._clients) >= MAX_CLIENTS:
            return web.Response(status=503, text=f"{MAX_CLIENTS} pages are open already\n")
        socket_ = web.WebSocketResponse(heartbeat=10, max_msg_size=65536, compress=False)
        await socket_.prepare(request)
        client = Client()
        client.put(self._greeting(), False)
        self._clients.add(client)
        self.counts["pages"] += 1
        self.on_clients(len(self._clients))
        writer = asyncio.create_task(self._write(socket_, client, request))
        try:
            allowed = self.operators == "all" or (
                self.operators == "local" and _is_loopback(request.remote)
            )
            async for received in socket_:
                if received.type == WSMsgType.TEXT:
                    why = self._order(received.data) if allowed else "orders are not allowed here"
                    if why:
                        client.put(json.dumps({"type": "refused", "reason": why}), False)
        finally:
            writer.cancel()
            self._clients.discard(client)
            self.counts["dropped"] += client.dropped
            self.on_clients(len(self._clients))
        return socket_

    async def _write(self, socket_: web.WebSocketResponse, client: Client, request) -> None:
        while True:
            data = client.take()
            if data is None:
                client.wake.clear()
                await client.wake.wait()
                continue
            send = socket_.send_str if isinstance(data, str) else socket_.send_bytes
            try:
                await asyncio.wait_for(send(data), STUCK)
                self.counts["sent"] += 1
            except (asyncio.TimeoutError, ConnectionError) as error:
                self.counts["stuck"] += isinstance(error, asyncio.TimeoutError)
                if request.transport is not None:
                    request.transport.abort()
                return

    def _order(self, text: str) -> str:
        """Passes an operator's order on. Returns why not, else an empty string."""
        try:
            order = json.loads(text)
            ((name, value),) = order.items()
        except (ValueError, AttributeError, RecursionError):
            return "an order is a JSON object with one entry"
        if name == "interrupt" and value is True:
            pass
        elif name == "say" and isinstance(value, str):
            if not 0 < len(value.strip()) <= MAX_TEXT:
                return f"a text has 1 to {MAX_TEXT} characters"
        elif name != "avatar" or value not in self._state.get("avatars", ()):
            return "an order is say, interrupt or the avatar, which must be one of the list"
        self.on_order(name, value)
        return ""


def _is_loopback(address: str | None) -> bool:
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
