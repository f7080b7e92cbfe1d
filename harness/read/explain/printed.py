"""Rows of a printed table: averages without examples, so their differences have no interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.benchmarks import Benchmark
from harness.read.explain.pairs import Pair, Subject
from harness.read.leaderboard import Row, rounded

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


def span(subjects: Sequence[Subject], key: str = "Average") -> tuple[float, float]:
    """The lowest and the highest of the printed averages."""
    values = [_values(subject.row)[key] for subject in subjects]
    return min(values), max(values)


def never_varied(subjects: Sequence[Subject]) -> list[str]:
    """The settings that are the same in all printed rows."""
    return [name for name in subjects[0].header.setting if len({subject.header.setting[name] for subject in subjects}) == 1]


def _values(row: Row | None) -> dict[str, float]:
    return {} if row is None else {cell.key: cell.value for cell in row.cells if cell.value is not None}
