# SPDX-License-Identifier: Apache-2.0
"""Speech with the times of its phones, and a dataset of it cached as log-mel.

Which speakers are held out: HELD_OUT_* in corpora.py (people) and synthetic_speech.py (voices).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from realtalk_ros.audio import log_mel
from realtalk_ros.contracts import MEL_RATE, N_MELS, SAMPLE_RATE
from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.training.common.array_files import write_arrays
from realtalk_ros.training.speech_data import phones as ph

Segment = tuple[str, float, float]  # phone, start s, end s

LEVEL_HOP = 0.005  # s between the values of `level_db`
_MIN_GAP = 1e-4  # s between two segments that is a silence and no rounding error


@dataclass
class Speech:
    """A recording or synthetic speech, with the times of its phones."""

    pcm: np.ndarray  # (n,) float32 at 16 kHz
    segments: list[Segment]  # contiguous from 0 to the end
    source: str  # corpus or engine, and voice: what held-out sets are split by


class Utterance(NamedTuple):
    """One item of a `SpeechDataset`."""

    mel: np.ndarray  # (m, 80) float16
    segments: list[Segment]
    source: str


def level_db(pcm: np.ndarray, rate: int) -> np.ndarray:
    """(n,) PCM in units of int16 -> its level in dB every LEVEL_HOP."""
    hop = int(rate * LEVEL_HOP)
    blocks = pcm[: len(pcm) // hop * hop].astype(np.float64).reshape(-1, hop)
    return 10 * np.log10((blocks**2).mean(axis=1) + 0.1)


def level_between(level: np.ndarray, start: float, end: float) -> np.ndarray:
    """The values of `level_db` from `start` to `end` s, at least one."""
    i = min(int(start / LEVEL_HOP), len(level) - 1)
    return level[i : max(int(end / LEVEL_HOP), i + 1)]


def make_speech(pcm: np.ndarray, segments: Iterable[Segment], source: str) -> Speech:
    """Speech of segments that are made contiguous and positive, from 0 to the end of the PCM.

    Neighbouring silences are merged.
    """
    total = len(pcm) / SAMPLE_RATE
    out: list[Segment] = []
    done = 0.0
    for phone, start, end in segments:
        if start > done + _MIN_GAP:
            out.append((ph.SIL, done, start))
        start, end = max(start, done), min(end, total)
        if end <= start:
            continue
        after_pause = not out or out[-1][0] == ph.SIL
        if phone == ph.SIL and out and after_pause:
            out[-1] = (ph.SIL, out[-1][1], end)
        else:
            # After a pause the b of Spanish is a stop, whatever its text alone would say.
            out.append(("B" if phone == "BH" and after_pause else phone, start, end))
        done = end
    if total > done:
        out.append((ph.SIL, done, total))
    return Speech(pcm, out, source)


@dataclass
class SpeechDataset:
    """Utterances as log-mel with phone times, in a few large arrays."""

    mel: np.ndarray  # (sum m, 80) float16
    mel_starts: np.ndarray  # (n + 1,)
    phone: np.ndarray  # (sum p,) int16, index into PHONES
    times: np.ndarray  # (sum p, 2) float32 s
    phone_starts: np.ndarray  # (n + 1,)
    source: np.ndarray  # (n,) str

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> Utterance:
        first, last = self.phone_starts[i : i + 2]
        segments = [
            (ph.PHONES[phone], float(start), float(end))
            for phone, (start, end) in zip(
                self.phone[first:last], self.times[first:last], strict=True
            )
        ]
        mel = self.mel[self.mel_starts[i] : self.mel_starts[i + 1]]
        return Utterance(mel, segments, str(self.source[i]))

    def __iter__(self) -> Iterator[Utterance]:
        return (self[i] for i in range(len(self)))

    @property
    def hours(self) -> float:
        return len(self.mel) / MEL_RATE / 3600

    @classmethod
    def of(cls, items: Iterable[Speech]) -> SpeechDataset:
        """Computes the log-mel of every item."""
        mels, phones, times, sources, mel_starts, phone_starts = [], [], [], [], [0], [0]
        for item in items:
            mel = log_mel.log_mel(item.pcm, SAMPLE_RATE).astype(np.float16)
            mels.append(mel)
            phones += [ph.PHONE_INDEX[phone] for phone, _, _ in item.segments]
            times += [(start, end) for _, start, end in item.segments]
            sources.append(item.source)
            mel_starts.append(mel_starts[-1] + len(mel))
            phone_starts.append(len(phones))
        return cls(
            mel=np.concatenate(mels) if mels else np.zeros((0, N_MELS), np.float16),
            mel_starts=np.array(mel_starts),
            phone=np.array(phones, np.int16),
            times=np.array(times, np.float32).reshape(-1, 2),
            phone_starts=np.array(phone_starts),
            source=np.array(sources),
        )

    def save(self, path: Path) -> None:
        write_arrays(path, **self.__dict__)

    @classmethod
    def load(cls, *paths: Path) -> SpeechDataset:
        """One or several shards, joined. Raises RealTalkError for one that cannot be read."""
        with ExitStack() as files:
            shards = []
            for path in paths:
                with _named(path):
                    shards.append(files.enter_context(np.load(path, allow_pickle=False)))

            def read(name: str) -> Iterator[np.ndarray]:
                for path, shard in zip(paths, shards, strict=True):
                    with _named(path):
                        array = shard[name]
                    yield array

            def join_starts(name: str) -> np.ndarray:
                each = list(read(name))
                ends = np.cumsum([0] + [starts[-1] for starts in each])
                parts = [starts[:-1] + e for starts, e in zip(each, ends[:-1], strict=True)]
                return np.append(np.concatenate(parts), ends[-1])

            def join(name: str) -> np.ndarray:
                return np.concatenate(list(read(name)))

            mel_starts, filled = join_starts("mel_starts"), 0
            mel = np.empty((mel_starts[-1], N_MELS), np.float16)
            for part in read("mel"):  # gigabytes: never twice in memory
                mel[filled : filled + len(part)] = part
                filled += len(part)
            return cls(
                mel=mel,
                mel_starts=mel_starts,
                phone=join("phone"),
                times=join("times"),
                phone_starts=join_starts("phone_starts"),
                source=join("source"),
            )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raises RealTalkError that names `path` for what is no shard of a `SpeechDataset`."""
    try:
        yield
    except Exception as error:  # it may be anything: no zip, no header, other arrays
        raise RealTalkError(
            f"{path} is no shard of speech ({reason(error)}): remove it and run "
            "`realtalk data speech` again"
        ) from error
