# SPDX-License-Identifier: Apache-2.0
"""The page: what is served to whom, hostile and slow clients, and the face in a real browser."""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

import chromium
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output import web_display
from realtalk_ros.output.web_display import Display
from realtalk_ros.output.web_messages import FORGET, JPEG, RATE, SOUND, PageAudio
from ros_domains import domain_of

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

from realtalk_ros.output import web_connections, web_page_queue, web_server  # noqa: E402

DOMAIN = domain_of(__file__)
PORT = 8100 + DOMAIN  # of the real graph's page
# Speed is promised of a machine that has nothing else to do (see ros_graph.py).
SLOWER = 1 if os.environ.get("REALTALK_TEST_STRICT") else 4
needs_chromium = pytest.mark.skipif(not chromium.PROGRAM, reason="Chromium is not installed")


def jpeg(grey: int, size: int = 64) -> bytes:
    return cv2.imencode(".jpg", np.full((size, size, 3), grey, np.uint8))[1].tobytes()


@contextlib.contextmanager
def feeding(step, pause):
    """Calls `step()` again and again in a thread, `pause` s apart."""
    done = threading.Event()

    def run():
        while not done.wait(pause):
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def commands():
    return []


@pytest.fixture
def problems():
    return []


@pytest.fixture
def served(commands, problems):
    server = Display(port=0, on_command=lambda *command: commands.append(command),
                     on_problem=problems.append)  # fmt: skip
    server.start()
    yield server
    server.stop()


def connected(server, action, origin="http://127.0.0.1:{port}", host=None, **more):
    """Runs `await action(socket, session)` with a WebSocket to the server; more: headers."""

    async def run():
        headers = {"Origin": origin.format(port=server.port)} if origin else {}
        headers.update(more)
        if host:
            headers["Host"] = host.format(port=server.port)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.port}/ws"
            async with session.ws_connect(url, headers=headers) as socket:
                return await action(socket, session)

    return asyncio.run(asyncio.wait_for(run(), 30))


async def nothing(socket, session):
    return json.loads((await socket.receive()).data)


@contextlib.asynccontextmanager
async def pages(server):
    """Opens pages: `await open(path)` -> socket, which was greeted."""
    async with aiohttp.ClientSession() as session:

        async def open(path="/ws"):
            socket_ = await session.ws_connect(
                f"http://127.0.0.1:{server.port}{path}",
                headers={"Origin": f"http://127.0.0.1:{server.port}"}, max_msg_size=0,
            )  # fmt: skip
            first = await socket_.receive()
            assert first.type != aiohttp.WSMsgType.TEXT or "buffer" in json.loads(first.data)
            return socket_

        yield open


async def told(socket_, wanted, timeout=5.0):
    """The next JSON message for which `wanted(message)` holds."""

    async def look():
        while True:
            data = (await socket_.receive()).data
            if isinstance(data, str) and wanted(found := json.loads(data)):
                return found

    return await asyncio.wait_for(look(), timeout)


async def closed_by(socket_):
    """The code with which the server closes a page. (aiohttp's `close_code` is 1006 where its own
    answer to that comes too late.)"""
    while (message := await socket_.receive()).type != aiohttp.WSMsgType.CLOSE:
        assert message.type != aiohttp.WSMsgType.CLOSED
    return message.data


def is_refusal(message):
    return message["type"] == "refused"


