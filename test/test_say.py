# SPDX-License-Identifier: Apache-2.0
"""Text to speech as a ROS interface: topic, action, cancel, interrupt."""

import re
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.action", reason="the ROS messages are not built")

import rclpy
from rclpy.action import ActionClient, GoalResponse
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from realtalk_ros.action import Say
from realtalk_ros.audio import espeak_library
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk, FaceExpression
from ros_domains import domain_of
from ros_graph import Client, seconds, start, stop

DOMAIN = domain_of(__file__)
LONG = "This is a long text, which says a good many words, and does not end soon. " * 3
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6  # action_msgs/GoalStatus

try:
    espeak_library.load_espeak()
except RealTalkError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def graph():
    processes = [start("say_node", DOMAIN), start("expression_node", DOMAIN)]
    yield processes
    crashed = [p.poll() for p in processes]
    stop(*processes)
    assert crashed == [None, None] and all(p.returncode == 0 for p in processes)


class Listener(Client):
    def __init__(self):
        super().__init__(DOMAIN, images=False)
        self.chunks: list[AudioChunk] = []
        self.node.create_subscription(AudioChunk, "audio", self.chunks.append, 500)
        self.say = self.node.create_publisher(String, "say", 10)
        self.action = ActionClient(self.node, Say, "say")

    def goal(self, text, voice=""):
        """Sends a goal. Returns its handle, the future of its result, and its feedback to come."""
        told: list[Say.Feedback] = []
        future = self.action.send_goal_async(
            Say.Goal(text=text, voice=voice), lambda message: told.append(message.feedback)
        )
        self.wait(future.done, 10, "answer to the goal")
        assert future.result().accepted
        return future.result(), future.result().get_result_async(), told

    def result(self, future, timeout=20):
        self.wait(future.done, timeout, "result")
        return future.result().status, future.result().result


@pytest.fixture(scope="module")
def listener(graph):
    listener = Listener()
    listener.wait_ready("say_node", "expression_node")
    assert listener.action.wait_for_server(10)
    listener.wait(listener.say.get_subscription_count, 10, "subscriber of say")
    listener.wait(lambda: listener.node.count_publishers("audio") > 1, 10, "the speaker")
    yield listener
    listener.close()


@pytest.fixture
def client(listener):
    """Of the test before nothing is heard any more: replacing it would send a reset."""
    listener.expressions.clear()
    listener.call_interrupt()
    listener.wait(lambda: any(e.reset for e in listener.expressions), 5, "end of what was said")
    listener.spin(0.2)  # say_node knows it, too
    listener.expressions.clear()
    listener.chunks.clear()
    return listener


def test_a_text_on_the_topic_is_spoken_in_real_time(client):
    client.say.publish(String(data="Hello, I am a robot."))
    client.wait(lambda: client.chunks and client.chunks[-1].last, 20, "end of the speech")
    ids = {m.utterance_id for m in client.chunks}
    assert len(ids) == 1 and not any(m.reset for m in client.chunks)
    times = np.array([seconds(m.header.stamp) for m in client.chunks])
    rate = client.chunks[0].sample_rate
    lengths = np.array([len(m.data) / 2 / rate for m in client.chunks])
    assert np.allclose(np.diff(times), lengths[:-1], atol=1e-6)  # no gap, no overlap
    client.wait(lambda: any(e.utterance_id in ids for e in client.expressions), 5, "expressions")


def test_the_action_tells_what_was_heard_and_ends_when_all_was(client):
    text = "One two three. Four five six seven."
    began = time.monotonic()
    _, future, told = client.goal(text, "en-us+f3")
    status, result = client.result(future)
    took = time.monotonic() - began
    assert status == SUCCEEDED and result.completed and result.message == ""
    assert result.spoken == text == told[-1].spoken
    assert all(text.startswith(f.spoken) for f in told) and len(told) > 3
    sound = sum(len(m.data) for m in client.chunks) / 2 / client.chunks[0].sample_rate
    assert took > sound  # not when the last chunk was sent
    assert {f.utterance_id for f in told} == {m.utterance_id for m in client.chunks}


