# SPDX-License-Identifier: Apache-2.0
"""The coarticulation model, training of the audio-to-expression network, and its evaluation."""

import copy
import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("scipy", reason="training needs scipy")

from realtalk_ros import onnx_session  # noqa: E402
from realtalk_ros.audio import log_mel  # noqa: E402
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio  # noqa: E402
from realtalk_ros.behaviour import emotion  # noqa: E402
from realtalk_ros.cli import main  # noqa: E402
from realtalk_ros.contracts import EIGHT_BIT_FILE, EXPRESSION_RATE  # noqa: E402
from realtalk_ros.errors import ModelError, RealTalkError  # noqa: E402
from realtalk_ros.expression import eight_bits  # noqa: E402
from realtalk_ros.expression.onnx_model import STATE, ExpressionModel  # noqa: E402
from realtalk_ros.face_model import arkit, lips  # noqa: E402
from realtalk_ros.training.expression import (  # noqa: E402
    checkpoint,
    coarticulation,
    evaluate,
    mel_augment,
    metrics,
    pretrain_phones,
    pretrain_prior,
    speaking_style,
    train,
    trainer,
)
from realtalk_ros.training.expression.config import TrainingConfig  # noqa: E402
from realtalk_ros.training.expression.dims import Dims  # noqa: E402
from realtalk_ros.training.expression.export import export  # noqa: E402
from realtalk_ros.training.expression.losses import phone_loss  # noqa: E402
from realtalk_ros.training.expression.model import ExpressionNet  # noqa: E402
from realtalk_ros.training.expression.sampler import Sampler  # noqa: E402
from realtalk_ros.training.expression.sampler_settings import SamplerSettings  # noqa: E402
from realtalk_ros.training.expression.samples import UNLABELLED  # noqa: E402
from realtalk_ros.training.expression.trainer import MetricLog  # noqa: E402
from realtalk_ros.training.expression.video_dataset import Video, VideoDataset  # noqa: E402
from realtalk_ros.training.speech_data import phones as ph  # noqa: E402
from realtalk_ros.training.speech_data import tts_engines  # noqa: E402
from realtalk_ros.training.speech_data.dataset import (  # noqa: E402
    Speech,
    SpeechDataset,
    make_speech,
)
from realtalk_ros.training.speech_data.phones import from_ipa  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return ExpressionModel()


@pytest.fixture(scope="module")
def clip():
    return read_audio(SAMPLE_CLIP)


SEGMENTS = [
    ("SIL", 0.0, 0.5), ("B", 0.5, 0.56), ("AA", 0.56, 0.72), ("P", 0.72, 0.84), ("IY", 0.84, 1.0),
    ("M", 1.0, 1.05), ("UW", 1.05, 1.25), ("F", 1.25, 1.35), ("AE", 1.35, 1.55), ("SIL", 1.55, 2.5),
]  # fmt: skip


def test_coarticulation_closes_lips_for_everyone():
    rng = np.random.default_rng(3)
    for _ in range(20):
        _, style = speaking_style.random_speaker(rng)
        motion = coarticulation.animate(SEGMENTS, 125, style)
        gap = lips.gap_of(motion.weights)
        for at in (0.53, 0.76, 1.02):
            assert gap[round(at * EXPRESSION_RATE)] < 0.02, style
        for at in (0.64, 1.45):
            assert gap[round(at * EXPRESSION_RATE)] > 0.25
        assert not motion.weights[:15].any() and not motion.weights[-30:, list(arkit.MOUTH)].any()
        assert motion.weights.min() >= 0 and motion.weights.max() <= 1


def test_coarticulation_blinks_in_a_pause_and_keeps_closures_in_an_emotion():
    style = speaking_style.average_style()
    blink = coarticulation.animate(SEGMENTS, 125, style).weights[:, arkit.INDEX["eyeBlinkLeft"]]
    assert blink.max() > 0.9 and not blink[:85].any() and not blink[-15:].any()
    happy = coarticulation.animate(SEGMENTS, 125, style, emotion=emotion.weights("happy")).weights
    plain = coarticulation.animate(SEGMENTS, 125, style).weights
    smile = arkit.INDEX["mouthSmileLeft"]
    assert (happy[30:75, smile] > plain[30:75, smile] + 0.3).all()
    for at in (0.53, 0.76, 1.02):
        assert lips.gap_of(happy)[round(at * EXPRESSION_RATE)] < 0.02


