# SPDX-License-Identifier: Apache-2.0
"""Paints a person's skin into the face model's texture: colour, lips, bumps, gloss.

Paint is a function of where a texel lies on the mean head, so that it moves with every identity and
expression. `SkinPainter.paint` goes layer by layer from the base tone to the hair; each layer draws
its random numbers in that order, which a seed's pictures depend on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.easing import smoothstep
from realtalk_ros.training.synthetic.brows import BrowPainter, spline
from realtalk_ros.training.synthetic.hair_regions import beard_masks, scalp_mask
from realtalk_ros.training.synthetic.head_renderer import HeadRenderer
from realtalk_ros.training.synthetic.noise import value_noise
from realtalk_ros.training.synthetic.texture_atlas import position_map
from realtalk_ros.training.synthetic.traits import SKIN_TONES, Traits

NOISE_CELLS = (6, 12, 24, 48, 96, 192)  # bumps across the texture
SUBPIXEL_BITS = 4  # OpenCV draws at whole numbers of 1 / 2**bits pixels
SUBPIXELS = 2**SUBPIXEL_BITS


@dataclass
class Canvas:
    """One person's texture while it is painted; h texels high, all arrays (h, 2 h) or with rgb."""

    skin: np.ndarray  # (h, 2 h, 3) sRGB in 0..1
    tone: np.ndarray  # (3,) of the skin
    height: np.ndarray  # bumps in 0..1, 0.5 is flat
    noise: dict[int, np.ndarray]  # by its cells, coarse to fine, about -0.5..0.5
    fine: np.ndarray  # white noise
    soft: np.ndarray  # blurred, of unit variance
    crease: np.ndarray  # the same along the lips' creases


