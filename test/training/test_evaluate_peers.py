# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate peers`: the networks of other projects, built from their checkouts."""

import json

import pytest

from realtalk_ros import cli
from realtalk_ros.training.renderer import evaluate_peers

pytest.importorskip("torch")
UNET = """
import torch
class Model(torch.nn.Module):
    def __init__(self, channels, mode):
        super().__init__()
        self.layer = torch.nn.Conv2d(channels, 3, 3, padding=1)
    def forward(self, picture, sound):
        return self.layer(picture) + sound.mean()
"""


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "Ultralight-Digital-Human"
    folder.mkdir()
    (folder / "unet.py").write_text(UNET)
    return folder


def test_a_checkout_is_measured_beside_our_own_frame(checkout, capsys, monkeypatch):
    monkeypatch.setattr(evaluate_peers, "TURNS", 1)
    assert cli.main(["evaluate", "peers", str(checkout.parent), "--json", "--threads", "1"]) == 0
    costs = {cost["name"]: cost for cost in json.loads(capsys.readouterr().out)}
    peer = costs.pop("Ultralight-Digital-Human")
    # 3x3 weights of 6 channels for each of 3 channels of 160x160 pixels: two operations each
    assert peer["gflop"] == pytest.approx(2 * 9 * 6 * 3 * 160**2 / 1e9)
    assert len(costs) == 2 and all(cost["ratio"] > 0 for cost in (peer, *costs.values()))


def test_no_checkout_and_one_of_another_version_are_told(checkout, capsys):
    assert cli.main(["evaluate", "peers", str(checkout)]) == 2
    assert "git clone there https://github.com/" in capsys.readouterr().err
    (checkout / "unet.py").write_text("Net = None")
    assert cli.main(["evaluate", "peers", str(checkout.parent)]) == 2
    error = capsys.readouterr().err
    assert "Ultralight-Digital-Human cannot be built" in error and "Model" in error
    assert len(error.splitlines()) == 1
