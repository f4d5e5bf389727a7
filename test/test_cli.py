# SPDX-License-Identifier: Apache-2.0
"""The realtalk command: files in and out, exit codes, one line for what is wrong."""

import argparse
import csv
import importlib
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest

from realtalk_ros import __version__, install_hints, onnx_session
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.cli import COMMANDS, main
from realtalk_ros.commands import bench, demo, doctor
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output import live_link
from realtalk_ros.rendering.face_renderer import FaceRenderer
from wav_files import write_wav


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """1.2 s of real speech."""
    pcm, rate = read_audio(SAMPLE_CLIP)
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    return write_wav(path, pcm[: int(1.2 * rate)], rate)


def speak(capsys, *arguments):
    """Exit code, stdout and stderr of `realtalk speak`."""
    code = main(["speak", *map(str, arguments)])
    return code, *capsys.readouterr()


def command(*arguments, **environment):
    """The same for any subcommand, in a process of its own."""
    return subprocess.run([sys.executable, "-m", "realtalk_ros.cli", *map(str, arguments)],
                          capture_output=True, text=True,
                          env={**os.environ, **environment})  # fmt: skip


def one_line(text):
    return text.count("\n") == 1 and text.endswith("\n") and "Traceback" not in text


def test_speak_writes_a_video_with_sound_and_a_csv(capsys, tmp_path, clip):
    out, table = tmp_path / "o.mp4", tmp_path / "o.csv"
    code, said, complaints = speak(capsys, "--wav", clip, "--out", out, "--csv", table,
                                   "--size", 256, "--mark")  # fmt: skip
    assert code == 0 and "x real time" in said
    assert "Traceback" not in complaints
    with av.open(str(out), options={"export_xmp": "1"}) as video:
        assert Provenance.read(video.metadata["xmp"]) == Provenance("default")
        picture, sound = video.streams.video[0], video.streams.audio[0]
        assert picture.average_rate == 25 and picture.codec_context.name == "h264"
        assert (picture.width, picture.height) == (256, 256)
        assert sound.rate == 16000
        images = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    seconds = len(images) / 25
    assert 1.2 + 0.2 <= seconds <= 1.2 + 0.6  # a little longer, for the mouth to close
    assert images[0].std() > 5  # a picture, not a plain colour
    assert np.ptp(images[0][-12:, -50:]) > 100  # white letters on a dark plate
    heard, rate = read_audio(out)
    assert len(heard) / rate == pytest.approx(1.2, abs=0.1)
    told, _ = read_audio(clip)
    n = min(len(told), len(heard))
    lag = np.correlate(heard[:n], told[:n], "full").argmax() - (n - 1)
    assert abs(lag) <= rate // 200  # the sound is where it was, within 5 ms

    with open(table, newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == live_link.COLUMNS and len(header) == 63
    assert len(rows) == len(images) and {len(row) for row in rows} == {63}
    assert rows[0][0] == "00:00:00:00.000" and rows[26][0] == "00:00:01:01.000"
    assert {row[1] for row in rows} == {"61"}
    jaw = np.array([float(row[header.index("JawOpen")]) for row in rows])
    assert jaw[12:].max() > 0.05 > jaw[-1]  # he begins to speak at 0.5 s; shut at the end
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "o.mp4"]


def test_speak_twice_gives_the_same_csv(capsys, tmp_path, clip):
    for name in "ab":
        code, *_ = speak(capsys, "--wav", clip, "--out", tmp_path / f"{name}.mp4",
                         "--csv", tmp_path / f"{name}.csv", "--size", 64, "--fps", 30)  # fmt: skip
        assert code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_standard_input_at_a_size_that_the_node_takes(tmp_path, clip):
    ran = subprocess.run([sys.executable, "-m", "realtalk_ros.cli", "speak", "--wav", "-", "--size",
                          "65", "--out", str(tmp_path / "o.mp4")],
                         input=clip.read_bytes(), capture_output=True)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    heard, rate = read_audio(tmp_path / "o.mp4")
    assert len(heard) / rate == pytest.approx(1.2, abs=0.1)


