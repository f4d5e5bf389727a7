# SPDX-License-Identifier: Apache-2.0
"""The network files: where they are, whether they are intact, how they are run (ONNX Runtime).

A network that fails while it runs is loaded again on the CPU: nodes/expression_engine.py and
nodes/face_loader.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime as ort

from realtalk_ros import checksums, install_hints
from realtalk_ros.contracts import (
    ALIGNER_FILE,
    ENCODER_FILE,
    GENERATOR_FILE,
    PRIOR_FILE,
    PROVIDERS,
    STEP_FILE,
)
from realtalk_ros.errors import NO_MEMORY, ModelError, lacks_memory
from realtalk_ros.paths import is_file

BUNDLED = Path(__file__).parent / "models"
MODEL_DIR = Path(os.environ.get("REALTALK_MODEL_DIR") or BUNDLED)
# The same work on every machine, so that figures of a slow or busy one can be read: a 3x3
# convolution, 16 to 16 channels, on 256x256 (data/README.md says how the file was made).
REFERENCE_NETWORK = Path(__file__).parent / "data" / "reference_conv.onnx"
FILES = (PRIOR_FILE, STEP_FILE, ENCODER_FILE, ALIGNER_FILE, GENERATOR_FILE)

OPENVINO = "OpenVINOExecutionProvider"  # for networks that cpu_provider.py chooses it for
BFLOAT16 = ("avx512_bf16", "amx_bf16")  # flags of processors that compute in it
TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}
# For a program that imported ONNX Runtime before this package, when realtalk_ros/__init__.py comes
# too late: no more events are recorded. (Those recorded by then are still sent.)
ort.disable_telemetry_events()
# Open sessions by file, device and options; each is closed when its last user drops it.
_SESSIONS: WeakValueDictionary[tuple[Any, ...], ort.InferenceSession] = WeakValueDictionary()


def providers_for(device: str) -> tuple[str, ...]:
    """ONNX Runtime providers for `device`, one of DEVICES (contracts.py).

    Raises ModelError if the device is unknown or its provider is not installed.
    """
    if device not in PROVIDERS:
        raise ModelError(f"unknown device {device!r}: use one of {', '.join(PROVIDERS)}")
    wanted = PROVIDERS[device]
    if wanted[0] not in ort.get_available_providers():
        raise ModelError(
            f"device {device!r} needs {wanted[0]}, which this onnxruntime lacks: "
            f"{install_hints.how_to_get_gpu()}, or use device cpu"
        )
    return wanted


def how_to_restore(path: Path) -> str:
    """What to do about a model file that is not as it should be."""
    if path.parent == BUNDLED:
        return "reinstall realtalk_ros, or `git checkout` its models folder"
    return "put the right one there, or use the networks that come with realtalk_ros"


def check(path: Path) -> str | None:
    """What is wrong with a model file, in one line, or None."""
    if not is_file(path):
        return f"model file {path} is missing: {how_to_restore(path)}"
    wanted = checksums.read(path.parent).get(path.name)
    if wanted and _sha256(*version_of(path)) != wanted:
        return f"model file {path} does not match its checksum (damaged?): {how_to_restore(path)}"
    return None


def check_made_for(
    loaded: ort.InferenceSession, path: Path, key: str, base: Path, mend: str
) -> None:
    """Raises ModelError unless the network `loaded` from `path` was made for the file `base`: the
    checksum of that is the metadata's `key`. mend: the end of the message, what to do."""
    if metadata(loaded).get(key) != _sha256(*version_of(base)):
        raise ModelError(f"{path} was not made for {base}: {mend}")


def version_of(path: Path) -> tuple[Path, int, int]:
    """What changes when another file, or other bytes, are put at a path. Raises OSError."""
    stat = path.stat()
    return path.resolve(), stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=64)
def _sha256(path: Path, _mtime_ns: int, _size: int) -> str:
    """Of a `version_of` a file. Kept, as each face of a process asks for those of all networks."""
    return checksums.sha256(path)


def networks(model_dir: Path | None = None) -> list[str]:
    """The files that are needed, and all others that have a checksum."""
    return list(dict.fromkeys([*FILES, *checksums.read(model_dir or MODEL_DIR)]))


def verify(model_dir: Path | None = None) -> list[str]:
    """Every problem of the model files, one line each; an empty list if all are intact."""
    folder = model_dir or MODEL_DIR
    return [problem for name in networks(folder) if (problem := check(folder / name))]


def check_folder(model_dir: str | Path) -> None:
    """Raises ModelError if a network file is missing there; empty: the bundled ones."""
    folder = Path(model_dir) if model_dir else MODEL_DIR
    for name in FILES:
        if not is_file(folder / name):
            raise ModelError(f"model_dir {folder} lacks {name}: give a folder with all networks")


def fingerprints(model_dir: str | Path, prefix: str) -> dict[str, str]:
    """File name -> first digits of its checksum, for listed files that begin with `prefix`."""
    folder = Path(model_dir) if model_dir else MODEL_DIR
    listed = checksums.read(folder)
    return {name: digest[:12] for name, digest in listed.items() if name.startswith(prefix)}


def session(
    path: Path, providers: Sequence[str] | None = None, threads: int = 1, **dimensions: int
) -> ort.InferenceSession:
    """Opens a network. Raises ModelError if the file is missing, damaged or not a network.

    `dimensions` fixes free dimensions of its inputs, which makes it faster.
    A file that is open already for the same device is shared: several faces of one process hold the
    networks once. (ONNX Runtime's sessions may run in many threads.)
    """
    if problem := check(path):
        raise ModelError(problem)
    providers = list(providers or PROVIDERS["cpu"])
    fixed = tuple(sorted(dimensions.items()))
    key = (*version_of(path), *providers, threads, fixed)
    if (shared := _SESSIONS.get(key)) is not None:
        return shared
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Worker threads that sleep between two operations wake up late (a quarter of a frame's period
    # on a virtual machine). If they spin between two frames, they take the second core of a small
    # robot computer.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for name, value in fixed:
        options.add_free_dimension_override_by_name(name, value)
    options.log_severity_level = 3
    try:
        opened = ort.InferenceSession(
            str(path),
            options,
            providers=providers,
            provider_options=[
                openvino_options(threads) if p == OPENVINO else {} for p in providers
            ],
        )
    except Exception as error:  # onnxruntime's own exceptions share no base class but this
        mend = NO_MEMORY if lacks_memory(error) else how_to_restore(path)
        raise ModelError(f"model file {path} cannot be loaded: {mend}") from error
    _SESSIONS[key] = opened
    return opened


def openvino_options(threads: int) -> dict[str, str]:
    """Of OpenVINO's provider. Left alone it computes in float32 and takes every core."""
    values: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
    if has_bfloat16():
        values["INFERENCE_PRECISION_HINT"] = "bf16"
    return {"device_type": "CPU", "load_config": json.dumps({"CPU": values})}


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 (x86-64, Linux)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="replace").split()
    except OSError:
        return False
    return any(flag in flags for flag in BFLOAT16)


def forget_sessions() -> None:
    """Sessions are opened again from now on, not shared: after one has failed."""
    _SESSIONS.clear()


def metadata(loaded: ort.InferenceSession) -> dict[str, str]:
    """The custom metadata that the exporter has written into a network file."""
    return dict(loaded.get_modelmeta().custom_metadata_map)
