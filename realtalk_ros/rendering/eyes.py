"""Lids and irises laid where the 3D face prior puts them (NumPy).

An eye is layers: the ball stays when lids come down over it, and turns behind them when it looks
aside. A smooth field of movements (`training.renderer.model.Alignment`) knows no layers, it
squeezes the whole eye into the slit of a shut one. So around the eyes it gives way to this: between
the lids lie the template's own pixels of the ball, the iris moved by the gaze; above and below them
those of the lids' skin, stretched from the lids' edges outwards. The map of the mouth's inside
(mouth.py) tells the same: its second channel is where the ball shows, its third where a lid came
over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.facekit import gaze_angles, rotation
from realtalk_ros.rendering.camera import Cameras

FILE = Path(__file__).parents[1] / "data" / "eyes.npz"
SIDES = "Right", "Left"
IRIS, DEPTH = 0.62, 1.4  # cm: its radius, and how far before the ball's middle it lies
SHUT = 0.12  # of the resting eye's opening: the face model's lids have met
LEAST = 0.04  # widths: of the opening near the corners, to measure what closes it
NARROW = 6.0  # pixels: an eye that is seen from the side stays as it is
GRID = 33  # places from corner to corner for which the lids' heights are computed
# In widths of an eye: how far beside it, and above and below the lids, its movement reaches.
BESIDE, BEYOND = 0.25, 0.4
# In radii of the iris: what moves with it as it is; from there the white gives way, over as many.
WHOLE, AROUND = 1.1, 0.8
RIM = 1.5  # pixels below the lower lid's edge that a shut eye hides: its wet rim
WITHIN = 0.75  # pixels from the template's lids of which the ball is taken


class EyesModel:
    """Lids' edges (2, 2, N, 3) cm of right and left eye, upper and lower lid, from the person's
    right to the left; lids_expressions (52, ...), lids_modes (100, ...); the eyeballs' middles
    balls (2, 3), balls_modes (100, 2, 3). See training/synthetic/eyes_model.py."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        try:
            self.lids, self.expressions, self.modes, self.balls, self.ball_modes = (
                np.asarray(arrays[name], np.float32)
                for name in ("lids", "lids_expressions", "lids_modes", "balls", "balls_modes")
            )
        except KeyError as error:
            raise RealTalkError(f"the eyes' model lacks {error}: reinstall realtalk_ros") from error
        self.expressions = self.expressions.reshape(arkit.COUNT, -1)
        # By which landmarks of the eyes a vertex is put right, see Eyes.
        self.righted = landmarks.shares(self.lids, landmarks.EYES)


@lru_cache(maxsize=1)
def load() -> EyesModel:
    """The model that comes with the package."""
    with np.load(FILE, allow_pickle=False) as data:
        return EyesModel({name: data[name] for name in data})


@dataclass(frozen=True)
class Seen:
    """Eyes before a camera, in shares of the crop."""

    lids: np.ndarray  # (2, 2, N, 2), where the camera sees them
    off: np.ndarray  # (2, 2, N, 2), and how far beside that the landmarks say
    irises: np.ndarray  # (2, 2), with what they are off by
    centimetre: float


@dataclass(frozen=True)
class Patch:
    """A part of a picture and where in the template its pixels lie."""

    rows: slice
    columns: slice
    places: np.ndarray  # (H, W, 2) pixels
    share: np.ndarray  # (H, W, 1), how far that counts
    shown: np.ndarray  # (H, W, 2) uint8, how far the ball shows, and a lid that was not there