def test_silence_is_spoken_with_a_closed_mouth(capsys, tmp_path):
    write_wav(tmp_path / "silent.wav", np.zeros(8000), 8000, bytes_per_sample=1)
    code, *_ = speak(capsys, "--wav", tmp_path / "silent.wav", "--out", tmp_path / "o.mp4",
                     "--csv", tmp_path / "o.csv", "--size", 64)  # fmt: skip
    assert code == 0
    with open(tmp_path / "o.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert max(float(row[header.index("JawOpen")]) for row in rows) < 0.05


BAD = [
    (["--wav", "missing.wav"], "check the path"),
    (["--wav", "text.wav"], "not an audio file"),
    (["--wav", "empty.wav"], "is empty"),
    (["--wav", "."], "is a folder"),
    (["--text", ""], "no text to speak"),
    (["--text", "🙂"], "no text to speak"),
    (["--text", "<p>...</p>"], "no text to speak"),
    (["--text", "Hi.", "--voice", "../voices"], "no voice"),
    (["--wav", "clip.wav", "--fps", "0"], "--fps 0: give 1 to 120"),
    (["--wav", "clip.wav", "--size", "63"], "give 64 to 2048"),
    (["--wav", "clip.wav", "--size", "4096"], "give 64 to 2048"),
    (["--wav", "clip.wav", "--avatar", "nobody"], "no avatar 'nobody'"),
    (["--wav", "clip.wav", "--out", "nowhere/o.mp4"], "make the folder"),
    (["--wav", "clip.wav", "--out", "o.avi"], ".mp4"),
    (["--wav", "clip.wav", "--out", "here.mp4"], "is a folder"),
    (["--wav", "clip.wav", "--csv", "clip.wav"], "is the input"),
    (["--wav", "clip.wav", "--csv", "o.mp4"], "two names"),
    (["--wav", "clip.wav", "--mark", "\u2713"], "ASCII"),
    (["--wav", "clip.wav", "--background", "green"], "; give a colour such as"),
    (["--wav", "clip.wav", "--background", "transparent"], "no transparency"),
]


@pytest.mark.parametrize("arguments, expected", BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    capsys, tmp_path, monkeypatch, clip, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "clip.wav")
    (tmp_path / "text.wav").write_text("This is not audio.\n" * 50)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "here.mp4").mkdir()
    before = sorted(tmp_path.iterdir())
    if "--out" not in arguments:
        arguments = [*arguments, "--out", "o.mp4"]
    code, said, complaint = speak(capsys, *arguments)
    assert code == 2 and not said and one_line(complaint) and expected in complaint
    assert complaint.startswith("realtalk speak: ")
    assert sorted(tmp_path.iterdir()) == before


def test_an_interrupt_ends_with_130_and_leaves_nothing(capsys, tmp_path, clip, monkeypatch):
    from realtalk_ros.rendering.face_renderer import FaceRenderer

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(FaceRenderer, "generate", interrupted)
    code, *_ = speak(capsys, "--wav", clip, "--out", tmp_path / "o.mp4",
                     "--csv", tmp_path / "o.csv")  # fmt: skip
    assert code == 130 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [
    "", "nonsense", "train", "speak", "speak --wav", "speak --wav a --text b --out c",
    "speak --text a --out b.mp4 --fps=--", "soak --minutes=--"])  # fmt: skip
def test_a_wrong_command_line_is_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    said, complaint = capsys.readouterr()
    assert ended.value.code == 2 and not said and one_line(complaint)


@pytest.mark.parametrize("arguments, command", [
    ("avatars check mira kenji", "realtalk avatars check"), ("doctor --quick", "realtalk doctor"),
    ("--quick speak --text a --out b.mp4", "realtalk")])  # fmt: skip
def test_whose_arguments_were_not_recognized_is_told(capsys, arguments, command):
    with pytest.raises(SystemExit):
        main(arguments.split())
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"{command}: unrecognized arguments: ")
    assert complaint.endswith(f" (see {command} --help)\n")


def test_help_and_version_need_nothing_heavy():
    code = (
        "import sys; from realtalk_ros.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert not {'torch', 'rclpy', 'onnxruntime', 'moderngl'} & set(sys.modules)\n"
    )
    for arguments, expected in ((["--help"], "doctor"), (["speak", "--help"], "--wav"),
                                (["--version"], __version__)):  # fmt: skip
        ran = subprocess.run([sys.executable, "-c", code, *arguments],
                             capture_output=True, text=True)  # fmt: skip
        assert ran.returncode == 0 and expected in ran.stdout, ran.stderr


