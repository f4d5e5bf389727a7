"""Text to speech as a ROS interface: topic, action, cancel, interrupt; and how far a text is."""

import re
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.action", reason="the ROS messages are not built")

from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from realtalk_ros.action import Say  # noqa: E402
from realtalk_ros.errors import RealTalkError  # noqa: E402
from realtalk_ros.msg import AudioChunk  # noqa: E402
from realtalk_ros.say import Saying, sentences  # noqa: E402
from realtalk_ros.speech import Espeak  # noqa: E402
from ros_graph import Client, seconds, start, stop  # noqa: E402

DOMAIN = 51
LONG = "This is a long text, which says a good many words, and does not end soon. " * 3
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6  # action_msgs/GoalStatus

try:
    Espeak()
except RealTalkError as error:
    pytest.skip(str(error), allow_module_level=True)


def test_how_far_a_text_is_follows_its_words():
    text = 'Hello there. "How are you?" she said.'
    saying = Saying(text, "en-us")
    pcm = np.concatenate([part for part, _ in saying.chunks(0.02)])
    assert len(pcm) / saying.sample_rate == pytest.approx(saying.seconds)
    assert saying.spoken(-0.1) == "" and saying.spoken(saying.seconds) == text
    steps = [saying.spoken(t) for t in np.arange(0, saying.seconds, 0.05)]
    assert all(text.startswith(step) for step in steps)
    assert sorted(steps, key=len) == steps and len(set(steps)) == len(text.split())


def test_sentences_are_the_text_and_never_long():
    text = "One. Two? Three!\n" + "word " * 300 + "x" * 900
    pieces = sentences(text)
    assert "".join(pieces) == text and max(map(len, pieces)) <= 401 and len(pieces) > 6
    assert [len(part) for part, _ in Saying("Yes.", "en-us").chunks(0.02)][-1] > 0


@pytest.mark.parametrize("text", ["", " ...\n", "x" * 20001])
def test_what_cannot_be_said_is_refused_with_a_reason(text):
    with pytest.raises(RealTalkError, match="give"):
        Saying(text, "en-us")


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


@pytest.fixture
def client(graph):
    client = Listener()
    client.wait_ready("say_node", "expression_node")
    assert client.action.wait_for_server(10)
    client.wait(client.say.get_subscription_count, 10, "subscriber of say")
    client.wait(lambda: client.node.count_publishers("audio") > 1, 10, "the speaker")
    client.spin(0.5)
    yield client
    client.close()


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
    assert client.chunks[-1].reset
    client.spin(0.5)
    assert len(client.chunks) == sent


def test_interrupt_by_somebody_else_ends_the_goal(client):
    _, future, told = client.goal(LONG)
    client.wait(lambda: told and told[-1].spoken, 15, "some speech")
    client.call_interrupt()
    status, result = client.result(future, 5)
    assert status == ABORTED and result.message == "interrupted"


def test_a_new_text_replaces_the_old_one_or_waits(client):
    _, first, told = client.goal(LONG)
    client.wait(lambda: told and told[-1].spoken, 15, "some speech")
    _, second, _ = client.goal("Short.")
    status, result = client.result(first, 5)
    assert status == ABORTED and "replaced" in result.message
    assert client.result(second)[0] == SUCCEEDED

    setter = client.node.create_client(SetParameters, "say_node/set_parameters")
    assert setter.wait_for_service(10)

    def policy(value):
        parameters = [Parameter("policy", value=value).to_parameter_msg()]
        future = setter.call_async(SetParameters.Request(parameters=parameters))
        client.wait(future.done, 10, "parameter")
        return future.result().results[0]

    assert not policy("shout").successful and "replace, queue" in policy("shout").reason
    assert policy("queue").successful
    futures = [client.goal(text)[1] for text in ("The first.", "The second.")]
    del client.chunks[:]
    assert [client.result(f)[0] for f in futures] == [SUCCEEDED] * 2
    assert policy("replace").successful


@pytest.mark.parametrize("text,voice,why", [("...", "", "no text"), ("Hi.", "nobody", "voice")])
def test_a_goal_that_cannot_be_said_is_aborted_with_a_reason(client, text, voice, why):
    _, future, _ = client.goal(text, voice)
    status, result = client.result(future)
    assert status == ABORTED and re.search(why, result.message) and not result.completed
