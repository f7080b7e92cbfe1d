"""Rows of the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from harness.core.benchmarks import Benchmark
from harness.core.errors import RequestError
from harness.core.records import RowHeader, Run
from harness.core.words import SHORT_TYPES, named
from harness.read.cards import HEADER_TITLES
from harness.read.leaderboard import (
    Cell,
    Comparison,
    Row,
    TaskScore,
    beside,
    leaderboard_row,
    printed,
    printed_rows,
)
from harness.show.form import Block, Column, Document, Grid, Sentences, Width, write_document
from harness.show.plain import csv_table
from harness.show.report.latex import rows_latex

# A terminal has 100 columns for the thirteen columns of the card and two more.
_SHORT_TITLES = dict(zip(HEADER_TITLES, ("Model", "GPU", "Type", "GB", "Dim", "Len"), strict=True))
_LEGEND = "Data: ok verified, ? not verified, self reported by the authors, no not C-MTEB's; * not the pinned revision. n/c: not comparable"
_RUNS_PER_BLOCK = 2  # of the task table, in 100 columns


def table(
    runs: Sequence[Run],
    benchmark: Benchmark,
    *,
    convention: str,
    format: str,  # noqa: A002 (the option's name)
    tasks: bool = False,
    against: Run | None = None,
) -> str:
    """The leaderboard table of the runs; see `render`.

    `tasks` adds one line per task. `against`: a published run, which (or whose printed rows) stands under every other run.

    Raises:
        RequestError: an unknown convention or format.
        InputError: the printed rows beside `against` are damaged.
    """
    rows = [leaderboard_row(run, convention, benchmark) for run in runs]
    if against is not None:
        published = leaderboard_row(against, convention, benchmark)
        also = printed_rows(against.path, benchmark) if against.path.is_dir() else ()
        rows = [row if row.path.resolve() == against.path.resolve() else beside(row, published, also) for row in rows]
    return render(rows, format, tasks=tasks)


def render(rows: Sequence[Row], format: str, *, tasks: bool = False) -> str:  # noqa: A002
    """The rows of one convention in that format, without a newline at the end.

    Text and Markdown tell below the table: the convention, the numbered notes of the rows, and what failed, is broken or missing; with
    `tasks`, one line per task follows. CSV with `tasks` is one line per run and task instead. A hole is `34/35` in text and
    Markdown, nothing in CSV, null in JSON.

    Raises:
        RequestError: an unknown format, or no row at all.
    """
    if not rows:
        raise RequestError("no run to show: name a folder of results, such as results/published")
    own = {"csv": lambda: _csv_tasks(rows) if tasks else _csv(rows), "latex": lambda: rows_latex(rows, tasks=tasks)}
    return write_document(Document(blocks=lambda: _blocks(rows, tasks=tasks), data=lambda: _json(rows, tasks=tasks), own=own), format)


def _blocks(rows: Sequence[Row], *, tasks: bool) -> Iterator[Block]:
    notes = _notes(rows)
    yield _grid(_columns(rows), [line for row in rows for line in _lines(row, notes)])
    yield Sentences((_convention(rows[0]),))
    yield Sentences((_LEGEND,), width="narrow", tight=True)
    yield Sentences(tuple(notes), "numbered", tight=True)
    yield Sentences(tuple(_problems(rows)), "notes", tight=True)
    rows = [row for row in rows if row.tasks]
    if tasks and rows:
        for first in range(0, len(rows), _RUNS_PER_BLOCK):
            yield _grid(*_task_table(rows, range(first, min(first + _RUNS_PER_BLOCK, len(rows)))), width="narrow")
        yield _grid(*_task_table(rows, range(len(rows))), width="wide")
        yield Sentences(tuple(_task_legend(rows)), "notes")


def _grid(columns: Sequence[Column], lines: Iterable[Sequence[str]], *, width: Width = "any") -> Grid:
    return Grid(tuple(columns), tuple(map(tuple, lines)), width)


def _csv(rows: Sequence[Row]) -> str:
    columns = [*_columns(rows)[:-2], *_plain("Kind", "Convention", "Coverage", "Data", "Notes")]
    lines = []
    for row in rows:
        lines.append(_csv_line(row, "run", [*row.notes, *_problems([row])]))
        for comparison in row.beside:
            published = _csv_line(comparison.other, "published", comparison.other.notes)
            header, remark = published[: len(HEADER_TITLES)], comparison.remark or ""
            lines += [published, [*header, *map(str, comparison.cells), "difference", row.convention, "", "", remark]]
    return csv_table(columns, lines)


def _csv_line(row: Row, kind: str, notes: Iterable[str]) -> list[str]:
    scores = [printed(cell.value) for cell in row.cells]
    return [*_header_cells(row.header), *scores, kind, row.convention, _coverage(row.cells[0]), row.identity or "", "; ".join(notes)]


def _csv_tasks(rows: Sequence[Row]) -> str:
    own = ("Path", "Task", "Type", "Split", "Metric", "Score", "State", "Data", "Published", "Difference", "Message")
    lines = []
    for row in rows:
        for task in row.tasks:
            told = [task.task, task.type, task.split, task.metric, printed(task.score), task.state, _identity_cell(task)]
            lines.append([*_header_cells(row.header), str(row.path), *told, *_reference_cells(row, task), task.message])
    return csv_table(_plain(*HEADER_TITLES, *own), lines)


def _plain(*titles: str) -> list[Column]:
    return [Column(title=title, short=title) for title in titles]


def _json(rows: Sequence[Row], *, tasks: bool) -> dict[str, Any]:
    return {
        "convention": rows[0].convention,
        "about": rows[0].about,
        "rows": [_json_row(row, tasks=tasks) for row in rows],
    }


def _json_row(row: Row, *, tasks: bool) -> dict[str, Any]:
    shown = {
        "path": str(row.path),
        "header": {**asdict(row.header), "notes": list(row.notes)},
        "scores": {cell.title: _json_score(cell.value) for cell in row.cells},
        "coverage": {cell.title: _coverage(cell) for cell in row.cells},
        "data": row.identity,
        "failed": {task.task: task.message for task in row.tasks if task.state == "failed"},
        "broken": {task.task: task.message for task in row.tasks if task.state == "broken"},
        "missing": [task.task for task in row.tasks if task.state == "missing"],
        "unreadable": row.unreadable,
        "beside": [_json_comparison(comparison) for comparison in row.beside],
    }
    return {**shown, "tasks": [_json_task(row, task) for task in row.tasks]} if tasks else shown


def _json_comparison(comparison: Comparison) -> dict[str, Any]:
    pairs = zip(comparison.other.cells, comparison.cells, strict=True)
    return {
        "published": _json_row(comparison.other, tasks=False),
        "difference": {cell.title: asdict(difference) for cell, difference in pairs},
        "remark": comparison.remark,
    }


def _json_task(row: Row, task: TaskScore) -> dict[str, Any]:
    told = {**asdict(task), "score": _json_score(task.score)}
    theirs = _published(row, task)
    if row.reference is None or theirs is None:
        return told
    return {**told, "published": _json_score(theirs.score), "difference": asdict(row.reference.tasks[task.task])}


def _json_score(value: float | None) -> float | None:
    return float(text) if (text := printed(value)) else None


def _convention(row: Row) -> str:
    return f"Convention {row.convention}: {row.about}"


def _columns(rows: Sequence[Row]) -> list[Column]:
    names, cut = HEADER_TITLES[:3], (8, 8, 4)
    return [
        *(Column(title=name, short=_SHORT_TITLES[name], shrinks_to=width) for name, width in zip(names, cut, strict=True)),
        *(Column(title=name, short=_SHORT_TITLES[name], numeric=True) for name in HEADER_TITLES[3:]),
        *(Column(title=cell.title, short=f"{SHORT_TYPES.get(cell.key, cell.key)}{cell.of}", numeric=True) for cell in rows[0].cells),
        Column(title="Data", short="Data"),
        Column(title="Notes", short="Notes"),
    ]


def _notes(rows: Sequence[Row]) -> list[str]:
    """Every note of the table once, in the order in which the rows need them."""
    found: list[str] = []
    for row in rows:
        found += row.notes
        for comparison in row.beside:
            found += [*comparison.other.notes, *([comparison.remark] if comparison.remark else [])]
    return list(dict.fromkeys(found))


def _lines(row: Row, notes: list[str]) -> list[list[str]]:
    """The row, then each published row with the difference to it."""

    def numbers(own: Iterable[str]) -> str:
        return ",".join(str(notes.index(note) + 1) for note in own)

    lines = [[*_header_cells(row.header), *(printed(c.value) or _coverage(c) for c in row.cells), row.identity or "", numbers(row.notes)]]
    for comparison in row.beside:
        other = comparison.other
        name, *rest = _header_cells(other.header)
        values = (printed(cell.value) or _coverage(cell) for cell in other.cells)
        lines.append([f"vs {name}", *rest, *values, other.identity or "", numbers(other.notes)])
        remark = [comparison.remark] if comparison.remark else []
        lines.append(["difference", *[""] * len(rest), *map(str, comparison.cells), "", numbers(remark)])
    return lines


def _header_cells(header: RowHeader) -> list[str]:
    sizes = (printed(header.size_gb), *("" if number is None else str(number) for number in (header.dim, header.max_len)))
    return [header.model, header.gpu, header.dtype, *sizes]


def _coverage(cell: Cell) -> str:
    return f"{cell.found}/{cell.of}"


def _problems(rows: Sequence[Row]) -> list[str]:
    problems = []
    for row in rows:
        if row.unreadable:
            problems.append(row.unreadable)
            continue
        problems += [f"{row.path}: {task.task} {task.state}: {task.message}" for task in row.tasks if task.state in ("failed", "broken")]
        missing = [task.task for task in row.tasks if task.state == "missing"]
        if missing:
            problems.append(f"{row.path}: no record of {named(missing, len(row.tasks))}")
    return problems


def _task_table(rows: Sequence[Row], block: range) -> tuple[list[Column], list[list[str]]]:
    """One line per task for the runs of the block, which are numbered as in the legend."""
    columns = [Column(title="Task", short="Task", shrinks_to=12), Column(title="Type", short="Type"), Column(title="Split", short="Split")]
    for index in block:
        columns += [Column(title=f"Run {index + 1}", short=f"Run {index + 1}", numeric=True), Column(title="Data", short="Data")]
        if rows[index].reference:
            columns += [Column(title="Published", short="Publ", numeric=True), Column(title="Difference", short="Diff", numeric=True)]
    lines = [[task.task, task.type, task.split] for task in rows[0].tasks]
    for index in block:
        for line, task in zip(lines, rows[index].tasks, strict=True):
            line.extend([printed(task.score) or task.state, _identity_cell(task)])
            line.extend(_reference_cells(rows[index], task) if rows[index].reference else [])
    return columns, lines


def _task_legend(rows: Sequence[Row]) -> list[str]:
    legend = []
    for index, row in enumerate(rows, start=1):
        other = row.reference
        beside_what = f"; published: {_setting(other.other.header)}" if other else ""
        remark = f" ({other.remark})" if other and other.remark else ""
        legend.append(f"Run {index}: {_setting(row.header)} in {row.path}{beside_what}{remark}")
    return legend


def _setting(header: RowHeader) -> str:
    return ", ".join(cell for cell in _header_cells(header) if cell)


def _identity_cell(task: TaskScore) -> str:
    return (task.identity or "") + ("*" if task.substituted else "")


def _published(row: Row, task: TaskScore) -> TaskScore | None:
    """The task in the published run that the row is compared with."""
    theirs = row.reference.other.tasks if row.reference else ()
    return next((other for other in theirs if other.task == task.task), None)


def _reference_cells(row: Row, task: TaskScore) -> list[str]:
    """The published score of the task and the difference to it; nothing where there is none."""
    theirs = _published(row, task)
    if row.reference is None or theirs is None:
        return ["", ""]
    return [printed(theirs.score) or theirs.state, str(row.reference.tasks[task.task])]