def test_coarticulation_distinguishes_vowels():
    weights = coarticulation.animate(SEGMENTS, 125, speaking_style.average_style()).weights
    ee, oo = weights[round(0.93 * EXPRESSION_RATE)], weights[round(1.16 * EXPRESSION_RATE)]
    assert ee @ lips.WIDTH > 0.3 and oo @ lips.WIDTH < -0.3
    lip = arkit.INDEX["mouthRollLower"]
    assert weights[round(1.3 * EXPRESSION_RATE), lip] > 0.35  # f: the lower lip under the teeth


def test_lips_come_near_but_do_not_meet_for_an_approximant():
    """The b of Spanish "sabe"; after a pause it is a stop."""
    phones = [("BH", 0.5, 0.6), ("AA", 0.6, 0.75), ("BH", 0.75, 0.85), ("AA", 0.85, 1.0)]
    segments = make_speech(np.zeros(24000, np.float32), phones, "es").segments
    motion = coarticulation.animate(segments, 75, speaking_style.average_style())
    after_pause, between = lips.gap_of(motion.weights)[[27, 40]]
    assert after_pause == 0 and 0.2 < between < 0.3
    assert motion.closure[27] == 1 and not motion.closure[35:].any()


# ---------------------------------------------------------------- training side


def perturbed(net):
    """With the prior's paths, which begin at zero, at work."""
    for value in net.parameters():
        value.data += 0.05 * value.data.new_empty(value.shape).normal_()
    return net.eval()


def test_parallel_training_form_equals_the_stream():
    torch.manual_seed(0)
    net = perturbed(ExpressionNet(Dims(width=32, layers=2, attention_window=5)))
    mel = torch.randn(1, 44, 80)  # not a whole number of attention windows
    with torch.no_grad():
        kv = net.encode_prior(torch.randn(1, 100), torch.rand(1, 50, 52), torch.ones(1, 2))
        whole = net(mel, kv)["weights"][0]
        conv_cache = torch.zeros(net.dims.conv_cache_steps, net.dims.conv_width)
        state = torch.zeros(14, 80), conv_cache, torch.zeros(2, 2, 4, 5, 8)
        for begin, end in itertools.pairwise((0, 1, 3, 11, 14, 22)):  # steps of a run
            weights, _, _, _, *state = net.step(mel[0, 2 * begin : 2 * end], kv[0], *state)
            torch.testing.assert_close(weights, whole[begin:end], atol=1e-5, rtol=0)


def test_the_installed_network_is_loaded_by_the_names_of_its_parameters(model, clip):
    pytest.importorskip("onnx", reason="reading the weights needs onnx")

    pcm, rate = clip
    mel = log_mel.AudioFrontEnd(rate).push(pcm[: 2 * rate])[:180]
    wanted = model.stream(model.prior()).push(mel).weights
    net = checkpoint.load_installed().eval()
    with torch.no_grad():
        kv = net.encode_prior(torch.zeros(1, 100), torch.zeros(1, 50, 52), torch.zeros(1, 2))
        weights = net(torch.from_numpy(mel)[None], kv)["weights"][0, net.dims.look_ahead_steps :]
    assert len(wanted) == len(weights) > 80 and wanted.max() > 0.1
    np.testing.assert_allclose(weights.numpy(), wanted, atol=1e-3)


def run_graphs(folder):
    """Every output of both ONNX files of a folder on random inputs, one step after the other."""
    rng = np.random.default_rng(0)
    prior, step = (
        onnx_session.session(folder / f"expression_{name}.onnx") for name in ("prior", "step")
    )
    person = {i.name: rng.random(i.shape, np.float32) for i in prior.get_inputs()}
    (condition_kv,) = prior.run(["condition_kv"], person)
    state = {name: np.zeros(i.shape, np.float32) for i in step.get_inputs()
             if (name := i.name) in STATE}  # fmt: skip
    outputs = [condition_kv]
    for _ in range(60):  # more than the attention window
        inputs = {"mel": rng.random((2, 80), np.float32), "condition_kv": condition_kv, **state}
        names = [output.name for output in step.get_outputs()]
        results = dict(zip(names, step.run(names, inputs), strict=True))
        outputs += results.values()
        state = {name: results[f"next_{name}"] for name in STATE}
    return outputs


