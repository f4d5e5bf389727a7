# SPDX-License-Identifier: Apache-2.0
"""What `realtalk evaluate avatars` measures of an avatar beside the photograph that it was made of.

The avatar speaks the first seconds of the bundled clip, with head motion and blinks. In every frame
MediaPipe looks for the face anew: it knows nothing of the renderer.

    found           share of the frames with one face
    opening         correlation of the gap between the tracked inner lips (over the distance of the
                    eyes' outer corners) with the gap that the weights ask for, 0 where they press
    detail_mouth, detail_chin, detail_eyes      fine detail kept: variance of the Laplacian of the
                    grey picture, in a region of the tracked points, as a share of the photograph's.
                    The larger of the two pictures is first reduced to the scale of the smaller one.
                    Mean over the frames; of the mouth over the quarter in which the lips are
                    nearest, of the eyes over those in which they are open
    identity_rest, identity_speaking            distance from the photograph (face_embedding.py): of
                    the avatar at rest, and the mean of some frames of speech
    lid_darkness, lid_colour                    grey levels. A closed lid, above the lash line,
                    against the skin between lid and brow: the difference of the mean level, and
                    the largest that is left of a colour when that is taken out. Of the worse eye.
                    What is dark there with open eyes, too, is hair of a brow or a fringe, and left
                    out; the lid's own region is taken as a whole
    jitter          grey levels: mean absolute difference of successive frames (25 a second) of a
                    silent face that does not blink or turn its head, in the face's square
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face_pipeline import FacePipeline
from realtalk_ros.behaviour.idle import Idle
from realtalk_ros.enroll.face_detector import DetectedFace, FaceDetector
from realtalk_ros.enroll.face_embedding import FaceEmbedding
from realtalk_ros.enroll.mediapipe_points import (
    CHIN_SKIN,
    EYE_CORNERS,
    EYE_OUTLINES,
    LIP_MIDDLES,
    distance,
    hull_mask,
)
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.output.contact_sheet import face_square
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.stream_types import Chunk

REST, BLINK = arkit.weights(), arkit.weights(eyeBlink=1.0)
SECONDS, FPS = 6.0, 10.0  # of speech that are looked at
SILENT_FRAMES, SILENT_FPS, SILENT_START = 25, 25.0, 2.0  # s: the head then moves fastest
EMBEDDED = 4  # frames of speech whose identity is measured
AWAKE = 0.15  # eyeBlink below which the eyes are open
# Of MediaPipe's mesh:
MOUTH = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)
# The middle of upper lid, lower lid and the brow's lower edge, of both eyes.
LIDS = (
    ((160, 159, 158), (144, 145, 153), (53, 52, 65)),
    ((387, 386, 385), (373, 374, 380), (283, 282, 295)),
)
AROUND_EYE = 1.5  # by which an eye's outline is scaled, so that it holds lids and lashes
LID = (0.1, 0.5)  # from the open upper lid to the lower one: a closed lid without its lash line
SKIN = (0.3, 0.7)  # from the open upper lid to the brow
HAIR = 0.75  # of the upper quartile of that skin's light: what is darker is hair
HIGHER_IS_BETTER = ("found", "opening", "detail_mouth", "detail_chin", "detail_eyes")


@dataclass(frozen=True)
class Frame:
    """One frame of speech and the face that was found in it, if it was one."""

    image: np.ndarray  # (height, width, 3) uint8 BGR
    weights: np.ndarray  # (52,)
    face: DetectedFace | None


class AvatarMetrics:
    """Measures avatars, one after the other. `embedding`: None leaves the identity out.

    Raises RealTalkError where MediaPipe is missing.
    """

    def __init__(self, detector: FaceDetector, embedding: FaceEmbedding | None):
        self._detector, self._embedding = detector, embedding
        self._model = ExpressionModel()
        pcm, rate = read_audio(SAMPLE_CLIP)
        self._speech = Chunk(pcm[: round(SECONDS * rate)], rate, last=True)

    def measure(
        self, renderer: FaceRenderer, photograph: np.ndarray, face: DetectedFace
    ) -> dict[str, float]:
        """The figures of the module's docstring; those that cannot be had are left out. `face` is
        the one in the photograph (height, width, 3) uint8 BGR that the avatar was made of."""
        frames = self._speak(renderer)
        seen = [frame for frame in frames if frame.face is not None]
        figures = {"found": len(seen) / len(frames), "jitter": jitter(renderer)}
        rest = renderer.render(REST, renderer.template_count // 2)
        at_rest = self._look(rest)
        if at_rest is not None:
            shut = renderer.render(BLINK, renderer.template_count // 2)
            figures |= lid_differences(shut, rest, at_rest.points)
        if len(seen) > 2:
            figures["opening"] = opening_correlation(seen, renderer.avatar)
            figures |= details(seen, photograph, face)
        if self._embedding is not None:
            figures |= self._identity(self._embedding, [(photograph, face), (rest, at_rest)], seen)
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    def _speak(self, renderer: FaceRenderer) -> list[Frame]:
        pipeline = FacePipeline(self._model, renderer, FPS)
        shown = [*pipeline.push(self._speech), *pipeline.flush()]
        return [Frame(image, weights, self._look(image)) for _, weights, image in shown]

    def _look(self, image: np.ndarray) -> DetectedFace | None:
        faces = self._detector.find(image)
        return faces[0] if len(faces) == 1 else None

    @staticmethod
    def _identity(
        embedding: FaceEmbedding,
        pictures: list[tuple[np.ndarray, DetectedFace | None]],
        seen: list[Frame],
    ) -> dict[str, float]:
        """Of the photograph and the avatar at rest, `pictures`, and of frames of speech."""
        chosen = np.linspace(0, len(seen) - 1, min(EMBEDDED, len(seen))).astype(int)
        pictures = [*pictures, *((seen[k].image, seen[k].face) for k in chosen)]
        own, rest, *speaking = (
            None if face is None else embedding.embed(image, face.points)
            for image, face in pictures
        )
        figures = {}
        if own is not None and rest is not None:
            figures["identity_rest"] = float(np.linalg.norm(rest - own))
        if own is not None and speaking:
            apart = [np.linalg.norm(one - own) for one in speaking if one is not None]
            figures["identity_speaking"] = float(np.mean(apart))
        return figures


def opening_correlation(seen: list[Frame], avatar: Avatar) -> float:
    """Of frames with a face."""
    shape = landmarks.load().points(
        np.stack([frame.weights for frame in seen]) + avatar.resting_weights, avatar.identity
    )
    wanted = np.maximum(
        shape[:, landmarks.INNER_UPPER_LIP, 1] - shape[:, landmarks.INNER_LOWER_LIP, 1], 0
    )
    points = np.stack([frame.face.points for frame in seen if frame.face is not None])
    found = distance(points, LIP_MIDDLES) / distance(points, EYE_CORNERS)
    if min(np.std(wanted), np.std(found)) < 1e-6:
        return 0.0
    return float(np.corrcoef(wanted, found)[0, 1])


def details(seen: list[Frame], photograph: np.ndarray, face: DetectedFace) -> dict[str, float]:
    """`detail_...` of frames with a face."""
    found = [(frame, frame.face.points) for frame in seen if frame.face is not None]
    scale = float(np.median([width(points) for _, points in found])) / width(face.points)
    true = region_details(photograph, face.points, min(scale, 1.0))
    kept = [region_details(frame.image, points, min(1 / scale, 1.0)) for frame, points in found]
    gap = np.array([distance(points, LIP_MIDDLES) for _, points in found])
    blink = arkit.indices("eyeBlink")
    awake = np.array([frame.weights[blink].max() < AWAKE for frame, _ in found])
    some = {
        "mouth": gap <= np.quantile(gap, 0.25),
        "chin": np.ones(len(found), bool),
        "eyes": awake if awake.any() else np.ones(len(found), bool),
    }
    return {
        f"detail_{name}": float(np.mean([one[name] for one, use in zip(kept, rows, strict=True)
                                         if use])) / max(true[name], 1e-6)
        for name, rows in some.items()
    }  # fmt: skip


def width(points: np.ndarray) -> float:
    """Of a face: its eyes' outer corners, pixels."""
    return float(distance(points, EYE_CORNERS))


