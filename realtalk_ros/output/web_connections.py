# SPDX-License-Identifier: Apache-2.0
"""TCP connections of the web display: listening, accepting, and ending those that lead nowhere."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections.abc import Callable

from aiohttp import web

from realtalk_ros.output.web_security import is_loopback

PATIENCE = 10.0  # s that a connection has to become a page, or to be done
MAX_WAITING = 256  # connections that are not, or not yet, pages
FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Bytes of one connection that the system keeps. What has come is read at once, and others wait
# meanwhile; what waits to be sent through a slow network grows old there.
RECEIVED, UNSENT = 16384, 16384
RETRY = 0.25  # s after which accepting is tried again, where there was no room


async def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address that the host's name stands for. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    errors = []
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            listener = socket.create_server(address, family=family, backlog=512)
            listener.setblocking(False)
            listeners.append(listener)
            # What connections are accepted with, too.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        except OSError as error:
            errors.append(error)
    # localhost stands for ::1 even where there is no IPv6.
    serious = [e for e in errors if e.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)]
    if serious or not listeners:
        for listener in listeners:
            listener.close()
        raise (serious or errors)[0]
    return listeners


class PendingConnections:
    """Connections that are not pages. Each has a deadline, and their number is limited."""

    def __init__(
        self,
        on_problem: Callable[[str], None],
        on_error: Callable[[str, BaseException | None], None],
    ) -> None:
        self._on_problem, self._on_error = on_problem, on_error
        self._deadlines: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # the oldest first

    async def accept(self, listener: socket.socket, server: web.Server) -> None:
        """Accepts connections until it is cancelled.

        asyncio's own loop for it writes hundreds of tracebacks a second when there is no file
        descriptor for one more.
        """
        loop = asyncio.get_running_loop()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(1, min(MAX_WAITING, limit // 4))  # ROS needs some, too
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in FULL:
                    self._on_problem(
                        "no file descriptor is left for one more connection: close pages, or "
                        "raise the limit (ulimit -n)"
                    )
                    self._make_room(0)
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(RETRY)
                continue
            self._make_room(most - 1)
            try:
                transport, _ = await loop.connect_accepted_socket(server, connection)
                self.add(transport, PATIENCE)
            except Exception as error:  # the next one may fare better
                self._on_error("a connection was not let in", error)
                connection.close()

    def add(self, transport: asyncio.Transport, patience: float) -> None:
        """Ends a connection in `patience` seconds, unless it is removed before."""
        loop = asyncio.get_running_loop()
        self._deadlines[transport] = loop.call_later(patience, self._end, transport)

    def remove(self, transport: asyncio.Transport) -> None:
        """A connection that became a page."""
        if transport in self._deadlines:
            self._deadlines.pop(transport).cancel()

    def _make_room(self, most: int) -> None:
        """Ends the oldest until at most `most` are left; those from this machine last."""
        if len(self._deadlines) <= most:
            return
        for transport in [t for t in self._deadlines if t.is_closing()]:
            self._end(transport)
        local = {t: is_loopback(_address(t)) for t in self._deadlines}
        for transport in sorted(local, key=lambda t: local[t])[: max(0, len(local) - most)]:
            self._end(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        self._deadlines.pop(transport).cancel()
        if transport.get_write_buffer_size():
            transport.abort()  # a peer that does not read would not let it close
        else:
            transport.close()


def _address(transport: asyncio.Transport) -> str:
    return (transport.get_extra_info("peername") or ("",))[0]
