# SPDX-License-Identifier: Apache-2.0
"""Nonsense on what say, display, markers and the adapter listen to: nothing stops, causes show."""

import asyncio
import threading
from array import array

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.action", reason="the ROS messages are not built")
aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402

from realtalk_ros.msg import AudioChunk, FaceExpression  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import Client, start, stop  # noqa: E402

DOMAIN, PORT = domain_of(__file__), 8156
NODES = ("say_node", "display_node", "markers_node", "audio_adapter_node")
COUNT = 10_000  # messages in all
RNG = np.random.default_rng(5)


def some_bytes(most=400):
    return array("B", RNG.bytes(int(RNG.integers(0, most))))


def stamp(message):
    """Now, never, long ago or far ahead."""
    message.header.stamp.sec = int(RNG.choice([0, 1, 1_795_000_000, 2**31 - 1, -(2**31)]))
    message.header.stamp.nanosec = int(RNG.choice([0, 999_999_999, 2**32 - 1]))
    return message


def audio(client):
    return stamp(AudioChunk(
        sample_rate=int(RNG.choice([0, 1, 8000, 44100, 2**32 - 1])),
        channels=int(RNG.choice([0, 1, 2, 255])), last=bool(RNG.integers(2)),
        encoding=str(RNG.choice(["pcm_s16le", "pcm_f32le", "mp3", ""])),
        utterance_id="x" * int(RNG.integers(0, 3)), reset=bool(RNG.integers(8) == 0),
        data=some_bytes(),
    ))  # fmt: skip


def expression(client):
    message = stamp(FaceExpression(reset=bool(RNG.integers(8) == 0), utterance_id="x"))
    values = RNG.choice([0, 1, -1, np.nan, np.inf, 3e38], 52).astype(np.float32)
    message.weights = values
    message.head_rotation = values[:3]
    return message


def picture(client):
    return stamp(CompressedImage(format=str(RNG.choice(["jpeg", "png", ""])), data=some_bytes()))


def text(client):
    return String(
        data=str(RNG.choice(["", "\0", "....", "\n\t", "\U0001f600", "<a>&", "x" * 30000]))
    )


def test_nonsense_stops_nothing():
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


def test_endpoints_that_do_not_match_are_reported():
    process = start("say_node", DOMAIN)
    client, context = Client(DOMAIN, images=False), rclpy.Context()
    try:
        client.wait_ready("say_node")
        lossy = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        client.node.create_publisher(String, "say", lossy)
        rclpy.init(context=context, domain_id=DOMAIN)
        other = rclpy.create_node("other", namespace="realtalk", context=context)
        other.create_publisher(Bool, "expression", 1)

        def reported(*words):
            values = client.diagnostics["say_node"][2]
            return any(all(word in problem for word in words) for problem in values)

        connects = "does not connect to"
        client.wait(lambda: reported("/say", connects, "Best effort publisher"), 10, "QoS")
        client.wait(lambda: reported("/expression", connects, "std_msgs/msg/Bool"), 10, "type")
    finally:
        stop(process)
        client.close()
        rclpy.try_shutdown(context=context)
