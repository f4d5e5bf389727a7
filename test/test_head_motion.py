# SPDX-License-Identifier: Apache-2.0
"""How the head moves of itself, by the figures of docs/experiments.md, "Heads, beside people's"."""

import types
from dataclasses import replace

import numpy as np
import pytest

from realtalk_ros.avatar.temperament import USUAL
from realtalk_ros.behaviour.face import EYE_STEP, MAX_TURN, Face
from realtalk_ros.behaviour.gaze import direction_angles
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.rendering.head.moving_person import MAX_ANGLE

FPS = 25
REST = np.zeros(52, np.float32)
SPEEDS = {"pitch": (3.0, 10.0), "yaw": (2.0, 6.0), "roll": (1.7, 6.7)}  # rms, degrees a second


def face_of(seed=0, **temperament):
    """A Face that does not blink, and has no glances; nothing is drawn."""
    usual = {"blink_rate": 0, "saccade_size": 0, "breath_depth": 0}
    avatar = types.SimpleNamespace(
        resting_weights=REST, parted_weights=REST,
        temperament=replace(USUAL, **{**usual, **temperament}),
    )  # fmt: skip
    return Face(types.SimpleNamespace(avatar=avatar, template_count=1), seed)


def motion(face, seconds, speech=1.0, start=100.0):
    """Weights (n, 52) and head rotations (n, 3), rad."""
    poses = [face.pose(start + k / FPS, REST, None, speech) for k in range(round(seconds * FPS))]
    return tuple(map(np.array, zip(*poses, strict=True)))


def test_a_speaker_moves_the_head_between_as_readers_and_as_calm_speakers_do():
    _, turn = motion(face_of(), 60)
    speed = np.diff(np.degrees(turn[5 * FPS :]), axis=0) * FPS
    for (name, (least, most)), rms in zip(SPEEDS.items(), speed.std(0), strict=True):
        assert least < rms < most, name
    assert np.degrees(np.ptp(turn, axis=0)).max() < 10
    # As smoothly: people accelerate by 18 times their speed, a second.
    assert ((np.diff(speed, axis=0) * FPS).std(0) / speed.std(0)).max() < 16
    power = np.abs(np.fft.rfft(speed, axis=0)) ** 2
    fast = np.fft.rfftfreq(len(speed), 1 / FPS) > 7
    assert (power[fast].sum(0) / power.sum(0)).max() < 0.02


def test_who_is_silent_moves_the_head_slowly_and_less():
    face = face_of()
    silent, spoken, again = (
        np.abs(np.diff(motion(face, 20, speech, start)[1], axis=0))[8 * FPS :]
        for start, speech in ((100, 0.0), (120, 1.0), (140, 0.0))
    )
    assert 0 < silent.max() < 0.1 * spoken.max() and again.max() < 0.1 * spoken.max()


def test_the_head_of_one_seed_moves_always_alike_and_of_another_otherwise():
    one, again, other = (motion(face_of(seed), 12)[1] for seed in (5, 5, 6))
    assert (one == again).all()
    assert (np.abs(one - other).max(0) > 0.01).all()
    # Nor are their fast shifts alike, on different slow ways.
    speeds = [np.diff(turn, axis=0) for turn in (one, other)]
    alike = [np.corrcoef(*both)[0, 1] for both in zip(*(speed.T for speed in speeds), strict=True)]
    assert max(alike) < 0.6


def test_a_speakers_eyes_stay_where_they_look_while_the_head_moves():
    face = face_of()
    shown, turn = motion(face, 20)
    assert np.ptp(turn[:, :2], axis=0).min() > 0.05
    for side in ("Left", "Right"):
        seen = np.array([gaze_angles(weights, side) for weights in shown]) + turn[:, :2]
        np.testing.assert_allclose(seen[FPS:], 0, atol=0.51 * EYE_STEP)
    # They turn by steps, as eyes that move are drawn anew.
    assert np.diff(shown[FPS:], axis=0).any(1).mean() < 0.3
    # And at rest they do not move, so that no network runs.
    assert not motion(face, 10, speech=0.0, start=120)[0][3 * FPS :].any()


@pytest.mark.parametrize("gain", [0.0, 0.25, 0.5, 1.0])
def test_gains_and_temperament_scale_all_of_it(gain):
    wanted = motion(face_of(), 6)[1]
    gained, tempered = face_of(), face_of(head_motion=gain)
    gained.head_gain = gain
    for face in (gained, tempered):
        np.testing.assert_allclose(motion(face, 6)[1], gain * wanted, atol=1e-6)


def test_the_largest_gains_turn_the_head_no_farther_than_it_can_be_drawn():
    """And do not stop it short."""
    face = face_of(head_motion=2.0, head_tempo=3.0)
    face.head_gain = 2.0
    shown, turn = motion(face, 60)
    assert 0.8 * MAX_TURN < np.abs(turn).max() < MAX_TURN
    assert np.isfinite(shown).all() and shown.max() <= 1
    still = np.abs(np.diff(turn[:, 0])) < 1e-6
    assert not (still[1:] & still[:-1]).any()


def test_a_speaker_who_looks_far_aside_moves_the_head_no_farther_and_keeps_looking():
    face, point = face_of(head_motion=2.0), (1.0, 0.45, 0.4)
    poses = []
    for k in range(40 * FPS):
        face.gaze.look_at(point, 100 + k / FPS)
        poses.append(face.pose(100 + k / FPS, REST, None, 1.0))
    shown, turn = (np.array(values[2 * FPS :]) for values in zip(*poses, strict=True))
    assert np.ptp(turn[:, :2], axis=0).min() > 0.08
    assert 0.15 < np.abs(turn).max() < MAX_TURN < MAX_ANGLE
    for side in ("Left", "Right"):
        seen = np.array([gaze_angles(weights, side) for weights in shown]) + turn[:, :2]
        assert np.abs(seen - direction_angles(point)).max() < 2e-3 + EYE_STEP / 2


def test_who_sends_a_pose_gets_it():
    """Of a head that moves little of itself: nods and eyes are as they are sent."""
    face = face_of(head_motion=1.0)
    face.idle_gain = 0.0
    asked, weights = np.array([-0.1, 0.08, 0.05], np.float32), arkit.weights(eyeLookInLeft=0.3)
    for k in range(2 * FPS):
        shown, turn = face.pose(100 + k / FPS, weights, asked, 0.0)
    np.testing.assert_allclose(turn, asked, atol=1e-4)
    np.testing.assert_allclose(shown, weights, atol=1e-6)
