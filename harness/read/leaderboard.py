"""Records -> the rows of the leaderboard table under a named convention, and what separates one row from another.

A task without a score leaves a hole: the average of its type and the row's own do not exist then.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Literal

from harness.core.benchmarks import Benchmark, Convention
from harness.core.errors import InputError
from harness.core.formatting import all_named
from harness.core.records import Manifest, Provenance, RowHeader, Run, TaskRecord
from harness.core.run_files import MANIFEST
from harness.core.tasks import TaskSpec
from harness.read.cards.page import ROWS, read_card, rows_beside, score_table, score_titles

State = Literal["scored", "missing", "failed", "broken"]
Identity = Literal["not C-MTEB", "unverified", "self-reported", "verified"]
IDENTITIES: tuple[Identity, ...] = ("not C-MTEB", "unverified", "self-reported", "verified")
"""Whether a score was made on the benchmark's own data, least certain first; `self-reported`: its authors say so."""

_LONGEST_NAME = 200


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One task of a row. `score`: 0 to 100, None unless `state` is `scored`; `message`: why it is `failed` or `broken`.

    `identity` and `substituted` (another revision was read than the pinned one) are about the data; None where there is no record.
    `data_key`: what the score was made on: empty for the benchmark's own data, else a digest of its files, None where those are not known.
    Two scores can be compared where their keys are equal and known.
    """

    task: str
    type: str
    split: str
    metric: str
    score: float | None
    state: State
    message: str = ""
    identity: Identity | None = None
    substituted: bool = False
    data_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An average. `key`: `Average` or a task type; `value`: 0 to 100, None unless all of the `of` tasks have a score (`found`).

    `mean`: the value before it was rounded, where the convention rounds it.
    """

    key: str
    title: str
    value: float | None
    found: int
    of: int
    mean: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table. `path`: where it was read; `about`: its convention in words; `unreadable`: why its folder is no run.

    `manifest`: what a run of ours was. `unlike`: the settings that tell it from other rows of its name and columns, `place`: what of its
    path does, where no setting does (`read.row_labels`).

    `tasks` is empty for a row of a printed table. `beside`: the published rows that stand under it;
    `reference`: the one whose tasks stand beside its own.
    """

    path: Path
    header: RowHeader
    convention: str
    cells: tuple[Cell, ...]
    about: str = ""
    tasks: tuple[TaskScore, ...] = ()
    unreadable: str | None = None
    beside: tuple[Comparison, ...] = ()
    reference: Comparison | None = None
    manifest: Manifest | None = None
    unlike: str = ""
    place: str = ""

    @property
    def identity(self) -> Identity | None:
        """The least certain identity among the scored tasks; of a printed row, what its authors say."""
        if not self.tasks:
            return "self-reported"
        found = {task.identity for task in self.tasks}
        return next((identity for identity in IDENTITIES if identity in found), None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before believing the row: the notes of the run, then what its data was."""
        sentences = {"not C-MTEB": "data is not C-MTEB's, these are no C-MTEB scores", "unverified": "data was not verified"}
        notes = [f"{sentence}: {self._listed(identity)}" for identity, sentence in sentences.items() if self._listed(identity)]
        substituted = [task.task for task in self.tasks if task.substituted]
        if substituted:
            notes.append(f"another revision of the data was read than the pinned one: {', '.join(substituted)}")
        unlike = [f"unlike other rows of this name and setting: {self.unlike}"] if self.unlike else []
        return (*unlike, *self.header.notes, *notes)

    @property
    def label(self) -> str:
        """The model, and what tells the row from others."""
        apart = ", ".join(filter(None, (self.unlike, self.place)))
        return f"{self.header.model} ({apart})" if apart else self.header.model

    def _listed(self, identity: str) -> str:
        names = [task.task for task in self.tasks if task.identity == identity]
        return all_named(names, sum(task.identity is not None for task in self.tasks))


@dataclass(frozen=True)
class Difference:
    """Ours against another value as both are printed; `points` is signed (ours minus theirs), None unless both are there to compare."""

    verdict: Literal["=", "differs", "hole", "not comparable"]
    points: float | None = None

    def __str__(self) -> str:
        return f"{self.points:+.2f}" if self.verdict == "differs" and self.points is not None else self.verdict


@dataclass(frozen=True)
class Comparison:
    """A row beside another: a difference per column, and per task that both rows have. `remark`: the settings in which they differ."""

    other: Row
    cells: tuple[Difference, ...]
    tasks: Mapping[str, Difference]
    remark: str | None


def rounded(value: float) -> float:
    """Two decimals, the one precision of the table."""
    return round(value, 2)


