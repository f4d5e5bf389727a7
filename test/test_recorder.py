# SPDX-License-Identifier: Apache-2.0
"""The recorder node, in this process: what ends a recording."""

import json
import os
import time
from array import array
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.parameter import Parameter
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import String

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes.recorder_node import RecorderNode
from realtalk_ros.nodes.subscriptions import Received
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.output.recording import Recording


@pytest.fixture
def recorder(tmp_path):
    """Makes a recorder of tmp_path/a.mp4, with these parameters."""
    context, nodes = rclpy.Context(), []
    rclpy.init(context=context)

    def make(**values):
        values = {"out": str(tmp_path / "a.mp4"), "tail": 0.2, "autostart": False, **values}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes.append(RecorderNode(context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def info(node, published):
    stamp = AudioChunk().header.stamp
    node.set_stamp(stamp, published)
    return {"source_timestamp": stamp.sec * 10**9 + stamp.nanosec}


def sound(node, samples, stamp, last=False):
    chunk = AudioChunk(sample_rate=16000, channels=1, encoding="pcm_s16le", last=last)
    chunk.data = array("B", samples.astype("<i2").tobytes())
    node.set_stamp(chunk.header.stamp, stamp)
    node.on_sent_audio(chunk, info(node, stamp))
    node.on_audio([Received(chunk)])


def picture(node, stamp, encoding="bgr8", channels=3):
    data = array("B", bytes(64 * 64 * channels))
    image = Image(encoding=encoding, height=64, width=64, data=data)
    node.set_stamp(image.header.stamp, stamp)
    node.on_image(image, info(node, stamp))


def record(node, jump, in_flight, speech):
    """50 chunks (50, 640) and 75 images, 40 ms each. From the 20th on the clock has jumped by
    `jump` s, but `in_flight` of both were stamped before. Returns how long the file is, s."""
    node.ready, clock = True, node.get_clock()
    clock.set_ros_time_override(Time(seconds=10_000))
    begin = node.now()
    node.watch()
    node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
    for k in range(75):
        now = begin + k / 25 + (jump if k >= 20 else 0.0)
        stamp = begin + k / 25 + (jump if k >= 20 + in_flight else 0.0)
        clock.set_ros_time_override(Time(nanoseconds=int((now - begin + 10_000) * 1e9)))
        if k < 50:
            sound(node, speech[k], stamp, last=k == 49)
        picture(node, stamp)
    assert node.exit_code == 0
    with av.open(str(node.out)) as file:
        return file.duration / av.time_base


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_recording_goes_on_when_the_clock_is_set(recorder, jump):
    node = recorder(use_sim_time=True)
    seconds = record(node, jump, in_flight=0, speech=np.zeros((50, 640)))
    assert node.session.recording.repeated <= 12 and node.counts["unordered_images"] <= 1
    assert seconds == pytest.approx(0.4 + 2.0 + 0.2, abs=0.1)


@pytest.mark.parametrize("jump", [-3.0, -1.0, 3.0])
def test_what_was_stamped_before_the_clock_was_set_may_come_after(recorder, monkeypatch, jump):
    """Two images and two chunks are in flight: all of what comes is recorded."""
    written, write_audio = [], VideoWriter.write_audio
    monkeypatch.setattr(
        VideoWriter,
        "write_audio",
        lambda writer, pcm: (written.append(pcm), write_audio(writer, pcm)),
    )
    node = recorder(use_sim_time=True)
    speech = np.repeat(2000 + 200 * np.arange(50), 640)
    seconds = record(node, jump, in_flight=2, speech=speech.reshape(50, 640))
    assert node.counts["unordered_images"] == 0 and node.session.recording.repeated <= 1
    assert seconds == pytest.approx(0.4 + 2.0 + 0.2, abs=0.1)
    heard = np.round(np.concatenate(written) * 32768)
    assert np.array_equal(np.trim_zeros(heard), speech)


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("in_flight", [0, 2])
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_stats_are_by_the_clock_that_was_set(
    recorder, monkeypatch, tmp_path, jump, in_flight, simulated
):
    monkeypatch.setattr(RecorderNode, "time_is_simulated", simulated)
    node = recorder(use_sim_time=True, stats=str(tmp_path / "a.json"))
    record(node, jump, in_flight, np.zeros((50, 640)))
    stats = json.loads((tmp_path / "a.json").read_text())
    images, audio = np.array(stats["images"]), np.array(stats["audio"])
    assert np.allclose(np.diff(images[:, 0]), 0.04, atol=0.05) and len(audio) == 50
    assert np.allclose(np.diff(audio[:, 0]), 0.04, atol=0.05)
    assert stats["start"] - 0.1 <= images[0, 0] <= audio[0, 0] + 0.1
    assert audio[-1, 0] < stats["end"] and abs(images[-1, 0] - stats["end"]) < 0.1
    if not simulated:  # each was published when it was stamped
        assert np.allclose(images[:, 0], images[:, 1], atol=0.1)
        assert np.allclose(audio[:, 0], audio[:, 2], atol=0.1)


@pytest.fixture
def live(recorder, monkeypatch):
    """(node, step): a recorder of a microphone, and what sends 0.1 s of its sound, and an image."""
    clock = {"steady": 50.0}
    monkeypatch.setattr(
        "realtalk_ros.output.recording_session.time",
        SimpleNamespace(monotonic=lambda: clock["steady"]),
    )

    def make(**values):
        node = recorder(use_sim_time=True, **values)
        node.ready, node.warned = True, []
        monkeypatch.setattr(node, "warn", node.warned.append)
        node.get_clock().set_ros_time_override(Time(seconds=10_000))

        def step(images=True, sound_comes=True, clock_stands=False, last=False):
            clock["steady"] += 0.1
            now = node.get_clock().now().nanoseconds + (0 if clock_stands else 10**8)
            node.get_clock().set_ros_time_override(Time(nanoseconds=now))
            if sound_comes:
                sound(node, np.zeros(1600), node.now() - 0.1, last)
            if images:
                picture(node, node.now())
            node.watch()

        return node, step

    return make


@pytest.mark.parametrize("duration", [0.0, 2.0])
def test_sound_before_the_first_image_takes_no_memory(live, duration):
    node, step = live(duration=duration)
    for _ in range(40):
        step(images=False)
    assert len(node.session._audio) == 40 and not node.warned
    for _ in range(560):
        step(images=False)
        assert len(node.session._audio) <= 52
    assert "no images on /realtalk/face/image_raw" in node.warned[0] and node.exit_code is None
    for _ in range(20):
        step()
    step(last=True)
    for _ in range(10):
        step(sound_comes=False)
    assert node.exit_code == 0
    with av.open(str(node.out)) as file:
        seconds = file.duration / av.time_base
    assert seconds == pytest.approx(duration or 0.4 + 5.0 + 2.1 + 0.2, abs=0.2)


def test_a_recording_of_a_microphone_ends_when_the_images_stop(live):
    node, step = live()
    for _ in range(100):
        step(images=False, sound_comes=False)
    for _ in range(20):
        step()
    for _ in range(80):  # a simulation that is paused
        step(images=False, sound_comes=False, clock_stands=True)
    assert node.exit_code is None
    for _ in range(100):
        step(images=False)
    assert node.exit_code == 0 and any("images stopped" in cause for cause in node.problems.counts)
    with av.open(str(node.out)) as file:
        assert file.duration / av.time_base == pytest.approx(0.4 + 2.0 + 5.0, abs=0.3)


def test_the_end_of_who_died_before_does_not_end_the_speech_of_another(recorder):
    node = recorder()
    node.ready, begin = True, node.now()
    node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
    for k in range(60):
        at = begin + k / 25
        if k < 10 or 30 <= k < 40:
            sound(node, np.zeros(640), at, last=k == 39)
        if k == 29:
            sound(node, np.zeros(0), at, last=True)
        picture(node, at)
    assert node.exit_code == 0
    with av.open(str(node.out)) as file:
        assert file.duration / av.time_base == pytest.approx(0.4 + 1.6 + 0.2, abs=0.1)


def test_an_empty_last_chunk_ends_it_whatever_else_it_says(recorder):
    node = recorder()
    node.ready = True
    begin = node.now()
    last = AudioChunk(last=True)
    node.on_audio([Received(last)])  # of an utterance that nobody heard
    sound(node, np.zeros(8000), begin)  # 0.5 s
    node.on_audio([Received(last)])
    node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
    for k in range(25):
        # With and without transparency, as the parameter `background` may change meanwhile.
        picture(node, begin - 0.2 + k / 25, *(("bgr8", 3), ("bgra8", 4))[k % 2])
    assert node.exit_code == 0 and not node.problems.counts
    with av.open(str(node.out)) as file:
        seconds = file.duration / av.time_base
    assert seconds == pytest.approx(0.4 + 0.5 + 0.2, abs=0.1)


def test_an_interrupt_ends_it_unless_more_is_said(recorder):
    node = recorder()
    node.ready = True
    begin = node.now()
    node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
    interrupt = Received(AudioChunk(reset=True))
    for k in range(60):
        if k in (0, 15):
            sound(node, np.zeros(8000), begin + k / 25)  # 0.5 s
        if k in (13, 35):
            node.on_audio([interrupt])
        picture(node, begin + k / 25)
    assert node.exit_code == 0 and not node.problems.counts
    with av.open(str(node.out)) as file:
        seconds = file.duration / av.time_base
    assert seconds == pytest.approx(0.4 + 0.6 + 0.5 + 0.2, abs=0.15)


def test_an_answer_that_replaces_what_is_said_is_recorded_by_a_slow_machine_too(live):
    """It shows all a second late: what was heard last is as old when the interrupt comes."""
    node, step = live()
    node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
    for k in range(60):
        step(images=False, sound_comes=False)
        if k == 20:
            node.on_audio([Received(AudioChunk(reset=True))])
        if k < 20 or 31 <= k <= 45:  # begins 0.1 s after the interrupt
            sound(node, np.zeros(1600), node.now() - 1.0, last=k == 45)
        picture(node, node.now() - 1.0)
    assert node.exit_code == 0
    with av.open(str(node.out)) as file:
        assert file.duration / av.time_base == pytest.approx(0.4 + 4.6 + 0.2, abs=0.2)


def test_one_that_is_ended_early_is_as_long_as_its_images(recorder):
    """And at once: who waits for it, such as ros2 launch, kills it after some seconds."""
    node = recorder(duration=3600.0)
    node.ready = True
    begin = node.now()
    node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
    for k in range(50):
        picture(node, begin - 2 + k / 25)
    began = time.monotonic()
    node.halt()
    assert time.monotonic() - began < 5
    with av.open(str(node.out)) as file:
        assert file.duration / av.time_base == pytest.approx(2.0, abs=0.1)


def test_long_silence_is_written_with_the_images_and_in_pieces(tmp_path, monkeypatch):
    """An hour of it at once would take gigabytes, and the images of half a minute."""
    pieces, write_audio = [], VideoWriter.write_audio
    monkeypatch.setattr(
        VideoWriter,
        "write_audio",
        lambda writer, pcm: (pieces.append(len(pcm)), write_audio(writer, pcm)),
    )
    recording = Recording(tmp_path / "a.mp4", fps=1.0, start=0.0, size=(64, 64), rate=16000)
    image = np.zeros((64, 64, 3), np.uint8)
    tone = 0.5 * np.sin(np.arange(22050, dtype=np.float32))
    for k in range(101):
        if k == 50:  # it may come after its image, and of any rate
            recording.add_audio(47.0, tone, 22050)
        recording.add_image(float(k), image)
        assert recording.video.samples >= (k - 6) * 16000
    recording.close(100.0)
    assert max(pieces) <= 22050
    pcm, rate = read_audio(tmp_path / "a.mp4")
    loud = np.flatnonzero(np.abs(pcm) > 0.2) / rate
    assert loud[0] == pytest.approx(47.0, abs=0.01) and loud[-1] == pytest.approx(48.0, abs=0.01)
    assert len(pcm) / rate == pytest.approx(101.0, abs=0.1)


@pytest.mark.parametrize(
    "place, reason",
    [
        ("nowhere/a.mp4", "make the folder"),
        ("priv/a.mp4", "Permission denied"),
        ("ro/a.mp4", "cannot be written to"),
        ("x" * 300, "too long"),
        ("pipe.mp4", "device or a pipe"),
        ("a.avi", "ends in .mp4"),
        ("a", "ends in .mp4"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_when_it_is_configured(
    recorder, tmp_path, priv, monkeypatch, place, reason
):
    (tmp_path / "ro").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    access = os.access  # root may write everywhere
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path)[-2:] != "ro" and access(path, mode)
    )
    node = recorder(out=str(tmp_path / place))
    node.try_setup()
    assert node.exit_code == 2 and not node.ready
    assert reason in node.failure and not node.problems.counts


def test_figures_do_not_replace_the_video(recorder, tmp_path):
    node = recorder(stats=f"{tmp_path}/../{tmp_path.name}/a.mp4")
    node.try_setup()
    assert node.exit_code == 2 and "is the video" in node.failure


@pytest.mark.parametrize("told_at", [2, 8, None], ids=["early", "at the end", "never"])
def test_recording_says_whose_face_it_shows_however_late_it_is_told(recorder, told_at):
    """The latched provenance and the images come in any order: nothing is lost by waiting."""
    node = recorder(duration=0.41, exit_when_done=False)
    node.try_setup()
    ann = Provenance("Ann", consent="Ann Lee")
    began = node.now()
    for k in range(14):
        if k == told_at:
            node.on_provenance(String(data=ann.xmp()))
        image = Image(encoding="bgr8", height=64, width=64,
                      data=array("B", bytes([15 * k]) * 64 * 64 * 3))  # fmt: skip
        node.set_stamp(image.header.stamp, began + k / 25)
        node.on_image(image, info(node, began + k / 25))
    assert node.out.exists() and node.ready
    with av.open(str(node.out), options={"export_xmp": "1"}) as file:
        frames = [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)]
        assert [round(frame.mean() / 15) for frame in frames] == list(range(len(frames)))
        assert len(frames) == 11  # from 0 to 0.4 s
        comment, xmp = (file.metadata.get(name) for name in ("comment", "xmp"))
    assert comment == (None if told_at is None else ann.words)
    assert xmp is None if told_at is None else Provenance.read(xmp) == ann


def test_each_activation_makes_a_file_of_its_own_and_none_is_made_without(recorder, tmp_path):
    """As a study does that records each trial."""
    node = recorder(duration=0.15, exit_when_done=False, stats=str(tmp_path / "stats.json"))
    ann = Provenance("Ann", consent="Ann Lee")
    node.on_provenance(String(data=ann.xmp()))
    written = {}

    def show(new=()):
        """Half a second of images, which make the files `new` and leave the others alone."""
        begin = node.now()
        for k in range(12):
            picture(node, begin + k / 25)
        node.watch()
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert sorted(files) == sorted([*written, *new])
        assert all(files[name] == data for name, data in written.items())
        written.update(files)

    show()  # it is not configured
    node.trigger_configure()
    show()
    node.trigger_activate()
    show(["a.mp4", "stats.json"])
    show()  # one file an activation
    node.trigger_deactivate()
    show()
    node.trigger_activate()
    show(["a-2.mp4", "stats-2.json"])
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.try_setup()
    picture(node, node.now())
    node.trigger_deactivate()  # in the middle
    show(["a-3.mp4", "stats-3.json"])
    for name in ("a.mp4", "a-2.mp4", "a-3.mp4"):
        with av.open(str(tmp_path / name)) as file:
            assert file.metadata["comment"] == ann.words and list(file.decode(video=0))
    assert node.exit_code is None and not node.failure


def test_hours_in_which_it_was_inactive_are_no_jump_of_the_clock(recorder):
    node = recorder(use_sim_time=True, exit_when_done=False)
    node.trigger_configure()
    for hour in range(3):
        node.get_clock().set_ros_time_override(Time(seconds=10_000 + 3600 * hour))
        node.trigger_activate()
        node.watch()
        node.trigger_deactivate()
    assert not node.problems.counts


def test_an_avatar_of_other_proportions_is_not_stretched(tmp_path):
    """As one that is chosen, at another size, while another is recorded."""
    recording = Recording(tmp_path / "a.mp4", 25, 0.0, (192, 128), None)
    for k, (width, height) in enumerate([(192, 128), (128, 256), (96, 80)]):
        disc = cv2.circle(np.zeros((height, width, 3), np.uint8), (width // 2, height // 2),
                          width // 4, (255, 255, 255), -1)  # fmt: skip
        recording.add_image(k / 25, disc)
    recording.close(2 / 25)
    with av.open(str(tmp_path / "a.mp4")) as file:
        frames = [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]
    assert [frame.shape for frame in frames] == [(128, 192)] * 3
    for frame in frames:
        rows, columns = (np.flatnonzero((frame > 128).any(axis)) for axis in (1, 0))
        assert len(rows) == pytest.approx(len(columns), abs=2)
        assert rows.mean() == pytest.approx(63.5, abs=1)
        assert columns.mean() == pytest.approx(95.5, abs=1)
