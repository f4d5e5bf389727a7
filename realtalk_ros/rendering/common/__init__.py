# SPDX-License-Identifier: Apache-2.0
"""What the other parts of rendering share.

3D        camera, rasterizer; template_landmarks: of an avatar's templates
images    boxes, channels, enlarging, extrapolation
frames    generated_face: what the networks make of one
"""
