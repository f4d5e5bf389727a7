# SPDX-License-Identifier: Apache-2.0
"""Any sender is heard, whatever stands still, changes or is interrupted while it speaks."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402

from realtalk_ros.msg import AudioChunk  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import FPS, RATE, Client, promised, seconds, speech, start, stop  # noqa: E402
from wav_files import write_wav  # noqa: E402

DOMAIN = domain_of(__file__)
NODES = ("expression_node", "renderer_node")
OLD, NEW = 0.1, 0.5  # amplitudes that tell an answer from the one before


@pytest.fixture(scope="module")
def graph():
    processes = {name: start(name, DOMAIN, size=96) for name in NODES}
    yield processes
    stop(*processes.values())


class Talker(Client):
    """A client that sends sound reliably, and records what is to be played."""

    def __init__(self):
        super().__init__(DOMAIN)
        self.heard = []  # when it was sent, its stamp, float32 samples at its rate
        deep = QoSProfile(depth=1000)
        self.node.create_subscription(AudioChunk, "audio_out", self._on_sound, deep)
        self.best_effort, self.audio = (
            self.audio,
            self.node.create_publisher(
                AudioChunk, "audio", QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
            ),
        )

    def _on_sound(self, message, info):
        pcm = np.frombuffer(bytes(message.data), "<i2") / 32767
        self.heard.append((info["source_timestamp"] * 1e-9, seconds(message.header.stamp), pcm))

    def length(self, begin=0.0, end=np.inf):
        """Seconds of sound that were sent to be played between two times."""
        return sum(len(pcm) for when, _, pcm in self.heard if begin <= when < end) / RATE

    def lag(self, begin, end):
        return float(np.median([w - s for w, s, _ in self.heard if begin <= w < end]))

    def until_quiet(self, limit):
        """Until no sound has come for a second."""
        end, count = time.monotonic() + limit, -1
        while time.monotonic() < end and count != len(self.heard):
            count = len(self.heard)
            self.spin(1.0)


@pytest.fixture
def client(graph):
    client = Talker()
    client.wait_ready(*NODES)
    client.wait_connected()
    client.wait(lambda: client.images, 20, "images")
    yield client
    client.close()


# What stands still


@pytest.mark.parametrize("name, behind", [
    ("expression_node", 0.0), ("expression_node", 1.9), ("renderer_node", 0.0)])  # fmt: skip
def test_after_a_stall_speech_is_whole_again_at_its_old_delay(graph, client, name, behind):
    """The utterance never pauses; its sender's clock is `behind`."""
    state = {}

    def watch():
        now = time.time()
        if "stopped" not in state and now > began + 1.5:
            state["before"] = client.lag(began + 0.5, now)
            graph[name].send_signal(signal.SIGSTOP)
            state["stopped"] = now
        elif "back" not in state and now > state.get("stopped", np.inf) + 1.5:
            graph[name].send_signal(signal.SIGCONT)
            state["back"] = now
        return False

    began = time.time()
    pcm, step = speech(6.5), round(0.02 * RATE)
    try:
        for i in range(0, len(pcm), step):
            client.spin(max(0.0, began + i / RATE - time.time()))
            watch()
            client.send(pcm[i : i + step], began + 0.3 + i / RATE - behind, f"stall-{behind}")
        client.spin(0.5)
    finally:
        graph[name].send_signal(signal.SIGCONT)
    back = state["back"]
    whole = client.length(back + 1.0, back + 3.0)
    assert whole > promised(1.9, 1.0), whole
    assert client.lag(back + 2, back + 3.5) - state["before"] < promised(0.06, 0.6)
    client.call_interrupt()


# Who sends how


def test_a_burst_is_heard_whole_and_in_order(client):
    before = client.count("expression_node", "chunks")
    for k in range(200):
        client.send(np.full(320, (k + 100) / 1000), None, "burst", last=k == 199)
    client.until_quiet(12)
    values = np.concatenate([pcm for _, _, pcm in client.heard])
    assert client.length() > promised(3.99, 3.0)
    steps = np.round(values[::160] * 1000).astype(int)
    # It fades in after sound that came too late and was left out.
    assert np.count_nonzero(np.diff(steps) < 0) <= promised(0, 10)
    assert client.count("expression_node", "chunks", reports=1) - before >= 200


