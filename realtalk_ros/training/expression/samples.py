# SPDX-License-Identifier: Apache-2.0
"""Training sequences of the expression network, one and many.

Only `Batch.collate` needs torch: videos are evaluated without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = -1  # phone of a frame whose phone nobody knows
# labiodental of a frame of which nobody knows: neither a contact nor none, for losses.py
UNKNOWN_CONTACT = 0.1


@dataclass(frozen=True)
class Sample:
    """One sequence: T steps of audio, and the movement of its first n = T - look-ahead frames."""

    mel: np.ndarray  # (2 T, 80) float32
    identity: np.ndarray  # (100,)
    style: np.ndarray  # (STYLE_SIZE,); 0 where unlabelled
    reference: np.ndarray  # (50, 52) of the same person
    condition_mask: np.ndarray  # (2,): whether the network gets the identity, the reference
    weights: np.ndarray  # (n, 52)
    rotation: np.ndarray  # (n, 3) rad, as face_model/rotations.py has it
    speech: np.ndarray  # (n,) 0 or 1
    closure: np.ndarray  # (n,) 0..1, lips together
    labiodental: np.ndarray  # (n,) 0..1, lower lip at the teeth, or UNKNOWN_CONTACT
    phone: np.ndarray  # (n,) int64, index into phones.PHONES, or UNLABELLED


@dataclass
class Batch:
    """Samples of one length, stacked: the fields of `Sample` with a batch axis in front."""

    mel: Tensor
    identity: Tensor
    style: Tensor
    reference: Tensor
    condition_mask: Tensor
    weights: Tensor
    rotation: Tensor
    speech: Tensor
    closure: Tensor
    labiodental: Tensor
    phone: Tensor

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Batch:
        import torch

        return cls(
            **{
                field.name: torch.from_numpy(np.stack([getattr(s, field.name) for s in samples]))
                for field in fields(cls)
            }
        )

    @property
    def labelled(self) -> Tensor:
        """(B,) bool: whether the phones of a sequence are known."""
        return self.phone[:, 0] != UNLABELLED
