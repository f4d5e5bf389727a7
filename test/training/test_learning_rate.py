# SPDX-License-Identifier: Apache-2.0
"""What the trainings share: learning rates and the moving average of the weights."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra train)")

from realtalk_ros.training.common import moving_average  # noqa: E402
from realtalk_ros.training.common.learning_rate import (  # noqa: E402
    cosine,
    linear,
    set_rate,
    warm_up,
)


def test_factors_of_the_learning_rate():
    assert [warm_up(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [cosine(at, 0.1) for at in (0, 0.5, 1)] == pytest.approx([1, 0.55, 0.1])
    assert [linear(at, 0.1) for at in (0, 0.5, 1)] == [1, 0.5, 0.1]


def test_every_group_of_every_optimizer_gets_the_rate():
    groups = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(3)]
    optimizers = torch.optim.SGD(groups[:2], 1.0), torch.optim.SGD(groups[2:], 1.0)
    set_rate(0.25, *optimizers)
    assert [g["lr"] for o in optimizers for g in o.param_groups] == [0.25] * 3


def test_the_moving_average_forgets_its_start_and_then_goes_slowly():
    net = torch.nn.Linear(1, 1)
    average = moving_average.WeightAverage(net, decay=0.99)
    start = net.weight.item()
    with torch.no_grad():
        net.weight += 1.0
    average.update(net, step=0)
    assert average.model.weight.item() - start == pytest.approx(0.9)
    average.update(net, step=10**6)
    assert average.model.weight.item() - start == pytest.approx(0.901)
    assert net.weight.item() - start == pytest.approx(1)
