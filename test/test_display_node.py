# SPDX-License-Identifier: Apache-2.0
"""What the operator's page asks of other nodes, with the real node."""

import asyncio
import threading
import time

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

import aiohttp
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger

from realtalk_ros.msg import FaceSettings
from ros_domains import domain_of
from ros_graph import Client, start, stop

DOMAIN = domain_of(__file__)
PORT = 8100 + DOMAIN


@pytest.fixture(scope="module")
def display():
    process = start("display_node", DOMAIN, port=PORT)
    yield process
    stop(process)


@pytest.fixture
def client(display):
    client = Client(DOMAIN, images=False)
    client.wait_ready("display_node")
    yield client
    client.close()


def send(*commands):
    """Sends an operator's commands at once."""

    async def run():
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"http://127.0.0.1:{PORT}/operator/ws", origin=f"http://127.0.0.1:{PORT}"
            ) as socket,
        ):
            for command in commands:
                await socket.send_json(command)
            await asyncio.sleep(0.3)

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()


@pytest.mark.parametrize("seconds, waits", [(0.4, True), (3.0, False)])
def test_a_text_after_an_interrupt_waits_for_it_but_not_for_long(client, seconds, waits):
    """Else the interrupt could end the text that comes after it."""
    answered, sent = [], []  # s since 1970

    def on_interrupt(_, response):
        time.sleep(seconds)
        answered.append(time.time())
        return response

    client.node.create_service(Trigger, "interrupt", on_interrupt)
    client.node.create_subscription(
        String, "say", lambda _, info: sent.append(info["source_timestamp"] / 1e9), 10
    )
    client.wait(lambda: client.node.count_clients("/realtalk/interrupt"), 10, "display_node")
    client.spin(1.2)  # so that it knows both
    send({"interrupt": True}, {"say": "and now"})
    client.wait(lambda: answered and sent, 10, "an interrupt, and the text after it")
    assert (sent[0] > answered[0]) == waits


def state():
    """What a page that is opened now is told."""

    async def run():
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"http://127.0.0.1:{PORT}/ws", origin=f"http://127.0.0.1:{PORT}"
            ) as socket,
        ):
            return await socket.receive_json()

    return asyncio.run(run())


def test_pages_name_the_avatar_that_the_face_shows_and_can_choose_it_again(client):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    face = client.node.create_publisher(FaceSettings, "face/settings", latched)
    chosen = []

    def on_parameters(request, response):
        chosen.append(request.parameters[0].value.string_value)
        response.results = [SetParametersResult(successful=True)]
        return response

    client.node.create_service(SetParameters, "renderer_node/set_parameters", on_parameters)

    def shows(avatar, label):
        face.publish(FaceSettings(avatar=avatar))
        client.wait(lambda: client.spin(0.1) or state()["avatar"] == label, 10, label)

    assert state()["avatar"] in ("", "pia")  # none yet; or the last one, where this test runs again
    shows("mira", "mira")
    shows("/home/robot/ann", "ann")
    shows("pia", "pia")
    assert {"ann", "default", "mira", "pia"} <= set(state()["avatars"])
    client.wait(
        lambda: client.node.count_clients("/realtalk/renderer_node/set_parameters"), 10, "client"
    )
    client.spin(1.2)  # so that it knows the service
    send({"avatar": "ann"})
    client.wait(lambda: chosen, 10, "choice of an avatar")
    assert chosen == ["/home/robot/ann"]
