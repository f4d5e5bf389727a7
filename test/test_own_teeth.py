# SPDX-License-Identifier: Apache-2.0
"""A person's own upper teeth, from a picture that shows them."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.provenance import LIKENESS
from realtalk_ros.contracts import MOUTH_CROP
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.generator import MOUTH, FaceInputs, Generator
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.own_teeth import OwnTeeth, TeethPicture

SHOWN = 2  # Kenji's reference that says ee
LEFT, TOP, _ = MOUTH_CROP
MARK = np.array([0, 255, 0], np.uint8)
SHUT = arkit.weights()
OPEN, WIDE = (arkit.weights(mouthUpperUp=0.4, jawOpen=jaw) for jaw in (0.15, 0.5))
SMILING = MouthOpening(gap=0.3, wider=0.2)
TEETH = arkit.weights(mouthUpperUp=0.4, mouthLowerDown=0.4, jawOpen=0.15)


def person(*references: np.ndarray) -> Avatar:
    """Kenji as a photographed person, who is shown saying ee; his templates were rendered by the
    same camera as his references."""
    avatar = Avatar.load("kenji")
    return replace(
        avatar,
        more_references=references or (avatar.more_references[SHOWN],),
        reference_weights=avatar.reference_weights[[SHOWN]],
        reference_landmarks=avatar.reference_landmarks[[SHOWN]],
        metadata={**avatar.metadata, "digital_source_type": LIKENESS, "consent": "himself"},
        reference_expressions=None,
    )


@lru_cache
def marked() -> tuple[np.ndarray, np.ndarray]:
    """The reference with two marks on its upper teeth, and where they are, pixels x, y."""
    avatar = Avatar.load("kenji")
    image = avatar.more_references[SHOWN].copy()
    upper = avatar.reference_landmarks[SHOWN][62]
    places = np.rint(upper + [(-9, 4), (9, 4)]).astype(int)
    for x, y in places:
        image[y - 1 : y + 2, x - 1 : x + 2] = MARK
    return image, places


def green(mouth: np.ndarray) -> np.ndarray:
    """How much greener than red and blue, the mouth crop's pixels are."""
    levels = mouth.astype(np.float32)
    return np.maximum(levels[..., 1] - np.maximum(levels[..., 0], levels[..., 2]) - 25, 0)


def places(mouth: np.ndarray) -> np.ndarray:
    """(2, 2): the middles of the left and the right mark, pixels x, y of the whole crop."""
    found, middle = green(mouth), marked()[1][:, 0].mean() - LEFT
    y, x = np.mgrid[: len(mouth), : mouth.shape[1]]
    halves = [found * (x < middle), found * (x >= middle)]
    assert all(half.sum() > 100 for half in halves)
    middles = [[(half * axis).sum() / half.sum() for axis in (x, y)] for half in halves]
    return np.array(middles) + (LEFT, TOP)


def mouths(generator: Generator, *weights: np.ndarray) -> list[np.ndarray]:
    return [generator.run(w[None], [FaceInputs(0, 0, 0)])[0].mouth for w in weights]


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator([person(marked()[0])])


def test_the_picture_s_teeth_are_between_open_lips_where_the_picture_has_them(generator):
    (mouth,) = mouths(generator, TEETH)
    np.testing.assert_allclose(places(mouth), marked()[1], atol=1.0)


def test_they_stay_with_the_skull_when_the_jaw_opens(generator):
    first, second = mouths(generator, OPEN, WIDE)
    np.testing.assert_allclose(places(first), places(second), atol=0.5)


def test_between_shut_lips_there_are_none_and_they_come_little_by_little(generator):
    assert green(mouths(generator, SHUT)[0]).sum() == 0
    ramp = np.linspace(0, 1, 21, dtype=np.float32)[:, None] * TEETH
    steps = [green(m).sum() for m in mouths(generator, *ramp)]
    assert steps[-1] > 500 and max(np.diff(steps)) < 0.35 * steps[-1]


