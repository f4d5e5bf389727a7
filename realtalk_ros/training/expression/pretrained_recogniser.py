# SPDX-License-Identifier: Apache-2.0
"""The installed network's convolutions as a phone recogniser (torch).

They have learned from hours of speech. A new head that names the phones is fitted in a minute, and
its times are better than those of a first recogniser that begins from nothing.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from realtalk_ros.audio import log_mel
from realtalk_ros.contracts import MEL_STEP, SAMPLE_RATE
from realtalk_ros.expression.onnx_model import SILENT_MEL
from realtalk_ros.training.expression.checkpoint import load_installed
from realtalk_ros.training.expression.mel_augment import interpolate_rows
from realtalk_ros.training.expression.pretrain_phones import fit_phone_head
from realtalk_ros.training.speech_data import viterbi
from realtalk_ros.training.speech_data.dataset import SpeechDataset


class PretrainedRecogniser:
    """Likelihoods of the phones, as phone_recogniser.PhoneRecogniser computes them."""

    def __init__(self, datasets: dict[str, tuple[int, SpeechDataset]]):
        """datasets: name -> (how many of its utterances to fit the head to, data).

        Raises ModelError.
        """
        net = load_installed()
        self._encoder, self._look_ahead_steps = net.acoustic_encoder, net.dims.look_ahead_steps
        self.prior = fit_phone_head(self._encoder, self._look_ahead_steps, datasets).numpy()

    @torch.inference_mode()
    def scores(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) 16 kHz PCM -> (m, phones) likelihoods as the Viterbi search wants them."""
        mel = log_mel.log_mel(pcm, SAMPLE_RATE).astype(np.float32)
        padding = self._look_ahead_steps * MEL_STEP + len(mel) % MEL_STEP
        padded = np.pad(mel, ((0, padding), (0, 0)), constant_values=SILENT_MEL)
        features = self._encoder.features(torch.from_numpy(padded)[None])[
            0, self._look_ahead_steps :
        ]
        posteriors = F.log_softmax(self._encoder.phone_head(features), -1).numpy()
        # A step's phone is the one at its middle, where its second mel frame is.
        at = (np.arange(len(mel)) - 1) / MEL_STEP
        return viterbi.likelihoods(interpolate_rows(posteriors, at), self.prior)
