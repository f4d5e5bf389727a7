# SPDX-License-Identifier: Apache-2.0
"""Nonsense on every topic of every node: nothing stops, and the causes show."""

import asyncio
import os
import threading
import time
from array import array
from operator import attrgetter

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.action", reason="the ROS messages are not built")
aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")
hypothesis = pytest.importorskip("hypothesis")
pytest.importorskip("av")

from geometry_msgs.msg import PointStamped  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402

from realtalk_ros.avatar.provenance import Provenance  # noqa: E402
from realtalk_ros.msg import AudioChunk, FaceExpression  # noqa: E402
from realtalk_ros.nodes.expression_node import ExpressionNode  # noqa: E402
from realtalk_ros.nodes.recorder_node import RecorderNode  # noqa: E402
from realtalk_ros.nodes.renderer_node import RendererNode  # noqa: E402
from realtalk_ros.nodes.speech_node import SpeechNode  # noqa: E402
from realtalk_ros.nodes.subscriptions import Received  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import AVATAR, RATE, SPEECH, Client, promised, speech, start, stop  # noqa: E402

DOMAIN = domain_of(__file__)
PORT = 8100 + DOMAIN
NODES = ("say_node", "display_node", "markers_node", "audio_adapter_node")
MESSAGES = int(os.environ.get("REALTALK_TEST_FUZZ", "1000"))  # on every topic; 10000 by hand
COUNT = 3 * MESSAGES  # on all topics of other nodes together
RNG = np.random.default_rng(5)


def some_bytes(most=400):
    return array("B", RNG.bytes(int(RNG.integers(0, most))))


def any_stamp(message):
    """Now, never, long ago or far ahead."""
    message.header.stamp.sec = int(RNG.choice([0, 1, 1_795_000_000, 2**31 - 1, -(2**31)]))
    message.header.stamp.nanosec = int(RNG.choice([0, 999_999_999, 2**32 - 1]))
    return message


def audio(client):
    return any_stamp(AudioChunk(
        sample_rate=int(RNG.choice([0, 1, 8000, 44100, 2**32 - 1])),
        channels=int(RNG.choice([0, 1, 2, 255])), last=bool(RNG.integers(2)),
        encoding=str(RNG.choice(["pcm_s16le", "pcm_f32le", "mp3", ""])),
        utterance_id="x" * int(RNG.integers(0, 3)), reset=bool(RNG.integers(8) == 0),
        data=some_bytes(),
    ))  # fmt: skip


def expression(client):
    message = any_stamp(FaceExpression(reset=bool(RNG.integers(8) == 0), utterance_id="x"))
    values = RNG.choice([0, 1, -1, np.nan, np.inf, 3e38], 52).astype(np.float32)
    message.weights = values
    message.head_rotation = values[:3]
    return message


def picture(client):
    return any_stamp(
        CompressedImage(format=str(RNG.choice(["jpeg", "png", ""])), data=some_bytes())
    )


def text(client):
    return String(
        data=str(RNG.choice(["", "\0", "....", "\n\t", "\U0001f600", "<a>&", "x" * 30000]))
    )


