# SPDX-License-Identifier: Apache-2.0
"""Interrupts and turns, with the real nodes: what is shown and played before and after them."""

import os
import threading
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from rclpy.parameter import Parameter  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from realtalk_ros.face_model import arkit  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import FPS, SETTLE, promised, speech  # noqa: E402
from stage import Stage  # noqa: E402

DOMAIN = domain_of(__file__)
TIMES = int(os.environ.get("REALTALK_TEST_INTERRUPTS", "60"))
PCM = speech(3.5)[16000 // 2 :]
MOUTH = list(arkit.MOUTH)


@pytest.fixture(scope="module")
def nodes():
    stage = Stage(DOMAIN)
    yield stage
    stage.close()


@pytest.fixture
def stage(nodes):
    nodes.forget()
    return nodes


@pytest.fixture
def undrawn(stage, monkeypatch):
    """25 frames a second that nobody draws: which are shown and when is what matters."""
    picture = np.zeros((128, 128, 3), np.uint8)
    renderer = stage.renderer.face.renderer
    monkeypatch.setattr(renderer, "generate_and_begin", lambda *_: (None, None))
    monkeypatch.setattr(renderer, "compose", lambda *_: picture.copy())
    with stage.setting(stage.renderer, "fps", 25.0):
        stage.client.wait(lambda: stage.expression.fps == 25.0, 5, "frame rate of both nodes")
        yield
    stage.client.wait(lambda: stage.expression.fps == FPS, 5, "frame rate of both nodes")


def test_interrupt_then_speak_never_shows_or_plays_a_piece_of_the_old_one(stage, undrawn):
    client, rng = stage.client, np.random.default_rng(0)
    answered = {}  # utterance -> when its interrupt was
    for k in range(TIMES):
        name = f"turn-{k}"
        # Half are stopped by the service, half by the first chunk of who speaks next.
        client.send(PCM[:20000], time.time() + 0.02, name, reset=k % 2 == 1)
        client.wait(lambda n=name: any(m.utterance_id == n for m in client.expressions), 5, name)
        client.spin(rng.uniform(0.02, 0.15))
        if k % 4 < 2:  # these come into sight and sound before they are stopped ...
            over = time.monotonic() + promised(60, 2)  # ... but where the machine stood still
            client.wait(
                lambda n=name, over=over: (stage.seen(n) and stage.said(n))
                or time.monotonic() > over,
                10, f"{name} in sight",
            )  # fmt: skip
        if k % 2 == 1:
            client.call_interrupt()
            answered[name] = time.time()
        client.expressions.clear()
    client.spin(0.5)
    seen = [k for k in range(TIMES) if stage.seen(f"turn-{k}") and stage.said(f"turn-{k}")]
    assert len(seen) >= TIMES // 4
    for name, when in answered.items():
        on_its_way = promised(0.1, 2.0)  # between processes
        after = [t for t, _ in stage.seen(name) + stage.said(name) if t > when + on_its_way]
        assert not after, (name, after[0] - when)
    for record in ([s.utterance for _, s in stage.shown if s.utterance],
                   [m.utterance_id for _, m in stage.heard if m.data]):  # fmt: skip
        numbers = [int(name.split("-")[1]) for name in record if name.startswith("turn-")]
        assert numbers == sorted(numbers)  # the old one never comes after the new one


def test_the_mouth_is_closed_150_ms_after_an_interrupt(stage):
    client, took = stage.client, []
    for k in range(6):
        client.send(PCM, time.time() + 0.1, f"mouth-{k}")
        client.spin(1.2 + 0.07 * k)
        before = max(s.weights[MOUTH].max() for _, s in stage.shown[-10:])
        client.call_interrupt()
        answered = time.time()
        client.spin(0.6)
        after = [(when, s.weights[MOUTH].max()) for when, s in stage.shown if when > answered]
        open_ = [when - answered for when, mouth in after if mouth > max(0.05, 0.15 * before)]
        took.append(max(open_, default=0.0))
        assert stage.renderer.playout.speaking is False
    print(f"mouth closed after {np.median(took) * 1e3:.0f} ms (median), {max(took) * 1e3:.0f} most")
    assert np.median(took) <= promised(0.15, 0.6)


def test_nodes_that_stood_still_find_sound_and_interrupt_in_the_order_of_their_sending(stage):
    """What was sent before the interrupt is not heard, the answer that was sent after it is."""
    client, before, go_on = stage.client, stage.left_out(), threading.Event()
    stage.executor.create_task(go_on.wait)
    interrupt = client.node.create_client(Trigger, "interrupt")
    client.wait(interrupt.service_is_ready, 10, "interrupt")
    client.send(PCM[:16000], None, "begun-before", last=True)
    answer = interrupt.call_async(Trigger.Request())
    client.send(PCM[:16000], None, "answer", last=True)
    client.spin(SETTLE)
    go_on.set()
    client.wait(answer.done, 10, "answer to the interrupt")
    client.wait(lambda: any(m.last for _, m in stage.said("answer")), 10, "the end of the answer")
    assert not stage.said("begun-before")
    left_out = stage.left_out(before)
    assert sum(len(m.data) for _, m in stage.said("answer")) == 2 * (16000 - left_out)
    assert left_out <= promised(0, 8000)


@pytest.mark.parametrize("attempt", [1, 2])  # as where --reruns runs it again, on the same nodes
def test_queue_lets_the_first_one_end(stage, attempt):
    before, begin = stage.left_out(), time.time() + 0.2
    with stage.setting(stage.expression, "policy", "queue"):
        stage.client.send(PCM[:16000], begin, "first", last=True)
        stage.client.send(PCM[:16000], begin + 0.1, "second", last=True)
        stage.client.spin(3.2)
    left_out = stage.left_out(before)
    first, second = (sum(len(m.data) for _, m in stage.said(n)) for n in ("first", "second"))
    assert first and second and first + second == 2 * (32000 - left_out)
    assert left_out <= promised(0, 16000)
    assert stage.said("second")[0][0] >= stage.said("first")[-1][0]
    refused = stage.expression.set_parameters([Parameter("policy", value="shout")])[0]
    assert not refused.successful and "replace" in refused.reason


def test_a_reset_that_a_relay_sends_again_interrupts_once(stage):
    before, begin = stage.left_out(), time.time() + 0.3
    stage.client.send(PCM[:8000], begin, "relayed", reset=True)
    stage.client.send(PCM[8000:16000], begin + 0.5, "relayed", last=True)
    stage.client.send(PCM[:8000], begin, "relayed", reset=True)
    stage.client.spin(2.5)
    left_out = stage.left_out(before)
    assert sum(len(m.data) for _, m in stage.said("relayed")) == 2 * (16000 - left_out)
    assert left_out <= promised(0, 16000)