@pytest.mark.parametrize("missing, hint", [("torch", "needs torch, which is not installed: "),
                                           ("rclpy", "build this package with colcon"),
                                           ("realtalk_ros.msg", "messages are not built"),
                                           ])  # fmt: skip
def test_a_missing_module_is_named_with_what_brings_it(capsys, monkeypatch, missing, hint):
    def absent(args):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(doctor, "run", absent)
    assert main(["doctor"]) == 2
    complaint = capsys.readouterr().err
    assert one_line(complaint) and hint in complaint and "install" in complaint


@pytest.mark.parametrize("words, missing, brought", [
    (["data", "speech"], "soxr", ["soxr"]),
    (["enroll", "--image", "a.png", "--name", "a", "--consent", "A"], "scipy", ["scipy"]),
])  # fmt: skip
def test_each_command_asks_for_its_own_extra(capsys, monkeypatch, words, missing, brought):
    def absent(args):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    class Module:
        add_arguments = staticmethod(lambda parser: parser.add_argument("rest", nargs="*"))
        run = staticmethod(absent)

    monkeypatch.setattr("realtalk_ros.cli.importlib.import_module", lambda name: Module)
    monkeypatch.setattr(install_hints, "is_installed", lambda name: name != missing)
    assert main(words[: 2 if words[0] == "data" else 1]) == 2
    command = capsys.readouterr().err.strip().split("not installed: ")[1]
    assert command.split()[-len(brought) :] == brought or command.endswith("python3-scipy")


def test_every_subcommand_follows_the_convention():
    for words, (module, _) in COMMANDS.items():
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            assert not (error.name or "").startswith("realtalk_ros.") or error.name in (
                "realtalk_ros.msg",), words  # fmt: skip
            continue  # an extra that is not installed here
        loaded.add_arguments(argparse.ArgumentParser())
        assert callable(loaded.run), words


@pytest.mark.parametrize(
    "published, status, word", [(100, 0, ""), (45, 0, "keep up"), (20, 1, "slow")]
)
def test_demo_fails_only_where_there_is_no_face(capsys, published, status, word):
    figures = demo.Figures(expected=100, published=published, fps=11.0, latency_ms=(1.0, 2.0))
    assert demo.judge(figures) == status
    err = capsys.readouterr().err
    assert word in err and bool(err) == bool(word)


def test_demo_says_what_to_look_at_when_the_speech_stops():
    recorder = SimpleNamespace(poll=lambda: None)
    monitor = SimpleNamespace(nodes={"recorder_node": recorder}, spin=lambda: None, spoken=1.0,
                              check=lambda: None, stalled=demo.STALL_TIMEOUT + 1)  # fmt: skip
    with pytest.raises(RealTalkError, match="did not go on for 20 s: .*too busy.*doctor"):
        demo.follow_speech(24.0, monitor)


@pytest.mark.parametrize("out, reason", [
    ("missing/a.mp4", "make the folder"), (".", "is a folder"), ("full.mp4", "MB left"),
])  # fmt: skip
def test_demo_tells_at_once_where_it_cannot_write(capsys, monkeypatch, tmp_path, out, reason):
    monkeypatch.setattr("realtalk_ros.commands.demo.record", lambda *_: pytest.fail("it went on"))
    full = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)
    if out == "full.mp4":
        monkeypatch.setattr("realtalk_ros.commands.demo.shutil.disk_usage", lambda folder: full)
    assert main(["demo", "--out", str(tmp_path / out)]) == 2
    complaint = capsys.readouterr().err
    assert one_line(complaint) and reason in complaint