def test_the_installed_network_is_exported_as_it_was(tmp_path):
    pytest.importorskip("onnx", reason="export needs onnx")

    export(checkpoint.load_installed(), tmp_path)
    exported, shipped = run_graphs(tmp_path), run_graphs(onnx_session.MODEL_DIR)
    assert len(exported) == len(shipped) > 400
    for a, b in zip(exported, shipped, strict=True):
        np.testing.assert_array_equal(a, b)
    # It only refers to the weights.
    assert (tmp_path / EIGHT_BIT_FILE).stat().st_size < 1e5


def test_an_exported_network_computes_in_eight_bits_what_it_computes_else(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="export needs onnx")

    torch.manual_seed(0)
    export(ExpressionNet(), tmp_path)
    monkeypatch.setattr(eight_bits, "WORTH_IT", np.inf)
    mel = np.random.default_rng(0).normal(0, 0.5, (80, 80)).astype(np.float32)
    single, eight = (
        model.stream(model.prior()).push(mel).lips
        for model in (ExpressionModel(tmp_path), ExpressionModel(tmp_path, eight_bits=True))
    )
    assert 1e-6 < np.abs(single - eight).max() < 0.02 * np.abs(single).max()


def test_files_of_another_version_are_not_loaded(tmp_path):
    onnx = pytest.importorskip("onnx")

    for name in checkpoint.FILES:
        file = onnx.load(onnx_session.MODEL_DIR / name)
        for weight in file.graph.initializer:
            if weight.name == "norm.bias":
                weight.name = "another_name"
        onnx.save(file, tmp_path / name)
    with pytest.raises(ModelError, match="lacks norm.bias"):
        checkpoint.load_onnx(tmp_path)


def test_fine_tuned_weights_are_averaged_with_those_before():
    net = ExpressionNet(Dims(width=32, layers=1, conv_width=16, dilations=(1,)))
    installed = copy.deepcopy(net)
    for value in net.parameters():
        value.data += 2
    checkpoint.average_weights(net, installed)
    after, before = net.state_dict(), installed.state_dict()
    for name in ("lip_head.0.weight", "acoustic_encoder.in_proj.bias"):
        torch.testing.assert_close(after[name], before[name] + 1)
    torch.testing.assert_close(after["phone_head.bias"], before["phone_head.bias"] + 2)


def test_concatenation_is_another_network_of_the_same_interface():
    dims = Dims(width=32, layers=2, attention_window=5, conditioning="concatenation")
    net = perturbed(ExpressionNet(dims))
    mel, identity, reference = torch.randn(1, 40, 80), torch.randn(1, 100), torch.rand(1, 50, 52)
    with torch.no_grad():
        given, hidden = (
            net(mel, net.encode_prior(identity, reference, mask * torch.ones(1, 2)))["weights"]
            for mask in (1, 0)
        )
    assert given.shape == (1, 20, 52) and (given - hidden).abs().max() > 1e-4


def test_reverberation_has_the_wanted_length_and_level():
    click = np.full((100, 80), -4.0)
    click[10] = 1.0
    power = 10 ** (mel_augment.reverberate(click, 0.5, 6.0) / mel_augment.DECADE)
    assert power[10, 0] == pytest.approx(10 ** (1 / mel_augment.DECADE))
    tail = power[12:] - 10 ** (-4 / mel_augment.DECADE)
    assert 10 * np.log10(tail[0] / tail[50]) == pytest.approx(60, abs=0.1)
    assert 10 * np.log10(power[10] / tail.sum(0)) == pytest.approx(6 * np.ones(80), abs=0.1)


