# SPDX-License-Identifier: Apache-2.0
"""The training loop of the expression network and its pre-training, with a time budget: optimizers,
learning rate, moving average, checkpoint. (The renderer's: training/renderer/trainer.py.)"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from realtalk_ros.training.common import checkpoint, moving_average
from realtalk_ros.training.common.learning_rate import cosine, set_rate, warm_up
from realtalk_ros.training.common.prefetch import prefetch

T = TypeVar("T")
SAVE_INTERVAL = 60.0  # s between checkpoints
FINAL_RATE = 0.02  # of the peak learning rate, at the end of the cosine
MAX_GRADIENT_NORM = 1.0
EMA_DECAY = 0.999  # a step


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn."""

    minutes: float  # of wall time, over all resumptions
    learning_rate: float  # at its peak
    warm_up_steps: int  # in which the learning rate rises from 0
    weight_decay: float = 0.02


def optimizers(
    net: nn.Module, schedule: Schedule, muon_parameters: Iterable[nn.Parameter]
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices in `muon_parameters`, AdamW for all other parameters.

    Muon (K. Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024) learns more
    from each sequence. Its steps are scaled to AdamW's (Liu et al., "Muon is scalable for LLM
    training", 2025), so one learning rate does for both. It is slower than AdamW for paths that
    begin at zero, such as the cross-attention's.
    """
    matrices = list(muon_parameters)
    chosen = set(map(id, matrices))
    others = [p for p in net.parameters() if id(p) not in chosen]
    rate, decay = schedule.learning_rate, schedule.weight_decay
    found = [torch.optim.AdamW(others, rate, betas=(0.9, 0.98), weight_decay=decay)]
    if matrices:
        found.append(torch.optim.Muon(matrices, rate, decay, adjust_lr_fn="match_rms_adamw"))
    return found


class Trainer:
    """Trains `net` until the schedule's minutes have been spent, over all resumptions from `path`.

    The learning rate follows a warm-up, then a cosine over time, as the budget is time. `ema` is
    the exponential moving average of the weights, which is what a training results in. `extra` is
    kept in the checkpoint, too.
    """

    def __init__(
        self,
        net: nn.Module,
        path: Path,
        schedule: Schedule,
        *,
        muon_parameters: Iterable[nn.Parameter] = (),
        **extra: object,
    ):
        self.net, self.path, self.schedule, self.extra = net, path, schedule, extra
        self.optimizers = optimizers(net, schedule, muon_parameters)
        self.step, self._spent = 0, 0.0
        self.ema = {k: v.clone() for k, v in net.state_dict().items()}
        if path.is_file():
            saved = checkpoint.load(path)
            checkpoint.load_weights(net, saved["net"], path)
            self.ema, self.step, self._spent = saved["ema"], saved["step"], saved["spent"]
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            print(f"resumed at step {self.step}, {self._spent / 60:.1f} min spent", flush=True)
        self._began = self._saved = time.monotonic()
        net.train()

    @property
    def spent(self) -> float:
        """Seconds, in all runs."""
        return self._spent + time.monotonic() - self._began

    def _set_learning_rate(self) -> bool:
        """Sets the next step's learning rate. Returns False when the time is spent."""
        progress = self.spent / (60 * self.schedule.minutes)
        if progress >= 1:
            return False
        rate = self.schedule.learning_rate * warm_up(self.step, self.schedule.warm_up_steps)
        set_rate(rate * cosine(progress, FINAL_RATE), *self.optimizers)
        return True

    def batches(self, make: Callable[[], T]) -> Iterator[T]:
        """Prefetched results of `make` until the time is spent; then saves the checkpoint."""
        batches = prefetch(make)
        while self._set_learning_rate():
            yield next(batches)
        batches.close()
        self.save()

    def learn(self, loss: Tensor) -> None:
        """One optimizer step."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), MAX_GRADIENT_NORM)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        now = self.net.state_dict()
        moving_average.update([self.ema[name] for name in now], now.values(), self.step, EMA_DECAY)
        if time.monotonic() - self._saved > SAVE_INTERVAL:
            self._saved = time.monotonic()
            self.save()

    def save(self) -> None:
        """Writes the checkpoint."""
        checkpoint.save(
            {
                "net": self.net.state_dict(), "ema": self.ema, "spent": self.spent,
                "step": self.step, "optimizers": [o.state_dict() for o in self.optimizers],
                **self.extra,
            },
            self.path,
        )  # fmt: skip


class MetricLog:
    """Prints the mean of a training's metrics every few steps, and appends it to a file."""

    def __init__(self, name: str, trainer: Trainer, every: int, path: Path | None = None):
        self.name, self.trainer, self.every, self.path = name, trainer, every, path
        self._sums: Counter[str] = Counter()
        self._steps = 0  # in the sums; fewer than `every` where a training has been resumed

    def add(self, **metrics: Tensor) -> None:
        """Of one step; prints at every `every`th."""
        self._sums.update({name: float(value.detach()) for name, value in metrics.items()})
        self._steps += 1
        if self.trainer.step % self.every:
            return
        row = {
            self.name: self.trainer.step,
            "minutes": round(self.trainer.spent / 60, 2),
            **{name: round(total / self._steps, 4) for name, total in self._sums.items()},
        }
        self._sums.clear()
        self._steps = 0
        print(json.dumps(row), flush=True)
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
