# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest

from realtalk_ros.face_model import arkit


def test_names_are_apples_fifty_two():
    assert arkit.COUNT == 52 and len(set(arkit.NAMES)) == 52
    assert arkit.INDEX["eyeBlinkLeft"] == 0
    assert arkit.INDEX["jawOpen"] == 17
    assert arkit.INDEX["mouthClose"] == 18
    assert arkit.INDEX["tongueOut"] == 51


def test_the_messages_constants_are_apples_order():
    message = pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    for name, number in arkit.INDEX.items():
        constant = re.sub("([A-Z])", r"_\1", name).upper()
        assert getattr(message.FaceExpression, constant) == number, name


def test_a_name_without_its_side_stands_for_both():
    assert arkit.indices("jawLeft", "mouthSmile") == [
        arkit.INDEX[name] for name in ("jawLeft", "mouthSmileLeft", "mouthSmileRight")
    ]
    weights = arkit.weights(eyeBlink=0.5, browDownLeft=1)
    assert {arkit.NAMES[i]: weights[i] for i in np.flatnonzero(weights)} == {
        "eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5, "browDownLeft": 1,
    }  # fmt: skip
    with pytest.raises(KeyError):
        arkit.indices("eyeBlnk")