def raw(server, request, timeout=5.0, frame=b""):
    """What is answered until the connection ends; `frame` is sent once its head is there."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as connection:
        answer = b""
        try:
            connection.sendall(request)
            while data := connection.recv(65536):
                answer += data
                if frame and b"\r\n\r\n" in answer:
                    connection.sendall(frame)
                    frame = b""
        except ConnectionError:  # it may be ended while we still write
            pass
        return answer


def test_a_page_is_greeted_then_gets_pictures_and_sound_with_their_times(served):
    served.update(avatars=["default"], avatar="default")

    async def action(socket, session):
        greeting = json.loads((await socket.receive()).data)
        served.show(12.5, jpeg(9))
        served.play(12.0, 16000, np.full(1600, 0.5, np.float32))
        served.flush()
        got = [(await socket.receive()).data for _ in range(3)]
        served.clear()
        return greeting, [*got, (await socket.receive()).data]

    greeting, got = connected(served, action)
    assert greeting["avatars"] == ["default"] and greeting["buffer"] == 0.1
    heads = [struct.unpack("<B7xd", data[:16]) for data in got]
    assert sorted(k for k, _ in heads) == [JPEG, SOUND, SOUND, FORGET]
    assert [t for k, t in heads if k == JPEG] == [12.5]
    sound = [(t, np.frombuffer(d[16:], "<i2")) for (k, t), d in zip(heads, got, strict=True)
             if k == SOUND]  # fmt: skip
    assert sound[0][0] == 12.0 and sum(len(s) for _, s in sound) == RATE // 10
    assert abs(int(np.median(sound[0][1])) - 16384) < 100


def test_sound_in_pieces_is_the_same_sound_and_a_gap_begins_anew():
    pcm = np.sin(np.arange(22050) * 0.05).astype(np.float32)
    whole = PageAudio()
    together = b"".join(d for _, d in whole.push(5.0, 22050, pcm) + whole.flush())
    pieces, parts = PageAudio(), []
    for i in range(0, len(pcm), 441):
        parts += pieces.push(5.0 + i / 22050, 22050, pcm[i : i + 441])
    parts += pieces.push(9.0, 22050, pcm[:441])
    before = [(t, d) for t, d in parts if t < 8]
    assert b"".join(d for _, d in before) == together
    ends = [t + len(d) / 2 / RATE for t, d in before]
    assert np.allclose([t for t, _ in before[1:]], ends[:-1], atol=1e-9)
    assert [t for t, _ in parts if t > 8] == [9.0]


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1"])
def test_pages_of_other_origins_are_refused(served, origin):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        connected(served, nothing, origin)
    assert refused.value.status == 403 and served.counts["refused"] == 1


def test_a_foreign_name_that_leads_here_is_refused(served):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        connected(served, nothing, "http://evil.example:{port}", "evil.example:{port}")
    assert refused.value.status == 403
    connected(served, nothing, "http://localhost:{port}", "localhost:{port}")


@pytest.mark.parametrize("path", [*web_display.FILES, "/ws", "/operator/ws"])
def test_nothing_is_served_under_a_foreign_name(served, problems, path):
    request = f"GET {path} HTTP/1.1\r\nHost: {{}}\r\nConnection: close\r\n\r\n"
    answer = raw(served, request.format("evil.example").encode())
    assert answer.split()[1] == b"403" and b"<canvas" not in answer
    assert "host_names" in problems[0]  # the log says what to do, if the name is right
    for name in ("localhost", "127.0.0.1:80", "[::1]:80", socket.gethostname()):
        assert raw(served, request.format(name).encode()).split()[1] in (b"200", b"403")
        if path in web_display.FILES:
            assert raw(served, request.format(name).encode()).split()[1] == b"200", name


HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n"
)


def handshake(server) -> bytes:
    """What a page asks for its WebSocket with."""
    host = f"localhost:{server.port}"
    return f"GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{HANDSHAKE}\r\n".encode()


def malformed_requests(port):
    good, origin = f"Host: 127.0.0.1:{port}\r\n", f"Origin: http://127.0.0.1:{port}\r\n"
    names = (
        "[::1",
        "[::1]:x",
        "[",
        "[]",
        "",
        "@",
        "a b",
        "a@localhost",
        "localhost/x",
        "::1",
        "localhost:99999",
        "localhost:-1",
        "é",
        "\udcff",
        "x" * 9000,
        "'\"<>",
        "%41",
    )
    for name in names:
        yield f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"
        yield f"GET /ws HTTP/1.1\r\nHost: {name}\r\n{origin}{HANDSHAKE}\r\n"
        for address in (name, f"http://{name}"):
            yield f"GET /ws HTTP/1.1\r\n{good}Origin: {address}\r\n{HANDSHAKE}\r\n"
    yield from (
        "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
        f"GET / HTTP/1.1\r\n{good}{good}\r\n",
        f"GET /ws HTTP/1.1\r\n{good}{origin}{origin}{HANDSHAKE}\r\n",
        f"GET / HTTP/1.1\r\n{good}X: {'x' * 100_000}\r\n\r\n",
        f"GET /{'x' * 20_000} HTTP/1.1\r\n{good}\r\n",
        f"GET / HTTP/1.1\r\n{good}no colon\r\n\r\n", "\0" * 100 + "\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n",
        f"POST / HTTP/1.1\r\n{good}Content-Length: -1\r\n\r\n",
    )  # fmt: skip
    for old, new in (("websocket", "x"), ("13", "99"), ("eHh4", "é"), ("eHh4", "x"), ("Key", "K"),
                     ("Connection: Upgrade", "Sec-WebSocket-Protocol: é"),
                     ("Upgrade: web", "Sec-WebSocket-Protocol: x\r\nUpgrade: web")):  # fmt: skip
        yield f"GET /ws HTTP/1.1\r\n{good}{origin}{HANDSHAKE.replace(old, new, 1)}\r\n"


def test_malformed_requests_are_400_and_said_once(served, problems, capfd, caplog):
    async def meanwhile(page, session):
        await page.receive()
        for request in malformed_requests(served.port):
            sent = request.encode("utf-8", "surrogateescape")
            answer = await asyncio.to_thread(raw, served, sent)
            assert answer.split()[1:2] == [b"400"], (request[:200], answer[:200])
        for broken in (b"http://[::1", b"http://a:b:c/", b"/ws HTTP/1.1 x", b"http://x:99999/"):
            await asyncio.to_thread(raw, served, b"GET " + broken + b" HTTP/1.1\r\n\r\n", 15)
        served.show(1.0, jpeg(9))
        while (await page.receive()).type != aiohttp.WSMsgType.BINARY:
            pass

    connected(served, meanwhile)
    assert len(set(problems)) == 2  # one of a proxy that leaves out Upgrade
    assert all("400" in problem and "\n" not in problem for problem in problems)
    assert served.counts["malformed"] >= 80
    assert capfd.readouterr().err == "" and not caplog.records


@pytest.mark.parametrize(
    "frame, code",
    [(b"\x83\x80\0\0\0\0", 1002), (b"\xf1\x80\0\0\0\0", 1002), (b"\x80\x80\0\0\0\0", 1002),
     (b"\x09\x80\0\0\0\0", 1002), (b"\x81\x82\0\0\0\0\xff\xfe", 1007),
     (b"\x81\xff" + struct.pack(">Q", 70_000) + b"\0" * 70_004, 1009),
     ((b"\x01\xfe\x80\0" + b"\0" * 32_772) + (b"\0\xfe\x80\0" + b"\0" * 32_772) * 3, 1009)],
)  # fmt: skip
def test_bad_frames_end_their_page_with_a_code(served, problems, capfd, frame, code):
    async def meanwhile(page, session):
        await page.receive()
        # A blocking socket: asyncio's reader drops what it has not given yet when a reset comes.
        answer = await asyncio.to_thread(raw, served, handshake(served), frame=frame)
        assert b"\x88\x02" + struct.pack(">H", code) in answer or (
            b"\x88" in answer and struct.pack(">H", code) in answer
        )
        served.show(1.0, jpeg(9))
        while (await page.receive()).type != aiohttp.WSMsgType.BINARY:
            pass

    connected(served, meanwhile)
    assert problems == [] and capfd.readouterr().err == ""


def test_connections_that_do_not_become_pages_end(served, monkeypatch):
    assert web_connections.PATIENCE <= 10 and web_server.HEARTBEAT * 1.5 <= 10
    monkeypatch.setattr(web_connections, "PATIENCE", 1.0)
    monkeypatch.setattr(web_server, "HEARTBEAT", 0.6)
    host = f"Host: localhost:{served.port}\r\n"
    mute = (f"GET /ws HTTP/1.1\r\n{host}Origin: http://localhost:{served.port}\r\n"
            f"{HANDSHAKE}\r\n")  # fmt: skip
    get = f"GET /page.js HTTP/1.1\r\n{host}\r\n"

    async def lasts(begin, drip="", reads=True):
        """Seconds until the server ends a connection that sends `drip` all the time."""
        client = socket.socket()
        if not reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", served.port))
        reader, writer = await asyncio.open_connection(sock=client)
        if not reads:
            writer.transport.pause_reading()
        began = time.monotonic()
        writer.write(begin.encode())
        ended = asyncio.ensure_future(reader.read(-1))
        while not ended.done() and time.monotonic() < began + 5:
            await asyncio.wait([ended], timeout=0.1)
            writer.write(drip.encode())
            if writer.transport.is_closing():  # what was sent was not taken any more
                break
        if reads:
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(ended, 0.1)
        ended.cancel()
        writer.transport.abort()
        return time.monotonic() - began

    async def run():
        async with pages(served) as open:
            page = await open()
            served.show(0.0, jpeg(1))
            seconds = await asyncio.gather(
                lasts(""), lasts("GET / HT"), lasts(f"GET / HTTP/1.1\r\n{host}", "X: y\r\n"),
                lasts(get), lasts(get.replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\n"), "x"),
                lasts(get, get), lasts(get.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n"
                                       "Transfer-Encoding: chunked\r\n\r\n"), "1\r\nx\r\n"),
                lasts(mute), told(page, lambda message: message.get("away")),
            )  # fmt: skip
            assert not page.closed  # it answers pings, so it stays
            return seconds[:-1]

    seconds = asyncio.run(asyncio.wait_for(run(), 30))
    assert max(seconds) < min(2.5 * SLOWER, 4.5), seconds
    # Who asks for much and reads nothing.
    assert asyncio.run(lasts(get * 2000, get * 100, reads=False)) < min(3 * SLOWER, 4.5)


def test_pages_that_watch_leave_the_operator_a_place(served, commands, problems, monkeypatch):
    monkeypatch.setattr(web_server, "MAX_CLIENTS", 4)
    monkeypatch.setattr(web_server, "MAX_OPERATORS", 2)

    async def run():
        async with pages(served) as open:
            silent = [await open() for _ in range(4)]
            full = await open()
            assert full.closed and full.close_code == 1013
            operator = await open("/operator/ws")
            await operator.send_json({"interrupt": True})
            await told(operator, lambda message: message["type"] == "beat")
            assert commands == [("interrupt", True)]
            # Among operators' pages the one that was silent for longest gives way.
            quiet = await open("/operator/ws")
            await asyncio.sleep(0.01)
            await operator.send_json({"interrupt": True})
            await told(operator, lambda message: message["type"] == "beat")
            newest = await open("/operator/ws")
            assert await closed_by(quiet) == web_server.REPLACED
            await newest.send_json({"interrupt": True})
            await told(newest, lambda message: message["type"] == "beat")
            assert commands == [("interrupt", True)] * 3
            assert not any(page.closed for page in (*silent, operator))
            # A place that was left is free.
            await silent[0].close()
            assert not (await open()).closed

    asyncio.run(asyncio.wait_for(run(), 30))
    assert problems == ["more than 4 pages want to watch"]


def test_one_who_opens_all_pages_locks_nobody_out(served, monkeypatch):
    """Neither the robot's own screen nor others' tablets; IPv6 addresses of one network are one."""
    monkeypatch.setattr(web_server, "MAX_CLIENTS", 4)
    # The server believes who these requests say that they are.
    where = property(lambda request: request.headers.get("X", "127.0.0.1"))
    monkeypatch.setattr(aiohttp.web.BaseRequest, "remote", where)

    async def run():
        opened = []
        async with aiohttp.ClientSession() as session:

            async def lets_in(address):
                opened.append(page := await session.ws_connect(
                    f"http://127.0.0.1:{served.port}/ws",
                    headers={"X": address}, origin=f"http://127.0.0.1:{served.port}",
                ))  # fmt: skip
                return (await page.receive()).type == aiohttp.WSMsgType.TEXT

            assert all([await lets_in(f"2001:db8::{k}") for k in range(4)])
            assert await lets_in("10.0.0.7") and await closed_by(opened[3]) == 1013
            assert await lets_in("127.0.0.1") and await closed_by(opened[2]) == 1013
            assert not await lets_in("2001:db8::9")  # it has as many as others
            assert await lets_in("2001:db8:0:1::1")
            assert not await lets_in("10.0.0.8")  # there are four with one each
            await opened[5].close()  # the one of this machine
            assert await lets_in("10.0.0.8")
            assert await lets_in("127.0.0.1")  # this machine goes before others
            assert not await lets_in("127.0.0.1")  # but has no more than others

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("remote, proxy", [
    ("10.1.2.3", {}), ("::ffff:10.1.2.3", {}), ("fe80::1%eth0", {}), ("", {}), (None, {}),
    ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}), ("127.0.0.1", {"forwarded": "for=x"}),
])  # fmt: skip
def test_commands_from_other_machines_are_refused(served, commands, monkeypatch, remote, proxy):
    monkeypatch.setattr(aiohttp.web.BaseRequest, "remote", remote)

    async def action(page, session):
        greeting = json.loads((await page.receive()).data)
        await page.send_json({"say": "hello"})
        return greeting["commands"], (await told(page, is_refusal))["reason"]

    allowed, reason = connected(served, action, **proxy)
    assert not allowed and "not allowed" in reason and commands == []


def test_commands_are_limited_and_interrupts_are_not_starved(served, commands):
    async def run():
        async with pages(served) as open:
            hasty = [await open() for _ in range(6)]
            operator = await open("/operator/ws")
            started = time.monotonic()
            for i, page in enumerate(hasty):
                for k in range(200):
                    await page.send_json({"say": f"{i} {k}"})
            began = time.monotonic()
            await hasty[0].send_json({"interrupt": True})
            await operator.send_json({"interrupt": True})
            await operator.send_json({"x": 1})  # is answered once the interrupt is passed on
            await told(operator, is_refusal)
            assert ("interrupt", True) in commands and time.monotonic() - began < 1 * SLOWER
            for page in hasty:
                assert "too many commands" in (await told(page, is_refusal))["reason"]
            gone = time.monotonic() - started
            says = [value.split() for name, value in commands if name == "say"]
            assert says[:10] == [["0", str(k)] for k in range(10)]  # the first ones are taken
            assert sum(who == "0" for who, _ in says) <= 10 + 2 * gone
            assert len(says) <= 30 + 5 * gone
            # As many interrupts as one likes, but they go out at a rate that ROS can bear; the
            # last one does, and what is said after it is not cut off by it.
            await asyncio.sleep(1.5)
            commands.clear()
            for _ in range(1000):
                await operator.send_json({"interrupt": True})
            await operator.send_json({"say": "and now"})
            await operator.send_json({"x": 1})
            await told(operator, is_refusal)
            assert commands[-2:] == [("interrupt", True), ("say", "and now")]
            assert 2 <= len(commands) < 30
            await asyncio.sleep(0.3)
            assert commands[-1] == ("say", "and now")

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("frame", [b"\x81\x82\0\0\0\0{}", b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"],
                         ids=["text", "ping", "pong"])  # fmt: skip
def test_a_page_that_sends_without_end_is_closed(served, problems, monkeypatch, caplog, frame):
    """And what it sent is read in small pieces: a large one would hold all pages up."""
    pieces, receive = [], aiohttp.web.RequestHandler.data_received

    def data_received(self, data):
        pieces.append(len(data))
        receive(self, data)

    monkeypatch.setattr(aiohttp.web.RequestHandler, "data_received", data_received)
    ended = threading.Event()

    def flood():
        with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
            connection.sendall(handshake(served))
            connection.recv(1000)
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    connection.sendall(frame * 10_000)
                return
        ended.set()

    async def run():
        async with pages(served) as open:
            other = await open()
            await asyncio.to_thread(flood)
            served.show(1.0, jpeg(9))
            while (await other.receive()).type != aiohttp.WSMsgType.BINARY:
                pass
            assert not other.closed

    asyncio.run(asyncio.wait_for(run(), 60))
    assert ended.is_set() and max(pieces) < 70_000
    assert problems == ["a page that sent too many messages was closed"] and not caplog.records


def test_pings_are_answered(served):
    async def run():
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{served.port}/ws", autoping=False,
                               origin=f"http://127.0.0.1:{served.port}") as page,
        ):  # fmt: skip
            await page.ping(b"there?")
            while (answer := await page.receive()).type != aiohttp.WSMsgType.PONG:
                pass
            return bytes(answer.data)

    assert asyncio.run(asyncio.wait_for(run(), 10)) == b"there?"


def test_a_lack_of_file_descriptors_is_said_once_and_gets_over():
    """In a process of its own, with few of them."""
    script = """
