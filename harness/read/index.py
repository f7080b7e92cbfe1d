"""Every score of every run: a row per run and task."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.records import Run
from harness.read.leaderboard import leaderboard_row


@dataclass(frozen=True, kw_only=True)
class IndexRow:
    """One task of one run; the fields are the columns of the index.

    `run`: the folder (or the card), seen from the folder of the index. `score`: 0 to 100, unrounded, under `metric`; None unless `state`
    is `scored`. `identity`: whether the data was the benchmark's; `substituted`: another revision was read than the pinned one, the one
    read is `revision`. `trust`: who made the score. `versions`: the packages that can move it, as pip writes them. `seconds`: what the
    task took.
    """

    run: str
    model: str
    gpu: str | None
    dtype: str | None
    max_len: int | None
    dim: int | None
    task: str
    type: str
    split: str
    metric: str
    score: float | None
    state: str
    identity: str | None
    trust: str | None
    substituted: bool
    revision: str | None
    mteb_version: str | None
    versions: str | None
    seconds: float | None
    message: str | None


def index_rows(runs: Iterable[Run], benchmark: Benchmark, *, beside: Path) -> list[IndexRow]:
    """The rows, by the run's path and in the benchmark's order. `beside`: the folder from which paths are seen."""
    return [row for run in sorted(runs, key=lambda run: _seen_from(beside, run.path)) for row in _rows(run, benchmark, beside)]


def _rows(run: Run, benchmark: Benchmark, beside: Path) -> Iterator[IndexRow]:
    row, header = leaderboard_row(run, "unrounded", benchmark), run.header
    for task in row.tasks:
        record = run.records.get(task.task) if task.state == "scored" else None
        yield IndexRow(
            run=_seen_from(beside, run.path),
            model=_line(header.model),
            gpu=_line(header.gpu) or None,
            dtype=header.dtype or None,
            max_len=header.max_len,
            dim=header.dim,
            **{name: getattr(task, name) for name in ("task", "type", "split", "metric", "score", "identity", "substituted")},
            state="broken" if row.unreadable else task.state,
            trust=record.made.trust if record else None,
            revision=record.dataset_revision if record else None,
            mteb_version=record.mteb_version if record else None,
            versions=" ".join(f"{name}=={version}" for name, version in sorted(record.made.versions.items())) or None if record else None,
            seconds=record.evaluation_time if record else None,
            message=_line(row.unreadable or task.message) or None,
        )


def _seen_from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _line(text: str) -> str:
    return " ".join(text.split())
