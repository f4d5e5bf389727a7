# SPDX-License-Identifier: Apache-2.0
"""What the realtalk command does when its output cannot be written, when it is hung up, and with
numbers that are none."""

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from realtalk_ros.audio.media_files import SAMPLE_CLIP
from realtalk_ros.cli import main
from realtalk_ros.commands import node_processes
from wav_files import write_wav

REALTALK = [sys.executable, "-m", "realtalk_ros.cli"]


@pytest.mark.parametrize(
    "arguments, unbuffered",
    [(["avatars", "list"], ""), (["avatars", "list"], "1"), (["--help"], "")],
)
def test_output_that_nobody_reads_ends_it_in_silence(arguments, unbuffered):
    reads, writes = os.pipe()
    os.close(reads)
    ran = subprocess.run([*REALTALK, *arguments], stdout=writes, stderr=subprocess.PIPE, text=True,
                         env={**os.environ, "PYTHONUNBUFFERED": unbuffered})  # fmt: skip
    os.close(writes)
    assert ran.returncode == 141 and not ran.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_to_a_full_disk_is_one_line(unbuffered):
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [*REALTALK, "avatars", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert "make room" in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
def test_an_error_of_something_else_is_not_taken_for_the_outputs(number, unbuffered):
    code = (
        "import sys, realtalk_ros.commands.avatars as avatars\n"
        "from realtalk_ros.cli import main\n"
        "def lost(_):\n"
        "    print('so far')\n"
        f"    raise OSError({number}, 'it is broken')\n"
        "avatars.run = lost\n"
        "sys.exit(main(['avatars', 'list']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                         env={**os.environ, "PYTHONUNBUFFERED": unbuffered})  # fmt: skip
    assert ran.returncode == 2 and ran.stdout == "so far\n"
    assert ran.stderr.count("\n") == 1 and "it is broken" in ran.stderr
    assert "its output" not in ran.stderr


@pytest.fixture
def speak_to_output(tmp_path):
    """The command that makes a video of a moment of sound, and its CSV for standard output."""
    sound = write_wav(tmp_path / "a.wav", np.zeros(4000))
    return [*REALTALK, "speak", "--wav", str(sound), "--size", "64",
            "--out", str(tmp_path / "o.mp4"), "--csv", "/dev/stdout"]  # fmt: skip


@pytest.mark.parametrize("output", ["/dev/stdout", "-"])
def test_a_csv_on_standard_output_has_rows_only(speak_to_output, output):
    ran = subprocess.run([*speak_to_output[:-1], output], capture_output=True, text=True)
    header, *rows = csv.reader(ran.stdout.splitlines())
    assert ran.returncode == 0 and len(rows) >= 6
    assert {len(row) for row in rows} == {len(header)} == {63}
    assert "real time" in ran.stderr


def test_a_csv_on_standard_output_that_nobody_reads_ends_it_in_silence(speak_to_output, tmp_path):
    reads, writes = os.pipe()
    os.close(reads)
    ran = subprocess.run(speak_to_output, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert ran.returncode == 141 and "cannot write" not in ran.stderr
    assert not list(tmp_path.glob("*.mp4*"))


def test_a_signal_leaves_no_unfinished_file(tmp_path):
    command = [*REALTALK, "speak", "--wav", str(SAMPLE_CLIP), "--out", str(tmp_path / "o.mp4")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert list(tmp_path.glob(".*.part"))
    process.terminate()
    assert process.wait(30) == 143 and not list(tmp_path.iterdir())


ENDINGS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]  # KeyboardInterrupt and SystemExit


def run_as_command(code):
    """Runs the function `command` of this code as a command of realtalk does."""
    whole = (
        "import os, signal, sys, time\n"
        "import realtalk_ros.commands.avatars as avatars\n"
        "from realtalk_ros import ending_signals\n"
        "from realtalk_ros.cli import main\n"
        "for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, signal.default_int_handler)\n"  # nohup or & may ignore them
        f"{code}\n"
        "avatars.run = command\n"
        "sys.exit(main(['avatars', 'list']))\n"
    )
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("number, code", ENDINGS)
def test_a_signal_whose_exception_is_lost_ends_it_all_the_same(number, code):
    ran = run_as_command(
        "class Loses:\n"
        "    def __del__(self):\n"  # called from C: what is raised here is only reported
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        time.sleep(0)\n"
        "def command(_):\n"
        "    Loses()\n"
        "    end = time.monotonic() + 20\n"
        "    while time.monotonic() < end:\n"
        "        time.sleep(0.01)\n"
    )
    assert ran.returncode == code
    assert not ran.stderr.strip() and not ran.stdout


def test_a_signal_whose_exception_nobody_reports_ends_it_all_the_same():
    ran = run_as_command(
        "def command(_):\n"
        "    try:\n"  # as C code that clears what its callback raised
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(0)\n"
        "    except BaseException:\n"
        "        pass\n"
        "    end = time.monotonic() + 20\n"
        "    while time.monotonic() < end:\n"
        "        time.sleep(0.01)\n"
    )
    assert ran.returncode == 143
    assert not ran.stderr.strip() and not ran.stdout


@pytest.mark.parametrize("number, code", ENDINGS)
def test_a_signal_while_a_pool_starts_its_thread_leaves_no_thread_that_nobody_ends(number, code):
    ran = run_as_command(
        "ending_signals.LAST = 300\n"  # it is to end by itself
        "import threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool, started = ThreadPoolExecutor(1), threading.Event.wait\n"
        "def signalled(*args):\n"  # in Thread.start
        "    started(*args)\n"
        "    time.sleep(0.1)\n"  # in which it does its work, and waits for more
        f"    os.kill(os.getpid(), {int(number)})\n"
        "def command(_):\n"
        "    threading.Event.wait = signalled\n"
        "    try:\n"
        "        pool.submit(int)\n"
        "    finally:\n"
        "        threading.Event.wait = started\n"
        "    time.sleep(20)\n"
    )
    assert ran.returncode == code


def test_an_interpreter_that_does_not_end_is_ended():
    ran = run_as_command(
        "import threading\n"
        "ending_signals.LAST = 0.5\n"
        "def command(_):\n"
        "    threading.Thread(target=time.sleep, args=(300,)).start()\n"
        f"    os.kill(os.getpid(), {int(signal.SIGTERM)})\n"
        "    time.sleep(20)\n"
    )
    assert ran.returncode == 143 and not ran.stderr


def test_who_presses_ctrl_c_again_at_the_end_sees_no_traceback():
    again = "lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.1))"
    ran = run_as_command(
        "import atexit\n"
        f"atexit.register({again})\n"
        "def command(_):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(20)\n"
        "avatars.run, sys.argv[1:] = command, ['avatars', 'list']\n"
        "sys.exit(main())\n"
    )
    assert ran.returncode == 130 and not ran.stderr.strip()


@pytest.mark.parametrize("number, code", ENDINGS)
def test_an_exception_that_code_makes_of_a_signals_is_no_traceback(number, code):
    ran = run_as_command(
        "def command(_):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        time.sleep(20)\n"
        "    except BaseException:\n"
        "        raise ImportError('initialization failed')\n"  # as pybind11 does
    )
    assert ran.returncode == code and not ran.stderr.strip()


@pytest.mark.parametrize("number, code", [*ENDINGS, (signal.SIGHUP, 129)])
def test_who_calls_it_in_a_process_of_his_own_is_left_in_peace(number, code):
    """As a notebook does: no handler, hook or timer stays, and nothing is raised later."""
    ran = run_as_command(
        "ending_signals.LAST = 0.2\n"
        "numbers = ending_signals.ENDING + (signal.SIGALRM,)\n"
        "def state():\n"
        "    return [*map(signal.getsignal, numbers), sys.unraisablehook]\n"
        "def command(_):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    time.sleep(20)\n"
        "avatars.run, before = command, state()\n"
        "signal.setitimer(signal.ITIMER_REAL, 30)\n"  # pytest-timeout's
        "try:\n"
        "    code = main(['avatars', 'list'])\n"
        "except SystemExit as error:\n"
        "    code = error.code\n"
        "time.sleep(0.6)\n"
        "print(code, state() == before, signal.getitimer(signal.ITIMER_REAL)[0] > 0,\n"
        "      flush=True)\n"
        "os._exit(0)\n"
    )
    assert ran.returncode == 0 and ran.stdout.split() == [str(code), "True", "True"]


@pytest.mark.parametrize("number, code", ENDINGS)
def test_what_a_signal_leaves_to_do_is_not_interrupted(number, code):
    ran = run_as_command(
        "from contextlib import contextmanager\n"
        "@contextmanager\n"
        "def cleaned():\n"
        "    try:\n"
        "        yield\n"
        "    finally:\n"
        "        time.sleep(0.5)\n"
        "        print('first')\n"
        "def command(_):\n"
        "    try:\n"
        "        with cleaned():\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "            time.sleep(20)\n"
        "    finally:\n"
        "        try:\n"
        "            raise OSError\n"
        "        except OSError:\n"
        "            time.sleep(0.5)\n"
        "        print('second')\n"
    )
    assert ran.returncode == code and ran.stdout == "first\nsecond\n"


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_who_is_not_to_be_hung_up_or_interrupted_is_not(monkeypatch, number, handler):
    during = []
    monkeypatch.setattr(
        "realtalk_ros.commands.avatars.run", lambda _: during.append(signal.getsignal(number))
    )
    before = signal.signal(number, handler)  # ignored by nohup, or a shell's &
    try:
        main(["avatars", "list"])
        assert (during[0] is signal.SIG_IGN) == (handler is signal.SIG_IGN)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_nodes_inherit_that_they_are_not_to_be_hung_up(monkeypatch, handler):
    popen, nodes = subprocess.Popen, {}
    shown = [sys.executable, "-c", "print(open('/proc/self/status').read())"]
    started = partial(popen, shown, stdout=subprocess.PIPE, text=True)
    monkeypatch.setattr(node_processes.subprocess, "Popen", lambda *_, **__: started())
    before = signal.signal(signal.SIGHUP, handler)
    try:
        node_processes.start(nodes, "a_node")
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)
    status = dict(
        line.split(":", 1) for line in nodes["a_node"].communicate()[0].split("\n") if line
    )
    ignored = int(status["SigIgn"], 16) >> (signal.SIGHUP - 1) & 1
    assert ignored == (handler is signal.SIG_IGN)


def test_ctrl_c_while_a_node_imports_is_no_traceback(monkeypatch, capfd):
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    nodes = {}
    node_processes.start(nodes, "markers_node")
    try:
        nodes["markers_node"].send_signal(signal.SIGINT)  # as the terminal does
        assert nodes["markers_node"].wait(60) == 0
    finally:
        node_processes.stop(nodes)
    assert "Traceback" not in capfd.readouterr().err
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["soak", "--minutes"],
        ["soak", "--fps"],
        ["bench", "--audio-hours"],
        ["bench", "--look-ahead"],
        ["demo", "--lead"],
        ["speak", "--text", "Hi.", "--out", "o.mp4", "--fps"],
    ],
    ids=" ".join,
)
def test_an_option_takes_only_finite_numbers(capsys, arguments, value):
    with pytest.raises(SystemExit) as ended:
        main([*arguments[:-1], f"{arguments[-1]}={value}"])
    complaint = capsys.readouterr().err
    assert ended.value.code == 2 and complaint.count("\n") == 1
    assert f"{arguments[-1]}: {value} is no finite number" in complaint


