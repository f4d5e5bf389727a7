# SPDX-License-Identifier: Apache-2.0
"""Wrong messages: none stops a node, each cause is logged once and shows in diagnostics."""

import threading
import time
from array import array

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from realtalk_ros.msg import AudioChunk, FaceExpression  # noqa: E402
from realtalk_ros.nodes.expression_node import ExpressionNode  # noqa: E402
from realtalk_ros.nodes.message_content import seconds_of  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import AVATAR, FPS, RATE, Client, promised, seconds, speech, start, stop  # noqa: E402

DOMAIN = domain_of(__file__)
WARN = 1
PCM = speech(1.5)[RATE // 2 :]  # a second with sound in it


@pytest.fixture(scope="module")
def node():
    """The expression node, in this process so that its log can be read."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = ExpressionNode(context=context, parameter_overrides=[Parameter("avatar", value=AVATAR)])
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.try_setup()
    assert node.ready, node.failure

    def spin():
        while not done.is_set():
            executor.spin_once(timeout_sec=0.05)

    done = threading.Event()
    thread = threading.Thread(target=spin)
    thread.start()
    yield node
    done.set()
    thread.join()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture(scope="module")
def connected(node):
    client = Client(DOMAIN, images=False)
    client.wait_connected()
    yield client
    client.close()


@pytest.fixture
def client(node, connected):
    connected.wait(lambda: not node.turns.utterances, 5, "end of what the test before sent")
    connected.expressions.clear()
    connected.logged = []
    node.problems.counts.clear()
    node.problems.log = connected.logged.append
    return connected


def frames(client, utterance):
    return [m for m in client.expressions if m.utterance_id == utterance and not m.reset]


def newest(client, utterance):
    """Stamp of its last expression, s; 0 before there is one."""
    found = frames(client, utterance)
    return seconds(found[-1].header.stamp) if found else 0.0


def assert_still_speaks(client, name="after", length=0.4):
    """A good utterance of so many s gets all its expressions."""
    client.spin(0.1)  # what went before ends
    begin = time.time() + 0.1
    client.send(PCM[: round(length * RATE)], begin, name, last=True)
    client.wait(lambda: newest(client, name) > begin + length, 8, name)
    assert len(frames(client, name)) >= 25 * length


def pcm16(samples, channels=1):
    data = np.repeat((np.asarray(samples) * 32767).astype("<i2"), channels)
    return array("B", data.tobytes())


REFUSED = {
    "empty chunk": (dict(data=array("B")), "without samples"),
    "unknown encoding": (dict(encoding="mp3"), "mp3"),
    "no encoding": (dict(encoding=""), "encoding"),
    "sample rate 0": (dict(sample_rate=0), "sample rate 0 Hz"),
    "sample rate 3": (dict(sample_rate=3), "sample rate 3 Hz"),
    "sample rate 4294967295": (dict(sample_rate=2**32 - 1), "sample rate"),
    "no channels": (dict(channels=0), "0 audio channels"),
    "odd byte count": (dict(data=array("B", bytes(1001))), "1001 bytes"),
    "half a frame": (dict(data=array("B", bytes(1002)), channels=2), "1002 bytes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_once_in_the_log_and_shown_in_diagnostics(node, client, case):
    changes, words = REFUSED[case]
    changes = dict(changes)
    now = time.time()
    for i in range(5):
        client.send(PCM[:320], now + 0.02 * i, "bad", **changes)
    client.wait(lambda: sum(node.problems.counts.values()) >= 5, 3, "count of 5")
    assert len(client.logged) == 1 and words in client.logged[0]
    client.diagnostics.clear()
    client.wait(lambda: "expression_node" in client.diagnostics, 3, "diagnostics")
    level, _, values = client.diagnostics["expression_node"]
    assert level == WARN
    assert values[next(iter(node.problems.counts))] == "5"
    assert not frames(client, "bad")
    assert_still_speaks(client)


@pytest.mark.parametrize("hours", [-1, 1, -24 * 365])
def test_speech_of_another_clock_is_heard_now_and_the_log_says_so(client, hours):
    name, begin = f"hours{hours}", time.time()
    for i in range(0, len(PCM), 1600):
        last = i + 1600 >= len(PCM)
        client.send(PCM[i : i + 1600], begin + hours * 3600 + i / RATE, name, last)
    client.wait(lambda: newest(client, name) > begin + 1, 8, "end")
    times = [seconds(m.header.stamp) for m in frames(client, name)]
    assert begin - 0.1 < times[0] < begin + 2 and times[-1] < begin + 3.5
    assert np.allclose(np.diff(times), 1 / 25, atol=2e-6)
    assert len(client.logged) == 1 and "clock" in client.logged[0]


@pytest.mark.parametrize("rate", [4000, 8000, 44100, 192000])
def test_any_rate_is_heard(client, rate):
    at = np.arange(rate) / rate
    name, begin = f"rate-{rate}", time.time() + 0.3
    pcm = np.interp(at, np.arange(len(PCM)) / RATE, PCM)
    for i in range(0, rate, rate // 10):  # a second of 192 kHz in one message is too much for UDP
        part = pcm[i : i + rate // 10]
        client.send(part, begin + i / rate, name, sample_rate=rate, channels=2,
                    data=pcm16(part, 2), last=i + rate // 10 >= rate)  # fmt: skip
        client.spin(0.01)
    client.wait(lambda: len(frames(client, name)) >= 25, 5, "expressions")
    assert not client.logged


def test_one_to_eight_channels_give_the_same_face(client):
    jaws = []
    for channels in range(1, 9):
        # When the one before has ended, and always at the same place between two frames.
        name, begin = f"channels-{channels}", np.ceil(time.time() + 0.2)
        for i in range(0, len(PCM), 1600):
            data, last = pcm16(PCM[i : i + 1600], channels), i + 1600 >= len(PCM)
            client.send([], begin + i / RATE, name, last, channels=channels, data=data)
        client.wait(lambda n=name: len(frames(client, n)) >= 26, 5, "expressions")
        jaws.append([m.weights[FaceExpression.JAW_OPEN] for m in frames(client, name)[:26]])
    assert np.ptp(np.array(jaws), axis=0).max() < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_silence(client, value):
    data = PCM.astype("<f4").copy()
    data[4000:4100] = value
    client.send([], time.time() + 0.2, "nan", encoding="pcm_f32le",
                data=array("B", data.tobytes()), last=True)  # fmt: skip
    client.wait(lambda: len(frames(client, "nan")) >= 25, 5, "expressions")
    assert np.isfinite([m.weights for m in frames(client, "nan")]).all()
    assert len(client.logged) == (0 if value == 1e30 else 1)
    client.expressions.clear()
    assert_still_speaks(client)


@pytest.mark.parametrize("encoding, size", [("pcm_s16le", 2), ("pcm_f32le", 4), ("mp3", 2)])
def test_how_long_a_message_is_depends_on_its_encoding(encoding, size):
    """A sender in real time is known again by when its next message is due."""
    sound = {"encoding": encoding, "channels": 2, "sample_rate": RATE}
    message = AudioChunk(**sound, data=array("B", bytes(2 * size * RATE // 10)))
    assert seconds_of(message) == pytest.approx(0.1)
    assert seconds_of(AudioChunk(data=array("B", b"x"))) == 1.0  # without a rate


def test_a_minute_in_one_chunk_blocks_nobody(client):
    sent = time.monotonic()
    client.send(np.tile(PCM, 60), time.time() + 0.1, "minute", last=True)
    client.wait(lambda: frames(client, "minute"), 2, "first expression")
    client.spin(1.0)
    # Worked off as it is heard, not all at once.
    assert len(frames(client, "minute")) < 25 * (time.monotonic() - sent + 1)
    began = time.monotonic()
    assert client.call_interrupt().success
    assert time.monotonic() - began < promised(0.5, 4)

    def ended():
        got = enumerate(client.expressions)
        return [i for i, m in got if m.reset and m.utterance_id == "minute"]

    client.wait(ended, 5, "reset")
    del client.expressions[: ended()[-1]]
    assert_still_speaks(client)
    assert not frames(client, "minute")


def test_an_error_in_one_chunk_keeps_back_neither_others_nor_an_interrupt(
    node, client, monkeypatch
):
    decode = node._decode

    def fails(message):
        if message.utterance_id == "wrong":
            raise ValueError("of a library")
        return decode(message)

    monkeypatch.setattr(node, "_decode", fails)
    interrupt = client.node.create_client(Trigger, "interrupt")
    client.wait(interrupt.service_is_ready, 5, "interrupt")
    stands, go_on = threading.Event(), threading.Event()
    node.executor.create_task(lambda: (stands.set(), go_on.wait(30)))
    assert stands.wait(10)
    client.send(PCM, time.time() + 0.1, "wrong")
    client.send(PCM, time.time() + 0.1, "old")
    client.spin(0.2)
    answer = interrupt.call_async(Trigger.Request())
    client.spin(0.2)
    begin = time.time() + 0.2
    client.send(PCM, begin, "new", last=True)
    client.send(PCM, begin, "wrong", last=True)
    client.spin(0.2)
    go_on.set()
    client.wait(answer.done, 5, "answer to the interrupt")
    assert "'old'" in answer.result().message
    client.wait(lambda: newest(client, "new") > begin + 0.9, 5, "end")
    assert not frames(client, "old") and len(client.logged) == 1


def test_more_than_fits_is_refused_not_kept(node, client):
    for i in range(3):
        client.send(np.tile(PCM, 60), time.time() + 0.1 + 60 * i, "flood")
    client.wait(lambda: client.logged, 5, "refusal")
    assert node.turns.seconds <= node.turns.limit
    client.call_interrupt()
    assert_still_speaks(client)


def test_chunks_out_of_order_and_repeated(client):
    begin = time.time() + 0.3
    parts = [(i, PCM[i : i + 1600]) for i in range(0, len(PCM), 1600)]
    order = [0, 1, 3, 2, 4, 4, 4, 5, 1, 6, 7, 8, 9]
    for k in order:
        i, part = parts[k]
        client.send(part, begin + i / RATE, "mixed", last=k == 9)
    client.wait(lambda: newest(client, "mixed") > begin + 1, 5, "end")
    times = [seconds(m.header.stamp) for m in frames(client, "mixed")]
    assert (np.diff(times) > 0).all() and times[-1] < begin + 1.6  # nothing is said twice


def test_stamps_that_jump_back_an_hour_and_return(node, client):
    begin = time.time() + 0.2
    for i in range(0, len(PCM), 1600):
        back = 3600.0 if 4000 < i < 9000 else 0.0
        client.send(PCM[i : i + 1600], begin + i / RATE - back, "jump", last=i + 1600 >= len(PCM))
    client.wait(lambda: newest(client, "jump") > begin + 1, 5, "end")
    times = np.array([seconds(m.header.stamp) for m in frames(client, "jump")])
    assert (np.diff(times) > 0).all() and times[0] >= begin - 0.05
    assert len(client.logged) == 1


def test_a_flood_of_different_nonsense_cannot_fill_the_log(node, client):
    rng = np.random.default_rng(0)
    for i in range(300):
        name = "".join(chr(97 + c) for c in rng.integers(0, 26, 12))
        client.send(PCM[:160], time.time(), f"x{i}", encoding=name)
        if i % 20 == 0:
            client.spin(0.02)
    client.wait(lambda: sum(node.problems.counts.values()) >= 250, 5, "counts")
    assert len(client.logged) == 1
    assert_still_speaks(client)


# The renderer


@pytest.fixture(scope="module")
def renderer():
    process = start("renderer_node", DOMAIN + 1, avatar=AVATAR)
    yield process
    stop(process)
    assert process.returncode == 0


@pytest.fixture
def viewer(renderer):
    """A client of the renderer."""
    client = Client(DOMAIN + 1)
    try:
        client.wait_ready("renderer_node")
        yield client
    finally:
        client.close()


@pytest.fixture
def publisher(viewer):
    """Of expressions, to which the renderer listens."""
    publisher = viewer.node.create_publisher(FaceExpression, "expression", 50)
    viewer.wait(publisher.get_subscription_count, 10, "subscriber of expression")
    return publisher


def test_bad_expressions_do_not_reach_the_face(viewer, publisher):
    now = time.time()
    for i, value in enumerate([np.nan, np.inf, 1e9, -1e9] * 5):
        message = FaceExpression(utterance_id="bad", sequence=i, speech_probability=np.nan)
        message.weights = np.full(52, value, np.float32)
        message.head_rotation = np.full(3, np.nan, np.float32)
        message.header.stamp.sec, message.header.stamp.nanosec = int(now) + (i % 3) * 3600, 5
        publisher.publish(message)
    viewer.images.clear()
    viewer.spin(2.5)
    assert len(viewer.images) > promised(0.7, 0.2) * 2.5 * FPS
    assert (np.diff([stamp for stamp, _ in viewer.images]) > 0).all()
    assert viewer.diagnostics["renderer_node"][0] == WARN


def test_two_nodes_that_send_expressions_at_once_are_named(viewer, publisher):
    for k in range(20):
        message = FaceExpression(utterance_id=("mine", "yours")[k % 2], sequence=k)
        publisher.publish(message)
    viewer.wait(
        lambda: any("two nodes" in key for key in viewer.diagnostics["renderer_node"][2]),
        10, "what the diagnostics say",
    )  # fmt: skip