def test_noise_suppression_removes_bursts_and_hiss_but_no_vowels():
    mel = np.full((100, 80), -1.0, np.float32)  # hiss
    mel[50:] = 0.5  # a vowel
    mel[20] = 0.5  # a burst as loud
    quieter = (mel - mel_augment.suppress_noise(mel, 20.0, 30.0, 0.03)) / mel_augment.DECADE * 10
    assert quieter[40] == pytest.approx(30, abs=0.1)
    assert (quieter[20] > 15).all() and (quieter[50] > 15).all()
    assert quieter[70] == pytest.approx(0, abs=0.1)


def test_mel_augmentation_keeps_shape_and_phones_with_their_audio():
    rng = np.random.default_rng(0)
    mel = np.full((100, 80), -1.0, np.float32)
    mel[50:] = 0.5
    for _ in range(20):
        out, segments = mel_augment.time_stretch(mel, [("SIL", 0.0, 0.5), ("AA", 0.5, 1.0)], rng)
        edge = int(np.argmax(out[:, 0] > 0))
        assert abs(edge / 100 - segments[1][1]) < 0.015
        augmented = mel_augment.augment(out, mel[:30], rng)
        assert augmented.shape == out.shape and np.isfinite(augmented).all()
        assert augmented.min() >= -1.2 - 1e-6


def test_phone_loss_is_largest_between_visemes():
    def loss(phone: str, predicted: str) -> float:
        logits = torch.zeros(1, len(ph.PHONES))
        logits[0, ph.PHONE_INDEX[predicted]] = 6.0
        return float(phone_loss(logits, torch.tensor([ph.PHONE_INDEX[phone]])))

    assert loss("M", "M") < loss("M", "B") < loss("M", "N") == pytest.approx(loss("M", "K"))


@pytest.fixture
def sampler():
    """A sampler of three utterances, each of a loud vowel and silence in turns."""
    t = np.arange(48000) / 16000
    loud = (t % 1.0 < 0.5) * np.sin(2 * np.pi * 500 * t)
    segments = [("SIL" if k % 2 else "AA", k * 0.5, k * 0.5 + 0.5) for k in range(6)]
    speech = Speech(loud.astype(np.float32) * 0.5, segments, "made up")
    return Sampler({"real": SpeechDataset.of([speech] * 3)}, 0)


def short_training(data, work, minutes):
    """A training of a few steps of two sequences."""
    return TrainingConfig(data=data, work=work, minutes=minutes, batch_size=2)


def test_settings_are_saved_beside_the_weights(tmp_path):
    config = short_training(tmp_path, tmp_path / "run", 1.5)
    saved = json.loads(config.save(tmp_path / "run").read_text())
    assert saved["minutes"] == 1.5 and saved["work"] == str(tmp_path / "run")
    assert saved["loss"]["factors"]["closure"] == config.loss.factors.closure
    assert saved["sampler"]["steps"] == config.sampler.steps


def test_a_training_that_is_refused_leaves_the_settings_of_the_weights_alone(tmp_path):
    config = short_training(tmp_path, tmp_path / "run", 1.5)
    before = config.save(config.work).read_text()
    with pytest.raises(RealTalkError, match="no videos"):
        train.train(replace(config, minutes=9.0, fine_tune=True, videos=tmp_path / "nothing"))
    config.checkpoint.write_bytes(b"of something else")
    write_video(tmp_path / "speech" / "ann.npz", 600)
    with pytest.raises(RealTalkError, match="is no checkpoint"):
        train.train(replace(config, minutes=9.0, fine_tune=True, videos=tmp_path))
    assert (config.work / "expression.json").read_text() == before


