# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
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
    "--disable-dev-shm-usage", "--window-size=960,720", "--remote-debugging-port=0",
)  # fmt: skip
SOUND_AT_ONCE = "--autoplay-policy=no-user-gesture-required"


class Page:
    """One page of a browser of its own. Use as a context manager."""

    def __init__(self, url: str, sound_at_once: bool = True):
        """Without `sound_at_once` it plays nothing before it is touched, as browsers do."""
        import aiohttp

        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = (*FLAGS, SOUND_AT_ONCE) if sound_at_once else FLAGS
        self._process = subprocess.Popen(
            [PROGRAM, *flags, f"--user-data-dir={self._folder.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._count = 0
        file = Path(self._folder.name) / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (file.is_file() and file.read_text().strip()):
            assert time.monotonic() < end and self._process.poll() is None, "chromium did not start"
            time.sleep(0.1)
        port = file.read_text().split()[0]

        async def connect():
            self._session = aiohttp.ClientSession()
            async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(t for t in await answer.json() if t["type"] == "page")
            return await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)

        self._socket = self._loop.run_until_complete(connect())
        self.call("Page.navigate", url=url)

    def call(self, method: str, **parameters) -> dict:
        async def run():
            self._count += 1
            number = self._count
            await self._socket.send_json({"id": number, "method": method, "params": parameters})
            while (answer := await self._socket.receive_json()).get("id") != number:
                pass
            assert "error" not in answer, answer
            return answer["result"]

        return self._loop.run_until_complete(asyncio.wait_for(run(), 60))

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
        self._loop.run_until_complete(self._session.close())
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._loop.close()
        self._folder.cleanup()