def test_cancel_interrupts_and_says_what_was_heard(client):
    goal, future, told = client.goal(LONG)
    client.wait(lambda: told and len(told[-1].spoken) > 10, 15, "some speech")
    client.wait(goal.cancel_goal_async().done, 10, "answer to cancel")
    status, result = client.result(future, 5)
    assert status == CANCELED and not result.completed and result.message == "cancelled"
    assert 10 < len(result.spoken) < len(LONG) and LONG.startswith(result.spoken)
    client.wait(lambda: any(e.reset for e in client.expressions), 5, "reset of the face")
    client.wait(lambda: any(m.reset for m in client.chunks), 5, "reset of the sound")
    sent = len(client.chunks)
    assert client.chunks[-1].reset and client.chunks[-1].sample_rate == client.chunks[0].sample_rate
    client.spin(0.5)
    assert len(client.chunks) == sent


def test_interrupt_by_somebody_else_ends_the_goal(client):
    _, future, told = client.goal(LONG)
    client.wait(lambda: told and told[-1].spoken, 15, "some speech")
    client.call_interrupt()
    status, result = client.result(future, 5)
    assert status == ABORTED and result.message == "interrupted"


def test_an_interrupt_ends_what_it_found_and_no_newer_text(client):
    """Whoever speaks right after an interrupt, or replaces one text by another at once, is heard,
    though the face has nothing of the new text yet when it hears of the end of the old one."""
    client.send(np.zeros(0), None, "gone", last=True, reset=True)
    client.wait(lambda: any(e.reset for e in client.expressions), 5, "answer to a reset")
    assert {e.utterance_id for e in client.expressions if e.reset} == {"gone"}
    others = client.node.create_publisher(FaceExpression, "expression", 10)
    client.wait(lambda: others.get_subscription_count() > 1, 10, "say_node")
    reset = FaceExpression(reset=True)  # of whatever is shown
    reset.header.stamp = client.node.get_clock().now().to_msg()
    _, future, told = client.goal(LONG)
    client.wait(lambda: told and told[-1].spoken, 15, "some speech")
    others.publish(reset)
    client.spin(0.3)
    assert not future.done()
    reset.header.stamp = client.node.get_clock().now().to_msg()
    others.publish(reset)
    assert client.result(future, 5)[1].message == "interrupted"


def test_an_interrupt_ends_texts_that_wait_for_their_turn(client):
    assert client.set_parameter("say_node", "policy", "queue").successful
    try:
        _, first, told = client.goal(LONG)
        _, second, _ = client.goal("The second.")
        client.wait(lambda: told and told[-1].spoken, 15, "some speech")
        client.call_interrupt()
        assert [client.result(f, 5)[1].message for f in (first, second)] == ["interrupted"] * 2
        sent = len(client.chunks)
        client.spin(0.5)
        assert not [m for m in client.chunks[sent:] if m.data]
    finally:
        assert client.set_parameter("say_node", "policy", "replace").successful


def test_a_text_that_is_cancelled_while_it_waits_is_answered_at_once(client):
    assert client.set_parameter("say_node", "policy", "queue").successful
    try:
        _, first, told = client.goal(LONG)
        client.wait(lambda: told and told[-1].spoken, 15, "some speech")
        second, result, told = client.goal("The second.")
        client.wait(second.cancel_goal_async().done, 10, "answer to cancel")
        status, result = client.result(result)
        assert not first.done()  # it is spoken on
        assert (status, result.message, result.spoken) == (CANCELED, "cancelled", "") and not told
        client.call_interrupt()
        assert client.result(first)[1].message == "interrupted"
    finally:
        assert client.set_parameter("say_node", "policy", "replace").successful


def test_a_goal_that_waits_for_a_text_of_the_topic_is_cancelled(client):
    assert client.set_parameter("say_node", "policy", "queue").successful
    try:
        client.say.publish(String(data=LONG))
        client.wait(lambda: client.chunks, 15, "some speech")
        goal, result, _ = client.goal("The second.")
        client.wait(goal.cancel_goal_async().done, 10, "answer to cancel")
        assert client.result(result)[0] == CANCELED
    finally:
        assert client.set_parameter("say_node", "policy", "replace").successful


