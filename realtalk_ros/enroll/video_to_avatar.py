# SPDX-License-Identifier: Apache-2.0
"""What an avatar takes from a tracked video: quiet frames, references, the own way of speaking."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.contracts import REFERENCE_FRAMES, REFERENCE_RATE
from realtalk_ros.enroll import framing
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.fit import Pose
from realtalk_ros.enroll.picture_layout import Layout
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, lips
from realtalk_ros.face_model.landmarks import INNER_LIPS, NOSE_BRIDGE
from realtalk_ros.rendering.reference_selection import farthest_mouths, mouth_shape

REFERENCES = 3
QUIET = 24  # frames of a stretch that becomes the templates
MAX_DRIFT = 0.03  # of the square's side by which it may move within them
# Weights in them: of the jaw, of all else about the mouth (a pout of 0.2 is seen), of a blink.
MAX_OPEN, MAX_MOUTH, MAX_BLINK = 0.06, 0.15, 0.4
MAX_TURN = np.radians(4.0)
TEETH_CANDIDATES, TEETH_APART = 8, 3  # frames of which one shows the teeth; so far apart
TOOTH = 0.6  # of the skin's blue: what is brighter within the lips is a tooth
FACE = 0.82  # a face's height, of its square's side


@dataclass(frozen=True)
class TrackedVideo:
    """A video and what the tracker saw in it."""

    path: Path
    track: Track

    @cached_property
    def good(self) -> np.ndarray:
        """Numbers of the frames with one face."""
        return np.flatnonzero(self.track.faces == 1)

    @cached_property
    def squares(self) -> np.ndarray:
        return self.track.squares()

    def face_height(self) -> float:
        return FACE * float(np.median(self.squares[self.good, 2]))

    def check_pose(self, check: Callable[[Pose, float, str], None]) -> None:
        pitch, yaw, roll = np.median(self.track.rotation[self.good], axis=0)
        pose = Pose(pitch=float(pitch), yaw=float(yaw), roll=float(roll), x=0, y=0, scale=1)
        check(pose, 0.0, str(self.path))

    def notes(self) -> list[str]:
        lost = len(self.track) - len(self.good)
        more = int((self.track.faces > 1).sum())
        if more > len(self.track) / 4:
            raise RealTalkError(f"{self.path} shows more than one face: cut it to one person")
        return [f"{lost} of {len(self.track)} frames show no face, or two"] if lost else []

    @cached_property
    def still(self) -> np.ndarray:
        """(N,) how little the face does in each frame: 0 is at rest and looks straight ahead."""
        weights, turn = self.track.weights, self.track.rotation
        blink = weights[:, arkit.indices("eyeBlink")].max(1)
        score = np.linalg.norm(mouth_shape(weights), axis=1) + 6 * np.maximum(blink - 0.25, 0)
        score += 10 * np.abs(turn).max(1)
        score[self.track.faces != 1] = np.inf
        return score

    def calmest(self) -> int:
        return int(self.still.argmin())

    def quiet(self) -> range | None:
        """QUIET successive frames in which every weight of the mouth is at rest and the head hardly
        moves: those in which the face does the least. None where there are none."""
        best, least = None, np.inf
        limits = np.full(arkit.COUNT, np.inf)
        limits[list(arkit.MOUTH)] = MAX_MOUTH
        limits[arkit.INDEX["jawOpen"]] = MAX_OPEN
        limits[arkit.indices("eyeBlink")] = MAX_BLINK
        neutral = np.all(self.track.weights <= limits, axis=1)
        for start in range(len(self.track) - QUIET + 1):
            rows = slice(start, start + QUIET)
            score = self.still[rows].mean()
            if score >= least or not neutral[rows].all():
                continue
            square = self.squares[rows]
            drift = np.ptp(square, axis=0).max() / np.median(square[:, 2])
            if drift < MAX_DRIFT and np.ptp(self.track.rotation[rows], axis=0).max() < MAX_TURN:
                best, least = range(start, start + QUIET), score
        return best

    def pictures(self, numbers: Iterable[int]) -> dict[int, np.ndarray]:
        """Frames by number, as sRGB; decodes the video up to the last of them."""
        wanted = set(numbers)
        found, last = {}, max(wanted)
        clip = Clip(self.path)
        for number, (_, image) in enumerate(clip.frames()):
            if number in wanted:
                found[number] = clip.colours.convert(image) if clip.colours else image
            if number == last:
                return found
        raise RealTalkError(f"{self.path} cannot be read twice: copy it to a disk")

    def picture(self, number: int) -> np.ndarray:
        return self.pictures([number])[number]

    def templates(self, frames: range, size: int) -> tuple[list[np.ndarray], Layout]:
        """The frames as they are, laid out at a height of `size` pixels by the middle of where
        their faces are; and how."""
        found = self.pictures(frames)
        x, y, side = (float(v) for v in np.median(self.squares[frames], axis=0))
        roll = float(np.median(self.track.rotation[frames, 2]))
        layout = framing.lay_out(found[frames[0]].shape[1::-1], (x, y, side), roll, size)
        return [layout.apply(found[k]) for k in frames], layout

    def references(self) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Crops (256, 256, 3) of frames whose mouths differ, their weights (K, 52) and landmarks
        (K, 68, 2). The first shows the teeth."""
        weights = self.track.weights
        awake = weights[:, arkit.indices("eyeBlink")].max(1) < 0.25
        ahead = np.abs(self.track.rotation).max(1) < np.radians(20)
        rows = np.array([k for k in self.good if awake[k] and ahead[k]])
        rows = rows if len(rows) else self.good
        first = int(np.flatnonzero(rows == self.teeth(rows))[0])
        chosen = [int(rows[k]) for k in farthest_mouths(weights[rows], REFERENCES, first)]
        found = self.pictures(chosen)
        crops = [framing.close_up(found[k], tuple(self.squares[k])) for k in chosen]
        squares = self.squares[chosen][:, None]
        away = (self.track.landmarks[chosen] - squares[..., :2]) / squares[..., 2:]
        return crops, weights[chosen], (away + 0.5) * framing.CROP

    def teeth(self, rows: np.ndarray) -> int:
        """The frame, of those numbers, that shows the most of the teeth: of some that should by
        their weights, the one in whose mouth the most is bright."""
        smile = arkit.indices("mouthUpperUp", "mouthLowerDown", "jawOpen", "mouthSmile")
        shown = self.track.weights[rows][:, smile].sum(1)
        chosen: list[int] = []
        for k in rows[np.argsort(-shown, kind="stable")].tolist():
            if all(abs(k - other) >= TEETH_APART for other in chosen):
                chosen.append(k)
            if len(chosen) == TEETH_CANDIDATES:
                break
        found = self.pictures(chosen)
        bright = [
            brightness_of_mouth(found[k], self.track.landmarks[k], self.squares[k, 2])
            for k in chosen
        ]
        return chosen[int(np.argmax(bright))]

    def own_expressions(self) -> np.ndarray | None:
        """(50, 52): the 2 s in which the mouth moves most, at 25 Hz; None if the video is shorter,
        or the face is not seen for so long."""
        time, weights = self.track.time, self.track.weights
        moves = np.abs(np.diff(weights @ lips.GAP, prepend=0.0))
        best, most = None, -1.0
        for start in range(len(time)):
            stop = int(np.searchsorted(time, time[start] + REFERENCE_FRAMES / REFERENCE_RATE))
            if stop >= len(time):
                break
            if (self.track.faces[start:stop] == 1).all() and moves[start:stop].sum() > most:
                best, most = start, float(moves[start:stop].sum())
        if best is None:
            return None
        at = time[best] + np.arange(REFERENCE_FRAMES) / REFERENCE_RATE
        return np.stack([np.interp(at, time, w) for w in weights.T], 1).astype(np.float32)


def brightness_of_mouth(image: np.ndarray, points: np.ndarray, side: float) -> float:
    """How much of the inner lips' inside is bright, in areas of the face's square: teeth reflect
    blue light, lips and gums hardly. `points` (68, 2) of the face in a uint8 BGR image."""
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(points[INNER_LIPS]).astype(np.int32)], 1)
    skin = np.rint(points[NOSE_BRIDGE]).astype(int)
    x, y = np.clip(skin, 0, np.array(image.shape[1::-1]) - 1).T
    blue = image[..., 0][inside.astype(bool)] / max(float(np.median(image[y, x, 0])), 1.0)
    return float(np.clip(blue - TOOTH, 0, 1).sum()) / side**2
