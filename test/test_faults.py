# SPDX-License-Identifier: Apache-2.0
"""What a robot's face must live through: clocks, crashes, nonsense, a full disk, other hands."""

import os
import signal
import subprocess
import sys
import time
from array import array
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
hypothesis = pytest.importorskip("hypothesis")
av = pytest.importorskip("av")

from geometry_msgs.msg import PointStamped  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402

from realtalk_ros.avatar.provenance import Provenance  # noqa: E402
from realtalk_ros.msg import AudioChunk, FaceExpression  # noqa: E402
from realtalk_ros.nodes.expression_node import ExpressionNode  # noqa: E402
from realtalk_ros.nodes.recorder_node import RecorderNode  # noqa: E402
from realtalk_ros.nodes.renderer_node import RendererNode  # noqa: E402
from realtalk_ros.nodes.speech_node import SpeechNode  # noqa: E402
from realtalk_ros.nodes.subscriptions import Received  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import (  # noqa: E402
    AVATAR,
    FPS,
    RATE,
    SPEECH,
    Client,
    environment,
    promised,
    seconds,
    speech,
    start,
    stop,
)

DOMAIN = domain_of(__file__)
MESSAGES = int(os.environ.get("REALTALK_TEST_FUZZ", "1000"))  # on every topic; 10000 by hand
AT_ONCE = 50
PCM = speech(2.5)[RATE // 2 :]
WITHIN = 3.0  # s in which the graph is to recover


@pytest.fixture(scope="module")
def graph():
    names = ("expression_node", "renderer_node")
    processes = {name: start(name, DOMAIN, avatar=AVATAR, size=128) for name in names}
    yield processes
    stop(*processes.values())


@pytest.fixture
def client(graph):
    client = Client(DOMAIN)
    client.wait_ready("expression_node", "renderer_node")
    client.wait_connected()
    yield client
    client.close()


def change(client, node, *labels):
    for label in labels:
        request = ChangeState.Request()
        request.transition.label = label
        answer = client.call(ChangeState, f"{node}/change_state", transition=request.transition)
        assert answer.success, label


# Life cycle and parameters


def test_life_cycle_does_what_it_says(client):
    change(client, "renderer_node", "deactivate")
    client.spin(0.3)
    client.images.clear()
    client.spin(1.0)
    assert not client.images and client.diagnostics["renderer_node"][1] == "inactive"
    refused = client.set_parameter("renderer_node", "threads", 1)
    assert not refused.successful and "clean it up" in refused.reason
    change(client, "renderer_node", "cleanup")
    assert client.set_parameter("renderer_node", "threads", 1).successful
    state = client.call(GetState, "renderer_node/get_state").current_state.label
    client.spin(0.5)
    assert state == "unconfigured" and not client.images
    change(client, "renderer_node", "configure", "activate")
    client.wait(lambda: client.images, WITHIN, "images")

    change(client, "expression_node", "deactivate")
    client.send(PCM, time.time() + 0.2, "deaf", last=True)
    client.spin(0.6)
    assert not [m for m in client.expressions if m.utterance_id == "deaf" and not m.reset]
    change(client, "expression_node", "cleanup", "configure", "activate")
    client.send(PCM, time.time() + 0.2, "hears", last=True)
    client.wait(lambda: client.expressions[-1].utterance_id == "hears", WITHIN, "expressions")
    client.spin(2.5)


def test_a_node_that_is_told_to_wait_waits():
    process = start("renderer_node", DOMAIN, "-r", "__ns:=/waits", avatar=AVATAR, autostart="false")
    client = Client(DOMAIN, namespace="waits")
    try:
        state = client.call(GetState, "renderer_node/get_state").current_state.label
        client.spin(1.0)
        assert state == "unconfigured" and not client.images
        change(client, "renderer_node", "configure", "activate")
        client.wait(lambda: client.images, WITHIN, "images")
        change(client, "renderer_node", "shutdown")
        assert process.wait(10) == 0
    finally:
        client.close()
        stop(process)


def test_parameters_change_while_it_runs_or_are_refused_with_a_reason(client):
    assert client.set_parameter("renderer_node", "size", 96).successful
    client.wait(lambda: client.image is not None and client.image.height == 96, 5, "size 96")
    for node in ("expression_node", "renderer_node"):
        assert client.set_parameter(node, "fps", 10.0).successful
    client.spin(0.5)
    client.images.clear()
    client.spin(1.5)
    assert np.median(np.diff([s for s, _ in client.images])) == pytest.approx(0.1, abs=1e-3)
    for node in ("expression_node", "renderer_node"):
        assert client.set_parameter(node, "fps", FPS).successful
        refused = client.set_parameter(node, "avatar", "nobody")
        assert not refused.successful and "nobody" in refused.reason
        assert client.set_parameter(node, "avatar", AVATAR).successful
        refused = client.set_parameter(node, "device", "abacus")
        assert not refused.successful and "tensorrt" in refused.reason
        assert not client.set_parameter(node, "fps", 1000.0).successful
    refused = client.set_parameter("renderer_node", "emotion", "hungry")
    assert not refused.successful and "happy" in refused.reason
    assert client.set_parameter("renderer_node", "emotion", "happy 0.5").successful
    assert client.set_parameter("renderer_node", "emotion", "neutral").successful
    assert not client.set_parameter("renderer_node", "frame_id", "x").successful

    plain = client.corner()
    refused = client.set_parameter("renderer_node", "mark", "\u2713")
    assert not refused.successful and "ASCII" in refused.reason
    assert client.set_parameter("renderer_node", "mark", "AI-generated").successful
    client.spin(0.3)
    assert np.abs(client.corner() - plain).mean() > 20
    assert client.set_parameter("renderer_node", "mark", "").successful
    client.spin(0.3)
    assert np.abs(client.corner() - plain).mean() < 5
    refused = client.set_parameter("renderer_node", "background", "green")
    assert not refused.successful and "#20242a" in refused.reason
    assert client.set_parameter("renderer_node", "background", "transparent").successful
    assert client.set_parameter("renderer_node", "background", "").successful
    client.set_parameter("renderer_node", "size", 128)


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
        client.wait_ready("expression_node", "renderer_node")
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


# Crashes


def test_expression_node_killed_in_the_middle_of_a_word(graph, client):
    state = {"killed": 0.0}

    def watch():
        if not state["killed"] and time.time() > began + 1.0:
            graph["expression_node"].send_signal(signal.SIGKILL)
            graph["expression_node"].wait()
            state["killed"] = time.time()
            graph["expression_node"] = start("expression_node", DOMAIN, avatar=AVATAR)
        return False

    client.images.clear()
    began = time.time()
    client.speak(speech(7.0), "killed", until=watch)
    gaps = np.diff([came for _, came in client.images])
    assert gaps.max() < promised(1.0, 4.0)  # the face lives on
    stamps = [seconds(m.header.stamp) for m in client.expressions]
    after = [stamp for stamp in stamps if stamp > state["killed"] + 0.5]
    assert after and after[0] < state["killed"] + promised(WITHIN + 1, 15)
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


# Nonsense

number = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, 0.5, float("nan"), float("inf"), -1.0, 1e30])
)
stamp = st.one_of(
    st.none(), st.floats(-3, 3), st.floats(-1e9, 1e9),
    st.sampled_from([-(2.0**30), -3600.0, 3600.0, 1e8]),
)  # fmt: skip


