# SPDX-License-Identifier: Apache-2.0
"""Runs the expression network: another one is loaded beside it and takes over between two segments,
and one on the CPU takes over after it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from realtalk_ros import memory, onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.errors import NetworkError, RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel, Prior
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.nodes.background_loader import BackgroundLoader
from realtalk_ros.nodes.problems import Problems
from realtalk_ros.stream_types import Chunk, ScheduledChunk, TimedExpression

# s before its time, an expression is sent at the latest, even if more sound could change it: more
# than rendering it takes, and than makes the renderer believe that speech is live (playout_delay).
HELD_UNTIL = 0.3


@dataclass(frozen=True)
class ModelSettings:
    """What a network is loaded with: values of parameters."""

    avatar: str
    device: str
    model_dir: str
    threads: int
    look_ahead: float  # s


@dataclass(frozen=True)
class LoadedModel:
    """A network, with the prior of its person."""

    model: ExpressionModel
    prior: Prior
    settings: ModelSettings


class ExpressionEngine:
    """Chunks in, expressions out. What fails is reported as a problem, and ends nothing."""

    def __init__(self, wanted: Callable[[], ModelSettings], problems: Problems) -> None:
        """`wanted` gives the settings of now."""
        self.pipeline: ExpressionPipeline | None = None  # None: not set up
        self.settings: ModelSettings | None = None  # of the network that runs
        self.checksums: dict[str, str] = {}  # of its files
        self.fallbacks = 0  # times that a network failed
        self._wanted, self._problems = wanted, problems
        self._background: BackgroundLoader[ModelSettings, LoadedModel] = BackgroundLoader(
            self._load, problems
        )

    @property
    def loading(self) -> str:
        """What is being loaded in the thread, for the diagnostics; else empty."""
        return self._background.loading

    def setup(self, fps: float) -> ExpressionPipeline:
        """Loads the first network. Raises RealTalkError."""
        self.pipeline = None
        loaded = self._load(self._wanted())
        self.pipeline = ExpressionPipeline(loaded.model, loaded.prior, fps, prepare=True)
        self._use(loaded)
        return self.pipeline

    def request(self, name: str) -> None:
        """Loads the wanted settings if they are others than those that run, or than those that
        will. `name`: what changes, for the diagnostics."""
        wanted = self._wanted()
        if self.settings is not None and (self._background.pending or self.settings != wanted):
            self._background.request(wanted, name)

    def take(self) -> None:
        """Uses what was loaded, from the next segment on; the running one ends as it began."""
        if (loaded := self._background.take()) is not None:
            self._use(loaded)

    def take_failure(self) -> bool:
        """Whether what was wanted last did not load, once."""
        return self._background.take_failure()

    def cancel(self) -> None:
        """Drops what is loading. Waits until that has ended."""
        self._background.cancel()

    def clear(self) -> None:
        """Releases the network."""
        self.cancel()
        self.pipeline = self.settings = None

    def process(
        self, chunk: Chunk, now: float
    ) -> tuple[ScheduledChunk | None, list[TimedExpression]]:
        """The chunk as it is played, with its final stamp, or None if nothing is left of it; and
        the expressions that are known with it. (None, []) if it failed."""
        assert self.pipeline is not None
        due = now + HELD_UNTIL
        ended: list[TimedExpression] = []
        scheduled: ScheduledChunk | None = None
        try:
            try:
                ended, scheduled = self.pipeline.schedule(chunk, now)
                return scheduled, ended + self.pipeline.feed(scheduled, due)
            except NetworkError as error:
                self._fall_back(error)
                # (The pipeline was reset: this ends nothing more.)
                _, scheduled = self.pipeline.schedule(scheduled or chunk, now)
                return scheduled, ended + self.pipeline.feed(scheduled, due)
        except RealTalkError as error:
            self._problems.add(str(error))
        except Exception as error:
            self._problems.exception(error)
            self.pipeline.reset()
        return None, []

    def take_due(self, now: float) -> list[TimedExpression]:
        """Expressions that were held back, and have to be sent now."""
        assert self.pipeline is not None
        return self.pipeline.take_due(now + HELD_UNTIL)

    def flush(self) -> list[TimedExpression]:
        """The rest of an utterance whose audio has ended."""
        assert self.pipeline is not None
        try:
            return self.pipeline.flush()
        except NetworkError as error:
            self._fall_back(error)
        except Exception as error:
            self._problems.exception(error)
            self.pipeline.reset()
        return []

    def reset(self) -> None:
        """Drops the running utterance."""
        if self.pipeline is not None:
            self.pipeline.reset()

    def shift(self, seconds: float) -> None:
        """The clock jumped: the running utterance keeps its place relative to now."""
        if self.pipeline is not None:
            self.pipeline.shift(seconds)

    def _load(self, settings: ModelSettings, eight_bits: bool = True) -> LoadedModel:
        model = ExpressionModel(
            Path(settings.model_dir) if settings.model_dir else None,
            onnx_session.providers_for(settings.device),
            settings.threads,
            settings.look_ahead,
            eight_bits=eight_bits,
        )
        person = Avatar.load(settings.avatar)
        prior = model.prior(person.identity, person.reference_expressions)
        memory.give_back()
        return LoadedModel(model, prior, settings)

    def _use(self, loaded: LoadedModel) -> None:
        assert self.pipeline is not None
        self.settings = loaded.settings
        self.pipeline.model, self.pipeline.prior = loaded.model, loaded.prior
        self.checksums = onnx_session.fingerprints(loaded.settings.model_dir, "expression")

    def _fall_back(self, error: NetworkError) -> None:
        """The network failed while it ran: continues with a new one on the CPU. Raises
        RealTalkError if that does not load."""
        assert self.pipeline is not None and self.settings is not None
        self.fallbacks += 1
        self._problems.add(
            f"the network failed on {self.settings.device}, continuing on the CPU: {error}"
        )
        self.pipeline.reset()
        onnx_session.forget_sessions()  # it is broken: a new one is opened
        self._use(self._load(replace(self.settings, device="cpu"), eight_bits=False))
