# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate talking --picture`: the drawn face against the video, frame by frame.

As in Table 2 of the RealTalk paper (arXiv 2406.18284): of the clip's first frame an avatar is made
(of the first one that enrolment accepts), the clip's own sound moves it, and each later frame is
drawn and compared with the real one.

The head of the drawn face is still and it does not blink: nothing in the sound says how these
move. So both faces are laid over the avatar at rest, in its face crop of 256x256 pixels, by shift,
scale and rotation of the landmarks that the mouth does not move (STILL). A head that is turned
another way than in the first frame stays so. Landmarks are MediaPipe's, found in both alike.

    lmd         mean distance of the 468 landmarks of the face mesh, % of the distance between the
                outer corners of the eyes: the landmark distance of Chen et al. 2018 (arXiv
                1803.10404), there in pixels, in the unit of 300-W (Sagonas et al. 2013)
    m_lmd       of the 40 landmarks of the lips
    lpips       arXiv 1801.03924, of the crop (renderer/lpips.py)
    ssim        Wang et al. 2004, of the crop (renderer/image_metrics.py)
    identity    distance of the faces (enroll/face_embedding.py), of some of the frames
    picture_aperture_r, picture_range       aperture of the drawn mouth as it is found in the
                picture: correlation with the real one, and its range over the real one's
    picture_of_asked    its range over the one that the weights ask of the avatar's face model
    picture_found       share of the drawn frames with one face; all else is of these

`still_...` are the same figures of the first frame itself, which does not move: the baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face import Face
from realtalk_ros.contracts import CROP_SIZE, EXPRESSION_RATE
from realtalk_ros.enroll import mediapipe_points
from realtalk_ros.enroll.avatar_writer import temporary_avatar
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.face_embedding import FaceEmbedding
from realtalk_ros.enroll.photo_to_avatar import from_picture
from realtalk_ros.enroll.picture_layout import Layout
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.landmarks import EYE_CORNERS
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.training.common.affine_maps import similarity_transform
from realtalk_ros.training.expression.metrics import correlation
from realtalk_ros.training.renderer.dataset import to_float
from realtalk_ros.training.renderer.image_metrics import ssim_map
from realtalk_ros.training.renderer.lpips import Lpips
from realtalk_ros.training.videos import mouth_track, talking_metrics

