# SPDX-License-Identifier: Apache-2.0
"""One face from speech, emotion, gaze and idle motion; its quality on a slow machine."""

import itertools
import threading
import time
import types
from dataclasses import replace

import numpy as np
import pytest
from moving_avatar import moving_avatar

from bundled_faces import bundled_face
from realtalk_ros.behaviour import emotion
from realtalk_ros.behaviour.emotion import emotion_from_valence_arousal, parse_emotion
from realtalk_ros.behaviour.face import Face
from realtalk_ros.behaviour.gaze import direction_angles
from realtalk_ros.behaviour.idle import Idle
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, lips
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.playout.adaptive_quality import LEVELS, QualityController
from realtalk_ros.rendering.batching import BatchingRenderer
from realtalk_ros.rendering.face_renderer import FaceRenderer

I = arkit.INDEX  # noqa: E741
MOUTH = list(arkit.MOUTH)


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(moving_avatar(), 256)  # no broad smile at rest


@pytest.fixture
def face(renderer):
    face = Face(renderer)
    face.idle_gain = 0.0
    return face


def animate(face, seconds, weights=None, speech=0.0, start=100.0):
    """Poses at 25 fps: weights (n, 52), head rotations (n, 3)."""
    weights = np.zeros(52, np.float32) if weights is None else weights
    out = [face.pose(start + k / 25, weights, None, speech) for k in range(round(seconds * 25))]
    return tuple(map(np.array, zip(*out, strict=True)))


def test_an_emotion_comes_and_goes_without_a_jump(face):
    face.set_emotion("happy")
    shown, _ = animate(face, 2)
    smile = shown[:, I["mouthSmileLeft"]]
    assert smile[0] < 0.1 and smile[-1] > 0.4 and np.diff(smile).max() < 0.12
    assert np.diff(smile)[0] < 0.7 * np.diff(smile).max()  # it sets off slowly
    face.set_emotion("neutral")
    assert animate(face, 3, start=102)[0][-1, MOUTH].max() < 0.02


def test_a_face_that_is_left_alone_comes_to_rest(face):
    """For as long as anything moves, networks run for each frame."""
    face.set_emotion("happy")
    face.listening = True
    face.gaze.look_at((1.0, 0.5, 0.2), 100.0, hold=1.0)
    animate(face, 2, np.full(52, 0.5, np.float32), speech=1.0)
    face.set_emotion("neutral")
    face.listening = False
    shown, heads = animate(face, 12, start=102)
    last = len(shown) - 25
    assert (shown[last:] == shown[-1]).all() and (heads[last:] == heads[-1]).all()
    assert np.abs(shown[-1]).max() == 0


# EMFACS: the shapes that make an emotion, and those that would make it another.
SHOWS = {
    "happy": ({"mouthSmile", "cheekSquint"}, {"mouthFrown", "browDown", "browInnerUp"}),
    "sad": ({"mouthFrown", "browInnerUp"}, {"mouthSmile", "cheekSquint", "browOuterUp", "eyeWide"}),
    "surprised": ({"browInnerUp", "browOuterUp", "eyeWide"}, {"browDown", "mouthFrown"}),
    "afraid": ({"browInnerUp", "eyeWide", "mouthStretch"}, {"mouthSmile", "noseSneer"}),
    "angry": ({"browDown", "eyeSquint"}, {"browInnerUp", "browOuterUp", "mouthSmile"}),
    "disgusted": ({"noseSneer", "mouthFrown"}, {"mouthSmile", "browInnerUp", "eyeWide"}),
    "neutral": (set(), {name.removesuffix("Left").removesuffix("Right") for name in arkit.NAMES}),
}


@pytest.mark.parametrize("name", emotion.NAMES)
def test_each_emotion_has_its_own_shapes_and_as_much_of_them_as_is_wanted(face, name):
    def shown(intensity):
        face.set_emotion(name, intensity)
        return animate(face, 4)[0][-1]

    def of(weights, stem):
        return [w for n, w in zip(arkit.NAMES, weights, strict=True) if n.startswith(stem)]

    full, half = shown(1.0), shown(0.5)
    makes, breaks = SHOWS[name]
    assert all(min(of(full, stem)) > 0.2 for stem in makes)
    assert all(max(of(full, stem)) < 0.01 for stem in breaks)
    np.testing.assert_allclose(half, 0.5 * full, atol=0.01)
    shut = name not in ("surprised", "afraid")
    assert (full @ lips.GAP < 0.05) == shut  # cm


