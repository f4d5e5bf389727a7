# SPDX-License-Identifier: Apache-2.0
"""What a robot's face must live through: clocks, crashes, a full disk, models that are broken."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
pytest.importorskip("av")

from rosgraph_msgs.msg import Clock  # noqa: E402

from realtalk_ros.commands import node_processes  # noqa: E402
from realtalk_ros.commands.graph_monitor import GraphMonitor  # noqa: E402
from realtalk_ros.onnx_session import FILES, MODEL_DIR  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import (  # noqa: E402
    AVATAR,
    FPS,
    RATE,
    SPEECH,
    Client,
    broken_models,
    environment,
    promised,
    seconds,
    speech,
    start,
    stop,
)

DOMAIN = domain_of(__file__)
NODES = ("expression_node", "renderer_node")
PCM = speech(2.5)[RATE // 2 :]
WITHIN = 3.0  # s in which the graph is to recover
ERROR = 2  # level of diagnostics


@pytest.fixture(scope="module")
def graph():
    processes = {name: start(name, DOMAIN, avatar=AVATAR, size=128) for name in NODES}
    yield processes
    stop(*processes.values())


@pytest.fixture
def client(graph):
    client = Client(DOMAIN)
    client.wait_ready(*NODES)
    client.wait_connected()
    yield client
    client.close()


# Clocks


@pytest.mark.parametrize("jump", [3600, -3600])
def test_simulated_time_and_its_jumps(jump):
    """Nodes on /clock: an hour ahead or back in the middle of an utterance."""
    domain = DOMAIN + 1
    common = {"avatar": AVATAR, "use_sim_time": "true"}
    processes = [start("expression_node", domain, **common),
                 start("renderer_node", domain, size=128, **common)]  # fmt: skip
    client = Client(domain)
    clock = client.node.create_publisher(Clock, "/clock", 10)
    state = {"offset": 10_000.0 - time.time(), "held": 0.0}

    def tick():
        if time.monotonic() < state["held"]:
            return
        message, now = Clock(), time.time() + state["offset"]
        message.clock.sec, message.clock.nanosec = int(now), int(now % 1 * 1e9)
        clock.publish(message)

    client.node.create_timer(0.01, tick)

    def now():
        return time.time() + state["offset"]

    def speak(name, length=1.5, jump_at=None):
        begin, pcm = now() + 0.3, PCM[: round(length * RATE)]
        for i in range(0, len(pcm), 1600):
            if jump_at is not None and i / RATE >= jump_at:
                state["offset"] += jump
                state["held"] = time.monotonic() + 0.05  # sound by the new time overtakes it
                begin, jump_at = begin + jump, None
            client.send(pcm[i : i + 1600], begin + i / RATE, name, i + 1600 >= len(pcm))
            client.spin(0.1)
        return begin

    try:
        client.wait_ready(*NODES)
        client.wait_connected()
        client.wait(lambda: client.images and abs(client.images[-1][0] - now()) < 1, 10, "sim time")
        speak("before")
        client.wait(lambda: True in client.speaking, 3, "speaking")
        client.spin(1.5)
        client.images.clear()
        speak("across", jump_at=0.7)
        client.wait(lambda: abs(client.images[-1][0] - now()) < 0.5, WITHIN, "images of now")
        client.wait(  # nothing of the utterance is lost, but a frame or two at the jump
            lambda: sum(m.utterance_id == "across" for m in client.expressions) > FPS * 1.5,
            WITHIN, "all of the utterance",
        )  # fmt: skip
        client.spin(1.0)
        speak("after", 0.5)
        client.wait(
            lambda: [m for m in client.expressions if m.utterance_id == "after"], WITHIN, "speech"
        )
        assert abs(seconds(client.expressions[-1].header.stamp) - now()) < 3
        assert all(p.poll() is None for p in processes)
    finally:
        client.close()
        stop(*processes)


def test_a_clock_that_never_comes_is_said():
    process = start("expression_node", DOMAIN + 1, use_sim_time="true")
    client = Client(DOMAIN + 1, images=False)
    try:
        client.wait_ready("expression_node")
        client.wait(
            lambda: "/clock does not come" in client.diagnostics["expression_node"][1], 10, "that"
        )
        assert client.diagnostics["expression_node"][0] == 1
    finally:
        client.close()
        stop(process)


# Crashes


def test_expression_node_killed_in_the_middle_of_a_word(graph, client):
    state = {"killed": 0.0}

    def spoken_since():
        """Times of expressions that another process has sent."""
        stamps = [seconds(m.header.stamp) for m in client.expressions]
        return [stamp for stamp in stamps if stamp > state["killed"] + 0.5]

    def watch():
        if not state["killed"] and time.time() > began + 1.0:
            graph["expression_node"].send_signal(signal.SIGKILL)
            graph["expression_node"].wait()
            state["killed"] = time.time()
            graph["expression_node"] = start("expression_node", DOMAIN, avatar=AVATAR)
        return state["killed"] and len(spoken_since()) > 2 * FPS

    client.images.clear()
    began = time.time()
    client.speak(speech(20.0), "killed", until=watch)
    gaps = np.diff([came for _, came in client.images])
    assert gaps.max() < promised(1.0, 4.0)  # the face lives on
    assert spoken_since()[0] < state["killed"] + promised(WITHIN + 1, 15)
    client.wait(lambda: client.speaking[-1] is False, 5, "silence")


@pytest.mark.parametrize("name", ["speech_node", "recorder_node"])
def test_speech_or_recorder_killed_harms_nobody(graph, client, name, tmp_path):
    extra = {"speech_node": {"wav": SPEECH}, "recorder_node": {"out": tmp_path / "x.mp4"}}[name]
    process = start(name, DOMAIN, **extra)
    client.send(PCM, time.time() + 1.0, "begin", last=True)
    client.wait(lambda: name in client.diagnostics, 15, "diagnostics")
    client.spin(1.5)
    process.kill()
    process.wait()
    client.wait(lambda: client.speaking and client.speaking[-1] is False, WITHIN + 3, "silence")
    client.images.clear()  # what he had not read must not be in the others' way
    client.wait(lambda: len(client.images) > FPS, WITHIN, "images after he was killed")
    client.send(PCM, time.time() + 0.2, f"after-{name}", last=True)
    client.wait(lambda: client.speaking[-1] is True, WITHIN, "speech again")
    client.wait(lambda: client.speaking[-1] is False, 6, "silence")
    assert all(p.poll() is None for p in graph.values())


def test_a_soak_that_is_terminated_leaves_no_node_behind():
    command = [sys.executable, "-m", "realtalk_ros.cli", "soak", "--minutes", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        found, end = [], time.monotonic() + 30
        while len(found) < 2 and time.monotonic() < end:
            found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(found) == 2  # the second has only just begun, and must be ended, too
        process.terminate()
        assert process.wait(20) == 143
        assert not [pid for pid in found if Path("/proc", pid).exists()]
    finally:
        process.kill()
        process.wait()


def test_a_command_s_graph_stays_on_this_machine(monkeypatch):
    """Also where the shell has a robot's settings."""
    settings = {"ROS_DISCOVERY_SERVER": "192.0.2.1:11811", "ROS_STATIC_PEERS": "192.0.2.1"}
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, os.environ[name])  # are put back, as the others
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with node_processes.private_graph() as nodes:
        node_processes.start(nodes, "expression_node")
        GraphMonitor("watching", nodes).wait_ready(["expression_node"])
        environ = Path(f"/proc/{nodes['expression_node'].pid}/environ").read_bytes().decode()
        assert not settings.keys() & {line.partition("=")[0] for line in environ.split("\0")}


