"""Rows of the leaderboard."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from harness.core.benchmarks import Benchmark
from harness.core.errors import RequestError
from harness.core.formatting import named, of_task
from harness.core.records import RowHeader, Run
from harness.core.tasks import SHORT_TYPES
from harness.read.cards.page import HEADER_TITLES
from harness.read.leaderboard import (
    Cell,
    Row,
    TaskScore,
    beside,
    leaderboard_row,
    printed,
    printed_rows,
    rounded,
)
from harness.read.row_labels import told_apart
from harness.show.form import Block, Column, Document, Sentences, grid, number_columns, table_columns
from harness.show.formats import csv_table
from harness.show.latex import booktabs, escape_latex
from harness.show.text import briefly

# A terminal has 100 columns for the thirteen columns of the card and two more.
_SHORT_TITLES = dict(zip(HEADER_TITLES, ("Model", "GPU", "Type", "GB", "Dim", "Len"), strict=True))
_LEGEND = "Data: ok verified, ? not verified, self reported by the authors, no not C-MTEB's; * not the pinned revision. n/c: not comparable"
_RUNS_PER_BLOCK = 2  # of the task table, in 100 columns
_LATEX_TITLES = ("Model", "GPU", "dtype", "GB", "Dim", "Len")
_MARKS = {None: "", "not C-MTEB": r"$^{\dagger}$", "unverified": r"$^{?}$", "self-reported": r"$^{s}$", "verified": ""}
_LATEX_LEGEND = r"$^{\dagger}$ not C-MTEB's data; $^{?}$ data not verified; $^{s}$ self-reported; n/m: n of m tasks have a score"


def leaderboard(
    runs: Sequence[Run], benchmark: Benchmark, *, convention: str | None = None, tasks: bool = False, against: Run | None = None
) -> Document:
    """The leaderboard table of the runs; see `board`. `against`: a published run, which (or whose printed rows) stands under every other.

    Raises:
        RequestError: an unknown convention, or no run.
        InputError: the printed rows beside `against` are damaged.
    """
    rows = [leaderboard_row(run, convention, benchmark, among=runs) for run in runs]
    return board([beside_published(row, against, benchmark) for row in rows], tasks=tasks)


def beside_published(row: Row, against: Run | None, benchmark: Benchmark) -> Row:
    """The row with the published run, or its printed rows, under it; itself where it is that run or there is none.

    Raises:
        InputError: the printed rows are damaged.
    """
    if against is None or row.path.resolve() == against.path.resolve():
        return row
    also = printed_rows(against.path, benchmark) if against.path.is_dir() else ()
    return beside(row, leaderboard_row(against, row.convention, benchmark), also)


def board(rows: Sequence[Row], *, tasks: bool = False) -> Document:
    """The rows of one convention; with `tasks` every task, too.

    Below the table: the convention, the numbered notes of the rows, and what failed, is broken or missing; with `tasks`, one line per
    task follows. CSV with `tasks` is one line per run and task instead. A hole is `34/35` in text, Markdown and LaTeX, nothing in CSV,
    null in JSON.

    Raises:
        RequestError: no row at all.
    """
    if not rows:
        raise RequestError("no run to show: name a folder of results, such as results/published")
    rows = told_apart(rows)
    return Document(
        blocks=lambda: _blocks(rows, tasks=tasks),
        data=lambda: {**_convention(rows[0]), "rows": [_json_row(row, tasks=tasks) for row in rows]},
        own={"csv": lambda: (_csv_tasks if tasks else _csv)(rows), "latex": lambda: _latex(rows, tasks=tasks)},
    )


def _blocks(rows: Sequence[Row], *, tasks: bool) -> Iterator[Block]:
    notes = _notes(rows)
    yield grid(_columns(rows), (line for row in rows for line in _lines(row, notes)))
    yield Sentences(("Convention {convention}: {about}".format(**_convention(rows[0])),))
    yield Sentences((_LEGEND,), width="narrow", tight=True)
    yield Sentences(tuple(notes), "numbered", tight=True)
    yield Sentences(tuple(_problems(rows)), "notes", tight=True)
    rows = [row for row in rows if row.tasks]
    if tasks and rows:
        for first in range(0, len(rows), _RUNS_PER_BLOCK):
            yield grid(*_task_table(rows, range(first, min(first + _RUNS_PER_BLOCK, len(rows)))), width="narrow")
        yield grid(*_task_table(rows, range(len(rows))), width="wide")
        yield Sentences(tuple(_task_legend(rows)), "notes")


def _csv(rows: Sequence[Row]) -> str:
    titles = [*HEADER_TITLES, *(cell.title for cell in rows[0].cells), "Kind", "Convention", "Coverage", "Data", "Notes", "Path"]
    lines = []
    for row in rows:
        lines.append(_csv_line(row, "run", [*row.notes, *_problems([row])]))
        for comparison in row.beside:
            published = _csv_line(comparison.other, "published", comparison.other.notes)
            header, remark = published[: len(HEADER_TITLES)], comparison.remark or ""
            lines += [published, [*header, *map(str, comparison.cells), "difference", row.convention, "", "", remark, ""]]
    return csv_table(titles, lines)


def _csv_line(row: Row, kind: str, notes: Iterable[str]) -> list[str]:
    scores = [printed(cell.value) for cell in row.cells]
    return [
        *_header_cells(row.header),
        *scores,
        kind,
        row.convention,
        _coverage(row.cells[0]),
        row.identity or "",
        "; ".join(notes),
        str(row.path),
    ]


def _csv_tasks(rows: Sequence[Row]) -> str:
    own = ("Path", "Task", "Type", "Split", "Metric", "Score", "State", "Data", "Published", "Difference", "Message")
    lines = []
    for row in rows:
        for task in row.tasks:
            cells = [task.task, task.type, task.split, task.metric, printed(task.score), task.state, _identity_cell(task)]
            lines.append([*_header_cells(row.header), str(row.path), *cells, *_reference_cells(row, task), task.message])
    return csv_table((*HEADER_TITLES, *own), lines)


def _latex(rows: Sequence[Row], *, tasks: bool) -> str:
    """Tables for a paper; Chinese needs XeLaTeX. The best average of a column on the benchmark's data is bold."""
    cells = rows[0].cells
    best = [_best(row.cells[index].value for row in rows if row.identity != "not C-MTEB") for index in range(len(cells))]
    lines = []
    for row in rows:
        name, *setting = (escape_latex(cell) for cell in briefly(_columns(rows)[:6], [_row_cells(row)])[0])
        values = [_latex_cell(cell, top if row.identity != "not C-MTEB" else None) for cell, top in zip(row.cells, best, strict=True)]
        lines.append([name + _MARKS[row.identity], *setting, *values])
    head = [*_LATEX_TITLES, *(f"{SHORT_TYPES.get(cell.key, cell.key)} ({cell.of})" for cell in cells)]
    caption = "Convention {convention}: {about}".format(**{key: escape_latex(value) for key, value in _convention(rows[0]).items()})
    notes = [f"{escape_latex(row.header.model)}: {escape_latex(note)}" for row in rows for note in row.notes]
    tables = [booktabs("lll" + "r" * (3 + len(cells)), head, lines, caption=f"{caption}. {_LATEX_LEGEND}.", notes=dict.fromkeys(notes))]
    rows = [row for row in rows if row.tasks]
    if tasks and rows:
        head = ["Task", "Metric", *(rf"\#{number}" for number in range(1, len(rows) + 1))]
        lines = [
            [escape_latex(task.task), escape_latex(task.metric), *(_latex_score(row.tasks[index]) for row in rows)]
            for index, task in enumerate(rows[0].tasks)
        ]
        settings = [rf"\#{number}: {escape_latex(row.header.text)}" for number, row in enumerate(rows, start=1)]
        tables.append(booktabs("ll" + "r" * len(rows), head, lines, caption=f"Main score per task. {_LATEX_LEGEND}.", notes=settings))
    return "\n\n".join(tables)