def test_each_weight_of_speech_is_shown(face):
    said = np.linspace(0.02, 0.98, 52, dtype=np.float32)
    nod = np.array([0.05, -0.02, 0.03], np.float32)
    for k in range(25):  # as of one who does not speak, whose head sways less
        shown, turn = face.pose(100.0 + k / 25, said, nod, 0.0)
    awake = [i for i in range(52) if not arkit.NAMES[i].startswith("eyeBlink")]
    np.testing.assert_allclose(shown[awake], said[awake], atol=1e-6)
    np.testing.assert_allclose(turn, nod, atol=1e-6)


def test_the_head_moves_slowly_through_all_its_templates(renderer):
    """As the picture shows them beyond the face."""
    face = Face(renderer)
    face.idle_gain, top = 0.0, renderer.avatar.crop[1] // 2  # of 512 pixels, shown on 256
    seen = []
    for k in range(24):
        _, image = face.render(100 + 0.5 * k, np.zeros(52, np.float32))
        apart = np.abs(renderer.templates[:, :top].astype(int) - image[:top]).mean((1, 2, 3))
        assert apart.min() == 0
        seen.append(int(apart.argmin()))
    assert max(seen) - min(seen) > 30 and np.abs(np.diff(seen)).max() <= 9


@pytest.mark.parametrize("gain", [0.0, 0.5, 2.0])
def test_each_gain_scales_its_own_part_and_nothing_else(renderer, gain):
    """What speech, an emotion and idle motion each do, by that gain alone."""
    said = np.zeros(52, np.float32)
    said[[I["jawOpen"], I["browDownLeft"]]] = 0.3, 0.2
    nod = np.array([0.05, -0.02, 0.03], np.float32)

    def animated(**gains):
        face = Face(renderer, seed=3)
        face.set_emotion("happy", 0.4)
        for name in ("expression_gain", "emotion_gain", "idle_gain"):
            setattr(face, name, gains.get(name, 0.0))
        poses = [face.pose(100 + k / 25, said, nod) for k in range(250)]
        return tuple(map(np.array, zip(*poses, strict=True)))

    for name in ("expression_gain", "emotion_gain", "idle_gain"):
        (some, some_turn), (full, full_turn) = animated(**{name: gain}), animated(**{name: 1.0})
        assert full.max() > 0.1
        blinks = [I["eyeBlinkLeft"], I["eyeBlinkRight"]]  # are the same, however lively it is
        rest = [i for i in range(52) if i not in blinks]
        np.testing.assert_allclose(some[:, rest], gain * full[:, rest], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(some_turn, gain * full_turn, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(some[:, blinks], full[:, blinks], atol=1e-5)


@pytest.mark.parametrize("name", arkit.NAMES)
def test_a_weight_of_speech_moves_itself_alone(renderer, name):
    """Above all not its twin on the other side."""
    face, said = Face(renderer), np.zeros(52, np.float32)
    face.idle_gain = 0.0
    face.pose(100.0, said, None)
    before = face.pose(100.04, said, None)[0]
    said[I[name]] = 0.3
    after = face.pose(100.04, said, None)[0]
    moved = {n for n in arkit.NAMES if abs(after[I[n]] - before[I[n]]) > 1e-3}
    assert moved == {name} and after[I[name]] > before[I[name]]


def test_a_seed_gives_one_idle_motion_and_another_seed_another(renderer):
    """Blinks, glances, breath and sway."""
    one, again, other = (animate(Face(renderer, seed), 30) for seed in (5, 5, 6))
    for a, b in zip(one, again, strict=True):
        assert (a == b).all()
    for shape in ("eyeBlinkLeft", "eyeLookOutLeft", "eyeLookUpLeft"):
        assert np.abs(one[0][:, I[shape]] - other[0][:, I[shape]]).max() > 0.02
    assert np.abs(one[1] - other[1])[:, 1:].max(0).min() > 0.005


def test_it_blinks_with_both_eyes_as_often_as_people_do(renderer):
    shown, _ = animate(Face(renderer), 120)
    left, right = shown[:, I["eyeBlinkLeft"]], shown[:, I["eyeBlinkRight"]]
    assert (left == right).all()
    closures = np.count_nonzero((left[1:] > 0.9) & (left[:-1] <= 0.9))
    assert 20 <= closures <= 45  # 10 to 22 a minute
    assert 0.01 < (left > 0.5).mean() < 0.12  # and is open in between


@pytest.mark.parametrize("name", ["happy", "sad", "surprised", "afraid", "angry", "disgusted"])
def test_lips_close_in_speech_whatever_the_emotion(face, name):
    """Weights that open, part or press the lips are left to speech; others show the emotion. What
    of it raises the upper lip (noseSneer) parts them no more."""
    closed = np.zeros(52, np.float32)
    closed[I["mouthClose"]] = 0.1
    face.set_emotion(name)
    animate(face, 2)
    shown, _ = animate(face, 1, closed, speech=1.0, start=102)
    parting = [I[n] for n in ("jawOpen", "mouthLowerDownLeft", "mouthUpperUpLeft", "mouthFunnel",
                              "mouthPucker", "mouthStretchLeft")]  # fmt: skip
    assert (shown @ lips.GAP).max() < closed @ lips.GAP + 0.01  # cm, at once
    np.testing.assert_allclose(shown[8:, parting], np.tile(closed[parting], (17, 1)), atol=0.01)
    upper = [i for i in range(52) if i not in MOUTH]
    assert shown[-1, upper].max() > 0.15


@pytest.mark.parametrize("name", ["happy", "sad", "afraid", "angry", "disgusted"])
@pytest.mark.parametrize("speech", [1.0, 0.0])
def test_an_emotion_gives_way_to_lips_that_move_without_a_jump(face, name, speech):
    """The corners of the mouth and the nose, when an utterance begins, and when it ends."""
    face.set_emotion(name)
    rest, _ = animate(face, 2)
    spoken, _ = animate(face, 1, arkit.weights(jawOpen=0.3), speech=speech, start=102)
    after, _ = animate(face, 1, start=103)
    shown = np.concatenate([rest[-1:], spoken, after])
    steps = np.abs(np.diff(shown, axis=0))
    steps[:, [I["jawOpen"], I["mouthClose"]]] = 0
    assert steps.max() < 0.37 * rest[-1].max()
    widest = [I["mouthSmileLeft"], I["mouthFrownLeft"]]
    assert spoken[-1, widest].max() < 0.55 * rest[-1, widest].max() + 0.01


def test_the_head_nods_without_jerks(face):
    """As heads of people do, however suddenly speech, an interrupt or a point to look at asks for
    it; and soon."""
    still, nod = np.zeros(52, np.float32), np.array([0.06, 0.0, 0.0], np.float32)
    asked = [None] * 5 + [nod] * 10 + [None] * 10
    turn = np.array(
        [face.pose(100 + k / 25, still, rotation)[1][0] for k, rotation in enumerate(asked)]
    )
    assert np.abs(np.diff(turn, 2)).max() < 0.6 * nod[0]
    assert turn[10] > 0.9 * nod[0] and turn[20] < 0.1 * nod[0]
    animate(face, 1, start=109)
    face.gaze.look_at((1.0, 1.0, 0.0), 110.0)
    yaw = animate(face, 2, start=110)[1][:, 1]
    assert 0 < yaw[0] < 0.06 * yaw[-1] and yaw[12] > 0.8 * yaw[-1]


def test_a_head_that_begins_to_look_at_a_point_comes_to_rest_slowly(renderer):
    """Of its idle motion little is left then."""
    for begin in range(101, 110):
        face = Face(renderer)
        animate(face, begin - 100)
        before = face.pose(begin, np.zeros(52, np.float32))[1]
        face.gaze.look_at((1.0, 0.0, 0.0), begin)
        turn = animate(face, 1, start=begin + 0.04)[1]
        assert np.abs(np.diff([before, *turn], axis=0)).max() < 0.003


def at_rest(renderer, parted=0, **named):
    """A Face of somebody who rests with these weights."""
    avatar = replace(renderer.avatar, resting_weights=arkit.weights(**named), parted_weights=parted)
    face = Face(types.SimpleNamespace(avatar=avatar, template_count=1))
    face.idle_gain = 0.0
    return face


def test_lips_that_rest_parted_shut_for_speech_and_part_again(renderer):
    parted = arkit.weights(jawOpen=0.2, mouthUpperUp=0.2)
    face = at_rest(renderer, parted, mouthSmile=0.6)
    opening = lips.GAP
    assert animate(face, 1)[0][-1] @ opening == pytest.approx(parted @ opening, rel=0.01)
    said = arkit.weights(mouthPress=0.5, mouthClose=0.02)  # "m"
    spoken = animate(face, 0.4, said, speech=1.0, start=101)[0] @ opening
    assert spoken[5:].max() < 0.01 and np.abs(np.diff(spoken)).max() < 0.5  # cm
    # Nor do they stay open for what moves them and says nothing of speech.
    assert animate(face, 0.4, said, start=103)[0][-1] @ opening < 0.01
    assert animate(face, 2, start=104)[0][-1] @ opening == pytest.approx(parted @ opening, rel=0.01)


def test_a_resting_smile_gives_way_to_speech_and_sadness_and_comes_back(renderer):
    face, smile = at_rest(renderer, mouthSmile=0.65, cheekSquint=0.1), I["mouthSmileLeft"]
    assert not animate(face, 1)[0][-1, smile]
    spoken = animate(face, 1, arkit.weights(mouthPucker=0.5), speech=1.0, start=101)[0][:, smile]
    assert spoken[-1] == pytest.approx(-0.2, abs=0.01) and np.diff(spoken).min() > -0.15
    assert animate(face, 3, start=102)[0][-1, smile] == pytest.approx(0, abs=0.01)
    face.set_emotion("sad")
    assert animate(face, 3, start=105)[0][-1, smile] == pytest.approx(-0.4, abs=0.01)
    face.set_emotion("happy")
    assert animate(face, 3, start=108)[0][-1, smile] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(
    "point, pitch, yaw", [((1, 1, 0), 0, 45), ((1, -1, 0), 0, -45), ((1, 0, 1), -45, 0)]
)
def test_directions(point, pitch, yaw):
    np.testing.assert_allclose(np.degrees(direction_angles(point)), (pitch, yaw), atol=1e-6)


@pytest.mark.parametrize("degrees", [5, 10, 15, 25])
@pytest.mark.parametrize("way", [(1, 0), (-1, 0), (0, 1), (0, -1)],
                         ids=["left", "right", "up", "down"])  # fmt: skip
def test_eyes_and_head_meet_the_point_between_them(face, way, degrees):
    """In the face model's angles: the eyeballs' at these weights, and what the head has turned."""
    aside, up = np.radians(degrees) * np.array(way)
    face.gaze.look_at((np.cos(up) * np.cos(aside), np.cos(up) * np.sin(aside), np.sin(up)), 100.0)
    shown, turn = (values[-1] for values in animate(face, 3))
    for side in ("Left", "Right"):
        np.testing.assert_allclose(np.degrees(gaze_angles(shown, side) + turn[:2]),
                                   np.degrees([-up, aside]), atol=0.1)  # fmt: skip


def test_eyes_go_first_and_the_head_follows_a_part_of_the_way(face):
    face.gaze.look_at((1.0, 0.3, 0.0), 100.0)  # to the face's left
    shown, turn = animate(face, 2)
    left, right = shown[:, I["eyeLookOutLeft"]], shown[:, I["eyeLookOutRight"]]
    assert left[3] > 0.3 and right.max() == 0
    assert left[-1] < left.max()  # the head has taken its part
    assert 0.05 < turn[-1, 1] <= 0.13 and turn[2, 1] < 0.5 * turn[-1, 1]
    shown, turn = animate(face, 6, start=102)  # nobody names the point again
    assert shown[-1, I["eyeLookOutLeft"]] < 0.02 and abs(turn[-1, 1]) < 0.01


@pytest.mark.parametrize("point", [(0, 0, 0), (np.nan, 1, 1), (np.inf, 0, 0)])
def test_a_point_without_direction_is_refused(face, point):
    with pytest.raises(ValueError, match="direction"):
        face.gaze.look_at(point, 0.0)


def test_listening_looks_like_it(face):
    face.idle_gain = 1.0
    before = animate(face, 20)
    face.listening = True
    animate(face, 2, start=120)
    after = animate(face, 20, start=122)
    glance = [I[n] for n in arkit.NAMES if n.startswith("eyeLook")]
    assert after[0][:, glance].max() < 0.3 * before[0][:, glance].max()
    assert after[0][:, I["browInnerUp"]].min() > 0.1
    assert after[1][:, 2].mean() > before[1][:, 2].mean() + 0.03
    assert after[0][:, I["eyeBlinkLeft"]].max() > 0.9  # it still blinks


def test_without_head_motion_only_the_face_lives(renderer):
    """Whatever speech, gaze, listening and idle motion want; the eyes go all the way."""
    face, images = Face(renderer), []
    face.head_gain = 0.0
    face.gaze.look_at((1.0, 0.2, 0.0), 100.0)
    face.listening = True
    for k in range(100):
        shown, turn = face.pose(100 + k / 25, np.zeros(52, np.float32), np.ones(3) * 0.05, 1.0)
        assert not turn.any()
    np.testing.assert_allclose(gaze_angles(shown, "Left")[1], np.arctan(0.2), atol=0.01)
    for second in (0, 3, 7):
        images.append(face.render(104.0 + second, np.zeros(52, np.float32))[1])
    outside = np.r_[: renderer.avatar.crop[1] // 2, 190:256]  # above and below the face
    for image in images[1:]:
        assert (image[outside] == images[0][outside]).all()


def test_it_breathes_twelve_to_sixteen_times_a_minute():
    breath = np.array([Idle(3).breath(k / 25) for k in range(300 * 25)])
    breaths = np.count_nonzero((breath[1:] > 0) & (breath[:-1] <= 0))
    assert 12 <= breaths / 5 <= 16 and breath.min() < -0.9 and breath.max() > 0.9


def test_idle_motion_breathes(renderer):
    _, turn = animate(Face(renderer), 20)
    assert 0.005 < np.ptp(turn[:, 0]) < 0.05
    assert np.abs(np.diff(turn, axis=0)).max() < 0.002  # slowly


@pytest.mark.parametrize(
    "text, wanted",
    [("happy", ("happy", 1.0)), (" Sad 0.5 ", ("sad", 0.5)), ("furious", ("angry", 1.0)),
     ("annoyed 0.5", ("angry", 0.3)), ("neutral", ("neutral", 1.0))],
)  # fmt: skip
def test_emotions_by_name(text, wanted):
    name, intensity = parse_emotion(text)
    assert (name, pytest.approx(intensity)) == wanted


@pytest.mark.parametrize("text", ["", "hungry", "happy much", "happy 2", "happy -1", "happy nan"])
def test_what_is_no_emotion_is_refused_in_one_line(text):
    with pytest.raises(RealTalkError) as error:
        parse_emotion(text)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "valence, arousal, name",
    [(0.8, 0.2, "happy"), (-0.8, 0.5, "angry"), (-0.6, -0.4, "sad"), (0.1, 0.9, "surprised"),
     (-0.2, 0.9, "afraid"), (0.0, 0.0, "neutral"), (np.nan, 0, "neutral")],
)  # fmt: skip
def test_emotions_by_valence_and_arousal(valence, arousal, name):
    assert emotion_from_valence_arousal(valence, arousal)[0] == name


def test_smaller_pictures_of_the_same_face_need_no_new_network(renderer):
    small = renderer.resized(128)
    assert small.render(np.zeros(52, np.float32), 0).shape == (128, 128, 3)
    assert renderer.render(np.zeros(52, np.float32), 0).shape == (256, 256, 3)


def test_a_batch_renders_several_faces_and_each_its_own(monkeypatch):
    # On a busy machine a thread may be late by more than the few milliseconds that others wait.
    monkeypatch.setattr("realtalk_ros.rendering.batching.BATCH_WINDOW", 30.0)
    batching, rounds = BatchingRenderer(["kenji"] * 3), 8
    faces = [batching.face(i, 128, ("CPUExecutionProvider",), 1, None) for i in range(3)]
    alone = bundled_face("kenji", 128)
    wanted, got = {}, {}
    for i, k in itertools.product(range(3), range(rounds)):
        weights = np.zeros(52, np.float32)
        weights[I["jawOpen"]], weights[I["eyeWideLeft"]] = 0.3 * i, 0.1 * k
        wanted[i, k] = weights

    def act(i):
        for k in range(rounds):
            got[i, k] = faces[i].render(wanted[i, k], 0)

    threads = [threading.Thread(target=act, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert batching.frames == 3 * rounds and batching.batches == rounds
    for (i, k), picture in got.items():
        same = alone.render(wanted[i, k], 0)
        assert np.abs(picture.astype(int) - same).max() <= 3


def test_a_batch_does_not_wait_for_a_face_that_is_closed(monkeypatch):
    monkeypatch.setattr("realtalk_ros.rendering.batching.BATCH_WINDOW", 30.0)
    batching = BatchingRenderer(["kenji"] * 2)
    first, second = (batching.face(i, 64, ("CPUExecutionProvider",), 1, None) for i in range(2))
    rest = np.zeros(52, np.float32)
    smaller = first.resized(48)  # beside it, until it takes its place
    first.close()
    began = time.monotonic()
    frames = [threading.Thread(target=f.render, args=(rest, 0)) for f in (smaller, second)]
    for frame in frames:
        frame.start()
    for frame in frames:
        frame.join(60)
    assert batching.batches == 1 and batching.frames == 2
    second.close()
    smaller.render(rest, 0)
    assert batching.batches == 2 and time.monotonic() - began < 20


def test_faces_of_other_networks_are_rendered_beside_each_other(monkeypatch):
    """As where the device, or the folder of models, was set for one of them."""
    monkeypatch.setattr("realtalk_ros.rendering.batching.BATCH_WINDOW", 30.0)
    batching, rest, images = BatchingRenderer(["kenji"] * 2), np.zeros(52, np.float32), []
    before, other = (batching.face(i, 64, ("CPUExecutionProvider",), 1, None) for i in range(2))
    face = batching.face(0, 64, ("CPUExecutionProvider",), 2, None)
    before.close()
    frames = [
        threading.Thread(target=lambda f=f: images.append(f.render(rest, 0))) for f in (face, other)
    ]
    for frame in frames:
        frame.start()
    for frame in frames:
        frame.join(20)
    assert len(images) == 2 and batching.frames == batching.batches == 2


def test_networks_of_several_faces_that_failed_are_loaded_again_once():
    batching, given = BatchingRenderer(["kenji"] * 2), (64, ("CPUExecutionProvider",), 1, None)
    faces = [batching.face(i, *given) for i in range(2)]
    again = [batching.face(i, *given, failed=face) for i, face in enumerate(faces)]
    assert again[0].generator is again[1].generator
    assert not any(face.generator is again[0].generator for face in faces)


def test_a_failure_in_a_batch_is_raised_and_the_next_batch_works():
    batching = BatchingRenderer(["default"] * 2)
    face = batching.face(0, 64, ("CPUExecutionProvider",), 1, None)
    with pytest.raises(Exception, match="."):
        face.render(np.zeros(7, np.float32), 0)
    assert face.render(np.zeros(52, np.float32), 0).shape == (64, 64, 3)


def test_quality_goes_down_under_load_and_climbs_back():
    ladder, cost, levels = QualityController(), 1.4, []
    for second in range(120):
        fps, size = ladder.divisors
        load = (cost if second < 40 else 0.3) / fps / size
        ladder.update(load, max(0.0, 1 - 1 / load))
        levels.append(ladder.level)
    assert levels[2] == 1 and levels[0] == 0  # after three seconds
    assert max(levels[:40]) == 1  # two thirds of the frames are enough
    assert levels[-1] == 0
    assert LEVELS[1:3] == ((1.5, 1), (2, 1))  # frames first, then size


def test_quality_does_not_swing():
    """Where the better level is too much, climbs become rare."""
    ladder, levels = QualityController(), []
    for _ in range(1000):
        fps, size = ladder.divisors
        load = 1.3 / fps / size
        ladder.update(load, max(0.0, 1 - 1 / load))
        levels.append(ladder.level)
    assert np.count_nonzero(np.diff(levels)) < 40 and np.mean(np.array(levels) == 1) > 0.9


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_the_full_quality_is_back_within_15_s_after_a_load_of_half_a_minute(load):
    """`load` is what the full quality takes without the other program, 2.5 times that with it."""
    ladder, levels = QualityController(), []
    for second in range(60):
        fps, size = LEVELS[ladder.level]
        cost = (2.5 * load if 5 <= second < 35 else load) / fps / (1.2 if size > 1 else 1)
        ladder.update(cost, max(0.0, 1 - 1 / cost), idle=0.0 if 5 <= second < 35 else 0.5)
        levels.append(ladder.level)
    assert levels[:5] == [0] * 5 and set(levels[50:]) == {0}
    assert (max(levels) > 0) == (2.5 * load > 1)


def test_frames_that_are_missed_while_the_processor_is_idle_do_not_lower_the_quality():
    ladder = QualityController()
    assert not any(ladder.update(0.3, 0.5, idle=0.7) for _ in range(20))


def test_a_short_stall_does_not_lower_the_quality():
    ladder = QualityController()
    for load in (0.4, 3.0, 3.0, 0.4, 3.0, 0.4):
        assert not ladder.update(load, 0.5 if load > 1 else 0.0)
