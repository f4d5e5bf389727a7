# SPDX-License-Identifier: Apache-2.0
"""The recorder node, in this process: what ends a recording."""

import os
import time
from array import array

import av
import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.parameter import Parameter
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import String

from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes.recorder_node import RecorderNode
from realtalk_ros.output.mp4_writer import VideoWriter

INFO = {"source_timestamp": time.time_ns()}


def picture(node, stamp):
    image = Image(encoding="bgr8", height=64, width=64, data=array("B", bytes(64 * 64 * 3)))
    node.set_stamp(image.header.stamp, stamp)
    node.on_image(image, INFO)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_recording_goes_on_when_the_clock_is_set(tmp_path, jump):
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {"out": str(tmp_path / "a.mp4"), "tail": 0.2, "autostart": False, "use_sim_time": True}
    node = RecorderNode(
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    clock = node.get_clock()
    try:
        node.ready = True
        clock.set_ros_time_override(Time(seconds=10_000))
        begin = node.now()
        node.watch()
        node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
        for k in range(75):
            now = begin + k / 25 + (jump if k >= 20 else 0.0)
            clock.set_ros_time_override(Time(nanoseconds=int((now - begin + 10_000) * 1e9)))
            if k < 50:
                chunk = AudioChunk(sample_rate=16000, channels=1, encoding="pcm_s16le")
                chunk.data = array("B", np.zeros(640, "<i2").tobytes())
                chunk.last = k == 49
                node.set_stamp(chunk.header.stamp, now)
                node.on_audio(chunk, INFO)
            picture(node, now)
        assert node.exit_code == 0
        assert node.session.recording.repeated <= 12 and node.counts["unordered_images"] <= 1
        with av.open(str(node.out)) as file:
            seconds = file.duration / av.time_base
        assert seconds == pytest.approx(0.4 + 2.0 + 0.2, abs=0.1)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.parametrize("jump", [-3.0, -1.0, 3.0])
def test_what_was_stamped_before_the_clock_was_set_may_come_after(tmp_path, monkeypatch, jump):
    """Two images and two chunks are in flight: all of what comes is recorded."""
    written, write_audio = [], VideoWriter.write_audio
    monkeypatch.setattr(
        VideoWriter,
        "write_audio",
        lambda writer, pcm: (written.append(pcm), write_audio(writer, pcm)),
    )
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {"out": str(tmp_path / "a.mp4"), "tail": 0.2, "autostart": False, "use_sim_time": True}
    node = RecorderNode(
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    clock = node.get_clock()
    try:
        node.ready = True
        clock.set_ros_time_override(Time(seconds=10_000))
        begin = node.now()
        node.watch()
        node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
        for k in range(75):
            now = begin + k / 25 + (jump if k >= 20 else 0.0)
            stamp = begin + k / 25 + (jump if k >= 22 else 0.0)
            clock.set_ros_time_override(Time(nanoseconds=int((now - begin + 10_000) * 1e9)))
            if k < 50:
                chunk = AudioChunk(sample_rate=16000, channels=1, encoding="pcm_s16le")
                chunk.data = array("B", np.full(640, 2000 + 200 * k, "<i2").tobytes())
                chunk.last = k == 49
                node.set_stamp(chunk.header.stamp, stamp)
                node.on_audio(chunk, INFO)
            picture(node, stamp)
        assert node.exit_code == 0 and node.counts["unordered_images"] == 0
        assert node.session.recording.repeated <= 1
        with av.open(str(node.out)) as file:
            assert file.duration / av.time_base == pytest.approx(0.4 + 2.0 + 0.2, abs=0.1)
        heard = np.round(np.concatenate(written) * 32768)
        speech = np.repeat(2000 + 200 * np.arange(50), 640)
        assert np.array_equal(np.trim_zeros(heard), speech)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_an_empty_last_chunk_ends_it_whatever_else_it_says(tmp_path):
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {"out": str(tmp_path / "a.mp4"), "tail": 0.2, "autostart": False}
    node = RecorderNode(
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    try:
        node.ready = True
        begin = node.now()
        info = {"source_timestamp": time.time_ns()}
        chunk = AudioChunk(sample_rate=16000, channels=1, encoding="pcm_s16le")
        chunk.data = array("B", np.zeros(8000, "<i2").tobytes())  # 0.5 s
        node.set_stamp(chunk.header.stamp, begin)
        last = AudioChunk(last=True)
        node.on_audio(last, info)  # of an utterance that nobody heard
        for message in (chunk, last):
            node.on_audio(message, info)
        node.on_provenance(String(data=Provenance("Ann", consent="Ann Lee").xmp()))
        for k in range(25):
            # With and without transparency, as the parameter `background` may change meanwhile.
            encoding, size = (("bgr8", 3), ("bgra8", 4))[k % 2]
            data = array("B", bytes(64 * 64 * size))
            image = Image(encoding=encoding, height=64, width=64, data=data)
            node.set_stamp(image.header.stamp, begin - 0.2 + k / 25)
            node.on_image(image, info)
        assert node.exit_code == 0 and not node.problems.counts
        with av.open(str(node.out)) as file:
            seconds = file.duration / av.time_base
        assert seconds == pytest.approx(0.4 + 0.5 + 0.2, abs=0.1)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    "place, reason",
    [
        ("nowhere/a.mp4", "make the folder"),
        ("priv/a.mp4", "Permission denied"),
        ("ro/a.mp4", "cannot be written to"),
        ("x" * 300, "too long"),
        ("pipe.mp4", "device or a pipe"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_when_it_is_configured(
    tmp_path, priv, monkeypatch, place, reason
):
    (tmp_path / "ro").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    access = os.access  # root may write everywhere
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path)[-2:] != "ro" and access(path, mode)
    )
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {"out": str(tmp_path / place), "autostart": False}
    node = RecorderNode(
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    try:
        node.try_setup()
        assert node.exit_code == 2 and not node.ready
        assert reason in node.failure and not node.problems.counts
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
