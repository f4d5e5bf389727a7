# SPDX-License-Identifier: Apache-2.0
"""Writes frames and their sound to an MP4 file (H.264 and AAC) that any player opens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import cv2
import numpy as np

from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.errors import RealTalkError
from realtalk_ros.whole_files import cannot_write, hidden_beside, target_of

# Measured at 512x512 on one core: veryfast 2.4 ms a frame, ultrafast 1.5 ms for six times the file.
PRESET = "veryfast"
QUALITY = "20"  # x264's crf: 18 looks lossless, 23 is its default
AUDIO_BIT_RATE = 128_000  # bit/s
# The rates that AAC knows; sound of another rate is resampled to the next higher one.
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


class VideoWriter:
    """An MP4 file in the making. Frame k is shown at k / fps, the first sample is heard at 0.

    The file appears under its name only when `close` has succeeded; until then it is a hidden
    `.part` file beside it, which an error (or leaving the `with` block by one) removes.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        size: tuple[int, int],
        sample_rate: int | None = None,
        provenance: Provenance | None = None,
    ):
        """Where `path` is a link, the file it leads to is written; a device or a pipe is refused,
        since MP4 needs a file. `size` is (width, height) in pixels; `sample_rate` in Hz, None for a
        file without sound; `provenance` is said in the file, as XMP and as its title and comment.

        Raises RealTalkError if the file cannot be created.
        """
        self.path = Path(path)
        self.fps = Fraction(fps).limit_denominator(1001)
        self.size = size
        self.frames = 0  # written so far
        self.samples = 0  # likewise, at `sample_rate`
        self.provenance = provenance  # for the XMP it may be set until `close`
        self._sample_rate = sample_rate
        self._audio: Any = None
        self._ended = True  # no file yet
        try:
            self._target = target_of(self.path)
            # Absolute, since FFmpeg takes what is before a colon for a protocol.
            self._part = hidden_beside(self._target).absolute()
            # faststart: the index comes first, so a browser plays before it has the whole file.
            self._container = av.open(
                str(self._part), "w", format="mp4", options={"movflags": "+faststart"}
            )
        except (av.error.FFmpegError, OSError) as error:
            raise cannot_write(self.path, error) from error
        self._ended = False
        try:
            self._video = self._container.add_stream("libx264", rate=self.fps)
            self._video.width, self._video.height = (side + side % 2 for side in size)
            self._video.pix_fmt = "yuv420p"
            # BT.601 is what OpenCV converts BGR to; without a tag players guess, some wrong.
            # (As options, since PyAV 10, which Debian 12 has, knows no other way.)
            self._video.options = {
                "preset": PRESET,
                "crf": QUALITY,
                "colorspace": "smpte170m",
                "color_range": "tv",
            }
            context = self._video.codec_context
            context.time_base = 1 / self.fps
            context.thread_count = 1  # the other cores are for the face
            if sample_rate is not None:
                self._audio = self._add_audio_stream(sample_rate)
            if provenance is not None:
                self._container.metadata.update(title=provenance.avatar, comment=provenance.words)
            self._container.start_encoding()  # creates the file, so that its errors come now
        except BaseException as error:  # a signal's, too
            self.discard()
            if isinstance(error, (av.error.FFmpegError, ValueError, OSError)):
                raise cannot_write(self.path, error) from error
            raise

    def _add_audio_stream(self, sample_rate: int) -> Any:
        """For mono sound of that rate [Hz]."""
        rate = min((r for r in AAC_RATES if r >= sample_rate), default=48000)
        stream = self._container.add_stream("aac", rate=rate, layout="mono")
        stream.bit_rate = min(AUDIO_BIT_RATE, 6 * rate)  # AAC's limit for one channel
        return stream

    def write(self, image: np.ndarray) -> None:
        """Adds the next frame: uint8 BGR (height, width, 3). Raises RealTalkError."""
        width, height = self.size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise RealTalkError(
                f"{self.path.name} takes uint8 frames of shape {(height, width, 3)}, "
                f"not {image.dtype} of {image.shape}"
            )
        if width % 2 or height % 2:  # 4:2:0 colour has no odd sizes
            image = cv2.copyMakeBorder(
                image,
                top=0,
                bottom=height % 2,
                left=0,
                right=width % 2,
                borderType=cv2.BORDER_REPLICATE,
            )
        # Not FFmpeg's own conversion: it is twice as slow and turns grey a little green.
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self.frames, 1 / self.fps
        self._mux(self._video.encode, frame)
        self.frames += 1

    def write_audio(self, pcm: np.ndarray) -> None:
        """Adds sound: float32 (n,) mono in [-1, 1]. Keep it about in step with the frames."""
        if self._audio is None or self._sample_rate is None:
            raise RealTalkError(f"{self.path.name} was opened without a sample rate")
        if not len(pcm):
            return
        samples = np.ascontiguousarray(pcm, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = self._sample_rate
        frame.pts, frame.time_base = self.samples, Fraction(1, self._sample_rate)
        self._mux(self._audio.encode, frame)
        self.samples += samples.shape[1]

    def close(self) -> None:
        """Completes the file and gives it its name. Raises RealTalkError."""
        if self.frames:
            self._mux(self._video.encode, None)
        if self._audio is not None and self.samples:
            self._mux(self._audio.encode, None)
        try:
            self._container.close()
            if self.provenance is not None:
                with self._part.open("ab") as file:
                    file.write(self.provenance.mp4_box())
            self._part.replace(self._target)
            self._ended = True
        except (av.error.FFmpegError, OSError) as error:
            self.discard()
            raise cannot_write(self.path, error) from error

    def discard(self) -> None:
        """Ends without a file."""
        self._ended = True
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)

    def __del__(self) -> None:
        # A signal may come before its `with` block begins.
        if not getattr(self, "_ended", True):
            self.discard()

    def _mux(self, encode: Callable[[Any], list[av.Packet]], frame: Any) -> None:
        """Writes a frame, or with None the last packets, of the stream with this encoder."""
        try:
            self._container.mux(encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            self.discard()
            raise cannot_write(self.path, error) from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
