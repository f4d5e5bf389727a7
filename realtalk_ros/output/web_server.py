# SPDX-License-Identifier: Apache-2.0
"""The web display's HTTP and WebSocket server, within its event loop.

Whoever can reach the port may send anything. None of it is logged more than once a kind, and none
of it disturbs other pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
import traceback
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.http import HttpProcessingError

from realtalk_ros.output import web_connections, web_messages
from realtalk_ros.output.web_messages import CommandError, parse_command, refusal
from realtalk_ros.output.web_page_queue import Page, TokenBucket
from realtalk_ros.output.web_security import HERE, RequestGuard, source_of

if TYPE_CHECKING:
    from realtalk_ros.output.web_display import Display

SOCKET, OPERATOR_SOCKET = "/ws", "/operator/ws"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
MAX_CLIENTS = 32  # pages that watch
MAX_OPERATORS = 8  # operators' pages, beside them
ALL_COMMANDS = (30, 5.0)  # of all pages together: at once, and a second from then on
INTERRUPTS = 0.1  # s within which interrupts are one
STUCK = 5.0  # s after which a page that reads nothing is disconnected
HEARTBEAT = 5.0  # s between pings; a page that does not answer within half of it is gone
BEAT = 0.5  # s after which a page is told that it is still connected
AWAY = 1.5  # s without a picture after which the face is away
GOODBYE = 2.0  # s in which a connection that is told to end must do so
# WebSocket codes: there is no place for a page; another operator's page has this one's.
FULL, REPLACED = WSCloseCode.TRY_AGAIN_LATER, 4001


class PageServer:
    """Serves the files of a Display and keeps its pages. All but `__init__` runs in the loop."""

    def __init__(self, display: Display, files: dict[str, tuple[str, str]]) -> None:
        """`files`: path -> (text, content type)."""
        self._display, self._files = display, files
        self.counts = display.counts
        self.pages: set[Page] = set()
        self.away = False  # whether pages wait for pictures
        self._last_picture = 0.0  # when it came
        self._guard = RequestGuard(
            display.operators, display.names, self.counts, display.on_problem
        )
        self._pending = web_connections.PendingConnections(display.on_problem, self.failed)
        self._commands = TokenBucket(*ALL_COMMANDS)
        self._interrupted = -1.0  # when an interrupt was passed on
        self._interrupt: asyncio.TimerHandle | None = None  # passes the next one on
        self._tasks: set[asyncio.Task] = set()
        self._runner: web.AppRunner | None = None
        self._listeners: list[socket.socket] = []

    async def open(self, host: str, port: int) -> int:
        """Starts to serve; returns the port. Raises OSError."""
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        logger = logging.Logger("display")  # noqa: LOG001  # apart from the process's loggers
        logger.addHandler(_LogHandler(self))
        app = web.Application()
        for path in self._files:
            app.router.add_get(path, self._file)
        for path in (SOCKET, OPERATOR_SOCKET):
            app.router.add_get(path, self._socket)
        self._runner = web.AppRunner(app, access_log=None, logger=logger)
        await self._runner.setup()
        try:
            self._listeners = await web_connections.listen(host, port)
        except BaseException:
            await self._runner.cleanup()
            raise
        server = self._runner.server
        assert server is not None  # it was set up
        for listener in self._listeners:
            self._run(self._pending.accept(listener, server))
        self._run(self._watch_pictures())
        return self._listeners[0].getsockname()[1]

    async def close(self) -> None:
        """Ends all connections."""
        for listener in self._listeners:
            listener.close()
        for page in self.pages:
            page.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            if self._runner.server is not None:
                await self._runner.server.shutdown(0.5)
            await self._runner.cleanup()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Errors

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        if isinstance(error, ValueError) and any("aiohttp" in f.filename for f in frames):
            self.malformed()  # an address that aiohttp before 3.10 takes for a fault of its own
        else:
            self.failed(context["message"], error)

    def malformed(self) -> None:
        """Counts a request that aiohttp could not read."""
        self._guard.malformed()

    def failed(self, what: str, error: BaseException | None = None) -> None:
        """Reports an error of the server, not of a client."""
        lines = traceback.format_exception(error) if error is not None else []
        text = what if error is None else f"{what}: {error!r}"
        self._display.on_problem("\n".join([text, "".join(lines).rstrip()]).rstrip())

    # To pages

    def send(self, data: bytes | str, picture: bool = False) -> None:
        """Queues a message for every page."""
        if picture:
            self._last_picture = time.monotonic()
        for page in self.pages:
            page.put(data, picture)

    async def _watch_pictures(self) -> None:
        """Tells pages when pictures end or come again, and that they are still connected."""
        while True:
            await asyncio.sleep(AWAY / 10)
            now = time.monotonic()
            away = bool(self.pages) and now - self._last_picture > AWAY
            if away != self.away:
                self.away = away
                self.send(self.state_message())
            for page in self.pages:
                if now - page.last_message > BEAT:
                    page.put(web_messages.BEAT)

    def state_message(self, **more: Any) -> str:
        """The display's state for pages."""
        display = self._display
        return web_messages.state_message(
            buffer=display.buffer, away=self.away, **{**display.state, **more}
        )

    # Requests

    async def _file(self, request: web.Request) -> web.Response:
        self._guard.check(request)
        text, content_type = self._files[request.path]
        return web.Response(text=text, content_type=content_type, headers=HEADERS)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._guard.check_socket(request)
        connection = web.WebSocketResponse(
            timeout=GOODBYE,
            autoping=False,  # pings are counted first
            heartbeat=HEARTBEAT,
            max_msg_size=web_messages.MAX_MESSAGE,
            compress=False,
        )
        try:
            await connection.prepare(request)
        except (ValueError, web.HTTPBadRequest):
            raise self._guard.malformed("a page's WebSocket is asked for here") from None
        transport = request.transport
        if transport is None:  # it has gone already
            return connection
        allowed = self._guard.takes_commands_from(request)
        page = Page(
            connection,
            transport,
            source_of(request),
            allowed=allowed,
            operator=allowed and request.path == OPERATOR_SOCKET,
        )
        if reason := self._make_place(page):
            await self._dismiss(page, FULL, reason)
            return connection
        self._pending.remove(transport)
        await self._serve(page)
        return connection

    async def _serve(self, page: Page) -> None:
        """Sends to a page and takes its messages until it ends."""
        if not self.pages:
            self._last_picture = time.monotonic()  # pictures are sent from now on
        page.put(self.state_message(commands=page.allowed))
        self.pages.add(page)
        self.counts["pages"] += 1
        self._display.on_clients(len(self.pages))
        page.writer = self._run(self._write(page))
        try:
            await self._read(page)
            if page.closing is not None:  # with its own code, which must come first
                await asyncio.wait([page.closing])
        finally:
            page.writer.cancel()
            self.pages.discard(page)
            self.counts["dropped"] += page.dropped
            self._display.on_clients(len(self.pages))
            self._pending.add(page.transport, GOODBYE)  # it may never read the rest

    async def _read(self, page: Page) -> None:
        async for received in page.connection:
            control = received.type in (WSMsgType.PING, WSMsgType.PONG)
            if not (page.controls if control else page.messages).take():
                self._display.on_problem("a page that sent too many messages was closed")
                reason = "this page sent too many messages"
                page.transport.pause_reading()  # what follows would cost as much
                await self._dismiss(page, WSCloseCode.POLICY_VIOLATION, reason)
                return
            if control:
                if received.type == WSMsgType.PING:
                    with contextlib.suppress(ConnectionError):
                        await page.connection.pong(received.data)
                continue
            try:
                if received.type != WSMsgType.TEXT:
                    raise CommandError("a command is text")
                self._take_command(page, received.data)
            except CommandError as error:
                page.put(refusal(str(error)))

    async def _write(self, page: Page) -> None:
        connection = page.connection
        try:
            while True:
                data = await page.get()
                sending = (
                    connection.send_str(data)
                    if isinstance(data, str)
                    else connection.send_bytes(data)
                )
                await asyncio.wait_for(sending, STUCK)
                self.counts["sent"] += 1
        except asyncio.TimeoutError:
            self.counts["stuck"] += 1
        except ConnectionError:
            pass
        except Exception as error:
            self.failed("a page could not be written to", error)
        page.transport.abort()

    # Places

    def _make_place(self, page: Page) -> str:
        """Returns why there is no place for a page, else an empty string.

        Among operators the one that was silent for the longest time gives way: the new one may
        want to interrupt. Among those that watch, the newest of the address with the most gives way
        to an address with fewer, and this machine's own comes first: nobody locks others out.
        """
        others = [p for p in self.pages if p.operator == page.operator]
        if not page.operator and len(others) >= MAX_CLIENTS:
            self._display.on_problem(f"more than {MAX_CLIENTS} pages want to watch")
            reason = f"{MAX_CLIENTS} pages are open already: close one"
            counts = Counter(other.source for other in others)
            most, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
            if count <= counts[page.source] + (page.source != HERE):
                return reason
            crowd = [other for other in others if other.source == most]
            self._replace(max(crowd, key=lambda other: other.active), FULL, reason)
        if page.operator and len(others) >= MAX_OPERATORS:
            silent = min(others, key=lambda other: other.active)
            reason = f"another operator's page has this one's place (there are {MAX_OPERATORS})"
            self._replace(silent, REPLACED, reason)
        return ""

    def _replace(self, page: Page, code: int, reason: str) -> None:
        self.pages.discard(page)
        page.closing = self._run(self._dismiss(page, code, reason))

    async def _dismiss(self, page: Page, code: int, reason: str) -> None:
        """Closes a page's connection; it shows `reason`, at most 123 bytes."""
        if page.writer is not None:
            page.writer.cancel()
        try:
            closing = page.connection.close(code=code, message=reason.encode())
            await asyncio.wait_for(closing, GOODBYE)
        except (asyncio.TimeoutError, ConnectionError):
            page.transport.abort()

    # Commands

    def _take_command(self, page: Page, text: str) -> None:
        """Passes an operator's command on. Raises CommandError if it is not taken."""
        if not page.allowed:
            raise CommandError("commands are not allowed here")
        name, value = parse_command(text, self._display.state.get("avatars", ()))
        if name == "interrupt":
            page.active = time.monotonic()
            self._request_interrupt()
            return
        if not (page.commands.take() and self._commands.take()):
            self.counts["limited"] += 1
            self._display.on_problem("commands come faster than they are taken: some were left out")
            raise CommandError(
                "too many commands: this one was left out, wait a second (interrupts are taken)"
            )
        page.active = time.monotonic()
        self._pass_interrupt()  # first: it is not meant for what was asked after it
        self._display.on_command(name, value)

    def _request_interrupt(self) -> None:
        """Passes an interrupt on, however many there are; those that come together are one."""
        if self._interrupt is None:
            wait = self._interrupted + INTERRUPTS - time.monotonic()
            loop = asyncio.get_running_loop()
            self._interrupt = loop.call_later(max(0.0, wait), self._pass_interrupt)
            if wait <= 0:
                self._pass_interrupt()

    def _pass_interrupt(self) -> None:
        if self._interrupt is not None:
            self._interrupt.cancel()
            self._interrupt = None
            self._interrupted = time.monotonic()
            self._display.on_command("interrupt", True)


class _LogHandler(logging.Handler):
    """Reports what aiohttp logs. Requests that cannot be read are not worth a traceback."""

    def __init__(self, server: PageServer) -> None:
        super().__init__()
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            self._server.malformed()
        else:
            self._server.failed(record.getMessage(), error)
