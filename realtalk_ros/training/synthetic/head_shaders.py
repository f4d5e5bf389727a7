# SPDX-License-Identifier: Apache-2.0
"""Shaders of a synthetic head: its expression, skin, eyes, the mouth's inside, lashes."""

from realtalk_ros.training.synthetic import head_mesh
from realtalk_ros.training.synthetic.shaders import COMMON, LIGHTING

# The kind of surface that a vertex is of, in the first component of its shading.
KINDS = "".join(
    f"#define {name}_KIND {getattr(head_mesh, name)}\n"
    for name in ("TEETH", "GUMS", "SOCKET", "LACRIMAL", "LASH")
)

# Deformation: the active expressions' deltas, read from a texture of positions and normals.
# gl_VertexID of expression e is texel id % MORPH_WIDTH of row (2 e + k) * rows + id / MORPH_WIDTH,
# k 0 or 1.
MORPH_WIDTH = 4096
MORPH_VERTEX = (
    f"#version 330\n#define MORPH_WIDTH {MORPH_WIDTH}\n"
    """
in vec3 in_pos; in vec3 in_normal; in float in_ball;
uniform sampler2D morphs; uniform int rows; uniform int count; uniform vec2 active_shapes[52];
uniform mat3 gaze[2]; uniform vec3 ball[2];
out vec3 out_pos; out vec3 out_normal;
void main() {
    vec3 p = in_pos, n = in_normal;
    ivec2 at = ivec2(gl_VertexID % MORPH_WIDTH, gl_VertexID / MORPH_WIDTH);
    for (int i = 0; i < count; i++) {
        ivec2 row = at + ivec2(0, int(active_shapes[i].x) * 2 * rows);
        p += active_shapes[i].y * texelFetch(morphs, row, 0).xyz;
        n += active_shapes[i].y * texelFetch(morphs, row + ivec2(0, rows), 0).xyz;
    }
    if (in_ball > 0.5) {
        int k = in_ball > 1.5 ? 1 : 0;
        p = gaze[k] * (p - ball[k]) + ball[k];
        n = gaze[k] * n;
    }
    out_pos = p; out_normal = n;
}
"""
)

HEAD_VERTEX = (
    COMMON
    + """
in vec3 in_pos; in vec3 in_normal; in vec2 in_uv; in vec4 in_shading; in vec4 in_coords;
out vec3 v_pos; out vec3 v_normal; out vec2 v_uv;
out vec4 v_shading; out vec4 v_coords; out vec3 v_shadow;
void main() {
    v_pos = bend(in_pos, in_shading.w);
    v_normal = mix(in_normal, mat3(pose) * in_normal, in_shading.w);
    v_uv = in_uv; v_shading = in_shading; v_coords = in_coords;
    v_shadow = (shadow_matrix * vec4(v_pos, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = projection * vec4(v_pos, 1.0);
}
"""
)

HEAD_IN = """
in vec3 v_pos; in vec3 v_normal; in vec2 v_uv;
in vec4 v_shading; in vec4 v_coords; in vec3 v_shadow;
uniform sampler2D noise_map; uniform float seed;
out vec4 colour;
"""

# Skin is shaded in a second, full-screen pass: software rasterisers shade whole pixel blocks for
# every tiny triangle, so that the first pass has to be cheap.
SKIN_GEOMETRY = """
#version 330
in vec3 v_pos; in vec3 v_normal; in vec2 v_uv; in vec4 v_shading;
layout(location = 0) out vec4 out_normal; layout(location = 1) out vec4 out_uv;
void main() {
    out_normal = vec4(v_normal, v_shading.y);
    out_uv = vec4(v_uv * vec2(0.5, 1.0), v_pos.z, 1.0);
}
"""