@pytest.mark.parametrize("value", ["1e308", "-1e11", "9" * 400])
@pytest.mark.parametrize(
    "arguments", [["soak", "--minutes"], ["bench", "--audio-hours"], ["bench", "--frames"]]
)
def test_an_option_takes_no_number_that_is_too_large(capsys, arguments, value):
    value = "9" * 11 if "e" in value and arguments[-1] == "--frames" else value
    with pytest.raises(SystemExit) as ended:
        main([*arguments[:-1], f"{arguments[-1]}={value}"])
    complaint = capsys.readouterr().err
    assert ended.value.code == 2 and complaint.count("\n") == 1 and len(complaint) < 200
    assert "is too large" in complaint or "is no finite number" in complaint


@pytest.mark.parametrize("lead", ["-1", "31"])
def test_a_demo_that_cannot_be_is_refused_before_nodes_start(capsys, monkeypatch, tmp_path, lead):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", f"--lead={lead}"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "give 0 to 30 s" in captured.err
    assert not captured.out


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii", "latin-1"])
def test_names_that_the_terminal_cannot_show_are_no_error(tmp_path, encoding):
    name = os.fsencode(tmp_path) + "/Łucja ".encode() + b"\xff.zip"
    ran = subprocess.run(
        [*REALTALK, "avatars", "export", "pia", name],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert ran.returncode == 0 and not ran.stderr
    assert ran.stdout.startswith(b"wrote ") and rb"\udcff.zip" in ran.stdout


def test_an_unforeseen_path_is_one_line(capsys, monkeypatch):
    def lost(_):
        raise FileNotFoundError(2, "No such file or directory", "a/b")

    monkeypatch.setattr("realtalk_ros.commands.avatars.run", lost)
    assert main(["avatars", "list"]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and "a/b: No such file" in complaint
