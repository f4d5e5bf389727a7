"""Paints a person's skin into the face model's texture: colour, lips, bumps, gloss.

Paint is a function of where a texel lies on the mean head, so that it moves with every identity and
expression. `Traits` says what a person looks like.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from realtalk_ros.training.synthetic.head_renderer import Studio, smoothstep, value_noise

# Skin under white light from very light to very dark, sRGB (after the Fitzpatrick and Monk scales);
# the first and the last lie beyond tone 0 and 1.
SKIN_TONES = np.array(
    [[255, 234, 222], [247, 218, 201], [238, 200, 176], [226, 182, 152], [205, 156, 122],
     [176, 125, 91], [139, 94, 66], [104, 69, 49], [74, 49, 37], [44, 29, 24]],
    np.float32) / 255  # fmt: skip
HAIR_COLOURS = np.array(  # linear rgb
    [[0.012, 0.009, 0.008], [0.03, 0.017, 0.01], [0.07, 0.035, 0.018], [0.13, 0.065, 0.03],
     [0.28, 0.165, 0.075], [0.45, 0.32, 0.17], [0.26, 0.075, 0.025], [0.36, 0.35, 0.34],
     [0.65, 0.64, 0.62]])  # fmt: skip
IRIS_COLOURS = np.array(
    [[0.05, 0.02, 0.008], [0.09, 0.04, 0.015], [0.13, 0.075, 0.025], [0.12, 0.12, 0.045],
     [0.07, 0.12, 0.08], [0.07, 0.14, 0.24], [0.14, 0.2, 0.27], [0.17, 0.19, 0.2]])  # fmt: skip


@dataclass
class Traits:
    """What decides a look. Amounts are 0..1 unless said otherwise."""

    tone: float = 0.3  # 0 light .. 1 dark
    undertone: float = 0.0  # -1 rosy .. 1 olive
    redness: float = 0.5
    mottle: float = 0.5
    freckles: float = 0.0
    moles: int = 2
    pores: float = 0.5
    age: float = 0.0  # folds of forehead, eyes and mouth, spots
    strange: float = 0.0  # paint of no human kind over the skin
    shine: float = 1.0  # factor of gloss
    lip_hue: np.ndarray = field(default_factory=lambda: np.array([0.78, 0.36, 0.36]))  # sRGB
    lip_strength: float = 0.55
    hair_colour: np.ndarray = field(default_factory=lambda: HAIR_COLOURS[2])
    brow_thickness: float = 0.5
    brow_density: float = 0.7
    brow_lift: float = 0.0  # cm
    stubble: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    eyeshadow: float = 0.0
    eyeshadow_colour: np.ndarray = field(default_factory=lambda: np.array([0.35, 0.22, 0.25]))
    eyeliner: float = 0.0
    blush: float = 0.0
    circles: float = 0.3  # dark under the eyes
    iris: np.ndarray = field(default_factory=lambda: IRIS_COLOURS[1])
    lashes: float = 0.5
    hair: str = (
        "short"  # "bald", "shaved", "short", "side", "fringe", "long", "bob", "curly", "tied"
    )
    hair_strands: int = 2600
    hair_width: float = 0.13  # cm
    hair_length: float = 1.0  # factor
    part_side: float = 1.0  # -1 or 1
    hairline: float = 0.0  # cm lower on the forehead than usual
    cloth: np.ndarray = field(default_factory=lambda: np.array([0.10, 0.13, 0.20]))
    collar: float = 0.5
    glasses: float = 0.0  # above 0: thickness of the frame, 1 is thick
    cap: bool = False


class Painter:
    """Paints skin textures, `height` texels high, over the mean head's position map."""

    def __init__(self, studio: Studio, height: int = 512):
        self.kit, self.height = studio.kit, height
        position, valid = studio.position_map(height)
        # Texels beside the islands take the nearest position so that filtering meets no seam.
        label = cv2.distanceTransformWithLabels(
            (~valid).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )[1]
        lookup = np.zeros((label.max() + 1, 3), np.float32)
        lookup[label[valid]] = position[valid]
        self.p = lookup[label]
        self.x, self.y, self.z = (self.p[..., i] for i in range(3))
        self.is_face = np.zeros(valid.shape, bool)
        self.is_face[:, :height] = True
        kit = self.kit
        self.vertex_uv = np.zeros((len(kit.mean), 2), np.float32)
        self.vertex_uv[kit.triangles.ravel()] = kit.uvs[kit.triangle_uvs.ravel()]
        self.landmark_uv = self.vertex_uv[kit.landmarks]
        self.mean_landmarks = kit.mean[kit.landmarks]
        self.lips = self._lip_mask()
        self._blobs: dict[tuple, np.ndarray] = {}
        rng = np.random.default_rng(11)
        shape = self.p.shape[:2]
        self.noise = {
            c: value_noise(shape, c, rng) - 0.5 for c in (6, 12, 24, 48, 96, 192) if c < height
        }
        self.beards = self.beard_region()
        self.lid_line = self._lid_line()
        self.folds = self._folds()

    def _spline(self, uv: np.ndarray, count: int = 40) -> np.ndarray:
        from scipy.interpolate import CubicSpline

        t = np.r_[0, np.cumsum(np.linalg.norm(np.diff(uv, axis=0), axis=1))]
        return CubicSpline(t, uv)(np.linspace(0, t[-1], count))

    def _lip_mask(self) -> np.ndarray:
        lm = self.landmark_uv
        upper, lower = self._spline(lm[48:55]), self._spline(lm[[54, 55, 56, 57, 58, 59, 48]])
        mask = np.zeros(self.p.shape[:2], np.uint8)
        polygon = (np.vstack([upper, lower]) * self.height * 16).astype(np.int32)
        cv2.fillPoly(mask, [polygon], 255, cv2.LINE_AA, shift=4)
        return cv2.GaussianBlur(mask, (0, 0), self.height / 330).astype(np.float32) / 255

    def blob(self, centre, radius) -> np.ndarray:
        """Gaussian in head space, both sides of the face; centre (x, y, z), radius (rx, ry)."""
        key = (*centre, *radius)
        if key not in self._blobs:
            dx = (np.abs(self.x) - abs(centre[0])) / radius[0]
            dy = (self.y - centre[1]) / radius[1]
            self._blobs[key] = np.exp(-(dx * dx + dy * dy)) * (self.z > 1.5) * self.is_face
        return self._blobs[key]

    def _folds(self) -> np.ndarray:
        """(H, 2H) 0..1: lines that age draws across forehead, beside eyes and mouth."""
        ax, y = np.abs(self.x), self.y
        wave = 0.35 * self.noise[12] + 0.04 * ax**2 / 4
        out = np.zeros_like(ax)
        for level in (7.3, 8.15, 9.0):
            out = np.maximum(out, np.exp(-(((y + wave - level) / 0.10) ** 2)) * (ax < 5))
        t = np.clip((0.6 - y) / 3.6, 0, 1)  # from the nostril's wing past the mouth's corner
        line = 1.9 + 1.5 * t**0.8
        beside = np.exp(-(((ax - line) / 0.14) ** 2)) * smoothstep(0.6, 0.1, y)
        out = np.maximum(out, beside * smoothstep(-4.2, -3.0, y))
        away = np.hypot(ax - 4.4, y - 3.2)
        ray = np.cos(7.5 * np.arctan2(y - 3.2, ax - 4.4)) ** 8
        feet = ray * smoothstep(0.5, 0.9, away) * smoothstep(2.4, 1.2, away) * (ax > 4.6)
        return np.maximum(out, 0.7 * feet).astype(np.float32) * self.is_face * (self.z > 1.5)

    def _strange(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """((H, 2H, 3) sRGB, (H, 2H) cover): stripes, blotches, patches in colours at random."""
        a, b = rng.random((2, 3)).astype(np.float32)
        slope = rng.normal(0, 1, 3).astype(np.float32)
        wobble = self.noise[12] * rng.uniform(0, 6) + self.noise[48] * rng.uniform(0, 3)
        along = self.p @ (slope * np.float32(rng.uniform(0.3, 2.5)))
        stripes = 0.5 + 0.5 * np.sin(along + wobble)
        if rng.random() < 0.5:
            stripes = smoothstep(0.4, 0.6, stripes)
        cover = smoothstep(-0.15, 0.15, self.noise[6] + rng.uniform(-0.2, 0.4)).astype(np.float32)
        return a + (b - a) * stripes[..., None].astype(np.float32), cover

    def brows(self, traits: Traits, rng: np.random.Generator) -> np.ndarray:
        """(H, 2H) 0..1: hair strokes along the brow landmarks."""
        h, over = self.height, 2
        lm = self.landmark_uv
        canvas = np.zeros((h * over, h * over), np.uint8)
        cm = np.linalg.norm(lm[17] - lm[21]) / np.linalg.norm(
            self.mean_landmarks[17] - self.mean_landmarks[21]
        )  # uv per cm
        thickness = (0.35 + 0.75 * traits.brow_thickness) * cm
        for points, outward in ((lm[[21, 20, 19, 18, 17]], -1.0), (lm[[22, 23, 24, 25, 26]], 1.0)):
            points = points + np.array([0.0, (traits.brow_lift + 0.05) * cm])
            curve = self._spline(points, 60)
            along = np.gradient(curve, axis=0)
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            count = int(110 + 330 * traits.brow_density)
            t = rng.random(count) ** 0.9 * 0.97
            i = (t * 59).astype(int)
            # full at the head of the brow, tapering to the tail
            width = thickness * np.interp(t, [0, 0.12, 0.45, 0.75, 1], [0.45, 0.9, 0.95, 0.65, 0.3])
            across = rng.uniform(-0.5, 0.5, count)
            root = curve[i] + np.stack([np.zeros(count), across * width], 1)
            rise = np.interp(t, [0, 0.25, 0.6, 1], [1.0, 0.5, 0.12, -0.1]) - across * 0.7
            angle = rise + rng.normal(0, 0.16, count)
            forward = along[i]
            c, s = np.cos(angle), np.sin(angle) * outward
            direction = np.c_[
                forward[:, 0] * c - forward[:, 1] * s, forward[:, 0] * s + forward[:, 1] * c
            ]
            length = cm * rng.uniform(0.35, 0.7, count) * np.interp(t, [0, 0.3, 1], [0.7, 1, 0.75])
            tip = root + direction * length[:, None]
            scale = h * over
            for a, b, level in zip(
                root * scale * 16, tip * scale * 16, rng.integers(110, 235, count), strict=True
            ):
                cv2.line(canvas, tuple(a.astype(int)), tuple(b.astype(int)), int(level),
                         max(1, h // 700), cv2.LINE_AA, 4)  # fmt: skip
            body = np.zeros_like(canvas)
            cv2.polylines(body, [(curve[2:52] * scale * 16).astype(np.int32)], False, 255,
                          max(2, int(thickness * scale * 0.62)), cv2.LINE_AA, 4)  # fmt: skip
            body = cv2.GaussianBlur(body, (0, 0), thickness * scale * 0.28)
            canvas = np.maximum(
                canvas, (body * (0.22 + 0.42 * traits.brow_density)).astype(np.uint8)
            )
        small = cv2.resize(canvas, (h, h), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        full = np.zeros(self.p.shape[:2], np.float32)
        full[:, :h] = small
        return full

    def beard_region(self) -> tuple[np.ndarray, np.ndarray]:
        """(jaw and chin, moustache) masks."""
        ax, y, z = np.abs(self.x), self.y, self.z
        # the beard's upper border rises from beside the chin to the sideburn
        border = np.interp(
            ax, [0, 1.0, 2.3, 3.4, 5.0, 6.4, 7.2], [-5.0, -5.2, -4.6, -3.4, -2.3, -0.6, 1.5]
        )
        jaw = smoothstep(0.25, -0.9, y - border) * smoothstep(7.8, 7.1, ax)
        sideburn = smoothstep(6.0, 6.6, ax) * smoothstep(7.9, 7.3, ax) * smoothstep(5, 3, y)
        jaw = np.maximum(jaw, sideburn * smoothstep(2.0, 3.0, z))
        jaw *= smoothstep(-12.5, -9.5, y) * smoothstep(-1.0, 1.5, z)
        tache = smoothstep(0.35, -0.35, y + 1.3 + 0.13 * ax**1.6) * smoothstep(3.4, 2.5, ax)
        tache *= smoothstep(-4.6, -3.2, y + 0.25 * np.maximum(ax - 2.2, 0))
        tache *= smoothstep(9.2, 9.8, z)
        skin = (1 - self.lips) * self.is_face
        return jaw * skin, tache * skin

    def paint(self, traits: Traits, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(albedo (H, 2H, 4), detail (H, 2H, 2)) uint8, as `head_renderer.Look` wants them."""
        t, n, h = traits, self.noise, self.height
        flip = [v if rng.random() < 0.5 else -v for v in n.values()]
        noise = dict(zip(n.keys(), flip, strict=True))
        cells = sorted(noise)
        at = t.tone * 7 + 1
        tone = np.array([np.interp(at, np.arange(10), SKIN_TONES[:, i]) for i in range(3)])
        tone *= 1 + t.undertone * np.array([-0.015, 0.012, -0.05])
        skin = np.broadcast_to(tone.astype(np.float32), self.p.shape).copy()
        dark = np.interp(t.tone, [0.3, 1], [1, 0.45])
        # blood: cheeks, nose, ears, chin; thin bluish skin round the eyes; paler forehead
        blood = (
            0.75 * self.blob((4.6, 0.2, 0), (2.0, 1.7)) + 0.8 * self.blob((0, 0.6, 0), (1.5, 1.2))
            + 0.5 * self.blob((0, -6.2, 0), (1.8, 1.2)) + 0.7 * self.blob((9.0, 2.5, 0), (1.3, 3.0))
            + 0.35 * self.blob((3.2, 4.6, 0), (1.8, 0.5))
        )  # fmt: skip
        blood = np.clip(
            blood + 0.8 * noise[cells[1]] * t.mottle + 0.5 * noise[cells[2]] * t.mottle, -0.6, 1.4
        )
        amount = t.redness * 0.11 * dark
        skin += (blood * amount)[..., None] * _rgb(0.35, -0.75, -0.55)
        pale = self.blob((0, 9, 0), (5, 2.6)) * 0.025
        skin += pale[..., None] * _rgb(1.0, 0.9, 0.5)
        under = self.blob((3.1, 2.35, 0), (1.7, 0.55)) + 0.6 * self.blob((1.9, 3.2, 0), (0.5, 0.8))
        skin *= 1 - (under * t.circles * 0.22)[..., None] * _rgb(0.75, 1.0, 0.7)
        skin *= 1 + 0.05 * t.mottle * (noise[cells[3]] + 0.7 * noise[cells[2]])[..., None]
        fine = rng.standard_normal((h, 2 * h), np.float32)
        soft = cv2.GaussianBlur(fine, (0, 0), h / 640)
        soft /= soft.std()
        skin *= 1 + 0.012 * (0.5 + t.mottle) * soft[..., None]
        if t.freckles > 0:
            where = self.blob((3.6, 1.2, 0), (2.8, 2.0)) + self.blob((0, 1.6, 0), (1.8, 1.6)) * 0.8
            grain = cv2.GaussianBlur(rng.standard_normal((h, 2 * h), np.float32), (0, 0), h / 300)
            spots = smoothstep(1.2, 2.2, grain / grain.std() + where * 0.9) * np.clip(
                where * 1.3 + 0.12, 0, 1
            )
            skin *= 1 - (spots * t.freckles)[..., None] * _rgb(0.28, 0.42, 0.5)
        for _ in range(t.moles):
            u, v = rng.uniform(0.12, 0.88) * h, rng.uniform(0.2, 0.8) * h
            spot = np.zeros((h, 2 * h), np.uint8)
            radius = int(rng.uniform(0.4, 1.3) * h / 512 * 16)
            cv2.circle(spot, (int(u * 16), int(v * 16)), radius, 200, -1, cv2.LINE_AA, 4)
            spot = cv2.GaussianBlur(spot, (0, 0), h / 1000).astype(np.float32) / 255
            skin *= 1 - spot[..., None] * _rgb(0.45, 0.6, 0.65)
        if t.blush > 0:
            rosy = np.clip(self.blob((5.2, 0.9, 0), (1.9, 1.3)), 0, 1) * t.blush * 0.35
            skin += rosy[..., None] * (np.float32([0.85, 0.42, 0.42] * (0.4 + 0.6 * tone)) - skin)
        if t.eyeshadow > 0:
            lid = (
                np.clip(self.blob((3.2, 4.45, 0), (1.9, 0.62)) * 1.2, 0, 1)
                * (self.y > 3.6)
                * t.eyeshadow
            )
            skin += (lid * 0.65)[..., None] * (np.float32(t.eyeshadow_colour) - skin)
        if t.eyeliner > 0:
            line = self.lid_line * t.eyeliner
            skin *= 1 - 0.85 * line[..., None]
        if t.strange > 0:
            paint, cover = self._strange(rng)
            skin += (cover * t.strange)[..., None] * (paint - skin)
        if t.age > 0:
            skin *= 1 - (self.folds * (0.10 * t.age))[..., None] * _rgb(0.7, 1.0, 1.0)
            spots = smoothstep(0.30, 0.38, noise[96] * 0.6 + noise[48] * 0.5) * t.age
            skin *= 1 - spots[..., None] * _rgb(0.08, 0.12, 0.15)
        # lips: darker to the inside, fine vertical creases
        lip = self.lips
        hue = t.lip_hue * (0.25 + 0.75 * tone.mean() / 0.75)
        inner = cv2.GaussianBlur((lip > 0.5).astype(np.float32), (0, 0), h / 90)
        target = np.float32(tone * (1 - t.lip_strength) + hue * t.lip_strength)
        crease = cv2.GaussianBlur(fine, (0, 0), sigmaX=h / 700, sigmaY=h / 130)
        crease /= crease.std()
        lips_rgb = target * (1.04 - 0.20 * inner[..., None]) * (1 + 0.035 * crease[..., None])
        mix = np.clip(lip * 1.0, 0, 1)[..., None]
        skin = skin * (1 - mix) + lips_rgb * mix
        # hair: brows, stubble, beard, scalp
        hair_srgb = np.sqrt(t.hair_colour).astype(np.float32)
        brow = self.brows(t, rng)
        skin += np.clip(brow * 1.05, 0, 0.96)[..., None] * (hair_srgb * 0.8 - skin)
        jaw, tache = self.beards
        height = np.full((h, 2 * h), 0.5, np.float32)
        speckle = smoothstep(0.35, 1.6, soft)
        if t.stubble > 0:
            area = np.clip(jaw + tache, 0, 1) * t.stubble
            skin *= 1 - (area * 0.16)[..., None] * _rgb(1.0, 0.92, 0.8)
            skin += (area * speckle * 0.5)[..., None] * (hair_srgb - skin)
        full = np.clip(jaw * t.beard + tache * t.moustache, 0, 1)
        if full.max() > 0:
            strokes = cv2.GaussianBlur(fine, (0, 0), sigmaX=h / 800, sigmaY=h / 110)
            strokes /= strokes.std()
            cover = np.clip(full * 1.5 + full * strokes * 0.45, 0, 1) * (full > 0.02)
            tint = hair_srgb * (1 + 0.35 * strokes[..., None] * cover[..., None])
            skin += (cover * 0.95)[..., None] * (tint - skin)
            height += full * strokes * 0.30
        if t.hair != "bald":
            cover = scalp_mask(self.p, t.hairline).astype(np.float32)
            cover *= 0.92 if t.hair != "shaved" else 0.62
            if t.hair == "shaved":
                cover = cover * (0.7 + 0.3 * speckle)
            skin += cover[..., None] * (hair_srgb * 0.8 - skin)
        pores = fine - cv2.GaussianBlur(fine, (0, 0), h / 500)
        height += (0.055 * t.pores * soft + 0.02 * t.pores * pores) * (
            1 - lip
        ) + 0.10 * crease * lip
        height -= self.folds * (0.20 * t.age)
        zone = (
            self.blob((0, 1.5, 0), (1.4, 3.5))
            + 0.7 * self.blob((0, 8.5, 0), (4, 2))
            + 0.4 * self.blob((4.4, 1.2, 0), (1.5, 1))
        )
        gloss = np.clip(0.38 + 0.35 * zone + 0.25 * noise[cells[3]] + 0.5 * lip, 0, 1)
        gloss *= 1 - 0.8 * np.clip(full + brow, 0, 1)
        albedo = np.dstack([np.clip(skin, 0.01, 0.98), lip])
        detail = np.dstack([np.clip(height, 0, 1), gloss])
        return (albedo * 255).astype(np.uint8), (detail * 255).astype(np.uint8)

    def _lid_line(self) -> np.ndarray:
        lm, h = self.landmark_uv, self.height
        mask = np.zeros((h, 2 * h), np.uint8)
        for points in (lm[36:40], lm[42:46]):
            curve = (self._spline(points, 30) * h * 16).astype(np.int32)
            cv2.polylines(mask, [curve], False, 255, max(2, h // 200), cv2.LINE_AA, 4)
        return cv2.GaussianBlur(mask, (0, 0), h / 420).astype(np.float32) / 255


def _rgb(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def scalp_mask(p: np.ndarray, lower: float = 0.0) -> np.ndarray:
    """0..1 over positions (..., 3) on the mean head: where hair grows."""
    azimuth = np.degrees(np.arctan2(np.abs(p[..., 0]), p[..., 2] + 1.0))  # 0 front, 180 back
    line = np.interp(azimuth, [0, 20, 32, 45, 58, 68, 82, 95, 108, 120, 150, 180],
                     [10.6, 10.7, 10.4, 8.6, 6.2, 3.4, 4.6, 5.6, 3.0, -0.5, -5.0, -6.2]
                     )  # fmt: skip
    line = line - lower * np.interp(azimuth, [0, 45, 70], [1, 1, 0])
    return smoothstep(-0.35, 0.65, p[..., 1] - line)