import os, resource, sys, time
from realtalk_ros.output.web_display import Display
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
said = []
server = Display(port=0, on_problem=said.append)
server.start()
print(server.port, flush=True)
hoard = []
for line in sys.stdin:
    if line == "hoard\\n":
        try:
            while True: hoard.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
    elif line == "free\\n":
        while hoard: os.close(hoard.pop())
    print(sorted(set(said)), flush=True)
server.stop()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ask(what):
        process.stdin.write(what + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    try:
        port = int(process.stdout.readline())
        address, get = ("127.0.0.1", port), b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
        crowd = [socket.create_connection(address) for _ in range(200)]
        with socket.create_connection(address, 5) as visitor:  # silent ones take nobody's place
            visitor.sendall(get)
            assert b"200 OK" in visitor.recv(100)
        assert ask("?") == "[]"
        ask("hoard")
        for connection in crowd:
            connection.close()
        crowd = [socket.create_connection(address) for _ in range(50)]
        time.sleep(2)
        assert ask("free").count("file descriptor") == 1
        with socket.create_connection(address, 5) as visitor:
            visitor.sendall(get)
            assert b"200 OK" in visitor.recv(100)
        for connection in crowd:
            connection.close()
    finally:
        _, errors = process.communicate(timeout=20)
    assert errors == "" and process.returncode == 0


def test_pages_are_told_within_two_seconds_when_no_pictures_come(served):
    async def run():
        async with pages(served) as open:
            page = await open()
            for k in range(5):
                served.show(k / 25, jpeg(k))
                await asyncio.sleep(0.04)
            assert not served.away
            began = time.monotonic()
            await told(page, lambda message: message.get("away"))
            assert web_server.AWAY <= 1.5 and 1.0 < time.monotonic() - began < 2.0 * SLOWER
            served.show(9.0, jpeg(1))
            await told(page, lambda message: message.get("away") is False, 0.5 * SLOWER)

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("host", ["", "a..b", "x" * 70, "256.256.256.256", "192.0.2.1"])
def test_a_host_that_cannot_be_is_said_in_one_line(host):
    with pytest.raises(RealTalkError, match="host"):
        Display(host=host, port=0).start()


@pytest.mark.parametrize("host", ["::1", "127.0.0.1", "localhost"])
def test_the_address_that_is_told_opens_the_page(host):
    display = Display(host=host, port=0)
    try:
        display.start()
    except RealTalkError as error:
        pytest.skip(str(error))  # a machine without IPv6
    try:
        with urllib.request.urlopen(f"http://{display.address}/", timeout=10) as page:
            assert page.status == 200
    finally:
        display.stop()


def test_only_the_page_is_served(served):
    async def get(reader_path):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"GET {reader_path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                     .encode())  # fmt: skip
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1]), answer

    for path in ("/../display.py", "/..%2f..%2fdisplay.py", "/page.js/../../display.py",
                 "//etc/passwd", "/web/page.js", "/page.js%00", "/ws/.."):  # fmt: skip
        status, answer = asyncio.run(get(path))
        assert status in (400, 404), path
        assert b"root:" not in answer and b"import" not in answer
    for path, word in (("/", b"<canvas"), ("/operator", b"<canvas"), ("/page.js", b"AudioContext")):
        status, answer = asyncio.run(get(path))
        assert status == 200 and word in answer and b"Content-Security-Policy" in answer
        assert b"img-src 'self' data:" in answer  # the page's empty icon