def _best(values: Iterable[float | None]) -> float | None:
    return max((rounded(value) for value in values if value is not None), default=None)


def _latex_cell(cell: Cell, best: float | None) -> str:
    if cell.value is None:
        return _coverage(cell)
    text = f"{rounded(cell.value):.2f}"
    return rf"\textbf{{{text}}}" if rounded(cell.value) == best else text


def _latex_score(task: TaskScore) -> str:
    if task.score is None:
        return escape_latex(task.state)
    return f"{rounded(task.score):.2f}{_MARKS[task.identity]}{'$^{*}$' if task.substituted else ''}"


def _json_row(row: Row, *, tasks: bool) -> dict[str, Any]:
    shown = {
        "path": str(row.path),
        "unlike": row.unlike,
        "header": {**asdict(row.header), "notes": list(row.notes)},
        "scores": {cell.title: _json_score(cell.value) for cell in row.cells},
        "coverage": {cell.title: _coverage(cell) for cell in row.cells},
        "data": row.identity,
        **{state: {task.task: task.message for task in row.tasks if task.state == state} for state in ("failed", "broken")},
        "missing": [task.task for task in row.tasks if task.state == "missing"],
        "unreadable": row.unreadable,
        "beside": [
            {
                "published": _json_row(comparison.other, tasks=False),
                "difference": {cell.title: asdict(each) for cell, each in zip(comparison.other.cells, comparison.cells, strict=True)},
                "remark": comparison.remark,
            }
            for comparison in row.beside
        ],
    }
    return {**shown, "tasks": [_json_task(row, task) for task in row.tasks]} if tasks else shown


