# SPDX-License-Identifier: Apache-2.0
"""Sound of other packages: messages built from their published definitions, sent over DDS."""

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import message_packages
from realtalk_ros.audio.arrival_timeline import ArrivalTimeline
from realtalk_ros.audio.message_adapters import (
    FORMATS,
    KINDS,
    SampleLayout,
    layout_of,
    to_frames,
)
from realtalk_ros.errors import AudioError
from realtalk_ros.playout.message_merger import Received
from ros_domains import domain_of

DOMAIN = domain_of(__file__)
HEADER = "std_msgs/Header header\n"
DRIVERS = {  # github.com/ros-drivers/audio_common, branch ros2
    "AudioData": "uint8[] data\n",
    "AudioDataStamped": HEADER + "audio_common_msgs/AudioData audio\n",
    "AudioInfo": "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\n"
                 "string coding_format\n",
}  # fmt: skip
MGONZS = {  # github.com/mgonzs13/audio_common
    "AudioData": "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\n"
                 "int8[] int8_data\nuint8[] uint8_data\n",
    "AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk\n",
    "Audio": "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info\n",
    "AudioStamped": HEADER + "audio_common_msgs/Audio audio\n",
}  # fmt: skip
FOXGLOVE = {  # github.com/foxglove/foxglove-sdk, schemas/ros2
    "RawAudio": "builtin_interfaces/Time timestamp\nuint8[] data\nstring format\n"
                "uint32 sample_rate\nuint32 number_of_channels\n",
}  # fmt: skip

# Half a second of a stereo tone, as chunks of 20 ms, again and again, by a process that has the
# built package. (Each end of a topic finds the other for itself, so the first may be lost.)
SENDER = """
import sys, time, math, array, rclpy
from rclpy.qos import QoSProfile, DurabilityPolicy
from {package}.msg import *
import std_msgs.msg
kind, rate, changes = sys.argv[1], 48000, dict(a.split("=") for a in sys.argv[2:])
rclpy.init(); node = rclpy.create_node("sender", namespace="realtalk")
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
pub = node.create_publisher(globals()[kind], "audio_in", 10)
if "info" in changes:
    info = node.create_publisher(AudioInfo, "audio_info", latched)
    info.publish(AudioInfo(channels=2, sample_rate=rate, sample_format="S16LE",
                           coding_format=changes["info"]))
while not pub.get_subscription_count(): time.sleep(0.02)
for k in (k for _ in range(20) for k in range(25)):
    if k == 0: time.sleep(float(changes.get("pause", 0.6)))  # which begins a new utterance
    wave = [0.5 * math.sin((k * 960 + i // 2) * 2 * math.pi * 440 / rate) for i in range(1920)]
    s16 = array.array("h", [int(32767 * v) for v in wave])
    now = node.get_clock().now().to_msg()
    if kind == "RawAudio":
        m = RawAudio(timestamp=now, data=s16.tobytes(), format="pcm-s16", sample_rate=rate,
                     number_of_channels=2)
    elif kind == "AudioStamped":
        m = AudioStamped(); m.header.stamp = now
        m.audio.info = AudioInfo(format=1, channels=2, rate=rate, chunk=960)
        m.audio.audio_data.float32_data = wave
    elif kind == "AudioDataStamped":
        m = AudioDataStamped(); m.header.stamp = now; m.audio.data = s16.tobytes()
    else:
        m = AudioData(data=s16.tobytes())
    pub.publish(m); time.sleep(0.02)
"""


@pytest.mark.parametrize("name", FORMATS)
def test_every_sample_format_is_the_same_sound(name):
    dtype = np.dtype(FORMATS[name])
    wave = np.array([0.5, -0.5, 0.25, -1.0])
    raw = wave if dtype.kind == "f" else np.round(wave * 2 ** (8 * dtype.itemsize - 1))
    raw = (raw + 128 if dtype.kind == "u" else raw).astype(dtype)
    message = SimpleNamespace(data=raw.tobytes())
    read = next(kind.read for kind in KINDS if kind.field == "data")
    assert np.allclose(read(message, SampleLayout(8000, 1, name)).pcm, wave)
    assert np.allclose(read(message, SampleLayout(8000, 2, name)).pcm, [0.0, -0.375])


def test_bad_sound_is_refused_with_a_reason():
    with pytest.raises(AudioError, match="whole"):
        to_frames(np.zeros(3, np.int16), 2)
    with pytest.raises(AudioError, match="channels"):
        to_frames(np.zeros(3, np.int16), 0)
    with pytest.raises(AudioError, match="S16LE"):
        SampleLayout(format="mp3")
    info = SimpleNamespace(
        coding_format="mp3", sample_rate=16000, channels=1, sample_format="S16LE"
    )
    with pytest.raises(AudioError, match="wave"):
        layout_of(info)
    assert not np.isnan(to_frames(np.array([np.nan, 1e300]), 1)).any()


