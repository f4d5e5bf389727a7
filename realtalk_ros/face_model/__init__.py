# SPDX-License-Identifier: Apache-2.0
"""The 3D face model's parts: ARKit weights, 68 landmarks, rotations of head and eyes.

arkit       the 52 weights: names and order; lips: how far they part them; eye_rotation: how far
            they turn the eyes
landmarks   where identity and weights put 68 points, by bundled_arrays
rotations   of heads and eyeballs: one order and one sign everywhere
"""
