# SPDX-License-Identifier: Apache-2.0
"""Training of the files for shorter look-aheads: the predicted sound, and the network run on."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx", reason="export needs onnx")

from realtalk_ros import checksums, onnx_session  # noqa: E402
from realtalk_ros.audio import log_mel  # noqa: E402
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio  # noqa: E402
from realtalk_ros.cli import main  # noqa: E402
from realtalk_ros.contracts import EIGHT_BIT_FILE, STEP_FILE, STEP_FILES  # noqa: E402
from realtalk_ros.expression.onnx_model import ExpressionModel  # noqa: E402
from realtalk_ros.expression.predicted_expression import PredictedExpression  # noqa: E402
from realtalk_ros.face_model import lips  # noqa: E402
from realtalk_ros.training.expression import (  # noqa: E402
    checkpoint,
    sound_predictor,
)
from realtalk_ros.training.expression.export import export_look_ahead  # noqa: E402


@pytest.fixture(scope="module")
def net():
    torch.set_num_threads(1)
    return checkpoint.load_installed().eval()


def swinging(frames, seed=0):
    """Log-mel that a linear map can continue: each band swings at a rate of its own."""
    rng = np.random.default_rng(seed)
    t, rate = np.arange(frames)[:, None], rng.uniform(0.1, 0.4, 80)
    return (0.3 * np.sin(rate * t + rng.uniform(0, 6, 80)) - 0.2).astype(np.float32)


def nobody(net, count=1):
    with torch.no_grad():
        return net.encode_prior(
            torch.zeros(count, 100), torch.zeros(count, 50, 52), torch.zeros(count, 2)
        )


def test_the_next_sound_is_predicted_by_as_many_directions_as_it_takes():
    mel = swinging(2000)
    few, many = (sound_predictor.fit([mel], [5], rank)[0] for rank in (2, 64))
    steps = torch.from_numpy(mel[1000:1026].reshape(1, 13, 160))
    wanted, last = steps[:, 8:], steps[:, 7:8, 80:].repeat(1, 1, 2)
    with torch.no_grad():
        errors = [(p(steps[:, :8]) - wanted).abs().mean() for p in (few, many)]
    unchanged = (last - wanted).abs().mean()
    assert errors[1] < 0.45 * unchanged and errors[1] < 0.5 * errors[0]


def test_before_a_stream_there_was_silence():
    """Its caches hold zeros, which as log-mel would be a loud voice."""
    predictor = sound_predictor.fit([swinging(600)], [3], 16)[0]
    steps = torch.from_numpy(swinging(16).reshape(1, 8, 160))
    zeros, silent = steps.clone(), steps.clone()
    zeros[:, :5], silent[:, :5] = 0, sound_predictor.SILENT_MEL
    with torch.no_grad():
        torch.testing.assert_close(predictor(zeros), predictor(silent))
        assert (predictor(zeros) - predictor(steps)).abs().max() > 1e-3


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with the installed network, and files of a predictor that was hardly trained."""
    folder = tmp_path_factory.mktemp("models")
    for name in checkpoint.FILES:
        (folder / name).write_bytes((onnx_session.MODEL_DIR / name).read_bytes())
    predictor = sound_predictor.fit([swinging(600)], [3], 16)[0]
    return folder, predictor, export_look_ahead(predictor, folder)


def test_the_file_says_what_torch_says_and_holds_no_weights_twice(net, exported):
    folder, predictor, path = exported
    assert path.name == STEP_FILES[0.1] and path.stat().st_size < 0.3e6
    assert {path.name, STEP_FILE} <= set(checksums.read(folder))
    model, mel = ExpressionModel(folder, look_ahead=0.1), swinging(80, 3)
    assert model.look_ahead == pytest.approx(0.1025) and model.max_steps == 1
    stream, kv = model.stream(model.prior()), nobody(net)[0]
    state = [torch.zeros(model.state_shapes[n]) for n in ("mel_context", "conv_cache", "kv_cache")]
    for i in range(0, len(mel), 2):
        step = mel[i : i + 2]
        frames = stream.push(step)
        with torch.no_grad():
            weights, _, _, _, *state = net.step(torch.from_numpy(step), kv, *state, predictor)
        if len(frames):
            np.testing.assert_allclose(frames.weights, weights.numpy(), atol=2e-3)
    assert frames.time[-1] == pytest.approx((80 / 2 - 1 - 4) / 50)


def test_the_command_fits_to_recordings_and_writes_all_files(tmp_path, capsys):
    pcm, rate = read_audio(SAMPLE_CLIP)
    mel = log_mel.AudioFrontEnd(rate).push(pcm)
    steps = len(mel) // 2
    (tmp_path / "speech").mkdir()
    np.savez(
        tmp_path / "speech" / "ann.npz", mel=mel[: 2 * steps].astype(np.float16),
        weights=np.zeros((steps, 52), np.float32), rotation=np.zeros((steps, 3), np.float32),
        speech=np.ones(steps, np.float32), starts=np.array([0, steps]),
        identity=np.zeros(100, np.float32),
    )  # fmt: skip
    out, of_installed = tmp_path / "models", onnx_session.MODEL_DIR / EIGHT_BIT_FILE
    out.mkdir()
    (out / EIGHT_BIT_FILE).write_bytes(b"of the network that was there before")
    command = ["train", "look-ahead", "--videos", str(tmp_path), "--out", str(out), "--rank", "16"]
    assert main(command) == 0
    assert {path.name for path in out.glob("*.onnx")} == {
        *checkpoint.FILES, *STEP_FILES.values(), EIGHT_BIT_FILE,
    }  # fmt: skip
    assert (out / EIGHT_BIT_FILE).read_bytes() == of_installed.read_bytes()
    whole, *short = (
        lips.gap_of(PredictedExpression.of(pcm, rate, ExpressionModel(out, look_ahead=s)).weights)
        for s in sorted(STEP_FILES, reverse=True)
    )
    near, nearer = (np.corrcoef(whole, gap)[0, 1] for gap in reversed(short))
    assert 0.9 < near < nearer

    assert main(["train", "look-ahead", "--videos", str(tmp_path / "none")]) == 2
    assert "make them by realtalk data videos" in capsys.readouterr().err
