# SPDX-License-Identifier: Apache-2.0
"""A template's eyeballs without their lids (NumPy and OpenCV).

A gaze to the side or up, and lids that rise, show what the template's lids hide. So each template's
eyeballs are painted whole, once: the iris goes on around its middle from what is seen beside the
lid, the white from what is nearest. What lies on them at the lids' edges, lashes and shade, is kept
apart: it moves with the lids, and the eyeballs below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.easing import smoothstep
from realtalk_ros.rendering.common.boxes import Box, bounding_box, is_empty
from realtalk_ros.rendering.common.channels import Positions, spread
from realtalk_ros.rendering.common.enlarging import FACTOR, enlarged
from realtalk_ros.rendering.common.generated_face import SeenEyeball
from realtalk_ros.rendering.eyes.iris_search import Iris
from realtalk_ros.rendering.eyes.lid_curves import POSITIONS
from realtalk_ros.rendering.eyes.moved_eye import ProjectedEyes, RestingEye

# In eye widths: what of the eyeballs is painted, beside the eye and above and below its lids.
BESIDE, HIDDEN = 0.15, 0.32
# From which depth behind the edge of the upper and of the lower lid on, eye widths and at most in
# shares of the opening, the template's pixels are the eyeball's alone.
CLEAR_UPPER, CLEAR_LOWER, DEEPEST = (0.04, 0.15), (0.015, 0.07), 0.45
KERNEL = 3  # pixels beside a pixel that make the enlarged ones
# In iris radii: what is filled around the iris's middle; where the white begins.
AROUND, WHITE = 1.4, (1.12, 1.3)
ANGLES = 96  # around the iris
NEAR = 2.0  # of these: what is nearer counts alike
# Grey levels above the iris's median at a radius; beside it that share more of its light.
CATCH_LIGHT, GLINT = 18, 0.25
FIRM = 2.0  # of the share of a pixel's surroundings that is known: then it is as these are
HALF = 127
ONE = 128  # of `Eyeballs.shade`: neither darker nor lighter
DARKEST, DARKEST_BELOW, LIGHTEST, DIM = 0.3, 0.85, 1.05, 10.0
RIM_DEPTH = 0.06, 0.02  # eye widths from the lower lid's edge on
OFF = 6, 20  # grey levels by which a rim and the corners differ from the eyeball
CORNERS = 0.42, 0.48  # eye widths from the eye's middle on, where they begin
ALONG, SHARP = 0.08, 0.01  # eye widths by which the shade is smoothed along the eye; a line


@dataclass(frozen=True)
class Eyeball:
    """One of a template; FACTOR times as large as its pixels."""

    # Its first pixel (x, y) is `scale` times that of the networks' crop, and `shift`.
    scale: float
    shift: tuple[float, float]
    image: np.ndarray  # (H, W, 4) uint8 BGR and 255
    # (H, W, 4) uint8: how much light the lids leave, of ONE; whether all of it is seen (255), or
    # what is lighter than the lids (HALF), or they alone (0)
    shade: np.ndarray

    def paint(self, image: np.ndarray, seen: SeenEyeball, at: Positions) -> None:
        """Paints it over `image` (H, W, 4) uint8, whose pixels lie `at` in the networks' crop."""
        inside = cv2.bitwise_and(
            cv2.inRange(at[0], seen.columns.start, seen.columns.stop - 1),
            cv2.inRange(at[1], seen.rows.start, seen.rows.stop - 1),
        )
        box = bounding_box(inside)
        if is_empty(box):
            return
        image = image[box]
        x, y = at[0][box] - float(seen.columns.start), at[1][box] - float(seen.rows.start)
        linear, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        places = cv2.remap(seen.places, x, y, linear)
        weight = cv2.remap(seen.weight, x, y, linear)
        places = places * np.float32(self.scale) + np.array(self.shift * 2, np.float32)
        ball_x, ball_y, lid_x, lid_y = cv2.split(places)
        ball = cv2.remap(self.image, ball_x, ball_y, linear, borderMode=border)
        shade = cv2.remap(self.shade, lid_x, lid_y, linear, borderMode=border)
        share = cv2.extractChannel(shade, 3)
        shade[..., 3] = ONE
        cv2.multiply(ball, shade, dst=ball, scale=1 / ONE)
        rim = np.minimum((255 - share) * np.float32(1 / (255 - HALF)), 1)
        ball = cv2.blendLinear(cv2.max(ball, image), ball, rim, 1 - rim)
        weight *= np.minimum(share * np.float32(1 / HALF), 1)
        cv2.blendLinear(ball, image, weight, 1 - weight, dst=image)


