# SPDX-License-Identifier: Apache-2.0
"""The expression network at run time (ONNX Runtime): log-mel frames in, expressions out, in steps
of 20 ms.

Most of a run's time goes into reading the weights, 19 MB, so several steps in one run (`max_steps`
in the file's metadata) cost little more than one. With weights of 8 bits it takes less
(eight_bits.py).

The look-ahead, 162.5 ms, is in the file's metadata, as it is fixed in training (`look_ahead` in
training/expression/dims.py): 140 ms are 7 steps, the rest is half a log-mel window and a hop. The
files of shorter ones predict the sound of the steps that they lack, and run the same weights on
into it (training/expression/sound_predictor.py).

Time and memory of a step do not depend on how long the stream has run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from realtalk_ros import onnx_session
from realtalk_ros.contracts import (
    BASE_DIGEST,
    EXPRESSION_RATE,
    EXPRESSION_VERSION,
    LIP_POINTS,
    LOOK_AHEAD,
    MEL_STEP,
    N_MELS,
    PRIOR_FILE,
    PROVIDERS,
    REFERENCE_SHAPE,
    STEP_FILE,
    STEP_FILES,
)
from realtalk_ros.errors import ModelError, NetworkError, first_line
from realtalk_ros.expression.eight_bits import faster_in_eight_bits
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.paths import is_file

TENSORRT = PROVIDERS["tensorrt"][0]
# Inputs of the network that a stream carries from step to step; the outputs are next_NAME.
STATE = ("mel_context", "conv_cache", "kv_cache")
# Shapes of what a step yields.
OUTPUTS: dict[str, tuple[int, ...]] = {
    "weights": (arkit.COUNT,), "rotation": (3,), "speech": (), "lips": (LIP_POINTS, 3),
}  # fmt: skip
SILENT_MEL = -1.2  # log-mel of digital silence: 0.3 * (log10(POWER_FLOOR) + 5)


@dataclass
class ExpressionFrames:
    """n frames at 50 Hz."""

    time: np.ndarray  # (n,) float64 s since the segment's start
    weights: np.ndarray  # (n, 52) float32 0..1, ARKit order
    rotation: np.ndarray  # (n, 3) float32 rad, as face_model/rotations.py has it
    speech: np.ndarray  # (n,) float32 0..1, probability that somebody speaks
    lips: np.ndarray  # (n, 20, 3) float32 cm, landmarks 48 to 67 relative to where they rest

    def __len__(self) -> int:
        return len(self.time)


def step_file_of(look_ahead: float, folder: Path) -> str:
    """Name of the file for a look-ahead of so many s. Raises ModelError if there can be none, or
    there is none in `folder`."""
    name = STEP_FILES.get(round(look_ahead, 3) if math.isfinite(look_ahead) else 0.0)
    if name is None:
        known = ", ".join(f"{seconds:g}" for seconds in sorted(STEP_FILES))
        raise ModelError(f"look_ahead is one of {known} s, not {look_ahead:g}")
    if name != STEP_FILE and not is_file(folder / name):
        raise ModelError(
            f"{folder} has no network for look_ahead {look_ahead:g}, {name}: use "
            f"{LOOK_AHEAD:g}, or make it by `realtalk train look-ahead`"
        )
    return name


Prior = np.ndarray  # float32, keys and values that every layer of the network attends to


class ExpressionModel:
    """The loaded network. Streams and threads may share it: the streams hold all state."""

    def __init__(
        self,
        model_dir: Path | None = None,
        providers: Sequence[str] | None = None,
        threads: int = 1,
        look_ahead: float = LOOK_AHEAD,
        *,
        eight_bits: bool = False,
    ):
        """look_ahead: s, one of STEP_FILES. eight_bits: whether weights of 8 bits are used on the
        CPU, where that is faster: for live speech, as frames then depend a little (weights by 0.001
        or so) on the machine, and on how the sound is cut into chunks.

        Raises ModelError if a file is missing, damaged, or of another version.
        """
        folder = Path(model_dir or onnx_session.MODEL_DIR)
        step_file = step_file_of(look_ahead, folder)
        self._prior = onnx_session.session(folder / PRIOR_FILE, providers, threads)
        # TensorRT would stop to build another engine for each number of steps.
        one = {"mel_frames": MEL_STEP} if providers and providers[0] == TENSORRT else {}
        self._step = onnx_session.session(folder / step_file, providers, threads, **one)
        for name, loaded in ((PRIOR_FILE, self._prior), (step_file, self._step)):
            version = onnx_session.metadata(loaded).get("version")
            if version != EXPRESSION_VERSION:
                raise ModelError(
                    f"{folder}/{name} has interface version {version}, this "
                    f"package needs {EXPRESSION_VERSION}: "
                    f"{onnx_session.how_to_restore(folder / name)}"
                )
        properties = onnx_session.metadata(self._step)
        if step_file != STEP_FILE:
            onnx_session.check_made_for(
                self._step,
                folder / step_file,
                BASE_DIGEST,
                folder / STEP_FILE,
                "make it again by `realtalk train look-ahead`",
            )
        self.weight_bits = 32  # of most of the weights
        on_cpu = tuple(providers or PROVIDERS["cpu"]) == PROVIDERS["cpu"]
        may = eight_bits and on_cpu and step_file == STEP_FILE
        if may and (faster := faster_in_eight_bits(self._step, folder, threads)):
            self._step, self.weight_bits = faster, 8
        # How much audio after a frame's time the network needs for the frame, s and steps.
        self.look_ahead = float(properties["look_ahead"])
        self.look_ahead_steps = int(properties["delay_steps"])
        self.max_steps = 1 if one else int(properties["max_steps"])  # of one run
        shapes = {i.name: i.shape for i in self._step.get_inputs()}
        self.state_shapes = {name: shapes[name] for name in STATE}

    def prior(
        self, identity: np.ndarray | None = None, reference: np.ndarray | None = None
    ) -> Prior:
        """The conditioning of the network on a person, to be computed once for an avatar.

        identity: (100,), coefficients of the 3D face model, standard deviation 1.
        reference: (50, 52), two seconds of this person's own expressions at 25 Hz.
        None stands for unknown. Raises ModelError for a wrong shape or values that are not finite.
        """
        mask = np.array([identity is not None, reference is not None], np.float32)
        inputs = {"condition_mask": mask}
        for name, value, shape in (
            ("identity", identity, (IDENTITY_SIZE,)), ("reference", reference, REFERENCE_SHAPE),
        ):  # fmt: skip
            value = np.zeros(shape) if value is None else np.asarray(value)
            if value.shape != shape or not np.isfinite(value).all():
                raise ModelError(
                    f"the prior's {name} must be {shape} finite numbers, not {value.shape}: "
                    "rebuild the avatar"
                )
            inputs[name] = np.ascontiguousarray(value, np.float32)
        return self._prior.run(None, inputs)[0]

    def stream(self, prior: Prior) -> ExpressionStream:
        """A new stream for one segment of speech."""
        return ExpressionStream(self, prior)


class _Buffers:
    """The network's inputs and outputs for runs of n steps.

    They are bound to arrays once, so that a run allocates nothing. The state alternates between two
    sets of arrays: one is read while the other is written.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        n: int,
        prior: Prior,
        state: list[dict[str, np.ndarray]],
    ):
        self.mel = np.zeros((n * MEL_STEP, N_MELS), np.float32)
        self.frames = {name: np.zeros((n, *shape), np.float32) for name, shape in OUTPUTS.items()}
        self.bindings = []
        for before, after in (state, state[::-1]):
            binding = session.io_binding()
            inputs = {"mel": self.mel, "condition_kv": prior, **before}
            outputs = {**self.frames, **{f"next_{name}": array for name, array in after.items()}}
            for name, array in inputs.items():
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
            for name, array in outputs.items():
                binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
            self.bindings.append(binding)
        self._bound = prior, state  # kept alive: the bindings hold only addresses


