# SPDX-License-Identifier: Apache-2.0
"""Pictures of red lips, and of what is between them, for tests of enrolment. Needs SciPy."""

import cv2
import numpy as np

from realtalk_ros.enroll import fit, framing, mediapipe_points

UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)  # inner lips, from corner to corner
LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OUTLINE = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409,
           291, 375, 321, 405, 314, 17, 84, 181, 91, 146)  # fmt: skip
RED = (60, 40, 200)


def lips_picture(weights: np.ndarray, between, skin):
    """A picture of lips that show these weights, with colours of what is between and around them;
    and its landmarks."""
    model, person = fit.mesh_model(), np.zeros(100)
    pose = fit.Pose(0.02, 0.05, 0.0, 256.0, 246.0, 12.9)
    x, y, side = framing.square(pose, person)
    scale = framing.CROP / side
    pose = fit.Pose(0.02, 0.05, 0.0, 256 + (256 - x) * scale, 246 + (246 - y) * scale, 12.9 * scale)
    found = np.full((mediapipe_points.POINTS, 2), 256, np.float32)
    found[model.index] = pose.project(model.shape(person, weights))
    picture = np.full((512, 512, 3), skin, np.uint8)
    for numbers, colour in ((OUTLINE, RED), (UPPER + LOWER[-2:0:-1], between)):
        cv2.fillPoly(picture, [np.round(found[list(numbers)]).astype(np.int32)], colour)
    return picture, found