def set_stamp(message, offset):
    if offset is not None:
        now = min(max(0.0, time.time() + offset), 2.0**31 - 2)
        message.header.stamp.sec, message.header.stamp.nanosec = int(now), int(now % 1 * 1e9)
    return message


@st.composite
def audio_chunks(draw):
    data = draw(st.one_of(st.binary(max_size=64), st.just(bytes(PCM16[:1280])), st.just(b"")))
    return set_stamp(AudioChunk(
        sample_rate=draw(st.one_of(st.sampled_from([0, 1, 8000, 16000, 48000, 2**32 - 1]),
                                   st.integers(0, 2**32 - 1))),
        channels=draw(st.one_of(st.sampled_from([0, 1, 2, 255]), st.integers(0, 255))),
        encoding=draw(st.one_of(st.sampled_from(["pcm_s16le", "pcm_f32le", ""]),
                                 st.text(max_size=9))),
        utterance_id=draw(st.one_of(st.sampled_from(["", "a", "b"]), st.text(max_size=5))),
        last=draw(st.booleans()), reset=draw(st.booleans()), data=array("B", data),
    ), draw(stamp))  # fmt: skip


PCM16 = (PCM * 32767).astype("<i2").tobytes()


@st.composite
def expressions(draw):
    fill = draw(number)
    weights = np.full(52, fill, np.float32)
    weights[draw(st.integers(0, 51))] = draw(number)
    return set_stamp(FaceExpression(
        utterance_id=draw(st.text(max_size=4)), sequence=draw(st.integers(0, 2**32 - 1)),
        weights=weights, head_rotation=np.full(3, draw(number), np.float32),
        speech_probability=draw(number), reset=draw(st.booleans()),
    ), draw(stamp))  # fmt: skip


