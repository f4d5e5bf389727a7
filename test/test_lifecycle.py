# SPDX-License-Identifier: Apache-2.0
"""Life cycle and parameters of real nodes: transitions, what may be set when, and who follows."""

import os
import random
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import GetParameters, SetParametersAtomically  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402

from realtalk_ros.msg import FaceSettings  # noqa: E402
from realtalk_ros.nodes.lifecycle import RealTalkNode  # noqa: E402
from ros_domains import domain_of  # noqa: E402
from ros_graph import AVATAR, FPS, RATE, Client, broken_models, speech, start, stop  # noqa: E402

DOMAIN = domain_of(__file__)
NODES = ("expression_node", "renderer_node")
PCM = speech(2.5)[RATE // 2 :]
WITHIN = 3.0  # s in which a node is to be back


@pytest.fixture(scope="module")
def graph():
    processes = {name: start(name, DOMAIN, size=128) for name in NODES}
    yield processes
    stop(*processes.values())


@pytest.fixture
def client(graph):
    client = Client(DOMAIN)
    client.wait_ready(*NODES)
    client.wait_connected()
    client.wait(lambda: client.images, 20, "images")
    yield client
    client.close()


def change(client, node, *labels):
    for label in labels:
        request = ChangeState.Request()
        request.transition.label = label
        answer = client.call(ChangeState, f"{node}/change_state", transition=request.transition)
        assert answer.success, label


def test_life_cycle_does_what_it_says(client):
    change(client, "renderer_node", "deactivate")
    client.spin(0.3)
    client.images.clear()
    client.spin(1.0)
    assert not client.images and client.diagnostics["renderer_node"][1] == "inactive"
    refused = client.set_parameter("renderer_node", "threads", 2)
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
    client.call_interrupt()


@pytest.mark.parametrize("step", ["setup", "start", "halt", "free"])
def test_an_error_in_a_transition_is_logged_and_shown(step):
    """rclpy would say nothing of it."""

    def fails():
        raise ZeroDivisionError("a bug")

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN + 1)
    try:
        node = RealTalkNode("node", context=context)
        logged = []
        node.problems.log = logged.append
        if step != "free":  # which is called after an error, too
            setattr(node, step, fails)
        node.try_setup()
        if step == "halt":
            assert node.trigger_deactivate() == TransitionCallbackReturn.ERROR
        elif step == "free":
            node.free = fails
            node.trigger_deactivate()
            assert node.trigger_cleanup() == TransitionCallbackReturn.ERROR
        assert node.failure == "ZeroDivisionError: a bug" and not node.ready
        assert len(logged) == 1 and "Traceback" in logged[0]
        assert node.state == "unconfigured"
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


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


def test_a_transition_that_does_not_fit_is_answered_and_ends_nothing(graph, client):
    rng = random.Random(3)
    ids = [0, 1, 2, 3, 4, 8, 10, 11, 20, 30, 40, 50, 60, 99, 255]
    answers = []
    for _ in range(int(os.environ.get("REALTALK_TEST_TRANSITIONS", "60"))):
        request = ChangeState.Request()
        if rng.random() < 0.2:
            request.transition.label = rng.choice(["nonsense", "activate", "deactivate", ""])
        request.transition.id = rng.choice(ids)
        node = rng.choice(NODES)
        answer = client.call(ChangeState, f"{node}/change_state", transition=request.transition)
        answers.append(answer.success)
    assert True in answers and False in answers
    assert [p.poll() for p in graph.values()] == [None, None]
    for node in NODES:
        for label in ("configure", "activate"):
            request.transition.label = label
            client.call(ChangeState, f"{node}/change_state", transition=request.transition)
    client.images.clear()
    client.wait(lambda: client.images, 10, "images again")


def test_parameters_are_refused_together(client):
    """Nothing of a refused set is put to work."""
    values = {"mark": "AI-generated", "emotion": "nonsense"}
    parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
    answer = client.call(
        SetParametersAtomically, "renderer_node/set_parameters_atomically", parameters=parameters
    )
    assert not answer.result.successful and "nonsense" in answer.result.reason

    before = client.corner()
    client.spin(0.3)
    assert np.abs(client.corner() - before).mean() < 5


@pytest.mark.parametrize("name", NODES)
def test_a_parameter_says_again_what_runs_where_another_value_does_not_load(client, tmp_path, name):
    def model_dir():
        names = ["model_dir"]
        return client.call(GetParameters, f"{name}/get_parameters", names=names).values[0]

    folder = str(broken_models(tmp_path, "truncated"))
    assert client.set_parameter(name, "model_dir", folder).successful
    client.wait(
        lambda: any("keeping what is in use" in key for key in client.diagnostics[name][2]),
        10, "problem",
    )  # fmt: skip
    client.wait(lambda: model_dir().string_value == "", 5, "the folder that is in use")
    client.images.clear()
    client.wait(lambda: client.images, WITHIN, "images")


def test_a_node_that_starts_later_follows_what_was_set():
    """Of what two nodes were started with the renderer's counts; then what was set last."""
    domain = DOMAIN + 1
    processes = [start("renderer_node", domain, avatar="android", fps=20.0, size=64)]
    client = Client(domain, images=False)
    settings = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    client.node.create_subscription(FaceSettings, "face/settings", settings.append, latched)
    try:
        client.wait_ready("renderer_node")
        processes.append(start("expression_node", domain, avatar="default"))
        client.wait_ready("expression_node")
        client.wait(
            lambda: client.diagnostics["expression_node"][2]["avatar"] == "android", 20, "android"
        )
        assert (settings[-1].avatar, settings[-1].fps) == ("android", 20.0)
    finally:
        client.close()
        stop(*processes)
