# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import atexit
import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, PROGRAMS)), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip
SOUND_AT_ONCE = "--autoplay-policy=no-user-gesture-required"


class Browser:
    """A running Chromium. Its pages share nothing, as each is in a context of its own."""

    def __init__(self, *flags: str):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [PROGRAM, *FLAGS, *flags, f"--user-data-dir={self._folder.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        atexit.register(self.close)
        file = Path(self._folder.name) / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (file.is_file() and len(file.read_text().split()) == 2):
            assert time.monotonic() < end and self.process.poll() is None, "chromium did not start"
            time.sleep(0.05)
        port, path = file.read_text().split()
        self.address = f"ws://127.0.0.1:{port}"
        self.control = self.address + path

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()


_running: dict[bool, Browser] = {}


def browser(sound_at_once: bool) -> Browser:
    """To start one takes a second, so all tests of a process share two."""
    found = _running.get(sound_at_once)
    if found is None or found.process.poll() is not None:
        found = _running[sound_at_once] = Browser(*([SOUND_AT_ONCE] if sound_at_once else []))
    return found


class Page:
    """One page. Use as a context manager."""

    def __init__(self, url: str, sound_at_once: bool = True):
        """Without `sound_at_once` it plays nothing before it is touched, as browsers do."""
        import aiohttp

        shared = browser(sound_at_once)
        self._loop = asyncio.new_event_loop()
        self._count = 0

        async def connect():
            self._session = aiohttp.ClientSession()
            self._control = self._socket = await self._session.ws_connect(shared.control)
            context = await self._ask("Target.createBrowserContext", disposeOnDetach=True)
            target = await self._ask(
                "Target.createTarget", url="about:blank", width=960, height=720, **context
            )
            self._socket = await self._session.ws_connect(
                f"{shared.address}/devtools/page/{target['targetId']}", max_msg_size=0
            )

        try:
            self._loop.run_until_complete(asyncio.wait_for(connect(), 60))
            self.call("Page.navigate", url=url)
        except BaseException:  # nothing of it is to stay in the browser that others share
            self.__exit__()
            raise

    async def _ask(self, method: str, **parameters) -> dict:
        self._count += 1
        number = self._count
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer: dict = {}
        while answer.get("id") != number:
            message = await self._socket.receive()
            assert isinstance(message.data, str), f"chromium or its page has ended: {message}"
            answer = json.loads(message.data)
        assert "error" not in answer, answer
        return answer["result"]

    def call(self, method: str, **parameters) -> dict:
        answer = asyncio.wait_for(self._ask(method, **parameters), 60)
        return self._loop.run_until_complete(answer)

    def run(self, script: str):
        """The value of a JavaScript expression (or of what it promises)."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, timeout: float = 30):
        end = time.monotonic() + timeout
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"not within {timeout} s: {script}"
            time.sleep(0.1)
        return value

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *unused) -> None:
        self._loop.run_until_complete(self._session.close())  # and so its context ends
        self._loop.close()
