# SPDX-License-Identifier: Apache-2.0
"""The smile of somebody whose face at rest is known."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("torch", reason="training needs torch")

from realtalk_ros.cli import main
from realtalk_ros.enroll import fit, same_person
from realtalk_ros.enroll.face_detector import DetectedFace
from realtalk_ros.enroll.photo_to_avatar import ExaminedPhoto
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.training.renderer import evaluate_smiles, rest_and_smile
from realtalk_ros.training.renderer.rest_and_smile import OF_MOUTH, fit_same_person, read_pair

SMILE = arkit.weights(mouthSmile=0.8, mouthUpperUp=0.4, mouthLowerDown=0.4, jawOpen=0.15)
POSES = (
    fit.Pose(0.02, -0.03, 0.01, 300.0, 240.0, 12.0),
    fit.Pose(0.07, 0.04, -0.06, 330.0, 250.0, 16.0),
)


def photo(pose, weights, identity, own):
    """As it is tracked: all landmarks `own` (P, 2) cm off the face model's."""
    model = fit.mesh_model()
    points = np.zeros((478, 2))
    points[model.index] = pose.project(model.shape(identity, weights)) + own * pose.scale
    who = fit.fit(model, model.choose(points)[None])
    face = DetectedFace(points.astype(np.float32))
    return ExaminedPhoto(np.zeros((8, 8, 3), np.uint8), face, who, None, [])


def test_the_smile_of_a_known_face_is_fitted_nearer_than_that_of_an_unknown_one():
    model, rng = fit.mesh_model(), np.random.default_rng(5)
    apart, together = [], []
    for _ in range(4):
        identity, own = rng.normal(0, 0.8, 100), rng.normal(0, 0.12, (len(model.mean), 2))
        first, second = (
            photo(pose, w, identity, own) for pose, w in zip(POSES, (0 * SMILE, SMILE), strict=True)
        )
        moved = np.tensordot(SMILE * OF_MOUTH, model.expressions, 1)
        rest = first.who.weights[0]
        for errors, who in (
            (apart, second.who),
            (together, fit_same_person(first, second)),
        ):
            found = np.tensordot((who.weights[0] - rest) * OF_MOUTH, model.expressions, 1)
            errors.append(np.linalg.norm((found - moved)[fit.table.LIPS], axis=1).mean())
        assert np.array_equal(who.identity, first.who.identity)
    assert np.mean(together) < 0.6 * np.mean(apart)


def test_two_people_are_no_pair(tmp_path, monkeypatch):
    photos = [photo(pose, 0 * SMILE, np.zeros(100), np.zeros(2)) for pose in POSES]
    embeddings = iter(np.eye(2))  # 1.4 apart
    network = SimpleNamespace(embed=lambda image, points: next(embeddings))
    monkeypatch.setattr(same_person.FaceEmbedding, "if_installed", lambda: (network, ""))
    for name, value in (
        ("FaceDetector", lambda *_, **__: nullcontext()), ("read_picture", lambda path: None),
        ("examine", lambda *_: photos.pop(0)), ("from_examined", lambda *_: None),
    ):  # fmt: skip
        monkeypatch.setattr(rest_and_smile, name, value)
    with pytest.raises(RealTalkError, match=r"b\.png seems to show somebody else than a\.png"):
        read_pair(tmp_path / "a.png", tmp_path / "b.png", None)


@pytest.mark.parametrize("command", [("smiles", ".", "."), ("renderer",)])
@pytest.mark.parametrize("sheet, word", [("a.gif", ".png"), ("nowhere/a.png", "make the folder")])
def test_a_sheet_that_cannot_be_is_refused_before_the_work(capsys, command, sheet, word):
    assert main(["evaluate", *command, "--sheet", sheet]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and word in complaint


def test_smiles_without_dlib_are_measured_with_a_warning(tmp_path, monkeypatch, capsys):
    pictures = [np.zeros((256, 256, 3), np.uint8)] * 2
    for name, value in (
        ("Lpips", None), ("photographs", []), ("pairs_by_name", {"ann": ("a.png", "b.png")}),
        ("enrolled", None), ("read_pair", None), ("draw_smile", None),
        ("face_crops", [*pictures, None]), ("lip_box", (slice(9, 99), slice(9, 99))),
        ("compare", evaluate_smiles.Smile(0.1, None, None)), ("perceived", 0.1),
        ("cheek_box", (slice(9, 99), slice(9, 99))),
        ("FaceDetector", SimpleNamespace(close=lambda: None)),
    ):  # fmt: skip
        monkeypatch.setattr(evaluate_smiles, name, lambda *_, value=value: value)
    lacking = None, "needs dlib: pip install it"
    monkeypatch.setattr(evaluate_smiles.FaceEmbedding, "if_installed", lambda: lacking)
    assert main(["evaluate", "smiles", str(tmp_path), str(tmp_path)]) == 0
    said, complaint = capsys.readouterr()
    assert "mouth_lpips" in said
    assert "realtalk evaluate smiles: warning: needs dlib: pip install it\n" in complaint
