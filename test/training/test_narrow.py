# SPDX-License-Identifier: Apache-2.0
"""A trained generator becomes a narrower one (training/renderer/narrow.py)."""

import argparse
import shutil
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from training_shards import SIZE, write_shards

torch = pytest.importorskip("torch", reason="training needs torch")

from realtalk_ros import onnx_session  # noqa: E402
from realtalk_ros.contracts import ALIGNER_FILE, ENCODER_FILE, GENERATOR_FILES  # noqa: E402
from realtalk_ros.errors import RealTalkError  # noqa: E402
from realtalk_ros.rendering.generator import check_generator  # noqa: E402
from realtalk_ros.training.renderer import narrow, samples, train  # noqa: E402
from realtalk_ros.training.renderer.checkpoint import load_renderer  # noqa: E402
from realtalk_ros.training.renderer.dataset import FaceDataset  # noqa: E402
from realtalk_ros.training.renderer.export import export  # noqa: E402
from realtalk_ros.training.renderer.model import Dimensions, Renderer  # noqa: E402

HALF = (8, 6, 6, 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_shards(folder)
    return folder


@pytest.fixture(scope="module")
def batch(data):
    group = FaceDataset(data / "train")[0]
    return samples.draw_batch([group], np.random.default_rng(0), 3, augmented=False)


def wide():
    """A network that has every channel of its generator twice, and reads both differently."""
    torch.manual_seed(0)
    twice = tuple(2 * channels for channels in HALF)
    model = Renderer(replace(Dimensions(), size=SIZE, width=twice)).eval()
    generator = model.generator
    with torch.no_grad():
        for value in model.parameters():
            value += 0.05 * torch.randn_like(value)
        for scale, channels in enumerate(HALF):
            makers = [generator.warped_proj[scale], *generator.encoded_proj[scale : scale + 1]]
            makers += [generator.up[scale - 1] if scale else generator.out_proj]
            for block in generator.blocks[scale]:
                makers += [block.conv1, block.conv2]
                makers += [block.shift, block.scale] if block.modulated else []
            for value in (value for layer in makers for value in layer.parameters()):
                value[channels:] = value[:channels]
        generator.position_embedding[:, HALF[0] :] = generator.position_embedding[:, : HALF[0]]
    return model


def test_channels_that_say_nothing_new_are_not_missed(batch):
    model = wide()
    slim = narrow.narrowed(model, HALF, [batch]).eval()
    assert slim.dims.width == HALF
    inputs = batch.per_target(batch.reference), batch.per_target(batch.template)
    both = (m(*inputs, batch.weights, batch.conditioning) for m in (slim, model))
    for got, wanted in zip(*both, strict=True):
        assert (got - wanted).abs().max() < 1e-3 and wanted.std() > 0.05
    for name, value in model.state_dict().items():
        if name.startswith(("encoder.", "generator.warp.")):
            assert torch.equal(slim.state_dict()[name], value), name
    with pytest.raises(RealTalkError, match="--width"):
        narrow.narrowed(slim, model.dims.width, [batch])


def test_what_is_left_out_is_guessed_from_what_is_kept():
    """Of five channels three are combinations of two, and an offset."""
    torch.manual_seed(0)
    some = torch.randn(300, 2).double()
    features = some @ torch.randn(2, 5).double() + torch.randn(5).double()
    layer = torch.nn.Conv2d(5, 3, 1)
    wanted = layer(features.float()[..., None, None])
    channels = narrow.strongest(features, [layer], 2)
    narrow.Kept.of(features, channels).read(layer)
    got = layer(features[:, channels].float()[..., None, None])
    assert torch.allclose(got, wanted, atol=1e-3) and layer.weight.shape == (3, 2, 1, 1)


def test_a_narrower_generator_is_trained_for_the_installed_encoder(data, tmp_path, monkeypatch):
    installed, out = tmp_path / "installed", tmp_path / "models"
    export(wide(), installed)
    monkeypatch.setattr(onnx_session, "MODEL_DIR", installed)
    monkeypatch.setattr(train, "validate", lambda *_: {"psnr": 0.0})
    monkeypatch.setattr(train, "NARROWING", 1)
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    options = f"--data {data} --out {tmp_path} --export {out} --minutes 0.01 --groups 1 --lr 1e-3"
    options += f" --width {' '.join(map(str, HALF))} --generator-only --no-perceptual-net"
    train.run(parser.parse_args([*options.split(), "--discriminator-from", "-1"]))
    assert {path.name for path in out.glob("*.onnx")} == set(GENERATOR_FILES)
    for name in (ENCODER_FILE, ALIGNER_FILE):
        shutil.copy(installed / name, out)
    before, after = (load_renderer(folder) for folder in (installed, out))
    assert after.dims == replace(before.dims, width=HALF)
    trained = after.state_dict()
    for name, value in before.encoder.state_dict().items():
        assert torch.equal(trained[f"encoder.{name}"], value), name
    first = "generator.style.0.weight"
    assert not torch.equal(trained[first], before.state_dict()[first])
    session = ort.InferenceSession(out / GENERATOR_FILES[0])
    check_generator(session, out / GENERATOR_FILES[0], installed)
