"""What a run came to: its tasks beside what is known of them, what it has cost, and what to do next."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.core.benchmarks import Benchmark, load_benchmark
from harness.core.costs import Counters
from harness.core.formatting import few, grouped, shell_command
from harness.core.run_files import read_run
from harness.evaluate.prepared import Outcome
from harness.read.earlier_scores import Known, known_scores, published_run
from harness.read.leaderboard import Row, leaderboard_row, printed
from harness.show.form import Block, Column, Document, Grid, Heading, Sentences, grid, number_columns, table_columns
from harness.show.leaderboard import beside_published, board, task_values

_LEGEND = "Data: ok verified, ? not verified, no not C-MTEB's; * not the pinned revision. n/c: not comparable, the data differs"
_RATES = ("texts_per_second", "tokens_per_second", "padding")


@dataclass(frozen=True, kw_only=True)
class _Shown:
    outcome: Outcome
    benchmark: Benchmark
    row: Row
    whole: Document | None
    known: tuple[Known, ...]
    tasks: tuple[str, ...]


def outcome_document(benchmark: str, outcome: Outcome, *, baselines: Path) -> Document:
    """The tasks that were asked for, beside the published scores, those of a baseline below `baselines` and those of an earlier run.

    A complete run has its row of the leaderboard above them, beside the published row of its setting.
    """
    table = load_benchmark(benchmark)
    run = read_run(outcome.folder, table)
    asked = {*outcome.computed, *outcome.reused, *outcome.failed}
    tasks = tuple(task.name for task in table.tasks if task.name in asked)
    row = leaderboard_row(run, None, table)
    shown = _Shown(
        outcome=outcome,
        benchmark=table,
        row=row,
        whole=None if row.cells[0].value is None else board([beside_published(row, published_run(run.header.model, table), table)]),
        known=known_scores(run, table, tasks=tasks, baselines=baselines),
        tasks=tasks,
    )
    return Document(blocks=lambda: _blocks(shown), data=lambda: _values(shown))


def cost_blocks(encoding: Counters, *others: tuple[str, float]) -> Iterator[Grid]:
    """The counters of encoding, then the seconds of every stage; `others`: further stages, with their seconds."""
    known = {
        "Texts": f"{encoding.texts:,}",
        "Distinct": f"{encoding.distinct:,}",
        "From the store": f"{encoding.found:,}",
        "Forward passes": f"{encoding.forwards:,}",
        "Texts/s": _rate(encoding.texts_per_second),
        "Tokens/s": _rate(encoding.tokens_per_second),
        "Padding": "" if encoding.padding is None else f"{encoding.padding:.1%}",
    }
    yield grid(number_columns(*known), [list(known.values())])
    stages = (("Tokenising", encoding.tokenize_seconds), ("Encoding", encoding.encode_seconds), *others)
    seconds = [f"{value:.1f} s" for _, value in stages]
    yield grid(number_columns(*(name for name, _ in stages)), [seconds], tight=True)


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _blocks(shown: _Shown) -> Iterator[Block]:
    outcome, row = shown.outcome, shown.row
    if shown.whole:
        yield from shown.whole.blocks()
    else:
        yield Heading(row.header.text)
    yield _scores(shown)
    yield Sentences(() if shown.whole else (_LEGEND,))
    yield Sentences(
        tuple(f"{each.kind.capitalize()}: {each.row.header.text} in {each.row.path}" for each in shown.known), "notes", tight=True
    )
    yield Sentences(() if shown.whole else row.notes, "numbered", tight=True)
    yield Sentences(tuple(_computed_again(outcome)), "notes")
    if outcome.computed or outcome.failed:
        yield from cost_blocks(
            outcome.cost.encoding, ("Scoring", outcome.cost.scoring_seconds), ("Waiting for scores", outcome.cost.waiting_seconds)
        )
    counts = f"{len(outcome.computed)} computed, {len(outcome.reused)} found done, {len(outcome.failed)} failed"
    yield Sentences((f"{counts}; records in {outcome.folder}",), "verbatim")
    yield Sentences(tuple(f"Next: {each}" for each in _next_commands(shown)), "verbatim", tight=True)


def _scores(shown: _Shown) -> Grid:
    columns = table_columns(Column("Task", shrinks_to=16), Column("Metric", shrinks_to=12), *number_columns("Score"), "Data")
    for each in shown.known:
        columns += number_columns(each.kind.capitalize(), "Diff")
    by_name = [{task.task: task for task in row.tasks} for row in (shown.row, *(each.row for each in shown.known))]
    rows = []
    for name in shown.tasks:
        mine, *others = (tasks[name] for tasks in by_name)
        line = [name, mine.metric, printed(mine.score) or mine.state.upper(), (mine.identity or "") + ("*" if mine.substituted else "")]
        for each, other in zip(shown.known, others, strict=True):
            line += [printed(other.score), str(each.comparison.tasks[name]) if other.score is not None else ""]
        rows.append(line)
    for index, cell in enumerate(shown.row.cells):
        if cell.value is not None and cell.of > 1:
            line = [f"{cell.title}, {cell.of} tasks" if cell.key == "Average" else cell.title, "mean", printed(cell.value), ""]
            for each in shown.known:
                mean = each.row.cells[index].value
                line += [printed(mean), str(each.comparison.cells[index]) if mean is not None else ""]
            rows.append(line)
    return grid(columns, rows)


def _computed_again(outcome: Outcome) -> Iterator[str]:
    """A line per reason for which finished tasks did not count as done."""
    for reason, tasks in grouped((reason, task) for task, reason in outcome.again.items()).items():
        yield f"computed again, because their records were made with {reason}: {few(tasks, 3)}"


def _next_commands(shown: _Shown) -> Iterator[str]:
    folder = shown.outcome.folder
    if shown.outcome.failed:
        yield "the same command again computes only what failed"
    comparable = {each.kind: each for each in shown.known if each.comparable}
    baseline, earlier = comparable.get("baseline"), comparable.get("earlier")
    if baseline and not baseline.same_weights:
        yield f"{shell_command('check', baseline.row.path, folder, '--significant')}    (is this checkpoint worse?)"
    elif baseline and baseline.same_settings:
        yield f"{shell_command('check', baseline.row.path, folder)}    (did a score drift?)"
    elif other := baseline or earlier:
        yield f"{shell_command('explain', other.row.path, folder)}    (what moved, on which examples?)"
    yield f"{shell_command('table', folder, '--tasks')}    (all {len(shown.benchmark.tasks)} tasks)"


def _values(shown: _Shown) -> dict[str, Any]:
    outcome, row, encoding = shown.outcome, shown.row, shown.outcome.cost.encoding
    return {
        "folder": str(outcome.folder),
        "setting": {**asdict(row.header), "notes": list(row.notes)},
        "tasks": [
            {**task_values(task), **{each.kind: _other(each, task.task) for each in shown.known}}
            for task in row.tasks
            if task.task in shown.tasks
        ],
        "averages": {cell.key: cell.value for cell in row.cells if cell.value is not None},
        "known": [
            {"kind": each.kind, "path": str(each.row.path), "same_settings": each.same_settings, "same_weights": each.same_weights}
            for each in shown.known
        ],
        **{name: list(getattr(outcome, name)) for name in ("computed", "reused")},
        **{name: dict(getattr(outcome, name)) for name in ("again", "failed")},
        "cost": {**asdict(outcome.cost), "encoding": asdict(encoding) | {name: getattr(encoding, name) for name in _RATES}},
    }


def _other(known: Known, task: str) -> dict[str, Any]:
    score = next(each.score for each in known.row.tasks if each.task == task)
    return {"score": score, "difference": asdict(known.comparison.tasks[task])}
