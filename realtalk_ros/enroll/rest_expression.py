# SPDX-License-Identifier: Apache-2.0
"""How a photographed face rests: as much of its smile as looks natural, lips shut if they can be.

The resting weights are those fitted to the photo, without what parts the lips. Each lip is moved as
a whole to where the lips then meet: its thickness stays, and the skin beyond it is stretched. Where
that would be too much, the face rests with parted lips all the same, and shows the photo's teeth
between them; only while it speaks do the lips shut.

The movement is a smooth field for each lip (thin plate splines, Duchon 1977). The two part where
the lips meet, so that nothing of the mouth's inside is squeezed between them.

(The window of own expressions is another thing: a photo has none, a video's is found by
`own_expressions` in video_to_avatar.py.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll.fit import Model
from realtalk_ros.enroll.framing import Portrait, points_that_stay
from realtalk_ros.enroll.mediapipe_points import (
    CHIN,
    LOWER_INNER,
    LOWER_OUTER,
    NOSE_BASE,
    UPPER_INNER,
    UPPER_OUTER,
)
from realtalk_ros.enroll.picture_layout import sample
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, lips

MIDDLE = len(UPPER_INNER) // 2
# cm. Set by eye on the smiles of the London set, whose lips are up to 1.9 cm apart.
SHUT = 0.15  # lips that are less apart are left as they are
MAX_GAP = 2.4  # of a mouth that can be brought to rest
PRESSED = -0.1  # between the face model's lips where they are shut: a gap would show its teeth
INSET = 0.05  # of the lips' inner edges that is hidden: there the landmarks lie on the teeth
LINE = 0.055  # sd of the shadow where shut lips meet
UPPER_SHARE = 0.4  # of the gap, by which the upper lip comes down
MAX_STRETCH = 1.25  # of the skin from nose to lip and from lip to chin
MAX_THICKER = 1.15  # lips that become shorter become thicker
SHADOW = np.array([0.5, 0.5, 0.38])  # how much darker it is where shut lips meet, BGR
UNLIKE = 2  # grey levels by which a pixel differs from the photo where it was painted
GRID = 4  # pixels between the points at which a field is computed
SMOOTHING = 0.5  # of the splines: landmarks of a tracker are no smoother
# What parts the lips.
PARTING = ("jawOpen", "mouthClose", "mouthFunnel", "mouthLowerDown", "mouthUpperUp", "tongueOut")
MOST = {"mouthSmile": 0.7, "mouthStretch": 0.4, "mouthPucker": 0.3, "mouthFrown": 0.4}
MOST_OTHER = 0.5
JAW_OPEN, MOUTH_CLOSE = arkit.INDEX["jawOpen"], arkit.INDEX["mouthClose"]
_EYES = [i for i, name in enumerate(arkit.NAMES) if name.startswith(("eye", "brow"))]
_PARTING = [i for i, name in enumerate(arkit.NAMES) if name.startswith(PARTING)]


@dataclass(frozen=True)
class Rest:
    """A face with shut lips, the weights (52,) of the face model that it shows, and the weights
    (52,) that are added while it is silent if it rests with parted lips, else None. Those of eyes
    and brows are 0: they stay as they are in the photo."""

    portrait: Portrait
    weights: np.ndarray
    parted_weights: np.ndarray | None = None


def bring_to_rest(
    portrait: Portrait, model: Model, identity: np.ndarray, weights: np.ndarray
) -> Rest:
    """The resting face of a portrait that shows `weights` (52,), with the points of `model`,
    MediaPipe's mesh. Raises RealTalkError for a mouth that is too wide open."""
    mouth = PortraitLips(portrait, model)
    if mouth.gap > MAX_GAP:
        raise RealTalkError(
            f"the mouth is open by {mouth.gap:.1f} cm, too far for a face at rest: give a picture "
            "with closed lips or a smile"
        )
    fitted = np.asarray(weights, np.float64)
    kept = bounded(fitted)
    if mouth.gap < SHUT and np.abs(kept - fitted)[list(arkit.MOUTH)].max() < 0.05:
        return Rest(portrait, with_opening(kept, PRESSED).astype(np.float32))
    rest = kept.copy()
    rest[_PARTING] = 0
    rest = with_opening(rest, PRESSED)
    eyes = np.where(np.isin(np.arange(arkit.COUNT), _EYES), fitted, 0)
    shape = model.shape(identity, rest + eyes)
    shift = portrait.pose.project(shape) - portrait.pose.project(model.shape(identity, fitted))
    after = mouth.shut(portrait.points + shift)
    image, positions = mouth.move(after)
    image = mouth.shade(image, after)
    parted = None
    if share := mouth.too_far(after):
        parted = np.zeros(arkit.COUNT)
        parted[_PARTING] = share * kept[_PARTING]
        parted = with_opening(parted, share * mouth.gap - PRESSED).astype(np.float32)
    portrait = replace(
        portrait,
        image=image,
        positions=positions,
        painted=unlike(image, portrait, positions),
        points=after,
        shape=shape,
    )
    return Rest(portrait, rest.astype(np.float32), parted)


