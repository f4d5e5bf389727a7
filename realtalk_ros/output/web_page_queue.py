# SPDX-License-Identifier: Apache-2.0
"""One open page of the web display: what waits to be sent to it, and how much it may send."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from aiohttp import web

PICTURES = 3  # pictures that wait for a page
SOUNDS = 150  # chunks of sound that wait for a page: 3 s
# What a page may send: so many at once, and so many a second from then on.
COMMANDS = (10, 2.0)  # interrupts are always taken
MESSAGES = (2000, 200.0)  # of any kind, from a page that may give commands
STRAY_MESSAGES = (20, 1.0)  # from a page that may not
CONTROLS = (100, 10.0)  # pings and pongs


class TokenBucket:
    """Allows `most` events at once and `rate` a second from then on."""

    def __init__(self, most: float, rate: float) -> None:
        self._most, self._rate = most, rate
        self._left, self._updated = most, time.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._updated) * self._rate)
        self._updated = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Page:
    """An open page with its queues. Newer pictures replace older ones that still wait."""

    def __init__(
        self,
        connection: web.WebSocketResponse,
        transport: asyncio.Transport,
        source: str,
        *,
        allowed: bool,
        operator: bool,
    ) -> None:
        """`source`: where it comes from, as of web_security; `allowed`: whether its commands are
        taken; `operator`: whether it has an operator's place."""
        self.connection, self.transport = connection, transport
        self.source, self.allowed, self.operator = source, allowed, operator
        self.active = time.monotonic()  # when it came, or gave a command
        self.last_message = self.active  # when something was last queued for it
        self.writer: asyncio.Task | None = None
        self.closing: asyncio.Task | None = None  # closes it, if another page took its place
        self.commands = TokenBucket(*COMMANDS)
        self.messages = TokenBucket(*(MESSAGES if allowed else STRAY_MESSAGES))
        self.controls = TokenBucket(*CONTROLS)
        self.pictures: deque[bytes | str] = deque(maxlen=PICTURES)
        self.others: deque[bytes | str] = deque()
        self.wake = asyncio.Event()
        self.dropped = 0

    def put(self, data: bytes | str, picture: bool = False) -> None:
        """Queues a message; drops the oldest of its sort when there are too many."""
        if picture:
            self.dropped += len(self.pictures) == PICTURES
            self.pictures.append(data)
        else:
            if len(self.others) >= SOUNDS:
                self.others.popleft()
                self.dropped += 1
            self.others.append(data)
        self.last_message = time.monotonic()
        self.wake.set()

    async def get(self) -> bytes | str:
        """The next message. Sound comes first: a gap in it is worse than a missing picture."""
        while True:
            if self.others:
                return self.others.popleft()
            if self.pictures:
                return self.pictures.popleft()
            self.wake.clear()
            await self.wake.wait()