@st.composite
def points(draw):
    message = PointStamped()
    message.header.frame_id = draw(st.sampled_from(["", "face", "map", "ä" * 50]))
    message.point.x, message.point.y, message.point.z = (
        float(draw(number)), float(draw(number)), float(draw(number))
    )  # fmt: skip
    return set_stamp(message, draw(stamp))


@st.composite
def images(draw):
    data = draw(st.binary(max_size=48))
    return set_stamp(Image(
        encoding=draw(st.sampled_from(["bgr8", "rgb8", "", "mono8"])),
        height=draw(st.sampled_from([0, 1, 2, 4, 2**32 - 1])),
        width=draw(st.sampled_from([0, 1, 2, 4, 2**32 - 1])), data=array("B", data),
    ), draw(stamp))  # fmt: skip


@st.composite
def xmp(draw):
    text = Provenance(draw(st.sampled_from("abc")), consent=draw(st.text(max_size=5))).xmp()
    cut = draw(st.integers(0, len(text)))
    kept = draw(st.sampled_from([text, text[:cut], text[cut:], ""]))
    return String(data=kept.replace("\0", ""))


words = st.one_of(st.text(max_size=20), st.sampled_from(["happy", "sad 0.5", "happy 9", "neutral"]))
FUZZED = {
    "audio": (ExpressionNode, "on_chunks", audio_chunks()),
    "expression": (RendererNode, "on_expressions", expressions()),
    "speech": (RendererNode, "on_chunks", audio_chunks()),
    "emotion": (RendererNode, "commands.on_emotion", words.map(lambda text: String(data=text))),
    "look_at": (RendererNode, "commands.on_look_at", points()),
    "listening": (
        RendererNode,
        "commands.on_listening",
        st.booleans().map(lambda yes: Bool(data=yes)),
    ),
    "audio to the recorder": (RecorderNode, "on_audio", audio_chunks()),
    "images to the recorder": (RecorderNode, "on_image", images()),
    "provenance to the recorder": (RecorderNode, "on_provenance", xmp()),
    "expression to the speaker": (SpeechNode, "on_expression", expressions()),
}


