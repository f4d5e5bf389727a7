import copy
import itertools
import json
import wave
from types import SimpleNamespace

import numpy as np
import pytest

from realtalk_ros import onnx_session
from realtalk_ros.audio import log_mel, pcm
from realtalk_ros.audio.media_files import SAMPLE_CLIP
from realtalk_ros.behaviour import emotion
from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.errors import ModelError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model import arkit
from realtalk_ros.training.expression import coarticulation
from realtalk_ros.training.speech_data import phones as ph


@pytest.fixture(scope="module")
def model():
    return ExpressionModel()


@pytest.fixture(scope="module")
def clip():
    with wave.open(str(SAMPLE_CLIP)) as file:
        assert file.getsampwidth() == 2
        data = file.readframes(file.getnframes())
        return pcm.decode_pcm(data, "pcm_s16le", file.getnchannels()), file.getframerate()


def express(model, pcm, rate, chunk_s=None):
    front_end, stream = log_mel.AudioFrontEnd(rate), model.stream(model.prior())
    size = len(pcm) if chunk_s is None else int(rate * chunk_s)
    parts = [stream.push(front_end.push(pcm[i : i + size])) for i in range(0, len(pcm), size)]
    parts += [stream.push(front_end.flush()), stream.flush()]
    names = ("time", "weights", "rotation", "speech", "lips")
    return {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}


@pytest.fixture(scope="module")
def whole(model, clip):
    return express(model, *clip)


@pytest.mark.parametrize("chunk_s", [0.01, 0.137, 1.0])
def test_streamed_equals_whole(model, clip, whole, chunk_s):
    streamed = express(model, *clip, chunk_s)
    for name, values in whole.items():
        np.testing.assert_allclose(streamed[name], values, atol=1e-4, err_msg=name)


def test_frames_cover_the_sound_at_50_hz(clip, whole):
    pcm, rate = clip
    assert len(whole["time"]) == int(np.ceil(len(pcm) / rate * EXPRESSION_RATE - 1e-9))
    np.testing.assert_allclose(whole["time"], np.arange(len(whole["time"])) / EXPRESSION_RATE)
    assert whole["weights"].min() >= 0 and whole["weights"].max() <= 1


def test_frames_come_after_the_stated_look_ahead(model):
    assert 0 < model.look_ahead <= 0.2
    front_end, stream = log_mel.AudioFrontEnd(16000), model.stream(model.prior())
    # Audio up to 1 s + the look-ahead decides the frame at 1 s; 20 ms less does not.
    samples = np.zeros(round(16000 * (1 + model.look_ahead)), np.float32)
    early = stream.push(front_end.push(samples[:-320]))
    assert early.time[-1] == pytest.approx(0.98)
    assert stream.push(front_end.push(samples[-320:])).time[-1] == pytest.approx(1.0)


def test_lips_rest_in_silence_and_noise(model):
    rng = np.random.default_rng(0)
    hum = 0.05 * np.sin(2 * np.pi * 100 * np.arange(48000) / 16000)
    for sound in (np.zeros(48000), 0.02 * rng.standard_normal(48000), hum):
        weights = express(model, sound.astype(np.float32), 16000)["weights"]
        assert np.abs(coarticulation.opening(weights) - coarticulation.REST_GAP).max() < 0.1  # 1 mm


def test_mouth_moves_with_speech_and_rests_after_it(model, clip):
    pcm, rate = clip
    got = express(model, np.concatenate([pcm, np.zeros(rate, np.float32)]), rate)
    gap = coarticulation.opening(got["weights"])
    assert gap.max() > 0.6  # cm, on a vowel
    speaking = got["speech"] > 0.5
    assert 0.5 < speaking[: int(len(pcm) / rate * EXPRESSION_RATE)].mean() <= 1
    assert not speaking[-25:].any()
    assert np.abs(gap[-25:] - coarticulation.REST_GAP).max() < 0.05


def test_level_and_rate_of_the_recording_matter_little(model, clip):
    pcm, rate = clip
    gap = coarticulation.opening(express(model, pcm, rate)["weights"])
    quiet = coarticulation.opening(express(model, 0.2 * pcm, rate)["weights"])
    assert np.corrcoef(gap, quiet)[0, 1] > 0.9


