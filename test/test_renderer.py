"""The shipped renderer on the default avatar: obeys the weights, leaves the rest alone."""

import numpy as np
import pytest

from realtalk_ros import arkit, models
from realtalk_ros.avatar import Avatar
from realtalk_ros.errors import ModelError
from realtalk_ros.renderer.stream import FaceRenderer


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(Avatar.load("default"), size=512)


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


def test_only_the_face_crop_changes(renderer):
    image = renderer.render(face(jawOpen=1, browInnerUp=1), 3)
    x, y, side = renderer.avatar.crop
    changed = np.argwhere((image != renderer.templates[3]).any(2))
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


def test_more_jaw_is_more_change(renderer):
    neutral = mouth(renderer, renderer.render(face(), 0))
    change = [np.abs(mouth(renderer, renderer.render(face(jawOpen=v), 0)) - neutral).mean()
              for v in (0.1, 0.3, 0.6, 0.9)]
    assert change == sorted(change)


def test_a_still_expression_gives_a_still_picture(renderer):
    weights = face(jawOpen=0.4, mouthFunnel=0.3)
    assert (renderer.render(weights, 5) == renderer.render(weights, 5)).all()


def test_other_display_sizes(renderer):
    small = FaceRenderer(renderer.avatar, size=320)
    image = small.render(face(jawOpen=0.5), 0)
    assert image.shape == (320, 320, 3)
    assert np.abs(image.astype(int) - small.templates[0]).max() > 30


@pytest.mark.parametrize("harm, word", [
    (lambda path: path.unlink(), "missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:1000]), "checksum"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "checksum"),
])
def test_a_harmed_model_file_is_named(tmp_path, harm, word):
    for source in models.MODEL_DIR.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    assert models.verify(tmp_path) == []
    harm(tmp_path / "renderer_generate.onnx")
    assert len(models.verify(tmp_path)) == 1
    with pytest.raises(ModelError, match=word) as error:
        FaceRenderer(Avatar.load("default"), model_dir=tmp_path)
    assert "renderer_generate.onnx" in str(error.value)


def test_what_is_no_network_is_refused_even_without_checksums(tmp_path):
    (tmp_path / "renderer_generate.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.session(tmp_path / "renderer_generate.onnx")


def test_unknown_device():
    with pytest.raises(ModelError, match="abacus"):
        models.providers_for("abacus")
