"""What the installed network hears, as a phone recogniser (training side, torch).

Its convolutions have learned from hours of speech already. A new head that names the phones is
fitted in a minute, and tells their times better than a first recogniser that begins from nothing.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from realtalk_ros import onnx_session
from realtalk_ros.audio import log_mel
from realtalk_ros.contracts import MEL_STEP
from realtalk_ros.expression.onnx_model import SILENCE
from realtalk_ros.training.expression import mel_augment
from realtalk_ros.training.expression.pretrain_phones import name_phones
from realtalk_ros.training.expression.train import installed
from realtalk_ros.training.speech_data import viterbi
from realtalk_ros.training.speech_data.dataset import RATE, SpeechSet


class InstalledHearing:
    """Likelihoods of the phones, as `phone_recogniser.Recogniser` gives them."""

    def __init__(self, sets: dict[str, tuple[int, SpeechSet]]):
        """sets: name -> (how many of its utterances teach the head, data). Raises ModelError."""
        net = installed(onnx_session.MODEL_DIR)
        self._trunk, self._delay = net.trunk, net.dims.delay
        self.prior = name_phones(self._trunk, self._delay, sets).numpy()

    @torch.inference_mode()
    def scores(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) 16 kHz PCM -> (m, phones) likelihoods as the Viterbi search wants them."""
        mel = log_mel.log_mel(pcm, RATE).astype(np.float32)
        rest = self._delay * MEL_STEP + len(mel) % MEL_STEP
        padded = np.pad(mel, ((0, rest), (0, 0)), constant_values=SILENCE)
        heard = self._trunk.features(torch.from_numpy(padded)[None])[0, self._delay :]
        posteriors = F.log_softmax(self._trunk.phones(heard), -1).numpy()
        # A step's phone is the one at its middle, where its second mel frame is.
        at = (np.arange(len(mel)) - 1) / MEL_STEP
        return viterbi.likelihoods(mel_augment.take(posteriors, at), self.prior)
