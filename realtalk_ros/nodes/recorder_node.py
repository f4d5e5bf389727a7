# SPDX-License-Identifier: Apache-2.0
"""Writes the face and what is heard of it to an MP4 file: images and audio lie where their stamps
say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import String

from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes import lifecycle, parameters, qos, spin
from realtalk_ros.nodes.image_publisher import ENCODINGS
from realtalk_ros.nodes.message_content import mono_samples
from realtalk_ros.nodes.message_info import with_info
from realtalk_ros.nodes.subscriptions import BatchedSubscription, Received
from realtalk_ros.output.recording_session import TIMEOUT, RecordingSession, State
from realtalk_ros.paths import is_same
from realtalk_ros.rendering.background import opaque
from realtalk_ros.stream_types import STAMP_TOLERANCE
from realtalk_ros.whole_files import check_can_write, check_video, written_whole

CHANNELS = {encoding: channels for channels, encoding in ENCODINGS.items()}
MIN_SIDE, MAX_SIDE = 16, 8192  # pixels of an image


class RecorderNode(lifecycle.RealTalkNode):
    """Records one file, and then ends its process, or waits until it is activated again: each
    activation makes a file of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder_node", **options)
        p = self.parameter
        self.out = Path(p("out", "realtalk.mp4", "MP4 file to write"))
        self.fps = p("fps", *parameters.FPS[:-1])  # not to be changed meanwhile
        self.duration = p(
            "duration",
            0.0,
            "Length of the recording from the first image on [s]; 0: from shortly before the first "
            "speech to its end",
            (0.0, 86400.0),
        )
        self.tail = p("tail", 0.6, "Recorded after the end of the speech [s]", (0.0, 3600.0))
        self.stats = p("stats", "", "JSON file for stamps and arrival times; empty: none")
        self.exit_when_done = p("exit_when_done", True, "End the process when the file is written")
        self.persistent = not self.exit_when_done

        self._first_out, self._files = self.out, 0  # files that were completed
        self._face: Provenance | None = None  # that the images show now
        self.session = RecordingSession(self.out, self.fps, self.duration, self.tail)
        self.counts = {"images": 0, "chunks": 0, "unordered_images": 0}
        self._image_stats: list[tuple[float, float]] = []  # stamp, when published [s]
        self._audio_stats: list[tuple[float, float, float]] = []  # the same; length between them

        self._image = self.subscription(
            Image, "face/image_raw", with_info(self.on_image), qos.with_depth(qos.IMAGE, depth=25)
        )
        # All at once: while the machine is too slow for the video, no sound is lost.
        BatchedSubscription(
            self,
            AudioChunk,
            "audio_out",
            self.on_audio,
            qos.with_depth(qos.AUDIO_LISTENER, depth=500),
        )
        # Without figures, too: speech_node's `wait_for` counts it.
        self.subscription(
            AudioChunk,
            "audio",
            with_info(self.on_sent_audio),
            qos.with_depth(qos.AUDIO_LISTENER, depth=500),
        )
        self.subscription(String, "face/provenance", self.on_provenance, qos.LATCHED)
        self.steady_timer(0.1, self.watch)

    def setup(self) -> None:
        check_video(self.out, "out")
        if self.stats:
            check_can_write(Path(self.stats), "stats", straight=True)
            if is_same(Path(self.stats), self.out):
                raise RealTalkError(f"stats {self.stats} is the video, out: give another name")

    def start(self) -> None:
        """Begins a recording of its own, which leaves the files before it alone."""
        self.out = self._numbered(self._first_out)
        self.session = RecordingSession(self.out, self.fps, self.duration, self.tail)
        if self._face is not None:
            self.session.add_face(self._face)
        self._image_stats, self._audio_stats = [], []
        self.get_logger().info(f"ready to record to {self.out}")

    def _numbered(self, path: Path) -> Path:
        """The name of the next file: after the first one with its number."""
        return path.with_stem(f"{path.stem}-{self._files + 1}") if self._files else path

    def on_provenance(self, message: String) -> None:
        """Whose face the images show from now on."""
        try:
            self._face = Provenance.read(message.data)
        except RealTalkError as error:
            self.problems.add(f"on face/provenance: {error}")
            return
        if self.session.state is not State.DONE:  # that file is complete
            self.session.add_face(self._face)

    def on_audio(self, messages: list[Received]) -> None:
        if not self.ready:
            return
        self.counts["chunks"] += len(messages)
        for received in messages:
            self._record(received.message)

    def _record(self, message: AudioChunk) -> None:
        session = self.session
        if session.state is State.DONE:
            return
        rate, pcm = message.sample_rate, np.zeros(0, np.float32)
        try:
            if message.data:  # what only says that an utterance ends may leave the rest open
                pcm = mono_samples(message)
        except RealTalkError as error:
            self.problems.add(str(error))
            return
        now, start = self._now(), self.media_time(message.header.stamp)
        if not len(pcm):
            if message.reset:
                session.end_speech(interrupted=now)
            elif message.last and not self._is_late(start):
                session.end_speech()
            return
        if start is None:
            start = now if session.audio_end is None else session.audio_end
        if not session.add_audio(session.audio_time(start), pcm, rate, message.last):
            self.problems.add("a chunk is stamped outside the recording: left out")

    def _is_late(self, start: float | None) -> bool:
        """Whether a `last` without sound, stamped `start`, comes after a pause: its sender died, or
        knew the end late. Others may speak on: end_without_last."""
        end = self.session.audio_end
        if start is None or end is None:
            return False
        return self.session.audio_time(start) > end + STAMP_TOLERANCE

    def on_sent_audio(self, message: AudioChunk, info: dict[str, Any]) -> None:
        """Speech as it was sent, for the figures."""
        if not (self.ready and self.stats) or self.session.state is State.DONE:
            return
        now, start = self._now(), self.media_time(message.header.stamp)
        try:
            pcm = mono_samples(message)
        except RealTalkError:  # which is said by the node that was to speak it
            return
        if start is not None and len(pcm):
            start, seconds = self.session.audio_time(start), len(pcm) / message.sample_rate
            self._audio_stats.append((start, seconds, self._published(info, now)))

    def on_image(self, message: Image, info: dict[str, Any]) -> None:
        if not self.ready:
            return
        self.counts["images"] += 1
        session = self.session
        if session.state is State.DONE:
            return
        now, stamp = self._now(), self.media_time(message.header.stamp)
        channels = CHANNELS.get(message.encoding, 0)
        if not channels or len(message.data) != message.height * message.width * channels:
            self.problems.add(f"an image of encoding {message.encoding!r} was left out: send bgr8")
            return
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (message.width, message.height)):
            self.problems.add(f"an image of {message.width}x{message.height} was left out")
            return
        if stamp is not None:
            stamp = session.image_time(stamp)
        if stamp is None or stamp <= session.newest:
            self.counts["unordered_images"] += 1
            return
        if stamp > now + TIMEOUT:
            self.problems.add("an image is stamped in the future: left out")
            return
        if self.stats:
            self._image_stats.append((stamp, self._published(info, now)))
        shape = message.height, message.width, channels
        image = np.frombuffer(message.data, np.uint8).reshape(shape)
        # A video has no alpha.
        session.add_image(stamp, image if channels == 3 else opaque(image))
        if session.complete:
            self.finish()
            return
        try:
            session.write()
        except RealTalkError as error:
            self._fail(error)

    def _now(self) -> float:
        """Now, in seconds, after the recording was moved with the clock."""
        if jump := self.clock_jump():
            self.session.shift(jump)
            self._shift_stats(jump)
        return self.now()

    def _shift_stats(self, seconds: float) -> None:
        """The clock jumped: what was noted keeps its place relative to now. (Messages are published
        by the system's clock, which simulated time leaves alone.)"""
        set_by = 0.0 if self.time_is_simulated else seconds
        self._image_stats = [(stamp + seconds, came + set_by) for stamp, came in self._image_stats]
        self._audio_stats = [
            (start + seconds, length, came + set_by) for start, length, came in self._audio_stats
        ]

    def watch(self) -> None:
        """Ends a recording whose audio stopped without `last`, or whose images stopped."""
        if not self.ready:
            return
        now = self._now()
        self.session.end_without_last(now)
        if self.session.images_stopped(now):
            self.problems.add("the images stopped before the speech ended")
            self.session.end_without_images()
            self.finish()
        elif self.session.lacks_images:
            self.session.forget_sound(now)
            self.warn(
                f"sound comes, and no images on {self._image.topic_name}: are they too large for "
                "this network, or is a recording played that lacks them?"
            )

    def finish(self) -> None:
        """Completes the file with what there is."""
        if self.session.state is State.DONE:
            return
        try:
            self.session.finish()
            if self.session.recording is not None and self.stats:
                self._write_stats()
        except (RealTalkError, OSError) as error:
            self._fail(error)
            return
        recording = self.session.recording
        if recording is None:
            self.get_logger().error("nothing was recorded: no images came")
            self.exit_code = 1
            return
        self.get_logger().info(
            f"wrote {self.out}: {recording.video.frames} frames, {recording.repeated} of them "
            "repeated"
        )
        self._files += 1
        if self.exit_when_done:
            self.exit_code = 0

    def _fail(self, error: Exception) -> None:
        self.session.state = State.DONE
        self.ready, self.failure = False, str(error)
        self.get_logger().error(str(error))
        self.exit_code = 2

    def _write_stats(self) -> None:
        session, recording = self.session, self.session.recording
        assert recording is not None
        figures = {
            "start": session.begin,
            "end": session.end,
            "fps": self.fps,
            "frames": recording.video.frames,
            "repeated": recording.repeated,
            "images": self._image_stats,
            "audio": self._audio_stats,
        }
        stats = Path(self.stats)
        if stats.is_file() or not stats.exists():  # no pipe, and no device
            stats = self._numbered(stats)
        with written_whole(stats, straight=True) as part:
            part.write_text(json.dumps(figures))

    def _published(self, info: dict[str, Any], now: float) -> float:
        """When a message was published, by its sender's clock, as media time [s]."""
        published = self.media_time_of(info["source_timestamp"])
        return published if self.time_is_simulated else self.session.published_time(published, now)

    def halt(self) -> None:
        try:
            self.session.write_all()
        except RealTalkError as error:
            self._fail(error)
        if self.session.recording is not None:
            self.finish()

    def status(self) -> dict[str, Any]:
        values: dict[str, Any] = {"out": str(self.out), **self.counts}
        if (recording := self.session.recording) is not None:
            values["frames"] = recording.video.frames
            values["repeated_frames"] = recording.repeated
        return values


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [RecorderNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
