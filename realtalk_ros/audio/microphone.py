# SPDX-License-Identifier: Apache-2.0
"""A microphone through PortAudio, and a noise gate that cuts its sound into utterances.

A device from which nothing comes any more is opened again by nodes/microphone_node.py.
"""

from __future__ import annotations

import contextlib
import math
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.audio.pcm import mix_down
from realtalk_ros.errors import RealTalkError, first_line

BLOCK = 0.02  # s of sound at once
PREROLL = 2  # blocks from before the gate opened that pass, too: words may begin softly
HANG = 0.7  # s below the threshold after which an utterance is over


class Microphone:
    """An open input device. `read` returns what was recorded; `close` ends it."""

    _open: ClassVar[set[Microphone]] = set()  # in this process

    def __init__(self, device: str, rate: int, channels: int):
        """device: PortAudio's number, or a part of its name; empty: the system's default. Raises
        RealTalkError where it cannot be opened."""
        try:
            import sounddevice
        except ImportError as error:
            raise RealTalkError(
                f"the microphone needs sounddevice: {install_hints.how_to_install('sounddevice')}"
            ) from error
        except OSError as error:  # PortAudio itself is missing
            raise RealTalkError(
                "the microphone needs PortAudio: sudo apt install libportaudio2"
            ) from error
        except Exception as error:  # PortAudioError: the system's sound is broken
            raise RealTalkError(f"PortAudio does not start: {first_line(error)}") from error
        self.rate = rate
        self.received_at = time.monotonic()  # when the last block came
        self.overflows = 0  # blocks before which the device lost sound
        self.cancelled = False  # its channels cancelled each other out, and one was taken alone
        self._blocks: queue.SimpleQueue = queue.SimpleQueue()
        try:
            if not Microphone._open:  # it would close the others' streams
                # PortAudio lists devices once: one that was plugged in later would not be found.
                with contextlib.suppress(sounddevice.PortAudioError):  # it did not start before
                    sounddevice._terminate()
                sounddevice._initialize()
            self._stream = sounddevice.InputStream(
                samplerate=rate,
                channels=channels,
                dtype="float32",
                device=int(device) if device.isdigit() else device or None,
                blocksize=round(BLOCK * rate),
                latency="low",
                callback=self._on_block,
            )
            self._stream.start()
            Microphone._open.add(self)
        except (sounddevice.PortAudioError, ValueError) as error:
            names = _microphones(sounddevice)
            have = f"choose device from {', '.join(names)}" if names else "no microphone is there"
            raise RealTalkError(
                f"cannot record from {device or 'the default'!r} ({first_line(error)}): {have}"
            ) from error

    def _on_block(self, block: np.ndarray, _frames: int, times: Any, status: Any) -> None:
        self.received_at = time.monotonic()
        self.overflows += bool(status and status.input_overflow)
        age = max(0.0, times.currentTime - times.inputBufferAdcTime)
        mono, cancelled = mix_down(block)
        self.cancelled = self.cancelled or cancelled
        self._blocks.put((mono.copy(), self.received_at - min(age, 1.0)))

    def read(self) -> list[tuple[np.ndarray, float]]:
        """[((n,) float32 mono, when its first sample sounded [time.monotonic, s])]; never waits."""
        out = []
        while not self._blocks.empty():
            out.append(self._blocks.get())
        return out

    def close(self) -> None:
        Microphone._open.discard(self)
        self._stream.close()


def _microphones(sounddevice: Any) -> list[str]:
    """Names of the devices, as far as PortAudio knows them."""
    try:
        return [d["name"] for d in sounddevice.query_devices() if d["max_input_channels"]]
    except sounddevice.PortAudioError:
        return []


@dataclass(frozen=True)
class Piece:
    """Sound of one utterance; start: s, on the clock of what was pushed."""

    pcm: np.ndarray
    start: float
    utterance: int
    last: bool = False


class Gate:
    """Passes sound on while somebody speaks, in utterances.

    Within an utterance, time is counted in samples. The next one starts from its time stamp, so
    that an error of the sound card's clock does not grow.

    threshold: dB of a full-scale square wave; a block louder than that opens the gate.
    """

    def __init__(self, rate: int, threshold: Callable[[], float]):
        self.rate = rate
        self.utterances = 0
        self.level = -math.inf  # dB, of the last block
        self._threshold = threshold
        self._before: deque[tuple[np.ndarray, float]] = deque(maxlen=PREROLL)
        self._end: float | None = None  # of the running utterance
        self._quiet = 0.0  # s

    def push(self, pcm: np.ndarray, time: float) -> list[Piece]:
        """(n,) float32 whose first sample sounded at `time`, s."""
        power = float(np.mean(np.square(pcm))) if len(pcm) else 0.0
        self.level = 10 * math.log10(power + 1e-12)
        loud = self.level > self._threshold()
        seconds = len(pcm) / self.rate
        if self._end is not None and abs(time - self._end) > 0.5:
            self._end = None  # the device stopped for a while
        if self._end is None:
            if not loud:
                self._before.append((pcm, time))
                return []
            pcm = np.concatenate([*(block for block, _ in self._before), pcm])
            self._end = time - sum(len(block) for block, _ in self._before) / self.rate
            self._before.clear()
            self.utterances += 1
        self._quiet = 0.0 if loud else self._quiet + seconds
        start, last = self._end, self._quiet > HANG
        self._end = None if last else start + len(pcm) / self.rate
        return [Piece(pcm, start, self.utterances, last)]
