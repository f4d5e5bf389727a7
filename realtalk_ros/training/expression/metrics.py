# SPDX-License-Identifier: Apache-2.0
"""Metrics of speech-driven faces, against the coarticulation model or a real face."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.lips import REST_GAP, WIDTH, gap_of
from realtalk_ros.training.expression import coarticulation, speaking_style
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Segment, SpeechDataset, Utterance

CLOSED_GAP = 0.1  # cm between the lips that still looks closed
NARROW = -0.3  # cm by which a rounded mouth is narrower than at rest
MIN_ROLL, MAX_LABIODENTAL_GAP = 0.2, 0.5  # mouthRollLower, cm: what an f or v looks like
SPEAKING, CONTACT, NO_CONTACT = 0.98, 0.95, 0.05  # of the coarticulation model's 0..1
REST_AFTER, REST_BEFORE = 0.25, 0.15  # s after a pause begins and before it ends: the face rests
MIN_MINUTES = 1.0  # of a source that is reported by itself
LIP_MOVEMENTS = landmarks.load().expressions[:, landmarks.LIPS].copy()  # (52, 20, 3) cm per unit
_ROLL = arkit.INDEX["mouthRollLower"]


def predict(
    model: ExpressionModel, mel: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(m, 80) -> weights (m // 2, 52), lips (m // 2, 20, 3), streamed."""
    stream = model.stream(prior)
    parts = stream.push(mel[: len(mel) // MEL_STEP * MEL_STEP].astype(np.float32)), stream.flush()
    return tuple(np.concatenate([getattr(p, name) for p in parts]) for name in ("weights", "lips"))


def is_labiodental(weights: np.ndarray) -> np.ndarray:
    """(n, 52) -> (n,) bool: the lower lip turned in under the teeth, the mouth not closed. Only f
    and v look so."""
    gap = gap_of(weights)
    return (weights[:, _ROLL] > MIN_ROLL) & (gap >= CLOSED_GAP) & (gap < MAX_LABIODENTAL_GAP)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; 0 for a constant."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def lag_ms(target: np.ndarray, predicted: np.ndarray, max_shift: int = 10) -> float:
    """Milliseconds by which `predicted` (50 Hz) comes after `target`: the best correlation's."""
    scores = []
    for shift in range(-max_shift, max_shift + 1):
        a = target[max_shift : len(target) - max_shift]
        b = predicted[max_shift + shift : len(predicted) - max_shift + shift]
        scores.append(correlation(a, b))
    best = peak_position(scores, int(np.argmax(scores)))
    return (best - max_shift) * 1000 / EXPRESSION_RATE


def peak_position(curve: Sequence[float] | np.ndarray, index: int) -> float:
    """Where the maximum lies between the samples: that of a parabola through the three around
    `index`."""
    if not 0 < index < len(curve) - 1:
        return float(index)
    left, middle, right = curve[index - 1 : index + 2]
    return index + 0.5 * float((left - right) / min(left - 2 * middle + right, -1e-9))


def lip_landmarks(weights: np.ndarray) -> np.ndarray:
    """(n, 52) -> (n, 20, 3) cm from where they rest."""
    return np.tensordot(weights, LIP_MOVEMENTS, 1)


def lip_error(target: np.ndarray, predicted: np.ndarray) -> float:
    """Mean distance in cm of the lip landmarks of two (n, 20, 3)."""
    return float(np.linalg.norm(target - predicted, axis=-1).mean())


def runs(mask: np.ndarray) -> list[slice]:
    """Each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@dataclass
class EventCounts:
    """For recall and precision of events, such as closures of the lips."""

    target: int  # events of the target
    found: int  # of these, by the network too
    predicted: int  # events of the network
    correct: int  # of these, in the target too

    @classmethod
    def count(cls, target: np.ndarray, predicted: np.ndarray, counted: np.ndarray) -> EventCounts:
        """(n,) bool each.

        A predicted event may come a frame early or late. It is correct if most of it is within two
        frames of an event of the target; it counts only where it is in `counted`.
        """
        events, near, found = runs(target), np.zeros(len(target), bool), 0
        for event in events:
            found += bool(predicted[max(0, event.start - 1) : event.stop + 1].any())
            near[max(0, event.start - 2) : event.stop + 2] = True
        shown = runs(predicted & counted)
        correct = sum(bool(near[run].mean() > 0.5) for run in shown)
        return cls(len(events), found, len(shown), correct)

    @classmethod
    def sum(cls, parts: Iterable[EventCounts]) -> EventCounts:
        return cls(*(sum(counts) for counts in zip(*map(astuple, parts), strict=True)))

    def report(self, name: str) -> dict:
        return {
            f"{name}_recall": round(self.found / max(self.target, 1), 3),
            f"{name}_precision": round(self.correct / max(self.predicted, 1), 3),
            f"{name}_count": self.target,
        }


@dataclass
class UtteranceResult:
    """One utterance of `frames` steps. Row 0 of (2, frames) is the target's, row 1 the
    network's."""

    source: str
    frames: int
    opening: np.ndarray
    width: np.ndarray
    lip_errors: tuple[float, float]  # cm: of the weights, of the landmark head
    closure: EventCounts
    labiodental: EventCounts
    rounding: EventCounts
    pauses: np.ndarray  # cm that the network's lips are from rest, where the target rests


def evaluate_utterances(
    model: ExpressionModel, data: SpeechDataset, prior: np.ndarray
) -> list[UtteranceResult]:
    """The network against the coarticulation model with the mean style."""
    return [_evaluate_utterance(model, prior, utterance) for utterance in data]


def _evaluate_utterance(
    model: ExpressionModel, prior: np.ndarray, utterance: Utterance
) -> UtteranceResult:
    mel, segments, source = utterance
    weights, head_lips = predict(model, mel, prior)
    motion = coarticulation.animate(
        segments, len(weights), speaking_style.average_style(), coarticulation.accents(mel)
    )
    lips = lip_landmarks(motion.weights)
    t = np.arange(len(weights)) / EXPRESSION_RATE
    speaking = coarticulation.activity(t, segments) > SPEAKING
    both = np.stack([motion.weights, weights])
    opening, width = gap_of(both), both @ WIDTH
    gap = opening[1]
    bitten = (motion.labiodental > CONTACT) & (motion.closure < NO_CONTACT)
    return UtteranceResult(
        source=str(source),
        frames=len(weights),
        opening=opening,
        width=width,
        lip_errors=(lip_error(lips, lip_landmarks(weights)), lip_error(lips, head_lips)),
        closure=EventCounts.count(motion.closure > CONTACT, gap < CLOSED_GAP, speaking),
        labiodental=EventCounts.count(bitten, is_labiodental(weights), speaking),
        rounding=EventCounts.count(width[0] < NARROW, width[1] < NARROW, speaking),
        pauses=np.abs(gap[_rests(t, segments)] - REST_GAP),
    )


def _rests(t: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """(n,) bool: in a pause, once the face has come to rest."""
    rests = np.zeros(len(t), bool)
    for phone, start, end in segments:
        if phone == ph.SIL:
            rests |= (t >= start + REST_AFTER) & (t < end - REST_BEFORE)
    return rests


def _minutes(results: Sequence[UtteranceResult]) -> float:
    return sum(one.frames for one in results) / (60 * EXPRESSION_RATE)


def summary(results: Sequence[UtteranceResult]) -> dict:
    """Metrics over utterances, at least one."""
    opening = np.concatenate([one.opening for one in results], 1)
    width = np.concatenate([one.width for one in results], 1)
    pauses = np.concatenate([one.pauses for one in results])
    span = float(np.percentile(opening[0], 95) - REST_GAP)
    error, head_error = np.average(
        [one.lip_errors for one in results], axis=0, weights=[one.frames for one in results]
    )
    target_jitter, jitter = np.mean(
        [np.abs(np.diff(one.opening, 2)).mean(1) for one in results], axis=0
    )
    return {
        "minutes": round(_minutes(results), 1),
        "lip_error_cm": round(float(error), 4),
        "lip_head_error_cm": round(float(head_error), 4),
        "opening_correlation": round(correlation(*opening), 3),
        "opening_lag_ms": round(lag_ms(*opening), 1),
        "opening_range_ratio": round(float(opening[1].std() / opening[0].std()), 2),
        "width_correlation": round(correlation(*width), 3),
        "width_lag_ms": round(lag_ms(*width), 1),
        **EventCounts.sum(one.closure for one in results).report("closure"),
        **EventCounts.sum(one.labiodental for one in results).report("labiodental"),
        **EventCounts.sum(one.rounding for one in results).report("rounding"),
        "pause_movement": round(float(pauses.mean() / span) if len(pauses) else 0.0, 4),
        "jitter_ratio": round(float(jitter / target_jitter), 2),
    }


def by_source(results: dict[str, list[UtteranceResult]]) -> dict:
    """Of each test set of several sources: a summary of every source of at least a minute."""
    report = {}
    for name, of_set in results.items():
        sources: dict[str, list[UtteranceResult]] = {}
        for one in sorted(of_set, key=lambda one: one.source):
            sources.setdefault(one.source, []).append(one)
        if len(sources) > 1:
            report[name] = {source: summary(part) for source, part in sources.items()
                            if _minutes(part) >= MIN_MINUTES}  # fmt: skip
    return report


def real_strangers(results: dict[str, list[UtteranceResult]]) -> dict:
    """A summary of all clean recordings of unseen people, if there are several sets of them.

    Each set is of few people, and a hundred closures are worth some 0.03 either way.
    """
    real = [of_set for name, of_set in results.items() if name.startswith("unseen real ")]
    return (
        {"all real, clean": summary(functools.reduce(operator.iadd, real, []))}
        if len(real) > 1
        else {}
    )
