# SPDX-License-Identifier: Apache-2.0
"""Speech from media files of any kind, as blocks of mono samples."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
import numpy as np

from realtalk_ros.audio.pcm import mix_down, to_float
from realtalk_ros.errors import AudioError
from realtalk_ros.paths import is_folder

SAMPLE_CLIP = Path(__file__).parents[1] / "data" / "speech_sample.wav"  # see data/README.md
STANDARD_INPUT = "-"  # in place of a file's name


class AudioStream:
    """The sound of a media file as blocks of mono samples; iterate over it once.

    Attributes: `sample_rate` in Hz; `duration` in seconds as the file states it, or None (a
    truncated file states more than it holds: use it for progress only).
    """

    def __init__(self, path: str | Path, block_s: float = 1.0):
        self.path = "standard input" if str(path) == STANDARD_INPUT else Path(path)
        self._samples_read = self._samples_cancelled = 0
        self._block_s = block_s
        self._container = _open(path)
        try:
            self._frames = self._decode()
            # The first decoded frame, not the header, knows the true rate (HE-AAC doubles it).
            self._first = next(self._frames, None)
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise AudioError(f"{self.path} holds no audio samples: give a file with sound in it")
        self.sample_rate: int = self._first.sample_rate
        stated = self._container.duration  # microseconds
        self.duration: float | None = stated / av.time_base if stated and stated > 0 else None

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
        self._container.close()

    @property
    def warning(self) -> str:
        """A warning about what was read so far; mostly empty."""
        if self._samples_cancelled <= 0.1 * self._samples_read:
            return ""
        return (
            f"the channels of {self.path} cancel each other, so one alone is heard: turn the "
            "polarity of one of them round"
        )

    def _mono(self, frame: av.AudioFrame) -> np.ndarray:
        mono, cancelled = mix_down(_samples(frame))
        self._samples_read += len(mono)
        self._samples_cancelled += cancelled * len(mono)
        return mono

    def _decode(self) -> Iterator[av.AudioFrame]:
        stream = self._container.streams.audio[0]
        try:
            for packet in self._container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    # A damaged packet: what follows may be whole. If it ends within a sample, as
                    # where a WAV was cut, some versions of FFmpeg refuse all of it.
                    bits = re.match(r"pcm_[a-z]+(\d+)", stream.codec_context.name)
                    width = int(bits[1]) // 8 * len(stream.layout.channels) if bits else 1
                    if not (rest := packet.size % width):
                        continue
                    frames = stream.codec_context.decode(av.Packet(bytes(packet)[:-rest]))
                yield from (frame for frame in frames if frame.samples)
        except av.error.FFmpegError as error:
            raise AudioError(f"{self.path} cannot be read: {_reason(error)}") from error


def stream_audio(path: str | Path, block_s: float = 1.0) -> AudioStream:
    """Opens any media file that has sound (WAV, FLAC, MP3, Ogg, MP4, ...) for reading in blocks.

    "-" is standard input. Memory stays at about one block, whatever the file's length. Channels are
    averaged. A file that is cut short gives what is there. Raises AudioError if the file is
    missing, is no media file, has no sound, or holds no samples.
    """
    return AudioStream(path, block_s)


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Reads a whole media file: float32 (n,) mono in [-1, 1], and its sample rate in Hz.

    Raises AudioError, as `stream_audio` does.
    """
    stream = stream_audio(path)
    return np.concatenate(list(stream)), stream.sample_rate


def _open(path: str | Path) -> av.container.InputContainer:
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    if name == str(path) and is_folder(path):
        raise AudioError(f"{path} is a folder: give an audio file")
    try:
        file = _standard_input() if name != str(path) else open(path, "rb")  # noqa: SIM115
        # Opened here, not by FFmpeg, and no protocol allowed: a playlist in disguise must not make
        # it read other files or the network.
        options = {"protocol_whitelist": "none"}
        container = av.open(file if file.seekable() else _pipe(file), "r", options=options)
    except av.error.FFmpegError as error:
        raise AudioError(
            f"{name} is not an audio file that can be read ({_reason(error)}): "
            "give a WAV, FLAC, MP3, Ogg or MP4 file"
        ) from error
    except OSError as error:
        raise AudioError(f"cannot open {name} ({error.strerror}): check the path") from error
    if not container.streams.audio:
        container.close()
        raise AudioError(f"{name} has no sound in it: give an audio file")
    return container


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


def _pipe(file: BinaryIO) -> Any:
    """A pipe for FFmpeg to read as it comes. MP4 and CAF may have their index at the end, so these
    go through a temporary file."""
    head = file.read(12)
    if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"free", b"wide") and head[:4] != b"caff":
        return _Pipe(head, file)
    whole = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as it is read
    whole.write(head)
    shutil.copyfileobj(file, whole)
    whole.seek(0)
    return whole


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _samples(frame: av.AudioFrame) -> np.ndarray:
    """One decoded frame as float32 (n, channels) in [-1, 1], NaN and infinity as 0."""
    samples: np.ndarray = frame.to_ndarray()  # planar (channels, n), packed (1, n * channels)
    if frame.format.is_packed:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    return to_float(samples).T
