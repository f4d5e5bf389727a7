# SPDX-License-Identifier: Apache-2.0
"""Nodes that speak in real time, in this process, by a simulated clock that is set meanwhile."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

import rclpy
from rclpy.parameter import Parameter
from rclpy.time import Time

from realtalk_ros.audio.espeak_library import load_espeak
from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes import say_node, speech_node
from realtalk_ros.nodes.paced_speech import Pace
from ros_domains import domain_of
from ros_graph import seconds, speech
from wav_files import write_wav

DOMAIN = domain_of(__file__)
START = 10_000.0  # s of simulated time


class SimulatedNode:
    """A node whose clock runs as real time does, until it is set; and what it publishes."""

    def __init__(self, kind, **parameters):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        values = {"use_sim_time": True, "autostart": False, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = kind(context=self.context, parameter_overrides=overrides)
        self.sent = []  # stamp, s of sound
        self.node._audio = SimpleNamespace(publish=self._on_audio, get_subscription_count=lambda: 0)
        self.offset = START - time.monotonic()
        self._tick()
        self._done = threading.Event()
        self._clock = threading.Thread(target=self._run)
        self._clock.start()

    def _on_audio(self, message):
        length = len(message.data) / 2 / message.sample_rate
        self.sent.append((seconds(message.header.stamp), length))

    def _tick(self):
        now = time.monotonic() + self.offset
        self.node.get_clock().set_ros_time_override(Time(nanoseconds=int(now * 1e9)))

    def _run(self):
        while not self._done.wait(0.002):
            self._tick()

    def close(self):
        self._done.set()
        self._clock.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def simulated():
    nodes = []
    yield lambda kind, **parameters: nodes.append(SimulatedNode(kind, **parameters)) or nodes[-1]
    for node in nodes:
        node.close()


def speech_of(simulated, kind, folder):
    """A node that says some two seconds, and a function that says them."""
    if kind == "speech_node":
        path = write_wav(folder / "a.wav", speech(2.0))
        speaker = simulated(speech_node.SpeechNode, wav=str(path))
        speaker.node.setup()
        stop = threading.Event()
        return speaker, lambda: speaker.node.say("a", stop)
    try:
        load_espeak()
    except RealTalkError as error:
        pytest.skip(str(error))
    speaker = simulated(say_node.SayNode)
    request = say_node.SayRequest("One two three four five six seven.", "en-us", START)
    return speaker, lambda: speaker.node.say(request)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
@pytest.mark.parametrize("kind", ["speech_node", "say_node"])
def test_speech_goes_on_when_the_clock_is_set(simulated, tmp_path, kind, jump):
    speaker, say = speech_of(simulated, kind, tmp_path)
    talking = threading.Thread(target=say, daemon=True)
    began = time.monotonic()
    talking.start()
    while len(speaker.sent) < 20:
        assert time.monotonic() < began + 10
        time.sleep(0.005)
    speaker.offset += jump
    talking.join(15)
    assert not talking.is_alive()
    stamps, lengths = np.array(speaker.sent).T
    assert time.monotonic() - began > 0.8 * (lengths.sum() - 1.0)  # it kept its pace
    steps = np.diff(stamps) - lengths[:-1]  # 0 where a chunk follows the one before
    assert steps[np.abs(steps).argmax()] == pytest.approx(jump, abs=0.2)
    assert np.count_nonzero(np.abs(steps) > 1e-5) == 1


def test_an_hour_between_two_texts_is_no_jump_of_the_clock(simulated):
    speaker = simulated(say_node.SayNode)
    for _ in range(3):
        now = speaker.node.now()
        speaker.offset += 3600.0
        while speaker.node.now() < now + 1800.0:
            time.sleep(0.002)
        Pace(speaker.node)
    assert not speaker.node.problems.counts


def test_the_wait_before_speech_goes_on_when_the_clock_is_set(simulated, tmp_path, monkeypatch):
    monkeypatch.setattr(speech_node, "SETTLE", 0.5)
    speaker, _ = speech_of(simulated, "speech_node", tmp_path)
    speaker.node.wait_for, stop = 0, threading.Event()
    talking = threading.Thread(target=speaker.node.speak, args=(stop,), daemon=True)
    talking.start()
    time.sleep(0.2)
    speaker.offset -= 3600.0
    end = time.monotonic() + 10
    while not speaker.sent and time.monotonic() < end:
        time.sleep(0.01)
    stop.set()
    talking.join(10)
    assert speaker.sent and speaker.sent[0][0] == pytest.approx(START - 3600.0, abs=30.0)
