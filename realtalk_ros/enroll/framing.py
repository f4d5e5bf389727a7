# SPDX-License-Identifier: Apache-2.0
"""One picture of a face as an avatar's frame.

A frame is as wide as it is high and shows the face's square, half as wide, where the default avatar
has it; where the picture ends before, it is narrower and the square larger. However far a pixel is
moved, it is sampled from the picture once (picture_layout.py). How a mouth is brought to rest:
rest_expression.py. Which pictures are refused: photo_checks.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.contracts import CROP_SIZE as CROP
from realtalk_ros.enroll import mediapipe_points as table
from realtalk_ros.enroll.fit import Pose
from realtalk_ros.enroll.picture_layout import Layout, sample
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks

SIZES = (512, 768, 1024)  # height of a frame, pixels; see lay_out
SIZE = SIZES[0]
SQUARE_CORNER = (128, 118)  # of the face's square in a frame of SIZE
MAX_OUTSIDE = 0.06  # of the square's side that may lie beyond the picture's border
STRAIGHTEN = np.radians(8.0)  # roll beyond which the picture is turned upright
OPEN = 0.8  # jawOpen up to which the chin stays in the region
SOFT = 5.0  # pixels, sd of the region's border
NEAR = 0.02  # of the square's side: a landmark's error is that of its neighbours


def square(model: Pose, identity: np.ndarray) -> tuple[float, float, float]:
    """(x, y, side) of the face crop in a picture, in its pixels."""
    rest = landmarks.load().points(np.zeros(arkit.COUNT), identity)
    return landmarks.face_square(model.project(rest))


def lay_out(
    picture: tuple[int, int],
    face: tuple[float, float, float],
    roll: float = 0.0,
    frame_size: int = SIZE,
) -> Layout:
    """For a picture of (width, height) whose face is at `face` (x, y, side), its head rolled by
    `roll` rad, in a frame of a height of `frame_size` pixels. Raises RealTalkError where the
    picture cuts the face off."""
    (width, height), (x, y, side) = picture, face
    scale = CROP / side
    angle = -roll if abs(roll) > STRAIGHTEN else 0.0  # clockwise
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(SQUARE_CORNER) + CROP / 2
    matrix = np.column_stack([turn, middle - turn @ (x, y)])
    # What of the frame the picture covers, as if it were upright.
    left, top = middle - scale * np.array([x, y])
    right, bottom = middle + scale * np.array([width - x, height - y])
    allowed = MAX_OUTSIDE * CROP
    if (
        min(SQUARE_CORNER[0] - left, SQUARE_CORNER[1] - top) < -allowed
        or min(right - SQUARE_CORNER[0] - CROP, bottom - SQUARE_CORNER[1] - CROP) < -allowed
    ):
        raise RealTalkError(
            "the picture cuts the face off: give one that shows it with room on all sides"
        )
    x0, y0 = (
        int(np.clip(np.ceil(v), 0, c)) for v, c in zip((left, top), SQUARE_CORNER, strict=True)
    )
    x1, y1 = (
        int(np.clip(np.floor(v), c + CROP, SIZE))
        for v, c in zip((right, bottom), SQUARE_CORNER, strict=True)
    )
    matrix[:, 2] -= x0, y0
    # As high as frames are shown, so that they are scaled once.
    more = frame_size / (y1 - y0)
    size = 2 * round((x1 - x0) * more / 2), frame_size  # video codecs need even sides
    crop_x, crop_y, side = (
        round(v * more) for v in (SQUARE_CORNER[0] - x0, SQUARE_CORNER[1] - y0, CROP)
    )
    side = min(side, size[0] - crop_x, size[1] - crop_y)
    return Layout(matrix * more, size, (crop_x, crop_y, side))


def close_up(picture: np.ndarray, face: tuple[float, float, float]) -> np.ndarray:
    """(256, 256, 3): the face's square alone, as a reference picture is."""
    x, y, side = face
    scale = CROP / side
    layout = Layout(
        np.array([[scale, 0, CROP / 2 - scale * x], [0, scale, CROP / 2 - scale * y]]),
        (CROP, CROP),
        (0, 0, CROP),
    )
    return layout.apply(picture)


