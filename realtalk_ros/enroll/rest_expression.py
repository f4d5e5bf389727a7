# SPDX-License-Identifier: Apache-2.0
"""How a photographed face rests: as much of its smile as looks natural, lips shut if they can be.

The resting weights are those that were fitted to the photo, without what parts the lips. The lips
are moved to where these weights have them, each as a whole: their thickness stays, and the skin
above and below them is stretched. How far that may go limits how far they shut; where it is too
little, the face rests with parted lips and the photo's own teeth between them.

The movement is a smooth field for each lip (thin plate splines, Duchon 1977) that parts where the
lips meet, so that nothing of the mouth's inside is squeezed between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from realtalk_ros.enroll.fit import Model
from realtalk_ros.enroll.photo_to_avatar import Portrait
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks

# Of MediaPipe's mesh, from the person's right corner of the mouth to the left one.
UPPER_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LOWER_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
NOSE_BASE, CHIN = 2, 152
MIDDLE = len(UPPER_INNER) // 2

SHUT = 0.15  # cm between the lips: less is left as it is
MAX_GAP = 2.4  # cm: a mouth that is wider open cannot rest
UPPER_SHARE = 0.4  # of the gap, by which the upper lip comes down
MAX_STRETCH_UPPER, MAX_STRETCH_LOWER = 1.6, 1.35  # of the skin from nose to lip and lip to chin
INSET = 0.05  # cm of the lips' inner edges that are hidden: landmarks lie on the teeth there
# What parts the lips, and is left out at rest if they can shut.
PARTING = ("jawOpen", "mouthClose", "mouthFunnel", "mouthLowerDown", "mouthUpperUp", "tongueOut")
MOST = {"mouthSmile": 0.7, "mouthStretch": 0.4, "mouthPucker": 0.3, "mouthFrown": 0.4}
MOST_OTHER = 0.5
JAW_OPEN, MOUTH_CLOSE = arkit.INDEX["jawOpen"], arkit.INDEX["mouthClose"]
_EYES = [i for i, name in enumerate(arkit.NAMES) if name.startswith(("eye", "brow"))]
_PARTING = [i for i, name in enumerate(arkit.NAMES) if name.startswith(PARTING)]


@dataclass(frozen=True)
class Rest:
    """A face at rest, and the weights (52,) of the face model that it shows there: those of the
    eyes and brows are 0, which stay as they are in the photo."""

    portrait: Portrait
    weights: np.ndarray


def bring_to_rest(
    portrait: Portrait, model: Model, identity: np.ndarray, weights: np.ndarray
) -> Rest:
    """The face at rest of a portrait that shows `weights` (52,), with the points of `model`,
    MediaPipe's mesh. Raises RealTalkError for a mouth that is too wide open."""
    lips = Lips(portrait, model)
    if lips.gap > MAX_GAP:
        raise RealTalkError(
            f"the mouth is open by {lips.gap:.1f} cm, too far to rest: give a picture with closed "
            "lips, or a smile"
        )
    smile = bounded(np.asarray(weights, np.float64))
    eyes = np.where(np.isin(np.arange(arkit.COUNT), _EYES), weights, 0)
    shape = model.shape(identity, weights)
    if lips.gap < SHUT and np.abs(smile - weights)[list(arkit.MOUTH)].max() < 0.05:
        return Rest(portrait, settled(smile, 0.0).astype(np.float32))

    def moved(parted: float) -> tuple[np.ndarray, np.ndarray]:
        """The resting weights, and where the points lie, if that share of the parting is kept."""
        rest = smile.copy()
        rest[_PARTING] *= parted
        rest = settled(rest, parted * lips.gap)
        shift = portrait.pose.project(model.shape(identity, rest + eyes)) - portrait.pose.project(
            shape
        )
        return rest, lips.shut(portrait.points + shift, 1 - parted)

    rest, after = moved(0.0)
    parted = lips.parted(after)
    if parted > 0:
        rest, after = moved(parted)
    image = lips.warp(portrait.image, after, parted)
    shape = model.shape(identity, rest + eyes)
    return Rest(replace(portrait, image=image, points=after, shape=shape), rest.astype(np.float32))


