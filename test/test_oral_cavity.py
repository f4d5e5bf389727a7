# SPDX-License-Identifier: Apache-2.0
"""The light in an open mouth."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.generator import MOUTH, FaceInputs, Generator
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.mouth.mouth_tables import GUMS, MouthTables
from realtalk_ros.rendering.mouth.oral_cavity import OralCavity, look_of

ACROSS = np.linspace(-3, 3, 128)[None]  # cm
FLESH = np.array([0.33, 0.34, 0.51, 0.9])
UNKNOWN = np.zeros(4)
SMILING = MouthOpening(gap=0.1, wider=0.09)
EVEN = MouthTables(np.ones((80, 65, 3)), np.ones((1, 128, 3)), roots=np.zeros((1, 128)))


def opened() -> tuple[np.ndarray, np.ndarray]:
    """The map of an opening, with a band of teeth, and an even picture."""
    interior = np.zeros((128, 128, 3), np.uint8)
    interior[40:80, 24:104] = 255, 0, 60
    interior[40:50, 24:104] = 255, 200, 0
    return interior, np.full((128, 128, 3), 100, np.uint8)


def person(enamel: float = 0.7, flesh: np.ndarray = FLESH) -> OralCavity:
    interior, drawn = opened()
    return cavity_of(flesh, np.full(3, enamel), (interior, drawn))


def cavity_of(flesh: np.ndarray, enamel: np.ndarray, smile: tuple) -> OralCavity:
    return OralCavity(MouthTables.of_person(flesh, enamel, smile, ACROSS))


def light_up(cavity: OralCavity, interior: np.ndarray, drawn: np.ndarray) -> None:
    """Lights a drawn mouth in place, as in a smile."""
    if (found := cavity.light_in(interior, 0, SMILING)) is not None:
        cavity.apply(found, drawn)


@pytest.mark.parametrize("cavity", [OralCavity(MouthTables.of_machine(1)), person(100 / 200)])
def test_a_tongue_is_dark_at_its_back_and_light_at_its_front_and_nothing_else_changes(cavity):
    interior, drawn = opened()
    before = drawn.copy()
    light_up(cavity, interior, drawn)
    column = drawn[50:80, 60].mean(-1)
    assert column[0] < 92 and column[15:25].min() > 115 and column[-1] < column[20]
    changed = (drawn != before).any(-1)
    assert not changed[:40].any() and not changed[80:].any() and not changed[:, :24].any()
    assert np.abs(drawn[40:49, 50:78].astype(int) - 100).max() < 5  # teeth of the right colour
    light_up(cavity, np.zeros_like(drawn), drawn := before.copy())
    np.testing.assert_array_equal(drawn, before)


def test_a_person_s_mouth_is_red_behind_and_its_tongue_is_round():
    interior, drawn = opened()
    light_up(person(), interior, drawn)
    behind, front = drawn[56, 64].astype(float), drawn[72, 58].astype(float)
    assert behind[2] / behind[1] > 1.15 * front[2] / front[1]
    row = drawn[70].mean(-1)
    assert row[58] > row[40] > row[28]  # lower at its sides
    assert row[64] < row[58] - 4  # the furrow


def test_dark_flesh_of_a_reference_is_made_lighter():
    interior, usual = opened()
    usual[50:80] = 60
    dark = usual.copy()
    light_up(person(), interior, usual)
    light_up(person(flesh=np.array([0.12, 0.14, 0.29, 0.9])), interior, dark)
    assert dark[72, 58].mean() > 1.15 * usual[72, 58].mean()
    assert abs(dark[54, 64].mean() - usual[54, 64].mean()) < 5


def gums(skin: int = 200, drawn: tuple[int, int, int] = (70, 80, 118)) -> np.ndarray:
    """(12, 80, 3): those that are drawn in a brown, over enamel of 150 levels, lit."""
    interior, picture = opened()
    picture[:] = skin
    picture[40:80, 24:104], picture[52:62, 24:104] = drawn, 150
    interior[40:80, 24:104] = 255, 0, GUMS + 20
    interior[52:62, 24:104] = 255, 200, 0
    cavity = cavity_of(UNKNOWN, np.full(3, 0.75), (interior, picture))
    light_up(cavity, interior, picture)
    return picture[40:52, 24:104].astype(float)


def test_gums_are_pink_whatever_was_drawn_and_as_light_as_beside_people_s_enamel():
    for drawn in ((70, 80, 118), (90, 75, 110), (60, 60, 110)):
        blue, green, red = np.median(gums(drawn=drawn)[6:10], (0, 1))
        assert 1.25 < red / green < 1.5 and 0.97 < blue / green < 1.07
        assert 0.5 < green / 150 < 0.7


def test_gums_are_lighter_over_each_root_and_darker_under_the_lip_and_in_dark_people():
    lit = gums().mean(-1)
    rows = lit.mean(1)
    assert rows[0] < 0.95 * rows[8]
    over, between = (np.abs(np.abs(ACROSS[0, 24:104]) - place) < 0.08 for place in (1.14, 1.42))
    assert lit[1:4, between].mean() < 0.93 * lit[1:4, over].mean()
    assert gums(skin=60).mean() < 0.95 * lit.mean()


def test_enamel_is_nowhere_greener_than_it_is_to_be_and_red_stays():
    interior, drawn = opened()
    drawn[40:50, 30:40] = 100, 108, 98  # greenish
    drawn[40:50, 84:94] = 90, 95, 110
    edge = interior[49]
    edge[edge[:, 1] > 0] = 128, 40, 60  # half a tooth and half an opening
    enamel = np.array([0.48, 0.5, 0.53])
    cavity = cavity_of(UNKNOWN, enamel, (interior, np.full_like(drawn, 100)))
    light_up(cavity, interior, drawn)
    _, green, red = np.moveaxis(drawn[40:49, 31:39].astype(float), -1, 0)
    assert (red >= green).all() and green.mean() > 85
    _, green, red = np.moveaxis(drawn[49, 31:39].astype(float), -1, 0)
    assert red.mean() > 0.97 * green.mean()  # it was 0.91
    _, green, red = drawn[44, 88]
    assert red > 1.18 * green


def test_a_brown_tongue_becomes_as_red_and_blue_as_people_s():
    interior, drawn = opened()
    drawn[50:80, 24:104] = 60, 75, 100
    picture = drawn.copy()
    cavity = cavity_of(UNKNOWN, np.full(3, 0.5), (interior, picture))
    light_up(cavity, interior, drawn)
    blue, green, red = drawn[70, 58].astype(float)
    assert blue / green > 0.92 and red / green > 1.35


def test_teeth_become_as_light_as_they_are_to_be_and_canines_are_yellower():
    interior, drawn = opened()
    light_up(person(130 / 200), interior, drawn)  # of 200 levels of the map, drawn as 100
    incisors, canines = drawn[44, 60:68].mean(0), drawn[44, [26, 101]].mean(0)
    np.testing.assert_allclose(incisors, 130, atol=2)
    assert canines[2] / canines[0] > 1.03 and canines.mean() < 0.98 * incisors.mean()
    interior, drawn = opened()
    light_up(person(5.0), interior, drawn)  # not believed
    assert drawn[44, 64].max() < 175


def front_of_the_tongue(generator: Generator) -> float:
    """How light the tongue is at three quarters of an open mouth, over its back."""
    lower = {f"mouthLowerDown{side}": 0.3 for side in ("Left", "Right")}
    weights = arkit.weights(jawOpen=0.5, **lower)[None]
    face = generator.run(weights, [FaceInputs(0, 0, 0)])[0]
    opened, enamel, _ = np.moveaxis(face.mouth_interior[MOUTH], -1, 0)
    rows, columns = np.nonzero((opened == 255) & (enamel == 0))
    middle = np.abs(columns - np.median(columns)) < 6
    rows, columns = rows[middle], columns[middle]
    height = (rows - rows.min()) / np.ptp(rows)
    light = face.mouth[rows, columns].mean(-1)
    return light[(height > 0.6) & (height < 0.8)].mean() / light[height < 0.3].mean()


def test_an_avatars_tongue_is_lit(tmp_path):
    """As measured on people: to three quarters of the opening it gets lighter. A generator of an
    avatar's own has learned the light in that mouth."""
    face = bundled_face("default")
    assert front_of_the_tongue(face.generator) > 1.6
    shutil.copy(onnx_session.MODEL_DIR / "renderer_generate.onnx", tmp_path)
    own = Generator([replace(face.avatar, generator=tmp_path)])
    assert front_of_the_tongue(own) < 1.2