# Of MediaPipe's mesh: bridge of the nose, corners of the eyes.
STILL = [168, 6, 197, 195, 33, 133, 362, 263]
MESH = slice(468)  # without the irises, which look around
LIPS = mediapipe_points.LANDMARK[mediapipe_points.LIPS]
EYES = np.array([name.startswith("eye") for name in arkit.NAMES])
TRIED = 25  # frames with a face that are offered to enrolment
EMBEDDED_EVERY = 10  # frames
# Further looks at a face that was just found: in video mode MediaPipe's landmarks settle. The first
# are off by 1 to 2 % of the eyes' distance, and each look halves that (two clips of GRID).
LOOKS = 7
COMPARED = ("lmd", "m_lmd", "lpips", "ssim", "identity")
FIGURES = (
    *COMPARED, "picture_aperture_r", "picture_range", "picture_of_asked", "picture_found",
    *(f"still_{name}" for name in COMPARED),
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """An image with one face that looks at the camera."""

    time: float  # s from the first sample of the sound on
    image: np.ndarray  # (height, width, 3) uint8 BGR
    points: np.ndarray  # (478, 2), its pixels
    aperture: float  # of the mouth, of the distance of the outer corners of the eyes

    @classmethod
    def find(cls, detector: FaceDetector, time: float, image: np.ndarray) -> Seen | None:
        faces = detector.find(image)
        aperture, _, confidence = mouth_track.measure(faces)
        return cls(time, image, faces[0].points, aperture) if confidence > 0 else None

    def settled(self, detector: FaceDetector) -> Seen:
        """The same, for the first image that a detector was given."""
        looks = [Seen.find(detector, self.time, self.image) for _ in range(LOOKS)]
        return looks[-1] or self

    def onto(self, still: np.ndarray) -> Seen:
        """The face crop in which the landmarks STILL are at `still` (8, 2)."""
        matrix = similarity_transform(self.points[STILL].astype(np.float64), still)
        layout = Layout(matrix, (CROP_SIZE, CROP_SIZE), (0, 0, CROP_SIZE))
        image, points = layout.apply(self.image), layout.points(self.points)
        return Seen(self.time, image, points, self.aperture)


class SpeakingAvatar:
    """An avatar that says what is heard in a clip, with its head still and its eyes open.

    `asked`: the aperture of its face model in the picture that was drawn last.
    """

    def __init__(self, avatar: Avatar, path: Path, model: ExpressionModel, models: Path | None):
        """Raises AudioError."""
        self.asked = 0.0
        self._avatar = avatar
        self._renderer = FaceRenderer(avatar, avatar.size[1], model_dir=models)
        prior = model.prior(avatar.identity, avatar.reference_expressions)
        predicted = PredictedExpression.of(*read_audio(path), model, prior=prior)
        self._weights, self._speech = predicted.prepared, predicted.speech
        self._steps = np.arange(len(self._speech)) / EXPRESSION_RATE
        self._face = Face(self._renderer)

    def draw(self, time: float) -> np.ndarray:
        """The frame at `time`, s, which goes forward."""
        speech = float(np.interp(time, self._steps, self._speech))
        weights = np.array([np.interp(time, self._steps, c) for c in self._weights.T], np.float32)
        shown, _ = self._face.pose(time, weights, None, speech)
        return self._render(np.where(EYES, weights, shown))

    def at_rest(self) -> np.ndarray:
        return self._render(arkit.weights())

    def _render(self, weights: np.ndarray) -> np.ndarray:
        avatar = self._avatar
        points = landmarks.load().points(weights + avatar.resting_weights, avatar.identity)
        gap = points[landmarks.INNER_UPPER_LIP, 1] - points[landmarks.INNER_LOWER_LIP, 1]
        eyes = np.linalg.norm(np.subtract(*points[EYE_CORNERS]))
        self.asked = max(0.0, float(gap / eyes))
        return self._renderer.render(weights, self._renderer.template_count // 2)


class PictureEvaluator:
    """Measures clips, one after the other, by the figures of the module's docstring.

    `lacking` says what is not installed, and how to install it; its figures are left out. Raises
    RealTalkError where MediaPipe or its model is missing.
    """

    def __init__(self, model: ExpressionModel, landmarker: Path | None, models: Path | None):
        self._model, self._landmarker, self._models = model, landmarker, models
        FaceDetector(landmarker, video=True).close()  # says what is missing before the work begins
        self.lacking: list[str] = []
        self._lpips: Lpips | None = None
        try:
            self._lpips = Lpips()
        except RealTalkError as error:
            self.lacking.append(str(error))
        self._embedding, lacking = FaceEmbedding.if_installed()
        if lacking:
            self.lacking.append(lacking)

    @staticmethod
    def unknown() -> dict[str, float | None]:
        """FIGURES of a clip that `measure` refuses."""
        return dict.fromkeys(FIGURES)

    def measure(self, path: Path) -> dict[str, float | None]:
        """FIGURES of a clip. Raises RealTalkError where enrolment accepts none of its first frames,
        and AudioError."""
        with (
            FaceDetector(self._landmarker, video=True) as detector,
            FaceDetector(self._landmarker, video=True) as of_drawn,
        ):
            frames = seen_frames(path, detector)
            first, avatar = first_accepted(path, frames, self._landmarker)
            first = first.settled(detector)
            speaker = SpeakingAvatar(avatar, path, self._model, self._models)
            rest = Seen.find(of_drawn, 0.0, speaker.at_rest())
            if rest is None:
                raise RealTalkError("no face is found in the avatar of its first frame")
            x, y, side = avatar.crop
            still = (rest.settled(of_drawn).points[STILL] - (x, y)) * (CROP_SIZE / side)
            held, rows = first.onto(still), []
            for real in frames:
                drawn = Seen.find(of_drawn, real.time, speaker.draw(real.time))
                if drawn is None:
                    rows.append({"picture_found": 0.0})
                    continue
                embed = len(rows) % EMBEDDED_EVERY == 0
                truth = real.onto(still)
                of_held = self._compare(held, truth, embed)
                rows.append(
                    self._compare(drawn.onto(still), truth, embed)
                    | {f"still_{name}": value for name, value in of_held.items()}
                    | {"picture_found": 1.0, "aperture": drawn.aperture}
                    | {"real": real.aperture, "asked": speaker.asked}
                )
        return summary(rows)

    @torch.no_grad()
    def _compare(self, face: Seen, real: Seen, embed: bool) -> dict[str, float]:
        """COMPARED of two crops; `embed`: with their identity."""
        unit = float(mediapipe_points.distance(real.points, mediapipe_points.EYE_CORNERS)) / 100
        apart = np.linalg.norm(face.points - real.points, axis=1) / unit
        figures = {
            "lmd": float(apart[MESH].mean()),
            "m_lmd": float(apart[LIPS].mean()),
            "ssim": float(ssim_map(face.image, real.image).mean()),
        }
        if self._lpips is not None:
            pair = (to_float(torch.from_numpy(one.image)[None]) for one in (face, real))
            figures["lpips"] = float(self._lpips(*pair))
        if self._embedding is not None and embed:
            a, b = (self._embedding.embed(one.image, one.points) for one in (face, real))
            figures["identity"] = float(np.linalg.norm(a - b))
        return figures


def seen_frames(path: Path, detector: FaceDetector) -> Iterator[Seen]:
    """Frames of a video, as sRGB, with one face that looks at the camera."""
    for time, image in Clip(path).frames(as_srgb=True):
        seen = Seen.find(detector, time, image)
        if seen is not None:
            yield seen


def first_accepted(
    path: Path, frames: Iterator[Seen], landmarker: Path | None
) -> tuple[Seen, Avatar]:
    """The first frame that enrolment accepts, and the avatar of it. Raises RealTalkError."""
    refusal = "no frame shows one face that looks at the camera"
    for _, seen in zip(range(TRIED), frames, strict=False):
        try:
            return seen, enrolled(seen.image, path, landmarker)
        except RealTalkError as error:
            refusal = str(error)
    raise RealTalkError(f"no avatar can be made of its first frames: {refusal}")


def enrolled(image: np.ndarray, path: Path, landmarker: Path | None) -> Avatar:
    """The avatar of a frame of a video. Raises RealTalkError."""
    return temporary_avatar(from_picture(image, path.name, landmarker), path)


def summary(rows: list[dict[str, float]]) -> dict[str, float | None]:
    """FIGURES of a clip's frames. Raises RealTalkError where too few of them have any."""
    made, real, asked = (
        np.array([row[name] for row in rows if name in row])
        for name in ("aperture", "real", "asked")
    )
    if len(made) < talking_metrics.MIN_FRAMES:
        raise RealTalkError("one face, facing the camera, is not seen and drawn for a second")
    return {name: mean_of(rows, name) for name in FIGURES} | {
        "picture_aperture_r": correlation(made, real),
        "picture_range": talking_metrics.span(made) / max(talking_metrics.span(real), 1e-9),
        "picture_of_asked": talking_metrics.span(made) / max(talking_metrics.span(asked), 1e-9),
    }


def mean_of(rows: list[dict[str, float]], name: str) -> float | None:
    """Over the frames that have this figure."""
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else None