def test_a_tongue_that_is_out_lies_before_them(generator):
    out = arkit.weights(jawOpen=0.3, tongueOut=1.0)
    assert green(mouths(generator, out)[0]).sum() == 0


@pytest.mark.parametrize("change", [
    {"metadata": {}},  # of nobody who was photographed
    {"reference_expressions": np.zeros((50, 52), np.float32)},  # of a film
    {"reference_landmarks": None},
])  # fmt: skip
def test_other_avatars_keep_what_the_network_draws(change):
    avatar = replace(person(marked()[0]), **change)
    assert green(mouths(Generator([avatar]), TEETH)[0]).sum() == 0


def test_a_picture_of_a_mouth_without_teeth_shows_none():
    flesh = Avatar.load("kenji").more_references[SHOWN].copy()
    upper, lower = Avatar.load("kenji").reference_landmarks[SHOWN][[62, 66]].astype(int)
    flesh[upper[1] - 6 : lower[1] + 8, upper[0] - 40 : upper[0] + 40] = 60, 60, 150
    plain = person()
    bare = replace(plain, metadata={})
    for avatar, same in ((person(flesh), True), (plain, False)):
        other = replace(bare, more_references=avatar.more_references)
        pair = [mouths(Generator([one]), TEETH)[0] for one in (avatar, other)]
        assert np.array_equal(*pair) == same


def test_a_picture_that_knows_little_of_an_opening_is_no_patch_in_it(generator):
    shown = TeethPicture.of(person(marked()[0]))
    interior = np.zeros((256, 256, 3), np.uint8)
    generator.geometry[0].draw_mouth(OPEN, 0, interior)
    drawn = []
    for width in (256, 8):
        picture = shown.picture.copy()
        picture[:, np.abs(np.arange(256) - marked()[1][0, 0]) > width // 2, 3] = 0
        mouth = np.full((128, 128, 3), 100, np.uint8)
        OwnTeeth(replace(shown, picture=picture), generator.geometry[0]).draw(
            OPEN, interior[MOUTH], mouth, SMILING
        )
        drawn.append((mouth != 100).any(-1).sum())
    assert drawn[0] > 100 and drawn[1] == 0


def test_they_are_in_the_shadow_of_lips_that_the_picture_s_are_not(generator):
    shown = TeethPicture.of(person(marked()[0]))
    interior = generator.geometry[0].draw_mouth(OPEN, 0, np.zeros((256, 256, 3), np.uint8))[MOUTH]
    teeth = OwnTeeth(shown, generator.geometry[0])
    lit, shaded, brighter = (np.zeros((128, 128, 3), np.uint8) for _ in range(3))
    bright = replace(shown, light=np.ones(3))  # no lips can leave them more
    OwnTeeth(bright, generator.geometry[0]).draw(OPEN, interior, lit, SMILING)
    narrow = MouthOpening(gap=0.04, wider=-0.1)
    teeth.draw(OPEN, interior, shaded, narrow)
    teeth.draw(OPEN, interior, brighter, SMILING)
    seen = lit > 60
    share = (shaded / np.maximum(lit, 1.0)).reshape(-1, 3)
    for channel, wanted in enumerate(narrow.light_on_teeth() / shown.light):
        assert wanted < 0.9
        of = share[seen.reshape(-1, 3)[:, channel], channel]
        assert len(of) > 50 and np.abs(of - wanted).max() < 0.03
    np.testing.assert_array_equal(brighter, lit)  # none is lighter than in its picture


def test_faces_of_a_batch_have_their_own(generator):
    batch = Generator([person(), person(marked()[0])])
    inputs = [FaceInputs(0, 0, 0), FaceInputs(1, 0, 0)]
    plain, own = (face.mouth for face in batch.run(np.stack([TEETH, TEETH]), inputs))
    assert green(plain).sum() == 0
    np.testing.assert_allclose(own, mouths(generator, TEETH)[0], atol=3)
