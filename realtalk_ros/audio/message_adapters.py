# SPDX-License-Identifier: Apache-2.0
"""Other packages' audio messages, read by their fields.

None of them says when its sound is to be played: that is found by arrival_timeline.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realtalk_ros.audio.pcm import check_channels, check_rate, mix_down, to_float
from realtalk_ros.errors import AudioError

# GStreamer's names of sample formats, which ros-drivers' AudioInfo uses.
FORMATS = {
    "S8": "i1", "U8": "u1", "S16LE": "<i2", "S16BE": ">i2", "S32LE": "<i4", "S32BE": ">i4",
    "F32LE": "<f4", "F32BE": ">f4", "F64LE": "<f8", "F64BE": ">f8",
}  # fmt: skip


@dataclass(frozen=True)
class SampleLayout:
    """What messages without a description of their samples hold."""

    rate: int = 16000  # Hz
    channels: int = 1
    format: str = "S16LE"  # one of FORMATS

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_channels(self.channels)
        if self.format not in FORMATS:
            raise AudioError(f"sample format {self.format!r}: say one of {', '.join(FORMATS)}")


@dataclass(frozen=True)
class DecodedAudio:
    """pcm: (n,) float32 mono in [-1, 1]; rate: Hz; stamp: builtin_interfaces/Time, or None;
    cancelled: the mean of its channels would be silence, so this is one of them."""

    pcm: np.ndarray
    rate: int
    stamp: Any = None
    cancelled: bool = False


def to_frames(samples: np.ndarray, channels: int) -> np.ndarray:
    """Interleaved samples of any type, full scale that of the type -> (n, channels) float32 in
    [-1, 1]. Raises AudioError for a channel count outside 1..64, or a cut frame.
    """
    check_channels(channels)
    if len(samples) % channels:
        raise AudioError(f"{len(samples)} samples are no whole frames of {channels} channels")
    return to_float(samples).reshape(-1, channels)


def decoded(samples: np.ndarray, channels: int, rate: int, stamp: Any = None) -> DecodedAudio:
    """Interleaved samples as DecodedAudio. Raises AudioError as `to_frames` does."""
    mono, cancelled = mix_down(to_frames(samples, channels))
    return DecodedAudio(mono, rate, stamp, cancelled)


def _bytes(data: Any, layout: SampleLayout) -> np.ndarray:
    dtype = np.dtype(FORMATS[layout.format])
    raw = memoryview(data)
    if len(raw) % dtype.itemsize:
        raise AudioError(f"{len(raw)} bytes are no whole samples of {layout.format}")
    return np.frombuffer(raw, dtype)


def read_bytes(message: Any, layout: SampleLayout) -> DecodedAudio:
    """ros-drivers' AudioData: bytes that say nothing of themselves."""
    return decoded(_bytes(message.data, layout), layout.channels, layout.rate)


def read_stamped_bytes(message: Any, layout: SampleLayout) -> DecodedAudio:
    """ros-drivers' AudioDataStamped."""
    return replace(read_bytes(message.audio, layout), stamp=message.header.stamp)


# PortAudio's sample formats, which mgonzs13's AudioInfo uses, and the field that holds them.
_PORTAUDIO = {
    1: ("float32_data", np.float32),
    2: ("int32_data", np.int32),
    8: ("int16_data", np.int16),
    16: ("int8_data", np.int8),
    32: ("uint8_data", np.uint8),
}


def read_arrays(message: Any, layout: SampleLayout) -> DecodedAudio:
    """mgonzs13's AudioData: the array that is not empty."""
    full = [(name, t) for name, t in _PORTAUDIO.values() if len(getattr(message, name))]
    if len(full) != 1:
        raise AudioError(f"AudioData fills {len(full)} of its arrays: fill one")
    name, dtype = full[0]
    return decoded(np.array(getattr(message, name), dtype), layout.channels, layout.rate)


def read_audio(message: Any, _: SampleLayout) -> DecodedAudio:
    """mgonzs13's Audio, which describes itself."""
    info = message.info
    if info.format not in _PORTAUDIO:
        raise AudioError(f"PortAudio format {info.format}: send 1, 2, 8, 16 or 32")
    name, dtype = _PORTAUDIO[info.format]
    check_rate(info.rate)
    samples = np.array(getattr(message.audio_data, name), dtype)
    return decoded(samples, info.channels, info.rate)


def read_stamped_audio(message: Any, layout: SampleLayout) -> DecodedAudio:
    """mgonzs13's AudioStamped."""
    return replace(read_audio(message.audio, layout), stamp=message.header.stamp)


def read_foxglove(message: Any, _: SampleLayout) -> DecodedAudio:
    """foxglove_msgs/RawAudio, which knows one format: pcm-s16."""
    if message.format != "pcm-s16":
        raise AudioError(f"RawAudio of format {message.format!r}: send 'pcm-s16'")
    check_rate(message.sample_rate)
    samples = _bytes(message.data, SampleLayout(format="S16LE"))
    return decoded(samples, message.number_of_channels, message.sample_rate, message.timestamp)


@dataclass(frozen=True)
class Kind:
    """A message type; `field` exists only if the installed package is the one that is meant."""

    type: str  # package/msg/Name
    whose: str
    field: str
    read: Callable[[Any, SampleLayout], DecodedAudio]
    described: bool = True  # by itself; else by AudioInfo or parameters


_DRIVERS, _MGONZS = "ros-drivers' audio_common", "mgonzs13's audio_common"
# Two packages are called audio_common_msgs, and both have an AudioData.
KINDS = (
    Kind("audio_common_msgs/msg/AudioStamped", _MGONZS, "audio", read_stamped_audio),
    Kind("audio_common_msgs/msg/Audio", _MGONZS, "audio_data", read_audio),
    Kind("foxglove_msgs/msg/RawAudio", "foxglove_msgs", "number_of_channels", read_foxglove),
    Kind("audio_common_msgs/msg/AudioDataStamped", _DRIVERS, "audio", read_stamped_bytes, False),
    Kind("audio_common_msgs/msg/AudioData", _DRIVERS, "data", read_bytes, False),
    Kind("audio_common_msgs/msg/AudioData", _MGONZS, "int16_data", read_arrays, False),
)


def layout_of(info: Any) -> SampleLayout:
    """ros-drivers' AudioInfo. Raises AudioError for what is no plain PCM: its default is MP3."""
    if info.coding_format.lower() not in ("wave", "wav", "raw", "pcm"):
        raise AudioError(
            f"audio_info says {info.coding_format!r}: set audio_capture's parameter format to wave"
        )
    return SampleLayout(info.sample_rate, info.channels, info.sample_format.upper())
