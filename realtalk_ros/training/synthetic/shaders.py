# SPDX-License-Identifier: Apache-2.0
"""What the shaders of the synthetic heads (GLSL 3.30) share: head_shaders.py, layer_shaders.py.
Lengths in cm, colours linear until `tone_map`.

A pass writes the label of what it draws to alpha (see scene.LABELS), which is how masks are made.
"""

from realtalk_ros.training.synthetic import head_mesh, scene

SHADOW_SIZE = 512  # of the shadow map, texels
_NECK_LOW, _NECK_HIGH = head_mesh.NECK
DEFINES = (
    "".join(
        f"#define {name.upper()} ({value}.0 / 255.0)\n" for value, name in enumerate(scene.LABELS)
    )
    + f"#define SHADOW {SHADOW_SIZE}.0\n"
    + f"#define NECK_LOW {_NECK_LOW}\n#define NECK_HIGH {_NECK_HIGH}\n"
    + f"#define NECK_SLOPE {head_mesh.NECK_SLOPE}\n"
)

COMMON = (
    """
#version 330
"""
    + DEFINES
    + """
uniform mat4 pose; uniform mat4 projection; uniform mat4 shadow_matrix;
uniform vec3 camera; uniform float breath;
vec3 bend(vec3 p, float w) {  // between chest and skull the neck bends
    vec3 posed = (pose * vec4(p, 1.0)).xyz;
    return mix(p + vec3(0.0, breath, 0.3 * breath), posed, w);
}
float pose_share(vec3 p) { return smoothstep(NECK_LOW, NECK_HIGH, p.y + NECK_SLOPE * p.z); }
"""
)

LIGHTING = """
uniform vec3 light_dir[4]; uniform vec3 light_col[4]; uniform int light_count;
uniform mat4 irradiance[3];  // red, green, blue of the ambient light: n4 M n4
uniform sampler2DShadow shadow_map; uniform float shadow_strength; uniform float shadow_softness;
uniform float exposure;
float shadowed(vec3 s, float bias) {
    if (shadow_strength <= 0.0) return 1.0;
    float texel = shadow_softness / SHADOW, z = s.z - bias;  // four taps, each bilinear
    float sum = texture(shadow_map, vec3(s.xy + vec2(0.35, 0.85) * texel, z))
              + texture(shadow_map, vec3(s.xy + vec2(-0.85, 0.35) * texel, z))
              + texture(shadow_map, vec3(s.xy + vec2(-0.35, -0.85) * texel, z))
              + texture(shadow_map, vec3(s.xy + vec2(0.85, -0.35) * texel, z));
    return mix(1.0, sum * 0.25, shadow_strength);
}
vec3 ambient(vec3 n) {  // Ramamoorthi and Hanrahan 2001
    vec4 h = vec4(n, 1.0);
    vec3 received = vec3(dot(h, irradiance[0] * h), dot(h, irradiance[1] * h),
                         dot(h, irradiance[2] * h));
    return max(received, vec3(0.0));
}
vec3 tone_map(vec3 c) {  // filmic shoulder, then sRGB
    c *= exposure;
    c = c * (1.0 + c * 0.15) / (1.0 + c * 0.62);
    c *= 1.08;
    return mix(c * 12.92, 1.055 * pow(max(c, 0.0), vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}
"""

SCREEN_VERTEX = """
#version 330
in vec2 in_pos; out vec2 v_screen; out vec2 v_plane; uniform vec4 crop;
void main() {
    float c = cos(crop.w), s = sin(crop.w);
    vec2 plane = crop.xy + mat2(c, s, -s, c) * in_pos * crop.z * 0.5;  // cm in the crop plane
    v_plane = plane;
    v_screen = in_pos * 0.5 + 0.5;
    gl_Position = vec4(in_pos, 1.0, 1.0);  // at the far end: drawn where something is nearer
}
"""

DEPTH_FRAGMENT = "#version 330\nvoid main() {}\n"
