# SPDX-License-Identifier: Apache-2.0
"""Whether the expression network is faster with weights of 8 bits.

A step multiplies one or two rows by each weight, so most of its time goes into reading the weights
from memory: 19 MB, or 8 with seven eighths of them in 8 bits. ONNX Runtime can do that from version
1.22 on, and it is faster only on processors with fast products of bytes. So both are timed.

ONNX Runtime rounds what a layer takes to 8 bits, too. Where two runs differ by as little as single
precision errs, some of it is rounded to another side, so that a stream's expressions depend a
little on how many steps are made in one run.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from realtalk_ros import onnx_session
from realtalk_ros.contracts import BASE_DIGEST, EIGHT_BIT_FILE, MEL_STEP, STEP_FILE
from realtalk_ros.errors import ModelError
from realtalk_ros.paths import is_file

WARM_UP, TIMED = 3, 9  # runs of each
WORTH_IT = 0.9  # of the time with weights of single precision
# The most by which a weight of a face may differ in these runs (usual is 0.0005), else this ONNX
# Runtime computes something else.
MAX_ERROR = 0.02

# By the file's version and the threads: what was measured holds for the whole process.
_faster: dict[tuple[Path, int, int, int], bool] = {}


def faster_in_eight_bits(
    single: ort.InferenceSession, folder: Path, threads: int
) -> ort.InferenceSession | None:
    """The network that takes the place of `single`, which is the STEP_FILE of `folder` on the CPU,
    if there is one and it is faster. Raises ModelError if its file is damaged, or was made for
    another network."""
    path = folder / EIGHT_BIT_FILE
    if not is_file(path):
        return None  # of a network that an earlier version exported
    key = *onnx_session.version_of(path), threads
    if not _faster.get(key, True):
        return None  # to load it takes longer than to load the other
    if problem := onnx_session.check(path):
        raise ModelError(problem)
    try:
        eight = onnx_session.session(path, threads=threads)
    except ModelError:
        return None  # an ONNX Runtime that lacks the operator
    mend = "copy both from one folder"
    onnx_session.check_made_for(eight, path, BASE_DIGEST, folder / STEP_FILE, mend)
    if key not in _faster:
        _faster[key] = _is_faster(eight, single)
    return eight if _faster[key] else None


def _is_faster(eight: ort.InferenceSession, single: ort.InferenceSession) -> bool:
    """Whether the first runs, computes the same, and is faster. They run by turns, so that neither
    finds its weights in the processor's cache: within a frame of the face it does not, either."""
    rng = np.random.default_rng(0)
    inputs = {
        value.name: rng.normal(
            0, 0.5, [n if isinstance(n, int) else 2 * MEL_STEP for n in value.shape]
        ).astype(np.float32)
        for value in single.get_inputs()
    }
    seconds, weights = np.empty((WARM_UP + TIMED, 2)), [np.empty(0)] * 2
    for row in seconds:
        for i, network in enumerate((eight, single)):
            began = time.perf_counter()
            try:
                weights[i] = network.run(["weights"], inputs)[0]
            except Exception:  # onnxruntime's own share no base class but this
                return False  # as where it lacks the product for a processor
            row[i] = time.perf_counter() - began
    same = np.abs(weights[0] - weights[1]).max() < MAX_ERROR
    of_eight, of_single = np.median(seconds[WARM_UP:], axis=0)
    return bool(same and of_eight < WORTH_IT * of_single)
