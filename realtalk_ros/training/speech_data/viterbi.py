# SPDX-License-Identifier: Apache-2.0
"""Forced alignment: the most likely times of the phones of a known text (Viterbi search)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from realtalk_ros.contracts import MEL_RATE
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Segment

MIN_PHONE_FRAMES, MIN_PAUSE_FRAMES = 2, 4  # of 10 ms
_FLOOR = -7.0  # no frame counts more than this against a path: recordings have clicks and errors
WORST = 2 * _FLOOR  # a score that fits nothing
_PRIOR_POWER = 0.5  # of the phones' frequency that is divided out


def likelihoods(posteriors: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(T, phones) log posteriors and (phones,) shares -> floored, scaled log likelihoods."""
    return np.maximum(posteriors, _FLOOR) - _PRIOR_POWER * np.log(np.maximum(prior, 1e-4))


@dataclass
class _StateChain:
    """The hidden Markov model of a text, with an optional pause around each word.

    A phone is as many states as it lasts frames at least; only its last state repeats.
    """

    phones: list[str]
    lengths: np.ndarray  # (phones,) states of each
    first: np.ndarray  # (phones,) first state of each
    last: np.ndarray  # (phones,)
    min_frames: int  # of the phones without the pauses

    @classmethod
    def of(cls, words: Sequence[Sequence[str]]) -> _StateChain:
        phones = [phone for word in words for phone in (ph.SIL, *word)] + [ph.SIL]
        lengths = np.array([MIN_PAUSE_FRAMES if p == ph.SIL else MIN_PHONE_FRAMES for p in phones])
        first = np.cumsum(lengths) - lengths
        spoken = np.array([phone != ph.SIL for phone in phones])
        return cls(phones, lengths, first, first + lengths - 1, int(lengths[spoken].sum()))

    def emissions(self, scores: np.ndarray) -> np.ndarray:
        """(T, states) log likelihood of each state's phone."""
        index = [ph.PHONE_INDEX[phone] for phone in self.phones]
        return scores[:, np.repeat(index, self.lengths)]

    def skips(self) -> tuple[np.ndarray, np.ndarray]:
        """States after each pause that can be skipped, and the states before it."""
        is_pause = [phone == ph.SIL for phone in self.phones]
        pause = np.flatnonzero(is_pause)[1:-1]
        return self.first[pause + 1], self.last[pause - 1]


def force_align(scores: np.ndarray, words: Sequence[Sequence[str]]) -> list[Segment] | None:
    """The best path of `words` through `scores`, with an optional pause around each word.

    scores: (T, phones) log likelihood of each phone at time 10 ms * t; words: phones of each.
    Returns segments from time 0 without gaps, their borders half-way between frames, or None
    where there is no word or the audio is too short for them.
    """
    chain = _StateChain.of(words)
    if not chain.min_frames or len(scores) < chain.min_frames:
        return None
    path = _best_path(scores, chain)
    if path is None:
        return None
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    borders = np.maximum(np.append(starts, len(scores)) - 0.5, 0) / MEL_RATE
    return [
        (chain.phones[path[i]], float(s), float(e))
        for i, s, e in zip(starts, borders[:-1], borders[1:], strict=True)
    ]


def _best_path(scores: np.ndarray, chain: _StateChain) -> np.ndarray | None:
    """(T,) index into chain.phones at each frame; None where no path has a likelihood."""
    emissions = chain.emissions(scores)
    frames, states = emissions.shape
    loops = np.full(states, -np.inf)
    loops[chain.last] = 0.0
    skip_to, skip_from = chain.skips()
    best = np.full(states, -np.inf)
    begin = [0, int(chain.first[1])]
    best[begin] = emissions[0, begin]
    back = np.zeros((frames, states), np.int32)  # state at the frame before
    index = np.arange(states)
    step = np.empty(states)
    for t in range(1, frames):
        stay = best + loops
        step[0] = -np.inf
        step[1:] = best[:-1]
        origin = np.where(stay >= step, index, index - 1)
        value = np.maximum(stay, step)
        skip = best[skip_from]
        better = skip > value[skip_to]
        value[skip_to[better]] = skip[better]
        origin[skip_to[better]] = skip_from[better]
        back[t] = origin
        best = value + emissions[t]
    ends = (int(chain.last[-2]), int(chain.last[-1]))
    state = max(ends, key=lambda s: best[s])
    if not np.isfinite(best[state]):
        return None
    owner = np.repeat(np.arange(len(chain.phones)), chain.lengths)
    path = np.empty(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = owner[state]
        state = back[t, state]
    return path


def path_score(scores: np.ndarray, segments: Sequence[Segment]) -> float:
    """Log likelihood of a path, pauses included: what tells which of two texts was said."""
    return sum(float(scores[i:j, ph.PHONE_INDEX[p]].sum()) for p, i, j in _frames(segments))


def spoken_score(scores: np.ndarray, segments: Sequence[Segment]) -> float:
    """How well audio fits its text; 0 is a perfect fit.

    Mean over the spoken frames of the path's log likelihood less that of the best phone.
    """
    total, count = 0.0, 0
    for phone, i, j in _frames(segments):
        if phone != ph.SIL:
            spoken = scores[i:j]
            total += float((spoken[:, ph.PHONE_INDEX[phone]] - spoken.max(axis=1)).sum())
            count += len(spoken)
    return total / max(count, 1)


def _frames(segments: Sequence[Segment]) -> Iterator[tuple[str, int, int]]:
    """First frame of each of `force_align`'s segments and the one after its last."""
    for phone, start, end in segments:
        i, j = (round(t * MEL_RATE + 0.5) if t else 0 for t in (start, end))
        yield phone, i, j
