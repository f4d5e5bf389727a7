# SPDX-License-Identifier: Apache-2.0
"""The renderer of synthetic heads: needs moderngl, an EGL driver and the face model, else it is
skipped."""

from dataclasses import replace

import numpy as np
import pytest

from realtalk_ros.cli import main
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.training.common.facekit import FaceKit, find_facekit

pytest.importorskip("scipy")


def test_simplify_keeps_shape_and_border():
    from realtalk_ros.training.synthetic.mesh_simplification import simplify

    n = 21
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n))
    points = np.stack([x, y, 0.4 * np.sin(2 * x)], -1).reshape(-1, 3)
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    tris = np.concatenate([np.stack([a, a + 1, a + n], 1), np.stack([a + n, a + 1, a + n + 1], 1)])
    less = simplify(tris, [points], np.ones(len(points)), 0.4)

    def area(t: np.ndarray) -> float:
        p, q, r = (points[t[:, k]] for k in range(3))
        return float(np.cross(q - p, r - p)[:, 2].sum() / 2)

    assert len(less) <= 0.42 * len(tris)
    assert area(less) == pytest.approx(area(tris), rel=1e-6)  # no hole, no fold, whole border
    p, q, r = (points[less[:, k]] for k in range(3))
    assert (np.cross(q - p, r - p)[:, 2] > 0).all()
    middle = (p + q + r) / 3
    assert np.abs(middle[:, 2] - 0.4 * np.sin(2 * middle[:, 0])).max() < 0.03


@pytest.fixture(scope="module")
def scene():
    """(renderer, person, framed view): one person of the random ones."""
    pytest.importorskip("moderngl")
    try:
        find_facekit()
    except RealTalkError:
        pytest.skip("the face model is not here")
    from realtalk_ros.training.synthetic import random_people
    from realtalk_ros.training.synthetic.head_renderer import HeadRenderer
    from realtalk_ros.training.synthetic.skin_texture import SkinPainter
    from realtalk_ros.training.synthetic.view import View

    kit = FaceKit.load()
    try:
        renderer = HeadRenderer(kit, 128, supersample=1.25, detail=0.6)
    except RealTalkError as error:
        pytest.skip(str(error))
    person = random_people.random_person(kit, SkinPainter(renderer, 128), 4)
    appearance = replace(person.appearance, worn=[])
    person = replace(person, appearance=appearance)
    renderer.load_person(person.neutral, appearance)
    return renderer, person, random_people.framed(View(distance=70.0), kit, person.neutral)


def count(labels: np.ndarray, name: str) -> int:
    from realtalk_ros.training.synthetic.scene import LABELS

    return int((labels == LABELS.index(name)).sum())