def region(rest: np.ndarray, crop: tuple[int, int, int]) -> np.ndarray:
    """(256, 256) uint8: where in the crop the network may draw, soft at its border. `rest` (68, 2)
    are the resting face's landmarks in the frame. Around the eyes and brows, and from the nose's
    base to below the opened jaw; nose and cheeks, which hardly move in speech, keep the picture's
    own sharpness."""
    x, y, side = crop
    rest = (rest - (x, y)) * CROP / side
    opens = landmarks.load().expressions[arkit.INDEX["jawOpen"], :, :2] * (1, -1)
    wide = rest + OPEN * opens * CROP / table.SIDE
    out = np.zeros((CROP, CROP), np.uint8)
    jaw = np.vstack([rest[4:13], wide[4:13]])
    middle = jaw.mean(0)
    lips = np.vstack([rest[landmarks.OUTER_LIPS], wide[landmarks.OUTER_LIPS]])
    parts = [np.vstack([middle + (jaw - middle) * 1.08, rest[landmarks.NOSE_BASE], lips])]
    for brow, eye in (
        (landmarks.BROW_RIGHT, landmarks.EYE_RIGHT),
        (landmarks.BROW_LEFT, landmarks.EYE_LEFT),
    ):
        points = np.vstack([rest[brow], rest[eye]])
        parts.append(points.mean(0) + (points - points.mean(0)) * 1.35)
    for part in parts:
        hull = cv2.convexHull(np.round(part * 8).astype(np.int32))
        cv2.fillConvexPoly(out, hull, 255, cv2.LINE_AA, shift=3)
    return cv2.GaussianBlur(out, (0, 0), SOFT)


def points_that_stay(layout: Layout) -> np.ndarray:
    """(N, 2) pixels of a frame, far from the face and at the frame's border."""
    (width, height), (x, y, side) = layout.size, layout.crop
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1) * side / 2
    middle = np.array([x + side / 2, y + side / 2])
    rings = (middle + circle * np.array((1.75, 1.85))).reshape(-1, 2)
    frame = np.array([width - 1, height - 1])
    rings = rings[((rings > 2) & (rings < frame - 2)).all(1)]
    columns, rows = np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5))
    edge = np.stack([columns, rows], -1).reshape(-1, 2)
    return np.vstack([rings, edge[((edge == 0) | (edge == frame)).any(1)]])


@dataclass(frozen=True)
class Portrait:
    """A face in a frame: everything in the frame's pixels."""

    picture: np.ndarray  # that it is of
    positions: np.ndarray  # (height, width, 2) float32, where in the picture the frame's pixels lie
    image: np.ndarray  # (height, width, 3) uint8 BGR, the picture there
    layout: Layout
    points: np.ndarray  # (P, 2), where the landmarks are
    shape: np.ndarray  # (P, 3) cm, the same in the head's frame
    pose: Pose
    painted: np.ndarray | None = None  # (height, width) uint8, how far the image is not a picture's

    @classmethod
    def of(
        cls, picture: np.ndarray, layout: Layout, points: np.ndarray, shape: np.ndarray, pose: Pose
    ) -> Portrait:
        """A face as `picture` shows it."""
        picture, layout = layout.reduced(picture)
        positions = layout.positions()
        image = sample(picture, positions, 1 / layout.scale)
        return cls(picture, positions, image, layout=layout, points=points, shape=shape, pose=pose)

    def resampled(self, sampling_grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frame with its pixels taken from `sampling_grid` (height, width, 2), and its
        `positions`. All but what was painted is sampled from the picture itself."""

        def there(image: np.ndarray, method: int) -> np.ndarray:
            border = cv2.BORDER_REFLECT_101
            return cv2.remap(image, sampling_grid, np.empty(0), method, borderMode=border)

        positions = there(self.positions, cv2.INTER_LINEAR)
        image = sample(self.picture, positions, 1 / self.layout.scale)
        if self.painted is not None:
            share = there(self.painted, cv2.INTER_LINEAR).astype(np.float32) / 255
            image = cv2.blendLinear(there(self.image, cv2.INTER_CUBIC), image, share, 1 - share)
        return image, positions

    @property
    def crop(self) -> np.ndarray:
        """(256, 256, 3): the face's square, as a reference picture is."""
        x, y, side = self.layout.crop
        return image_decoding.to_square(self.image[y : y + side, x : x + side], CROP)


def in_frame(pose: Pose, layout: Layout) -> Pose:
    """The same head as the frame shows it."""
    angle = float(np.arctan2(layout.matrix[1, 0], layout.matrix[0, 0]))
    x, y = layout.points(np.array([pose.x, pose.y]))
    roll = pose.roll + angle
    return replace(pose, x=float(x), y=float(y), scale=pose.scale * layout.scale, roll=roll)


def landmarks_in_frame(portrait: Portrait, points68: np.ndarray) -> np.ndarray:
    """(68, 2) pixels: where in the frame the landmarks `points68` (68, 3), cm, lie."""
    return portrait.pose.project(points68) + residual(portrait, points68)


def residual(portrait: Portrait, points68: np.ndarray) -> np.ndarray:
    """(68, 2) pixels: how far the tracked face lies from the fitted head, at its 68 landmarks."""
    fitted = portrait.pose.project(portrait.shape)
    away = portrait.pose.project(points68)[:, None] - fitted
    near = np.exp(-0.5 * np.square(away / (NEAR * portrait.layout.crop[2])).sum(2))
    # Where nothing was tracked nearby, the fit stands.
    return near @ (portrait.points - fitted) / (near.sum(1, keepdims=True) + 0.1)
