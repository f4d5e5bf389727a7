# SPDX-License-Identifier: Apache-2.0
"""Every bundled face obeys its weights: up is up, left is the person's left, p shuts the lips."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import realtalk_ros
from bundled_faces import bundled_face
from pixels import CLOSURES, VOWELS, moves, opening, slid
from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face import Face
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.stream_types import Chunk

SAMPLE = Path(realtalk_ros.__file__).parent / "data" / "speech_sample.wav"
AT_REST = np.zeros(arkit.COUNT, np.float32)
SHUT = 0.1  # cm between the lips that still looks closed
MIN_MOVEMENT = 0.004  # sides of the face crop, 1 pixel of 256: less counts as none
RIGHT, LEFT, UP, DOWN = (-1, 0), (1, 0), (0, -1), (0, 1)  # on the picture
OUT, IN = (RIGHT, LEFT), (LEFT, RIGHT)  # of the person's right part and of his left one


class Person:
    """A bundled face at rest, and what a picture of it shows."""

    def __init__(self, name: str):
        self.renderer = bundled_face(name)
        avatar = self.renderer.avatar
        self.landmarks, self.side = avatar.landmarks[0].astype(float), avatar.crop[2]
        self.rest = self.show(AT_REST)
        eyes = self.landmarks[36:42].mean(0), self.landmarks[42:48].mean(0)
        at = {"corners": (48, 54), "lips": (51, 57), "inner brows": (21, 22), "brows": (18, 25),
              "lids": (37, 44), "nose": (31, 35)}  # fmt: skip
        self.parts = {name: self.landmarks[list(two)] for name, two in at.items()}
        chin = 0.5 * (self.landmarks[8] + self.landmarks[57])
        self.parts |= {"eyes": np.array(eyes), "chin": np.array([chin, chin])}

    def show(self, shown: np.ndarray) -> np.ndarray:
        return self.renderer.render(shown, 0)

    def follow(self, image: np.ndarray, part: str) -> np.ndarray:
        """(2, 2): how far a part went, that on the person's right (or the upper one) and the other;
        right and down on the picture, sides of the face crop."""
        shown = self.rest, image
        if part.endswith("brows") and self.renderer.avatar.name == "android":
            # Thin bars on smooth black, of which optical flow finds nothing in sharp pictures.
            shown = tuple(cv2.GaussianBlur(one, (0, 0), 0.012 * self.side) for one in shown)
        return moves(*shown, self.parts[part], self.side)

    def least(self, part: str) -> float:
        """What counts as a movement of the part: the robot's lids are black on black, and the
        drawing's eyes are wide open at rest."""
        hardly = {"android": 4, "pia": 2} if part == "lids" else {}
        return MIN_MOVEMENT / hardly.get(self.renderer.avatar.name, 1)

    def smiles(self) -> bool:
        """Whether it smiles broadly at rest."""
        return self.renderer.avatar.resting_weights[arkit.INDEX["mouthSmileLeft"]] > 0.35

    def irises(self, image: np.ndarray, ways) -> np.ndarray:
        """(2,): how far the irises slid each its way, sides of the face crop."""
        both = zip(self.parts["eyes"], np.broadcast_to(ways, (2, 2)), strict=True)
        return np.array([slid(self.rest, image, eye, way, self.side) for eye, way in both])

    def opening(self, shown: np.ndarray) -> float:
        return opening(self.rest, self.show(shown), self.landmarks, self.side)


@pytest.fixture(scope="module", params=["default", "kenji", "ines", "android", "pia"])
def person(request):
    return Person(request.param)


@pytest.fixture(scope="module")
def spoken():
    """What the network makes of the bundled clip: times (n,) s and weights (n, 52), 25 a second."""
    model, avatar = ExpressionModel(), Avatar.load("default")
    prior = model.prior(avatar.identity, avatar.reference_expressions)
    pcm, rate = read_audio(SAMPLE)
    frames = ExpressionPipeline(model, prior, 25).push(Chunk(pcm, rate, 0.0, "a", last=True))
    return np.array([f.time for f in frames]), np.array([f.weights for f in frames])


