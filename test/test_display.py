"""The page: what is served to whom, slow clients, and face and sound in a real browser."""

import asyncio
import json
import os
import struct
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import chromium
from realtalk_ros import display
from realtalk_ros.display import FORGET, JPEG, RATE, SOUND, Display, Sampler
from realtalk_ros.errors import RealTalkError

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

DOMAIN = 52
needs_chromium = pytest.mark.skipif(not chromium.PROGRAM, reason="Chromium is not installed")


def jpeg(grey: int, size: int = 64) -> bytes:
    return cv2.imencode(".jpg", np.full((size, size, 3), grey, np.uint8))[1].tobytes()


@pytest.fixture
def orders():
    return []


@pytest.fixture
def served(orders):
    server = Display(port=0, on_order=lambda *order: orders.append(order))
    server.start()
    yield server
    server.stop()


def connected(server, action, origin="http://127.0.0.1:{port}", host=None):
    """Runs `await action(socket, session)` with a WebSocket to the server."""

    async def run():
        headers = {"Origin": origin.format(port=server.port)} if origin else {}
        if host:
            headers["Host"] = host.format(port=server.port)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.port}/ws"
            async with session.ws_connect(url, headers=headers) as socket:
                return await action(socket, session)

    return asyncio.run(asyncio.wait_for(run(), 30))


async def nothing(socket, session):
    return json.loads((await socket.receive()).data)


def test_a_page_is_greeted_then_gets_pictures_and_sound_with_their_times(served):
    served.tell(avatars=["default"], avatar="default")

    async def action(socket, session):
        greeting = json.loads((await socket.receive()).data)
        served.show(12.5, jpeg(9))
        served.hear(12.0, 16000, np.full(1600, 0.5, np.float32))
        served.end()
        got = [(await socket.receive()).data for _ in range(3)]
        served.forget()
        return greeting, got + [(await socket.receive()).data]

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
    whole = Sampler()
    together = b"".join(d for _, d in whole.push(5.0, 22050, pcm) + whole.flush())
    pieces, parts = Sampler(), []
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


def test_orders_are_checked(served, orders):
    served.tell(avatars=["default"])
    bad = ["", "[]", "{}", "7", '{"say": ""}', '{"say": 3}', '{"avatar": "../x"}', '{"run": "ls"}',
           '{"say": "a", "interrupt": true}', '{"say": "' + "x" * 5000 + '"}',
           "[" * 30000]  # fmt: skip

    async def action(socket, session):
        await socket.receive()
        for text in bad:
            await socket.send_str(text)
            assert json.loads((await socket.receive()).data)["type"] == "refused", text
        for order in ({"say": "hello"}, {"interrupt": True}, {"avatar": "default"}, {"x": 1}):
            await socket.send_json(order)
        await socket.receive()

    connected(served, action)
    assert orders == [("say", "hello"), ("interrupt", True), ("avatar", "default")]


def test_no_orders_where_none_are_wanted(orders):
    server = Display(port=0, operators="none", on_order=lambda *order: orders.append(order))
    server.start()

    async def action(socket, session):
        await socket.receive()
        await socket.send_json({"say": "hello"})
        return json.loads((await socket.receive()).data)["reason"]

    assert "not allowed" in connected(server, action)
    server.stop()
    assert orders == []


def test_a_client_that_stops_reading_costs_nothing_and_is_let_go(served, monkeypatch):
    monkeypatch.setattr(display, "STUCK", 1.0)
    picture = jpeg(100, 512) + bytes(200_000)
    done = threading.Event()

    def feed():
        k = 0
        while not done.is_set():
            k += 1
            served.show(k / 25, picture)
            time.sleep(0.005)

    async def action(stuck, session):
        stuck._response.connection.transport.pause_reading()
        origin = {"Origin": f"http://127.0.0.1:{served.port}"}
        url = f"http://127.0.0.1:{served.port}/ws"
        async with session.ws_connect(url, headers=origin, max_msg_size=0) as reader:
            count, end = 0, time.monotonic() + 15
            while served.counts["stuck"] == 0 and time.monotonic() < end:
                await reader.receive()
                count += 1
            waiting = [len(c.pictures) + len(c.others) for c in served._clients]
        stuck._response.connection.transport.abort()  # or it waits 10 s to be told goodbye
        return count, waiting

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        count, waiting = connected(served, action)
    finally:
        done.set()
        thread.join()
    assert served.counts["stuck"] == 1  # it was let go
    assert count > 50 and max(waiting, default=0) <= display.PICTURES + 1  # the other one goes on


