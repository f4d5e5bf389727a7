# SPDX-License-Identifier: Apache-2.0
"""Persons who are cut out of their templates, before another background or none."""

import os
import tracemalloc
import types
from dataclasses import replace

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face import Face
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering import face_renderer
from realtalk_ros.rendering.background import Background, opaque
from realtalk_ros.rendering.cutout import cut_out
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.watermark import Watermark

SIZE = 256
TURNED = np.array([0.02, 0.15, 0.08], np.float32)  # rad
RED, BLUE = Background("#ff0000"), Background("#0000ff")
NOTHING = Background("transparent")


def soft_disc(side=96, radius=30):
    """A matte (side, side) uint8 with an edge of some pixels."""
    y, x = np.mgrid[:side, :side] - side / 2
    return np.uint8(255 * np.clip((radius - np.hypot(x, y)) / 6 + 0.5, 0, 1))


def person(matte, colour=(40, 120, 200)):
    """That colour (BGR) cut out by a matte, of premultiplied alpha."""
    own = np.rint(matte[..., None] / 255 * np.array(colour))
    return np.dstack([own.astype(np.uint8), matte])


def test_a_person_stands_before_a_colour():
    matte = soft_disc()
    image = Background("#10FF30").behind(person(matte))
    share = matte[..., None] / 255
    wanted = share * (40, 120, 200) + (1 - share) * (0x30, 0xFF, 0x10)
    assert image.shape == (96, 96, 3) and image.dtype == np.uint8
    assert np.abs(image - wanted).max() <= 1.5


def test_before_nothing_alpha_is_straight_and_before_black_nothing_shines():
    matte = soft_disc()
    image = NOTHING.behind(person(matte))
    np.testing.assert_array_equal(image[..., 3], matte)
    solid = matte > 40
    assert np.abs(image[solid][:, :3] - (40.0, 120, 200)).max() <= 5  # of few levels of alpha
    assert not image[matte == 0].any()
    assert np.abs(opaque(image) - person(matte)[..., :3].astype(float)).max() <= 1


def test_the_middle_of_a_picture_fills_the_image(tmp_path):
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[:, 40:80] = 200
    cv2.imwrite(str(tmp_path / "room.png"), picture)
    room = Background(str(tmp_path / "room.png"))
    nobody = np.zeros((96, 96, 4), np.uint8)
    assert (room.behind(nobody) == 200).mean() > 0.9
    wide = room.behind(np.zeros((40, 120, 4), np.uint8))
    np.testing.assert_array_equal(wide, picture)


def test_a_thin_picture_takes_no_more_than_the_image(tmp_path):
    cv2.imwrite(str(tmp_path / "thin.png"), np.full((4000, 1, 3), 80, np.uint8))
    thin = Background(str(tmp_path / "thin.png"))
    tracemalloc.start()
    try:
        image = thin.behind(np.zeros((256, 256, 4), np.uint8))
        assert tracemalloc.get_traced_memory()[1] < 4e6  # bytes; enlarged whole it takes 786 MB
    finally:
        tracemalloc.stop()
    assert (image == 80).all()


def test_what_may_block_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RealTalkError, match="is no file"):
        Background(str(tmp_path / "pipe"))


@pytest.mark.parametrize("text", ["green", "#12345", "#fff", "/nowhere.png", "\0", __file__, "/"])
def test_what_is_no_background_is_refused_in_one_line(text):
    with pytest.raises(RealTalkError, match="background") as error:
        Background(text)
    assert "#20242a" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["transparent", "green", "#12345"])
def test_a_video_is_not_offered_transparency(text):
    with pytest.raises(RealTalkError, match="give a colour such as"):
        Background(text, video=True)


def test_no_rim_of_the_old_wall_is_left():
    matte = soft_disc()
    ramp = np.linspace(60, 220, 96)[None, :, None]  # a wall that is lit from a side
    wall = np.repeat(np.repeat(ramp, 96, 0), 3, 2)
    share = matte[..., None] / 255
    template = np.uint8(np.rint(share * (40, 120, 200) + (1 - share) * wall))
    cut = cut_out(template, matte)
    np.testing.assert_array_equal(cut[..., 3], matte)
    assert np.abs(cut.astype(int) - person(matte)).max() <= 6
    assert (cut[..., :3] <= matte[..., None]).all()  # no lighter than alpha allows


@pytest.fixture(scope="module")
def renderer():
    return bundled_face("pia", SIZE)