SKIN_FRAGMENT = (
    COMMON
    + LIGHTING
    + """
in vec2 v_screen; in vec2 v_plane;
uniform sampler2D normal_map; uniform sampler2D uv_map;
uniform sampler2D albedo_map; uniform sampler2D detail_map;
uniform float scatter; uniform float gloss; uniform float bump; uniform float lod;
out vec4 colour;

float square(float x) { return x * x; }
void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    vec4 n4 = texelFetch(normal_map, at, 0), u4 = texelFetch(uv_map, at, 0);
    vec2 uv = u4.xy;
    vec3 p = vec3(v_plane * (camera.z - u4.z) / camera.z, u4.z);
    vec3 n = normalize(n4.xyz + vec3(0.0, 0.0, 1e-5)), v = normalize(camera - p);
    float ao = n4.w;
    float lit = shadowed((shadow_matrix * vec4(p, 1.0)).xyz * 0.5 + 0.5, 0.004);
    vec4 a = textureLod(albedo_map, uv, lod);
    vec2 d = textureLod(detail_map, uv, lod).rg;
    vec3 base = a.rgb * a.rgb;  // painted with gamma 2
    float lip = a.a;
    // Mikkelsen 2010, bump mapping from screen-space derivatives
    float h = (d.r - 0.5) * bump * 0.12;
    vec3 dx = dFdx(p), dy = dFdy(p), r1 = cross(dy, n), r2 = cross(n, dx);
    float det = dot(dx, r1);
    vec3 m = abs(det) * n - sign(det) * (dFdx(h) * r1 + dFdy(h) * r2);
    m = dot(dx, dx) + dot(dy, dy) > 0.5 || dot(m, n) <= 0.0 ? n : normalize(m);
    float shine = gloss * mix(0.25, 1.0, d.g);
    vec3 wrap = scatter * mix(vec3(0.42, 0.20, 0.13), vec3(0.45, 0.20, 0.18), lip);
    vec3 soft = mix(vec3(lit), vec3(sqrt(lit), lit, lit), 0.6);  // red bleeds into the shadow
    vec3 c = vec3(0.0);
    float spec_all = 0.0;
    vec3 spec = vec3(0.0);
    for (int i = 0; i < light_count; i++) {
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
    c = base * (c * mix(vec3(1.0), bounce, 0.75) + ambient(m) * bounce);
    float rim = square(square(max(1.0 - dot(n, v), 0.0)));
    c += ambient(reflect(-v, m)) * ((0.03 + 0.30 * rim) * shine * ao);
    c += spec * (4.2 * shine * ao);
    colour = vec4(tone_map(c), lip > 0.5 ? LIPS : SKIN);
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
void main() {  // v_coords.xyz is the direction in the eye at rest
    float ao = v_shading.y;
    vec3 n = normalize(v_normal), view = normalize(camera - v_pos);
    float lit = shadowed(v_shadow, 0.004);
    vec3 spec = vec3(0.0), c;
    vec3 r = normalize(v_coords.xyz);
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
    vec3 light = ambient(n) * 0.9;
    for (int i = 0; i < light_count; i++) {
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
    c += ambient(reflect(-view, n)) * 0.035;
    colour = vec4(tone_map(c), EYES);
}
"""
)