def test_masks_follow_the_weights(scene):
    renderer, person, view = scene

    def labels(**named: float) -> np.ndarray:
        return renderer.render_labelled(weights(**named), view, person.light)[1]

    shut, wide = labels(mouthRollLower=0.3, mouthRollUpper=0.3), labels(jawOpen=0.7)
    blink = labels(eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    assert count(shut, "skin") > 3000 and count(shut, "lips") > 60
    assert count(wide, "mouth") > 150 > 6 * count(shut, "mouth")
    assert count(blink, "eyes") < 0.35 * count(shut, "eyes")


def test_landmarks_lie_on_the_lips_of_the_picture(scene):
    renderer, person, view = scene
    wide = weights(jawOpen=0.5)
    labels = renderer.render_labelled(wide, view, person.light)[1]
    y, x = np.nonzero(labels == 2)
    seen = np.array([x.min(), x.max(), y.min(), y.max()]) + [0, 1, 0, 1]
    marks = view.pixels(renderer.landmarks(wide), renderer.size)[48:60]
    said = np.array([*(f(marks[:, 0]) for f in (np.min, np.max)),
                     *(f(marks[:, 1]) for f in (np.min, np.max))])  # fmt: skip
    assert np.abs(seen - said).max() < 3.0


def test_same_again_and_something_else(scene):
    """A still expression is a still picture; the shader moves what FaceKit moves."""
    renderer, person, view = scene
    rest, smile = weights(), weights(mouthSmileLeft=0.8, jawOpen=0.2, eyeLookInLeft=0.7)
    first = renderer.render(rest, view, person.light)
    other = renderer.render(smile, view, person.light)
    np.testing.assert_array_equal(first, renderer.render(rest, view, person.light))
    assert np.abs(first.astype(int) - other).max() > 40
    moved = np.frombuffer(renderer.morphs.deformed.read(), np.float32).reshape(-1, 6)
    np.testing.assert_allclose(moved[:, :3], person.neutral[renderer.mesh.vertex_of], atol=1e-4)
    renderer.render(smile, view, person.light)
    moved = np.frombuffer(renderer.morphs.deformed.read(), np.float32).reshape(-1, 6)[:, :3]
    expected = renderer.kit.deform(person.neutral, smile)[renderer.mesh.vertex_of]
    np.testing.assert_allclose(moved, expected, atol=1e-3)


def test_tongue_comes_out(scene):
    renderer, person, view = scene
    open_ = renderer.render(weights(jawOpen=0.5), view, person.light)
    out = renderer.render(weights(jawOpen=0.5, tongueOut=1.0), view, person.light)
    assert (np.abs(open_.astype(int) - out).max(2) > 15).sum() > 40


def test_group_has_every_array(scene):
    from realtalk_ros.training.common import group_layout
    from realtalk_ros.training.synthetic import face_dataset
    from realtalk_ros.training.synthetic.scene import LABELS

    renderer, person, _ = scene
    group = face_dataset.render_group(renderer, person, np.random.default_rng(0))
    n = group_layout.IMAGES
    assert {k: v.shape for k, v in group.items()} == {
        "images": (n, 128, 128, 3), "weights": (n, 52), "landmarks": (n, 68, 2), "pose": (n,),
        "identity": (100,), "masks": (n, 128, 128), "head": (n, 6), "camera": (n, 5),
    }  # fmt: skip
    assert group["masks"].max() < len(LABELS)


def test_mouths_have_mankinds_colours_or_with_the_eyes_nobodys():
    pytest.importorskip("moderngl")
    from realtalk_ros.training.synthetic import random_people
    from realtalk_ros.training.synthetic.traits import Traits

    def drawn(tone: float, unusual: float) -> list[dict[str, np.ndarray]]:
        rng = np.random.default_rng(3)
        return [random_people.random_colours(Traits(tone=tone), rng, unusual) for _ in range(200)]

    pale, dark, odd = drawn(0.0, 0), drawn(1.0, 0), drawn(0.0, 1)
    for colours in pale + dark:
        assert set(colours) == {"teeth", "gums", "tongue"}
        assert (np.diff(colours["teeth"]) < 0).all()  # enamel is yellow, more or less
        assert colours["gums"].argmax() == 0 and colours["tongue"].argmax() == 0  # flesh is red
    shade = [np.mean([c["gums"].mean() for c in people]) for people in (pale, dark)]
    assert shade[1] < 0.8 * shade[0]
    assert all({"iris", "iris_ring", "sclera"} < set(colours) for colours in odd)
    teeth = np.stack([colours["teeth"] for colours in odd])
    assert (teeth.argmax(1) == 2).mean() > 0.2 and teeth.min() < 0.1  # blue ones, black ones


def test_a_place_that_can_be_no_folder_is_told_before_the_work(tmp_path, monkeypatch, capsys):
    from realtalk_ros.training.synthetic import face_dataset

    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        face_dataset.ShardMaker(None, None, 0.0).make(tmp_path / "file" / "val", range(1), 1, 0)
    monkeypatch.setattr(face_dataset.FaceKit, "load", None)  # not called
    out = str(tmp_path / "file" / "faces")
    assert main(["data", "faces", "--out", out]) == 2 and out in capsys.readouterr().err