def whole_eyeballs(
    image: np.ndarray, crop: tuple[int, int, int], eyes: ProjectedEyes, *, lined: bool = False
) -> list[Eyeball]:
    """The right and the left one of a template (height, width, 3) uint8, with the face's `crop`
    (x, y, side) in pixels. None where the irises are not known, or an eye is not in the picture.
    lined: lines are drawn along the lids."""
    if not eyes.found:
        return []
    left, top, side = crop
    resting = [RestingEye.of(eyes, eye, side) for eye in (0, 1)]
    boxes = [box_around(one, (left, top), image.shape) for one in resting]
    made = []
    for eye, box, iris in zip(resting, boxes, eyes.irises, strict=True):
        if box is None:
            return []
        rows, columns = box
        fine = enlarged_part(image, box)
        x, y = columns.start - left, rows.start - top
        in_crop = Iris(iris * side - 0.5, eyes.radius * side, eyes.glowing)
        ball, shade = EyeOfTemplate(eye, in_crop, (x, y), fine.shape).apart(
            fine, lined and not eyes.glowing
        )
        scale = side / CROP_SIZE
        shift = [FACTOR * (scale / 2 - 0.5 - float(first)) for first in (x, y)]
        made.append(Eyeball(FACTOR * scale, (shift[0], shift[1]), ball, shade))
    return made


def enlarged_part(image: np.ndarray, box: Box) -> np.ndarray:
    """A part of `enlarged` of an image."""
    rows, columns = (slice(along.start - KERNEL, along.stop + KERNEL) for along in box)
    margin = slice(FACTOR * KERNEL, -FACTOR * KERNEL)
    return enlarged(image[rows, columns])[margin, margin]


def box_around(eye: RestingEye, corner: tuple[int, int], shape: tuple[int, ...]) -> Box | None:
    """Rows and columns of the template in which an eyeball is painted; None where the eye is not
    wholly in it."""
    width = eye.axes.width
    points = np.concatenate([eye.points[0], eye.points[1]]) + corner
    low = points.min(0) - (BESIDE * width, HIDDEN * width)
    high = points.max(0) + (BESIDE * width, HIDDEN * width)
    (x, y), (end_x, end_y) = (floor(v) for v in low), (ceil(v) + 1 for v in high)
    if x < KERNEL or y < KERNEL or end_x > shape[1] - KERNEL or end_y > shape[0] - KERNEL:
        return None
    return slice(y, end_y), slice(x, end_x)


