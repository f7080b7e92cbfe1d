"""The leaderboard as LaTeX for a paper: booktabs, every character of the data escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.read.leaderboard import Row, TaskScore, rounded
from harness.show.form import Column
from harness.show.latex import booktabs, escape_latex
from harness.show.text import briefly

_NAMES = [Column(title=title, short=title) for title in ("Model", "GPU", "tensor-type")]
_HEAD = ("Model", "GPU", "dtype", "GB", "Dim", "Len")
_SHORT = {
    "Average": "Avg.",
    "Classification": "Class.",
    "Clustering": "Clust.",
    "PairClassification": "Pair",
    "Reranking": "Rerank.",
    "Retrieval": "Retr.",
    "STS": "STS",
}
_MARKS: Mapping[str, str] = {"not C-MTEB": r"$^{\dagger}$", "unverified": r"$^{?}$", "self-reported": r"$^{s}$", "verified": ""}
_LEGEND = r"$^{\dagger}$ not C-MTEB's data; $^{?}$ data not verified; $^{s}$ self-reported; n/m: n of m tasks have a score"


def rows_latex(rows: Sequence[Row], *, tasks: bool = False) -> str:
    """The rows as a `table*` in booktabs' style (`\\usepackage{booktabs}`), without a newline at the end. Chinese needs XeLaTeX.

    The best average of each column is bold, rows that are not of the benchmark's data aside. With `tasks` a second table has a line per
    task and a column per run. What a reader must know (holes, the data, the notes of the rows) stands below each table.
    """
    parts = [_board(rows)]
    with_tasks = [row for row in rows if row.tasks]
    if tasks and with_tasks:
        parts.append(_tasks(with_tasks))
    return "\n\n".join(parts)


def _board(rows: Sequence[Row]) -> str:
    cells = rows[0].cells
    head = [*_HEAD, *(f"{_SHORT[cell.key]} ({cell.of})" for cell in cells)]
    best = [_best([row.cells[index].value for row in rows if row.identity != "not C-MTEB"]) for index in range(len(cells))]
    lines = []
    for row in rows:
        header = row.header
        numbers = ["" if number is None else str(number) for number in (header.size_gb, header.dim, header.max_len)]
        name, gpu, dtype = (escape_latex(text) for text in briefly(_NAMES, [[header.model, header.gpu, header.dtype]])[0])
        name += _MARKS.get(row.identity or "", "")
        values = []
        for cell, top in zip(row.cells, best, strict=True):
            text = f"{cell.found}/{cell.of}" if cell.value is None else f"{rounded(cell.value):.2f}"
            is_best = cell.value is not None and row.identity != "not C-MTEB" and rounded(cell.value) == top
            values.append(rf"\textbf{{{text}}}" if is_best else text)
        lines.append([name, gpu, dtype, *numbers, *values])
    told = f"Convention {escape_latex(rows[0].convention)}: {escape_latex(rows[0].about)}."
    notes = [f"{escape_latex(row.header.model)}: {escape_latex(note)}" for row in rows for note in row.notes]
    return booktabs("lll" + "r" * (3 + len(cells)), head, lines, caption=f"{told} {_LEGEND}.", notes=dict.fromkeys(notes))


def _tasks(rows: Sequence[Row]) -> str:
    head = ["Task", "Metric", *(rf"\#{number}" for number in range(1, len(rows) + 1))]
    lines = []
    for index, task in enumerate(rows[0].tasks):
        scores = [_score(row.tasks[index]) for row in rows]
        lines.append([escape_latex(task.task), escape_latex(task.metric), *scores])
    settings = [rf"\#{number}: {_setting(row)}" for number, row in enumerate(rows, start=1)]
    return booktabs("ll" + "r" * len(rows), head, lines, caption=f"Main score per task. {_LEGEND}.", notes=dict.fromkeys(settings))


def _best(values: Sequence[float | None]) -> float | None:
    return max((rounded(value) for value in values if value is not None), default=None)


def _score(task: TaskScore) -> str:
    if task.score is None:
        return escape_latex(task.state)
    return f"{rounded(task.score):.2f}" + _MARKS.get(task.identity or "", "") + ("$^{*}$" if task.substituted else "")


def _setting(row: Row) -> str:
    header = row.header
    limits = [f"{what} {value}" for what, value in (("dim", header.dim), ("len", header.max_len)) if value is not None]
    parts = [header.model, header.gpu, header.dtype, *limits]
    return escape_latex(", ".join(part for part in parts if part))
