# SPDX-License-Identifier: Apache-2.0
"""Pretraining of the acoustic encoder: its convolutions learn to recognise phones.

Phones alone are learned faster than together with the face: the same time reads four times as much
speech. `realtalk train expression` begins with the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.training.common.learning_rate import linear, set_rate
from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.expression import mel_augment
from realtalk_ros.training.expression.dims import Dims
from realtalk_ros.training.expression.losses import phone_loss
from realtalk_ros.training.expression.model import AcousticEncoder, CausalConv
from realtalk_ros.training.expression.trainer import MetricLog, Schedule, Trainer
from realtalk_ros.training.speech_data import phones as ph

if TYPE_CHECKING:
    from realtalk_ros.training.expression.sampler import Sampler
    from realtalk_ros.training.speech_data.dataset import Segment, SpeechDataset


@dataclass(frozen=True)
class PhonePretraining:
    """Settings of `pretrain_phones`."""

    minutes: float  # over all resumptions
    learning_rate: float = 1.5e-3
    warm_up_steps: int = 300
    weight_decay: float = 0.05
    batch_size: int = 24  # sequences
    steps: int = 192  # of 20 ms in a sequence


def muon_parameters(net: nn.Module) -> list[nn.Parameter]:
    """The matrices of the convolutions, which Muon trains better than AdamW."""
    blocks = [module for module in net.modules() if isinstance(module, CausalConv)]
    return [weight for b in blocks for weight in (b.conv.weight, b.out_proj.weight)]


def phone_labels(segments: list[Segment], frames: int) -> np.ndarray:
    """(frames,) index of the phone at the middle of each 20 ms."""
    starts = np.array([start for _, start, _ in segments])
    phones = np.array([ph.PHONE_INDEX[phone] for phone, _, _ in segments])
    middles = (np.arange(frames) + 0.5) / EXPRESSION_RATE
    return phones[np.clip(np.searchsorted(starts, middles, "right") - 1, 0, len(phones) - 1)]


def _draw_sequence(
    sampler: Sampler, steps: int, look_ahead_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mel (2 * steps, 80) and phones (steps - look_ahead_steps,): utterances, one after another."""
    rng = sampler.rng
    kind = sampler.draw_kind()
    mels: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    drawn = 0
    while drawn < steps:
        mel, segments, _ = sampler.draw_utterance(kind)
        mel, segments = mel_augment.time_stretch(mel, segments, rng)
        frames = len(mel) // MEL_STEP
        skip = 0 if mels else sampler.draw_start(frames)
        mels.append(mel[skip * MEL_STEP : frames * MEL_STEP])
        labels.append(phone_labels(segments, frames)[skip:])
        drawn += frames - skip
    mel = np.concatenate(mels)[: steps * MEL_STEP]
    mel = mel_augment.augment(mel, sampler.draw_noise(), rng)
    return mel_augment.spec_augment(mel, rng), np.concatenate(labels)[: steps - look_ahead_steps]


def pretrain_phones(
    sampler: Sampler,
    dims: Dims,
    path: Path,
    settings: PhonePretraining,
    start: AcousticEncoder | None = None,
) -> AcousticEncoder:
    """Trains an acoustic encoder and keeps it in the checkpoint `path`.

    start: one to go on with. Returns the moving average of the weights.
    """
    encoder = AcousticEncoder(dims)
    if start is not None:
        encoder.load_state_dict(start.state_dict())
    schedule = Schedule(
        settings.minutes, settings.learning_rate, settings.warm_up_steps, settings.weight_decay
    )
    trainer = Trainer(encoder, path, schedule, muon_parameters=muon_parameters(encoder))
    if trainer.step:
        sampler.restart(trainer.step)

    def draw_batch() -> tuple[Tensor, Tensor]:
        rows = [
            _draw_sequence(sampler, settings.steps, dims.look_ahead_steps)
            for _ in range(settings.batch_size)
        ]
        mels, labels = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(mels)), torch.from_numpy(np.stack(labels))

    log = MetricLog("phones", trainer, every=200)
    for mel, labels in trainer.batches(draw_batch):
        with mixed_precision():
            _, logits = encoder(mel)
        logits, labels = logits[:, dims.look_ahead_steps :].float().flatten(0, 1), labels.flatten()
        loss = phone_loss(logits, labels)
        trainer.learn(loss)
        log.add(loss=loss, accuracy=(logits.argmax(-1) == labels).float().mean())
    encoder.load_state_dict(trainer.ema)
    return encoder


def fit_phone_head(
    encoder: AcousticEncoder,
    look_ahead_steps: int,
    datasets: dict[str, tuple[int, SpeechDataset]],
) -> Tensor:
    """Fits the phone head, which no installed file has, to the features of `encoder`.

    look_ahead_steps: from the sound of a frame to its features; datasets: name -> (how many of its
    utterances to fit to, data). Returns (phones,) the share of each phone.
    """
    steps, batch_size, peak_rate = 3000, 4096, 3e-3
    features, labels = _features_of(encoder, look_ahead_steps, datasets, np.random.default_rng(0))
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(encoder.phone_head.parameters(), peak_rate)
    for step in range(steps):
        set_rate(peak_rate * linear(step / steps), optimizer)
        rows = torch.randint(len(features), (batch_size,))
        logits = encoder.phone_head(features[rows])
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.bincount(labels, minlength=len(ph.PHONES)) / len(labels)


@torch.no_grad()
def _features_of(
    encoder: AcousticEncoder,
    look_ahead_steps: int,
    datasets: dict[str, tuple[int, SpeechDataset]],
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Features (n, conv_width) and phones (n,) of random utterances."""
    features, labels = [], []
    encoder.eval()
    for count, data in datasets.values():
        for i in rng.permutation(len(data))[:count]:
            mel, segments, _ = data[int(i)]
            frames = len(mel) // MEL_STEP
            if frames > look_ahead_steps:
                mel = torch.from_numpy(mel[: frames * MEL_STEP].astype(np.float32))
                features.append(encoder.features(mel[None])[0, look_ahead_steps:])
                labels.append(
                    torch.from_numpy(phone_labels(segments, frames)[: frames - look_ahead_steps])
                )
    return torch.cat(features), torch.cat(labels)


@torch.inference_mode()
def fit_out_proj(encoder: AcousticEncoder, installed: AcousticEncoder, sampler: Sampler) -> None:
    """Fits what `encoder` gives the transformer to what `installed` gives it, by least squares.

    Pretraining changes the convolutions alone; the transformer knows the old ones.
    """
    batches, batch_size, steps = 40, 4, PhonePretraining.steps
    encoder.eval()
    installed.eval()
    size = encoder.out_proj.in_features + 1
    squares, products = torch.zeros(size, size), torch.zeros(size, installed.out_proj.out_features)
    for _ in range(batches):
        mels = [_draw_sequence(sampler, steps, 0)[0] for _ in range(batch_size)]
        mel = torch.from_numpy(np.stack(mels))
        features = encoder.features(mel).flatten(0, 1)
        features = torch.cat([features, torch.ones(len(features), 1)], 1)
        squares += features.T @ features
        products += features.T @ installed(mel)[0].flatten(0, 1)
    ridge = 1e-4 * squares.diagonal().mean() * torch.eye(size)
    fitted = torch.linalg.solve(squares + ridge, products).T
    encoder.out_proj.weight.copy_(fitted[:, :-1])
    encoder.out_proj.bias.copy_(fitted[:, -1])