@pytest.fixture
def ticking(monkeypatch):
    """A clock by which a training step takes 0.2 s."""
    ticks = itertools.count(0.0, 0.1)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def test_phone_pretraining_recognises_phones_and_resumes(tmp_path, sampler, ticking):
    data = sampler.datasets["real"]
    segments = data[0][1]
    dims = Dims(conv_width=16, dilations=(1, 2), look_ahead_steps=3)
    torch.set_num_threads(1)  # so small that more only wait for each other
    path = tmp_path / "pretrain_phones.pt"
    torch.manual_seed(0)
    settings = pretrain_phones.PhonePretraining(0.2, batch_size=4)
    pretrain_phones.pretrain_phones(sampler, dims, path, settings)
    first = torch.load(path, weights_only=True)["step"]
    longer = replace(settings, minutes=0.6)
    encoder = pretrain_phones.pretrain_phones(sampler, dims, path, longer).eval()
    assert 3 * first - 5 < torch.load(path, weights_only=True)["step"] < 3 * first + 5
    with torch.no_grad():
        logits = encoder(torch.from_numpy(data[0].mel[None, :290].astype(np.float32)))[1][0, 3:]
    want = pretrain_phones.phone_labels(segments, len(logits))
    assert (logits.argmax(-1).numpy() == want).mean() > 0.8

    # Where the file has no phone head, and the transformer knows another encoder:
    installed = copy.deepcopy(encoder)
    for lost in (encoder.phone_head, encoder.out_proj):
        lost.weight.data.normal_()
    pretrain_phones.fit_phone_head(encoder, dims.look_ahead_steps, {"real": (3, data)})
    pretrain_phones.fit_out_proj(encoder, installed, sampler)
    with torch.no_grad():
        mel = torch.from_numpy(data[0].mel[None, :290].astype(np.float32))
        (x, logits), (wanted, _) = encoder(mel), installed(mel)
    assert (logits[0, 3:].argmax(-1).numpy() == want).mean() > 0.8
    torch.testing.assert_close(x, wanted, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("what", ["phones", "prior"])
def test_what_is_resumed_learns_from_new_sequences(tmp_path, sampler, ticking, monkeypatch, what):
    dims = Dims(width=32, layers=1, conv_width=16, dilations=(1,), look_ahead_steps=3)
    draw, drawn_at = Sampler.draw_utterance, []

    def watched(self, kind):
        drawn_at.append(self.rng.bit_generator.state["state"]["state"])
        return draw(self, kind)

    monkeypatch.setattr(Sampler, "draw_utterance", watched)
    for minutes in (0.01, 0.02):
        again, path = Sampler(sampler.datasets, 0), tmp_path / "checkpoint.pt"
        if what == "phones":
            pretrain_phones.pretrain_phones(
                again, dims, path, pretrain_phones.PhonePretraining(minutes, batch_size=2)
            )
        else:
            pretrain_prior.pretrain_prior(
                again,
                ExpressionNet(dims),
                path,
                pretrain_prior.PriorPretraining(minutes, batch_size=2),
            )
    assert len(set(drawn_at)) == len(drawn_at) > 8


def test_a_log_begins_anew_where_a_training_is_resumed(tmp_path):
    training = SimpleNamespace(step=7, spent=60.0)
    log = MetricLog("step", training, every=5, path=tmp_path / "log.jsonl")
    for step in (8, 9, 10):
        training.step = step
        log.add(loss=torch.tensor(2.0))
    for step in range(11, 16):
        training.step = step
        log.add(loss=torch.tensor(3.0))
    rows = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [row["loss"] for row in rows] == [2, 3]


@pytest.mark.parametrize("ablation, learns", [(None, True), ("identity", False)])
def test_prior_pretraining_predicts_the_style_from_the_identity(
    tmp_path, sampler, ticking, ablation, learns
):

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = ExpressionNet(Dims(width=32, layers=1, conv_width=16, dilations=(1,)))
    hidden = TrainingConfig(ablation=ablation).hidden_part
    path = tmp_path / "pretrain_prior.pt"
    settings = pretrain_prior.PriorPretraining(0.25, learning_rate=1e-2, batch_size=64)
    pretrain_prior.pretrain_prior(sampler, net, path, settings, hidden_part=hidden)
    identity, reference, style = pretrain_prior.draw_people(sampler, 200)
    mask = torch.tensor([[1.0, 0.0]]).expand(200, 2)
    with torch.no_grad():
        tokens = net.prior_tokens(identity, reference, mask)
        error = (net.style_head(tokens[:, 0]) - style).square().mean()
    # 0.42 of the variance can be predicted; that takes minutes.
    assert (error < 0.95 * style.var()) == learns and path.is_file()


def test_ablations_that_are_there_are_compared_with_the_full_network(
    tmp_path, sampler, ticking, capsys
):

    torch.set_num_threads(1)
    sampler.datasets["real"].save(tmp_path / "train_real_made_up.npz")
    sampler.datasets["real"].save(tmp_path / "test_made_up.npz")
    command = ["evaluate", "expression", "--data", str(tmp_path), "--ablations", str(tmp_path),
               "--people", "1", "--json"]  # fmt: skip
    config = short_training(tmp_path, tmp_path / "full", 0.01)
    path = train.train(config)
    assert main(command) != 0
    assert f"--work {tmp_path / 'identity'} --without identity" in capsys.readouterr().err

    saved = torch.load(path, weights_only=True)
    for name, value in saved["ema"].items():
        if name.endswith("cross_attention.out_proj.weight"):  # the prior has an effect
            value.normal_()
    (tmp_path / "identity").mkdir()
    torch.save(saved, path)
    torch.save(saved, tmp_path / "identity" / "expression.pt")
    assert main([*command, "--people", "0"]) != 0
    assert "at least 1" in capsys.readouterr().err
    assert main(command) == 0
    full, other = json.loads(capsys.readouterr().out)["made up"].values()
    assert full["lip_error_cm"] > 0 and full["steps"] == other["steps"] == saved["step"]
    farther = 100 * (other["lip_error_cm"] / full["lip_error_cm"] - 1)
    assert other["farther_off_percent"] == pytest.approx(farther, abs=0.2)
    assert abs(farther) > 0.5 and other["standard_error_percent"] == 0  # of one


def test_convolutions_can_be_kept_and_foreign_ones_are_refused(tmp_path, sampler, ticking, capsys):
    torch.set_num_threads(1)
    sampler.datasets["real"].save(tmp_path / "train_real_made_up.npz")
    for kept in (True, False):
        config = short_training(tmp_path, tmp_path / f"run_{kept}", 0.01)
        path = train.train(replace(config, freeze_acoustic_encoder=kept))
        torch.manual_seed(0)
        both = ExpressionNet(), checkpoint.load(path)[0]
        fresh, trained = (dict(net.acoustic_encoder.named_parameters()) for net in both)
        same = {name for name in fresh if torch.equal(fresh[name], trained[name])}
        assert ("blocks.0.conv.weight" in same) == kept and "out_proj.weight" not in same

    saved = torch.load(path, weights_only=True)  # of before there was one phone more
    for name in ("phone_head.weight", "phone_head.bias"):
        saved["net"][name] = saved["net"][name][:-1]
    torch.save(saved, path)
    with pytest.raises(RealTalkError, match="expression.pt is of another network") as caught:
        train.train(short_training(tmp_path, path.parent, 0.02))
    assert "\n" not in str(caught.value)

    data, work = f"--data={tmp_path}", f"--work={tmp_path / 'none'}"
    assert main(["train", "expression", data, work, "--freeze-encoder", "--phone-minutes=0"]) == 2
    assert "nothing has taught the convolutions" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def write_video(path, steps=200, **instead):
    """What `realtalk data videos` writes of somebody whose jaw opens on loud audio."""
    path.parent.mkdir(exist_ok=True)
    loud = (np.arange(steps) % 40 < 20).astype(np.float32)
    weights = np.zeros((steps, 52), np.float32)
    weights[:, arkit.INDEX["jawOpen"]] = 0.8 * loud
    mel = np.repeat(np.where(loud[:, None] > 0, 0.5, -1.0) * np.ones(80), 2, 0)
    arrays = {
        "mel": mel.astype(np.float16), "weights": weights, "speech": loud,
        "rotation": np.zeros((steps, 3), np.float32), "identity": np.zeros(100, np.float32),
        "starts": np.array([0, 120, steps]), **instead,
    }  # fmt: skip
    np.savez(path, **arrays)
    return weights


def test_the_end_of_a_video_is_held_out(tmp_path):
    weights = write_video(tmp_path / "speech" / "ann.npz")
    dataset, settings = VideoDataset(tmp_path), SamplerSettings()
    video = dataset.videos[0]
    assert video.train_steps == 180 and video.held_out() == slice(180, 200)
    sample = dataset.draw_sample(settings, 7, None, np.random.default_rng(0))
    assert sample.mel.shape == (384, 80) and sample.weights.shape == (185, 52)
    assert (sample.phone == UNLABELLED).all() and sample.reference.shape == (50, 52)
    jaw, level = sample.weights[:, arkit.INDEX["jawOpen"]], sample.mel[:370:2].mean(1)
    assert np.corrcoef(jaw, level)[0, 1] > 0.7  # of the same time
    # A video whose end is marked: no sample has it.
    weights[180:] = 1
    write_video(tmp_path / "speech" / "ann.npz", weights=weights)
    dataset, rng = VideoDataset(tmp_path), np.random.default_rng(1)
    for _ in range(20):
        sample = dataset.draw_sample(settings, 7, None, rng)
        assert sample.weights.max() < 1 and sample.reference.max() < 1
    assert Video.load(tmp_path / "speech" / "ann.npz").weights.max() == 1


@pytest.mark.parametrize("instead", [
    {"weights": np.zeros((200, 51))}, {"mel": np.full((400, 80), np.nan)},
    {"starts": np.array([0, 250, 200])}, {"starts": np.array([])},
    {"speech": np.array([{}] * 200, object)},
], ids=["shape", "nan", "falls", "empty", "pickled"])  # fmt: skip
def test_other_files_are_refused_as_videos_in_one_line(tmp_path, instead):
    write_video(tmp_path / "speech" / "bad.npz", **instead)
    with pytest.raises(RealTalkError, match="bad.npz holds no video") as caught:
        VideoDataset(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RealTalkError, match="make them by realtalk data videos"):
        VideoDataset(tmp_path / "nothing")


def test_the_installed_network_learns_from_videos_alone(tmp_path, ticking):
    """From somebody whose mouth opens on audio that is no speech."""
    pytest.importorskip("onnx", reason="export needs onnx")

    write_video(tmp_path / "speech" / "ann.npz", 600)
    torch.set_num_threads(1)
    config = short_training(tmp_path, tmp_path / "run", 0.2)
    path = train.train(replace(config, batch_size=4, fine_tune=True, videos=tmp_path))
    net, saved = checkpoint.load_ema(path)
    assert saved["step"] > 10 and saved["fine_tune"]
    before, after = (
        n.acoustic_encoder.blocks[0].conv.weight for n in (checkpoint.load_installed(), net)
    )
    torch.testing.assert_close(after, before)  # the convolutions are as before
    export(net, tmp_path / "models")
    before, after = (
        evaluate.measure_videos(ExpressionModel(folder), tmp_path)["ann"]["nothing"]["lip_error_cm"]
        for folder in (None, tmp_path / "models")
    )
    assert after < 0.9 * before


def test_only_windows_are_learned_to_be_read(tmp_path, ticking, capsys):
    """For people without one the network stays as it was."""
    write_video(tmp_path / "speech" / "ann.npz", 600)
    config = short_training(tmp_path, tmp_path / "run", 0.05)
    path = train.train(
        replace(config, batch_size=2, fine_tune=True, only_window=True, videos=tmp_path)
    )
    before, after = checkpoint.load_installed().state_dict(), checkpoint.load_ema(path)[0]
    heads = ("phone_head", "style_head")  # are no part of the installed files
    changed = {
        name
        for name, value in after.state_dict().items()
        if not torch.equal(value, before[name]) and not any(head in name for head in heads)
    }
    assert changed == {f"prior_encoder.reference_proj.{layer}.{part}"
                       for layer in (0, 2) for part in ("weight", "bias")}  # fmt: skip
    assert main(["train", "expression", f"--videos={tmp_path}", "--only-window"]) == 2
    assert "--only-window goes with" in capsys.readouterr().err


# ---------------------------------------------------------------- the evaluation


def test_a_perfect_network_scores_perfectly_and_a_late_one_is_late(monkeypatch):
    pcm = 0.01 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    data = SpeechDataset.of([Speech(pcm, SEGMENTS, "made up")] * 2)
    mel, segments, _ = data[0]
    motion = coarticulation.animate(
        segments, len(mel) // 2, speaking_style.average_style(), coarticulation.accents(mel)
    ).weights

    def network(weights):
        return lambda model, mel, prior: (weights, metrics.lip_landmarks(weights))

    monkeypatch.setattr(metrics, "predict", network(motion))
    report = metrics.summary(metrics.evaluate_utterances(None, data, None))
    assert report["lip_error_cm"] == 0 and report["opening_correlation"] == 1
    assert report["closure_recall"] == report["closure_precision"] == 1
    assert report["closure_count"] == 6 and report["labiodental_count"] == 2
    assert report["labiodental_recall"] == report["rounding_recall"] == 1
    assert report["pause_movement"] == 0 and report["jitter_ratio"] == 1

    monkeypatch.setattr(metrics, "predict", network(np.roll(motion, 3, axis=0)))
    late = metrics.summary(metrics.evaluate_utterances(None, data, None))
    assert late["opening_lag_ms"] == pytest.approx(60, abs=3)

    monkeypatch.setattr(metrics, "predict", network(0 * motion))  # always shut
    report = metrics.summary(metrics.evaluate_utterances(None, data, None))
    assert report["closure_recall"] == 1 and report["closure_precision"] <= 0.5
    assert report["labiodental_recall"] == report["rounding_recall"] == 0


def test_a_set_of_several_people_has_a_report_of_each(monkeypatch):
    pcm = 0.01 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)  # 2.5 s
    data = SpeechDataset.of(
        Speech(20 * pcm if name == "loud" else pcm, SEGMENTS, name)
        for name in ["loud", "soft"] * 24 + ["hardly anything"]
    )
    frames = len(data[0][0]) // 2
    style = speaking_style.average_style()
    motion = coarticulation.animate(SEGMENTS, frames, style, np.zeros(frames)).weights

    def network(model, mel, prior):  # follows loud audio, closes the mouth otherwise
        weights = motion * (mel.mean() > data.mel.mean())
        return weights, metrics.lip_landmarks(weights)

    monkeypatch.setattr(metrics, "predict", network)
    seen = metrics.evaluate_utterances(None, data, None)
    report = metrics.by_source({"people": seen, "one": seen[::2][:-1]})
    assert list(report) == ["people"] and list(report["people"]) == ["loud", "soft"]
    loud, soft = report["people"].values()
    assert loud["closure_precision"] == 1 and soft["closure_precision"] <= 0.5
    assert loud["closure_count"] == soft["closure_count"] == 3 * 24
    assert report["people"]["loud"]["opening_correlation"] > 0.99

    loud, soft = seen[:-1:2], seen[1::2]
    sets = {"unseen real reader": loud, "real noisy": seen, "unseen real speaker": soft}
    assert metrics.real_strangers(sets) == {"all real, clean": metrics.summary(seen[:-1])}
    assert metrics.real_strangers({"unseen real reader": loud, "real noisy": seen}) == {}


