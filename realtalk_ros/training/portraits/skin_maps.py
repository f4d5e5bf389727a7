# SPDX-License-Identifier: Apache-2.0
"""Skin textures of the face model out of a photographic one, by a warp between marked places.

The photographic skin is that of CharMorph's character Reom (CC BY), which has its own layout. MARKS
says where its texture has the face model's 68 landmarks; a thin-plate spline carries the rest.
Textures here are those of the face model's front (its coordinates 0..1), SIZE texels square.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.enroll.srgb import to_linear
from realtalk_ros.face_model.landmarks import CHIN, EYE_LEFT, EYE_RIGHT, INNER_LIPS, OUTER_LIPS
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.common.mirrored_landmarks import MIRRORED
from realtalk_ros.training.portraits import ageing, anatomy, middle_age, old_age
from realtalk_ros.training.portraits.fine_hair import BROW_LIFT, brow_line
from realtalk_ros.training.portraits.people import Sitter
from realtalk_ros.training.synthetic import mesh_rings
from realtalk_ros.training.synthetic.brows import BROWS, spline

SIZE = 2048
GRID = 129  # points a side at which the spline is evaluated
# Of CharMorph-db: textures of skin, iris and the eye's white.
REOM = "characters/reom/textures/4K"
SKINS = tuple(f"{REOM}/{tone}Skin_Face_BaseColor.jpg" for tone in ("Light", "Dark"))
IRIS = f"{REOM}/Iris_BaseColor_Edit.jpg"
WHITE = f"{REOM}/EyeSclera_BaseColor.jpg"
# Landmark: (x, y) in the photographic texture, thousandths of its side, of the middle and of the
# person's right half; the left one mirrors it.
MARKS = {
    0: (176, 378), 1: (180, 460), 2: (192, 535), 3: (212, 610), 4: (246, 680), 5: (302, 733),
    6: (371, 768), 7: (440, 785), 8: (500, 790),
    17: (285, 318), 18: (325, 300), 19: (362, 297), 20: (405, 304), 21: (445, 318),
    27: (500, 372), 28: (500, 412), 29: (500, 448), 30: (500, 481),
    31: (441, 523), 32: (469, 533), 33: (500, 538),
    36: (311, 367), 37: (346, 356), 38: (392, 357), 39: (426, 372), 40: (392, 384), 41: (346, 384),
    48: (393, 629), 49: (430, 601), 50: (468, 590), 51: (500, 597), 57: (500, 676),
    58: (454, 670), 59: (414, 655), 60: (403, 630), 61: (450, 619), 62: (500, 617), 66: (500, 646),
    67: (452, 643),
}  # fmt: skip
# (u, v) of the face model's texture, (x, y) of the photographic one, beyond the landmarks.
CORNERS = [((0.5, 1.0), (500, 60)), ((0.0, 1.0), (60, 60)), ((1.0, 1.0), (940, 60)),
           ((0.0, 0.5), (60, 500)), ((1.0, 0.5), (940, 500)), ((0.0, 0.0), (60, 960)),
           ((0.5, 0.0), (500, 960)), ((1.0, 0.0), (940, 960)),
           ((0.5, 0.9), (500, 190)), ((0.3, 0.9), (300, 190)),
           ((0.7, 0.9), (700, 190))]  # fmt: skip
# Shares of red, green and blue that the red of lips, cheeks and lids leaves of the skin's.
BLUSH = np.array([1.0, 0.80, 0.80], np.float32)
SPOT = np.array([0.70, 0.55, 0.42], np.float32)
LID_RED = np.array([0.97, 0.72, 0.70], np.float32)


@dataclass(frozen=True)
class SkinMaps:
    """Arrays (SIZE, SIZE[, 3]) float32; rows from the top."""

    albedo: np.ndarray  # linear, 0..1
    height: np.ndarray  # 0.5 is level
    lips: np.ndarray  # 0..1
    gloss: np.ndarray  # 0..1, where skin is oily
    folds: np.ndarray  # 0.5 is level, of wrinkles


class SkinPainter:
    """Paints sitters' skin; `sources` is the folder of the photographic texture."""

    def __init__(self, kit: FaceKit, sources: Path):
        self.kit = kit
        uv = np.zeros((len(kit.mean), 2), np.float32)
        # Where the face ends, its vertices have other places in the back's texture as well.
        front = (kit.triangles < kit.parts["face"].stop).all(1)
        front &= kit.triangle_materials == kit.materials.index("M_Face")
        uv[kit.triangles[front]] = kit.uvs[kit.triangle_uvs[front]]
        self.uv = uv  # (V, 2) of the face's vertices
        self.marks = uv[kit.landmarks]
        self._sources = sources

    def paint(self, sitter: Sitter) -> SkinMaps:
        tone = to_linear(np.array(sitter.skin) / 255)
        image = cv2.imread(str(self._sources / SKINS[sitter.dark]), cv2.IMREAD_COLOR)[..., ::-1]
        photo = to_linear(self._warped(image) / np.float32(255))
        lips, rng = self.lip_mask(sitter.thin_lips), np.random.default_rng(sitter.seed)
        cheeks = self.blob([(1, 0.5), (29, 0.5)], 0.10) + self.blob([(15, 0.5), (29, 0.5)], 0.10)
        mean = (photo * cheeks[..., None]).sum((0, 1)) / cheeks.sum()
        ratio = photo / mean
        detail = photo / cv2.GaussianBlur(photo, (0, 0), SIZE / 100)
        detail = mixed(detail, np.ones_like(detail), self.inside())
        # The warp stretches what is below the chin.
        throat = self.throat()[:, None]
        detail = mixed(detail, np.clip(detail, 0.97, 1.03), throat)
        bare = throat * (1 - sitter.throat)
        detail = mixed(detail, np.ones_like(detail), bare)
        # Away from the face its wide shades are the photographed person's: keep pores only.
        wide = (1 - self.border()) * (1 - lips) * sitter.mottle
        wide *= 1 - sitter.even * self.beside_nose()
        wide *= 1 - sitter.even_lids * self.above_eyes()
        shades = np.log(ratio / detail)
        below_chin = shades[bare[:, 0] > 0.5, SIZE // 4 : -SIZE // 4]
        if below_chin.size:
            shades = mixed(shades, below_chin.mean((0, 1)), bare)
        ratio = np.exp(shades * wide[..., None]) * detail
        albedo = tone * ratio
        albedo = mixed(albedo, albedo * BLUSH, sitter.blush * np.clip(cheeks, 0, 1))
        nose = self.blob([(30, 1.0)], 0.035)
        albedo = mixed(albedo, albedo * BLUSH, 0.4 * sitter.blush * nose)
        lip = to_linear(np.array(sitter.lips) / 255) * detail**1.5
        albedo = mixed(albedo, lip, lips * sitter.lip_strength)
        albedo = self._lids(albedo, sitter)
        albedo = mixed(albedo, tone * LID_RED, self.slits())
        shade = to_linear(np.array(sitter.brow_shade) / 255)
        under = 0.5 * sitter.brow_density * (1 - 0.7 * sitter.brow_soft)
        mask = self.brow_mask(sitter.brow_thickness, sitter.brow_soft, sitter.brow_tail)
        albedo = mixed(albedo, shade, under * mask)
        grey = np.log(detail.mean(2))
        fine = grey - cv2.GaussianBlur(grey, (0, 0), 5)
        height = 0.5 + np.clip(fine * 2.2, -0.5, 0.5)
        gloss = np.clip(self.blob([(27, 1), (30, 1)], 0.05) + self.blob([(21, 1), (22, 1)], 0.1)
                        + 0.5 * self.blob([(8, 0.6), (57, 0.4)], 0.05), 0, 1)  # fmt: skip
        albedo, folds = self._aged(albedo, sitter, rng)
        if sitter.mature or sitter.stubble:
            albedo, height = self._weathered(albedo, height, sitter, rng)
        return SkinMaps(*(a.astype(np.float32) for a in (albedo, height, lips, gloss, folds)))

    def _aged(
        self, albedo: np.ndarray, sitter: Sitter, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Albedo with the spots and wrinkles of the sitter's age, and the wrinkles' height."""
        if not sitter.age:
            return albedo, np.full((SIZE, SIZE), 0.5, np.float32)
        places = cv2.resize(self.places, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_CUBIC)
        lines = ageing.wrinkles(places, rng)
        spots = ageing.spots(places, rng)
        folds = lines + ageing.crepe(places, rng)
        if sitter.old:
            amount = sitter.old * (1 - self.border()[..., None])
            albedo = albedo * self._larger(old_age.blotchy(places, rng)) ** amount
            spots = spots * (1 - sitter.old + 0.9 * sitter.old**2)
            furrows = sitter.old * ageing.wrinkles(places, rng, old_age.FURROWS)
            dark = cv2.GaussianBlur(np.clip(-furrows, 0, 1).astype(np.float32), (0, 0), 2.5)
            albedo = mixed(albedo, albedo * old_age.FURROW, sitter.old**2 * self._larger(dark))
            lines = lines + furrows
            folds = folds + furrows + sitter.old * old_age.relief(places, rng)
        if sitter.mature:
            furrows = sitter.mature * ageing.wrinkles(places, rng, middle_age.LINES)
            lines, folds = lines + furrows, folds + furrows
        lines, spots, folds = (self._larger(a) for a in (lines, spots, folds))
        albedo = mixed(albedo, albedo * SPOT, sitter.age * np.clip(spots, 0, 1))
        deep = sitter.age * sitter.lines
        albedo = mixed(albedo, albedo * LID_RED, deep * 0.55 * np.clip(-lines, 0, 1))
        return albedo, 0.5 + 0.5 * np.clip(deep * folds, -1, 1)

    def _weathered(
        self, albedo: np.ndarray, height: np.ndarray, sitter: Sitter, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Albedo and height with the pores and the shaved beard of a man of some fifty years."""
        bare = 1 - self.lip_mask()
        beard = sitter.stubble * bare * self._larger(middle_age.shaved(self.places))
        albedo = albedo * middle_age.stubble(beard, rng)
        pores = sitter.mature * bare * middle_age.pores(self._larger(self.places), rng)
        albedo = mixed(albedo, albedo * SPOT, 0.35 * pores)
        return albedo, np.clip(height - 0.45 * pores, 0, 1)

    @functools.cached_property
    def places(self) -> np.ndarray:
        """(SIZE / 4, SIZE / 4, 3) of texels on the mean head."""
        return anatomy.texels(self.kit, SIZE // 4).reshape(SIZE // 4, SIZE // 4, 3)

    @staticmethod
    def _larger(texels: np.ndarray) -> np.ndarray:
        """A map of any size as float32 of SIZE."""
        return cv2.resize(texels.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)

    def lip_mask(self, thin: float = 0.0) -> np.ndarray:
        """0..1: the red of the lips, with a soft border; less high by the share `thin`."""
        outer, inner = (self.pixels(self.marks[rows]) for rows in (OUTER_LIPS, INNER_LIPS))
        # The inner border's points below and above those of the outer one
        opposite = inner[[0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7]]
        outer = outer + thin * (opposite - outer) * [0, 1]
        closed = spline(np.vstack([outer, outer[:1]]), 96)
        mask = np.zeros((SIZE, SIZE), np.float32)
        fill(mask, closed)
        return cv2.GaussianBlur(mask, (0, 0), SIZE / 260)

    def inside(self) -> np.ndarray:
        """0..1: the mouth's inside and the nostrils, of which the photograph shows nothing."""
        mask = np.zeros((SIZE, SIZE), np.float32)
        fill(mask, self.pixels(self.marks[INNER_LIPS]))
        return cv2.GaussianBlur(mask, (0, 0), SIZE / 400)

    def throat(self) -> np.ndarray:
        """(SIZE,) 0..1: rows below the chin."""
        chin = self.pixels(self.marks[CHIN])[1]
        return smoothstep(np.arange(SIZE), chin + 0.01 * SIZE, chin + 0.04 * SIZE)

    def slits(self) -> np.ndarray:
        """0..1: between the lids, where the photographic texture has no skin."""
        mask = np.zeros((SIZE, SIZE), np.float32)
        for marks in (EYE_RIGHT, EYE_LEFT):
            path = self.pixels(self.marks[marks])
            fill(mask, path)
            stroke(mask, path, SIZE // 340, closed=True)
        return cv2.GaussianBlur(mask, (0, 0), SIZE / 1000)

    def beside_nose(self) -> np.ndarray:
        """0..1: beside and below the nose, where the photographed skin has shadows."""
        spots = [[(wing, share), (eye, 1 - share)] for share in (0.35, 0.7, 1.0)
                 for wing, eye in ((31, 39), (35, 42))]  # fmt: skip
        spots += [[(33, 0.6), (51, 0.4)], [(31, 0.6), (48, 0.4)], [(35, 0.6), (54, 0.4)]]
        return np.clip(1.3 * np.max([self.blob(spot, 0.05) for spot in spots], 0), 0, 1)

    def above_eyes(self) -> np.ndarray:
        """0..1: between lashes and brows, where the photographed skin is shaded."""
        pairs = ((37, 19), (38, 20), (39, 21), (44, 24), (43, 23), (42, 22))
        spots = [self.blob([(lid, 0.5), (brow, 0.5)], 0.035) for lid, brow in pairs]
        return np.clip(1.4 * np.max(spots, 0), 0, 1)

    def brow_mask(self, thickness: float, soft: float, tail: float) -> np.ndarray:
        """0..1: the skin's shade below brows of that thickness, cm; of `soft` ones (0..1) it begins
        farther from the nose, with a `tail` (0..1) it ends before."""
        mask = np.zeros((SIZE, SIZE), np.float32)
        for rows, _ in BROWS:
            line = self.pixels(brow_line(self.marks[rows], tail))
            line = line[4 + int(10 * soft) : 46 - int(8 * tail)]
            cm = self._pixels_per_cm()
            line[:, 1] -= BROW_LIFT * cm
            stroke(mask, line, max(1, int(0.45 * thickness * cm)))
        return cv2.GaussianBlur(mask, (0, 0), 0.22 * thickness * cm)

    def _pixels_per_cm(self) -> float:
        mean = self.kit.mean[self.kit.landmarks]
        cm = np.linalg.norm(mean[17] - mean[21])
        return float(np.linalg.norm(self.marks[17] - self.marks[21]) * SIZE / cm)

    def border(self) -> np.ndarray:
        """0..1: how near a texel is to the back of the head, whose skin has one tone."""
        kit = self.kit
        back, face = kit.parts["head_neck"], kit.parts["face"].stop
        touching = (kit.triangles >= back.start) & (kit.triangles < back.stop)
        shared = kit.triangles[touching.any(1)]
        points = self.pixels(self.uv[np.unique(shared[shared < face])])
        far = np.full((SIZE // 8, SIZE // 8), 255, np.uint8)
        for x, y in np.clip(points / 8, 0, SIZE // 8 - 1).astype(int):
            far[y, x] = 0
        distance = cv2.distanceTransform(far, cv2.DIST_L2, 5) / (SIZE / 8)
        return cv2.resize(np.clip(1 - distance / 0.09, 0, 1), (SIZE, SIZE))

    def blob(self, weights: list[tuple[int, float]], radius: float) -> np.ndarray:
        """0..1: a soft spot of that radius (of the texture) about a weighted mean of landmarks."""
        total = sum(weight for _, weight in weights)
        x, y = self.pixels(sum(self.marks[i] * weight for i, weight in weights) / total)
        rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
        return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (radius * SIZE) ** 2)

    def pixels(self, uv: np.ndarray) -> np.ndarray:
        return uv * [SIZE, -SIZE] + [0, SIZE]

    def _lids(self, albedo: np.ndarray, sitter: Sitter) -> np.ndarray:
        """Red of the lids' borders, and what make-up there is along the lashes."""
        kit, red, line = self.kit, *(np.zeros((SIZE, SIZE), np.float32) for _ in range(2))
        for marks in (EYE_RIGHT, EYE_LEFT):
            rings = mesh_rings.around(kit, marks, kit.mean, range(5), 20)
            for number, (upper, lower) in enumerate(rings):
                for half, lashes in ((upper, 1.0), (lower, 0.45)):
                    path = self.pixels(self.uv[half])
                    if number < 2:
                        stroke(red, path, SIZE // 250)
                    if number in (2, 3):
                        stroke(line, path, SIZE // 500, lashes)
        red, line = (cv2.GaussianBlur(m, (0, 0), SIZE / 700) for m in (red, line))
        albedo = mixed(albedo, albedo * LID_RED, np.clip(red, 0, 1))
        shadow = np.array([0.35, 0.26, 0.24], np.float32)
        return mixed(albedo, albedo * shadow, np.clip(line, 0, 1) * sitter.eyeliner)

    def _warped(self, image: np.ndarray) -> np.ndarray:
        """The photographic texture (any size) as the face model lays it out."""
        from scipy.interpolate import RBFInterpolator

        known = dict(MARKS)
        for mark, (x, y) in MARKS.items():
            known.setdefault(MIRRORED[mark], (1000 - x, y))
        here = np.array([self.marks[m] for m in known] + [uv for uv, _ in CORNERS])
        there = np.array([*known.values(), *(xy for _, xy in CORNERS)]) / 1000
        warp = RBFInterpolator(here, there, kernel="thin_plate_spline", smoothing=1e-5)
        u, v = np.meshgrid(np.linspace(0, 1, GRID), np.linspace(1, 0, GRID))
        grid = warp(np.stack([u.ravel(), v.ravel()], 1)).reshape(GRID, GRID, 2)
        # Texel centres of the corners' grid
        at = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * (GRID - 1)
        columns, rows = np.meshgrid(at, at)
        grid = cv2.remap(grid.astype(np.float32), columns, rows, cv2.INTER_CUBIC) * len(image)
        return cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_CUBIC,
                         borderMode=cv2.BORDER_REFLECT)  # fmt: skip


def mixed(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    return below + (above - below) * share[..., None]


def fill(mask: np.ndarray, points: np.ndarray) -> None:
    """Fills a polygon (n, 2) of a mask, in place."""
    cv2.fillPoly(mask, [sixteenths(points)], 1.0, cv2.LINE_AA, 4)


def stroke(
    mask: np.ndarray, points: np.ndarray, width: int, value: float = 1.0, closed: bool = False
) -> None:
    """Draws a line along points (n, 2) into a mask, in place."""
    line = [sixteenths(points)]
    cv2.polylines(mask, line, closed, value, thickness=width, lineType=cv2.LINE_AA, shift=4)


def sixteenths(points: np.ndarray) -> np.ndarray:
    """Of pixels, as OpenCV takes them with four bits of fraction."""
    return np.round(points * 16).astype(np.int32)
