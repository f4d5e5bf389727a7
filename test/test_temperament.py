# SPDX-License-Identifier: Apache-2.0
"""What the section `temperament` of an avatar.yaml changes, and what it must not."""

import types
from dataclasses import fields, replace

import numpy as np
import pytest
import yaml

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import AVATAR_DIR
from realtalk_ros.avatar.temperament import USUAL, Temperament
from realtalk_ros.behaviour.face import Face
from realtalk_ros.behaviour.idle import Idle
from realtalk_ros.errors import AvatarError
from realtalk_ros.face_model import arkit, lips
from realtalk_ros.face_model.eye_rotation import gaze_angles

I = arkit.INDEX  # noqa: E741
FPS = 50
SILENCE = np.zeros((200, 52), np.float32)
MOUTH = list(arkit.MOUTH)
BROWS = [I["browInnerUp"], I["browOuterUpLeft"], I["browOuterUpRight"]]
CHEEKS = [I["cheekSquintLeft"], I["cheekSquintRight"]]
GAZE = [i for name, i in I.items() if name.startswith("eyeLook")]
LIVELY = {
    "fixation": 1.0, "saccade_size": 0.2, "breath_rate": 20, "breath_depth": 2,
    "head_motion": 2, "head_tempo": 2, "brow_motion": 3, "cheek_motion": 1, "listening_smile": 0.4,
    "listening_tilt": -0.1,
}  # fmt: skip


def idle(**numbers):
    return Idle(3, replace(USUAL, **numbers))


def face_of(**numbers):
    """A Face of an avatar with this temperament, which does not blink; nothing is drawn."""
    temperament = replace(USUAL, **{"blink_rate": 0, **numbers})
    avatar = types.SimpleNamespace(
        resting_weights=arkit.weights(), parted_weights=arkit.weights(), temperament=temperament
    )
    face = Face(types.SimpleNamespace(avatar=avatar, template_count=1))
    face.idle_gain = 0.0
    return face


def speech(seconds=6):
    """Weights (n, 52) of syllables, every third with shut lips, and nods (n, 3) rad."""
    t = np.arange(seconds * FPS) / FPS
    syllable = np.clip(np.sin(2 * np.pi * 4 * t), 0, 1).astype(np.float32)
    weights = np.zeros((len(t), 52), np.float32)
    for name, share in (("jawOpen", 0.4), ("mouthUpperUpLeft", 0.2), ("mouthUpperUpRight", 0.3),
                        ("mouthSmileLeft", 0.1), ("browInnerUp", 0.1), ("browOuterUpLeft", 0.08),
                        ("browOuterUpRight", 0.06)):  # fmt: skip
        weights[:, I[name]] = share * syllable
    weights[(t * 4 % 3) < 1] = arkit.weights(mouthPress=0.3)
    return weights, 0.04 * np.stack([syllable, syllable, syllable], 1)


def pose(face, weights, nods=None, start=100.0, speaks=1.0):
    """Weights (n, 52) and head rotations (n, 3) that a face shows."""
    nods = [None] * len(weights) if nods is None else nods
    rows = zip(weights, nods, strict=True)
    shown = [face.pose(start + k / FPS, w, nod, speaks) for k, (w, nod) in enumerate(rows)]
    return tuple(map(np.array, zip(*shown, strict=True)))


def blinks(motion, minutes=4):
    """When they begin, s."""
    t = np.arange(0, minutes * 60, 0.05)
    shut = np.array([motion.weights(now)[I["eyeBlinkLeft"]] for now in t]) > 0.5
    return t[1:][shut[1:] & ~shut[:-1]]


@pytest.mark.parametrize("rate", [6, 15, 30])
def test_blinks_a_minute(rate):
    counted = len(blinks(idle(blink_rate=rate))) / 4
    assert rate <= counted <= 1.3 * rate  # some come twice


def test_who_never_blinks():
    assert len(blinks(idle(blink_rate=0), 1)) == 0