def test_a_port_in_use_is_said_in_one_line(served):
    with pytest.raises(RealTalkError, match="choose another host or port"):
        Display(port=served.port).start()


@needs_chromium
def test_a_flash_is_seen_when_its_beep_is_heard(served):
    """Flashes and beeps at the same times, found again in the browser: the canvas's pixels against
    the samples that its sound graph puts out."""
    fps, rate, done = 50, 22050, threading.Event()
    dark, bright = jpeg(0), jpeg(255)

    def is_on(t):
        return (t % 1.0) < 0.2

    def feed():
        began = time.monotonic() + 0.1
        k = 0
        while not done.is_set():
            t = k / fps
            time.sleep(max(0, began + t - time.monotonic()))
            served.show(t, bright if is_on(t) else dark)
            n = np.arange(k * rate // fps, (k + 1) * rate // fps)
            tone = 0.5 * np.sin(n * 2 * np.pi * 1000 / rate) * is_on(n / rate + 1e-9)
            served.hear(n[0] / rate, rate, tone.astype(np.float32))
            k += 1

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
    thread = threading.Thread(target=feed)
    thread.start()
    try:
        with chromium.Page(f"http://127.0.0.1:{served.port}/") as page:
            page.wait("window.realtalk?.audio.state === 'running' && realtalk.stats.frames > 50")
            seen = page.run(watch)
            stats = page.run("({...realtalk.stats, offsets: realtalk.stats.offsets.slice(-200)})")
    finally:
        done.set()
        thread.join()
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
        start("display_node", DOMAIN, port=8152),
    ]
    client = Client(DOMAIN, images=False)
    try:
        client.wait_ready("expression_node", "renderer_node", "say_node", "display_node")
        with chromium.Page("http://127.0.0.1:8152/operator") as page:
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
            pictures = [np.array(page.run(mouth), float) for _ in range(6)]
            page.screenshot(tmp_path / "display.png")
            stats = page.run("realtalk.stats")
            page.run("document.getElementById('interrupt').click()")
            page.wait("""new Promise((finish) => { const before = realtalk.stats.chunks;
                setTimeout(() => finish(realtalk.stats.chunks === before), 500); })""")
            stop(processes[3])
            processes[3] = start("display_node", DOMAIN, port=8152)
            page.wait("realtalk.stats.connects === 2")  # it comes back by itself
            before = page.run("realtalk.stats.frames")
            page.wait(f"realtalk.stats.frames > {before} + 10")
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
def test_the_page_goes_on_when_the_clock_is_set(served):
    done, jump = threading.Event(), [0.0]

    def feed():
        began = time.monotonic()
        while not done.is_set():
            t = time.monotonic() - began + jump[0]
            served.show(t, jpeg(int(t * 50) % 256))
            served.hear(t, 16000, np.full(640, 0.1, np.float32))
            time.sleep(0.04)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        with chromium.Page(f"http://127.0.0.1:{served.port}/") as page:
            page.wait("window.realtalk?.audio.state === 'running' && realtalk.stats.frames > 20")
            for jump[0] in (3600.0, 0.0, 5.0):
                before = page.run("realtalk.stats.frames")
                page.wait(f"realtalk.stats.frames > {before} + 30", timeout=5)
                recent = np.array(page.run("realtalk.stats.offsets.slice(-10)"))
                assert np.median(recent) < 0.1
    finally:
        done.set()
        thread.join()