def test_a_minute_in_one_message_arrives(client):
    pcm = np.tile(speech(10.0), 6 * 3)[: 60 * 48000]
    for k in range(2):
        client.send(pcm, None, f"minute-{k}", sample_rate=48000)
        client.wait(
            lambda: float(client.diagnostics["expression_node"][2]["backlog_s"]) > 50, 8, "a minute"
        )
        client.call_interrupt()
        client.wait(
            lambda: float(client.diagnostics["expression_node"][2]["backlog_s"]) == 0, 8, "silence"
        )


def example(begin):
    """The example of the documents that begins with a line."""
    page = Path(__file__).parents[1] / "docs/wiring.md"
    if not page.is_file():
        pytest.skip("the documents are not here")
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    (code,) = [code for code in examples if code.startswith(begin)]
    return code


def test_the_voice_of_the_documents_is_heard_ahead_and_live(client, tmp_path):
    code = example("import sys\n")
    voice = write_wav(tmp_path / "voice.wav", speech(2.0))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(voice)],
        env=dict(os.environ, ROS_DOMAIN_ID=str(DOMAIN)),
    )
    try:
        client.wait(lambda: client.length() > 3.9, 30, "end of both utterances")
        client.until_quiet(5)  # the next test is to hear nothing of it
    finally:
        process.kill()
        process.wait()
    lags, ends = zip(*((w - s, len(pcm) / RATE) for w, s, pcm in client.heard), strict=True)
    second = int(np.searchsorted(np.cumsum(ends), 2.1))
    ahead, live = np.median(lags[: second - 10]), np.median(lags[second:])
    assert ahead < promised(0.1, live) and 0.1 < live < promised(0.4, 2.0)


def test_the_voice_agent_of_the_documents_answers_is_interrupted_and_knows_its_end(client):
    """In bursts and with a stall; of the old answer some still comes after the interrupt."""
    names, ended = {}, []
    exec(example("from std_msgs.msg import Bool\n"), names)
    voice, rate = names["Voice"](client.node, ended.append), 24000
    client.wait(voice.audio.get_subscription_count, 10, "subscriber of audio")

    def sound(level, length):
        return np.tile(np.int16([level, -level]), round(length * rate / 2)).tobytes()

    def heard(level):
        near = [np.isclose(np.abs(pcm) * 32767, level, atol=9) for _, _, pcm in client.heard]
        return sum(int(found.sum()) for found in near)

    voice.speak(sound(3000, 2.0))
    client.wait(lambda: heard(3000) > 0, 10, "first answer")
    voice.interrupt()
    late, voice.answer = voice.answer, voice.answer - 1
    voice.speak(sound(3000, 0.3))
    voice.answer = late
    pcm = sound(9000, 2.3)
    for begin, end, pause in ((0, 961, 0.0), (961, 50000, 0.1), (50000, 75003, 2.0),
                              (75003, 75004, 0.0), (75004, len(pcm), 0.0)):  # fmt: skip
        voice.speak(pcm[begin:end])
        client.spin(pause)
    assert ended == []
    voice.speak(b"@")  # of a sample that was cut off
    voice.end()
    client.wait(lambda: ended == [f"answer-{late}"], 20, "end of the second answer")
    voice.speak(sound(9000, 0.3))
    voice.end()
    client.wait(lambda: ended[1:] == [f"answer-{late + 1}"], 20, "end of the third answer")
    voice.speak(sound(9000, 0.3))
    client.until_quiet(5)  # a stream whose end is known late
    assert len(ended) == 2
    voice.end()
    client.wait(lambda: ended[2:] == [f"answer-{late + 2}"], 20, "end of the fourth answer")
    voice.end()
    client.wait(lambda: ended[3:] == [f"answer-{late + 3}"], 20, "end of an answer without sound")
    assert heard(3000) < 2.0 * rate
    assert heard(9000) > promised(0.99, 0.5) * 2.3 * rate
    assert not any(len(pcm) and np.abs(pcm).max() > 0.3 for _, _, pcm in client.heard)  # no noise
    values = client.diagnostics["expression_node"][2]
    assert not any("without samples" in problem for problem in values)


def test_stamps_of_now_lose_nothing_of_a_voice_faster_than_real_time(client):
    step = round(0.2 * RATE)
    for part in np.split(speech(3.0), range(step, 3 * RATE, step)):
        client.send(part, time.time(), "now")
        client.spin(0.2 / 3)
    client.until_quiet(10)
    assert client.length() > promised(2.99, 2.0)
    client.spin(1.1)
    assert any("leave no room" in key for key in client.diagnostics["expression_node"][2])


