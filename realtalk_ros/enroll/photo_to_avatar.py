# SPDX-License-Identifier: Apache-2.0
"""One picture of a face to an avatar's frames: laid out, brought to rest, gently turned.

A frame is as wide as it is high and shows the face's square, half as wide, where the default avatar
has it; where the picture ends before, it is narrower and the square larger. However far a pixel is
moved, it is sampled from the picture once (layout.py). The mouth of a smiling or
speaking person is brought to rest by moving the picture's own pixels: triangles between landmarks,
from where they are to where the 3D face model has them at weights 0. The turned heads of the
template frames are made in the same way, from the model in other poses; what lies beyond the head
stays where it is. Which pictures are refused: photo_checks.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.contracts import CROP_SIZE as CROP
from realtalk_ros.enroll import mediapipe_points as table
from realtalk_ros.enroll.fit import Model, Pose
from realtalk_ros.enroll.layout import Layout, sample
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks

SIZES = (512, 768, 1024)  # height of a frame, pixels; see lay_out
SIZE = SIZES[0]
SQUARE_CORNER = (128, 118)  # of the face's square in a frame of SIZE
TEMPLATES = 24
# Of the crop's pixels, by which a landmark moves from one template to the next: less than is seen.
MAX_STEP = 0.33
MAX_OUTSIDE = 0.06  # of the square's side that may lie beyond the picture's border
STRAIGHTEN = np.radians(8.0)  # roll beyond which the picture is turned upright
# Of MediaPipe's mesh: inner lip, upper and lower points that meet when it shuts.
INNER_LIPS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318),
              (191, 95), (415, 324))  # fmt: skip
CORNERS = (78, 308)
OPEN = 0.8  # jawOpen up to which the chin stays in the region
SOFT = 5.0  # pixels, sd of the region's border
NEAR = 0.02  # of the square's side: a landmark's error is that of its neighbours
APART = 2.0  # of the crop's pixels: lips farther apart are not shut by moving pixels alone
SHADOW = np.array([0.5, 0.5, 0.38])  # how much darker the line between shut lips is, BGR
OVERLAP = 0.7  # of the crop's pixels by which shut lips cover each other, or a line of teeth stays


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
    parts = [np.vstack([middle + (jaw - middle) * 1.08, rest[31:36], rest[48:60], wide[48:60]])]
    for brow, eye in ((slice(17, 22), slice(36, 42)), (slice(22, 27), slice(42, 48))):
        points = np.vstack([rest[brow], rest[eye]])
        parts.append(points.mean(0) + (points - points.mean(0)) * 1.35)
    for part in parts:
        hull = cv2.convexHull(np.round(part * 8).astype(np.int32))
        cv2.fillConvexPoly(out, hull, 255, cv2.LINE_AA, shift=3)
    return cv2.GaussianBlur(out, (0, 0), SOFT)


class TriangleWarp:
    """Triangles between the points of a face in a frame and, around it, points that stay.

    `points` (P, 2) pixels; `inner` numbers of points between which the mouth's inside lies.
    """

    def __init__(
        self,
        points: np.ndarray,
        size: tuple[int, int],
        crop: tuple[int, int, int],
        inner: tuple[int, ...] = (),
    ):
        from scipy.spatial import Delaunay

        (width, height), (x, y, side) = size, crop
        self.size, self._count = size, len(points)
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], 1) * side / 2
        middle = np.array([x + side / 2, y + side / 2])
        # Hair and ears follow the face by half; from the second ring on all is background.
        self._hair, still = (middle + circle * np.array(r) for r in ((1.1, 1.3), (1.75, 1.85)))
        edge = np.stack(
            np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5)), -1
        ).reshape(-1, 2)
        border = (edge == 0).any(1) | (edge == (width - 1, height - 1)).any(1)
        frame = np.array([width - 1, height - 1])
        self._hair = self._hair[((self._hair > 2) & (self._hair < frame - 2)).all(1)]
        still = still[((still > 2) & (still < frame - 2)).all(1)]
        self._still = np.vstack([still, edge[border]])
        self._source = np.vstack([points, self._hair, self._still])
        triangles = Delaunay(self._source).simplices
        # The mouth's inside is painted first, so that lips that shut come to lie over it.
        inside = np.isin(triangles, inner).all(1)
        self._triangles = triangles[np.argsort(~inside, kind="stable")]

    def sampling_grid(self, shift: np.ndarray) -> np.ndarray:
        """(height, width, 2) float32: where in the frame the pixels lie of the one in which each
        point is moved by `shift` (P, 2) pixels."""
        hair = np.broadcast_to(0.5 * shift.mean(0), self._hair.shape)
        target = self._source + np.vstack([shift, hair, np.zeros_like(self._still)])
        width, height = self.size
        number = np.full((height, width), -1, np.int32)
        corners, source = target[self._triangles], self._source[self._triangles]
        for k, corner in enumerate(corners):
            cv2.fillConvexPoly(number, np.round(corner * 16).astype(np.int32), k, shift=4)
        system = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], 2)
        fine = np.abs(np.linalg.det(system)) > 1e-3  # else it has no inside
        back = np.zeros((len(corners), 3, 2), np.float32)
        back[fine] = np.linalg.solve(system[fine], source[fine])
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        a = back[number]
        at_x = a[..., 0, 0] * columns + a[..., 1, 0] * rows + a[..., 2, 0]
        at_y = a[..., 0, 1] * columns + a[..., 1, 1] * rows + a[..., 2, 1]
        whole = (number >= 0) & fine[number]
        at_x, at_y = np.where(whole, at_x, columns), np.where(whole, at_y, rows)
        return np.stack([at_x, at_y], -1).astype(np.float32, copy=False)


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
    inner: tuple[int, ...] = ()
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

    def warp(self) -> TriangleWarp:
        return TriangleWarp(self.points, self.layout.size, self.layout.crop, self.inner)

    def moved(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frame with each landmark moved by `shift` (P, 2) pixels, and its `positions`."""
        return self.resampled(self.warp().sampling_grid(shift))

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


