"""Random people for the studio: skin, beards, make-up, hair, clothes, light, poses, expressions.

Everything is a function of a seed. Skin is painted into the face model's texture as functions of
where a texel lies on the mean head, so that the paint moves with every identity and expression.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from realtalk_ros import arkit
from realtalk_ros.facekit import FaceKit
from realtalk_ros.renderer.studio import (
    Light,
    Look,
    Mesh,
    Strands,
    Studio,
    View,
    smoothstep,
    value_noise,
)

# Skin under white light from very light to very dark, sRGB (after the Fitzpatrick and Monk scales).
SKIN_TONES = np.array(
    [[247, 218, 201], [238, 200, 176], [226, 182, 152], [205, 156, 122], [176, 125, 91],
     [139, 94, 66], [104, 69, 49], [74, 49, 37]], np.float32) / 255  # fmt: skip
HAIR_COLOURS = np.array(  # linear rgb
    [[0.012, 0.009, 0.008], [0.03, 0.017, 0.01], [0.07, 0.035, 0.018], [0.13, 0.065, 0.03],
     [0.28, 0.165, 0.075], [0.45, 0.32, 0.17], [0.26, 0.075, 0.025], [0.36, 0.35, 0.34],
     [0.65, 0.64, 0.62]])  # fmt: skip
HAIR_SHARES = {"bald": 0.06, "shaved": 0.10, "short": 0.20, "side": 0.20, "fringe": 0.10,
               "long": 0.07, "bob": 0.07, "curly": 0.10, "tied": 0.10}  # fmt: skip
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
        rng = np.random.default_rng(11)
        shape = self.p.shape[:2]
        self.noise = {
            c: value_noise(shape, c, rng) - 0.5 for c in (6, 12, 24, 48, 96, 192) if c < height
        }

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
        dx = (np.abs(self.x) - abs(centre[0])) / radius[0]
        dy = (self.y - centre[1]) / radius[1]
        return np.exp(-(dx * dx + dy * dy)) * (self.z > 1.5) * self.is_face

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
        """(albedo (H, 2H, 4), detail (H, 2H, 2)) uint8, as `studio.Look` wants them."""
        t, n, h = traits, self.noise, self.height
        flip = [v if rng.random() < 0.5 else -v for v in n.values()]
        noise = dict(zip(n.keys(), flip, strict=True))
        cells = sorted(noise)
        tone = np.array([np.interp(t.tone * 7, np.arange(8), SKIN_TONES[:, i]) for i in range(3)])
        tone *= 1 + t.undertone * np.array([-0.015, 0.012, -0.05])
        skin = np.broadcast_to(tone, (*self.p.shape,)).astype(np.float32).copy()
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
        skin += (blood * amount)[..., None] * np.array([0.35, -0.75, -0.55])
        pale = self.blob((0, 9, 0), (5, 2.6)) * 0.025
        skin += pale[..., None] * np.array([1.0, 0.9, 0.5])
        under = self.blob((3.1, 2.35, 0), (1.7, 0.55)) + 0.6 * self.blob((1.9, 3.2, 0), (0.5, 0.8))
        skin *= 1 - (under * t.circles * 0.22)[..., None] * np.array([0.75, 1.0, 0.7])
        skin *= 1 + 0.05 * t.mottle * (noise[cells[3]] + 0.7 * noise[cells[2]])[..., None]
        fine = rng.standard_normal((h, 2 * h)).astype(np.float32)
        soft = cv2.GaussianBlur(fine, (0, 0), h / 640)
        soft /= soft.std()
        skin *= 1 + 0.012 * (0.5 + t.mottle) * soft[..., None]
        if t.freckles > 0:
            where = self.blob((3.6, 1.2, 0), (2.8, 2.0)) + self.blob((0, 1.6, 0), (1.8, 1.6)) * 0.8
            grain = cv2.GaussianBlur(
                rng.standard_normal((h, 2 * h)).astype(np.float32), (0, 0), h / 300
            )
            spots = smoothstep(1.2, 2.2, grain / grain.std() + where * 0.9) * np.clip(
                where * 1.3 + 0.12, 0, 1
            )
            skin *= 1 - (spots * t.freckles)[..., None] * np.array([0.28, 0.42, 0.5])
        for _ in range(t.moles):
            u, v = rng.uniform(0.12, 0.88) * h, rng.uniform(0.2, 0.8) * h
            spot = np.zeros((h, 2 * h), np.uint8)
            radius = int(rng.uniform(0.4, 1.3) * h / 512 * 16)
            cv2.circle(spot, (int(u * 16), int(v * 16)), radius, 200, -1, cv2.LINE_AA, 4)
            spot = cv2.GaussianBlur(spot, (0, 0), h / 1000).astype(np.float32) / 255
            skin *= 1 - spot[..., None] * np.array([0.45, 0.6, 0.65])
        if t.blush > 0:
            rosy = np.clip(self.blob((5.2, 0.9, 0), (1.9, 1.3)), 0, 1) * t.blush * 0.35
            skin += rosy[..., None] * (np.array([0.85, 0.42, 0.42]) * (0.4 + 0.6 * tone) - skin)
        if t.eyeshadow > 0:
            lid = (
                np.clip(self.blob((3.2, 4.45, 0), (1.9, 0.62)) * 1.2, 0, 1)
                * (self.y > 3.6)
                * t.eyeshadow
            )
            skin += (lid * 0.65)[..., None] * (t.eyeshadow_colour - skin)
        if t.eyeliner > 0:
            line = self._lid_line() * t.eyeliner
            skin *= 1 - 0.85 * line[..., None]
        # lips: darker to the inside, fine vertical creases
        lip = self.lips
        hue = t.lip_hue * (0.25 + 0.75 * tone.mean() / 0.75)
        inner = cv2.GaussianBlur((lip > 0.5).astype(np.float32), (0, 0), h / 90)
        target = tone * (1 - t.lip_strength) + hue * t.lip_strength
        crease = cv2.GaussianBlur(fine, (0, 0), sigmaX=h / 700, sigmaY=h / 130)
        crease /= crease.std()
        lips_rgb = target * (1.04 - 0.20 * inner[..., None]) * (1 + 0.035 * crease[..., None])
        mix = np.clip(lip * 1.0, 0, 1)[..., None]
        skin = skin * (1 - mix) + lips_rgb * mix
        # hair: brows, stubble, beard, scalp
        hair_srgb = np.sqrt(t.hair_colour)
        brow = self.brows(t, rng)
        skin += np.clip(brow * 1.05, 0, 0.96)[..., None] * (hair_srgb * 0.8 - skin)
        jaw, tache = self.beard_region()
        height = np.full((h, 2 * h), 0.5, np.float32)
        speckle = smoothstep(0.35, 1.6, soft)
        if t.stubble > 0:
            area = np.clip(jaw + tache, 0, 1) * t.stubble
            skin *= 1 - (area * 0.16)[..., None] * np.array([1.0, 0.92, 0.8])
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
            cover = scalp_mask(self.p, t.hairline) * (0.92 if t.hair != "shaved" else 0.62)
            if t.hair == "shaved":
                cover = cover * (0.7 + 0.3 * speckle)
            skin += cover[..., None] * (hair_srgb * 0.8 - skin)
        pores = fine - cv2.GaussianBlur(fine, (0, 0), h / 500)
        height += (0.055 * t.pores * soft + 0.02 * t.pores * pores) * (
            1 - lip
        ) + 0.10 * crease * lip
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


def scalp_mask(p: np.ndarray, lower: float = 0.0) -> np.ndarray:
    """0..1 over positions (..., 3) on the mean head: where hair grows."""
    azimuth = np.degrees(np.arctan2(np.abs(p[..., 0]), p[..., 2] + 1.0))  # 0 front, 180 back
    line = np.interp(azimuth, [0, 20, 32, 45, 58, 68, 82, 95, 108, 120, 150, 180],
                     [10.6, 10.7, 10.4, 8.6, 6.2, 3.4, 4.6, 5.6, 3.0, -0.5, -5.0, -6.2]
                     )  # fmt: skip
    line = line - lower * np.interp(azimuth, [0, 45, 70], [1, 1, 0])
    return smoothstep(-0.35, 0.65, p[..., 1] - line)


def grow_hair(
    kit: FaceKit, neutral: np.ndarray, traits: Traits, rng: np.random.Generator
) -> Strands | None:
    """Strands over the scalp: they start along the normal and bend into a style's direction."""
    if traits.hair in ("bald", "shaved"):
        return None
    from scipy.spatial import cKDTree

    vertices = np.r_[np.arange(*_bounds(kit, "face")), np.arange(*_bounds(kit, "head_neck"))]
    in_skin = np.zeros(len(kit.mean), bool)
    in_skin[vertices] = True
    tris = kit.triangles[in_skin[kit.triangles].all(1)]
    mask = scalp_mask(kit.mean[tris].mean(1), traits.hairline)
    corner = neutral[tris]
    area = np.linalg.norm(
        np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1
    )
    chance = area * mask
    pick = rng.choice(len(tris), traits.hair_strands, p=chance / chance.sum())
    bary = rng.dirichlet([1, 1, 1], len(pick)).astype(np.float32)
    root = np.einsum("ni,nij->nj", bary, corner[pick])
    rest = np.einsum("ni,nij->nj", bary, kit.mean[tris][pick])
    normals = kit.normals(neutral)
    normal = np.einsum("ni,nij->nj", bary, normals[tris][pick])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    tree = cKDTree(neutral[vertices])
    skin_points, skin_normals = neutral[vertices], normals[vertices]

    style, k, first, base = traits.hair, 9, np.zeros((1, 3)), 0.0
    x, y, z = rest.T
    side = traits.part_side
    top = smoothstep(7.5, 11.5, y)
    front = smoothstep(-2.0, 6.0, z)
    azimuth = np.arctan2(x, z + 1.0)
    around = np.stack([np.sin(azimuth), np.zeros_like(x), np.cos(azimuth)], 1)
    down = np.array([0, -1.0, 0]) + 0.35 * around
    back = np.stack([0.25 * np.sign(x), -0.15 - 0.5 * (1 - top), -np.ones_like(x)], 1)
    sweep = np.stack([-side * np.ones_like(x), -0.15 * np.ones_like(x), -0.35 * np.ones_like(x)], 1)
    past_part = smoothstep(2.2, 3.2, side * x)  # the smaller side of the parting falls down
    if style == "side":
        comb = (
            sweep * (top * (1 - past_part))[:, None] + down * (1 - top * (1 - past_part))[:, None]
        )
        comb += back * (0.7 * (1 - front) + 0.35)[:, None]
        # hair above the forehead goes up and back, not over the eyes
        quiff = smoothstep(3.0, 6.0, z) * smoothstep(7.0, 9.5, y)
        comb += quiff[:, None] * np.stack([-0.3 * side + 0 * x, 0.9 + 0 * x, -0.8 + 0 * x], 1)
        length = 2.0 + 5.5 * top * (0.6 + 0.4 * front)
        lift, volume = 0.9, 0.5 + 1.15 * top
    elif style == "fringe":
        forward = np.stack(
            [0.25 * side * np.ones_like(x), -0.55 * np.ones_like(x), np.ones_like(x)], 1
        )
        comb = forward * (top * front)[:, None] + down * (1 - top * front)[:, None]
        length = 3.0 + 3.0 * top
        lift, volume = 0.6, 0.6 + 0.6 * top
    elif style in ("long", "bob"):
        part = np.where(side * x - 1.6 > 0, 1.0, -1.0) * side
        fall = smoothstep(9.0, 4.0, y)[:, None]
        aside = np.stack([part, -0.25 + 0 * x, -0.35 - 0.35 * front], 1)
        first = np.stack([0.3 * part, 0.5 + 0 * x, -1.2 + 0 * x], 1) * (front * top)[:, None]
        comb = aside * (1 - fall) + (down + np.stack([0 * x, 0 * x, -0.45 * front], 1)) * fall
        length = 12.0 + 9.0 * top + 3.0 * rng.random(len(x))
        lift = 0.35 + 0.7 * np.exp(-(((side * x - 1.6) / 1.4) ** 2))[:, None] * top[:, None]
        volume = 0.65 + 0.45 * top
        # brushed over the parting, so that it is no groove
        base = (0.5 * rng.random(len(x)) * np.exp(-(((side * x - 1.6) / 0.8) ** 2)) * top)[:, None]
        k = 16
    elif style == "tied":  # back into a bun
        knot = np.array([0.0, 7.0, -11.5])
        comb = knot - rest
        far = np.linalg.norm(comb, axis=1)
        comb = comb / far[:, None] + 0.35 * back + np.stack([0 * x, 0.35 * top + 0.1, 0 * x], 1)
        length = far * 1.12
        lift, volume = 0.25, 0.25 + 0.75 * top * (0.3 + 0.7 * smoothstep(7, -1, z))
        k = 14
    elif style == "curly":
        comb = around * 0.5 + down * 0.15 + np.array([0, 0.35, 0]) * top[:, None]
        length = 3.5 + 2.0 * top
        lift, volume = 1.2, 1.2 + 1.3 * top
        k = 12
    else:  # short
        comb = back * top[:, None] + down * (1 - top)[:, None] + np.array([0.25 * side, 0.25, 0.2])
        length = 1.2 + 1.9 * top
        lift, volume = 0.9, 0.3 + 0.6 * top
    # `first` bends only the beginning: front hair goes back before it falls aside
    length = length * traits.hair_length * rng.uniform(0.75, 1.1, len(x))
    layer = rng.random(len(x)) ** 0.7  # height of the strand within the hair's volume
    wild = rng.normal(0, {"curly": 0.45, "tied": 0.04, "bob": 0.05}.get(style, 0.10), (len(x), 3))
    clump = _clumps(rest, rng, {"long": 0.06, "bob": 0.04, "tied": 0.035}.get(style, 0.16))
    comb = comb / np.linalg.norm(comb, axis=1, keepdims=True) + wild + clump
    phase = rng.random((len(x), 2)) * 6.28
    curl = {"curly": 0.75, "long": 0.08, "bob": 0.03, "tied": 0.015}.get(style, 0.05)
    cut = -6.0 - 1.2 * rng.random(len(x)) - 1.0 * smoothstep(2, -6, z)
    points = np.empty((len(x), k, 3), np.float32)
    points[:, 0] = p = root + normal * (base - 0.05)
    step = (length / (k - 1))[:, None]
    gravity = np.array([0, -0.22 if style in ("long", "bob") else -0.08, 0])
    direction = normal * lift + comb * 0.35 + first
    for i in range(1, k):
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        direction = direction * 0.55 + comb * 0.5 + first * max(0.0, 1 - i / 4) + gravity * i * 0.6
        if curl:
            turn = phase + i * (1.9 if style == "curly" else 0.8)
            direction[:, 0] += curl * np.cos(turn[:, 0])
            direction[:, 2] += curl * np.sin(turn[:, 1])
            direction[:, 1] += curl * 0.6 * np.sin(turn[:, 0])
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        p = p + direction * step
        # keep every point at its layer's height above the skin
        _, near = tree.query(p, workers=1)
        n = skin_normals[near]
        above = np.einsum("ij,ij->i", p - skin_points[near], n)
        rise = np.minimum(i / 3.0, 1.0)
        want = (0.10 + layer * volume) * rise
        ceiling = want * 1.25 + 0.3 + (3.0 if style == "curly" else 0.0)
        p = (
            p
            + n
            * (np.maximum(want - above, 0) * 0.8 - np.maximum(above - ceiling, 0) * 0.55)[:, None]
        )
        if style in ("long", "bob"):
            p = _off_the_face(p, layer)
            if style == "bob":  # cut at the chin, turned in a little at the ends
                over = np.maximum(cut - p[:, 1], 0)[:, None]
                p = p + np.array([0.0, 1.0, 0.0]) * over
        direction = p - points[:, i - 1]
        points[:, i] = p
    shade = np.clip(0.42 + 0.58 * layer[:, None] * np.linspace(0.35, 1, k), 0.3, 1).astype(
        np.float32
    )
    tint = rng.normal(1, 0.16, (len(x), 1)) * (1 + rng.normal(0, 0.04, (len(x), 3)))
    colours = np.clip(traits.hair_colour * tint * (1 + 1.6 * clump[:, :1]), 0.003, 0.95)
    return Strands(points, colours.astype(np.float32), shade, traits.hair_width)


