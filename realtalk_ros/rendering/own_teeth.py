# SPDX-License-Identifier: Apache-2.0
"""A person's own upper teeth, from a photograph that shows them.

Upper teeth stay with the skull: where a reference picture shows them, they are wherever the lips
part. So its pixels, moved as the face model's upper teeth are from its camera to a template's, take
the place of what the network draws, between the lips of the frame and down to the teeth's edge.
What the picture does not show stays the network's, and so does all that follows the jaw.

Where the teeth end, the picture says: people's are some millimetres longer or shorter than the face
model's. So those of the map (mouth.py) are moved there, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.provenance import LIKENESS
from realtalk_ros.contracts import CROP_SIZE, MOUTH_CROP, mouth_crop
from realtalk_ros.easing import smoothstep
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import NOSE, NOSE_BRIDGE
from realtalk_ros.rendering.common.boxes import bounding_box, is_empty
from realtalk_ros.rendering.geometry import Geometry, reference_geometry
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.mouth.mouth import OPEN

LEAST = 60  # pixels of a reference's upper teeth: fewer are not used
LIP = np.ones((3, 3), np.uint8)  # of a lip's edge, that is not taken for a tooth
DARK = 0.6  # of the teeth's lightness: what is darker is none
BETWEEN = np.ones((5, 5), np.uint8)  # gaps between teeth, that belong to them
NARROW = 0.45  # of the opening's width: less of a row of teeth is not used
GUMS = 5  # pixels that may be between them and the upper lip: else they are lower teeth
EDGE = 1.0  # pixels, sd of the border
LIGHTEST = 85  # percentile of green between the lips that is taken for the teeth's lightness
GRAIN = 0.7  # pixels, sd of the blur that takes the picture's noise before the edge is looked for
# Pixels by which the teeth's edge may lie above (-) and below the face model's; what the square of
# the 8th part of them weighs, a step from a column to the next, and a dark pixel above the edge,
# against a fall of lightness from teeth to black.
FROM, TO, AWAY, STEP, GAP = -8, 14, 0.15, 0.1, 0.15
TEETH = 0.75  # of their lightness: what is lighter is one
BELOW, HOLLOW = 4, 0.35  # pixels below the edge; of the teeth's lightness: darker than lips
# cm by which the map's teeth are moved at most. A lip that is drawn too low must not hide them all.
SHORTER, LONGER = 0.25, 0.5
# Of the lightness of teeth, the percentile that is taken for their colour; and how much lighter
# that is in full light: as the encoder has it, of ten smiles whose teeth lie where the map's do.
FULL, IN_FULL_LIGHT = 70, 1.3
# Of the upper teeth between a frame's lips, the share that the picture must show for it to be
# drawn, not at all and wholly: a patch on other teeth would be seen.
FEW, MOST = 0.2, 0.5
TONGUE_OUT = arkit.INDEX["tongueOut"]


@dataclass(frozen=True)
class TeethPicture:
    """A reference that shows upper teeth."""

    picture: np.ndarray  # (256, 256, 4) uint8: BGR, and how far a pixel is one of them
    points: np.ndarray  # (P, 2) pixels: what comes to lie at a template's `skull_points`
    longer: float  # cm by which they reach farther down than the face model's
    area: int  # pixels
    enamel: np.ndarray  # (3,) BGR of them in full light, 1: white
    light: np.ndarray  # (3,) that the lips leave them there (lip_shadow.py)

    @classmethod
    def of(cls, avatar: Avatar) -> TeethPicture | None:
        """None for an avatar that was not made of a photograph, or of one without upper teeth."""
        if avatar.provenance.source_type != LIKENESS or avatar.generator or avatar.flat_mouth:
            return None
        geometry = reference_geometry(avatar)
        of_video = avatar.reference_expressions is not None or len(avatar.templates) > 1
        if geometry is None or of_video:
            return None
        assert avatar.reference_weights is not None
        pairs = zip(avatar.more_references, avatar.reference_weights, strict=True)
        found = [cls.find(image, geometry, k, w) for k, (image, w) in enumerate(pairs)]
        return max((one for one in found if one), key=lambda one: one.area, default=None)

    @classmethod
    def find(
        cls, image: np.ndarray, geometry: Geometry, number: int, weights: np.ndarray
    ) -> TeethPicture | None:
        """In a face's crop (256, 256, 3) uint8 BGR that shows weights (52,) and is the template
        `number` of its geometry. None where it shows no upper teeth."""
        interior = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
        opened = np.ascontiguousarray(geometry.draw_mouth(weights, number, interior)[..., 0])
        upper = above_edge(geometry, number)
        if np.count_nonzero(upper & (opened >= OPEN)) < LEAST:
            return None
        expected = (CROP_SIZE - upper[::-1].argmax(0)) * upper.any(0)
        edge = teeth_edge(image, opened, expected)
        shown = shown_teeth(image, opened, edge)
        area = int(np.count_nonzero(shown >= OPEN))
        landmarks = geometry.template_landmarks[number]
        nose = landmarks[NOSE_BRIDGE] * CROP_SIZE
        nose = nose.astype(int).clip(0, CROP_SIZE - 1)
        lit = (shown >= OPEN) & (lightness(image, opened) >= DARK)
        if area < LEAST or redness(image[lit]) > redness(image[tuple(nose.T[::-1])]):
            return None
        pixels = geometry.mouth.pixels_per_cm(number)
        off = missed_by(expected, edge, lightness(image, opened)) / pixels
        longer = float(np.clip(off, -SHORTER, LONGER))
        return cls(
            picture=np.dstack([image, shown]),
            points=skull_points(geometry, number) + (0, (off - longer) * pixels),
            longer=longer,
            area=area,
            enamel=np.percentile(image[lit], FULL, 0) * (IN_FULL_LIGHT / 255),
            light=geometry.mouth_opening(landmarks, number).light_on_teeth(),
        )


class OwnTeeth:
    """Of one avatar, over the one template of its geometry."""

    def __init__(self, shown: TeethPicture, geometry: Geometry):
        left, top, side = MOUTH_CROP
        there = affine(shown.points, skull_points(geometry, 0) - (left, top))
        self._teeth = cv2.warpAffine(shown.picture, there, (side, side), flags=cv2.INTER_CUBIC)
        self._upper = above_edge(geometry, 0)[mouth_crop()].astype(np.float32)
        self._light = shown.light

    def draw(
        self, weights: np.ndarray, interior: np.ndarray, image: np.ndarray, opening: MouthOpening
    ) -> None:
        """Draws them into what the generator made of the mouth crop, `image` (128, 128, 3) uint8,
        of weights (52,); `interior` (128, 128, 3) uint8 is the map of the mouth's interior. The
        mouth's `opening` says what light the lips leave them."""
        opened = cv2.extractChannel(interior, 0)
        box = bounding_box(opened)
        if is_empty(box):
            return
        own, upper = self._teeth[box], self._upper[box]
        opened = opened[box] * np.float32(1 / 255)
        alpha = cv2.multiply(opened, cv2.extractChannel(own, 3), scale=1 / 255, dtype=cv2.CV_32F)
        needed = float(opened.ravel() @ upper.ravel())
        share = smoothstep(float(cv2.sumElems(alpha)[0]) / max(needed, 1.0), FEW, MOST)
        share *= 1 - min(max(float(weights[TONGUE_OUT]), 0.0), 1.0)
        if share <= 0:
            return
        alpha = alpha * np.float32(share)
        teeth = np.ascontiguousarray(own[..., :3])
        shade = np.minimum(opening.light_on_teeth() / self._light, 1)
        teeth = cv2.transform(teeth, np.diag(shade))
        image[box] = cv2.blendLinear(teeth, np.ascontiguousarray(image[box]), alpha, 1 - alpha)