def at_rest(
    portrait: Portrait, model: Model, identity: np.ndarray, weights: np.ndarray
) -> Portrait:
    """The same face with weights 0: lips shut, no smile. Eyes and brows stay as they are.

    For portraits whose points are those of `model`, MediaPipe's mesh.
    """
    eyes = [i for i, name in enumerate(arkit.NAMES) if name.startswith(("eye", "brow"))]
    kept = np.zeros(arkit.COUNT)
    kept[eyes] = weights[eyes]
    neutral = model.mean + np.tensordot(identity, model.identity_modes, 1)
    shown, goal = (
        neutral + np.tensordot(w, model.expressions, 1) for w in (np.asarray(weights), kept)
    )
    shift = portrait.pose.project(goal) - portrait.pose.project(shown)
    row = {int(number): k for k, number in enumerate(model.index)}
    after = portrait.points + shift
    pixel = portrait.layout.crop[2] / CROP
    down = np.array([0, OVERLAP / 2 * pixel])
    for upper, lower in INNER_LIPS:
        middle = (after[row[upper]] + after[row[lower]]) / 2
        after[row[upper]], after[row[lower]] = middle + down, middle - down
    image, positions = replace(
        portrait,
        inner=tuple(row[k] for pair in INNER_LIPS for k in pair) + tuple(row[k] for k in CORNERS),
    ).moved(after - portrait.points)
    painted = None
    gap = max(
        float(np.linalg.norm(portrait.points[row[a]] - portrait.points[row[b]]))
        for a, b in INNER_LIPS
    )
    if gap > APART * pixel:
        meet = [after[[row[a], row[b]]].mean(0) for a, b in INNER_LIPS]
        seam = np.stack([*meet, *(after[row[k]] for k in CORNERS)])
        shut = sealed(image, seam[np.argsort(seam[:, 0], kind="stable")], pixel)
        painted = softly((shut != image).any(-1), pixel)
        image = shut
    return replace(
        portrait, image=image, positions=positions, painted=painted, points=after, shape=goal
    )


