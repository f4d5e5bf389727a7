"""A training that lasts so many minutes: its optimisers, learning rate, checkpoint (torch)."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from realtalk_ros.training.common.checkpoint import load_weights
from realtalk_ros.training.common.prefetch import made_ahead
from realtalk_ros.training.expression.model import Convolution

T = TypeVar("T")
_SAVED_EVERY = 60.0  # s


def optimizers(net: nn.Module, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the convolutions, AdamW for all else.

    Muon (K. Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024) hears more of
    each sequence; its steps are as large as AdamW's (Liu et al., "Muon is scalable for LLM
    training", 2025), so that one learning rate does for both. Paths that begin at zero, as the
    prior's, it opens more slowly than AdamW.
    """
    hears = [m for m in net.modules() if isinstance(m, Convolution)]
    matrices = [weight for m in hears for weight in (m.taps.weight, m.out.weight)]
    found = set(map(id, matrices))
    rest = [p for p in net.parameters() if id(p) not in found]
    made = [torch.optim.AdamW(rest, rate, betas=(0.9, 0.98), weight_decay=weight_decay)]
    if matrices:
        made.append(torch.optim.Muon(matrices, rate, weight_decay, adjust_lr_fn="match_rms_adamw"))
    return made


class Course:
    """Trains `net` until `minutes` have been spent, over all resumptions from the file `path`.

    The learning rate rises to `rate` in `warm_up` steps and falls by a cosine in time, as the
    budget is time. `average` is the running mean of the weights: used in the end, it is calmer.
    `kept` goes into the checkpoint, too.
    """

    def __init__(
        self, net: nn.Module, path: Path, minutes: float, rate: float, weight_decay: float = 0.02,
        warm_up: int = 200, **kept: object,
    ):  # fmt: skip
        self.net, self.path, self.kept = net, path, kept
        self.minutes, self.rate, self.warm_up = minutes, rate, warm_up
        self.optimizers = optimizers(net, rate, weight_decay)
        self.step, self._spent = 0, 0.0
        self.average = {k: v.clone() for k, v in net.state_dict().items()}
        if path.is_file():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            load_weights(net, saved["net"], path)
            self.average, self.step, self._spent = saved["average"], saved["step"], saved["spent"]
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            print(f"resumed at step {self.step}, {self._spent / 60:.1f} min spent", flush=True)
        self._began = self._saved = time.monotonic()
        net.train()

    @property
    def spent(self) -> float:
        """Seconds, in all runs."""
        return self._spent + time.monotonic() - self._began

    def _goes_on(self) -> bool:
        """Whether there is time for another step, for which it sets the learning rate."""
        progress = self.spent / (60 * self.minutes)
        if progress >= 1:
            return False
        cosine = 0.5 * (1 + math.cos(math.pi * progress))  # a plain float: it is saved
        rate = self.rate * min(1, (self.step + 1) / self.warm_up) * (0.02 + 0.98 * cosine)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        return True

    def batches(self, make: Callable[[], T]) -> Iterator[T]:
        """What `make` gives, each made ahead, to learn from until the time is over; then saves."""
        coming = made_ahead(make)
        while self._goes_on():
            yield next(coming)
        coming.close()
        self.save()

    def learn(self, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        if time.monotonic() - self._saved > _SAVED_EVERY:
            self._saved = time.monotonic()
            self.save()

    def save(self) -> None:
        partial = self.path.with_suffix(".part")
        torch.save(
            {
                "net": self.net.state_dict(), "average": self.average, "spent": self.spent,
                "step": self.step, "optimizers": [o.state_dict() for o in self.optimizers],
                **self.kept,
            },
            partial,
        )  # fmt: skip
        partial.replace(self.path)


class Log:
    """Prints the mean of what a course measures, and keeps it in a file if there is one."""

    def __init__(self, name: str, course: Course, every: int, path: Path | None = None):
        self.name, self.course, self.every, self.path = name, course, every, path
        self._sums: Counter[str] = Counter()

    def add(self, **measured: Tensor) -> None:
        self._sums.update({name: float(value.detach()) for name, value in measured.items()})
        if self.course.step % self.every:
            return
        row = {
            self.name: self.course.step,
            "minutes": round(self.course.spent / 60, 2),
            **{name: round(total / self.every, 4) for name, total in self._sums.items()},
        }
        self._sums.clear()
        print(json.dumps(row), flush=True)
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
