# SPDX-License-Identifier: Apache-2.0
"""A phone recogniser that reads a whole utterance at once (torch).

It exists to tell when the phones of a known text are spoken: see alignment.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from realtalk_ros.audio import log_mel
from realtalk_ros.contracts import MEL_RATE, N_MELS, SAMPLE_RATE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.common.learning_rate import cosine, set_rate, warm_up
from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data import viterbi
from realtalk_ros.training.speech_data.dataset import Segment, SpeechDataset

_WIDTH = 256
_DILATIONS = (1, 2, 4, 8, 1, 2, 4, 8)  # steps of 20 ms: 0.6 s to either side are read
_STACK = 2  # mel frames a step
_CROPS, _CROP = 24, 384  # in a batch of training, and frames of 10 ms in each
_RATE, _WARM_UP = 2e-3, 200  # learning rate at its peak, steps until then
_SEED = 1


class _DilatedConv(nn.Module):
    """Residual dilated convolution of three taps; one matrix product, which CPUs do fast."""

    def __init__(self, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(_WIDTH)
        self.conv = nn.Linear(3 * _WIDTH, _WIDTH)
        self.out_proj = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        d, steps = self.dilation, x.shape[1]
        y = F.pad(self.norm(x), (0, 0, d, d))
        y = torch.cat([y[:, i * d : i * d + steps] for i in range(3)], -1)
        return x + self.out_proj(F.gelu(self.conv(y)))


class _Net(nn.Module):
    """(B, T, 80) normalised log-mel, T even -> (B, T, phones) logits, one a mel frame."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj = nn.Linear(_STACK * N_MELS, _WIDTH)
        self.blocks = nn.Sequential(*(_DilatedConv(d) for d in _DILATIONS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.out_proj = nn.Linear(_WIDTH, _STACK * len(ph.PHONES))

    def forward(self, mel: Tensor) -> Tensor:
        b, t, _ = mel.shape
        x = self.in_proj(mel.reshape(b, t // _STACK, -1))
        return self.out_proj(self.norm(self.blocks(x))).reshape(b, t, -1)


def normalise(mel: np.ndarray) -> np.ndarray:
    """(m, 80) log-mel less the mean of its louder frames: without level and microphone."""
    mel = mel.astype(np.float32)
    level = mel.mean(axis=1)
    return mel - mel[level >= level.mean()].mean(axis=0)


def frame_labels(segments: Iterable[Segment], frames: int) -> np.ndarray:
    """(frames,) phone index at the time of each mel frame, 10 ms apart."""
    labels = np.zeros(frames, np.int64)
    for phone, start, end in segments:
        first, last = (math.ceil(t * MEL_RATE - 1e-6) for t in (start, end))
        labels[max(first, 0) : last] = ph.PHONE_INDEX[phone]
    return labels


class _CropSampler:
    """Random crops of one dataset, its utterances laid end to end."""

    def __init__(self, data: SpeechDataset):
        mels, labels = [], []
        for mel, segments, _ in data:
            mels.append(normalise(mel).astype(np.float16))
            labels.append(frame_labels(segments, len(mel)))
        self.mel, self.labels = np.concatenate(mels), np.concatenate(labels)

    def draw(self, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        start = int(rng.integers(len(self.mel) - frames))
        crop = slice(start, start + frames)
        return _augment(self.mel[crop].astype(np.float32), rng), self.labels[crop]


def _augment(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another vocal tract, another microphone, and masks (SpecAugment, Park et al. 2019)."""
    bins = np.clip(np.arange(N_MELS) + rng.integers(-3, 4), 0, N_MELS - 1)
    mel = mel[:, bins]
    knots = rng.normal(0, 0.1, 6)
    mel = mel + np.interp(np.linspace(0, 5, N_MELS), np.arange(6), knots).astype(np.float32)
    for _ in range(2):
        low, width = rng.integers(N_MELS - 10), rng.integers(11)
        mel[:, low : low + width] = 0
        start, length = rng.integers(len(mel) - 12), rng.integers(13)
        mel[start : start + length] = 0
    return mel


def train_recogniser(
    datasets: dict[str, tuple[float, SpeechDataset]], path: Path, minutes: float
) -> PhoneRecogniser:
    """Trains on the datasets for so many minutes of wall time and saves to `path`.

    datasets: name -> (share of the batch, data). Raises RealTalkError where one is too short.
    """
    for name, (_, data) in datasets.items():
        if len(data.mel) <= _CROP:
            raise RealTalkError(f"the set {name!r} has {data.hours:.2f} h of speech: make more")
    torch.manual_seed(_SEED)
    rng = np.random.default_rng(_SEED)
    samplers = [_CropSampler(data) for _, data in datasets.values()]
    shares = np.array([share for share, _ in datasets.values()])
    shares = shares / shares.sum()
    net = _Net()
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, betas=(0.9, 0.98), weight_decay=0.02)
    began, step, bar = time.monotonic(), 0, tqdm(desc="recogniser", unit="step")
    while (progress := (time.monotonic() - began) / (60 * minutes)) < 1:
        set_rate(_RATE * warm_up(step, _WARM_UP) * cosine(progress), optimizer)
        rows = [samplers[rng.choice(len(samplers), p=shares)].draw(_CROP, rng)
                for _ in range(_CROPS)]  # fmt: skip
        mel, labels = (torch.from_numpy(np.stack(x)) for x in zip(*rows, strict=True))
        loss, accuracy = _learn(net, optimizer, mel, labels)
        step += 1
        bar.update()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss:.3f}", frames=f"{accuracy:.3f}")
    prior = sum(np.bincount(s.labels, minlength=len(ph.PHONES)) * share / len(s.labels)
                for s, share in zip(samplers, shares, strict=True))  # fmt: skip
    checkpoint.save({"net": net.state_dict(), "prior": torch.from_numpy(prior).float()}, path)
    return PhoneRecogniser.load(path)


def _learn(
    net: _Net, optimizer: torch.optim.Optimizer, mel: Tensor, labels: Tensor
) -> tuple[float, float]:
    """One step; returns the loss and the share of frames that were named right."""
    with mixed_precision():
        logits = net(mel)
    flat = logits.float().flatten(0, 1)
    loss = F.cross_entropy(flat, labels.flatten(), label_smoothing=0.1)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss.item(), float((logits.argmax(-1) == labels).float().mean())


class PhoneRecogniser:
    """Log posteriors of the phones at every mel frame of a recording."""

    def __init__(self, net: _Net, prior: np.ndarray):
        self._net = net.eval()
        self.prior = prior  # (phones,) share of the training frames

    @classmethod
    def load(cls, path: Path) -> PhoneRecogniser:
        """Raises RealTalkError where there is no recogniser of this version at `path`."""
        if not path.is_file():
            raise RealTalkError(f"no phone recogniser at {path}: run 'realtalk data speech'")
        saved = checkpoint.load(path)
        net = _Net()
        checkpoint.load_weights(net, saved["net"], path)
        return cls(net, saved["prior"].numpy())

    @torch.inference_mode()
    def posteriors(self, mel: np.ndarray) -> np.ndarray:
        """(m, 80) log-mel -> (m, phones) float32 natural logarithms."""
        if not len(mel):
            return np.zeros((0, len(ph.PHONES)), np.float32)
        x = normalise(mel)
        x = np.concatenate([x, x[-1:]]) if len(x) % _STACK else x
        with mixed_precision():
            logits = self._net(torch.from_numpy(x)[None])[0, : len(mel)]
        return F.log_softmax(logits.float(), -1).numpy()

    def scores(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) 16 kHz PCM -> (m, phones) likelihoods as the Viterbi search wants them."""
        return viterbi.likelihoods(self.posteriors(log_mel.log_mel(pcm, SAMPLE_RATE)), self.prior)
