"""From phones with times to facial movement: the teacher of the expression network (training side).

Lips and jaw follow the dominance-function model of coarticulation (M. M. Cohen & D. W. Massaro,
"Modeling coarticulation in synthetic visual speech", Models and Techniques in Computer Animation,
Springer 1993): every phone s pulls each articulator p to a target T_sp with a dominance
D_sp(t) = a_sp exp(-theta_s |t - t_s|), and the articulator is sum(D T) / sum(D). What the model
cannot promise and an eye does not forgive is then imposed: lips meet for p, b, m, and nearly do for
the b of Spanish between vowels (B. Parrell, "Dynamical account of how /b, d, g/ differ from
/p, t, k/ in Spanish: evidence from labials", Laboratory Phonology 2, 2011); the lower lip meets the
teeth for f, v; in silence the mouth is exactly at rest. Brows and nods follow loudness, blinks come
in pauses, and an emotion may colour it all.

A person is an identity (100 coefficients of the 3D face, sd 1) and a `Style`, which is partly a
fixed linear function of the identity and partly the person's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE, REFERENCE_FRAMES, REFERENCE_RATE
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.training.speech_data import phones as ph

# Opening between the inner lips (landmarks 62 and 66) and mouth width (48 to 54), cm per unit of
# ARKit weight, on the mean face of the landmark model. REST_GAP is the resting face's opening.
_FACE = landmarks.load()
GAP = _FACE.expressions[:, 62, 1] - _FACE.expressions[:, 66, 1]
WIDTH = _FACE.expressions[:, 54, 0] - _FACE.expressions[:, 48, 0]
REST_GAP = float(_FACE.mean[62, 1] - _FACE.mean[66, 1])
LIPS = _FACE.expressions[:, landmarks.LIPS].copy()  # (52, 20, 3) cm per unit

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
_TARGETS["BH"] = _TARGETS["P"]  # the lips do all but meet
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
_DOMINANCE["BH"] = _DOMINANCE["P"]
_SAME_LIPS = {
    "B": "P", "M": "P", "V": "F", "DH": "TH", "D": "T", "N": "T", "G": "K", "NG": "K",
    "ZH": "SH", "CH": "SH", "JH": "SH", "Z": "S",
}  # fmt: skip
# Of each phone, which one's lips it has.
SAME_LIPS = tuple(_SAME_LIPS.get(phone, phone) for phone in ph.PHONES)
_DIPHTHONGS = {
    "AW": ("AA", "UH"), "AY": ("AA", "IH"), "EY": ("EH", "IY"), "OW": ("AO", "UW"),
    "OY": ("AO", "IY"),
}  # fmt: skip
_THETA = 30.0  # 1/s; Cohen & Massaro use about 0.03 per ms
_PLATEAU = 0.3  # of a phone's duration each side of its centre, in which its dominance is full
_SILENCE_PIECE = 0.08  # s: long silences pull towards rest all along
_ONSET, _OFFSET = 0.09, 0.18  # s: the face leaves rest before speech and returns after it
_BLINK_PAUSE, _BLINK_AFTER = 0.5, 0.26  # s: late enough that the pause can be heard to be one
_CONTACT_MIN, _CONTACT_RAMP = 0.07, 0.055  # s: lips stay together at least, and take to get there


@dataclass
class Style:
    """How one person moves. Gains are about 1, the rest about 0."""

    jaw: float = 1.0
    rounding: float = 1.0
    spreading: float = 1.0
    lower: float = 1.0  # effort of lowering the lower lip
    upper: float = 1.0  # effort of lifting the upper lip
    crispness: float = 1.0  # decay rate of dominance: high is over-articulated
    asymmetry: float = 0.0  # > 0: the left side moves more
    smile: float = 0.0  # while speaking
    corners: float = 0.0  # while speaking: > 0 drawn back, < 0 drawn down
    aside: float = 0.0  # while speaking: the mouth to the subject's left
    press: float = 0.5  # how closures are held: 1 pressed, 0 rolled in
    lag: float = 0.0  # s, movement after sound
    brows: float = 1.0
    nods: float = 1.0
    tilt: float = 0.0
    targets: np.ndarray | None = None  # (phones, articulators): gains on _TARGETS
    numbers: np.ndarray | None = None  # (STYLE_SIZE,) of which all of it follows, sd 1


_HABITS = 8  # directions in which people's targets differ
STYLE_SIZE = 15 + _HABITS
# Which part of the style shows in the face's shape: a fixed linear map of the identity, unit sd.
_STYLE_OF_IDENTITY = np.random.default_rng(20).standard_normal((IDENTITY_SIZE, STYLE_SIZE)) / 10
_HABIT_OF_TARGET = np.random.default_rng(21).standard_normal(
    (len(_TARGETS), len(_ARTICULATORS), _HABITS)
) / np.sqrt(_HABITS)  # fmt: skip


def style_of(identity: np.ndarray, own: np.ndarray) -> Style:
    """Style of a person: identity (100,) and own (23,), both standard normal.

    The spreads follow what is reported of speakers: jaw and lip excursions for the same words
    differ by a factor of two and more between people, the order of movements hardly.
    """
    z = 0.65 * identity @ _STYLE_OF_IDENTITY + 0.76 * own  # unit variance
    z = np.clip(z, -2.2, 2.2)
    return Style(
        jaw=float(np.exp(0.30 * z[0])), rounding=float(np.exp(0.30 * z[1])),
        spreading=float(np.exp(0.35 * z[2])), lower=float(np.exp(0.35 * z[3])),
        upper=float(np.exp(0.40 * z[4])), crispness=float(np.exp(0.15 * z[5])),
        asymmetry=float(0.18 * z[6]), smile=float(max(0.0, 0.06 + 0.12 * z[7])),
        press=float(np.clip(0.5 + 0.3 * z[8], 0, 1)), lag=float(0.007 * z[9]),
        brows=float(np.exp(0.4 * z[10])), nods=float(np.exp(0.4 * z[11])), tilt=float(z[12]),
        corners=float(0.14 * z[13]), aside=float(0.06 * z[14]),
        targets=np.exp(0.2 * _HABIT_OF_TARGET @ z[15:]).astype(np.float32),
        numbers=z.astype(np.float32),
    )  # fmt: skip


def average_style() -> Style:
    """The style in the middle of everybody's."""
    return style_of(np.zeros(IDENTITY_SIZE), np.zeros(STYLE_SIZE))


