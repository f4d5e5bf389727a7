# SPDX-License-Identifier: Apache-2.0
"""Finds the irises of a template (NumPy and OpenCV).

The face model puts them where a person looks straight at the camera, in people's mean size. In a
photograph they may lie a third of their width beside that.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.rendering.eyes.lid_curves import POSITIONS
from realtalk_ros.rendering.eyes.moved_eye import IRIS_RADIUS, ProjectedEyes, RestingEye

# In eye widths: steps to both sides of where the face model has an iris, rough and fine.
ASIDE, ALOFT = np.linspace(-0.2, 0.2, 21), np.linspace(-0.12, 0.12, 13)
FINE = np.linspace(-0.016, 0.016, 5)
RADII = np.linspace(0.75, 1.45, 29)  # of the face model's radius, in both eyes the same
ROUGH = 4  # every 4th of them is tried first
# Angles, in the right half and in the left one; what is higher is mostly behind lids.
ANGLES = np.deg2rad(np.linspace(-85, 45, 14))
EDGE = 0.12  # of the radius: how soft the iris's edge is
COVERED = 0.03  # eye widths beside a lid's edge that are not looked at, for lashes and shade
DARKER, LIGHTER = 8.0, 60.0  # grey levels of contrast at a place of the edge that count at most
UNSEEN = 4  # places of an edge with no contrast that count in each half
USUAL = 0.12, 0.06, 0.25  # sds: of the place, eye widths, and of the radius, its share
PRIOR = 1.5  # grey levels, of one sd
LEAST = 10.0  # grey levels: irises with less contrast are not found
LEAST_WIDTH = 16.0  # pixels, of an eye that is looked at


class Iris(NamedTuple):
    """Of a template's eye, in coordinates of its crop."""

    place: np.ndarray  # (2,)
    radius: float
    glowing: bool = False  # lighter than what is around it, as of a machine


class Candidates(NamedTuple):
    """Where an iris is sought, and how likely it is there."""

    places: np.ndarray  # (N, 2), eye widths
    scores: np.ndarray  # (N, R)


def find_irises(picture: np.ndarray, eyes: ProjectedEyes) -> list[Iris] | None:
    """Those of the right and the left eye in a template's crop (S, S, 3 or 4) uint8 BGR. None where
    they are not clear."""
    size = len(picture)
    resting = [RestingEye.of(eyes, side, size) for side in (0, 1)]
    if min(one.axes.width for one in resting) < LEAST_WIDTH:
        return None
    light = cv2.transform(picture[..., :3], np.array([[0.25, 0.25, 0.5]])).astype(np.float32)
    radius = IRIS_RADIUS * eyes.scale * size
    best: tuple[float, list[Iris]] = LEAST, []
    for glowing in (False, True):
        searches = [
            EyeSearch(light, one, Iris(place * size - 0.5, radius, glowing))
            for one, place in zip(resting, eyes.irises, strict=True)
        ]
        clear, irises = found(searches, radius / size, size)
        if clear > best[0]:
            best = clear, [iris._replace(glowing=glowing) for iris in irises]
    return best[1] or None


def found(searches: list[EyeSearch], radius: float, size: int) -> tuple[float, list[Iris]]:
    """The irises of both eyes, and how clear the less clear one is. radius: the face model's,
    normalised."""
    rough = [one.rate(ASIDE, ALOFT, np.zeros(2), RADII[::ROUGH]) for one in searches]
    best = int(sum(one.scores.max(0) for one in rough).argmax())
    middles = [one.places[one.scores[:, best].argmax()] for one in rough]
    radii = RADII[max(ROUGH * (best - 1), 0) : ROUGH * (best + 1) + 1]
    fine = [one.rate(FINE, FINE, at, radii) for one, at in zip(searches, middles, strict=True)]
    best = int(sum(one.scores.max(0) for one in fine).argmax())
    rows = [int(one.scores[:, best].argmax()) for one in fine]
    irises = [
        Iris(search.in_template(one.places[row]) / size, float(radii[best]) * radius)
        for search, one, row in zip(searches, fine, rows, strict=True)
    ]
    return min(float(one.scores[row, best]) for one, row in zip(fine, rows, strict=True)), irises


class EyeSearch:
    """Of one eye of a template. light: (S, S) float32. iris: the face model's, pixels. What is
    glowing no lid hides."""

    def __init__(self, light: np.ndarray, eye: RestingEye, iris: Iris):
        self._axes, width = eye.axes, eye.axes.width
        self._model = eye.axes.directions @ (iris.place - eye.axes.template_corner) / width
        self._radius = iris.radius / width
        u, covered = POSITIONS * width, COVERED * width
        upper = eye.lids.middle + np.maximum(eye.lids.half - covered, 0)
        lower = eye.lids.middle - np.maximum(eye.lids.half - covered, 0)
        outline = eye.axes.to_template(
            np.concatenate([u, u[::-1]])[None], np.concatenate([upper, lower[::-1]])[None]
        )
        seen = np.full(light.shape, int(iris.glowing), np.uint8)
        cv2.fillPoly(seen, [np.rint(16 * outline[:, 0].T).astype(np.int32)], 1, cv2.LINE_8, 4)
        self._picture = cv2.merge([-light if iris.glowing else light, seen.astype(np.float32)])

    def in_template(self, place: np.ndarray) -> np.ndarray:
        """(2,) pixels from the corner of the first one, of a place (2,) in eye widths."""
        u, v = (self._model + place) * self._axes.width
        return self._axes.to_template(np.array([[u]]), np.array([[v]])).reshape(2) + 0.5

    def rate(
        self, aside: np.ndarray, aloft: np.ndarray, middle: np.ndarray, radii: np.ndarray
    ) -> Candidates:
        """How clear the edge of an iris would be at places around `middle` (2,)."""
        places = np.stack(np.meshgrid(aside, aloft), -1).reshape(-1, 2) + middle
        off = np.hypot(*(places / USUAL[:2]).T)[:, None] ** 2 + ((radii - 1) / USUAL[2]) ** 2
        clear = np.mean([self._contrast(places, radii, sign) for sign in (-1, 1)], 0)
        return Candidates(places, clear - PRIOR * off)

    def _contrast(self, places: np.ndarray, radii: np.ndarray, sign: int) -> np.ndarray:
        """(N, R): how much lighter it is outside than inside of circles at `places` (N, 2), in
        their left or right half."""
        centres = (self._model + places).astype(np.float32)[:, :, None]
        levels, seen = [], np.ones(1, np.float32)
        for share in (1 - EDGE, 1 + EDGE):
            circle = share * self._radius * radii[:, None] * np.exp(1j * ANGLES)
            u = centres[:, 0] + np.float32(sign) * circle.real.astype(np.float32).ravel()
            v = centres[:, 1] + circle.imag.astype(np.float32).ravel()
            x, y = self._axes.to_template(u * self._axes.width, v * self._axes.width)
            light, there = cv2.split(cv2.remap(self._picture, x, y, cv2.INTER_LINEAR))
            levels.append(light)
            seen = seen * there
        edge = np.clip(levels[1] - levels[0], -DARKER, LIGHTER) * seen
        shape = len(places), len(radii), len(ANGLES)
        return edge.reshape(shape).sum(-1) / (np.reshape(seen, shape).sum(-1) + UNSEEN)
