"""Paths -> an explanation: which pairs differ in one setting, and what it did to every task, type and average."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError, RequestError
from harness.core.examples import Examples, read_examples, same_examples
from harness.core.folds import refuse_foreign
from harness.core.records import Run
from harness.core.run_files import MANIFEST
from harness.core.tasks import TASK_TYPES, TaskSpec
from harness.read.explain.averages import Defined, PrintedEffect, definitions, printed_effect
from harness.read.explain.effects import Effect, average_effect, judge, task_effect
from harness.read.explain.moved import Move, most_moved
from harness.read.explain.pairs import Pair, Subject, pair_of_runs, pairs_of
from harness.read.leaderboard import printed_rows
from harness.read.runs import load_runs

KnownExamples = dict[tuple[Path, str], Examples | InputError]
"""Examples that were read, or why they can't be, by run and task."""


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
    """All that can be said. `unattributed`: pairs that differ in several settings; `families`: how many tasks and averages were tested.

    `unreadable`: runs that were named and are damaged, a message each.
    """

    benchmark: Benchmark
    subjects: tuple[Subject, ...]
    comparisons: tuple[Comparison, ...]
    printed: tuple[PrintedEffect, ...]
    unattributed: tuple[Pair, ...]
    definitions: tuple[Defined, ...]
    families: tuple[int, int]
    unreadable: tuple[str, ...]

    @property
    def printed_subjects(self) -> tuple[Subject, ...]:
        """The rows that are known only as printed."""
        return tuple(subject for subject in self.subjects if subject.row is not None)


def explain(paths: Iterable[Path], benchmark: Benchmark, *, examples: int) -> Explanation:
    """Compare the runs at or below the paths, pair by pair; `examples`: how many of those that moved most are listed per task.

    Raises:
        RequestError: a path without a run, or fewer than two runs or printed rows in all; or `examples` is negative.
        InputError: nothing can be read, or all but one; or printed rows are damaged.
    """
    if examples < 0:
        raise RequestError(f"{examples} examples to list: expected 0 (none) or more")
    runs = load_runs(paths, benchmark)
    unreadable = tuple(run.broken[MANIFEST] for run in runs if MANIFEST in run.broken)
    subjects = _subjects([run for run in runs if MANIFEST not in run.broken], benchmark)
    pairs = pairs_of(subjects)
    if not pairs and unreadable:
        raise InputError("\n".join(unreadable))
    if not pairs:
        raise RequestError("explain compares runs: name two run folders or more, a folder that holds some, or a card that prints rows")
    known: KnownExamples = {}
    attributed = [pair for pair in pairs if pair.attributed]
    both = [(pair, pair.before.run, pair.after.run) for pair in attributed]
    compared = [_compare(pair, (before, after), benchmark, known, examples) for pair, before, after in both if before and after]
    return Explanation(
        benchmark=benchmark,
        subjects=subjects,
        comparisons=_judged(compared),
        printed=tuple(printed_effect(pair, benchmark) for pair in attributed if pair.before.row is not None),
        unattributed=tuple(pair for pair in pairs if not pair.attributed),
        definitions=tuple(defined for subject in subjects for defined in definitions(subject, benchmark)),
        families=(
            sum(bool(effect.error) for each in compared for effect in each.tasks),
            sum(bool(effect.error) for each in compared for effect in each.averages),
        ),
        unreadable=unreadable,
    )


def compare_runs(before: Run, after: Run, benchmark: Benchmark) -> Comparison:
    """Two runs, task by task on the same examples, whatever settings they differ in; the verdicts are corrected as one family."""
    return _judged([_compare(pair_of_runs(before, after), (before, after), benchmark, {}, 0)])[0]


def shared_examples(before: Run, after: Run, task: TaskSpec, known: KnownExamples) -> tuple[Examples, Examples] | None:
    """The task's examples in both runs; None where a run keeps none that its record was made of, or the two had others."""
    one, other = (_examples(run, task, known) for run in (before, after))
    if isinstance(one, InputError) or isinstance(other, InputError) or not same_examples(one, other):
        return None
    return one, other


def _subjects(runs: Sequence[Run], benchmark: Benchmark) -> tuple[Subject, ...]:
    rows = [row for run in runs for row in printed_rows(run.path, benchmark)]
    numbered = [Subject(number=number, header=run.header, run=run) for number, run in enumerate(runs, start=1)]
    return (*numbered, *(Subject(number=number, header=row.header, row=row) for number, row in enumerate(rows, start=len(runs) + 1)))


def _examples(run: Run, task: TaskSpec, known: KnownExamples) -> Examples | InputError:
    """The task's examples if the record was made of them, else why not; read once, since a run stands in several pairs."""
    key = (run.path, task.name)
    if key not in known:
        try:
            known[key] = found = read_examples(run.path, task)
            refuse_foreign(task, found, run.records[task.name].main_score(task), where=run.path)
        except InputError as error:
            known[key] = error
    return known[key]


def _compare(pair: Pair, runs: tuple[Run, Run], benchmark: Benchmark, known: KnownExamples, count: int) -> Comparison:
    effects: list[Effect] = []
    moved: dict[str, tuple[Move, ...]] = {}
    left_out: dict[str, str] = {}
    unsure: dict[str, str] = {}
    for task in benchmark.tasks:
        scores = [100 * run.records[task.name].main_score(task) for run in runs if task.name in run.records]
        if len(scores) < 2:
            if scores:
                left_out[task.name] = f"no record in [{(pair.after if task.name in runs[0].records else pair.before).number}]"
            continue
        before, after = (_examples(run, task, known) for run in runs)
        if isinstance(before, InputError) or isinstance(after, InputError):
            unsure[task.name] = str(before if isinstance(before, InputError) else after)
            bare = Effect(of=task.name, type=task.type, metric=task.main, units=0, before=scores[0], after=scores[1], error=None, freedom=1)
            effects.append(bare)
        elif not same_examples(before, after):
            left_out[task.name] = "the two runs had other examples"
        else:
            effects.append(task_effect(task, before, after))
            moved[task.name] = most_moved(task, before, after, count=count)
    return Comparison(pair=pair, tasks=tuple(effects), averages=tuple(_averages(effects)), moved=moved, left_out=left_out, unsure=unsure)


def _averages(effects: Sequence[Effect]) -> Iterable[Effect]:
    """The mean of all tasks that were compared, where they are of several types; then that of every type with two tasks or more."""
    if len({effect.type for effect in effects}) > 1:
        yield average_effect("Average", None, effects)
    for kind in TASK_TYPES:
        members = [effect for effect in effects if effect.type == kind]
        if len(members) > 1:
            yield average_effect(kind, kind, members)


def _judged(compared: Sequence[Comparison]) -> tuple[Comparison, ...]:
    tasks = iter(judge([effect for comparison in compared for effect in comparison.tasks]))
    averages = iter(judge([effect for comparison in compared for effect in comparison.averages]))
    return tuple(
        replace(comparison, tasks=tuple(next(tasks) for _ in comparison.tasks), averages=tuple(next(averages) for _ in comparison.averages))
        for comparison in compared
    )
