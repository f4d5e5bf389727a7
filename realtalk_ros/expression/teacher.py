"""From phones with times to facial movement: the teacher of the expression network (training side).

Lips and jaw follow the dominance-function model of coarticulation (M. M. Cohen & D. W. Massaro,
"Modeling coarticulation in synthetic visual speech", Models and Techniques in Computer Animation,
Springer 1993): every phone s pulls each articulator p to a target T_sp with a dominance
D_sp(t) = a_sp exp(-theta_s |t - t_s|), and the articulator is sum(D T) / sum(D). What the model
cannot promise and an eye does not forgive is then imposed: lips meet for p, b, m; the lower lip
meets the teeth for f, v; in silence the face is exactly at rest. Brows and nods follow loudness.

A person is an identity (100 coefficients of the 3D face, sd 1) and a `Style`, which is partly a
fixed linear function of the identity and partly the person's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros import arkit
from realtalk_ros.expression import phones as ph

RATE = 50  # frames of expression per second
IDENTITY_SIZE = 100
REFERENCE_FRAMES, REFERENCE_RATE = 50, 25  # the reference window: 2 s

# Opening between the inner lips, cm, per unit of ARKit weight: measured on ICT-FaceKit's mean head
# (landmarks 62 and 66) one shape at a time. REST_GAP is the neutral face's.
REST_GAP = 0.076
GAP = np.zeros(arkit.COUNT, np.float32)
for _name, _cm in {
    "jawOpen": 3.28, "mouthClose": -3.89, "mouthFunnel": 1.37, "mouthPucker": -0.05,
    "mouthRollLower": -0.37, "mouthRollUpper": 0.18, "mouthShrugLower": -0.69,
    "mouthShrugUpper": 0.53, "mouthPressLeft": -0.13, "mouthPressRight": -0.13,
    "mouthLowerDownLeft": 0.34, "mouthLowerDownRight": 0.34, "mouthUpperUpLeft": 0.355,
    "mouthUpperUpRight": 0.355,
}.items():  # fmt: skip
    GAP[arkit.INDEX[_name]] = _cm
# Change of mouth width (landmarks 48 to 54), cm per unit, the same way.
WIDTH = np.zeros(arkit.COUNT, np.float32)
for _name, _cm in {
    "jawOpen": -0.57, "mouthClose": 0.28, "mouthFunnel": -0.68, "mouthPucker": -0.93,
    "mouthSmileLeft": 0.71, "mouthSmileRight": 0.71, "mouthStretchLeft": 0.66,
    "mouthStretchRight": 0.66, "mouthRollUpper": 0.32,
}.items():  # fmt: skip
    WIDTH[arkit.INDEX[_name]] = _cm

# Articulators: jaw opening, spreading, pucker, funnel, lower lip down, upper lip up, tongue.
_ARTICULATORS = ("jaw", "wide", "pucker", "funnel", "lower", "upper", "tongue")
# Target and dominance of each: vowels claim everything; a consonant claims what it needs (a stop
# behind the teeth leaves the lips to its neighbours, which is what coarticulation is).
_TARGETS = {
    #       jaw   wide  puck  funn  lower upper tongue
    "SIL": (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "AA": (0.34, 0.05, 0.00, 0.00, 0.20, 0.08, 0.00),
    "AE": (0.28, 0.25, 0.00, 0.00, 0.24, 0.12, 0.00),
    "AH": (0.19, 0.06, 0.00, 0.03, 0.15, 0.06, 0.00),
    "EH": (0.21, 0.20, 0.00, 0.00, 0.19, 0.10, 0.00),
    "ER": (0.12, 0.00, 0.15, 0.28, 0.10, 0.08, 0.00),
    "IH": (0.12, 0.30, 0.00, 0.00, 0.16, 0.08, 0.00),
    "IY": (0.07, 0.50, 0.00, 0.00, 0.16, 0.10, 0.00),
    "AO": (0.26, 0.00, 0.25, 0.30, 0.10, 0.05, 0.00),
    "UH": (0.12, 0.00, 0.35, 0.25, 0.06, 0.04, 0.00),
    "UW": (0.08, 0.00, 0.62, 0.16, 0.03, 0.02, 0.00),
    "UE": (0.08, 0.00, 0.60, 0.16, 0.03, 0.02, 0.00),
    "OE": (0.16, 0.00, 0.40, 0.32, 0.08, 0.04, 0.00),
    "W": (0.06, 0.00, 0.70, 0.20, 0.02, 0.02, 0.00),
    "Y": (0.07, 0.40, 0.00, 0.00, 0.12, 0.08, 0.00),
    "R": (0.10, 0.00, 0.20, 0.30, 0.10, 0.06, 0.00),
    "L": (0.15, 0.10, 0.00, 0.00, 0.13, 0.05, 0.05),
    "T": (0.08, 0.15, 0.00, 0.00, 0.13, 0.06, 0.00),
    "K": (0.12, 0.08, 0.00, 0.00, 0.10, 0.05, 0.00),
    "TH": (0.10, 0.12, 0.00, 0.00, 0.16, 0.08, 0.18),
    "S": (0.05, 0.30, 0.00, 0.00, 0.20, 0.12, 0.00),
    "SH": (0.07, 0.00, 0.22, 0.48, 0.20, 0.14, 0.00),
    "P": (0.06, 0.05, 0.05, 0.00, 0.00, 0.00, 0.00),
    "F": (0.07, 0.08, 0.00, 0.00, 0.00, 0.12, 0.00),
    "HH": (0.14, 0.05, 0.00, 0.00, 0.10, 0.05, 0.00),
}
_VOWEL = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5)
_DOMINANCE = {
    "SIL": (0.7, 0.5, 0.5, 0.5, 0.7, 0.7, 1.0),
    "W": (0.8, 1.0, 1.6, 1.2, 0.8, 0.8, 0.5),
    "Y": (0.6, 0.6, 0.4, 0.4, 0.5, 0.5, 0.5),
    "R": (0.6, 0.4, 0.6, 0.7, 0.5, 0.5, 0.5),
    "L": (0.5, 0.2, 0.15, 0.15, 0.4, 0.4, 1.0),
    "T": (0.7, 0.15, 0.12, 0.12, 0.4, 0.4, 0.5),
    "K": (0.4, 0.12, 0.12, 0.12, 0.2, 0.2, 0.5),
    "TH": (0.7, 0.2, 0.2, 0.2, 0.7, 0.6, 2.0),
    "S": (1.3, 0.3, 0.15, 0.15, 0.8, 0.8, 0.5),
    "SH": (1.2, 0.6, 0.8, 1.2, 1.0, 1.0, 0.5),
    "P": (1.0, 0.15, 0.1, 0.25, 1.0, 1.0, 0.5),
    "F": (1.0, 0.2, 0.15, 0.3, 1.0, 1.0, 0.5),
    "HH": (0.08, 0.05, 0.05, 0.05, 0.05, 0.05, 0.5),
}
_SAME_LIPS = {
    "B": "P", "M": "P", "V": "F", "DH": "TH", "D": "T", "N": "T", "G": "K", "NG": "K",
    "ZH": "SH", "CH": "SH", "JH": "SH", "Z": "S",
}  # fmt: skip
_DIPHTHONGS = {
    "AW": ("AA", "UH"), "AY": ("AA", "IH"), "EY": ("EH", "IY"), "OW": ("AO", "UW"),
    "OY": ("AO", "IY"),
}  # fmt: skip
_THETA = 30.0  # 1/s; Cohen & Massaro use about 0.03 per ms
_PLATEAU = 0.3  # of a phone's duration each side of its centre, in which its dominance is full
_SILENCE_PIECE = 0.08  # s: long silences pull towards rest all along
_ONSET, _OFFSET = 0.09, 0.18  # s: the face leaves rest before speech and returns after it
_CONTACT_MIN, _CONTACT_RAMP = 0.07, 0.055  # s: lips stay together at least, and take to get there


@dataclass
class Style:
    """How one person moves. Gains are about 1, the rest about 0."""

    jaw: float = 1.0
    rounding: float = 1.0
    spreading: float = 1.0
    lips: float = 1.0  # effort of lifting and lowering the lips
    crispness: float = 1.0  # decay rate of dominance: high is over-articulated
    asymmetry: float = 0.0  # > 0: the left side moves more
    smile: float = 0.0  # while speaking
    press: float = 1.0  # how closures are held: pressed, or rolled in
    lag: float = 0.0  # s, movement after sound
    brows: float = 1.0
    nods: float = 1.0
    tilt: float = 0.0


_STYLE_SIZE = 12
# Which part of the style shows in the face's shape: a fixed linear map of the identity, unit sd.
_STYLE_OF_IDENTITY = np.random.default_rng(20).standard_normal((IDENTITY_SIZE, _STYLE_SIZE)) / 10


def style_of(identity: np.ndarray, own: np.ndarray) -> Style:
    """Style of a person: identity (100,) and own (12,), both standard normal."""
    z = 0.65 * identity @ _STYLE_OF_IDENTITY + 0.76 * own  # unit variance
    z = np.clip(z, -2.2, 2.2)
    return Style(
        jaw=float(np.exp(0.24 * z[0])), rounding=float(np.exp(0.25 * z[1])),
        spreading=float(np.exp(0.35 * z[2])), lips=float(np.exp(0.3 * z[3])),
        crispness=float(np.exp(0.15 * z[4])), asymmetry=float(0.15 * z[5]),
        smile=float(max(0.0, 0.06 + 0.09 * z[6])), press=float(np.clip(0.5 + 0.3 * z[7], 0, 1)),
        lag=float(0.006 * z[8]), brows=float(np.exp(0.4 * z[9])), nods=float(np.exp(0.4 * z[10])),
        tilt=float(z[11]),
    )  # fmt: skip


def random_person(rng: np.random.Generator) -> tuple[np.ndarray, Style]:
    identity = rng.standard_normal(IDENTITY_SIZE).astype(np.float32)
    return identity, style_of(identity, rng.standard_normal(_STYLE_SIZE))


def _pieces(segments) -> list[tuple[str, float, float]]:
    out = []
    for phone, s, e in segments:
        if phone in _DIPHTHONGS:
            first, second = _DIPHTHONGS[phone]
            middle = s + 0.55 * (e - s)
            out += [(first, s, middle), (second, middle, e)]
        elif phone == ph.SIL and e - s > 2 * _SILENCE_PIECE:
            edges = np.linspace(s, e, int((e - s) / _SILENCE_PIECE) + 1)
            out += [(ph.SIL, a, b) for a, b in zip(edges, edges[1:], strict=False)]
        else:
            out.append((_SAME_LIPS.get(phone, phone), s, e))
    return out


_TARGET_ROWS = {p: np.array(v, np.float32) for p, v in _TARGETS.items()}
_DOMINANCE_ROWS = {p: np.array(_DOMINANCE.get(p, _VOWEL), np.float32) for p in _TARGETS}


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _contact(t: np.ndarray, segments, which: frozenset[str], lag: float) -> np.ndarray:
    """(n,) 0..1: 1 while the articulators of the phones in `which` touch."""
    out = np.zeros(len(t), np.float32)
    for phone, s, e in segments:
        if phone not in which:
            continue
        if phone in "PB":  # the segment ends with the burst and its breath, lips apart
            e = s + max(0.8 * (e - s), min(e - s, 0.05))
        e = min(e, s + 0.2)
        short = max(0.0, _CONTACT_MIN - (e - s)) / 2
        s, e = s - short + lag, e + short + lag
        near = slice(*np.searchsorted(t, (s - _CONTACT_RAMP, e + _CONTACT_RAMP)))
        outside = np.maximum(s - t[near], t[near] - e)
        np.maximum(out[near], _smoothstep(1 - outside / _CONTACT_RAMP), out=out[near])
    return out


def activity(t: np.ndarray, segments) -> np.ndarray:
    """(n,) 0..1: 0 where the face is at rest. Pauses shorter than the ramps do not reach 0."""
    out = np.zeros(len(t), np.float32)
    for phone, s, e in segments:
        if phone == ph.SIL:
            continue
        near = slice(*np.searchsorted(t, (s - _ONSET, e + _OFFSET)))
        local = t[near]
        rise = np.minimum(1 - (s - local) / _ONSET, 1 - (local - e) / _OFFSET)
        np.maximum(out[near], _smoothstep(rise), out=out[near])
    return out


def _smooth(x: np.ndarray, seconds: float) -> np.ndarray:
    n = max(1, round(seconds * RATE)) | 1
    window = np.hanning(n + 2)[1:-1]
    return np.convolve(np.pad(x, n // 2, mode="edge"), window / window.sum(), "valid")


def accents(mel: np.ndarray) -> np.ndarray:
    """(m, 80) log-mel -> (m // 2,) 0..1 at 50 Hz: how much louder than just before it is."""
    loud = (
        mel[: len(mel) // 2 * 2, 4:60].astype(np.float32).mean(axis=1).reshape(-1, 2).mean(axis=1)
    )
    if len(loud) == 0:
        return loud
    slow = np.empty_like(loud)
    level, keep = float(loud[0]), np.exp(-1 / (0.8 * RATE))
    for i, x in enumerate(loud):
        level = keep * level + (1 - keep) * float(x)
        slow[i] = level
    return _smooth(np.clip(3 * (_smooth(loud, 0.1) - slow), 0, 1), 0.4).astype(np.float32)


@dataclass
class Motion:
    weights: np.ndarray  # (n, 52) float32, 50 Hz
    rotation: np.ndarray  # (n, 3) rad pitch, yaw, roll
    speech: np.ndarray  # (n,) 0 or 1
    closure: np.ndarray  # (n,) 0..1, lips together
    labiodental: np.ndarray  # (n,) 0..1
    viseme: np.ndarray  # (n,) int64, index into phones.VISEMES


def animate(segments, frames: int, style: Style, accent: np.ndarray | None = None) -> Motion:
    """Moves one person's face. segments: (phone, s, e) contiguous; accent: (frames,) or None."""
    t = np.arange(frames) / RATE
    pieces = _pieces(segments)
    start = np.array([s for _, s, _ in pieces])
    end = np.array([e for _, _, e in pieces])
    target = np.stack([_TARGET_ROWS[p] for p, _, _ in pieces])
    dominance = np.stack([_DOMINANCE_ROWS[p] for p, _, _ in pieces])
    centre, length = (start + end) / 2, end - start
    distance = np.abs(t[:, None] - style.lag - centre) - _PLATEAU * length
    # exp of a large negative number would leave 0 / 0 between far phones; 30 keeps ratios exact.
    pull = np.exp(-np.minimum(_THETA * style.crispness * np.maximum(distance, 0), 30.0))
    weight = pull @ dominance
    value = (pull @ (dominance * target)) / weight
    jaw, wide, pucker, funnel, lower, upper, tongue = value.T.astype(np.float32)

    active = activity(t - style.lag, segments)
    jaw = jaw * style.jaw * active
    wide, pucker = wide * style.spreading * active, pucker * style.rounding * active
    funnel = funnel * style.rounding * active
    lower, upper = lower * style.lips * active, upper * style.lips * active
    smile = style.smile * active

    teeth = _contact(t, segments, ph.LABIODENTALS, style.lag)
    closed = _contact(t, segments, ph.BILABIALS, style.lag)
    hold = np.maximum(closed, teeth)
    jaw = jaw * (1 - hold) + np.minimum(jaw, 0.09) * hold
    lower, funnel = lower * (1 - hold), funnel * (1 - 0.9 * hold)
    upper = upper * (1 - closed) * (1 - teeth) + 0.14 * style.lips * teeth * (1 - closed)

    left, right = 1 + style.asymmetry, 1 - style.asymmetry
    w = np.zeros((frames, arkit.COUNT), np.float32)

    def put(name: str, x: np.ndarray) -> None:
        w[:, arkit.INDEX[name]] += x

    def both(name: str, x: np.ndarray) -> None:
        put(name + "Left", x * left)
        put(name + "Right", x * right)

    put("jawOpen", jaw)
    put("mouthPucker", pucker)
    put("mouthFunnel", funnel)
    put("tongueOut", tongue * active)
    put("jawForward", 0.15 * funnel)
    side = "Left" if style.asymmetry > 0 else "Right"
    put("mouth" + side, 0.25 * abs(style.asymmetry) * active)
    put("jaw" + side, 0.3 * abs(style.asymmetry) * jaw)
    both("mouthStretch", 0.6 * wide)
    both("mouthSmile", 0.35 * wide + smile)
    both("mouthDimple", 0.1 * wide)
    both("mouthLowerDown", lower)
    both("mouthUpperUp", upper)
    both("cheekSquint", 0.2 * smile + 0.1 * wide)
    both("noseSneer", 0.15 * upper)
    both("mouthPress", (0.10 + 0.3 * style.press) * closed)
    put("mouthRollLower", (0.22 - 0.15 * style.press) * closed + 0.42 * teeth * (1 - closed))
    put("mouthRollUpper", (0.18 - 0.12 * style.press) * closed)
    put("mouthShrugLower", 0.06 * closed)
    # mouthClose takes up what opening is left: nothing for a closure, 1.5 mm to the teeth for f, v.
    gap = REST_GAP + w @ GAP
    close = (
        np.maximum(closed * (gap + 0.03), teeth * (gap - 0.15)) / -GAP[arkit.INDEX["mouthClose"]]
    )
    put("mouthClose", np.maximum(close, 0))

    rotation = np.zeros((frames, 3), np.float32)
    if accent is not None:
        lively = _smooth(active, 0.3) * active * accent[:frames]
        put("browInnerUp", 0.22 * style.brows * lively)
        put("browOuterUpLeft", 0.14 * style.brows * lively)
        put("browOuterUpRight", 0.14 * style.brows * lively)
        rotation[:, 0] = 0.06 * style.nods * lively
        rotation[:, 1] = 0.02 * style.tilt * style.nods * lively
        rotation[:, 2] = 0.02 * style.tilt * style.nods * lively

    index = np.searchsorted([s for _, s, _ in segments], t + 1e-6, side="right") - 1
    viseme_of = [ph.VISEME_OF_PHONE[ph.PHONE_INDEX[p]] for p, _, _ in segments]
    viseme = np.array(viseme_of, np.int64)[np.clip(index, 0, len(segments) - 1)]
    viseme[t > segments[-1][2]] = 0
    return Motion(
        np.clip(w, 0, 1), rotation, (viseme > 0).astype(np.float32), closed, teeth, viseme
    )


def reference_window(motion: Motion, start: int = 0) -> np.ndarray:
    """(50, 52) at 25 Hz from frame `start` of a motion on, repeated where it is too short."""
    step = RATE // REFERENCE_RATE
    index = (start + np.arange(REFERENCE_FRAMES) * step) % len(motion.weights)
    return motion.weights[index]


def opening(weights: np.ndarray) -> np.ndarray:
    """(..., 52) -> (...,) cm between the inner lips, 0 when they touch or press."""
    return np.maximum(weights @ GAP + REST_GAP, 0)


def width(weights: np.ndarray) -> np.ndarray:
    """(..., 52) -> (...,) cm by which the mouth is wider than at rest."""
    return weights @ WIDTH
