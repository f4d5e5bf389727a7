# SPDX-License-Identifier: Apache-2.0
"""Training the face renderer on people: pairs of photographs, and what is learned from them."""

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from realtalk_ros.contracts import mouth_crop  # noqa: E402
from realtalk_ros.errors import RealTalkError  # noqa: E402
from realtalk_ros.face_model import arkit  # noqa: E402
from realtalk_ros.rendering import avatar_encoding  # noqa: E402
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks  # noqa: E402
from realtalk_ros.rendering.geometry import Geometry  # noqa: E402
from realtalk_ros.rendering.mouth import mouth_tables  # noqa: E402
from realtalk_ros.rendering.mouth.oral_cavity import OralCavity  # noqa: E402
from realtalk_ros.rendering.mouth.tooth_relief import tooth_relief  # noqa: E402
from realtalk_ros.rendering.own_teeth import above_edge  # noqa: E402
from realtalk_ros.training.renderer import (  # noqa: E402
    face_prior,
    photo_pairs,
    real_people,
    rest_and_smile,
    run_time_light,
    samples,
    train,
)
from realtalk_ros.training.renderer.batches import BatchLoader  # noqa: E402
from realtalk_ros.training.renderer.checkpoint import load_renderer  # noqa: E402
from realtalk_ros.training.renderer.config import TrainingConfig  # noqa: E402
from realtalk_ros.training.renderer.dataset import FaceDataset, to_float  # noqa: E402
from realtalk_ros.training.renderer.model import Dimensions, crop_mouth  # noqa: E402
from realtalk_ros.training.renderer.real_people import box_blur  # noqa: E402
from realtalk_ros.training.renderer.rest_and_smile import Photograph, lay_over  # noqa: E402
from realtalk_ros.training.renderer.trainer import Trainer, encode  # noqa: E402

SIZE = 256
IDENTITY = np.zeros(100, np.float32)
SMILE = arkit.weights(mouthSmile=0.6, mouthUpperUp=0.5, mouthLowerDown=0.4, jawOpen=0.1)
LOWER_LIP = 57  # landmark
# Between the pair's photographs: the smile is this much larger, and this far to the side.
SCALE, SHIFT = 1.3, np.array([21.0, -9.0])


def photographs(lower=0.0):
    """A face at rest and a smiling one, grey, with a white dot on the smile's lower lip, which is
    `lower` pixels below where the weights say."""
    at_rest = frontal_landmarks(IDENTITY)[None].astype(np.float32)
    moved = Geometry(IDENTITY, at_rest).target_landmarks(SMILE, 0) * SIZE
    head = at_rest[0] * SIZE
    moved[48:] += (0, lower)
    points = SCALE * moved + SHIFT
    neutral = np.full((300, 300, 3), 90, np.uint8)
    smiling = np.full((400, 400, 3), 120, np.uint8)
    dot = np.rint(points[LOWER_LIP] - 0.5).astype(int)
    cv2.circle(smiling, dot.tolist(), 3, (255, 255, 255), -1)
    whole = np.array([SIZE / 2, SIZE / 2, SIZE])
    return (
        Photograph(neutral, head, np.zeros(52, np.float32), whole, head),
        Photograph(smiling, points, SMILE, SCALE * whole + [*SHIFT, 0], SCALE * head + SHIFT),
    )


def brightest(image):
    """(2,): x and y of the middle of what is bright."""
    y, x = np.nonzero(image[..., 0] > 200)
    return np.array([x.mean(), y.mean()]) + 0.5


