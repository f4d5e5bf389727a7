"""A photo studio for synthetic heads: OpenGL, off screen, of what ICT-FaceKit's mesh can show.

`Studio.shoot` draws one head: a person's look (painted skin texture, eyes, hair, clothes), a pose,
an expression, lights, a camera crop; and the labels of its pixels. Runs on software OpenGL (EGL,
llvmpipe) as on a GPU; needs moderngl and scipy (extra `train`). How a picture comes about:

1. `dress`: the person's neutral vertices and normals go to the GPU, once.
2. A vertex shader adds the active expressions' deltas (transform feedback; normals are linear in
   the weights, with the mean head's derivatives) and turns the eyeballs.
3. Shadow map of the key light; then geometry (normals, texture coordinates) of the skin at full
   size, and one pass that shades the skin's pixels once each.
4. Eyes and mouth; the plate (background, clothes, hair, glasses), kept while only the expression
   changes; lashes, lid shadows, lenses.

Coordinates: head space of `facekit` (cm). The camera sits on +z at `distance` from the origin and
looks down -z. A crop is a square in the plane z = 0 as seen from the camera, (x, y, side, roll) in
cm and rad, so that a crop of any size is rendered directly.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import cv2
import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.facekit import INNER_LIP_PAIRS, FaceKit, gaze_angles, rotation
from realtalk_ros.training.synthetic import shaders
from realtalk_ros.training.synthetic.mesh_simplification import simplify

# What a pixel shows; clothes count as background.
LABELS = ("background", "skin", "lips", "mouth", "eyes", "hair", "glasses")
# The head turns about a point in the upper neck; the skin between neck base and skull bends.
PIVOT = np.array([0.0, -5.0, -1.0], np.float32)
SKIN, EYE, TEETH, GUMS, SOCKET, LACRIMAL = range(6)
OCCLUSION, LASH = 6, 7
PART_KINDS = {
    "face": SKIN, "head_neck": SKIN, "mouth_socket": SOCKET, "eye_socket_left": SKIN,
    "eye_socket_right": SKIN, "gums_tongue": GUMS, "teeth": TEETH, "eyeball_left": EYE,
    "eyeball_right": EYE, "lacrimal_left": LACRIMAL, "lacrimal_right": LACRIMAL,
    "eye_occlusion_left": OCCLUSION, "eye_occlusion_right": OCCLUSION,
    "eyelashes_left": LASH, "eyelashes_right": LASH,
}  # fmt: skip
TEXELS_PER_CM = 0.035  # of a skin texture one texel high, about, in the middle of the face
SAMPLERS = ("albedo_map", "detail_map", "noise_map", "shadow_map", "background",
            "normal_map", "uv_map")  # fmt: skip


@dataclass
class Light:
    """4 directional lights (direction towards the light, linear rgb) and light from everywhere.

    That is a sky-ground ramp plus `surround`, three symmetric matrices M (red, green, blue): the
    light on a normal n is (n, 1) M (n, 1), which holds spherical harmonics up to order 2.
    """

    directions: np.ndarray  # (4, 3)
    colours: np.ndarray  # (4, 3), linear
    sky: np.ndarray  # (3,)
    ground: np.ndarray  # (3,)
    exposure: float = 1.0
    shadow: float = 0.8  # strength of the key light's (light 0's) shadow
    shadow_softness: float = 2.0  # texels
    surround: np.ndarray | None = None  # (3, 4, 4)


@dataclass
class Look:
    """What a person looks like besides the shape. Colours are linear rgb in 0..1."""

    albedo: np.ndarray  # (H, 2H, 4) uint8: sRGB skin, alpha = lip mask; u 0..2, v 0..1
    detail: np.ndarray  # (H, 2H, 2) uint8: height (128 = flat), gloss
    iris: np.ndarray
    iris_ring: np.ndarray
    pupil: float = 0.38  # of the iris' radius
    iris_size: float = 0.60  # cm
    sclera: np.ndarray = field(default_factory=lambda: np.array([0.80, 0.77, 0.75]))
    teeth: np.ndarray = field(default_factory=lambda: np.array([0.78, 0.72, 0.62]))
    gums: np.ndarray = field(default_factory=lambda: np.array([0.50, 0.16, 0.15]))
    tongue: np.ndarray | None = None  # a paler kind of the gums
    lash: np.ndarray = field(default_factory=lambda: np.array([0.01, 0.008, 0.006]))
    lash_alpha: float = 0.5
    scatter: float = 1.0  # strength of the red-shifted wrap
    gloss: float = 1.0
    bump: float = 1.0
    hair: Strands | None = None
    body: Mesh | None = None
    worn: list[Mesh] = field(default_factory=list)  # cap, glasses
    background: np.ndarray | None = None  # (h, w, 3) uint8 sRGB
    seed: float = 0.0


@dataclass
class Strands:
    """Hair: S strands of K points; does not move with the expression, only with the pose."""

    points: np.ndarray  # (S, K, 3) cm
    colours: np.ndarray  # (S, 3) linear rgb
    shade: np.ndarray  # (S, K) ambient occlusion 0..1
    width: float  # cm


@dataclass
class Mesh:
    """Something worn: triangles that stay with the chest (clothes) or turn with the head."""

    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3)
    colours: np.ndarray  # (N, 3) linear rgb
    triangles: np.ndarray  # (M, 3)
    label: int = 0  # into LABELS
    with_head: bool = False
    polish: float = 0.0  # 0 cloth, 1 lacquer or glass
    opacity: float = 1.0  # below 1: a lens


@dataclass
class View:
    """Pose of the head (yaw, pitch, roll in rad, shift in cm), camera and crop."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    breath: float = 0.0  # cm that chest and shoulders rise
    distance: float = 70.0
    crop: tuple[float, float, float, float] = (0.0, -2.0, 30.0, 0.0)

    def pose(self) -> np.ndarray:
        """(4, 4) head to world."""
        matrix = np.eye(4, dtype=np.float32)
        matrix[:3, :3] = rotation(self.yaw, self.pitch, self.roll)
        matrix[:3, 3] = PIVOT - matrix[:3, :3] @ PIVOT + np.asarray(self.shift, np.float32)
        return matrix

    def projection(self) -> np.ndarray:
        """(4, 4) world to clip space of the crop."""
        cx, cy, side, roll = self.crop
        near, far, d = self.distance - 25.0, self.distance + 60.0, self.distance
        k = 2.0 / side
        matrix = np.zeros((4, 4), np.float32)
        matrix[0] = [k * d, 0, k * cx, -k * cx * d]
        matrix[1] = [0, k * d, k * cy, -k * cy * d]
        # depth: z_eye = d - z in [near, far]
        a, b = (far + near) / (far - near), -2 * far * near / (far - near)
        matrix[2] = [0, 0, -a, a * d + b]
        matrix[3] = [0, 0, -1, d]
        turn = np.eye(4, dtype=np.float32)
        c, s = np.cos(roll), np.sin(roll)
        turn[:2, :2] = [[c, s], [-s, c]]
        return turn @ matrix

    def pixels(self, points: np.ndarray, size: int) -> np.ndarray:
        """(n, 2) x right, y down of head-space points (n, 3) that turn rigidly with the head."""
        world = points @ self.pose()[:3, :3].T + self.pose()[:3, 3]
        clip = np.c_[world, np.ones(len(world))] @ self.projection().T
        ndc = clip[:, :2] / clip[:, 3:4]
        return np.stack([(ndc[:, 0] + 1) / 2, (1 - ndc[:, 1]) / 2], 1) * size

    def plane(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) cm: where head-space points appear in the crop plane (z = 0)."""
        world = points @ self.pose()[:3, :3].T + self.pose()[:3, 3]
        return world[:, :2] * (self.distance / (self.distance - world[:, 2:3]))


def smoothstep(a: float, b: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def value_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth tileable noise, mean 0.5, about `cells` bumps across; (h, w) float32."""
    small = rng.random((cells, cells)).astype(np.float32)
    small = np.pad(small, 2, mode="wrap")
    h, w = shape
    big = cv2.resize(
        small, (w * (cells + 4) // cells, h * (cells + 4) // cells), interpolation=cv2.INTER_CUBIC
    )
    y, x = 2 * h // cells, 2 * w // cells
    return big[y : y + h, x : x + w]


def _within_bins(along: np.ndarray, values: np.ndarray, bins: int = 12) -> np.ndarray:
    """`values` scaled to 0..1 between the least and the greatest of their neighbours in `along`."""
    centres = np.linspace(along.min(), along.max(), bins)
    near = [np.abs(along - c) < 1.2 / bins * np.ptp(along) for c in centres]
    low = np.interp(along, centres, [values[n].min() for n in near])
    high = np.interp(along, centres, [values[n].max() for n in near])
    return np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1)


