# SPDX-License-Identifier: Apache-2.0
"""Lids of eyes that are larger than people's."""

import numpy as np
import pytest

from realtalk_ros.face_model import arkit
from realtalk_ros.rendering import eyes, large_eyes

MIDDLE = slice(5, -5)


def opening(lids: np.ndarray) -> np.ndarray:
    """(2,) cm, of lids (2, 2, N, 3)."""
    return (lids[:, 0, MIDDLE, 1] - lids[:, 1, MIDDLE, 1]).mean(1)


@pytest.mark.parametrize("times", [1.25, 2])  # a large eye of a person, a drawing's
def test_a_large_eye_shuts_and_others_blink_as_before(times):
    model = eyes.load()
    assert large_eyes.shutting(model.expressions, model.lids, eyes.SHUT) is model.expressions
    wide = model.lids.copy()
    middle = wide[..., 1].mean((1, 2), keepdims=True)
    wide[..., 1] = middle + (wide[..., 1] - middle) * times
    longer = large_eyes.shutting(model.expressions, wide, eyes.SHUT)
    blink = arkit.weights(eyeBlink=1)
    left_open, shut = (
        opening(wide + (blink @ one).reshape(wide.shape)) / opening(wide)
        for one in (model.expressions, longer)
    )
    assert (left_open > eyes.SHUT + 0.03).all()
    np.testing.assert_allclose(shut, eyes.SHUT, atol=0.01)
    others = [k for k in range(arkit.COUNT) if not arkit.NAMES[k].startswith("eyeBlink")]
    np.testing.assert_array_equal(longer[others], model.expressions[others])
    one = model.lids.copy()
    one[1] = wide[1]  # only the left one
    mixed = large_eyes.shutting(model.expressions, one, eyes.SHUT)
    right, left = (arkit.INDEX[name] for name in large_eyes.BLINKS)
    np.testing.assert_array_equal(mixed[right], model.expressions[right])
    assert np.abs(mixed[left]).max() > 1.03 * np.abs(model.expressions[left]).max()
