"""The most likely times of the phones of a known text, given what a recogniser hears (Viterbi)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from realtalk_ros.contracts import MEL_RATE
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Segment

PHONE_FRAMES, PAUSE_FRAMES = 2, 4  # at least so long, of 10 ms
_FLOOR = -7.0  # no frame counts more than this against a path: recordings have clicks and errors
WORST = 2 * _FLOOR  # a score that fits nothing
_PRIOR = 0.5  # power of the phones' frequency that is divided out


def likelihoods(posteriors: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(T, phones) log posteriors and (phones,) shares -> floored, scaled log likelihoods."""
    return np.maximum(posteriors, _FLOOR) - _PRIOR * np.log(np.maximum(prior, 1e-4))


def force(scores: np.ndarray, words: Sequence[Sequence[str]]) -> list[Segment] | None:
    """The best path of `words` through `scores`, with an optional pause around each word.

    scores: (T, phones) log likelihood of each phone at time 10 ms * t; words: phones of each.
    Returns segments from time 0 without gaps, their borders half-way between frames, or None
    where there is no word or the sound is too short for them.
    """
    # Every phone is a chain of as many states as it lasts frames at least; only the last repeats.
    chain: list[tuple[str, int]] = []
    for word in words:
        chain += [(ph.SIL, PAUSE_FRAMES)] + [(phone, PHONE_FRAMES) for phone in word]
    chain.append((ph.SIL, PAUSE_FRAMES))
    lengths = np.array([n for _, n in chain])
    frames, needed = len(scores), int(sum(n for p, n in chain if p != ph.SIL))
    if not needed or frames < needed:
        return None
    first = np.cumsum(lengths) - lengths
    last = first + lengths - 1
    states = int(lengths.sum())
    emit = np.repeat([ph.PHONE_INDEX[p] for p, _ in chain], lengths)
    loops = np.full(states, -np.inf)
    loops[last] = 0.0
    # A pause can be skipped: into a word from the state before the pause.
    pause = np.array([i for i, (p, _) in enumerate(chain) if p == ph.SIL])[1:-1]
    into, out_of = first[pause + 1], last[pause - 1]

    heard = scores[:, emit]
    best = np.full(states, -np.inf)
    begin = [0] + [int(first[1])]
    best[begin] = heard[0, begin]
    back = np.zeros((frames, states), np.int32)  # state at the frame before
    index = np.arange(states)
    step = np.empty(states)
    for t in range(1, frames):
        stay = best + loops
        step[0] = -np.inf
        step[1:] = best[:-1]
        origin = np.where(stay >= step, index, index - 1)
        value = np.maximum(stay, step)
        skip = best[out_of]
        better = skip > value[into]
        value[into[better]] = skip[better]
        origin[into[better]] = out_of[better]
        back[t] = origin
        best = value + heard[t]
    ends = (int(last[-2]), int(last[-1]))
    at = max(ends, key=lambda s: best[s])
    if not np.isfinite(best[at]):
        return None
    owner = np.repeat(np.arange(len(chain)), lengths)
    path = np.empty(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = owner[at]
        at = back[t, at]
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    borders = np.maximum(np.append(starts, frames) - 0.5, 0) / MEL_RATE
    return [
        (chain[path[i]][0], float(s), float(e))
        for i, s, e in zip(starts, borders[:-1], borders[1:], strict=True)
    ]


def path_score(scores: np.ndarray, segments: Sequence[Segment]) -> float:
    """Log likelihood of a path, pauses included: what tells which of two texts was said."""
    return sum(float(scores[i:j, ph.PHONE_INDEX[p]].sum()) for p, i, j in _frames(segments))


def spoken_score(scores: np.ndarray, segments: Sequence[Segment]) -> float:
    """How well the sound fits its text: mean over the spoken frames of the path's log likelihood
    less that of the best phone at each frame, so 0 is a perfect fit.
    """
    total, count = 0.0, 0
    for phone, i, j in _frames(segments):
        if phone != ph.SIL:
            here = scores[i:j]
            total += float((here[:, ph.PHONE_INDEX[phone]] - here.max(axis=1)).sum())
            count += len(here)
    return total / max(count, 1)


def _frames(segments: Sequence[Segment]) -> Iterator[tuple[str, int, int]]:
    """First frame of each of `force`'s segments and the one after its last."""
    for phone, start, end in segments:
        i, j = (round(t * MEL_RATE + 0.5) if t else 0 for t in (start, end))
        yield phone, i, j
