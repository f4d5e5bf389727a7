# SPDX-License-Identifier: Apache-2.0
"""The expression network at run time (ONNX Runtime): log-mel frames in, expressions out, in steps
of 20 ms.

The look-ahead, 162.5 ms, is in the file's metadata, as it is fixed in training (`look_ahead` in
training/expression/model.py): 140 ms are 7 steps, the rest is half a log-mel window and a hop.

Time and memory of a step do not depend on how long the stream has run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from realtalk_ros import onnx_session
from realtalk_ros.contracts import (
    EXPRESSION_RATE,
    EXPRESSION_VERSION,
    LIP_POINTS,
    MEL_STEP,
    N_MELS,
    PRIOR_FILE,
    REFERENCE_SHAPE,
    STEP_FILE,
)
from realtalk_ros.errors import ModelError, NetworkError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE

# Inputs of the network that a stream carries from step to step; the outputs are next_NAME.
STATE = ("mel_context", "conv_cache", "kv_cache")
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


Prior = np.ndarray  # float32, keys and values that every layer of the network attends to


class ExpressionModel:
    """The loaded network. Streams and threads may share it: the streams hold all state."""

    def __init__(
        self,
        model_dir: Path | None = None,
        providers: Sequence[str] | None = None,
        threads: int = 1,
    ):
        """Raises ModelError if a file is missing, damaged, or of another version."""
        folder = Path(model_dir or onnx_session.MODEL_DIR)
        self._prior = onnx_session.session(folder / PRIOR_FILE, providers, threads)
        self._step = onnx_session.session(folder / STEP_FILE, providers, threads)
        for name, loaded in ((PRIOR_FILE, self._prior), (STEP_FILE, self._step)):
            version = onnx_session.metadata(loaded).get("version")
            if version != EXPRESSION_VERSION:
                raise ModelError(
                    f"{folder}/{name} has interface version {version}, this "
                    f"package needs {EXPRESSION_VERSION}: {onnx_session.HOW_TO_RESTORE}"
                )
        properties = onnx_session.metadata(self._step)
        # How much audio after a frame's time the network needs for the frame, s and steps.
        self.look_ahead = float(properties["look_ahead"])
        self.look_ahead_steps = int(properties["delay_steps"])
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


class ExpressionStream:
    """One segment of speech. However it is cut into chunks, the same frames come out."""

    def __init__(self, model: ExpressionModel, prior: Prior):
        self._look_ahead_steps = model.look_ahead_steps
        self._steps = 0  # run so far
        self._frames = 0  # mel frames received, without the padding of `flush`
        self._pending = np.zeros((0, N_MELS), np.float32)
        # The network's inputs and outputs are bound to these arrays once, so that a step allocates
        # nothing. The state alternates between two of them: one is read while the other is written.
        self._session = model._step
        self._mel = np.zeros((MEL_STEP, N_MELS), np.float32)
        self._weights = np.zeros(arkit.COUNT, np.float32)
        self._rotation = np.zeros(3, np.float32)
        self._speech = np.zeros((), np.float32)
        self._lips = np.zeros((LIP_POINTS, 3), np.float32)
        state = [
            # Zeros are not silence, but the network was trained to begin with them.
            {name: np.zeros(shape, np.float32) for name, shape in model.state_shapes.items()}
            for _ in range(2)
        ]
        self._bindings = []
        for before, after in (state, state[::-1]):
            binding = self._session.io_binding()
            inputs = {"mel": self._mel, "condition_kv": prior, **before}
            outputs = {
                "weights": self._weights, "rotation": self._rotation, "speech": self._speech,
                "lips": self._lips, **{f"next_{name}": array for name, array in after.items()},
            }  # fmt: skip
            for name, array in inputs.items():
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
            for name, array in outputs.items():
                binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
            self._bindings.append(binding)
        self._buffers = state, prior  # kept alive: the bindings hold only addresses

    def push(self, mel: np.ndarray) -> ExpressionFrames:
        """(m, 80) log-mel frames -> the expressions now known. Raises NetworkError."""
        self._frames += len(mel)
        return self._run(mel)

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

    def _run(self, mel: np.ndarray) -> ExpressionFrames:
        """Runs all complete steps. The first steps of a stream yield no frame: their frames are
        of times before its start."""
        mel = np.concatenate([self._pending, mel])
        count = len(mel) // MEL_STEP
        skipped = min(max(0, self._look_ahead_steps - self._steps), count)
        n = count - skipped
        weights = np.empty((n, arkit.COUNT), np.float32)
        rotation = np.empty((n, 3), np.float32)
        speech = np.empty(n, np.float32)
        lips = np.empty((n, LIP_POINTS, 3), np.float32)
        first = self._steps + skipped - self._look_ahead_steps
        for i in range(count):
            self._mel[:] = mel[i * MEL_STEP : (i + 1) * MEL_STEP]
            try:
                self._session.run_with_iobinding(self._bindings[self._steps % 2])
            except Exception as error:  # onnxruntime's own share no base class but this
                raise NetworkError(str(error).splitlines()[0]) from error
            self._steps += 1
            k = i - skipped
            if k >= 0:
                weights[k], rotation[k], speech[k] = self._weights, self._rotation, self._speech
                lips[k] = self._lips
        self._pending = mel[count * MEL_STEP :].copy()
        return ExpressionFrames(
            np.arange(first, first + n) / EXPRESSION_RATE, weights, rotation, speech, lips
        )