def unlike(image: np.ndarray, portrait: Portrait, positions: np.ndarray) -> np.ndarray:
    """(height, width) uint8: 255 where `image` is not the portrait's picture at `positions`, less
    within a pixel of the crop around."""
    plain = sample(portrait.picture, positions, 1 / portrait.layout.scale)
    other = cv2.absdiff(image, plain).max(-1) > UNLIKE
    side = 2 * ceil(portrait.layout.crop[2] / CROP_SIZE) + 1
    grown = cv2.dilate(np.uint8(255) * other, np.ones((side, side), np.uint8))
    return cv2.blur(grown, (side, side))


def bounded(weights: np.ndarray) -> np.ndarray:
    """Weights (52,) of mouth and cheeks, no larger than a face at rest has them."""
    out = np.zeros(arkit.COUNT)
    for name, number in arkit.INDEX.items():
        if number not in _EYES:
            base = name.removesuffix("Left").removesuffix("Right")
            out[number] = min(weights[number], MOST.get(base, MOST_OTHER))
    return out


def with_opening(weights: np.ndarray, gap: float) -> np.ndarray:
    """Weights (52,) with the jaw, or the lower lip, where the face model's lips are parted by `gap`
    cm: the fit leaves some of the gap over, and shut lips would seem to be open."""
    opening = lips.GAP.astype(np.float64)
    out = weights.copy()
    out[[JAW_OPEN, MOUTH_CLOSE]] = 0
    missing = gap - out @ opening
    number = JAW_OPEN if missing > 0 else MOUTH_CLOSE
    out[number] = missing / opening[number]
    return out