def task_values(task: TaskScore) -> dict[str, Any]:
    """What is known of a task, by name; but for the key by which it is compared."""
    values = asdict(task)
    del values["data_key"]
    return values


def _json_task(row: Row, task: TaskScore) -> dict[str, Any]:
    values = {**task_values(task), "score": _json_score(task.score)}
    theirs = _published(row, task)
    if row.reference is None or theirs is None:
        return values
    return {**values, "published": _json_score(theirs.score), "difference": asdict(row.reference.tasks[task.task])}


def _json_score(value: float | None) -> float | None:
    return float(text) if (text := printed(value)) else None


def _convention(row: Row) -> dict[str, str]:
    return {"convention": row.convention, "about": row.about}


def _columns(rows: Sequence[Row]) -> list[Column]:
    names, cut = HEADER_TITLES[:3], (8, 8, 4)
    return [
        *(Column(name, _SHORT_TITLES[name], shrinks_to=width) for name, width in zip(names, cut, strict=True)),
        *(Column(name, _SHORT_TITLES[name], numeric=True) for name in HEADER_TITLES[3:]),
        *(Column(cell.title, f"{SHORT_TYPES.get(cell.key, cell.key)}{cell.of}", numeric=True) for cell in rows[0].cells),
        *table_columns("Data", "Notes"),
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

    lines = [[*_row_cells(row), *(printed(c.value) or _coverage(c) for c in row.cells), row.identity or "", numbers(row.notes)]]
    for comparison in row.beside:
        other = comparison.other
        name, *rest = _header_cells(other.header)
        values = (printed(cell.value) or _coverage(cell) for cell in other.cells)
        lines.append([f"vs {name}", *rest, *values, other.identity or "", numbers(other.notes)])
        remark = [comparison.remark] if comparison.remark else []
        lines.append(["difference", *[""] * len(rest), *map(str, comparison.cells), "", numbers(remark)])
    return lines


def _row_cells(row: Row) -> list[str]:
    return [row.label, *_header_cells(row.header)[1:]]


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
        problems += [
            f"{row.path}: {of_task(task.task, task.message, f' {task.state}:')}" for task in row.tasks if task.state in ("failed", "broken")
        ]
        missing = [task.task for task in row.tasks if task.state == "missing"]
        if missing:
            problems.append(f"{row.path}: no record of {named(missing, len(row.tasks))}")
    return problems


def _task_table(rows: Sequence[Row], block: range) -> tuple[tuple[Column, ...], list[list[str]]]:
    """One line per task for the runs of the block, which are numbered as in the legend."""
    columns = table_columns(Column("Task", shrinks_to=12), "Type", "Split")
    for index in block:
        columns += table_columns(*number_columns(f"Run {index + 1}"), "Data")
        if rows[index].reference:
            columns += (Column("Published", "Publ", numeric=True), Column("Difference", "Diff", numeric=True))
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
        beside_what = f"; published: {other.other.header.text}" if other else ""
        remark = f" ({other.remark})" if other and other.remark else ""
        legend.append(f"Run {index}: {row.header.text} in {row.path}{beside_what}{remark}")
    return legend


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