def shown_teeth(image: np.ndarray, opened: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """(256, 256) uint8: how far a pixel of a picture is one of the upper teeth, light ones with
    what is between them, up to the upper lip. `opened` (256, 256) uint8 is where its lips part,
    `edge` (256,) the row of each column where the teeth end."""
    smooth = cv2.GaussianBlur(lightness(image, opened), (0, 0), EDGE)
    light = np.where(smooth >= DARK, 255, 0).astype(np.uint8)
    inside = cv2.erode(opened, LIP)
    inside[np.arange(len(inside))[:, None] >= edge] = 0
    teeth = np.minimum(cv2.morphologyEx(light, cv2.MORPH_CLOSE, BETWEEN), inside)
    teeth[:, (teeth > 0).argmax(0) > (inside > 0).argmax(0) + GUMS] = 0
    _, numbers, boxes, _ = cv2.connectedComponentsWithStats((teeth > 0).astype(np.uint8))
    row = 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax()) if len(boxes) > 1 else 0
    if boxes[row, cv2.CC_STAT_WIDTH] < NARROW * np.count_nonzero((opened >= OPEN).any(0)):
        return np.zeros_like(opened)
    teeth[numbers != row] = 0
    return cv2.GaussianBlur(teeth, (0, 0), EDGE)


