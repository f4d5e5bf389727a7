# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of trainings, and files that are none."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtalk_ros.errors import RealTalkError  # noqa: E402
from realtalk_ros.training.common import checkpoint  # noqa: E402


def test_a_checkpoint_comes_back(tmp_path):
    checkpoint.save({"step": 3, "net": {"weight": torch.ones(2)}}, tmp_path / "a" / "one.pt")
    saved = checkpoint.load(tmp_path / "a" / "one.pt")
    assert saved["step"] == 3 and saved["net"]["weight"].tolist() == [1, 1]


OTHERS = {"text": b"# A title", "empty": b"", "sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(64)}


@pytest.mark.parametrize("kind", [*OTHERS, "cut off", "of code", "arrays", "no names"])
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "one.pt"
    checkpoint.save({"step": Fraction(1, 3) if kind == "of code" else torch.ones(9000)}, path)
    whole = path.read_bytes()
    if kind == "arrays":  # a zip file, too
        with path.open("wb") as file:
            np.savez(file, net=np.ones(9))
    elif kind == "no names":
        torch.save([1, 2], path)
    elif kind != "of code":
        path.write_bytes((OTHERS | {"cut off": whole[:9000]})[kind])
    with pytest.raises(RealTalkError, match="is no checkpoint of a training") as raised:
        checkpoint.load(path)
    assert "\n" not in str(raised.value)


def test_a_device_that_lacks_is_not_the_files_fault(tmp_path):
    checkpoint.save({"net": torch.ones(2)}, tmp_path / "one.pt")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="(?i)cuda"):
        checkpoint.load(tmp_path / "one.pt", "cuda")
