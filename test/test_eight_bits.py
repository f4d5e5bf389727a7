# SPDX-License-Identifier: Apache-2.0
"""The expression network with weights of 8 bits: used where it is faster, and moves the face as the
one of single precision does."""

import shutil
import warnings

import numpy as np
import pytest

from expressed import express
from realtalk_ros import onnx_session
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.contracts import EIGHT_BIT_FILE, PRIOR_FILE, PROVIDERS, STEP_FILE
from realtalk_ros.errors import ModelError
from realtalk_ros.expression import eight_bits
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model import lips


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(eight_bits, "_faster", {})


@pytest.fixture
def if_worth(monkeypatch):
    """Decides without a clock: by the share of the time that 8 bits may take."""
    return lambda share: monkeypatch.setattr(eight_bits, "WORTH_IT", share)


@pytest.fixture
def model(if_worth):
    if_worth(np.inf)
    loaded = ExpressionModel(eight_bits=True)
    if loaded.weight_bits != 8:
        pytest.skip("this ONNX Runtime has no products of 8 bits: it is older than 1.22")
    return loaded


def recording(opened):
    """`onnx_session.session`, which adds the names of the files that it opens."""
    open_session = onnx_session.session

    def session(path, *given, **more):
        opened.append(path.name)
        return open_session(path, *given, **more)

    return session


@pytest.fixture
def folder(tmp_path):
    for name in (PRIOR_FILE, STEP_FILE, EIGHT_BIT_FILE):
        shutil.copyfile(onnx_session.MODEL_DIR / name, tmp_path / name)
    return tmp_path


def test_the_face_moves_as_with_single_precision(model):
    pcm, rate = read_audio(SAMPLE_CLIP)
    single, eight = (express(m, pcm[: 12 * rate], rate) for m in (ExpressionModel(), model))
    off = np.abs(eight["weights"] - single["weights"])
    assert 0 < np.sqrt(np.mean(off**2)) < 0.0004 and np.mean(off > 0.001) < 0.02
    assert off.max() < 0.02
    gap = [lips.gap_of(found["weights"]) for found in (single, eight)]
    assert np.abs(gap[0] - gap[1]).max() < 0.06 and np.corrcoef(*gap)[0, 1] > 0.9999  # cm
    silence = lips.gap_of(express(model, np.zeros(2 * rate, np.float32), rate)["weights"])
    assert np.abs(silence - lips.REST_GAP).max() < 0.01


def test_cuts_of_the_sound_matter_little(model):
    pcm, rate = read_audio(SAMPLE_CLIP)
    one, other = (express(model, pcm[: 4 * rate], rate, s)["weights"] for s in (0.02, 0.04))
    assert one.shape == other.shape and np.abs(one - other).max() < 0.02


def test_it_is_used_where_it_is_faster(model, if_worth, monkeypatch):
    assert ExpressionModel().weight_bits == 32
    assert ExpressionModel(look_ahead=0.1, eight_bits=True).weight_bits == 32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ONNX Runtime, where there is no GPU
        on_gpu = ExpressionModel(providers=PROVIDERS["cuda"], eight_bits=True)
    assert on_gpu.weight_bits == 32
    if_worth(0)
    assert ExpressionModel(eight_bits=True).weight_bits == 8  # measured once in a process
    eight_bits._faster.clear()
    assert ExpressionModel(eight_bits=True).weight_bits == 32
    monkeypatch.setattr(onnx_session, "session", recording(opened := []))
    assert ExpressionModel(eight_bits=True).weight_bits == 32
    assert opened == [PRIOR_FILE, STEP_FILE]  # not again what is slower


def test_it_is_not_used_where_it_computes_something_else(if_worth, monkeypatch):
    if_worth(np.inf)
    monkeypatch.setattr(eight_bits, "MAX_ERROR", 0)
    assert ExpressionModel(eight_bits=True).weight_bits == 32


def test_it_is_not_used_where_it_does_not_run(model, folder):
    path = folder / EIGHT_BIT_FILE
    path.write_bytes(path.read_bytes().replace(b"kv_cache", b"kv_cash_"))  # loads, does not run
    assert ExpressionModel(folder, eight_bits=True).weight_bits == 32


def test_an_older_onnx_runtime_does_without(if_worth, folder, monkeypatch):
    if_worth(np.inf)
    (folder / EIGHT_BIT_FILE).write_bytes(b"an operator that it does not know")
    assert ExpressionModel(folder, eight_bits=True).weight_bits == 32
    (folder / EIGHT_BIT_FILE).unlink()
    assert ExpressionModel(folder, eight_bits=True).weight_bits == 32


def test_a_file_that_is_damaged_or_of_another_network_is_refused(model, folder):
    assert ExpressionModel(folder, eight_bits=True).weight_bits == 8
    # As a network that was trained further would be: of the same size, with other bytes.
    data = bytearray((folder / STEP_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / STEP_FILE).write_bytes(data)
    with pytest.raises(
        ModelError, match=f"{EIGHT_BIT_FILE} was not made for .*{STEP_FILE}: copy both"
    ):
        ExpressionModel(folder, eight_bits=True)
    shutil.copyfile(onnx_session.MODEL_DIR / "SHA256SUMS", folder / "SHA256SUMS")
    shutil.copyfile(onnx_session.MODEL_DIR / STEP_FILE, folder / STEP_FILE)
    (folder / EIGHT_BIT_FILE).write_bytes(b"")
    with pytest.raises(ModelError, match=f"{EIGHT_BIT_FILE} does not match its checksum"):
        ExpressionModel(folder, eight_bits=True)
