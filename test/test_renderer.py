# SPDX-License-Identifier: Apache-2.0
"""The shipped renderer on the default avatar: obeys the weights, leaves the rest alone."""

import shutil
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from moving_avatar import moving_avatar

from bundled_faces import bundled_face
from realtalk_ros import checksums, onnx_session
from realtalk_ros.avatar import image_decoding
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import AVATAR_DIR
from realtalk_ros.contracts import mouth_crop
from realtalk_ros.errors import ModelError, NetworkError
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.avatar_encoding import encode_avatars, reference_inputs
from realtalk_ros.rendering.binding import Binding
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.generator import Generator, fill_inputs
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.sampling_grid import sampling_grid, warp


@pytest.fixture(scope="module")
def renderer():
    return bundled_face("default")


@pytest.fixture(scope="module")
def moving():
    """Of an avatar with several templates."""
    return FaceRenderer(moving_avatar(6), size=512)


def face(**values):
    weights = np.zeros(52, np.float32)
    for name, value in values.items():
        weights[arkit.INDEX[name]] = value
    return weights


def mouth(renderer, image):
    """The lower middle of the face crop."""
    x, y, side = renderer.avatar.crop
    return image[y + side // 2 : y + side * 9 // 10, x + side // 4 : x + side * 3 // 4].astype(int)


def test_neutral_leaves_the_template_as_it_is(renderer):
    image = renderer.render(face(), 0)
    assert image.shape == (512, 512, 3) and image.dtype == np.uint8
    error = image.astype(int) - renderer.templates[0]
    assert np.sqrt((error**2).mean()) < 6


def test_only_the_face_crop_changes(moving):
    image = moving.render(face(jawOpen=1, browInnerUp=1), 3)
    x, y, side = moving.avatar.crop
    changed = np.argwhere((image != moving.templates[3]).any(2))
    assert len(changed) and (changed >= [y, x]).all() and (changed < [y + side, x + side]).all()


def test_the_jaw_opens_the_mouth_and_the_lids_shut_the_eyes(renderer):
    neutral = renderer.render(face(), 0)
    opened = renderer.render(face(jawOpen=0.7), 0)
    shut = renderer.render(face(eyeBlinkLeft=1, eyeBlinkRight=1), 0)
    x, y, side = renderer.avatar.crop
    half = slice(y, y + side // 2), slice(x, x + side)
    at_mouth = np.abs(mouth(renderer, opened) - mouth(renderer, neutral)).mean()
    assert at_mouth > 5
    assert at_mouth > 3 * np.abs(mouth(renderer, shut) - mouth(renderer, neutral)).mean()
    at_eyes = [np.abs(i[half].astype(int) - neutral[half]).mean() for i in (shut, opened)]
    assert at_eyes[0] > 2 * at_eyes[1]


def test_every_bundled_avatar_speaks_in_12_megabytes():
    folders = sorted(path.parent for path in AVATAR_DIR.glob("*/avatar.yaml"))
    known = {"default", "mira", "kenji", "ines", "android", "pia"}
    assert known <= {folder.name for folder in folders}
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    for one in (bundled_face(folder.name) for folder in folders):
        template = 5 % one.template_count
        rest, wide = (mouth(one, one.render(face(jawOpen=v), template)) for v in (0, 0.6))
        assert np.abs(wide - rest).mean() > 5
        # The head's idle motion steps by less than can be seen.
        steps = np.diff(one.avatar.landmarks, axis=0)
        assert np.linalg.norm(steps, axis=2).max(initial=0) < 0.5


def test_landmarks_move_the_lips(renderer, monkeypatch):
    """The same weights with the landmarks left at rest give another mouth."""
    weights = face(jawOpen=0.7)
    wide = renderer.render(weights, 0).astype(int)
    (geometry,) = renderer.generator.geometry
    moved = geometry.target_landmarks(weights, 0) - geometry.template_landmarks[0]
    assert 0.04 < np.abs(moved[8]).max() < 0.2  # the chin, of the crop's side
    assert np.abs(moved[36:48]).max() < 1e-3  # the eyes
    monkeypatch.setattr(
        geometry, "target_landmarks", lambda _, template: geometry.template_landmarks[template]
    )
    renderer.generate(face(), 0)  # what was asked for last is not rendered again
    stuck = renderer.render(weights, 0)
    _, y, side = renderer.avatar.crop
    off = np.abs(wide - stuck)[y : y + side]
    assert off[side * 5 // 8 :].mean() > 3 * off[: side * 3 // 8].mean()


def test_teeth_are_painted_where_the_face_model_has_them(renderer, monkeypatch):
    weights = face(jawOpen=0.15, mouthUpperUpLeft=0.5, mouthUpperUpRight=0.5,
                   mouthLowerDownLeft=0.5, mouthLowerDownRight=0.5)  # fmt: skip
    (geometry,) = renderer.generator.geometry
    interior = geometry.draw_mouth(weights, 0, np.zeros((256, 256, 3), np.uint8))
    interior = interior[mouth_crop()]
    bright = renderer.generate(weights, 0).mouth.mean(-1)
    teeth = interior[..., 1] > 150
    hollow = (interior[..., 0] > 200) & (interior[..., 1] < 30)
    assert teeth.sum() > 100 and hollow.sum() > 20
    assert bright[teeth].mean() > bright[hollow].mean() + 30
    # Without teeth there are none.
    draw = geometry.draw_mouth
    monkeypatch.setattr(
        geometry, "draw_mouth", lambda w, t, image: draw(w, t, image).__setitem__((..., 1), 0)
    )
    renderer.generate(face(), 0)  # what was asked for last is not rendered again
    assert bright[teeth].mean() > renderer.generate(weights, 0).mouth.mean(-1)[teeth].mean() + 30


def test_teeth_that_no_picture_shows_are_light_as_the_eyes_are():
    """A photo of shut lips, in full light and in half of it."""
    weights = face(jawOpen=0.1, mouthUpperUpLeft=0.6, mouthUpperUpRight=0.6)
    avatar, found = Avatar.load("default"), []
    for light in (1.0, 0.5):
        templates = (avatar.templates[:1] * light).astype(np.uint8)
        shown = replace(avatar, templates=templates, landmarks=avatar.landmarks[:1])
        closed = image_decoding.to_square(crop_of(shown), 256)
        shown = replace(
            shown,
            reference_image=closed,
            more_references=(),
            reference_weights=None,
            reference_landmarks=None,
        )
        made = FaceRenderer(shown, 128).generate(weights, 0)
        interior = made.mouth_interior[mouth_crop()]
        teeth = cv2.erode(np.uint8(interior[..., 1] > 150), np.ones((3, 3), np.uint8)) > 0
        assert teeth.sum() > 50
        found.append(made.mouth[teeth].mean())
    assert found[0] > 140
    assert 0.4 < found[1] / found[0] < 0.8


def crop_of(avatar):
    x, y, side = avatar.crop
    return avatar.templates[0, y : y + side, x : x + side]


def test_nothing_of_bright_eyes_shines_through_shut_lids():
    avatar = replace(Avatar.load("android"), shut_eyes=None)  # as if it were of a photograph
    android = FaceRenderer(avatar, size=512)
    boxes = []  # within the lit rings around the eyes
    for eye in np.split(android.avatar.landmarks[0, 36:48], 2):
        (x0, y0), (x1, y1) = eye.min(0).astype(int) - 4, eye.max(0).astype(int) + 4
        boxes.append((slice(y0, y1), slice(x0, x1)))

    def cyan(**values: float) -> int:
        """Pixels of the eyes that are bluer than red by a quarter of the scale."""
        picture = android.render(face(**values), 0).astype(int)
        return sum(int((picture[box][..., 0] - picture[box][..., 2] > 64).sum()) for box in boxes)

    assert cyan() > 200 and cyan(eyeBlinkLeft=1, eyeBlinkRight=1) == 0


def test_a_reference_with_shut_lips_does_not_change_the_teeth(moving):
    avatar = moving.avatar
    weights = face(jawOpen=0.15, mouthUpperUpLeft=0.5, mouthUpperUpRight=0.5)
    shut = replace(
        avatar,
        more_references=(*avatar.more_references, avatar.templates[0][118:374, 128:384]),
        reference_weights=np.concatenate([avatar.reference_weights, weights[None] * 0]),
        reference_landmarks=np.concatenate(
            [avatar.reference_landmarks, avatar.landmarks[:1] - avatar.crop[:2]]
        ),
    )
    maps = reference_inputs(shut)
    assert (maps[0][..., 3] > 128).sum() > 100 > 10 > (maps[1][..., 3] > 128).sum()
    one, other = encode_avatars([shut], onnx_session.MODEL_DIR, None, 1).features["mouth_colours"]
    assert (one == other).all() and one[6] > 0.7
    enamel = avatar.reference_image[maps[0][..., 4] > 180].mean(0) / 255
    assert np.abs(one[:3] * maps[0][..., 4].max() / 255 - enamel).max() < 0.2


def test_more_jaw_is_more_change(renderer):
    neutral = mouth(renderer, renderer.render(face(), 0))
    change = [
        np.abs(mouth(renderer, renderer.render(face(jawOpen=v), 0)) - neutral).mean()
        for v in (0.1, 0.3, 0.6, 0.9)
    ]
    assert change == sorted(change)


def test_a_still_expression_gives_a_still_picture(moving):
    weights = face(jawOpen=0.4, mouthFunnel=0.3)
    pictures = [moving.render(shown, 5) for shown in (face(), weights, face(), weights)]
    assert (pictures[1] == pictures[3]).all()


def test_networks_run_only_for_what_has_changed(moving, monkeypatch):
    runs, run = [], Binding.run
    monkeypatch.setattr(
        Binding, "run", lambda self, **inputs: runs.append(1) or run(self, **inputs)
    )
    open_ = face(jawOpen=0.4)
    pictures = [moving.render(weights, template, rotation=np.full(3, 0.01 * k, np.float32))
                for k, (weights, template) in enumerate([
                    (face(), 0), (face(), 0), (open_, 0), (open_, 0), (open_, 1), (face(), 0),
                ])]  # fmt: skip
    assert len(runs) == 2 * 4  # aligner and generator
    assert (pictures[0] != pictures[1]).any()  # the head moves on
    open_[arkit.INDEX["jawOpen"]] = 0  # the caller's array is not what was remembered
    assert (moving.render(open_, 0) != moving.render(face(jawOpen=0.4), 0)).any()

    def fails(self, **_):
        raise NetworkError("lost")

    monkeypatch.setattr(Binding, "run", fails)
    for _ in range(2):
        with pytest.raises(NetworkError):
            moving.render(face(), 0)


def test_other_display_sizes(renderer):
    small = renderer.resized(320)
    image = small.render(face(jawOpen=0.5), 0)
    assert image.shape == (320, 320, 3)
    assert np.abs(image.astype(int) - small.templates[0]).max() > 30


@pytest.mark.parametrize(
    "harm, word",
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "checksum"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "checksum"),
    ],
)
def test_a_harmed_model_file_is_named(tmp_path, harm, word):
    for source in onnx_session.MODEL_DIR.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    assert onnx_session.verify(tmp_path) == []
    harm(tmp_path / "face_reader.onnx")  # which only enrolment needs
    harm(tmp_path / "renderer_generate.onnx")
    assert len(onnx_session.verify(tmp_path)) == 2
    with pytest.raises(ModelError, match=word) as error:
        FaceRenderer(Avatar.load("default"), model_dir=tmp_path)
    assert "renderer_generate.onnx" in str(error.value)


def test_a_file_that_is_no_network_is_refused_even_without_checksums(tmp_path):
    (tmp_path / "renderer_generate.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match="cannot be loaded"):
        onnx_session.session(tmp_path / "renderer_generate.onnx")


def test_unknown_device():
    with pytest.raises(ModelError, match="abacus"):
        onnx_session.providers_for("abacus")


def test_several_faces_in_one_run_look_as_they_do_alone():
    avatar = moving_avatar(6)
    turned = replace(
        avatar,
        reference_image=avatar.reference_image[:, ::-1].copy(),
        templates=avatar.templates[3:6],
    )
    generator = Generator([avatar, turned])
    faces = [FaceRenderer(a, 256, shared=(generator, k)) for k, a in enumerate([avatar, turned])]
    weights = np.stack([face(jawOpen=0.5), face(eyeBlinkLeft=1), face(mouthPucker=0.7)])
    shown, templates = [faces[0], faces[1], faces[0]], [4, 2, 0]
    inputs = [one.inputs(w, t) for one, w, t in zip(shown, weights, templates, strict=True)]
    made = zip(shown, generator.run(weights, inputs), templates, strict=True)
    together = [one.compose(picture, one.begin(template)) for one, picture, template in made]
    first, second = (FaceRenderer(a, 256) for a in (avatar, turned))
    alone = [
        one.render(w, t)
        for one, w, t in zip((first, second, first), weights, templates, strict=True)
    ]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1  # sums in another order
    assert np.abs(together[0].astype(int) - together[2]).max() > 30


def test_an_image_may_be_composed_while_the_next_one_is_generated(moving):
    """The second one of the same batch size, with lids that close."""
    weights = face(jawOpen=0.5, eyeBlinkLeft=1)
    alone = moving.render(weights, 1)
    first = moving.generate(weights, 1)
    moving.generate(face(mouthPucker=0.8, eyeBlinkRight=0.7), 2)
    assert np.array_equal(moving.compose(first, moving.begin(1)), alone)


def test_memory_does_not_grow_from_frame_to_frame():
    small = FaceRenderer(moving_avatar(3), size=128)
    tracemalloc.start()
    for template in range(3):  # what belongs to one is made when it is first shown
        small.render(face(jawOpen=0.3), template)
    before = tracemalloc.take_snapshot()
    for i in range(60):
        small.render(face(jawOpen=i / 60), i % 3)
    grown = tracemalloc.take_snapshot().compare_to(before, "filename")
    tracemalloc.stop()
    assert sum(row.size_diff for row in grown) < 100_000  # less than two frames


def test_half_precision_looks_the_same(moving):
    """Run here on the CPU, where ONNX Runtime computes it in single precision between casts."""
    single = onnx_session.session(onnx_session.MODEL_DIR / "renderer_generate.onnx")
    half = onnx_session.session(onnx_session.MODEL_DIR / "renderer_generate_half.onnx")
    align = onnx_session.session(onnx_session.MODEL_DIR / "renderer_align.onnx")
    first = {name: getattr(moving.avatar, name)[:1] for name in ("templates", "landmarks")}
    one = replace(moving.avatar, **first)
    encoded = encode_avatars([one], onnx_session.MODEL_DIR, None, 1)
    template, rest, features = encoded.templates[0], encoded.landmarks, encoded.features
    weights = face(jawOpen=0.5, eyeBlinkLeft=1)
    geometry = Geometry(one.identity, rest, resting_weights=one.resting_weights)
    moved = geometry.target_landmarks(weights, 0)[None]
    landmarks = {"template_landmarks": rest, "target_landmarks": moved}
    movements, alignment_features = align.run(None, landmarks)
    inputs = {"weights": weights[None], "alignment_features": alignment_features}
    interior = geometry.draw_mouth(weights, 0, np.zeros_like(template))
    quarter, mouth = np.empty((64, 64, 6), np.uint8), np.empty((24, 64, 64), np.uint8)
    fill_inputs(warp(template, sampling_grid(movements[0])), interior, quarter, mouth)
    inputs |= {"warped_quarter": quarter[None], "warped_mouth": mouth[None]}
    inputs |= dict.fromkeys(("template_index", "reference_index"), np.zeros(1, np.int64))
    wanted = single.run(None, {**inputs, **features})
    smaller = {name: values.astype(np.float16) for name, values in features.items()}
    got = half.run(None, {**inputs, **smaller})
    for output, levels in zip(range(3), (3, 0.02, 3), strict=True):  # change, mask, mouth
        assert np.abs(got[output].astype(float) - wanted[output]).max() <= levels


@pytest.mark.parametrize("part", ["renderer_encode.onnx", "renderer_align.onnx"])
def test_an_avatars_own_generator_must_fit_the_rest(tmp_path, part):
    for name in ("renderer_generate.onnx", "renderer_generate_half.onnx"):
        shutil.copy(onnx_session.MODEL_DIR / name, tmp_path)
    own = replace(Avatar.load("default"), generator=tmp_path)
    assert FaceRenderer(own, size=128).render(face(), 0).shape == (128, 128, 3)
    other = tmp_path / "models"
    shutil.copytree(onnx_session.MODEL_DIR, other)
    (other / checksums.FILE).unlink()
    shutil.copy(other / "renderer_generate.onnx", other / part)
    with pytest.raises(ModelError, match=f"was not made for .*{part}.*--avatar"):
        FaceRenderer(own, size=128, model_dir=other)


def test_a_generator_of_another_format_is_refused(tmp_path):
    shutil.copytree(onnx_session.MODEL_DIR, tmp_path, dirs_exist_ok=True)
    (tmp_path / checksums.FILE).unlink()
    shutil.copy(tmp_path / "expression_step.onnx", tmp_path / "renderer_generate.onnx")
    with pytest.raises(ModelError, match="format.*put the right one there"):
        FaceRenderer(Avatar.load("default"), model_dir=tmp_path)
    own = replace(Avatar.load("default"), generator=tmp_path)
    with pytest.raises(ModelError, match="format.*train renderer --avatar"):
        FaceRenderer(own)


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in ort.get_available_providers(),
    reason="this onnxruntime has no CUDA",
)
def test_cuda_renders_the_same_face(renderer):
    on_gpu = FaceRenderer(renderer.avatar, 512, onnx_session.providers_for("cuda"))
    weights = face(jawOpen=0.5, eyeBlinkLeft=1)
    got, wanted = on_gpu.render(weights, 0).astype(int), renderer.render(weights, 0)
    assert np.abs(got - wanted).max() <= 4