def region_details(image: np.ndarray, points: np.ndarray, scale: float) -> dict[str, float]:
    """Variance of the Laplacian at mouth, chin and eyes of an image that is reduced by `scale`."""
    (left, top), (right, bottom) = points.min(0).astype(int), points.max(0).astype(int) + 1
    margin = (right - left) // 8
    left, top = max(0, left - margin), max(0, top - margin)
    part = image[top : bottom + margin, left : right + margin]
    points = (points - (left, top)) * scale
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    fine = cv2.Laplacian(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).astype(np.float32), -1)
    shapes = {"mouth": [points[list(MOUTH)]], "chin": [points[list(CHIN_SKIN)]], "eyes": []}
    for eye in EYE_OUTLINES:
        ring = points[list(eye)]
        shapes["eyes"].append(ring.mean(0) + AROUND_EYE * (ring - ring.mean(0)))
    return {
        name: float(np.mean([fine[hull_mask(shape, fine.shape)].var() for shape in parts]))
        for name, parts in shapes.items()
    }


def lid_differences(shut: np.ndarray, opened: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """`lid_...` of a face with its eyes `shut`, and the same with its eyes `opened`, whose points
    are `points` (478, 2)."""
    level, colour = [], []
    for upper, lower, brow in LIDS:
        top, bottom, above = (points[list(rows)] for rows in (upper, lower, brow))
        lid, skin = (
            hull_mask(np.vstack([top + share * (to - top) for share in shares]), shut.shape)
            for to, shares in ((bottom, LID), (above, SKIN))
        )
        hair = is_hair(shut[skin]) & is_hair(opened[skin])
        difference = shut[skin][~hair].mean(0, dtype=float) - shut[lid].mean(0, dtype=float)
        level.append(abs(difference.mean()))
        colour.append(np.abs(difference - difference.mean()).max())
    return {"lid_darkness": float(max(level)), "lid_colour": float(max(colour))}


def is_hair(pixels: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the pixels (N, 3) of a piece of skin are too dark for it."""
    light = pixels.mean(-1)
    return np.asarray(light < HAIR * np.quantile(light, 0.75))


def jitter(renderer: FaceRenderer) -> float:
    """Grey levels; see the module's docstring."""
    x, y, side = map(round, face_square(renderer))
    idle, frames = Idle(), []
    for number in range(SILENT_FRAMES):
        template = idle.template(SILENT_START + number / SILENT_FPS, renderer.template_count)
        image = renderer.render(REST, template)
        frames.append(image[y : y + side, x : x + side].astype(np.int16))
    return float(np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(frames)]))