def _off_the_face(p: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Turn points that hang before the face about the head's axis until they frame it."""
    x, y, z = p[:, 0], p[:, 1], p[:, 2] + 1.0
    azimuth, radius = np.arctan2(np.abs(x), z), np.hypot(x, z)
    edge = np.interp(y, [-8, -3, 2, 6, 9, 10.5], [55, 55, 53, 46, 31, 0]) + 9.0 * (1 - layer)
    turned = np.maximum(azimuth, np.radians(edge))
    radius = radius * (1 - 0.018 * np.maximum(1.0 - y, 0))  # falls inwards below the ears
    return np.stack([np.sign(x) * radius * np.sin(turned), y, radius * np.cos(turned) - 1.0], 1)


def _bounds(kit: FaceKit, part: str) -> tuple[int, int]:
    return kit.parts[part].start, kit.parts[part].stop


def _clumps(p: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """(n, 3) smooth random directions, alike for neighbouring roots: locks of hair."""
    out = np.zeros((len(p), 3))
    for scale in (0.6, 1.4, 2.6):
        k = rng.normal(0, scale, (3, 3))
        out += np.sin(p @ k + rng.random(3) * 6.28) / (0.8 + scale * 0.5)
    return out * amount


def shoulders(
    traits: Traits,
    broad: float = 1.0,
    kit: FaceKit | None = None,
    neutral: np.ndarray | None = None,
) -> Mesh:
    """A plain round-necked top: rings from the collar down, fitted to `neutral`'s neck if given."""
    # half-width, z of front and back, y of side, front and back; cm
    rings = np.array([
        [8.0, 3.3, -8.0, -11.2, -14.6, -9.9],
        [8.5, 4.3, -8.9, -10.4, -13.9, -9.1],
        [8.9, 5.1, -9.4, -10.5, -14.1, -9.2],
        [9.3, 5.3, -9.7, -11.1, -15.0, -10.0],
        [11.2, 6.3, -10.3, -12.0, -16.6, -12.0],
        [14.0, 7.8, -11.0, -13.3, -18.8, -14.0],
        [17.2, 9.2, -11.5, -15.0, -21.5, -16.0],
        [19.6, 10.2, -11.8, -17.4, -25.0, -19.0],
        [21.0, 10.9, -12.0, -21.0, -30.0, -24.0],
        [21.6, 11.2, -12.0, -30.0, -40.0, -34.0],
        [21.8, 11.2, -12.0, -44.0, -55.0, -48.0],
    ])  # fmt: skip
    from scipy.interpolate import PchipInterpolator

    if kit is not None and neutral is not None:
        bust = np.flatnonzero((kit.mean[:, 1] < -9.0) & (np.abs(kit.mean[:, 0]) > 6.0))
        bust = bust[bust < kit.parts["head_neck"].stop]
        moved = neutral[bust] - kit.mean[bust]
        rings[:, 3:] += np.quantile(moved[:, 1], 0.8)
        rings[:, 1:3] += moved[:, 2].mean()
        rings[:4, 0] *= np.abs(neutral[bust, 0]).mean() / np.abs(kit.mean[bust, 0]).mean()
    rings[4:, 0] = rings[4, 0] + (rings[4:, 0] - rings[4, 0]) * broad
    fine = PchipInterpolator(np.arange(len(rings)), rings)(np.linspace(0, len(rings) - 1, 120))
    around = 192
    theta = np.linspace(0, 2 * np.pi, around, endpoint=False)
    s, c = np.sin(theta), np.cos(theta)
    power = np.linspace(2.0, 2.5, len(fine))[:, None]
    ex = np.sign(s) * np.abs(s) ** (2 / power)
    ez = np.sign(c) * np.abs(c) ** (2 / power)
    x = fine[:, :1] * ex
    middle, depth = (fine[:, 1:2] + fine[:, 2:3]) / 2, (fine[:, 1:2] - fine[:, 2:3]) / 2
    z = middle + depth * ez
    side, front, back = fine[:, 3:4], fine[:, 4:5], fine[:, 5:6]
    y = side + np.where(c > 0, (front - side) * np.abs(c) ** 1.4, (back - side) * np.abs(c) ** 1.4)
    points = np.stack([x, y, z], -1)
    n = _grid_normals(points)
    # folds run from the shoulders down and inwards; the collar is ribbed
    row = np.arange(len(fine))[:, None]
    u, v = points[..., 0], points[..., 1]
    rng = np.random.default_rng(int(abs(traits.collar) * 1e6) % 2**31)
    folds = np.zeros_like(u)
    for _ in range(7):
        slope, pitch = rng.normal(0, 0.8), rng.uniform(0.35, 1.0)
        swell = 0.5 + 0.5 * np.sin(
            u * rng.uniform(0.05, 0.2) + v * rng.uniform(0.05, 0.3) + rng.uniform(0, 6)
        )
        folds += (
            swell * np.sin(pitch * (np.abs(u) + slope * v) + rng.uniform(0, 6.28)) / (pitch * 3 + 1)
        )
    depth_of = 1.1 * smoothstep(40, 75, row)
    points += n * (folds * depth_of)[..., None]
    n = _grid_normals(points)
    colours = np.broadcast_to(traits.cloth, points.shape).copy()
    colours[:28] *= (1.0 + 0.5 * (traits.collar - 0.5)) * (
        0.92 + 0.08 * np.cos(np.arange(around) * np.pi)
    )[None, :, None]
    colours[27:30] *= 0.6  # the seam
    rows, cols = np.meshgrid(np.arange(len(fine) - 1), np.arange(around), indexing="ij")
    a, b = rows * around + cols, rows * around + (cols + 1) % around
    tris = np.stack([a, b, a + around, a + around, b, b + around], -1).reshape(-1, 3)
    flat = (v.reshape(-1, 3) for v in (points, n, colours))
    return Mesh(*flat, tris)


def _grid_normals(points: np.ndarray) -> np.ndarray:
    """(R, C, 3) outward unit normals of a grid that closes in its second axis."""
    n = np.cross(np.roll(points, -1, 1) - np.roll(points, 1, 1), np.gradient(points, axis=0))
    n /= np.maximum(np.linalg.norm(n, axis=2, keepdims=True), 1e-9)
    middle = len(points) // 2
    return -n if np.mean(n[middle, :, 0] * points[middle, :, 0]) < 0 else n


def random_background(rng: np.random.Generator) -> np.ndarray:
    """(96, 96, 3) uint8 sRGB: blurred walls, blobs and edges."""
    size = 96
    a, b = rng.random((2, 3)) * rng.uniform(0.2, 1.0)
    if rng.random() < 0.6:  # mostly dull
        a, b = (v * 0.3 + v.mean() * 0.7 for v in (a, b))
    ramp = np.linspace(0, 1, size)[:, None, None]
    if rng.random() < 0.5:
        ramp = ramp.transpose(1, 0, 2)
    image = np.broadcast_to(a * (1 - ramp) + b * ramp, (size, size, 3)).astype(np.float32).copy()
    for _ in range(rng.integers(0, 14)):
        x, y, w, h = rng.integers(0, size, 4)
        colour = tuple(float(v) for v in np.clip(a + rng.normal(0, 0.25, 3), 0, 1))
        if rng.random() < 0.5:
            cv2.rectangle(
                image, (int(x), int(y)), (int(x + w // 2 + 2), int(y + h // 2 + 2)), colour, -1
            )
        else:
            cv2.circle(image, (int(x), int(y)), int(w // 5 + 2), colour, -1)
    image = cv2.GaussianBlur(image, (0, 0), rng.choice([0.8, 2.0, 4.0, 8.0]))
    image += (value_noise((size, size), 12, rng) - 0.5)[..., None] * rng.uniform(0, 0.2)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def random_traits(rng: np.random.Generator) -> Traits:
    """Anybody: all of skin, hair, beards and make-up, now and then beyond the plausible."""
    tone = rng.random()
    dark_hair = rng.random() < 0.25 + 0.75 * smoothstep(0.25, 0.6, np.array(tone))
    colour = HAIR_COLOURS[rng.integers(0, 3) if dark_hair else rng.integers(0, len(HAIR_COLOURS))]
    colour = np.clip(colour * rng.uniform(0.7, 1.4) * rng.normal(1, 0.06, 3), 0.004, 0.8)
    if rng.random() < 0.05:
        colour = rng.random(3) * 0.6
    iris = IRIS_COLOURS[
        rng.integers(0, 3) if tone > 0.6 and rng.random() < 0.9 else rng.integers(0, 8)
    ]
    traits = Traits(
        tone=tone, undertone=rng.uniform(-1, 1), redness=rng.uniform(0.2, 1.2),
        mottle=rng.uniform(0.2, 1.0), moles=int(rng.integers(0, 5)), pores=rng.uniform(0.2, 1.0),
        shine=rng.uniform(0.4, 1.7), hair_colour=colour, iris=iris * rng.uniform(0.7, 1.4),
        lip_hue=np.array([rng.uniform(0.62, 0.85), rng.uniform(0.28, 0.5), rng.uniform(0.28, 0.5)]),
        lip_strength=rng.uniform(0.25, 0.75), brow_thickness=rng.random(),
        brow_density=rng.uniform(0.3, 1), brow_lift=rng.uniform(-0.25, 0.3),
        circles=rng.uniform(0, 0.9), lashes=rng.uniform(0.2, 0.7),
        part_side=float(rng.choice([-1, 1])), hair_length=rng.uniform(0.7, 1.3),
        cloth=rng.random(3) ** 2 * 0.6, collar=rng.random(),
        hair=str(rng.choice(list(HAIR_SHARES), p=list(HAIR_SHARES.values()))),
    )  # fmt: skip
    if rng.random() < 0.2:
        traits.freckles = rng.uniform(0.2, 1.0) * (1 - tone)
    face = rng.random()
    if face < 0.22:
        traits.stubble = rng.uniform(0.3, 1.0)
    elif face < 0.36:
        traits.beard = rng.uniform(0.5, 1.0) if rng.random() < 0.8 else 0.0
        traits.moustache = rng.uniform(0.5, 1.0)
        traits.stubble = 0.5
    elif face < 0.68:
        traits.eyeshadow = rng.random() * (rng.random() < 0.7)
        traits.eyeshadow_colour = rng.random(3) * 0.6
        traits.eyeliner = rng.random() * (rng.random() < 0.6)
        traits.blush = rng.random()
        traits.lashes = rng.uniform(0.5, 1.0)
        if rng.random() < 0.6:  # lipstick
            traits.lip_hue = np.clip(
                [rng.uniform(0.45, 0.95), rng.uniform(0.05, 0.45), rng.uniform(0.1, 0.5)], 0, 1
            )
            if rng.random() < 0.12:
                traits.lip_hue = rng.random(3)
            traits.lip_strength = rng.uniform(0.6, 1.0)
    return traits


def make_look(
    kit: FaceKit, painter: Painter, neutral: np.ndarray, traits: Traits, seed: int
) -> Look:
    """Paint, comb and dress: traits to something a Studio can render."""
    rng = np.random.default_rng([seed, 1])
    albedo, detail = painter.paint(traits, rng)
    warm = rng.uniform(0.86, 1.0)
    return Look(
        albedo=albedo, detail=detail, iris=np.asarray(traits.iris),
        iris_ring=np.asarray(traits.iris) * rng.uniform(0.1, 0.4), pupil=rng.uniform(0.3, 0.5),
        iris_size=rng.uniform(0.57, 0.64),
        sclera=np.array([0.82, 0.80, 0.78]) * rng.uniform(0.8, 1.02),
        teeth=np.array([0.80, 0.77 * (0.5 + 0.5 * warm), 0.72 * warm]) * rng.uniform(0.75, 1.05),
        gums=np.array([0.5, 0.17, 0.16]) * rng.uniform(0.6, 1.2),
        lash=np.minimum(np.asarray(traits.hair_colour) * 0.4, 0.03),
        lash_alpha=0.3 + 0.7 * traits.lashes,
        scatter=float(np.interp(traits.tone, [0, 1], [1.0, 0.55])), gloss=traits.shine,
        bump=traits.pores, hair=grow_hair(kit, neutral, traits, rng),
        body=shoulders(traits, rng.uniform(0.85, 1.1), kit, neutral),
        background=random_background(rng), seed=float(rng.random()),
    )  # fmt: skip


def random_light(rng: np.random.Generator) -> Light:
    """A key, a fill, a light from behind and a fourth, coloured now and then; hard or soft."""

    def towards(azimuth: float, elevation: float) -> np.ndarray:
        a, e = np.radians([azimuth, elevation])
        return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])

    def tinted(strength: float, amount: float) -> np.ndarray:
        warmth = rng.normal(0, 0.10)
        colour = np.array([1 + warmth, 1.0, 1 - warmth]) * (1 + rng.normal(0, amount, 3))
        return strength * np.clip(colour, 0.05, 2)

    key_side = rng.choice([-1, 1])
    directions = np.array([
        towards(key_side * abs(rng.normal(0, 38)), rng.uniform(0, 60)),
        towards(-key_side * rng.uniform(20, 80), rng.uniform(-15, 40)),
        towards(rng.uniform(120, 240), rng.uniform(0, 60)),
        towards(rng.uniform(-90, 90), rng.uniform(-30, 80)),
    ])  # fmt: skip
    odd = 0.35 if rng.random() < 0.15 else 0.04
    ambient = rng.uniform(0.12, 0.65)
    key = rng.uniform(0.35, 1.5)
    colours = np.array([
        tinted(key, odd), tinted(key * rng.uniform(0, 0.6), odd),
        tinted(rng.uniform(0, 1.2) * (rng.random() < 0.6), odd),
        tinted(rng.uniform(0, 0.5) * (rng.random() < 0.5), odd),
    ])  # fmt: skip
    sky = tinted(ambient, odd * 0.5)
    ground = tinted(ambient * rng.uniform(0.2, 0.8), odd * 0.5)
    # expose as a camera would: by what falls on a face looking at it
    facing = np.clip(directions[:, 2] * 0.7 + 0.2, 0, 1) @ colours + (sky + ground) / 2
    exposure = rng.uniform(0.75, 1.3) * 1.15 / facing.mean()
    return Light(directions, colours, sky, ground, exposure=float(exposure),
                 shadow=rng.uniform(0.3, 0.95), shadow_softness=rng.uniform(1.0, 4.0))  # fmt: skip


@dataclass
class Person:
    """One head with its look, light and camera."""

    identity: np.ndarray  # (100,)
    neutral: np.ndarray  # (V, 3)
    look: Look
    light: Light
    distance: float
    traits: Traits


def random_person(kit: FaceKit, painter: Painter, seed: int) -> Person:
    """The person number `seed`."""
    rng = np.random.default_rng([seed, 0])
    identity = rng.normal(0, 0.9, kit.identity_modes.shape[0]).astype(np.float32)
    neutral = kit.neutral(identity)
    traits = random_traits(rng)
    look = make_look(kit, painter, neutral, traits, seed)
    distance = float(np.exp(rng.uniform(np.log(45), np.log(130))))
    return Person(identity, neutral, look, random_light(rng), distance, traits)


def random_view(rng: np.random.Generator, distance: float, spread: float = 0.12) -> View:
    """A head that more or less faces the camera; `spread` is the yaw's sd in rad."""
    return View(
        yaw=float(np.clip(rng.normal(0, spread * 1.3), -0.5, 0.5)),
        pitch=float(np.clip(rng.normal(0, spread * 0.8), -0.35, 0.35)),
        roll=float(rng.normal(0, spread * 0.5)), distance=distance,
    )  # fmt: skip


def face_square(points: np.ndarray) -> tuple[float, float, float]:
    """(x, y, side) of the face crop from 68 projected neutral landmarks (68, 2).

    E is the middle of the eyes, M of the mouth: side 2.8 |M - E|, centre E + 0.7 (M - E), which
    holds raised brows and the open jaw. Works in pixels and in cm alike; axis-aligned.
    """
    eyes, mouth = points[36:48].mean(0), points[48:68].mean(0)
    centre = eyes + 0.7 * (mouth - eyes)
    return float(centre[0]), float(centre[1]), float(2.8 * np.linalg.norm(mouth - eyes))


def framed(
    view: View, kit: FaceKit, neutral: np.ndarray, rng: np.random.Generator | None = None
) -> View:
    """`view` with its crop on the face, jittered as detections are when `rng` is given."""
    x, y, side = face_square(view.plane(neutral[kit.landmarks]))
    roll = 0.0
    if rng is not None:
        x, y = np.array([x, y]) + rng.uniform(-0.04, 0.04, 2) * side
        side *= rng.uniform(0.92, 1.08)
        roll = np.radians(rng.uniform(-6, 6))
    return replace(view, crop=(float(x), float(y), float(side), float(roll)))


# -- expressions --------------------------------------------------------------------------------

# Mouth poses of speech, roughly by viseme; each is scaled and mixed.
MOUTH_POSES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.55, "mouthLowerDown": 0.15, "mouthUpperUp": 0.10},  # aa
    {"jawOpen": 0.28, "mouthStretch": 0.25, "mouthLowerDown": 0.25, "mouthUpperUp": 0.12},  # eh
    {"jawOpen": 0.12, "mouthSmile": 0.25, "mouthStretch": 0.35, "mouthLowerDown": 0.30,
     "mouthUpperUp": 0.18},  # iy
    {"jawOpen": 0.30, "mouthFunnel": 0.55, "mouthPucker": 0.25},  # oh
    {"jawOpen": 0.10, "mouthPucker": 0.75, "mouthFunnel": 0.30},  # oo
    {"mouthPress": 0.35, "mouthRollLower": 0.25, "mouthRollUpper": 0.25},  # p b m
    {"jawOpen": 0.22, "mouthClose": 0.22, "mouthPress": 0.25, "mouthRollLower": 0.1,
     "mouthRollUpper": 0.1},
    {"jawOpen": 0.08, "mouthRollLower": 0.45, "mouthUpperUp": 0.30, "mouthLowerDown": 0.05},  # f v
    {"jawOpen": 0.06, "mouthFunnel": 0.55, "mouthLowerDown": 0.25, "mouthUpperUp": 0.25},  # sh ch
    {"jawOpen": 0.06, "mouthStretch": 0.25, "mouthLowerDown": 0.35, "mouthUpperUp": 0.20,
     "mouthSmile": 0.10},  # s z
    {"jawOpen": 0.18, "mouthLowerDown": 0.20, "mouthUpperUp": 0.15},  # t d n l
    {"jawOpen": 0.15, "mouthFunnel": 0.30, "mouthPucker": 0.20},  # r w
    {"mouthSmile": 0.7, "cheekSquint": 0.4, "mouthUpperUp": 0.2, "mouthLowerDown": 0.15},
    {"mouthSmile": 0.6, "mouthDimple": 0.3},
    {"mouthFrown": 0.6, "mouthShrugLower": 0.4},
    {"jawOpen": 0.9},
)  # fmt: skip


def _put(weights: np.ndarray, name: str, value: float, lean: float = 0.0) -> None:
    """Add to `name`, or to both its sides, the left by 1 + lean and the right by 1 - lean."""
    if name in arkit.INDEX:
        weights[arkit.INDEX[name]] += value
    else:
        weights[arkit.INDEX[name + "Left"]] += value * (1 + lean)
        weights[arkit.INDEX[name + "Right"]] += value * (1 - lean)


def random_mouth(weights: np.ndarray, rng: np.random.Generator) -> None:
    """Add one speech-like mouth, now and then a mixture of two on the way between them."""
    lean = rng.normal(0, 0.12)
    first, second = rng.integers(0, len(MOUTH_POSES), 2)
    mix = rng.random() * 0.6 if rng.random() < 0.5 else 0.0
    for pose, share in ((MOUTH_POSES[first], 1 - mix), (MOUTH_POSES[second], mix)):
        scale = share * rng.uniform(0.35, 1.5)
        for name, value in pose.items():
            _put(weights, name, value * scale * rng.uniform(0.75, 1.25), lean)


def random_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,) float32 weights: speech-like mouths, blinks, gaze, brows, and sparse anything."""
    weights = np.zeros(arkit.COUNT, np.float32)
    if rng.random() < 0.88:
        random_mouth(weights, rng)
    if rng.random() < 0.35:
        for name in rng.choice(("mouthLeft", "mouthRight", "jawLeft", "jawRight", "jawForward",
                                "mouthRollLower", "mouthRollUpper", "mouthShrugUpper",
                                "mouthShrugLower", "cheekPuff", "mouthDimple", "mouthPress",
                                "mouthClose", "noseSneer"), 2, replace=False):  # fmt: skip
            _put(weights, str(name), rng.uniform(0, 0.5))
    blink = rng.random()
    if blink < 0.28:  # any stage of a blink
        _put(weights, "eyeBlink", rng.uniform(0.1, 1.0), rng.normal(0, 0.04))
    elif blink < 0.36:
        _put(weights, "eyeWide", rng.uniform(0.2, 0.9))
    elif blink < 0.48:
        _put(weights, "eyeSquint", rng.uniform(0.2, 0.9))
    if rng.random() < 0.5:
        look_x, look_y = rng.normal(0, 0.3, 2)
        _gaze(weights, look_x, look_y * 0.7)
    if rng.random() < 0.45:
        for name in rng.choice(
            ("browDown", "browInnerUp", "browOuterUp"), rng.integers(1, 3), replace=False
        ):
            _put(weights, str(name), rng.uniform(0.1, 1.0), rng.normal(0, 0.15))
    if rng.random() < 0.15:  # anything at all
        for i in rng.integers(0, arkit.COUNT, 3):
            weights[i] += rng.uniform(0, 0.8)
    weights[arkit.INDEX["tongueOut"]] = 0.0
    close = arkit.INDEX["mouthClose"]
    weights[close] = min(weights[close], weights[arkit.INDEX["jawOpen"]] + 0.05)
    return np.clip(weights, 0, 1)


def _gaze(weights: np.ndarray, x: float, y: float) -> None:
    """Both eyes to x (to the subject's left) and y (up), in units of the eyeLook weights."""
    for name, value in (("eyeLookOutLeft", x), ("eyeLookInRight", x), ("eyeLookInLeft", -x),
                        ("eyeLookOutRight", -x), ("eyeLookUpLeft", y), ("eyeLookUpRight", y),
                        ("eyeLookDownLeft", -y), ("eyeLookDownRight", -y)):  # fmt: skip
        weights[arkit.INDEX[name]] += max(value, 0.0)


def neutral_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,): a face at rest, eyes open; what template frames show."""
    weights = np.zeros(arkit.COUNT, np.float32)
    _gaze(weights, rng.normal(0, 0.05), rng.normal(0, 0.04))
    _put(weights, "mouthSmile", abs(rng.normal(0, 0.06)))
    _put(weights, "eyeBlink", abs(rng.normal(0, 0.03)))
    weights[arkit.INDEX["jawOpen"]] = abs(rng.normal(0, 0.02))
    return np.clip(weights, 0, 1)


def toothy_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,): lips apart enough to show teeth."""
    weights = neutral_expression(rng)
    for name, low, high in (("jawOpen", 0.08, 0.4), ("mouthLowerDown", 0.15, 0.5),
                            ("mouthUpperUp", 0.2, 0.6), ("mouthSmile", 0.0, 0.6)):  # fmt: skip
        _put(weights, name, rng.uniform(low, high))
    return np.clip(weights, 0, 1)
