# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: sound that is not allowed yet or ends, slow tablets, long buffers."""

import contextlib
import itertools
import re
import socket
import threading
import time

import cv2
import numpy as np
import pytest

import chromium
from realtalk_ros.output.web_display import Display

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytestmark = pytest.mark.skipif(not chromium.PROGRAM, reason="Chromium is not installed")

FPS, RATE = 25, 16000
PICTURES = [
    cv2.imencode(".jpg", np.full((64, 64, 3), grey, np.uint8))[1].tobytes()
    for grey in range(0, 256, 16)
]
PLAYING = "window.realtalk?.audio.state === 'running' && running && realtalk.stats.frames > 5"


@contextlib.contextmanager
def opened(
    buffer=0.1, sound_at_once=True, path="/", commands=None, on_problem=lambda _: None, **state
):
    """A page that gets pictures and sound without a pause. `commands`: a list for what it sends;
    `on_problem`: as of Display; `state`: what it shows beside the face."""
    display, done = Display(port=0, buffer=buffer, on_problem=on_problem), threading.Event()

    def command(*given):
        if commands is not None:
            commands.append(given)
        display.update(notice="")  # as display_node, at once

    display.on_command = command
    display.update(**state)
    display.start()

    def feed():
        began, k = time.monotonic(), 0
        while not done.wait(max(0.0, began + k / FPS - time.monotonic())):
            display.show(k / FPS, PICTURES[k % len(PICTURES)])
            display.play(k / FPS, RATE, np.full(RATE // FPS, 0.1, np.float32))
            k += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        with chromium.Page(f"http://127.0.0.1:{display.port}{path}", sound_at_once) as page:
            yield page
    finally:
        done.set()
        thread.join()
        display.stop()


def shows(page, more=20, timeout=10.0):
    """Waits until `more` pictures were shown."""
    before = page.run("window.realtalk?.stats.frames ?? 0")
    page.wait(f"window.realtalk?.stats.frames > {before + more}", timeout)


def test_pictures_wait_as_long_as_the_longest_buffer():
    with opened(buffer=2.0) as page:
        shows(page)
        assert np.median(page.run("realtalk.stats.offsets.slice(-10)")) < 0.1


def test_a_decoder_that_is_too_slow_leaves_pictures_out_and_sound_alone():
    slow = """(() => {
      const decode = createImageBitmap;
      window.unfinished = 0;
      window.createImageBitmap = async (blob) => {
        unfinished++;
        await new Promise((finish) => setTimeout(finish, 120));
        return decode(blob).finally(() => { unfinished--; });
      };
    })()"""
    with opened() as page:
        page.wait(PLAYING)
        page.run(slow)
        anchors = page.run("realtalk.stats.anchors")
        shows(page, 20, timeout=20.0)
        assert page.run("realtalk.stats.anchors") <= anchors + 1
        assert page.run("unfinished") <= 1 and page.run("waiting.length + frames.length") < 10
        assert np.median(page.run("realtalk.stats.offsets.slice(-10)")) < 0.5


def test_a_tab_that_is_hidden_keeps_and_decodes_nothing():
    with opened() as page:
        page.wait(PLAYING)
        page.run("""(() => {
          window.requestAnimationFrame = (draw) => { window.drawing = draw; };
          window.decodes = 0;
          const decode = createImageBitmap;
          window.createImageBitmap = (blob) => { decodes++; return decode(blob); };
        })()""")
        time.sleep(1)
        chunks, decodes = page.run("[realtalk.stats.chunks, decodes]")
        page.wait(f"realtalk.stats.chunks > {chunks + 3 * FPS}")  # it is heard
        assert page.run("waiting.length + frames.length") < 12 and page.run("decodes") == decodes
        page.run("""(() => {
          window.requestAnimationFrame = (draw) => setTimeout(draw, 16);
          drawing();
        })()""")
        shows(page)


def test_who_runs_no_script_is_told():
    with opened() as page:
        shows(page, 1)
        notice = "document.getElementById('notice').textContent"
        assert page.run(notice) == ""
        page.call("Emulation.setScriptExecutionDisabled", value=True)
        page.call("Page.reload")
        time.sleep(1)
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        assert "too old" in page.run(notice)


def touch(page, x, y):
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def type_a_letter(page):
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="a", text="a")


@pytest.mark.parametrize("act", [lambda page: touch(page, x=300, y=300), type_a_letter])
def test_a_touch_anywhere_or_a_key_gives_leave_to_play(act):
    with opened(sound_at_once=False) as page:
        shows(page)  # without sound, too
        assert page.run("realtalk.audio.state") == "suspended"
        assert page.run("getComputedStyle(document.getElementById('sound')).display") != "none"
        act(page)
        page.wait(PLAYING, timeout=5)
        assert page.run("getComputedStyle(document.getElementById('sound')).display") == "none"


def test_a_muted_page_stays_silent_whatever_is_touched():
    with opened(path="/?mute") as page:  # where browsers would play sound at once
        shows(page)
        touch(page, x=300, y=300)
        shows(page)
        chunks = page.run("realtalk.stats.chunks")
        page.wait(f"realtalk.stats.chunks > {chunks + FPS}")
        assert page.run("[realtalk.audio.state, sources.length]") == ["suspended", 0]
        assert page.run("getComputedStyle(document.getElementById('sound')).display") == "none"
        assert np.median(page.run("realtalk.stats.offsets.slice(-10)")) < 0.1


def test_pictures_go_on_while_the_sound_card_hangs():
    with opened() as page:
        page.wait(PLAYING)
        page.run("""(() => {
          const time = realtalk.audio.currentTime;
          Object.defineProperty(realtalk.audio, "currentTime", { value: time, configurable: true });
        })()""")
        page.wait("!running", timeout=5)
        shows(page, 2 * FPS)
        page.run("delete realtalk.audio.currentTime")
        page.wait("running", timeout=5)
        shows(page)
        assert np.median(page.run("realtalk.stats.offsets.slice(-10)")) < 0.1


def test_sound_that_ended_by_itself_is_tried_again():
    with opened() as page:
        page.wait(PLAYING)
        page.run("realtalk.audio.suspend()")  # as when the loudspeaker is pulled out
        page.wait("!running", timeout=5)
        shows(page)
        page.wait("running", timeout=10)


def test_an_operator_writes_on_a_phone_and_keeps_what_was_not_sent():
    with opened(path="/operator") as page:
        shows(page, 1)
        page.call("Emulation.setDeviceMetricsOverride", width=360, height=640, mobile=True,
                  deviceScaleFactor=1)  # fmt: skip
        text = "document.getElementById('text')"
        assert page.run(f"{text}.getBoundingClientRect().width") > 150
        send = f"{text}.value = 'Hello.'; document.getElementById('operator').requestSubmit()"
        page.run(send)
        assert page.run(f"{text}.value") == ""
        page.run("send = unsent")  # as while it connects
        page.run(send)
        assert page.run(f"{text}.value") == "Hello."
        assert "not sent" in page.run("document.getElementById('notice').textContent")


AWAKE = """(() => {
  navigator.audioSession = { type: "auto" }; // of WebKit
  window.locks = []; // asked for, to keep the screen on
  navigator.wakeLock.request = async (kind) => {
    locks.push(kind);
    return (window.lock = { released: false });
  };
})()"""


def test_the_face_keeps_its_screen_on_and_an_operators_page_does_not():
    with opened() as page:
        page.wait("window.realtalk")
        assert page.run("awake?.constructor.name ?? 'none'") == "WakeLockSentinel"
        page.call("Page.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=AWAKE)
        page.call("Page.reload")
        page.wait("window.lock")
        visible = "document.dispatchEvent(new Event('visibilitychange'))"
        page.run(f"{visible}; {visible}")
        assert page.run("locks") == ["screen"]
        assert page.run("navigator.audioSession.type") == "playback"
        page.run(f"lock.released = true; {visible}")  # as after another tab was in front
        assert page.run("locks") == ["screen", "screen"]
        page.run("location.pathname = '/operator'")
        shows(page, 1)
        assert page.run("locks") == []


def test_who_touches_the_robots_screen_changes_nothing_of_the_page():
    """Neither zoom nor menu, nor a mouse pointer before the face."""
    with opened() as page:
        shows(page, 1)
        page.call("Emulation.setDeviceMetricsOverride", width=360, height=640, mobile=True,
                  deviceScaleFactor=1)  # fmt: skip
        page.call("Emulation.setTouchEmulationEnabled", enabled=True)
        for distance in (20, *range(30, 150, 10), 0):  # of each of two fingers from their middle
            kind = {20: "touchStart", 0: "touchEnd"}.get(distance, "touchMove")
            fingers = [{"x": 180 + k * distance, "y": 300, "id": k} for k in (-1, 1) if distance]
            page.call("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)
        assert page.run("visualViewport.scale") == 1
        page.call("Emulation.setTouchEmulationEnabled", enabled=False)
        menu = "new MouseEvent('contextmenu', {bubbles: true, cancelable: true})"
        assert page.run(f"canvas.dispatchEvent({menu})") is False
        page.wait("getComputedStyle(canvas).cursor === 'none'")
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=180, y=300)
        assert page.run("getComputedStyle(canvas).cursor") == "auto"
        page.wait("getComputedStyle(canvas).cursor === 'none'")


class Proxy:
    """Passes requests for /face/... on to a display, as nginx does; `headers` says how."""

    def __init__(self, port, headers):
        self._port, self._headers = port, headers
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head and (data := client.recv(65536)):
                head += data
            if not head.startswith(b"GET /face/"):
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                server.sendall(self._headers(head.replace(b"GET /face/", b"GET /", 1)))
                threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
                self._pass(server, client)

    def _pass(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._server.close()


def whole(head):
    """Headers as they should be passed on; a connection is for one request."""
    upgrade = b"\r\nUpgrade: websocket\r\n" in head
    return head if upgrade else head.replace(b"keep-alive", b"close")


@pytest.mark.parametrize("headers, problem", [
    (whole, ""),
    (lambda head: re.sub(rb"(Host: .*):\d+\r\n", rb"\1\r\n", whole(head)), "Host header"),
    (lambda head: re.sub(rb"Upgrade: .*\r\n", b"", whole(head)), "Upgrade"),
    (lambda head: re.sub(rb"Connection: .*\r\n", b"Connection: close\r\n", head), "Connection"),
], ids=["", "no port", "no upgrade", "no connection"])  # fmt: skip
def test_a_proxy_serves_it_under_its_own_path_or_both_ends_say_why_not(headers, problem):
    problems = []
    with opened(on_problem=problems.append) as page:
        shows(page, 1)
        proxy = Proxy(int(page.run("location.port")), headers)
        try:
            page.call("Page.navigate", url=f"http://127.0.0.1:{proxy.port}/face/operator")
            page.wait(f"location.port === '{proxy.port}' && window.realtalk")
            if problem:
                notice = "document.getElementById('notice').textContent"
                page.wait(f"{notice}.includes('refuses this page')")
                assert problem in problems[0]
            else:
                shows(page)
                assert page.run("operator && getComputedStyle(document.body).display") == "flex"
                # A robot's own page there may show the face in a frame.
                page.run("document.body.append(document.createElement('iframe'))")
                page.run("document.querySelector('iframe').src = '/face/'")
                framed = "document.querySelector('iframe').contentWindow"
                page.wait(f"{framed}.realtalk?.stats.frames > 5")
        finally:
            proxy.close()


NAMES = ["default", "mira", "ines", "Ann-Smith-2026-11-21-in-the-museum-with-glasses-and-a-scarf"]
LONG_NOTICE = "the avatar stays: /home/" + "a_long_folder_" * 12 + "/avatar.yaml is not there"
BOXES = """["notice", "sound", "avatar", "text", "interrupt"].map((id) => {
  const box = document.getElementById(id).getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
})"""


def luminance(rgb):
    """As WCAG 2 defines it, of 0..255."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb / 255]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(page, element, pseudo="", behind=(0.0, 0.0, 0.0)):
    """Of its text, on its background, on the colour `behind`."""
    colours = page.run(f"""(() => {{
      const element = document.getElementById("{element}"), itself = getComputedStyle(element);
      return [getComputedStyle(element, "{pseudo}").color, itself.backgroundColor]
        .map((colour) => colour.match(/[0-9.]+/g).map(Number));
    }})()""")
    text, ground = (np.array([*colour, 1.0][:4]) for colour in colours)
    seen = ground[3] * ground[:3] + (1 - ground[3]) * np.array(behind)
    assert (
        text[3]
        == float(page.run(f"getComputedStyle(document.getElementById('{element}')).opacity"))
        == 1
    )
    low, high = sorted((luminance(text[:3]), luminance(seen)))
    return (high + 0.05) / (low + 0.05)


def test_the_operators_page_fits_every_screen_and_can_be_read():
    with opened(
        path="/operator", sound_at_once=False, avatars=NAMES, avatar="mira", notice=LONG_NOTICE
    ) as page:
        page.wait("window.realtalk && document.getElementById('avatar').options.length === 4")
        for width, height in ((960, 720), (360, 640), (640, 360), (320, 480), (1080, 1920)):
            page.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      mobile=width < 500, deviceScaleFactor=1)  # fmt: skip
            assert page.run("document.documentElement.scrollWidth") == width
            boxes = page.run(BOXES)
            assert all(left >= 0 and right <= width for left, _, right, _ in boxes)
            assert boxes[0][2] <= boxes[1][0]  # notice beside the button, not under it
        assert contrast(page, "notice", behind=(255, 255, 255)) >= 4.5  # of a white background
        assert contrast(page, "text", "::placeholder") >= 4.5


def press(page, key, code):
    for kind in ("rawKeyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)


def test_arrow_keys_reach_every_avatar_before_the_first_has_loaded():
    commands = []
    with opened(path="/operator", commands=commands, avatars=NAMES, avatar="default") as page:
        page.wait("document.getElementById('avatar')?.options.length === 4")
        page.run("document.getElementById('avatar').focus()")
        page.run("""(() => { // counts what the server says of its state
          const before = tell;
          window.states = 0;
          tell = (message) => { before(message); states += message.type === "state"; };
        })()""")
        for k in range(1, 4):
            press(page, "ArrowDown", 40)
            page.wait(f"states >= {k}")
        assert commands == [("avatar", name) for name in NAMES[1:]]


def test_who_only_watches_is_told_nothing_of_commands():
    with opened(notice="nobody listens on the topic say: start say_node") as page:
        shows(page, 5)
        assert page.run("document.getElementById('notice').textContent") == ""


def test_texts_are_sent_whole_or_kept_and_written_in_their_direction():
    commands = []
    with opened(path="/operator", commands=commands) as page:
        shows(page, 1)
        text = "document.getElementById('text')"
        send = "document.getElementById('operator').requestSubmit()"
        page.run(f"{text}.focus()")
        page.call("Input.insertText", text="😀" * 1999 + "م" * 2002)  # as pasted
        page.run(send)
        assert "4001 characters" in page.run("document.getElementById('notice').textContent")
        assert page.run(f"{text}.value.length") == 6000 and not commands
        assert page.run(f"getComputedStyle({text}).direction") == "rtl"
        press(page, "Backspace", 8)
        page.run(send)
        page.wait(f"{text}.value === ''")
        shows(page)
        assert [len(value) for _, value in commands] == [4000]
        for k in range(40):  # too many at once
            page.run(f"{text}.value = 'number {k}'; {send}")
            if "too many" in page.run("document.getElementById('notice').textContent"):
                break
        shows(page)
        assert page.run(f"{text}.value").startswith("number") and len(commands) < 40


TONE = np.full(RATE // FPS, 0.1, np.float32)
SCHEDULE = """(() => {
  window.scheduled = []; // when sounds begin and end
  window.seen = []; // media time that is shown, between two looks at what is heard
  window.stopped = 0; // before they end
  const { start, stop } = AudioBufferSourceNode.prototype;
  AudioBufferSourceNode.prototype.start = function (at) {
    scheduled.push([at, at + this.buffer.duration]);
    start.call(this, at);
  };
  AudioBufferSourceNode.prototype.stop = function () { stopped++; stop.call(this); };
  const heard = () => clock() - latency();
  setInterval(() => { seen.push([heard(), heardNow(), heard()]); }, 10);
})()"""


@contextlib.contextmanager
def waiting_for_sound():
    """A display, a page of it that has shown pictures, and the time of the last one, s."""
    display = Display(port=0, buffer=0.6)
    display.start()
    try:
        with chromium.Page(f"http://127.0.0.1:{display.port}/") as page:
            page.wait("window.realtalk?.stats.connects")
            begin, time_ = time.monotonic(), 0.0
            while not page.run("running && realtalk.stats.frames > 5"):
                assert time.monotonic() < begin + 30
                time_ = time.monotonic() - begin
                display.show(time_, PICTURES[0])
            page.run(SCHEDULE)
            yield display, page, time_
    finally:
        display.stop()


@pytest.mark.parametrize("sent", [False, True], ids=["a gap", "silence that is sent"])
def test_a_pause_is_used_to_catch_up_and_nothing_is_heard_at_once(sent):
    """After a network stalled, all comes at once and is heard too late: what follows a pause must
    neither begin before the end of what was said, nor be as late."""
    with waiting_for_sound() as (display, page, begin):
        for k in range(67):  # 1 s, and twice 0.5 s of silence and 0.3 s
            speaks = k < 25 or 38 <= k < 46 or k >= 59
            if speaks or sent:
                display.play(begin + k / FPS, RATE, TONE if speaks else 0 * TONE)
        display.flush()
        page.wait("scheduled.length && !sources.length")
        sounds, seen = page.run("[scheduled, seen]")
    gaps = [after[0] - sound[1] for sound, after in itertools.pairwise(sounds)]
    pauses = [k for k, gap in enumerate(gaps) if gap > 1e-3]
    assert min(gaps) > -1e-3 and len(pauses) == 2
    assert all(0.25 < gaps[k] < 0.4 for k in pauses)  # not 0.52
    starts = [sounds[0][0], *(sounds[k + 1][0] for k in pauses)]
    ends = [*(sounds[k][1] for k in pauses), sounds[-1][1]]
    since = [starts[0], *(end + 0.02 for end in ends)]  # shown by what is heard from then on
    for frame, start, shown_from, end in zip((0, 38, 59), starts, since, ends, strict=False):
        for before, shown, after in seen:
            if shown_from < before and after < end - 0.02:
                assert before - 0.02 < shown - begin - frame / FPS + start < after + 0.02


def test_no_word_is_lost_of_what_a_stalled_network_held_back():
    with waiting_for_sound() as (display, page, begin):
        for k in range(70):  # 2.8 s, of the 3 s that the server holds
            display.play(begin + k / FPS, RATE, TONE)
        display.flush()
        page.wait("scheduled.length && !sources.length")
        sounds, stopped = page.run("[scheduled, stopped]")
    assert stopped == 0
    assert sum(end - start for start, end in sounds) == pytest.approx(2.8, abs=0.01)
    assert sounds[-1][1] - sounds[0][0] == pytest.approx(2.8, abs=0.01)