def test_samples_are_the_clock_and_a_pause_begins_a_new_utterance():
    timeline = ArrivalTimeline()
    # Jittering stamps, and chunks that come in a burst: no gap, no overlap.
    nows = [10.0, 10.031, 10.04, 10.065, 10.066, 10.067]
    placed = [timeline.place(now - 0.01, now, 0.02) for now in nows]
    assert np.allclose([s for s, _ in placed], 9.99 + 0.02 * np.arange(6))
    assert {u for _, u in placed} == {1}
    assert timeline.place(20.0, 20.0, 0.02) == (20.0, 2)  # a pause
    assert timeline.place(500.0, 20.02, 0.02) == (20.02, 2)  # another clock's stamp
    assert timeline.place(None, 20.04, 0.02) == (20.04, 2)
    assert timeline.place(None, 5.0, 0.02) == (5.0, 3)  # the clock was set back


@pytest.mark.parametrize("fast, late", [(0.0, 0.0), (1e-4, 0.36), (1e-3, 0.45), (4e-3, 0.45)])
def test_a_sound_card_that_is_fast_does_not_come_ever_later(fast, late):
    """An hour of a microphone that is always open; the sender sends up to 5 ms late."""
    timeline, jitter = ArrivalTimeline(), np.random.default_rng(0).uniform(0, 0.005, 36000)
    sent = np.arange(36000) * 0.1 / (1 + fast) + jitter
    placed = np.array([timeline.place(None, when, 0.1) for when in sent])
    assert (placed[:, 1] == 1).all()
    assert (placed[:, 0] - sent).max() <= late + 0.01
    left_out = 0.1 - np.diff(placed[:, 0])
    assert (left_out.round(3) >= 0).all()  # nothing but what is too much
    assert left_out.sum() <= max(0.0, 3600 * fast - 0.2) + 0.01


ros = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed")
built = pytest.mark.skipif(bool(message_packages.missing()), reason=message_packages.missing())


@pytest.fixture(scope="module")
def packages(request):
    """Prefixes of the packages, which are built once (minutes on a busy machine)."""
    cache = request.config.cache.mkdir("message_packages")
    with ThreadPoolExecutor() as pool:  # CMake, half of the time, uses one core
        building = {
            key: pool.submit(message_packages.build, cache, *what)
            for key, what in {
                "drivers": ("audio_common_msgs", DRIVERS, "std_msgs"),
                "mgonzs": ("audio_common_msgs", MGONZS, "std_msgs"),
                "foxglove": ("foxglove_msgs", FOXGLOVE, "builtin_interfaces"),
            }.items()
        }
        return {key: prefix.result() for key, prefix in building.items()}


def heard(packages, monkeypatch, until, sender, kind, *changes, receiver=None, **parameters):
    """What the adapter makes of what a sender sends `until(chunks, diagnostics)`: these two."""
    from realtalk_ros.msg import AudioChunk
    from ros_graph import Client, environment, start, stop

    receiver = sender if receiver is None else receiver
    package = "foxglove_msgs" if sender == "foxglove" else "audio_common_msgs"
    client = Client(DOMAIN, images=False)
    chunks = []
    client.node.create_subscription(AudioChunk, "audio", chunks.append, 500)
    with monkeypatch.context() as patch:
        for name, value in message_packages.environment(packages[receiver]).items():
            patch.setenv(name, value)
        adapter = start("audio_adapter_node", DOMAIN, **parameters)
    env = environment(DOMAIN) | message_packages.environment(packages[sender])
    command = [sys.executable, "-c", SENDER.format(package=package), kind, *changes]
    process = subprocess.Popen(command, env=env)
    try:
        client.wait_ready("audio_adapter_node")
        client.wait(
            lambda: until(chunks, client.diagnostics["audio_adapter_node"][2]), 30, "what is sent"
        )
        client.spin(0.3)  # nothing comes twice
        return chunks, client.diagnostics["audio_adapter_node"][2]
    finally:
        process.kill()
        process.wait()
        stop(adapter)
        client.close()


def whole_utterance(chunks):
    """The chunks of the first utterance of half a second, or an empty list."""
    utterances = {}
    for chunk in chunks:
        utterances.setdefault(chunk.utterance_id, []).append(chunk)
    return next((u for u in utterances.values() if len(u) >= 25), [])


@pytest.fixture
def packages_of_strings(monkeypatch):
    """In place of the packages: all their messages are Strings that claim to have every field."""
    from std_msgs.msg import String

    class Message(String):
        @classmethod
        def get_fields_and_field_types(cls):
            return dict.fromkeys((kind.field for kind in KINDS), "")

    modules: dict[str, dict[str, type]] = {}
    for kind in KINDS:
        package, _, name = kind.type.split("/")
        modules.setdefault(f"{package}.msg", {})[name] = Message
    for module, messages in modules.items():
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**messages))


