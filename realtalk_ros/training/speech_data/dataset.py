"""Speech with phone times, and a cached set of it as log-mel (training side)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtalk_ros.audio import log_mel
from realtalk_ros.contracts import MEL_RATE, N_MELS, SAMPLE_RATE
from realtalk_ros.training.speech_data import phones as ph

RATE = SAMPLE_RATE
Segment = tuple[str, float, float]  # phone, start s, end s


@dataclass
class Speech:
    pcm: np.ndarray  # (n,) float32 at 16 kHz
    segments: list[Segment]  # contiguous from 0 to the end
    source: str  # corpus or engine, and voice: what held-out sets are split by


LEVEL_HOP = 0.005  # s


def level_db(pcm: np.ndarray, rate: int) -> np.ndarray:
    hop = int(rate * LEVEL_HOP)
    blocks = pcm[: len(pcm) // hop * hop].astype(np.float64).reshape(-1, hop)
    return 10 * np.log10((blocks**2).mean(axis=1) + 0.1)


def between(level: np.ndarray, start: float, end: float) -> np.ndarray:
    i = min(int(start / LEVEL_HOP), len(level) - 1)
    return level[i : max(int(end / LEVEL_HOP), i + 1)]


def finish(pcm: np.ndarray, segments: Iterable, source: str) -> Speech:
    """Contiguous, positive segments from 0 to the end of the PCM; neighbouring silences merged."""
    end = len(pcm) / RATE
    out: list[Segment] = []
    at = 0.0
    for phone, s, e in segments:
        if s > at + 1e-4:
            out.append((ph.SIL, at, s))
        s, e = max(s, at), min(e, end)
        if e <= s:
            continue
        paused = not out or out[-1][0] == ph.SIL
        if phone == ph.SIL and out and paused:
            out[-1] = (ph.SIL, out[-1][1], e)
        else:
            # After a pause the b of Spanish is a stop, whatever its text alone would say.
            out.append(("B" if phone == "BH" and paused else phone, s, e))
        at = e
    if end > at:
        out.append((ph.SIL, at, end))
    return Speech(pcm, out, source)


@dataclass
class SpeechSet:
    """Utterances as log-mel with phone times. Indexing gives (mel (m, 80) f16, phones, source)."""

    mel: np.ndarray  # (sum m, 80) float16
    mel_starts: np.ndarray  # (n + 1,)
    phone: np.ndarray  # (sum p,) int16, index into PHONES
    times: np.ndarray  # (sum p, 2) float32 s
    phone_starts: np.ndarray  # (n + 1,)
    source: np.ndarray  # (n,) str

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> tuple[np.ndarray, list[Segment], str]:
        a, b = self.phone_starts[i : i + 2]
        segments = [
            (ph.PHONES[p], float(s), float(e))
            for p, (s, e) in zip(self.phone[a:b], self.times[a:b], strict=True)
        ]
        return self.mel[self.mel_starts[i] : self.mel_starts[i + 1]], segments, str(self.source[i])

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[Segment], str]]:
        return (self[i] for i in range(len(self)))

    @property
    def hours(self) -> float:
        return len(self.mel) / MEL_RATE / 3600

    @classmethod
    def of(cls, items: Iterable[Speech]) -> SpeechSet:
        mels, phones, times, sources, mel_n, phone_n = [], [], [], [], [0], [0]
        for item in items:
            mel = log_mel.log_mel(item.pcm, RATE).astype(np.float16)
            mels.append(mel)
            phones += [ph.PHONE_INDEX[p] for p, _, _ in item.segments]
            times += [(s, e) for _, s, e in item.segments]
            sources.append(item.source)
            mel_n.append(mel_n[-1] + len(mel))
            phone_n.append(len(phones))
        return cls(
            np.concatenate(mels) if mels else np.zeros((0, N_MELS), np.float16),
            np.array(mel_n), np.array(phones, np.int16),
            np.array(times, np.float32).reshape(-1, 2), np.array(phone_n), np.array(sources),
        )  # fmt: skip

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **self.__dict__)
        partial.replace(path)

    @classmethod
    def load(cls, *paths: Path) -> SpeechSet:
        """One or several shards, joined."""
        with ExitStack() as files:
            shards = [files.enter_context(np.load(p, allow_pickle=False)) for p in paths]

            def starts(name: str) -> np.ndarray:
                each = [shard[name] for shard in shards]
                ends = np.cumsum([0] + [one[-1] for one in each])
                parts = [one[:-1] + e for one, e in zip(each, ends[:-1], strict=True)]
                return np.append(np.concatenate(parts), ends[-1])

            mel_starts, done = starts("mel_starts"), 0
            mel = np.empty((mel_starts[-1], N_MELS), np.float16)
            for shard in shards:  # gigabytes: never twice in memory
                one = shard["mel"]
                mel[done : (done := done + len(one))] = one
            joined = {name: np.concatenate([shard[name] for shard in shards])
                      for name in ("phone", "times", "source")}  # fmt: skip
            return cls(mel, mel_starts, phone_starts=starts("phone_starts"), **joined)
