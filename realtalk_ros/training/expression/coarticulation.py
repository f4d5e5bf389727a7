# SPDX-License-Identifier: Apache-2.0
"""The coarticulation model: from phones with times to facial movement.

It makes the targets that the expression network is trained on.

Lips and jaw follow the dominance-function model of coarticulation (M. M. Cohen & D. W. Massaro,
"Modeling coarticulation in synthetic visual speech", Models and Techniques in Computer Animation,
Springer 1993): every phone s pulls each articulator p to a target T_sp with a dominance
D_sp(t) = a_sp exp(-theta_s |t - t_s|), and the articulator is sum(D T) / sum(D). That model does
not guarantee contacts, and an eye notices where they are missing. So they are imposed on it: lips
meet for p, b, m; they nearly meet for the b of Spanish between vowels (B. Parrell, "Dynamical
account of how /b, d, g/ differ from /p, t, k/ in Spanish: evidence from labials", Laboratory
Phonology 2, 2011); the lower lip meets the teeth for f, v; in silence the mouth is exactly at rest.
Brows and nods follow loudness, blinks come in pauses, and an emotion may be added to all of it.
What of this differs between people: speaking_style.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP, REFERENCE_FRAMES, REFERENCE_RATE
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.lips import GAP, REST_GAP
from realtalk_ros.training.expression import articulation
from realtalk_ros.training.expression.speaking_style import SpeakingStyle
from realtalk_ros.training.speech_data import phones as ph

if TYPE_CHECKING:
    from realtalk_ros.training.speech_data.dataset import Segment

WINDOW_STEPS = REFERENCE_FRAMES * EXPRESSION_RATE // REFERENCE_RATE  # of 20 ms: 100
_THETA = 30.0  # 1/s; Cohen & Massaro use about 0.03 per ms
_PLATEAU = 0.3  # of a phone's duration each side of its centre, in which its dominance is full
_SILENCE_PIECE = 0.08  # s: long silences pull towards rest all along
_ONSET, _OFFSET = 0.09, 0.18  # s: the face leaves rest before speech and returns after it
_BLINK_PAUSE, _BLINK_DELAY = 0.5, 0.26  # s: a blink waits until the audio shows the pause
_CONTACT_MIN, _CONTACT_RAMP = 0.07, 0.055  # s: least time in contact, and time to get there


def _split_phones(segments: Sequence[Segment]) -> list[Segment]:
    """Segments as the targets know them: diphthongs in two, long silences in pieces."""
    out = []
    for phone, start, end in segments:
        if phone in articulation.DIPHTHONGS:
            first, second = articulation.DIPHTHONGS[phone]
            middle = start + 0.55 * (end - start)
            out += [(first, start, middle), (second, middle, end)]
        elif phone == ph.SIL and end - start > 2 * _SILENCE_PIECE:
            edges = np.linspace(start, end, int((end - start) / _SILENCE_PIECE) + 1)
            out += [(ph.SIL, a, b) for a, b in itertools.pairwise(edges)]
        else:
            out.append((articulation.VISEME[phone], start, end))
    return out


def _contact(
    t: np.ndarray, segments: Sequence[Segment], which: frozenset[str], lag: float
) -> np.ndarray:
    """(n,) 0..1: 1 while the articulators of the phones in `which` touch."""
    out = np.zeros(len(t), np.float32)
    for phone, s, e in segments:
        if phone not in which:
            continue
        if phone in "PB":  # the segment ends with the burst and aspiration, lips apart
            e = s + max(0.8 * (e - s), min(e - s, 0.05))
        e = min(e, s + 0.2)
        short = max(0.0, _CONTACT_MIN - (e - s)) / 2
        s, e = s - short + lag, e + short + lag
        near = slice(*np.searchsorted(t, (s - _CONTACT_RAMP, e + _CONTACT_RAMP)))
        outside = np.maximum(s - t[near], t[near] - e)
        np.maximum(out[near], smoothstep(1 - outside / _CONTACT_RAMP), out=out[near])
    return out


def activity(t: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """(n,) 0..1: 0 where the face is at rest. Pauses shorter than the ramps do not reach 0."""
    spoken = np.array([(s, e) for phone, s, e in segments if phone != ph.SIL]).reshape(-1, 2)
    rise = np.minimum(
        1 - (spoken[:, :1] - t) / _ONSET, 1 - (t - spoken[:, 1:]) / _OFFSET
    )  # (phones, n)
    return smoothstep(rise.max(0, initial=0.0)).astype(np.float32)


def _blinks(t: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """(n,) 0..1: a blink in every pause, where speakers blink most (von Cramon & Schuri, 1980)."""
    out = np.zeros(len(t), np.float32)
    for (before, _, _), (phone, s, e) in itertools.pairwise(segments):
        if phone == ph.SIL and before != ph.SIL and e - s > _BLINK_PAUSE:
            since = t - s - _BLINK_DELAY
            out += smoothstep(since / 0.08) - smoothstep((since - 0.11) / 0.16)
    return out


def _smooth(x: np.ndarray, seconds: float) -> np.ndarray:
    n = max(1, round(seconds * EXPRESSION_RATE)) | 1
    window = np.hanning(n + 2)[1:-1]
    return np.convolve(np.pad(x, n // 2, mode="edge"), window / window.sum(), "valid")


def loudness(mel: np.ndarray) -> np.ndarray:
    """(m, 80) log-mel -> (m // 2,) at 50 Hz: its mean from 0.1 to 4 kHz."""
    frames = mel[: len(mel) // MEL_STEP * MEL_STEP, 4:60].astype(np.float32).mean(1)
    return np.asarray(frames.reshape(-1, MEL_STEP).mean(1))


def accents(mel: np.ndarray) -> np.ndarray:
    """(m, 80) log-mel -> (m // 2,) 0..1 at 50 Hz: how much louder it is than just before."""
    loud = loudness(mel)
    if len(loud) == 0:
        return loud
    slow = np.empty_like(loud)
    level, keep = float(loud[0]), np.exp(-1 / (0.8 * EXPRESSION_RATE))
    for i, x in enumerate(loud):
        level = keep * level + (1 - keep) * float(x)
        slow[i] = level
    return _smooth(np.clip(3 * (_smooth(loud, 0.1) - slow), 0, 1), 0.4).astype(np.float32)


@dataclass
class Motion:
    """Movement of a face over n frames at 50 Hz, and what it means."""

    weights: np.ndarray  # (n, 52) float32
    rotation: np.ndarray  # (n, 3) rad, as face_model/rotations.py has it
    speech: np.ndarray  # (n,) 0 or 1
    closure: np.ndarray  # (n,) 0..1, lips together
    labiodental: np.ndarray  # (n,) 0..1
    phone: np.ndarray  # (n,) int64, index into phones.PHONES


@dataclass
class _Articulation:
    """Articulators and contacts of one person over n frames, each (n,) float32."""

    activity: np.ndarray  # 0 where the face is at rest
    jaw: np.ndarray
    wide: np.ndarray
    pucker: np.ndarray
    funnel: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    tongue: np.ndarray
    smile: np.ndarray
    closed: np.ndarray  # lips together
    labiodental: np.ndarray  # lower lip at the teeth
    approximant: np.ndarray  # lips near each other


def animate(
    segments: Sequence[Segment],
    frames: int,
    style: SpeakingStyle,
    accent: np.ndarray | None = None,
    emotion: np.ndarray | None = None,
) -> Motion:
    """Moves one person's face.

    segments: (phone, start s, end s), contiguous; accent: (frames,) of `accents`, for brows and
    nods; emotion: (52,) of `emotion.weights`, shown while speaking.
    """
    t = np.arange(frames) / EXPRESSION_RATE
    movement = _articulate(t, segments, style)
    weights = _blendshapes(movement, style)
    if emotion is not None:
        weights += movement.activity[:, None] * emotion
    _close_mouth(weights, movement)
    rotation = np.zeros((frames, 3), np.float32)
    if accent is not None:
        active = movement.activity
        lively = _smooth(active, 0.3) * active * accent[:frames]
        _add_accent(weights, rotation, lively, style)
    blink = _blinks(t, segments)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        weights[:, arkit.INDEX[name]] += blink
    phone = _phone_at(t, segments)
    speech = (phone != ph.PHONE_INDEX[ph.SIL]).astype(np.float32)
    return Motion(
        weights=np.clip(weights, 0, 1), rotation=rotation, speech=speech, closure=movement.closed,
        labiodental=movement.labiodental, phone=phone,
    )  # fmt: skip


def _dominance_sum(t: np.ndarray, segments: Sequence[Segment], style: SpeakingStyle) -> np.ndarray:
    """(articulators, n): the model of Cohen & Massaro."""
    pieces = _split_phones(segments)
    start = np.array([s for _, s, _ in pieces])
    end = np.array([e for _, _, e in pieces])
    rows = [articulation.ROW[p] for p, _, _ in pieces]
    targets = articulation.TARGET_ROWS * style.target_gains
    target, dominance = targets[rows], articulation.DOMINANCE_ROWS[rows]
    centre, length = (start + end) / 2, end - start
    distance = np.abs(t[:, None] - style.lag - centre) - _PLATEAU * length
    # exp of a large negative number would leave 0 / 0 between far phones; 30 keeps ratios exact.
    pull = np.exp(-np.minimum(_THETA * style.crispness * np.maximum(distance, 0), 30.0))
    return ((pull @ (dominance * target)) / (pull @ dominance)).T.astype(np.float32)


def _articulate(t: np.ndarray, segments: Sequence[Segment], style: SpeakingStyle) -> _Articulation:
    """Articulators with one person's gains, out of the way of the contacts."""
    jaw, wide, pucker, funnel, lower, upper, tongue = _dominance_sum(t, segments, style)
    active = activity(t - style.lag, segments)
    jaw = jaw * style.jaw * active
    wide, pucker = wide * style.spreading * active, pucker * style.rounding * active
    funnel = funnel * style.rounding * active
    lower, upper = lower * style.lower_lip * active, upper * style.upper_lip * active
    smile = style.smile * active * (1 - np.minimum(pucker, 1))  # no one smiles on an oo

    labiodental = _contact(t, segments, ph.LABIODENTALS, style.lag)
    closed = _contact(t, segments, ph.BILABIALS, style.lag)
    approximant = _contact(t, segments, ph.APPROXIMANTS, style.lag)
    hold = np.maximum.reduce((closed, labiodental, approximant))
    jaw = jaw * (1 - hold) + np.minimum(jaw, 0.09) * hold
    lower, funnel = lower * (1 - hold), funnel * (1 - 0.9 * hold)
    lift = 0.14 * style.upper_lip * labiodental * (1 - closed)
    upper = upper * (1 - closed) * (1 - labiodental) + lift
    return _Articulation(
        activity=active, jaw=jaw, wide=wide, pucker=pucker, funnel=funnel, lower=lower, upper=upper,
        tongue=tongue, smile=smile, closed=closed, labiodental=labiodental, approximant=approximant,
    )  # fmt: skip


def _blendshapes(a: _Articulation, style: SpeakingStyle) -> np.ndarray:
    """(n, 52) ARKit weights of the articulators; `_close_mouth` comes after."""
    left, right = 1 + style.asymmetry, 1 - style.asymmetry
    weights = np.zeros((len(a.jaw), arkit.COUNT), np.float32)

    def add(name: str, x: np.ndarray) -> None:
        weights[:, arkit.INDEX[name]] += x

    def add_both(name: str, x: np.ndarray) -> None:
        add(name + "Left", x * left)
        add(name + "Right", x * right)

    add("jawOpen", a.jaw)
    add("mouthPucker", a.pucker)
    add("mouthFunnel", a.funnel)
    add("tongueOut", a.tongue * a.activity)
    add("jawForward", 0.15 * a.funnel)
    side = "Left" if style.asymmetry > 0 else "Right"
    shift = "mouthLeft" if style.mouth_shift > 0 else "mouthRight"
    add(shift, abs(style.mouth_shift) * a.activity)
    add("jaw" + side, 0.3 * abs(style.asymmetry) * a.jaw)
    add_both("mouthStretch", 0.6 * a.wide)
    add_both("mouthSmile", 0.35 * a.wide + a.smile)
    add_both("mouthDimple", 0.1 * a.wide + max(style.mouth_corners, 0) * a.activity)
    add_both("mouthFrown", max(-style.mouth_corners, 0) * a.activity)
    add_both("mouthLowerDown", a.lower)
    add_both("mouthUpperUp", a.upper)
    add_both("cheekSquint", 0.2 * a.smile + 0.1 * a.wide)
    add_both("noseSneer", 0.15 * a.upper)
    press = style.lip_press
    roll = (0.22 - 0.15 * press) * a.closed + 0.42 * a.labiodental * (1 - a.closed)
    add_both("mouthPress", (0.10 + 0.3 * press) * a.closed)
    add("mouthRollLower", roll)
    add("mouthRollUpper", (0.18 - 0.12 * press) * a.closed)
    add("mouthShrugLower", 0.06 * a.closed)
    return weights


def _close_mouth(weights: np.ndarray, a: _Articulation) -> None:
    """MouthClose takes up the opening that is left, in place: nothing stays for a closure, 2 mm to
    the teeth for f and v, 2.5 mm between the lips of an approximant."""
    gap = REST_GAP + weights @ GAP
    excess = np.maximum.reduce(
        (a.closed * (gap + 0.03), a.labiodental * (gap - 0.2), a.approximant * (gap - 0.25))
    )
    index = arkit.INDEX["mouthClose"]
    weights[:, index] += np.maximum(excess / -GAP[index], 0)


def _add_accent(
    weights: np.ndarray, rotation: np.ndarray, lively: np.ndarray, style: SpeakingStyle
) -> None:
    """Brows and nods of accents (n,), in place."""
    for name, gain in (
        ("browInnerUp", 0.22),
        ("browOuterUpLeft", 0.14),
        ("browOuterUpRight", 0.14),
    ):
        weights[:, arkit.INDEX[name]] += gain * style.brows * lively
    rotation[:, 0] = 0.06 * style.nods * lively
    rotation[:, 1] = 0.02 * style.tilt * style.nods * lively
    rotation[:, 2] = 0.02 * style.tilt * style.nods * lively


def _phone_at(t: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """(n,) int64 index of the phone at each time; silence after the last."""
    index = np.searchsorted([s for _, s, _ in segments], t + 1e-6, side="right") - 1
    spoken = np.array([ph.PHONE_INDEX[p] for p, _, _ in segments], np.int64)
    phone = spoken[np.clip(index, 0, len(segments) - 1)]
    phone[t > segments[-1][2]] = ph.PHONE_INDEX[ph.SIL]
    return phone


def reference_window(weights: np.ndarray, start: int = 0) -> np.ndarray:
    """(50, 52) at 25 Hz: the WINDOW_STEPS from frame `start` of weights (n, 52) on, repeated where
    they are short."""
    step = EXPRESSION_RATE // REFERENCE_RATE
    index = (start + np.arange(REFERENCE_FRAMES) * step) % len(weights)
    return weights[index]