def softly(where: np.ndarray, pixel: float) -> np.ndarray:
    """(H, W) bool -> (H, W) uint8: 255 there, less within `pixel` around."""
    side = 2 * ceil(pixel) + 1
    grown = cv2.dilate(np.uint8(255) * where, np.ones((side, side), np.uint8))
    return cv2.blur(grown, (side, side))


def sealed(image: np.ndarray, seam: np.ndarray, pixel: float) -> np.ndarray:
    """The frame with what is left of an open mouth painted over by the lips around it, and the
    shadow between shut lips drawn along `seam` (n, 2), from corner to corner. `pixel` is one of the
    crop's."""
    remains = np.zeros(image.shape[:2], np.uint8)
    line = np.rint(seam * 16).astype(np.int32)
    cv2.polylines(
        remains, [line], isClosed=False, color=255, thickness=max(1, round(5 * pixel)), shift=4
    )
    for corner in (line[0], line[-1]):
        radius = round(5 * pixel * 16)
        cv2.circle(remains, corner.tolist(), radius, color=255, thickness=-1, shift=4)
    image = cv2.inpaint(image, remains, 3 * pixel, cv2.INPAINT_TELEA)
    shadow: np.ndarray = np.zeros(image.shape[:2], np.float32)
    cv2.polylines(
        shadow,
        [line],
        isClosed=False,
        color=1.0,
        thickness=max(1, round(pixel)),
        lineType=cv2.LINE_AA,
        shift=4,
    )
    shadow = cv2.GaussianBlur(shadow, (0, 0), 1.1 * pixel)
    # It ends softly where the lips do.
    (left, right), columns = seam[[0, -1], 0], np.arange(shadow.shape[1])
    ends = np.minimum(columns - left, right - columns) / (0.15 * (right - left))
    shadow *= np.clip(ends, 0, 1) / max(float(shadow.max()), 1e-6)
    return np.rint(image * (1 - shadow[..., None] * SHADOW)).astype(np.uint8)


def templates(
    portrait: Portrait, points68: np.ndarray, count: int = TEMPLATES
) -> tuple[list[np.ndarray], np.ndarray]:
    """`count` frames along a slow path of small head motion, which behaviour/idle.py plays back and
    forth, and where in them (count, 68, 2) the landmarks `points68` (68, 3), cm, lie."""
    at = portrait.pose.project(portrait.shape)
    off = residual(portrait, points68)

    def path(scale: float) -> list[Pose]:
        return [
            replace(
                portrait.pose,
                yaw=portrait.pose.yaw - scale * np.radians(1.6) * np.cos(np.pi * t),
                pitch=portrait.pose.pitch + scale * np.radians(0.7) * np.sin(2 * np.pi * t + 0.4),
                roll=portrait.pose.roll - scale * np.radians(0.9) * np.sin(np.pi * t - 0.9),
            )
            for t in np.linspace(0, 1, count)
        ]

    shifts = np.stack([pose.project(portrait.shape) - at for pose in path(1.0)])
    step = MAX_STEP * portrait.layout.crop[2] / CROP
    scale = step / np.linalg.norm(np.diff(shifts, axis=0), axis=2).max()
    warp = portrait.warp()
    grids = (warp.sampling_grid(pose.project(portrait.shape) - at) for pose in path(scale))
    frames = [portrait.resampled(grid)[0] for grid in grids]
    return frames, np.stack([pose.project(points68) + off for pose in path(scale)])


def residual(portrait: Portrait, points68: np.ndarray) -> np.ndarray:
    """(68, 2) pixels: how far the tracked face lies from the fitted head, at its 68 landmarks."""
    fitted = portrait.pose.project(portrait.shape)
    away = portrait.pose.project(points68)[:, None] - fitted
    near = np.exp(-0.5 * np.square(away / (NEAR * portrait.layout.crop[2])).sum(2))
    # Where nothing was tracked nearby, the fit stands.
    return near @ (portrait.points - fitted) / (near.sum(1, keepdims=True) + 0.1)