def test_whose_mouth_is_a_person_s(tmp_path):
    white, none = np.full(3, 0.9), np.full(3, 0.07)
    for name, enamel, look in (("mira", white, "lifelike"), ("android", none, "shaded"),
                               ("pia", white, "shaded")):  # fmt: skip
        avatar = Avatar.load(name)
        assert look_of(avatar, enamel) == look
        assert look_of(replace(avatar, generator=tmp_path), enamel) == "plain"


def test_corners_of_an_open_mouth_are_as_dark_as_flesh_and_not_black():
    for name in ("kenji", "ines", "mira", "default"):
        lower = {f"mouthLowerDown{side}": 0.2 for side in ("Left", "Right")}
        generator = bundled_face(name).generator
        weights = arkit.weights(jawOpen=0.5, **lower)[None]
        face = generator.run(weights, [FaceInputs(0, 0, 0)])[0]
        inside = (face.mouth_interior[MOUTH][..., 0] == 255) & (
            face.mouth_interior[MOUTH][..., 1] == 0
        )
        _, green, red = np.percentile(face.mouth[inside], 2, axis=0)  # black ones: 1 to 4
        assert red > 15 and red > 1.3 * green


def test_in_a_narrow_opening_the_tongue_lies_lower():
    light = []
    for height in (10, 40):
        interior, drawn = opened()
        interior[40:50, 24:104] = 255, 0, 60
        interior[40 + height :] = 0
        light_up(person(), interior, drawn)
        light.append(drawn[40 + 6 * height // 10, 60].mean())  # six tenths down
    assert light[0] < light[1] - 10


def test_lower_teeth_meet_the_lip_of_an_open_mouth_softly_and_those_of_a_smile_with_a_line():
    """A lip that is dark beside light teeth, and covers half of their last row."""
    last = []
    for top, aside in ((40, 40), (60, 50)):
        interior, drawn = np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 80, np.uint8)
        columns = slice(64 - aside, 64 + aside)
        interior[top:80, columns] = 255, 0, 60
        interior[70:80, columns] = 255, 150, 0
        interior[79, columns, 0], drawn[70:79] = 60, 160
        light_up(person(), interior, drawn)
        last.append(drawn[79, 64].mean())
    assert last[0] >= 80 and last[1] < 76


def test_a_dark_line_between_lip_and_teeth_is_a_smile_s():
    """Pixels of which the lip covers a part are made darker in smiles, and not in speech."""
    interior, drawn = opened()
    interior[39, 24:104] = 80, 200, 0
    interior[55:] = 0  # it is flat
    drawn[:40] = 60  # the lip
    lit = []
    for wider in (0.1, 0.0):
        cavity, image = OralCavity(EVEN), drawn.copy()
        light = cavity.light_in(interior, 0, MouthOpening(gap=0.1, wider=wider))
        cavity.apply(light, image)
        lit.append(image[39, 40:90].mean())
    assert lit[0] < 54 and lit[1] > 55


def test_the_shade_between_teeth_is_warm():
    interior, drawn = opened()
    relief = np.full((1, 128, 128), 128, np.uint8)
    light_up(OralCavity(EVEN, relief), interior, drawn)
    blue, green, red = drawn[45, 64] / 100
    assert blue == green == pytest.approx(0.5, abs=0.02) and red > 1.2 * green