class Eyes:
    """One person's eyes before the cameras of some templates.

    identity (100,); off (T, 68, 2), by how much the templates' landmarks lie beside what identity
    and camera say, in shares of the crop: where the eyes' do, the lids follow.
    """

    def __init__(self, identity: np.ndarray, cameras: Cameras, off: np.ndarray):
        model = self._model = load()
        self._cameras = cameras
        self._lids = model.lids + np.float32(np.tensordot(identity, model.modes, 1))
        self._balls = model.balls + np.float32(np.tensordot(identity, model.ball_modes, 1))
        self._off = model.righted @ np.float32(off[:, None, None, landmarks.EYES])

    def seen(self, weights: np.ndarray, template: int) -> Seen:
        """By weights (52,), by a template's camera."""
        lids = self._lids + (weights @ self._model.expressions).reshape(self._lids.shape)
        irises = np.stack(
            [
                ball + rotation(*gaze_angles(weights, side))[:, 2] * DEPTH
                for ball, side in zip(self._balls, SIDES, strict=True)
            ]
        )
        off, project = self._off[template], self._cameras.project
        return Seen(
            project(lids, template)[..., :2],
            off,
            project(irises, template)[:, :2] + off.mean((1, 2)),
            float(self._cameras.scale[template]),
        )


def patches(rest: Seen, wanted: Seen, size: int) -> list[Patch]:
    """The eyes of a picture to be, as they lie in a template that shows them at rest."""
    both = (patch(rest, wanted, eye, size) for eye in (0, 1))
    return [p for p in both if p]


def overlay(found: list[Patch], layer: np.ndarray, image: np.ndarray) -> None:
    """Draws them into `layer` (S, S, 3): x and y of their places in the template, and their share;
    and into mouth.py's map `image` (S, S, 3) uint8."""
    for one in found:
        layer[one.rows, one.columns] = np.concatenate([one.places, one.share], -1)
        image[one.rows, one.columns, 1:] = one.shown


def patch(rest: Seen, wanted: Seen, eye: int, size: int) -> Patch | None:
    """Of one eye; None where it is not in the picture, or seen from the side."""
    edges, moved = rest.lids[eye] * size - 0.5, wanted.lids[eye] * size - 0.5
    off = rest.off[eye] * size
    corners = (edges + off).mean(0)[[0, -1]]
    along = corners[1] - corners[0]
    width = float(np.hypot(*along))
    if width < NARROW:
        return None
    across, down = along / width
    axes = np.array([[across, down], [down, -across]], np.float32)  # corner to corner, and up
    shift = (moved - edges).mean(0)[[0, -1]].mean(0)  # of the head
    near = np.concatenate([edges + off, moved + off]).reshape(-1, 2)
    margin = np.array([BESIDE, BEYOND]) * width
    low = np.clip(np.floor(near.min(0) - margin), 0, size).astype(int)
    high = np.clip(np.ceil(near.max(0) + margin) + 1, 0, size).astype(int)
    if not (high > low).all():
        return None
    begin = corners[0] + shift
    x = np.arange(low[0], high[0], dtype=np.float32) - begin[0]
    y = np.arange(low[1], high[1], dtype=np.float32)[:, None] - begin[1]
    u, v = axes[0, 0] * x + axes[0, 1] * y, axes[1, 0] * x + axes[1, 1] * y
    known, shall = (edges - corners[0]) @ axes.T, (moved - begin) @ axes.T
    lids = Lids.along(u, width, curves(known, shall, off @ axes.T, width))
    over = v - lids.top > lids.bottom - v  # the upper lid's
    skin, outside, share = lids.skin(v, over, width)
    share *= np.clip(1 - np.maximum(-u, u - width) / (BESIDE * width), 0, 1)
    aside = axes @ (shift + (rest.irises[eye] - wanted.irises[eye]) * size)
    middle = axes @ (wanted.irises[eye] * size - 0.5 - begin)
    carried = carried_by_iris(u - middle[0], v - middle[1], IRIS * rest.centimetre * size, aside)
    showing = np.clip(0.5 - outside, 0, 1) * ((u > 0) & (u < width))
    shown = np.empty((*u.shape, 2), np.uint8)
    shown[..., 0], shown[..., 1] = 255 * showing, 255 * share * lids.shut * over * (1 - showing)
    opened = outside < 0
    v = np.where(opened, lids.ball(v + carried * aside[1]), skin)
    u = np.where(opened, u + carried * aside[0], u)
    places = np.empty((*u.shape, 2), np.float32)
    for axis in (0, 1):
        places[..., axis] = axes[0, axis] * u + axes[1, axis] * v + corners[0, axis]
    columns, rows = (slice(*ends) for ends in zip(low, high, strict=True))
    return Patch(rows, columns, places, share[..., None], shown)