def test_prior_changes_the_person_but_unknown_is_allowed(model):
    rng = np.random.default_rng(1)
    nobody = model.prior()
    somebody = model.prior(rng.standard_normal(100), 0.3 * rng.random((50, 52)))
    assert nobody.shape == somebody.shape and np.abs(nobody - somebody).max() > 0.1
    with pytest.raises(ModelError, match="identity"):
        model.prior(np.zeros(99))
    with pytest.raises(ModelError, match="reference"):
        model.prior(None, np.full((50, 52), np.nan))


def test_streams_do_not_share_state(model):
    rng = np.random.default_rng(2)
    mel = rng.standard_normal((60, 80)).astype(np.float32)
    prior = model.prior()
    alone = model.stream(prior).push(mel).weights
    a, b = model.stream(prior), model.stream(prior)
    mixed = []
    for i in range(0, 60, 2):
        mixed.append(a.push(mel[i : i + 2]).weights)
        b.push(-mel[i : i + 2])
    np.testing.assert_array_equal(np.concatenate(mixed), alone)


def test_empty_segment_gives_no_frames(model):
    stream = model.stream(model.prior())
    assert len(stream.push(np.zeros((0, 80), np.float32))) == 0
    assert len(stream.flush()) == 0


def test_damaged_model_is_refused(tmp_path):
    for name in ("expression_prior.onnx", "expression_step.onnx"):
        (tmp_path / name).write_bytes((onnx_session.MODEL_DIR / name).read_bytes())
    ExpressionModel(tmp_path)
    whole = (tmp_path / "expression_step.onnx").read_bytes()
    (tmp_path / "expression_step.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="expression_step.onnx"):
        ExpressionModel(tmp_path)


# ---------------------------------------------------------------- the teacher

SEGMENTS = [
    ("SIL", 0.0, 0.5), ("B", 0.5, 0.56), ("AA", 0.56, 0.72), ("P", 0.72, 0.84), ("IY", 0.84, 1.0),
    ("M", 1.0, 1.05), ("UW", 1.05, 1.25), ("F", 1.25, 1.35), ("AE", 1.35, 1.55), ("SIL", 1.55, 2.5),
]  # fmt: skip


def test_teacher_closes_lips_for_everyone():
    rng = np.random.default_rng(3)
    for _ in range(20):
        _, style = coarticulation.random_person(rng)
        motion = coarticulation.animate(SEGMENTS, 125, style)
        gap = coarticulation.opening(motion.weights)
        for at in (0.53, 0.76, 1.02):
            assert gap[round(at * EXPRESSION_RATE)] < 0.02, style
        for at in (0.64, 1.45):
            assert gap[round(at * EXPRESSION_RATE)] > 0.25
        assert not motion.weights[:15].any() and not motion.weights[-30:, list(arkit.MOUTH)].any()
        assert motion.weights.min() >= 0 and motion.weights.max() <= 1


def test_teacher_blinks_in_a_pause_and_shows_a_mood_without_opening_a_closure():
    style = coarticulation.average_style()
    blink = coarticulation.animate(SEGMENTS, 125, style).weights[:, arkit.INDEX["eyeBlinkLeft"]]
    assert blink.max() > 0.9 and not blink[:85].any() and not blink[-15:].any()
    happy = coarticulation.animate(SEGMENTS, 125, style, mood=emotion.weights("happy")).weights
    plain = coarticulation.animate(SEGMENTS, 125, style).weights
    smile = arkit.INDEX["mouthSmileLeft"]
    assert (happy[30:75, smile] > plain[30:75, smile] + 0.3).all()
    for at in (0.53, 0.76, 1.02):
        assert coarticulation.opening(happy)[round(at * EXPRESSION_RATE)] < 0.02


def test_teacher_tells_vowels_apart():
    weights = coarticulation.animate(SEGMENTS, 125, coarticulation.average_style()).weights
    ee, oo = weights[round(0.93 * EXPRESSION_RATE)], weights[round(1.16 * EXPRESSION_RATE)]
    assert coarticulation.width(ee) > 0.3 and coarticulation.width(oo) < -0.3
    lip = arkit.INDEX["mouthRollLower"]
    assert weights[round(1.3 * EXPRESSION_RATE), lip] > 0.35  # f: the lower lip under the teeth


def test_lips_come_near_but_do_not_meet_for_an_approximant():
    """The b of Spanish "sabe"; after a pause it is a stop."""
    from realtalk_ros.training.speech_data.dataset import finish

    spoken = [("BH", 0.5, 0.6), ("AA", 0.6, 0.75), ("BH", 0.75, 0.85), ("AA", 0.85, 1.0)]
    segments = finish(np.zeros(24000, np.float32), spoken, "es").segments
    motion = coarticulation.animate(segments, 75, coarticulation.average_style())
    after_pause, between = coarticulation.opening(motion.weights)[[27, 40]]
    assert after_pause == 0 and 0.2 < between < 0.3
    assert motion.closure[27] == 1 and not motion.closure[35:].any()


# ---------------------------------------------------------------- training side


def shaken(net):
    """The prior's paths begin at zero; here they should do something."""
    for value in net.parameters():
        value.data += 0.05 * value.data.new_empty(value.shape).normal_()
    return net.eval()


def test_parallel_training_form_equals_the_stream():
    torch = pytest.importorskip("torch")
    from realtalk_ros.training.expression.model import Dims, ExpressionNet

    torch.manual_seed(0)
    net = shaken(ExpressionNet(Dims(width=32, layers=2, memory=5)))
    mel = torch.randn(1, 44, 80)  # not a whole number of chunks of the memory's length
    with torch.no_grad():
        prior = net.prior(torch.randn(1, 100), torch.rand(1, 50, 52), torch.ones(1, 2))
        whole = net(mel, prior)["weights"][0]
        trail = torch.zeros(net.dims.trail, net.dims.trunk)
        state = torch.zeros(14, 80), trail, torch.zeros(2, 2, 4, 5, 8)
        for k in range(22):
            step = net.step(mel[0, 2 * k : 2 * k + 2], prior[0], *state)
            state = step[4:]
            torch.testing.assert_close(step[0], whole[k], atol=1e-5, rtol=0)


def test_the_installed_network_can_be_trained_further(model, clip):
    """Its weights come out of the ONNX files: the same speech gives the same face."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx", reason="export needs onnx")
    from realtalk_ros.training.expression import train

    pcm, rate = clip
    mel = log_mel.AudioFrontEnd(rate).push(pcm[: 2 * rate])[:180]
    wanted = model.stream(model.prior()).push(mel).weights
    net = train.installed(onnx_session.MODEL_DIR).eval()
    with torch.no_grad():
        prior = net.prior(torch.zeros(1, 100), torch.zeros(1, 50, 52), torch.zeros(1, 2))
        got = net(torch.from_numpy(mel)[None], prior)["weights"][0, net.dims.delay :]
    assert len(wanted) == len(got) > 80 and wanted.max() > 0.1
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-3)

    # What is exported after training is half-way back.
    known = copy.deepcopy(net)
    for value in net.parameters():
        value.data += 2
    train.half_way(net, known)
    ours, before = net.state_dict(), known.state_dict()
    for name in ("lips.0.weight", "trunk.inward.bias"):
        torch.testing.assert_close(ours[name], before[name] + 1)
    torch.testing.assert_close(ours["phones.bias"], before["phones.bias"] + 2)


def test_concatenation_is_another_network_of_the_same_interface():
    torch = pytest.importorskip("torch")
    from realtalk_ros.training.expression.model import Dims, ExpressionNet

    net = shaken(ExpressionNet(Dims(width=32, layers=2, memory=5, prior="concatenation")))
    mel, identity, reference = torch.randn(1, 40, 80), torch.randn(1, 100), torch.rand(1, 50, 52)
    with torch.no_grad():
        told, untold = (
            net(mel, net.prior(identity, reference, known * torch.ones(1, 2)))["weights"]
            for known in (1, 0)
        )
    assert told.shape == (1, 20, 52) and (told - untold).abs().max() > 1e-4


def test_a_room_rings_as_long_and_as_loud_as_it_is_told():
    pytest.importorskip("scipy")
    from realtalk_ros.training.expression import mel_augment

    click = np.full((100, 80), -4.0)
    click[10] = 1.0
    power = 10 ** (mel_augment.room(click, 0.5, 6.0) / mel_augment.DECADE)
    assert power[10, 0] == pytest.approx(10 ** (1 / mel_augment.DECADE))
    tail = power[12:] - 10 ** (-4 / mel_augment.DECADE)
    assert 10 * np.log10(tail[0] / tail[50]) == pytest.approx(60, abs=0.1)
    assert 10 * np.log10(power[10] / tail.sum(0)) == pytest.approx(6 * np.ones(80), abs=0.1)


def test_noise_suppression_takes_bursts_and_hiss_and_leaves_vowels():
    pytest.importorskip("scipy")
    from realtalk_ros.training.expression import mel_augment

    mel = np.full((100, 80), -1.0, np.float32)  # hiss
    mel[50:] = 0.5  # a vowel
    mel[20] = 0.5  # a burst as loud
    quieter = (mel - mel_augment.suppressed(mel, 20.0, 30.0, 0.03)) / mel_augment.DECADE * 10
    assert quieter[40] == pytest.approx(30, abs=0.1)
    assert (quieter[20] > 15).all() and (quieter[50] > 15).all()
    assert quieter[70] == pytest.approx(0, abs=0.1)


def test_mel_augmentation_keeps_shape_and_phones_with_their_sound():
    pytest.importorskip("scipy")
    from realtalk_ros.training.expression import mel_augment

    rng = np.random.default_rng(0)
    mel = np.full((100, 80), -1.0, np.float32)
    mel[50:] = 0.5
    for _ in range(20):
        out, segments = mel_augment.stretch(mel, [("SIL", 0.0, 0.5), ("AA", 0.5, 1.0)], rng)
        edge = int(np.argmax(out[:, 0] > 0))
        assert abs(edge / 100 - segments[1][1]) < 0.015
        coloured = mel_augment.colour(out, mel[:30], rng)
        assert coloured.shape == out.shape and np.isfinite(coloured).all()
        assert coloured.min() >= -1.2 - 1e-6


def test_first_lessons_mind_most_what_lips_show():
    torch = pytest.importorskip("torch")
    from realtalk_ros.training.expression.pretrain_phones import misheard

    def loss(phone: str, heard: str) -> float:
        logits = torch.zeros(1, len(ph.PHONES))
        logits[0, ph.PHONE_INDEX[heard]] = 6.0
        return float(misheard(logits, torch.tensor([ph.PHONE_INDEX[phone]])))

    assert loss("M", "M") < loss("M", "B") < loss("M", "N") == pytest.approx(loss("M", "K"))


@pytest.fixture
def sampler():
    """Of three utterances, all of a loud vowel and silence in turns."""
    pytest.importorskip("torch")
    from realtalk_ros.training.expression import train
    from realtalk_ros.training.speech_data.dataset import Speech, SpeechSet

    t = np.arange(48000) / 16000
    loud = (t % 1.0 < 0.5) * np.sin(2 * np.pi * 500 * t)
    segments = [("SIL" if k % 2 else "AA", k * 0.5, k * 0.5 + 0.5) for k in range(6)]
    speech = Speech(loud.astype(np.float32) * 0.5, segments, "made up")
    return train.Sampler({"real": SpeechSet.of([speech] * 3)}, 0)


@pytest.fixture
def ticking(monkeypatch):
    """A clock of trainings by which a step takes 0.2 s."""
    pytest.importorskip("torch")
    from realtalk_ros.training.expression import trainer

    ticks = itertools.count(0.0, 0.1)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(ticks)))


def test_first_lessons_tell_phones_and_go_on_where_they_were(
    tmp_path, monkeypatch, sampler, ticking
):
    import torch

    from realtalk_ros.training.expression import pretrain_phones
    from realtalk_ros.training.expression.model import Dims

    data = sampler.sets["real"]
    segments = data[0][1]
    dims = Dims(trunk=16, dilations=(1, 2), delay=3)
    torch.set_num_threads(1)  # so small that more only wait for each other
    path = tmp_path / "hearing.pt"
    torch.manual_seed(0)
    monkeypatch.setattr(pretrain_phones, "BATCH", 4)
    pretrain_phones.train_hearing(sampler, dims, path, 0.2)
    first = torch.load(path, weights_only=True)["step"]
    trunk = pretrain_phones.train_hearing(sampler, dims, path, 0.6).eval()
    assert 3 * first - 5 < torch.load(path, weights_only=True)["step"] < 3 * first + 5
    with torch.no_grad():
        told = trunk(torch.from_numpy(data[0][0][None, :290].astype(np.float32)))[1][0, 3:]
    want = pretrain_phones.heard_phones(segments, len(told))
    assert (told.argmax(-1).numpy() == want).mean() > 0.8

    # Where the file has no head that names phones, and the transformer is used to another's voice:
    known = copy.deepcopy(trunk)
    for lost in (trunk.phones, trunk.outward):
        lost.weight.data.normal_()
    pretrain_phones.name_phones(trunk, dims.delay, {"real": (3, data)})
    pretrain_phones.fit_outward(trunk, known, sampler)
    with torch.no_grad():
        mel = torch.from_numpy(data[0][0][None, :290].astype(np.float32))
        (x, told), (wanted, _) = trunk(mel), known(mel)
    assert (told[0, 3:].argmax(-1).numpy() == want).mean() > 0.8
    torch.testing.assert_close(x, wanted, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("without, told", [(None, True), ("identity", False)])
def test_first_lessons_of_the_prior_tell_how_somebody_of_a_shape_moves(
    tmp_path, monkeypatch, sampler, ticking, without, told
):
    import torch

    from realtalk_ros.training.expression import pretrain_prior, train
    from realtalk_ros.training.expression.model import Dims, ExpressionNet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = ExpressionNet(Dims(width=32, layers=1, trunk=16, dilations=(1,)))
    monkeypatch.setattr(pretrain_prior, "BATCH", 64)
    hidden = None if without is None else train.KNOWN.index(without)
    path = tmp_path / "acquaintance.pt"
    pretrain_prior.train_acquaintance(sampler, net, path, 0.25, hidden, rate=1e-2)
    identity, reference, style = pretrain_prior.people(sampler, 200)
    known = torch.tensor([[1.0, 0.0]]).expand(200, 2)
    with torch.no_grad():
        error = (net.style(net.tokens(identity, reference, known)[:, 0]) - style).square().mean()
    # Of the variance, 0.42 could be known: that takes minutes.
    assert (error < 0.95 * style.var()) == told and path.is_file()


def test_ablations_that_are_there_are_compared_with_the_full_network(
    tmp_path, sampler, ticking, capsys
):
    import torch

    from realtalk_ros.cli import main
    from realtalk_ros.training.expression import train

    torch.set_num_threads(1)
    sampler.sets["real"].save(tmp_path / "train_real_made_up.npz")
    sampler.sets["real"].save(tmp_path / "test_made_up.npz")
    command = ["evaluate", "expression", "--data", str(tmp_path), "--ablations", str(tmp_path),
               "--people", "1", "--json"]  # fmt: skip
    path = train.train(tmp_path, tmp_path / "full", 0.01, 2)
    assert main(command) != 0
    assert f"--work {tmp_path / 'identity'} --without identity" in capsys.readouterr().err

    saved = torch.load(path, weights_only=True)
    for name, value in saved["average"].items():
        if name.endswith("cross.out.weight"):  # what it is told shows
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


def test_convolutions_can_be_kept_and_foreign_ones_are_refused(
    tmp_path, sampler, ticking, capsys
):
    import torch

    from realtalk_ros.cli import main
    from realtalk_ros.errors import RealTalkError
    from realtalk_ros.training.expression import train

    torch.set_num_threads(1)
    sampler.sets["real"].save(tmp_path / "train_real_made_up.npz")
    for kept in (True, False):
        path = train.train(tmp_path, tmp_path / f"run_{kept}", 0.01, 2, keep_hearing=kept)
        torch.manual_seed(0)
        both = train.nets.ExpressionNet(), train.nets.load(path)[0]
        fresh, now = (dict(net.trunk.named_parameters()) for net in both)
        same = {name for name in fresh if torch.equal(fresh[name], now[name])}
        assert ("blocks.0.taps.weight" in same) == kept and "outward.weight" not in same

    saved = torch.load(path, weights_only=True)  # of before there was one phone more
    for name in ("phones.weight", "phones.bias"):
        saved["net"][name] = saved["net"][name][:-1]
    torch.save(saved, path)
    with pytest.raises(RealTalkError, match="expression.pt is of another network") as caught:
        train.train(tmp_path, path.parent, 0.02, 2)
    assert "\n" not in str(caught.value)

    data, work = f"--data={tmp_path}", f"--work={tmp_path / 'none'}"
    assert main(["train", "expression", data, work, "--keep-hearing", "--hearing-minutes=0"]) == 2
    assert "nothing has taught the convolutions" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def film_of(path, steps=200, **instead):
    """What `realtalk data videos` writes of somebody who opens his jaw on loud sound."""
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


def test_films_teach_their_beginning_and_keep_their_end(tmp_path):
    pytest.importorskip("scipy")
    from realtalk_ros.training.expression.video_dataset import UNKNOWN, Film, Films

    weights = film_of(tmp_path / "speech" / "ann.npz")
    films = Films(tmp_path)
    assert films.films[0].learned == 180 and films.films[0].held_out() == slice(180, 200)
    got = films.sequence(192, 7, None, np.random.default_rng(0))
    assert got["mel"].shape == (384, 80) and got["weights"].shape == (185, 52)
    assert (got["phone"] == UNKNOWN).all() and got["reference"].shape == (50, 52)
    jaw, heard = got["weights"][:, arkit.INDEX["jawOpen"]], got["mel"][:370:2].mean(1)
    assert np.corrcoef(jaw, heard)[0, 1] > 0.7  # of the same time
    # Films whose end is marked: nobody ever sees it.
    weights[180:] = 1
    film_of(tmp_path / "speech" / "ann.npz", weights=weights)
    films, rng = Films(tmp_path), np.random.default_rng(1)
    for _ in range(20):
        got = films.sequence(192, 7, None, rng)
        assert got["weights"].max() < 1 and got["reference"].max() < 1
    assert Film.load(tmp_path / "speech" / "ann.npz").weights.max() == 1


@pytest.mark.parametrize("instead", [
    {"weights": np.zeros((200, 51))}, {"mel": np.full((400, 80), np.nan)},
    {"starts": np.array([0, 250, 200])}, {"starts": np.array([])},
    {"speech": np.array([{}] * 200, object)},
], ids=["shape", "nan", "falls", "empty", "pickled"])  # fmt: skip
def test_what_is_no_film_is_refused_in_one_line(tmp_path, instead):
    pytest.importorskip("scipy")
    from realtalk_ros.errors import RealTalkError
    from realtalk_ros.training.expression.video_dataset import Films

    film_of(tmp_path / "speech" / "bad.npz", **instead)
    with pytest.raises(RealTalkError, match="bad.npz is no film") as caught:
        Films(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RealTalkError, match="make them by realtalk data videos"):
        Films(tmp_path / "nothing")


def test_the_installed_network_learns_from_films_alone(tmp_path, monkeypatch, ticking):
    """Somebody who opens his mouth on sound that is nothing: the network did not, and learns to."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx", reason="export needs onnx")
    from realtalk_ros.training.expression import evaluate, train

    film_of(tmp_path / "speech" / "ann.npz", 600)
    torch.set_num_threads(1)
    train.train(tmp_path, tmp_path / "run", 0.2, 4, further=True, videos=tmp_path)
    net, saved = train.averaged(tmp_path / "run" / "expression.pt")
    assert saved["step"] > 10 and saved["further"]
    trunk = train.installed(onnx_session.MODEL_DIR).trunk.blocks[0].taps.weight
    torch.testing.assert_close(net.trunk.blocks[0].taps.weight, trunk)  # hears as before
    train.export(net, tmp_path / "models")
    before, after = (
        evaluate.measure_films(ExpressionModel(folder), tmp_path)["ann"]["nothing"]["lip_error_cm"]
        for folder in (None, tmp_path / "models")
    )
    assert after < 0.9 * before


