# SPDX-License-Identifier: Apache-2.0
"""Speech data: texts of the corpora, held-out speakers, and times that stay with the audio."""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("soxr")

from training_shards import broken

from realtalk_ros.audio.espeak import speak
from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data import (
    build,
    corpora,
    fetch,
    synthetic_speech,
    waveform_augment,
)
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import (
    Speech,
    SpeechDataset,
    make_speech,
)

STARTS = np.arange(0.5, 5.6, 0.5)


def clicks() -> Speech:
    """A click at the start of every phone, in a little noise."""
    pcm = np.random.default_rng(0).normal(0, 1e-3, 6 * SAMPLE_RATE).astype(np.float32)
    for start in STARTS:
        pcm[int(start * SAMPLE_RATE) : int(start * SAMPLE_RATE) + 16] += 0.9 * np.hanning(16)
    names = [("P", "AA")[i % 2] for i in range(len(STARTS))]
    spoken = [(n, s, s + 0.5) for n, s in zip(names, STARTS, strict=True)]
    return make_speech(pcm, [(ph.SIL, 0.0, 0.5), *spoken], "clicks")


def off_by(pcm: np.ndarray, starts: np.ndarray) -> float:
    """Seconds between the times and the loudest sample within 50 ms of each, at worst."""
    worst = 0.0
    for start in starts:
        first = max(0, int((start - 0.05) * SAMPLE_RATE))
        around = np.abs(pcm[first : int((start + 0.05) * SAMPLE_RATE)])
        worst = max(worst, abs((first + int(np.argmax(around))) / SAMPLE_RATE - start))
    return worst


def test_a_shard_that_is_none_is_refused(tmp_path):
    whole, bad = tmp_path / "whole.npz", tmp_path / "bad.npz"
    SpeechDataset.of([clicks()]).save(whole)
    assert len(SpeechDataset.load(whole, whole)) == 2
    for content in broken(whole.read_bytes()):
        bad.write_bytes(content)
        with pytest.raises(RealTalkError, match="bad.npz is no shard of speech") as raised:
            SpeechDataset.load(whole, bad)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_time_stretching_moves_the_times(factor):
    pcm, new_times = waveform_augment.time_stretch(clicks().pcm, factor)
    assert len(pcm) == pytest.approx(6 * SAMPLE_RATE * factor, rel=0.01)
    assert off_by(pcm, new_times(STARTS)) < 0.006


def test_voices_and_channels_do_not_delay():
    pcm = clicks().pcm
    assert off_by(waveform_augment.warp_formants(pcm, 1.15), STARTS) < 0.002
    assert off_by(waveform_augment.telephone(pcm), STARTS) < 0.002
    for name in ("libopus", "libmp3lame"):
        assert off_by(waveform_augment.codec(pcm, name, 16000), STARTS) < 0.002


def test_augmented_speech_keeps_its_phones_in_order():
    speech = clicks()
    sounds = [np.random.default_rng(1).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)]
    for seed in range(8):
        changed = waveform_augment.augment(speech, np.random.default_rng(seed), sounds)
        assert changed.pcm.dtype == np.float32 and np.abs(changed.pcm).max() <= 1
        spoken = [p for p, _, _ in changed.segments if p != ph.SIL]
        assert spoken == [p for p, _, _ in speech.segments if p != ph.SIL]
        ends = [e for _, _, e in changed.segments]
        assert changed.segments[0][1] == 0 and ends == sorted(ends)
        assert ends[-1] == pytest.approx(len(changed.pcm) / SAMPLE_RATE)


def test_noise_has_the_wanted_power():
    speech = clicks()
    speech.pcm = np.random.default_rng(2).normal(0, 0.02, len(speech.pcm)).astype(np.float32)
    noisy = waveform_augment.add_noise(speech, 10, np.random.default_rng(3))
    ratio = speech.pcm.std() / (noisy.pcm - speech.pcm).std()
    assert 20 * np.log10(ratio) == pytest.approx(10, abs=0.5)