class ExpressionStream:
    """One segment of speech. However it is cut into chunks, the same frames come out (with weights
    of 8 bits almost the same: eight_bits.py)."""

    def __init__(self, model: ExpressionModel, prior: Prior):
        self._look_ahead_steps = model.look_ahead_steps
        self._max_steps = model.max_steps
        self._steps = self._runs = 0  # so far
        self._frames = 0  # mel frames received, without the padding of `flush`
        self._pending = np.zeros((0, N_MELS), np.float32)
        self._session, self._prior = model._step, prior
        self._state = [
            # Zeros are not silence, but the network was trained to begin with them.
            {name: np.zeros(shape, np.float32) for name, shape in model.state_shapes.items()}
            for _ in range(2)
        ]
        self._buffers: dict[int, _Buffers] = {}  # by the steps of a run

    def push(self, mel: np.ndarray, due: float = 0.0) -> ExpressionFrames:
        """(m, 80) log-mel frames -> the expressions now known. Raises NetworkError.

        A step that comes alone waits for the next one unless it yields the frame at `due` s or a
        later one: two steps in one run, where it may have two, cost little more than one.
        """
        self._frames += len(mel)
        return self._run(mel, due)

    def flush(self) -> ExpressionFrames:
        """Pads with silence for the look-ahead. Returns the remaining expressions, up to the end of
        what was pushed. Raises NetworkError."""
        total = -(-self._frames // MEL_STEP)
        missing = (
            (total + self._look_ahead_steps) * MEL_STEP
            - self._steps * MEL_STEP
            - len(self._pending)
        )
        return self._run(np.full((max(0, missing), N_MELS), SILENT_MEL, np.float32))

    def _run(self, mel: np.ndarray, due: float = 0.0) -> ExpressionFrames:
        """Runs all complete steps, but for one that waits (`push`). The first steps of a stream
        yield no frame: their frames are of times before its start."""
        mel = np.concatenate([self._pending, mel])
        count = len(mel) // MEL_STEP
        first = self._steps - self._look_ahead_steps  # frame, of the first step
        if count == 1 and self._max_steps > 1 and first / EXPRESSION_RATE < due:
            count = 0
        frames = {name: np.empty((count, *shape), np.float32) for name, shape in OUTPUTS.items()}
        for begin in range(0, count, self._max_steps):
            end = min(begin + self._max_steps, count)
            got = self._run_steps(mel[begin * MEL_STEP : end * MEL_STEP])
            for name, array in got.items():
                frames[name][begin:end] = array
        self._pending = mel[count * MEL_STEP :].copy()
        skipped = min(max(0, -first), count)
        times = np.arange(first + skipped, first + count) / EXPRESSION_RATE
        return ExpressionFrames(times, **{name: rows[skipped:] for name, rows in frames.items()})

    def _run_steps(self, mel: np.ndarray) -> dict[str, np.ndarray]:
        """(2 n, 80) -> outputs of n steps; they are overwritten by the next call."""
        n = len(mel) // MEL_STEP
        if n not in self._buffers:
            self._buffers[n] = _Buffers(self._session, n, self._prior, self._state)
        buffers = self._buffers[n]
        buffers.mel[:] = mel
        try:
            self._session.run_with_iobinding(buffers.bindings[self._runs % 2])
        except Exception as error:  # onnxruntime's own share no base class but this
            raise NetworkError(first_line(error)) from error
        self._steps += n
        self._runs += 1
        return buffers.frames
