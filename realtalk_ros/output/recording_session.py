# SPDX-License-Identifier: Apache-2.0
"""Which images and which audio belong to a recording: when it begins and ends, and what becomes of
a clock that is set meanwhile. Times are media time in seconds."""

from __future__ import annotations

import math
import time
from collections import deque
from enum import Enum
from pathlib import Path

import numpy as np

from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.output.recording import Recording
from realtalk_ros.stream_types import LOST_CHUNK_GAP

PREROLL = 0.4  # s of face before the speech
SILENT_RATE = 48000  # Hz of the audio track, where a recording begins before any audio came
MAX_FACES = 16  # avatars that a file names
TIMEOUT = 5.0  # s without audio or images after which a recording ends
MAX_LENGTH = 86400.0  # s
IN_FLIGHT = 0.5  # s after the clock was set in which messages may come that were stamped before
# s of images for which a file waits for the provenance of their face: its title is written first.
# The latched message comes up to 0.3 s after the first image.
PROVENANCE_WITHIN = 2.0


class State(Enum):
    """Where a session is."""

    WAITING = "waiting"  # for speech, or with a set duration for the first image
    RECORDING = "recording"
    DONE = "done"  # the file is complete, or failed


class RecordingSession:
    """Decides when a recording begins and ends, and holds images and audio until they can be
    written. Methods that write raise RealTalkError."""

    def __init__(self, path: Path, fps: float, duration: float, tail: float) -> None:
        """`duration`: s from the first image on; 0: from shortly before the first speech until
        `tail` s after its end."""
        self.state = State.WAITING
        self.recording: Recording | None = None  # once the first image is written
        self.begin: float | None = None  # of the file's first frame
        self.end: float | None = None  # of its last frame, once known
        self.audio_end: float | None = None  # of the audio that came so far
        self.newest = -math.inf  # stamp of the last image
        self._path, self._fps, self._duration, self._tail = path, fps, duration, tail
        self._images: deque[tuple[float, np.ndarray]] = deque()  # not yet written
        self._audio: deque[tuple[float, np.ndarray, int]] = deque()  # stamp, samples, their rate
        self._rate: int | None = None
        self._image_came = time.monotonic()  # the last one
        # By how much the clock was set [s], and until when (monotonic) older stamps may come.
        self._jumps: list[tuple[float, float]] = []
        self._provenance_until = math.inf  # until when the file waits for it
        self._faces: dict[Provenance, None] = {}  # that the images have shown

    def add_face(self, face: Provenance) -> None:
        """The images show this face from now on. The file names all of them."""
        if len(self._faces) < MAX_FACES:
            self._faces[face] = None
        if self.recording is not None:
            self.recording.video.provenance = Provenance.together(self._faces)

    def add_audio(self, start: float, pcm: np.ndarray, rate: int, last: bool) -> bool:
        """Takes a chunk (n,), n > 0, `last` of its utterance or not. False if it is outside the
        recording."""
        if self._rate is None:
            self._rate = rate
            if self.begin is None and not self._duration:
                self._start(self._first_frame(start))
        if self.begin is not None and not -1 <= start - self.begin <= MAX_LENGTH:
            return False
        self._audio.append((start, pcm, rate))
        end = start + len(pcm) / rate
        self.audio_end = end if self.audio_end is None else max(end, self.audio_end)
        if not self._duration:
            self.end = None
        if last:
            self.end_speech()
        return True

    def _first_frame(self, sound: float) -> float:
        """When a recording begins whose sound begins at `sound`, s."""
        return math.floor((sound - PREROLL) * self._fps) / self._fps

    def end_speech(self, interrupted: float = -math.inf) -> None:
        """The speech has ended, or was `interrupted` at that time: so does the recording, if no
        more follows. (What is shown and heard at an interrupt is older, by the delay of the face.)
        """
        if self.audio_end is not None and self.end is None and not self._duration:
            self.end = max(self.audio_end, interrupted) + self._tail

    def add_image(self, stamp: float, image: np.ndarray) -> None:
        """Takes an image that is newer than those before."""
        self.newest, self._image_came = stamp, time.monotonic()
        self._provenance_until = min(self._provenance_until, self._image_came + PROVENANCE_WITHIN)
        if self.begin is None and self._duration:
            self._start(stamp)
            self.end = stamp + self._duration
        self._images.append((stamp, image))

    def image_time(self, stamp: float) -> float:
        """The time of an image; just after the clock was set it may be stamped by the old time."""
        return self._at_new_time(stamp, self.newest)

    def published_time(self, published: float, now: float) -> float:
        """By the clock of `now`, when a message was published: by the system's clock, which may
        have been set since."""
        return self._at_new_time(published, now)

    def audio_time(self, start: float) -> float:
        """As `image_time`, of a chunk that continues what came before; others begin at any time."""
        if self.audio_end is None:
            return start
        moved = self._at_new_time(start, self.audio_end)
        return moved if abs(moved - self.audio_end) <= LOST_CHUNK_GAP else start

    def _at_new_time(self, stamp: float, newest: float) -> float:
        """`stamp`, or what it is after the latest jumps of the clock: the nearest to `newest`."""
        now = time.monotonic()
        self._jumps = [(seconds, until) for seconds, until in self._jumps if now < until]
        stamps = [stamp]
        for seconds, _ in reversed(self._jumps):
            stamps.append(stamps[-1] + seconds)
        return min(stamps, key=lambda moved: abs(moved - newest))

    def shift(self, seconds: float) -> None:
        """The clock jumped: the recording goes on as before, at the new time."""
        self._jumps.append((seconds, time.monotonic() + IN_FLIGHT))
        self.newest += seconds
        if self.begin is not None:
            self.begin += seconds
        if self.end is not None:
            self.end += seconds
        if self.audio_end is not None:
            self.audio_end += seconds
        self._images = deque((stamp + seconds, image) for stamp, image in self._images)
        self._audio = deque((stamp + seconds, pcm, rate) for stamp, pcm, rate in self._audio)
        if self.recording is not None:
            self.recording.start += seconds

    def _start(self, begin: float) -> None:
        self.begin, self.state = begin, State.RECORDING

    @property
    def complete(self) -> bool:
        """Whether all images have come that belong to the recording."""
        return self.end is not None and self.newest > self.end

    def images_stopped(self, now: float) -> bool:
        """Whether no images come any more, in time that is not simulated, either; before the first
        one only if the end of the recording is known."""
        if self.state is not State.RECORDING or (self.end is None and self.newest == -math.inf):
            return False
        return now > self.newest + TIMEOUT and time.monotonic() > self._image_came + TIMEOUT

    @property
    def lacks_images(self) -> bool:
        """Whether sound has come for a while, and no image."""
        if self.state is State.DONE or self.audio_end is None or self.newest > -math.inf:
            return False
        return time.monotonic() > self._image_came + TIMEOUT

    def forget_sound(self, now: float) -> None:
        """While no image has come, drops sound that is so old that none will show it."""
        while self.newest == -math.inf and self._audio:
            start, pcm, rate = self._audio[0]
            if start + len(pcm) / rate > now - TIMEOUT:
                break
            self._audio.popleft()
            if self.begin is not None and self._audio:
                self.begin = self._first_frame(self._audio[0][0])

    def end_without_images(self) -> None:
        """The images have stopped: the recording ends where its sound ends that has come."""
        if self.end is None:
            self.end = self.audio_end

    def end_without_last(self, now: float) -> None:
        """Ends a recording whose audio stopped without a `last` chunk."""
        if self.end is not None or self.audio_end is None or self._duration:
            return
        if now > self.audio_end + TIMEOUT:
            self.end_speech()

    def write(self) -> None:
        """Writes what has come, unless the provenance of the images is still waited for."""
        if self.state is State.WAITING:
            while self._images and self._images[0][0] < self.newest - 1.0 - PREROLL:
                self._images.popleft()
        elif self.recording or self._faces or self._image_came >= self._provenance_until:
            self.write_all()

    def write_all(self) -> None:
        """Writes what has come."""
        if self.state is not State.RECORDING:
            return
        assert self.begin is not None
        while self._images:
            stamp, image = self._images.popleft()
            if stamp < self.begin - 0.5 / self._fps:
                continue
            if self.end is not None and stamp > self.end:
                break
            if self.recording is None:
                self._rate = self._rate or SILENT_RATE
                self.recording = Recording(
                    self._path,
                    self._fps,
                    self.begin,
                    size=(image.shape[1], image.shape[0]),
                    rate=self._rate,
                    provenance=Provenance.together(self._faces) if self._faces else None,
                )
            self._write_audio()  # first, or the image would be too late for it
            self.recording.add_image(stamp, image)
        if self.recording is not None:
            self._write_audio()

    def _write_audio(self) -> None:
        assert self.recording is not None
        while self._audio:
            self.recording.add_audio(*self._audio.popleft())

    def finish(self) -> None:
        """Completes the file with what there is; there is none if no images came."""
        self.write_all()
        self.state = State.DONE
        if self.recording is not None:
            # If it is ended early, not with hours of the last image.
            came = self.newest if self.audio_end is None else max(self.newest, self.audio_end)
            self.recording.close(came if self.end is None else min(self.end, came))