def test_ipa_is_converted_to_arpabet():
    assert from_ipa("ˈaɪ") == ["AY"] and from_ipa("tʃ") == ["CH"] and from_ipa("yː") == ["UE"]
    assert from_ipa("(en)") == [] and from_ipa("ɔ̃") == ["AO"]
    assert from_ipa("b") == ["B"] and from_ipa("β") == ["BH"]


def test_espeak_phones_have_times_and_stops_their_closure():
    try:
        speech = tts_engines.espeak().speak("a papa", "en-us")
    except RealTalkError:
        pytest.skip("espeak-ng is not installed")
    names = [phone for phone, _, _ in speech.segments]
    assert names.count("P") == 2
    edges = np.array([(s, e) for _, s, e in speech.segments])
    assert edges[0, 0] == 0 and (edges[:, 1] > edges[:, 0]).all()
    np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1], atol=1e-6)
    assert edges[-1, 1] == pytest.approx(len(speech.pcm) / 16000, abs=1e-3)
    # The lips are together in the quiet before the burst, not at it.
    loud = np.abs(speech.pcm).max()
    for phone, start, _ in speech.segments:
        if phone == "P":
            closure = speech.pcm[int((start + 0.01) * 16000) : int((start + 0.04) * 16000)]
            assert np.abs(closure).max() < 0.1 * loud
