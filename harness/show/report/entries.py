"""Paths -> the rows of the report: runs, published results, model cards, and the rows that a card prints beside its front matter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError
from harness.core.formatting import grouped
from harness.core.records import RowHeader, Run
from harness.core.run_files import MANIFEST
from harness.read.leaderboard import Row, TaskScore, leaderboard_row, printed_rows
from harness.read.row_labels import told_apart
from harness.read.runs import load_runs

Kind = Literal["ours", "published", "printed"]
"""Who made a row: a run of this harness, result files of others, or a line of a table of which nothing else is known."""

_SETTING = {"gpu": "", "dtype": "", "dim": "dim ", "max_len": "len "}
"""The fields of a row header that tell runs of one model apart, and what stands before their values."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the leaderboard. `number`: its name in the report, from 1. `setting`: what tells it from the other rows of its model.

    `trusts`: who says so (`self-reported`, `re-run by others`, `ours`), empty where the files don't tell. `sources`: the file of each task
    that has one. `run`: None for a printed row.
    """

    number: int
    kind: Kind
    setting: str
    row: Row
    run: Run | None
    trusts: tuple[str, ...]
    sources: Mapping[str, Path]

    @property
    def model(self) -> str:
        """The model's name as the run has it."""
        return self.row.header.model

    @property
    def on_benchmark(self) -> bool:
        """Whether all scores were made on the benchmark's own data, as far as they are stated."""
        return self.row.identity != "not C-MTEB"

    def score(self, task: str) -> TaskScore | None:
        """The task in this row; None for a printed row."""
        return next((score for score in self.row.tasks if score.task == task), None)


def read_entries(paths: Iterable[Path], benchmark: Benchmark, *, convention: str, merge: str | None = None) -> tuple[Entry, ...]:
    """A row per run at or below the paths, each once, then per printed row that no run stands for; a model card is a path, too.

    Rows that a card prints follow the convention `cmteb`: under another one they are left out, because they can't be computed anew.

    Raises:
        RequestError: a path without a run, or an unknown convention.
        InputError: nothing can be read.
    """
    runs = load_runs(paths, benchmark, merge=merge)
    printed: list[Row] = []
    for number, run in enumerate(runs):
        try:
            printed += () if MANIFEST in run.broken else printed_rows(run.path, benchmark)
        except InputError as error:
            runs[number] = replace(run, manifest=replace(run.manifest, header=replace(run.header, notes=(*run.header.notes, str(error)))))
    own = {replace(run.header, notes=()) for run in runs}
    others = {key: row for row in printed if (key := replace(row.header, notes=())) not in own} if convention == "cmteb" else {}
    rows_of = [(leaderboard_row(run, convention, benchmark, among=runs), run) for run in runs]
    both: list[tuple[Row, Run | None]] = [*rows_of, *((row, None) for row in others.values())]
    rows = told_apart([row for row, _ in both])
    settings = [
        " · ".join(filter(None, each)) for each in zip(_settings([row.header for row in rows]), (row.unlike for row in rows), strict=True)
    ]
    columns = enumerate(zip(rows, both, settings, strict=True), start=1)
    return tuple(_entry(number, row, run, setting) for number, (row, (_, run), setting) in columns)


def best_first(entries: Iterable[Entry]) -> list[Entry]:
    """By their average, holes last: the order in which the page opens."""
    return sorted(entries, key=lambda entry: (entry.row.cells[0].value is None, -(entry.row.cells[0].value or 0.0), entry.number))


def same_model(entry: Entry, name: str) -> bool:
    """Whether the entry's model goes by that name, organisations and case aside: its own, or that of its repository."""
    names = [entry.model]
    if entry.run and entry.run.manifest.spec:
        model = entry.run.manifest.spec.model
        names += [each for each in (model.hub, model.name) if each]
    return name.rsplit("/", 1)[-1].lower() in {each.rsplit("/", 1)[-1].lower() for each in names}


def _entry(number: int, row: Row, run: Run | None, setting: str) -> Entry:
    kind: Kind = "printed" if run is None else "ours" if run.ours else "published"
    records = run.records if run else {}
    trusts: set[str] = {record.made.origin.trust for record in records.values() if record.made.origin}
    if kind == "ours":
        trusts.add("ours")
    if kind == "printed" or any(record.made.source for record in records.values()):
        trusts.add("self-reported")
    sources = _sources(run) if run else {}
    return Entry(number=number, kind=kind, setting=setting, row=row, run=run, trusts=tuple(sorted(trusts)), sources=sources)


def _sources(run: Run) -> dict[str, Path]:
    """The file of every task that has one: a record, a failure, or a file that is no record."""
    if run.path.is_file():
        return dict.fromkeys(run.records, run.path)
    sources = {}
    for task in (*run.records, *run.broken, *run.failed):
        origin = run.records[task].made.origin if task in run.records else None
        named = origin.file if origin and origin.file else f"{task}.json"
        path = run.path / (f"errors/{task}.json" if task in run.failed else named)
        if task in run.records or path.is_file():
            sources[task] = path
    return sources


def _settings(headers: Sequence[RowHeader]) -> list[str]:
    """What distinguishes each row from the others of its model; all that is stated where nothing differs."""
    families = grouped((header.model, header) for header in headers)
    differing = {
        model: [field for field in _SETTING if len({getattr(other, field) for other in family}) > 1] or list(_SETTING)
        for model, family in families.items()
    }
    settings = []
    for header in headers:
        unlike = differing[header.model]
        shown = [(_SETTING[field], getattr(header, field)) for field in unlike]
        settings.append(" · ".join(f"{before}{value}" for before, value in shown if value not in ("", None)))
    return settings