def test_a_regular_face_blinks_at_even_times():
    even, uneven = (np.diff(blinks(idle(regularity=r))) for r in (1, 0))
    assert np.ptp(even) < 0.11 and even.mean() == pytest.approx(4, rel=0.02)
    assert np.ptp(uneven) > 2


def glances(motion, seconds=120):
    """Yaw of the eyes (n,) rad."""
    t = np.arange(0, seconds, 0.05)
    return np.array([gaze_angles(motion.weights(now), "Left")[1] for now in t])


def test_saccades_are_as_large_and_as_frequent_as_wanted():
    usual = glances(idle())
    np.testing.assert_allclose(glances(idle(saccade_size=0.042)), usual / 2, atol=1e-6)
    assert 0.06 < np.abs(usual).max() <= USUAL.saccade_size + 1e-3
    often, seldom = (
        np.count_nonzero(np.abs(np.diff(glances(idle(fixation=f)))) > 0.004) for f in (0.8, 4)
    )
    assert often > 3 * seldom > 0


def test_breaths_a_minute_and_their_depth():
    t = np.arange(300 * FPS) / FPS
    for rate in (8, 20):
        breath = np.array([idle(breath_rate=rate, breath_depth=0.5).breath(now) for now in t])
        breaths = np.count_nonzero((breath[1:] > 0) & (breath[:-1] <= 0)) / 5
        assert breaths == pytest.approx(rate, abs=1) and 0.49 < breath.max() <= 0.5
    still = idle(breath_depth=0, head_motion=0)
    assert not any(still.breath(now) or still.rotation(now).any() for now in t[::10])


