# SPDX-License-Identifier: Apache-2.0
"""Training and measuring the face renderer, on tiny pictures of people made up here."""

import argparse
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from realtalk_ros import onnx_session  # noqa: E402
from realtalk_ros.avatar.avatar import AVATAR_DIR, Avatar  # noqa: E402
from realtalk_ros.errors import RealTalkError  # noqa: E402
from realtalk_ros.face_model import arkit, landmarks  # noqa: E402
from realtalk_ros.face_model.rotations import rotation_matrix  # noqa: E402
from realtalk_ros.rendering.face_renderer import FaceRenderer  # noqa: E402
from realtalk_ros.rendering.generator import depth_to_space, space_to_depth, warp  # noqa: E402
from realtalk_ros.rendering.geometry import Geometry, template_landmarks  # noqa: E402
from realtalk_ros.training.face_reader import train as shape_reader  # noqa: E402
from realtalk_ros.training.renderer import (  # noqa: E402
    dataset,
    evaluate,
    image_metrics,
    landmark_net,
    lip_detector,
    losses,
    train,
)
from realtalk_ros.training.renderer.export import export, installed  # noqa: E402
from realtalk_ros.training.renderer.model import Alignment, Dimensions, Renderer, bared  # noqa: E402

SIZE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Shards of flat faces with a dark mouth whose height is jawOpen's, in 64x64 pixels."""
    folder, rng = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    for part in ("train", "val"):
        images = np.empty((4, 13, SIZE, SIZE, 3), np.uint8)
        weights = rng.uniform(0, 1, (4, 13, 52)).astype(np.float32)
        angle = np.linspace(0, 2 * np.pi, 68)
        marks = np.stack([np.cos(angle) * 20 + 32, np.sin(angle) * 24 + 32], -1)
        marks = np.tile(marks.astype(np.float32), (4, 13, 1, 1))
        for g in range(4):
            skin = rng.integers(90, 220, 3)
            for n in range(13):
                open_ = 1 + 8 * weights[g, n, 17]
                images[g, n] = skin
                images[g, n][((x - 32) / 12) ** 2 + ((y - 44) / open_) ** 2 < 1] = 20
                lips = np.linspace(0, 2 * np.pi, 20)
                marks[g, n, 48:68] = np.stack(
                    [32 + 12 * np.cos(lips), 44 + open_ * np.sin(lips)], -1
                )
        (folder / part).mkdir()
        np.savez(folder / part / "0.npz", images=images, weights=weights, landmarks=marks)
    return folder


