# SPDX-License-Identifier: Apache-2.0
"""The render loop without networks: which frames are shown, and how they are stamped."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from realtalk_ros.avatar.temperament import Temperament
from realtalk_ros.errors import NetworkError
from realtalk_ros.nodes import face_loader, render_loop
from realtalk_ros.nodes.face_loader import FaceLoader, RendererSettings
from realtalk_ros.nodes.render_loop import RenderLoop
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.playout.quality_monitor import FrameStatistics
from realtalk_ros.stream_types import TimedExpression


def expression(time, utterance="a"):
    weights, rotation = np.full(52, 0.1, np.float32), np.zeros(3, np.float32)
    return TimedExpression(time, utterance, 0, weights, rotation, 1.0)


def renderer_of(size):
    return SimpleNamespace(size=size, avatar=SimpleNamespace(provenance=None))


class Stage:
    """A render loop whose clock stands at `now`, and what it publishes."""

    def __init__(self, fps=25.0):
        self.now, self.stamps, self.speaking = 1000.0, [], []
        self.playout = FacePlayout(fps, lambda: self.now, lambda: 0.0)
        self.prepared, self.renderer = [], renderer_of(size=(4, 4))
        face = SimpleNamespace(
            generate=lambda time, *_: SimpleNamespace(renderer=self.renderer, time=time),
            compose=lambda generated: np.zeros((4, 4, 3), np.uint8),
        )
        self.counts = {"images": 0, "skipped_frames": 0}
        node = SimpleNamespace(
            counts=self.counts,
            now=lambda: self.now,
            publisher=lambda *_, **__: SimpleNamespace(
                publish=lambda message: self.speaking.append(message.data)
            ),
        )
        images = SimpleNamespace(
            prepare=lambda size, _: self.prepared.append(size),
            publish=lambda image, stamp: self.stamps.append(stamp),
        )
        loader = SimpleNamespace(face=face)
        self.statistics = FrameStatistics()
        self.loop = RenderLoop(node, self.playout, loader, images, statistics=self.statistics)

    def next_frame(self):
        frame = None
        while frame is None:
            frame, wait = self.playout.next_frame()
            self.now += max(0.0, wait) if frame is None else 0.0
        return frame

    def show(self, frame):
        self.now = max(self.now, frame.due)
        self.loop.show(self.loop.generate(frame))


def test_a_frame_keeps_its_time_when_the_frame_rate_is_set_before_it_is_rendered():
    stage = Stage(fps=25.0)
    frame = stage.next_frame()
    stage.playout.set_fps(10.0)
    stage.show(frame)
    assert stage.stamps == [pytest.approx(1000.0, abs=0.3)]  # not 2500


@pytest.mark.parametrize("utterance", ["a", ""])
def test_how_long_frames_of_speech_take_is_known_of_an_utterance_without_a_name_too(utterance):
    """The time by which a frame is begun earlier follows from that."""
    stage = Stage()
    stage.show(still := stage.next_frame())
    assert not stage.statistics.speech_ms
    stage.playout.push_expression(expression(still.time + 0.04, utterance), 0.0)
    stage.show(stage.next_frame())
    assert len(stage.statistics.speech_ms) == 1


@pytest.mark.parametrize("utterance", ["a", ""])
@pytest.mark.parametrize("rendered", [False, True])
def test_a_frame_whose_utterance_is_interrupted_before_it_is_due_is_not_shown(rendered, utterance):
    stage = Stage()
    still = stage.next_frame()
    stage.playout.push_expression(expression(still.time + 0.04, utterance), 0.0)
    frame = stage.next_frame()
    assert frame.utterance == utterance and still.utterance is None
    if rendered:
        pending = stage.loop.generate(frame)
        stage.playout.interrupt()
    else:  # it comes between the two
        stage.playout.interrupt()
        pending = stage.loop.generate(frame)
    stage.loop.show(pending)
    assert stage.stamps == [] and stage.counts["skipped_frames"] == 1
    stage.show(still)  # of no utterance
    assert len(stage.stamps) == 1


def test_images_are_prepared_once_for_each_face_or_size_that_is_shown():
    stage = Stage()
    for size in ((4, 4), (8, 6)):
        stage.renderer = renderer_of(size)
        for _ in range(2):
            stage.show(stage.next_frame())
    assert stage.prepared == [(4, 4), (8, 6)]


@pytest.mark.parametrize("outcomes, fallbacks", [("FF--FF--", 0), ("--FFF--", 1)])
def test_networks_are_loaded_again_after_failures_in_a_row_alone(monkeypatch, outcomes, fallbacks):
    stop, left, loaded = threading.Event(), list(outcomes), []
    node = SimpleNamespace(
        counts={"fallbacks": 0},
        problems=SimpleNamespace(add=lambda _: None),
        context=SimpleNamespace(ok=lambda: True),
        publisher=lambda *_, **__: SimpleNamespace(publish=lambda message: None),
    )
    playout = SimpleNamespace(next_frame=lambda: (object(), 0.0))
    loader = SimpleNamespace(
        take=lambda: False, replacing=False, fall_back=lambda: loaded.append("on the CPU")
    )
    loop = RenderLoop(node, playout, loader, images=None, statistics=FrameStatistics())

    def generate(frame):
        outcome = left.pop(0)
        if not left:
            stop.set()
        if outcome == "F":
            raise NetworkError("broken")

    monkeypatch.setattr(loop, "generate", generate)
    monkeypatch.setattr(loop, "show", lambda pending: None)
    loop.run(stop)
    assert len(loaded) == node.counts["fallbacks"] == fallbacks


class SlowRenderer:
    """Stands for a FaceRenderer: the first one's network fails, and each that follows takes as long
    to load as ten frames."""

    provider = "CPUExecutionProvider"
    opened = frames = 0

    def __init__(self, avatar, *_, **__):
        SlowRenderer.opened += 1
        self.avatar, self.number, end = avatar, SlowRenderer.opened, SlowRenderer.frames + 10
        while self.number > 1 and SlowRenderer.frames < end:
            time.sleep(0.001)

    def render(self, weights, template):
        return None

    def close(self):
        pass


@pytest.mark.parametrize("error", [NetworkError("broken"), ValueError("broken")])
def test_networks_that_load_slowly_replace_those_that_keep_failing(monkeypatch, error):
    """Each failure meanwhile had them thrown away and loaded again, for ever."""
    avatar = SimpleNamespace(name="default", temperament=Temperament())
    monkeypatch.setattr(face_loader, "FaceRenderer", SlowRenderer)
    monkeypatch.setattr(face_loader, "Avatar", SimpleNamespace(load=lambda name: avatar))
    monkeypatch.setattr(render_loop, "RELOAD_EVERY", 0.0)
    monkeypatch.setattr(render_loop, "OTHER_FAILURES", 3)
    monkeypatch.setattr(SlowRenderer, "opened", 0)
    monkeypatch.setattr(SlowRenderer, "frames", 0)
    stop, failures = threading.Event(), []
    problems = SimpleNamespace(add=failures.append, exception=failures.append)
    settings = RendererSettings("default", 128, "cpu", "", 1)
    loader = FaceLoader(lambda: settings, problems)
    loader.setup(seed=0)
    node = SimpleNamespace(
        counts={"fallbacks": 0},
        problems=problems,
        context=SimpleNamespace(ok=lambda: True),
        publisher=lambda *_, **__: SimpleNamespace(publish=lambda message: None),
    )
    playout = SimpleNamespace(next_frame=lambda: (object(), 0.0))
    loop = RenderLoop(node, playout, loader, images=None, statistics=FrameStatistics())

    def generate(frame):
        SlowRenderer.frames += 1
        time.sleep(0.002)
        if loader.face.renderer.number == 1 and SlowRenderer.frames < 500:
            raise error
        stop.set()

    monkeypatch.setattr(loop, "generate", generate)
    monkeypatch.setattr(loop, "show", lambda pending: None)
    loop.run(stop)
    number = loader.face.renderer.number
    SlowRenderer.frames += 1000  # nothing loads any more
    loader.clear()
    assert number == 2 and node.counts["fallbacks"] == 1
    assert 10 <= len(failures) < 100  # each was reported
