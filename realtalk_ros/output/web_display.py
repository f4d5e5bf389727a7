"""The face on a web page: pictures and sound with their times through one WebSocket a client.

Knows no ROS. `Display` runs in a thread of its own; `show`, `hear`, `end`, `forget` and `tell` may
be called from other threads and never wait. A client that reads too slowly loses pictures first,
then sound, and is disconnected when nothing gets through to it for 5 s; it comes back by itself.

Binary messages to the page, little-endian: uint8 kind (1: JPEG, 2: 48 kHz mono s16 samples, 3:
forget what was not yet heard), 7 bytes of padding, float64 media time [s], payload. Text messages
are JSON: `state`, `refused` (an order, with the reason) and `beat` (nothing else was to be sent for
0.5 s) to the page; `say`, `interrupt` and `avatar` from an operator's.

Whoever can reach the port may send anything: nothing of it is logged more than once a kind, and
nothing of it disturbs other pages. A connection has 10 s to become a page.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import logging
import re
import resource
import socket
import struct
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.audio.resampler import Resampler
from realtalk_ros.errors import RealTalkError

try:
    from aiohttp import WSCloseCode, WSMsgType, web
    from aiohttp.http import HttpProcessingError
except ImportError:  # Display says what to install
    web = None

RATE = 48000  # Hz, of the sound sent to pages
FILES = {  # all that is served, and nothing else
    "/": ("page.html", "text/html"),
    "/operator": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
SOCKET, OPERATOR_SOCKET = "/ws", "/operator/ws"
PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Real-IP")  # headers of proxies
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
PICTURES = 3  # that wait for a client
SOUNDS = 150  # chunks that wait for a client: 3 s
STUCK = 5.0  # s after which a client that reads nothing is disconnected
PATIENCE = 10.0  # s that a connection has to become a page, or to be done
HEARTBEAT = 5.0  # s between pings; a page that does not answer within half of it is gone
BEAT = 0.5  # s after which a page is told that it is still connected
AWAY = 1.5  # s without a picture after which the face is away
GOODBYE = 2.0  # s in which a connection ends that is told to
MAX_CLIENTS = 32  # pages, and beside them
MAX_OPERATORS = 8  # operators' pages
MAX_WAITING = 256  # connections that are not (yet) pages
MAX_TEXT = 4000  # characters an operator may have said at once
MAX_MESSAGE = 65536  # bytes, which is a text of that length in JSON's longest form
# What is taken at once, and a second from then on.
ORDERS = (10, 2.0)  # of a page, interrupts left aside: they are always taken
ALL_ORDERS = (30, 5.0)  # of all pages together
MESSAGES = (2000, 200.0)  # of any kind, from who may give orders
STRAY_MESSAGES = (20, 1.0)  # from who may not
INTERRUPTS = 0.1  # s within which interrupts are one
REPLACED = 4001  # WebSocket code: another operator's page has this one's place
FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY = 0.25  # s after which a connection is waited for again, where there was no room for it
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
        self._resampler: Resampler | None = None

    def push(self, time: float, rate: int, pcm: np.ndarray) -> list[tuple[float, bytes]]:
        """(n,) float32 mono heard from `time` on -> [(time, s16 bytes)]."""
        out = []
        if self._resampler is None or rate != self._rate or abs(time - self._end) > JOINT:
            out += self.flush()
            self._rate, self._start, self._end, self._sent = rate, time, time, 0
            self._resampler = Resampler(rate, RATE)
        self._end += len(pcm) / rate
        return out + self._take(self._resampler.push(pcm))

    def flush(self) -> list[tuple[float, bytes]]:
        """The rest of the stretch."""
        resampler, self._resampler = self._resampler, None
        return self._take(resampler.flush()) if resampler is not None else []

    def _take(self, pcm: np.ndarray) -> list[tuple[float, bytes]]:
        if not len(pcm):
            return []
        time = self._start + self._sent / RATE
        self._sent += len(pcm)
        return [(time, (np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())]


class Allowance:
    """So many at once, and so many a second from then on."""

    def __init__(self, most: float, rate: float) -> None:
        self._most, self._rate = most, rate
        self._left, self._at = most, time.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Client:
    """One page, and what waits for it. Newer pictures take the place of older ones."""

    def __init__(
        self, connection: web.WebSocketResponse, transport: asyncio.Transport, allowed: bool,
        operator: bool,
    ) -> None:  # fmt: skip
        """`allowed`: whether its orders are taken; `operator`: whether it has an operator's
        place."""
        self.connection, self.transport = connection, transport
        self.allowed, self.operator = allowed, operator
        self.active = time.monotonic()  # when it came, or gave an order
        self.told = self.active  # when something was last put here
        self.writer: asyncio.Task | None = None
        self.goodbye: asyncio.Task | None = None  # what closes it, if another page had it closed
        self.orders = Allowance(*ORDERS)
        self.messages = Allowance(*(MESSAGES if allowed else STRAY_MESSAGES))
        self.pictures: deque[bytes] = deque(maxlen=PICTURES)
        self.others: deque[bytes | str] = deque()
        self.wake = asyncio.Event()
        self.dropped = 0

    def put(self, data: bytes | str, picture: bool = False) -> None:
        if picture:
            self.dropped += len(self.pictures) == PICTURES
            self.pictures.append(data)
        else:
            if len(self.others) >= SOUNDS:
                self.others.popleft()
                self.dropped += 1
            self.others.append(data)
        self.told = time.monotonic()
        self.wake.set()

    def take(self) -> bytes | str | None:
        """Sound first: a gap in it is worse than a missing picture."""
        for queue in (self.others, self.pictures):
            if queue:
                return queue.popleft()
        return None


class Log(logging.Handler):
    """What aiohttp logs, as problems. Requests that cannot be read are not worth a traceback."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            self._display.malformed()
        elif error is not None:
            self._display.failed(record.getMessage(), error)
        else:
            self._display.on_problem(record.getMessage())


