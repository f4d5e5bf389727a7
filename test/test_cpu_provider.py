# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime or OpenVINO on the CPU (cpu_provider.py). OpenVINO itself is not installed here: the
choice is tested."""

import threading
import time
import types

import pytest

from realtalk_ros import cpu_provider, onnx_session
from realtalk_ros.contracts import GENERATOR_FILE
from realtalk_ros.errors import ModelError

PATH = onnx_session.MODEL_DIR / GENERATOR_FILE
ORDINARY, OPENVINO = cpu_provider.BOTH


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Each test measures anew."""
    monkeypatch.setattr(cpu_provider, "_openvino_failed", threading.Event())
    cpu_provider.fastest.cache_clear()
    yield
    cpu_provider.fastest.cache_clear()


@pytest.fixture
def seconds(monkeypatch):
    """How long a run takes by each pair of providers, with OpenVINO installed; None: it fails."""
    times = {ORDINARY: 0.004, OPENVINO: 0.001}

    def session(path, providers, threads, **dimensions):
        if times[tuple(providers)] is None:
            raise ModelError("no")
        value = types.SimpleNamespace(name="x", shape=["faces", 2], type="tensor(float)")
        return types.SimpleNamespace(
            get_inputs=lambda: [value],
            run=lambda names, inputs: time.sleep(times[tuple(providers)]),
        )

    monkeypatch.setattr(cpu_provider, "is_installed", lambda: True)
    monkeypatch.setattr(onnx_session, "session", session)
    return times


def test_without_openvino_it_is_onnx_runtime(monkeypatch):
    monkeypatch.setattr(cpu_provider, "is_installed", lambda: False)
    assert cpu_provider.fastest(PATH, 1, faces=1) == ORDINARY


def test_the_faster_one_is_taken(seconds):
    assert cpu_provider.fastest(PATH, 1, faces=1) == OPENVINO
    seconds[OPENVINO] = 0.008
    assert cpu_provider.fastest(PATH, 2, faces=1) == ORDINARY


def test_an_openvino_that_cannot_open_or_has_failed_is_not_taken(seconds):
    seconds[OPENVINO] = None
    assert cpu_provider.fastest(PATH, 1, faces=1) == ORDINARY
    seconds[OPENVINO] = 0.001
    assert cpu_provider.fastest(PATH, 2, faces=1) == OPENVINO
    cpu_provider.avoid_openvino()
    assert cpu_provider.fastest(PATH, 2, faces=1) == ORDINARY


def test_a_network_that_cannot_be_opened_at_all_is_an_error(seconds):
    seconds[ORDINARY] = None
    with pytest.raises(ModelError):
        cpu_provider.fastest(PATH, 1, faces=1)


def test_the_run_time_is_that_of_the_network():
    found = cpu_provider.run_time(onnx_session.session(PATH, threads=1, faces=1))
    assert 1e-5 < found < 1


@pytest.mark.parametrize("flags, hint", [("sse2 avx512_bf16", True), ("sse2 avx2", False)])
def test_openvino_computes_in_bfloat16_where_the_processor_does(monkeypatch, flags, hint):
    monkeypatch.setattr(onnx_session.Path, "read_text", lambda *_, **__: f"flags : {flags}\n")
    options = onnx_session.openvino_options(2)["load_config"]
    assert ("bf16" in options) == hint
    assert '"INFERENCE_NUM_THREADS": 2' in options