def test_nonsense_on_topics_of_other_nodes_stops_nothing():
    processes = [start(n, DOMAIN, **({"port": PORT} if n == "display_node" else {})) for n in NODES]
    client = Client(DOMAIN, images=False)
    done = threading.Event()

    async def look():
        headers = {"Origin": f"http://127.0.0.1:{PORT}"}
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{PORT}/ws"
            async with session.ws_connect(url, headers=headers, max_msg_size=0) as socket:
                while not done.is_set() and not socket.closed:
                    try:
                        await asyncio.wait_for(socket.receive(), 0.2)
                    except asyncio.TimeoutError:
                        pass

    viewer = threading.Thread(target=lambda: asyncio.run(look()))
    try:
        client.wait_ready(*NODES)
        viewer.start()  # display_node subscribes only while somebody looks
        deep = QoSProfile(depth=100)
        makers = [
            (client.node.create_publisher(kind, topic, deep), make)
            for kind, topic, make in (
                (AudioChunk, "audio_out", audio),
                (AudioChunk, "audio_in", audio),
                (FaceExpression, "expression", expression),
                (CompressedImage, "face/image_raw/compressed", picture),
                (String, "say", text),
            )
        ]
        for publisher, _ in makers:
            if publisher.topic_name.endswith("audio_in"):
                continue  # the adapter refuses the type
            client.wait(publisher.get_subscription_count, 15, f"ear on {publisher.topic_name}")
        for k in range(COUNT):
            publisher, make = makers[k % len(makers)]
            publisher.publish(make(client))
            if k % 50 == 0:
                client.executor.spin_once(timeout_sec=0.01)
        client.spin(2.5)
        assert [p.poll() for p in processes] == [None] * len(processes)
        for name in NODES:
            level, message, values = client.diagnostics[name]
            assert level == 1 and values["state"] == "active", (name, message, values)
        assert client.count("display_node", "chunks") > COUNT / 20
    finally:
        done.set()
        stop(*processes)
        client.close()
        if viewer.is_alive():
            viewer.join(5)
    assert [p.returncode for p in processes] == [0] * len(processes)


# The nodes of a face, the recorder and the speech node, in this process

AT_ONCE = 50
PCM = speech(2.5)[RATE // 2 :]
WITHIN = 3.0  # s in which a node is to be in order again
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
    "figures to the recorder": (RecorderNode, "on_sent_audio", audio_chunks()),
    "images to the recorder": (RecorderNode, "on_image", images()),
    "provenance to the recorder": (RecorderNode, "on_provenance", xmp()),
    "expression to the speaker": (SpeechNode, "on_expression", expressions()),
}


@pytest.fixture(scope="module")
def inside():
    """Nodes in this process, whose callbacks are called as the executor calls them."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN + 1)
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
    timed = name in ("on_sent_audio", "on_image") and kind is RecorderNode
    info = [{"source_timestamp": time.time_ns()}] if timed else []

    @settings(max_examples=max(1, MESSAGES // AT_ONCE), deadline=None, database=None,
              suppress_health_check=list(HealthCheck), derandomize=True)  # fmt: skip
    @given(st.lists(messages, min_size=AT_ONCE, max_size=AT_ONCE))
    def feed(batch):
        nonlocal calls
        if name in ("on_audio", "on_chunks", "on_expressions"):  # these take all that wait
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


@pytest.mark.parametrize("late, words", [(5.2, "5 s before"), (-300.0, "300 s after")])
def test_stamps_that_cannot_be_meant_are_said(inside, tmp_path_factory, late, words):
    """As of a machine whose clock is another, or of a sender that stood still."""
    node = inside(ExpressionNode, tmp_path_factory.getbasetemp())
    node.problems.counts.clear()
    lines = []
    node.problems.log, log = lines.append, node.problems.log
    for name in ("first", "second"):
        chunk = AudioChunk(sample_rate=RATE, channels=1, encoding="pcm_s16le", last=True,
                           utterance_id=f"{words} {name}", data=array("B", PCM16))  # fmt: skip
        node.on_chunks([Received(set_stamp(chunk, -late))])
    node.problems.log = log
    node.interrupt()
    assert len(lines) == 1 and f"{words} it was sent" in lines[0] and "stood still" in lines[0]


@pytest.mark.parametrize("late", [3.0, 300.0, -30.0, 0.3])
def test_clocks_of_two_machines_that_differ_are_said(inside, tmp_path_factory, late):
    """All expressions are too late to be shown, or wait for half a minute."""
    node = inside(RendererNode, tmp_path_factory.getbasetemp())
    node.problems.counts.clear()
    node.on_expressions([Received(set_stamp(FaceExpression(), 0.0))])

    def send(count):
        messages = [set_stamp(FaceExpression(utterance_id="a"), -late) for _ in range(count)]
        node.on_expressions([Received(message) for message in messages])
        return [cause for cause in node.problems.counts if "expressions come" in cause]

    assert not send(20)  # as after a clock was set
    assert bool(send(20)) == (late != 0.3)
    node.on_expressions([Received(FaceExpression(reset=True))])
