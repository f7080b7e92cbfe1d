"""What a report holds, before it is drawn: frozen values, every number beside the file that it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.records import Run
from harness.read.claims.report import ClaimsReport
from harness.read.leaderboard import Row, TaskScore

Kind = Literal["ours", "published", "printed"]
"""Who made a row: a run of this harness, result files of others, or a line of a table of which nothing else is known."""

HeatVerdict = Literal["reference", "equal", "within noise", "higher", "lower", "hole", "not comparable"]


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
        """Whether all scores were made on the benchmark's own data, as far as is told."""
        return self.row.identity != "not C-MTEB"

    def score(self, task: str) -> TaskScore | None:
        """The task in this row; None for a printed row."""
        return next((score for score in self.row.tasks if score.task == task), None)


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """A task of a run beside the reference. `points`: the run's printed score minus the reference's, None unless both can be compared.

    `score`: the run's own cell.
    """

    verdict: HeatVerdict
    points: float | None
    score: TaskScore


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A task over all runs, in the order of `HeatMap.entries`. `tolerance`: the noise band in points, None where none is known."""

    task: str
    type: str
    metric: str
    tolerance: float | None
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Differences of every run with tasks to the reference. `calibration`: the file of the noise bands."""

    reference: Entry
    entries: tuple[Entry, ...]
    rows: tuple[HeatRow, ...]
    calibration: Path | None


@dataclass(frozen=True)
class Point:
    """A run on a curve: its `dim` or `max_len`, and the averages by `Cell.key` (None: a hole)."""

    x: int
    entry: Entry
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Line:
    """Runs that differ in one setting alone, by that setting. `label`: what they have in common, as far as it tells lines apart."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class CurveSet:
    """All curves over one setting, on the benchmark's data or on other data: their scores share no axis."""

    axis: Literal["dim", "max_len"]
    on_benchmark: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run has cost, over all its sittings; None where its `costs.jsonl` does not tell.

    Seconds of tokenising overlap those of encoding; `canary_seconds` went into checking the model before the run. `tokens`: through the
    model, padding and dummy rows among them; `found`: distinct texts whose vectors were in the store. `shared`: tasks whose scores came
    from a run that differs in `max_len` alone. `memory_gib`, `device_memory_gib`: the peak of the process and of the device.
    """

    entry: Entry
    path: Path
    encode_seconds: float
    scoring_seconds: float
    waiting_seconds: float
    tokenize_seconds: float
    canary_seconds: float
    texts: int
    distinct: int
    found: int
    tokens: int
    real_tokens: int
    shared: int
    damaged: int
    memory_gib: float | None
    device_memory_gib: float | None


@dataclass(frozen=True)
class SettingRow:
    """A setting in which some run differs from the reference. `values`: per entry of `Settings`, the reference first; None where untold."""

    group: str
    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Settings:
    """Environment and recipe of the runs of ours beside the reference's."""

    entries: tuple[Entry, ...]
    rows: tuple[SettingRow, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything on the page. `untold_costs`: the runs of ours that have no costs."""

    benchmark: str
    convention: str
    about: str
    entries: tuple[Entry, ...]
    heat: HeatMap | None
    curves: tuple[CurveSet, ...]
    costs: tuple[RunCost, ...]
    untold_costs: tuple[Entry, ...]
    settings: Settings | None
    claims: tuple[ClaimsReport, ...]
