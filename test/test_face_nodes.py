# SPDX-License-Identifier: Apache-2.0
"""What the two nodes of a face show and play: sound with its frames, commands, quality, errors."""

import time
from importlib.util import find_spec

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from geometry_msgs.msg import PointStamped  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402

from realtalk_ros.errors import NetworkError  # noqa: E402
from realtalk_ros.face_model import arkit  # noqa: E402
from realtalk_ros.msg import AudioChunk  # noqa: E402
from realtalk_ros.playout.adaptive_quality import QualityController  # noqa: E402
from realtalk_ros.playout.audio_playout import FADE  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import FPS, promised, seconds, speech  # noqa: E402
from stage import Stage  # noqa: E402

DOMAIN = domain_of(__file__)
PCM = speech(3.5)[16000 // 2 :]


@pytest.fixture(scope="module")
def nodes():
    stage = Stage(DOMAIN)
    yield stage
    stage.close()


@pytest.fixture
def stage(nodes):
    nodes.forget()
    return nodes


def test_sound_comes_with_its_face_whole_and_in_order(stage):
    stage.client.spin(0.5)
    before, begin = stage.left_out(), time.time() + 0.3
    stage.client.send(PCM[:24000], begin, "whole", last=True)
    stage.client.spin(2.4)
    said = stage.said("whole")
    sent, at = (PCM[:24000] * 32767).astype("<i2"), 0
    for _, message in said:
        heard = np.frombuffer(bytes(message.data), "<i2").astype(int)
        place = round((seconds(message.header.stamp) - begin) * 16000)
        fading = round(FADE * 16000) if place > at else 0  # after sound that was left out
        off = np.abs(heard - sent[place : place + len(heard)])[fading:]
        assert place >= at and off.max(initial=0) <= 2
        at = place + len(heard)
    left_out = stage.left_out(before)
    assert sum(len(m.data) for _, m in said) == 2 * (24000 - left_out)
    assert left_out <= promised(0, 16000) and said[-1][1].last
    # Each piece when its frame is seen: the stamps say which belong together.
    off = [when - seconds(m.header.stamp) for when, m in said]
    assert -0.03 < np.median(off) < promised(0.05, 1.0)


def test_playback_latency_sends_the_sound_that_much_before_its_face(stage):
    def offset(name):
        stage.client.spin(0.5)
        stage.client.send(PCM[:16000], time.time() + 0.6, name, last=True)
        stage.client.spin(2.0)
        return np.median([when - seconds(m.header.stamp) for when, m in stage.said(name)])

    without = offset("without")
    with stage.setting(stage.renderer, "playback_latency", 0.15):
        assert without - offset("with") == pytest.approx(0.15, abs=promised(0.03, 0.1))


def test_no_sound_is_lost_where_the_playback_latency_is_raised_in_mid_speech(stage):
    stage.client.spin(0.5)
    before, pcm, values = stage.left_out(), np.tile(PCM, 2)[: 4 * 16000], iter([0.9])

    def raise_latency():
        if stage.said("raised") and (value := next(values, None)):
            parameter = Parameter("playback_latency", value=value)
            assert stage.renderer.set_parameters([parameter])[0].successful
        return False

    try:
        stage.client.speak(pcm, "raised", chunk=0.02, until=raise_latency)
        stage.client.wait(
            lambda: not (
                stage.expression.turns.utterances
                or stage.renderer.playout.status()["queued_sound"]
                or stage.renderer.playout.speaking
            ), 10, "silence",
        )  # fmt: skip
    finally:
        stage.renderer.set_parameters([Parameter("playback_latency", value=0.0)])
    heard = sum(len(m.data) for _, m in stage.said("raised")) // 2  # samples
    assert stage.left_out(before) <= promised(0, 4 * heard)  # else, all but what came before


def test_emotion_gaze_and_listening_reach_the_face(stage):
    node, face = stage.client.node, stage.renderer.face
    publishers = {topic: node.create_publisher(kind, topic, 10) for topic, kind in (
        ("emotion", String), ("look_at", PointStamped), ("listening", Bool))}  # fmt: skip
    for publisher in publishers.values():
        stage.client.wait(publisher.get_subscription_count, 10, "subscriber")
    publishers["emotion"].publish(String(data="happy"))
    publishers["listening"].publish(Bool(data=True))
    point = PointStamped()
    point.point.x, point.point.y = 1.0, 0.4
    publishers["look_at"].publish(point)
    smile, left = arkit.INDEX["mouthSmileLeft"], arkit.INDEX["eyeLookOutLeft"]
    stage.client.wait(lambda: stage.weights[smile] > 0.4, 8, "a smile")
    stage.client.wait(lambda: stage.weights[left] > 0.4, 8, "a glance to the face's left")
    assert face.listening
    point.header.frame_id = "map"  # tf2 may not be there, or knows no such frame
    publishers["look_at"].publish(point)
    publishers["emotion"].publish(String(data="hungry"))
    stage.client.wait(lambda: len(stage.renderer.problems.counts) >= 2, 5, "two problems")
    publishers["emotion"].publish(String(data="neutral"))
    publishers["listening"].publish(Bool(data=False))
    stage.client.wait(lambda: stage.weights[smile] < 0.1, 8, "a neutral face")


@pytest.mark.skipif(find_spec("hri_msgs") is not None, reason="hri_msgs is installed")
def test_emotions_that_cannot_be_read_are_said(stage, capfd):
    """Somebody publishes what may well be hri_msgs/Expression."""
    publisher = stage.client.node.create_publisher(String, "robot_expression", 10)
    counts = stage.renderer.problems.counts
    stage.client.wait(lambda: any("hri_msgs" in text for text in counts), 10, "a warning")
    assert capfd.readouterr().err.count("/realtalk/robot_expression is not read, as hri_msgs") == 1
    stage.client.node.destroy_publisher(publisher)


def test_steps_of_the_quality_ladder_are_seen_and_said(stage, capfd):
    renderer, first = stage.renderer, len(stage.shown)
    lower, higher, advice = "cannot keep up", "keeps up again", 0
    for level, fps, size, said in (
        (1, FPS / 1.5, 128, lower), (3, FPS / 2, 64, lower), (2, FPS / 2, 128, higher),
        (0, FPS, 128, higher),
    ):  # fmt: skip
        renderer.quality.controller = QualityController(level)
        renderer.apply_quality()
        stage.client.wait(lambda s=size: renderer.images.height == s, 10, f"images of {size}")
        images = renderer.counts["images"]
        stage.client.wait(lambda n=images: renderer.counts["images"] > n + 1, 10, "images")
        assert renderer.playout.fps == fps
        assert ("cannot keep up" in renderer.warning()) == (level > 0)
        log = capfd.readouterr().err
        assert f"this machine {said}: now {fps:.3g} fps, {size} pixels" in log
        advice += log.count("set a lower fps or size")
    assert advice == 1
    times = [frame.time for _, frame in stage.shown[first:]]
    assert times == sorted(times)


def test_sound_that_is_left_out_is_said(stage, capfd):
    """By the node that left it out: what stalls before it is processed, and what comes after its
    frames."""
    take = stage.expression.turns.take
    stall = {"seconds": 1.0}

    def slow_take(now, ahead):
        if stage.expression.turns.utterances and stage.expression.counts["chunks"] > chunks + 5:
            time.sleep(stall.pop("seconds", 0.0))
        return take(now, ahead)

    chunks = stage.expression.counts["chunks"]
    stage.expression.turns.take = slow_take
    try:
        stage.client.speak(PCM, "stalls", chunk=0.05, lead=0.0)
        stage.client.wait(lambda: not stall, 10, "the stall")
        counts = stage.expression.problems.counts
        stage.client.wait(lambda: any("skipped_s" in text for text in counts), 10, "a warning")
    finally:
        stage.expression.turns.take = take
    speech = stage.client.node.create_publisher(AudioChunk, "speech", 10)
    stage.client.wait(speech.get_subscription_count, 10, "subscriber of speech")
    late = AudioChunk(sample_rate=16000, channels=1, encoding="pcm_s16le", utterance_id="late")
    late.header.stamp.sec, late.data = int(time.time()) - 5, bytes(2 * 8000)
    speech.publish(late)
    counts = stage.renderer.problems.counts
    stage.client.wait(lambda: any("late_sound_ms" in text for text in counts), 10, "a warning")
    log = capfd.readouterr().err
    for key in ("skipped_s counts it", "late_sound_ms counts it"):
        assert log.count(key) == 1


def test_an_error_in_a_loop_is_told_once_and_ends_nothing(stage, capfd):
    """Nothing that a network could be to blame for."""
    face, pipeline = stage.renderer.face, stage.expression.engine.pipeline
    fallbacks = stage.renderer.counts["fallbacks"], stage.expression.engine.fallbacks
    broken = {"pictures": 5, "chunks": 3}
    pose, schedule = face.pose, pipeline.schedule

    def bad_pose(*args):
        if broken["pictures"]:
            broken["pictures"] -= 1
            raise ZeroDivisionError("a bug in the face")
        return pose(*args)

    def bad_schedule(*args):
        if broken["chunks"]:
            broken["chunks"] -= 1
            raise ZeroDivisionError("a bug in the pipeline")
        return schedule(*args)

    face.pose, pipeline.schedule = bad_pose, bad_schedule
    try:
        stage.client.send(PCM, time.time() + 0.3, "bugs", last=True)
        stage.client.wait(lambda: not any(broken.values()), 10, "both errors")
        stage.client.wait(lambda: len(stage.seen("bugs")) > 0.8 * FPS, 10, "the rest of it")
    finally:
        face.pose, pipeline.schedule = pose, schedule
    after = stage.renderer.counts["fallbacks"], stage.expression.engine.fallbacks
    assert after == fallbacks
    log = capfd.readouterr().err
    for bug in ("a bug in the face", "a bug in the pipeline"):
        assert log.count(f"ZeroDivisionError: {bug}") == 1 and "Traceback" in log
    for node in stage.nodes:
        assert any(name.startswith("ZeroDivisionError in") for name in node.problems.counts)


def test_a_network_that_fails_is_replaced_and_the_face_goes_on(stage):
    """As a GPU that is lost: every run of the loaded networks raises."""

    class Lost:
        def __getattr__(self, name):
            raise RuntimeError("CUDA error 700: an illegal memory access was encountered")

    def lost(*inputs):
        raise NetworkError("CUDA error 700: an illegal memory access was encountered")

    stage.client.send(PCM, time.time() + 0.2, "lost", last=True)
    stage.client.spin(1.0)
    before = len(stage.shown)
    stage.renderer.face.renderer.generate = lost
    stage.client.wait(lambda: len(stage.shown) > before + 10, 3, "new frames")
    # (Loading is tried again after 5 s: a machine that takes longer falls back twice.)
    assert 1 <= stage.renderer.counts["fallbacks"] <= promised(1, 5)
    begin, media_begin = time.time(), stage.renderer.now()
    for i in range(0, len(PCM), 1600):
        stage.client.send(PCM[i : i + 1600], begin + i / 16000, "lost too", i + 1600 >= len(PCM))
        stage.client.spin(0.1)
        if i == 16000:
            stage.expression.engine.pipeline._segment.stream._session = Lost()

    def times():
        """Of the frames, s of the speech. (A busy machine does not show how it begins.)"""
        return [s.time - media_begin for _, s in stage.seen("lost too")]

    long = 0.9 * len(PCM) / 16000
    stage.client.wait(lambda: times() and times()[-1] > long, 2.5, "the rest of it")
    assert 1 <= stage.expression.engine.fallbacks <= promised(1, 5)
    assert np.diff([0.0, *times()]).max() < promised(1.0, 12.0)
    assert stage.expression.problems.counts  # it is said