def carried_by_iris(x: np.ndarray, y: np.ndarray, radius: float, aside: np.ndarray) -> np.ndarray:
    """How far pixels (H, W) that lie so far from an iris's middle move with it, which moves
    `aside` (2,)."""
    fall = max(AROUND * radius, 1.4 * float(np.hypot(*aside)))
    return np.clip(1 + (WHOLE * radius - np.sqrt(x**2 + y**2)) / fall, 0, 1)


@dataclass(frozen=True)
class Lids:
    """Where the lids of an eye lie above and below each pixel of a patch: heights (H, W), pixels up
    from the line between its corners."""

    top: np.ndarray  # as they shall be
    bottom: np.ndarray
    rest_top: np.ndarray  # as they lie in the template
    rest_bottom: np.ndarray
    shut: np.ndarray  # how far they shall be

    @classmethod
    def along(cls, u: np.ndarray, width: float, found: np.ndarray) -> Lids:
        """Of `curves`, by how far along from the first corner a pixel lies."""
        at = np.clip(u * ((GRID - 1) / width), 0, GRID - 1.001)
        before = at.astype(np.intp)
        at -= before
        slopes = np.diff(found)
        return cls(*(
            curve.take(before) + slope.take(before) * at
            for curve, slope in zip(found, slopes, strict=True)
        ))  # fmt: skip

    def skin(
        self, v: np.ndarray, over: np.ndarray, width: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At which height the template shows the lids' skin; how far outside the open eye a pixel
        is, less than nothing within; how far the skin there follows."""
        move = np.where(over, self.rest_top - self.top, self.rest_bottom - self.bottom)
        outside = np.where(over, v - self.top, self.bottom - v)
        share = 1 - np.maximum(outside, 0) / (BEYOND * width + np.abs(move))
        lid = v + move
        lid = np.where(over, lid, np.minimum(lid, self.rest_bottom - RIM * self.shut))
        return lid, outside, np.maximum(share, 0)

    def ball(self, v: np.ndarray) -> np.ndarray:
        """At which height the template shows the ball: nowhere else than between its lids."""
        within = (
            np.clip(self.top - self.rest_top, 0, WITHIN),
            np.clip(self.rest_bottom - self.bottom, 0, WITHIN),
        )
        centre = (self.rest_top + self.rest_bottom) / 2
        ball = np.minimum(v, np.maximum(self.rest_top - within[0], centre))
        return np.maximum(ball, np.minimum(self.rest_bottom + within[1], centre))


def curves(edges: np.ndarray, moved: np.ndarray, off: np.ndarray, width: float) -> np.ndarray:
    """(5, GRID): heights of upper and lower lid as they shall be, and as they lie in the template,
    and how far they shall be shut, over evenly spaced places from corner to corner. Of lids at rest
    and moved, and what they are off by, (2, N, 2) pixels along and up.

    What the face model brings together meets, however far beside it the landmarks say it begins.
    """
    at = np.linspace(0, width, GRID)

    def heights(lids: np.ndarray) -> np.ndarray:
        pairs = np.moveaxis(lids, -1, 1)
        return np.stack([np.interp(at, np.maximum.accumulate(x), y) for x, y in pairs])

    known, shall, lies = heights(edges), heights(moved), heights(edges + off)
    gap = known[0] - known[1]
    wider = (shall[0] - shall[1] - gap) / np.maximum(gap, LEAST * width)
    half = 0.5 * np.maximum(lies[0] - lies[1], 0)
    middle = lies.mean(0)
    there = middle + (shall - known).mean(0)
    share = np.maximum(1 + wider / (1 - SHUT), 0)
    shut, wanted = np.maximum(1 - share, 0), half * share
    found = [there + wanted, there - wanted, middle + half, middle - half, shut]
    return np.stack(found).astype(np.float32)
