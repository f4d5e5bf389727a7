# SPDX-License-Identifier: Apache-2.0
"""A recording: where in its file images and audio lie. (Which of them belong to it:
recording_session.py.) Times are media time in seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.audio.resampler import Resampler
from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.stream_types import STAMP_TOLERANCE

AUDIO_LATE = 5.0  # s after an image in which audio of its time may come: then there is silence


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A BGR image as large as fits into `size`, width and height, in the middle of black: avatars
    differ in their proportions, and a face must not be stretched."""
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(image, scaled, interpolation=method)
    right, bottom = size[0] - scaled[0], size[1] - scaled[1]
    left, top = right // 2, bottom // 2
    return cv2.copyMakeBorder(
        image, top, bottom - top, left, right - left, borderType=cv2.BORDER_CONSTANT
    )


class Recording:
    """One file that is being written.

    Frame k of the file shows the image whose stamp is nearest to `start` + k / fps; where there is
    none, the one before it is repeated.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        start: float,
        size: tuple[int, int],
        rate: int | None,
        provenance: Provenance | None = None,
    ) -> None:
        """`size`: width, height; `rate`: Hz of the audio track, None: there is none."""
        self.fps, self.start, self.rate, self._size = fps, start, rate, size
        self.video = VideoWriter(path, fps, size, rate, provenance)
        self.repeated = 0
        self._image: np.ndarray | None = None
        # Samples at `rate` that came, of which the resampler still holds the last ones.
        self._samples = 0.0
        self._input_rate: int | None = None  # Hz, of the audio that came last
        self._resampler: Resampler | None = None

    def add_image(self, stamp: float, image: np.ndarray) -> None:
        """Takes an image with its stamp, which must be later than those before."""
        slot = round((stamp - self.start) * self.fps)
        height, width = image.shape[:2]
        if (width, height) != self._size:  # the face may change its size
            image = fitted(image, self._size)
        while self._image is not None and self.video.frames < slot:
            self.repeated += 1
            self.video.write(self._image)
        self._image = image
        while self.video.frames <= slot:  # more than once only before the first image
            self.video.write(image)
        if self.rate is not None:
            self._add_silence((slot / self.fps - AUDIO_LATE) * self.rate)

    def add_audio(self, stamp: float, pcm: np.ndarray, rate: int) -> None:
        """Takes audio of `rate` Hz that begins at `stamp`; a gap before it is silence, an overlap
        is dropped."""
        assert self.rate is not None
        gap = round((stamp - self.start) * self.rate - self._samples)
        if abs(gap) <= STAMP_TOLERANCE * self.rate and self._samples:
            gap = 0  # jitter of the stamps, which must not become audible
        if gap > 0:
            self._add_silence(self._samples + gap)
        if rate != self._input_rate:
            self._flush_audio()
            self._input_rate = rate
            self._resampler = None if rate == self.rate else Resampler(rate, self.rate)
        pcm = pcm[round(max(0, -gap) * rate / self.rate) :]
        self._samples += len(pcm) * self.rate / rate
        self.video.write_audio(pcm if self._resampler is None else self._resampler.push(pcm))

    def _flush_audio(self) -> None:
        """Writes what the resampler still holds, and so much silence that no sample is missing."""
        if self._resampler is not None:
            self.video.write_audio(self._resampler.flush())
            self._resampler, self._input_rate = None, None
        self._write_silence(round(self._samples))
        self._samples = float(self.video.samples)

    def _add_silence(self, until: float) -> None:
        """Silence up to sample `until` of the file, if the audio ends before it."""
        if until > self._samples:
            self._flush_audio()
            self._write_silence(round(until))
            self._samples = float(self.video.samples)

    def _write_silence(self, until: int) -> None:
        """In pieces: an hour of it would take gigabytes, and seconds."""
        assert self.rate is not None
        while (missing := until - self.video.samples) > 0:
            self.video.write_audio(np.zeros(min(missing, self.rate), np.float32))

    def close(self, end: float) -> None:
        """Completes the file; both images and audio end at `end`."""
        if self._image is not None:
            last = self.start + (self.video.frames - 1) / self.fps
            self.add_image(max(end, last), self._image)
        if self.rate is not None:
            self._flush_audio()
            self._write_silence(round(self.video.frames / self.fps * self.rate))
        self.video.close()