def test_commands_are_checked(served, commands):
    served.update(avatars=["default"])
    bad = ['{"say": "\\ud800"}', '{"say": "a\\u0000b"}', '{"avatar": []}', '{"interrupt": 1}',
           "", "[]", "{}", "7", '{"say": ""}', '{"say": 3}', '{"avatar": "../x"}', '{"run": "ls"}',
           '{"say": "a", "interrupt": true}', '{"say": "' + "x" * 5000 + '"}',
           "[" * 30000]  # fmt: skip

    async def action(socket, session):
        await socket.receive()
        for text in bad:
            await socket.send_str(text)
            assert json.loads((await socket.receive()).data)["type"] == "refused", text
        for command in ({"say": "hello"}, {"interrupt": True}, {"avatar": "default"}, {"x": 1}):
            await socket.send_json(command)
        await socket.receive()

    connected(served, action)
    assert commands == [("say", "hello"), ("interrupt", True), ("avatar", "default")]


def test_no_commands_where_none_are_wanted(commands):
    server = Display(port=0, operators="none", on_command=lambda *command: commands.append(command))
    server.start()

    async def action(socket, session):
        await socket.receive()
        await socket.send_json({"say": "hello"})
        return json.loads((await socket.receive()).data)["reason"]

    assert "not allowed" in connected(server, action)
    server.stop()
    assert commands == []


