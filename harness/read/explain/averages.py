"""Averages without examples, so without intervals: the same scores under other conventions, and the rows of a printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core.benchmarks import Benchmark, Convention
from harness.core.formatting import amount
from harness.core.records import Run
from harness.read.explain.pairs import Pair, Subject
from harness.read.leaderboard import Row, leaderboard_row, rounded

PLAIN = "cmteb"
"""The convention that the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Defined:
    """A run's averages under a convention, by `Average` or type, unrounded unless the convention rounds; over `tasks` tasks.

    `parts`: what moves the average from `PLAIN` to a convention that leaves tasks out, step by step, since the steps may cancel.
    """

    subject: Subject
    convention: str
    about: str
    tasks: int
    values: dict[str, float]
    parts: dict[str, float]

    def moved(self, plain: Defined) -> dict[str, float]:
        """By how many points the averages differ from those under another convention."""
        return {key: value - plain.values[key] for key, value in self.values.items() if key in plain.values}


def definitions(subject: Subject, benchmark: Benchmark) -> tuple[Defined, ...]:
    """The run under every convention, over the tasks that it has; none for a row that is known only as printed."""
    run = subject.run
    if run is None or not run.records:
        return ()
    mine = replace(benchmark, tasks=tuple(task for task in benchmark.tasks if task.name in run.records))
    found = []
    for name, convention in benchmark.conventions.items():
        if any(task.name not in convention.without for task in mine.tasks):
            row = leaderboard_row(run, name, mine)
            values = {cell.key: cell.value for cell in row.cells if cell.value is not None}
            parts = _parts(run, mine, convention, values)
            found.append(
                Defined(subject=subject, convention=name, about=convention.about, tasks=len(row.tasks), values=values, parts=parts)
            )
    return tuple(found)


def _parts(run: Run, benchmark: Benchmark, convention: Convention, values: Mapping[str, float]) -> dict[str, float]:
    kept = replace(benchmark, tasks=tuple(task for task in benchmark.tasks if task.name not in convention.without))
    left_out = len(benchmark.tasks) - len(kept.tasks)
    averages = [leaderboard_row(run, "unrounded", each).cells[0].value for each in (benchmark, kept)]
    if not left_out or averages[0] is None or averages[1] is None or "Average" not in values:
        return {}
    return {f"{amount(left_out, 'task')} left out": averages[1] - averages[0], "other metrics": values["Average"] - averages[1]}


ROUNDING = 0.01
"""Two printed numbers differ by as much where nothing but their second decimal was rounded another way."""


@dataclass(frozen=True, kw_only=True)
class PrintedEffect:
    """Two printed rows that differ in one setting. `differences`: by `Average` or type, after minus before, two decimals.

    `shares`: by how many points each type moves the average.
    """

    pair: Pair
    differences: dict[str, float]
    shares: dict[str, float]

    @property
    def elsewhere(self) -> str:
        """The settings at which the one that differs was varied: the same on both sides."""
        varied = {factor.name for factor in self.pair.factors}
        return ", ".join(f"{name} {value}" for name, value in self.pair.before.header.setting.items() if name not in varied)


def printed_effect(pair: Pair, benchmark: Benchmark) -> PrintedEffect:
    """What two printed rows differ in."""
    before, after = _values(pair.before.row), _values(pair.after.row)
    differences = {key: rounded(after[key] - before[key]) for key in before if key in after}
    total = len(benchmark.tasks)
    counts = {key: sum(task.type == key for task in benchmark.tasks) for key in differences if key != "Average"}
    return PrintedEffect(
        pair=pair, differences=differences, shares={key: differences[key] * count / total for key, count in counts.items()}
    )


def span(subjects: Sequence[Subject]) -> tuple[float, float]:
    """The lowest and the highest of the printed averages."""
    values = [_values(subject.row)["Average"] for subject in subjects]
    return min(values), max(values)


def never_varied(subjects: Sequence[Subject]) -> list[str]:
    """The settings that are the same in all printed rows."""
    return [name for name in subjects[0].header.setting if len({subject.header.setting[name] for subject in subjects}) == 1]


def _values(row: Row | None) -> dict[str, float]:
    return {} if row is None else {cell.key: cell.value for cell in row.cells if cell.value is not None}