def bounded(weights: np.ndarray) -> np.ndarray:
    """Weights (52,) of mouth and cheeks, no larger than a face at rest has them."""
    out = np.zeros(arkit.COUNT)
    for name, number in arkit.INDEX.items():
        if number not in _EYES:
            base = name.removesuffix("Left").removesuffix("Right")
            out[number] = min(weights[number], MOST.get(base, MOST_OTHER))
    return out


def settled(weights: np.ndarray, gap: float) -> np.ndarray:
    """Weights (52,) with a jaw or a lower lip so that the face model's lips are `gap` cm apart, as
    those of the photo: the fit leaves some of it over, and shut lips would seem to be open."""
    opening = landmarks.lip_opening().astype(np.float64)
    out = weights.copy()
    out[[JAW_OPEN, MOUTH_CLOSE]] = 0
    missing = gap - out @ opening
    number = JAW_OPEN if missing > 0 else MOUTH_CLOSE
    out[number] = missing / opening[number]
    return out


class Lips:
    """The lips of a portrait, and how they move."""

    def __init__(self, portrait: Portrait, model: Model):
        row = {int(number): k for k, number in enumerate(model.index)}
        self.upper_outer, self.upper_inner, self.lower_inner, self.lower_outer = (
            np.array([row[k] for k in chain])
            for chain in (UPPER_OUTER, UPPER_INNER, LOWER_INNER, LOWER_OUTER)
        )
        self.nose, self.chin = row[NOSE_BASE], row[CHIN]
        self.portrait, self.points = portrait, portrait.points
        self.scale = portrait.pose.scale  # pixels per cm
        apart = self.points[self.lower_inner] - self.points[self.upper_inner]
        self.gap = float(np.linalg.norm(apart, axis=1).max()) / self.scale  # cm

    def shut(self, after: np.ndarray, share: float) -> np.ndarray:
        """Points (P, 2) in which the lips of `after` come together by that share of their
        distance, each as thick as in the photo."""
        after = after.copy()
        upper, lower = after[self.upper_inner], after[self.lower_inner]
        apart = share * (lower - upper)
        length = np.ptp(after[self.upper_inner], axis=0)[0] / np.ptp(
            self.points[self.upper_inner], axis=0
        )[0]
        thicker = float(np.clip(1 / length, 1, 1.15))
        for outer, inner, moved in (
            (self.upper_outer, self.upper_inner, upper + UPPER_SHARE * apart),
            (self.lower_outer, self.lower_inner, lower - (1 - UPPER_SHARE) * apart),
        ):
            thickness = self.points[outer] - self.points[inner]
            after[inner] = moved
            after[outer[1:-1]] = (moved + thicker * thickness)[1:-1]
        for end in (0, -1):  # the chains share their corners
            after[self.upper_outer[end]] = after[self.upper_inner[end]] + (
                self.points[self.upper_outer[end]] - self.points[self.upper_inner[end]]
            )
        return after

    def parted(self, shut: np.ndarray) -> float:
        """Which share of their distance the lips keep because the skin above and below would be
        stretched too much if they were where `shut` (P, 2) has them."""
        nose, chin = self.points[self.nose], self.points[self.chin]
        out = 0.0
        for outer, fixed, most in (
            (self.upper_outer, self.nose, MAX_STRETCH_UPPER),
            (self.lower_outer, self.chin, MAX_STRETCH_LOWER),
        ):
            lip = outer[MIDDLE]
            before = np.linalg.norm(self.points[lip] - self.points[fixed])
            wanted = np.linalg.norm(shut[lip] - shut[fixed])
            if wanted > most * before:
                out = max(out, (wanted - most * before) / (wanted - before))
        del nose, chin
        return float(out)

    def warp(self, image: np.ndarray, after: np.ndarray, parted: float) -> np.ndarray:
        """The picture with the points moved to `after` (P, 2)."""
        from scipy.interpolate import RBFInterpolator

        source = self.points.copy()
        inset = INSET * self.scale
        for outer, inner in (
            (self.upper_outer, self.upper_inner),
            (self.lower_outer, self.lower_inner),
        ):
            into = source[outer] - source[inner]
            length = np.maximum(np.linalg.norm(into, axis=1, keepdims=True), 1e-6)
            source[inner[1:-1]] += (into / length * np.minimum(inset, 0.3 * length))[1:-1]
        still = self.portrait.warp().still
        height, width = image.shape[:2]
        step = 4
        at = np.stack(np.meshgrid(np.arange(0, width + step, step),
                                  np.arange(0, height + step, step)), -1).astype(np.float64)  # fmt: skip

        def field(without: np.ndarray) -> np.ndarray:
            """(height, width, 2) pixels: where in the photo a pixel lies."""
            kept = np.setdiff1d(np.arange(len(source)), without)
            to = np.vstack([after[kept], still])
            back = np.vstack([source[kept] - after[kept], 0 * still])
            unique = np.unique(np.round(to, 3), axis=0, return_index=True)[1]
            spline = RBFInterpolator(to[unique], back[unique], smoothing=0.5)
            coarse = spline(at.reshape(-1, 2)).reshape(at.shape).astype(np.float32)
            matrix = np.array([[1 / step, 0, 0], [0, 1 / step, 0]], np.float64)
            return cv2.warpAffine(
                coarse, matrix, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            )

        above = field(np.r_[self.lower_inner[1:-1], self.lower_outer[1:-1]])
        below = field(np.r_[self.upper_inner[1:-1], self.upper_outer[1:-1]])
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        upper, lower = after[self.upper_inner], after[self.lower_inner]
        if parted == 0:
            edge_above = edge_below = 0.5 * (edge(upper, columns[0]) + edge(lower, columns[0]))
        else:
            edge_above, edge_below = edge(upper, columns[0]), edge(lower, columns[0])
        left, right = upper[0, 0], upper[-1, 0]
        soft = 0.5 + 0.5 * np.clip(np.maximum(left - columns, columns - right), 0, None)
        is_above = np.clip(0.5 + (edge_above - rows) / (2 * soft), 0, 1)[..., None]
        is_below = np.clip(0.5 + (rows - edge_below) / (2 * soft), 0, 1)[..., None]
        if parted == 0:
            is_below = 1 - is_above
        inside = np.clip(1 - is_above - is_below, 0, 1)
        grid = np.stack([columns, rows], -1)
        layers = [
            cv2.remap(image, grid + moved, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
            for moved in (above, below)
        ]
        out = is_above * layers[0] + is_below * layers[1] + inside * image
        if parted == 0 and self.gap > SHUT:
            line = np.exp(-0.5 * np.square((rows - edge_above) / (0.055 * self.scale)))
            ends = np.minimum(columns - left, right - columns) / (0.15 * (right - left))
            line = line * np.clip(ends, 0, 1)
            out = out * (1 - line[..., None] * np.array([0.5, 0.5, 0.38]))
        return np.rint(np.clip(out, 0, 255)).astype(np.uint8)


def edge(points: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(width,) rows of a lip's edge (N, 2), from corner to corner, by column."""
    from scipy.interpolate import PchipInterpolator

    order = np.argsort(points[:, 0], kind="stable")
    x, y = points[order].T
    keep = np.r_[True, np.diff(x) > 1e-3]
    x, y = x[keep], y[keep]
    return PchipInterpolator(x, y)(np.clip(columns, x[0], x[-1])).astype(np.float32)
