# SPDX-License-Identifier: Apache-2.0
"""The network whose output for a sound is put right (mouth_targets.py), and files of what was made
of it, to train the next one on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from realtalk_ros.audio.log_mel import log_mel
from realtalk_ros.contracts import MEL_STEP, REFERENCE_SHAPE, SAMPLE_RATE
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.face_model.rotations import flip_roll
from realtalk_ros.training.common.array_files import write_arrays
from realtalk_ros.training.expression import checkpoint
from realtalk_ros.training.expression.inference import infer
from realtalk_ros.training.expression.metrics import is_labiodental
from realtalk_ros.training.videos.filmed_people import Stretch


class Condition(NamedTuple):
    """What the network is given of a person."""

    identity: np.ndarray  # (100,) float32
    reference: np.ndarray | None  # (50, 52) float32; None: any window of the person's movement
    mask: np.ndarray  # (2,) float32: which of them it is given, or may be given of any window


UNKNOWN = Condition(
    np.zeros(IDENTITY_SIZE, np.float32), np.zeros(REFERENCE_SHAPE, np.float32),
    np.zeros(2, np.float32),
)  # fmt: skip
# Any window of the footage may be given, and no identity, which nobody knows.
OWN_WINDOW = UNKNOWN._replace(reference=None, mask=np.array([0, 1], np.float32))


class Teacher:
    """A network in torch."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: of its ONNX files; None: the installed network."""
        net = checkpoint.load_onnx(folder) if folder else checkpoint.load_installed()
        self._net = net.eval()

    @torch.inference_mode()
    def follow(self, pcm: np.ndarray, person: Condition) -> Stretch:
        """pcm: 16 kHz."""
        mel = log_mel(pcm, SAMPLE_RATE)
        mel = mel[: len(mel) // MEL_STEP * MEL_STEP]
        given = (torch.from_numpy(part)[None] for part in person)
        out = infer(self._net, mel, self._net.encode_prior(*given))
        weights, rotation, speech = (out[name] for name in ("weights", "rotation", "speech"))
        return Stretch(mel, weights.numpy(), rotation.numpy(), speech.sigmoid().numpy())


def write_stretches(
    path: Path, stretches: list[Stretch], weights: list[np.ndarray], person: Condition
) -> None:
    """Writes stretches of one person, with the weights (n, 52) that are to be learned from each, as
    expression/video_dataset.py reads them. Raises OSError."""

    def joined(part: str) -> np.ndarray:
        return np.concatenate([getattr(s, part) for s in stretches])

    write_arrays(
        path,
        mel=joined("mel").astype(np.float16),
        weights=np.concatenate(weights).astype(np.float32),
        rotation=flip_roll(joined("rotation")),
        speech=joined("speech"),
        labiodental=is_labiodental(joined("weights")).astype(np.float16),
        starts=np.cumsum([0, *map(len, weights)]),
        identity=person.identity,
        condition_mask=person.mask,
        **({} if person.reference is None else {"reference": person.reference}),
    )
