# SPDX-License-Identifier: Apache-2.0
"""One face: mixes speech, emotion, gaze and idle motion, and renders the result.

They meet only here; nodes and `realtalk speak` use the same class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.behaviour import emotion
from realtalk_ros.behaviour.gaze import MAX_HEAD_ANGLE, Gaze
from realtalk_ros.behaviour.idle import Idle
from realtalk_ros.easing import Spring, approached, smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.lips import GAP
from realtalk_ros.rendering.background import Background
from realtalk_ros.rendering.common.generated_face import GeneratedFace
from realtalk_ros.rendering.face_renderer import BegunFrame, FaceRenderer
from realtalk_ros.rendering.watermark import Watermark

# Time constants, s; of springs:
EMOTION_TIME = 0.15  # of a change of emotion
LIP_TAKE_TIME = 0.035  # of the lips' way from rest and emotion to speech
LISTENING_TIME = 0.2  # of leaning in to listen
# of nods: heads of nine filmed speakers speed up no faster, for how fast they move
NOD_TIME = 0.025
# and of exponential ways:
LIP_RELEASE_TIME = 0.24  # of the lips' return from speech to the emotion
SPEAKING_TIME = 1.2  # of becoming as lively as a speaker, and as quiet as one who is silent
CHEEK_TIME = 0.12  # of the cheeks, which are heavier than lips: they follow syllables, not phones
# While the face looks at a point or listens: what is left of idle head motion and of glances.
ATTENTIVE_MOTION, ATTENTIVE_GLANCES = 0.35, 0.1
MAX_SPEECH_ROTATION = 0.3  # rad, of each angle
# rad: the head, as it moves of itself and turns to a point, comes to rest below the second, however
# far the gains and the temperament scale what it does of itself; up to the first, which is the
# farthest that it turns to a point, it is as they say.
FREE_ANGLE, MAX_TURN = MAX_HEAD_ANGLE, 0.17
# How far the head moves as a speaker's, from which on the eyes turn back by as much, and by all of
# it. At rest they do not, as networks would run for each frame; the head moves little then. And the
# steps by which they turn, rad, as by small saccades: eyes that move are drawn anew, which takes a
# tenth of a frame's time.
STEADY_EYES, EYE_STEP = (0.2, 0.5), 0.03
# Weights that part the lips or hold them: during speech all of them belong to speech, or the lips
# would not close. Of the other weights of the mouth (smile, frown) an emotion keeps half.
_LIPS = arkit.indices(
    "jawForward", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPress", "mouthLowerDown",
    "mouthUpperUp", "mouthStretch", "tongueOut",
)  # fmt: skip
_CORNERS = sorted(set(arkit.MOUTH) - set(_LIPS))
_SNEER = arkit.indices("noseSneer")  # raises the upper lip, too
_CLOSE = arkit.INDEX["mouthClose"]
_SMILE = arkit.indices("mouthSmile")
_RESTING_SMILE = 0.25  # weight from which on a smile at rest is a broad one
_STILL = 0.1  # weights of the lips up to which they are at rest
_BROWS = arkit.indices("browInnerUp", "browOuterUp")
_CHEEKS = arkit.indices("cheekSquint")
_MOUTH = list(arkit.MOUTH)
# What lifts the cheek of its side in speech.
_LIFTS = np.array([arkit.indices(f"mouth{name}") for name in ("UpperUp", "Smile", "Stretch")])
# A face that listens raises its brows (weight), nods (rad), tilts its head and smiles a little, the
# eyes by as much of it as in a smile that is felt (AU 6 with 12).
LISTENING_BROWS, LISTENING_PITCH, SMILING_EYES = 0.15, 0.02, 0.6


@dataclass(frozen=True)
class GeneratedFrame:
    """What one frame shows, before its image is composed; it is composed once."""

    renderer: FaceRenderer
    weights: np.ndarray  # (52,)
    face: GeneratedFace
    begun: BegunFrame


class Face:
    """Call `render` for each frame. Its times go forward, except when the clock jumps.

    `renderer` may be replaced at any time; the animation goes on.
    """

    def __init__(self, renderer: FaceRenderer, seed: int = 0):
        self.idle, self.gaze = Idle(seed), Gaze()
        self.renderer = renderer
        self.expression_gain = self.idle_gain = self.emotion_gain = 1.0
        self.head_gain = 1.0  # of all motion of the head and shoulders; 0: they are still
        self.listening = False
        self.watermark: Watermark | None = None  # drawn over every frame
        self._background: Background | None = None
        self._target_emotion = arkit.weights()
        self._emotion = Spring(arkit.weights(), EMOTION_TIME)
        # How far the lips belong to speech, 0..1: at once, and as what leaves them does so.
        self._lips_taken, self._lips_moved = 0.0, Spring(0.0, LIP_TAKE_TIME)
        self._speaking = 0.0  # how far the head moves as a speaker's, 0..1
        self._posture = Spring(0.0, LISTENING_TIME)  # how far the face listens, 0..1
        self._nod = Spring(np.zeros(3, np.float32), NOD_TIME)  # of speech, rad
        self._lifted = np.zeros(2, np.float32)  # how far speech lifts the cheeks
        self._time: float | None = None

    @property
    def background(self) -> Background | None:
        """What is shown instead of the avatar's own background."""
        return self._background

    @background.setter
    def background(self, background: Background | None) -> None:
        if background is not None:
            self.renderer.cut_out()  # in this thread, and not in that of the next frame
        self._background = background

    @property
    def renderer(self) -> FaceRenderer:
        """What draws the face, and of whom."""
        return self._renderer

    @renderer.setter
    def renderer(self, renderer: FaceRenderer) -> None:
        self._renderer = renderer
        self.idle.temperament = renderer.avatar.temperament

    def set_emotion(self, name: str, intensity: float = 1.0) -> None:
        """Shows an emotion from now on. Raises RealTalkError for unknown ones."""
        self._target_emotion = emotion.weights(name, intensity)

    def render(
        self, time: float, weights: np.ndarray, rotation: np.ndarray | None = None,
        speech: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """One frame at `time`, s, given what speech does: ARKit weights (52,), head rotation (3,)
        rad and speech probability. Returns the weights shown (52,) and the image (height, width, 3)
        uint8 BGR."""
        generated = self.generate(time, weights, rotation, speech)
        return generated.weights, self.compose(generated)

    def generate(
        self, time: float, weights: np.ndarray, rotation: np.ndarray | None = None,
        speech: float = 0.0,
    ) -> GeneratedFrame:  # fmt: skip
        """The first half of `render`: all but the image."""
        renderer = self.renderer
        shown, head = self.pose(time, weights, rotation, speech)
        template = self.idle.template(time, renderer.template_count, self.head_gain)
        breath = self.idle.breath(time) * self.idle_gain * self.head_gain
        face, begun = renderer.generate_and_begin(shown, template, head, breath, self.background)
        return GeneratedFrame(renderer, shown, face, begun)

    def compose(self, frame: GeneratedFrame) -> np.ndarray:
        """The image of a frame, as of `render`; before a transparent background (height, width, 4)
        with straight alpha. May run in another thread than `generate`."""
        image = frame.renderer.compose(frame.face, frame.begun)
        if self.watermark is not None:
            self.watermark.draw(image)
        return image

    def pose(
        self, time: float, weights: np.ndarray, rotation: np.ndarray | None = None,
        speech: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """As `render`, without rendering: the weights (52,) and the head rotation (3,)."""
        temperament = self.renderer.avatar.temperament
        self._advance(time, speech, weights, rotation)
        look, head = self.gaze.update(time, self.head_gain)
        posture = self._posture.value
        attention = max(self.gaze.attention, posture)
        shown = self._spoken_weights(weights) + self._emotion_weights() + look
        glances = (1 - (1 - ATTENTIVE_GLANCES) * attention) * self.idle_gain
        own = self._own_motion(time, posture, head)
        steady = smoothstep(self._speaking, *STEADY_EYES)
        pitch, yaw = (EYE_STEP * round(float(steady * a) / EYE_STEP) for a in own[:2])
        shown += self.idle.weights(time, glances, (pitch, yaw))
        shown += self._listening_weights()
        moved = np.array([LISTENING_PITCH, 0, temperament.listening_tilt], np.float32)
        moved *= np.float32(posture)
        nods = np.float32(temperament.head_motion * self.expression_gain)
        moved += self._nod.value * nods
        return self._from_rest(shown), head + own + moved * np.float32(self.head_gain)

    def _own_motion(self, time: float, posture: float, head: np.ndarray) -> np.ndarray:
        """Rotation (3,) rad by which the head moves of itself, idle and in speech. `posture`: how
        far it listens; `head` (3,) rad: how far it turns to a point."""
        calm = max(self.gaze.head_attention, posture)
        idle = self.idle_gain * (1 - (1 - ATTENTIVE_MOTION) * calm)
        own = self.idle.rotation(time) * np.float32(idle)
        if self._speaking:
            spoken = np.float32(self._speaking * self.expression_gain)
            own += self.idle.spoken_rotation(time) * spoken
        own *= np.float32(self.head_gain)
        turned = np.clip(head, -FREE_ANGLE, FREE_ANGLE)
        whole = turned + own
        angles = np.abs(whole)
        if angles.max() <= FREE_ANGLE:
            return own
        room = np.float32(MAX_TURN - FREE_ANGLE)
        eased = FREE_ANGLE + room * np.tanh((angles - FREE_ANGLE) / room)
        return np.where(angles <= FREE_ANGLE, own, np.sign(whole) * eased - turned)

    def _from_rest(self, shown: np.ndarray) -> np.ndarray:
        """What is shown, (52,), as it is added to the resting weights of the avatar."""
        avatar = self.renderer.avatar
        lips_moved = self._lips_moved.value
        shown = shown + avatar.parted_weights * np.float32(1 - lips_moved)
        # Of a broad smile at rest, half gives way to speech, or no lips would become round, and all
        # to an emotion that is no smile.
        broad = arkit.weights()
        broad[_CORNERS] = np.maximum(avatar.resting_weights[_CORNERS] - _RESTING_SMILE, 0)
        gives_way = max(0.5 * lips_moved, self._unsmiling())
        return np.clip(shown, 0, 1 - broad) - broad * np.float32(gives_way)

    def _unsmiling(self) -> float:
        """How far an emotion that is no smile is shown, 0..1."""
        shown = self._emotion.value
        return min(max(2 * float(shown.max() - 2 * shown[_SMILE].max()), 0.0), 1.0)

    def _advance(
        self, time: float, speech: float, weights: np.ndarray, rotation: np.ndarray | None
    ) -> None:
        """Moves emotion, posture, cheeks, lips and head on towards their targets. Speech gives some
        of them, as of `render`."""
        step = 0.0 if self._time is None else min(0.5, max(0.0, time - self._time))
        self._time = time
        target = float(speech > 0.5) if np.isfinite(speech) else 0.0
        # Lips may be moved by weights that come without a probability of speech, or before it.
        lips = float(weights[_LIPS].max())
        moved = max(target, min((lips - _STILL) / _STILL, 1.0), 0.0)
        # Speech takes the lips at once and gives them back slowly.
        held = approached(self._lips_taken, moved, step, LIP_RELEASE_TIME)
        self._lips_taken = max(held, moved)
        self._lips_moved.follow(self._lips_taken, step)
        self._speaking = approached(self._speaking, target, step, SPEAKING_TIME)
        self._emotion.follow(self._target_emotion, step)
        self._posture.follow(float(self.listening), step)
        lift = weights[_LIFTS].sum(0)
        self._lifted = approached(self._lifted, lift, step, CHEEK_TIME)
        nod = np.zeros(3, np.float32)
        if rotation is not None and np.isfinite(rotation).all():
            nod = np.clip(rotation, -MAX_SPEECH_ROTATION, MAX_SPEECH_ROTATION)
        self._nod.follow(nod, step)

    def _spoken_weights(self, weights: np.ndarray) -> np.ndarray:
        """What speech does, ARKit weights (52,), as this face does it."""
        temperament = self.renderer.avatar.temperament
        spoken = weights * np.float32(self.expression_gain)
        spoken[_MOUTH] *= np.float32(temperament.mouth_motion)
        spoken[_BROWS] *= np.float32(temperament.brow_motion)
        lift = np.float32(self.expression_gain * temperament.cheek_motion)
        spoken[_CHEEKS] += lift * self._lifted
        return spoken

    def _listening_weights(self) -> np.ndarray:
        """What listening adds, (52,): raised brows and the beginning of a smile, which gives way to
        speech, so that lips close, and to emotions that are none."""
        weights, posture = arkit.weights(), self._posture.value
        if not posture:
            return weights
        weights[_BROWS] = LISTENING_BROWS * posture
        smile = self.renderer.avatar.temperament.listening_smile * posture
        smile *= (1 - self._lips_moved.value) * (1 - self._unsmiling())
        weights[_SMILE] = smile
        weights[_CHEEKS] = SMILING_EYES * smile
        return weights

    def _emotion_weights(self) -> np.ndarray:
        """The emotion as far as speech leaves room for it, (52,)."""
        weights = self._emotion.value * np.float32(self.emotion_gain)
        moved = self._lips_moved.value
        weights[_LIPS] *= np.float32(1 - moved)
        weights[_CORNERS + _SNEER] *= np.float32(1 - 0.5 * moved)
        # The gap between the lips is speech's at once: its first sound may be a p, b or m.
        parted = max(float(weights @ GAP), 0.0)
        weights[_CLOSE] -= np.float32(self._lips_taken * parted / GAP[_CLOSE])
        return weights