class SkinPainter:
    """Paints skin textures, `height` texels high, over the mean head's position map."""

    def __init__(self, renderer: HeadRenderer, height: int):
        kit = self.kit = renderer.kit
        self.height = height
        self.positions = position_map(renderer.gl, kit, renderer.kinds, height)
        self.x, self.y, self.z = (self.positions[..., i] for i in range(3))
        self.is_face = np.zeros(self.x.shape, bool)
        self.is_face[:, :height] = True
        vertex_uv = np.zeros((len(kit.mean), 2), np.float32)
        vertex_uv[kit.triangles.ravel()] = kit.uvs[kit.triangle_uvs.ravel()]
        self.landmark_uv = vertex_uv[kit.landmarks]
        self.mean_landmarks = kit.mean[kit.landmarks]
        self.lips = self._lip_mask()
        self._blobs: dict[tuple, np.ndarray] = {}
        rng = np.random.default_rng(11)
        self.noise = {
            cells: value_noise(self.x.shape, cells, rng) - 0.5
            for cells in NOISE_CELLS
            if cells < height
        }
        bare = (1 - self.lips) * self.is_face
        self.jaw, self.upper_lip = (mask * bare for mask in beard_masks(self.positions))
        self.lid_line = self._lid_line()
        self.wrinkles = self._wrinkles()
        self._brows = BrowPainter(self.landmark_uv, self.mean_landmarks, height)

    def paint(self, traits: Traits, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(albedo (H, 2H, 4), detail (H, 2H, 2)) uint8, as `scene.Appearance` wants them."""
        canvas = self._begin(traits, rng)
        self._paint_freckles(canvas, traits, rng)
        self._paint_moles(canvas, traits, rng)
        self._paint_make_up(canvas, traits)
        self._paint_body_paint(canvas, traits, rng)
        self._paint_age(canvas, traits)
        self._paint_lips(canvas, traits)
        hair = self._paint_hair(canvas, traits, rng)
        self._raise_pores(canvas, traits)
        gloss = self._gloss(canvas, hair)
        albedo = np.dstack([np.clip(canvas.skin, 0.01, 0.98), self.lips])
        detail = np.dstack([np.clip(canvas.height, 0, 1), gloss])
        return (albedo * 255).astype(np.uint8), (detail * 255).astype(np.uint8)

    # -- layers -----------------------------------------------------------------------------------

    def _begin(self, traits: Traits, rng: np.random.Generator) -> Canvas:
        """The bare skin: its tone, blood below it, mottles and grain."""
        h, shape = self.height, self.x.shape
        signs = [v if rng.random() < 0.5 else -v for v in self.noise.values()]
        noise = dict(zip(self.noise, signs, strict=True))
        at = traits.tone * 7 + 1
        tone = np.array([np.interp(at, np.arange(10), SKIN_TONES[:, i]) for i in range(3)])
        tone *= 1 + traits.undertone * np.array([-0.015, 0.012, -0.05])
        skin = np.broadcast_to(tone.astype(np.float32), self.positions.shape).copy()
        self._paint_blood(skin, noise, traits)
        fine = rng.standard_normal(shape, np.float32)
        soft = cv2.GaussianBlur(fine, (0, 0), h / 640)
        soft /= soft.std()
        skin *= 1 + 0.012 * (0.5 + traits.mottle) * soft[..., None]
        crease = cv2.GaussianBlur(fine, (0, 0), sigmaX=h / 700, sigmaY=h / 130)
        crease /= crease.std()
        height = np.full(shape, 0.5, np.float32)
        return Canvas(skin, tone, height, noise=noise, fine=fine, soft=soft, crease=crease)

    def _paint_blood(self, skin: np.ndarray, noise: dict[int, np.ndarray], traits: Traits) -> None:
        """Blood in cheeks, nose, ears and chin; thin bluish skin round the eyes; a paler forehead;
        mottles."""
        cells, blob, mottle = sorted(noise), self.blob, traits.mottle
        blood = (
            0.75 * blob((4.6, 0.2, 0), (2.0, 1.7)) + 0.8 * blob((0, 0.6, 0), (1.5, 1.2))
            + 0.5 * blob((0, -6.2, 0), (1.8, 1.2)) + 0.7 * blob((9.0, 2.5, 0), (1.3, 3.0))
            + 0.35 * blob((3.2, 4.6, 0), (1.8, 0.5))
        )  # fmt: skip
        blood = np.clip(
            blood + 0.8 * noise[cells[1]] * mottle + 0.5 * noise[cells[2]] * mottle, -0.6, 1.4
        )
        dark = np.interp(traits.tone, [0.3, 1], [1, 0.45])
        amount = traits.redness * 0.11 * dark
        skin += (blood * amount)[..., None] * _rgb(0.35, -0.75, -0.55)
        pale = blob((0, 9, 0), (5, 2.6)) * 0.025
        skin += pale[..., None] * _rgb(1.0, 0.9, 0.5)
        under = blob((3.1, 2.35, 0), (1.7, 0.55)) + 0.6 * blob((1.9, 3.2, 0), (0.5, 0.8))
        skin *= 1 - (under * traits.dark_circles * 0.22)[..., None] * _rgb(0.75, 1.0, 0.7)
        skin *= 1 + 0.05 * mottle * (noise[cells[3]] + 0.7 * noise[cells[2]])[..., None]

    def _paint_freckles(self, canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
        if traits.freckles <= 0:
            return
        where = self.blob((3.6, 1.2, 0), (2.8, 2.0)) + self.blob((0, 1.6, 0), (1.8, 1.6)) * 0.8
        white = rng.standard_normal(self.x.shape, np.float32)
        grain = cv2.GaussianBlur(white, (0, 0), self.height / 300)
        spots = smoothstep(grain / grain.std() + where * 0.9, 1.2, 2.2) * np.clip(
            where * 1.3 + 0.12, 0, 1
        )
        canvas.skin *= 1 - (spots * traits.freckles)[..., None] * _rgb(0.28, 0.42, 0.5)

    def _paint_moles(self, canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
        h = self.height
        for _ in range(traits.moles):
            u, v = rng.uniform(0.12, 0.88) * h, rng.uniform(0.2, 0.8) * h
            spot = np.zeros(self.x.shape, np.uint8)
            radius = int(rng.uniform(0.4, 1.3) * h / 512 * SUBPIXELS)
            centre = (int(u * SUBPIXELS), int(v * SUBPIXELS))
            cv2.circle(
                spot, centre, radius, 200, thickness=-1, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS
            )
            spot = cv2.GaussianBlur(spot, (0, 0), h / 1000).astype(np.float32) / 255
            canvas.skin *= 1 - spot[..., None] * _rgb(0.45, 0.6, 0.65)

    def _paint_make_up(self, canvas: Canvas, traits: Traits) -> None:
        skin = canvas.skin
        if traits.blush > 0:
            rosy = np.clip(self.blob((5.2, 0.9, 0), (1.9, 1.3)), 0, 1) * traits.blush * 0.35
            colour = np.float32([0.85, 0.42, 0.42] * (0.4 + 0.6 * canvas.tone))
            skin += rosy[..., None] * (colour - skin)
        if traits.eyeshadow > 0:
            lid = np.clip(self.blob((3.2, 4.45, 0), (1.9, 0.62)) * 1.2, 0, 1)
            lid = lid * (self.y > 3.6) * traits.eyeshadow
            skin += (lid * 0.65)[..., None] * (np.float32(traits.eyeshadow_colour) - skin)
        if traits.eyeliner > 0:
            line = self.lid_line * traits.eyeliner
            skin *= 1 - 0.85 * line[..., None]

    def _paint_body_paint(self, canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
        """Stripes, blotches, patches in colours at random."""
        if traits.body_paint <= 0:
            return
        a, b = rng.random((2, 3)).astype(np.float32)
        slope = rng.normal(0, 1, 3).astype(np.float32)
        wobble = self.noise[12] * rng.uniform(0, 6) + self.noise[48] * rng.uniform(0, 3)
        along = self.positions @ (slope * np.float32(rng.uniform(0.3, 2.5)))
        stripes = 0.5 + 0.5 * np.sin(along + wobble)
        if rng.random() < 0.5:
            stripes = smoothstep(stripes, 0.4, 0.6)
        cover = smoothstep(self.noise[6] + rng.uniform(-0.2, 0.4), -0.15, 0.15).astype(np.float32)
        paint = a + (b - a) * stripes[..., None].astype(np.float32)
        canvas.skin += (cover * traits.body_paint)[..., None] * (paint - canvas.skin)

    def _paint_age(self, canvas: Canvas, traits: Traits) -> None:
        """Wrinkles and spots."""
        if traits.age <= 0:
            return
        canvas.skin *= 1 - (self.wrinkles * (0.10 * traits.age))[..., None] * _rgb(0.7, 1.0, 1.0)
        noise = canvas.noise[96] * 0.6 + canvas.noise[48] * 0.5
        spots = smoothstep(noise, 0.30, 0.38) * traits.age
        canvas.skin *= 1 - spots[..., None] * _rgb(0.08, 0.12, 0.15)

    def _paint_lips(self, canvas: Canvas, traits: Traits) -> None:
        """Darker to the inside, with fine vertical creases."""
        tone, strength = canvas.tone, traits.lip_strength
        hue = traits.lip_hue * (0.25 + 0.75 * tone.mean() / 0.75)
        inner = cv2.GaussianBlur((self.lips > 0.5).astype(np.float32), (0, 0), self.height / 90)
        target = np.float32(tone * (1 - strength) + hue * strength)
        lips = target * (1.04 - 0.20 * inner[..., None]) * (1 + 0.035 * canvas.crease[..., None])
        mix = np.clip(self.lips * 1.0, 0, 1)[..., None]
        canvas.skin = canvas.skin * (1 - mix) + lips * mix

    def _paint_hair(self, canvas: Canvas, traits: Traits, rng: np.random.Generator) -> np.ndarray:
        """Brows, stubble, beard, scalp. Returns the mask (h, 2 h) of brows and beard."""
        skin, colour = canvas.skin, np.sqrt(traits.hair_colour).astype(np.float32)
        brows = self._brows.paint(traits, rng)
        skin += np.clip(brows * 1.05, 0, 0.96)[..., None] * (colour * 0.8 - skin)
        speckle = smoothstep(canvas.soft, 0.35, 1.6)
        if traits.stubble > 0:
            area = np.clip(self.jaw + self.upper_lip, 0, 1) * traits.stubble
            skin *= 1 - (area * 0.16)[..., None] * _rgb(1.0, 0.92, 0.8)
            skin += (area * speckle * 0.5)[..., None] * (colour - skin)
        beard = np.clip(self.jaw * traits.beard + self.upper_lip * traits.moustache, 0, 1)
        if beard.max() > 0:
            h = self.height
            strokes = cv2.GaussianBlur(canvas.fine, (0, 0), sigmaX=h / 800, sigmaY=h / 110)
            strokes /= strokes.std()
            cover = np.clip(beard * 1.5 + beard * strokes * 0.45, 0, 1) * (beard > 0.02)
            tint = colour * (1 + 0.35 * strokes[..., None] * cover[..., None])
            skin += (cover * 0.95)[..., None] * (tint - skin)
            canvas.height += beard * strokes * 0.30
        if traits.hair != "bald":
            cover = scalp_mask(self.positions, traits.hairline).astype(np.float32)
            cover *= 0.92 if traits.hair != "shaved" else 0.62
            if traits.hair == "shaved":
                cover = cover * (0.7 + 0.3 * speckle)
            skin += cover[..., None] * (colour * 0.8 - skin)
        return np.clip(beard + brows, 0, 1)

    def _raise_pores(self, canvas: Canvas, traits: Traits) -> None:
        """Pores, the lips' creases and wrinkles, into the height."""
        pores = canvas.fine - cv2.GaussianBlur(canvas.fine, (0, 0), self.height / 500)
        grain = 0.055 * traits.pores * canvas.soft + 0.02 * traits.pores * pores
        canvas.height += grain * (1 - self.lips) + 0.10 * canvas.crease * self.lips
        canvas.height -= self.wrinkles * (0.20 * traits.age)

    def _gloss(self, canvas: Canvas, hair: np.ndarray) -> np.ndarray:
        """(h, 2 h): nose and forehead shine, lips more, hair hardly."""
        cells = sorted(canvas.noise)
        zone = (
            self.blob((0, 1.5, 0), (1.4, 3.5))
            + 0.7 * self.blob((0, 8.5, 0), (4, 2))
            + 0.4 * self.blob((4.4, 1.2, 0), (1.5, 1))
        )
        noise = canvas.noise[cells[3]]
        gloss = np.clip(0.38 + 0.35 * zone + 0.25 * noise + 0.5 * self.lips, 0, 1)
        gloss *= 1 - 0.8 * hair
        return gloss

    # -- masks, the same for everybody --------------------------------------------------------

    def blob(self, centre, radius) -> np.ndarray:
        """Gaussian in head space, both sides of the face; centre (x, y, z), radius (rx, ry)."""
        key = (*centre, *radius)
        if key not in self._blobs:
            dx = (np.abs(self.x) - abs(centre[0])) / radius[0]
            dy = (self.y - centre[1]) / radius[1]
            self._blobs[key] = np.exp(-(dx * dx + dy * dy)) * (self.z > 1.5) * self.is_face
        return self._blobs[key]

    def _lip_mask(self) -> np.ndarray:
        lm = self.landmark_uv
        upper, lower = spline(lm[48:55]), spline(lm[[54, 55, 56, 57, 58, 59, 48]])
        mask = np.zeros(self.x.shape, np.uint8)
        polygon = (np.vstack([upper, lower]) * self.height * SUBPIXELS).astype(np.int32)
        cv2.fillPoly(mask, [polygon], 255, cv2.LINE_AA, shift=SUBPIXEL_BITS)
        return cv2.GaussianBlur(mask, (0, 0), self.height / 330).astype(np.float32) / 255

    def _lid_line(self) -> np.ndarray:
        lm, h = self.landmark_uv, self.height
        mask = np.zeros(self.x.shape, np.uint8)
        for points in (lm[36:40], lm[42:46]):
            curve = (spline(points, 30) * h * SUBPIXELS).astype(np.int32)
            cv2.polylines(
                mask, [curve], False, 255,
                thickness=max(2, h // 200), lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS,
            )  # fmt: skip
        return cv2.GaussianBlur(mask, (0, 0), h / 420).astype(np.float32) / 255

    def _wrinkles(self) -> np.ndarray:
        """(H, 2H) 0..1: lines that age draws across forehead, beside eyes and mouth."""
        ax, y = np.abs(self.x), self.y
        wave = 0.35 * self.noise[12] + 0.04 * ax**2 / 4
        out = np.zeros_like(ax)
        for level in (7.3, 8.15, 9.0):
            out = np.maximum(out, np.exp(-(((y + wave - level) / 0.10) ** 2)) * (ax < 5))
        t = np.clip((0.6 - y) / 3.6, 0, 1)  # from the nostril's wing past the mouth's corner
        line = 1.9 + 1.5 * t**0.8
        beside = np.exp(-(((ax - line) / 0.14) ** 2)) * smoothstep(y, 0.6, 0.1)
        out = np.maximum(out, beside * smoothstep(y, -4.2, -3.0))
        away = np.hypot(ax - 4.4, y - 3.2)
        ray = np.cos(7.5 * np.arctan2(y - 3.2, ax - 4.4)) ** 8
        feet = ray * smoothstep(away, 0.5, 0.9) * smoothstep(away, 2.4, 1.2) * (ax > 4.6)
        return np.maximum(out, 0.7 * feet).astype(np.float32) * self.is_face * (self.z > 1.5)


def _rgb(*values: float) -> np.ndarray:
    return np.array(values, np.float32)