@pytest.mark.parametrize("turn", [np.zeros(3, np.float32), TURNED], ids=["upright", "turned"])
def test_the_person_is_drawn_as_before_their_own_wall(renderer, turn):
    face = renderer.generate(arkit.weights(jawOpen=0.4, eyeBlink=0.6), 0)
    breath = 0.5 * bool(turn.any())
    own, red, blue, cut = (
        renderer.compose(face, renderer.begin(0, turn, breath, background))
        for background in (None, RED, BLUE, NOTHING)
    )
    alpha = cut[..., 3]
    assert own.shape == red.shape == (SIZE, SIZE, 3) and cut.shape == (SIZE, SIZE, 4)
    assert (red[alpha == 0] == (0, 0, 255)).all() and (blue[alpha == 0] == (255, 0, 0)).all()
    assert 0.3 < (alpha == 255).mean() < 0.7 and (alpha[:8] == 0).all()
    inside = cv2.erode(alpha, np.ones((5, 5), np.uint8)) == 255
    assert (red[inside] == blue[inside]).all() and (red[inside] == cut[inside][:, :3]).all()
    apart = np.abs(red[inside].astype(int) - own[inside])
    assert apart.mean() < 0.2 and np.percentile(apart, 99.5) <= 3
    # The wall is gone: red and blue differ wherever the person is not.
    assert (np.abs(red.astype(int) - blue).max(2)[alpha < 200] > 50).all()


def test_the_matte_moves_with_the_head(renderer):
    face = renderer.generate(arkit.weights(), 0)

    def middle(turn):
        image = renderer.compose(face, renderer.begin(0, turn, 0.0, NOTHING))
        head = image[: SIZE // 2, :, 3].astype(float)
        return (head.sum(0) @ np.arange(SIZE)) / head.sum()

    left, right = (middle(np.array([0, yaw, 0], np.float32)) for yaw in (0.15, -0.15))
    assert left - right > 0.02 * SIZE


def test_a_face_shows_its_background_and_its_mark(renderer):
    face = Face(renderer)
    weights = np.zeros(52, np.float32)
    face.background, face.watermark = NOTHING, Watermark("AI-generated")
    image = face.render(10.0, weights)[1]
    assert image.shape == (SIZE, SIZE, 4) and image[0, 0].tolist() == [0, 0, 0, 0]
    assert np.ptp(image[-12:, -50:, :3]) > 100
    face.background = RED
    assert face.render(10.04, weights)[1][0, 0].tolist() == [0, 0, 255]
    face.background = None
    assert face.render(10.08, weights)[1][0, 0].min() > 100  # Pia's wall


def test_no_frame_waits_until_the_person_is_cut_out(renderer, monkeypatch):
    """A film of 36 templates would wait for a second and a half."""
    face = Face(renderer.resized(128))
    face.background = RED
    monkeypatch.setattr(face_renderer, "cut_out", None)  # so it would raise
    shown = face.compose(face.generate(0.0, np.zeros(arkit.COUNT)))
    assert (shown[2, 2] == (0, 0, 255)).all()


def test_without_mattes_the_own_background_stays():
    avatar = replace(Avatar.load("pia"), mattes=None)
    renderer = FaceRenderer(avatar, SIZE)
    face = renderer.generate(arkit.weights(), 0)
    before, own = (renderer.begin(0, TURNED, 0.3, background) for background in (RED, None))
    np.testing.assert_array_equal(renderer.compose(face, before), renderer.compose(face, own))


class Topic:
    """A publisher with a subscription, which keeps what is published."""

    def __init__(self):
        self.messages = []

    def get_subscription_count(self):
        return 1

    def publish(self, message):
        self.messages.append((getattr(message, "encoding", ""), bytes(message.data)))


def test_images_with_alpha_are_published_as_such():
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from realtalk_ros.nodes.image_publisher import ImagePublisher

    topics = {}
    node = types.SimpleNamespace(
        publisher=lambda _, name, *__: topics.setdefault(name, Topic()),
        set_stamp=lambda *_: None,
        counts={"jpegs": 0},
    )
    images = ImagePublisher(node, "face", lambda: 95)
    topics["face/provenance"].publish = lambda _: None
    images.prepare((96, 64), Avatar.load("pia").provenance)
    clear = np.zeros((64, 96, 4), np.uint8)
    clear[:, :48] = 10, 200, 90, 255
    solid = np.full((64, 96, 3), 7, np.uint8)
    for image in (clear, solid, clear):
        images.publish(image, 1.0)
    assert [(e, len(d)) for e, d in topics["face/image_raw"].messages] == [
        ("bgra8", 64 * 96 * 4), ("bgr8", 64 * 96 * 3), ("bgra8", 64 * 96 * 4)
    ]  # fmt: skip
    assert topics["face/image_raw"].messages[2][1] == clear.tobytes()
    jpeg = topics["face/image_raw/compressed"].messages[0][1]
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown[:, 60:].max() < 12 and np.abs(shown[:, :40] - (10.0, 200, 90)).max() < 8