def test_a_client_that_stops_reading_costs_nothing_and_is_let_go(served, monkeypatch):
    monkeypatch.setattr(web_server, "STUCK", 1.0)
    picture, number = jpeg(100, 512) + bytes(200_000), itertools.count()

    async def action(stuck, session):
        stuck._response.connection.transport.pause_reading()
        origin = {"Origin": f"http://127.0.0.1:{served.port}"}
        url = f"http://127.0.0.1:{served.port}/ws"
        async with session.ws_connect(url, headers=origin, max_msg_size=0) as reader:
            count, end = 0, time.monotonic() + 15
            while served.counts["stuck"] == 0 and time.monotonic() < end:
                await reader.receive()
                count += 1
            waiting = [len(c.pictures) + len(c.others) for c in served._server.pages]
        stuck._response.connection.transport.abort()  # or it waits 10 s to be told goodbye
        return count, waiting

    with feeding(lambda: served.show(next(number) / 25, picture), pause=0.005):
        count, waiting = connected(served, action)
    assert served.counts["stuck"] == 1  # it was let go
    # The other one goes on.
    assert count > 50 and max(waiting, default=0) <= web_page_queue.PICTURES + 1


def test_a_slow_network_makes_no_old_pictures(served):
    """What does not get through in time is left out here. In the system's buffers, of megabytes, it
    would wait for seconds."""
    size, ages = 30_000, []
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(handshake(served))
        file = connection.makefile("rb")
        while file.readline().strip():  # the answer's head
            pass
        end = time.monotonic() + 3
        with feeding(lambda: served.show(time.monotonic(), bytes(size)), pause=0.01):
            while time.monotonic() < end:
                length = file.read(2)[1]
                data = file.read(int.from_bytes(file.read(2), "big") if length == 126 else length)
                if len(data) > size:
                    ages.append(time.monotonic() - struct.unpack("<B7xd", data[:16])[1])
                    time.sleep(0.02)
    print(f"{np.median(ages[-20:]):.2f} s")
    assert len(ages) > 20 and np.median(ages[-20:]) < 0.5