def printed(value: float | None) -> str:
    """The number as C_MTEB and the card print it (58.7, not 58.70); nothing for a hole."""
    return "" if value is None or not math.isfinite(value) else str(rounded(value))


def leaderboard_row(run: Run, convention: str | None, benchmark: Benchmark, *, among: Sequence[Run] = ()) -> Row:
    """The run's row. `convention`: None is the benchmark's usual one. `among`: the runs of its table, by which mteb 2 decides what a
    complete score is.

    Raises:
        RequestError: there is no such convention.
    """
    name = convention or benchmark.usual
    rule = benchmark.convention(name)
    specs = [task for task in benchmark.tasks if task.name not in rule.without]
    tasks = tuple(_task_score(run, task, rule, among) for task in specs)
    average, *types = (_cell(key, title, tasks, rule, benchmark.adding_order) for key, title in score_titles(specs).items())
    return Row(
        path=run.path,
        header=replace(run.header, model=_short(run.header.model)),
        convention=name,
        about=rule.about,
        cells=(average, *([_mean_of_types(types)] if rule.type_mean else []), *types),
        tasks=tasks,
        unreadable=run.broken.get(MANIFEST),
        manifest=run.manifest if run.ours else None,
    )


def _short(name: str) -> str:
    """The name; without its middle where it is longer than any name."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}~{name[-_LONGEST_NAME // 2 :]}"


def printed_rows(path: Path, benchmark: Benchmark) -> tuple[Row, ...]:
    """The rows of the table in a model card, or of the card's table that is kept beside published records; none where there is none.

    Raises:
        InputError: the file is damaged or has other columns.
    """
    if path.is_dir():
        rows, path = rows_beside(path, benchmark), path / ROWS
    else:
        table = score_table(read_card(path), benchmark)
        rows = table.rows if table else ()
    titles, about = score_titles(benchmark.tasks), benchmark.convention("cmteb").about
    counts = {key: sum(key in ("Average", task.type) for task in benchmark.tasks) for key in titles}
    found = []
    for row in rows:
        cells = (Cell(key=key, title=title, value=row.scores[title], found=counts[key], of=counts[key]) for key, title in titles.items())
        found.append(Row(path=path, header=row.header, convention="cmteb", about=about, cells=tuple(cells)))
    return tuple(found)


def compare(row: Row, other: Row) -> Comparison:
    """The row against another: equal to the last printed digit, or the signed difference, or why there is none.

    An average is not comparable where a task of it was made on other data on either side; a printed row is of the benchmark's own data.
    """
    same = row.convention == other.convention
    unlike = _of_other_data(row, other)
    theirs = {task.task: task for task in other.tasks} if same else {}
    return Comparison(
        other,
        cells=tuple(
            _difference(mine.value, its.value, comparable=same and mine.key not in unlike)
            for mine, its in zip(row.cells, other.cells, strict=True)
        ),
        tasks={task.task: difference(task, theirs[task.task]) for task in row.tasks if task.task in theirs},
        remark=_remark(row.header, other.header),
    )


def difference(ours: TaskScore, theirs: TaskScore) -> Difference:
    """A score against another of its task as both are printed, where both are there and were made on the same data."""
    scored = ours.score is not None and theirs.score is not None
    return _difference(ours.score, theirs.score, comparable=not scored or _same_data(ours.data_key, theirs.data_key))


def beside(row: Row, published: Row, also_printed: Sequence[Row]) -> Row:
    """The row with the published rows of its own dtype and max_len; with `published`, and a remark, where there is none."""
    others = [published, *(other for other in also_printed if replace(other.header, notes=()) != replace(published.header, notes=()))]
    alike = [other for other in others if (other.header.dtype, other.header.max_len) == (row.header.dtype, row.header.max_len)]
    return replace(row, beside=tuple(compare(row, other) for other in alike or [published]), reference=compare(row, published))


def identity_of(record: TaskRecord) -> Identity:
    """Whether the score was made on the benchmark's own data, as its record has it."""
    otherwise: Identity = "self-reported" if record.made.source else "unverified"
    return (record.made.data.verdict if record.made.data else None) or otherwise


def _task_score(run: Run, task: TaskSpec, rule: Convention, among: Sequence[Run]) -> TaskScore:
    metric = rule.metrics.get(task.type, task.main)

    def without(state: State, message: str = "") -> TaskScore:
        return TaskScore(task=task.name, type=task.type, split=task.split, metric=metric, score=None, state=state, message=message)

    record = run.records.get(task.name)
    reported = run.reported.get(task.name) if rule.reported else None
    if reported:
        return _reported_score(without("scored"), reported, task, record, among)
    if record is None:
        if task.name in run.failed:
            return without("failed", run.failed[task.name])
        return without("broken", run.broken[task.name]) if task.name in run.broken else without("missing")
    try:
        score = 100 * record.metric(task, metric)
    except InputError as error:
        return without("broken", str(error))
    return _identified(without("scored"), record, rounded(score) if rule.rounds else score)