def test_the_newest_of_texts_that_come_at_once_is_spoken(client):
    for _ in range(4):
        del client.chunks[:]
        for text in ("The first.", "The second.", "The third."):
            client.say.publish(String(data=text))
        client.wait(
            lambda: any(m.last and not m.reset for m in client.chunks), 10, "end of the newest text"
        )
        client.spin(0.2)  # into what is to be heard of it


def test_a_new_text_replaces_the_old_one_or_waits(client):
    _, first, told = client.goal(LONG)
    client.wait(lambda: told and told[-1].spoken, 15, "some speech")
    _, second, _ = client.goal("Short.")
    status, result = client.result(first, 5)
    assert status == ABORTED and "replaced" in result.message
    assert client.result(second)[0] == SUCCEEDED

    def policy(value):
        return client.set_parameter("say_node", "policy", value)

    assert not policy("shout").successful and "replace, queue" in policy("shout").reason
    assert policy("queue").successful
    futures = [client.goal(text)[1] for text in ("The first.", "The second.")]
    del client.chunks[:]
    assert [client.result(f)[0] for f in futures] == [SUCCEEDED] * 2
    assert policy("replace").successful


@pytest.fixture
def goals_at_once(client):
    """Sends goals in one instant, more than DDS keeps of a topic by default. Returns handles."""
    deep = QoSProfile(depth=100)
    action = ActionClient(client.node, Say, "say", goal_service_qos_profile=deep,
                          result_service_qos_profile=deep)  # fmt: skip
    client.wait(action.server_is_ready, 10, "the action")

    def send(texts):
        answers = [action.send_goal_async(Say.Goal(text=text)) for text in texts]
        client.wait(lambda: all(answer.done() for answer in answers), 10, "answer to each goal")
        return [answer.result() for answer in answers]

    yield send
    action.destroy()


def test_texts_that_come_in_one_instant_are_all_answered(client, goals_at_once):
    assert client.set_parameter("say_node", "policy", "queue").successful
    try:
        accepted = [goal for goal in goals_at_once([LONG, *"abcd" * 10]) if goal.accepted]
        assert len(accepted) == 1 + 32  # no more may wait
        results = [goal.get_result_async() for goal in accepted]
        client.wait(lambda: client.expressions, 15, "some speech")
        client.call_interrupt()
        assert {client.result(result)[1].message for result in results} == {"interrupted"}
    finally:
        assert client.set_parameter("say_node", "policy", "replace").successful


def test_the_newest_of_more_texts_than_may_wait_is_spoken(client, goals_at_once):
    goals = goals_at_once(f"This is {k}." for k in range(60))
    assert all(goal.accepted for goal in goals)
    results = [client.result(goal.get_result_async()) for goal in goals]
    assert results[-1][0] == SUCCEEDED
    assert {result.message for _, result in results[:-1]} == {"replaced by another text"}


def test_a_text_in_ssml_is_heard_in_plain_words(client):
    text = "<speak>Hello <break time='300ms'/> <emphasis>you</emphasis> &amp; me. 你好</speak>"
    _, future, told = client.goal(text)
    status, result = client.result(future)
    assert status == SUCCEEDED and result.spoken == "Hello you & me. 你好"
    assert all(result.spoken.startswith(f.spoken) for f in told)


@pytest.mark.parametrize("voice", ["../../etc/passwd", "en-us+../../x"])
def test_a_voice_that_espeak_does_not_list_is_refused(client, voice):
    status, result = client.result(client.goal("Hi.", voice)[1])
    assert status == ABORTED and re.search("no (voice|variant)", result.message)
    answer = client.set_parameter("say_node", "voice", voice)
    assert not answer.successful and re.search("no (voice|variant)", answer.reason)


@pytest.mark.parametrize("text,voice,why", [("...", "", "no text"), ("🙂", "", "no text"),
                                            ("Hi.", "nobody", "voice")])  # fmt: skip
def test_a_goal_that_cannot_be_said_is_aborted_with_a_reason(client, text, voice, why):
    _, future, _ = client.goal(text, voice)
    status, result = client.result(future)
    assert status == ABORTED and re.search(why, result.message) and not result.completed