# Which way a part goes: one way for both its sides, or one for each.
WAYS = {
    "eyeWide": ("lids", UP), "browDown": ("inner brows", DOWN),
    "browInnerUp": ("inner brows", UP), "browOuterUp": ("brows", UP), "noseSneer": ("nose", UP),
    "jawOpen": ("chin", DOWN), "jawLeft": ("chin", LEFT), "jawRight": ("chin", RIGHT),
    "mouthLeft": ("lips", LEFT), "mouthRight": ("lips", RIGHT),
    "mouthSmile": ("corners", UP), "mouthFrown": ("corners", DOWN),
    "mouthDimple": ("corners", UP), "mouthStretch": ("corners", OUT),
    "mouthPucker": ("corners", IN), "mouthFunnel": ("lips", (UP, DOWN)),
    "mouthShrugLower": ("chin", UP),
}  # fmt: skip


def test_every_weight_moves_its_part_as_its_name_says(person):
    for name, (part, way) in WAYS.items():
        way = np.broadcast_to(way, (2, 2))
        went = (person.follow(person.show(weights(**{name: 0.6})), part) * way).sum(1)
        assert (went > person.least(part)).all(), (name, went)
    for name, lip in (("mouthUpperUp", 0), ("mouthLowerDown", 1)):
        went = person.follow(person.show(weights(**{name: 0.6})), "lips")
        assert went[lip] @ (UP, DOWN)[lip] > 3 * abs(went[1 - lip, 1]) + MIN_MOVEMENT, (name, went)


def test_irises_turn_as_far_as_the_face_model_says(person):
    """1.4 cm before the middle of a ball that turns by 30 degrees sideways, 24 up and down."""
    centimetre = 1 / 19.85  # of the crop's side
    for name, way, degrees in (
        ("Up", UP, 24),
        ("Down", DOWN, 24),
        ("In", IN, 30),
        ("Out", OUT, 30),
    ):
        went = person.irises(person.show(weights(**{f"eyeLook{name}": 0.3})), way)
        wanted = 1.4 * centimetre * np.sin(np.radians(0.3 * degrees))
        np.testing.assert_allclose(went, wanted, atol=1.3 / 256, err_msg=name)  # pixels are whole


def test_left_is_the_persons_left(person):
    """What is called left changes the right half of the picture."""
    middle = round(person.landmarks[27:31, 0].mean())
    for name in arkit.NAMES:
        if name.endswith("Left") and name not in ("jawLeft", "mouthLeft"):
            change = np.abs(person.show(weights(**{name: 0.6})).astype(int) - person.rest).sum(2)
            assert change[:, middle:].sum() > 1.2 * change[:, :middle].sum(), name


def awake(person):
    """A Face of that person without idle motion, which does not blink."""
    face = Face(person.renderer)
    face.idle_gain = 0.0
    face.idle.temperament = replace(face.idle.temperament, blink_rate=0.0)
    return face


# What distinguishes the emotions: which part goes which way in the picture.
EMOTIONS = {
    "happy": [("corners", UP), ("corners", OUT)],
    "sad": [("corners", DOWN), ("inner brows", UP)],
    "surprised": [("inner brows", UP), ("brows", UP), ("lids", UP), ("chin", DOWN)],
    "afraid": [("inner brows", UP), ("lids", UP), ("corners", OUT)],
    "angry": [("inner brows", DOWN), ("inner brows", IN)],
    "disgusted": [("nose", UP), ("inner brows", DOWN)],
}  # fmt: skip


@pytest.mark.parametrize("name", EMOTIONS)
def test_an_emotion_moves_each_part_the_right_way(person, name):
    face = awake(person)
    face.set_emotion(name)
    for k in range(50):
        shown, _ = face.pose(100 + k / 25, AT_REST)
    image = person.show(shown)
    for part, way in EMOTIONS[name]:
        if part == "corners" and name == "afraid" and person.smiles():
            continue  # the smile, which draws them apart, gives way
        went = (person.follow(image, part) * np.broadcast_to(way, (2, 2))).sum(1)
        assert (went > person.least(part)).all(), (part, went)