class Display:
    """Serves the page. `start` raises RealTalkError where it cannot.

    Called in the server's thread: `on_order(name, value)` for what an operator asks, ("say", text),
    ("interrupt", True) or ("avatar", name); `on_clients(count)` when pages come or go;
    `on_problem(text)` for what somebody should know, again and again: the same text a kind.
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
        on_problem: Callable[[str], None] = lambda text: None,
    ):
        """`buffer`: s that pages hold sound and pictures back, to even out the network;
        `operators`: who may use /operator's orders: "local" (this machine), "all" or "none";
        `names`: host names, besides this machine's own, under which pages may ask for it."""
        self.host, self.port, self.buffer, self.operators = host, port, buffer, operators
        self.names = {"localhost", socket.gethostname().lower(), *(n.lower() for n in names)}
        self.on_order, self.on_clients, self.on_problem = on_order, on_clients, on_problem
        self.counts = {
            "pages": 0, "refused": 0, "malformed": 0, "limited": 0, "dropped": 0, "stuck": 0,
            "sent": 0,
        }  # fmt: skip
        self.away = False  # whether pages wait for pictures
        self._pictured = 0.0  # when the last one came
        self._state: dict[str, Any] = {}
        self._sampler = Sampler()
        self._clients: set[Client] = set()
        self._orders = Allowance(*ALL_ORDERS)
        self._interrupted = -1.0  # when an interrupt was passed on
        self._interrupt: asyncio.TimerHandle | None = None  # the next one
        # Connections that are not (yet) pages, the oldest first, and what ends them.
        self._waiting: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # Life

    def start(self) -> None:
        """Returns once pages can be asked for; `port` is then the real one (0: any)."""
        if web is None:
            raise RealTalkError(
                "the display needs aiohttp, which is not installed: "
                f"{install_hints.how_to_install('aiohttp')}"
            )
        folder = Path(__file__).parents[1] / "web"
        started = threading.Event()
        failure: list[Exception] = []
        try:
            self._files = {path: (folder / name).read_text("utf-8")
                           for path, (name, _) in FILES.items()}  # fmt: skip
            self._loop = asyncio.new_event_loop()
        except OSError as error:
            raise RealTalkError(f"cannot serve the page: {error}") from error

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            try:
                runner, listeners = self._loop.run_until_complete(self._open())
            except Exception as error:
                failure.append(error)
                self._loop.close()
                return
            finally:
                started.set()
            self._loop.run_forever()
            for listener in listeners:
                listener.close()
            self._loop.run_until_complete(self._close(runner))
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

    async def _open(self) -> tuple[web.AppRunner, list[socket.socket]]:
        self._loop.set_exception_handler(self._unhandled)
        logger = logging.Logger("display")
        logger.addHandler(Log(self))
        app = web.Application()
        for path in FILES:
            app.router.add_get(path, self._file)
        for path in (SOCKET, OPERATOR_SOCKET):
            app.router.add_get(path, self._socket)
        runner = web.AppRunner(app, access_log=None, logger=logger)
        await runner.setup()
        try:
            listeners = await self._listen()
        except BaseException:
            await runner.cleanup()
            raise
        self.port = listeners[0].getsockname()[1]
        for listener in listeners:
            self._run(self._accept(listener, runner.server))
        self._run(self._look())
        return runner, listeners

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        if isinstance(error, ValueError) and any("aiohttp" in f.filename for f in frames):
            self.malformed()  # an address that aiohttp before 3.10 takes for a fault of its own
        else:
            self.failed(context["message"], error)

    async def _listen(self) -> list[socket.socket]:
        """Sockets on every address that the host's name stands for."""
        found = await self._loop.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listeners: list[socket.socket] = []
        errors = []
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                listener = socket.create_server(address, family=family, backlog=512)
                listener.setblocking(False)
                listeners.append(listener)
            except OSError as error:
                errors.append(error)
        # localhost stands for ::1 even where there is no IPv6.
        serious = [e for e in errors if e.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)]
        if serious or not listeners:
            for listener in listeners:
                listener.close()
            raise (serious or errors)[0]
        return listeners

    async def _close(self, runner: web.AppRunner) -> None:
        for client in self._clients:
            client.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.server.shutdown(0.5)
        await runner.cleanup()

    def _run(self, coroutine: Any) -> asyncio.Task:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Connections

    async def _accept(self, listener: socket.socket, server: web.Server) -> None:
        """Lets connections in. (asyncio's own way to do so writes hundreds of tracebacks a second
        when there is no file descriptor for one more.)"""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(1, min(MAX_WAITING, limit // 4))  # ROS, too, needs some
        while True:
            try:
                connection, _ = await self._loop.sock_accept(listener)
            except OSError as error:
                if error.errno in FULL:
                    self.on_problem("no file descriptor is left for one more connection: close "
                                    "pages, or raise the limit (ulimit -n)")  # fmt: skip
                    self._make_room(0)
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(RETRY)
                continue
            self._make_room(most - 1)
            try:
                transport, _ = await self._loop.connect_accepted_socket(server, connection)
                self._give(transport, PATIENCE)
            except Exception as error:  # the next one may fare better
                self.failed("a connection was not let in", error)
                connection.close()

    def _give(self, transport: asyncio.Transport, patience: float) -> None:
        """A connection that is no page has so many seconds."""
        self._waiting[transport] = self._loop.call_later(patience, self._end, transport)

    def _make_room(self, most: int) -> None:
        """Ends the oldest of the connections that are not pages until there are at most so many;
        those from this machine last."""
        if len(self._waiting) <= most:
            return
        for transport in [t for t in self._waiting if t.is_closing()]:
            self._end(transport)
        ours = {t: _is_loopback(_address(t)) for t in self._waiting}
        for transport in sorted(ours, key=ours.get)[: max(0, len(ours) - most)]:
            self._end(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        self._waiting.pop(transport).cancel()
        if transport.get_write_buffer_size():
            transport.abort()  # who does not read would not let it close
        else:
            transport.close()

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
        """What pages show beside the face (avatars, avatar, notice ...), kept for new ones."""
        self._state.update(state)
        self._post(self._greeting(), False)

    def _greeting(self, **more: Any) -> str:
        return json.dumps({"type": "state", "buffer": self.buffer, "away": self.away,
                           **self._state, **more})  # fmt: skip

    def _post(self, data: bytes | str, picture: bool) -> None:
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._spread, data, picture)
            except RuntimeError:  # closed in between
                pass

    def _spread(self, data: bytes | str, picture: bool) -> None:
        if picture:
            self._pictured = time.monotonic()
        for client in self._clients:
            client.put(data, picture)

    async def _look(self) -> None:
        """Tells pages when pictures end or come again, and that they are still connected."""
        beat = json.dumps({"type": "beat"})
        while True:
            await asyncio.sleep(AWAY / 10)
            now = time.monotonic()
            away = bool(self._clients) and now - self._pictured > AWAY
            if away != self.away:
                self.away = away
                self._spread(self._greeting(), False)
            for client in self._clients:
                if now - client.told > BEAT:
                    client.put(beat)

    # Requests

    async def _file(self, request: web.Request) -> web.Response:
        self._check_host(request)
        _, kind = FILES[request.path]
        return web.Response(text=self._files[request.path], content_type=kind, headers=HEADERS)

    def _check_host(self, request: web.Request) -> str:
        """The Host header, if it names this machine. Any address does; a foreign name that leads
        here does not (a page elsewhere could have pointed its own name to us: DNS rebinding)."""
        hosts = request.headers.getall("Host", [])
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            raise self.malformed("there is one Host header, a name or an address")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            if not {name, name.removesuffix(".local")} & self.names:
                self.on_problem(f"a page was asked for under the name '{name}', which is not this "
                                "machine's: if it is, add it to host_names")  # fmt: skip
                raise self._refused(f"host {name}") from None
        return hosts[0]

    def _check_origin(self, request: web.Request, host: str) -> None:
        origins = request.headers.getall("Origin", [])
        origin = origins[0] if origins else "null"
        address = origin.partition("://")[2]
        if len(origins) > 1 or (origin != "null" and host_name(address) is None):
            raise self.malformed("there is one Origin header, an address")
        if address != host:
            self.on_problem("a page of another origin was refused")
            raise self._refused(f"origin {origin}")

    def _refused(self, what: str) -> web.HTTPException:
        self.counts["refused"] += 1
        return _closing(web.HTTPForbidden(text=f"realtalk_ros: {what} is not allowed here\n"))

    def malformed(self, why: str = "") -> web.HTTPException:
        self.counts["malformed"] += 1
        self.on_problem("a malformed request was answered with 400 (Bad Request)")
        return _closing(web.HTTPBadRequest(text=f"realtalk_ros: {why}\n"))

    def failed(self, what: str, error: BaseException | None) -> None:
        """An error of ours, not of who asks."""
        lines = traceback.format_exception(error) if error is not None else []
        self.on_problem("\n".join([f"{what}: {error!r}", "".join(lines).rstrip()]).rstrip())

    # Pages

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request, self._check_host(request))
        if "Sec-WebSocket-Protocol" in request.headers:  # aiohttp would log what it says
            raise self.malformed("no subprotocol is spoken here")
        socket_ = web.WebSocketResponse(
            timeout=GOODBYE, heartbeat=HEARTBEAT, max_msg_size=MAX_MESSAGE, compress=False
        )
        try:
            await socket_.prepare(request)
        except (ValueError, web.HTTPBadRequest):
            raise self.malformed("a page's WebSocket is asked for here") from None
        transport = request.transport
        if transport is None:  # gone already
            return socket_
        allowed = self._may_order(request)
        operator = allowed and request.path == OPERATOR_SOCKET
        client = Client(socket_, transport, allowed, operator)
        if why := self._make_place(client):
            await self._dismiss(client, WSCloseCode.TRY_AGAIN_LATER, why)
            return socket_
        if transport in self._waiting:
            self._waiting.pop(transport).cancel()
        if not self._clients:
            self._pictured = time.monotonic()  # pictures are sent from now on
        client.put(self._greeting(orders=allowed))
        self._clients.add(client)
        self.counts["pages"] += 1
        self.on_clients(len(self._clients))
        client.writer = self._run(self._write(client))
        try:
            async for received in socket_:
                if not client.messages.take():
                    self.on_problem("a page that sent too many messages was closed")
                    why = "this page sent too many messages"
                    await self._dismiss(client, WSCloseCode.POLICY_VIOLATION, why)
                    break
                why = "an order is text"
                if received.type == WSMsgType.TEXT:
                    why = self._order(client, received.data)
                if why:
                    client.put(json.dumps({"type": "refused", "reason": why}))
            if client.goodbye is not None:  # with its own code, which must come first
                await asyncio.wait([client.goodbye])
        finally:
            client.writer.cancel()
            self._clients.discard(client)
            self.counts["dropped"] += client.dropped
            self.on_clients(len(self._clients))
            self._give(transport, GOODBYE)  # what is still to be sent may never be read
        return socket_

    def _may_order(self, request: web.Request) -> bool:
        # What a proxy on this machine passes on comes from anywhere.
        passed_on = any(name in request.headers for name in PASSED_ON)
        local = _is_loopback(request.remote) and not passed_on
        return self.operators == "all" or (self.operators == "local" and local)

    def _make_place(self, client: Client) -> str:
        """Returns why there is none, else an empty string. Among operators the one that was silent
        for the longest time gives way: there may be one who wants to interrupt."""
        others = [c for c in self._clients if c.operator == client.operator]
        if not client.operator and len(others) >= MAX_CLIENTS:
            self.on_problem(f"more than {MAX_CLIENTS} pages want to watch")
            return f"{MAX_CLIENTS} pages are open already: close one"
        if client.operator and len(others) >= MAX_OPERATORS:
            silent = min(others, key=lambda other: other.active)
            self._clients.discard(silent)
            why = f"another operator's page has this one's place (there are {MAX_OPERATORS})"
            silent.goodbye = self._run(self._dismiss(silent, REPLACED, why))
        return ""

    async def _dismiss(self, client: Client, code: int, why: str) -> None:
        """Closes a page's connection; `why`: at most 123 bytes, which it shows."""
        if client.writer is not None:
            client.writer.cancel()
        try:
            closing = client.connection.close(code=code, message=why.encode())
            await asyncio.wait_for(closing, GOODBYE)
        except (asyncio.TimeoutError, ConnectionError):
            client.transport.abort()

    async def _write(self, client: Client) -> None:
        connection = client.connection
        try:
            while True:
                data = client.take()
                if data is None:
                    client.wake.clear()
                    await client.wake.wait()
                    continue
                send = connection.send_str if isinstance(data, str) else connection.send_bytes
                await asyncio.wait_for(send(data), STUCK)
                self.counts["sent"] += 1
        except (asyncio.TimeoutError, ConnectionError) as error:
            self.counts["stuck"] += isinstance(error, asyncio.TimeoutError)
        except Exception as error:
            self.failed("a page could not be written to", error)
        client.transport.abort()

    # Orders

    def _order(self, client: Client, text: str) -> str:
        """Passes an operator's order on. Returns why not, else an empty string."""
        if not client.allowed:
            return "orders are not allowed here"
        try:
            order = json.loads(text)
            ((name, value),) = order.items()
        except (ValueError, AttributeError, RecursionError):
            return "an order is a JSON object with one entry"
        if name == "interrupt" and value is True:
            client.active = time.monotonic()
            self._ask_interrupt()
            return ""
        if name == "say" and isinstance(value, str):
            if not 0 < len(value.strip()) <= MAX_TEXT:
                return f"a text has 1 to {MAX_TEXT} characters"
            if re.search("[\0\ud800-\udfff]", value):
                return "a text has no character 0 and no half of a pair"
        elif name != "avatar" or value not in self._state.get("avatars", ()):
            return "an order is say, interrupt or the avatar, which must be one of the list"
        if not (client.orders.take() and self._orders.take()):
            self.counts["limited"] += 1
            self.on_problem("orders come faster than they are taken: some were left out")
            return "too many orders: this one was left out, wait a second (interrupts are taken)"
        client.active = time.monotonic()
        self._pass_interrupt()  # what is asked after an interrupt is not for it
        self.on_order(name, value)
        return ""

    def _ask_interrupt(self) -> None:
        """Passes an interrupt on, however many there are; those that come together are one."""
        if self._interrupt is None:
            wait = self._interrupted + INTERRUPTS - time.monotonic()
            self._interrupt = self._loop.call_later(max(0.0, wait), self._pass_interrupt)
            if wait <= 0:
                self._pass_interrupt()

    def _pass_interrupt(self) -> None:
        if self._interrupt is not None:
            self._interrupt.cancel()
            self._interrupt = None
            self._interrupted = time.monotonic()
            self.on_order("interrupt", True)


def _closing(answer: web.HTTPException) -> web.HTTPException:
    answer.force_close()
    return answer


def host_name(header: str) -> str | None:
    """The name or address in a Host header; None where there is none."""
    if not HOST.fullmatch(header):
        return None
    try:
        parts = urlsplit(f"//{header}")
        return parts.hostname if parts.port != 0 else None
    except ValueError:  # an address or a port that cannot be
        return None


def _address(transport: asyncio.Transport) -> str:
    return (transport.get_extra_info("peername") or ("",))[0]


def _is_loopback(address: str | None) -> bool:
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