def test_a_best_effort_microphone_is_heard_beside_reliable_senders(client):
    pcm, step, begin = speech(3.0), round(0.02 * RATE), time.time()
    reliable, client.audio = client.audio, client.best_effort
    for i in range(0, len(pcm), step):
        client.spin(max(0.0, begin + (i + step) / RATE - time.time()))
        client.send(pcm[i : i + step], begin + i / RATE, "microphone")
    client.spin(1.0)
    assert client.length() > promised(2.95, 2.0)
    assert client.lag(begin + 1, begin + 3) < promised(0.3, 2.0)
    client.audio = reliable
    before = client.length()
    for i in range(0, RATE, step):
        client.send(pcm[i : i + step], None, "reliable")
    client.until_quiet(6)
    assert client.length() - before == pytest.approx(1.0, abs=promised(0.01, 0.5))  # once each
    values = client.diagnostics["expression_node"][2]
    assert not any("does not connect" in problem for problem in values)  # the microphone does


def test_inverted_stereo_is_heard_and_said(client):
    pcm = speech(2.0)[RATE // 2 :]
    client.send(np.stack([pcm, -pcm], 1).ravel(), None, "inverted", last=True, channels=2)
    client.until_quiet(8)
    assert max(np.abs(pcm).max() for _, _, pcm in client.heard if len(pcm)) > 0.1
    assert any("inverted" in key for key in client.diagnostics["expression_node"][2])


# Interrupts


@pytest.mark.parametrize("name, stamped", [("", True), ("same", False)])
def test_the_answer_after_an_interrupt_is_heard(client, name, stamped):
    """Whole at once, 0.15 s after the interrupt, under the id of what was interrupted."""
    wave = np.sign(np.sin(np.arange(2 * RATE) / 10))
    client.send(OLD * wave, time.time() + 0.3 if stamped else None, name)
    client.wait(lambda: client.length() > 0.3, 8, "the old answer")
    client.call_interrupt()
    answered = time.time()
    client.spin(0.15)
    client.send(NEW * wave, time.time() + 0.3 if stamped else None, name)
    client.until_quiet(8)
    loud = [(w, np.abs(pcm).max()) for w, _, pcm in client.heard if len(pcm)]
    late = [w - answered for w, level in loud if abs(level - OLD) < 0.01 and w > answered]
    assert max(late, default=0.0) < promised(0.1, 2.0)
    new = sum(len(p) for w, _, p in client.heard if len(p) and np.abs(p).max() > 0.3) / RATE
    assert new > promised(1.8, 1.0)


# Changes


def test_avatar_size_and_fps_change_while_it_speaks(client):
    pcm, step, begin = speech(6.0), round(0.02 * RATE), time.time() + 0.3
    changes = [
        (0.8, "renderer_node", "avatar", "noah"),
        (1.8, "expression_node", "fps", 20),  # an integer is taken for a float
        (2.8, "renderer_node", "size", 64),
        (3.8, "expression_node", "avatar", "default"),
    ]
    took = []
    for i in range(0, len(pcm), step):
        client.spin(max(0.0, begin + i / RATE - 0.3 - time.time()))
        if changes and time.time() > begin + changes[0][0]:
            asked = time.monotonic()
            result = client.set_parameter(*changes.pop(0)[1:])
            assert result.successful, result.reason
            took.append(time.monotonic() - asked)
        client.send(pcm[i : i + step], begin + i / RATE, "changes")
    client.spin(1.0)
    assert max(took) < promised(0.3, 5.0)  # before it is loaded
    assert client.length() > promised(5.98, 4.0)
    apart = np.diff([when for when, _, pcm in client.heard if len(pcm)])
    assert apart.max() < promised(0.06, 3.0)
    client.wait(lambda: client.image.height == 64, 10, "the new size")
    for node in NODES:
        client.wait(
            lambda n=node: client.diagnostics[n][2]["avatar"] == "default"
            and not client.diagnostics[n][2]["loading"], 20, f"{node}'s avatar",
        )  # fmt: skip
    stamps = np.array([stamp for stamp, _ in client.images])[-20:] * 20
    np.testing.assert_allclose(stamps, np.round(stamps), atol=0.02)
    assert client.image.header.frame_id == "realtalk/face"
    client.set_parameter("renderer_node", "fps", FPS)
    client.set_parameter("renderer_node", "size", 96)
