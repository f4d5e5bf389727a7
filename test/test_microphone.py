# SPDX-License-Identifier: Apache-2.0
"""The microphone, with a library in place of PortAudio's that plays a known sound."""

import importlib
import os
import sys
import time

import numpy as np
import pytest

from realtalk_ros.audio.microphone import HANG, Gate, Microphone
from realtalk_ros.errors import RealTalkError
from ros_domains import domain_of

DOMAIN = domain_of(__file__)
RATE = 16000
# Half a second of silence, then half a second of a tone, for ever; the tone is 0.25 and 0.75 loud
# in the two channels. A file `away` beside this module makes the device fail, and unknown until
# devices are listed again; `broken` keeps PortAudio from starting.
FAKE = """
import os, threading, time
from types import SimpleNamespace
import numpy as np
class PortAudioError(Exception): pass
AWAY = os.path.join(os.path.dirname(__file__), "away")
started = False
def _terminate():
    global started
    if not started: raise PortAudioError("PortAudio not initialized [PaErrorCode -10000]")
    started = False
def _initialize():
    global unknown, started
    if os.path.exists(AWAY.replace("away", "broken")):
        raise PortAudioError("Error initializing PortAudio: Unanticipated host error\\n[-9999]")
    unknown, started = os.path.exists(AWAY), True
def query_devices():
    if not started: raise PortAudioError("PortAudio not initialized [PaErrorCode -10000]")
    return [{"name": "Test microphone", "max_input_channels": 2}]
_initialize()
class InputStream:
    def __init__(self, samplerate, channels, dtype, device, blocksize, latency, callback):
        if unknown or os.path.exists(AWAY):
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        if device not in (None, "Test"): raise ValueError(f"No input device matching {device!r}")
        self.rate, self.channels, self.size = samplerate, channels, blocksize
        self.callback, self.done = callback, threading.Event()
    def start(self): threading.Thread(target=self.run, daemon=True).start()
    def close(self): self.done.set()
    def run(self):
        began, k = time.monotonic(), 0
        while not self.done.is_set() and not os.path.exists(AWAY):
            t = (k * self.size + np.arange(self.size)) / self.rate
            k += 1
            time.sleep(max(0, began + k * self.size / self.rate - time.monotonic()))
            wave = np.sin(2 * np.pi * 400 * t) * (t % 2 >= 0.5) * (t % 2 < 1.0)
            block = (wave[:, None] * [0.25, 0.75])[:, :self.channels].astype(np.float32)
            now = time.monotonic()
            times = SimpleNamespace(currentTime=now, inputBufferAdcTime=now - self.size / self.rate)
            self.callback(block, self.size, times, None)
"""


def test_the_gate_finds_utterances_and_their_times():
    rng = np.random.default_rng(1)
    pcm = rng.normal(0, 0.0005, 4 * RATE).astype(np.float32)  # -66 dB of noise
    pcm[RATE : RATE + 8000] += 0.1 * np.sin(np.arange(8000) * 0.2).astype(np.float32)
    pcm[3 * RATE :] += 0.1 * np.sin(np.arange(RATE) * 0.2).astype(np.float32)
    gate, pieces, drift = Gate(RATE, lambda: -45.0), [], 1.001  # a sound card that is too slow
    for i in range(0, len(pcm), 320):
        pieces += gate.push(pcm[i : i + 320], 100 + i / RATE * drift)
    first = [p for p in pieces if p.utterance == 1]
    second = [p for p in pieces if p.utterance == 2]
    assert first[0].start == pytest.approx(101 - 0.04, abs=0.02)
    assert [p.last for p in first] == [False] * (len(first) - 1) + [True]
    length = sum(len(p.pcm) for p in first) / RATE
    assert length == pytest.approx(0.5 + HANG + 0.04, abs=0.045)
    starts = np.array([p.start for p in first])
    lengths = np.array([len(p.pcm) for p in first]) / RATE
    assert np.allclose(np.diff(starts), lengths[:-1])  # no seams
    assert second[0].start == pytest.approx(100 + 3 * drift - 0.04, abs=0.02)  # on time again
    assert gate.utterances == 2 and not second[-1].last


def test_silence_opens_nothing_and_always_is_always():
    assert Gate(RATE, lambda: -45.0).push(np.zeros(320, np.float32), 0.0) == []
    assert len(Gate(RATE, lambda: -121.0).push(np.zeros(320, np.float32), 0.0)) == 1


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """The folder of the false sounddevice."""
    (tmp_path / "sounddevice.py").write_text(FAKE)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return tmp_path


@pytest.fixture
def here(fake, monkeypatch):
    """The library in place of PortAudio's, in this process."""
    monkeypatch.syspath_prepend(str(fake))
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("sounddevice", None)


def test_what_is_said_into_the_microphone_goes_out_live(fake):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    from realtalk_ros.msg import AudioChunk
    from ros_graph import Client, promised, seconds, start, stop

    client = Client(DOMAIN, images=False)
    chunks = []
    client.node.create_subscription(
        AudioChunk, "audio", lambda m: chunks.append((m, time.time())), 500
    )
    process = start("microphone_node", DOMAIN, channels=2, gain=-6.0206, device="Test")
    try:
        client.wait_ready("microphone_node")
        client.wait(
            lambda: len({m.utterance_id for m, _ in chunks if m.last}) > 1, 30, "utterances"
        )
        name = [m.utterance_id for m, _ in chunks if m.last][-1]
        mine = [(m, came) for m, came in chunks if m.utterance_id == name]
        pcm = np.concatenate([np.frombuffer(memoryview(m.data), "<f4") for m, _ in mine])
        assert np.abs(pcm).max() == pytest.approx(0.25, abs=0.01)  # the mean of both, half as loud
        assert len(pcm) / RATE == pytest.approx(0.5 + HANG, abs=0.1)
        late = np.median([came - seconds(m.header.stamp) for m, came in mine[3:]])
        assert 0.01 < late < promised(0.2, 2.0)  # it is stamped when it sounded
        (fake / "away").touch()
        client.wait(lambda: "away" in client.diagnostics["microphone_node"][1], 15, "warning")
        (fake / "away").unlink()
        del chunks[:]
        client.wait(lambda: chunks, 15, "sound again")
        assert process.poll() is None
    finally:
        stop(process)
        client.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    "device, why",
    [("nothing", "choose device from Test microphone"), ("", "unavailable"), ("0", "matching 0")],
)
def test_a_microphone_that_cannot_be_opened_is_said_in_one_line(fake, here, device, why):
    if not device:
        (fake / "away").touch()
    with pytest.raises(RealTalkError, match=why) as refused:
        Microphone(device, RATE, 1)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("first", [True, False], ids=["at the import", "later"])
def test_portaudio_that_does_not_start_is_said_and_tried_again(fake, here, first):
    """As where the server of a sound card's driver is gone."""
    if not first:
        Microphone("Test", RATE, 1).close()
    (fake / "broken").touch()
    for _ in range(2):
        with pytest.raises(RealTalkError, match="Error initializing PortAudio") as refused:
            Microphone("Test", RATE, 1)
        assert "\n" not in str(refused.value)
    (fake / "broken").unlink()
    Microphone("Test", RATE, 1).close()


def test_a_microphone_that_is_plugged_in_later_is_found(fake, here):
    (fake / "away").touch()
    with pytest.raises(RealTalkError):
        Microphone("Test", RATE, 1)
    (fake / "away").unlink()
    Microphone("Test", RATE, 1).close()
