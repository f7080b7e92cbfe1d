"""The two sides of a gate: a baseline and a candidate, and which tasks of them are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError, RequestError
from harness.core.records import Run
from harness.core.tasks import TaskSpec
from harness.read.runs import one_run


def read_sides(baseline: Path, candidate: Path, benchmark: Benchmark, *, merge: str | None = None) -> tuple[Run, Run]:
    """The runs of two folders; raises as `one_run` does, and RequestError where both are the same folder."""
    if baseline.resolve() == candidate.resolve():
        raise RequestError(f"baseline and candidate are the same folder ({baseline}): name the run that is to be checked")
    return one_run(baseline, benchmark, merge=merge), one_run(candidate, benchmark, merge=merge)


def wanted_tasks(baseline: Run, candidate: Run, benchmark: Benchmark, tasks: Sequence[str]) -> tuple[TaskSpec, ...]:
    """All tasks of the baseline, or those of `tasks` (names or types).

    Raises:
        RequestError: `tasks` names what the baseline does not have.
        InputError: the baseline has no record, or a record of one side is damaged.
    """
    there = {**baseline.records, **baseline.broken}
    wanted = tuple(task for task in benchmark.select(tasks) if tasks or task.name in there)
    if absent := [task.name for task in wanted if task.name not in there]:
        raise RequestError(f"{baseline.path} has no score for {', '.join(absent)}: name tasks that it has with --tasks")
    if not wanted:
        raise InputError(f"{baseline.path} has no record, so no candidate can be compared with it: name a finished run")
    if damaged := [run.broken[task.name] for run in (baseline, candidate) for task in wanted if task.name in run.broken]:
        raise InputError("\n".join(damaged))
    return wanted