def random_person(rng: np.random.Generator) -> tuple[np.ndarray, Style]:
    identity = rng.standard_normal(IDENTITY_SIZE).astype(np.float32)
    return identity, style_of(identity, rng.standard_normal(STYLE_SIZE))


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


_ROW = {p: i for i, p in enumerate(_TARGETS)}
_TARGET_ROWS = np.array(list(_TARGETS.values()), np.float32)
_DOMINANCE_ROWS = np.array([_DOMINANCE.get(p, _VOWEL) for p in _TARGETS], np.float32)


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
    spoken = np.array([(s, e) for phone, s, e in segments if phone != ph.SIL]).reshape(-1, 2)
    rise = np.minimum(
        1 - (spoken[:, :1] - t) / _ONSET, 1 - (t - spoken[:, 1:]) / _OFFSET
    )  # (phones, n)
    return _smoothstep(rise.max(0, initial=0.0)).astype(np.float32)


def _blinks(t: np.ndarray, segments) -> np.ndarray:
    """(n,) 0..1: a blink in every pause, speakers' favourite place (von Cramon & Schuri, 1980)."""
    out = np.zeros(len(t), np.float32)
    for (before, _, _), (phone, s, e) in zip(segments, segments[1:], strict=False):
        if phone == ph.SIL and before != ph.SIL and e - s > _BLINK_PAUSE:
            since = t - s - _BLINK_AFTER
            out += _smoothstep(since / 0.08) - _smoothstep((since - 0.11) / 0.16)
    return out


def _smooth(x: np.ndarray, seconds: float) -> np.ndarray:
    n = max(1, round(seconds * EXPRESSION_RATE)) | 1
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
    level, keep = float(loud[0]), np.exp(-1 / (0.8 * EXPRESSION_RATE))
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
    phone: np.ndarray  # (n,) int64, index into phones.PHONES


