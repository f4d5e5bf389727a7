"""First lessons: the network's convolutions learn to tell phones, before anything learns to move.

A phone is told much faster alone than with the face: four times the speech in the same time. What
comes out begins `realtalk train expression`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.training.expression import mel_augment
from realtalk_ros.training.expression import model as nets
from realtalk_ros.training.expression.coarticulation import SAME_LIPS
from realtalk_ros.training.expression.trainer import Course, Log
from realtalk_ros.training.speech_data import phones as ph

if TYPE_CHECKING:
    from realtalk_ros.training.expression.train import Sampler
    from realtalk_ros.training.speech_data.dataset import SpeechSet

BATCH, STEPS = 24, 192  # sequences, and their steps of 20 ms
LIPS_SHARE = 1.0  # of what is lost where lips would move otherwise, beside all that is misheard
_LIPS = np.unique(SAME_LIPS, return_inverse=True)[1]  # (phones,) a number for each kind


def misheard(logits: Tensor, phones: Tensor) -> Tensor:
    """The loss of naming phones (n,) by logits (n, phones): to take an m for an n counts more than
    to take it for a b, which the lips do not tell."""
    lips = torch.from_numpy(_LIPS)
    shown = logits.softmax(-1) @ F.one_hot(lips).to(logits.dtype)  # (n, kinds of lips)
    named = F.cross_entropy(logits, phones, label_smoothing=0.05)
    return named + LIPS_SHARE * F.nll_loss((shown + 1e-6).log(), lips[phones])


def heard_phones(segments: list, frames: int) -> np.ndarray:
    """(frames,) index of the phone at the middle of each 20 ms."""
    starts = np.array([start for _, start, _ in segments])
    phones = np.array([ph.PHONE_INDEX[phone] for phone, _, _ in segments])
    at = (np.arange(frames) + 0.5) / EXPRESSION_RATE
    return phones[np.clip(np.searchsorted(starts, at, "right") - 1, 0, len(phones) - 1)]


def _sequence(sampler: Sampler, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """Mel (2 * STEPS, 80) and phones (STEPS - delay,): utterances, one after another."""
    rng = sampler.rng
    name = sampler.kind()
    mels, phones, have = [], [], 0
    while have < STEPS:
        mel, segments = mel_augment.stretch(*sampler.utterance(name), rng)
        frames = len(mel) // MEL_STEP
        skip = int(rng.integers(0, max(1, frames - 60))) if not mels else 0
        mels.append(mel[skip * MEL_STEP : frames * MEL_STEP])
        phones.append(heard_phones(segments, frames)[skip:])
        have += frames - skip
    mel = mel_augment.colour(np.concatenate(mels)[: STEPS * MEL_STEP], sampler.noise(), rng)
    return mel_augment.mask(mel, rng), np.concatenate(phones)[: STEPS - delay]


def train_hearing(
    sampler: Sampler,
    dims: nets.Dims,
    path: Path,
    minutes: float,
    rate: float = 1.5e-3,
    start: nets.Trunk | None = None,
) -> nets.Trunk:
    """Trains a trunk for `minutes`, over all resumptions, and keeps it in `path`.

    start: one to go on with. Returns the running mean of its weights.
    """
    net = nets.Trunk(dims)
    if start is not None:
        net.load_state_dict(start.state_dict())
    course = Course(net, path, minutes, rate, weight_decay=0.05, warm_up=300)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        mels, phones = zip(*(_sequence(sampler, dims.delay) for _ in range(BATCH)), strict=True)
        return torch.from_numpy(np.stack(mels)), torch.from_numpy(np.stack(phones))

    log = Log("hearing", course, every=200)
    for mel, phones in course.batches(batch):
        with torch.autocast("cpu", torch.bfloat16):
            _, logits = net(mel)
        logits = logits[:, dims.delay :].float().flatten(0, 1)
        loss = misheard(logits, phones.flatten())
        course.learn(loss)
        log.add(loss=loss, frames=(logits.argmax(-1) == phones.flatten()).float().mean())
    net.load_state_dict(course.average)
    return net


def name_phones(
    trunk: nets.Trunk, delay: int, sets: dict[str, tuple[int, SpeechSet]], seed: int = 0
) -> Tensor:
    """Fits the head that names phones, which is in no installed file, to what `trunk` hears.

    delay: steps from hearing to telling; sets: name -> (how many of its utterances teach it, data).
    Returns (phones,) their shares.
    """
    steps, batch, rate = 3000, 4096, 3e-3
    rng = np.random.default_rng(seed)
    heard, names = [], []
    trunk.eval()
    for count, data in sets.values():
        for i in rng.permutation(len(data))[:count]:
            mel, segments, _ = data[int(i)]
            frames = len(mel) // MEL_STEP
            if frames > delay:
                with torch.no_grad():
                    mel = torch.from_numpy(mel[: frames * MEL_STEP].astype(np.float32))
                    heard.append(trunk.features(mel[None])[0, delay:])
                names.append(torch.from_numpy(heard_phones(segments, frames)[: frames - delay]))
    x, label = torch.cat(heard), torch.cat(names)
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(trunk.phones.parameters(), rate)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        rows = torch.randint(len(x), (batch,))
        loss = F.cross_entropy(trunk.phones(x[rows]), label[rows], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.bincount(label, minlength=len(ph.PHONES)) / len(label)


@torch.inference_mode()
def fit_outward(trunk: nets.Trunk, known: nets.Trunk, sampler: Sampler, batches: int = 40) -> None:
    """Fits what `trunk` tells the transformer, by least squares, to what it is used to hear from
    `known`: first lessons teach the convolutions alone."""
    trunk.eval()
    known.eval()
    size = trunk.outward.in_features + 1
    squares, products = torch.zeros(size, size), torch.zeros(size, known.outward.out_features)
    for _ in range(batches):
        mel = torch.from_numpy(np.stack([_sequence(sampler, 0)[0] for _ in range(4)]))
        heard = trunk.features(mel).flatten(0, 1)
        heard = torch.cat([heard, torch.ones(len(heard), 1)], 1)
        squares += heard.T @ heard
        products += heard.T @ known(mel)[0].flatten(0, 1)
    ridge = 1e-4 * squares.diagonal().mean() * torch.eye(size)
    fitted = torch.linalg.solve(squares + ridge, products).T
    trunk.outward.weight.copy_(fitted[:, :-1])
    trunk.outward.bias.copy_(fitted[:, -1])
