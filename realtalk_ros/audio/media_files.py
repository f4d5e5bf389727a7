# SPDX-License-Identifier: Apache-2.0
"""Speech from media files of any kind, as blocks of mono samples."""

from __future__ import annotations

import contextlib
import io
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
import numpy as np

from realtalk_ros.audio.pcm import MAX_RATE, MIN_RATE, mix_down, to_float
from realtalk_ros.audio.sound_findings import SoundFindings
from realtalk_ros.audio.stated_length import StatedLength, stated_seconds
from realtalk_ros.errors import AudioError, reason
from realtalk_ros.paths import is_folder

SAMPLE_CLIP = Path(__file__).parents[1] / "data" / "speech_sample.wav"  # see data/README.md
STANDARD_INPUT = "-"  # in place of a file's name
# Of others FFmpeg guesses the duration (stated_length.py).
EXACT_FORMATS = {"flac", "mov", "matroska", "ogg", "aiff", "au", "caf", "tta", "wv"}
PIPE_HEAD = 4096  # bytes of a pipe that are looked at before FFmpeg reads it


class AudioStream:
    """The sound of a media file of any kind (WAV, FLAC, MP3, Ogg, MP4, ...; "-": standard input) as
    blocks of mono samples; iterate over it once.

    Attributes: `sample_rate` in Hz; `duration` in seconds as the file states it, or None (a
    truncated file states more than it holds: use it for progress only).

    Memory stays at about one block, whatever the file's length. Channels are averaged. A file that
    is cut short gives what is there. Raises AudioError if the file is missing, is no media file,
    has no sound, or holds no samples.
    """

    def __init__(self, path: str | Path, block_s: float = 1.0):
        self.path = "standard input" if str(path) == STANDARD_INPUT else Path(path)
        self._findings = SoundFindings(str(self.path))
        self._block_s = block_s
        self._container, self._file, stated = _open(path)
        try:
            self._frames = self._decode()
            # The first decoded frame, not the header, knows the true rate (HE-AAC doubles it).
            self._first = next(self._frames, None)
            self.sample_rate = self._check_first()
        except BaseException:
            self.close()
            raise
        self._findings.stated = stated.seconds or _stated_duration(self._container)
        self._findings.damage = self._findings.damage or stated.cut
        guess = self._container.duration  # microseconds
        self.duration: float | None = guess / av.time_base if guess and guess > 0 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields float32 (n,) in [-1, 1], about `block_s` long, the last one shorter."""
        wanted = max(1, round(self._block_s * self.sample_rate))
        parts: list[np.ndarray] = []
        held = 0
        try:
            if self._first is None:
                raise AudioError(f"{self.path} was read already: open it again")
            frame: av.AudioFrame | None = self._first
            self._first = None
            while frame is not None:
                if frame.sample_rate != self.sample_rate:
                    raise AudioError(
                        f"{self.path} changes its sample rate on the way: convert it to WAV first"
                    )
                parts.append(self._mono(frame))
                held += len(parts[-1])
                if held >= wanted:
                    joined = np.concatenate(parts)
                    whole = held - held % wanted
                    for start in range(0, whole, wanted):
                        yield joined[start : start + wanted]
                    parts, held = [joined[whole:]], held - whole
                frame = next(self._frames, None)
            if held:
                yield np.concatenate(parts)
        finally:
            self.close()

    def close(self) -> None:
        """Closes the file; standard input stays open."""
        self._container.close()  # which lets go of what it reads, but does not close it
        if self._file is not None:
            self._file.close()

    def _check_first(self) -> int:
        """The sample rate in Hz. Raises AudioError."""
        if self._first is None and self._findings.damage:
            raise AudioError(
                f"{self.path} cannot be decoded ({self._findings.damage}), it is damaged: get it "
                "again, or convert it to WAV"
            )
        if self._first is None:
            raise AudioError(f"{self.path} holds no audio samples: give a file with sound in it")
        rate: int = self._first.sample_rate
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError(
                f"{self.path} has a sample rate of {rate} Hz: convert it to one from {MIN_RATE} to "
                f"{MAX_RATE} Hz"
            )
        return rate

    @property
    def warnings(self) -> list[str]:
        """What of the sound was lost or changed, and what to do, one line each; mostly none. Ask
        when all is read."""
        return self._findings.warnings()

    def _mono(self, frame: av.AudioFrame) -> np.ndarray:
        samples = _samples(frame)
        mono, cancelled = mix_down(to_float(samples))
        self._findings.add(samples, cancelled, self.sample_rate)
        return mono

    def _decode(self) -> Iterator[av.AudioFrame]:
        stream = self._container.streams.audio[0]
        # Asked before decoding: PyAV 19 crashes if asked after the decoder could not be opened.
        codec = stream.codec_context.name if stream.codec_context else ""
        try:
            for packet in self._container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as error:
                    # A damaged packet: what follows may be whole. If it ends within a sample, as
                    # where a WAV was cut, some versions of FFmpeg refuse all of it.
                    bits = re.match(r"pcm_[a-z]+(\d+)", codec)
                    width = int(bits[1]) // 8 * len(stream.layout.channels) if bits else 1
                    if not width or not (rest := packet.size % width):
                        self._findings.damage = reason(error)
                        continue
                    frames = stream.codec_context.decode(av.Packet(bytes(packet)[:-rest]))
                except ValueError as error:  # PyAV 19's, after the decoder could not be opened
                    self._findings.damage = self._findings.damage or str(error)
                    break
                yield from (frame for frame in frames if frame.samples)
        except av.error.FFmpegError as error:
            raise AudioError(
                f"{self.path} cannot be read ({reason(error)}): get it again, or convert it to WAV"
            ) from error


def read_audio(
    path: str | Path, warn: Callable[[str], object] | None = None, seconds: float = math.inf
) -> tuple[np.ndarray, int]:
    """Reads a media file, or its first `seconds` and a little more: float32 (n,) mono in [-1, 1],
    and its sample rate in Hz. `warn` is called with what of it was lost or changed.

    Raises AudioError, as AudioStream does.
    """
    with contextlib.closing(AudioStream(path)) as stream:
        blocks, count = [], 0
        for block in stream:
            blocks.append(block)
            count += len(block)
            if count >= seconds * stream.sample_rate:
                break
    if warn is not None:
        for line in stream.warnings:
            warn(line)
    return np.concatenate(blocks), stream.sample_rate


def _open(
    path: str | Path,
) -> tuple[av.container.InputContainer, BinaryIO | None, StatedLength]:
    """What reads a file, what is to be closed after it, and what the file says of its length."""
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    if name == str(path) and is_folder(path):
        raise AudioError(f"{path} is a folder: give an audio file")
    try:
        file = _standard_input() if name != str(path) else open(path, "rb")  # noqa: SIM115
        if file.seekable():
            if not file.read(1):  # of which FFmpeg says that an argument is invalid
                raise AudioError(f"{name} is empty: what was to write it may have failed")
            file.seek(-1, 1)
        # Opened here, not by FFmpeg, and no protocol allowed: a playlist in disguise must not make
        # it read other files or the network. (`options` would be given to streams, too, which ends
        # PyAV before 17 by SIGSEGV where a stream is found late, as in an MPEG film.)
        options = {"protocol_whitelist": "none"}
        source, stated = (file, StatedLength.of(file)) if file.seekable() else _pipe(file, name)
        container = av.open(source, "r", container_options=options)
    except av.error.FFmpegError as error:
        advice = "give a WAV, FLAC, MP3, Ogg or MP4 file"
        if file.seekable() and file.seek(4) and file.read(4) == b"ftyp":
            advice = "if it is an MP4, its end with the index is missing, so get it again"
        raise AudioError(
            f"{name} is not an audio file that can be read ({reason(error)}): {advice}"
        ) from error
    except OSError as error:
        raise AudioError(f"cannot open {name} ({reason(error)}): check the path") from error
    if not container.streams.audio:
        container.close()
        raise AudioError(f"{name} has no sound in it: give an audio file")
    return container, file if name == str(path) else None, stated


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise AudioError("standard input is closed: pipe a sound file into it, or name one")
    if sys.stdin.isatty():
        raise AudioError("standard input is a terminal: pipe a sound file into it, or name one")
    return sys.stdin.buffer


class _Pipe:
    """A pipe from its beginning, though its first bytes, `head`, were read already."""

    def __init__(self, head: bytes, rest: BinaryIO):
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._rest.read(size)


def _pipe(file: BinaryIO, name: str) -> tuple[Any, StatedLength]:
    """A pipe for FFmpeg to read as it comes. MP4 and CAF may have their index at the end, so these
    go through a temporary file."""
    head = file.read(PIPE_HEAD)
    if not head:
        raise AudioError(f"{name} is empty: what is to write to it may have failed")
    if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"free", b"wide") and head[:4] != b"caff":
        return _Pipe(head, file), StatedLength(stated_seconds(io.BytesIO(head)))
    whole = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as it is read
    whole.write(head)
    shutil.copyfileobj(file, whole)
    whole.seek(0)
    return whole, StatedLength()


def _stated_duration(container: av.container.InputContainer) -> float | None:
    """S of its sound, where the file states that itself and does not leave it to be guessed."""
    stream = container.streams.audio[0]
    if not set(container.format.name.split(",")) & EXACT_FORMATS:
        return None
    if "matroska" in container.format.name:
        # It states the length of the file alone. FFmpeg guesses that from the size where it is
        # missing, as of a file written into a pipe, and then gives it to the streams, too.
        guessed = stream.duration is not None or bool(container.streams.video)
        whole = container.duration  # microseconds
        return whole / av.time_base if whole and not guessed else None
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return None


def _samples(frame: av.AudioFrame) -> np.ndarray:
    """One decoded frame (n, channels), of the type that its file has."""
    samples: np.ndarray = frame.to_ndarray()  # planar (channels, n), packed (1, n * channels)
    if frame.format.is_packed:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    return samples.T