# ---------------------------------------------------------------- the evaluation


def test_a_perfect_network_scores_perfectly_and_a_late_one_is_late(monkeypatch):
    pytest.importorskip("scipy")
    from realtalk_ros.training.expression import evaluate
    from realtalk_ros.training.speech_data.dataset import Speech, SpeechSet

    pcm = 0.01 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    data = SpeechSet.of([Speech(pcm, SEGMENTS, "made up")] * 2)
    mel, segments, _ = data[0]
    motion = coarticulation.animate(
        segments, len(mel) // 2, coarticulation.average_style(), coarticulation.accents(mel)
    ).weights

    def network(weights):
        return lambda model, mel, prior: (weights, evaluate.lips(weights))

    monkeypatch.setattr(evaluate, "predict", network(motion))
    report = evaluate.summary(evaluate.observe(None, data, None))
    assert report["lip_error_cm"] == 0 and report["opening_correlation"] == 1
    assert report["closure_recall"] == report["closure_precision"] == 1
    assert report["closure_count"] == 6 and report["labiodental_count"] == 2
    assert report["labiodental_recall"] == report["rounding_recall"] == 1
    assert report["pause_movement"] == 0 and report["jitter_ratio"] == 1

    monkeypatch.setattr(evaluate, "predict", network(np.roll(motion, 3, axis=0)))
    late = evaluate.summary(evaluate.observe(None, data, None))
    assert late["opening_lag_ms"] == pytest.approx(60, abs=3)

    monkeypatch.setattr(evaluate, "predict", network(0 * motion))  # always shut
    report = evaluate.summary(evaluate.observe(None, data, None))
    assert report["closure_recall"] == 1 and report["closure_precision"] <= 0.5
    assert report["labiodental_recall"] == report["rounding_recall"] == 0