def test_a_port_in_use_is_said_in_one_line(served):
    with pytest.raises(RealTalkError, match=r"\(Address already in use\): choose another host"):
        Display(port=served.port).start()


@needs_chromium
def test_a_flash_is_seen_when_its_beep_is_heard(served):
    """Flashes and beeps at the same times, found again in the browser: the canvas's pixels against
    the samples that its sound graph puts out."""
    fps, rate, number = 50, 22050, itertools.count()
    dark, bright, began = jpeg(0), jpeg(255), time.monotonic() + 0.1

    def is_on(t):
        return (t % 1.0) < 0.2

    def feed():
        k = next(number)
        t = k / fps
        time.sleep(max(0, began + t - time.monotonic()))
        served.show(t, bright if is_on(t) else dark)
        n = np.arange(k * rate // fps, (k + 1) * rate // fps)
        tone = 0.5 * np.sin(n * 2 * np.pi * 1000 / rate) * is_on(n / rate + 1e-9)
        served.play(n[0] / rate, rate, tone.astype(np.float32))

    watch = """new Promise((finish) => {
      const { audio, analyser, canvas } = window.realtalk;
      const picture = canvas.getContext("2d"), wave = new Float32Array(analyser.fftSize);
      const flashes = [], beeps = [];
      let lit = true, quiet = 0;
      const look = () => {
        const now = audio.currentTime;
        const grey = picture.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
        if (grey > 128 && !lit) flashes.push(now);
        lit = grey > 128;
        analyser.getFloatTimeDomainData(wave);
        const first = wave.findIndex((v) => Math.abs(v) > 0.1);
        const at = now - (wave.length - first) / audio.sampleRate;
        if (first > 480 && (!beeps.length || at - beeps.at(-1) > 0.5)) beeps.push(at);
        if (flashes.length >= 6 && beeps.length >= 6) finish({ flashes, beeps,
          latency: audio.outputLatency || audio.baseLatency });
        else setTimeout(look, 4);
      };
      look();
    })"""
    with feeding(feed, pause=0), chromium.Page(f"http://127.0.0.1:{served.port}/") as page:
        page.wait("window.realtalk?.audio.state === 'running' && realtalk.stats.frames > 50")
        seen = page.run(watch)
        stats = page.run("({...realtalk.stats, offsets: realtalk.stats.offsets.slice(-200)})")
    flashes, beeps = np.array(seen["flashes"]), np.array(seen["beeps"])
    nearest = np.array([beeps[np.abs(beeps - f).argmin()] for f in flashes[1:]])
    offset = flashes[1:] - nearest - seen["latency"]  # what is put out now is heard `latency` later
    print(f"picture after sound: median {np.median(offset) * 1e3:.0f} ms, "
          f"{offset.min() * 1e3:.0f} to {offset.max() * 1e3:.0f} ms; latency "
          f"{seen['latency'] * 1e3:.0f} ms, stats p95 "
          f"{np.percentile(stats['offsets'], 95) * 1e3:.0f} ms")  # fmt: skip
    assert abs(np.median(offset)) < 0.045


@needs_chromium
def test_the_face_of_the_real_graph_moves_and_is_heard_in_a_browser(tmp_path):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.action", reason="the ROS messages are not built")
    from ros_graph import AVATAR, Client, start, stop

    processes = [
        start("expression_node", DOMAIN, avatar=AVATAR),
        start("renderer_node", DOMAIN, avatar=AVATAR),
        start("say_node", DOMAIN),
        start("display_node", DOMAIN, port=PORT),
    ]
    client = Client(DOMAIN, images=False)
    try:
        client.wait_ready("expression_node", "renderer_node", "say_node", "display_node")
        with chromium.Page(f"http://127.0.0.1:{PORT}/operator") as page:
            page.wait("window.realtalk?.audio.state === 'running' && realtalk.stats.frames > 20")
            page.run("""document.getElementById('text').value = 'Hello, I am a robot with a face. '
                + 'I say what you write here.';
                document.getElementById('operator').requestSubmit()""")
            loud = """(() => { const wave = new Float32Array(2048);
                realtalk.analyser.getFloatTimeDomainData(wave);
                return Math.max(...wave) > 0.05 && realtalk.stats.chunks > 20; })()"""
            page.wait(loud)
            mouth = """(() => { const c = realtalk.canvas;
                return [...c.getContext('2d').getImageData(c.width * 0.4, c.height * 0.55,
                    c.width * 0.2, c.height * 0.2).data]; })()"""
            pictures = []
            for _ in range(6):  # of one frame each, however fast the machine is
                before = page.run("realtalk.stats.frames")
                page.wait(f"realtalk.stats.frames > {before}")
                pictures.append(np.array(page.run(mouth), float))
            page.screenshot(tmp_path / "display.png")
            stats = page.run("realtalk.stats")
            page.run("document.getElementById('interrupt').click()")
            page.wait("""new Promise((finish) => { const before = realtalk.stats.chunks;
                setTimeout(() => finish(realtalk.stats.chunks === before), 500); })""")
            stop(processes[3])
            processes[3] = start("display_node", DOMAIN, port=PORT)
            page.wait("realtalk.stats.connects === 2")  # it comes back by itself
            notice = "document.getElementById('notice').textContent"
            for dead in (1, 3):  # killed, the renderer, then the display
                before = page.run("realtalk.stats.frames")
                page.wait(f"realtalk.stats.frames > {before} + 10 && {notice} === ''")
                processes[dead].kill()
                page.wait(f"{notice}.includes('away')", timeout=2.5 * SLOWER)
                name, more = (("renderer_node", {"avatar": AVATAR}) if dead == 1 else
                              ("display_node", {"port": PORT}))  # fmt: skip
                processes[dead] = start(name, DOMAIN, **more)
            before = page.run("realtalk.stats.frames")
            page.wait(f"realtalk.stats.frames > {before} + 10 && {notice} === ''")
    finally:
        client.close()
        stop(*processes)
    moved = np.stack(pictures).std(axis=0).max()
    offsets = np.array(stats["offsets"][-100:])
    print(f"picture after sound p50 {np.median(offsets) * 1e3:.0f} ms, "
          f"p95 {np.percentile(offsets, 95) * 1e3:.0f} ms; {stats['frames']} frames, "
          f"{stats['dropped']} dropped, {stats['late']} late")  # fmt: skip
    assert moved > 5 and (tmp_path / "display.png").stat().st_size > 20_000
    assert 0 <= np.median(offsets) < 0.08
    if path := os.environ.get("REALTALK_SCREENSHOT"):
        Path(path).write_bytes((tmp_path / "display.png").read_bytes())


@needs_chromium
def test_the_page_says_that_the_face_is_away_and_comes_back_by_itself(served, monkeypatch):
    """Pictures stop, the server hangs, it is gone, it is full."""
    fed, server = threading.Event(), [served]

    def feed():
        if fed.is_set():
            server[0].show(time.monotonic(), jpeg(int(time.monotonic() * 50) % 256))

    notice = "document.getElementById('notice').textContent"
    away = f"{notice}.includes('away') && document.body.classList.contains('away')"

    def comes_back(page):
        before = page.run("window.realtalk?.stats.frames ?? 0")
        page.wait(f"window.realtalk?.stats.frames > {before} + 10 && {notice} === ''",
                  timeout=8 * SLOWER)  # fmt: skip

    fed.set()
    address = f"http://127.0.0.1:{served.port}/operator"
    try:
        with feeding(feed, pause=0.04), chromium.Page(address) as page:
            comes_back(page)
            fed.clear()
            page.wait(away, timeout=2 * SLOWER)
            fed.set()
            comes_back(page)
            served.on_command = lambda name, value: time.sleep(4)
            page.run("document.getElementById('interrupt').click()")
            page.wait(away, timeout=2 * SLOWER)
            comes_back(page)
            served.stop()
            page.wait(away, timeout=2 * SLOWER)
            server[0] = Display(port=served.port)
            server[0].start()
            comes_back(page)
            # An operator's page that others took the place of does not fight for it.
            monkeypatch.setattr(web_server, "MAX_OPERATORS", 1)
            connects = page.run("realtalk.stats.connects")

            async def take():
                async with pages(server[0]) as open:
                    await open("/operator/ws")

            asyncio.run(take())
            page.wait(f"{notice}.includes('Reload')", timeout=2 * SLOWER)
            time.sleep(1)
            assert page.run("realtalk.stats.connects") == connects
            # A watching page beyond the limit says so, and comes in when there is a place.
            monkeypatch.setattr(web_server, "MAX_CLIENTS", 0)
            page.call("Page.navigate", url=f"http://127.0.0.1:{served.port}/")
            page.wait(f"window.realtalk && {notice}.includes('are open already')", timeout=5)
            monkeypatch.setattr(web_server, "MAX_CLIENTS", 1)
            comes_back(page)
    finally:
        server[0].stop()


@needs_chromium
def test_the_page_goes_on_when_the_clock_is_set(served):
    jump, began = [0.0], time.monotonic()

    def feed():
        t = time.monotonic() - began + jump[0]
        served.show(t, jpeg(int(t * 50) % 256))
        served.play(t, 16000, np.full(640, 0.1, np.float32))

    address = f"http://127.0.0.1:{served.port}/"
    with feeding(feed, pause=0.04), chromium.Page(address) as page:
        page.wait("window.realtalk?.audio.state === 'running' && realtalk.stats.frames > 20")
        for jump[0] in (3600.0, 0.0, 5.0):
            before = page.run("realtalk.stats.frames")
            page.wait(f"realtalk.stats.frames > {before} + 30", timeout=5)
            recent = np.array(page.run("realtalk.stats.offsets.slice(-10)"))
            assert np.median(recent) < 0.1