def test_goals_are_answered_when_the_process_ends():
    process, client = start("say_node", DOMAIN + 1), Client(DOMAIN + 1, images=False)
    action = ActionClient(client.node, Say, "say")
    client.node.create_subscription(AudioChunk, "audio", lambda _: None, 500)
    try:
        client.wait_ready("say_node")
        client.wait(action.server_is_ready, 10, "the action")
        told = []
        goal = action.send_goal_async(Say.Goal(text=LONG), told.append)
        client.wait(goal.done, 10, "answer to the goal")
        result = goal.result().get_result_async()
        client.wait(lambda: told, 15, "some speech")
        process.send_signal(signal.SIGINT)
        client.wait(result.done, 10, "result")
        assert result.result().result.message == "the node was stopped"
        assert process.wait(10) == 0
    finally:
        client.close()
        stop(process)


def result_of(client, action, text):
    """Sends a goal, and waits for its status and result."""
    goal = action.send_goal_async(Say.Goal(text=text))
    client.wait(goal.done, 10, "answer to the goal")
    result = goal.result().get_result_async()
    client.wait(result.done, 20, "result")
    return result.result().status, result.result().result


def test_a_text_that_nobody_hears_is_reported_and_the_next_one_is_said():
    """No face runs at first."""
    process, client = start("say_node", DOMAIN + 1), Client(DOMAIN + 1, images=False)
    action = ActionClient(client.node, Say, "say")

    try:
        client.wait_ready("say_node")
        client.wait(action.server_is_ready, 10, "the action")
        status, result = result_of(client, action, "Hello.")
        assert status == ABORTED and not result.completed and not result.spoken
        assert "nobody listens on /realtalk/audio" in result.message
        del client.diagnostics["say_node"]
        client.wait(lambda: "say_node" in client.diagnostics, 5, "diagnostics")
        level, message, _ = client.diagnostics["say_node"]
        assert level == 1 and "nobody listens on /realtalk/audio" in message
        client.node.create_subscription(AudioChunk, "audio", lambda _: None, 500)
        status, result = result_of(client, action, "Hello.")
        assert status == SUCCEEDED and result.completed
    finally:
        client.close()
        stop(process)


def test_a_text_is_not_completed_whose_face_was_killed():
    """For 10 s DDS takes it to be there."""
    processes = start("say_node", DOMAIN + 1), start("expression_node", DOMAIN + 1)
    client = Client(DOMAIN + 1, images=False)
    action = ActionClient(client.node, Say, "say")

    try:
        client.wait_ready("say_node", "expression_node")
        client.wait(action.server_is_ready, 10, "the action")
        status, result = result_of(client, action, "This is heard.")
        assert status == SUCCEEDED and result.completed, result
        processes[1].kill()
        status, result = result_of(client, action, "This is not heard by anybody.")
        assert status == ABORTED and not result.completed
        assert "has expression_node ended?" in result.message
    finally:
        client.close()
        stop(*processes)


@pytest.fixture
def here():
    """Makes a node in this process."""
    context, nodes = rclpy.Context(), []
    rclpy.init(context=context, domain_id=DOMAIN)
    yield lambda kind, **options: nodes.append(kind(context=context, **options)) or nodes[-1]
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def fake_goal(text, ended):
    """What rclpy gives for an accepted goal; appends its text to `ended` when its result is due."""
    return SimpleNamespace(
        request=Say.Goal(text=text),
        goal_id=SimpleNamespace(uuid=text.encode()),
        execute=lambda: ended.append(text),
    )


