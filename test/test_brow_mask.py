# SPDX-License-Identifier: Apache-2.0
"""Brows of faces that the network was not trained on."""

from dataclasses import replace

import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.eyes.brow_mask import brow_masks
from realtalk_ros.rendering.face_renderer import FaceRenderer


def test_a_machines_brows_are_moved_as_wholes_and_a_persons_as_the_network_says():
    robot, raised = Avatar.load("android"), arkit.weights(browInnerUp=0.8, browOuterUp=0.8)
    for avatar, whole in ((robot, True), (replace(robot, shut_eyes=None), False)):
        mask = FaceRenderer(avatar, 256).generate(raised, 0).mask
        x, y, side = avatar.crop
        brows = np.rint((avatar.landmarks[0, 17:27] - (x, y)) * len(mask) / side - 0.5).astype(int)
        assert (mask[brows[:, 1], brows[:, 0]].min() > 0.99) == whole
    assert brow_masks(Avatar.load("default")) is None
    away = brow_masks(robot)[0, 40:]
    assert away.max() == 0  # nothing of the cheeks and the mouth
