"""Lids and irises, laid where the face model has them."""

import cv2
import numpy as np
import pytest

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering import eyes
from realtalk_ros.rendering.generator import warp
from realtalk_ros.rendering.geometry import Geometry, frontal

SIZE = 256
NOBODY = np.zeros(landmarks.IDENTITY_SIZE, np.float32)
RIGHT, LEFT = slice(36, 42), slice(42, 48)
IDLE = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)
SKIN, BALL, IRIS = (90, 140, 200), (255, 255, 255), (255, 200, 0)


def weights(**values: float) -> np.ndarray:
    array = np.zeros(arkit.COUNT, np.float32)
    for name, value in values.items():
        for side in ("Left", "Right") if name not in arkit.INDEX else ("",):
            array[arkit.INDEX[name + side]] = value
    return array


def laid(rest: np.ndarray, picture: np.ndarray, **values: float) -> np.ndarray:
    return warp(picture, placed(rest, **values)[0])


def placed(rest: np.ndarray, **values: float) -> tuple[np.ndarray, np.ndarray]:
    """Places, and the map."""
    places, shown = IDLE.copy(), np.zeros((SIZE, SIZE, 3), np.uint8)
    Geometry(NOBODY, rest[None].astype(np.float32)).lay_eyes(weights(**values), 0, places, shown)
    return places, shown


def portrait(rest: np.ndarray) -> np.ndarray:
    """Flat skin, white eyes between the landmarks of the lids, irises in their middle."""
    picture = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    for eye in (RIGHT, LEFT):
        points = rest[eye] * SIZE - 0.5
        white = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(white, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        iris = np.zeros_like(white)
        cv2.circle(iris, np.rint(points.mean(0)).astype(int).tolist(), 6, 255, -1)
        picture[white > 0] = BALL
        picture[(white > 0) & (iris > 0)] = IRIS
    return picture


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(-1) < 60


def test_at_rest_nothing_moves():
    places, shown = placed(frontal(NOBODY))
    assert shown[..., 1].sum() > 255 * 300 and shown[..., 2].max() == 0
    assert np.abs(places - IDLE).max() < 1e-3


@pytest.mark.parametrize("wider", [0.0, 0.006])
def test_a_shut_eye_hides_its_ball_and_an_open_one_keeps_it(wider):
    rest = frontal(NOBODY)
    rest[[37, 38, 43, 44], 1] -= wider  # eyes more open than the identity says
    picture = portrait(rest)
    white = share_of(picture, BALL).sum()
    shut = laid(rest, picture, eyeBlink=1)
    shown = placed(rest, eyeBlink=1)[1]
    assert shown[..., 1].sum() < 255 * 20 and (shown[..., 2] > 128).sum() > 300
    # (The inner corner's landmark lies beyond the lids' edges, at the nose.)
    assert share_of(shut, IRIS).sum() == 0 and share_of(shut, BALL).sum() < 0.15 * white
    # Half shut, the lower half is where it was: lids come down over the ball, they do not press it.
    half = laid(rest, picture, eyeBlink=0.5)
    below = int(rest[36:48, 1].mean() * SIZE) + 1
    for colour in (IRIS, BALL):
        was, is_now = (share_of(p, colour)[below : below + 2] for p in (picture, half))
        assert (was & is_now).sum() > 0.8 * was.sum()
    assert 0.25 < share_of(half, IRIS).sum() / share_of(picture, IRIS).sum() < 0.8


def test_irises_turn_with_the_gaze_behind_lids_that_stay():
    rest = frontal(NOBODY)
    picture = portrait(rest)
    aside = laid(rest, picture, eyeLookInLeft=0.5, eyeLookOutRight=0.5)
    for eye in (RIGHT, LEFT):
        x = int(rest[eye, 0].mean() * SIZE)
        near = (slice(None), slice(x - 22, x + 22))
        seen = [np.argwhere(share_of(p, IRIS)[near])[:, 1] for p in (picture, aside)]
        # 1.4 cm before its middle, the ball turns by 15 degrees: to the person's right.
        moved = np.sin(np.radians(15)) * 1.4 * centimetre(rest)
        assert seen[0].mean() - seen[1].mean() == pytest.approx(moved, abs=0.8)
        assert len(seen[1]) > 0.8 * len(seen[0])
    opened = [share_of(p, BALL) | share_of(p, IRIS) for p in (picture, aside)]
    assert (opened[0] != opened[1]).sum() < 0.2 * opened[0].sum()


def centimetre(rest: np.ndarray) -> float:
    """In pixels."""
    shape = landmarks.load().points(weights(), NOBODY)
    return np.linalg.norm(rest[36] - rest[45]) * SIZE / np.linalg.norm(shape[36] - shape[45])


def test_only_the_eyes_are_touched_and_none_that_cannot_be_seen():
    rest = frontal(NOBODY)
    places, _ = placed(rest, eyeBlink=1, jawOpen=1)
    moved = np.argwhere(np.abs(places - IDLE).max(-1) > 1e-3)[:, 0] / SIZE
    assert len(moved) and moved.max() < rest[30, 1]  # above the nose's tip
    for away in ((1.5, 0), (0, -1.5)):  # out of the picture
        beyond, shown = placed(rest + away, eyeBlink=1)
        assert (beyond == IDLE).all() and not shown.any()


def test_a_model_that_lacks_something_is_told():
    with pytest.raises(RealTalkError, match="reinstall"):
        eyes.EyesModel({"lids": np.zeros((2, 2, 20, 3))})
