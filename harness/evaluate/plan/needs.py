"""What to ask a cluster for, so that a run can end: derived from its plan."""

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from harness.core.errors import HarnessError, RequestError
from harness.evaluate.agenda import LARGEST_WINDOW
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.plan.values import Plan, RunPlan

_LIBRARIES_GB = 8.0  # the process, four scoring processes of 0.6 GB, and the data of the largest task
_COPIES = 2.5  # of a window's raw vectors: gathered, handed to scoring, normalised
_MARGIN = 1.5  # the expected rate is not a promise
_AROUND_MINUTES = 45  # loading, the canary, scoring after the last text
_CORES = 8  # a core tokenises 0.6 million tokens a second, as many as an H100 encodes; the others score


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one job is to ask for. `constraint`: the feature of a node with such a GPU; None where any node does."""

    constraint: str | None
    gpus: int | None
    cores: int
    memory_gb: int
    seconds: float | None

    @property
    def minutes(self) -> int:
        """Minutes of one job.

        Raises:
            RequestError: the plan has no time, as no rate of the device or no size of a task is known.
        """
        if self.seconds is None:
            raise RequestError(
                "no time is known for these runs, and a job must say how long it takes: give hydra.launcher.timeout_min=MINUTES "
                "(`python -m harness plan` says what is not known)"
            )
        return math.ceil(self.seconds * _MARGIN / 60) + _AROUND_MINUTES


def needs_of(plan: Plan, *, shards: int = 1) -> Needs:
    """What every job of the plan's runs can do with; each run is encoded in so many jobs.

    Raises:
        RequestError: the runs are for several kinds of device, and the jobs of a sweep ask for the same.
    """
    names = {run.spec.gpu.name for run in plan.runs}
    if len(names) > 1:
        raise RequestError(f"gpu={','.join(sorted(names))}: the jobs of a sweep ask for one kind of node: make a sweep for each gpu=")
    (name,) = names
    is_gpu = name != "cpu"
    devices = max(max(1, len(run.spec.devices)) for run in plan.runs)
    seconds = [run.seconds for run in plan.runs]
    return Needs(
        constraint=name if is_gpu and name != "auto" else None,
        gpus=devices if is_gpu else None,
        cores=_CORES * devices,
        memory_gb=math.ceil(max(_memory_gb(run) for run in plan.runs)),
        seconds=None if None in seconds else max(value for value in seconds if value is not None) / (shards * devices),
    )


class Resolver:
    """What `${needs:NAME}` of a configuration stands for, planned when the first one is read. `error`: why there is no plan."""

    def __init__(self, overrides: Sequence[str], shards: int) -> None:
        self._overrides = overrides
        self._shards = shards
        self.error: HarnessError | None = None

    def __call__(self, name: str) -> Any:
        """The value of that name."""
        try:
            return getattr(self._needs, name)
        except HarnessError as error:
            self.error = error
            raise

    @functools.cached_property
    def _needs(self) -> Needs:
        return needs_of(make_plan(self._overrides), shards=self._shards)


@contextmanager
def needs_resolver(overrides: Sequence[str], *, shards: int) -> Iterator[Resolver]:
    """Within the block configurations may say `${needs:NAME}`, of the runs that the overrides ask for."""
    resolver = Resolver(overrides, shards)
    OmegaConf.register_new_resolver("needs", resolver, replace=True)
    try:
        yield resolver
    finally:
        OmegaConf.clear_resolver("needs")


def _memory_gb(run: RunPlan) -> float:
    fp32_copy = 4 * (run.parameters or 0)  # the canary's
    return _LIBRARIES_GB + (_COPIES * min(run.vector_bytes, LARGEST_WINDOW) + (run.weight_bytes or 0) + fp32_copy) / 1e9