class EyeOfTemplate:
    """An eye and its iris in pixels of the face's crop, in an enlarged part of the template of
    `shape` (H, W, ...) from `corner` on."""

    def __init__(
        self, eye: RestingEye, iris: Iris, corner: tuple[int, int], shape: tuple[int, ...]
    ):
        self._width, self._radius, self._glowing = eye.axes.width, iris.radius, iris.glowing
        self._iris = (iris.place - corner) * FACTOR
        y, x = np.indices(shape[:2], np.float32)
        self._away, self._angle = cv2.cartToPolar(
            x - float(self._iris[0]), y - float(self._iris[1])
        )
        first_x, first_y = (corner - eye.axes.template_corner).tolist()
        (u_x, u_y), (v_x, v_y) = eye.axes.directions
        x, y = x / FACTOR + first_x, y / FACTOR + first_y
        u, v = u_x * x + u_y * y, v_x * x + v_y * y
        at, width = u / self._width, self._width
        self._aside = np.abs(at - 0.5)
        upper = np.interp(at, POSITIONS, eye.lids.middle + eye.lids.half)
        lower = np.interp(at, POSITIONS, eye.lids.middle - eye.lids.half)
        depth = np.minimum(upper - v, v - lower).astype(np.float32)
        self._depth = depth / width
        # How far a pixel is the eyeball's alone.
        deepest = DEEPEST * float((2 * eye.lids.half).max()) / width
        self._over_lower, self._below_upper = (
            smoothstep(away / width, start, min(end, deepest)).astype(np.float32)
            for away, (start, end) in ((v - lower, CLEAR_LOWER), (upper - v, CLEAR_UPPER))
        )
        self._clear = self._over_lower * self._below_upper
        if iris.glowing:  # no lid hides it
            self._clear[self._away < WHITE[0] * iris.radius * FACTOR] = 1

    def apart(self, image: np.ndarray, lined: bool) -> tuple[np.ndarray, np.ndarray]:
        """`Eyeball.image` and `shade` of an enlarged template (H, W, 3) uint8."""
        picture = image.astype(np.float32)
        white = self._white(picture)
        iris = self._round_iris(picture)
        away = self._away / (FACTOR * self._radius)
        filled = white + spread(smoothstep(away, *WHITE[::-1]).astype(np.float32)) * (iris - white)
        ball = filled + spread(self._clear) * (picture - filled)
        # A catch light stays on the eyeball.
        lighter = (picture - filled).min(-1)
        lit = smoothstep(lighter, 0.5 * CATCH_LIGHT, CATCH_LIGHT) * (away < WHITE[0])
        lit *= smoothstep(self._depth, -0.005, 0.01) * self._over_lower
        ball += spread(lit.astype(np.float32)) * (picture - ball)
        shade = (picture.mean(-1) + DIM) / (ball.mean(-1) + DIM)
        sd = (SHARP if lined else ALONG) * self._width * FACTOR
        shade = cv2.GaussianBlur(shade, (0, 0), sigmaX=sd, sigmaY=0.5)
        # A lower lid casts no shadow: what is dark at its edge is a part of the iris, or a line.
        lower = smoothstep(self._over_lower - self._below_upper, 0, -0.5)
        darkest = DARKEST if lined else DARKEST + (DARKEST_BELOW - DARKEST) * lower
        shade = np.clip(shade, darkest, LIGHTEST)
        # To the lids belong what is lighter at the lower one's edge, its wet rim, and the corners.
        difference = picture - ball * shade[..., None]
        rim = smoothstep(difference.mean(-1), *OFF) * smoothstep(self._depth, *RIM_DEPTH)
        rim *= lower * (1 - lit) * (not (lined or self._glowing))
        off = np.abs(difference).max(-1)
        corner = smoothstep(off, *OFF) * smoothstep(self._aside, *CORNERS)
        seen = (255 - (255 - HALF) * rim) * (1 - corner * (1 - lit) * (not self._glowing))
        ball = cv2.cvtColor(to_bytes(ball), cv2.COLOR_BGR2BGRA)
        return ball, to_bytes(cv2.merge([*[ONE * shade] * 3, seen.astype(np.float32)]))

    def _white(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3): the white, which goes on where it is not seen as where it is nearest."""
        known = (self._clear > 0.9) & (self._away > WHITE[1] * self._radius * FACTOR)
        if not known.any():
            return picture
        mask = known.astype(np.float32)
        levels = [cv2.merge([*cv2.split(picture * spread(mask)), mask])]
        while min(levels[-1].shape[:2]) > 2:
            levels.append(cv2.pyrDown(levels[-1]))
        far = levels.pop() + 1e-9
        while levels:
            near = levels.pop()
            far = cv2.pyrUp(far / far[..., 3:], dstsize=near.shape[1::-1])
            near += spread(np.maximum(1 - FIRM * near[..., 3], 0.0), 4) * far
            far = near
        return np.asarray(far[..., :3] / spread(far[..., 3]))

    def _round_iris(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3): the iris, which goes on around its middle where it is not seen."""
        reach = AROUND * self._radius * FACTOR
        size = ceil(reach) + 1, ANGLES
        x, y = self._iris.tolist()
        polar = cv2.warpPolar(picture, size, (x, y), reach, cv2.WARP_FILL_OUTLIERS)
        seen = cv2.warpPolar(self._clear, size, (x, y), reach, cv2.WARP_FILL_OUTLIERS) > 0.95
        light = polar.mean(-1)
        ordered = np.sort(np.where(seen, light, 255), 0)
        usual = ordered[seen.sum(0) // 2, np.arange(size[0])]  # the median
        beyond = np.arange(size[0]) > 0.9 * self._radius * FACTOR
        usual = usual + CATCH_LIGHT + beyond * GLINT * usual
        bright = (light > usual).astype(np.uint8)
        weight = (seen & (cv2.dilate(bright, np.ones((5, 3), np.uint8)) == 0)).astype(np.float32)
        steps = np.abs(np.arange(ANGLES)[:, None] - np.arange(ANGLES))
        steps = np.minimum(steps, ANGLES - steps)
        kernel = (1 / (steps**2 + NEAR**2)).astype(np.float32)
        layer = np.dstack([polar * weight[..., None], weight])
        around = (kernel @ layer.reshape(ANGLES, -1)).reshape(layer.shape)
        around += 1e-3 * cv2.blur(around, (9, 1), borderType=cv2.BORDER_REPLICATE)
        filled = around[..., :3] / np.maximum(around[..., 3:], 1e-9)
        filled = np.concatenate([filled, filled[:1]])
        return cv2.remap(
            filled,
            self._away * np.float32(size[0] / reach),
            self._angle * np.float32(ANGLES / (2 * np.pi)),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )


def to_bytes(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
