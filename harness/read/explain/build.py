"""Paths -> an explanation: which pairs differ in one setting, and what it did to every task, type and average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError, RequestError
from harness.core.examples import Examples, read_examples, same_examples
from harness.core.folds import refuse_foreign
from harness.core.records import Run
from harness.core.tasks import TASK_TYPES, TaskSpec
from harness.read.explain.definitions import Defined, definitions
from harness.read.explain.effects import Effect, average_effect, judge, task_effect
from harness.read.explain.moved import Move, most_moved
from harness.read.explain.pairs import Pair, Subject, pairs_of
from harness.read.explain.printed import PrintedEffect, printed_effect
from harness.read.leaderboard import load_rows, printed_rows


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs that differ in one setting at most. `averages`: of all tasks that were compared, then of their types.

    `moved`: per task. `left_out`: tasks that could not be compared, and why; `unsure`: tasks without an interval, and why.
    """

    pair: Pair
    tasks: tuple[Effect, ...]
    averages: tuple[Effect, ...]
    moved: Mapping[str, tuple[Move, ...]]
    left_out: Mapping[str, str]
    unsure: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """All that can be said. `unattributed`: pairs that differ in several settings; `families`: how many tasks and averages were tested."""

    benchmark: Benchmark
    subjects: tuple[Subject, ...]
    comparisons: tuple[Comparison, ...]
    printed: tuple[PrintedEffect, ...]
    unattributed: tuple[Pair, ...]
    definitions: tuple[Defined, ...]
    families: tuple[int, int]

    @property
    def printed_subjects(self) -> tuple[Subject, ...]:
        """The rows that are known only as printed."""
        return tuple(subject for subject in self.subjects if subject.row is not None)


def explain(paths: Iterable[Path], benchmark: Benchmark, *, examples: int) -> Explanation:
    """Compare the runs at or below the paths, pair by pair; `examples`: how many of those that moved most are listed per task.

    Raises:
        RequestError: a path without a run, or fewer than two runs or printed rows in all.
        InputError: nothing can be read, or printed rows are damaged.
    """
    subjects = _subjects(list(paths), benchmark)
    pairs = pairs_of(subjects)
    if not pairs:
        raise RequestError("explain compares runs: name two run folders or more, a folder that holds some, or a card that prints rows")
    reader = _Reader()
    attributed = [pair for pair in pairs if pair.attributed]
    runs = [(pair, pair.before.run, pair.after.run) for pair in attributed]
    compared = [_compare(pair, before, after, benchmark, reader, examples) for pair, before, after in runs if before and after]
    return Explanation(
        benchmark=benchmark,
        subjects=subjects,
        comparisons=_judged(compared),
        printed=tuple(printed_effect(pair, benchmark) for pair in attributed if pair.before.row is not None),
        unattributed=tuple(pair for pair in pairs if not pair.attributed),
        definitions=tuple(defined for subject in subjects for defined in definitions(subject, benchmark)),
        families=(_tested(effect for each in compared for effect in each.tasks), _tested(e for each in compared for e in each.averages)),
    )


def _subjects(paths: Sequence[Path], benchmark: Benchmark) -> tuple[Subject, ...]:
    runs = load_rows(paths, benchmark)
    rows = [row for run in runs for row in printed_rows(run.path, benchmark)]
    numbered = [Subject(number=number, header=run.header, run=run) for number, run in enumerate(runs, start=1)]
    return (*numbered, *(Subject(number=number, header=row.header, row=row) for number, row in enumerate(rows, start=len(runs) + 1)))


class _Reader:
    """Examples that were read once: a run stands in several pairs."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, str], Examples | InputError] = {}

    def examples(self, run: Run, task: TaskSpec) -> Examples:
        """The task's examples, if they are those that the record was made of; raises InputError as `read_examples` does."""
        key = (run.path, task.name)
        if key not in self._read:
            try:
                found = read_examples(run.path, task)
                refuse_foreign(task, found, run.records[task.name].main_score(task), where=run.path)
                self._read[key] = found
            except InputError as error:
                self._read[key] = error
        known = self._read[key]
        if isinstance(known, InputError):
            raise known
        return known


def _compare(pair: Pair, before: Run, after: Run, benchmark: Benchmark, reader: _Reader, count: int) -> Comparison:
    effects: list[Effect] = []
    moved: dict[str, tuple[Move, ...]] = {}
    left_out: dict[str, str] = {}
    unsure: dict[str, str] = {}
    for task in benchmark.tasks:
        records = [run.records.get(task.name) for run in (before, after)]
        if records[0] is None or records[1] is None:
            if records != [None, None]:
                left_out[task.name] = f"no record in [{(pair.before if records[0] is None else pair.after).number}]"
            continue
        try:
            examples = [reader.examples(run, task) for run in (before, after)]
        except InputError as error:
            unsure[task.name] = str(error)
            effects.append(_bare_effect(task, *(100 * record.main_score(task) for record in records if record is not None)))
            continue
        if not same_examples(*examples):
            left_out[task.name] = "the two runs had other examples"
            continue
        effects.append(task_effect(task, *examples))
        moved[task.name] = most_moved(task, *examples, count=count)
    return Comparison(pair=pair, tasks=tuple(effects), averages=tuple(_averages(effects)), moved=moved, left_out=left_out, unsure=unsure)


def _bare_effect(task: TaskSpec, before: float, after: float) -> Effect:
    return Effect(of=task.name, type=task.type, metric=task.main, units=0, before=before, after=after, error=None, freedom=1)


def _averages(effects: Sequence[Effect]) -> Iterable[Effect]:
    """The mean of all tasks that were compared, where they are of several types; then that of every type with two tasks or more."""
    if len({effect.type for effect in effects}) > 1:
        yield average_effect("Average", None, effects)
    for kind in TASK_TYPES:
        members = [effect for effect in effects if effect.type == kind]
        if len(members) > 1:
            yield average_effect(kind, kind, members)


def _tested(effects: Iterable[Effect]) -> int:
    return sum(bool(effect.error) for effect in effects)


def _judged(compared: Sequence[Comparison]) -> tuple[Comparison, ...]:
    tasks = iter(judge([effect for comparison in compared for effect in comparison.tasks]))
    averages = iter(judge([effect for comparison in compared for effect in comparison.averages]))
    return tuple(
        replace(comparison, tasks=tuple(next(tasks) for _ in comparison.tasks), averages=tuple(next(averages) for _ in comparison.averages))
        for comparison in compared
    )