def eventually(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_voice_that_breaks_on_the_way_does_not_leave_the_face_waiting(here, monkeypatch):
    from realtalk_ros.nodes import say_node

    set_voice, texts = espeak_library.set_voice, []

    def once(library, voice):
        texts.append(voice)
        if len(texts) > 1:
            raise RealTalkError("its data are gone: install them anew")
        set_voice(library, voice)

    monkeypatch.setattr(espeak_library, "set_voice", once)
    node = here(say_node.SayNode)
    published = []
    monkeypatch.setattr(Publisher, "publish", lambda _, message: published.append(message))
    request = say_node.SayRequest("One sentence. Another one.", "en-us", node.now())
    with pytest.raises(RealTalkError, match="are gone"):
        node.say(request)
    assert published[-1].reset and published[-1].last and published[-1].sample_rate > 0
    assert request.spoken.startswith("One") and not request.completed


def test_a_text_that_outlives_its_halt_is_not_in_the_way_of_the_next(here, monkeypatch):
    """As where espeak-ng, or the middleware, blocks for a while."""
    from realtalk_ros.nodes import say_node

    node = here(say_node.SayNode)
    begun, go_on = ({text: threading.Event() for text in ("old", "new")} for _ in range(2))
    spoken, ended = [], []

    def say(request):
        spoken.append(request.text)
        begun[request.text].set()
        go_on[request.text].wait(20)

    monkeypatch.setattr(node, "say", say)
    monkeypatch.setattr(say_node, "HALT", 0.05)
    node.try_setup()
    node.on_accepted(fake_goal("old", ended))
    assert begun["old"].wait(10)
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert any("did not end" in problem for problem in node.problems.counts)
    (old,) = [thread for thread in threading.enumerate() if thread.name == "speaker"]
    node.try_setup()
    node.on_accepted(fake_goal("new", ended))
    assert begun["new"].wait(10)
    go_on["old"].set()
    old.join(10)
    assert not old.is_alive()
    go_on["new"].set()
    eventually(lambda: "new" in ended)
    assert spoken == ended == ["old", "new"]
    node.close()


def test_a_text_that_comes_before_the_node_is_active_is_reported(here):
    from realtalk_ros.nodes.say_node import SayNode

    node = here(SayNode)
    node.on_text(String(data="Hello."))
    assert list(node.problems.counts) == ["a text was refused: not active"]


def test_of_any_number_of_texts_the_newest_is_spoken(here, monkeypatch):
    """While espeak-ng, or a busy machine, keeps the speaker from looking at what has come."""
    from realtalk_ros.nodes import say_node

    node = here(say_node.SayNode)
    begun, go_on = threading.Event(), threading.Event()
    spoken, ended = [], []

    def say(request):
        spoken.append(request.text)
        begun.set()
        go_on.wait(20)

    monkeypatch.setattr(node, "say", say)
    node.try_setup()
    texts = [f"text {k}" for k in range(41)]
    node.on_accepted(fake_goal(texts[0], ended))
    assert begun.wait(10)
    for text in texts[1:]:
        node.on_accepted(fake_goal(text, ended))
    assert ended == texts[1:-1] and node.status()["waiting"] == 1
    go_on.set()
    eventually(lambda: texts[-1] in ended)
    assert spoken == [texts[0], texts[-1]] and ended == [*texts[1:-1], texts[0], texts[-1]]
    node.close()


def test_a_node_that_ends_accepts_no_more_goals(here):
    """While its last answers are sent."""
    from realtalk_ros.nodes.say_node import SayNode

    node = here(SayNode)
    node.try_setup()
    assert node.on_goal(Say.Goal(text="Hello.")) == GoalResponse.ACCEPT
    node.close()
    assert node.on_goal(Say.Goal(text="Hello.")) == GoalResponse.REJECT


def test_an_answer_that_fails_at_the_end_keeps_back_no_other_one(monkeypatch):
    from realtalk_ros.nodes import spin

    answers = ["broken", "whole", "whole"]

    class Executor:
        context = SimpleNamespace(ok=lambda: bool(answers))
        add_node = remove_node = print

        def spin_once(self, timeout_sec):
            if answers.pop(0) == "broken":
                raise ValueError("an answer that cannot be sent")

    monkeypatch.setattr(spin, "SingleThreadedExecutor", Executor)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    node = SimpleNamespace(
        autostart=False, exit_code=0, failure="", misspelt=list, close=list, destroy_node=list,
        owes_answers=lambda: True,
    )  # fmt: skip
    assert spin.spin([node]) == 0 and not answers


@pytest.mark.parametrize("parameters, why", [
    ({"wav": "-"}, "name a file"), ({"text": "🙂"}, "no text"),
    ({"text": "x", "voice": "../x"}, "no voice"),
])  # fmt: skip
def test_speech_node_refuses_what_it_cannot_say(here, parameters, why):
    from realtalk_ros.nodes.speech_node import SpeechNode

    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    with pytest.raises(RealTalkError, match=why):
        here(SpeechNode, parameter_overrides=overrides).setup()