class PortraitLips:
    """The lips of a portrait with the points of MediaPipe's mesh, and how they move."""

    def __init__(self, portrait: Portrait, model: Model):
        row = {int(number): k for k, number in enumerate(model.index)}
        upper_outer, upper, lower, lower_outer = (
            np.array([row[k] for k in chain])
            for chain in (UPPER_OUTER, UPPER_INNER, LOWER_INNER, LOWER_OUTER)
        )
        self._upper, self._lower = upper, lower
        self._halves = ((upper_outer, upper, row[NOSE_BASE]), (lower_outer, lower, row[CHIN]))
        self._portrait, self._points = portrait, portrait.points
        self._scale = portrait.pose.scale  # pixels per cm
        apart = self._points[lower] - self._points[upper]
        self.gap = float(np.linalg.norm(apart, axis=1).max()) / self._scale  # cm

    def shut(self, points: np.ndarray) -> np.ndarray:
        """`points` (P, 2) with lips that meet, each as thick as in the photo."""
        after = points.copy()
        upper, lower = points[self._upper], points[self._lower]
        meet = upper + UPPER_SHARE * (lower - upper)
        before = self._points[self._upper]
        thicker = np.clip(np.ptp(before[:, 0]) / np.ptp(upper[:, 0]), 1, MAX_THICKER)
        for outer, inner, _ in self._halves:
            thickness = self._points[outer] - self._points[inner]
            after[inner] = meet
            after[outer[1:-1]] = (meet + thicker * thickness)[1:-1]
            for end in (0, -1):  # the halves share their corners
                after[outer[end]] = meet[end] + thickness[end]
        return after

    def too_far(self, shut: np.ndarray) -> float:
        """The share of their distance that the lips should keep: 0 if the skin above and below
        bears to be stretched to where `shut` (P, 2) has them."""
        shares = [0.0]
        for outer, _, fixed in self._halves:
            lip = outer[MIDDLE]
            before = float(np.linalg.norm(self._points[lip] - self._points[fixed]))
            wanted = float(np.linalg.norm(shut[lip] - shut[fixed]))
            if wanted > MAX_STRETCH * before:
                shares.append((wanted - MAX_STRETCH * before) / (wanted - before))
        # Lips that are hardly parted look as if they were not shut well.
        return max(shares) if max(shares) * self.gap > SHUT else 0.0

    def move(self, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frame (height, width, 3) uint8 with the points at `after` (P, 2), where the lips
        meet, and its `positions`, those of the half that is seen more."""
        width, height = self._portrait.layout.size
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        source, meet = self._inset(), after[self._upper]
        # Beyond the corners the two halves, which are much the same there, pass into each other.
        soft = np.maximum(np.maximum(meet[0, 0] - columns, columns - meet[-1, 0]), 0) + 1
        above = np.clip(0.5 + (_curve(meet, columns[0]) - rows) / soft, 0, 1)[..., None]
        halves = []
        for other in reversed(self._halves):  # each half without the other lip
            kept = np.setdiff1d(np.arange(len(source)), np.r_[other[0][1:-1], other[1][1:-1]])
            field = self._field(source[kept], after[kept])
            halves.append(self._portrait.resampled(np.stack([columns, rows], -1) + field))
        (upper, upper_positions), (lower, lower_positions) = halves
        image = np.rint(above * upper + (1 - above) * lower).astype(np.uint8)
        return image, np.where(above > 0.5, upper_positions, lower_positions)

    def shade(self, image: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The frame with a shadow where lips meet at `after` (P, 2) that were parted in the photo,
        which lacks it there."""
        if self.gap <= SHUT:
            return image
        meet = after[self._upper]
        (left, _), (right, _) = meet[0], meet[-1]
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
        away = (rows - _curve(meet, columns[0])) / (LINE * self._scale)
        # It ends softly where the lips do.
        ends = np.minimum(columns - left, right - columns) / (0.15 * (right - left))
        line = np.clip(ends, 0, 1) * np.exp(-0.5 * np.square(away))
        return np.rint(image * (1 - line[..., None] * SHADOW)).astype(np.uint8)

    def _inset(self) -> np.ndarray:
        """(P, 2): the photo's points with the inner edges of parted lips a bit inside the lips."""
        points = self._points.copy()
        for outer, inner, _ in self._halves:
            into = points[outer] - points[inner]
            length = np.maximum(np.linalg.norm(into, axis=1, keepdims=True), 1e-6)
            step = into / length * np.minimum(INSET * self._scale, 0.3 * length)
            points[inner[1:-1]] += step[1:-1]
        return points

    def _field(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(height, width, 2) pixels from a pixel to where in the photo it lies, by points (N, 2)
        that move from `source` to `target`; what is far from the face stays."""
        from scipy.interpolate import RBFInterpolator

        width, height = self._portrait.layout.size
        still = points_that_stay(self._portrait.layout)
        known = np.vstack([target, still])
        back = np.vstack([source - target, np.zeros_like(still)])
        _, single = np.unique(np.round(known, 2), axis=0, return_index=True)
        at = np.meshgrid(np.arange(0, width + GRID, GRID), np.arange(0, height + GRID, GRID))
        places = np.stack(at, -1).astype(np.float64)
        spline = RBFInterpolator(known[single], back[single], smoothing=SMOOTHING)
        coarse = spline(places.reshape(-1, 2)).reshape(places.shape).astype(np.float32)
        enlarge = np.array([[1 / GRID, 0, 0], [0, 1 / GRID, 0]])
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(coarse, enlarge, (width, height), flags=how)


def _curve(points: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(width,) rows of a smooth line through points (N, 2), level beyond its ends, by column."""
    from scipy.interpolate import PchipInterpolator

    x, y = points[np.argsort(points[:, 0], kind="stable")].T
    apart = np.r_[True, np.diff(x) > 1e-3]
    rows = PchipInterpolator(x[apart], y[apart])(np.clip(columns, x[0], x[-1]))
    return np.asarray(rows, np.float32)
