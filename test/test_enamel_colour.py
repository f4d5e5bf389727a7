# SPDX-License-Identifier: Apache-2.0
"""The colour of teeth: of those that no picture shows, and of those that one shows."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import find
from realtalk_ros.contracts import CROP_SIZE, mouth_crop
from realtalk_ros.errors import AvatarError
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.avatar_encoding import (
    is_false_enamel,
    mouth_colours,
    reference_images,
    reference_inputs,
    with_expected_enamel,
    without_false_flesh,
)
from realtalk_ros.rendering.generator import FaceInputs, Generator
from realtalk_ros.rendering.mouth.enamel_colour import expected_enamel, plausible

POINTS = np.zeros((68, 2))
for eye, x in ((slice(36, 42), 70), (slice(42, 48), 150)):
    POINTS[eye] = np.array([[0, 6], [10, 0], [20, 0], [30, 6], [20, 12], [10, 12]]) + (x, 100)
POINTS[[2, 31, 35, 14]] = (40, 160), (110, 160), (140, 160), (210, 160)
SKIN = (90, 130, 170)


@pytest.mark.parametrize(
    "white, skin, enamel",
    [
        ((130, 130, 140), SKIN, (0.84, 0.87, 0.92)),  # of the study's light
        (
            (130, 130, 130),
            SKIN,
            (0.84, 0.87, 0.88),
        ),  # its greenish whites are misread more than half
        ((100, 130, 160), SKIN, (0.70, 0.87, 1.0)),  # of lamplight
        ((40, 140, 130), SKIN, (0.65, 0.90, 0.91)),  # of a painting under old varnish: paler
        ((60, 120, 155), (55, 140, 220), (0.39, 0.80, 0.94)),  # of light that colours the skin, too
    ],
)
def test_teeth_follow_the_whites_of_the_eyes_but_are_never_green(white, skin, enamel):
    face = np.full((256, 256, 3), skin, np.uint8)
    face[95:120] = white
    found = plausible(expected_enamel(face, POINTS))
    assert np.abs(found - enamel).max() < 0.02
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["default", "mira", "ines", "kenji"])
def test_teeth_are_as_light_as_the_reference_that_shows_most_of_them(name):
    avatar = replace(Avatar.load(name), teeth=None)
    maps = [inputs[..., 3:] for inputs in reference_inputs(avatar, "shaded")]
    seen = [(shown[..., 0] == 255) & (shown[..., 1] > 120) for shown in maps]
    k = int(np.argmax([np.count_nonzero(teeth) for teeth in seen]))
    weights = avatar.reference_weights[k : k + 1]
    generator = Generator([avatar])
    face = generator.run(weights, [FaceInputs(0, 0, 0)])[0]
    interior = face.mouth_interior[mouth_crop()]
    upper = generator.geometry[0].mouth.teeth_mask(0, CROP_SIZE)[mouth_crop()] == 255
    drawn = face.mouth[upper & (interior[..., 0] == 255) & (interior[..., 1] > 120)]
    light = np.median(reference_images(avatar)[k][seen[k]].mean(-1))
    assert np.median(drawn.mean(-1)) == pytest.approx(light, rel=0.07)  # was 0.87 to 0.93 of it


def test_lips_that_part_by_a_line_are_not_taken_for_teeth():
    expected = np.array([0.9, 1.0, 1.1], np.float32)

    def read(level: float, sure: float) -> np.ndarray:
        colours = np.full((1, 8), sure * level)
        colours[0, 6:] = sure
        return with_expected_enamel(colours, expected)

    for sure in (0.0, 0.5):
        colours, enamel = read(0.35, sure)
        np.testing.assert_allclose(enamel, expected, atol=1e-6)
        np.testing.assert_allclose(colours[0, :3], 0.9 * np.array([0.9, 0.99, 1]), atol=1e-6)
        assert colours[0, 6] == pytest.approx(0.9)
    for level, sure in ((0.8, 0.5), (0.05, 0.9)):  # teeth in the shade; a machine's
        colours, enamel = read(level, sure)
        assert enamel.mean() == pytest.approx(level * sure / 0.9 + 1 - sure / 0.9, abs=0.01)


@pytest.mark.parametrize(
    "rest, smile, level, believed",
    [(0.0, 0.0, 0.55, False), (0.0, 0.3, 0.55, True), (0.3, 0.0, 0.55, True),
     (0.0, 0.0, 0.05, True), (0.0, 0.0, 1.1, True)],
)  # fmt: skip
def test_teeth_in_the_shade_of_parted_lips_are_not_taken_for_dark_ones(
    rest, smile, level, believed
):
    expected, avatar = np.array([0.9, 1.0, 1.1], np.float32), Avatar.load("default")
    weights = arkit.weights(jawOpen=0.2, mouthSmile=smile)[None]
    resting = arkit.weights(mouthSmile=rest)
    avatar = replace(avatar, reference_weights=weights, resting_weights=resting, teeth=None)
    read = np.full((1, 8), 0.9 * level)
    read[0, 3:] = 0, 0, 0, 0.9, 0
    colours, enamel = mouth_colours(avatar, read, expected, None)
    assert colours[0, 6] == pytest.approx(0.9)
    np.testing.assert_allclose(enamel, [level] * 3 if believed else expected, atol=1e-6)


def teeth(avatar: Avatar) -> np.ndarray:
    """(3,) BGR, median of those in full light, in a smile."""
    smile = {
        f"mouth{which}{side}": 0.5 for which in ("Smile", "UpperUp") for side in ("Left", "Right")
    }
    made = Generator([avatar]).run(arkit.weights(jawOpen=0.1, **smile)[None], [FaceInputs(0, 0, 0)])
    interior = made[0].mouth_interior[mouth_crop()]
    lightest = interior[..., 1] > 0.9 * interior[..., 1].max()
    return np.median(made[0].mouth[lightest & (interior[..., 0] == 255)], 0)


def test_an_avatar_may_say_what_colour_its_teeth_are():
    avatar = Avatar.load("mira")
    white, old = (teeth(replace(avatar, teeth=t)) for t in ((250, 245, 240), (220, 195, 150)))
    np.testing.assert_allclose(old / white, (150 / 240, 195 / 245, 220 / 250), rtol=0.05)
    ines = Avatar.load("ines")
    assert ines.teeth is not None and ines.teeth[0] - ines.teeth[2] > 40  # an old woman's
    blue, _, red = teeth(ines)
    assert red / blue > 1.15


@pytest.mark.parametrize("value", ["white", [255, 255], [255, 255, 256], [1.0, 2, 3]])
def test_a_colour_that_cannot_be_is_refused(value, tmp_path):
    folder = tmp_path / "ann"
    shutil.copytree(find("mira"), folder)
    meta = yaml.safe_load((folder / "avatar.yaml").read_text()) | {"teeth": value}
    (folder / "avatar.yaml").write_text(yaml.safe_dump(meta))
    with pytest.raises(AvatarError, match="teeth must be .red, green, blue."):
        Avatar.load(folder)


def test_flesh_that_is_not_red_is_not_believed():
    red, grey = np.array([[0.5, 0.5, 0.5, 0.2, 0.2, 0.4, 0.9, 0.8]]), np.zeros((1, 8))
    grey[:] = red
    grey[0, 5] = 0.25
    assert np.array_equal(without_false_flesh(red), red)
    found = without_false_flesh(np.concatenate([grey, red]))
    assert not found[0, 3:6].any() and found[0, 7] == 0
    assert np.array_equal(found[0, [0, 1, 2, 6]], grey[0, [0, 1, 2, 6]])


@pytest.mark.parametrize("read, teeth, expected, wrong", [
    (0.3, 0.8, 0.9, True), (0.3, 0.3, 0.9, False), (0.3, 0.8, 0.35, False), (0.8, 0.9, 0.9, False),
])  # fmt: skip
def test_enamel_is_read_anew_where_it_is_darker_than_the_teeth_and_than_expected(
    read, teeth, expected, wrong
):
    colours = np.array([[0.9 * read] * 3 + [0, 0, 0, 0.9, 0]])
    assert is_false_enamel(colours, np.full(3, teeth), np.full(3, expected)) == wrong