def test_a_set_of_several_people_tells_of_each(monkeypatch):
    pytest.importorskip("scipy")
    from realtalk_ros.training.expression import evaluate
    from realtalk_ros.training.speech_data.dataset import Speech, SpeechSet

    pcm = 0.01 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)  # 2.5 s
    data = SpeechSet.of(
        Speech(20 * pcm if name == "loud" else pcm, SEGMENTS, name)
        for name in ["loud", "soft"] * 24 + ["hardly anything"]
    )
    frames = len(data[0][0]) // 2
    style = coarticulation.average_style()
    motion = coarticulation.animate(SEGMENTS, frames, style, np.zeros(frames)).weights

    def network(model, mel, prior):  # understands who is loud, shuts the mouth for others
        weights = motion * (mel.mean() > data.mel.mean())
        return weights, evaluate.lips(weights)

    monkeypatch.setattr(evaluate, "predict", network)
    seen = evaluate.observe(None, data, None)
    report = evaluate.by_source({"people": seen, "one": seen[::2][:-1]})
    assert list(report) == ["people"] and list(report["people"]) == ["loud", "soft"]
    loud, soft = report["people"].values()
    assert loud["closure_precision"] == 1 and soft["closure_precision"] <= 0.5
    assert loud["closure_count"] == soft["closure_count"] == 3 * 24
    assert report["people"]["loud"]["opening_correlation"] > 0.99

    loud, soft = seen[:-1:2], seen[1::2]
    sets = {"unseen real reader": loud, "real noisy": seen, "unseen real speaker": soft}
    assert evaluate.real_strangers(sets) == {"all real, clean": evaluate.summary(seen[:-1])}
    assert evaluate.real_strangers({"unseen real reader": loud, "real noisy": seen}) == {}


def test_ipa_is_spelled_in_our_phones():
    from realtalk_ros.training.speech_data.phones import from_ipa

    assert from_ipa("ˈaɪ") == ["AY"] and from_ipa("tʃ") == ["CH"] and from_ipa("yː") == ["UE"]
    assert from_ipa("(en)") == [] and from_ipa("ɔ̃") == ["AO"]
    assert from_ipa("b") == ["B"] and from_ipa("β") == ["BH"]


def test_espeak_phones_have_times_and_stops_their_closure():
    pytest.importorskip("scipy")
    from realtalk_ros.errors import RealTalkError
    from realtalk_ros.training.speech_data import tts_engines

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