def gap(shown: np.ndarray) -> np.ndarray:
    """(n, 52) -> (n,) cm between the inner lips, as the face model has them."""
    points = landmarks.load().points(shown)
    return (points[:, 61:64, 1] - points[:, [67, 66, 65], 1]).mean(1)


def extremes(spoken, spans, room, find):
    """Weights (len(spans), 52) of the frame within each span, `room` s wider, that `find` picks by
    the gap between the lips."""
    times, shown = spoken
    inside = [np.flatnonzero((times > a - room) & (times < b + room)) for a, b in spans]
    return np.array([shown[rows[find(gap(shown[rows]))]] for rows in inside])


def test_speech_shuts_the_lips_at_every_p_b_and_m_and_parts_them_at_vowels(spoken):
    closed = gap(extremes(spoken, CLOSURES, 0.04, np.argmin))
    opened = gap(extremes(spoken, VOWELS, 0.02, np.argmax))
    assert (closed < SHUT).mean() > 0.8, closed  # the network is right about 90 % of them
    assert (opened > 5 * SHUT).mean() > 0.9, opened


def test_shut_lips_are_shut_in_the_picture(person, spoken):
    shut = extremes(spoken, CLOSURES[:8], 0.04, np.argmin)
    shut = shut[gap(shut) < SHUT]  # whether it is right is not asked here
    assert len(shut) >= 7
    parted = extremes(spoken, VOWELS[:8], 0.02, np.argmax)
    closed, opened = (np.array([person.opening(w) for w in some]) for some in (shut, parted))
    wide = np.median(opened)
    assert wide > 0.03 and (opened > 0.5 * wide).sum() >= 7, opened
    asked = np.maximum(gap(shut), 0) / np.median(gap(parted))  # some are not quite shut
    assert (closed < (asked + 0.12) * wide).all(), closed / wide - asked
    parted, shut = (person.opening(weights(jawOpen=0.3, mouthClose=v)) for v in (0.0, 0.3))
    assert parted > 0.03 and abs(shut) < 0.5 * parted


@pytest.mark.parametrize("angle", [-0.1, 0.1])
def test_the_head_turns_as_its_rotation_says(person, angle):
    """As face_model/rotations.py defines pitch, yaw and roll."""
    face = awake(person)

    def turned(pitch=0.0, yaw=0.0, roll=0.0):
        rotation = np.array([pitch, yaw, roll])
        face.pose(99.0, AT_REST, rotation)  # it does not turn at once
        image = face.render(100.0, AT_REST, rotation)[1]
        eyes, (chin, _) = person.follow(image, "eyes"), person.follow(image, "chin")
        return eyes / angle, chin / angle

    eyes, chin = turned(pitch=angle)
    assert (np.array([*eyes, chin])[:, 1] > 0.2).all() and np.abs(eyes[:, 0]).max() < 0.05
    eyes, chin = turned(yaw=angle)
    assert (np.array([*eyes, chin])[:, 0] > 0.2).all() and np.abs(eyes[:, 1]).max() < 0.05
    (right, left), chin = turned(roll=angle)
    assert right[1] < -0.05 and left[1] > 0.05  # the left eye sinks, the right one rises
    assert right[0] > chin[0] + 0.1 and left[0] > chin[0] + 0.1  # the forehead goes farthest


@pytest.mark.parametrize(
    "point, way", [((1, 0, 0.2), UP), ((1, 0, -0.2), DOWN), ((1, 0.2, 0), LEFT),
                   ((1, -0.2, 0), RIGHT)], ids=["up", "down", "left", "right"]
)  # fmt: skip
def test_irises_and_head_go_to_where_it_looks(person, point, way):
    """What is at the face's left (y) is to the right of who sees the picture."""
    face = awake(person)
    face.gaze.look_at(point, 100.0)
    for k in range(50):
        shown, turn = face.pose(100 + k / 25, AT_REST)
    went = person.irises(person.show(shown), way)
    # Positions are whole pixels of 256; a narrow eye shows little of a glance down.
    assert went.min() >= 1 / 256 and (way == DOWN or went.max() > MIN_MOVEMENT), went
    assert turn[:2] @ (way[1], way[0]) > 0.05 and np.abs(turn).sum() < 0.13  # pitch, yaw