def redness(colours: np.ndarray) -> float:
    """Red over green of (N, 3) uint8 BGR, median. Enamel is less red than the skin, flesh more."""
    return float(np.median(colours[:, 2] / np.maximum(colours[:, 1], 1.0))) if len(colours) else 9.0


def lightness(image: np.ndarray, opened: np.ndarray) -> np.ndarray:
    """(H, W) float32 of a picture (H, W, 3) uint8: 1 is as light as the teeth between its lips, of
    which one pixel at least must be `opened`, (H, W) uint8. Green: lips and gums reflect little of
    it."""
    green = image[..., 1].astype(np.float32)
    return green / max(float(np.percentile(green[opened >= OPEN], LIGHTEST)), 1.0)


def teeth_edge(image: np.ndarray, opened: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(256,) rows at which the upper teeth end, near those that are `expected` (256,), where the
    picture gets darker most; 0 in columns without. The best path by dynamic programming."""
    light = cv2.GaussianBlur(lightness(image, opened), (0, 0), GRAIN)
    sums = np.cumsum(np.pad(light, ((1, 0), (0, 0))), 0)
    seen = opened >= OPEN
    begun = np.logical_or.accumulate(seen & (light >= TEETH), 0)
    gaps = np.cumsum(begun & (light < DARK), 0)
    columns = np.flatnonzero(seen.any(0) & (expected > 0))
    found = np.zeros(len(expected), int)
    if not len(columns):
        return found
    offsets = np.arange(FROM, TO + 1)
    rows = np.clip(expected[columns, None] + offsets, 3, len(light) - 3)

    def mean(first: int, last: int) -> np.ndarray:
        return np.asarray(
            (sums[rows + last, columns[:, None]] - sums[rows + first, columns[:, None]])
            / (last - first)
        )

    cost = mean(0, 2) - mean(-3, 0) + AWAY * (offsets / 8) ** 2
    cost += GAP * gaps[rows - 2, columns[:, None]]
    top = seen.argmax(0)[columns, None]
    bottom = len(seen) - seen[::-1].argmax(0)[columns, None]
    cost[(rows < top + 2) | (rows > bottom + 2)] += 1.0
    step = STEP * np.abs(rows[1:, :, None] - rows[:-1, None])  # (columns - 1, to, from)
    come, total = [], cost[0]
    for here, before in zip(cost[1:], step, strict=True):
        come.append((before + total).argmin(1))
        total = here + (before + total).min(1)
    at = [int(total.argmin())]
    for back in come[::-1]:
        at.append(int(back[at[-1]]))
    found[columns] = rows[np.arange(len(columns)), at[::-1]]
    return found


def missed_by(expected: np.ndarray, found: np.ndarray, light: np.ndarray) -> float:
    """Pixels by which the middle of the teeth's edge is `found` lower than `expected`, both (256,)
    rows, 0 where there are none; 0 where the lower lip hides it, by a picture's `lightness`."""
    columns = np.flatnonzero(found > 0)
    columns = columns[len(columns) // 4 : -(len(columns) // 4) or None]
    off = (found - expected)[columns]
    rows = np.minimum(found[columns, None] + np.arange(BELOW), len(light) - 1)
    known = (off > 0) | (light[rows, columns[:, None]].min(1) < HOLLOW)
    return float(np.median(off[known])) if 2 * known.sum() > len(known) else 0.0


def above_edge(geometry: Geometry, template: int) -> np.ndarray:
    """(256, 256) bool: where the upper teeth of the face model are, and above."""
    teeth = geometry.mouth.teeth_mask(template, CROP_SIZE)
    return np.maximum.accumulate(teeth[::-1] >= OPEN, 0)[::-1]


def skull_points(geometry: Geometry, template: int) -> np.ndarray:
    """(P, 2): where the upper teeth of the face model are, pixels, corrected by how far the nose
    lies off it."""
    off = geometry.template_landmarks[template] - geometry.projected_landmarks[template]
    return (geometry.mouth.upper_arch(template) + off[NOSE].mean(0)) * CROP_SIZE


def affine(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(2, 3) that moves points (P, 2) nearest to those `wanted`, both pixels from the corner of the
    first one; for OpenCV, which counts from its middle."""
    known = np.column_stack([points, np.ones(len(points))])
    found = np.linalg.lstsq(known, wanted, rcond=None)[0].T
    found[:, 2] += found[:, :2] @ (0.5, 0.5) - 0.5
    return found