def paler(gums: np.ndarray) -> np.ndarray:
    """(3,): the tongue that goes with gums of that colour."""
    return (0.75 * gums + 0.1 * gums.sum()) * (1.25, 1.15, 1.15)


def tongue_out(kit: FaceKit, share: np.ndarray) -> np.ndarray:
    """(n, 3) cm: how tongueOut moves the vertices of gums_tongue, `share` of which is tongue."""
    forward = share * smoothstep(3.0, 9.5, kit.mean[kit.parts["gums_tongue"], 2])
    return forward[:, None] * np.array([0.0, 0.55, 3.6])


class Studio:
    """Renders heads of one FaceKit. One instance per process and thread (it owns a GL context).

    size: pixels of a picture; supersample: it is drawn that much larger; detail: share of the
    mesh's triangles that is drawn (lips, lids and borders keep theirs).
    """

    def __init__(
        self, kit: FaceKit, size: int = 256, supersample: float = 1.5, detail: float = 1.0
    ):
        os.environ.setdefault("EGL_PLATFORM", "surfaceless")
        try:
            import moderngl

            self.gl = moderngl.create_standalone_context(backend="egl")
        except Exception as error:  # moderngl raises plain Exception when there is no EGL
            raise RealTalkError(
                f"No off-screen OpenGL ({error}): install moderngl and, on Debian or Ubuntu, "
                "libegl1 and libgl1-mesa-dri."
            ) from error
        self.kit, self.size = kit, size
        self.moderngl = moderngl
        gl = self.gl
        self.kinds = np.full(len(kit.mean), -1, np.int32)
        for name, kind in PART_KINDS.items():
            self.kinds[kit.parts[name]] = kind
        self._compile()
        self.inner = round(size * supersample)
        shadow_shape = (shaders.SHADOW_SIZE // (1 if detail == 1 else 2),) * 2
        self.shadow_texture = gl.depth_texture(shadow_shape)
        self.shadow_texture.compare_func = "<="
        self.shadow_texture.repeat_x = self.shadow_texture.repeat_y = False
        self.shadow_target = gl.framebuffer(depth_attachment=self.shadow_texture)
        self._targets(self.inner, shadow_shape)
        rng = np.random.default_rng(7)
        noise = sum(
            value_noise((256, 256), c, rng) * k for c, k in ((16, 0.35), (64, 0.4), (128, 0.25))
        )
        noise = np.clip((noise - noise.mean()) / noise.std() * 0.2 + 0.5, 0, 1)
        self.noise = gl.texture((256, 256), 1, (noise * 255).astype(np.uint8).tobytes())
        self.noise.build_mipmaps()
        self.occlusion = self._occlusion()
        self._build_head(detail)
        self._build_morphs()
        self.look: Look | None = None
        self._uniforms: dict = {}
        self._still: tuple | None = None
        self._textures: list = []
        self.hair_shadow = True  # hair throws shadows; costs as much as drawing it

    # -- set-up ---------------------------------------------------------------------------------

    def _compile(self) -> None:
        gl = self.gl
        self.morph_program = gl.program(shaders.MORPH_VERTEX, varyings=["out_pos", "out_normal"])
        self.geometry_program = gl.program(shaders.HEAD_VERTEX, shaders.SKIN_GEOMETRY)
        self.skin_program = gl.program(shaders.SCREEN_VERTEX, shaders.SKIN_FRAGMENT)
        self.background_program = gl.program(shaders.SCREEN_VERTEX, shaders.BACKGROUND_FRAGMENT)
        self.eye_program = gl.program(shaders.HEAD_VERTEX, shaders.EYE_FRAGMENT)
        self.mouth_program = gl.program(shaders.HEAD_VERTEX, shaders.MOUTH_FRAGMENT)
        self.alpha_program = gl.program(shaders.HEAD_VERTEX, shaders.ALPHA_FRAGMENT)
        self.head_depth = gl.program(shaders.HEAD_VERTEX, shaders.DEPTH_FRAGMENT)
        self.strand_program = gl.program(shaders.STRAND_VERTEX, shaders.STRAND_FRAGMENT)
        self.strand_depth = gl.program(shaders.STRAND_DEPTH, shaders.DEPTH_FRAGMENT)
        self.thing_program = gl.program(shaders.THING_VERTEX, shaders.THING_FRAGMENT)
        quad = gl.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        plate = gl.program(shaders.PLATE_VERTEX, shaders.PLATE_FRAGMENT)
        plate["plate_colour"].value, plate["plate_depth"].value = 8, 9
        plate_depth = gl.program(shaders.PLATE_VERTEX, shaders.PLATE_DEPTH_FRAGMENT)
        plate_depth["plate_depth"].value = 10
        self.screen, self.background_array, self.plate_array, self.plate_shadow_array = (
            gl.vertex_array(program, [(quad, "2f", "in_pos")])
            for program in (self.skin_program, self.background_program, plate, plate_depth)
        )

    def _targets(self, size: int, shadow_shape: tuple[int, int]) -> None:
        gl, shape, nearest = self.gl, (size, size), self.moderngl.NEAREST
        self.geometry = [gl.texture(shape, 4, dtype="f4") for _ in range(2)]
        depth = gl.depth_renderbuffer(shape)
        self.first = gl.framebuffer(self.geometry, depth)
        self.second = gl.framebuffer(gl.renderbuffer(shape, 4), depth)
        self.plate_textures = (gl.texture(shape, 4), gl.depth_texture(shape))
        self.plate = gl.framebuffer(*self.plate_textures)
        self.plate_shadow = gl.depth_texture(shadow_shape)
        self.plate_shadow_target = gl.framebuffer(depth_attachment=self.plate_shadow)
        for texture in (self.plate_textures[1], self.plate_shadow):
            texture.compare_func = ""  # read as numbers
        for texture in (*self.plate_textures, self.plate_shadow, *self.geometry):
            texture.filter = (nearest, nearest)
        self.pixels = np.empty((size, size, 4), np.uint8)

    def _rest(self) -> np.ndarray:
        """(V, 4) per vertex what the shaders of eyes, teeth, tongue want to know (see there)."""
        kit, mean, kinds = self.kit, self.kit.mean, self.kinds
        rest = np.zeros((len(mean), 4), np.float32)
        for side in ("left", "right"):
            ball = kit.parts[f"eyeball_{side}"]
            rest[ball, :3] = mean[ball] - _middle(mean[ball])
        front = mean[kit.parts["teeth"], 2].max()
        inside = np.isin(kinds, (TEETH, GUMS, SOCKET))
        rest[inside, 3] = np.maximum(front - mean[inside, 2] - 0.3, 0) * 0.8
        gums = kit.parts["gums_tongue"]
        rest[gums, 0] = self.tongue
        rest[gums, 1:3] = mean[gums][:, [0, 2]]
        self._each_tooth(rest)
        return rest

    def _each_tooth(self, rest: np.ndarray) -> None:
        """Fill rest[..., :3] of the teeth: across -1..1 along the arch, root to edge, a shade."""
        from scipy import sparse
        from scipy.sparse.csgraph import connected_components

        part = self.kit.parts["teeth"]
        tris = self.kit.triangles
        tris = tris[((tris >= part.start) & (tris < part.stop)).all(1)] - part.start
        pairs = sparse.coo_matrix(
            (np.ones(2 * len(tris)), (tris[:, :2].T.ravel(), tris[:, 1:].T.ravel())),
            (part.stop - part.start,) * 2,
        )
        count, tooth = connected_components(pairs, directed=False)
        rng = np.random.default_rng(3)
        points = self.kit.mean[part]
        middle_y = points[:, 1].mean()
        for i in range(count):
            mine = points[tooth == i]
            centre = _middle(mine)
            # along the arch, an ellipse about (0, 5): across is its tangent
            tangent = np.array([centre[2] - 4.0, -centre[0] * 1.6])
            tangent /= np.linalg.norm(tangent)
            across = (mine - centre)[:, [0, 2]] @ tangent
            down = (mine[:, 1] - mine[:, 1].min()) / np.ptp(mine[:, 1])
            where = np.flatnonzero(tooth == i) + part.start
            rest[where, 0] = across / np.abs(across).max()
            rest[where, 1] = 1 - down if centre[1] > middle_y else down
            rest[where, 2] = rng.normal(0, 0.35)

    def _tongue(self) -> np.ndarray:
        """0..1 per vertex of gums_tongue: 1 on the tongue, far from teeth and below the palate."""
        from scipy.spatial import cKDTree

        mean, kit = self.kit.mean, self.kit
        points = mean[kit.parts["gums_tongue"]]
        distance = cKDTree(mean[kit.parts["teeth"]]).query(points)[0]
        inside = smoothstep(0.30, 0.75, distance) * smoothstep(-2.2, -2.9, points[:, 1])
        # gums before and beside the teeth
        arch = np.hypot(points[:, 0] / 2.2, np.maximum(points[:, 2] - 4.0, 0) / 5.6)
        return (inside * smoothstep(1.0, 0.85, arch)).astype(np.float32)

    def _build_head(self, detail: float) -> None:
        """Simplify, split vertices at texture seams, drop what no camera sees, fill buffers."""
        kit, mean, gl = self.kit, self.kit.mean, self.gl
        self.tongue = self._tongue()
        iris_layer = [i for i, m in enumerate(kit.materials) if m.startswith("M_Iris")]
        tri_kind = self.kinds[kit.triangles[:, 0]]
        middle, away = mean[kit.triangles].mean(1), kit.normals(mean)[kit.triangles].mean(1)[:, 2]
        # What no view within 30 degrees of the front shows is not drawn: half of the cost.
        hidden = (tri_kind == SKIN) & ((away < -0.55) | ((middle[:, 2] < -2) & (away < -0.2)))
        hidden |= np.isin(tri_kind, (TEETH, GUMS)) & (middle[:, 2] < 4.5)
        # the bust ends in shoulders of its own, which clothes cover
        hidden |= (tri_kind == SKIN) & (np.abs(middle[:, 0]) > 8.4) & (middle[:, 1] < -9.0)
        hidden |= (tri_kind == EYE) & (middle[:, 2] < 8.2)
        keep = (tri_kind >= 0) & ~np.isin(kit.triangle_materials, iris_layer) & ~hidden
        tris, uvs, tri_kind = kit.triangles[keep], kit.triangle_uvs[keep], tri_kind[keep]
        pairs = tris.ravel().astype(np.int64) * len(kit.uvs) + uvs.ravel()
        unique, inverse = np.unique(pairs, return_inverse=True)
        vertex_of = (unique // len(kit.uvs)).astype(np.int32)
        uv = kit.uvs[unique % len(kit.uvs)]
        faces = inverse.reshape(-1, 3).astype(np.int32)
        if detail < 1:
            faces, tri_kind = self._simplified(faces, tri_kind, vertex_of, detail)
            used, faces = np.unique(faces, return_inverse=True)
            faces = faces.reshape(-1, 3).astype(np.int32)
            vertex_of, uv = vertex_of[used], uv[used]
        self.vertex_of, v = vertex_of, vertex_of
        self.triangles, self.triangle_kinds = v[faces], tri_kind  # of the face model's vertices

        self.rest = self._rest()
        rest = self.rest[v]
        kind_v = self.kinds[v]
        # Lashes: u runs along the lid; v below 0.5 is the lower lid.
        hairs, u, across = kind_v == LASH, uv[:, 0] % 0.5 * 2, uv[:, 1]
        rest[hairs, 0] = u[hairs]
        rest[hairs, 1] = across[hairs] < 0.5
        for side, ball in ((1, "eyeball_left"), (-1, "eyeball_right")):
            eye = mean[kit.parts[ball]]
            for low in (True, False):
                sel = hairs & (mean[v, 0] * side > 0) & ((across < 0.5) == low)
                distance = np.linalg.norm(mean[v][sel] - _middle(eye), axis=1)
                rest[sel, 3] = _within_bins(u[sel], distance)
            sel = (kind_v == OCCLUSION) & (mean[v, 0] * side > 0)
            rest[sel, 3] = self._lid_shadow(mean[v][sel])
        pose_weight = smoothstep(-14.5, -6.5, mean[v, 1] + 0.30 * mean[v, 2])
        aux = np.stack([kind_v, self.occlusion[v], uv[:, 0] * 0, pose_weight], 1)
        static = gl.buffer(np.hstack([uv, aux, rest]).astype("f4").tobytes())
        # what the expressions deform: base (position, normal, which eyeball) to dynamic
        ball = np.zeros(len(mean), np.float32)
        ball[kit.parts["eyeball_left"]], ball[kit.parts["eyeball_right"]] = 1, 2
        self.ball = gl.buffer(ball[v].tobytes())
        self.base = gl.buffer(reserve=len(v) * 24)
        self.dynamic = gl.buffer(reserve=len(v) * 24)
        self.morph_array = gl.vertex_array(
            self.morph_program,
            [(self.base, "3f 3f", "in_pos", "in_normal"), (self.ball, "1f", "in_ball")],
        )
        self.triangle_count = len(faces)

        def array(program, *kinds: int):
            index = gl.buffer(np.concatenate([faces[tri_kind == k] for k in kinds]).tobytes())
            names = [n for n in ("in_pos", "in_normal") if n in program]
            fmt = " ".join("3f" if n in program else "3x4" for n in ("in_pos", "in_normal"))
            sizes = (("in_uv", "2f", "2x4"), ("in_aux", "4f", "4x4"), ("in_rest", "4f", "4x4"))
            fmt2 = " ".join(f if n in program else x for n, f, x in sizes)
            content = [(self.dynamic, fmt, *names)]
            if names2 := [n for n, _, _ in sizes if n in program]:
                content.append((static, fmt2, *names2))
            return gl.vertex_array(program, content, index)

        self.geometry_array = array(self.geometry_program, SKIN)
        self.eye_array = array(self.eye_program, EYE)
        self.mouth_array = array(self.mouth_program, LACRIMAL, TEETH, GUMS, SOCKET)
        self.alpha_array = array(self.alpha_program, OCCLUSION, LASH)
        self.depth_array = array(self.head_depth, SKIN)

    def _simplified(
        self, faces: np.ndarray, tri_kind: np.ndarray, vertex_of: np.ndarray, detail: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """(faces, kinds) with about `detail` of the skin's and the mouth's triangles."""
        kit = self.kit
        wide = np.zeros(arkit.COUNT, np.float32)
        wide[[arkit.INDEX["jawOpen"], arkit.INDEX["mouthFunnel"]]] = 0.6
        for name in ("eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft"):
            wide[arkit.INDEX[name]] = 1.0
        shapes = [kit.mean[vertex_of], kit.deform(kit.mean, wide)[vertex_of]]
        marks = kit.mean[kit.landmarks[36:68]]  # eyes and lips
        from scipy.spatial import cKDTree

        near = cKDTree(marks).query(shapes[0])[0]
        importance = 1 + 400 * np.exp(-((near / 1.1) ** 2))
        # the jaw line and the back matter less than the front
        importance *= np.where(shapes[0][:, 2] > 2, 1.0, 0.3)
        out, kinds = [], []
        for kind in np.unique(tri_kind):
            part = faces[tri_kind == kind]
            factor = importance if kind == SKIN else np.ones_like(near)
            share = max(detail, 0.5) if kind == TEETH else detail  # few triangles a tooth
            part = simplify(part, shapes, factor, share)
            out.append(part)
            kinds.append(np.full(len(part), kind))
        return np.concatenate(out), np.concatenate(kinds)

    def _build_morphs(self) -> None:
        """The texture of expression deltas; tongueOut, which the model lacks, is made here."""
        kit, v = self.kit, self.vertex_of
        deltas = kit.expressions.reshape(arkit.COUNT, -1, 3).copy()
        deltas[arkit.INDEX["tongueOut"], kit.parts["gums_tongue"]] = tongue_out(kit, self.tongue)
        # some identities' closed lids lie behind the cornea: the eye gives way
        for side in ("Left", "Right"):
            ball = kit.parts[f"eyeball_{side.lower()}"]
            deltas[arkit.INDEX[f"eyeBlink{side}"], ball, 2] -= 0.25
        rest_normals = kit.normals(kit.mean)
        width = shaders.MORPH_WIDTH
        self.rows = -(-len(v) // width)
        data = np.zeros((arkit.COUNT, 2, self.rows * width, 3), np.float32)
        for i, delta in enumerate(deltas):
            if delta.any():
                data[i, 0, : len(v)] = delta[v]
                data[i, 1, : len(v)] = (kit.normals(kit.mean + delta) - rest_normals)[v]
        self.morphs = self.gl.texture((width, arkit.COUNT * 2 * self.rows), 3, data.tobytes(),
                                      dtype="f4")  # fmt: skip
        self.morphs.filter = (self.moderngl.NEAREST, self.moderngl.NEAREST)
        self.landmark_deltas = deltas[:, kit.landmarks]

    @staticmethod
    def _lid_shadow(points: np.ndarray) -> np.ndarray:
        """0..1: the shadow that the lids throw on the eye, darkest at their edges."""
        low, high = points[:, 1].min(), points[:, 1].max()
        return smoothstep(0.45, 1.0, np.abs(points[:, 1] - (low + high) / 2) / ((high - low) / 2))

    def _occlusion(self, directions: int = 64) -> np.ndarray:
        """(V,) ambient occlusion of the mean head, mouth a little open, from depth maps."""
        kit, gl = self.kit, self.gl
        weights = np.zeros(arkit.COUNT, np.float32)
        weights[arkit.INDEX["jawOpen"]] = 0.25
        vertices = kit.deform(kit.mean, weights)
        n = kit.normals(vertices)
        program = gl.program(
            "#version 330\nuniform mat4 m; in vec3 p;\n"
            "void main() { gl_Position = m * vec4(p, 1.0); }",
            shaders.DEPTH_FRAGMENT,
        )
        skin = kit.triangles[self.kinds[kit.triangles[:, 0]] == SKIN]
        array = gl.vertex_array(
            program, [(gl.buffer(vertices.tobytes()), "3f", "p")],
            gl.buffer(skin.astype(np.int32).tobytes()),
        )  # fmt: skip
        texture = gl.depth_texture((256, 256))
        target = gl.framebuffer(depth_attachment=texture)
        i = np.arange(directions) + 0.5
        y = 1 - 2 * i / directions
        phi = np.pi * (1 + 5**0.5) * i
        dirs = np.stack([np.sqrt(1 - y * y) * np.cos(phi), y, np.sqrt(1 - y * y) * np.sin(phi)], 1)
        total, seen = np.full(len(n), 1e-6), np.full(len(n), 1e-6)
        points = np.c_[vertices + n * 0.08, np.ones(len(n))].astype(np.float32)
        gl.enable(self.moderngl.DEPTH_TEST)
        for d in dirs.astype(np.float32):
            matrix = shadow_matrix(d)
            program["m"].write(np.ascontiguousarray(matrix.T).tobytes())
            target.clear(depth=1.0)
            target.use()
            array.render()
            depth = np.frombuffer(texture.read(alignment=1), np.float32).reshape(256, 256)
            s = (points @ matrix.T)[:, :3] * 0.5 + 0.5
            col = np.clip((s[:, 0] * 256).astype(int), 0, 255)
            row = np.clip((s[:, 1] * 256).astype(int), 0, 255)
            cosine = np.maximum(n @ d, 0)
            total += cosine
            seen += cosine * (s[:, 2] - 0.004 <= depth[row, col])
        target.release()
        texture.release()
        return np.clip(self._smooth(seen / total, 2) * 1.05, 0.05, 1).astype(np.float32)

    def _smooth(self, values: np.ndarray, rounds: int) -> np.ndarray:
        """Mean with the neighbours, `rounds` times."""
        from scipy import sparse

        t, n = self.kit.triangles, len(self.kit.mean)
        rows = np.concatenate([t[:, 0], t[:, 1], t[:, 2], np.arange(n)])
        cols = np.concatenate([t[:, 1], t[:, 2], t[:, 0], np.arange(n)])
        m = sparse.csr_matrix((np.ones(len(rows)), (rows, cols)), (n, n))
        m = m + m.T
        m = sparse.diags(1 / np.asarray(m.sum(1)).ravel()) @ m
        for _ in range(rounds):
            values = m @ values
        return values

    # -- per person -----------------------------------------------------------------------------

    def position_map(self, height: int) -> tuple[np.ndarray, np.ndarray]:
        """((height, 2 * height, 3) mean positions, mask) over the skin's texture; row 0: v = 0."""
        gl = self.gl
        program = gl.program(
            "#version 330\nin vec2 in_uv; in vec3 in_pos; out vec3 p;\n"
            "void main() {\n"
            "p = in_pos; gl_Position = vec4(in_uv.x - 1.0, in_uv.y * 2.0 - 1.0, 0, 1); }",
            "#version 330\nin vec3 p; out vec4 colour; void main() { colour = vec4(p, 1.0); }",
        )
        kit = self.kit
        skin = np.isin(self.kinds[kit.triangles[:, 0]], (SKIN, SOCKET))
        corners, uvs = kit.triangles[skin].ravel(), kit.triangle_uvs[skin].ravel()
        data = np.hstack([kit.uvs[uvs], kit.mean[corners]]).astype(np.float32)
        array = gl.vertex_array(
            program,
            [(gl.buffer(data.tobytes()), "2f 3f", "in_uv", "in_pos")],
        )
        target = gl.framebuffer(gl.texture((2 * height, height), 4, dtype="f4"))
        target.clear(0, 0, 0, 0)
        target.use()
        gl.disable(self.moderngl.DEPTH_TEST)
        array.render()
        image = np.frombuffer(target.read(components=4, dtype="f4"), np.float32)
        image = image.reshape(height, 2 * height, 4)
        return image[..., :3].copy(), image[..., 3] > 0.5

    def dress(self, neutral: np.ndarray, look: Look) -> None:
        """Choose whom to render: the neutral head (V, 3) and the look."""
        gl, kit = self.gl, self.kit
        for old in self._textures:
            old.release()
        self.neutral, self.look, self._still = neutral, look, None
        both = np.hstack([neutral, kit.normals(neutral)]).astype(np.float32)
        self.base.write(both.take(self.vertex_of, axis=0).tobytes())
        self.neutral_landmarks = neutral[kit.landmarks]
        balls = np.array([_middle(neutral[kit.parts[f"eyeball_{s}"]]) for s in ("left", "right")])
        self.morph_program["ball"].write(balls.astype("f4").tobytes())
        h, w = look.albedo.shape[:2]
        self.albedo_texture = gl.texture((w, h), 4, np.ascontiguousarray(look.albedo).tobytes())
        self.detail_texture = gl.texture((w, h), 2, np.ascontiguousarray(look.detail).tobytes())
        for t in (self.albedo_texture, self.detail_texture):
            t.build_mipmaps()
        background = look.background
        if background is None:
            background = np.full((4, 4, 3), 90, np.uint8)
        self.background_texture = gl.texture(
            background.shape[1::-1], 3, np.ascontiguousarray(background).tobytes(), alignment=1
        )
        self.background_texture.repeat_x = self.background_texture.repeat_y = False
        self._textures = [self.albedo_texture, self.detail_texture, self.background_texture]
        self._build_strands(look.hair)
        self.things = [
            (mesh, self._thing(mesh)) for mesh in (look.body, *look.worn) if mesh is not None
        ]

    def _build_strands(self, hair: Strands | None) -> None:
        self.strand_array = self.strand_depth_array = None
        if hair is None or len(hair.points) == 0:
            return
        count, k = hair.points.shape[:2]
        tangent = np.gradient(hair.points, axis=1)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-6)
        data = np.zeros((count, k, 2, 11), np.float32)
        data[..., 0:3] = hair.points[:, :, None]
        data[..., 3:6] = tangent[:, :, None]
        data[..., 6:9] = hair.colours[:, None, None]
        data[..., 9] = hair.shade[:, :, None]
        taper = np.ones(k, np.float32)
        taper[-3:] = 0.85, 0.55, 0.1
        data[..., 10] = np.array([-1.0, 1.0]) * taper[:, None]
        base = (np.arange(count)[:, None] * k + np.arange(k - 1)[None]) * 2
        quad = np.stack([base, base + 1, base + 2, base + 2, base + 1, base + 3], -1).astype(
            np.int32
        )
        vertices, index = self._buffer(data), self._buffer(quad)
        self.strand_width = hair.width
        self.strand_array = self._keep(self.gl.vertex_array(
            self.strand_program,
            [(vertices, "3f 3f 4f 1f", "in_pos", "in_tangent", "in_colour", "in_side")],
            index,
        ))  # fmt: skip
        self.strand_depth_array = self._keep(self.gl.vertex_array(
            self.strand_depth,
            [(vertices, "3f 3f 4x4 1f", "in_pos", "in_tangent", "in_side")],
            index,
        ))  # fmt: skip

    def _thing(self, mesh: Mesh):
        data = np.hstack([mesh.points, mesh.normals, mesh.colours]).astype(np.float32)
        return self._keep(self.gl.vertex_array(
            self.thing_program,
            [(self._buffer(data), "3f 3f 3f", "in_pos", "in_normal", "in_colour")],
            self._buffer(mesh.triangles.astype(np.int32)),
        ))  # fmt: skip

    def _buffer(self, data: np.ndarray):
        return self._keep(self.gl.buffer(data.tobytes()))

    def _keep(self, resource):
        """Remember what the next `dress` has to release."""
        self._textures.append(resource)
        return resource

    # -- per frame ------------------------------------------------------------------------------

    def landmarks(self, weights: np.ndarray) -> np.ndarray:
        """(68, 3) Multi-PIE landmarks of the dressed person in head space."""
        return self.neutral_landmarks + np.tensordot(weights, self.landmark_deltas, 1)

    def _deform(self, weights: np.ndarray) -> None:
        program, active = self.morph_program, np.flatnonzero(weights)
        shapes = np.zeros((arkit.COUNT, 2), np.float32)
        shapes[: len(active)] = np.stack([active, weights[active]], 1)
        turns = np.stack([rotation(*gaze_angles(weights, s)).T for s in ("Left", "Right")])
        program["active_shapes"].write(shapes.tobytes())
        program["count"].value, program["rows"].value = len(active), self.rows
        program["gaze"].write(np.ascontiguousarray(turns, np.float32).tobytes())
        program["morphs"].value = 11
        self.morphs.use(11)
        self.morph_array.transform(self.dynamic, self.moderngl.POINTS, len(self.vertex_of))

    def _set(self, program, values: dict[str, bytes]) -> None:
        """Write the uniforms that `program` has (a compiler drops, and shortens, unused ones)."""
        if program not in self._uniforms:
            self._uniforms[program] = {
                name: (program[name], 4 * program[name].array_length * program[name].dimension)
                for name in program
                if isinstance(program[name], self.moderngl.Uniform)
            }
        for name, (uniform, length) in self._uniforms[program].items():
            if name in values:
                uniform.write(values[name][:length])

    def render(self, weights: np.ndarray, view: View, light: Light) -> np.ndarray:
        """(size, size, 3) uint8 BGR of the dressed person with ARKit `weights` (52,)."""
        return self.shoot(weights, view, light)[0]

    def shoot(self, weights: np.ndarray, view: View, light: Light) -> tuple[np.ndarray, np.ndarray]:
        """((size, size, 3) uint8 BGR, (size, size) uint8 of LABELS) of the dressed person."""
        if self.look is None:
            raise RuntimeError("dress() a person before shoot()")
        self._draw(np.asarray(weights, np.float32), view, light)
        self.second.read_into(self.pixels, components=4, alignment=1)
        image, size = self.pixels, self.size
        labels = image[..., 3]
        if self.inner != size:
            labels = cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(image[::-1], cv2.COLOR_RGBA2BGR), np.ascontiguousarray(labels[::-1])

    def _values(self, weights: np.ndarray, view: View, light: Light) -> dict[str, bytes]:
        """All uniforms but the programs' own."""
        look, marks = self.look, self.landmarks(weights)
        gap = np.mean([marks[a, 1] - marks[b, 1] for a, b in INNER_LIP_PAIRS])
        on = np.asarray(light.colours).max(1) > 1e-3
        on[0] = True  # the key light, which has the shadow
        order = np.argsort(~on, kind="stable")
        directions = light.directions / np.linalg.norm(light.directions, axis=1, keepdims=True)
        surround = np.zeros((3, 4, 4)) if light.surround is None else light.surround.copy()
        sky, ground = np.asarray(light.sky), np.asarray(light.ground)
        surround[:, 3, 3] += (sky + ground) / 2
        surround[:, 1, 3] += (sky - ground) / 4
        surround[:, 3, 1] += (sky - ground) / 4
        lod = np.log2(TEXELS_PER_CM * len(look.albedo) * view.crop[2] / self.inner)
        values = {
            "light_dir": directions[order], "light_col": light.colours[order],
            "surround": surround, "exposure": light.exposure, "shadow_strength": light.shadow,
            "softness": light.shadow_softness, "crop": view.crop, "mouth_open": gap,
            "tongue_out": weights[arkit.INDEX["tongueOut"]], "lod": max(0.0, lod),
            "pose": view.pose().T, "projection": view.projection().T,
            "shadow_matrix": shadow_matrix(light.directions[0]).T,
            "eye": (0, 0, view.distance), "breath": view.breath,
        }  # fmt: skip
        for name in ("iris", "iris_ring", "pupil", "iris_size", "sclera", "teeth", "gums", "lash",
                     "lash_alpha", "scatter", "gloss", "bump", "seed"):  # fmt: skip
            values[name] = getattr(look, name)
        values["tongue"] = paler(look.gums) if look.tongue is None else look.tongue
        units = {name: np.int32(unit).tobytes() for unit, name in enumerate(SAMPLERS)}
        return units | {"lights": np.int32(on.sum()).tobytes()} | {
            k: np.ascontiguousarray(v, np.float32).tobytes() for k, v in values.items()
        }  # fmt: skip

    def _draw(self, weights: np.ndarray, view: View, light: Light) -> None:
        gl, mgl, strip = self.gl, self.moderngl, self.moderngl.TRIANGLE_STRIP
        self._deform(weights)
        values = self._values(weights, view, light)
        # The plate stays as it is while only the expression changes.
        still = (view, id(light), id(self.look))
        fresh, self._still = still != self._still, still
        textures = (self.albedo_texture, self.detail_texture, self.noise, self.shadow_texture,
                    self.background_texture, *self.geometry)  # fmt: skip
        for unit, texture in enumerate(textures):
            texture.use(unit)
        gl.enable_only(mgl.DEPTH_TEST)
        if light.shadow > 0:
            self._draw_shadow(values, fresh)
        if fresh:
            self._draw_plate(values)

        self.first.clear(depth=1.0)
        self.first.use()
        self._set(self.geometry_program, values)
        self.geometry_array.render()
        self.second.use()
        self.second.depth_mask = False
        gl.depth_func = ">"
        self._set(self.skin_program, values)
        self.screen.render(strip)
        self.second.depth_mask = True
        gl.depth_func = "<"
        for program, array in (
            (self.eye_program, self.eye_array), (self.mouth_program, self.mouth_array)
        ):  # fmt: skip
            self._set(program, values)
            array.render()
        gl.depth_func = "<="
        for unit, texture in enumerate(self.plate_textures):
            texture.use(8 + unit)
        self.plate_array.render(strip)
        gl.depth_func = "<"
        gl.enable(mgl.BLEND)  # alpha is the label and stays
        gl.blend_func = mgl.SRC_ALPHA, mgl.ONE_MINUS_SRC_ALPHA, mgl.ZERO, mgl.ONE
        self.second.depth_mask = False
        self._set(self.alpha_program, values)
        self.alpha_array.render()
        for mesh, array in self.things:
            if mesh.opacity < 1:
                self._draw_thing(mesh, array, values)
        gl.disable(mgl.BLEND)
        self.second.depth_mask = True

    def _draw_shadow(self, values: dict[str, bytes], fresh: bool) -> None:
        gl = self.gl
        values = values | {"projection": values["shadow_matrix"]}
        if self.strand_array is not None and self.hair_shadow:
            if fresh:
                self.plate_shadow_target.clear(depth=1.0)
                self.plate_shadow_target.use()
                width = {"width": np.float32(self.strand_width).tobytes()}
                self._set(self.strand_depth, values | width)
                self.strand_depth_array.render()
            self.shadow_target.use()
            self.plate_shadow.use(10)
            gl.depth_func = "1"
            self.plate_shadow_array.render(self.moderngl.TRIANGLE_STRIP)
            gl.depth_func = "<"
        else:
            self.shadow_target.clear(depth=1.0)
            self.shadow_target.use()
        self._set(self.head_depth, values)
        self.depth_array.render()

    def _draw_plate(self, values: dict[str, bytes]) -> None:
        """Background, clothes, what is worn and hair, with depth."""
        self.plate.clear(depth=1.0)
        self.plate.use()
        self.plate.depth_mask = False
        self.gl.depth_func = "1"
        self._set(self.background_program, values)
        self.background_array.render(self.moderngl.TRIANGLE_STRIP)
        self.plate.depth_mask = True
        self.gl.depth_func = "<"
        for mesh, array in self.things:
            if mesh.opacity == 1:
                self._draw_thing(mesh, array, values)
        if self.strand_array is not None:
            width = {"width": np.float32(self.strand_width).tobytes()}
            self._set(self.strand_program, values | width)
            self.strand_array.render()

    def _draw_thing(self, mesh: Mesh, array, values: dict[str, bytes]) -> None:
        own = {"with_head": mesh.with_head, "polish": mesh.polish, "opacity": mesh.opacity,
               "label": mesh.label / 255}  # fmt: skip
        own = {k: np.float32(v).tobytes() for k, v in own.items()}
        self._set(self.thing_program, values | own)
        array.render()


def _middle(points: np.ndarray) -> np.ndarray:
    return (points.min(0) + points.max(0)) / 2


def shadow_matrix(direction: np.ndarray, reach: float = 24.0) -> np.ndarray:
    """(4, 4) orthographic world-to-clip matrix looking at the head from `direction`."""
    z = np.asarray(direction, np.float64)
    z = z / np.linalg.norm(z)
    up = np.array([0.0, 1, 0]) if abs(z[1]) < 0.95 else np.array([1.0, 0, 0])
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    matrix = np.eye(4)
    matrix[0, :3], matrix[1, :3], matrix[2, :3] = x / reach, y / reach, -z / reach
    matrix[:3, 3] = -matrix[:3, :3] @ np.array([0.0, -1.0, 2.0])
    return matrix.astype(np.float32)