MOUTH_FRAGMENT = (
    COMMON
    + LIGHTING
    + KINDS
    + HEAD_IN
    + """
uniform vec3 teeth, gums, tongue; uniform float mouth_open; uniform float tongue_out;
float noise(vec2 p) { return texture(noise_map, p + seed).r; }
void main() {
    int kind = int(v_shading.x + 0.5);
    float ao = v_shading.y;
    vec3 n = normalize(v_normal), view = normalize(camera - v_pos), c, spec = vec3(0.0);
    float lit = shadowed(v_shadow, 0.004);
    vec3 base = gums;
    if (kind == TEETH_KIND) {
        // v_coords: across the tooth -1..1, root to edge 0..1, a shade of its own
        float across = abs(v_coords.x), down = v_coords.y;
        vec3 enamel = teeth * (1.0 + 0.10 * v_coords.z);
        enamel = mix(enamel * vec3(0.96, 0.86, 0.70), enamel, smoothstep(0.0, 0.55, down));
        enamel = mix(enamel, enamel * vec3(0.84, 0.90, 0.96), smoothstep(0.82, 1.0, down) * 0.7);
        float gap = 1.0 - smoothstep(0.78 + 0.06 * down, 1.02, across);
        base = enamel * mix(vec3(0.50, 0.38, 0.33), vec3(1.0), gap);
        base *= 1.0 - 0.12 * across * across;
    }
    float deep = max(v_coords.w - tongue_out * v_coords.x * 3.0, 0.0);  // cm behind the front teeth
    if (kind == GUMS_KIND) {
        base *= 0.8 + 0.4 * noise(v_pos.xy * 0.13);
        float t = v_coords.x;  // 1 on the tongue: paler, rough, a groove in the middle
        vec3 rough = tongue * (0.86 + 0.3 * noise(v_coords.yz * 0.9));
        rough *= 1.0 - 0.22 * exp(-v_coords.y * v_coords.y * 18.0);
        base = mix(base, rough, t);
        deep *= 1.0 - 0.35 * t;
    }
    float reach = exp(-deep * (kind == TEETH_KIND ? 0.42 : 0.55));
    reach *= mix(0.62, 1.0, smoothstep(0.08, 1.0, mouth_open));
    if (kind == SOCKET_KIND) base *= vec3(0.5, 0.35, 0.35);
    if (kind == LACRIMAL_KIND) { base = vec3(0.62, 0.42, 0.38); reach = 0.8; }
    vec3 light = ambient(n) * 0.8;
    for (int i = 0; i < light_count; i++) {
        float s = i == 0 ? mix(1.0, lit, 0.55) : 1.0;
        light += light_col[i] * clamp((dot(n, light_dir[i]) + 0.4) / 1.4, 0.0, 1.0) * s;
        vec3 h = normalize(light_dir[i] + view);
        float lobe = pow(max(dot(n, h), 0.0), kind == TEETH_KIND ? 60.0 : 30.0);
        spec += light_col[i] * s * lobe * (kind == TEETH_KIND ? 0.35 : 0.22);
    }
    float dark = reach * mix(0.55, 1.0, ao);
    c = base * light * dark + spec * dark * dark;
    colour = vec4(tone_map(c), kind == LACRIMAL_KIND ? EYES : MOUTH);
}
"""
)

ALPHA_FRAGMENT = (
    COMMON
    + LIGHTING
    + KINDS
    + """
in vec3 v_pos; in vec3 v_normal; in vec2 v_uv;
in vec4 v_shading; in vec4 v_coords; in vec3 v_shadow;
uniform vec3 lash; uniform float lash_alpha; uniform sampler2D noise_map; uniform float seed;
out vec4 colour;
void main() {
    if (int(v_shading.x + 0.5) == LASH_KIND) {
        // lashes: v_coords.x along the lid, .y 1 on the lower lid, .w root to tip
        float tip = v_coords.w, x = v_coords.x * 30.0 + 1.2 * tip * (v_coords.x - 0.5);
        float f = texture(noise_map, vec2(v_coords.x * 0.9 + seed, seed)).r;
        float thin = 0.5 + 0.5 * cos(6.2832 * (x + 1.5 * f));
        float gaps = smoothstep(0.25 + 0.5 * tip, 0.6 + 0.4 * tip, thin);
        float hair = mix(1.0, gaps, 0.25 + 0.6 * tip) * mix(1.0, 0.14, v_coords.y);
        colour = vec4(tone_map(lash * (ambient(v_normal) + light_col[0] * 0.4)),
                      clamp(lash_alpha * hair * (1.0 - tip * (0.6 + 0.4 * tip)), 0.0, 1.0));
    } else {
        colour = vec4(0.03, 0.01, 0.008, 0.55 * v_coords.w);
    }
}
"""
)
