"""What a plan says, as frozen values: amounts of work, tasks, runs, and the runs of a sweep together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from harness.core.costs import Counters
from harness.core.dtypes import DTYPES
from harness.core.spec import RunSpec
from harness.evaluate.encode.planned import Basis

State = Literal["done", "shared", "open", "no data"]
"""`done`: a valid record is there. `shared`: the scores of a run of another `max_len` are taken. `open`: texts are encoded and scored.
`no data`: the task would fail."""


@dataclass(frozen=True, kw_only=True)
class Amount:
    """Token id sequences, their real tokens, and the FLOP of running each once, padding among them, dummy rows not."""

    texts: int = 0
    tokens: int = 0
    flops: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(texts=self.texts + other.texts, tokens=self.tokens + other.tokens, flops=self.flops + other.flops)


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """A task of a run. `texts`, `tokens`: of its distinct texts, all of them, after cutting. `stored`: sequences that the store has, or
    will have from an earlier run of the sweep. `left`: what must run, each sequence in the first task that has it."""

    task: str
    type: str
    state: State
    basis: Basis
    texts: int = 0
    tokens: int = 0
    stored: int = 0
    left: Amount = field(default_factory=Amount)
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rate:
    """FLOP per second of encoding, and where that number comes from; None where nothing is known."""

    flops_per_second: float | None
    source: Literal["measured", "expected", "unknown"]
    about: str


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A run. `cost`: the counters that it will have, seconds apart. `alone_flops`: what it would cost without the other runs of the sweep.

    `parameters`: numbers in the model's weight files, None where they are not known. `vector_bytes`: to be written into the store.
    `data_bytes`: to be fetched, at 3 bytes a character. `obstacles`: why it can't run here as it is asked for; `notes`: what else a reader
    of the figures must know.
    """

    overrides: tuple[str, ...]
    spec: RunSpec
    tasks: tuple[TaskPlan, ...]
    cost: Counters
    alone_flops: int
    parameters: int | None
    rate: Rate
    vector_bytes: int
    data_bytes: int
    obstacles: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def left(self) -> Amount:
        """What must run, dummy rows apart."""
        return sum((task.left for task in self.tasks), Amount())

    @property
    def unknown(self) -> tuple[str, ...]:
        """Open tasks of unknown size: neither their data nor statistics of it are here. No total has them."""
        return tuple(task.task for task in self.tasks if task.state == "open" and task.basis == "unknown")

    @property
    def fill_flops(self) -> int:
        """FLOP of the dummy rows that fill the last batches."""
        return self.cost.flops - self.left.flops

    @property
    def seconds(self) -> float | None:
        """Seconds of the device; 0 where nothing must run, None where its rate, the model's FLOP or the size of a task is unknown."""
        if self.unknown:
            return None
        if not self.left.texts:
            return 0.0
        return self.cost.flops / self.rate.flops_per_second if self.rate.flops_per_second and self.cost.flops else None

    @property
    def weight_bytes(self) -> int | None:
        """Bytes of the weights in the run's dtype."""
        return None if self.parameters is None else self.parameters * DTYPES[self.spec.dtype].bytes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs in the order in which they are made."""

    runs: tuple[RunPlan, ...]

    @property
    def flops(self) -> int:
        """FLOP of all runs, each finding what those before it have stored."""
        return sum(run.cost.flops for run in self.runs)

    @property
    def alone_flops(self) -> int:
        """FLOP of all runs if each were made without the others."""
        return sum(run.alone_flops for run in self.runs)