def animate(
    segments,
    frames: int,
    style: Style,
    accent: np.ndarray | None = None,
    mood: np.ndarray | None = None,
) -> Motion:
    """Moves one person's face.

    segments: (phone, start s, end s), contiguous; accent: (frames,) of `accents`, for brows and
    nods; mood: (52,) of `emotion.weights`, shown while speaking.
    """
    t = np.arange(frames) / EXPRESSION_RATE
    pieces = _pieces(segments)
    start = np.array([s for _, s, _ in pieces])
    end = np.array([e for _, _, e in pieces])
    rows = [_ROW[p] for p, _, _ in pieces]
    targets = _TARGET_ROWS if style.targets is None else _TARGET_ROWS * style.targets
    target, dominance = targets[rows], _DOMINANCE_ROWS[rows]
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
    lower, upper = lower * style.lower * active, upper * style.upper * active
    smile = style.smile * active * (1 - np.minimum(pucker, 1))  # no one smiles on an oo

    teeth = _contact(t, segments, ph.LABIODENTALS, style.lag)
    closed = _contact(t, segments, ph.BILABIALS, style.lag)
    near = _contact(t, segments, ph.APPROXIMANTS, style.lag)
    hold = np.maximum.reduce((closed, teeth, near))
    jaw = jaw * (1 - hold) + np.minimum(jaw, 0.09) * hold
    lower, funnel = lower * (1 - hold), funnel * (1 - 0.9 * hold)
    upper = upper * (1 - closed) * (1 - teeth) + 0.14 * style.upper * teeth * (1 - closed)

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
    put("mouthLeft" if style.aside > 0 else "mouthRight", abs(style.aside) * active)
    put("jaw" + side, 0.3 * abs(style.asymmetry) * jaw)
    both("mouthStretch", 0.6 * wide)
    both("mouthSmile", 0.35 * wide + smile)
    both("mouthDimple", 0.1 * wide + max(style.corners, 0) * active)
    both("mouthFrown", max(-style.corners, 0) * active)
    both("mouthLowerDown", lower)
    both("mouthUpperUp", upper)
    both("cheekSquint", 0.2 * smile + 0.1 * wide)
    both("noseSneer", 0.15 * upper)
    both("mouthPress", (0.10 + 0.3 * style.press) * closed)
    put("mouthRollLower", (0.22 - 0.15 * style.press) * closed + 0.42 * teeth * (1 - closed))
    put("mouthRollUpper", (0.18 - 0.12 * style.press) * closed)
    put("mouthShrugLower", 0.06 * closed)
    if mood is not None:
        w += active[:, None] * mood
    # mouthClose takes up what opening is left: nothing for a closure, 2 mm to the teeth for f, v,
    # 2.5 mm between the lips where they only come near.
    gap = REST_GAP + w @ GAP
    close = np.maximum.reduce((closed * (gap + 0.03), teeth * (gap - 0.2), near * (gap - 0.25)))
    put("mouthClose", np.maximum(close / -GAP[arkit.INDEX["mouthClose"]], 0))

    rotation = np.zeros((frames, 3), np.float32)
    if accent is not None:
        lively = _smooth(active, 0.3) * active * accent[:frames]
        put("browInnerUp", 0.22 * style.brows * lively)
        put("browOuterUpLeft", 0.14 * style.brows * lively)
        put("browOuterUpRight", 0.14 * style.brows * lively)
        rotation[:, 0] = 0.06 * style.nods * lively
        rotation[:, 1] = 0.02 * style.tilt * style.nods * lively
        rotation[:, 2] = 0.02 * style.tilt * style.nods * lively

    blink = _blinks(t, segments)
    put("eyeBlinkLeft", blink)
    put("eyeBlinkRight", blink)

    index = np.searchsorted([s for _, s, _ in segments], t + 1e-6, side="right") - 1
    spoken = np.array([ph.PHONE_INDEX[p] for p, _, _ in segments], np.int64)
    phone = spoken[np.clip(index, 0, len(segments) - 1)]
    phone[t > segments[-1][2]] = ph.PHONE_INDEX[ph.SIL]
    speech = (phone != ph.PHONE_INDEX[ph.SIL]).astype(np.float32)
    return Motion(np.clip(w, 0, 1), rotation, speech, closed, teeth, phone)


def reference_window(weights: np.ndarray, start: int = 0) -> np.ndarray:
    """(50, 52) at 25 Hz from frame `start` of weights (n, 52) on, repeated where they are short."""
    step = EXPRESSION_RATE // REFERENCE_RATE
    index = (start + np.arange(REFERENCE_FRAMES) * step) % len(weights)
    return weights[index]


def opening(weights: np.ndarray) -> np.ndarray:
    """(..., 52) -> (...,) cm between the inner lips, 0 when they touch or press."""
    return np.maximum(weights @ GAP + REST_GAP, 0)


def width(weights: np.ndarray) -> np.ndarray:
    """(..., 52) -> (...,) cm by which the mouth is wider than at rest."""
    return weights @ WIDTH
