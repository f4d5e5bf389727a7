# SPDX-License-Identifier: Apache-2.0
"""A face tells nobody that it is there: no foreign host is called, nothing is left about it."""

import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from network_calls import listen
from ros_domains import domain_of

DOMAIN = domain_of(__file__)
SECONDS = 8.0  # ONNX Runtime's wheels, if not told to be silent, call home after 5 to 10 s
NOBODY = {"0.0.0.0", "::", "::ffff:0.0.0.0"}


@dataclass(frozen=True)
class Socket:
    kind: str  # tcp, udp, with 6 for IPv6
    here: str
    port: int
    there: str  # whom it is connected to
    there_port: int
    listening: bool


def address(text: str) -> tuple[str, int]:
    """ "0100007F:1F90", as in /proc/net/tcp -> ("127.0.0.1", 8080)."""
    digits, port = text.split(":")
    words = bytes.fromhex(digits)
    raw = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, raw), int(port, 16)


def internet_sockets(pid: int) -> set[Socket]:
    """Those that process `pid` has open now."""
    mine = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            mine.update(re.findall(r"^socket:\[(\d+)]$", os.readlink(link)))
        except OSError:
            continue  # closed since it was listed
    found = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for line in lines:
            _, here, there, state, *rest = line.split()
            if rest[5] in mine:
                found.add(Socket(kind, *address(here), *address(there), state == "0A"))
    return found


class Watch(threading.Thread):
    """Collects all sockets that processes have open, looking a hundred times a second."""

    def __init__(self, *pids: int):
        super().__init__(daemon=True)
        self.pids, self.seen, self.ended = pids, set(), threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.01):
            for pid in self.pids:
                self.seen |= internet_sockets(pid)


def foreign(seen: set[Socket], page: int) -> set[Socket]:
    """What is neither DDS's nor the page's. DDS's sockets are UDP ones that are connected to
    nobody; a look-up of a host's name connects one to its server."""
    return {
        s for s in seen
        if (s.there not in NOBODY if s.kind.startswith("udp") else s.port != page)
    }  # fmt: skip


def test_a_speaking_face_calls_nobody_and_leaves_nothing_behind(tmp_path, monkeypatch):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    pytest.importorskip("aiohttp", reason="the page needs aiohttp")
    if not Path("/proc/self/net/udp").exists():
        pytest.skip("there is no /proc")
    from ros_graph import SPEECH, Client, start, stop

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        page = free.getsockname()[1]
    client = Client(DOMAIN, images=False)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home / ("" if name == "HOME" else name.lower())))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))  # else it is under HOME
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # as in a company's network
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    calls = listen(tmp_path, monkeypatch)
    nodes = [
        start("expression_node", DOMAIN),
        start("renderer_node", DOMAIN),
        start("display_node", DOMAIN, port=page),
    ]
    watch = Watch(*(node.pid for node in nodes))
    watch.start()
    try:
        client.wait_ready("expression_node", "renderer_node", "display_node")
        nodes.append(start("speech_node", DOMAIN, wav=SPEECH))
        with direct.open(f"http://127.0.0.1:{page}/", timeout=10) as answer:
            assert answer.status == 200
        client.wait(lambda: any(e.speech_probability > 0.5 for e in client.expressions), 60,
                    "speech")  # fmt: skip
        client.spin(SECONDS)
    finally:
        watch.ended.set()
        stop(*nodes)
        client.close()
    assert any(s.listening and s.port == page for s in watch.seen)  # it does see them
    assert any(s.kind == "udp" for s in watch.seen)
    assert not foreign(watch.seen, page)
    if calls:
        assert calls() <= {"look-up 127.0.0.1", "connection 127.0.0.1"}
    assert not sorted(p.relative_to(home) for p in home.rglob("*"))


HERE = Path(__file__).parent


@pytest.mark.parametrize("program", [
    ["-m", "realtalk_ros.cli", "doctor"],
    ["-m", "pytest", "-p", "no:cacheprovider", "--collect-only", str(HERE / "test_renderer.py")],
])  # fmt: skip
def test_commands_and_tests_leave_nothing_behind(tmp_path, program):
    home = tmp_path / "home"
    home.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    env["HOME"] = str(home)
    ran = subprocess.run([sys.executable, *program], env=env, cwd=HERE.parent, capture_output=True)
    assert ran.returncode == 0, ran.stdout.decode()
    assert not sorted(p.relative_to(home) for p in home.rglob("*"))