@pytest.mark.parametrize("lower", [0.0, 4.0])
def test_a_smile_is_laid_over_the_neutral_face_where_its_weights_move_the_lips(lower):
    pair = lay_over(*photographs(lower), IDENTITY)
    assert abs(pair.misfit - lower) < 0.7
    found, placed = (points[rest_and_smile.SMILE] for points in (pair.found, pair.landmarks))
    away = np.linalg.norm((found - placed)[48:], axis=1)
    assert np.median(away) < 0.2 * lower + 0.01
    assert pair.weights.min() >= 0
    crop = np.array([[1.05, 0, -4.0], [0, 1.05, -7.0]])
    warp = load_renderer().generator.warp
    drawn = photo_pairs.draw(pair, rest_and_smile.SMILE, crop, warp)
    wanted = 1.05 * pair.landmarks[rest_and_smile.SMILE, LOWER_LIP] + (-4, -7)
    assert np.abs(brightest(drawn) - wanted).max() < 1.2
    assert (photo_pairs.draw(pair, rest_and_smile.NEUTRAL, crop, warp) == 90).all()


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Shards of nine people."""
    folder = tmp_path_factory.mktemp("pairs")
    pair = lay_over(*photographs(), IDENTITY)
    nine = {str(number): [pair] for number in range(9)}
    assert photo_pairs.write_pairs(nine, folder, 1) == {"train": 8, "val": 1}
    return folder


def test_all_pairs_of_a_person_are_on_one_side(tmp_path):
    pair = lay_over(*photographs(), IDENTITY)
    found = {str(number): [pair] * 2 for number in range(8)}
    for old in ("train/pairs_007.npz", "val/pairs_001.npz", "train/video_000.npz"):
        (tmp_path / old).parent.mkdir(exist_ok=True)
        (tmp_path / old).touch()
    assert photo_pairs.write_pairs(found, tmp_path, 1) == {"train": 7, "val": 1}
    shards = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npz")}
    assert shards == {"train/pairs_000.npz", "val/pairs_000.npz", "train/video_000.npz"}
    (tmp_path / "train/video_000.npz").unlink()
    parts = [len(FaceDataset(tmp_path / part, real=True)) for part in ("train", "val")]
    assert parts == [14, 2]


def test_a_face_at_rest_goes_with_every_smile_of_the_person():
    neutral = [Path("ann_rest.png"), Path("bob_rest.png"), Path("cy_rest.png")]
    smiling = [Path("ann_grin.png"), Path("ann_oh.png"), Path("bob_08.png"), Path("dee_08.png")]
    assert rest_and_smile.pairs_by_name(neutral, smiling) == {
        "ann_grin": (neutral[0], smiling[0]),
        "ann_oh": (neutral[0], smiling[1]),
        "bob": (neutral[1], smiling[2]),
    }


def test_a_shard_whose_header_python_miscounts_is_read_again(people, monkeypatch):
    """Python 3.11, where threads parse at once."""
    load, fails = np.load, [SystemError("AST constructor recursion depth mismatch")]

    def once_wrong(*args, **options):
        if fails:
            raise fails.pop()
        return load(*args, **options)

    monkeypatch.setattr(np, "load", once_wrong)
    assert len(FaceDataset(people / "train")) == len(FaceDataset(people / "train"))
    assert not fails


def test_shards_of_pairs_are_read_as_groups_of_people(people):
    group = FaceDataset(people / "train", real=True)[0]
    assert group.real and not group.from_video and len(FaceDataset(people / "val")) == 1
    smiles = torch.from_numpy(SMILE).expand(3, -1)
    assert torch.allclose(group.weights[[2, 4, 6]], smiles, atol=1e-4)
    assert not group.weights[[0, 1, 3, 5, 7]].any()
    (prior,) = (face_prior.predict_face(group, 3, [4]),)
    off = prior.target_landmarks[0] * SIZE - group.landmarks[4].numpy()
    assert np.abs(off).max() < 0.05


def test_people_see_the_map_that_is_shown(people):
    group = FaceDataset(people / "train", real=True)[0]
    shaded, even = (face_prior.map_mouth(replace(group, real=real), 2) for real in (True, False))
    assert shaded[..., 1].sum() < 0.9 * even[..., 1].sum()
    assert (shaded[..., 0] == even[..., 0]).all()


SPEAKS = arkit.weights(jawOpen=0.1, mouthUpperUp=0.4, mouthLowerDown=0.3)


@pytest.mark.parametrize("speaks", [False, True])
def test_what_is_drawn_of_people_is_lit_as_at_run_time(people, speaks):
    """Targets stay as they are in the photograph. Lips in speech leave less light than a smile."""
    group = FaceDataset(people / "train", real=True)[0]
    if speaks:
        moved = group.weights.any(1, keepdim=True)
        group = replace(group, weights=torch.where(moved, torch.from_numpy(SPEAKS), group.weights))
    rng = np.random.default_rng(2)
    sample = samples.draw_sample(group, rng, 4, False)
    assert all((target == group.images).flatten(1).all(1).any() for target in sample.targets)
    batch = samples.collate([sample, replace(sample, real=False, light=None)])
    assert (batch.light[4:, :3] == 1).all() and not batch.light[4:, 3].any()
    open_mouths = [k for k in range(4) if sample.weights[k].any()]
    assert open_mouths
    enamel = np.array([0.72, 0.75, 0.82], np.float32)
    geometry = face_prior.geometry_of(group, sample.template_landmarks.numpy(), np.zeros((1, 52)))
    across, relief = geometry.mouth.across_teeth(0), tooth_relief(*geometry.mouth.upper_teeth(0))
    # As MouthTables.of_person has them.
    flesh = enamel * mouth_tables.FLESH_OVER_ENAMEL
    tables = mouth_tables.MouthTables(
        flesh=mouth_tables.flesh_light(np.ones(3)),
        enamel=mouth_tables.enamel_light(across[None]),
        roots=mouth_tables.between_roots(across[None]),
        hues=(
            mouth_tables.GreenestHue.of(enamel),
            mouth_tables.towards(flesh, mouth_tables.FLESH_HUE),
        ),
    )
    in_shadow = False
    for k in open_mouths:
        interior = sample.mouth_interior[k].numpy()[mouth_crop()]
        drawn = np.full(interior.shape, 190, np.uint8)  # light skin
        drawn[interior[..., 0] > 0] = (90, 90, 120)
        drawn[interior[..., 1] > 0] = (130, 150, 140)  # too green
        image = np.full((SIZE, SIZE, 3), 190, np.uint8)
        image[mouth_crop()] = drawn
        shown = run_time_light.lit(
            to_float(torch.from_numpy(image)[None]),
            batch.light[[k]],
            batch.mouth_interior[[k]],
            torch.from_numpy(enamel)[None],
        )
        above = above_edge(geometry, 0)[mouth_crop()]
        cavity = OralCavity(tables, relief[None], above_edge=above[None])
        before = drawn.copy()
        opening = geometry.mouth_opening(sample.target_landmarks[k].numpy(), 0)
        in_shadow |= bool(opening.light_on_teeth()[1] < 0.9)
        lower = geometry.lower_teeth(sample.weights[k].numpy(), 0)
        cavity.apply(cavity.light_in(interior, 0, opening, lower), drawn)
        there = shown[0].movedim(0, -1).numpy()[mouth_crop()] * 255
        off = np.abs(there.clip(0, 255) - drawn).max(-1)
        # The run time's Gaussian knows no pixel beyond the opening's box.
        rows, columns = (np.flatnonzero(interior[..., 0].any(axis)) for axis in (1, 0))
        inner = np.zeros(off.shape, bool)
        inner[rows[1] : rows[-1], columns[1] : columns[-1]] = True
        changed = inner & (np.abs(before.astype(float) - drawn).max(-1) > 12)
        assert changed.sum() > 100
        assert off[inner].max() < 3 and off[changed].mean() < 1.5
        assert off[interior[..., 0] == 0].max() < 1
    assert in_shadow == speaks


def test_nothing_is_learned_of_teeth_where_the_map_has_flesh():
    enamel, tooth, tongue = torch.tensor([[0.72, 0.75, 0.8], [0.6, 0.65, 0.7], [0.3, 0.3, 0.5]])
    shade = tooth * 0.4  # behind: as dark as anything
    target = torch.stack([tooth, tongue, shade, tooth, tooth]).T[None, :, None]
    # Flesh, flesh, flesh, enamel, skin.
    interior = torch.tensor([[1, 0, 0.8]] * 3 + [[1, 0.6, 0], [0, 0, 0]]).T[None, :, None]
    drawn = torch.full_like(target, 0.1)
    learned = real_people.without_misplaced(target, drawn, interior, enamel[None])
    assert torch.equal(learned[..., 0], drawn[..., 0])
    assert torch.equal(learned[..., 1:], target[..., 1:])


def test_people_come_in_batches_of_their_own_and_mostly_move(people):
    dataset = FaceDataset(people / "train", real=True)
    settings = config(people, groups=3, targets=2, real_share=0.5)
    loader = BatchLoader(settings, FaceDataset(people / "train"), real=dataset)
    batches = [loader.draw() for _ in range(24)]
    of_people = [batch for batch in batches if batch.real is not None]
    assert 6 <= len(of_people) <= 18
    assert all(batch.real.all() and batch.targets_each == 1 for batch in of_people)
    assert all(len(batch.weights) == 6 for batch in batches)
    moved = [float((b.weights.amax(1) > 0.01).float().mean()) for b in batches if b.real is None]
    assert 0.3 < np.mean(moved) < 0.7
    moved = [float((batch.weights.amax(1) > 0.01).float().mean()) for batch in of_people]
    assert np.mean(moved) > 0.7


def test_enamel_that_no_reference_shows_is_expected_as_at_run_time():
    colours, enamel = np.random.default_rng(0).uniform(0, 1, (3, 8)), np.array([[0.5, 0.6, 0.7]])
    colours[0, :3], colours[0, 6], colours[2, 6] = 0.5, 0.7, 0.97
    found = real_people.with_expected_enamel(
        torch.from_numpy(colours),
        torch.from_numpy(enamel).expand(3, -1),
        torch.tensor([True, False, True]),
    ).numpy()
    wanted, _ = avatar_encoding.with_expected_enamel(colours[:1], enamel[0])
    assert np.allclose(found[:1], wanted) and np.allclose(found[1:], colours[1:])


def test_between_the_lips_all_is_shown_and_around_them_what_is_coarse():
    torch.manual_seed(0)
    warped, interior = torch.full((1, 3, SIZE, SIZE), 0.5), torch.zeros(1, 3, SIZE, SIZE)
    interior[..., 150:170, 110:150] = 1
    grain = 0.2 * (-1.0) ** torch.arange(SIZE)
    mask = torch.ones(1, 1, SIZE, SIZE)
    shown = real_people.shown_mouth(warped + grain, mask, (warped, warped), interior) - 0.5
    inside = (box_blur(crop_mouth(interior)[:, :1], 3) > 0.99).expand_as(shown)
    wanted = crop_mouth(grain.expand(1, 3, SIZE, SIZE))
    assert torch.allclose(shown[inside], wanted[inside], atol=1e-5)
    assert shown[..., :20].abs().max() < 0.001
    light = real_people.shown_mouth(warped + 0.2, mask, (warped, warped), interior) - 0.5
    assert torch.allclose(light, torch.full_like(light, 0.2), atol=1e-5)


def test_single_pixels_are_not_shown_as_they_are_drawn():
    """A display has another grid."""
    warped, interior = torch.full((1, 3, SIZE, SIZE), 0.5), torch.ones(1, 3, SIZE, SIZE)
    mask, grain = torch.ones(1, 1, SIZE, SIZE), 0.2 * (-1.0) ** torch.arange(SIZE)
    wave = 0.2 * torch.sin(torch.arange(SIZE) / 4)
    shown = [
        real_people.shown_mouth(
            warped + detail, mask, (warped, warped), interior, torch.tensor([[0.5, 0.3]])
        )[..., 20:100, 20:100]
        for detail in (grain, wave)
    ]
    assert (shown[0] - 0.5).abs().max() < 0.01
    assert torch.allclose(shown[1][0, 0, 0], 0.5 + wave[84:164], atol=0.01)


def config(folder, **fields):
    return TrainingConfig(
        out=folder, data=folder, real=folder, generator_only=True, discriminator_from=0, **fields
    )


def test_people_teach_the_mouth_and_nothing_else(people):
    """The discriminator has its say there; away from the mouth the installed network is kept."""
    torch.manual_seed(0)
    dataset, rng = FaceDataset(people / "train", real=True), np.random.default_rng(0)
    trainer = Trainer(Dimensions(), config(people))
    trainer.start_from(train.onnx_session.MODEL_DIR)
    trainer.keep_original()
    rendered = replace(dataset[1], real=False)
    batch = samples.draw_batch([dataset[0], rendered], rng, 2, augmented=False)
    assert batch.people.tolist() == [0, 1] and batch.rendered.tolist() == [2, 3]
    seen = {}
    kept = trainer.image_losses

    def watched(out, rgb, mask, shown, video):
        seen["target"] = shown.target
        return kept(out, rgb, mask, shown, video)

    trainer.image_losses = watched
    terms = trainer.step(batch, 1e-4)
    assert {"texture", "adversarial", "discriminator"} <= set(terms)
    assert torch.equal(seen["target"][2:], batch.target[2:])
    learned = (seen["target"] - batch.target)[:2].abs().mean(1)
    lips = batch.landmarks[0, 48:60].mean(0).long()
    assert learned[:, lips[1], lips[0]].max() < 0.01
    assert learned[:, 10:60, 10:60].mean() > 0.02  # grey here, in the network's picture, too
    mean = learned[:, :40].mean()
    assert mean > 5 * learned[:, lips[1] - 3 : lips[1] + 3, lips[0] - 8 : lips[0] + 8].mean()


def test_a_step_judges_what_is_shown_and_leaves_out_misplaced_teeth(people):
    """As white as teeth everywhere, with a map of flesh behind the upper ones."""
    torch.manual_seed(0)
    group = FaceDataset(people / "train", real=True)[0]
    white = replace(group, images=torch.full_like(group.images, 200))
    gaping = torch.from_numpy(arkit.weights(jawOpen=0.8))
    weights = torch.where(group.weights.any(1, keepdim=True), gaping, group.weights)
    white = replace(white, weights=weights)
    batch = samples.draw_batch([white], np.random.default_rng(0), 4, augmented=False)
    assert batch.weights.any()
    trainer = Trainer(Dimensions(), config(people))
    trainer.start_from(train.onnx_session.MODEL_DIR)
    trainer.keep_original()
    seen = {}
    kept = trainer.image_losses

    def watched(out, rgb, mask, shown, video):
        seen.update(out=out.detach(), rgb=rgb.detach(), batch=shown)
        return kept(out, rgb, mask, shown, video)

    raw = trainer.forward(trainer.model, replace(batch, real=None), encode(trainer.model, batch))
    trainer.image_losses = watched
    trainer.step(batch, 1e-4)
    shown = seen["batch"]
    lights = shown.light, shown.mouth_interior, real_people.plausible(shown.enamel), shown.white
    assert torch.allclose(seen["rgb"], run_time_light.lit(raw[1], *lights), atol=1e-4)
    flesh = (shown.mouth_interior[:, 0] > 0) & (shown.mouth_interior[:, 1] == 0)
    assert flesh.sum() > 200
    wrong = (shown.target - seen["out"]).abs().amax(1)
    assert wrong[flesh].max() < 1e-6
    assert wrong[shown.mouth_interior[:, 1] > 0.5].max() > 0.02


def test_what_is_wrong_with_the_people_is_said(tmp_path, monkeypatch):
    with pytest.raises(RealTalkError, match="realtalk data pairs"):
        train.load_people(config(tmp_path))
    with pytest.raises(RealTalkError, match="leave out --avatar"):
        train.load_people(config(tmp_path, avatar="default"))
    parser = argparse.ArgumentParser()
    photo_pairs.add_arguments(parser)
    with pytest.raises(RealTalkError, match="give 1 or more"):
        photo_pairs.run(parser.parse_args([str(tmp_path), str(tmp_path), "--groups", "0"]))
    for folder in ("neutral", "smiling"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), np.zeros((8, 8, 3), np.uint8))
    both = str(tmp_path / "neutral"), str(tmp_path / "smiling")
    opened = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(photo_pairs, "FaceDetector", lambda _: opened)
    with pytest.raises(RealTalkError, match="no pair of photographs can be used"):
        photo_pairs.run(parser.parse_args([*both, "--out", str(tmp_path)]))
    (tmp_path / "file").write_text("")
    with pytest.raises(RealTalkError, match="cannot write into"):
        pair = lay_over(*photographs(), IDENTITY)
        photo_pairs.write_pairs({"1": [pair]}, tmp_path / "file", 1)