@pytest.fixture(scope="module")
def inside():
    """Nodes in this process, whose callbacks are called as the executor calls them."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN + 2)
    nodes = {}

    def get(kind, folder, **values):
        key = kind, folder
        if key not in nodes:
            values = {"avatar": AVATAR, "size": 128, "out": str(folder / "film.mp4"),
                      "wav": SPEECH, "wait_for": 100, **values}  # fmt: skip
            overrides = [Parameter(name, value=value) for name, value in values.items()]
            nodes[key] = kind(context=context, parameter_overrides=overrides)
            nodes[key].try_setup()
            assert nodes[key].ready, nodes[key].failure
        return nodes[key]

    yield get
    for node in nodes.values():
        node.close()
        node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize("topic", FUZZED)
def test_nonsense_on_every_topic_stops_nothing(inside, tmp_path_factory, topic):
    kind, name, messages = FUZZED[topic]
    node = inside(kind, tmp_path_factory.getbasetemp())
    node.problems.log = lambda message: None
    callback, calls = attrgetter(name)(node), 0
    timed = name in ("on_audio", "on_image") and kind is RecorderNode
    info = [{"source_timestamp": time.time_ns()}] if timed else []

    @settings(max_examples=max(1, MESSAGES // AT_ONCE), deadline=None, database=None,
              suppress_health_check=list(HealthCheck), derandomize=True)  # fmt: skip
    @given(st.lists(messages, min_size=AT_ONCE, max_size=AT_ONCE))
    def feed(batch):
        nonlocal calls
        if name in ("on_chunks", "on_expressions"):  # these take all that wait
            callback([Received(message) for message in batch])
        else:
            for message in batch:
                callback(message, *info)
        calls += len(batch)
        if hasattr(node, "work"):
            node.work()

    feed()
    assert calls >= MESSAGES // AT_ONCE * AT_ONCE and node.ready
    node.publish_diagnostics()
    if kind is ExpressionNode:
        node.interrupt()
        published = []
        node._expression.publish, publish = published.append, node._expression.publish
        good = AudioChunk(sample_rate=RATE, channels=1, encoding="pcm_s16le", last=True,
                          utterance_id="good", data=array("B", PCM16))  # fmt: skip
        node.on_chunks([Received(set_stamp(good, 0.2))])
        end = time.monotonic() + promised(WITHIN + 2, 15)
        while time.monotonic() < end and len(published) < 45:
            node.work()
            time.sleep(0.01)
        node._expression.publish = publish
        assert len(published) >= 45
    elif kind is RendererNode:
        before, end = node.counts["images"], time.monotonic() + promised(WITHIN, 15)
        while node.counts["images"] <= before + 5:
            assert time.monotonic() < end, "no images any more"
            time.sleep(0.05)
        assert np.isfinite(node.face.pose(node.now(), np.zeros(52, np.float32))[0]).all()


@pytest.mark.parametrize("told_at", [2, 8, None], ids=["early", "at the end", "never"])
def test_recording_says_whose_face_it_shows_however_late_it_is_told(inside, tmp_path, told_at):
    """The latched provenance and the images come in any order: nothing is lost by waiting."""
    node = inside(RecorderNode, tmp_path, duration=0.41, exit_when_done=False)
    ann = Provenance("Ann", consent="Ann Lee")
    info, began = {"source_timestamp": time.time_ns()}, time.time()
    for k in range(14):
        if k == told_at:
            node.on_provenance(String(data=ann.xmp()))
        image = Image(encoding="bgr8", height=64, width=64,
                      data=array("B", bytes([15 * k]) * 64 * 64 * 3))  # fmt: skip
        node.on_image(set_stamp(image, began + k / 25 - time.time()), info)
    assert node.out.exists() and node.ready
    with av.open(str(node.out), options={"export_xmp": "1"}) as file:
        frames = [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)]
        assert [round(frame.mean() / 15) for frame in frames] == list(range(len(frames)))
        assert len(frames) == 11  # from 0 to 0.4 s
        comment, xmp = (file.metadata.get(name) for name in ("comment", "xmp"))
    assert comment == (None if told_at is None else ann.words)
    assert xmp is None if told_at is None else Provenance.read(xmp) == ann