def test_a_full_disk_ends_the_recording_and_nothing_else(graph, client, tmp_path):
    """The recorder may write 20 kB (a limit of the process stands for the disk)."""
    code = (
        "import resource;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from realtalk_ros.nodes.recorder_node import main; raise SystemExit(main())"
    )
    out = tmp_path / "full.mp4"
    recorder = subprocess.Popen(
        [sys.executable, "-c", code, "--ros-args", "-p", f"out:={out}", "-p", "duration:=8.0"],
        env=environment(DOMAIN), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        client.wait(lambda: "recorder_node" in client.diagnostics, 15, "the recorder")
        client.wait(lambda: client.images, 15, "images")
        client.images.clear()
        client.speak(speech(6.0), "full")
        shown = len(client.images)
        _, log = recorder.communicate(timeout=40)
    finally:
        stop(recorder)
    assert recorder.returncode == 2, log
    errors = [line for line in log.splitlines() if "ERROR" in line]
    assert len(errors) == 1 and "full.mp4" in errors[0] and "Traceback" not in log
    assert shown >= promised(0.7, 0.0) * FPS * 6
    client.images.clear()  # and the face goes on without the recorder
    client.wait(lambda: len(client.images) > FPS, 3, "images after the recording")
    assert all(p.poll() is None for p in graph.values())


# What is not there, or broken, before anything is said


@pytest.mark.parametrize("kind", ["missing", "tampered"])
def test_broken_models_are_said_once_and_shown_while_the_nodes_wait(tmp_path, kind):
    models = broken_models(tmp_path, kind)
    processes = {
        name: start(name, DOMAIN + 1, avatar=AVATAR, model_dir=models, stderr=subprocess.PIPE)
        for name in NODES
    }
    client = Client(DOMAIN + 1)
    try:
        client.wait(lambda: set(NODES) <= set(client.diagnostics), 20, "diagnostics")
        for name, process in processes.items():
            level, message, _ = client.diagnostics[name]
            assert level == ERROR and str(tmp_path) in message and ".onnx" in message
            assert process.poll() is None
        if kind == "missing":  # mended while they run
            for file in FILES:
                (models / file).write_bytes((MODEL_DIR / file).read_bytes())
            client.wait_ready(*NODES)
    finally:
        client.close()
        stop(*processes.values())
    for process in processes.values():
        log = process.stderr.read()
        assert log.count(".onnx") == 1 and "Traceback" not in log
        assert process.returncode == (0 if kind == "missing" else 2)


def test_an_unknown_avatar_is_said_in_one_line():
    process = start("renderer_node", DOMAIN + 1, avatar="../nobody", stderr=subprocess.PIPE)
    client = Client(DOMAIN + 1)
    try:
        client.wait(lambda: "renderer_node" in client.diagnostics, 20, "diagnostics")
        assert client.diagnostics["renderer_node"][0] == ERROR
        assert process.poll() is None  # it waits for the avatar to come
    finally:
        client.close()
        stop(process)
    log = process.stderr.read()
    assert process.returncode == 2
    assert "nobody" in log and "Traceback" not in log and len(log.strip().splitlines()) == 1
