# SPDX-License-Identifier: Apache-2.0
"""Shaders of what does not move with the expression: background, hair, clothes and what is worn;
and of the layer, with depth, that they are drawn into: hair costs most and seldom changes."""

from realtalk_ros.training.synthetic.shaders import COMMON, DEFINES, LIGHTING

BACKGROUND_FRAGMENT = """
#version 330
in vec2 v_plane; uniform sampler2D background; out vec4 colour;
void main() {
    vec2 at = v_plane / 64.0 + 0.5;
    colour = vec4(textureLod(background, vec2(at.x, 1.0 - at.y), 0.0).rgb, 0.0);
}
"""

# Hair is lit at its vertices: a strand is hardly a pixel wide.
STRAND_VERTEX = (
    COMMON
    + LIGHTING
    + """
in vec3 in_pos; in vec3 in_tangent; in vec4 in_colour; in float in_side;
uniform float width;
out vec3 v_colour;
void main() {  // Kajiya and Kay 1989, with a second, coloured highlight shifted towards the tip
    float w = pose_share(in_pos);
    vec3 p = bend(in_pos, w);
    vec3 t = normalize(mix(in_tangent, mat3(pose) * in_tangent, w)), view = normalize(camera - p);
    vec3 pos = p + normalize(cross(t, camera - p)) * in_side * width * 0.5;
    vec3 shadow = (shadow_matrix * vec4(pos, 1.0)).xyz * 0.5 + 0.5;
    vec3 base = in_colour.rgb, c = base * ambient(view) * 0.55, spec = vec3(0.0);
    float lit = shadowed(shadow, 0.012);
    vec3 outwards = normalize(pos - vec3(0.0, 4.0, -1.0));  // from the skull's middle
    for (int i = 0; i < light_count; i++) {
        float s = i == 0 ? lit : 1.0;
        float tl = dot(t, light_dir[i]);
        vec3 h = normalize(light_dir[i] + view);
        float th = dot(t, h), th2 = th + 0.12;
        float facing = smoothstep(-0.35, 0.5, dot(outwards, light_dir[i]));
        c += base * light_col[i] * sqrt(max(1.0 - tl * tl, 0.0)) * 0.62 * facing * s;
        spec += light_col[i] * facing * s * (0.11 * pow(sqrt(max(1.0 - th * th, 0.0)), 90.0)
             + base * 0.8 * pow(sqrt(max(1.0 - th2 * th2, 0.0)), 26.0));
    }
    v_colour = tone_map((c + spec) * in_colour.a);
    gl_Position = projection * vec4(pos, 1.0);
}
"""
)

STRAND_FRAGMENT = (
    "#version 330\nin vec3 v_colour; out vec4 colour;\n"
    + DEFINES
    + """
void main() { colour = vec4(v_colour, HAIR); }
"""
)

STRAND_DEPTH = (
    COMMON
    + """
in vec3 in_pos; in vec3 in_tangent; in float in_side; uniform float width;
void main() {
    float w = pose_share(in_pos);
    vec3 p = bend(in_pos, w), t = mix(in_tangent, mat3(pose) * in_tangent, w);
    vec3 side = normalize(cross(t, camera - p)) * in_side * width * 0.5;
    gl_Position = projection * vec4(p + side, 1.0);
}
"""
)

# Clothes, caps, glasses: what is worn and does not move with the expression.
MESH_VERTEX = (
    COMMON
    + """
in vec3 in_pos; in vec3 in_normal; in vec3 in_colour; uniform float with_head;
out vec3 v_pos; out vec3 v_normal; out vec3 v_colour; out vec3 v_shadow;
void main() {
    v_pos = bend(in_pos, with_head);
    v_normal = mix(in_normal, mat3(pose) * in_normal, with_head); v_colour = in_colour;
    v_shadow = (shadow_matrix * vec4(v_pos, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = projection * vec4(v_pos, 1.0);
}
"""
)

MESH_FRAGMENT = (
    COMMON
    + LIGHTING
    + """
in vec3 v_pos; in vec3 v_normal; in vec3 v_colour; in vec3 v_shadow;
uniform sampler2D noise_map; uniform float polish; uniform float opacity; uniform float label;
out vec4 colour;
void main() {
    vec3 n = normalize(v_normal), view = normalize(camera - v_pos);
    float weave = texture(noise_map, v_pos.xy * 0.45).r * 0.6
                + texture(noise_map, v_pos.xy * 0.011).r * 0.4;
    vec3 base = v_colour * mix(0.85 + 0.30 * weave, 1.0, polish);
    vec3 c = base * ambient(n), spec = vec3(0.0);
    float lit = shadowed(v_shadow, 0.006);
    for (int i = 0; i < light_count; i++) {
        float s = i == 0 ? lit : 1.0;
        c += base * light_col[i] * clamp((dot(n, light_dir[i]) + 0.15) / 1.15, 0.0, 1.0) * s;
        vec3 h = normalize(light_dir[i] + view);
        spec += light_col[i] * s * pow(max(dot(n, h), 0.0), 90.0);
    }
    float fresnel = pow(1.0 - max(dot(n, view), 0.0), 3.0);
    vec3 mirrored = ambient(reflect(-view, n)) * (0.06 + 0.5 * fresnel);
    c += mix(base * ambient(n) * 0.6 * fresnel, mirrored + spec * 0.9, polish);
    // glass: the tint covers by `opacity`, reflections add to what is behind
    float glare = opacity < 1.0 ? clamp(dot(mirrored + spec, vec3(0.4)), 0.0, 0.6) : 0.0;
    colour = vec4(tone_map(c), opacity < 1.0 ? max(opacity, glare) : label);
}
"""
)

# Puts the layer into the scene.
LAYER_VERTEX = """
#version 330
in vec2 in_pos; out vec2 v_screen;
void main() { v_screen = in_pos * 0.5 + 0.5; gl_Position = vec4(in_pos, 0.0, 1.0); }
"""

LAYER_FRAGMENT = """
#version 330
uniform sampler2D layer_colour; uniform sampler2D layer_depth; out vec4 colour;
void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    colour = texelFetch(layer_colour, at, 0);
    gl_FragDepth = texelFetch(layer_depth, at, 0).r;
}
"""

LAYER_DEPTH_FRAGMENT = """
#version 330
in vec2 v_screen; uniform sampler2D layer_depth;
void main() { gl_FragDepth = textureLod(layer_depth, v_screen, 0.0).r; }
"""