def test_bench_streams_a_while_and_tells_the_memory(capsys):
    assert main(["bench", "--audio-hours", "0.001"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["memory_mb_at_the_end"] >= 10 and report["step_ms_last_tenth"] > 0
    assert main(["bench", "--audio-hours", "0"]) == 2
    capsys.readouterr()
    assert main(["bench", "--frames", "12"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == 12 and report["memory_mb_at_the_end"] > 50
    assert main(["bench", "--frames", "0"]) == 2


def test_bench_reports_every_stage(capsys, monkeypatch):
    clock = SimpleNamespace(now=0.0)  # each look at it takes 10 ms, each half of a frame 1 s

    def passes(seconds, call=lambda: clock.now):
        def timed(*args):
            clock.now += seconds
            return call(*args)

        return timed

    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=passes(0.01)))
    for half in ("generate", "compose"):
        monkeypatch.setattr(FaceRenderer, half, passes(1.0, getattr(FaceRenderer, half)))
    assert main(["bench", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    stages = report["stages"]
    for name in ("audio_features", "transformer", "renderer", "frame_alone", "whole_frame"):
        assert 0 < stages[name]["median_ms"] <= stages[name]["p95_ms"]
    assert stages["renderer"]["median_ms"] == 1010 and stages["whole_frame"]["median_ms"] == 2010
    assert report["frames"] > 0 and report["frames_per_second"] > 0
    assert report["peak_memory_mb"] > 30 and report["machine"]["cores"] >= 1
    assert main(["bench", "--threads", "0"]) == 2
    assert one_line(capsys.readouterr().err)


def test_doctor_finds_this_installation_able(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "match their checksums" in said and "speech in, video out" in said


@pytest.mark.parametrize("harm, expected", [("tampered", "does not match its checksum"),
                                            ("truncated", "does not match its checksum"),
                                            ("missing", "is missing")])  # fmt: skip
def test_doctor_notices_a_harmed_model(capsys, monkeypatch, tmp_path, harm, expected):
    shutil.copytree(onnx_session.MODEL_DIR, tmp_path / "models")
    victim = tmp_path / "models" / "expression_step.onnx"
    data = bytearray(victim.read_bytes())
    if harm == "tampered":
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    elif harm == "truncated":
        victim.write_bytes(data[: len(data) // 2])
    else:
        victim.unlink()
    monkeypatch.setattr(onnx_session, "MODEL_DIR", tmp_path / "models")
    assert main(["doctor"]) == 2
    said, complaint = capsys.readouterr()
    assert expected in said and "expression_step.onnx" in said
    assert one_line(complaint)


def test_a_harmed_model_ends_speak_in_one_line(tmp_path, clip):
    shutil.copytree(onnx_session.MODEL_DIR, tmp_path / "models")
    (tmp_path / "models" / "renderer_generate.onnx").write_bytes(b"not a network")
    ran = command("speak", "--wav", clip, "--out", tmp_path / "o.mp4",
                  REALTALK_MODEL_DIR=str(tmp_path / "models"))  # fmt: skip
    assert ran.returncode == 2 and one_line(ran.stderr) and "checksum" in ran.stderr
    assert "put the right one there" in ran.stderr  # the installation is as it should be
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("error", ["ImportError('libx.so.1: no such file')", "RuntimeError('x')"])
def test_doctor_repairs_what_is_installed_and_broken(capsys, monkeypatch, tmp_path, error):
    (tmp_path / "onnxruntime.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["doctor"]) == 2
    said, complaint = capsys.readouterr()
    failures = [line for line in said.splitlines() if line.startswith("fail")]
    assert failures[0].startswith("fail  onnxruntime cannot be imported")
    assert "ok    tqdm" in said and "install --force-reinstall --no-deps onnxruntime==" in said
    if "ImportError" in error:
        assert len(failures) == 1 and "1 of the above" in complaint


def test_doctor_tells_each_package_that_is_missing_once(capsys, monkeypatch):
    def disk():
        importlib.import_module("another_package_that_is_missing")

    def model_files():
        importlib.import_module("tqdm")

    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if it were not installed
    monkeypatch.setattr(doctor, "model_files", model_files)
    monkeypatch.setattr(doctor, "disk", disk)
    assert main(["doctor"]) == 2
    failures = [line for line in capsys.readouterr()[0].splitlines() if line.startswith("fail")]
    assert len(failures) == 2 and "another_package" in failures[1]


def test_doctor_tells_what_else_could_be_installed(monkeypatch):
    names = (("no_such_package", "display", "the web page"), ("json", "tts", "a voice"))
    monkeypatch.setattr(doctor, "OPTIONAL", names)
    missing, there = doctor.optional()
    assert missing.level == "warn" and "aiohttp" in missing.advice
    assert there.level == "ok" and "a voice" in str(there)


def test_doctor_goes_on_where_the_rmw_is_missing(monkeypatch):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_that_is_not_there")
    (finding,) = doctor.ros()
    assert finding.level == "warn" and "rmw_that_is_not_there" in finding.what
    assert "unset RMW_IMPLEMENTATION" in finding.advice


def test_doctor_goes_on_where_ros_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "ROS_PACKAGES", ("no_such_ros_package",))
    (finding,) = doctor.ros()
    assert finding.level == "warn" and "realtalk speak" in finding.advice
