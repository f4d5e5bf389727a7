"""A frame-wise phone recogniser that hears a whole utterance at once (training side, torch).

It exists to say when the phones of a known text are spoken: see alignment.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from realtalk_ros.audio import log_mel
from realtalk_ros.contracts import MEL_RATE, N_MELS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.common.checkpoint import load_weights
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data import viterbi
from realtalk_ros.training.speech_data.dataset import RATE, Segment, SpeechSet

_WIDTH = 256
_DILATIONS = (1, 2, 4, 8, 1, 2, 4, 8)  # steps of 20 ms: 0.6 s to either side are heard
_STACK = 2  # mel frames a step


class _Block(nn.Module):
    """Residual dilated convolution of three taps; one matrix product, which CPUs do fast."""

    def __init__(self, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(_WIDTH)
        self.taps = nn.Linear(3 * _WIDTH, _WIDTH)
        self.out = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        d, steps = self.dilation, x.shape[1]
        y = F.pad(self.norm(x), (0, 0, d, d))
        y = torch.cat([y[:, i * d : i * d + steps] for i in range(3)], -1)
        return x + self.out(F.gelu(self.taps(y)))


class _Net(nn.Module):
    """(B, T, 80) normalised log-mel, T even -> (B, T, phones) logits, one a mel frame."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(_STACK * N_MELS, _WIDTH)
        self.blocks = nn.Sequential(*(_Block(d) for d in _DILATIONS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.outward = nn.Linear(_WIDTH, _STACK * len(ph.PHONES))

    def forward(self, mel: Tensor) -> Tensor:
        b, t, _ = mel.shape
        x = self.inward(mel.reshape(b, t // _STACK, -1))
        return self.outward(self.norm(self.blocks(x))).reshape(b, t, -1)


def normalise(mel: np.ndarray) -> np.ndarray:
    """(m, 80) log-mel with the mean of its louder frames taken off: no level, no microphone."""
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


class _Crops:
    """Random pieces of one set, its utterances laid end to end."""

    def __init__(self, data: SpeechSet):
        mels, labels = [], []
        for mel, segments, _ in data:
            mels.append(normalise(mel).astype(np.float16))
            labels.append(frame_labels(segments, len(mel)))
        self.mel, self.label = np.concatenate(mels), np.concatenate(labels)

    def crop(self, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        at = int(rng.integers(len(self.mel) - frames))
        here = slice(at, at + frames)
        return _distort(self.mel[here].astype(np.float32), rng), self.label[here]


def _distort(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another throat (formants moved), another microphone, and masks (SpecAugment, Park 2019)."""
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
    sets: dict[str, tuple[float, SpeechSet]], path: Path, minutes: float, seed: int = 1
) -> Recogniser:
    """Trains on the sets for `minutes` of wall time and saves to `path`.

    sets: name -> (share of the batch, data). Raises RealTalkError where a set is too short.
    """
    batch, frames, peak = 24, 384, 2e-3
    for name, (_, data) in sets.items():
        if len(data.mel) <= frames:
            raise RealTalkError(f"the set {name!r} has {data.hours:.2f} h of speech: make more")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    crops = [_Crops(data) for _, data in sets.values()]
    shares = np.array([share for share, _ in sets.values()])
    shares = shares / shares.sum()
    counts = sum(np.bincount(c.label, minlength=len(ph.PHONES)) * s / len(c.label)
                 for c, s in zip(crops, shares, strict=True))  # fmt: skip
    net = _Net()
    optimiser = torch.optim.AdamW(net.parameters(), peak, betas=(0.9, 0.98), weight_decay=0.02)
    start, step, progress = time.monotonic(), 0, tqdm(desc="recogniser", unit="step")
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        rate = peak * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = [crops[rng.choice(len(crops), p=shares)].crop(frames, rng) for _ in range(batch)]
        mel = torch.from_numpy(np.stack([m for m, _ in rows]))
        label = torch.from_numpy(np.stack([n for _, n in rows]))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(mel)
        loss = F.cross_entropy(logits.float().flatten(0, 1), label.flatten(), label_smoothing=0.1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        progress.update()
        if step % 50 == 0:
            hit = float((logits.argmax(-1) == label).float().mean())
            progress.set_postfix(loss=f"{loss.item():.3f}", frames=f"{hit:.3f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save({"net": net.state_dict(), "prior": torch.from_numpy(counts).float()}, partial)
    partial.replace(path)
    return Recogniser.load(path)


class Recogniser:
    """Log posteriors of the phones at every mel frame of a recording."""

    def __init__(self, net: _Net, prior: np.ndarray):
        self._net = net.eval()
        self.prior = prior  # (phones,) share of the training frames

    @classmethod
    def load(cls, path: Path) -> Recogniser:
        """Raises RealTalkError where there is no recogniser of this version at `path`."""
        if not path.is_file():
            raise RealTalkError(f"no phone recogniser at {path}: run 'realtalk data speech'")
        saved = torch.load(path, weights_only=True)
        net = _Net()
        load_weights(net, saved["net"], path)
        return cls(net, saved["prior"].numpy())

    @torch.inference_mode()
    def posteriors(self, mel: np.ndarray) -> np.ndarray:
        """(m, 80) log-mel -> (m, phones) float32 natural logarithms."""
        if not len(mel):
            return np.zeros((0, len(ph.PHONES)), np.float32)
        x = normalise(mel)
        x = np.concatenate([x, x[-1:]]) if len(x) % _STACK else x
        with torch.autocast("cpu", torch.bfloat16):
            logits = self._net(torch.from_numpy(x)[None])[0, : len(mel)]
        return F.log_softmax(logits.float(), -1).numpy()

    def scores(self, pcm: np.ndarray) -> np.ndarray:
        """(n,) 16 kHz PCM -> (m, phones) likelihoods as the Viterbi search wants them."""
        return viterbi.likelihoods(self.posteriors(log_mel.log_mel(pcm, RATE)), self.prior)

    def align(
        self, pcm: np.ndarray, words: Sequence[Sequence[str]]
    ) -> tuple[list[Segment], float] | None:
        """When (n,) 16 kHz PCM says these words: segments and their score, at most 0 (see
        `viterbi.spoken_score`); None where it is too short for them.
        """
        scores = self.scores(pcm)
        segments = viterbi.force(scores, words)
        return segments and (segments, viterbi.spoken_score(scores, segments))
