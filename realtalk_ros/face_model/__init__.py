# SPDX-License-Identifier: Apache-2.0
"""The 3D face model's parts: ARKit weights, 68 landmarks, rotations of head and eyes."""
