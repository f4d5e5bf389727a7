# SPDX-License-Identifier: Apache-2.0
"""Writes the face and its speech to an MP4 file: picture and sound lie where their stamps say."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import String

from realtalk_ros.audio.pcm import check_rate, decode_pcm
from realtalk_ros.audio.resampler import Resampler
from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes import lifecycle, parameters, qos, spin
from realtalk_ros.nodes.message_info import with_info
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.stream_types import TOLERANCE

PREROLL = 0.4  # s of face before the speech
MIN_SIDE, MAX_SIDE = 16, 8192  # pixels of an image
SILENT_RATE = 48000  # Hz of the sound track, where a recording begins before any sound came
MAX_FACES = 16  # avatars that a file names
PATIENCE = 5.0  # s without sound or images after which a recording ends
# s of images for which a file waits to be told whose face they show: its title comes first. The
# latched message was seen to come up to 0.3 s after the first image.
TOLD_WITHIN = 2.0


class Recording:
    """One file in the making. Knows no ROS: times are media time in seconds.

    Frame k of the file shows the image whose stamp is nearest to `start` + k / fps; where there is
    none, the one before it is repeated.
    """

    def __init__(
        self, path: Path, fps: float, start: float, size: tuple[int, int], rate: int | None,
        provenance: Provenance | None = None,
    ):  # fmt: skip
        self.fps, self.start, self.rate, self._size = fps, start, rate, size
        self.video = VideoWriter(path, fps, size, rate, provenance)
        self.repeated = 0
        self._image: np.ndarray | None = None
        self._heard = 0.0  # samples at `rate` that came, of which the resampler holds the last ones
        self._heard_rate: int | None = None  # Hz, of the sound that came last
        self._resampler: Resampler | None = None

    def show(self, stamp: float, image: np.ndarray) -> None:
        """Takes an image with its stamp, which must be later than those before."""
        slot = round((stamp - self.start) * self.fps)
        height, width = image.shape[:2]
        if (width, height) != self._size:  # the face may change its size
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        while self._image is not None and self.video.frames < slot:
            self.repeated += 1
            self.video.write(self._image)
        self._image = image
        while self.video.frames <= slot:  # more than once only before the first image
            self.video.write(image)

    def hear(self, stamp: float, pcm: np.ndarray, rate: int) -> None:
        """Takes sound of `rate` Hz that begins at `stamp`; a gap before it is silence, an overlap
        left out."""
        assert self.rate is not None
        gap = round((stamp - self.start) * self.rate - self._heard)
        if abs(gap) <= TOLERANCE * self.rate and self._heard:
            gap = 0  # jitter of the stamps, which must not be heard
        if gap > 0 or rate != self._heard_rate:
            self._end_sound()
            self._heard_rate = rate
            self._resampler = None if rate == self.rate else Resampler(rate, self.rate)
        if gap > 0:
            self.video.write_audio(np.zeros(gap, np.float32))
            self._heard += gap
        pcm = pcm[round(max(0, -gap) * rate / self.rate) :]
        self._heard += len(pcm) * self.rate / rate
        self.video.write_audio(pcm if self._resampler is None else self._resampler.push(pcm))

    def _end_sound(self) -> None:
        """Writes what the resampler still holds, and so much silence that no sample is missing."""
        if self._resampler is not None:
            self.video.write_audio(self._resampler.flush())
            self._resampler, self._heard_rate = None, None
        self.video.write_audio(
            np.zeros(max(0, round(self._heard) - self.video.samples), np.float32)
        )
        self._heard = float(self.video.samples)

    def close(self, end: float) -> None:
        """Completes the file; both picture and sound end at `end`."""
        if self._image is not None:
            self.show(max(end, self.start + (self.video.frames - 1) / self.fps), self._image)
        if self.rate is not None:
            self._end_sound()
            missing = round(self.video.frames / self.fps * self.rate) - self.video.samples
            self.video.write_audio(np.zeros(max(0, missing), np.float32))
        self.video.close()


class RecorderNode(lifecycle.RealTalkNode):
    """Writes images and audio to an MP4 file, and ends when both have."""

    def __init__(self, name: str = "recorder_node", **options: Any):
        super().__init__(name, **options)
        p = self.parameter
        self.out = Path(p("out", "realtalk.mp4", "MP4 file to write"))
        self.fps = p("fps", *parameters.FPS[:3])
        self.duration = p(
            "duration", 0.0, "Length of the recording from the first image on [s]; 0: from "
            "shortly before the first speech to its end", (0.0, 86400.0),
        )  # fmt: skip
        self.tail = p("tail", 0.6, "Recorded after the end of the speech [s]", (0.0, 3600.0))
        self.stats_file = p("stats", "", "JSON file for stamps and arrival times; empty: none")
        self.exit_when_done = p("exit_when_done", True, "End the process when the file is written")
        self.persistent = not self.exit_when_done

        self.recording: Recording | None = None
        self.counts = {"images": 0, "chunks": 0, "unordered_images": 0}
        self._early: deque[tuple[float, np.ndarray]] = deque()  # images before the speech began
        self._newest = float("-inf")  # stamp of the last image
        self._image_came = time.monotonic()  # when
        self._told_by = float("inf")  # until when the file waits to be told whose face they show
        self._sound: deque[tuple[float, np.ndarray, int]] = deque()  # stamp, samples, their rate
        self._sound_end: float | None = None
        self._begin: float | None = None  # media time of the file's first frame
        self._end: float | None = None  # and of its last one, once known
        self._rate: int | None = None
        self._images_log: list[tuple[float, float]] = []  # stamp, when published [s]
        self._audio_log: list[tuple[float, float, float]] = []  # stamp, length, when published [s]
        self._done = False
        self._faces: dict[Provenance, None] = {}  # whose faces the images have shown

        overridable = qos.overridable()
        self._image = self.create_subscription(
            Image, "face/image_raw", with_info(self.on_image),
            qos.with_depth(qos.IMAGE, depth=25), qos_overriding_options=overridable,
        )  # fmt: skip
        self._audio = self.create_subscription(
            AudioChunk, "audio", with_info(self.on_audio),
            qos.with_depth(qos.AUDIO, depth=500), qos_overriding_options=overridable,
        )  # fmt: skip
        self._told = self.create_subscription(
            String, "face/provenance", self.on_provenance, qos.LATCHED,
            qos_overriding_options=overridable,
        )  # fmt: skip
        self.steady_timer(0.1, self.watch)

    def setup(self) -> None:
        if not self.out.absolute().parent.is_dir():
            raise RealTalkError(f"cannot write {self.out}: there is no folder {self.out.parent}")
        if self.out.is_dir():
            raise RealTalkError(f"cannot write {self.out}: it is a folder, give a file name")
        self.get_logger().info(f"ready to record to {self.out}")

    def on_provenance(self, message: String) -> None:
        """Whose face the images show from now on. The file tells all of them."""
        try:
            told = Provenance.read(message.data)
        except RealTalkError as error:
            self.problems.add(f"on face/provenance: {error}")
            return
        if len(self._faces) < MAX_FACES:
            self._faces[told] = None
        if self.recording is not None:
            self.recording.video.provenance = Provenance.together(self._faces)

    def on_audio(self, message: AudioChunk, info: dict) -> None:
        self.counts["chunks"] += 1
        if self._done:
            return
        rate, pcm = message.sample_rate, np.zeros(0, np.float32)
        try:
            if message.data:  # what only says that an utterance ends may leave the rest open
                pcm = decode_pcm(memoryview(message.data), message.encoding, message.channels)
                check_rate(rate)
        except RealTalkError as error:
            self.problems.add(str(error))
            return
        if not len(pcm) and not (message.last and self._sound_end is not None):
            return
        start = self.media_time(message.header.stamp)
        if start is None:
            start = self.now() if self._sound_end is None else self._sound_end
        if self._rate is None:
            self._rate = rate
            if self._begin is None and not self.duration:
                self._begin = np.floor((start - PREROLL) * self.fps) / self.fps
        if self._begin is not None and not -1 <= start - self._begin <= 86400:
            self.problems.add("a chunk is stamped outside the recording: left out")
            return
        if len(pcm):
            if self.stats_file:
                self._audio_log.append((start, len(pcm) / rate, self._published(info)))
            self._sound.append((start, pcm, rate))
            start += len(pcm) / rate
        self._sound_end = max(start, self._sound_end or start)
        if not self.duration:
            self._end = self._sound_end + self.tail if message.last else None

    def on_image(self, message: Image, info: dict) -> None:
        self.counts["images"] += 1
        if self._done:
            return
        stamp = self.media_time(message.header.stamp)
        if message.encoding != "bgr8" or len(message.data) != message.height * message.width * 3:
            self.problems.add(f"an image of encoding {message.encoding!r} was left out: send bgr8")
            return
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (message.width, message.height)):
            self.problems.add(f"an image of {message.width}x{message.height} was left out")
            return
        if stamp is None or stamp <= self._newest:
            self.counts["unordered_images"] += 1
            return
        if stamp > self.now() + PATIENCE:
            self.problems.add("an image is stamped in the future: left out")
            return
        self._newest, self._image_came = stamp, time.monotonic()
        self._told_by = min(self._told_by, self._image_came + TOLD_WITHIN)
        image = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        if self.stats_file:
            self._images_log.append((stamp, self._published(info)))
        if self._begin is None and self.duration:
            self._begin = stamp
            self._end = stamp + self.duration
        self._early.append((stamp, image))
        self.write()

    def write(self) -> None:
        """Hands images and sound, as far as they are there, to the file."""
        if self._begin is None:  # nobody has spoken yet
            while self._early and self._early[0][0] < self._newest - 1.0 - PREROLL:
                self._early.popleft()
            return
        if self._end is not None and self._newest > self._end:
            self.finish()
        elif self.recording is not None or self._faces or self._image_came >= self._told_by:
            self._write()

    def _write(self) -> None:
        """`write`, whether or not it is known whose face the images show."""
        if self._done or self._begin is None:
            return
        try:
            while self._early:
                stamp, image = self._early.popleft()
                if stamp < self._begin - 0.5 / self.fps:
                    continue
                if self._end is not None and stamp > self._end:
                    break
                if self.recording is None:
                    self._rate = self._rate or SILENT_RATE
                    size = (image.shape[1], image.shape[0])
                    faces = Provenance.together(self._faces) if self._faces else None
                    self.recording = Recording(
                        self.out, self.fps, self._begin, size, rate=self._rate, provenance=faces
                    )
                self.recording.show(stamp, image)
            while self._sound and self.recording is not None:
                self.recording.hear(*self._sound.popleft())
        except RealTalkError as error:
            self._failed(error)

    def watch(self) -> None:
        """Ends a recording whose sound stopped without `last`, or whose images stopped."""
        now = self.now()
        open_ended = self._end is None and not self.duration
        if open_ended and self._sound_end is not None and now > self._sound_end + PATIENCE:
            self._end = self._sound_end + self.tail
        if (
            self._end is not None
            and not self._done
            and (time.monotonic() > self._image_came + PATIENCE)
        ):
            self.problems.add("the images stopped before the speech ended")
            self.finish()

    def finish(self) -> None:
        """Completes the file with what there is."""
        self._write()
        if self._done:
            return
        self._done = True
        if self.recording is None:
            self.get_logger().error("nothing was recorded: no images came")
            self.exit_code = 1
            return
        try:
            end = self._newest if self._end is None else self._end
            self.recording.close(end)
            if self.stats_file:
                self._write_stats()
        except (RealTalkError, OSError) as error:
            self._failed(error)
            return
        self.get_logger().info(
            f"wrote {self.out}: {self.recording.video.frames} frames, "
            f"{self.recording.repeated} of them repeated"
        )
        if self.exit_when_done:
            self.exit_code = 0

    def _failed(self, error: Exception) -> None:
        self._done, self.ready, self.failure = True, False, str(error)
        self.get_logger().error(str(error))
        self.exit_code = 2

    def _write_stats(self) -> None:
        assert self.recording is not None
        Path(self.stats_file).write_text(json.dumps({
            "start": self._begin,
            "end": self._end,
            "fps": self.fps,
            "frames": self.recording.video.frames,
            "repeated": self.recording.repeated,
            "images": self._images_log,
            "audio": self._audio_log,
        }))  # fmt: skip

    def _published(self, info: dict) -> float:
        """When a message was published, by its sender's clock, as media time [s]."""
        return (info["source_timestamp"] - self._base) * 1e-9

    def halt(self) -> None:
        self._write()
        if self.recording is not None:
            self.finish()

    def status(self) -> dict:
        values: dict = {"out": str(self.out), **self.counts}
        if self.recording is not None:
            values["frames"] = self.recording.video.frames
            values["repeated_frames"] = self.recording.repeated
        return values


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [RecorderNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