def write_wave(path: Path, rate: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = np.sin(2 * np.pi * 300 * np.arange(int(rate * seconds)) / rate)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((tone * 10000).astype("<i2").tobytes())


@pytest.fixture
def packages(tmp_path) -> Path:
    """A tiny tree like the Debian packages'."""
    stamps = tmp_path / "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
    for name in ("cow.wav", "cow_desc.wav", "cow_desc_fr.wav", "cow_desc_el.wav", "cow_desc_xx.wav",
                 "math/7.wav"):  # fmt: skip
        write_wave(stamps / name, 44100)
    listing = "A cow.\nfr.utf8=Une vache.\nel.utf8=Μια αγελάδα.\nde.utf8=Eine Kuh.\n"
    (stamps / "cow.txt").write_text(listing, "utf-8")

    sounds = tmp_path / "asterisk-prompt-it-menardi-wav/usr/share/asterisk/sounds/it_IT_f_Menardi"
    for name in ("agent.wav", "digits/1.wav", "beep.wav", "unknown.wav"):
        write_wave(sounds / name, 8000)
    prompts = tmp_path / "asterisk-core-sounds-it/usr/share/doc/asterisk-core-sounds-it"
    prompts.mkdir(parents=True)
    text = "; a comment: x\nagent: Operatore: connesso\ndigits/1: uno\nbeep: [a tone]\n"
    (prompts / "core-sounds-it.txt.gz").write_bytes(gzip.compress(text.encode()))

    game = "usr/share/games/fillets-ng"
    script = tmp_path / "fillets-ng-data" / game / "script/city/dialogs_cs.lua"
    script.parent.mkdir(parents=True)
    script.write_text(
        'dialogId("c-m-one", "font_small", "A \\"head\\".")\ndialogStr("To je\\nhlava.")\n\n'
        'dialogId("c-v-two", "font_big", "Silent")\ndialogStr("Ticho")\n'
        'dialogId("c-x-drip", "", "")\n', "utf-8",
    )  # fmt: skip
    for name in ("c-m-one", "c-x-drip"):
        path = tmp_path / "fillets-ng-data-cs" / game / f"sound/city/cs/{name}.ogg"
        write_wave(path, 22050)  # WAV inside: the parser goes by names

    ocean = tmp_path / "speechocean762"
    for split, speakers in (("train", {"0001": 7}), ("test", {"0002": 30, "0003": 31, "0009": 6})):
        tables = {
            "text": "".join(f"{s}1\tWE CALL IT {s}\n" for s in speakers),
            "wav.scp": "".join(f"{s}1\tWAVE/SPEAKER{s}/{s}1.WAV\n" for s in speakers),
            "utt2spk": "".join(f"{s}1 {s}\n" for s in speakers),
            "spk2age": "".join(f"{s}\t{age}\n" for s, age in speakers.items()),
        }
        for name, table in tables.items():
            (ocean / split).mkdir(parents=True, exist_ok=True)
            (ocean / split / name).write_text(table)
        for speaker in speakers:
            write_wave(ocean / f"WAVE/SPEAKER{speaker}/{speaker}1.WAV", 16000)
    write_wave(tmp_path / "kerstin/verified/de_1.flac", 22050)
    (tmp_path / "kerstin/metadata.csv").write_text("de_1|Eine Kuh.\nde_2|Nicht da.\n")
    write_wave(tmp_path / "nathalie/verified/nl_1.flac", 48000)
    (tmp_path / "nathalie/metadata.csv").write_text("nl_1|Een koe.\n")
    write_wave(tmp_path / "kathleen/data/a_1.wav", 48000)
    write_wave(tmp_path / "kathleen/data/without_text.wav", 48000)
    (tmp_path / "kathleen/data/a_1.txt").write_text("A cow.\n")
    orders = tmp_path / "picovoice-orders/data"
    write_wave(orders / "speech/clean/a.wav", 16000)
    write_wave(orders / "speech/clean/b.wav", 16000)
    (orders / "label").mkdir()
    (orders / "label/label.json").write_text(json.dumps({
        "a.wav": {"slots": {"coffeeDrink": "latte", "size": "small", "roast": "dark roast",
                            "milkAmount": " milk", "sugarAmount": "a  lot of sugar"}},
        "b.wav": {"slots": {"coffeeDrink": "coffee"}},
        "not_there.wav": {"slots": {"coffeeDrink": "mocha"}},
    }))  # fmt: skip
    write_wave(tmp_path / "picovoice-words/audio/view glass/1.wav", 16000)
    write_wave(tmp_path / "ljspeech-part/LJSpeech-1.1/wavs/LJ001-0001.wav", 22050)
    listing = tmp_path / "ljspeech-part/LJSpeech-1.1/metadata.csv"
    listing.write_text("LJ001-0001|in 1450|in fourteen fifty\nLJ001-0002|x|x\n")
    for speaker in ("19", "669"):
        book = tmp_path / f"librispeech-part/LibriSpeech/train-clean-5/{speaker}/198"
        write_wave(book / f"{speaker}-198-0000.flac", 16000)
        texts = f"{speaker}-198-0000 IT IS ABBEY {speaker}\n{speaker}-198-0001 NOT THERE\n"
        (book / f"{speaker}-198.trans.txt").write_text(texts)
    for code, text in (("es", 'Un "vaso.'), ("de", "Ein Glas.")):
        folder = tmp_path / f"commonvoice-languages/{code}"
        write_wave(folder / f"clips/{code}_1.mp3", 48000)
        row = f"x\t{code}_1.mp3\t{text}\t2\nx\tnot_there.mp3\tx\t2\n"
        listing = f"client_id\tpath\tsentence\tup_votes\n{row}"
        (folder / "validated.tsv").write_text(listing, "utf-8")
    english = tmp_path / "commonvoice-en/asr"
    write_wave(english / "data/cv-valid-dev/cv-valid-dev/sample-000000.mp3", 48000)
    row = 'cv-valid-dev/sample-000000.mp3,"yes, be careful",1\n'
    (english / "cv-valid-dev.csv").write_text(f"filename,text,up_votes\n{row}")
    return tmp_path


PLEASE = "{brew|can I get|can I have|I want|get me|give me|I'd like|make me|may I have} {a|an} "


def test_corpora_pair_recordings_with_their_texts(packages, monkeypatch):
    monkeypatch.setattr(corpora, "HELD_OUT_SPEECHOCEAN", 1)
    found = {(c.source, c.voice, c.text, c.path.name) for c in corpora.recordings(packages)}
    assert found == {
        ("menardi/it", "it", "Operatore: connesso", "agent.wav"),
        ("menardi/it", "it", "uno", "1.wav"),
        ("tuxpaint/en", "en-us", "A cow.", "cow_desc.wav"),
        ("tuxpaint/fr", "fr", "Une vache.", "cow_desc_fr.wav"),
        ("tuxpaint/el", "el", "Μια αγελάδα.", "cow_desc_el.wav"),
        ("fillets/cs/small", "cs", "To je hlava.", "c-m-one.ogg"),
        ("speechocean/en/others", "en-us", "WE CALL IT 0001", "00011.WAV"),
        ("speechocean/en/others", "en-us", "WE CALL IT 0002", "00021.WAV"),
        ("speechocean/en/held_out", "en-us", "WE CALL IT 0003", "00031.WAV"),  # an adult
        ("speechocean/en/others", "en-us", "WE CALL IT 0009", "00091.WAV"),
        ("kerstin/de", "de", "Eine Kuh.", "de_1.flac"),
        ("nathalie/nl", "nl", "Een koe.", "nl_1.flac"),
        ("kathleen/en", "en-us", "A cow.", "a_1.wav"),
        ("picovoice/en/orders", "en-us",
         PLEASE + "{small dark roast|dark roast small} latte with "
         "{milk and a lot of sugar|a lot of sugar and milk}", "a.wav"),
        ("picovoice/en/orders", "en-us", PLEASE + "{} coffee", "b.wav"),
        ("picovoice/en/words", "en-us", "view glass", "1.wav"),
        ("ljspeech/en", "en-us", "in fourteen fifty", "LJ001-0001.wav"),
        ("librispeech/en/others", "en-us", "it is abbey 19", "19-198-0000.flac"),
        ("librispeech/en/held_out", "en-us", "it is abbey 669", "669-198-0000.flac"),
        ("commonvoice/es", "es-419", 'Un "vaso.', "es_1.mp3"),  # and no German
        ("commonvoice/en", "en-us", "yes, be careful", "sample-000000.mp3"),
    }  # fmt: skip
    assert [p.name for p in corpora.noises(packages)] == ["cow.wav"]
    texts = corpora.sentences(packages)
    assert texts["de"] == ["Eine Kuh."] and texts["cs"] == ["To je hlava.", "Ticho"]
    cow = next(c for c in corpora.recordings(packages) if c.path.name == "cow_desc.wav")
    pcm = corpora.read_recording(cow.path)
    assert pcm.dtype == np.float32 and len(pcm) == pytest.approx(SAMPLE_RATE / 2, abs=2)


def test_first_alignments_go_on_where_they_were_interrupted(tmp_path, monkeypatch):
    found = [
        corpora.Recording("asterisk/en", "en-us", "a", tmp_path / f"{k}.wav") for k in range(6)
    ]
    speech = Speech(np.zeros(SAMPLE_RATE, np.float32), [("AA", 0.0, 1.0)], "asterisk/en")
    for name, made in {
        "recordings": found, "read_recording": speech.pcm, "align_recording": speech,
        "PocketsphinxAligner": None, "espeak": None,
    }.items():  # fmt: skip
        monkeypatch.setattr(build, name, lambda *_, made=made: made)
    monkeypatch.setattr(build, "FIRST_RECORDINGS", 4)
    interrupted = build.first_alignments(tmp_path, tmp_path)
    assert len([next(interrupted) for _ in range(2)]) == 2
    interrupted.close()
    assert len(list(build.first_alignments(tmp_path, tmp_path))) == 4
    assert len(list(build.first_alignments(tmp_path, tmp_path / "unbroken"))) == 4
    lines = [
        (folder / "align_en.jsonl").read_text() for folder in (tmp_path, tmp_path / "unbroken")
    ]
    assert lines[0] == lines[1]


def test_held_out_voices_are_in_no_training_set(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "HELD_OUT_SPEECHOCEAN", 1)
    assert not set(synthetic_speech.HELD_OUT_ESPEAK) & set(synthetic_speech.ESPEAK_VOICES)
    assert not {"de", "el"} & set(synthetic_speech.ESPEAK_VOICES.values())
    assert not set(synthetic_speech.HELD_OUT_FLITE) & set(synthetic_speech.FLITE_VOICES)
    assert "slt" not in synthetic_speech.FLITE_VOICES  # the held-out engine's speaker
    assert not set(synthetic_speech.HELD_OUT_FESTIVAL) & set(synthetic_speech.FESTIVAL_TRAINING)
    aligned = [
        build.Alignment(c, [(ph.SIL, 0.0, 0.1), ("AA", 0.1, 0.5)], -1.0, -2.0, True)
        for c in corpora.recordings(packages)
    ]
    work = tmp_path / "work"
    cache = tmp_path / "aligned.jsonl"
    cache.touch()
    build.Builder(packages, work, 1.0).real(aligned, cache)
    trained = {str(s) for p in work.glob("train_*.npz") for s in SpeechDataset.load(p).source}
    tested = {str(s) for p in work.glob("test_*.npz") for s in SpeechDataset.load(p).source}
    assert trained == {
        "menardi/it", "tuxpaint/fr", "fillets/cs/small", "speechocean/en/others",
        "picovoice/en/orders", "picovoice/en/words", "nathalie/nl", "kathleen/en",
        "librispeech/en/others", "commonvoice/es", "commonvoice/en",
    }  # fmt: skip
    assert tested == {"tuxpaint/en", "tuxpaint/el", "speechocean/en/held_out", "kerstin/de",
                      "ljspeech/en", "librispeech/en/held_out"}  # fmt: skip
    noisy = SpeechDataset.load(work / "test_real_noisy.npz")
    clean = SpeechDataset.load(work / "test_unseen_real_speaker.npz")
    assert noisy.times.tolist() == clean.times.tolist()


def test_a_folder_without_packages_is_refused(tmp_path):
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    args = parser.parse_args(["--packages", str(tmp_path / "none"), "--work", str(tmp_path)])
    with pytest.raises(RealTalkError, match="no Debian packages under"):
        build.run(args)


@pytest.mark.skipif(shutil.which("festival") is None, reason="festival is not installed")
def test_festival_reports_when_its_phones_are_spoken():
    from realtalk_ros.training.speech_data.tts_engines import Festival

    try:
        (speech,) = Festival().speak(["Papa bought a map."], "kal_diphone")
    except RealTalkError as error:
        pytest.skip(str(error))
    spoken = [p for p, _, _ in speech.segments if p != ph.SIL]
    assert spoken[:4] == ["P", "AA", "P", "AH"] and spoken[-1] == "P"
    power = {
        p: np.mean([np.square(speech.pcm[int(s * SAMPLE_RATE) : int(e * SAMPLE_RATE)]).mean()
                    for q, s, e in speech.segments if q == p])
        for p in ("AA", "P", ph.SIL)
    }  # fmt: skip
    assert power["AA"] > 10 * power["P"] > 10 * power[ph.SIL]


def test_a_missing_festival_is_reported(monkeypatch):
    from realtalk_ros.training.speech_data import tts_engines

    monkeypatch.setattr(tts_engines.shutil, "which", lambda name: None)
    with pytest.raises(RealTalkError, match="apt-get install festival"):
        tts_engines.Festival()


def test_stillness_has_steady_noise_and_such_that_begins_and_ends():
    clips = [clip.pcm for clip in synthetic_speech.stillness(240, seed=3)]
    assert len(clips) == 40 and all(np.abs(pcm).max() <= 1 for pcm in clips)
    silent = [np.mean(pcm == 0) for pcm in clips if pcm.any()]
    assert min(silent) < 0.01 and any(0.05 < share < 0.95 for share in silent)
    levels = [20 * np.log10(pcm.std()) for pcm in clips if pcm.any()]
    assert min(levels) < -60 and max(levels) > -35  # dB


def test_threads_take_turns_with_espeak():
    """Its state is one for the process: of speech for training, and of speech of the run time."""
    from realtalk_ros.training.speech_data import tts_engines

    try:
        engine = tts_engines.espeak()
    except RealTalkError:
        pytest.skip("espeak-ng is not installed")

    def counted(number):
        if number % 2:
            return len(engine.events("one, two, three", "en-us")[0])
        return len(speak("four, five, six, seven", "de")[0])

    alone = [counted(number) for number in range(2)]
    with ThreadPoolExecutor(4) as pool:
        for number, length in enumerate(pool.map(counted, range(20))):
            assert length == pytest.approx(alone[number % 2], rel=0.03)  # never quite the same


def test_packages_that_were_unpacked_by_hand_need_no_tools_of_debian(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
    first, *others = corpora.PACKAGES
    for name in (*corpora.REPOSITORIES, *others):
        (tmp_path / name).mkdir()
    with pytest.raises(RealTalkError, match="--fetch needs Debian's"):
        fetch.fetch(tmp_path)
    (tmp_path / first).mkdir()
    fetch.fetch(tmp_path)
