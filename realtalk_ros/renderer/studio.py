"""A photo studio for synthetic heads: OpenGL, off screen, of what ICT-FaceKit's mesh can show.

`Studio.render` draws one head: a person's look (painted skin texture, eyes, hair, clothes), a pose,
an expression, lights, a camera crop. Deformation is a numpy GEMV, shading a fragment shader; runs
on software OpenGL (EGL, llvmpipe) as on a GPU. Needs moderngl and scipy (extra `train`).

Coordinates: head space of `facekit` (cm). The camera sits on +z at `distance` from the origin and
looks down -z. A crop is a square in the plane z = 0 as seen from the camera, (x, y, side, roll) in
cm and rad, so that a crop of any size is rendered directly.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import cv2
import numpy as np

from realtalk_ros import arkit
from realtalk_ros.errors import RealTalkError
from realtalk_ros.facekit import FaceKit, rotation

LIGHTS = 4
# The head turns about a point in the upper neck; the skin between neck base and skull bends.
PIVOT = np.array([0.0, -5.0, -1.0], np.float32)
SKIN, EYE, TEETH, GUMS, SOCKET, LACRIMAL = range(6)
OCCLUSION, LASH = 6, 7
SHADOW_SIZE = 512
TEXELS_PER_CM = 0.035  # of a skin texture one texel high, about, in the middle of the face
SAMPLERS = ("albedo_map", "detail_map", "noise_map", "shadow_map", "background", "pos_map",
            "normal_map", "uv_map")  # fmt: skip


@dataclass
class Light:
    """4 directional lights (direction towards the light, linear rgb) and a sky-ground ambient."""

    directions: np.ndarray  # (4, 3)
    colours: np.ndarray  # (4, 3), linear
    sky: np.ndarray  # (3,)
    ground: np.ndarray  # (3,)
    exposure: float = 1.0
    shadow: float = 0.8  # strength of the key light's (light 0's) shadow
    shadow_softness: float = 2.0  # texels


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
    lash: np.ndarray = field(default_factory=lambda: np.array([0.01, 0.008, 0.006]))
    lash_alpha: float = 0.5
    scatter: float = 1.0  # strength of the red-shifted wrap
    gloss: float = 1.0
    bump: float = 1.0
    hair: Strands | None = None
    body: Mesh | None = None
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
    """Clothes or shoulders: triangles that stay where they are."""

    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3)
    colours: np.ndarray  # (N, 3) linear rgb
    triangles: np.ndarray  # (M, 3)


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


COMMON = """
#version 330
uniform mat4 pose; uniform mat4 projection; uniform mat4 shadow_matrix;
uniform vec3 eye; uniform float breath;
vec3 bend(vec3 p, float w) {
    vec3 posed = (pose * vec4(p, 1.0)).xyz;
    return mix(p + vec3(0.0, breath, 0.3 * breath), posed, w);
}
"""

LIGHTING = """
uniform vec3 light_dir[4]; uniform vec3 light_col[4]; uniform vec3 sky; uniform vec3 ground;
uniform sampler2DShadow shadow_map; uniform float shadow_strength; uniform float softness;
uniform float exposure;
float shadowed(vec3 s, float bias) {
    if (shadow_strength <= 0.0) return 1.0;
    float texel = softness / 512.0, sum = 0.0;
    for (int i = -1; i <= 1; i++) for (int j = -1; j <= 1; j++)
        sum += texture(shadow_map, vec3(s.xy + vec2(float(i), float(j)) * texel, s.z - bias));
    return mix(1.0, sum / 9.0, shadow_strength);
}
vec3 hemisphere(vec3 n) { return mix(ground, sky, 0.5 + 0.5 * n.y); }
vec3 develop(vec3 c) {  // filmic shoulder, then sRGB
    c *= exposure;
    c = c * (1.0 + c * 0.15) / (1.0 + c * 0.62);
    c *= 1.08;
    return mix(c * 12.92, 1.055 * pow(max(c, 0.0), vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}
"""

HEAD_VERTEX = (
    COMMON
    + """
in vec3 in_pos; in vec3 in_normal; in vec2 in_uv; in vec4 in_aux; in vec4 in_rest;
out vec3 v_pos; out vec3 v_normal; out vec2 v_uv;
out vec4 v_aux; out vec4 v_rest; out vec3 v_shadow;
void main() {
    v_pos = bend(in_pos, in_aux.w);
    v_normal = mix(in_normal, mat3(pose) * in_normal, in_aux.w);
    v_uv = in_uv; v_aux = in_aux; v_rest = in_rest;
    v_shadow = (shadow_matrix * vec4(v_pos, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = projection * vec4(v_pos, 1.0);
}
"""
)

HEAD_IN = """
in vec3 v_pos; in vec3 v_normal; in vec2 v_uv; in vec4 v_aux; in vec4 v_rest; in vec3 v_shadow;
uniform sampler2D noise_map; uniform float seed;
out vec4 colour;
"""

# Skin is shaded in a second, full-screen pass: software rasterisers shade whole pixel blocks for
# every tiny triangle, so that the first pass has to be cheap.
SKIN_GEOMETRY = """
#version 330
in vec3 v_pos; in vec3 v_normal; in vec2 v_uv; in vec4 v_aux;
layout(location = 0) out vec4 out_pos; layout(location = 1) out vec4 out_normal;
layout(location = 2) out vec2 out_uv;
void main() {
    out_pos = vec4(v_pos, 1.0);
    out_normal = vec4(v_normal, v_aux.y);
    out_uv = v_uv * vec2(0.5, 1.0);
}
"""

SCREEN_VERTEX = """
#version 330
in vec2 in_pos; out vec2 v_screen; out vec2 v_plane; uniform vec4 crop;
void main() {
    float c = cos(crop.w), s = sin(crop.w);
    vec2 plane = crop.xy + mat2(c, s, -s, c) * in_pos * crop.z * 0.5;  // cm in the crop plane
    v_plane = plane / 64.0 + 0.5;
    v_screen = in_pos * 0.5 + 0.5;
    gl_Position = vec4(in_pos, 0.0, 1.0);
}
"""

SKIN_FRAGMENT = (
    COMMON
    + LIGHTING
    + """
in vec2 v_screen; in vec2 v_plane;
uniform sampler2D pos_map; uniform sampler2D normal_map; uniform sampler2D uv_map;
uniform sampler2D albedo_map; uniform sampler2D detail_map; uniform sampler2D background;
uniform float scatter; uniform float gloss; uniform float bump; uniform float lod;
out vec4 colour;

float square(float x) { return x * x; }
void main() {
    vec4 p4 = textureLod(pos_map, v_screen, 0.0);
    vec4 n4 = textureLod(normal_map, v_screen, 0.0);
    vec2 uv = textureLod(uv_map, v_screen, 0.0).rg;
    vec3 n = normalize(n4.xyz + vec3(0.0, 0.0, 1e-5)), v = normalize(eye - p4.xyz);
    float ao = n4.w;
    float lit = shadowed((shadow_matrix * vec4(p4.xyz, 1.0)).xyz * 0.5 + 0.5, 0.004);
    vec4 a = textureLod(albedo_map, uv, lod);
    vec2 d = textureLod(detail_map, uv, lod).rg;
    vec3 base = a.rgb * a.rgb;  // painted with gamma 2
    float lip = a.a;
    // Mikkelsen 2010, bump mapping from screen-space derivatives
    float h = (d.r - 0.5) * bump * 0.12;
    vec3 dx = dFdx(p4.xyz), dy = dFdy(p4.xyz), r1 = cross(dy, n), r2 = cross(n, dx);
    float det = dot(dx, r1);
    vec3 m = abs(det) * n - sign(det) * (dFdx(h) * r1 + dFdy(h) * r2);
    m = dot(dx, dx) + dot(dy, dy) > 0.5 || dot(m, n) <= 0.0 ? n : normalize(m);
    float shine = gloss * mix(0.25, 1.0, d.g);
    vec3 wrap = scatter * mix(vec3(0.42, 0.20, 0.13), vec3(0.45, 0.20, 0.18), lip);
    vec3 soft = mix(vec3(lit), vec3(sqrt(lit), lit, lit), 0.6);  // red bleeds into the shadow
    vec3 c = vec3(0.0);
    float spec_all = 0.0;
    vec3 spec = vec3(0.0);
    for (int i = 0; i < 4; i++) {
        float ns = dot(n, light_dir[i]), nm = dot(m, light_dir[i]);
        vec3 nl = mix(vec3(nm), vec3(ns), vec3(0.7, 0.35, 0.2));
        vec3 diffuse = clamp((nl + wrap) / (1.0 + wrap), 0.0, 1.0);
        diffuse *= diffuse * 0.35 + 0.65;
        c += light_col[i] * diffuse * (i == 0 ? soft : vec3(1.0));
        vec3 half_way = normalize(light_dir[i] + v);
        float nh = max(dot(m, half_way), 0.0);
        float f = max(1.0 - dot(v, half_way), 0.0), f2 = f * f;
        float n2 = nh * nh, n4p = n2 * n2, n8 = n4p * n4p, n16 = n8 * n8, n32 = n16 * n16;
        float rough = 0.55 * n16 + 1.1 * n16 * n32;
        float wet = 0.6 * n8 * n16 + 3.2 * n32 * n32 * n32 * n16;
        float lobe = mix(rough, wet, lip) * smoothstep(-0.05, 0.25, nm) * (i == 0 ? lit : 1.0);
        spec += light_col[i] * (lobe * (0.035 + 0.5 * f2 * f2 * f));
    }
    vec3 bounce = mix(vec3(ao), vec3(sqrt(ao), ao, ao * (0.9 + 0.1 * ao)), 0.6 * scatter);
    c = base * (c * mix(vec3(1.0), bounce, 0.75) + hemisphere(m) * bounce);
    float rim = square(square(max(1.0 - dot(n, v), 0.0)));
    c += hemisphere(reflect(-v, m)) * ((0.03 + 0.30 * rim) * shine * ao);
    c += spec * (4.2 * shine * ao);
    vec3 behind = textureLod(background, vec2(v_plane.x, 1.0 - v_plane.y), 0.0).rgb;
    colour = vec4(p4.w > 0.5 ? develop(c) : behind, 1.0);
}
"""
)

EYE_FRAGMENT = (
    COMMON
    + LIGHTING
    + HEAD_IN
    + """
uniform vec3 iris; uniform vec3 iris_ring; uniform float pupil; uniform float iris_size;
uniform vec3 sclera;
float noise(vec2 p) { return texture(noise_map, p + seed).r; }
void main() {  // v_rest.xyz is the direction in the eye at rest
    float ao = v_aux.y;
    vec3 n = normalize(v_normal), view = normalize(eye - v_pos);
    float lit = shadowed(v_shadow, 0.004);
    vec3 spec = vec3(0.0), c;
    vec3 r = normalize(v_rest.xyz);
    vec2 q = r.xy * 1.60 / iris_size;
    float rad = length(q), ang = atan(q.y, q.x);
    float fibre = noise(vec2(ang * 1.9, rad * 0.22)) * 0.6
                + noise(vec2(ang * 4.1 + 3.0, rad * 0.4)) * 0.4;
    vec3 in_iris = mix(iris * (0.45 + 1.1 * fibre), iris_ring, smoothstep(0.72, 1.0, rad) * 0.85);
    in_iris = mix(in_iris, iris * vec3(1.35, 1.1, 0.7) * (0.6 + 0.6 * fibre),
                  (1.0 - smoothstep(pupil + 0.05, pupil + 0.28, rad)) * 0.45);
    in_iris *= smoothstep(pupil - 0.05, pupil + 0.05, rad);
    float vein = smoothstep(0.62, 0.85, noise(r.xy * 1.3 + 0.37)) * smoothstep(1.3, 2.2, rad);
    float blood = 0.5 * vein + 0.45 * smoothstep(1.6, 2.6, rad);
    vec3 white = sclera * mix(vec3(1.0), vec3(1.0, 0.80, 0.74), blood);
    float edge = smoothstep(0.93, 1.07, rad);
    vec3 base = mix(in_iris, white, edge);
    vec3 flat_n = normalize(mix(n, mat3(pose) * vec3(0.0, 0.0, 1.0), 0.2));
    vec3 light = hemisphere(n) * 0.9;
    for (int i = 0; i < 4; i++) {
        float s = i == 0 ? mix(1.0, lit, 0.8) : 1.0;
        light += light_col[i] * clamp((dot(flat_n, light_dir[i]) + 0.25) / 1.25, 0.0, 1.0) * s;
        // the cornea gathers light on the far side of the iris
        float gather = (1.0 - edge) * max(0.0, -dot(normalize(r.xy + 1e-4), light_dir[i].xy)) * rad;
        light += light_col[i] * gather * 0.7 * s;
        vec3 h = reflect(-view, n);
        float hit = dot(h, light_dir[i]);
        float lamp = smoothstep(0.962, 0.978, hit) * 0.6 + 0.05 * pow(max(hit, 0.0), 30.0);
        spec += light_col[i] * s * lamp;
    }
    float lid = mix(0.35, 1.0, smoothstep(0.15, 0.75, ao));
    c = base * light * lid + spec * mix(0.6, 1.0, 1.0 - edge);
    c += hemisphere(reflect(-view, n)) * 0.035;
    colour = vec4(develop(c), 1.0);
}
"""
)

MOUTH_FRAGMENT = (
    COMMON
    + LIGHTING
    + HEAD_IN
    + """
uniform vec3 teeth; uniform vec3 gums; uniform float mouth_open;
float noise(vec2 p) { return texture(noise_map, p + seed).r; }
void main() {
    int kind = int(v_aux.x + 0.5);
    float ao = v_aux.y;
    vec3 n = normalize(v_normal), view = normalize(eye - v_pos), c, spec = vec3(0.0);
    float lit = shadowed(v_shadow, 0.004);
    vec3 base = kind == 2 ? teeth : gums;
    float deep = v_rest.w;  // cm behind the front teeth, 0 at the lips
    float reach = exp(-deep * (kind == 2 ? 0.42 : 0.55));
    reach *= mix(0.62, 1.0, smoothstep(0.08, 1.0, mouth_open));
    if (kind == 3) base *= 0.8 + 0.4 * noise(v_pos.xy * 0.13);
    if (kind == 4) base *= vec3(0.5, 0.35, 0.35);
    if (kind == 5) { base = vec3(0.62, 0.42, 0.38); reach = 0.8; }
    vec3 light = hemisphere(n) * 0.8;
    for (int i = 0; i < 4; i++) {
        float s = i == 0 ? mix(1.0, lit, 0.55) : 1.0;
        light += light_col[i] * clamp((dot(n, light_dir[i]) + 0.4) / 1.4, 0.0, 1.0) * s;
        vec3 h = normalize(light_dir[i] + view);
        float lobe = pow(max(dot(n, h), 0.0), kind == 2 ? 60.0 : 30.0);
        spec += light_col[i] * s * lobe * (kind == 2 ? 0.35 : 0.22);
    }
    float dark = reach * mix(0.55, 1.0, ao);
    c = base * light * dark + spec * dark * dark;
    colour = vec4(develop(c), 1.0);
}
"""
)

ALPHA_FRAGMENT = (
    COMMON
    + LIGHTING
    + """
in vec3 v_pos; in vec3 v_normal; in vec2 v_uv; in vec4 v_aux; in vec4 v_rest; in vec3 v_shadow;
uniform vec3 lash; uniform float lash_alpha; uniform sampler2D noise_map; uniform float seed;
out vec4 colour;
void main() {
    if (v_aux.x > 6.5) {  // lashes: v_rest.x along the lid, .y 1 on the lower lid, .w root to tip
        float tip = v_rest.w, x = v_rest.x * 30.0 + 1.2 * tip * (v_rest.x - 0.5);
        float f = texture(noise_map, vec2(v_rest.x * 0.9 + seed, seed)).r;
        float thin = 0.5 + 0.5 * cos(6.2832 * (x + 1.5 * f));
        float gaps = smoothstep(0.25 + 0.5 * tip, 0.6 + 0.4 * tip, thin);
        float hair = mix(1.0, gaps, 0.25 + 0.6 * tip) * mix(1.0, 0.14, v_rest.y);
        colour = vec4(develop(lash * (hemisphere(v_normal) + light_col[0] * 0.4)),
                      clamp(lash_alpha * hair * (1.0 - tip * (0.6 + 0.4 * tip)), 0.0, 1.0));
    } else {
        colour = vec4(0.03, 0.01, 0.008, 0.55 * v_rest.w);
    }
}
"""
)

STRAND_VERTEX = (
    COMMON
    + """
in vec3 in_pos; in vec3 in_tangent; in vec4 in_colour; in float in_side;
uniform float width;
out vec3 v_pos; out vec3 v_tangent; out vec4 v_colour; out vec3 v_shadow; out float v_side;
void main() {
    float w = smoothstep(-14.5, -6.5, in_pos.y + 0.3 * in_pos.z);
    vec3 p = bend(in_pos, w);
    v_tangent = normalize(mix(in_tangent, mat3(pose) * in_tangent, w));
    vec3 across = normalize(cross(v_tangent, eye - p));
    v_pos = p + across * in_side * width * 0.5;
    v_colour = in_colour; v_side = in_side;
    v_shadow = (shadow_matrix * vec4(v_pos, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = projection * vec4(v_pos, 1.0);
}
"""
)

STRAND_FRAGMENT = (
    COMMON
    + LIGHTING
    + """
in vec3 v_pos; in vec3 v_tangent; in vec4 v_colour; in vec3 v_shadow; in float v_side;
out vec4 colour;
void main() {  // Kajiya and Kay 1989, with a second, coloured highlight shifted towards the tip
    vec3 t = normalize(v_tangent), view = normalize(eye - v_pos);
    vec3 base = v_colour.rgb, c = base * hemisphere(view) * 0.55, spec = vec3(0.0);
    for (int i = 0; i < 4; i++) {
        float s = i == 0 ? shadowed(v_shadow, 0.012) : 1.0;
        float tl = dot(t, light_dir[i]);
        vec3 h = normalize(light_dir[i] + view);
        float th = dot(t, h), th2 = th + 0.12;
        vec3 outwards = normalize(v_pos - vec3(0.0, 4.0, -1.0));  // from the skull's middle
        float facing = smoothstep(-0.35, 0.5, dot(outwards, light_dir[i]));
        c += base * light_col[i] * sqrt(max(1.0 - tl * tl, 0.0)) * 0.62 * facing * s;
        spec += light_col[i] * facing * s * (0.11 * pow(sqrt(max(1.0 - th * th, 0.0)), 90.0)
             + base * 0.8 * pow(sqrt(max(1.0 - th2 * th2, 0.0)), 26.0));
    }
    colour = vec4(develop((c + spec) * v_colour.a), 1.0);
}
"""
)

BODY_VERTEX = (
    COMMON
    + """
in vec3 in_pos; in vec3 in_normal; in vec3 in_colour;
out vec3 v_pos; out vec3 v_normal; out vec3 v_colour; out vec3 v_shadow;
void main() {
    v_pos = in_pos + vec3(0.0, breath, 0.3 * breath);
    v_normal = in_normal; v_colour = in_colour;
    v_shadow = (shadow_matrix * vec4(v_pos, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = projection * vec4(v_pos, 1.0);
}
"""
)

BODY_FRAGMENT = (
    COMMON
    + LIGHTING
    + """
in vec3 v_pos; in vec3 v_normal; in vec3 v_colour; in vec3 v_shadow;
uniform sampler2D noise_map;
out vec4 colour;
void main() {
    vec3 n = normalize(v_normal), view = normalize(eye - v_pos);
    float weave = texture(noise_map, v_pos.xy * 0.45).r * 0.6
                + texture(noise_map, v_pos.xy * 0.011).r * 0.4;
    vec3 base = v_colour * (0.85 + 0.30 * weave);
    vec3 c = base * hemisphere(n);
    float lit = shadowed(v_shadow, 0.006);
    for (int i = 0; i < 4; i++)
        c += base * light_col[i] * clamp((dot(n, light_dir[i]) + 0.15) / 1.15, 0.0, 1.0)
           * (i == 0 ? lit : 1.0);
    c += base * hemisphere(n) * 0.6 * pow(1.0 - max(dot(n, view), 0.0), 3.0);
    colour = vec4(develop(c), 1.0);
}
"""
)

DEPTH_FRAGMENT = "#version 330\nvoid main() {}\n"

# Puts a picture with depth, made earlier, into the scene: hair costs most and seldom changes.
PLATE_VERTEX = """
#version 330
in vec2 in_pos; out vec2 v_screen;
void main() { v_screen = in_pos * 0.5 + 0.5; gl_Position = vec4(in_pos, 0.0, 1.0); }
"""

PLATE_FRAGMENT = """
#version 330
in vec2 v_screen; uniform sampler2D plate_colour; uniform sampler2D plate_depth; out vec4 colour;
void main() {
    float depth = textureLod(plate_depth, v_screen, 0.0).r;
    if (depth >= 1.0) discard;
    colour = textureLod(plate_colour, v_screen, 0.0);
    gl_FragDepth = depth;
}
"""

PLATE_DEPTH_FRAGMENT = """
#version 330
in vec2 v_screen; uniform sampler2D plate_depth;
void main() { gl_FragDepth = textureLod(plate_depth, v_screen, 0.0).r; }
"""


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


class Studio:
    """Renders heads of one FaceKit. One instance per process and thread (it owns a GL context)."""

    def __init__(self, kit: FaceKit, size: int = 256, supersample: float = 1.5):
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
        self._compile()
        self._build_head()
        self.inner = int(round(size * supersample))
        self._targets(self.inner)
        self.shadow_texture = gl.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        self.shadow_texture.compare_func = "<="
        self.shadow_texture.repeat_x = self.shadow_texture.repeat_y = False
        self.shadow_target = gl.framebuffer(depth_attachment=self.shadow_texture)
        rng = np.random.default_rng(7)
        noise = sum(
            value_noise((256, 256), c, rng) * k for c, k in ((16, 0.35), (64, 0.4), (128, 0.25))
        )
        noise = np.clip((noise - noise.mean()) / noise.std() * 0.2 + 0.5, 0, 1)
        self.noise = gl.texture((256, 256), 1, (noise * 255).astype(np.uint8).tobytes())
        self.noise.build_mipmaps()
        self._bake_occlusion()
        self.look: Look | None = None
        self._still: tuple | None = None
        self.hair_shadow = True  # hair throws shadows; costs as much as drawing it
        self.neutral = kit.mean

    # -- set-up ---------------------------------------------------------------------------------

    def _compile(self) -> None:
        gl = self.gl
        self.geometry_program = gl.program(HEAD_VERTEX, SKIN_GEOMETRY)
        self.skin_program = gl.program(SCREEN_VERTEX, SKIN_FRAGMENT)
        self.eye_program = gl.program(HEAD_VERTEX, EYE_FRAGMENT)
        self.mouth_program = gl.program(HEAD_VERTEX, MOUTH_FRAGMENT)
        self.alpha_program = gl.program(HEAD_VERTEX, ALPHA_FRAGMENT)
        self.head_depth = gl.program(HEAD_VERTEX, DEPTH_FRAGMENT)
        self.strand_program = gl.program(STRAND_VERTEX, STRAND_FRAGMENT)
        self.strand_depth = gl.program(STRAND_VERTEX, DEPTH_FRAGMENT)
        self.body_program = gl.program(BODY_VERTEX, BODY_FRAGMENT)
        quad = gl.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self.screen = gl.vertex_array(self.skin_program, [(quad, "2f", "in_pos")])
        plate = gl.program(PLATE_VERTEX, PLATE_FRAGMENT)
        plate["plate_colour"].value, plate["plate_depth"].value = 8, 9
        plate_depth = gl.program(PLATE_VERTEX, PLATE_DEPTH_FRAGMENT)
        plate_depth["plate_depth"].value = 10
        self.plate_array = gl.vertex_array(plate, [(quad, "2f", "in_pos")])
        self.plate_shadow_array = gl.vertex_array(plate_depth, [(quad, "2f", "in_pos")])

    def _targets(self, size: int) -> None:
        gl, shape = self.gl, (size, size)
        self.geometry = [gl.texture(shape, n, dtype="f4") for n in (4, 4, 2)]
        for texture in self.geometry:
            texture.filter = (self.moderngl.NEAREST, self.moderngl.NEAREST)
        depth = gl.depth_renderbuffer(shape)
        self.first = gl.framebuffer(self.geometry, depth)
        self.second = gl.framebuffer(gl.renderbuffer(shape, 4), depth)
        self.plate_textures = (gl.texture(shape, 4), gl.depth_texture(shape))
        self.plate = gl.framebuffer(*self.plate_textures)
        self.plate_shadow = gl.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        self.plate_shadow_target = gl.framebuffer(depth_attachment=self.plate_shadow)
        for texture in (self.plate_textures[1], self.plate_shadow):
            texture.compare_func = ""  # read as numbers
            texture.filter = (self.moderngl.NEAREST, self.moderngl.NEAREST)

    def _build_head(self) -> None:
        """Split vertices at texture seams, give each its part's kind and rest coordinates."""
        kit = self.kit
        kinds = np.full(len(kit.mean), -1, np.int32)
        part_kind = {
            "face": SKIN, "head_neck": SKIN, "mouth_socket": SOCKET, "eye_socket_left": SKIN,
            "eye_socket_right": SKIN, "gums_tongue": GUMS, "teeth": TEETH, "eyeball_left": EYE,
            "eyeball_right": EYE, "lacrimal_left": LACRIMAL, "lacrimal_right": LACRIMAL,
            "eye_occlusion_left": OCCLUSION, "eye_occlusion_right": OCCLUSION,
            "eyelashes_left": LASH, "eyelashes_right": LASH,
        }  # fmt: skip
        for name, kind in part_kind.items():
            kinds[kit.parts[name]] = kind
        iris_layer = [i for i, m in enumerate(kit.materials) if m.startswith("M_Iris")]
        tri_kind = kinds[kit.triangles[:, 0]]
        keep = (tri_kind >= 0) & ~np.isin(kit.triangle_materials, iris_layer)
        tris, uvs, tri_kind = kit.triangles[keep], kit.triangle_uvs[keep], tri_kind[keep]
        pairs = tris.ravel().astype(np.int64) * len(kit.uvs) + uvs.ravel()
        unique, inverse = np.unique(pairs, return_inverse=True)
        self.vertex_of = (unique // len(kit.uvs)).astype(np.int32)
        uv = kit.uvs[unique % len(kit.uvs)]
        faces = inverse.reshape(-1, 3).astype(np.int32)

        mean, v = kit.mean, self.vertex_of
        rest = np.zeros((len(mean), 4), np.float32)
        for side in ("left", "right"):
            ball = kit.parts[f"eyeball_{side}"]
            centre = (mean[ball].min(0) + mean[ball].max(0)) / 2
            rest[ball, :3] = mean[ball] - centre
        front = mean[kit.parts["teeth"], 2].max()
        inside = np.isin(kinds, (TEETH, GUMS, SOCKET))
        rest[inside, 3] = np.maximum(front - mean[inside, 2] - 0.3, 0) * 0.8
        rest = rest[v]
        kind_v = kinds[v]
        # Lashes: u runs along the lid; v below 0.5 is the lower lid.
        hairs, u, across = kind_v == LASH, uv[:, 0] % 0.5 * 2, uv[:, 1]
        rest[hairs, 0] = u[hairs]
        rest[hairs, 1] = across[hairs] < 0.5
        for side, ball in ((1, "eyeball_left"), (-1, "eyeball_right")):
            eye = mean[kit.parts[ball]]
            for low in (True, False):
                sel = hairs & (mean[v, 0] * side > 0) & ((across < 0.5) == low)
                distance = np.linalg.norm(mean[v][sel] - (eye.min(0) + eye.max(0)) / 2, axis=1)
                rest[sel, 3] = _within_bins(u[sel], distance)
            sel = (kind_v == OCCLUSION) & (mean[v, 0] * side > 0)
            rest[sel, 3] = self._lid_shadow(mean[v][sel])
        pose_weight = smoothstep(-14.5, -6.5, mean[v, 1] + 0.30 * mean[v, 2])
        aux = np.stack([kind_v, np.ones(len(v)), uv[:, 0] * 0, pose_weight], 1).astype(np.float32)
        self.uv, self.faces, self.face_kinds, self.aux, self.rest = uv, faces, tri_kind, aux, rest

        gl = self.gl
        self.dynamic = gl.buffer(reserve=len(v) * 24, dynamic=True)
        self.static = gl.buffer(reserve=len(v) * 40)

        # What no view within 30 degrees of the front shows is not drawn: half of the cost.
        middle, away = mean[tris].mean(1), kit.normals(mean)[tris].mean(1)[:, 2]
        hidden = (tri_kind == SKIN) & ((away < -0.55) | ((middle[:, 2] < -2) & (away < -0.2)))
        hidden |= np.isin(tri_kind, (TEETH, GUMS)) & (middle[:, 2] < 4.5)
        # the bust ends in shoulders of its own, which clothes cover
        hidden |= (tri_kind == SKIN) & (np.abs(middle[:, 0]) > 8.4) & (middle[:, 1] < -9.0)
        hidden |= (tri_kind == EYE) & (middle[:, 2] < 8.2)

        def index(*kinds: int):
            return gl.buffer(
                np.concatenate([faces[(tri_kind == k) & ~hidden] for k in kinds]).tobytes()
            )

        def array(program, index):
            names = [n for n in ("in_pos", "in_normal") if n in program]
            fmt = " ".join("3f" if n in program else "3x4" for n in ("in_pos", "in_normal"))
            sizes = (("in_uv", "2f", "2x4"), ("in_aux", "4f", "4x4"), ("in_rest", "4f", "4x4"))
            fmt2 = " ".join(f if n in program else x for n, f, x in sizes)
            names2 = [n for n, _, _ in sizes if n in program]
            content = [(self.dynamic, fmt, *names)]
            if names2:
                content.append((self.static, fmt2, *names2))
            return gl.vertex_array(program, content, index)

        self.geometry_array = array(self.geometry_program, index(SKIN))
        self.eye_array = array(self.eye_program, index(EYE))
        self.mouth_array = array(self.mouth_program, index(LACRIMAL, TEETH, GUMS, SOCKET))
        self.alpha_array = array(self.alpha_program, index(OCCLUSION, LASH))
        self.depth_array = array(self.head_depth, index(SKIN))

    @staticmethod
    def _lid_shadow(points: np.ndarray) -> np.ndarray:
        """0..1: the shadow that the lids throw on the eye, darkest at their edges."""
        low, high = points[:, 1].min(), points[:, 1].max()
        return smoothstep(0.45, 1.0, np.abs(points[:, 1] - (low + high) / 2) / ((high - low) / 2))

    def _bake_occlusion(self, directions: int = 96) -> None:
        """Ambient occlusion per vertex of the mean head, mouth a little open, from depth maps."""
        kit, gl = self.kit, self.gl
        weights = np.zeros(arkit.COUNT, np.float32)
        weights[arkit.INDEX["jawOpen"]] = 0.25
        vertices = kit.deform(kit.mean, weights)
        normals = kit.normals(vertices)
        self._upload(vertices, normals)
        self.static.write(
            np.hstack([self.uv, self.aux * [1, 1, 1, 0], self.rest]).astype("f4").tobytes()
        )
        texture = gl.depth_texture((256, 256))
        target = gl.framebuffer(depth_attachment=texture)
        i = np.arange(directions) + 0.5
        y = 1 - 2 * i / directions
        phi = np.pi * (1 + 5**0.5) * i
        dirs = np.stack([np.sqrt(1 - y * y) * np.cos(phi), y, np.sqrt(1 - y * y) * np.sin(phi)], 1)
        p, n = vertices[self.vertex_of], normals[self.vertex_of]
        total, seen = np.full(len(p), 1e-6), np.full(len(p), 1e-6)
        gl.enable(self.moderngl.DEPTH_TEST)
        for d in dirs.astype(np.float32):
            matrix = shadow_matrix(d)
            self._matrices(self.head_depth, View(), matrix, projection=matrix)
            target.clear(depth=1.0)
            target.use()
            self.depth_array.render()
            depth = np.frombuffer(texture.read(alignment=1), np.float32).reshape(256, 256)
            s = (np.c_[p + n * 0.08, np.ones(len(p))] @ matrix.T)[:, :3] * 0.5 + 0.5
            col = np.clip((s[:, 0] * 256).astype(int), 0, 255)
            row = np.clip((s[:, 1] * 256).astype(int), 0, 255)
            cosine = np.maximum(n @ d, 0)
            total += cosine
            seen += cosine * (s[:, 2] - 0.004 <= depth[row, col])
        occlusion = np.zeros(len(kit.mean))
        occlusion[self.vertex_of] = seen / total
        occlusion = self._smooth(occlusion, 2)
        self.aux[:, 1] = np.clip(occlusion[self.vertex_of] * 1.05, 0.05, 1)
        self.static.write(np.hstack([self.uv, self.aux, self.rest]).astype("f4").tobytes())
        target.release()
        texture.release()

    def _smooth(self, values: np.ndarray, rounds: int) -> np.ndarray:
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
        skin = self.faces[np.isin(self.face_kinds, (SKIN, SOCKET))]
        data = np.hstack([self.uv, self.kit.mean[self.vertex_of]]).astype(np.float32)
        array = gl.vertex_array(
            program,
            [(gl.buffer(data.tobytes()), "2f 3f", "in_uv", "in_pos")],
            gl.buffer(skin.tobytes()),
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
        gl = self.gl
        for name in ("albedo", "detail", "background"):
            if getattr(self, f"{name}_texture", None) is not None:
                getattr(self, f"{name}_texture").release()
        self.neutral, self.look, self._still = neutral, look, None
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
        self._build_strands(look.hair)
        self._build_body(look.body)

    def _build_strands(self, hair: Strands | None) -> None:
        for name in ("strand_array", "strand_depth_array"):
            if getattr(self, name, None) is not None:
                getattr(self, name).release()
            setattr(self, name, None)
        for old in getattr(self, "strand_buffers", ()):
            old.release()
        self.strand_buffers = ()
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
        vertices, index = self.gl.buffer(data.tobytes()), self.gl.buffer(quad.tobytes())
        self.strand_buffers = (vertices, index)
        self.strand_width = hair.width
        self.strand_array = self.gl.vertex_array(
            self.strand_program,
            [(vertices, "3f 3f 4f 1f", "in_pos", "in_tangent", "in_colour", "in_side")],
            index,
        )
        self.strand_depth_array = self.gl.vertex_array(
            self.strand_depth,
            [(vertices, "3f 3f 4x4 1f", "in_pos", "in_tangent", "in_side")],
            index,
        )

    def _build_body(self, body: Mesh | None) -> None:
        if getattr(self, "body_array", None) is not None:
            self.body_array.release()
        self.body_array = None
        if body is None:
            return
        data = np.hstack([body.points, body.normals, body.colours]).astype(np.float32)
        self.body_array = self.gl.vertex_array(
            self.body_program,
            [(self.gl.buffer(data.tobytes()), "3f 3f 3f", "in_pos", "in_normal", "in_colour")],
            self.gl.buffer(body.triangles.astype(np.int32).tobytes()),
        )

    # -- per frame ------------------------------------------------------------------------------

    def _upload(self, vertices: np.ndarray, normals: np.ndarray) -> None:
        both = np.empty((len(self.vertex_of), 6), np.float32)
        both[:, :3] = vertices.take(self.vertex_of, axis=0)
        both[:, 3:] = normals.take(self.vertex_of, axis=0)
        self.dynamic.write(both)

    def _matrices(self, program, view: View, shadow: np.ndarray, projection=None) -> None:
        values = {
            "pose": view.pose().T,
            "projection": (view.projection() if projection is None else projection).T,
            "shadow_matrix": shadow.T,
            "eye": np.array([0, 0, view.distance]),
            "breath": np.array([view.breath]),
        }
        for name, value in values.items():
            if name in program:
                program[name].write(np.ascontiguousarray(value, np.float32).tobytes())

    def _set(self, program, values: dict) -> None:
        for name, value in values.items():
            if name in program:
                uniform = program[
                    name
                ]  # a compiler may shorten an array of which it sees less used
                floats = np.asarray(value, np.float32).ravel()[
                    : uniform.array_length * uniform.dimension
                ]
                uniform.write(floats.tobytes())

    def render(self, weights: np.ndarray, view: View, light: Light) -> np.ndarray:
        """(size, size, 3) uint8 BGR of the dressed person with ARKit `weights` (52,)."""
        if self.look is None:
            raise RuntimeError("dress() a person before render()")
        gl, look, kit = self.gl, self.look, self.kit
        vertices = kit.deform(self.neutral, weights)
        self._upload(vertices, kit.normals(vertices))
        shadow = shadow_matrix(light.directions[0])
        gl.enable(self.moderngl.DEPTH_TEST)
        hair = self.strand_array is not None
        # Hair and its shadow stay as they are while only the expression changes.
        still = (view, id(light), id(look))
        fresh, self._still = still != self._still, still
        if light.shadow > 0:
            if hair and self.hair_shadow:
                self._set(self.strand_depth, {"width": self.strand_width})
                if fresh:
                    self.plate_shadow_target.clear(depth=1.0)
                    self.plate_shadow_target.use()
                    self._matrices(self.strand_depth, view, shadow, projection=shadow)
                    self.strand_depth_array.render()
                self.shadow_target.use()
                self.plate_shadow.use(10)
                gl.depth_func = "1"
                self.plate_shadow_array.render(self.moderngl.TRIANGLE_STRIP)
                gl.depth_func = "<"
            else:
                self.shadow_target.clear(depth=1.0)
                self.shadow_target.use()
            self._matrices(self.head_depth, view, shadow, projection=shadow)
            self.depth_array.render()
        directions = light.directions / np.linalg.norm(light.directions, axis=1, keepdims=True)
        values = {
            "light_dir": directions, "light_col": light.colours, "sky": light.sky,
            "ground": light.ground, "exposure": light.exposure, "shadow_strength": light.shadow,
            "softness": light.shadow_softness, "crop": view.crop,
            "mouth_open": kit.lip_gap(vertices),
            "lod": max(0.0, np.log2(TEXELS_PER_CM * len(look.albedo) * view.crop[2] / self.inner)),
        }  # fmt: skip
        for name in ("iris", "iris_ring", "pupil", "iris_size", "sclera", "teeth", "gums", "lash",
                     "lash_alpha", "scatter", "gloss", "bump", "seed"):  # fmt: skip
            values[name] = getattr(look, name)
        textures = (self.albedo_texture, self.detail_texture, self.noise, self.shadow_texture,
                    self.background_texture, *self.geometry)  # fmt: skip
        for unit, texture in enumerate(textures):
            texture.use(unit)

        def prepare(program) -> None:
            self._matrices(program, view, shadow)
            self._set(program, values)
            for unit, name in enumerate(SAMPLERS):
                if name in program:
                    program[name].value = unit

        self.first.clear(depth=1.0)
        self.first.use()
        prepare(self.geometry_program)
        self.geometry_array.render()
        self.second.use()
        gl.disable(self.moderngl.DEPTH_TEST)
        prepare(self.skin_program)
        self.screen.render(self.moderngl.TRIANGLE_STRIP)
        gl.enable(self.moderngl.DEPTH_TEST)
        draws = [(self.eye_program, self.eye_array), (self.mouth_program, self.mouth_array)]
        if self.body_array is not None:
            draws.append((self.body_program, self.body_array))
        for program, array in draws:
            prepare(program)
            array.render()
        if hair:
            if fresh:
                self.plate.clear(depth=1.0)
                self.plate.use()
                prepare(self.strand_program)
                self._set(self.strand_program, {"width": self.strand_width})
                self.strand_array.render()
                self.second.use()
            for unit, texture in enumerate(self.plate_textures):
                texture.use(8 + unit)
            self.plate_array.render(self.moderngl.TRIANGLE_STRIP)
        gl.enable(self.moderngl.BLEND)
        self.second.depth_mask = False
        prepare(self.alpha_program)
        self.alpha_array.render()
        gl.disable(self.moderngl.BLEND)
        self.second.depth_mask = True
        image = np.frombuffer(self.second.read(components=3, alignment=1), np.uint8)
        image = image.reshape(self.inner, self.inner, 3)[::-1, :, ::-1]
        if self.inner != self.size:
            image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(image)


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