def test_the_head_moves_as_far_and_as_fast_as_wanted():
    t = np.arange(120 * FPS) / FPS
    for motion in ("rotation", "spoken_rotation"):
        slow, fast = (
            np.array([getattr(idle(head_tempo=tempo, breath_depth=0), motion)(now) for now in t])
            for tempo in (1, 2)
        )
        np.testing.assert_allclose(slow[::2], fast[: len(t) // 2], atol=1e-6)
        far = np.array([getattr(idle(head_motion=2, breath_depth=0), motion)(now) for now in t])
        np.testing.assert_allclose(far, 2 * slow, atol=1e-6)
    said, nods = speech()
    nodded, spoken = (
        pose(face_of(head_motion=m, head_tempo=0.2), said, nods)[1] for m in (0.5, 1.0)
    )
    assert np.ptp(spoken[:, 0]) > 0.03
    np.testing.assert_allclose(nodded, spoken / 2, atol=1e-6)


def test_brows_and_cheeks_take_part_in_speech_and_the_mouth_is_left_alone():
    said, _ = speech()
    usual, lively = (pose(face_of(**t), said)[0] for t in ({}, LIVELY))
    assert (usual[:, MOUTH] == lively[:, MOUTH]).all()
    np.testing.assert_allclose(lively[:, BROWS], 3 * usual[:, BROWS], atol=1e-6)
    left, right = lively[:, CHEEKS].T
    assert not usual[:, CHEEKS].any() and left.max() > 0.1 and right.max() > 0.1
    assert np.abs(np.diff(left)).max() < 0.05  # a cheek does not twitch
    # The eyes turn back as the head moves.
    others = np.setdiff1d(np.arange(52), [*BROWS, *CHEEKS, *GAZE])
    assert (usual[:, others] == lively[:, others]).all()


def test_the_mouth_of_speech_opens_as_far_as_its_owners_and_shut_lips_stay_shut():
    said, _ = speech()
    usual, wide = (pose(face_of(mouth_motion=m), said)[0] for m in (1.0, 1.3))
    np.testing.assert_allclose(wide[:, MOUTH], 1.3 * usual[:, MOUTH], atol=1e-6)
    np.testing.assert_allclose(lips.gap_of(wide), 1.3 * lips.gap_of(usual), atol=0.03)  # cm
    shut = lips.gap_of(usual) < 0.001
    assert shut.sum() > 50 and lips.gap_of(wide)[shut].max() < 0.001
    others = np.setdiff1d(np.arange(52), MOUTH)
    assert (usual[:, others] == wide[:, others]).all()


def test_a_silent_face_keeps_still():
    said, _ = speech()
    face = face_of(**LIVELY)
    pose(face, said)
    silent, _ = pose(face, SILENCE, start=106, speaks=0.0)
    assert np.abs(silent[100:]).max() < 1e-3


def test_a_listener_smiles_and_tilts_the_head_and_speech_takes_the_smile():
    face = face_of(listening_smile=0.2, listening_tilt=-0.06)
    face.listening = True
    shown, turn = pose(face, SILENCE, speaks=0.0)
    assert shown[0, MOUTH].max() < 0.01 and np.abs(np.diff(shown, axis=0)).max() < 0.03
    assert shown[-1, I["mouthSmileLeft"]] == pytest.approx(0.2, abs=0.01)
    assert turn[-1, 2] == pytest.approx(-0.06, abs=0.005)
    said, _ = speech()
    spoken, _ = pose(face, said, start=104)
    after = slice(FPS // 4, None)
    np.testing.assert_allclose(spoken[after][:, MOUTH], said[after][:, MOUTH], atol=0.01)
    shut = said[:, I["mouthPressLeft"]] > 0
    assert lips.gap_of(spoken[after][shut[after]]).max() < 0.02  # cm: p, b and m close


def test_a_sad_listener_does_not_smile():
    face = face_of(listening_smile=0.3)
    face.listening = True
    face.set_emotion("sad")
    shown, _ = pose(face, SILENCE, speaks=0.0)
    assert shown[-1, I["mouthSmileLeft"]] < 0.02 and shown[-1, I["mouthFrownLeft"]] > 0.3


def test_gains_of_the_renderer_silence_every_temperament():
    face = face_of(**LIVELY)
    face.expression_gain = face.head_gain = 0.0
    shown, turn = pose(face, *speech())
    assert not shown.any() and not turn.any()


def test_another_avatar_brings_its_own_temperament():
    face, other = face_of(blink_rate=15), face_of(blink_rate=0)
    face.renderer = other.renderer
    assert len(blinks(face.idle, 1)) == 0


@pytest.mark.parametrize(
    "section, word",
    [
        ({"blink_rat": 12}, "did you mean blink_rate?"),
        ({"zeal": 1}, "there are blink_rate"),
        ({"blink_rate": 400}, "from 0 to 40"),
        ({"blink_rate": -1}, "from 0 to 40"),
        ({"fixation": float("nan")}, "from 0.5 to 10"),
        ({"fixation": "long"}, "must be a number"),
        ({"fixation": True}, "must be a number"),
        ({"regularity": [1]}, "must be a number"),
        ({"blink_rate": 16**5000}, "from 0 to 40"),
        (["blink_rate"], "name: number"),
        ({1: 2}, "temperament has no"),
    ],
)
def test_a_temperament_that_cannot_be_is_refused_in_one_line(section, word):
    with pytest.raises(AvatarError) as error:
        Temperament.of(section, "avatar ann")
    assert word in str(error.value) and "\n" not in str(error.value)


def test_the_defaults_and_the_limits_are_allowed():
    assert Temperament.of(None, "") == Temperament.of({}, "") == USUAL
    for k in (0, 1):
        section = {one.name: one.metadata["range"][k] for one in fields(Temperament)}
        assert Temperament.of(section, "").fixation == section["fixation"]
        motion = Idle(1, Temperament.of(section, ""))
        assert all(np.isfinite(motion.weights(now)).all() for now in np.arange(0, 60, 0.1))


def test_bundled_faces_have_temperaments_of_their_own():
    found = {}
    for path in AVATAR_DIR.glob("*/avatar.yaml"):
        section = yaml.safe_load(path.read_text()).get("temperament")
        if section is not None:
            found[path.parent.name] = Avatar.load(path.parent).temperament
            assert found[path.parent.name] == Temperament(**section)
    assert len(found) >= 5 and len(set(found.values())) == len(found)