def arguments(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args([*map(str, words), "--device", "cpu"])


@pytest.fixture(scope="module")
def guide(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("reader")
    args = ("--data", data, "--out", out, "--minutes", 0.03, "--people", 2)
    landmark_net.run(arguments(landmark_net, *args))
    assert (out / "judge.pt").exists()
    return out / "guide.pt"


def test_training_lowers_the_losses_and_resumes(data, guide, tmp_path, capsys):
    args = arguments(
        train,
        "--data",
        data,
        "--guide",
        guide,
        "--out",
        tmp_path,
        "--groups",
        2,
        "--critic-from",
        2,
    )
    torch.manual_seed(1)
    trainer = train.Trainer(replace(Dimensions(), size=SIZE), args)
    groups, rng = dataset.Groups(data / "train"), np.random.default_rng(0)
    batch = dataset.sample([groups[0], groups[1]], rng, 2, augment=False)
    # These people's mouths are not the face model's.
    batch = replace(batch, inside=torch.zeros_like(batch.inside))
    rows = [trainer.step(batch, 2e-3) for _ in range(25)]
    for name in ("picture", "perceptual"):
        first, last = (np.mean([float(r[name]) for r in part]) for part in (rows[:3], rows[-3:]))
        assert last < 0.8 * first, name
    train.report(trainer, rows, 2, groups, tmp_path)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert {"critic", "fooled", "matching", "clip", "landmarks"} <= set(rows[-1])
    trainer.save(tmp_path / "checkpoint.pt")
    again = train.Trainer(replace(Dimensions(), size=SIZE), args)
    again.load(tmp_path / "checkpoint.pt", resume=True)
    assert again.state == trainer.state and again.state["step"] == 25


@pytest.mark.parametrize("part", list(train.ABLATIONS))
def test_a_network_without_a_part_learns_from_the_whole_ones_weights(data, tmp_path, part):
    words = ["--data", data, "--no-guide", "--out", tmp_path, "--critic-from", -1]
    depth_to_space = train.Trainer(replace(Dimensions(), size=SIZE), arguments(train, *words))
    depth_to_space.save(tmp_path / "whole.pt")
    dims = replace(Dimensions(), size=SIZE, **{train.ABLATIONS[part]: False})
    trainer = train.Trainer(dims, arguments(train, *words, "--without", part))
    trainer.load(tmp_path / "whole.pt", resume=False)
    batch = dataset.sample(
        [dataset.Groups(data / "train")[0]], np.random.default_rng(0), 2, augment=False
    )
    rows = [float(trainer.step(batch, 1e-3)["picture"]) for _ in range(5)]
    assert rows[-1] < rows[0]


def test_the_critic_cannot_outweigh_the_rest():
    base, extra = torch.full((4,), 0.1), torch.full((4,), 1000.0)
    assert torch.allclose(losses.bounded(extra, base, 0.3), 0.3 * base)
    assert torch.equal(losses.bounded(base / 100, base, 0.3), base / 100)


def test_a_mirrored_group_is_a_mirrored_face(data):
    group = dataset.Groups(data / "val")[0]
    images, weights, marks = dataset.mirror(group.images, group.weights, group.marks)
    assert torch.equal(images[:, :, 0], group.images[:, :, -1])
    blink = weights[:, 0], group.weights[:, 7]  # eyeBlinkLeft, eyeBlinkRight
    assert torch.equal(*blink)
    assert torch.allclose(marks[:, 36, 0], SIZE - group.marks[:, 45, 0])
    twice = dataset.mirror(images, weights, marks)
    for a, b in zip(twice, (group.images, group.weights, group.marks), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-4)


@pytest.mark.parametrize(
    "part, seen",
    [
        ("texture_reference", "reference"),
        ("modulation", None),
        ("learned_mask", "mask"),
        ("alignment", "points"),
        ("inside", "inside"),
    ],
)
def test_an_ablation_takes_away_what_it_says(part, seen):
    torch.manual_seed(0)
    model = Renderer(replace(Dimensions(), size=SIZE, **{part: False})).eval()
    one, other = torch.rand(2, 1, 3, SIZE, SIZE)
    seen_from, elsewhere = torch.rand(2, 1, 6, SIZE, SIZE)
    weights, places = torch.rand(1, 52), torch.rand(2, 1, 68, 2)
    inside = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        if part != "alignment":  # which training begins at 0
            model.generator.by_tones.weight.uniform_(-1, 1)
        out, _, mask = model(seen_from, other, *places, weights, inside)
        if seen == "reference":
            assert torch.equal(out, model(elsewhere, other, *places, weights, inside)[0])
        elif seen == "mask":
            same = model(elsewhere, one, *places, weights * 0, inside)[2]
            assert torch.equal(mask, same) and mask[..., 0].max() == 0
        elif seen == "points":
            assert torch.equal(out, model(seen_from, other, *places.flip(0), weights, inside)[0])
        elif seen == "inside":
            seen_from[:, 3:] = 0  # neither of the reference
            assert torch.equal(out, model(seen_from, other, *places, weights, 1 - inside)[0])
        else:  # the weights still enter, but once
            assert not torch.equal(out, model(seen_from, other, *places, weights * 0, inside)[0])
            assert not model.generator.blocks[3][0].modulated


def test_the_colours_of_teeth_and_flesh_are_read_off_a_reference():
    enamel, flesh = torch.tensor([0.5, 0.8, 0.9]), torch.tensor([0.3, 0.2, 0.6])
    inside = torch.zeros(2, 3, SIZE, SIZE)
    inside[0, 0, 20:50, 20:50] = 1  # the second's lips are shut
    inside[0, 1, 20:35] = 0.9
    inside[0, 2, 35:50] = 0.4
    colours = inside[:, 1:2] * enamel[:, None, None] + 2 * inside[:, 2:] * flesh[:, None, None]
    found = bared(torch.where(inside[:, :1] > 0, colours, 0.7), inside)
    assert torch.allclose(found[0, :6], torch.cat([enamel, flesh]), atol=0.1)
    assert (found[0, 6:] > 0.9).all() and (found[1] == 0).all()


def test_the_template_is_laid_where_its_landmarks_go():
    """All landmarks a tenth to the right, and so is the picture between them; its border stays."""
    align = Alignment(replace(Dimensions(), size=SIZE))
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[..., 26:38, 26:38] = 1
    angle = torch.linspace(0, 2 * torch.pi, 68)
    rest = 0.5 + 0.2 * torch.stack([angle.cos(), angle.sin()], -1)[None]
    points = rest + torch.tensor([0.1, 0.0])
    with torch.no_grad():
        same, told = align(picture, rest, rest)
        moved, _ = align(picture, rest, points)
    assert torch.allclose(same, picture, atol=1e-5) and told[:, :2].abs().max() < 1e-6
    shifted = picture.roll(round(0.1 * SIZE), -1)
    assert (moved - shifted).abs().mean() < 0.2 * (picture - shifted).abs().mean()
    assert torch.equal(moved[..., :3], picture[..., :3])


def test_a_lid_that_comes_down_draws_its_skin_over_the_eye():
    """Before any training: where the open eye was dark, the aligned template is light."""
    rest = template_landmarks(Avatar.load("default"))[0]
    eye = np.zeros((256, 256), np.float32)
    cv2.fillPoly(eye, [np.rint(rest[36:42] * 256).astype(np.int32)], 1)
    points = rest.copy()
    points[[37, 38]] = rest[[41, 40]]
    with torch.no_grad():
        closed, _ = Alignment(Dimensions())(
            torch.from_numpy(1 - eye)[None, None].expand(1, 3, -1, -1),
            *(torch.from_numpy(p.astype(np.float32))[None] for p in (rest, points)),
        )
    assert (1 - closed[0, 0].numpy())[eye > 0].mean() < 0.5  # by Gaussians in the middle 0.67


def seen_by(distance: float, turn: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """(..., 68, 2) in shares of the picture, by a pinhole at `distance` cm from the head."""
    turned = shapes @ turn.T
    near = 0.05 * distance / (distance - turned[..., 2:])
    return (turned[..., :2] * near * (1, -1) + (0.5, 0.6)).astype(np.float32)


def group_of(weights: np.ndarray, seen: np.ndarray, identity: np.ndarray, film: bool = False):
    images = torch.zeros(len(weights), SIZE, SIZE, 3, dtype=torch.uint8)
    arrays = (torch.from_numpy(np.float32(a)) for a in (weights, seen * SIZE))
    return dataset.Group(images, *arrays, None, torch.from_numpy(np.float32(identity)), None, film)


def test_landmarks_move_as_the_3d_face_does():
    """A turned, shifted head near the camera: it tells where an expression takes its landmarks."""
    rng = np.random.default_rng(3)
    identity, weights = rng.normal(0, 1, 100).astype(np.float32), np.zeros((2, 52), np.float32)
    weights[1, arkit.INDEX["jawOpen"]] = 0.6
    shapes = landmarks.load().points(weights, identity)
    seen = seen_by(60, rotation_matrix(-0.2, 0.5, -0.1), shapes)
    told = dataset.tell(group_of(weights, seen, identity), 0, [1])
    assert np.abs(told.rest[0] - seen[0]).max() < 1e-6
    assert np.abs(told.points[0] - seen[1]).max() * 256 < 0.5
    # An avatar of that template finds the same.
    avatar = replace(
        Avatar.load("default"),
        identity=identity,
        crop=(10, 20, SIZE),
        landmarks=seen[:1] * SIZE + (10, 20),
    )
    geometry = Geometry(avatar.identity, template_landmarks(avatar))
    found = geometry.target_landmarks(weights[1], 0)
    assert np.abs(found - told.points[0]).max() < 1e-5


def test_eyes_in_a_mirror_are_laid_as_the_mirror_shows_them():
    rng = np.random.default_rng(3)
    weights = np.zeros((2, 52), np.float32)
    weights[1, [arkit.INDEX["eyeBlinkLeft"], arkit.INDEX["eyeLookInRight"]]] = 0.7
    shapes = landmarks.load().points(weights, np.zeros(100, np.float32))
    told = dataset.tell(group_of(weights, seen_by(70, np.eye(3), shapes), np.zeros(100)), 0, [1])
    template = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    eyes = torch.from_numpy(told.eyes)
    here, turned = eyes[0].numpy(), dataset.mirror_places(eyes)[0].numpy()
    assert np.allclose(here[..., 2], turned[:, ::-1, 2]) and here[..., 2].max() == 1
    laid, mirrored = warp(template, here[..., :2]), warp(template[:, ::-1].copy(), turned[..., :2])
    at_eyes = here[..., 2] > 0
    off = np.abs(laid.astype(int) - mirrored[:, ::-1])[at_eyes]
    assert at_eyes.sum() > 50 and off.max() <= 8  # OpenCV lays to a 32nd of a pixel


def test_what_is_told_in_training_is_off_as_a_fit_is():
    rng = np.random.default_rng(3)
    weights = np.zeros((2, 52), np.float32)
    weights[1, arkit.INDEX["jawOpen"]] = 0.6
    shapes = landmarks.load().points(weights, np.zeros(100, np.float32))
    group = group_of(weights, seen_by(70, np.eye(3), shapes), np.zeros(100))
    right = dataset.tell(group, 0, [1])
    for drawn in range(5):
        wrong = dataset.tell(group, 0, [1], rng)
        off = np.abs(wrong.rest - right.rest)
        assert 1e-4 < off.mean() < 0.01, drawn
        assert 1e-4 < np.abs(wrong.points - right.points).mean() < 0.02
        assert (wrong.inside != right.inside).any()


def test_in_a_film_landmarks_move_as_the_head_turns_too():
    """Detected landmarks, which are off by themselves, of two frames of nearly one pose."""
    rng = np.random.default_rng(3)
    weights = np.zeros((2, 52), np.float32)
    weights[1, arkit.INDEX["jawOpen"]] = 0.6
    shapes = landmarks.load().points(weights, np.zeros(100, np.float32))
    turns = [rotation_matrix(yaw=yaw) for yaw in (0.0, 0.05)]
    true = np.stack([seen_by(70, t, s) for s, t in zip(shapes, turns, strict=True)])
    seen = true + rng.normal(0, 0.002, true.shape)

    def wrong(film: bool) -> float:
        told = dataset.tell(group_of(weights, seen, np.zeros(100), film), 0, [1])
        moves = (told.points - told.rest)[0] - (true[1] - true[0])
        return np.linalg.norm(moves, axis=1).mean()

    assert wrong(film=True) < 0.0015  # in shares of the picture
    assert wrong(film=False) > 0.005


def test_the_exported_network_renders_what_torch_does(tmp_path):
    torch.manual_seed(0)
    model = Renderer(replace(Dimensions(), size=SIZE)).eval()
    export(model, tmp_path)
    reference, template = (
        np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, channels), np.uint8)
        for seed, channels in ((0, 6), (5, 3))
    )
    weights = np.random.default_rng(1).uniform(0, 1, (3, 52)).astype(np.float32)
    encoder = ort.InferenceSession(tmp_path / "renderer_encode.onnx")
    names = [output.name for output in encoder.get_outputs()]
    bank = encoder.run(None, {"reference": reference, "template": template})
    rows = {"template": np.zeros(3, np.int64), "person": np.zeros(3, np.int64)}
    rest = np.random.default_rng(2).uniform(0, 1, (1, 68, 2)).astype(np.float32)
    points = (rest + np.random.default_rng(3).normal(0, 0.05, (3, 68, 2))).astype(np.float32)
    aligner = ort.InferenceSession(tmp_path / "renderer_align.onnx")
    places, told = aligner.run(None, {"rest": np.repeat(rest, 3, 0), "points": points})
    inside = np.random.default_rng(4).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    planes = np.empty((2, 3, 12, SIZE // 2, SIZE // 2), np.uint8)
    for k, at in enumerate(places):
        space_to_depth(warp(template, at), planes[0, k])
        space_to_depth(inside[k], planes[1, k])
    given = {"weights": weights, "aligned": planes[0], "inside": planes[1], "told": told, **rows}
    made, mask = ort.InferenceSession(tmp_path / "renderer_generate.onnx").run(
        None, {**given, **dict(zip(names, bank, strict=True))}
    )
    got = np.stack([depth_to_space(p, np.empty_like(template)) for p in made])
    both = [dataset.pictures(torch.from_numpy(p)[None]) for p in (reference, template)]
    with torch.no_grad():
        _, rgb, wanted = model(
            *(p.expand(3, -1, -1, -1) for p in both),
            torch.from_numpy(rest).expand(3, -1, -1),
            torch.from_numpy(points),
            torch.from_numpy(weights),
            dataset.pictures(torch.from_numpy(inside)),
        )
    # Rounding is half a level; of noise, what OpenCV lays to a 32nd of a pixel is some of it more.
    assert np.abs(got - rgb.permute(0, 2, 3, 1).numpy() * 255).max() <= 1.5
    assert np.allclose(mask, wanted[:, 0].numpy(), atol=1e-4)


def test_evaluation_measures_a_checkpoint(data, guide, tmp_path, capsys):
    pytest.importorskip("skimage", reason="evaluation needs scikit-image")

    args = arguments(train, "--data", data, "--no-guide", "--out", tmp_path)
    trainer = train.Trainer(replace(Dimensions(), size=SIZE), args)
    trainer.save(tmp_path / "checkpoint.pt")
    words = [
        "--data",
        data,
        "--judge",
        guide.with_name("judge.pt"),
        "--people",
        "2",
        "--json",
        "--checkpoint",
        tmp_path / "checkpoint.pt",
        "--sheet",
        tmp_path / "sheet.png",
    ]
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    evaluate.run(parser.parse_args(list(map(str, words))))
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["pictures"] == 8 and figures["still"] == 0
    assert all(np.isfinite(value) for value in figures.values())
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_lips_are_compared_as_an_independent_detector_finds_them(monkeypatch):
    """The detector is made up here: it sees everything lower by as many pixels as a picture is
    bright, and no face in the dark."""

    class Detector:
        def find(self, picture):
            points = np.zeros((478, 2), np.float32)
            points[14, 1] = 10
            points[:, 1] += picture.mean()
            return [SimpleNamespace(points=points)] if picture.any() else []

    monkeypatch.setattr(lip_detector, "Tracker", Detector)
    pictures = [np.full((8, 8, 3), level, np.uint8) for level in (5, 2, 9)]
    found = lip_detector.LipFinder().compare(*pictures)
    assert found["found_lips_px"] == 3 and found["found_lips_px_of_template"] == 7
    assert found["found_opening"] == found["found_opening_of_truth"] == 10
    none = lip_detector.LipFinder().compare(0 * pictures[0], *pictures[1:])
    assert np.isnan(none["found_lips_px"]) and none["found_lips_px_of_template"] == 7


def test_what_is_missing_is_said(data, tmp_path):
    with pytest.raises(RealTalkError, match="train reader"):
        train.run(arguments(train, "--data", data, "--out", tmp_path, "--guide", tmp_path / "no"))
    with pytest.raises(RealTalkError, match="data faces"):
        train.run(arguments(train, "--data", tmp_path, "--out", tmp_path))
    with pytest.raises(RealTalkError, match="data videos"):
        train.run(arguments(train, "--data", tmp_path, "--avatar", "default"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "0.npz").write_bytes(b"nothing")
    with pytest.raises(RealTalkError, match="no shard"):
        dataset.Groups(tmp_path / "bad")


def test_one_face_starts_from_what_is_installed(data, tmp_path, monkeypatch):
    torch.manual_seed(1)
    model = Renderer(replace(Dimensions(), size=SIZE))
    with torch.no_grad():  # trained: no two parts of it are the same
        for value in model.parameters():
            value += 0.01 * torch.randn_like(value)
    export(model, tmp_path)
    found = installed(tmp_path)
    assert set(found) == set(model.state_dict())
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    monkeypatch.setattr(onnx_session, "MODEL_DIR", tmp_path)
    train.check_fit(model)

    # It learns what the mouth looks like; elsewhere it is held to the installed network.
    trainer = train.Trainer(model.dims, arguments(train, "--avatar", "me", "--no-guide"))
    trainer.load_installed()
    trainer.keep()
    groups = dataset.Groups(data / "val")
    batch = dataset.sample([groups[0]], np.random.default_rng(0), 2, augment=False)
    errors = []
    for rows in (slice(0, 0), slice(0, 20), slice(40, 50)):
        target = batch.target.clone()
        target[:, :, rows] = 1 - target[:, :, rows]
        errors.append(float(trainer.step(replace(batch, target=target), 0.0)["picture"]))
    assert errors[0] == errors[1] != errors[2]

    with torch.no_grad():
        model.encoder.position += 1
    with pytest.raises(RealTalkError, match="encoder is not the one"):
        train.check_fit(model)


def test_a_film_teaches_detail_at_the_lips_and_light_around_them(data):
    group = dataset.Groups(data / "val")[0]
    batch = dataset.sample([group], np.random.default_rng(0), 2, augment=False)
    known = torch.full_like(batch.target, 0.5)
    away = losses.from_lips(batch)
    share, detailed = (losses.fading(away, *reach) for reach in (losses.AROUND, losses.DETAILED))
    lips, skin, far = detailed == 1, (detailed == 0) & (share > 0), share == 0
    assert lips.any() and skin.any() and far.any()
    y, x = np.indices(batch.target.shape[-2:])
    grain = torch.from_numpy(np.float32(1 - 2 * ((x + y) % 2)))
    for news, at_skin in ((grain, 0.0), (torch.ones_like(grain), 0.1)):
        shown = replace(batch, target=known + 0.1 * news)
        learned = (losses.of_film(known, shown) - known).abs().mean(1, keepdim=True)
        assert learned[lips].allclose(torch.tensor(0.1), atol=1e-3)
        assert learned[skin].allclose(at_skin * share[skin], atol=1e-3)
        assert not learned[far].any()


def test_detail_that_is_missing_is_worse_than_detail_that_lies_beside():
    target = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    weight, beside = torch.ones(1, 1, 64, 64), target.roll(1, -1)
    missing = losses.blurred(target, 1.0)
    assert float(losses.texture_loss(target, target, weight)) == 0
    worse, better = (losses.texture_loss(x, target, weight) for x in (missing, beside))
    assert worse > 5 * better
    assert (missing - target).abs().mean() < (beside - target).abs().mean()  # L1 likes it better


def test_distances_are_none_for_the_same_and_local():
    rng = np.random.default_rng(0)
    a = cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3), np.uint8), (0, 0), 2)
    b = a.copy()
    b[150:200, 100:160] = cv2.GaussianBlur(a, (0, 0), 3)[150:200, 100:160]
    changed, away = (slice(150, 200), slice(100, 160)), (slice(0, 64), slice(0, 64))
    for distance in (image_metrics.nlpd, image_metrics.gmsd):
        assert distance(a, a, changed) == [0.0]
        there, elsewhere = distance(a, b, changed, away)
        assert there > 10 * elsewhere
        worse = a.copy()
        worse[150:200, 100:160] = cv2.GaussianBlur(a, (0, 0), 8)[150:200, 100:160]
        assert distance(a, worse, changed)[0] > there


def test_one_face_gets_a_generator_that_is_measured_against_the_installed_one(
    tmp_path, capsys, monkeypatch
):
    pytest.importorskip("skimage", reason="evaluation needs scikit-image")
    folder = tmp_path / "me"
    shutil.copytree(AVATAR_DIR / "default", folder)
    words = ["--avatar", folder, "--data", tmp_path, "--json", "--judge"]
    rng = np.random.default_rng(0)
    marks = np.tile(template_landmarks(Avatar.load("default"))[0] * 256, (1, 13, 1, 1))
    (tmp_path / "val").mkdir()
    np.savez(
        tmp_path / "val" / "0.npz",
        images=rng.integers(0, 256, (1, 13, 256, 256, 3), np.uint8),
        weights=rng.uniform(0, 1, (1, 13, 52)).astype(np.float32),
        landmarks=marks,
    )
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    args = parser.parse_args(list(map(str, words[:-1])))
    with pytest.raises(RealTalkError, match="no generator of its own"):
        evaluate.run(args)
    shutil.copy(onnx_session.MODEL_DIR / "renderer_generate.onnx", folder)
    evaluate.run(args)
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["nlpd_before"] == figures["nlpd_after"] > 0
    assert figures["nlpd_less"] == 0 and "lips_px_before" not in figures

    # A trained one is another one, and fits the installed encoder.
    shutil.copytree(tmp_path / "val", tmp_path / "train")
    monkeypatch.setattr(train, "evaluate", lambda *_: {"psnr": 0.0})
    words = ["--data", tmp_path, "--avatar", folder, "--out", tmp_path / "out"]
    train.run(arguments(train, *words, "--minutes", 0.05, "--lr", 1e-3, "--groups", 1))
    assert FaceRenderer(Avatar.load(folder), 256).render(np.zeros(52, np.float32), 0).any()
    evaluate.run(args)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["nlpd_less"] != 0


def test_landmarks_stay_on_their_pixels_where_a_picture_is_laid_out():
    rng = np.random.default_rng(2)
    face = landmarks.load().points(np.zeros(52, np.float32))[:, :2] * (1, -1)
    turn = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    marks = (face - face.mean(0)) @ turn.T * 11 + (120, 140)
    shown = [8, 36, 45, 48, 54]  # far apart from each other
    picture = np.zeros((256, 256), np.uint8)
    for x, y in marks[shown]:
        cv2.circle(
            picture, (round(16 * (x - 0.5)), round(16 * (y - 0.5))), 48, 255, -1, cv2.LINE_AA, 4
        )
    seen = torch.from_numpy(picture).float().expand(1, 3, -1, -1)
    places = torch.from_numpy(np.float32(marks))[None]
    for beside in (rng, None):
        laid, found = shape_reader.laid_out(seen, places, beside)
        for x, y in found[0, shown].numpy() * 128 - 0.5:
            part = laid[0, 0, int(y) - 4 : int(y) + 6, int(x) - 4 : int(x) + 6].numpy()
            rows, columns = np.mgrid[int(y) - 4 : int(y) + 6, int(x) - 4 : int(x) + 6]
            middle = (columns * part).sum() / part.sum(), (rows * part).sum() / part.sum()
            assert np.hypot(middle[0] - x, middle[1] - y) < 0.15
    right, left = found[0, 36:48].reshape(2, 6, 2).mean(1)
    assert abs(right[1] - left[1]) < 0.005  # the eyes are level


def test_who_is_in_a_mirror():
    model, identity = landmarks.load(), np.random.default_rng(3).normal(0, 1, 100)
    turned = identity @ shape_reader.mirrored_identities().numpy()
    face, mirrored = (model.points(np.zeros(52), who) for who in (identity, turned))
    wanted = face[dataset.MIRRORED_MARKS] * (-1, 1, 1)
    np.testing.assert_allclose(mirrored, wanted, atol=0.02)  # cm
    assert np.abs(face - wanted).max() > 0.1


def test_the_shape_reader_learns_and_is_exported(data, tmp_path):
    where = "--data", data, "--out", tmp_path / "shape.pt", "--export", tmp_path
    shape_reader.run(arguments(shape_reader, *where, "--minutes", 0.1, "--people", 2))
    saved = torch.load(tmp_path / "shape.pt", weights_only=True)
    groups, new = dataset.Groups(data / "val"), shape_reader.ShapeNet()
    assert saved["figures"]["all"] < 0.7 * shape_reader.measure(new, groups)["all"]
    new.load_state_dict(saved["net"])
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    assert shape_reader.FILE in onnx_session.read_checksums(tmp_path)
    session = onnx_session.session(tmp_path / shape_reader.FILE)
    found, told = session.run(None, {"picture": picture})
    small = cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        seen = dataset.pictures(torch.from_numpy(small)[None])
        wanted, identity = (x[0].numpy() for x in new(seen))
    np.testing.assert_allclose(found, wanted * 256, atol=1.0)  # small is rounded
    np.testing.assert_allclose(told, identity, atol=0.05)