def _identified(score: TaskScore, record: TaskRecord | None, value: float) -> TaskScore:
    """The score with its value and what its record says of the data."""
    data = record.made.data if record else None
    identity = identity_of(record) if record else "unverified"
    return replace(score, score=value, identity=identity, substituted=data is not None and data.substituted, data_key=_data_key(data))


def _data_key(data: Provenance | None) -> str | None:
    if data is None or data.verdict != "not C-MTEB":
        return ""
    return hashlib.sha256(repr(sorted(data.sha256.items())).encode()).hexdigest()[:12] if data.sha256 else None


def _reported_score(
    score: TaskScore, reported: Mapping[str, float], task: TaskSpec, record: TaskRecord | None, among: Sequence[Run]
) -> TaskScore:
    """The mean of mteb 2's main scores over those of its splits that the run has; broken where another run of the table has more of them:
    mteb 2 leaves the score empty then (`_null_incomplete_scores` of mteb 2.26.24)."""
    wanted = [split for split in task.mteb2_splits if any(split in run.reported.get(task.name, {}) for run in among) or split in reported]
    if absent := [split for split in wanted if split not in reported]:
        message = f"no main_score for the split {' and '.join(absent)}, which another run here has: mteb 2 gives no score then"
        return replace(score, state="broken", message=message)
    if not wanted:
        return replace(score, state="broken", message=f"no main_score for the split {' or '.join(task.mteb2_splits)}")
    mean = reduce(add, (100 * reported[split] for split in wanted)) / len(wanted)
    return _identified(replace(score, metric="main_score", split="+".join(wanted)), record, mean)


def _cell(key: str, title: str, tasks: Iterable[TaskScore], rule: Convention, order: Sequence[str]) -> Cell:
    ordered = sorted(tasks, key=lambda task: order.index(task.task) if task.task in order else len(order))
    members = [task.score for task in ordered if key in ("Average", task.type)]
    scores = [score for score in members if score is not None]
    value = mean = None
    if len(scores) == len(members):
        mean = reduce(add, scores) / len(scores)  # not sum(): from Python 3.12 on it compensates, and half a digit may round otherwise
        value = rounded(mean) if rule.rounds else mean
    return Cell(key=key, title=title, value=value, found=len(scores), of=len(members), mean=mean)


def _mean_of_types(types: Sequence[Cell]) -> Cell:
    values = [cell.value for cell in types if cell.value is not None]
    mean = reduce(add, values) / len(values) if len(values) == len(types) else None
    return Cell(key="Types", title=f"Mean of types ({len(types)})", value=mean, found=len(values), of=len(types), mean=mean)


def _of_other_data(row: Row, other: Row) -> set[str]:
    """The averages (`Cell.key`) with a task whose scores in the two rows were not made on the same data."""
    ours, theirs = _made_on(row, other), _made_on(other, row)
    names = {name for name in ours.keys() & theirs.keys() if not _same_data(ours[name], theirs[name])}
    return {key for task in (*row.tasks, *other.tasks) if task.task in names for key in ("Average", "Types", task.type)}


def _made_on(row: Row, other: Row) -> dict[str, str | None]:
    """The data key of every score; of a printed row that of each task which the other row has."""
    if not row.tasks:
        return dict.fromkeys((task.task for task in other.tasks), "")
    return {task.task: task.data_key for task in row.tasks if task.score is not None}


def _same_data(ours: str | None, theirs: str | None) -> bool:
    return ours is not None and ours == theirs


def _difference(ours: float | None, theirs: float | None, *, comparable: bool) -> Difference:
    if not comparable:
        return Difference("not comparable")
    if ours is None or theirs is None:
        return Difference("hole")
    points = rounded(rounded(ours) - rounded(theirs))
    return Difference("differs" if points else "=", points)


def _remark(ours: RowHeader, theirs: RowHeader) -> str | None:
    titles = {"tensor-type": "dtype", "Sequence Length": "max_len", "Dimension": "dim"}
    pairs = [(title, getattr(ours, field), getattr(theirs, field)) for title, field in titles.items()]
    unlike = [f"{title} {here} here, {there} there" for title, here, there in pairs if here != there]
    return f"not like for like: {'; '.join(unlike)}" if unlike else None
