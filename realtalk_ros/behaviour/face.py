"""One living face: what it says, how it feels, where it looks and what it does anyway, in one
picture. The only place where these meet, with and without ROS."""

from __future__ import annotations

import numpy as np

from realtalk_ros.behaviour import emotion
from realtalk_ros.behaviour.gaze import Gaze, ease
from realtalk_ros.behaviour.head_motion import HeadMotion
from realtalk_ros.behaviour.idle import Idle
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.watermark import Watermark

MOOD_TIME = 0.3  # s, time constant of a change of emotion
SPEECH_TIME = 0.08  # s, of how fast an emotion leaves the lips to speech
POSTURE_TIME = 0.4  # s, of leaning in to listen
BREATH_BACK = 0.35  # share of idle head motion left while the face is bound to a point or listens
# Shapes that part the lips or hold them: all of these are speech's while it speaks, or closures
# would not close. Of the other mouth shapes (smile, frown) an emotion keeps half.
_PARTING = [arkit.INDEX[name] for name in (
    "jawForward", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "mouthStretchLeft", "mouthStretchRight", "tongueOut",
)]  # fmt: skip
_CORNERS = sorted(set(arkit.MOUTH) - set(_PARTING))
_BROWS = [arkit.INDEX[name] for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
LISTENING = {"brows": 0.15, "pitch": 0.02, "roll": 0.05}  # weight, rad, rad
Dressed = tuple[FaceRenderer, HeadMotion]  # an avatar at a size, ready to be shown


class Face:
    """Times go on (they may jump); whoever shows frames calls `picture` for each."""

    def __init__(self, renderer: FaceRenderer, seed: int = 0):
        self.idle, self.gaze = Idle(seed), Gaze()
        self.expression_gain = self.idle_gain = self.emotion_gain = 1.0
        self.listening = False
        self.mark: Watermark | None = None  # drawn over every picture
        self._wanted = np.zeros(arkit.COUNT, np.float32)  # emotion
        self._mood = np.zeros(arkit.COUNT, np.float32)
        self._speaking = 0.0
        self._posture = 0.0
        self._time: float | None = None
        self.renderer = renderer

    @property
    def renderer(self) -> FaceRenderer:
        return self._renderer

    @renderer.setter
    def renderer(self, renderer: FaceRenderer) -> None:
        """Another avatar or size; the life goes on."""
        self.dress(self.dressed(renderer))

    @staticmethod
    def dressed(renderer: FaceRenderer) -> Dressed:
        """What `dress` takes, made beside the face that is shown: this takes a while."""
        width, height = renderer.size
        scale = height / renderer.avatar.size[1]
        x, y, side = (round(value * scale) for value in renderer.avatar.crop)
        return renderer, HeadMotion((height, width), (x, y, side))

    def dress(self, dressed: Dressed) -> None:
        """Another avatar or size from the next picture on."""
        self._renderer, self._head = dressed

    def feel(self, name: str, intensity: float = 1.0) -> None:
        """Shows an emotion from now on. Raises RealTalkError for unknown ones."""
        self._wanted = emotion.weights(name, intensity)

    def picture(
        self, time: float, weights: np.ndarray, rotation: np.ndarray | None = None,
        speech: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """One frame at `time`, s, of what is said: ARKit weights (52,), head rotation (3,) rad and
        speech probability. Returns the weights shown (52,) and the image (height, width, 3) BGR."""
        shown, turn = self.pose(time, weights, rotation, speech)
        template = self.idle.template(time, self.renderer.template_count)
        image = self._head.apply(self.renderer.render(shown, template), turn)
        if self.mark is not None:
            self.mark.draw(image)
        return shown, image

    def pose(
        self, time: float, weights: np.ndarray, rotation: np.ndarray | None = None,
        speech: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """As `picture`: the weights (52,) and head rotation (3,) alone."""
        step = 0.0 if self._time is None else min(0.5, max(0.0, time - self._time))
        self._time = time
        # Speech takes the lips quickly and gives them back slowly.
        wanted = float(speech > 0.5) if np.isfinite(speech) else 0.0
        if wanted > self._speaking:
            self._speaking = wanted
        self._speaking += ease(step, 3 * SPEECH_TIME) * (wanted - self._speaking)
        self._mood += np.float32(ease(step, MOOD_TIME)) * (self._wanted - self._mood)
        self._posture += ease(step, POSTURE_TIME) * (self.listening - self._posture)

        mood = self._mood * np.float32(self.emotion_gain)
        mood[_PARTING] *= np.float32(1 - self._speaking)
        mood[_CORNERS] *= np.float32(1 - 0.5 * self._speaking)
        look, head = self.gaze.update(time)
        bound = max(self.gaze.attentive, self._posture)
        shown = weights * np.float32(self.expression_gain) + mood + look
        shown += self.idle.weights(time, (1 - 0.9 * bound) * self.idle_gain)
        shown[_BROWS] += np.float32(LISTENING["brows"] * self._posture)
        calm = self.idle_gain * (1 - (1 - BREATH_BACK) * bound)
        turn = head + self.idle.rotation(time) * np.float32(calm)
        turn += np.array([LISTENING["pitch"], 0, LISTENING["roll"]], np.float32) * np.float32(
            self._posture
        )
        if rotation is not None and np.isfinite(rotation).all():
            turn += np.clip(rotation, -0.3, 0.3) * np.float32(self.expression_gain)
        return np.clip(shown, 0, 1), turn
