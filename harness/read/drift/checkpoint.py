"""The gate for checkpoints: new weights are meant to give other scores, so what counts is whether a task became worse.

The gate for code is `check`: there the weights are the same, and any difference beyond rounding is a fault.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.benchmarks import Benchmark
from harness.core.errors import RequestError
from harness.core.records import Run
from harness.read.differences import SettingDifference, differences
from harness.read.drift.sides import read_sides, wanted_tasks
from harness.read.explain.build import compare_runs
from harness.read.explain.effects import Effect

LossVerdict = Literal["worse", "not worse", "better", "no interval"]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A task of both runs, in points. `verdict`: `better` only where that is more than chance; `no interval`: significance was asked for,
    and the examples that could show it are missing."""

    effect: Effect
    verdict: LossVerdict


@dataclass(frozen=True, kw_only=True)
class LossReport:
    """A checkpoint beside a baseline.

    `limit`: points that a task may lose; `significant`: whether a loss must be more than chance (both: a loss counts that is both).
    `missing`: tasks that only the baseline has. `left_out`: tasks that were made on other examples, and why. `unlike`: settings of the
    protocol that make the runs different questions; nothing is compared then.
    """

    baseline: Run
    candidate: Run
    limit: float | None
    significant: bool
    tasks: tuple[Loss, ...]
    average: Effect | None
    missing: tuple[str, ...]
    left_out: Mapping[str, str]
    unlike: tuple[SettingDifference, ...]

    @property
    def worse(self) -> tuple[Loss, ...]:
        """The tasks that close the gate."""
        return tuple(loss for loss in self.tasks if loss.verdict == "worse")

    @property
    def exit_code(self) -> int:
        """3 where a task is worse or missing, 2 where something could not be compared, else 0."""
        if self.worse or self.missing:
            return 3
        unknown = self.unlike or self.left_out or any(loss.verdict == "no interval" for loss in self.tasks)
        return 2 if unknown else 0


def judge_checkpoint(
    baseline: Path,
    candidate: Path,
    benchmark: Benchmark,
    *,
    limit: float | None,
    significant: bool,
    tasks: Sequence[str] = (),
    merge: str | None = None,
) -> LossReport:
    """The report on two run folders: all tasks of the baseline, or those of `tasks` (names or types).

    Raises:
        RequestError: a path holds no run or several, both are one folder, the limit is no size, or `tasks` names what the baseline lacks.
        InputError: a record is damaged.
    """
    if limit is not None and not 0 <= limit < math.inf:
        raise RequestError(f"--worse-than {limit}: give the points that a task may lose, 0 or more")
    before, after = read_sides(baseline, candidate, benchmark, merge=merge)
    wanted = wanted_tasks(before, after, benchmark, tasks)
    unlike = tuple(each for each in differences(before, after) if each.kind == "protocol")
    names = [task.name for task in wanted]
    sides = [Run(run.path, run.manifest, {name: run.records[name] for name in names if name in run.records}) for run in (before, after)]
    compared = None if unlike else compare_runs(sides[0], sides[1], benchmark)
    missing = tuple(name for name in names if name not in after.records)
    return LossReport(
        baseline=before,
        candidate=after,
        limit=limit,
        significant=significant,
        tasks=tuple(Loss(effect=effect, verdict=_verdict(effect, limit, significant)) for effect in compared.tasks) if compared else (),
        average=next((effect for effect in compared.averages if effect.of == "Average"), None) if compared else None,
        missing=missing,
        left_out={name: why for name, why in compared.left_out.items() if name not in missing} if compared else {},
        unlike=unlike,
    )


def _verdict(effect: Effect, limit: float | None, significant: bool) -> LossVerdict:
    found = effect.verdict == "effect"
    if significant and effect.verdict == "no interval" and effect.difference < -(limit or 0.0):
        return "no interval"
    if effect.difference < -(limit or 0.0) and (found or not significant):
        return "worse"
    return "better" if found and effect.difference > 0 else "not worse"
