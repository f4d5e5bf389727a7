# SPDX-License-Identifier: Apache-2.0
"""Which of two runs a network faster on the CPU: ONNX Runtime's own code, or OpenVINO's.

OpenVINO comes with the wheel onnxruntime-openvino, which is installed in place of onnxruntime. On
processors with bfloat16 (AVX-512 BF16 or AMX) it computes in that, with some 3 decimal digits:
enough for pictures, not for the stream of expressions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

from realtalk_ros import onnx_session
from realtalk_ros.contracts import PROVIDERS
from realtalk_ros.errors import ModelError

BOTH = (PROVIDERS["cpu"], (onnx_session.OPENVINO, *PROVIDERS["cpu"]))
WARM_UP, TIMED = 3, 9  # runs
_openvino_failed = threading.Event()


def is_installed() -> bool:
    return onnx_session.OPENVINO in ort.get_available_providers()


def avoid_openvino() -> None:
    """From now on `fastest` is ONNX Runtime: after a network has failed."""
    _openvino_failed.set()
    fastest.cache_clear()


@lru_cache(maxsize=16)
def fastest(path: Path, threads: int, **dimensions: int) -> tuple[str, ...]:
    """Providers for `onnx_session.session(path, ..., threads, **dimensions)`, by a measurement of a
    tenth of a second. Raises ModelError for a network that cannot be opened."""
    if _openvino_failed.is_set() or not is_installed():
        return BOTH[0]
    seconds = {}
    for providers in BOTH:
        try:
            seconds[providers] = run_time(
                onnx_session.session(path, providers, threads, **dimensions)
            )
        except ModelError:
            if providers == BOTH[0]:
                raise
    return min(seconds, key=lambda providers: seconds[providers])


def run_time(session: ort.InferenceSession) -> float:
    """Median time in s of a run whose inputs are zero; free dimensions are 1."""
    inputs = {
        value.name: np.zeros(
            [size if isinstance(size, int) else 1 for size in value.shape],
            onnx_session.TYPES[value.type],
        )
        for value in session.get_inputs()
    }
    times: Sequence[float] = [_timed(session, inputs) for _ in range(WARM_UP + TIMED)]
    return float(np.median(times[WARM_UP:]))


def _timed(session: ort.InferenceSession, inputs: dict[str, np.ndarray]) -> float:
    began = time.perf_counter()
    session.run(None, inputs)
    return time.perf_counter() - began
