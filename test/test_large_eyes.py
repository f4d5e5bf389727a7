# SPDX-License-Identifier: Apache-2.0
"""Lids of eyes that are larger than people's."""

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.rendering import eyes, large_eyes

MIDDLE = slice(5, -5)


def opening(lids: np.ndarray) -> np.ndarray:
    """(2,) cm, of lids (2, 2, N, 3)."""
    return (lids[:, 0, MIDDLE, 1] - lids[:, 1, MIDDLE, 1]).mean(1)


def test_a_large_eye_shuts_and_a_persons_blink_is_as_it_was():
    model = eyes.load()
    assert large_eyes.shutting(model.expressions, model.lids) is model.expressions
    wide = model.lids.copy()
    middle = wide[..., 1].mean((1, 2), keepdims=True)
    wide[..., 1] = middle + (wide[..., 1] - middle) * 2
    assert (opening(wide) > 1.2).all()
    longer = large_eyes.shutting(model.expressions, wide)
    blink = arkit.weights(eyeBlink=1)
    left_open = opening(wide + (blink @ model.expressions).reshape(wide.shape))
    shut = opening(wide + (blink @ longer).reshape(wide.shape))
    assert (left_open > 0.5).all() and (np.abs(shut) < 0.02).all()
    others = [k for k in range(arkit.COUNT) if not arkit.NAMES[k].startswith("eyeBlink")]
    np.testing.assert_array_equal(longer[others], model.expressions[others])
    one = model.lids.copy()
    one[1] = wide[1]  # only the left one
    mixed = large_eyes.shutting(model.expressions, one)
    right, left = (arkit.INDEX[name] for name in large_eyes.BLINKS)
    np.testing.assert_array_equal(mixed[right], model.expressions[right])
    assert np.abs(mixed[left]).max() > 1.3 * np.abs(model.expressions[left]).max()