@ros
def test_a_sender_of_another_type_that_takes_over_is_heard(monkeypatch, packages_of_strings):
    """As where a microphone of one package is stopped, and that of another is started."""
    import rclpy

    from realtalk_ros.nodes.audio_adapter_node import AudioAdapterNode

    context, published = rclpy.Context(), []
    rclpy.init(context=context, domain_id=DOMAIN)
    node = AudioAdapterNode(context=context)
    monkeypatch.setattr(
        node,
        "get_publishers_info_by_topic",
        lambda topic: [SimpleNamespace(topic_type=t) for t in published if topic == node.topic],
    )
    try:
        node.try_setup()
        heard = []
        for published[:] in (
            [],
            ["audio_common_msgs/msg/AudioStamped"],
            ["audio_common_msgs/msg/AudioStamped", "foxglove_msgs/msg/RawAudio"],  # the first one
            [],  # it is started again, say
            ["audio_common_msgs/msg/AudioStamped"],
            ["foxglove_msgs/msg/RawAudio"],
            ["audio_common_msgs/msg/Audio"],
        ):
            node.check_publishers()
            heard.append(node.kind and node.kind.type.split("/")[-1])
        stamped = "AudioStamped"
        assert heard == [None, *[stamped] * 4, "RawAudio", "Audio"]
        subscribed = [s for s in node.subscriptions if s.topic_name == node.topic]
        assert len(subscribed) == 1
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@ros
def test_after_a_sender_of_mp3_the_next_one_is_heard(monkeypatch, packages_of_strings):
    """Which sends no AudioInfo of its own, so the parameters say what its bytes are."""
    import rclpy
    from rclpy.publisher import Publisher

    from realtalk_ros.msg import AudioChunk
    from realtalk_ros.nodes.audio_adapter_node import AudioAdapterNode

    context, senders = rclpy.Context(), [b"first"]
    rclpy.init(context=context, domain_id=DOMAIN)
    node = AudioAdapterNode(context=context)

    def publishers(topic):
        kind = "audio_common_msgs/msg/AudioData"
        found = senders if topic == node.topic else []
        return [SimpleNamespace(topic_type=kind, endpoint_gid=gid) for gid in found]

    monkeypatch.setattr(node, "get_publishers_info_by_topic", publishers)
    published, data = [], np.full(160, 1000, "<i2").tobytes()
    monkeypatch.setattr(Publisher, "publish", lambda _, message: published.append(message))

    def is_heard():
        for _ in range(6):
            node.check_publishers()
        node.on_messages([Received(SimpleNamespace(data=data))])
        return any(isinstance(message, AudioChunk) for message in published)

    try:
        node.try_setup()
        info = {"sample_rate": 16000, "channels": 1, "sample_format": "S16LE"}
        node.check_publishers()
        node.on_info(SimpleNamespace(coding_format="mp3", **info))
        for senders[:], heard in (
            ([b"first"], False),
            ([], False),
            ([b"first", b"second"], False),  # which of them was it?
            ([b"second"], True),
        ):
            assert is_heard() == heard, senders
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@ros
@built
@pytest.mark.parametrize(
    "sender, kind, changes, parameters",
    [
        ("mgonzs", "AudioStamped", [], {}),
        ("foxglove", "RawAudio", [], {}),
        ("drivers", "AudioDataStamped", ["info=wave"], {}),
        ("drivers", "AudioData", [], {"sample_rate": 48000, "channels": 2}),
    ],
)
def test_sound_arrives_whole(packages, monkeypatch, sender, kind, changes, parameters):
    def until(chunks, values):
        return whole_utterance(chunks) and kind in values["kind"]

    chunks, _ = heard(packages, monkeypatch, until, sender, kind, *changes, **parameters)
    chunks = whole_utterance(chunks)
    pcm = np.concatenate([np.frombuffer(memoryview(c.data), "<f4") for c in chunks])
    wave = 0.5 * np.sin(np.arange(24000) * 2 * np.pi * 440 / 48000)
    assert {c.sample_rate for c in chunks} == {48000} and {c.channels for c in chunks} == {1}
    assert np.allclose(pcm, wave, atol=1e-3)
    times = np.array([c.header.stamp.sec + c.header.stamp.nanosec * 1e-9 for c in chunks])
    assert np.allclose(np.diff(times), 0.02, atol=1e-6)


@ros
@built
def test_mp3_is_refused_and_the_reason_is_shown(packages, monkeypatch):
    def until(chunks, values):
        return int(values["messages"]) >= 50

    # Of a sender that sends at once: nothing is taken for samples meanwhile.
    message = "AudioDataStamped", "info=mp3", "pause=0"
    chunks, values = heard(packages, monkeypatch, until, "drivers", *message)
    assert not chunks and any("set audio_capture's parameter format to wave" in k for k in values)


@ros
@built
def test_the_other_package_of_the_same_name_is_told_apart(packages, monkeypatch):
    def until(chunks, values):
        return any("carries" in key for key in values)

    senders = {"sender": "drivers", "receiver": "mgonzs"}
    chunks, values = heard(packages, monkeypatch, until, kind="AudioDataStamped", **senders)
    complaint = next(key for key in values if "carries" in key)
    assert "AudioDataStamped of ros-drivers" in complaint and not chunks
